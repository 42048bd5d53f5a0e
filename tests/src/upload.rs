//! Uploads of contributors who do not use an unmodified client: an honest upload is recorded,
//! changed, signed again if the cheat can, and sent to the real archive.

use crate::{Market, Party, now_unix_s};
use anyhow::{Context as _, Result, ensure};
use locus_client::{
    NoProgress, ServiceChannels, Services,
    enrol::{Contributor, EnrolInput, EnrolOptions, EnrolmentRecords, enrol},
    proving::{default_proof_keys, encryption_prover},
};
use locus_commitment::{Address, BodyDigest, DatasetBodyDigest, DatasetContext, DatasetId};
use locus_genomics::PanelDigest;
use locus_ledger::{AccountKey, DatasetLeaf, Registration, leaves_hash};
use locus_proofs::{dataset::EncryptionProver, encryption::EncryptionProof};
use locus_rlwe::BODY_BYTES;
use locus_service::{Connector, Listen, MESSAGE_BYTES_MAX, ServerOptions, connect, serve};
use locus_sharing::{DatasetSecrets, DatasetSeeds, GenotypeDigest, KeyholderIndex, SeedPackage, SeedPackageHeader};
use locus_wire::pb::archive::{
    self as pb, archive_service_server, upload_datasets_request::Part, upload_datasets_response::Event,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming, service::Routes};

/// Random numbers of the operating system.
pub fn system_rng() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

/// An upload, taken apart.
#[derive(Debug, Clone)]
pub struct Upload {
    /// First message.
    pub header: pb::UploadHeader,
    /// (Panel block, plane) to the bodies of all datasets, by ordinal.
    pub bodies: BTreeMap<(u32, u32), Vec<Vec<u8>>>,
    /// The proofs of a proven upload, as the bodies.
    pub proofs: BTreeMap<(u32, u32), Vec<Vec<u8>>>,
    /// By ordinal.
    pub records: Vec<pb::DatasetRecord>,
    /// Seed packages in the order sent.
    pub seeds: Vec<pb::SealedSeeds>,
    /// Last message.
    pub finish: pb::UploadFinish,
}

impl Upload {
    /// What an honest client of `institution` would upload for everybody in `input`.
    pub async fn of_institution(market: &Market, institution: &Party, input: &EnrolInput) -> Result<Self> {
        let accreditor = institution.keys.accreditor()?;
        Self::record(market, institution, input, &Contributor::Biobank { accreditor }, None).await
    }

    /// What an honest client of a person would upload for themselves.
    pub async fn of_person(market: &Market, person: &Party, input: &EnrolInput, individual: u32) -> Result<Self> {
        let prover = encryption_prover(&market.network, &default_proof_keys(), |_| {})?;
        Self::record(market, person, input, &Contributor::Person { individual }, Some(prover)).await
    }

    async fn record(
        market: &Market,
        party: &Party,
        input: &EnrolInput,
        contributor: &Contributor,
        prover: Option<Arc<EncryptionProver>>,
    ) -> Result<Self> {
        let recorder = Recorder::default();
        let server = archive_service_server::ArchiveServiceServer::new(recorder.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let server = serve(Routes::new(server), Listen::InProcess, ServerOptions::default()).await?;
        let services = market.services_with_archive(&server.connector()).await?;
        let options = EnrolOptions { version: 1, terms: None, prover };
        let records = EnrolmentRecords::new(&market.scratch().join("recorded.jsonl"));
        let progress = Arc::new(NoProgress);
        let network = &market.network;
        let now = now_unix_s();
        let refused =
            enrol(&services, network, &party.keys, input, contributor, &options, &records, now, progress).await;
        ensure!(refused.is_err(), "the recorder takes nothing in");
        let messages = std::mem::take(&mut *recorder.uploads.lock().unwrap_or_else(PoisonError::into_inner));
        Self::parse(messages)
    }

    fn parse(messages: Vec<pb::UploadDatasetsRequest>) -> Result<Self> {
        let mut bodies: BTreeMap<(u32, u32), Vec<Vec<u8>>> = BTreeMap::new();
        let mut proofs: BTreeMap<(u32, u32), Vec<Vec<u8>>> = BTreeMap::new();
        let (mut header, mut finish, mut records, mut seeds) = (None, None, Vec::new(), Vec::new());
        for message in messages {
            match message.part.context("a message without content")? {
                Part::Header(part) => header = Some(part),
                Part::Bodies(chunk) => {
                    let column = bodies.entry((chunk.block, chunk.plane)).or_default();
                    column.extend(chunk.bodies.chunks(BODY_BYTES).map(<[u8]>::to_vec));
                    let column = proofs.entry((chunk.block, chunk.plane)).or_default();
                    column.extend(chunk.proofs.chunks(EncryptionProof::BYTES).map(<[u8]>::to_vec));
                }
                Part::Datasets(chunk) => records.extend(chunk.datasets),
                Part::Seeds(part) => seeds.push(part),
                Part::Finish(part) => finish = Some(part),
            }
        }
        let (header, finish) = (header.context("no header")?, finish.context("no finish")?);
        Ok(Self { header, bodies, proofs, records, seeds, finish })
    }

    /// The messages of this upload.
    pub fn messages(&self) -> Vec<pb::UploadDatasetsRequest> {
        let mut parts = vec![Part::Header(self.header.clone())];
        for (&(block, plane), column) in &self.bodies {
            for (place, bodies) in column.chunks(64).enumerate() {
                let first_ordinal = 64 * u32::try_from(place).unwrap_or(u32::MAX);
                let proofs = self.proofs.get(&(block, plane)).and_then(|column| column.chunks(64).nth(place));
                let proofs = proofs.unwrap_or_default().concat().into();
                let bodies = bodies.concat().into();
                parts.push(Part::Bodies(pb::BodyChunk { block, plane, first_ordinal, bodies, proofs }));
            }
        }
        parts.push(Part::Datasets(pb::DatasetChunk { first_ordinal: 0, datasets: self.records.clone() }));
        parts.extend(self.seeds.iter().cloned().map(Part::Seeds));
        parts.push(Part::Finish(self.finish.clone()));
        parts.into_iter().map(|part| pb::UploadDatasetsRequest { part: Some(part) }).collect()
    }

    /// Sends it to the market's archive.
    pub async fn send(&self, market: &Market) -> Result<pb::UploadReceipt, Status> {
        send(market, self.messages()).await
    }

    /// Declares the bodies as they are now, as a cheat can, and signs everything again.
    pub fn declare_bodies(&mut self, market: &Market, institution: &Party) -> Result<()> {
        for (ordinal, record) in self.records.iter_mut().enumerate() {
            let bodies = self.bodies.values().map(|column| column[ordinal].as_slice());
            let digests = bodies.map(body_digest).collect::<Result<Vec<_>>>()?;
            let leaf = record.leaf.as_mut().context("a record without leaf")?;
            leaf.body_digest = DatasetBodyDigest::of_bodies(&digests).0.0.to_vec().into();
        }
        let accreditor = institution.keys.accreditor()?;
        let vouching = (!self.header.accreditor.is_empty()).then(|| accreditor.account());
        self.sign(market, &institution.keys.account().clone(), vouching)
    }

    /// Signs what is declared.
    pub fn sign(&mut self, market: &Market, registrant: &AccountKey, accreditor: Option<&AccountKey>) -> Result<()> {
        let contracts = market.network.contracts();
        let registration = self.registration()?;
        let signature = registrant.sign_digest(&contracts.registration_signing_hash(&registration))?;
        self.finish.registrant_signature = signature.to_bytes().to_vec().into();
        let accreditation = contracts.accreditation_signing_hash(&contracts.registration_digest(&registration));
        let accredited = accreditor.map(|key| key.sign_digest(&accreditation)).transpose()?;
        self.finish.accreditor_signature =
            accredited.map(|signature| signature.to_bytes().to_vec()).unwrap_or_default().into();
        Ok(())
    }

    /// The leaves declared.
    pub fn leaves(&self) -> Result<Vec<DatasetLeaf>> {
        let leaf = |record: &pb::DatasetRecord| {
            Ok(DatasetLeaf::try_from(record.leaf.as_ref().context("a record without leaf")?)?)
        };
        self.records.iter().map(leaf).collect()
    }

    /// What is signed.
    pub fn registration(&self) -> Result<Registration> {
        let accreditor = if self.header.accreditor.is_empty() { None } else { Some(address(&self.header.accreditor)?) };
        Ok(Registration {
            registrant: address(&self.header.registrant)?,
            panel: PanelDigest(self.header.panel_digest.as_ref().try_into()?),
            version: self.header.version,
            batch_nonce: self.header.batch_nonce,
            accreditor,
            deadline_unix_s: self.header.deadline_unix_s,
            leaves_hash: leaves_hash(&self.leaves()?),
        })
    }

    /// The name under which a dataset of this upload is encrypted.
    pub fn context(&self, market: &Market, ordinal: u32) -> Result<DatasetContext> {
        let registrant = address(&self.header.registrant)?;
        Ok(DatasetContext {
            network: market.network.id(),
            registrant,
            dataset: DatasetId::derive(registrant, self.header.batch_nonce, ordinal),
            panel: PanelDigest(self.header.panel_digest.as_ref().try_into()?),
            version: self.header.version,
        })
    }

    /// The secrets that an honest client derives for a dataset of this upload.
    pub fn secrets(&self, market: &Market, party: &Party, input: &EnrolInput, ordinal: u32) -> Result<DatasetSecrets> {
        let packed = input.genotypes.person(ordinal)?;
        let digest = GenotypeDigest::of_packed(packed.as_bytes());
        Ok(DatasetSecrets::derive(party.keys.master(), &self.context(market, ordinal)?, &digest))
    }

    /// Replaces the seed packages of one keyholder by one with these secrets.
    pub fn seal_seeds(&mut self, market: &Market, keyholder: KeyholderIndex, secrets: &[DatasetSecrets]) -> Result<()> {
        let count = u32::try_from(secrets.len())?;
        let registration = self.registration()?;
        let header = SeedPackageHeader {
            network: market.network.id(),
            registrant: registration.registrant,
            batch_nonce: registration.batch_nonce,
            panel: registration.panel,
            version: registration.version,
            keyholder,
            first_ordinal: 0,
            count,
        };
        let datasets = secrets.iter().map(|secrets| DatasetSeeds::for_keyholder(secrets, keyholder)).collect();
        let sealed =
            SeedPackage::try_new(header, datasets)?.seal(market.network.sealing_key(keyholder), &mut system_rng())?;
        let number = u32::from(keyholder.get());
        let package = pb::SealedSeeds {
            keyholder: number,
            first_ordinal: 0,
            dataset_count: count,
            sealed: sealed.into_bytes().into(),
        };
        self.seeds.retain(|seeds| seeds.keyholder != number);
        let place = self.seeds.partition_point(|seeds| seeds.keyholder < number);
        self.seeds.insert(place, package);
        Ok(())
    }
}

/// Sends the messages of an upload to the market's archive.
pub async fn send(market: &Market, messages: Vec<pb::UploadDatasetsRequest>) -> Result<pb::UploadReceipt, Status> {
    let mut archive = market.services.archive.clone();
    let mut stream = archive.upload_datasets(tokio_stream::iter(messages)).await?.into_inner();
    while let Some(message) = stream.message().await? {
        if let Some(Event::Receipt(receipt)) = message.event {
            return Ok(receipt);
        }
    }
    Err(Status::aborted("the upload ended without a receipt"))
}

/// Digest of a body.
pub fn body_digest(body: &[u8]) -> Result<BodyDigest> {
    Ok(BodyDigest::of_body(body.try_into()?))
}

fn address(bytes: &[u8]) -> Result<Address> {
    Ok(Address(bytes.try_into()?))
}

impl Market {
    /// The services with another archive.
    pub(crate) async fn services_with_archive(&self, archive: &Connector) -> Result<Services> {
        let connectors = self.node.connectors();
        let [first, second, third] = &connectors.keyholders;
        Ok(Services::new(ServiceChannels {
            archive: connect(archive).await?,
            exchange: connect(&connectors.exchange).await?,
            aggregator: connect(&connectors.aggregator).await?,
            keyholders: [connect(first).await?, connect(second).await?, connect(third).await?],
        }))
    }
}

/// An archive that takes nothing in and remembers what was sent.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    uploads: Arc<Mutex<Vec<pb::UploadDatasetsRequest>>>,
    attributes: Arc<Mutex<Vec<pb::EnrolAttributesRequest>>>,
}

impl Recorder {
    /// The messages of the last enrolment of attributes.
    pub(crate) fn take_attributes(&self) -> Vec<pb::EnrolAttributesRequest> {
        std::mem::take(&mut *self.attributes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn only_uploads() -> Status {
    Status::unimplemented("only uploads are recorded")
}

#[tonic::async_trait]
impl archive_service_server::ArchiveService for Recorder {
    type GetPanelStream = Empty<Result<pb::GetPanelResponse, Status>>;
    type EnrolAttributesStream = Empty<Result<pb::EnrolAttributesResponse, Status>>;
    type RekeyDatasetsStream = Empty<Result<pb::RekeyDatasetsResponse, Status>>;
    type UploadDatasetsStream = Empty<Result<pb::UploadDatasetsResponse, Status>>;

    async fn put_panel(
        &self,
        _: Request<Streaming<pb::PutPanelRequest>>,
    ) -> Result<Response<pb::PutPanelResponse>, Status> {
        Err(only_uploads())
    }

    async fn get_panel(&self, _: Request<pb::GetPanelRequest>) -> Result<Response<Self::GetPanelStream>, Status> {
        Err(only_uploads())
    }

    async fn list_panels(&self, _: Request<pb::ListPanelsRequest>) -> Result<Response<pb::ListPanelsResponse>, Status> {
        Err(only_uploads())
    }

    async fn upload_datasets(
        &self,
        request: Request<Streaming<pb::UploadDatasetsRequest>>,
    ) -> Result<Response<Self::UploadDatasetsStream>, Status> {
        let mut stream = request.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        *self.uploads.lock().unwrap_or_else(PoisonError::into_inner) = messages;
        Err(Status::failed_precondition("recorded"))
    }

    async fn publish_registration(
        &self,
        _: Request<pb::PublishRegistrationRequest>,
    ) -> Result<Response<pb::PublishRegistrationResponse>, Status> {
        Err(only_uploads())
    }

    async fn enrol_attributes(
        &self,
        request: Request<Streaming<pb::EnrolAttributesRequest>>,
    ) -> Result<Response<Self::EnrolAttributesStream>, Status> {
        let mut stream = request.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        *self.attributes.lock().unwrap_or_else(PoisonError::into_inner) = messages;
        Err(Status::failed_precondition("recorded"))
    }

    async fn list_schemas(
        &self,
        _: Request<pb::ListSchemasRequest>,
    ) -> Result<Response<pb::ListSchemasResponse>, Status> {
        Err(only_uploads())
    }

    async fn get_schema(&self, _: Request<pb::GetSchemaRequest>) -> Result<Response<pb::GetSchemaResponse>, Status> {
        Err(only_uploads())
    }

    async fn put_disclosure(
        &self,
        _: Request<pb::PutDisclosureRequest>,
    ) -> Result<Response<pb::PutDisclosureResponse>, Status> {
        Err(only_uploads())
    }

    async fn get_disclosure(
        &self,
        _: Request<pb::GetDisclosureRequest>,
    ) -> Result<Response<pb::GetDisclosureResponse>, Status> {
        Err(only_uploads())
    }

    async fn rekey_datasets(
        &self,
        _: Request<pb::RekeyDatasetsRequest>,
    ) -> Result<Response<Self::RekeyDatasetsStream>, Status> {
        Err(only_uploads())
    }

    async fn erase_datasets(
        &self,
        _: Request<pb::EraseDatasetsRequest>,
    ) -> Result<Response<pb::EraseDatasetsResponse>, Status> {
        Err(only_uploads())
    }
}
