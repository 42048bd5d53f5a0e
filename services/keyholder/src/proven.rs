//! Bodies of a proven batch: each is verified when it comes, and what its proof is about is held against
//! the dataset's seeds and commitments when the chunk comes.

use crate::{enrol::Batch, error::KeyholderError, keyholder::Keyholder};
use locus_commitment::{BodyDigest, DatasetBodyDigest, DatasetContext, DatasetId, field::FieldBytes};
use locus_genomics::Plane;
use locus_ledger::DatasetLeaf;
use locus_proofs::{disclosure::GenotypeTree, encryption::EncryptionProof};
use locus_rlwe::{Body, SecretBits};
use locus_sharing::ShareIndex;
use locus_wire::{limits::enrol_chunk_datasets_max, pb::keyholder as pb};

/// What a verified proof says.
struct Proven {
    digest: BodyDigest,
    proof: EncryptionProof,
}

/// Verified bodies that wait for the chunk of their datasets.
#[derive(Default)]
pub(crate) struct ProvenBodies {
    /// Datasets of the chunks before.
    first_ordinal: u32,
    /// Dataset by dataset, each in the order of its columns.
    bodies: Vec<Proven>,
}

/// The proven bodies of one dataset, in column order.
pub(crate) struct ProvenDataset<'a>(&'a [Proven]);

impl ProvenBodies {
    /// Verifies the next body. Takes about two milliseconds.
    pub(crate) fn take(
        &mut self,
        keyholder: &Keyholder,
        batch: &Batch,
        message: &pb::ProvenBody,
    ) -> Result<(), KeyholderError> {
        let Some(verifier) = keyholder.encryption_verifier().filter(|_| batch.proven) else {
            return Err(KeyholderError::Order("only proven batches have bodies"));
        };
        let columns = batch.columns.len();
        let bodies_max = enrol_chunk_datasets_max(u32::try_from(columns).unwrap_or(u32::MAX)) as usize * columns;
        let ordinal = self.first_ordinal.saturating_add(u32::try_from(self.bodies.len() / columns).unwrap_or(u32::MAX));
        let column = self.bodies.len() % columns;
        let is_next = message.ordinal == ordinal && message.column as usize == column && ordinal < batch.count;
        if !is_next || self.bodies.len() >= bodies_max {
            return Err(KeyholderError::Order("bodies must come dataset by dataset, before their chunk"));
        }
        let (block, plane) = batch.columns[column];
        let context = batch.dataset_context(keyholder.network(), ordinal);
        let failed = || KeyholderError::Enrolment { dataset: context.dataset, what: "proof of encryption" };
        let proof = EncryptionProof::parse(&message.proof).map_err(|_| failed())?;
        let body = Body::parse(&message.body)?;
        verifier.verify(&context, block, plane, &body, &proof).map_err(|_| failed())?;
        self.bodies.push(Proven { digest: body.digest(), proof });
        Ok(())
    }

    /// The bodies of dataset `place` of the chunk that is checked now.
    pub(crate) fn dataset(&self, columns: usize, place: usize) -> Option<ProvenDataset<'_>> {
        self.bodies.get(place * columns..(place + 1) * columns).map(ProvenDataset)
    }

    /// Whether these are the bodies of exactly the chunk's datasets.
    pub(crate) fn fits(&self, batch: &Batch, chunk: &pb::EnrolChunk) -> bool {
        let expected = if batch.proven { chunk.datasets.len() * batch.columns.len() } else { 0 };
        self.bodies.len() == expected && (!batch.proven || chunk.first_ordinal == self.first_ordinal)
    }

    /// Forgets the bodies of a chunk that was checked.
    pub(crate) fn next_chunk(&mut self, columns: usize) {
        self.first_ordinal += u32::try_from(self.bodies.len() / columns.max(1)).unwrap_or(u32::MAX);
        self.bodies.clear();
    }
}

impl ProvenDataset<'_> {
    /// Whether the proofs are about the bodies and genotypes that the dataset's leaf commits to.
    pub(crate) fn check_leaf(&self, batch: &Batch, leaf: &DatasetLeaf) -> Result<(), KeyholderError> {
        let failed = |what| KeyholderError::Enrolment { dataset: leaf.dataset, what };
        let digests: Vec<BodyDigest> = self.0.iter().map(|proven| proven.digest).collect();
        if DatasetBodyDigest::of_bodies(&digests) != leaf.commitments.bodies {
            return Err(failed("ciphertext digest"));
        }
        let mut blocks: Vec<FieldBytes> = Vec::new();
        for ((_, plane), proven) in batch.columns.iter().zip(self.0) {
            let commitment = proven.proof.genotype_commitment();
            match plane {
                // Calls come first in every panel block.
                Plane::Calls => blocks.push(commitment),
                Plane::Missing if blocks.last() == Some(&commitment) => {}
                Plane::Missing => return Err(failed("genotype commitment")),
            }
        }
        let tree = GenotypeTree::of_commitments(&blocks).map_err(|_| failed("genotype commitment"))?;
        if tree.leaf_commitment() == leaf.commitments.genotypes { Ok(()) } else { Err(failed("genotype commitment")) }
    }

    /// Whether the proof of a column is about the key share that this keyholder holds.
    pub(crate) fn check_share(
        &self,
        dataset: DatasetId,
        column: usize,
        share: ShareIndex,
        bits: &SecretBits,
    ) -> Result<(), KeyholderError> {
        let position = share.position();
        let proven = self.0.get(column).and_then(|proven| proven.proof.share_commitment(position));
        if proven == Some(EncryptionProof::share_commitment_of(position, bits)) {
            Ok(())
        } else {
            Err(KeyholderError::Enrolment { dataset, what: "key share, which is not the one proven" })
        }
    }
}

impl Batch {
    fn dataset_context(&self, network: locus_commitment::NetworkId, ordinal: u32) -> DatasetContext {
        let registration = &self.registration;
        DatasetContext {
            network,
            registrant: registration.registrant,
            dataset: DatasetId::derive(registration.registrant, registration.batch_nonce, ordinal),
            panel: registration.panel,
            version: registration.version,
        }
    }
}
