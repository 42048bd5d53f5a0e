//! What the aggregator remembers of each order: the preparations it was agreed on, the sums, the
//! sealed shares, and the finished answer. All of it can be read by anyone without harm: sums mean
//! nothing without the keyholders, and shares are sealed to the researcher.

use crate::error::AggregatorError;
use locus_commitment::Digest32;
use locus_ledger::OrderId;
use locus_wire::pb::{
    keyholder::{CommitAnswerRequest, Preparation, ProvenCohort, ReleasedShare},
    query::{AnswerSummary, BlockAnswer, SealedShare},
};
use prost::Message as _;
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::{ops::RangeInclusive, path::Path, sync::Arc};

type Bytes32 = [u8; 32];

/// Memory for pages of the database; the library's own default grows to a gigabyte.
const CACHE_BYTES: usize = 8 << 20;

/// Order to the preparations that its answer is computed from.
const PREPARATIONS: TableDefinition<'_, &Bytes32, &[u8]> = TableDefinition::new("preparations");
/// Order to the digest of the answer whose sums are complete.
const SUMMED: TableDefinition<'_, &Bytes32, &Bytes32> = TableDefinition::new("summed");
/// (Order, [`place_of`] selection and panel block) to the block's sums: a block answer without shares.
const SUMS: TableDefinition<'_, (&Bytes32, u32), &[u8]> = TableDefinition::new("sums");
/// (Order, the same place, share) to the sealed partial decryption.
const SHARES: TableDefinition<'_, (&Bytes32, u32, u8), &[u8]> = TableDefinition::new("shares");
/// Order to the cohort of its answer, in markets that settle on proven cohorts.
const COHORTS: TableDefinition<'_, &Bytes32, &[u8]> = TableDefinition::new("cohorts");
/// Order to the time at which its answer was complete, and its summary.
const COMPLETE: TableDefinition<'_, &Bytes32, (u64, &[u8])> = TableDefinition::new("complete");

/// The cohort of an answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CohortRecord {
    /// What was proven of it.
    #[prost(message, optional, tag = "1")]
    pub(crate) proven: Option<ProvenCohort>,
    /// Registry slots of its members, ascending.
    #[prost(uint32, repeated, tag = "2")]
    pub(crate) slots: Vec<u32>,
    /// Its panel, 32 bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) panel: Vec<u8>,
}

/// The aggregator's own database.
#[derive(Debug, Clone)]
pub(crate) struct Answers(Arc<Database>);

impl Answers {
    /// Opens or creates the database file.
    pub(crate) fn open(file: &Path) -> Result<Self, AggregatorError> {
        let answers =
            Self(Arc::new(Database::builder().set_cache_size(CACHE_BYTES).create(file).map_err(redb::Error::from)?));
        answers.write(|write| {
            write.open_table(PREPARATIONS)?;
            write.open_table(SUMMED)?;
            write.open_table(SUMS)?;
            write.open_table(SHARES)?;
            write.open_table(COHORTS)?;
            write.open_table(COMPLETE)?;
            Ok(())
        })?;
        Ok(answers)
    }

    /// The preparations that an earlier try was agreed on.
    pub(crate) fn preparations(&self, order: &OrderId) -> Result<Option<Vec<Preparation>>, AggregatorError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(PREPARATIONS).map_err(redb::Error::from)?;
        let Some(stored) = table.get(&order.0.0).map_err(redb::Error::from)? else { return Ok(None) };
        let damaged = |_| AggregatorError::DamagedRecord("preparation");
        Ok(Some(CommitAnswerRequest::decode(stored.value()).map_err(damaged)?.preparations))
    }

    /// Remembers preparations durably, before anybody commits to them.
    pub(crate) fn put_preparations(
        &self,
        order: &OrderId,
        preparations: &[Preparation],
    ) -> Result<(), AggregatorError> {
        let record = CommitAnswerRequest { question: None, preparations: preparations.to_vec() };
        self.write(|write| {
            write.open_table(PREPARATIONS)?.insert(&order.0.0, record.encode_to_vec().as_slice())?;
            Ok(())
        })
    }

    /// The cohort of an answer, once it is proven.
    pub(crate) fn cohort(&self, order: &OrderId) -> Result<Option<CohortRecord>, AggregatorError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(COHORTS).map_err(redb::Error::from)?;
        let Some(stored) = table.get(&order.0.0).map_err(redb::Error::from)? else { return Ok(None) };
        CohortRecord::decode(stored.value()).map(Some).map_err(|_| AggregatorError::DamagedRecord("cohort"))
    }

    /// Remembers the cohort of an answer, before anybody signs for it.
    pub(crate) fn put_cohort(&self, order: &OrderId, cohort: &CohortRecord) -> Result<(), AggregatorError> {
        self.write(|write| {
            write.open_table(COHORTS)?.insert(&order.0.0, cohort.encode_to_vec().as_slice())?;
            Ok(())
        })
    }

    /// Whether the sums of exactly this answer are here.
    pub(crate) fn is_summed(&self, order: &OrderId, answer: &Digest32) -> Result<bool, AggregatorError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(SUMMED).map_err(redb::Error::from)?;
        let stored = table.get(&order.0.0).map_err(redb::Error::from)?;
        Ok(stored.is_some_and(|stored| *stored.value() == answer.0))
    }

    /// Removes the sums and shares of an earlier try.
    pub(crate) fn begin_sums(&self, order: &OrderId) -> Result<(), AggregatorError> {
        self.write_repeatable(|write| {
            write.open_table(SUMMED)?.remove(&order.0.0)?;
            remove_parts(write, order)
        })
    }

    /// Keeps the sums of some blocks.
    pub(crate) fn put_sums(&self, order: &OrderId, blocks: &[BlockAnswer]) -> Result<(), AggregatorError> {
        self.write_repeatable(|write| {
            let mut sums = write.open_table(SUMS)?;
            for block in blocks {
                sums.insert((&order.0.0, place_of(block.selection, block.block)), block.encode_to_vec().as_slice())?;
            }
            Ok(())
        })
    }

    /// Says that all sums of this answer are here, durably: once the order is settled, ciphertexts that were re-keyed or revoked
    /// since could not be summed again.
    pub(crate) fn end_sums(&self, order: &OrderId, answer: &Digest32) -> Result<(), AggregatorError> {
        self.write(|write| {
            write.open_table(SUMMED)?.insert(&order.0.0, &answer.0)?;
            Ok(())
        })
    }

    /// Keeps some sealed shares; the caller has checked their numbers.
    pub(crate) fn put_shares(&self, order: &OrderId, shares: &[ReleasedShareFrom]) -> Result<(), AggregatorError> {
        self.write_repeatable(|write| {
            let mut table = write.open_table(SHARES)?;
            for ReleasedShareFrom { share, number, keyholder } in shares {
                let sealed =
                    SealedShare { share: share.share, keyholder: u32::from(*keyholder), sealed: share.sealed.clone() };
                let place = place_of(share.selection, share.block);
                table.insert((&order.0.0, place, *number), sealed.encode_to_vec().as_slice())?;
            }
            Ok(())
        })
    }

    /// Completes an answer; from now on it is sent again instead of asked again.
    pub(crate) fn complete(
        &self,
        order: &OrderId,
        now_unix_s: u64,
        summary: &AnswerSummary,
    ) -> Result<(), AggregatorError> {
        self.write(|write| {
            write.open_table(COMPLETE)?.insert(&order.0.0, (now_unix_s, summary.encode_to_vec().as_slice()))?;
            Ok(())
        })
    }

    /// The summary of an answer that is complete.
    pub(crate) fn summary(&self, order: &OrderId) -> Result<Option<AnswerSummary>, AggregatorError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(COMPLETE).map_err(redb::Error::from)?;
        let Some(stored) = table.get(&order.0.0).map_err(redb::Error::from)? else { return Ok(None) };
        let summary = AnswerSummary::decode(stored.value().1);
        summary.map(Some).map_err(|_| AggregatorError::DamagedRecord("summary"))
    }

    /// The first block from `place` on, with its shares; `None` past the last.
    pub(crate) fn block_from(&self, order: &OrderId, place: u32) -> Result<Option<BlockAnswer>, AggregatorError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let sums = read.open_table(SUMS).map_err(redb::Error::from)?;
        let blocks = (&order.0.0, place)..=(&order.0.0, u32::MAX);
        let Some(entry) = sums.range(blocks).map_err(redb::Error::from)?.next() else { return Ok(None) };
        let (_, stored) = entry.map_err(redb::Error::from)?;
        let damaged = |_| AggregatorError::DamagedRecord("block answer");
        let mut answer = BlockAnswer::decode(stored.value()).map_err(damaged)?;
        let shares = read.open_table(SHARES).map_err(redb::Error::from)?;
        let place = place_of(answer.selection, answer.block);
        for entry in shares.range(shares_of(order, place..=place)).map_err(redb::Error::from)? {
            let (_, sealed) = entry.map_err(redb::Error::from)?;
            answer.shares.push(SealedShare::decode(sealed.value()).map_err(damaged)?);
        }
        Ok(Some(answer))
    }

    /// Forgets answers that were complete before `time_unix_s`, and what is kept of the other orders that are over. Returns how
    /// many orders it was.
    pub(crate) fn forget(&self, time_unix_s: u64, is_over: impl Fn(&OrderId) -> bool) -> Result<u64, AggregatorError> {
        let mut forgotten = 0;
        self.write(|write| {
            let mut old: Vec<Bytes32> = Vec::new();
            {
                let complete = write.open_table(COMPLETE)?;
                for entry in complete.iter()? {
                    let (key, value) = entry?;
                    if value.value().0 < time_unix_s {
                        old.push(*key.value());
                    }
                }
                // Nothing is kept of an order before its preparations.
                for entry in write.open_table(PREPARATIONS)?.iter()? {
                    let key = *entry?.0.value();
                    if complete.get(&key)?.is_none() && is_over(&OrderId(Digest32(key))) {
                        old.push(key);
                    }
                }
            }
            for key in &old {
                let order = OrderId(Digest32(*key));
                write.open_table(COMPLETE)?.remove(key)?;
                write.open_table(PREPARATIONS)?.remove(key)?;
                write.open_table(SUMMED)?.remove(key)?;
                write.open_table(COHORTS)?.remove(key)?;
                remove_parts(write, &order)?;
            }
            forgotten = old.len() as u64;
            Ok(())
        })?;
        Ok(forgotten)
    }

    /// One transaction, on disk when this returns, with all before it.
    fn write(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), AggregatorError> {
        self.write_with(Durability::Immediate, work)
    }

    /// One transaction that a crash may undo, unless a durable one follows: of what can be summed and released again.
    fn write_repeatable(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), AggregatorError> {
        self.write_with(Durability::None, work)
    }

    fn write_with(
        &self,
        durability: Durability,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), AggregatorError> {
        let mut write = self.0.begin_write().map_err(redb::Error::from)?;
        write.set_durability(durability).map_err(redb::Error::from)?;
        work(&write)?;
        write.commit().map_err(redb::Error::from)?;
        Ok(())
    }
}

/// A share with its checked number, and who released it.
#[derive(Debug, Clone)]
pub(crate) struct ReleasedShareFrom {
    pub(crate) share: ReleasedShare,
    /// 1, 2 or 3.
    pub(crate) number: u8,
    /// 1, 2 or 3.
    pub(crate) keyholder: u8,
}

/// Panel blocks that places have room for: 2^24 blocks have more variants than a genome.
const BLOCK_BITS: u32 = 24;
const _: () = assert!(locus_phenotype::FILTER_SELECTIONS_MAX < 1 << (u32::BITS - BLOCK_BITS));

/// Where a block of a selection stands in the order of an answer.
pub(crate) fn place_of(selection: u32, block: u32) -> u32 {
    selection << BLOCK_BITS | block
}

fn shares_of(order: &OrderId, blocks: RangeInclusive<u32>) -> RangeInclusive<(&Bytes32, u32, u8)> {
    (&order.0.0, *blocks.start(), 0)..=(&order.0.0, *blocks.end(), u8::MAX)
}

fn remove_parts(write: &redb::WriteTransaction, order: &OrderId) -> Result<(), redb::Error> {
    let blocks = (&order.0.0, 0)..=(&order.0.0, u32::MAX);
    write.open_table(SUMS)?.retain_in(blocks, |_, _| false)?;
    write.open_table(SHARES)?.retain_in(shares_of(order, 0..=u32::MAX), |_, _| false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_wire::pb::query::PlaneAnswer;

    const ORDER: OrderId = OrderId(Digest32([1; 32]));
    const NEIGHBOUR: OrderId = OrderId(Digest32([2; 32]));

    fn block(number: u32) -> BlockAnswer {
        let plane = PlaneAnswer { plane: 0, body_sum: vec![7; 8].into() };
        BlockAnswer { block: number, tau: vec![9; 32].into(), planes: vec![plane], shares: Vec::new(), selection: 0 }
    }

    fn share(block: u32, number: u8) -> ReleasedShareFrom {
        let sealed = vec![number; 4].into();
        let share = ReleasedShare { block, share: u32::from(number), sealed, selection: 0 };
        ReleasedShareFrom { share, number, keyholder: number % 3 + 1 }
    }

    fn open() -> (tempfile::TempDir, Answers) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let answers = Answers::open(&folder.path().join("aggregator.redb")).expect("opens");
        (folder, answers)
    }

    fn fill(answers: &Answers, order: &OrderId) {
        answers.begin_sums(order).expect("begins");
        answers.put_sums(order, &[block(3), block(40)]).expect("writes");
        answers.end_sums(order, &Digest32([5; 32])).expect("writes");
        answers.put_shares(order, &[share(40, 1), share(3, 2), share(3, 1), share(3, 3)]).expect("writes");
        answers.complete(order, 100, &AnswerSummary { cohort_size: 8, ..Default::default() }).expect("writes");
    }

    #[test]
    fn an_answer_comes_back_block_by_block_with_its_shares_in_order() {
        let (_folder, answers) = open();
        fill(&answers, &ORDER);
        fill(&answers, &NEIGHBOUR);
        let first = answers.block_from(&ORDER, 0).expect("reads").expect("a block");
        assert_eq!((first.block, first.planes.len()), (3, 1));
        assert_eq!(first.shares.iter().map(|share| share.share).collect::<Vec<_>>(), [1, 2, 3]);
        let second = answers.block_from(&ORDER, 4).expect("reads").expect("a block");
        assert_eq!((second.block, second.shares.len()), (40, 1));
        assert_eq!(answers.block_from(&ORDER, 41).expect("reads"), None);
        assert_eq!(answers.summary(&ORDER).expect("reads").map(|summary| summary.cohort_size), Some(8));
    }

    #[test]
    fn a_new_try_removes_the_parts_of_the_last_one_and_of_no_other_order() {
        let (_folder, answers) = open();
        fill(&answers, &ORDER);
        fill(&answers, &NEIGHBOUR);
        assert!(answers.is_summed(&ORDER, &Digest32([5; 32])).expect("reads"));
        answers.begin_sums(&ORDER).expect("begins");
        assert!(!answers.is_summed(&ORDER, &Digest32([5; 32])).expect("reads"));
        assert_eq!(answers.block_from(&ORDER, 0).expect("reads"), None);
        assert!(answers.block_from(&NEIGHBOUR, 0).expect("reads").is_some());
        assert!(!answers.is_summed(&NEIGHBOUR, &Digest32([6; 32])).expect("reads"));
    }

    #[test]
    fn old_answers_are_forgotten_whole() {
        let (_folder, answers) = open();
        fill(&answers, &ORDER);
        let preparation = Preparation { keyholder: 1, ..Default::default() };
        answers.put_preparations(&ORDER, std::slice::from_ref(&preparation)).expect("writes");
        let forget_before = |time| answers.forget(time, |_| false).expect("writes");
        assert_eq!(forget_before(100), 0);
        assert_eq!(answers.preparations(&ORDER).expect("reads"), Some(vec![preparation]));
        assert_eq!(forget_before(101), 1);
        assert_eq!(answers.summary(&ORDER).expect("reads"), None);
        assert_eq!(answers.block_from(&ORDER, 0).expect("reads"), None);
        assert_eq!(answers.preparations(&ORDER).expect("reads"), None);
    }

    #[test]
    fn what_is_kept_of_an_order_that_is_over_is_forgotten_unless_it_has_an_answer() {
        let (_folder, answers) = open();
        let answered = OrderId(Digest32([3; 32]));
        fill(&answers, &answered);
        for order in [&ORDER, &NEIGHBOUR, &answered] {
            answers.put_preparations(order, &[Preparation::default()]).expect("writes");
            answers.put_cohort(order, &CohortRecord::default()).expect("writes");
        }
        answers.put_sums(&ORDER, &[block(3)]).expect("writes");
        answers.put_shares(&ORDER, &[share(3, 1)]).expect("writes");
        assert_eq!(answers.forget(0, |order| *order != NEIGHBOUR).expect("writes"), 1);
        assert_eq!(answers.preparations(&ORDER).expect("reads"), None);
        assert_eq!(answers.cohort(&ORDER).expect("reads"), None);
        assert_eq!(answers.block_from(&ORDER, 0).expect("reads"), None);
        assert!(answers.preparations(&NEIGHBOUR).expect("reads").is_some());
        assert!(answers.summary(&answered).expect("reads").is_some());
        assert!(answers.block_from(&answered, 0).expect("reads").is_some());
    }

    #[test]
    fn sums_that_are_complete_survive_a_crash() {
        let (folder, answers) = open();
        let digest = Digest32([5; 32]);
        answers.begin_sums(&ORDER).expect("begins");
        answers.put_sums(&ORDER, &[block(3), block(40)]).expect("writes");
        answers.end_sums(&ORDER, &digest).expect("writes");
        // The process never closes this file: its copy is what a crash leaves.
        let left = folder.path().join("left.redb");
        std::fs::copy(folder.path().join("aggregator.redb"), &left).expect("copies");
        let found = Answers::open(&left).expect("opens");
        assert!(found.is_summed(&ORDER, &digest).expect("reads"));
        assert_eq!(found.block_from(&ORDER, 4).expect("reads").map(|block| block.block), Some(40));
    }
}
