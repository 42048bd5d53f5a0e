//! The aggregator's own tags of the bodies it has read: a database that nobody else may write.
//!
//! Nothing in it is needed to answer: what is lost is computed again from hashed bodies.

use crate::error::AggregatorError;
use locus_engine::{RowTags, TagBlockName, TagKey, TagStorage, TagStorageError};
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::{path::Path, sync::Arc};
use zeroize::Zeroizing;

/// The secret of the tags, under the empty name.
const KEY: TableDefinition<'_, &[u8], &[u8; 32]> = TableDefinition::new("tag-key");
/// Name of a block of tags to the block.
const BLOCKS: TableDefinition<'_, &[u8; 41], &[u8]> = TableDefinition::new("tag-blocks");
/// Memory for pages of the database.
const CACHE_BYTES: usize = 8 << 20;

/// Opens or creates the database file, with a fresh secret.
pub(crate) fn open(file: &Path) -> Result<RowTags, AggregatorError> {
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(file).map_err(redb::Error::from)?;
    make_private(file).map_err(redb::Error::from)?;
    let secret = open_secret(&database)?;
    let key = TagKey::expand(&secret);
    Ok(RowTags::new(key, Box::new(TagDatabase(Arc::new(database)))))
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
    use locus_genomics::{PanelBlockIndex, PanelDigest, Plane};
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
