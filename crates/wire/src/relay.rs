//! What keyholders sign in the messages that others relay for them. Each digest covers every field
//! of its message except the signature, under a domain of its own and bound to the market, so a
//! relay can neither change a message nor pass it off as another.

use crate::pb::keyholder::{
    AnswerCommitment, AttributeCheck, AttributeSums, CheckValues, Preparation, RekeyingContribution, RekeyingOpening,
    RekeyingStatement, ShareNoiseKeyRequest,
};
use locus_commitment::{Digest32, NetworkId, Sha3Writer};
use locus_ledger::AttributeStatement;

const DST_CHECK_VALUES: &str = "locus/wire/check-values/v1";
const DST_PREPARATION: &str = "locus/wire/preparation/v1";
const DST_COMMITMENT: &str = "locus/wire/answer-commitment/v1";
const DST_NOISE_KEY: &str = "locus/wire/noise-key/v1";
const DST_ATTRIBUTE_SESSION: &str = "locus/wire/attribute-session/v1";
const DST_ATTRIBUTE_CHECK: &str = "locus/wire/attribute-check/v1";
const DST_ATTRIBUTE_SUMS: &str = "locus/wire/attribute-sums/v1";
const DST_REKEYING_OPENING: &str = "locus/wire/rekeying-opening/v1";
const DST_REKEYING_CONTRIBUTION: &str = "locus/wire/rekeying-contribution/v1";
const DST_REKEYING_STATEMENT: &str = "locus/wire/rekeying-statement/v1";

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

/// Name of the check of a registration's attributes: tau of its common randomness.
pub fn attribute_session_digest(network: &NetworkId, statement: &AttributeStatement) -> Digest32 {
    let mut writer = writer(DST_ATTRIBUTE_SESSION, network);
    writer
        .part(&statement.registration.0.to_le_bytes())
        .part(&statement.revision.to_le_bytes())
        .part(&statement.schema.0)
        .part(&statement.commitments.0);
    writer.finish()
}

/// Digest of the first message of a check of attributes, in an attempt of the session.
pub fn attribute_check_digest(session: &Digest32, attempt: u64, message: &AttributeCheck) -> Digest32 {
    let mut writer = Sha3Writer::new(DST_ATTRIBUTE_CHECK);
    writer.part(&session.0).part(&attempt.to_le_bytes()).part(&message.keyholder.to_le_bytes());
    writer.part(&message.coin_part);
    for digest in &message.share_digests {
        writer.part(digest);
    }
    writer.finish()
}

/// Digest of the second message of a check of attributes, in an attempt of the session.
pub fn attribute_sums_digest(session: &Digest32, attempt: u64, message: &AttributeSums) -> Digest32 {
    let mut writer = Sha3Writer::new(DST_ATTRIBUTE_SUMS);
    writer.part(&session.0).part(&attempt.to_le_bytes()).part(&message.keyholder.to_le_bytes()).part(&message.sums);
    writer.finish()
}

/// Digest of the opening of a re-keying.
pub fn rekeying_opening_digest(network: &NetworkId, message: &RekeyingOpening) -> Digest32 {
    let mut writer = writer(DST_REKEYING_OPENING, network);
    writer
        .part(&message.keyholder.to_le_bytes())
        .part(&message.registration_id.to_le_bytes())
        .part(&message.generation.to_le_bytes())
        .part(&message.committee_epoch.to_le_bytes())
        .part(&message.hpke_public_key);
    writer.finish()
}

/// Digest of a contribution to the re-keying session with this digest.
pub fn rekeying_contribution_digest(session: &Digest32, message: &RekeyingContribution) -> Digest32 {
    let mut writer = Sha3Writer::new(DST_REKEYING_CONTRIBUTION);
    writer
        .part(&session.0)
        .part(&message.from_keyholder.to_le_bytes())
        .part(&message.to_keyholder.to_le_bytes())
        .part(&message.share.to_le_bytes())
        .part(&message.sealed);
    writer.finish()
}

/// Digest of what a keyholder states about a re-keying.
pub fn rekeying_statement_digest(message: &RekeyingStatement) -> Digest32 {
    let mut writer = Sha3Writer::new(DST_REKEYING_STATEMENT);
    writer
        .part(&message.keyholder.to_le_bytes())
        .part(&message.session)
        .part(&message.keys_hash)
        .part(&message.attributes_digest);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::keyholder::{BlockCommitment, LedgerLength};
    use locus_commitment::Address;
    use locus_ledger::RegistrationId;

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
        all_differ(&commitment(), &changes, |message| commitment_digest(&NETWORK, message));
        let elsewhere = NetworkId { chain_id: 2, ..NETWORK };
        assert_ne!(commitment_digest(&elsewhere, &commitment()), digest);
    }

    #[test]
    fn every_field_of_a_rekeying_is_signed() {
        let opening = RekeyingOpening {
            keyholder: 1,
            registration_id: 2,
            generation: 3,
            committee_epoch: 4,
            hpke_public_key: vec![5; 1216].into(),
            signature: Default::default(),
        };
        let changes: [fn(&mut RekeyingOpening); 5] = [
            |message| message.keyholder = 2,
            |message| message.registration_id = 3,
            |message| message.generation = 4,
            |message| message.committee_epoch = 5,
            |message| message.hpke_public_key = vec![6; 1216].into(),
        ];
        let elsewhere = NetworkId { chain_id: 2, ..NETWORK };
        all_differ(&opening, &changes, |message| rekeying_opening_digest(&NETWORK, message));
        assert_ne!(rekeying_opening_digest(&elsewhere, &opening), rekeying_opening_digest(&NETWORK, &opening));

        let contribution = RekeyingContribution {
            from_keyholder: 1,
            to_keyholder: 2,
            share: 3,
            sealed: vec![4; 80].into(),
            signature: Default::default(),
        };
        let changes: [fn(&mut RekeyingContribution); 4] = [
            |message| message.from_keyholder = 2,
            |message| message.to_keyholder = 3,
            |message| message.share = 2,
            |message| message.sealed = vec![5; 80].into(),
        ];
        let [session, other] = [Digest32([1; 32]), Digest32([2; 32])];
        all_differ(&contribution, &changes, |message| rekeying_contribution_digest(&session, message));
        let digest = |session| rekeying_contribution_digest(session, &contribution);
        assert_ne!(digest(&session), digest(&other));

        let statement = RekeyingStatement {
            keyholder: 1,
            session: vec![2; 32].into(),
            keys_hash: vec![3; 32].into(),
            attributes_digest: vec![4; 32].into(),
            signature: Default::default(),
        };
        let changes: [fn(&mut RekeyingStatement); 4] = [
            |message| message.keyholder = 2,
            |message| message.session = vec![9; 32].into(),
            |message| message.keys_hash = vec![9; 32].into(),
            |message| message.attributes_digest = vec![9; 32].into(),
        ];
        all_differ(&statement, &changes, rekeying_statement_digest);
    }

    /// Every change of the message gives another digest.
    fn all_differ<M: Clone>(message: &M, changes: &[fn(&mut M)], digest: impl Fn(&M) -> Digest32) {
        for (number, change) in changes.iter().enumerate() {
            let mut changed = message.clone();
            change(&mut changed);
            assert_ne!(digest(&changed), digest(message), "change {number}");
        }
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
        all_differ(&message, &changes, |message| preparation_digest(&NETWORK, message));
    }

    #[test]
    fn every_field_of_the_check_of_attributes_is_signed() {
        let (schema, commitments) = (Digest32([1; 32]), Digest32([2; 32]));
        let statement = AttributeStatement { registration: RegistrationId(1), revision: 1, schema, commitments };
        let session = attribute_session_digest(&NETWORK, &statement);
        for other in [
            AttributeStatement { registration: RegistrationId(2), ..statement },
            AttributeStatement { revision: 2, ..statement },
            AttributeStatement { schema: commitments, ..statement },
            AttributeStatement { commitments: schema, ..statement },
        ] {
            assert_ne!(attribute_session_digest(&NETWORK, &other), session);
        }
        assert_ne!(attribute_session_digest(&NetworkId { chain_id: 2, ..NETWORK }, &statement), session);
        let check = AttributeCheck {
            keyholder: 1,
            share_digests: vec![vec![1; 32].into(), vec![2; 32].into()],
            coin_part: vec![3; 32].into(),
            signature: Default::default(),
        };
        let digest = attribute_check_digest(&session, 5, &check);
        let changes: [fn(&mut AttributeCheck); 3] = [
            |check| check.keyholder = 2,
            |check| check.share_digests.swap(0, 1),
            |check| check.coin_part = vec![4; 32].into(),
        ];
        for change in changes {
            let mut changed = check.clone();
            change(&mut changed);
            assert_ne!(attribute_check_digest(&session, 5, &changed), digest);
        }
        assert_ne!(attribute_check_digest(&session, 6, &check), digest);
        let sums = AttributeSums { keyholder: 1, sums: vec![1; 512].into(), signature: Default::default() };
        let digest = attribute_sums_digest(&session, 5, &sums);
        assert_ne!(attribute_sums_digest(&session, 6, &sums), digest);
        assert_ne!(attribute_sums_digest(&session, 5, &AttributeSums { keyholder: 2, ..sums.clone() }), digest);
        assert_ne!(attribute_sums_digest(&session, 5, &AttributeSums { sums: vec![2; 512].into(), ..sums }), digest);
    }
}
