//! From genotypes to an offer: the whole enrolment with the services.

use super::{
    Accreditor, Contributor, EnrolError, EnrolInput,
    attributes::mask,
    batch::{self, BatchIdentity, PreparedBatch, PreparedDataset},
    produce::{SignedBatch, UploadJob},
    records::{EnrolledDataset, EnrolmentEvent, EnrolmentRecords, StartedEvent},
};
use crate::{
    error::ClientError,
    keystore::Keystore,
    network::Network,
    offer::{self, OfferTerms},
    progress::{Progress, Stage},
    service::{CallError, Services, name, retrying, until_final},
};
use locus_ledger::{Registration, RegistrationId};
use locus_proofs::dataset::EncryptionProver;
use locus_sharing::KeyholderIndex;
use locus_wire::{
    convert::field,
    pb::{
        archive::{self as pb, upload_datasets_response::Event},
        exchange as exchange_pb,
    },
};
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Messages between encryption and network; a message has 2 MiB.
const MESSAGES_WAITING_MAX: usize = 2;
/// How often an upload that breaks off is begun again; every try sends the same bytes.
const UPLOADS_MAX: u32 = 3;
/// Pause before an upload is begun again.
const UPLOAD_PAUSE: Duration = Duration::from_secs(1);
/// How long a signed registration can be submitted.
const REGISTRATION_LIFETIME_S: u64 = 86_400;

/// How to enrol.
#[derive(Clone)]
pub struct EnrolOptions {
    /// Version of the datasets, from 1: one more than the version that they replace.
    pub version: u32,
    /// Price and terms; `None` puts nothing on offer yet.
    pub terms: Option<OfferTerms>,
    /// Proves every body. A person needs it; an institution may do without.
    pub prover: Option<Arc<EncryptionProver>>,
}

/// A batch that is on the chain and readable.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Number of its registration.
    pub registration: RegistrationId,
    /// Registry slot of its first dataset.
    pub first_slot: u64,
    /// Its datasets, by ordinal.
    pub datasets: Vec<EnrolledDataset>,
    /// Nonce of its offer, if it is on offer.
    pub offer_nonce: Option<u64>,
    /// Whether all of it was on the chain before.
    pub resumed: bool,
}

/// Enrols a person or a biobank's people: encrypts, uploads, has the keyholders attest, registers,
/// publishes and puts on offer, batch by batch. Running it again with the same input goes on where
/// it stopped.
///
/// # Errors
/// [`ClientError::Enrol`] when the input cannot be enrolled, [`ClientError::Call`] when a service
/// refuses: nothing of the batch is then on the chain.
#[allow(clippy::too_many_arguments)]
pub async fn enrol(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    input: &EnrolInput,
    contributor: &Contributor,
    options: &EnrolOptions,
    records: &EnrolmentRecords,
    now_unix_s: u64,
    progress: Arc<dyn Progress>,
) -> Result<Vec<Enrolled>, ClientError> {
    let batches = batch::split(input, contributor)?;
    if options.prover.is_none() && matches!(contributor, Contributor::Person { .. }) {
        return Err(EnrolError::ProverMissing.into());
    }
    let enrolment =
        Enrolment { services, network, keystore, input, contributor, options, records, now_unix_s, progress };
    let mut enrolled = Vec::with_capacity(batches.len());
    for people in batches {
        enrolled.push(enrolment.enrol_batch(people).await?);
    }
    Ok(enrolled)
}

struct Enrolment<'a> {
    services: &'a Services,
    network: &'a Network,
    keystore: &'a Keystore,
    input: &'a EnrolInput,
    contributor: &'a Contributor,
    options: &'a EnrolOptions,
    records: &'a EnrolmentRecords,
    now_unix_s: u64,
    progress: Arc<dyn Progress>,
}

/// A registration as the exchange names it.
struct Registered {
    registration: RegistrationId,
    first_slot: u64,
}

impl Enrolment<'_> {
    fn accreditor(&self) -> Option<Arc<dyn Accreditor>> {
        match self.contributor {
            Contributor::Person { .. } => None,
            Contributor::Biobank { accreditor } => Some(accreditor.clone()),
        }
    }

    async fn enrol_batch(&self, people: Range<u32>) -> Result<Enrolled, ClientError> {
        let prepared = self.prepare(people).await?;
        let datasets = describe(&prepared);
        let batch_nonce = prepared.batch_nonce;
        self.records.append(&EnrolmentEvent::Started(self.started(&prepared, &datasets)))?;
        let known = self.find(batch_nonce).await?;
        let resumed = known.is_some();
        let registered = match known {
            Some(registered) => registered,
            None => self.register(prepared).await?,
        };
        let registration_id = registered.registration.0;
        let first_slot = registered.first_slot;
        self.records.append(&EnrolmentEvent::Registered { batch_nonce, registration_id, first_slot })?;
        self.publish(registered.registration).await?;
        // The exchange may see it a moment later than the archive.
        offer::final_registration_state(self.services, registered.registration).await?;
        self.records.append(&EnrolmentEvent::Published { market: Some(self.network.id().into()), registration_id })?;
        let offer_nonce = match &self.options.terms {
            None => None,
            Some(terms) => {
                self.progress.report(Stage::Offering, 0, 1);
                let nonce =
                    offer::post_offer(self.services, self.network, self.keystore, registered.registration, terms)
                        .await?;
                self.records.note_offer(&self.network.id(), registered.registration, nonce)?;
                Some(nonce)
            }
        };
        Ok(Enrolled { registration: registered.registration, first_slot, datasets, offer_nonce, resumed })
    }

    async fn prepare(&self, people: Range<u32>) -> Result<PreparedBatch, ClientError> {
        let accreditor = self.accreditor();
        let identity = BatchIdentity {
            network: self.network.id(),
            registrant: self.keystore.address(),
            version: self.options.version,
            accreditor: accreditor.as_ref().map(|accreditor| accreditor.address()),
            proven: self.options.prover.is_some(),
        };
        let (master, input, progress) = (self.keystore.master().clone(), self.input.clone(), self.progress.clone());
        let prepare =
            move || PreparedBatch::prepare(identity, &master, &input, people, accreditor.as_deref(), progress.as_ref());
        Ok(tokio::task::spawn_blocking(prepare).await.map_err(|_| ClientError::Interrupted)??)
    }

    fn started(&self, prepared: &PreparedBatch, datasets: &[EnrolledDataset]) -> StartedEvent {
        let identity = &prepared.identity;
        StartedEvent {
            format: StartedEvent::FORMAT,
            time_unix_s: self.now_unix_s,
            chain_id: identity.network.chain_id,
            registry: identity.network.registry.to_string(),
            registrant: identity.registrant.to_string(),
            panel: prepared.panel.digest().to_string(),
            version: identity.version,
            batch_nonce: prepared.batch_nonce,
            accreditor: identity.accreditor.map(|account| account.to_string()),
            datasets: datasets.to_vec(),
            genotypes: self.kept_digests(prepared),
        }
    }

    /// What the secrets of every dataset derive from, as the records keep it.
    fn kept_digests(&self, prepared: &PreparedBatch) -> Vec<String> {
        let kept = |dataset: &PreparedDataset| {
            let context = prepared.identity.context(&prepared.panel, dataset.dataset);
            hex::encode(mask(self.keystore.master(), &context, dataset.genotypes.as_bytes()))
        };
        prepared.datasets.iter().map(kept).collect()
    }

    /// The registration of this batch, when an earlier try got that far.
    async fn find(&self, batch_nonce: u64) -> Result<Option<Registered>, ClientError> {
        use exchange_pb::get_registration_request::{Batch, Key};
        let registrant = self.keystore.address().0.to_vec().into();
        let key = Some(Key::Batch(Batch { registrant, batch_nonce }));
        let request = exchange_pb::GetRegistrationRequest { key, ordinal: None };
        let call = || {
            let (mut exchange, request) = (self.services.exchange.clone(), request.clone());
            async move { exchange.get_registration(request).await }
        };
        match retrying(name::EXCHANGE, call).await {
            Ok(found) => Ok(Some(Registered {
                registration: RegistrationId(found.registration_id),
                first_slot: found.first_slot,
            })),
            Err(error) if error.code == Code::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn register(&self, prepared: PreparedBatch) -> Result<Registered, ClientError> {
        let job = Arc::new(UploadJob {
            batch: prepared,
            network: self.network.clone(),
            registrant: self.keystore.account().clone(),
            accreditor: self.accreditor(),
            prover: self.options.prover.clone(),
            deadline_unix_s: self.now_unix_s.saturating_add(REGISTRATION_LIFETIME_S),
        });
        let (signed, attestations) = self.upload(&job).await?;
        self.progress.report(Stage::Registering, 0, 1);
        let request = exchange_pb::RegisterDatasetsRequest {
            registration: Some((&signed.registration).into()),
            leaves: signed.leaves.iter().map(Into::into).collect(),
            registrant_signature: signed.registrant_signature.into(),
            accreditor_signature: signed.accreditor_signature.into(),
            attestations,
            proven: signed.ciphertexts.is_some() && self.options.prover.is_some(),
            ciphertext_commitments: signed.ciphertexts.iter().flatten().map(|point| point.to_vec().into()).collect(),
        };
        let call = || {
            let (mut exchange, request) = (self.services.exchange.clone(), request.clone());
            async move { exchange.register_datasets(request).await }
        };
        let response = retrying(name::EXCHANGE, call).await?;
        self.progress.report(Stage::Registering, 1, 1);
        Ok(Registered { registration: RegistrationId(response.registration_id), first_slot: response.first_slot })
    }

    async fn upload(&self, job: &Arc<UploadJob>) -> Result<(SignedBatch, Vec<bytes::Bytes>), ClientError> {
        let mut attempt = 1;
        loop {
            let error = match self.upload_once(job).await {
                Ok((signed, receipt)) => {
                    check_receipt(self.network, &signed.registration, &receipt)?;
                    return Ok((signed, receipt.attestations));
                }
                Err(UploadFailure::Here(error)) => return Err(error),
                Err(UploadFailure::There(status)) => CallError::new(name::ARCHIVE, &status),
            };
            if !error.is_retriable() || attempt == UPLOADS_MAX {
                return Err(error.into());
            }
            tracing::debug!(attempt, code = ?error.code, "upload broke off, beginning again");
            tokio::time::sleep(UPLOAD_PAUSE).await;
            attempt += 1;
        }
    }

    /// One upload: encryption runs on a thread of its own and waits when the network is slower.
    async fn upload_once(&self, job: &Arc<UploadJob>) -> Result<(SignedBatch, pb::UploadReceipt), UploadFailure> {
        let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        let (thread_job, progress) = (job.clone(), self.progress.clone());
        let producer = tokio::task::spawn_blocking(move || {
            let mut sink = |message| sender.blocking_send(message).map_err(|_| EnrolError::Stopped);
            thread_job.produce(&mut sink, progress.as_ref())
        });
        let received = self.receive(ReceiverStream::new(receiver)).await;
        let produced = producer.await.map_err(|_| UploadFailure::Here(ClientError::Interrupted))?;
        match (produced, received) {
            (Ok(signed), Ok(receipt)) => Ok((signed, receipt)),
            // The archive answered or went away before everything was sent: its word counts.
            (Err(EnrolError::Stopped) | Ok(_), Err(status)) => Err(UploadFailure::There(status)),
            (Err(error), _) => Err(UploadFailure::Here(error.into())),
        }
    }

    async fn receive(&self, messages: ReceiverStream<pb::UploadDatasetsRequest>) -> Result<pb::UploadReceipt, Status> {
        let mut stream = self.services.archive.clone().upload_datasets(messages).await?.into_inner();
        while let Some(message) = stream.message().await? {
            match message.event {
                Some(Event::Progress(event)) => {
                    self.progress.report(Stage::of_upload(&event.stage), event.done, event.total);
                }
                Some(Event::Receipt(receipt)) => return Ok(receipt),
                None => return Err(Status::data_loss("the archive sent an event that this client does not know")),
            }
        }
        Err(Status::aborted("the archive ended the upload without a receipt"))
    }

    /// Waits until the registration is final and the archive has made it readable.
    async fn publish(&self, registration: RegistrationId) -> Result<(), ClientError> {
        self.progress.report(Stage::Publishing, 0, 1);
        let request = pb::PublishRegistrationRequest { registration_id: registration.0 };
        let call = || {
            let mut archive = self.services.archive.clone();
            async move { archive.publish_registration(request).await }
        };
        until_final(name::ARCHIVE, call).await?;
        self.progress.report(Stage::Publishing, 1, 1);
        Ok(())
    }
}

/// Where an upload failed.
enum UploadFailure {
    Here(ClientError),
    There(Status),
}

fn describe(prepared: &PreparedBatch) -> Vec<EnrolledDataset> {
    let datasets = (0..).zip(&prepared.datasets);
    datasets
        .map(|(ordinal, dataset)| EnrolledDataset {
            ordinal,
            sample: dataset.sample.clone(),
            dataset: dataset.dataset.to_string(),
            person: dataset.person.to_string(),
        })
        .collect()
}

/// Checks that the receipt is for the registration that was uploaded and that all three keyholders
/// have attested it.
fn check_receipt(
    network: &Network,
    registration: &Registration,
    receipt: &pb::UploadReceipt,
) -> Result<(), ClientError> {
    let malformed = |error| ClientError::Malformed { service: name::ARCHIVE, error };
    let message = field::required("receipt.registration", &receipt.registration).map_err(malformed)?;
    if Registration::try_from(message).map_err(malformed)? != *registration {
        return Err(EnrolError::OtherReceipt.into());
    }
    let contracts = network.contracts();
    let digest = contracts.registration_digest(registration);
    let attestation = contracts.attestation_signing_hash(&digest, network.committee_epoch());
    for keyholder in KeyholderIndex::ALL {
        let signature = receipt.attestations.get(keyholder.position());
        if !signature.is_some_and(|signature| network.is_signed_by(keyholder, &attestation, signature)) {
            return Err(EnrolError::Attestation { keyholder: keyholder.get() }.into());
        }
    }
    Ok(())
}
