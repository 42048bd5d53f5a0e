//! Attributes of people who are enrolled: shared among the three keyholders, so that filters may ask
//! about them. Nobody but the contributor sees any.

use super::{EnrolmentEvent, EnrolmentRecord, EnrolmentRecords};
use crate::{
    domain::DST_KEPT_DIGEST,
    entropy,
    error::ClientError,
    keystore::Keystore,
    network::Network,
    progress::{Progress, Stage},
    service::{CallError, FINALITY, Services, name},
};
use locus_commitment::{Address, DatasetContext, DatasetId, Digest32, sha3_256};
use locus_genomics::PanelDigest;
use locus_intake::AttributeIntake;
use locus_ledger::{AttributeStatement, RegistrationId, attribute_statement_hash};
use locus_phenotype::{AttributeSchema, PersonAttributes};
use locus_sharing::{
    AttributeCommitmentsDigest, AttributePackage, AttributePackageHeader, AttributeShares, DatasetSecrets,
    GenotypeDigest, KeyholderIndex, MasterSecret,
};
use locus_wire::{
    convert::{SCHEMA_JSON_BYTES_MAX, field},
    limits::attribute_chunk_datasets_max,
    pb::{
        archive::{
            AttributeChunk, EnrolAttributesRequest, enrol_attributes_request::Part, enrol_attributes_response::Event,
            enrol_attributes_response::Receipt,
        },
        keyholder::{AttributeHeader, SealedAttributes},
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Messages between sharing and network; a message has at most 1 MiB.
const MESSAGES_WAITING_MAX: usize = 2;
/// How often an enrolment of attributes that breaks off is begun again.
const TRIES_MAX: u32 = 3;
/// Pause before it is begun again.
const TRY_PAUSE: Duration = Duration::from_secs(1);

/// Why attributes cannot be given to a registration.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    /// The registration was not enrolled from this folder.
    #[error("registration {0} was not enrolled from this folder: use the folder with its records, see `locus export`")]
    NotEnrolledHere(u64),
    /// It was enrolled with other keys or on another market.
    #[error("registration {0} was enrolled with other keys or on another market: use the folder of both")]
    OtherKeys(u64),
    /// The records are of a client that did not keep what shares derive from.
    #[error(
        "the records of registration {0} do not say what its secrets derive from: enrol the same genotypes again with this version, which registers nothing twice"
    )]
    OldRecords(u64),
    /// A record does not fit its registration.
    #[error("the record of registration {0} is damaged: restore enrolments.jsonl from a copy")]
    Damaged(u64),
    /// Names do not agree.
    #[error(
        "nobody in the source is in registration {registration}: people must have the names that they had in the genotype file, such as {example}"
    )]
    Nobody {
        /// The registration.
        registration: u64,
        /// A name of its record.
        example: String,
    },
    /// The schema is too long to send.
    #[error("the schema document has {0} bytes, the limit is 1048576: take attributes or ontology rows out")]
    SchemaTooLarge(usize),
    /// The archive answered for something else.
    #[error("the archive's receipt is for another schema than the one sent: report it to the market's operators")]
    OtherReceipt,
}

/// Attributes by name of the person.
#[derive(Clone)]
pub struct AttributeInput {
    schema: Arc<AttributeSchema>,
    people: Arc<BTreeMap<String, PersonAttributes>>,
}

impl AttributeInput {
    /// What was read from a source for `schema`.
    pub fn of_intake(schema: AttributeSchema, intake: AttributeIntake) -> Self {
        let names = intake.samples.iter().map(|sample| sample.as_str().to_owned());
        Self { schema: Arc::new(schema), people: Arc::new(names.zip(intake.people).collect()) }
    }

    /// Attributes of these people, whose names are those of the genotype file.
    pub fn new(schema: AttributeSchema, people: BTreeMap<String, PersonAttributes>) -> Self {
        Self { schema: Arc::new(schema), people: Arc::new(people) }
    }

    /// The schema.
    pub fn schema(&self) -> &AttributeSchema {
        &self.schema
    }

    /// Number of people.
    pub fn people(&self) -> usize {
        self.people.len()
    }

    /// How many people of a registration have a row here.
    pub fn matched(&self, record: &EnrolmentRecord) -> usize {
        record.datasets.iter().filter(|dataset| self.people.contains_key(&dataset.sample)).count()
    }
}

/// Attributes that filters may ask about now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributesAdded {
    /// The registration.
    pub registration: RegistrationId,
    /// Its revision.
    pub revision: u32,
    /// Datasets that have attributes now: all but revoked ones.
    pub dataset_count: u32,
    /// People of the registration with a row in the source; the others' attributes are all unknown.
    pub matched: usize,
}

/// Gives the people of a registration attributes, or others than before: shares them among the
/// keyholders, has these check them, and returns when filters may ask about them. People without a row
/// in `input` have all attributes unknown. Doing it again changes nothing.
///
/// # Errors
/// [`ClientError::Attributes`] when the records of this folder do not fit, [`ClientError::Call`] when
/// the archive or a keyholder refuses: what was live before is live still.
#[allow(clippy::too_many_arguments)]
pub async fn add_attributes(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    records: &EnrolmentRecords,
    registration: RegistrationId,
    input: &AttributeInput,
    now_unix_s: u64,
    progress: Arc<dyn Progress>,
) -> Result<AttributesAdded, ClientError> {
    let record = records.of_registration(&network.id(), registration)?;
    let record = record.ok_or(AttributeError::NotEnrolledHere(registration.0))?;
    let source = Arc::new(Source::new(network, keystore, &record, registration, input)?);
    let schema_json = input.schema.to_json();
    if schema_json.len() > SCHEMA_JSON_BYTES_MAX {
        return Err(AttributeError::SchemaTooLarge(schema_json.len()).into());
    }
    let matched = input.matched(&record);
    let of_source = source.clone();
    let commitments = tokio::task::spawn_blocking(move || of_source.commitments());
    let commitments = commitments.await.map_err(|_| ClientError::Interrupted)??;
    let schema = input.schema.digest().0;
    let revision = revision_of(&record, &schema, &commitments, now_unix_s);
    let (schema_text, commitments_text) = (schema.to_string(), commitments.to_string());
    records.append(&EnrolmentEvent::Attributes {
        market: Some(network.id().into()),
        registration_id: registration.0,
        revision,
        schema: schema_text,
        commitments: commitments_text,
    })?;
    let statement = AttributeStatement { registration, revision, schema, commitments };
    let header = AttributeHeader {
        registration_id: registration.0,
        revision,
        schema_json,
        dataset_count: source.count(),
        commitments_digest: commitments.0.to_vec().into(),
        registrant_signature: keystore.sign(&attribute_statement_hash(&network.id(), &statement))?,
        attempt: 0,
    };
    let receipt = send(services, &header, &source, &progress).await?;
    let answered = field::digest("receipt.schema_digest", &receipt.schema_digest);
    if answered.map_err(|error| ClientError::Malformed { service: name::ARCHIVE, error })? != schema {
        return Err(AttributeError::OtherReceipt.into());
    }
    let market = Some(network.id().into());
    records.append(&EnrolmentEvent::AttributesAdmitted { market, registration_id: registration.0, revision })?;
    Ok(AttributesAdded { registration, revision, dataset_count: receipt.dataset_count, matched })
}

/// The same attributes keep their revision. Others take the time, or the next number where that is
/// larger, so that revisions ascend also when the records are lost.
fn revision_of(record: &EnrolmentRecord, schema: &Digest32, commitments: &Digest32, now_unix_s: u64) -> u32 {
    let now = u32::try_from(now_unix_s).unwrap_or(u32::MAX).max(1);
    match &record.attributes {
        Some(last) if last.schema == schema.to_string() && last.commitments == commitments.to_string() => last.revision,
        Some(last) => last.revision.saturating_add(1).max(now),
        None => now,
    }
}

/// Sends everything, from the start again when it breaks off.
async fn send(
    services: &Services,
    header: &AttributeHeader,
    source: &Arc<Source>,
    progress: &Arc<dyn Progress>,
) -> Result<Receipt, ClientError> {
    let (mut tries, mut waits) = (1, 1);
    loop {
        let error = match send_once(services, header, source, progress).await {
            Ok(receipt) => return Ok(receipt),
            Err(Failure::Here(error)) => return Err(error),
            Err(Failure::There(status)) => CallError::new(name::ARCHIVE, &status),
        };
        if error.code == Code::NotFound && FINALITY.pause_after(waits).await {
            waits += 1;
            continue;
        }
        if !error.is_retriable() || tries == TRIES_MAX {
            return Err(error.into());
        }
        tracing::debug!(tries, code = ?error.code, "enrolment of attributes broke off, beginning again");
        tokio::time::sleep(TRY_PAUSE).await;
        tries += 1;
    }
}

/// Where sending failed.
enum Failure {
    Here(ClientError),
    There(Status),
}

async fn send_once(
    services: &Services,
    header: &AttributeHeader,
    source: &Arc<Source>,
    progress: &Arc<dyn Progress>,
) -> Result<Receipt, Failure> {
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (thread_source, header) = (source.clone(), header.clone());
    let producer = tokio::task::spawn_blocking(move || {
        // A receiver that is gone has said why.
        let mut sink = |part| sender.blocking_send(EnrolAttributesRequest { part: Some(part) }).is_ok();
        if sink(Part::Header(header)) { thread_source.produce(&mut sink) } else { Ok(()) }
    });
    let received = receive(services, ReceiverStream::new(receiver), progress.as_ref()).await;
    let produced = producer.await.map_err(|_| Failure::Here(ClientError::Interrupted))?;
    match (produced, received) {
        (Err(error), _) => Err(Failure::Here(error)),
        (Ok(()), received) => received.map_err(Failure::There),
    }
}

async fn receive(
    services: &Services,
    messages: ReceiverStream<EnrolAttributesRequest>,
    progress: &dyn Progress,
) -> Result<Receipt, Status> {
    let mut stream = services.archive.clone().enrol_attributes(messages).await?.into_inner();
    while let Some(message) = stream.message().await? {
        match message.event {
            Some(Event::Progress(event)) => {
                progress.report(Stage::of_attributes(&event.stage), event.done, event.total);
            }
            Some(Event::Receipt(receipt)) => return Ok(receipt),
            None => return Err(Status::data_loss("the archive sent an event that this client does not know")),
        }
    }
    Err(Status::aborted("the archive ended the enrolment of attributes without a receipt"))
}

/// Everything that a registration's shares derive from.
struct Source {
    network: Network,
    registration: RegistrationId,
    master: MasterSecret,
    /// By ordinal: the dataset, what its secrets derive from, and the person's name.
    datasets: Vec<(DatasetContext, GenotypeDigest, String)>,
    input: AttributeInput,
}

impl Source {
    fn new(
        network: &Network,
        keystore: &Keystore,
        record: &EnrolmentRecord,
        registration: RegistrationId,
        input: &AttributeInput,
    ) -> Result<Self, AttributeError> {
        let number = registration.0;
        let registrant = keystore.address();
        let market = network.id();
        let is_own = record.registrant == registrant.to_string()
            && (record.chain_id, record.registry.as_str()) == (market.chain_id, market.registry.to_string().as_str());
        if !is_own {
            return Err(AttributeError::OtherKeys(number));
        }
        if input.matched(record) == 0 {
            let example = record.datasets.first().map(|dataset| dataset.sample.clone()).unwrap_or_default();
            return Err(AttributeError::Nobody { registration: number, example });
        }
        if record.genotypes.is_empty() {
            return Err(AttributeError::OldRecords(number));
        }
        let master = keystore.master().clone();
        let datasets = datasets_of(record, network, registrant, &master).ok_or(AttributeError::Damaged(number))?;
        Ok(Self { network: network.clone(), registration, master, datasets, input: input.clone() })
    }

    fn count(&self) -> u32 {
        u32::try_from(self.datasets.len()).unwrap_or(u32::MAX)
    }

    /// The digest of all commitments.
    fn commitments(&self) -> Result<Digest32, ClientError> {
        let mut digest = AttributeCommitmentsDigest::begin(self.count());
        for place in 0..self.datasets.len() {
            digest.add(self.shares(place)?.commitment());
        }
        Ok(digest.finish())
    }

    /// The shares of one dataset; of people without a row, that everything is unknown.
    fn shares(&self, place: usize) -> Result<AttributeShares, ClientError> {
        let schema = &self.input.schema;
        let damaged = AttributeError::Damaged(self.registration.0);
        let (context, digest, sample) = self.datasets.get(place).ok_or(damaged)?;
        let secrets = DatasetSecrets::derive(&self.master, context, digest);
        let bits = match self.input.people.get(sample) {
            Some(person) => person.to_bits(schema),
            None => PersonAttributes::unknown(schema).to_bits(schema),
        };
        Ok(AttributeShares::new(&self.master, context, &secrets.seeds, &schema.digest().0, &bits)?)
    }

    /// Hands every sealed package to `sink`, until that wants no more.
    fn produce(&self, sink: &mut dyn FnMut(Part) -> bool) -> Result<(), ClientError> {
        let bit_count = u32::try_from(self.input.schema.bit_count()).unwrap_or(u32::MAX);
        let step = attribute_chunk_datasets_max(bit_count);
        let mut rng = entropy::system_rng()?;
        let mut first_ordinal = 0;
        while first_ordinal < self.count() {
            let count = step.min(self.count() - first_ordinal);
            let places =
                (first_ordinal..first_ordinal + count).map(|place| usize::try_from(place).unwrap_or(usize::MAX));
            let shares = places.map(|place| self.shares(place)).collect::<Result<Vec<_>, _>>()?;
            for keyholder in KeyholderIndex::ALL {
                let header = AttributePackageHeader {
                    network: self.network.id(),
                    registration: self.registration.0,
                    keyholder,
                    first_ordinal,
                    count,
                    schema: self.input.schema.digest().0,
                    bit_count,
                };
                let entries = shares.iter().map(|shares| shares.entry_for(keyholder)).collect();
                let package = AttributePackage::try_new(header, entries)?;
                let sealed = package.seal(self.network.sealing_key(keyholder), &mut rng)?.into_bytes().into();
                let attributes = Some(SealedAttributes { first_ordinal, dataset_count: count, sealed });
                if !sink(Part::Chunk(AttributeChunk { keyholder: u32::from(keyholder.get()), attributes })) {
                    return Ok(());
                }
            }
            first_ordinal += count;
        }
        Ok(())
    }
}

/// The datasets of a record, with what their secrets derive from; `None` for a record that contradicts
/// itself.
fn datasets_of(
    record: &EnrolmentRecord,
    network: &Network,
    registrant: Address,
    master: &MasterSecret,
) -> Option<Vec<(DatasetContext, GenotypeDigest, String)>> {
    if record.genotypes.len() != record.datasets.len() {
        return None;
    }
    let batch_nonce = record.batch_nonce.parse().ok()?;
    let panel = PanelDigest(parse_32(&record.panel)?);
    let dataset = |(ordinal, (known, kept)): (u32, (&super::EnrolledDataset, &String))| {
        let dataset = DatasetId::derive(registrant, batch_nonce, ordinal);
        if known.ordinal != ordinal || known.dataset != dataset.to_string() {
            return None;
        }
        let context = DatasetContext { network: network.id(), registrant, dataset, panel, version: record.version };
        let digest = GenotypeDigest::from_bytes(mask(master, &context, &parse_32(kept)?));
        Some((context, digest, known.sample.clone()))
    };
    (0..).zip(record.datasets.iter().zip(&record.genotypes)).map(dataset).collect()
}

fn parse_32(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Masks a genotype digest for the records, or takes the mask off. The dataset's name follows from the
/// digest, so that no mask meets two digests.
pub(super) fn mask(master: &MasterSecret, context: &DatasetContext, digest: &[u8; 32]) -> [u8; 32] {
    let mask = sha3_256(DST_KEPT_DIGEST, &[master.as_bytes(), &context.to_bytes()]).0;
    let mut masked = *digest;
    masked.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_commitment::NetworkId;

    fn context(number: u8) -> DatasetContext {
        DatasetContext {
            network: NetworkId { chain_id: 1, registry: Address([2; 20]) },
            registrant: Address([3; 20]),
            dataset: DatasetId([number; 32]),
            panel: PanelDigest([4; 32]),
            version: 1,
        }
    }

    #[test]
    fn a_kept_digest_needs_the_master_secret() {
        let master = MasterSecret::from_bytes([5; 32]);
        let kept = mask(&master, &context(1), &[6; 32]);
        assert_eq!(mask(&master, &context(1), &kept), [6; 32]);
        assert_ne!(kept, [6; 32]);
        assert_ne!(mask(&MasterSecret::from_bytes([7; 32]), &context(1), &kept), [6; 32]);
        assert_ne!(mask(&master, &context(2), &[6; 32]), kept);
    }
}
