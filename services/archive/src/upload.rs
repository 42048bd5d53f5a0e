//! One upload from its header to its attestations.
//!
//! Bodies go straight to the store, their openings and the keyholders' check values to scratch
//! files, so memory does not grow with the batch or the panel. Whatever fails, nothing of the upload
//! stays visible.

mod commitments;
pub(crate) mod proofs;
pub(crate) mod records;
pub(crate) mod sequence;
pub(crate) mod spool;

use crate::{
    archive::{Archive, fresh_batch_id},
    enrol::{self, Enrolment},
    error::ArchiveError,
    panels::PanelInfo,
    progress::Progress,
    staged::{BatchKey, BatchPlace, StagedBatch},
};
use commitments::CommitmentCheck;
use futures::{Stream, StreamExt as _};
use locus_commitment::{Address, NetworkId};
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane};
use locus_ledger::{Registration, leaves_hash, signed_leaves_hash};
use locus_privacy::REKEYINGS_MAX;
use locus_service::blocking;
use locus_sharing::REGISTRATION_DATASETS_MAX;
use locus_store::{BatchWriter, Column, StoreError};
use locus_wire::{
    convert::field,
    pb::archive::{
        BodyChunk, DatasetChunk, SealedSeeds, UploadDatasetsRequest, UploadFinish, UploadHeader, UploadReceipt,
        upload_datasets_request::Part,
    },
};
use proofs::{BatchContext, ProofSpool};
use records::Records;
use sequence::{Place, Sequence};
use spool::OpeningSpool;
use std::{sync::Arc, time::Duration};
use tonic::Status;

/// What the header of an upload says, checked.
#[derive(Debug, Clone, Copy)]
struct BatchHeader {
    registrant: Address,
    panel: PanelDigest,
    version: u32,
    batch_nonce: u64,
    accreditor: Option<Address>,
    deadline_unix_s: u64,
    datasets: u32,
    proven: bool,
}

/// An upload under way.
struct Upload {
    archive: Arc<Archive>,
    header: BatchHeader,
    panel: PanelInfo,
    place: BatchPlace,
    sequence: Sequence,
    /// Until all bodies are there and agree with the records.
    writer: Option<BatchWriter>,
    openings: OpeningSpool,
    /// Of a proven upload; elsewhere while it works.
    proofs: Option<ProofSpool>,
    /// In a market that settles on proven cohorts, until all records are there; elsewhere while it works.
    commitments: Option<CommitmentCheck>,
    records: Records,
    seeds: [Vec<SealedSeeds>; 3],
}

/// Takes in a whole upload and runs the enrolment of its batch. After an error nothing of it is left.
pub(crate) async fn receive<S>(
    archive: &Arc<Archive>,
    parts: &mut S,
    progress: &Progress,
) -> Result<UploadReceipt, ArchiveError>
where
    S: Stream<Item = Result<UploadDatasetsRequest, Status>> + Unpin + Send,
{
    let _permit = archive.upload_permit()?;
    let idle = Duration::from_secs(archive.limits.upload_idle_s);
    let header = match next_part(parts, idle).await? {
        Some(Part::Header(header)) => parse_header(archive, &header)?,
        _ => return Err(sequence::header_first().into()),
    };
    let mut upload = Upload::begin(archive.clone(), header).await?;
    let received = upload.run(parts, idle, progress).await;
    match received {
        Ok(receipt) => Ok(receipt),
        Err(error) => {
            tracing::info!(batch = %upload.place.batch, %error, "upload refused");
            upload.discard().await;
            Err(error)
        }
    }
}

/// Largest version of a dataset: re-keyings add to it.
const VERSION_MAX: u64 = (u32::MAX - REKEYINGS_MAX as u32) as u64;

/// The next message's content; `None` at the end of the stream.
async fn next_part<S>(parts: &mut S, idle: Duration) -> Result<Option<Part>, ArchiveError>
where
    S: Stream<Item = Result<UploadDatasetsRequest, Status>> + Unpin + Send,
{
    let next = tokio::time::timeout(idle, parts.next()).await;
    let next = next.map_err(|_| ArchiveError::Idle(idle.as_secs()))?;
    let Some(message) = next else { return Ok(None) };
    let message = message.map_err(|status| ArchiveError::Broken(status.message().to_owned()))?;
    message.part.map(Some).ok_or(ArchiveError::EmptyMessage)
}

fn parse_header(archive: &Archive, message: &UploadHeader) -> Result<BatchHeader, ArchiveError> {
    let network = NetworkId::try_from(field::required("header.network", &message.network)?)?;
    if network != archive.contracts().network {
        return Err(ArchiveError::OtherNetwork);
    }
    let now = archive.clock.now_unix_s();
    let latest = now.saturating_add(archive.limits.registration_lifetime_max_s);
    let deadline = message.deadline_unix_s;
    if !(now..=latest).contains(&deadline) {
        return Err(ArchiveError::Deadline { deadline, now, latest });
    }
    let datasets_max = u64::from(REGISTRATION_DATASETS_MAX);
    let accreditor = field::optional_address("header.accreditor", &message.accreditor)?;
    match (accreditor, message.proven, &archive.encryption_verifier) {
        (None, false, _) => return Err(ArchiveError::Unproven),
        (_, true, None) => return Err(ArchiveError::NoProofKey),
        _ => {}
    }
    Ok(BatchHeader {
        registrant: field::address("header.registrant", &message.registrant)?,
        panel: PanelDigest(field::array("header.panel_digest", &message.panel_digest)?),
        version: field::in_range("header.version", message.version, 1, VERSION_MAX)?,
        batch_nonce: message.batch_nonce,
        accreditor,
        deadline_unix_s: deadline,
        datasets: field::in_range("header.dataset_count", message.dataset_count, 1, datasets_max)?,
        proven: message.proven,
    })
}

impl Upload {
    async fn begin(archive: Arc<Archive>, header: BatchHeader) -> Result<Self, ArchiveError> {
        let panel = archive.published_panel(&header.panel).await?;
        let planes = u32::try_from(panel.shape.planes().len()).unwrap_or(u32::MAX);
        let sequence = Sequence::new(header.datasets, panel.shape.blocks(), planes, header.proven);
        let openings = OpeningSpool::create(&archive.scratch, header.datasets, sequence.columns())?;
        let place = BatchPlace { batch: fresh_batch_id()?, panel: panel.digest, shape: panel.shape };
        archive.batches.begin_upload(&place)?;
        let writer = archive.store_of(&place).create_batch(place.batch, header.datasets).await?;
        let is_committed = archive.settles_on_cohorts;
        let records = Records::new(header.registrant, header.batch_nonce, header.accreditor.is_some(), is_committed);
        let proofs = proof_spool(&archive, &header, &panel)?;
        let draw = || CommitmentCheck::draw(columns_of(&panel), header.datasets);
        let commitments = is_committed.then(draw).transpose()?;
        Ok(Self {
            archive,
            header,
            panel,
            place,
            sequence,
            writer: Some(writer),
            openings,
            proofs,
            commitments,
            records,
            seeds: Default::default(),
        })
    }

    async fn run<S>(
        &mut self,
        parts: &mut S,
        idle: Duration,
        progress: &Progress,
    ) -> Result<UploadReceipt, ArchiveError>
    where
        S: Stream<Item = Result<UploadDatasetsRequest, Status>> + Unpin + Send,
    {
        let bodies = u64::from(self.header.datasets) * u64::from(self.sequence.columns());
        let mut stored = 0;
        loop {
            match next_part(parts, idle).await? {
                None => return Err(self.sequence.refuse(Place::End).into()),
                Some(Part::Header(_)) => return Err(self.sequence.refuse(Place::Header).into()),
                Some(Part::Bodies(chunk)) => {
                    stored += self.take_bodies(chunk).await?;
                    progress.report("storing", stored, bodies);
                }
                Some(Part::Datasets(chunk)) => self.take_datasets(&chunk).await?,
                Some(Part::Seeds(seeds)) => {
                    self.sequence.seeds(&seeds)?;
                    // The sequence has checked that the keyholder is 1, 2 or 3.
                    self.seeds[seeds.keyholder as usize - 1].push(seeds);
                }
                Some(Part::Finish(finish)) => {
                    self.sequence.finish()?;
                    return self.finish(&finish, progress).await;
                }
            }
        }
    }

    /// Stores a chunk of bodies; returns their number.
    async fn take_bodies(&mut self, chunk: BodyChunk) -> Result<u64, ArchiveError> {
        let run = self.sequence.bodies(&chunk)?;
        let planes = self.panel.shape.planes();
        let column = Column { block: PanelBlockIndex(chunk.block), plane: planes[run.column as usize % planes.len()] };
        if let Some(mut proofs) = self.proofs.take() {
            let (bodies, of_chunk) = (chunk.bodies.clone(), chunk.proofs.clone());
            let (proofs, checked) = blocking(move || {
                let checked = proofs.take(run, &bodies, &of_chunk);
                (proofs, checked)
            })
            .await;
            self.proofs = Some(proofs);
            checked?;
        }
        if let Some(mut commitments) = self.commitments.take() {
            let bodies = chunk.bodies.clone();
            let taken = blocking(move || {
                commitments.take(run, &bodies);
                commitments
            });
            self.commitments = Some(taken.await);
        }
        let writer = self.writer.as_mut().ok_or_else(|| StoreError::BatchNotSealed(self.place.batch))?;
        let openings = writer.append(column, run.first_ordinal, chunk.bodies).await?;
        self.openings.put(run.column, run.first_ordinal, &openings)?;
        Ok(u64::from(run.count))
    }

    /// Checks a chunk of records. With the last one, all bodies are compared with what the records
    /// declare, and sealed.
    async fn take_datasets(&mut self, chunk: &DatasetChunk) -> Result<(), ArchiveError> {
        self.sequence.datasets(chunk)?;
        for record in &chunk.datasets {
            self.records.push(record)?;
        }
        if matches!(self.sequence.expected(), Place::Datasets { .. }) {
            return Ok(());
        }
        if let Some(mut proofs) = self.proofs.take() {
            let leaves = self.records.leaves();
            let (proofs, checked) = blocking(move || {
                let checked = proofs.check_genotypes(&leaves);
                (proofs, checked)
            })
            .await;
            self.proofs = Some(proofs);
            checked?;
        }
        if let Some(commitments) = self.commitments.take() {
            let declared = self.records.take_commitments();
            if !blocking(move || commitments.holds(&declared)).await {
                return Err(ArchiveError::CiphertextCommitments);
            }
        }
        let writer = self.writer.take().ok_or_else(|| StoreError::BatchNotSealed(self.place.batch))?;
        match writer.finish(&self.records.body_digests()).await {
            Ok(_) => Ok(()),
            Err(StoreError::DatasetMismatch { row }) => {
                Err(ArchiveError::Mismatch { ordinal: row, what: crate::error::Commitment::Bodies })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Everything is there: checks who signed, has the keyholders check and attest, and keeps the
    /// batch for its registration.
    async fn finish(&mut self, finish: &UploadFinish, progress: &Progress) -> Result<UploadReceipt, ArchiveError> {
        let header = self.header;
        let ciphertexts = self.records.ciphertexts(header.proven);
        let registration = Registration {
            registrant: header.registrant,
            panel: header.panel,
            version: header.version,
            batch_nonce: header.batch_nonce,
            accreditor: header.accreditor,
            deadline_unix_s: header.deadline_unix_s,
            leaves_hash: signed_leaves_hash(&self.records.leaves(), ciphertexts.as_ref()),
        };
        let archive = self.archive.clone();
        check_signatures(&archive, &registration, finish).await?;
        let view = self.archive.view.refreshed().await?;
        self.records.check_unregistered(&view, &header.panel)?;
        let key = BatchKey { leaves_hash: leaves_hash(&self.records.leaves()) };
        if let Some(staged) = self.archive.batches.staged(&key)?
            && staged.receipt.registration.as_ref() == Some(&(&registration).into())
        {
            tracing::info!(batch = %staged.place.batch, "the same batch was staged before");
            self.discard().await;
            return Ok(staged.receipt);
        }
        let enrolment = self.enrolment(&registration, finish)?;
        let attestations = enrol::run(&self.archive, enrolment, &view, progress).await?;
        let receipt = UploadReceipt { registration: Some((&registration).into()), attestations };
        self.stage(key, receipt).await
    }

    /// What the keyholders need, taken out of the upload.
    fn enrolment(&mut self, registration: &Registration, finish: &UploadFinish) -> Result<Enrolment, ArchiveError> {
        let empty = OpeningSpool::create(&self.archive.scratch, 0, 0)?;
        Ok(Enrolment {
            registration: *registration,
            registrant_signature: finish.registrant_signature.clone(),
            accreditor_signature: finish.accreditor_signature.clone(),
            shape: self.panel.shape,
            packages: self.sequence.packages().to_vec(),
            records: self.records.all().to_vec(),
            openings: std::mem::replace(&mut self.openings, empty),
            proofs: self.proofs.take(),
            seeds: std::mem::take(&mut self.seeds),
        })
    }

    /// Keeps the attested batch. A batch with the same datasets that was staged under another
    /// registration (a later deadline, say) keeps its bodies, which are the same, and gets the new
    /// receipt.
    async fn stage(&mut self, key: BatchKey, receipt: UploadReceipt) -> Result<UploadReceipt, ArchiveError> {
        let archive = self.archive.clone();
        let _publishing = archive.publishing.lock().await;
        let before = archive.batches.staged(&key)?;
        let place = before.as_ref().map_or(self.place, |before| before.place);
        let staged = StagedBatch { place, receipt };
        archive.batches.stage(&key, &staged)?;
        if before.is_some() {
            self.discard().await;
        }
        tracing::info!(batch = %place.batch, datasets = self.header.datasets, "batch staged");
        Ok(staged.receipt)
    }

    /// Removes everything of this upload from the store. What cannot be removed now is removed by the
    /// next start or by garbage collection.
    async fn discard(&mut self) {
        let discarded = match self.writer.take() {
            Some(writer) => writer.abort().await,
            None => self.archive.store_of(&self.place).discard_batch(self.place.batch).await,
        };
        let forgotten = match discarded {
            Ok(()) => self.archive.batches.forget_upload(self.place.batch),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = forgotten {
            tracing::warn!(batch = %self.place.batch, %error, "an abandoned upload could not be removed yet");
        }
    }
}

/// Where the proofs of a proven upload are checked and kept.
fn proof_spool(archive: &Archive, header: &BatchHeader, panel: &PanelInfo) -> Result<Option<ProofSpool>, ArchiveError> {
    let verifier = archive.encryption_verifier.clone().filter(|_| header.proven);
    let context = BatchContext {
        network: archive.contracts().network,
        registrant: header.registrant,
        batch_nonce: header.batch_nonce,
        panel: header.panel,
        version: header.version,
    };
    let create = |verifier| ProofSpool::create(&archive.scratch, verifier, context, columns_of(panel), header.datasets);
    verifier.map(create).transpose()
}

fn columns_of(panel: &PanelInfo) -> Vec<(PanelBlockIndex, Plane)> {
    panel.shape.columns().map(|column| (column.block, column.plane)).collect()
}

/// The registrant has signed the registration, and the accreditor it names as well.
async fn check_signatures(
    archive: &Archive,
    registration: &Registration,
    finish: &UploadFinish,
) -> Result<(), ArchiveError> {
    let contracts = archive.contracts();
    let registrant_signature = field::signature("finish.registrant_signature", &finish.registrant_signature)?;
    let signing_hash = contracts.registration_signing_hash(registration);
    archive.verify(registration.registrant, &signing_hash, &registrant_signature, "registrant").await?;
    let Some(accreditor) = registration.accreditor else {
        return if finish.accreditor_signature.is_empty() {
            Ok(())
        } else {
            Err(field::FieldError::refused("finish.accreditor_signature", "the header names no accreditor").into())
        };
    };
    if !archive.view.snapshot().is_accreditor(&accreditor) {
        return Err(ArchiveError::Accreditor);
    }
    let accreditor_signature = field::signature("finish.accreditor_signature", &finish.accreditor_signature)?;
    let signing_hash = contracts.accreditation_signing_hash(&contracts.registration_digest(registration));
    archive.verify(accreditor, &signing_hash, &accreditor_signature, "accreditor").await
}

/// Removes what uploads left behind that a crash cut off.
pub(crate) async fn discard_debris(archive: &Archive) -> Result<(), ArchiveError> {
    for place in archive.batches.open_uploads()? {
        discard_upload(archive, &place).await?;
    }
    Ok(())
}

/// Removes the objects of an upload that will not be used. A batch that came into use after all is nothing of that kind: it
/// stays, and is no longer noted as an upload.
pub(crate) async fn discard_upload(archive: &Archive, place: &BatchPlace) -> Result<(), ArchiveError> {
    match archive.store_of(place).discard_batch(place.batch).await {
        Ok(()) => tracing::info!(batch = %place.batch, "removed an upload that was given up"),
        Err(StoreError::BatchInUse(batch)) => tracing::warn!(%batch, "an upload that was to be removed is in use"),
        Err(error) => return Err(error.into()),
    }
    archive.batches.forget_upload(place.batch)
}
