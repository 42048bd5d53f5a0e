//! What a market consists of, as the exchange describes it.

use super::field::{self, FieldError, FieldErrorKind};
use crate::pb::exchange as pb;
use locus_commitment::NetworkId;
use locus_ledger::{CommitteeMember, Contracts};
use locus_privacy::{NetworkParameterValues, NetworkParameters, Rho};

/// Bytes of a keyholder's sealing key.
const HPKE_PUBLIC_KEY_BYTES: usize = 1216;

/// Longest token name.
const TOKEN_NAME_BYTES_MAX: usize = 64;

/// Contracts, rules and committee of a market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInfo {
    /// The contracts.
    pub contracts: Contracts,
    /// The privacy rules.
    pub parameters: NetworkParameters,
    /// Keyholders 1, 2 and 3.
    pub committee: [CommitteeMember; 3],
    /// Number of the committee, which attestations are bound to.
    pub committee_epoch: u64,
    /// EIP-712 name of the payment token, which permits are bound to.
    pub token_name: String,
    /// Whether orders settle on cohorts that are proven on the chain.
    pub settles_on_cohorts: bool,
}

impl From<&NetworkInfo> for pb::GetNetworkResponse {
    fn from(info: &NetworkInfo) -> Self {
        let (contracts, values) = (&info.contracts, info.parameters.values());
        let keyholder = |(index, member): (u32, &CommitteeMember)| pb::get_network_response::Keyholder {
            index,
            signer: member.signer.0.to_vec().into(),
            hpke_public_key: member.hpke_public_key.clone().into(),
        };
        Self {
            network: Some((&contracts.network).into()),
            token: contracts.token.0.to_vec().into(),
            offer_book: contracts.offer_book.0.to_vec().into(),
            escrow: contracts.escrow.0.to_vec().into(),
            verifier: contracts.verifier.0.to_vec().into(),
            keyholders: (1..).zip(&info.committee).map(keyholder).collect(),
            committee_epoch: info.committee_epoch,
            cohort_size_min: values.cohort_size_min,
            exact_batch_min: values.exact_batch_min,
            exact_change_min: values.exact_change_min,
            rho_open_query_max_nano: values.rho_query_max.as_nano(),
            rho_open_year_max_nano: values.rho_year_max.as_nano(),
            rho_open_lifetime_max_nano: values.rho_lifetime_max.as_nano(),
            vetted_factor: values.vetted_factor,
            order_lifetime_max_s: values.order_lifetime_max_s,
            test_network: values.test_network,
            flooding_sigma_log2: u32::from(values.flooding_sigma_log2),
            token_name: info.token_name.clone(),
            settles_on_cohorts: info.settles_on_cohorts,
        }
    }
}

impl TryFrom<&pb::GetNetworkResponse> for NetworkInfo {
    type Error = FieldError;

    fn try_from(message: &pb::GetNetworkResponse) -> Result<Self, FieldError> {
        let network = NetworkId::try_from(field::required("network", &message.network)?)?;
        Ok(Self {
            contracts: Contracts {
                network,
                token: field::address("token", &message.token)?,
                offer_book: field::address("offer_book", &message.offer_book)?,
                escrow: field::address("escrow", &message.escrow)?,
                verifier: field::address("verifier", &message.verifier)?,
            },
            parameters: parse_parameters(message)?,
            committee: parse_committee(&message.keyholders)?,
            committee_epoch: message.committee_epoch,
            token_name: parse_token_name(&message.token_name)?,
            settles_on_cohorts: message.settles_on_cohorts,
        })
    }
}

fn parse_token_name(name: &str) -> Result<String, FieldError> {
    match name.len() {
        0 => Err(FieldError::new("token_name", FieldErrorKind::Missing)),
        got if got > TOKEN_NAME_BYTES_MAX => {
            Err(FieldError::new("token_name", FieldErrorKind::TooLong { max: TOKEN_NAME_BYTES_MAX, got }))
        }
        _ => Ok(name.to_owned()),
    }
}

fn parse_parameters(message: &pb::GetNetworkResponse) -> Result<NetworkParameters, FieldError> {
    let flooding_log2 = field::in_range("flooding_sigma_log2", message.flooding_sigma_log2, 0, u64::from(u8::MAX))?;
    let values = NetworkParameterValues {
        cohort_size_min: message.cohort_size_min,
        exact_batch_min: message.exact_batch_min,
        exact_change_min: message.exact_change_min,
        rho_query_max: Rho::from_nano(message.rho_open_query_max_nano),
        rho_year_max: Rho::from_nano(message.rho_open_year_max_nano),
        rho_lifetime_max: Rho::from_nano(message.rho_open_lifetime_max_nano),
        vetted_factor: message.vetted_factor,
        flooding_sigma_log2: u8::try_from(flooding_log2).unwrap_or(u8::MAX),
        order_lifetime_max_s: message.order_lifetime_max_s,
        test_network: message.test_network,
    };
    NetworkParameters::try_new(values).map_err(|error| FieldError::refused("network parameters", error))
}

fn parse_committee(messages: &[pb::get_network_response::Keyholder]) -> Result<[CommitteeMember; 3], FieldError> {
    let [first, second, third] = messages else {
        return Err(FieldError::new("keyholders", FieldErrorKind::Length { expected: 3, got: messages.len() }));
    };
    let parse = |index: u64, message: &pb::get_network_response::Keyholder| {
        field::in_range("keyholders.index", message.index, index, index)?;
        let key: [u8; HPKE_PUBLIC_KEY_BYTES] = field::array("keyholders.hpke_public_key", &message.hpke_public_key)?;
        let signer = field::address("keyholders.signer", &message.signer)?;
        Ok(CommitteeMember { signer, hpke_public_key: key.to_vec() })
    };
    Ok([parse(1, first)?, parse(2, second)?, parse(3, third)?])
}

#[cfg(test)]
mod tests;
