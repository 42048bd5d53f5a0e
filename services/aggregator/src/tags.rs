//! The aggregator's own tags of the bodies it has read, and sums of cohorts: a database that nobody else may write.
//!
//! Nothing in it is needed to answer: what is lost is computed again from hashed bodies.

use crate::error::AggregatorError;
use locus_engine::{
    CohortSumChange, CohortSumName, CohortSumStorage, RowTags, TagBlockName, TagKey, TagStorage, TagStorageError,
};
use locus_genomics::PanelDigest;
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::{path::Path, sync::Arc};
use zeroize::Zeroizing;

/// The secret of the tags, under the empty name.
const KEY: TableDefinition<'_, &[u8], &[u8; 32]> = TableDefinition::new("tag-key");
/// Name of a block of tags to the block.
const BLOCKS: TableDefinition<'_, &[u8; 41], &[u8]> = TableDefinition::new("tag-blocks");
/// Digest of a panel to the list of its cohorts.
const COHORTS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("cohorts");
/// Name of a cohort's sum to the sum.
const COHORT_SUMS: TableDefinition<'_, &[u8; 69], &[u8]> = TableDefinition::new("cohort-sums");
/// Memory for pages of the database.
const CACHE_BYTES: usize = 8 << 20;

/// Opens or creates the database file, with a fresh secret.
pub(crate) fn open(file: &Path) -> Result<(RowTags, Box<dyn CohortSumStorage>), AggregatorError> {
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(file).map_err(redb::Error::from)?;
    make_private(file).map_err(redb::Error::from)?;
    let secret = open_secret(&database)?;
    let key = TagKey::expand(&secret);
    let database = Arc::new(database);
    Ok((RowTags::new(key, Box::new(TagDatabase(database.clone()))), Box::new(TagDatabase(database))))
}

/// The file holds a secret: only its owner may read it.
#[cfg(unix)]
fn make_private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn open_secret(database: &Database) -> Result<Zeroizing<[u8; 32]>, AggregatorError> {
    let write = database.begin_write().map_err(redb::Error::from)?;
    let secret = {
        write.open_table(BLOCKS).map_err(redb::Error::from)?;
        write.open_table(COHORTS).map_err(redb::Error::from)?;
        write.open_table(COHORT_SUMS).map_err(redb::Error::from)?;
        let mut table = write.open_table(KEY).map_err(redb::Error::from)?;
        let stored = table.get([].as_slice()).map_err(redb::Error::from)?.map(|stored| Zeroizing::new(*stored.value()));
        match stored {
            Some(secret) => secret,
            None => {
                let mut secret = Zeroizing::new([0; 32]);
                getrandom::fill(&mut secret[..])?;
                table.insert([].as_slice(), &*secret).map_err(redb::Error::from)?;
                secret
            }
        }
    };
    write.commit().map_err(redb::Error::from)?;
    Ok(secret)
}

struct TagDatabase(Arc<Database>);

impl TagDatabase {
    fn load_block(&self, name: &TagBlockName) -> Result<Option<Vec<u8>>, redb::Error> {
        let read = self.0.begin_read()?;
        let table = read.open_table(BLOCKS)?;
        Ok(table.get(&name.to_bytes())?.map(|block| block.value().to_vec()))
    }

    fn store_blocks(&self, blocks: &[(TagBlockName, Vec<u8>)]) -> Result<(), redb::Error> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(BLOCKS)?;
            for (name, block) in blocks {
                table.insert(&name.to_bytes(), block.as_slice())?;
            }
        }
        Ok(write.commit()?)
    }
}

impl TagDatabase {
    fn load_cohorts(&self, panel: PanelDigest) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.0.begin_read()?.open_table(COHORTS)?;
        Ok(table.get(&panel.0)?.map(|list| list.value().to_vec()))
    }

    fn load_sum(&self, name: &CohortSumName) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.0.begin_read()?.open_table(COHORT_SUMS)?;
        Ok(table.get(&name.to_bytes())?.map(|sum| sum.value().to_vec()))
    }

    fn change_sums(&self, change: &CohortSumChange) -> Result<(), redb::Error> {
        let write = self.0.begin_write()?;
        {
            write.open_table(COHORTS)?.insert(&change.panel.0, change.cohorts.as_slice())?;
            let mut sums = write.open_table(COHORT_SUMS)?;
            for cohort in &change.forgotten {
                let of_cohort = [change.panel.0, cohort.0].concat();
                let bound = |last: u8| {
                    let mut name = [last; 69];
                    name[..64].copy_from_slice(&of_cohort);
                    name
                };
                sums.retain_in::<&[u8; 69], _>(&bound(0)..=&bound(u8::MAX), |_, _| false)?;
            }
            for (name, sum) in &change.sums {
                sums.insert(&name.to_bytes(), sum.as_slice())?;
            }
        }
        Ok(write.commit()?)
    }
}

impl CohortSumStorage for TagDatabase {
    fn cohorts(&self, panel: PanelDigest) -> Result<Option<Vec<u8>>, TagStorageError> {
        Ok(self.load_cohorts(panel)?)
    }

    fn sum(&self, name: &CohortSumName) -> Result<Option<Vec<u8>>, TagStorageError> {
        Ok(self.load_sum(name)?)
    }

    fn change(&self, change: &CohortSumChange) -> Result<(), TagStorageError> {
        Ok(self.change_sums(change)?)
    }
}

impl TagStorage for TagDatabase {
    fn load(&self, name: &TagBlockName) -> Result<Option<Vec<u8>>, TagStorageError> {
        Ok(self.load_block(name)?)
    }

    fn store(&self, blocks: &[(TagBlockName, Vec<u8>)]) -> Result<(), TagStorageError> {
        Ok(self.store_blocks(blocks)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_engine::CohortDigest;
    use locus_genomics::{PanelBlockIndex, Plane};
    use locus_store::Column;

    #[test]
    fn blocks_and_their_secret_survive_a_restart() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("tags.redb");
        let column = Column { block: PanelBlockIndex(3), plane: Plane::Missing };
        let name = |shard| TagBlockName { panel: PanelDigest([7; 32]), column, shard };
        let secret = {
            let database = Arc::new(Database::create(&file).expect("opens"));
            let secret = open_secret(&database).expect("fresh");
            let tags = TagDatabase(database);
            tags.store(&[(name(1), vec![1; 9]), (name(2), vec![2; 9])]).expect("stores");
            tags.store(&[(name(2), vec![3; 9])]).expect("stores");
            secret
        };
        let database = Arc::new(Database::create(&file).expect("opens"));
        assert_eq!(*open_secret(&database).expect("kept"), *secret);
        let tags = TagDatabase(database);
        assert_eq!(tags.load(&name(1)).expect("reads"), Some(vec![1; 9]));
        assert_eq!(tags.load(&name(2)).expect("reads"), Some(vec![3; 9]));
        assert_eq!(tags.load(&name(3)).expect("reads"), None);
    }

    #[test]
    fn sums_of_forgotten_cohorts_go_and_others_stay() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (_, sums) = open(&folder.path().join("tags.redb")).expect("opens");
        let panel = PanelDigest([7; 32]);
        let name = |cohort: u8, block: u32| {
            let column = Column { block: PanelBlockIndex(block), plane: Plane::Calls };
            CohortSumName { panel, cohort: CohortDigest([cohort; 32]), column }
        };
        let change = |cohorts: &[u8], kept: &[(u8, u32)], forgotten: &[u8]| CohortSumChange {
            panel,
            cohorts: cohorts.to_vec(),
            sums: kept.iter().map(|&(cohort, block)| (name(cohort, block), vec![cohort])).collect(),
            forgotten: forgotten.iter().map(|&cohort| CohortDigest([cohort; 32])).collect(),
        };
        sums.change(&change(b"one", &[(1, 0), (1, 700), (2, 0)], &[])).expect("stores");
        sums.change(&change(b"two", &[(3, 0)], &[1])).expect("stores");
        assert_eq!(sums.cohorts(panel).expect("reads"), Some(b"two".to_vec()));
        let kept = |cohort, block| sums.sum(&name(cohort, block)).expect("reads");
        assert_eq!([kept(1, 0), kept(1, 700)], [None, None]);
        assert_eq!([kept(2, 0), kept(3, 0)], [Some(vec![2]), Some(vec![3])]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("tags.redb");
        open(&file).expect("opens");
        let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn two_aggregators_have_different_secrets() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let secret = |name: &str| {
            let database = Database::create(folder.path().join(name)).expect("opens");
            *open_secret(&database).expect("fresh")
        };
        assert_ne!(secret("one"), secret("two"));
    }
}
