//! Attribute schemas in use, which registrations have attributes of each, and numbers of attempts.

use crate::error::ArchiveError;
use locus_ledger::RegistrationId;
use locus_phenotype::{AttributeSchema, SchemaDigest};
use locus_wire::pb::archive::list_schemas_response;
use prost::Message as _;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Schema digest to an encoded [`KeptSchema`].
const SCHEMAS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("attribute_schemas");
/// Registration to the digest of its attributes' schema.
const REGISTRATIONS: TableDefinition<'_, u64, &[u8; 32]> = TableDefinition::new("attribute_registrations");
/// The last attempt number, under the empty name.
const ATTEMPTS: TableDefinition<'_, &str, u64> = TableDefinition::new("attribute_attempts");
const LAST_ATTEMPT: &str = "last";
const MILLISECONDS_PER_S: u64 = 1_000;

/// A schema as it is kept.
#[derive(Clone, PartialEq, prost::Message)]
struct KeptSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(string, tag = "3")]
    json: String,
}

/// The attribute schemas of an archive.
#[derive(Debug, Clone)]
pub(crate) struct Schemas(Arc<Database>);

impl Schemas {
    /// The schemas kept in the archive's own database.
    pub(crate) fn open(database: Arc<Database>) -> Result<Self, ArchiveError> {
        let write = database.begin_write().map_err(redb::Error::from)?;
        write.open_table(SCHEMAS).map_err(redb::Error::from)?;
        write.open_table(REGISTRATIONS).map_err(redb::Error::from)?;
        write.open_table(ATTEMPTS).map_err(redb::Error::from)?;
        write.commit().map_err(redb::Error::from)?;
        Ok(Self(database))
    }

    /// A number larger than all before, durable when this returns. It follows the clock, in milliseconds,
    /// so that it grows also when the database is lost.
    pub(crate) fn next_attempt(&self, now_unix_s: u64) -> Result<u64, ArchiveError> {
        let mut next = 0;
        self.write(|write| {
            let mut table = write.open_table(ATTEMPTS)?;
            let last = table.get(LAST_ATTEMPT)?.map_or(0, |value| value.value());
            next = last.saturating_add(1).max(now_unix_s.saturating_mul(MILLISECONDS_PER_S));
            table.insert(LAST_ATTEMPT, next)?;
            Ok(())
        })?;
        Ok(next)
    }

    /// Notes that the datasets of `registration` have attributes of `schema`, and forgets a schema that
    /// no registration has any more.
    pub(crate) fn put(&self, registration: RegistrationId, schema: &AttributeSchema) -> Result<(), ArchiveError> {
        let kept =
            KeptSchema { name: schema.name().to_owned(), version: schema.version().to_owned(), json: schema.to_json() };
        self.write(|write| {
            let mut schemas = write.open_table(SCHEMAS)?;
            let mut registrations = write.open_table(REGISTRATIONS)?;
            schemas.insert(&schema.digest().0.0, kept.encode_to_vec().as_slice())?;
            registrations.insert(registration.0, &schema.digest().0.0)?;
            let mut used = BTreeSet::new();
            for entry in registrations.iter()? {
                used.insert(*entry?.1.value());
            }
            schemas.retain(|digest, _| used.contains(digest))?;
            Ok(())
        })
    }

    /// The document of a schema.
    pub(crate) fn json(&self, digest: SchemaDigest) -> Result<String, ArchiveError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(SCHEMAS).map_err(redb::Error::from)?;
        let value = table.get(&digest.0.0).map_err(redb::Error::from)?;
        let value = value.ok_or(ArchiveError::UnknownSchema(digest.0))?;
        let kept = KeptSchema::decode(value.value()).map_err(|_| ArchiveError::DamagedRecord("schema"))?;
        Ok(kept.json)
    }

    /// All schemas with their registrations, both ascending.
    pub(crate) fn list(&self) -> Result<Vec<list_schemas_response::Schema>, ArchiveError> {
        let read = self.0.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(REGISTRATIONS).map_err(redb::Error::from)?;
        let mut of_schema: BTreeMap<[u8; 32], Vec<u64>> = BTreeMap::new();
        for entry in table.iter().map_err(redb::Error::from)? {
            let (registration, digest) = entry.map_err(redb::Error::from)?;
            of_schema.entry(*digest.value()).or_default().push(registration.value());
        }
        let table = read.open_table(SCHEMAS).map_err(redb::Error::from)?;
        let mut schemas = Vec::with_capacity(of_schema.len());
        for (digest, registrations) in of_schema {
            let missing = ArchiveError::DamagedRecord("schema");
            let value = table.get(&digest).map_err(redb::Error::from)?.ok_or(missing)?;
            let kept = KeptSchema::decode(value.value()).map_err(|_| ArchiveError::DamagedRecord("schema"))?;
            let (name, version) = (kept.name, kept.version);
            let schema_digest = digest.to_vec().into();
            schemas.push(list_schemas_response::Schema { schema_digest, name, version, registrations });
        }
        Ok(schemas)
    }

    /// One durable transaction.
    fn write(&self, work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), ArchiveError> {
        let write = self.0.begin_write().map_err(redb::Error::from)?;
        work(&write)?;
        write.commit().map_err(redb::Error::from)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas(file: &std::path::Path) -> Schemas {
        Schemas::open(Arc::new(Database::create(file).expect("a database"))).expect("opens")
    }

    fn schema(version: &str) -> AttributeSchema {
        let json = format!(r#"{{"name":"s","version":"{version}","attributes":[{{"name":"a","kind":"flag"}}]}}"#);
        AttributeSchema::parse_json(&json).expect("a schema")
    }

    #[test]
    fn a_schema_is_listed_while_a_registration_has_it_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let file = folder.path().join("archive.redb");
        let kept = schemas(&file);
        assert!(kept.list().expect("reads").is_empty());
        for (registration, version) in [(9, "1"), (4, "1"), (5, "2")] {
            kept.put(RegistrationId(registration), &schema(version)).expect("writes");
        }
        drop(kept);
        let kept = schemas(&file);
        let listed = kept.list().expect("reads");
        let of = |version: &str| {
            listed.iter().find(|listed| listed.version == version).map(|listed| listed.registrations.clone())
        };
        assert_eq!((of("1"), of("2")), (Some(vec![4, 9]), Some(vec![5])));
        let json = kept.json(schema("2").digest()).expect("it is there");
        assert_eq!(AttributeSchema::parse_json(&json), Ok(schema("2")));
        kept.put(RegistrationId(5), &schema("1")).expect("a new revision");
        assert!(matches!(kept.json(schema("2").digest()), Err(ArchiveError::UnknownSchema(_))));
        assert_eq!(kept.list().expect("reads").len(), 1);
    }

    #[test]
    fn attempts_ascend_whatever_the_clock_does() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let file = folder.path().join("archive.redb");
        let kept = schemas(&file);
        assert_eq!(kept.next_attempt(100).expect("writes"), 100_000);
        assert_eq!(kept.next_attempt(100).expect("writes"), 100_001);
        drop(kept);
        let kept = schemas(&file);
        assert_eq!(kept.next_attempt(90).expect("writes"), 100_002);
        assert_eq!(kept.next_attempt(101).expect("writes"), 101_000);
    }
}
