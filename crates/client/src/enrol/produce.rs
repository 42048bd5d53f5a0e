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
use locus_commitment::{
    BodyDigest, DatasetBodyDigest, DatasetCommitments, ShareSetCommitment,
    pedersen::{CiphertextCommitment, Generators},
};
use locus_genomics::{PanelBlockIndex, Plane};
use locus_ledger::{AccountKey, Ciphertexts, DatasetLeaf, Registration, signed_leaves_hash};
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
    /// Commitments to the ciphertexts, by ordinal, in markets that settle on proven cohorts.
    pub(crate) ciphertexts: Option<Vec<[u8; CiphertextCommitment::BYTES]>>,
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
        let ciphertexts = self.encrypt_all(sink, progress)?;
        let both = self.batch.datasets.iter().zip(&ciphertexts);
        let leaves: Vec<DatasetLeaf> = both.map(|(dataset, ciphertext)| leaf_of(dataset, ciphertext)).collect();
        let commitments = ciphertexts.iter().map(|ciphertext| Some(ciphertext.commitment.as_ref()?.to_bytes()));
        let commitments: Option<Vec<_>> = commitments.collect();
        self.send_records(&leaves, commitments.as_deref(), sink)?;
        self.send_seeds(sink)?;
        let signed = self.sign(leaves, commitments)?;
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

    /// Bodies column by column; returns what is registered of each dataset's.
    fn encrypt_all(&self, sink: &mut Sink<'_>, progress: &dyn Progress) -> Result<Vec<Ciphertext>, EnrolError> {
        let (panel, datasets) = (&self.batch.panel, &self.batch.datasets);
        let columns = panel.planes().len() * usize::try_from(panel.block_count()).unwrap_or(usize::MAX);
        let total = (columns * datasets.len()) as u64;
        let is_committed = self.network.settles_on_cohorts();
        let mut ciphertexts: Vec<Ciphertext> =
            datasets.iter().map(|_| Ciphertext::with_capacity(columns, is_committed)).collect();
        let mut done = 0;
        let (chunk_len, stage) = match self.prover {
            Some(_) => (PROVEN_CHUNK_DATASETS, Stage::Proving),
            None => (usize::try_from(BODY_CHUNK_DATASETS_MAX).unwrap_or(1), Stage::Uploading),
        };
        for block in (0..panel.block_count()).map(PanelBlockIndex) {
            let strip = read_strip(&self.batch.genotypes, block, &self.batch.people)?;
            for plane in panel.planes() {
                let generators = is_committed.then(|| Generators::expand(block.0, plane.code()));
                let chunks = datasets.chunks(chunk_len).zip(ciphertexts.chunks_mut(chunk_len));
                for (place, (datasets, ciphertexts)) in chunks.enumerate() {
                    let encrypted = parallel::map(datasets, |dataset| {
                        let packed = of_person(&strip, dataset.individual)?;
                        encrypt(dataset, packed, (block, *plane), generators.as_ref())
                    })?;
                    let mut proofs = BytesMut::new();
                    for (dataset, encrypted) in datasets.iter().zip(&encrypted) {
                        let packed = of_person(&strip, dataset.individual)?;
                        self.prove(dataset, (block, *plane), packed, &encrypted.body, &mut proofs)?;
                    }
                    let mut bodies = BytesMut::with_capacity(encrypted.len() * BODY_BYTES);
                    for (encrypted, ciphertext) in encrypted.iter().zip(ciphertexts) {
                        bodies.extend_from_slice(&encrypted.body[..]);
                        ciphertext.add(encrypted);
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
        Ok(ciphertexts)
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

    fn send_records(
        &self,
        leaves: &[DatasetLeaf],
        commitments: Option<&[[u8; CiphertextCommitment::BYTES]]>,
        sink: &mut Sink<'_>,
    ) -> Result<(), EnrolError> {
        let commitment = |ordinal: usize| commitments.and_then(|all| all.get(ordinal)).map(|point| point.to_vec());
        let record = |(ordinal, (dataset, leaf)): (usize, (&PreparedDataset, &DatasetLeaf))| pb::DatasetRecord {
            leaf: Some(leaf.into()),
            share_commitments: dataset.share_commitments.map(|commitment| commitment.0.0).concat().into(),
            ciphertext_commitment: commitment(ordinal).unwrap_or_default().into(),
        };
        let records: Vec<pb::DatasetRecord> = self.batch.datasets.iter().zip(leaves).enumerate().map(record).collect();
        let chunk_len = usize::try_from(DATASET_CHUNK_DATASETS_MAX).unwrap_or(1);
        for (place, records) in records.chunks(chunk_len).enumerate() {
            let chunk = pb::DatasetChunk { first_ordinal: count(place * chunk_len), datasets: records.to_vec() };
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

    fn sign(
        &self,
        leaves: Vec<DatasetLeaf>,
        commitments: Option<Vec<[u8; CiphertextCommitment::BYTES]>>,
    ) -> Result<SignedBatch, EnrolError> {
        let identity = &self.batch.identity;
        let ciphertexts = commitments.as_ref().map(|points| Ciphertexts::of_points(points, identity.proven));
        let registration = Registration {
            registrant: identity.registrant,
            panel: self.batch.panel.digest(),
            version: identity.version,
            batch_nonce: self.batch.batch_nonce,
            accreditor: identity.accreditor,
            deadline_unix_s: self.deadline_unix_s,
            leaves_hash: signed_leaves_hash(&leaves, ciphertexts.as_ref()),
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
            ciphertexts: commitments,
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

/// One body with what is registered of it.
struct Encrypted {
    body: Box<[u8; BODY_BYTES]>,
    digest: BodyDigest,
    commitment: Option<CiphertextCommitment>,
}

/// What is registered of a dataset's bodies.
struct Ciphertext {
    /// In column order.
    digests: Vec<BodyDigest>,
    /// To all bodies, in markets that settle on proven cohorts.
    commitment: Option<CiphertextCommitment>,
}

impl Ciphertext {
    fn with_capacity(columns: usize, is_committed: bool) -> Self {
        Self { digests: Vec::with_capacity(columns), commitment: is_committed.then(CiphertextCommitment::empty) }
    }

    fn add(&mut self, encrypted: &Encrypted) {
        self.digests.push(encrypted.digest);
        let both = self.commitment.zip(encrypted.commitment);
        self.commitment = both.map(|(sum, next)| sum.plus(&next));
    }
}

fn encrypt(
    dataset: &PreparedDataset,
    packed: &[u8],
    (block, plane): (PanelBlockIndex, Plane),
    generators: Option<&Generators>,
) -> Result<Encrypted, EnrolError> {
    let ciphertext = dataset.keys.encrypt(Mask::v1(), block, plane, packed)?;
    let commitment = generators.map(|generators| CiphertextCommitment::of_body(generators, ciphertext.coefficients()));
    let body = ciphertext.to_bytes();
    Ok(Encrypted { digest: BodyDigest::of_body(&body), body, commitment })
}

fn leaf_of(dataset: &PreparedDataset, ciphertext: &Ciphertext) -> DatasetLeaf {
    DatasetLeaf {
        dataset: dataset.dataset,
        person: dataset.person,
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest::of_bodies(&ciphertext.digests),
            shares: ShareSetCommitment::new(&dataset.share_commitments),
            genotypes: dataset.genotype_commitment,
        },
    }
}

#[cfg(test)]
mod tests;
