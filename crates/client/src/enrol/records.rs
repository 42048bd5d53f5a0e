//! What this client enrolled: a private file of JSON lines, clause 3 of the specification.

use crate::{
    error::ClientError,
    files::{self, FileError},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Version of the lines.
const FORMAT: u32 = 1;
/// Largest file: a million datasets.
const RECORDS_BYTES_MAX: u64 = 512 << 20;

/// One dataset as its contributor knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolledDataset {
    /// Place in the registration.
    pub ordinal: u32,
    /// Name in the source; known here only.
    pub sample: String,
    /// Dataset id, 64 digits.
    pub dataset: String,
    /// Person tag, 64 digits.
    pub person: String,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum EnrolmentEvent {
    /// An enrolment began.
    Started(StartedEvent),
    /// The batch is on the chain.
    Registered {
        #[serde(with = "decimal")]
        batch_nonce: u64,
        registration_id: u64,
        first_slot: u64,
    },
    /// The archive made it readable.
    Published { registration_id: u64 },
    /// It is on offer.
    Offered { registration_id: u64, offer_nonce: u64 },
    /// It is no longer on offer.
    Withdrawn { registration_id: u64 },
    /// Datasets were revoked.
    Revoked { registration_id: u64, ordinals: Vec<u32> },
    /// Attributes of its people are on their way to the keyholders, signed as this revision.
    Attributes { registration_id: u64, revision: u32, schema: String, commitments: String },
    /// The keyholders have admitted that revision.
    AttributesAdmitted { registration_id: u64, revision: u32 },
    /// Keyholders have destroyed the seeds of datasets.
    Erased { registration_id: u64, ordinals: Vec<u32>, keyholders: Vec<u8> },
}

/// What is known when an enrolment begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartedEvent {
    pub(crate) format: u32,
    pub(crate) time_unix_s: u64,
    pub(crate) chain_id: u64,
    pub(crate) registry: String,
    pub(crate) registrant: String,
    pub(crate) panel: String,
    pub(crate) version: u32,
    #[serde(with = "decimal")]
    pub(crate) batch_nonce: u64,
    pub(crate) accreditor: Option<String>,
    pub(crate) datasets: Vec<EnrolledDataset>,
    /// Genotype digests by ordinal, masked under the master secret; 64 digits each. Lines of older
    /// clients have none.
    #[serde(default)]
    pub(crate) genotypes: Vec<String>,
}

impl StartedEvent {
    pub(crate) const FORMAT: u32 = FORMAT;
}

/// 64-bit numbers as text: many JSON readers lose their low digits.
mod decimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Attributes given to a registration from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttributesRecord {
    /// Revision signed.
    pub revision: u32,
    /// Digest of their schema.
    pub schema: String,
    /// Digest of their commitments.
    pub commitments: String,
    /// Whether all keyholders have admitted them.
    pub admitted: bool,
}

/// A batch that was enrolled, or whose enrolment began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnrolmentRecord {
    /// When it began.
    pub time_unix_s: u64,
    /// Chain of the market.
    pub chain_id: u64,
    /// Registry of the market.
    pub registry: String,
    /// Account that registered.
    pub registrant: String,
    /// Digest of the panel.
    pub panel: String,
    /// Version of the datasets.
    pub version: u32,
    /// Number of the batch, as text.
    pub batch_nonce: String,
    /// Who vouches.
    pub accreditor: Option<String>,
    /// The datasets, by ordinal.
    pub datasets: Vec<EnrolledDataset>,
    /// Number of the registration, once it is on the chain.
    pub registration_id: Option<u64>,
    /// Registry slot of the first dataset.
    pub first_slot: Option<u64>,
    /// Whether the archive made it readable.
    pub published: bool,
    /// Nonce of the last offer posted from here, unless it was withdrawn from here.
    pub offer_nonce: Option<u64>,
    /// Ordinals revoked from here.
    pub revoked: Vec<u32>,
    /// Ordinals erased from here, with the keyholders that gave receipts.
    pub erased: BTreeMap<u32, Vec<u8>>,
    /// Attributes last given from here.
    pub attributes: Option<AttributesRecord>,
    /// Genotype digests by ordinal, masked under the master secret.
    #[serde(skip)]
    pub(crate) genotypes: Vec<String>,
}

/// The file of records.
#[derive(Debug, Clone)]
pub struct EnrolmentRecords {
    path: PathBuf,
}

impl EnrolmentRecords {
    /// The records kept in `path`, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// Adds a line and waits until it is on disk.
    pub(crate) fn append(&self, event: &EnrolmentEvent) -> Result<(), ClientError> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::create_private_folder(folder)?;
        }
        let line = serde_json::to_string(event)
            .map_err(|_| ClientError::Record { file: self.path.display().to_string(), line: 0 })?;
        Ok(files::append_line(&self.path, &line)?)
    }

    /// Every batch, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Record`] for a line that is not a record; the last line may be cut off.
    pub fn load(&self) -> Result<Vec<EnrolmentRecord>, ClientError> {
        let mut fold = Fold::default();
        if !self.path.exists() {
            return Ok(fold.records);
        }
        let bytes = fs::metadata(&self.path).map_err(FileError::io("open", &self.path))?.len();
        if bytes > RECORDS_BYTES_MAX {
            return Err(FileError::TooLarge { path: self.path.clone(), bytes, max: RECORDS_BYTES_MAX }.into());
        }
        let text = fs::read_to_string(&self.path).map_err(FileError::io("read", &self.path))?;
        for (number, line) in (1..).zip(text.lines()) {
            match serde_json::from_str(line) {
                Ok(event) => fold.add(event),
                // A line that a crash cut off was never relied on; the next one was closed after it.
                Err(error) if error.is_eof() => {}
                Err(_) => {
                    return Err(ClientError::Record { file: self.path.display().to_string(), line: number });
                }
            }
        }
        Ok(fold.records)
    }

    /// The batch of a registration.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn of_registration(&self, registration_id: u64) -> Result<Option<EnrolmentRecord>, ClientError> {
        Ok(self.load()?.into_iter().find(|record| record.registration_id == Some(registration_id)))
    }
}

#[derive(Default)]
struct Fold {
    records: Vec<EnrolmentRecord>,
}

impl Fold {
    fn add(&mut self, event: EnrolmentEvent) {
        match event {
            EnrolmentEvent::Started(started) => self.start(started),
            EnrolmentEvent::Registered { batch_nonce, registration_id, first_slot } => {
                let number = batch_nonce.to_string();
                if let Some(record) = self.records.iter_mut().find(|record| record.batch_nonce == number) {
                    (record.registration_id, record.first_slot) = (Some(registration_id), Some(first_slot));
                }
            }
            EnrolmentEvent::Published { registration_id } => {
                self.change(registration_id, |record| record.published = true);
            }
            EnrolmentEvent::Offered { registration_id, offer_nonce } => {
                self.change(registration_id, |record| record.offer_nonce = Some(offer_nonce));
            }
            EnrolmentEvent::Withdrawn { registration_id } => {
                self.change(registration_id, |record| record.offer_nonce = None);
            }
            EnrolmentEvent::Revoked { registration_id, ordinals } => self.change(registration_id, |record| {
                record.revoked.extend(ordinals);
                record.revoked.sort_unstable();
                record.revoked.dedup();
            }),
            EnrolmentEvent::Attributes { registration_id, revision, schema, commitments } => {
                let attributes = AttributesRecord { revision, schema, commitments, admitted: false };
                self.change(registration_id, |record| record.attributes = Some(attributes));
            }
            EnrolmentEvent::AttributesAdmitted { registration_id, revision } => {
                self.change(registration_id, |record| {
                    let attributes = record.attributes.iter_mut().filter(|attributes| attributes.revision == revision);
                    attributes.for_each(|attributes| attributes.admitted = true);
                });
            }
            EnrolmentEvent::Erased { registration_id, ordinals, keyholders } => {
                self.change(registration_id, |record| {
                    for ordinal in ordinals {
                        let known = record.erased.entry(ordinal).or_default();
                        known.extend(&keyholders);
                        known.sort_unstable();
                        known.dedup();
                    }
                });
            }
        }
    }

    /// The same batch started again is one record.
    fn start(&mut self, started: StartedEvent) {
        let batch_nonce = started.batch_nonce.to_string();
        let is_known = |record: &EnrolmentRecord| {
            record.batch_nonce == batch_nonce
                && record.registrant == started.registrant
                && record.registry == started.registry
        };
        if let Some(known) = self.records.iter_mut().find(|record| is_known(record)) {
            // Begun again by a client that keeps them.
            if known.genotypes.is_empty() {
                known.genotypes = started.genotypes;
            }
            return;
        }
        self.records.push(EnrolmentRecord {
            time_unix_s: started.time_unix_s,
            chain_id: started.chain_id,
            registry: started.registry,
            registrant: started.registrant,
            panel: started.panel,
            version: started.version,
            batch_nonce,
            accreditor: started.accreditor,
            datasets: started.datasets,
            registration_id: None,
            first_slot: None,
            published: false,
            offer_nonce: None,
            revoked: Vec::new(),
            erased: BTreeMap::new(),
            attributes: None,
            genotypes: started.genotypes,
        });
    }

    fn change(&mut self, registration_id: u64, change: impl FnOnce(&mut EnrolmentRecord)) {
        if let Some(record) = self.records.iter_mut().find(|record| record.registration_id == Some(registration_id)) {
            change(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn started(batch_nonce: u64) -> EnrolmentEvent {
        EnrolmentEvent::Started(StartedEvent {
            format: FORMAT,
            time_unix_s: 1_700_000_000,
            chain_id: 31_337,
            registry: "0x01".into(),
            registrant: "0x02".into(),
            panel: "03".into(),
            version: 1,
            batch_nonce,
            accreditor: None,
            datasets: vec![EnrolledDataset {
                ordinal: 0,
                sample: "HG00096".into(),
                dataset: "04".into(),
                person: "05".into(),
            }],
            genotypes: vec!["06".into()],
        })
    }

    fn records(dir: &tempfile::TempDir) -> EnrolmentRecords {
        EnrolmentRecords::new(&dir.path().join("private").join("enrolments.jsonl"))
    }

    #[test]
    fn the_story_of_a_batch_reads_back_as_one_record() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let records = records(&dir);
        assert_eq!(records.load().expect("nothing yet"), []);
        let events = [
            started(u64::MAX),
            EnrolmentEvent::Registered { batch_nonce: u64::MAX, registration_id: 7, first_slot: 40 },
            EnrolmentEvent::Published { registration_id: 7 },
            EnrolmentEvent::Offered { registration_id: 7, offer_nonce: 1 },
            started(u64::MAX),
            EnrolmentEvent::Revoked { registration_id: 7, ordinals: vec![2, 0] },
            EnrolmentEvent::Erased { registration_id: 7, ordinals: vec![0], keyholders: vec![1, 3] },
            EnrolmentEvent::Erased { registration_id: 7, ordinals: vec![0], keyholders: vec![2, 3] },
            EnrolmentEvent::Attributes {
                registration_id: 7,
                revision: 3,
                schema: "08".into(),
                commitments: "09".into(),
            },
            EnrolmentEvent::AttributesAdmitted { registration_id: 7, revision: 2 },
            started(5),
        ];
        for event in &events {
            records.append(event).expect("added");
        }
        let loaded = records.load().expect("loaded");
        assert_eq!(loaded.len(), 2);
        let first = &loaded[0];
        assert_eq!((first.registration_id, first.first_slot, first.published), (Some(7), Some(40), true));
        assert_eq!((first.offer_nonce, first.revoked.as_slice()), (Some(1), &[0, 2][..]));
        assert_eq!(first.erased, [(0, vec![1, 2, 3])].into());
        assert_eq!(first.datasets[0].sample, "HG00096");
        assert_eq!(first.batch_nonce, u64::MAX.to_string());
        assert_eq!(first.attributes.as_ref().map(|given| (given.revision, given.admitted)), Some((3, false)));
        assert_eq!(records.of_registration(7).expect("loaded"), Some(first.clone()));
        assert_eq!(loaded[1].registration_id, None);
    }

    #[test]
    fn a_batch_begun_by_an_older_client_learns_what_its_secrets_derive_from() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let records = records(&dir);
        let EnrolmentEvent::Started(new) = started(1) else { unreachable!("it is a start") };
        let old = StartedEvent { genotypes: Vec::new(), ..new.clone() };
        records.append(&EnrolmentEvent::Started(old)).expect("added");
        assert!(records.load().expect("loaded")[0].genotypes.is_empty());
        records.append(&EnrolmentEvent::Started(new)).expect("added");
        assert_eq!(records.load().expect("loaded")[0].genotypes, ["06"]);
        let shown = serde_json::to_string(&records.load().expect("loaded")).expect("serialises");
        assert!(!shown.contains("genotypes"), "{shown}");
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_passed_over_and_junk_is_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let records = records(&dir);
        records.append(&started(1)).expect("added");
        let open = || fs::OpenOptions::new().append(true).open(&records.path).expect("open");
        open().write_all(b"{\"event\":\"publ").expect("torn");
        records
            .append(&EnrolmentEvent::Registered { batch_nonce: 1, registration_id: 9, first_slot: 0 })
            .expect("added");
        assert_eq!(records.load().expect("loaded")[0].registration_id, Some(9));
        open().write_all(b"{\"event\":\"unheard of\"}\n").expect("junk");
        assert!(matches!(records.load(), Err(ClientError::Record { line: 4, .. })));
    }
}
