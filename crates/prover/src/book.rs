//! Cohorts that were proven, with what hides who is in them: a table that survives restarts.

use crate::cohort::ProvenCohort;
use locus_commitment::{Digest32, field::FieldBytes};
use locus_ledger::{Cohort, CohortStatement, CohortStep, PROOF_BYTES};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, backends::InMemoryBackend};
use std::{collections::BTreeMap, path::Path};

/// Cohorts by name.
const COHORTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("cohorts");
/// Names in the order in which they came.
const ORDER: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("order");

/// Cohorts kept; the oldest goes first and would be proven again. With shards of 256 groups, a cohort of 100,000
/// people has up to 400 shards and 180 kB.
const COHORTS_MAX: u64 = 4_096;
/// Memory for pages of the database; the library's own default grows to a gigabyte.
const CACHE_BYTES: usize = 4 << 20;
/// Shard, size, total price, then x, y, payouts, digest, proof and blinding.
const STEP_BYTES: usize = 4 + 8 + 16 + 4 * 32 + PROOF_BYTES + 32;

/// Why the record of cohorts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The database refuses.
    #[error("the record of proven cohorts cannot be used: {0}")]
    Database(Box<redb::Error>),
    /// Bytes in the database are not what was written.
    #[error("the record of proven cohorts is damaged: remove the file, cohorts are proven again")]
    Damaged,
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for BookError {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// A record of proven cohorts. Its file tells who is in them: keep it as private as the service's other data.
#[derive(Debug)]
pub struct CohortBook {
    database: Database,
    cohorts_max: u64,
}

impl CohortBook {
    /// The record in a file; starts an empty one.
    ///
    /// # Errors
    /// [`BookError::Database`], also when another process has it open.
    pub fn open(file: &Path) -> Result<Self, BookError> {
        Self::with_limit(Database::builder().set_cache_size(CACHE_BYTES).create(file)?, COHORTS_MAX)
    }

    /// A record that ends with this value.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn in_memory() -> Result<Self, BookError> {
        Self::with_limit(Database::builder().create_with_backend(InMemoryBackend::new())?, COHORTS_MAX)
    }

    fn with_limit(database: Database, cohorts_max: u64) -> Result<Self, BookError> {
        let transaction = database.begin_write()?;
        transaction.open_table(COHORTS)?;
        transaction.open_table(ORDER)?;
        transaction.commit()?;
        Ok(Self { database, cohorts_max })
    }

    /// The cohort of this name, whose statement the caller knows.
    pub(crate) fn get(&self, name: &Digest32, statement: &CohortStatement) -> Result<Option<ProvenCohort>, BookError> {
        let table = self.database.begin_read()?.open_table(COHORTS)?;
        let Some(bytes) = table.get(&name.0)? else { return Ok(None) };
        decode(bytes.value(), statement).map(Some).ok_or(BookError::Damaged)
    }

    /// Keeps a cohort. When this returns it is on disk.
    pub(crate) fn put(&self, name: &Digest32, cohort: &ProvenCohort) -> Result<(), BookError> {
        let transaction = self.database.begin_write()?;
        {
            let mut cohorts = transaction.open_table(COHORTS)?;
            let mut order = transaction.open_table(ORDER)?;
            let next = order.last()?.map_or(0, |(number, _)| number.value() + 1);
            if cohorts.insert(&name.0, encode(cohort).as_slice())?.is_none() {
                order.insert(next, &name.0)?;
            }
            while redb::ReadableTableMetadata::len(&order)? > self.cohorts_max {
                let Some(oldest) = order.pop_first()?.map(|(_, name)| *name.value()) else { break };
                cohorts.remove(&oldest)?;
            }
        }
        Ok(transaction.commit()?)
    }
}

fn encode(cohort: &ProvenCohort) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(STEP_BYTES * cohort.steps.len());
    for (step, blinding) in cohort.steps.iter().zip(cohort.blindings.values()) {
        let Cohort { shard, size, total_price_units, commitment: [x, y], payouts } = &step.cohort;
        bytes.extend_from_slice(&shard.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&total_price_units.to_le_bytes());
        [x, y, payouts, &step.digest].iter().for_each(|word| bytes.extend_from_slice(&word.0));
        bytes.extend_from_slice(&step.proof);
        bytes.extend_from_slice(&blinding.0);
    }
    bytes
}

fn decode(bytes: &[u8], statement: &CohortStatement) -> Option<ProvenCohort> {
    let (records, rest) = bytes.as_chunks::<STEP_BYTES>();
    let mut cohort = ProvenCohort { statement: *statement, steps: Vec::new(), blindings: BTreeMap::new() };
    for record in records {
        let mut reader = record.as_slice();
        let shard = u32::from_le_bytes(take(&mut reader)?);
        let (size, total_price_units) =
            (u64::from_le_bytes(take(&mut reader)?), u128::from_le_bytes(take(&mut reader)?));
        let [x, y, payouts, digest] =
            [take(&mut reader)?, take(&mut reader)?, take(&mut reader)?, take(&mut reader)?].map(FieldBytes);
        let proof = take(&mut reader)?;
        let sums = Cohort { shard, size, total_price_units, commitment: [x, y], payouts };
        cohort.steps.push(CohortStep { cohort: sums, digest, proof });
        cohort.blindings.insert(shard, FieldBytes(take(&mut reader)?));
    }
    (rest.is_empty() && !records.is_empty() && cohort.blindings.len() == records.len()).then_some(cohort)
}

fn take<const N: usize>(reader: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = reader.split_first_chunk()?;
    *reader = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_genomics::PanelDigest;

    fn statement() -> CohortStatement {
        let condition = FieldBytes([0; 32]);
        CohortStatement { panel: PanelDigest([1; 32]), sequence: 2, policy: 3, condition, price_max_units: 4 }
    }

    fn cohort(label: u8) -> ProvenCohort {
        let word = |kind: u8| FieldBytes([label ^ kind; 32]);
        let step = |shard: u32| CohortStep {
            cohort: Cohort {
                shard,
                size: u64::from(shard) + 5,
                total_price_units: u128::MAX - u128::from(label),
                commitment: [word(1), word(2)],
                payouts: word(3),
            },
            digest: word(4),
            proof: [label; PROOF_BYTES],
        };
        ProvenCohort {
            statement: statement(),
            steps: vec![step(1), step(7)],
            blindings: BTreeMap::from([(1, word(5)), (7, word(6))]),
        }
    }

    fn name(label: u8) -> Digest32 {
        Digest32([label; 32])
    }

    #[test]
    fn cohorts_are_kept_until_newer_ones_need_the_room() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let book = CohortBook::with_limit(database, 2).unwrap();
        for label in [9, 3, 3, 5] {
            book.put(&name(label), &cohort(label)).unwrap();
        }
        assert!(book.get(&name(9), &statement()).unwrap().is_none());
        for label in [3, 5] {
            assert!(book.get(&name(label), &statement()).unwrap() == Some(cohort(label)));
        }
    }

    #[test]
    fn a_record_is_there_after_a_restart_and_refused_when_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohorts.redb");
        CohortBook::open(&file).unwrap().put(&name(1), &cohort(1)).unwrap();
        let book = CohortBook::open(&file).unwrap();
        assert!(book.get(&name(1), &statement()).unwrap() == Some(cohort(1)));
        assert!(book.get(&name(2), &statement()).unwrap().is_none());
        let bytes = encode(&cohort(1));
        let twice = [&bytes[..STEP_BYTES], &bytes[..STEP_BYTES]].concat();
        for damaged in [&bytes[..STEP_BYTES - 1], &bytes[..STEP_BYTES + 1], &[], &twice] {
            assert!(decode(damaged, &statement()).is_none(), "{} bytes", damaged.len());
        }
    }
}
