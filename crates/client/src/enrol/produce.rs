//! The second pass: encryption, block by block, straight into the upload.

use super::{
    Accreditor, EnrolError,
    batch::{PreparedBatch, PreparedDataset, of_person, read_strip},
};
use crate::{
    entropy,
    network::Network,
    parallel,
    progress::{Progress, Stage},
};
use bytes::BytesMut;
use locus_commitment::{BodyDigest, DatasetBodyDigest, DatasetCommitments, ShareSetCommitment};
use locus_genomics::{PanelBlockIndex, Plane};
use locus_ledger::{AccountKey, DatasetLeaf, Registration, leaves_hash};
use locus_proofs::dataset::EncryptionProver;
use locus_rlwe::{BODY_BYTES, Body, Mask};
use locus_sharing::{DatasetSeeds, KeyholderIndex, SeedPackage, SeedPackageHeader};
use locus_wire::{
    limits::{BODY_CHUNK_DATASETS_MAX, DATASET_CHUNK_DATASETS_MAX, enrol_chunk_datasets_max},
    pb::archive::{self as pb, upload_datasets_request::Part},
};
use std::sync::Arc;

/// Bodies in one message of a proven upload, few enough that the archive does not wait for long.
const PROVEN_CHUNK_DATASETS: usize = 4;

/// Everything that an upload needs; the same job gives the same bodies, commitments and
/// registration every time.
pub(crate) struct UploadJob {
    pub(crate) batch: PreparedBatch,
    pub(crate) network: Network,
    pub(crate) registrant: AccountKey,
    pub(crate) accreditor: Option<Arc<dyn Accreditor>>,
    /// Of a proven batch.
    pub(crate) prover: Option<Arc<EncryptionProver>>,
    pub(crate) deadline_unix_s: u64,
}

/// A batch with its signatures, as the exchange wants it.
#[derive(Debug, Clone)]
pub(crate) struct SignedBatch {
    pub(crate) registration: Registration,
    pub(crate) leaves: Vec<DatasetLeaf>,
    pub(crate) registrant_signature: Vec<u8>,
    /// Empty without accreditor.
    pub(crate) accreditor_signature: Vec<u8>,
}

/// Takes the messages of an upload, in order; an error stops the pass.
pub(crate) type Sink<'a> = dyn FnMut(pb::UploadDatasetsRequest) -> Result<(), EnrolError> + 'a;

impl UploadJob {
    /// Encrypts everything and passes the messages on. Holds bodies of at most 64 datasets, besides
    /// 32 bytes for every body and the genotypes of one panel block.
    pub(crate) fn produce(&self, sink: &mut Sink<'_>, progress: &dyn Progress) -> Result<SignedBatch, EnrolError> {
        send(sink, Part::Header(self.header()))?;
        let bodies = self.encrypt_all(sink, progress)?;
        let leaves: Vec<DatasetLeaf> =
            self.batch.datasets.iter().zip(&bodies).map(|(dataset, bodies)| leaf_of(dataset, bodies)).collect();
        self.send_records(&leaves, sink)?;
        self.send_seeds(sink)?;
        let signed = self.sign(leaves)?;
        let finish = pb::UploadFinish {
            registrant_signature: signed.registrant_signature.clone().into(),
            accreditor_signature: signed.accreditor_signature.clone().into(),
        };
        send(sink, Part::Finish(finish))?;
        Ok(signed)
    }

    fn header(&self) -> pb::UploadHeader {
        let identity = &self.batch.identity;
        pb::UploadHeader {
            network: Some((&identity.network).into()),
            registrant: identity.registrant.0.to_vec().into(),
            panel_digest: self.batch.panel.digest().0.to_vec().into(),
            version: identity.version,
            batch_nonce: self.batch.batch_nonce,
            accreditor: identity.accreditor.map(|account| account.0.to_vec()).unwrap_or_default().into(),
            deadline_unix_s: self.deadline_unix_s,
            dataset_count: count(self.batch.datasets.len()),
            proven: self.prover.is_some(),
        }
    }

    /// Bodies column by column; returns the digests of each dataset's bodies in column order.
    fn encrypt_all(&self, sink: &mut Sink<'_>, progress: &dyn Progress) -> Result<Vec<Vec<BodyDigest>>, EnrolError> {
        let (panel, datasets) = (&self.batch.panel, &self.batch.datasets);
        let columns = panel.planes().len() * usize::try_from(panel.block_count()).unwrap_or(usize::MAX);
        let total = (columns * datasets.len()) as u64;
        let mut digests: Vec<Vec<BodyDigest>> = datasets.iter().map(|_| Vec::with_capacity(columns)).collect();
        let mut done = 0;
        let (chunk_len, stage) = match self.prover {
            Some(_) => (PROVEN_CHUNK_DATASETS, Stage::Proving),
            None => (usize::try_from(BODY_CHUNK_DATASETS_MAX).unwrap_or(1), Stage::Uploading),
        };
        for block in (0..panel.block_count()).map(PanelBlockIndex) {
            let strip = read_strip(&self.batch.genotypes, block, &self.batch.people)?;
            for plane in panel.planes() {
                let chunks = datasets.chunks(chunk_len).zip(digests.chunks_mut(chunk_len));
                for (place, (datasets, digests)) in chunks.enumerate() {
                    let encrypted = parallel::map(datasets, |dataset| {
                        encrypt(dataset, of_person(&strip, dataset.individual)?, block, *plane)
                    })?;
                    let mut proofs = BytesMut::new();
                    for (dataset, (body, _)) in datasets.iter().zip(&encrypted) {
                        let packed = of_person(&strip, dataset.individual)?;
                        self.prove(dataset, (block, *plane), packed, body, &mut proofs)?;
                    }
                    let mut bodies = BytesMut::with_capacity(encrypted.len() * BODY_BYTES);
                    for ((body, digest), digests) in encrypted.iter().zip(digests) {
                        bodies.extend_from_slice(&body[..]);
                        digests.push(*digest);
                    }
                    let chunk = pb::BodyChunk {
                        block: block.0,
                        plane: u32::from(plane.code()),
                        first_ordinal: count(place * chunk_len),
                        bodies: bodies.freeze(),
                        proofs: proofs.freeze(),
                    };
                    send(sink, Part::Bodies(chunk))?;
                    done += encrypted.len() as u64;
                    progress.report(stage, done, total);
                }
            }
        }
        Ok(digests)
    }

    /// Appends the proof of a body of a proven batch. Proofs are made one after the other: each uses all
    /// processors.
    fn prove(
        &self,
        dataset: &PreparedDataset,
        place: (PanelBlockIndex, Plane),
        packed: &[u8],
        body: &[u8; BODY_BYTES],
        proofs: &mut BytesMut,
    ) -> Result<(), EnrolError> {
        let Some(prover) = &self.prover else { return Ok(()) };
        let context = self.batch.identity.context(&self.batch.panel, dataset.dataset);
        let body = Body::parse(body)?;
        let proof = prover.prove(&context, &dataset.keys, place, (packed, &body), &mut entropy::system_rng()?)?;
        proofs.extend_from_slice(&proof.to_bytes());
        Ok(())
    }

    fn send_records(&self, leaves: &[DatasetLeaf], sink: &mut Sink<'_>) -> Result<(), EnrolError> {
        let chunk_len = usize::try_from(DATASET_CHUNK_DATASETS_MAX).unwrap_or(1);
        let chunks = self.batch.datasets.chunks(chunk_len).zip(leaves.chunks(chunk_len));
        for (place, (datasets, leaves)) in chunks.enumerate() {
            let record = |(dataset, leaf): (&PreparedDataset, &DatasetLeaf)| pb::DatasetRecord {
                leaf: Some(leaf.into()),
                share_commitments: dataset.share_commitments.map(|commitment| commitment.0.0).concat().into(),
            };
            let chunk = pb::DatasetChunk {
                first_ordinal: count(place * chunk_len),
                datasets: datasets.iter().zip(leaves).map(record).collect(),
            };
            send(sink, Part::Datasets(chunk))?;
        }
        Ok(())
    }

    fn send_seeds(&self, sink: &mut Sink<'_>) -> Result<(), EnrolError> {
        let panel = &self.batch.panel;
        let columns = panel.block_count().saturating_mul(count(panel.planes().len()));
        let package_len = usize::try_from(enrol_chunk_datasets_max(columns)).unwrap_or(1);
        let mut rng = entropy::system_rng()?;
        for keyholder in KeyholderIndex::ALL {
            for (place, datasets) in self.batch.datasets.chunks(package_len).enumerate() {
                let header = self.package_header(keyholder, count(place * package_len), count(datasets.len()));
                let seeds = |dataset: &PreparedDataset| DatasetSeeds::for_keyholder(dataset.keys.secrets(), keyholder);
                let package = SeedPackage::try_new(header, datasets.iter().map(seeds).collect())?;
                let sealed = package.seal(self.network.sealing_key(keyholder), &mut rng)?;
                let message = pb::SealedSeeds {
                    keyholder: u32::from(keyholder.get()),
                    first_ordinal: header.first_ordinal,
                    dataset_count: header.count,
                    sealed: sealed.into_bytes().into(),
                };
                send(sink, Part::Seeds(message))?;
            }
        }
        Ok(())
    }

    fn package_header(&self, keyholder: KeyholderIndex, first_ordinal: u32, dataset_count: u32) -> SeedPackageHeader {
        let identity = &self.batch.identity;
        SeedPackageHeader {
            network: identity.network,
            registrant: identity.registrant,
            batch_nonce: self.batch.batch_nonce,
            panel: self.batch.panel.digest(),
            version: identity.version,
            keyholder,
            first_ordinal,
            count: dataset_count,
        }
    }

    fn sign(&self, leaves: Vec<DatasetLeaf>) -> Result<SignedBatch, EnrolError> {
        let identity = &self.batch.identity;
        let registration = Registration {
            registrant: identity.registrant,
            panel: self.batch.panel.digest(),
            version: identity.version,
            batch_nonce: self.batch.batch_nonce,
            accreditor: identity.accreditor,
            deadline_unix_s: self.deadline_unix_s,
            leaves_hash: leaves_hash(&leaves),
        };
        let contracts = self.network.contracts();
        let signature = self.registrant.sign_digest(&contracts.registration_signing_hash(&registration))?;
        let accreditor_signature = match &self.accreditor {
            None => Vec::new(),
            Some(accreditor) => {
                let digest = contracts.registration_digest(&registration);
                let accreditation = contracts.accreditation_signing_hash(&digest);
                accreditor.sign(&accreditation).map_err(EnrolError::Accreditor)?
            }
        };
        Ok(SignedBatch {
            registration,
            leaves,
            registrant_signature: signature.to_bytes().to_vec(),
            accreditor_signature,
        })
    }
}

fn send(sink: &mut Sink<'_>, part: Part) -> Result<(), EnrolError> {
    sink(pb::UploadDatasetsRequest { part: Some(part) })
}

/// Numbers of datasets in a batch fit easily.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

type EncodedBody = Box<[u8; BODY_BYTES]>;

fn encrypt(
    dataset: &PreparedDataset,
    packed: &[u8],
    block: PanelBlockIndex,
    plane: Plane,
) -> Result<(EncodedBody, BodyDigest), EnrolError> {
    let body = dataset.keys.encrypt(Mask::v1(), block, plane, packed)?.to_bytes();
    let digest = BodyDigest::of_body(&body);
    Ok((body, digest))
}

fn leaf_of(dataset: &PreparedDataset, bodies: &[BodyDigest]) -> DatasetLeaf {
    DatasetLeaf {
        dataset: dataset.dataset,
        person: dataset.person,
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest::of_bodies(bodies),
            shares: ShareSetCommitment::new(&dataset.share_commitments),
            genotypes: dataset.genotype_commitment,
        },
    }
}

#[cfg(test)]
mod tests;
