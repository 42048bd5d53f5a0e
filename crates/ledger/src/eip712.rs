//! What accounts sign: EIP-712 hashes of the market's messages.

use crate::{
    amount::Amount,
    bindings,
    proven::{Ciphertexts, CohortId},
    types::{
        Audience, DatasetKeys, DatasetLeaf, Offer, Order, OrderId, Registration, RegistrationId, Rekeying, Settlement,
        tier_code,
    },
};
use alloy_primitives::{Address as EvmAddress, B256, U256, Uint, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue as _};
use locus_commitment::{Address, DatasetBodyDigest, Digest32, NetworkId, ShareSetCommitment, field::FieldBytes};
use serde::{Deserialize, Serialize};

/// The signed messages, with the field order of the contracts' type strings.
mod messages {
    #![allow(missing_docs)]
    alloy_sol_types::sol! {
        struct Registration { address registrant; bytes32 panelDigest; uint32 version; uint64 batchNonce; address accreditor; uint64 deadline; bytes32 leavesHash; }
        struct Accreditation { bytes32 registrationDigest; }
        struct Attestation { bytes32 registrationDigest; uint64 committeeEpoch; }
        struct Revocation { uint64 registrationId; uint32[] ordinals; uint64 deadline; }
        struct Erasure { uint64 registrationId; uint32[] ordinals; uint8 keyholder; }
        struct Rekeying {
            uint64 registrationId;
            uint8 generation;
            bytes32 keysHash;
            uint64 committeeEpoch;
            uint64 deadline;
        }
        struct Offer { uint64 registrationId; uint96 priceCounts; uint96 priceFilteredCounts; uint96 priceAssociation; uint32 dataUse; uint32 tiers; uint8 audience; address[] buyers; uint32 blockStart; uint32 blockEnd; bytes32 conditionDigest; uint32 demands; bytes32 disclosureDigest; uint64 expiry; uint64 nonce; }
        struct Withdrawal { uint64 registrationId; uint64 nonce; }
        struct Order { address researcher; bytes32 panelDigest; bytes32 selectionDigest; bytes32 predicateDigest; uint8 queryClass; uint32 purpose; bytes32 conditionDigest; uint8 tier; uint64 rhoNano; uint96 maxPrice; bytes32 hpkeKeyDigest; uint64 deadline; uint64 nonce; }
        struct Settlement { bytes32 orderId; bytes32 answerDigest; bytes32 cohortDigest; uint32 cohortSize; uint96 price; uint64 payoutSequence; bytes32 payoutRoot; }
        struct ProvenSettlement { bytes32 settlementDigest; bytes32 cohortId; }
        struct Permit { address owner; address spender; uint256 value; uint256 nonce; uint256 deadline; }
    }
}

/// Addresses of a deployed market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts {
    /// The market: chain and dataset registry.
    pub network: NetworkId,
    /// Payment token.
    pub token: Address,
    /// Offer book.
    pub offer_book: Address,
    /// Escrow.
    pub escrow: Address,
    /// Settlement verifier.
    pub verifier: Address,
}

/// A deployed market as kept in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentFile {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Dataset registry.
    pub registry: String,
    /// Payment token.
    pub token: String,
    /// Offer book.
    pub offer_book: String,
    /// Escrow.
    pub escrow: String,
    /// Settlement verifier.
    pub verifier: String,
}

/// An address that is not 20 bytes of hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: write 0x and 40 hexadecimal digits")]
pub struct ParseAddressError(pub String);

/// Parses an address such as `0x00…01`.
pub fn parse_address(text: &str) -> Result<Address, ParseAddressError> {
    let parsed: Result<EvmAddress, _> = text.parse();
    parsed.map(|address| Address(address.into_array())).map_err(|_| ParseAddressError(text.to_owned()))
}

impl From<&Contracts> for DeploymentFile {
    fn from(contracts: &Contracts) -> Self {
        Self {
            chain_id: contracts.network.chain_id,
            registry: contracts.network.registry.to_string(),
            token: contracts.token.to_string(),
            offer_book: contracts.offer_book.to_string(),
            escrow: contracts.escrow.to_string(),
            verifier: contracts.verifier.to_string(),
        }
    }
}

impl TryFrom<&DeploymentFile> for Contracts {
    type Error = ParseAddressError;

    fn try_from(file: &DeploymentFile) -> Result<Self, ParseAddressError> {
        Ok(Self {
            network: NetworkId { chain_id: file.chain_id, registry: parse_address(&file.registry)? },
            token: parse_address(&file.token)?,
            offer_book: parse_address(&file.offer_book)?,
            escrow: parse_address(&file.escrow)?,
            verifier: parse_address(&file.verifier)?,
        })
    }
}

pub(crate) fn evm(address: Address) -> EvmAddress {
    EvmAddress::from(address.0)
}

pub(crate) fn own(address: EvmAddress) -> Address {
    Address(address.into_array())
}

pub(crate) fn uint96(amount: Amount) -> Uint<96, 2> {
    // Larger amounts than the token's whole supply saturate, and the contract refuses them.
    Uint::saturating_from(amount.0)
}

fn bytes32(digest: &Digest32) -> B256 {
    B256::from(digest.0)
}

/// keccak256 of the ABI encoding of the leaves, as the registry computes it.
pub fn leaves_hash(leaves: &[DatasetLeaf]) -> Digest32 {
    let leaves: Vec<_> = leaves.iter().map(leaf_words).collect();
    Digest32(keccak256(leaves.abi_encode()).0)
}

/// [`leaves_hash`], or [`committed_leaves_hash`] of a batch with commitments.
pub fn signed_leaves_hash(leaves: &[DatasetLeaf], ciphertexts: Option<&Ciphertexts>) -> Digest32 {
    ciphertexts.map_or_else(|| leaves_hash(leaves), |ciphertexts| committed_leaves_hash(leaves, ciphertexts))
}

/// keccak256 of the ABI encoding of the leaves and their ciphertexts, as the registry computes it for
/// batches with commitments.
pub fn committed_leaves_hash(leaves: &[DatasetLeaf], ciphertexts: &Ciphertexts) -> Digest32 {
    let leaves: Vec<_> = leaves.iter().map(leaf_words).collect();
    Digest32(keccak256((leaves, ciphertext_words(ciphertexts)).abi_encode_params()).0)
}

/// keccak256 of the ABI encoding of what a re-keying gives the datasets of a registration, by ordinal, as the registry
/// computes it. `None` leaves a revoked dataset as it is.
pub fn keys_hash(keys: &[Option<DatasetKeys>]) -> Digest32 {
    let keys: Vec<_> = keys.iter().map(key_words).collect();
    Digest32(keccak256(keys.abi_encode()).0)
}

/// No keys are two words of zeros, which are no digest of anything.
pub(crate) fn key_words(keys: &Option<DatasetKeys>) -> bindings::registry::IDatasetRegistry::DatasetKeys {
    bindings::registry::IDatasetRegistry::DatasetKeys {
        bodyDigest: keys.map_or(B256::ZERO, |keys| bytes32(&keys.bodies.0)),
        shareCommitment: keys.map_or(B256::ZERO, |keys| bytes32(&keys.shares.0)),
    }
}

/// What [`key_words`] wrote.
pub(crate) fn keys_of(words: &bindings::registry::IDatasetRegistry::DatasetKeys) -> Option<DatasetKeys> {
    let is_nothing = words.bodyDigest.is_zero() && words.shareCommitment.is_zero();
    (!is_nothing).then_some(DatasetKeys {
        bodies: DatasetBodyDigest(Digest32(words.bodyDigest.0)),
        shares: ShareSetCommitment(Digest32(words.shareCommitment.0)),
    })
}

pub(crate) fn ciphertext_words(ciphertexts: &Ciphertexts) -> bindings::registry::IDatasetRegistry::Ciphertexts {
    let point = |[x, y]: &[FieldBytes; 2]| [U256::from_be_bytes(x.0), U256::from_be_bytes(y.0)];
    bindings::registry::IDatasetRegistry::Ciphertexts {
        commitments: ciphertexts.commitments.iter().map(point).collect(),
        proven: ciphertexts.proven,
    }
}

pub(crate) fn leaf_words(leaf: &DatasetLeaf) -> bindings::registry::IDatasetRegistry::DatasetLeaf {
    bindings::registry::IDatasetRegistry::DatasetLeaf {
        datasetId: B256::from(leaf.dataset.0),
        personTag: B256::from(leaf.person.0),
        bodyDigest: bytes32(&leaf.commitments.bodies.0),
        shareCommitment: bytes32(&leaf.commitments.shares.0),
        genotypeCommitment: bytes32(&leaf.commitments.genotypes.0),
    }
}

fn order_message(order: &Order) -> messages::Order {
    messages::Order {
        researcher: evm(order.researcher),
        panelDigest: B256::from(order.panel.0),
        selectionDigest: bytes32(&order.selection_digest),
        predicateDigest: bytes32(&order.predicate_digest),
        queryClass: order.query_class.code(),
        purpose: order.purpose,
        conditionDigest: bytes32(&order.condition_digest),
        tier: tier_code(order.tier),
        rhoNano: order.rho.as_nano(),
        maxPrice: uint96(order.max_price),
        hpkeKeyDigest: bytes32(&order.hpke_key_digest),
        deadline: order.deadline_unix_s,
        nonce: order.nonce,
    }
}

/// The number of an audience and its buyers, as the contracts have them.
pub(crate) fn audience_words(audience: &Audience) -> (u8, Vec<EvmAddress>) {
    match audience {
        Audience::Anyone => (0, Vec::new()),
        Audience::AccreditedResearchers => (1, Vec::new()),
        Audience::Named(buyers) => (2, buyers.iter().map(|buyer| evm(*buyer)).collect()),
    }
}

/// The order's name: its EIP-712 struct hash, which does not depend on the market.
pub fn order_id(order: &Order) -> OrderId {
    OrderId(Digest32(order_message(order).eip712_hash_struct().0))
}

impl Contracts {
    fn domain(&self, name: &'static str, contract: Address) -> Eip712Domain {
        Eip712Domain::new(
            Some(name.into()),
            Some("1".into()),
            Some(U256::from(self.network.chain_id)),
            Some(evm(contract)),
            None,
        )
    }

    fn registry_hash(&self, message: &impl SolStruct) -> Digest32 {
        let domain = self.domain("LocusDatasetRegistry", self.network.registry);
        Digest32(message.eip712_signing_hash(&domain).0)
    }

    fn offer_hash(&self, message: &impl SolStruct) -> Digest32 {
        Digest32(message.eip712_signing_hash(&self.domain("LocusOfferBook", self.offer_book)).0)
    }

    fn escrow_hash(&self, message: &impl SolStruct) -> Digest32 {
        Digest32(message.eip712_signing_hash(&self.domain("LocusQueryEscrow", self.escrow)).0)
    }

    /// The registration's name: its EIP-712 struct hash.
    pub fn registration_digest(&self, registration: &Registration) -> Digest32 {
        Digest32(registration_message(registration).eip712_hash_struct().0)
    }

    /// What the registrant signs.
    pub fn registration_signing_hash(&self, registration: &Registration) -> Digest32 {
        self.registry_hash(&registration_message(registration))
    }

    /// What the accreditor signs.
    pub fn accreditation_signing_hash(&self, registration_digest: &Digest32) -> Digest32 {
        self.registry_hash(&messages::Accreditation { registrationDigest: bytes32(registration_digest) })
    }

    /// What each keyholder signs to attest a batch.
    pub fn attestation_signing_hash(&self, registration_digest: &Digest32, committee_epoch: u64) -> Digest32 {
        let registration_digest = bytes32(registration_digest);
        let message =
            messages::Attestation { registrationDigest: registration_digest, committeeEpoch: committee_epoch };
        self.registry_hash(&message)
    }

    /// What the registrant signs to revoke datasets.
    pub fn revocation_signing_hash(
        &self,
        registration: RegistrationId,
        ordinals: &[u32],
        deadline_unix_s: u64,
    ) -> Digest32 {
        let message = messages::Revocation {
            registrationId: registration.0,
            ordinals: ordinals.to_vec(),
            deadline: deadline_unix_s,
        };
        self.registry_hash(&message)
    }

    /// What a keyholder signs when it has destroyed key seeds.
    pub fn erasure_signing_hash(&self, registration: RegistrationId, ordinals: &[u32], keyholder: u8) -> Digest32 {
        let message = messages::Erasure { registrationId: registration.0, ordinals: ordinals.to_vec(), keyholder };
        self.registry_hash(&message)
    }

    /// What each keyholder signs to re-key the datasets of a registration.
    pub fn rekeying_signing_hash(&self, rekeying: &Rekeying, committee_epoch: u64) -> Digest32 {
        self.registry_hash(&messages::Rekeying {
            registrationId: rekeying.registration.0,
            generation: rekeying.generation,
            keysHash: bytes32(&rekeying.keys_hash),
            committeeEpoch: committee_epoch,
            deadline: rekeying.deadline_unix_s,
        })
    }

    /// What the registrant signs to post an offer.
    pub fn offer_signing_hash(&self, offer: &Offer) -> Digest32 {
        let (audience, buyers) = audience_words(&offer.audience);
        self.offer_hash(&messages::Offer {
            registrationId: offer.registration.0,
            priceCounts: uint96(offer.prices.counts),
            priceFilteredCounts: uint96(offer.prices.filtered_counts),
            priceAssociation: uint96(offer.prices.association),
            dataUse: offer.data_use,
            tiers: offer.tiers.0,
            audience,
            buyers,
            blockStart: offer.block_start,
            blockEnd: offer.block_end,
            conditionDigest: bytes32(&offer.condition_digest),
            demands: offer.demands.0,
            disclosureDigest: bytes32(&offer.disclosure_digest),
            expiry: offer.expiry_unix_s,
            nonce: offer.nonce,
        })
    }

    /// What the registrant signs to withdraw the offer with this nonce.
    pub fn withdrawal_signing_hash(&self, registration: RegistrationId, nonce: u64) -> Digest32 {
        self.offer_hash(&messages::Withdrawal { registrationId: registration.0, nonce })
    }

    /// What the researcher signs.
    pub fn order_signing_hash(&self, order: &Order) -> Digest32 {
        self.escrow_hash(&order_message(order))
    }

    /// What keyholders sign to settle an order.
    pub fn settlement_signing_hash(&self, settlement: &Settlement) -> Digest32 {
        self.escrow_hash(&messages::Settlement {
            orderId: bytes32(&settlement.order.0),
            answerDigest: bytes32(&settlement.answer_digest),
            cohortDigest: bytes32(&settlement.cohort_digest),
            cohortSize: settlement.cohort_size,
            price: uint96(settlement.price),
            payoutSequence: settlement.payout_sequence,
            payoutRoot: bytes32(&settlement.payout_root),
        })
    }

    /// What keyholders sign to settle an order of a market with proofs on a proven cohort.
    pub fn proven_settlement_signing_hash(&self, settlement: &Settlement, cohort: &CohortId) -> Digest32 {
        let message = messages::ProvenSettlement {
            settlementDigest: bytes32(&self.settlement_signing_hash(settlement)),
            cohortId: bytes32(&cohort.0),
        };
        Digest32(message.eip712_signing_hash(&self.domain("LocusCohortVerifier", self.verifier)).0)
    }

    /// What the researcher signs so that the escrow may take `value` of the token (EIP-2612).
    /// `token_name` is the token's EIP-712 name, `nonce` its permit nonce of the owner.
    pub fn permit_signing_hash(&self, permit: &PermitTerms, token_name: &str) -> Digest32 {
        let domain = Eip712Domain::new(
            Some(token_name.to_owned().into()),
            Some("1".into()),
            Some(U256::from(self.network.chain_id)),
            Some(evm(self.token)),
            None,
        );
        let message = messages::Permit {
            owner: evm(permit.owner),
            spender: evm(self.escrow),
            value: U256::from(permit.value.0),
            nonce: U256::from(permit.nonce),
            deadline: U256::from(permit.deadline_unix_s),
        };
        Digest32(message.eip712_signing_hash(&domain).0)
    }
}

/// Terms of an EIP-2612 permit for the escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermitTerms {
    /// Whose tokens.
    pub owner: Address,
    /// How many.
    pub value: Amount,
    /// The owner's permit nonce in the token.
    pub nonce: u64,
    /// The permit can be used until then.
    pub deadline_unix_s: u64,
}

fn registration_message(registration: &Registration) -> messages::Registration {
    messages::Registration {
        registrant: evm(registration.registrant),
        panelDigest: B256::from(registration.panel.0),
        version: registration.version,
        batchNonce: registration.batch_nonce,
        accreditor: registration.accreditor.map_or(EvmAddress::ZERO, evm),
        deadline: registration.deadline_unix_s,
        leavesHash: bytes32(&registration.leaves_hash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn contracts(network: NetworkId) -> Contracts {
        let [token, offer_book, escrow, verifier] = [3, 4, 5, 6].map(|byte| Address([byte; 20]));
        Contracts { network, token, offer_book, escrow, verifier }
    }

    fn keys(bodies: u8, shares: u8) -> DatasetKeys {
        DatasetKeys {
            bodies: DatasetBodyDigest(Digest32([bodies; 32])),
            shares: ShareSetCommitment(Digest32([shares; 32])),
        }
    }

    #[test]
    fn every_part_of_a_rekeying_is_signed() {
        let network = NetworkId { chain_id: 1, registry: Address([2; 20]) };
        let here = contracts(network);
        let all = [Some(keys(1, 2)), None];
        let (registration, keys_hash_of_all) = (RegistrationId(1), keys_hash(&all));
        let rekeying = Rekeying { registration, generation: 1, keys_hash: keys_hash_of_all, deadline_unix_s: 9 };
        let of = |keys: &[Option<DatasetKeys>]| {
            here.rekeying_signing_hash(&Rekeying { keys_hash: keys_hash(keys), ..rekeying }, 3)
        };
        let hashes = [
            here.rekeying_signing_hash(&rekeying, 3),
            here.rekeying_signing_hash(&rekeying, 4),
            here.rekeying_signing_hash(&Rekeying { registration: RegistrationId(2), ..rekeying }, 3),
            here.rekeying_signing_hash(&Rekeying { generation: 2, ..rekeying }, 3),
            here.rekeying_signing_hash(&Rekeying { deadline_unix_s: 10, ..rekeying }, 3),
            contracts(NetworkId { chain_id: 2, ..network }).rekeying_signing_hash(&rekeying, 3),
            contracts(NetworkId { registry: Address([3; 20]), ..network }).rekeying_signing_hash(&rekeying, 3),
            of(&[]),
            of(&all[..1]),
            of(&[None, all[0]]),
            of(&[Some(keys(2, 1)), None]),
            of(&[Some(keys(1, 2)), Some(keys(3, 4))]),
        ];
        assert_eq!(hashes.iter().map(|hash| hash.0).collect::<BTreeSet<_>>().len(), hashes.len());
    }

    #[test]
    fn keys_are_hashed_as_the_abi_encoding_of_pairs_of_words() {
        // The place of the array, its length, and two words each; no keys are zeros.
        let mut encoded = [0; 192];
        encoded[31] = 32;
        encoded[63] = 2;
        encoded[128..160].fill(1);
        encoded[160..].fill(2);
        assert_eq!(keys_hash(&[None, Some(keys(1, 2))]).0, keccak256(encoded).0);
        for keys in [None, Some(keys(1, 2))] {
            assert_eq!(keys_of(&key_words(&keys)), keys);
        }
    }
}
