//! What the archive remembers on its own disk: uploads under way and batches that wait for their
//! registration. Everything else is in the object store and on the chain.

use crate::error::ArchiveError;
use locus_commitment::Digest32;
use locus_genomics::PanelDigest;
use locus_ledger::RegistrationId;
use locus_store::{BatchId, PanelShape};
use locus_wire::pb::archive::{RekeyReceipt, UploadReceipt};
use prost::Message as _;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// Batch id to panel: written before the first object of an upload, removed when it is staged or
/// discarded. Whatever is left here at a start is debris of a crash.
const OPEN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("open_uploads");
/// Batch key to staged batch.
const STAGED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("staged_batches");
/// Registration to staged re-keying.
const REKEYED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("staged_rekeyings");
/// Progress of the background tasks.
const PROGRESS: TableDefinition<'_, &str, u64> = TableDefinition::new("progress");
/// Registrations up to this one were offered for publication.
const PUBLISHED_UP_TO: &str = "published_up_to";
/// Re-keyings up to this one were offered for publication.
const REKEYED_UP_TO: &str = "rekeyed_up_to";

/// Memory for pages of the database; the library's own default grows to a gigabyte.
const CACHE_BYTES: usize = 16 << 20;

/// Where the bodies of an upload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchPlace {
    /// Name of the batch in the store.
    pub(crate) batch: BatchId,
    /// Its panel.
    pub(crate) panel: PanelDigest,
    /// The panel's shape.
    pub(crate) shape: PanelShape,
}

/// What names a batch both before and after its registration. Dataset ids are derived from
/// registrant and batch nonce and seeds are bound to panel and version, so equal leaves are the same
/// batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchKey {
    /// Hash of all dataset leaves.
    pub(crate) leaves_hash: Digest32,
}

/// A batch whose bodies are stored and whose three attestations were given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StagedBatch {
    /// Where its bodies are.
    pub(crate) place: BatchPlace,
    /// What the contributor was answered.
    pub(crate) receipt: UploadReceipt,
}

/// A re-keying whose bodies are stored and whose three attestations were given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StagedRekeying {
    /// Where its bodies are.
    pub(crate) place: BatchPlace,
    /// The committee that attested.
    pub(crate) committee_epoch: u64,
    /// What the admin was answered.
    pub(crate) receipt: RekeyReceipt,
}

/// The archive's own database.
#[derive(Debug, Clone)]
pub(crate) struct StagedBatches(Arc<Database>);

impl BatchPlace {
    const BYTES: usize = 32 + 32 + 4 + 1;

    /// Batch id, panel digest, panel blocks (little endian), 1 for complete calls.
    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(&self.batch.0);
        bytes[32..64].copy_from_slice(&self.panel.0);
        bytes[64..68].copy_from_slice(&self.shape.blocks().to_le_bytes());
        bytes[68] = u8::from(self.shape.complete_calls());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<{ Self::BYTES }>()?;
        let (batch, tail) = head.split_first_chunk::<32>()?;
        let (panel, tail) = tail.split_first_chunk::<32>()?;
        let (blocks, tail) = tail.split_first_chunk::<4>()?;
        let complete_calls = match tail {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let shape = PanelShape::try_new(u32::from_le_bytes(*blocks), complete_calls).ok()?;
        Some((Self { batch: BatchId(*batch), panel: PanelDigest(*panel), shape }, rest))
    }
}

impl StagedBatch {
    /// The latest time of a block that can register it, in seconds since the epoch.
    pub(crate) fn deadline_unix_s(&self) -> u64 {
        self.receipt.registration.as_ref().map_or(0, |registration| registration.deadline_unix_s)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.place.to_bytes().to_vec();
        bytes.extend(self.receipt.encode_to_vec());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let (place, rest) = BatchPlace::parse(bytes).ok_or(ArchiveError::DamagedRecord("staged batch"))?;
        let receipt = UploadReceipt::decode(rest).map_err(|_| ArchiveError::DamagedRecord("staged batch"))?;
        Ok(Self { place, receipt })
    }
}

impl StagedRekeying {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.place.to_bytes().to_vec();
        bytes.extend(self.committee_epoch.to_le_bytes());
        bytes.extend(self.receipt.encode_to_vec());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let damaged = || ArchiveError::DamagedRecord("staged re-keying");
        let (place, rest) = BatchPlace::parse(bytes).ok_or_else(damaged)?;
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let receipt = RekeyReceipt::decode(rest).map_err(|_| damaged())?;
        Ok(Self { place, committee_epoch: u64::from_le_bytes(*epoch), receipt })
    }
}

impl StagedBatches {
    /// Opens or creates the database file.
    pub(crate) fn open(file: &Path) -> Result<Self, ArchiveError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(file).map_err(redb::Error::from)?;
        let write = database.begin_write().map_err(redb::Error::from)?;
        write.open_table(OPEN).map_err(redb::Error::from)?;
        write.open_table(STAGED).map_err(redb::Error::from)?;
        write.open_table(REKEYED).map_err(redb::Error::from)?;
        write.open_table(PROGRESS).map_err(redb::Error::from)?;
        write.commit().map_err(redb::Error::from)?;
        Ok(Self(Arc::new(database)))
    }

    /// The database file, which others keep tables of their own in.
    pub(crate) fn database(&self) -> Arc<Database> {
        self.0.clone()
    }

    /// Notes that objects of this batch may exist from now on.
    pub(crate) fn begin_upload(&self, place: &BatchPlace) -> Result<(), ArchiveError> {
        self.write(|write| {
            write.open_table(OPEN)?.insert(&place.batch.0[..], &place.to_bytes()[..])?;
            Ok(())
        })
    }

    /// Notes that no object of this batch exists any more.
    pub(crate) fn forget_upload(&self, batch: BatchId) -> Result<(), ArchiveError> {
        self.write(|write| {
            write.open_table(OPEN)?.remove(&batch.0[..])?;
            Ok(())
        })
    }

    /// Uploads that were neither staged nor discarded.
    pub(crate) fn open_uploads(&self) -> Result<Vec<BatchPlace>, ArchiveError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(OPEN).map_err(redb::Error::from)?;
        let mut places = Vec::new();
        for entry in table.iter().map_err(redb::Error::from)? {
            let (_, value) = entry.map_err(redb::Error::from)?;
            let parsed = BatchPlace::parse(value.value()).filter(|(_, rest)| rest.is_empty());
            let (place, _) = parsed.ok_or(ArchiveError::DamagedRecord("open upload"))?;
            places.push(place);
        }
        Ok(places)
    }

    /// Moves a batch from the uploads under way to the staged ones, durably and at once.
    pub(crate) fn stage(&self, key: &BatchKey, staged: &StagedBatch) -> Result<(), ArchiveError> {
        self.write(|write| {
            write.open_table(OPEN)?.remove(&staged.place.batch.0[..])?;
            write.open_table(STAGED)?.insert(&key.leaves_hash.0[..], &staged.to_bytes()[..])?;
            Ok(())
        })
    }

    /// The staged batch with this key.
    pub(crate) fn staged(&self, key: &BatchKey) -> Result<Option<StagedBatch>, ArchiveError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(STAGED).map_err(redb::Error::from)?;
        let value = table.get(&key.leaves_hash.0[..]).map_err(redb::Error::from)?;
        value.map(|value| StagedBatch::parse(value.value())).transpose()
    }

    /// All staged batches with their keys.
    pub(crate) fn all_staged(&self) -> Result<Vec<(BatchKey, StagedBatch)>, ArchiveError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(STAGED).map_err(redb::Error::from)?;
        let mut batches = Vec::new();
        for entry in table.iter().map_err(redb::Error::from)? {
            let (key, value) = entry.map_err(redb::Error::from)?;
            batches.push((parse_key(key.value())?, StagedBatch::parse(value.value())?));
        }
        Ok(batches)
    }

    /// All batches that wait for the chain, whatever they are.
    pub(crate) fn waiting(&self) -> Result<BTreeSet<BatchId>, ArchiveError> {
        let batches = self.all_staged()?.into_iter().map(|(_, staged)| staged.place.batch);
        Ok(batches.chain(self.all_staged_rekeyings()?.into_iter().map(|(_, staged)| staged.place.batch)).collect())
    }

    /// Forgets a staged batch: its registration is published, or can no longer happen.
    pub(crate) fn unstage(&self, key: &BatchKey) -> Result<(), ArchiveError> {
        self.write(|write| {
            write.open_table(STAGED)?.remove(&key.leaves_hash.0[..])?;
            Ok(())
        })
    }

    /// Moves a re-keying from the uploads under way to the staged ones, instead of an earlier one of the registration, which
    /// becomes an upload that is to be discarded: its place is returned.
    pub(crate) fn stage_rekeying(
        &self,
        id: RegistrationId,
        staged: &StagedRekeying,
    ) -> Result<Option<BatchPlace>, ArchiveError> {
        let replaced = self.staged_rekeying(id)?.map(|earlier| earlier.place);
        let replaced = replaced.filter(|earlier| *earlier != staged.place);
        self.write(|write| {
            let mut open = write.open_table(OPEN)?;
            open.remove(&staged.place.batch.0[..])?;
            if let Some(earlier) = replaced {
                open.insert(&earlier.batch.0[..], &earlier.to_bytes()[..])?;
            }
            write.open_table(REKEYED)?.insert(id.0, &staged.to_bytes()[..])?;
            Ok(())
        })?;
        Ok(replaced)
    }

    /// The staged re-keying of a registration.
    pub(crate) fn staged_rekeying(&self, id: RegistrationId) -> Result<Option<StagedRekeying>, ArchiveError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(REKEYED).map_err(redb::Error::from)?;
        let value = table.get(id.0).map_err(redb::Error::from)?;
        value.map(|value| StagedRekeying::parse(value.value())).transpose()
    }

    /// All staged re-keyings, by registration.
    pub(crate) fn all_staged_rekeyings(&self) -> Result<Vec<(RegistrationId, StagedRekeying)>, ArchiveError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(REKEYED).map_err(redb::Error::from)?;
        let mut rekeyings = Vec::new();
        for entry in table.iter().map_err(redb::Error::from)? {
            let (id, value) = entry.map_err(redb::Error::from)?;
            rekeyings.push((RegistrationId(id.value()), StagedRekeying::parse(value.value())?));
        }
        Ok(rekeyings)
    }

    /// Forgets a staged re-keying: its bodies are in use, or gone.
    pub(crate) fn unstage_rekeying(&self, id: RegistrationId) -> Result<(), ArchiveError> {
        self.write(|write| {
            write.open_table(REKEYED)?.remove(id.0)?;
            Ok(())
        })
    }

    /// The last registration that was offered for publication; 0 before the first.
    pub(crate) fn published_up_to(&self) -> Result<u64, ArchiveError> {
        self.progress(PUBLISHED_UP_TO)
    }

    /// Sets [`published_up_to`](Self::published_up_to).
    pub(crate) fn set_published_up_to(&self, registration: u64) -> Result<(), ArchiveError> {
        self.set_progress(PUBLISHED_UP_TO, registration)
    }

    /// The last re-keying that was offered for publication, in the order of the chain; 0 before the first.
    pub(crate) fn rekeyed_up_to(&self) -> Result<u64, ArchiveError> {
        self.progress(REKEYED_UP_TO)
    }

    /// Sets [`rekeyed_up_to`](Self::rekeyed_up_to).
    pub(crate) fn set_rekeyed_up_to(&self, number: u64) -> Result<(), ArchiveError> {
        self.set_progress(REKEYED_UP_TO, number)
    }

    fn progress(&self, name: &str) -> Result<u64, ArchiveError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(PROGRESS).map_err(redb::Error::from)?;
        let value = table.get(name).map_err(redb::Error::from)?;
        Ok(value.map_or(0, |value| value.value()))
    }

    fn set_progress(&self, name: &str, value: u64) -> Result<(), ArchiveError> {
        self.write(|write| {
            write.open_table(PROGRESS)?.insert(name, value)?;
            Ok(())
        })
    }

    /// One durable transaction.
    fn write(&self, work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), ArchiveError> {
        let write = self.0.begin_write().map_err(redb::Error::from)?;
        work(&write)?;
        write.commit().map_err(redb::Error::from)?;
        Ok(())
    }
}

fn parse_key(bytes: &[u8]) -> Result<BatchKey, ArchiveError> {
    let leaves_hash = bytes.try_into().map_err(|_| ArchiveError::DamagedRecord("batch key"))?;
    Ok(BatchKey { leaves_hash: Digest32(leaves_hash) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(byte: u8) -> BatchPlace {
        let shape = PanelShape::try_new(3, byte.is_multiple_of(2)).expect("three blocks are allowed");
        BatchPlace { batch: BatchId([byte; 32]), panel: PanelDigest([byte + 1; 32]), shape }
    }

    fn key(byte: u8) -> BatchKey {
        BatchKey { leaves_hash: Digest32([byte; 32]) }
    }

    #[test]
    fn a_batch_is_open_or_staged_but_never_both_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let file = folder.path().join("archive.redb");
        let receipt = UploadReceipt { registration: None, attestations: vec![vec![1; 65].into()] };
        let staged = StagedBatch { place: place(1), receipt };
        let batches = StagedBatches::open(&file).expect("opens");
        for byte in [1, 2] {
            batches.begin_upload(&place(byte)).expect("begins");
        }
        batches.stage(&key(5), &staged).expect("stages");
        drop(batches);
        let batches = StagedBatches::open(&file).expect("opens again");
        assert_eq!(batches.open_uploads().expect("reads"), [place(2)]);
        assert_eq!(batches.staged(&key(5)).expect("reads"), Some(staged.clone()));
        assert_eq!(batches.all_staged().expect("reads"), [(key(5), staged)]);
        assert_eq!(batches.staged(&key(6)).expect("reads"), None);
        batches.forget_upload(place(2).batch).expect("forgets");
        batches.unstage(&key(5)).expect("forgets");
        assert!(batches.open_uploads().expect("reads").is_empty());
        assert!(batches.all_staged().expect("reads").is_empty());
    }

    #[test]
    fn a_staged_rekeying_is_kept_until_it_is_used_or_another_takes_its_place() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let file = folder.path().join("archive.redb");
        let id = RegistrationId(7);
        let staged = |byte: u8| StagedRekeying {
            place: place(byte),
            committee_epoch: u64::from(byte),
            receipt: RekeyReceipt { registration_id: id.0, generation: u32::from(byte), ..Default::default() },
        };
        let batches = StagedBatches::open(&file).expect("opens");
        batches.begin_upload(&place(1)).expect("begins");
        assert_eq!(batches.stage_rekeying(id, &staged(1)).expect("stages"), None);
        drop(batches);
        let batches = StagedBatches::open(&file).expect("opens again");
        assert!(batches.open_uploads().expect("reads").is_empty());
        assert_eq!(batches.staged_rekeying(id).expect("reads"), Some(staged(1)));
        assert_eq!(batches.staged_rekeying(RegistrationId(8)).expect("reads"), None);
        assert_eq!(batches.all_staged_rekeyings().expect("reads"), [(id, staged(1))]);
        // The bodies of the earlier one are debris from then on.
        batches.begin_upload(&place(2)).expect("begins");
        assert_eq!(batches.stage_rekeying(id, &staged(2)).expect("stages"), Some(place(1)));
        assert_eq!(batches.staged_rekeying(id).expect("reads"), Some(staged(2)));
        assert_eq!(batches.open_uploads().expect("reads"), [place(1)]);
        batches.unstage_rekeying(id).expect("forgets");
        assert_eq!(batches.staged_rekeying(id).expect("reads"), None);
    }

    #[test]
    fn publication_progress_is_kept() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let file = folder.path().join("archive.redb");
        let batches = StagedBatches::open(&file).expect("opens");
        assert_eq!(batches.published_up_to().expect("reads"), 0);
        batches.set_published_up_to(8).expect("writes");
        drop(batches);
        assert_eq!(StagedBatches::open(&file).and_then(|batches| batches.published_up_to()).expect("reads"), 8);
    }
}
