//! What keyholders sign in the messages that others relay for them. Each digest covers every field
//! of its message except the signature, under a domain of its own and bound to the market, so a
//! relay can neither change a message nor pass it off as another.

use crate::pb::keyholder::{AnswerCommitment, CheckValues, Preparation, ShareNoiseKeyRequest};
use locus_commitment::{Digest32, NetworkId, Sha3Writer};

const DST_CHECK_VALUES: &str = "locus/wire/check-values/v1";
const DST_PREPARATION: &str = "locus/wire/preparation/v1";
const DST_COMMITMENT: &str = "locus/wire/answer-commitment/v1";
const DST_NOISE_KEY: &str = "locus/wire/noise-key/v1";

fn writer(dst: &str, network: &NetworkId) -> Sha3Writer {
    let mut writer = Sha3Writer::new(dst);
    writer.part(&network.chain_id.to_le_bytes()).part(&network.registry.0);
    writer
}

/// Digest of check values for the registration with this EIP-712 digest.
pub fn check_values_digest(network: &NetworkId, registration: &Digest32, message: &CheckValues) -> Digest32 {
    let mut writer = writer(DST_CHECK_VALUES, network);
    writer
        .part(&registration.0)
        .part(&message.keyholder.to_le_bytes())
        .part(&message.first_ordinal.to_le_bytes())
        .part(&message.dataset_count.to_le_bytes())
        .part(&message.values);
    writer.finish()
}

/// Digest of a preparation.
pub fn preparation_digest(network: &NetworkId, message: &Preparation) -> Digest32 {
    let mut writer = writer(DST_PREPARATION, network);
    writer.part(&message.keyholder.to_le_bytes()).part(&message.order_id);
    writer.begin(8 * message.excluded_slots.len() as u64);
    for slot in &message.excluded_slots {
        writer.extend(&slot.to_le_bytes());
    }
    writer.part(&message.charge_sequence.to_le_bytes());
    for length in &message.seen {
        writer.part(&length.keyholder.to_le_bytes()).part(&length.charge_sequence.to_le_bytes());
    }
    writer.part(&message.exact_history).part(&message.attempt.to_le_bytes());
    writer.finish()
}

/// Digest of an answer commitment.
pub fn commitment_digest(network: &NetworkId, message: &AnswerCommitment) -> Digest32 {
    let mut writer = writer(DST_COMMITMENT, network);
    writer
        .part(&message.keyholder.to_le_bytes())
        .part(&message.order_id)
        .part(&message.cohort_digest)
        .part(&message.cohort_size.to_le_bytes())
        .part(&message.answer_digest)
        .part(&message.attributes_digest)
        .part(&message.attempt.to_le_bytes());
    for block in &message.blocks {
        writer.part(&block.selection.to_le_bytes()).part(&block.block.to_le_bytes()).part(&block.tau);
        for commitment in &block.share_commitments {
            writer.part(commitment);
        }
    }
    writer.finish()
}

/// Digest of a relayed noise key.
pub fn noise_key_digest(network: &NetworkId, message: &ShareNoiseKeyRequest) -> Digest32 {
    let mut writer = writer(DST_NOISE_KEY, network);
    writer
        .part(&message.from_keyholder.to_le_bytes())
        .part(&message.share.to_le_bytes())
        .part(&message.epoch.to_le_bytes())
        .part(&message.sealed);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::keyholder::{BlockCommitment, LedgerLength};
    use locus_commitment::Address;

    const NETWORK: NetworkId = NetworkId { chain_id: 1, registry: Address([2; 20]) };

    fn commitment() -> AnswerCommitment {
        AnswerCommitment {
            keyholder: 1,
            order_id: vec![1; 32].into(),
            cohort_digest: vec![2; 32].into(),
            cohort_size: 9,
            answer_digest: vec![3; 32].into(),
            blocks: vec![BlockCommitment {
                block: 0,
                tau: vec![4; 32].into(),
                share_commitments: vec![vec![5; 32].into(), vec![6; 32].into()],
                selection: 0,
            }],
            signature: vec![7; 65].into(),
            attributes_digest: vec![8; 32].into(),
            attempt: 1,
        }
    }

    #[test]
    fn every_field_of_a_commitment_is_signed() {
        let digest = commitment_digest(&NETWORK, &commitment());
        let changes: [fn(&mut AnswerCommitment); 10] = [
            |message| message.attempt = 2,
            |message| message.attributes_digest = vec![9; 32].into(),
            |message| message.blocks[0].selection = 1,
            |message| message.keyholder = 2,
            |message| message.order_id = vec![9; 32].into(),
            |message| message.cohort_digest = vec![9; 32].into(),
            |message| message.cohort_size = 10,
            |message| message.answer_digest = vec![9; 32].into(),
            |message| message.blocks[0].tau = vec![9; 32].into(),
            |message| message.blocks[0].share_commitments.swap(0, 1),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = commitment();
            change(&mut changed);
            assert_ne!(commitment_digest(&NETWORK, &changed), digest, "change {number}");
        }
        let elsewhere = NetworkId { chain_id: 2, ..NETWORK };
        assert_ne!(commitment_digest(&elsewhere, &commitment()), digest);
    }

    #[test]
    fn every_field_of_a_preparation_is_signed() {
        let message = Preparation {
            keyholder: 1,
            order_id: vec![1; 32].into(),
            excluded_slots: vec![3, 4],
            charge_sequence: 5,
            signature: Default::default(),
            seen: vec![LedgerLength { keyholder: 2, charge_sequence: 4 }],
            exact_history: vec![7; 32].into(),
            attempt: 1,
        };
        let digest = preparation_digest(&NETWORK, &message);
        let changes: [fn(&mut Preparation); 9] = [
            |message| message.attempt = 2,
            |message| message.exact_history = vec![8; 32].into(),
            |message| message.seen[0].keyholder = 3,
            |message| message.seen[0].charge_sequence = 3,
            |message| message.seen.clear(),
            |message| message.keyholder = 2,
            |message| message.order_id = vec![9; 32].into(),
            |message| message.excluded_slots = vec![3],
            |message| message.charge_sequence = 6,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = message.clone();
            change(&mut changed);
            assert_ne!(preparation_digest(&NETWORK, &changed), digest, "change {number}");
        }
    }
}
