//! Answers: computed once, stored before anything leaves, replayed for ever.

use super::{META, Store, StoreError, charges::Outcome};
use locus_commitment::Digest32;
use locus_sharing::KeyholderIndex;
use locus_wire::pb::keyholder::{AnswerCommitment, Preparation, ReleasedShare};
use prost::Message as _;
use redb::{Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;

/// Order id to an encoded [`StoredAnswer`].
const ANSWERS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("answers");
/// Order id to the encoded preparation that was signed for it.
const PREPARATIONS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("preparations");
/// Order id to how often it was prepared: a preparation may be signed again as it was, beside others of its peers.
const PREPARED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("prepared");
/// Order id to the first attempt at evaluating its filter that was not made.
const ATTEMPTS: TableDefinition<&[u8; 32], u64> = TableDefinition::new("attempts");
/// Attempts are counted from 1, those of a successor from what its storage says.
const FIRST_ATTEMPT: u64 = 1;
/// Name of a successor's first attempt in the meta table.
pub(super) const FIRST_ATTEMPT_NAME: &str = "first_attempt";
/// Keyholder to the longest charge log it has shown.
pub(super) const PEER_SEQUENCES: TableDefinition<u32, u64> = TableDefinition::new("peer_sequences");

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(ANSWERS)?;
    transaction.open_table(PREPARATIONS)?;
    transaction.open_table(PREPARED)?;
    transaction.open_table(ATTEMPTS)?;
    transaction.open_table(PEER_SEQUENCES)?;
    Ok(())
}

/// An amount owed to an account for one answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Payee {
    /// 20 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) account: bytes::Bytes,
    /// Base units, decimal.
    #[prost(string, tag = "2")]
    pub(crate) amount: String,
}

/// Everything needed to release an answer again.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredAnswer {
    /// What this keyholder committed to.
    #[prost(message, optional, tag = "1")]
    pub(crate) commitment: Option<AnswerCommitment>,
    /// Both shares of every block, sealed to the researcher.
    #[prost(message, repeated, tag = "2")]
    pub(crate) shares: Vec<ReleasedShare>,
    /// Who is paid how much when the order is settled.
    #[prost(message, repeated, tag = "3")]
    pub(crate) payees: Vec<Payee>,
    /// Total price in base units, decimal.
    #[prost(string, tag = "4")]
    pub(crate) price: String,
    /// Keyholders whose preparations the answer rests on.
    #[prost(uint32, repeated, tag = "5")]
    pub(crate) participants: Vec<u32>,
    /// Registry slots of the cohort's members, in markets that settle on proven cohorts.
    #[prost(uint64, repeated, tag = "6")]
    pub(crate) slots: Vec<u64>,
    /// Whether shares or a signature may have left.
    #[prost(bool, tag = "7")]
    pub(crate) is_released: bool,
    /// Whether the order requires proven datasets, in the same markets.
    #[prost(bool, tag = "8")]
    pub(crate) proven_only: bool,
}

impl StoredAnswer {
    /// Name of the charge, when it is released with the commitments of all three keyholders: each has charged before.
    fn charged_by_all(&self) -> Result<Option<&[u8; 32]>, StoreError> {
        let Some(commitment) =
            self.commitment.as_ref().filter(|_| self.participants.len() == KeyholderIndex::ALL.len())
        else {
            return Ok(None);
        };
        let name = commitment.answer_digest.as_ref().try_into();
        name.map(Some).map_err(|_| StoreError::Damaged("answer"))
    }
}

impl Store {
    /// The stored answer of an order.
    pub(crate) fn answer(&self, order: &Digest32) -> Result<Option<StoredAnswer>, StoreError> {
        let table = self.database.begin_read()?.open_table(ANSWERS)?;
        let Some(bytes) = table.get(&order.0)? else { return Ok(None) };
        StoredAnswer::decode(bytes.value()).map(Some).map_err(|_| StoreError::Damaged("answer"))
    }

    /// Stores what a charge is for inside the transaction that makes it. An attempt that was made is refused.
    pub(super) fn put_outcome(
        transaction: &WriteTransaction,
        order: &Digest32,
        outcome: Outcome<'_>,
    ) -> Result<(), StoreError> {
        match outcome {
            Outcome::Answer { answer, .. } => {
                transaction.open_table(ANSWERS)?.insert(&order.0, answer.encode_to_vec().as_slice())?;
            }
            Outcome::Attempt(attempt) => {
                let mut table = transaction.open_table(ATTEMPTS)?;
                let first = transaction.open_table(META)?.get(FIRST_ATTEMPT_NAME)?.map(|first| first.value());
                let next = table.get(&order.0)?.map(|next| next.value()).or(first).unwrap_or(FIRST_ATTEMPT);
                let after = attempt.checked_add(1).filter(|_| attempt >= next);
                table.insert(&order.0, after.ok_or(StoreError::EvaluationUsed(attempt))?)?;
            }
        }
        Ok(())
    }

    /// The first attempt at an order that was not made here.
    pub(crate) fn next_attempt(&self, order: &Digest32) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(ATTEMPTS)?;
        let made = table.get(&order.0)?.map(|next| next.value());
        Ok(made.or(self.meta(FIRST_ATTEMPT_NAME)?).unwrap_or(FIRST_ATTEMPT))
    }

    /// Stores this keyholder's part of a filtered answer that was computed from `prepared`; false when something else
    /// was prepared since, or is there already.
    pub(crate) fn put_filtered_answer(
        &self,
        order: &Digest32,
        prepared: &Preparation,
        answer: &StoredAnswer,
    ) -> Result<bool, StoreError> {
        let transaction = self.database.begin_write()?;
        if !Self::is_last_in(&transaction, order, prepared)? || Self::is_answered_in(&transaction, order)? {
            return Ok(false);
        }
        transaction.open_table(ANSWERS)?.insert(&order.0, answer.encode_to_vec().as_slice())?;
        transaction.commit()?;
        Ok(true)
    }

    /// Whether this is what was prepared last.
    fn is_last_in(
        transaction: &WriteTransaction,
        order: &Digest32,
        prepared: &Preparation,
    ) -> Result<bool, StoreError> {
        let preparations = transaction.open_table(PREPARATIONS)?;
        let last = preparations.get(&order.0)?;
        Ok(last.is_some_and(|last| last.value() == prepared.encode_to_vec()))
    }

    pub(super) fn is_answered_in(transaction: &WriteTransaction, order: &Digest32) -> Result<bool, StoreError> {
        let answers = transaction.open_table(ANSWERS)?;
        let answer = answers.get(&order.0)?;
        Ok(answer.is_some())
    }

    /// How often the order was prepared.
    pub(crate) fn times_prepared(&self, order: &Digest32) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(PREPARED)?;
        Ok(table.get(&order.0)?.map_or(0, |times| times.value()))
    }

    pub(super) fn times_prepared_in(transaction: &WriteTransaction, order: &Digest32) -> Result<u64, StoreError> {
        let table = transaction.open_table(PREPARED)?;
        let times = table.get(&order.0)?;
        Ok(times.map_or(0, |times| times.value()))
    }

    /// Notes that something of this very answer may leave, since the commitments of all who take part are there; false
    /// when it is not there any more.
    pub(crate) fn mark_released(&self, order: &Digest32, released: &StoredAnswer) -> Result<bool, StoreError> {
        if released.is_released {
            return Ok(true);
        }
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(ANSWERS)?;
            let kept = released.encode_to_vec();
            if table.get(&order.0)?.is_none_or(|bytes| bytes.value() != kept) {
                return Ok(false);
            }
            let marked = StoredAnswer { is_released: true, ..released.clone() };
            table.insert(&order.0, marked.encode_to_vec().as_slice())?;
        }
        if let Some(name) = released.charged_by_all()? {
            Self::note_charged_by_all(&transaction, name)?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// Forgets an answer of which nothing has left; false when something may have.
    pub(crate) fn forget_unreleased(&self, order: &Digest32) -> Result<bool, StoreError> {
        let transaction = self.database.begin_write()?;
        let is_forgotten = Self::forget_in(&transaction, order)?;
        transaction.commit()?;
        Ok(is_forgotten)
    }

    fn forget_in(transaction: &WriteTransaction, order: &Digest32) -> Result<bool, StoreError> {
        let mut table = transaction.open_table(ANSWERS)?;
        let kept = table.get(&order.0)?.map(|bytes| StoredAnswer::decode(bytes.value()));
        let kept = kept.transpose().map_err(|_| StoreError::Damaged("answer"))?;
        if kept.is_some_and(|answer| answer.is_released) {
            return Ok(false);
        }
        table.remove(&order.0)?;
        Ok(true)
    }

    /// The preparation signed for an order.
    pub(crate) fn preparation(&self, order: &Digest32) -> Result<Option<Preparation>, StoreError> {
        let table = self.database.begin_read()?.open_table(PREPARATIONS)?;
        let Some(bytes) = table.get(&order.0)? else { return Ok(None) };
        Preparation::decode(bytes.value()).map(Some).map_err(|_| StoreError::Damaged("preparation"))
    }

    /// Stores a preparation in place of an earlier one of the same order, and forgets the answer to that; false when
    /// something of the answer may have left.
    ///
    /// Where no answer is forgotten, a crash may undo this. Then the commitment that needs the preparation is refused, and
    /// another is asked for. An answer that came back would instead be repeated, to preparations that nobody else knows.
    pub(crate) fn put_preparation(&self, order: &Digest32, preparation: &Preparation) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin_write()?;
        if !Self::is_answered_in(&transaction, order)? {
            transaction.set_durability(Durability::None)?;
        } else if !Self::forget_in(&transaction, order)? {
            return Ok(false);
        }
        transaction.open_table(PREPARATIONS)?.insert(&order.0, preparation.encode_to_vec().as_slice())?;
        let times = Self::times_prepared_in(&transaction, order)?.saturating_add(1);
        transaction.open_table(PREPARED)?.insert(&order.0, times)?;
        transaction.commit()?;
        Ok(true)
    }

    /// Notes how long a peer's charge log was when it signed something. Words that arrive late change
    /// nothing.
    ///
    /// A crash may undo this. It is on disk with the charge that follows it.
    pub(crate) fn note_peer_sequence(&self, peer: u32, sequence: u64) -> Result<(), StoreError> {
        let transaction = self.begin_repeatable_write()?;
        {
            let mut table = transaction.open_table(PEER_SEQUENCES)?;
            if table.get(peer)?.is_some_and(|seen| seen.value() >= sequence) {
                return Ok(());
            }
            table.insert(peer, sequence)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The longest charge log that each peer has shown, by keyholder number.
    pub(crate) fn peer_sequences(&self) -> Result<BTreeMap<u32, u64>, StoreError> {
        let table = self.database.begin_read()?.open_table(PEER_SEQUENCES)?;
        let mut sequences = BTreeMap::new();
        for entry in table.iter()? {
            let (peer, sequence) = entry?;
            sequences.insert(peer.value(), sequence.value());
        }
        Ok(sequences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The storage as it is when the process is killed now.
    fn after_a_crash(dir: &std::path::Path) -> (tempfile::TempDir, Store) {
        let copy = tempfile::tempdir().expect("a folder");
        for entry in std::fs::read_dir(dir).expect("it lists") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("it copies");
        }
        let store = Store::open(copy.path()).expect("it opens");
        (copy, store)
    }

    #[test]
    fn a_crash_brings_back_no_answer_that_was_forgotten() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("it opens");
        let order = Digest32([1; 32]);
        let prepared = |attempt| Preparation { attempt, ..Default::default() };
        assert!(store.put_preparation(&order, &prepared(1)).expect("it writes"));
        // Control: what need not be on disk is not there yet.
        let (_first, crashed) = after_a_crash(dir.path());
        assert!(crashed.preparation(&order).expect("it reads").is_none());

        assert!(store.put_filtered_answer(&order, &prepared(1), &StoredAnswer::default()).expect("it writes"));
        let (_second, crashed) = after_a_crash(dir.path());
        assert_eq!(crashed.preparation(&order).expect("it reads"), Some(prepared(1)), "with what followed it");
        assert!(crashed.answer(&order).expect("it reads").is_some());

        assert!(store.put_preparation(&order, &prepared(2)).expect("it writes"));
        let (_third, crashed) = after_a_crash(dir.path());
        assert!(crashed.answer(&order).expect("it reads").is_none());
        assert_eq!(crashed.preparation(&order).expect("it reads"), Some(prepared(2)));
    }

    #[test]
    fn a_filtered_answer_gives_way_to_another_attempt_until_it_is_released() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("it opens");
        let order = Digest32([1; 32]);
        let prepared = |attempt| Preparation { attempt, ..Default::default() };
        let answer = |attempt| StoredAnswer {
            commitment: Some(AnswerCommitment { attempt, ..Default::default() }),
            ..Default::default()
        };
        let kept = || store.answer(&order).expect("it reads").and_then(|answer| answer.commitment);
        let put = |attempt| store.put_filtered_answer(&order, &prepared(attempt), &answer(attempt)).expect("it writes");

        assert!(!put(1), "nothing was prepared");
        assert!(store.put_preparation(&order, &prepared(1)).expect("it writes"));
        assert!(put(1) && !put(1), "an answer is kept once");
        assert!(store.put_preparation(&order, &prepared(2)).expect("it writes"));
        assert!(kept().is_none(), "the answer to the earlier preparation is forgotten");
        assert!(!put(1), "an evaluation that was overtaken keeps nothing");
        assert!(put(2));
        assert!(store.forget_unreleased(&order).expect("it writes") && kept().is_none());
        assert!(put(2));

        assert!(store.mark_released(&order, &answer(2)).expect("it writes"));
        assert!(!store.forget_unreleased(&order).expect("it reads"));
        assert!(!store.put_preparation(&order, &prepared(3)).expect("it reads"));
        assert!(!put(2) && !put(3));
        assert_eq!(kept().map(|commitment| commitment.attempt), Some(2));
        assert_eq!(store.preparation(&order).expect("it reads"), Some(prepared(2)));
    }
}
