//! What this client enrolled: a private file of JSON lines, clause 3 of the specification.

use crate::{
    error::ClientError,
    files::{self, FileError},
};
use locus_commitment::NetworkId;
use locus_ledger::RegistrationId;
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

/// The market that a line is about: registrations of different markets have the same numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarketName {
    chain_id: u64,
    registry: String,
}

impl From<NetworkId> for MarketName {
    fn from(network: NetworkId) -> Self {
        Self { chain_id: network.chain_id, registry: network.registry.to_string() }
    }
}

/// A line of the file. Lines of older clients name no market.
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
    Published { market: Option<MarketName>, registration_id: u64 },
    /// It is on offer.
    Offered { market: Option<MarketName>, registration_id: u64, offer_nonce: u64 },
    /// It is no longer on offer.
    Withdrawn { market: Option<MarketName>, registration_id: u64 },
    /// Datasets were revoked.
    Revoked { market: Option<MarketName>, registration_id: u64, ordinals: Vec<u32> },
    /// Attributes of its people are on their way to the keyholders, signed as this revision.
    Attributes { market: Option<MarketName>, registration_id: u64, revision: u32, schema: String, commitments: String },
    /// The keyholders have admitted that revision.
    AttributesAdmitted { market: Option<MarketName>, registration_id: u64, revision: u32 },
    /// Keyholders have destroyed the seeds of datasets.
    Erased { market: Option<MarketName>, registration_id: u64, ordinals: Vec<u32>, keyholders: Vec<u8> },
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

impl EnrolmentRecord {
    /// Whether it is about a registration of this market.
    pub fn is_of(&self, network: &NetworkId) -> bool {
        self.is_of_market(&MarketName::from(*network))
    }

    fn is_of_market(&self, market: &MarketName) -> bool {
        self.chain_id == market.chain_id && self.registry == market.registry
    }
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

    /// The batch of a registration of this market.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn of_registration(
        &self,
        network: &NetworkId,
        registration: RegistrationId,
    ) -> Result<Option<EnrolmentRecord>, ClientError> {
        let is_meant =
            |record: &EnrolmentRecord| record.registration_id == Some(registration.0) && record.is_of(network);
        Ok(self.load()?.into_iter().find(is_meant))
    }

    /// Notes an offer that was posted.
    ///
    /// # Errors
    /// [`ClientError::File`].
    pub fn note_offer(
        &self,
        network: &NetworkId,
        registration: RegistrationId,
        offer_nonce: u64,
    ) -> Result<(), ClientError> {
        let market = Some((*network).into());
        self.append(&EnrolmentEvent::Offered { market, registration_id: registration.0, offer_nonce })
    }

    /// Notes that the offer was withdrawn.
    ///
    /// # Errors
    /// [`ClientError::File`].
    pub fn note_withdrawal(&self, network: &NetworkId, registration: RegistrationId) -> Result<(), ClientError> {
        self.append(&EnrolmentEvent::Withdrawn { market: Some((*network).into()), registration_id: registration.0 })
    }

    /// Notes datasets that were revoked.
    ///
    /// # Errors
    /// [`ClientError::File`].
    pub fn note_revocation(
        &self,
        network: &NetworkId,
        registration: RegistrationId,
        ordinals: &[u32],
    ) -> Result<(), ClientError> {
        let (market, ordinals) = (Some((*network).into()), ordinals.to_vec());
        self.append(&EnrolmentEvent::Revoked { market, registration_id: registration.0, ordinals })
    }
}

#[derive(Default)]
struct Fold {
    records: Vec<EnrolmentRecord>,
    /// Where the last enrolment began.
    last_market: Option<MarketName>,
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
            EnrolmentEvent::Published { market, registration_id } => {
                self.change(market.as_ref(), registration_id, |record| record.published = true);
            }
            EnrolmentEvent::Offered { market, registration_id, offer_nonce } => {
                self.change(market.as_ref(), registration_id, |record| record.offer_nonce = Some(offer_nonce));
            }
            EnrolmentEvent::Withdrawn { market, registration_id } => {
                self.change(market.as_ref(), registration_id, |record| record.offer_nonce = None);
            }
            EnrolmentEvent::Revoked { market, registration_id, ordinals } => {
                self.change(market.as_ref(), registration_id, |record| {
                    record.revoked.extend(ordinals);
                    record.revoked.sort_unstable();
                    record.revoked.dedup();
                });
            }
            EnrolmentEvent::Attributes { market, registration_id, revision, schema, commitments } => {
                let attributes = AttributesRecord { revision, schema, commitments, admitted: false };
                self.change(market.as_ref(), registration_id, |record| record.attributes = Some(attributes));
            }
            EnrolmentEvent::AttributesAdmitted { market, registration_id, revision } => {
                self.change(market.as_ref(), registration_id, |record| {
                    let attributes = record.attributes.iter_mut().filter(|attributes| attributes.revision == revision);
                    attributes.for_each(|attributes| attributes.admitted = true);
                });
            }
            EnrolmentEvent::Erased { market, registration_id, ordinals, keyholders } => {
                self.change(market.as_ref(), registration_id, |record| {
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
        self.last_market = Some(MarketName { chain_id: started.chain_id, registry: started.registry.clone() });
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

    /// Changes the record of a registration. A line without a market is about the one in which an enrolment began last,
    /// or else about the last that has the number.
    fn change(&mut self, market: Option<&MarketName>, registration_id: u64, change: impl FnOnce(&mut EnrolmentRecord)) {
        let is_numbered = |record: &EnrolmentRecord| record.registration_id == Some(registration_id);
        let likely = market.or(self.last_market.as_ref());
        let is_meant =
            |record: &EnrolmentRecord| is_numbered(record) && likely.is_some_and(|market| record.is_of_market(market));
        let place = match (self.records.iter().position(is_meant), market) {
            (None, None) => self.records.iter().rposition(is_numbered),
            (place, _) => place,
        };
        if let Some(record) = place.and_then(|place| self.records.get_mut(place)) {
            change(record);
        }
    }
}

#[cfg(test)]
mod tests;
