//! Leading a batch through the three keyholders: each checks its seeds, then each verifies the check
//! slots with the values of the other two and signs.
//!
//! The archive carries messages; it cannot change one unnoticed, because every message is signed by
//! its keyholder and covers the registration's digest.

use crate::{
    archive::{Archive, KeyholderClient},
    error::ArchiveError,
    progress::Progress,
    upload::{
        proofs::ProofSpool,
        records::Record,
        spool::{OpeningSpool, RecordSpool},
    },
};
use bytes::Bytes;
use futures::{Stream, future::try_join_all, stream};
use locus_commitment::{Address, Digest32, NetworkId};
use locus_ledger::{ChainView, Registration, recover};
use locus_service::blocking;
use locus_sharing::KeyholderIndex;
use locus_store::PanelShape;
use locus_wire::{
    pb::{archive::SealedSeeds, keyholder as pb},
    relay,
};
use pb::{attest_datasets_request::Part as AttestPart, check_datasets_request::Part as CheckPart};
use prost::Message as _;
use std::{
    future::Future,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::Status;

/// Bytes of the check values of one body: 16 coefficients of two shares.
const VALUE_BYTES: usize = 2 * 16 * 8;

/// A complete, signed batch on its way to the keyholders.
pub(crate) struct Enrolment {
    pub(crate) registration: Registration,
    pub(crate) registrant_signature: Bytes,
    pub(crate) accreditor_signature: Bytes,
    pub(crate) shape: PanelShape,
    /// Ordinals of each seed package.
    pub(crate) packages: Vec<Range<u32>>,
    pub(crate) records: Vec<Record>,
    pub(crate) openings: OpeningSpool,
    /// Of a proven upload.
    pub(crate) proofs: Option<ProofSpool>,
    /// Packages for keyholders 1, 2 and 3.
    pub(crate) seeds: [Vec<SealedSeeds>; 3],
}

/// What the calls of one enrolment share.
struct Batch {
    network: NetworkId,
    /// EIP-712 struct hash of the registration.
    digest: Digest32,
    header: pb::EnrolHeader,
    columns: usize,
    packages: Vec<Range<u32>>,
    records: Vec<Record>,
    openings: Mutex<OpeningSpool>,
    proofs: Option<Mutex<ProofSpool>>,
    seeds: [Vec<SealedSeeds>; 3],
    /// Check values of keyholders 1, 2 and 3, package by package.
    values: [Mutex<RecordSpool>; 3],
    /// Why a request stream ended early.
    broken: Mutex<Option<ArchiveError>>,
    checked: AtomicU64,
    patience: Duration,
}

/// One message of the first step.
#[derive(Debug, Clone, Copy)]
enum Step {
    Body { ordinal: u32, column: usize },
    Chunk { package: usize },
}

/// Runs both steps of enrolment; returns the attestations of keyholders 1, 2 and 3.
pub(crate) async fn run(
    archive: &Archive,
    enrolment: Enrolment,
    view: &ChainView,
    progress: &Progress,
) -> Result<Vec<Bytes>, ArchiveError> {
    let total = 3 * enrolment.records.len() as u64;
    let batch = Arc::new(Batch::new(archive, enrolment)?);
    let mut signers = Vec::with_capacity(3);
    for keyholder in KeyholderIndex::ALL {
        signers.push((keyholder, archive.signer_of(view, keyholder)?));
    }
    let checks = signers.iter().map(|&(keyholder, signer)| {
        let report = || progress.report("checking keys", batch.checked.load(Ordering::Relaxed), total);
        check(batch.clone(), archive.keyholder(keyholder), keyholder, signer, report)
    });
    try_join_all(checks).await?;
    let epoch = archive.ledger.committee_epoch().await?;
    let signing_hash = archive.contracts().attestation_signing_hash(&batch.digest, epoch);
    progress.report("attesting", 0, 3);
    let attestations = signers.iter().map(|&(keyholder, signer)| {
        attest(batch.clone(), archive.keyholder(keyholder), keyholder, signer, &signing_hash)
    });
    let attestations = try_join_all(attestations).await?;
    progress.report("attesting", 3, 3);
    Ok(attestations)
}

impl Batch {
    fn new(archive: &Archive, enrolment: Enrolment) -> Result<Self, ArchiveError> {
        let contracts = archive.contracts();
        let new_spool = || RecordSpool::create(&archive.scratch).map(Mutex::new);
        let dataset_count = u32::try_from(enrolment.records.len()).unwrap_or(u32::MAX);
        Ok(Self {
            network: contracts.network,
            digest: contracts.registration_digest(&enrolment.registration),
            header: pb::EnrolHeader {
                network: Some((&contracts.network).into()),
                registration: Some((&enrolment.registration).into()),
                registrant_signature: enrolment.registrant_signature,
                accreditor_signature: enrolment.accreditor_signature,
                dataset_count,
                block_count: enrolment.shape.blocks(),
                complete_calls: enrolment.shape.complete_calls(),
                proven: enrolment.proofs.is_some(),
            },
            columns: enrolment.shape.column_count(),
            packages: enrolment.packages,
            records: enrolment.records,
            openings: Mutex::new(enrolment.openings),
            proofs: enrolment.proofs.map(Mutex::new),
            seeds: enrolment.seeds,
            values: [new_spool()?, new_spool()?, new_spool()?],
            broken: Mutex::new(None),
            checked: AtomicU64::new(0),
            patience: Duration::from_secs(archive.limits.keyholder_wait_s),
        })
    }

    /// The message that carries one package to a keyholder.
    fn chunk(&self, keyholder: KeyholderIndex, package: usize) -> Result<pb::EnrolChunk, ArchiveError> {
        let ordinals = self.packages[package].clone();
        let openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner).datasets(ordinals.clone())?;
        let records = &self.records[ordinals.start as usize..ordinals.end as usize];
        let datasets = records.iter().zip(openings).map(|(record, openings)| pb::EnrolDataset {
            leaf: Some((&record.leaf).into()),
            share_commitments: record.shares.iter().flat_map(|share| share.0.0).collect::<Vec<u8>>().into(),
            bodies: openings
                .iter()
                .map(|opening| pb::BodyOpening {
                    check_slots: Bytes::copy_from_slice(&opening.check_slots),
                    body_hash: Bytes::copy_from_slice(&opening.whole.0),
                })
                .collect(),
            ciphertext_commitment: record.ciphertext.map(|point| point.to_vec()).unwrap_or_default().into(),
        });
        Ok(pb::EnrolChunk {
            first_ordinal: ordinals.start,
            datasets: datasets.collect(),
            sealed_seeds: self.seeds[keyholder.position()][package].sealed.clone(),
        })
    }

    /// What a keyholder is sent after the header: for each package the bodies of a proven upload, then
    /// the chunk.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (package, ordinals) in self.packages.iter().enumerate() {
            if self.proofs.is_some() {
                let bodies =
                    ordinals.clone().flat_map(|ordinal| (0..self.columns).map(move |column| (ordinal, column)));
                steps.extend(bodies.map(|(ordinal, column)| Step::Body { ordinal, column }));
            }
            steps.push(Step::Chunk { package });
        }
        steps
    }

    /// A body of a proven upload with its proof.
    fn body(&self, ordinal: u32, column: usize) -> Result<pb::ProvenBody, ArchiveError> {
        let proofs = self.proofs.as_ref().ok_or(ArchiveError::DamagedRecord("proof"))?;
        let (body, proof) = proofs.lock().unwrap_or_else(PoisonError::into_inner).body(ordinal, column)?;
        let column = u32::try_from(column).unwrap_or(u32::MAX);
        Ok(pb::ProvenBody { ordinal, column, body: body.into(), proof: proof.into() })
    }

    /// The check values that `peer` signed for one package.
    fn values_of(&self, peer: KeyholderIndex, package: usize) -> Result<pb::CheckValues, ArchiveError> {
        let missing = ArchiveError::KeyholderMessage { keyholder: peer, what: "too few check values" };
        let record = self.values[peer.position()].lock().unwrap_or_else(PoisonError::into_inner).get(package)?;
        pb::CheckValues::decode(record.ok_or(missing)?.as_slice())
            .map_err(|_| ArchiveError::DamagedRecord("check values"))
    }

    /// Accepts the values of one package if they are what the protocol demands and signed.
    fn accept(
        &self,
        keyholder: KeyholderIndex,
        signer: Address,
        package: usize,
        values: &pb::CheckValues,
    ) -> Result<(), ArchiveError> {
        let wrong = |what| ArchiveError::KeyholderMessage { keyholder, what };
        let ordinals = &self.packages[package];
        let of_package = values.keyholder == u32::from(keyholder.get())
            && (values.first_ordinal, values.dataset_count) == (ordinals.start, ordinals.end - ordinals.start)
            && values.values.len() == ordinals.len() * self.columns * VALUE_BYTES;
        if !of_package {
            return Err(wrong("check values of another range"));
        }
        let digest = relay::check_values_digest(&self.network, &self.digest, values);
        if recover(&digest, &values.signature) != Ok(signer) {
            return Err(wrong("check values without its signature"));
        }
        self.values[keyholder.position()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(&values.encode_to_vec())?;
        self.checked.fetch_add(ordinals.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The error that cut a request stream short, if any, else `error`.
    fn cause(&self, error: ArchiveError) -> ArchiveError {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(error)
    }

    fn patient<'a, T>(
        &'a self,
        keyholder: KeyholderIndex,
        call: impl Future<Output = Result<T, Status>> + 'a,
    ) -> impl Future<Output = Result<T, ArchiveError>> + 'a {
        let patience = self.patience;
        async move {
            match tokio::time::timeout(patience, call).await {
                Ok(answer) => answer.map_err(|status| self.cause(ArchiveError::Keyholder { keyholder, status })),
                Err(_) => Err(ArchiveError::KeyholderSlow { keyholder, seconds: patience.as_secs() }),
            }
        }
    }
}

/// Messages made one after the other, off the event loop, as the receiver takes them. When one
/// cannot be made, the reason is left in the batch and the stream ends.
fn messages<T: Send + 'static>(
    batch: Arc<Batch>,
    count: usize,
    make: impl Fn(&Batch, usize) -> Result<T, ArchiveError> + Send + Sync + 'static,
) -> impl Stream<Item = T> + Send + 'static {
    let make = Arc::new(make);
    stream::unfold(0, move |position| {
        let (batch, make) = (batch.clone(), make.clone());
        async move {
            if position == count {
                return None;
            }
            let of_batch = batch.clone();
            match blocking(move || make(&of_batch, position)).await {
                Ok(message) => Some((message, position + 1)),
                Err(error) => {
                    *batch.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    None
                }
            }
        }
    })
}

/// First step with one keyholder: sends every package, keeps the signed check values.
async fn check(
    batch: Arc<Batch>,
    mut client: KeyholderClient,
    keyholder: KeyholderIndex,
    signer: Address,
    report: impl Fn(),
) -> Result<(), ArchiveError> {
    let steps = batch.steps();
    let requests = messages(batch.clone(), 1 + steps.len(), move |batch, position| {
        let part = match position.checked_sub(1).map(|place| steps[place]) {
            None => CheckPart::Header(batch.header.clone()),
            Some(Step::Body { ordinal, column }) => CheckPart::Body(batch.body(ordinal, column)?),
            Some(Step::Chunk { package }) => CheckPart::Chunk(batch.chunk(keyholder, package)?),
        };
        Ok(pb::CheckDatasetsRequest { part: Some(part) })
    });
    let mut responses = batch.patient(keyholder, client.check_datasets(requests)).await?.into_inner();
    for package in 0..batch.packages.len() {
        let message = batch.patient(keyholder, responses.message()).await?;
        let too_few = ArchiveError::KeyholderMessage { keyholder, what: "too few check values" };
        let values = message.and_then(|message| message.values).ok_or_else(|| batch.cause(too_few))?;
        let of_batch = batch.clone();
        blocking(move || of_batch.accept(keyholder, signer, package, &values)).await?;
        report();
    }
    match batch.patient(keyholder, responses.message()).await? {
        None => Ok(()),
        Some(_) => Err(ArchiveError::KeyholderMessage { keyholder, what: "too many check values" }),
    }
}

/// Second step with one keyholder: forwards the other two's values package by package.
async fn attest(
    batch: Arc<Batch>,
    mut client: KeyholderClient,
    keyholder: KeyholderIndex,
    signer: Address,
    signing_hash: &Digest32,
) -> Result<Bytes, ArchiveError> {
    let peers: Vec<KeyholderIndex> = KeyholderIndex::ALL.into_iter().filter(|peer| *peer != keyholder).collect();
    let requests = messages(batch.clone(), 1 + 2 * batch.packages.len(), move |batch, position| {
        let part = match position.checked_sub(1) {
            None => AttestPart::Header(batch.header.clone()),
            Some(place) => AttestPart::PeerValues(batch.values_of(peers[place % 2], place / 2)?),
        };
        Ok(pb::AttestDatasetsRequest { part: Some(part) })
    });
    let response = batch.patient(keyholder, client.attest_datasets(requests)).await?.into_inner();
    let is_signed = recover(signing_hash, &response.signature) == Ok(signer);
    if response.keyholder != u32::from(keyholder.get()) || !is_signed {
        return Err(ArchiveError::KeyholderMessage { keyholder, what: "an attestation that does not verify" });
    }
    Ok(response.signature)
}
