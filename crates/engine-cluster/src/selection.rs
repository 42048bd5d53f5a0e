//! Which rows a question selects. Executors read it from storage under the name that the question's plan gives them, so
//! that no row, nor how it counts, is in a plan, in a log or on a status page.

use crate::error::ClusterError;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use locus_engine::{PartRows, ROW_BITS_BYTES, RowBits};
use locus_store::Store;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, path::Path};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use tokio::runtime::Handle;

/// First bytes of a selection.
const MAGIC: &[u8; 16] = b"locus/rows/v1\0\0\0";
/// Bytes of a part: whether it is subtracted, and its rows.
const PART_BYTES: usize = 1 + ROW_BITS_BYTES;
/// Most parts of a selection: 16 million rows.
pub(crate) const PARTS_MAX: usize = 1 << 14;
/// Selections that an executor keeps, for the partitions of a question that it sums one after the other.
const KEPT_MAX: usize = 16;
/// Folder of all selections.
const FOLDER: &str = "selections";

/// The selected rows of each part of a question, by the part's place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection(Vec<(bool, RowBits)>);

impl Selection {
    pub(crate) fn new(parts: &[PartRows]) -> Self {
        Self(parts.iter().map(|part| (part.subtracted, part.rows.clone())).collect())
    }

    /// Whether the row is selected, and then whether it is subtracted.
    pub(crate) fn subtracts(&self, part: u32, row: u32) -> Option<bool> {
        let (subtracted, rows) = self.0.get(part as usize)?;
        rows.contains(row).then_some(*subtracted)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (subtracted, rows) in &self.0 {
            bytes.push(u8::from(*subtracted));
            bytes.extend_from_slice(&rows.0);
        }
        bytes
    }

    /// Reads a selection; `None` when the bytes are not exactly one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (parts, rest) = bytes.strip_prefix(MAGIC.as_slice())?.as_chunks::<PART_BYTES>();
        if parts.len() > PARTS_MAX || !rest.is_empty() {
            return None;
        }
        let part = |part: &[u8; PART_BYTES]| {
            let (flag, rows) = part.split_first()?;
            let subtracted = match flag {
                0 => false,
                1 => true,
                _ => return None,
            };
            Some((subtracted, RowBits(rows.try_into().ok()?)))
        };
        parts.iter().map(part).collect::<Option<Vec<_>>>().map(Self)
    }
}

/// Where selections are kept while their questions are answered.
pub(crate) struct Selections {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    runtime: Handle,
    kept: Mutex<VecDeque<(String, Arc<Selection>)>>,
}

impl fmt::Debug for Selections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selections({})", self.folder)
    }
}

impl Selections {
    /// Selections in `store`. Must be called inside a tokio runtime, which then does the reading.
    pub(crate) fn new(store: &Store) -> Self {
        let folder = store.prefix().clone().join(FOLDER);
        Self { store: store.object_store(), folder, runtime: Handle::current(), kept: Mutex::default() }
    }

    /// Keeps a selection under a new name.
    pub(crate) async fn put(&self, selection: &Selection) -> Result<String, ClusterError> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|_| ClusterError::Randomness)?;
        let name = hex::encode(name);
        let payload = PutPayload::from(selection.to_bytes());
        let put = self.store.put_opts(&self.folder.clone().join(name.as_str()), payload, PutMode::Create.into()).await;
        put.map(|_| name).map_err(ClusterError::Scratch)
    }

    /// Forgets a selection. What cannot be deleted is deleted when a scheduler starts.
    pub(crate) async fn delete(&self, name: &str) {
        if let Err(error) = self.store.delete(&self.folder.clone().join(name)).await {
            tracing::warn!(%error, "the selection of an answered question stays in storage");
        }
    }

    /// Forgets every selection: those of questions that a scheduler did not survive.
    pub(crate) async fn clear(&self) -> Result<(), ClusterError> {
        let listed = self.store.list_with_delimiter(Some(&self.folder)).await.map_err(ClusterError::Scratch)?;
        for object in listed.objects {
            self.store.delete(&object.location).await.map_err(ClusterError::Scratch)?;
        }
        Ok(())
    }

    /// The selection of this name. Waits for storage: aggregate functions are not asynchronous.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Selection>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, selection)) = kept.iter().find(|(kept, _)| kept == name) {
            return Ok(selection.clone());
        }
        let bytes = self.read(name)?;
        let malformed = || DataFusionError::Execution(format!("selection {name} is malformed"));
        let selection = Arc::new(Selection::parse(&bytes).ok_or_else(malformed)?);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((name.to_owned(), selection.clone()));
        Ok(selection)
    }

    /// Reads on a thread of its own: a thread of a runtime must not block on another runtime.
    fn read(&self, name: &str) -> Result<Bytes> {
        let path = self.folder.clone().join(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        let read = thread::scope(|scope| scope.spawn(|| self.runtime.block_on(read)).join());
        match read {
            Ok(bytes) => bytes.map_err(|error| DataFusionError::ObjectStore(Box::new(error))),
            Err(_) => Err(DataFusionError::Execution(format!("selection {name} was not read"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_store::{Origin, PartName};

    fn selection() -> Selection {
        let part = |shard, subtracted, selected: &[u32]| {
            let mut rows = RowBits::NONE;
            selected.iter().for_each(|&row| rows.insert(row));
            let name = PartName { origin: Origin::Shard { shard, generation: 1 }, part: 0 };
            PartRows { name, object_bytes: 1, rows, subtracted }
        };
        Selection::new(&[part(0, false, &[0, 1023]), part(7, true, &[7 * 1024 + 5])])
    }

    #[test]
    fn selections_are_read_as_written() {
        let read = Selection::parse(&selection().to_bytes()).expect("it was written so");
        assert_eq!(read, selection());
        assert_eq!(read.subtracts(0, 1023), Some(false));
        assert_eq!(read.subtracts(0, 1), None);
        assert_eq!(read.subtracts(1, 7 * 1024 + 5), Some(true));
        assert_eq!(read.subtracts(2, 0), None);
    }

    #[test]
    fn bytes_that_are_no_selection_are_refused() {
        let good = selection().to_bytes();
        for cut in 0..good.len() {
            let whole_parts = cut >= MAGIC.len() && (cut - MAGIC.len()).is_multiple_of(PART_BYTES);
            assert_eq!(Selection::parse(&good[..cut]).is_some(), whole_parts, "{cut}");
        }
        let mut flag = good.clone();
        flag[MAGIC.len()] = 2;
        assert_eq!(Selection::parse(&flag), None);
        let long = [MAGIC.as_slice(), &vec![0; PART_BYTES * (PARTS_MAX + 1)]].concat();
        assert_eq!(Selection::parse(&long), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn selections_are_kept_until_they_are_deleted() {
        let store = Store::memory();
        let selections = Selections::new(&store);
        let name = selections.put(&selection()).await.expect("memory works");
        assert_eq!(*Selections::new(&store).get(&name).expect("it is there"), selection());
        selections.delete(&name).await;
        assert!(Selections::new(&store).get(&name).is_err());
        selections.put(&selection()).await.expect("memory works");
        let name = selections.put(&selection()).await.expect("memory works");
        selections.clear().await.expect("memory works");
        assert!(Selections::new(&store).get(&name).is_err());
    }
}
