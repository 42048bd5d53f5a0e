//! Requests that reveal something of their signer, as wallets sign them (EIP-712).

use crate::{
    eip712::evm,
    types::{OrderId, RegistrationId},
};
use alloy_primitives::{B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use locus_commitment::{Digest32, NetworkId};

mod messages {
    #![allow(missing_docs)]
    alloy_sol_types::sol! {
        struct StatementRequest { uint64 registrationId; uint32 ordinal; uint8 keyholder; uint64 deadline; bytes32 nonce; }
        struct AttributeStatement { uint64 registrationId; uint32 revision; bytes32 schemaDigest; bytes32 commitmentsDigest; }
        struct RekeyRequest { uint64 registrationId; uint8 generation; uint64 deadline; }
        struct AnswerRequest { bytes32 orderId; uint64 deadline; bytes32 nonce; }
    }
}

/// What makes a signed request a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTerms {
    /// Until when it may be taken, at most five minutes from its making.
    pub deadline_unix_s: u64,
    /// Random: a request counts once.
    pub nonce: [u8; 32],
}

/// What a registrant signs to see the uses of a dataset, for one keyholder. Domain `LocusKeyholder`, with the registry as
/// the contract.
pub fn statement_request_hash(
    network: &NetworkId,
    registration: RegistrationId,
    ordinal: u32,
    keyholder: u8,
    terms: &RequestTerms,
) -> Digest32 {
    let message = messages::StatementRequest {
        registrationId: registration.0,
        ordinal,
        keyholder,
        deadline: terms.deadline_unix_s,
        nonce: B256::from(terms.nonce),
    };
    signing_hash("LocusKeyholder", network, &message)
}

/// What a registrant says about the attributes of all datasets of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeStatement {
    /// The registration.
    pub registration: RegistrationId,
    /// From 1; a later one replaces an earlier one.
    pub revision: u32,
    /// Digest of the attribute schema.
    pub schema: Digest32,
    /// Digest of the datasets' attribute commitments, by ordinal.
    pub commitments: Digest32,
}

/// What a registrant signs to give a registration attributes. Domain `LocusKeyholder`, with the registry as the
/// contract.
pub fn attribute_statement_hash(network: &NetworkId, statement: &AttributeStatement) -> Digest32 {
    let message = messages::AttributeStatement {
        registrationId: statement.registration.0,
        revision: statement.revision,
        schemaDigest: B256::from(statement.schema.0),
        commitmentsDigest: B256::from(statement.commitments.0),
    };
    signing_hash("LocusKeyholder", network, &message)
}

/// What the registry's admin says to ask the keyholders for a re-keying. It needs no nonce: a generation results once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RekeyRequest {
    /// The registration whose datasets get new keys.
    pub registration: RegistrationId,
    /// The generation that results, from 1 to [`REKEYINGS_MAX`](locus_privacy::REKEYINGS_MAX).
    pub generation: u8,
    /// Last second at which a keyholder may take it.
    pub deadline_unix_s: u64,
}

/// What the registry's admin signs to ask the keyholders for a re-keying. Domain `LocusKeyholder`, with the registry as
/// the contract.
pub fn rekey_request_hash(network: &NetworkId, request: &RekeyRequest) -> Digest32 {
    let message = messages::RekeyRequest {
        registrationId: request.registration.0,
        generation: request.generation,
        deadline: request.deadline_unix_s,
    };
    signing_hash("LocusKeyholder", network, &message)
}

/// What a researcher signs to fetch the answer to an order. Domain `LocusQuery`, with the registry as the contract.
pub fn answer_request_hash(network: &NetworkId, order: &OrderId, terms: &RequestTerms) -> Digest32 {
    let message = messages::AnswerRequest {
        orderId: B256::from(order.0.0),
        deadline: terms.deadline_unix_s,
        nonce: B256::from(terms.nonce),
    };
    signing_hash("LocusQuery", network, &message)
}

fn signing_hash(name: &'static str, network: &NetworkId, message: &impl SolStruct) -> Digest32 {
    let (chain_id, registry) = (U256::from(network.chain_id), evm(network.registry));
    let domain = Eip712Domain::new(Some(name.into()), Some("1".into()), Some(chain_id), Some(registry), None);
    Digest32(message.eip712_signing_hash(&domain).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_commitment::Address;
    use std::collections::BTreeSet;

    #[test]
    fn every_part_of_a_request_is_signed() {
        let here = NetworkId { chain_id: 1, registry: Address([2; 20]) };
        let terms = RequestTerms { deadline_unix_s: 5, nonce: [6; 32] };
        let of = |network: &NetworkId, registration, ordinal, keyholder, terms: &RequestTerms| {
            statement_request_hash(network, RegistrationId(registration), ordinal, keyholder, terms)
        };
        let order = OrderId(Digest32([3; 32]));
        let later = RequestTerms { deadline_unix_s: 6, ..terms };
        let other = RequestTerms { nonce: [7; 32], ..terms };
        let hashes = [
            of(&here, 1, 2, 3, &terms),
            of(&NetworkId { chain_id: 2, ..here }, 1, 2, 3, &terms),
            of(&NetworkId { registry: Address([3; 20]), ..here }, 1, 2, 3, &terms),
            of(&here, 2, 2, 3, &terms),
            of(&here, 1, 3, 3, &terms),
            of(&here, 1, 2, 1, &terms),
            of(&here, 1, 2, 3, &later),
            of(&here, 1, 2, 3, &other),
            answer_request_hash(&here, &order, &terms),
            answer_request_hash(&NetworkId { chain_id: 2, ..here }, &order, &terms),
            answer_request_hash(&here, &OrderId(Digest32([4; 32])), &terms),
            answer_request_hash(&here, &order, &later),
            answer_request_hash(&here, &order, &other),
        ];
        assert_eq!(hashes.iter().map(|hash| hash.0).collect::<BTreeSet<_>>().len(), hashes.len());
    }

    #[test]
    fn every_part_of_a_statement_about_attributes_is_signed() {
        let here = NetworkId { chain_id: 1, registry: Address([2; 20]) };
        let (schema, commitments) = (Digest32([3; 32]), Digest32([4; 32]));
        let statement = AttributeStatement { registration: RegistrationId(1), revision: 1, schema, commitments };
        let hashes = [
            attribute_statement_hash(&here, &statement),
            attribute_statement_hash(&NetworkId { chain_id: 2, ..here }, &statement),
            attribute_statement_hash(&NetworkId { registry: Address([3; 20]), ..here }, &statement),
            attribute_statement_hash(&here, &AttributeStatement { registration: RegistrationId(2), ..statement }),
            attribute_statement_hash(&here, &AttributeStatement { revision: 2, ..statement }),
            attribute_statement_hash(&here, &AttributeStatement { schema: commitments, ..statement }),
            attribute_statement_hash(&here, &AttributeStatement { commitments: schema, ..statement }),
        ];
        assert_eq!(hashes.iter().map(|hash| hash.0).collect::<BTreeSet<_>>().len(), hashes.len());
    }

    #[test]
    fn every_part_of_a_request_for_a_rekeying_is_signed() {
        let here = NetworkId { chain_id: 1, registry: Address([2; 20]) };
        let request = RekeyRequest { registration: RegistrationId(1), generation: 2, deadline_unix_s: 5 };
        let hashes = [
            rekey_request_hash(&here, &request),
            rekey_request_hash(&NetworkId { chain_id: 2, ..here }, &request),
            rekey_request_hash(&NetworkId { registry: Address([3; 20]), ..here }, &request),
            rekey_request_hash(&here, &RekeyRequest { registration: RegistrationId(2), ..request }),
            rekey_request_hash(&here, &RekeyRequest { generation: 1, ..request }),
            rekey_request_hash(&here, &RekeyRequest { deadline_unix_s: 6, ..request }),
        ];
        assert_eq!(hashes.iter().map(|hash| hash.0).collect::<BTreeSet<_>>().len(), hashes.len());
    }
}
