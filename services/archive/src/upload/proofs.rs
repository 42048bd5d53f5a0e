//! Proofs of an upload: that of each body is checked as it comes, and at the end that each dataset's
//! genotype commitment is the one that its proofs are about.
//!
//! Bodies and proofs wait in scratch files until the keyholders have checked them too.

use super::{sequence::BodyRun, spool::RecordSpool};
use crate::error::{ArchiveError, Commitment};
use locus_commitment::{Address, DatasetContext, DatasetId, NetworkId, field::FieldBytes};
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane};
use locus_ledger::DatasetLeaf;
use locus_proofs::{
    disclosure::GenotypeTree,
    encryption::{EncryptionProof, EncryptionVerifier},
};
use locus_rlwe::Body;
use locus_store::BODY_BYTES;
use std::{path::Path, sync::Arc};

/// What all datasets of an upload have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchContext {
    pub(crate) network: NetworkId,
    pub(crate) registrant: Address,
    pub(crate) batch_nonce: u64,
    pub(crate) panel: PanelDigest,
    pub(crate) version: u32,
}

impl BatchContext {
    fn of_dataset(&self, ordinal: u32) -> DatasetContext {
        DatasetContext {
            network: self.network,
            registrant: self.registrant,
            dataset: DatasetId::derive(self.registrant, self.batch_nonce, ordinal),
            panel: self.panel,
            version: self.version,
        }
    }
}

/// Checked bodies and proofs of a proven upload, in the order in which they come: column by column.
pub(crate) struct ProofSpool {
    verifier: Arc<EncryptionVerifier>,
    context: BatchContext,
    columns: Vec<(PanelBlockIndex, Plane)>,
    datasets: u32,
    bodies: RecordSpool,
    proofs: RecordSpool,
}

impl ProofSpool {
    /// An empty spool in `folder`.
    pub(crate) fn create(
        folder: &Path,
        verifier: Arc<EncryptionVerifier>,
        context: BatchContext,
        columns: Vec<(PanelBlockIndex, Plane)>,
        datasets: u32,
    ) -> Result<Self, ArchiveError> {
        let (bodies, proofs) = (RecordSpool::create(folder)?, RecordSpool::create(folder)?);
        Ok(Self { verifier, context, columns, datasets, bodies, proofs })
    }

    /// Checks and keeps the bodies of a chunk, whose lengths the sequence has checked. Takes about two
    /// milliseconds a body.
    pub(crate) fn take(&mut self, run: BodyRun, bodies: &[u8], proofs: &[u8]) -> Result<(), ArchiveError> {
        let (block, plane) = self.columns[run.column as usize];
        let parts = bodies.chunks(BODY_BYTES).zip(proofs.chunks(EncryptionProof::BYTES));
        for (ordinal, (body, proof)) in (run.first_ordinal..).zip(parts) {
            let refused = |source| ArchiveError::Proof { ordinal, block: block.0, source };
            let parsed = EncryptionProof::parse(proof).map_err(refused)?;
            let ciphertext = Body::parse(body).map_err(|_| refused(locus_proofs::ProofsError::Truncated))?;
            let context = self.context.of_dataset(ordinal);
            self.verifier.verify(&context, block, plane, &ciphertext, &parsed).map_err(refused)?;
            self.bodies.push(body)?;
            self.proofs.push(proof)?;
        }
        Ok(())
    }

    /// Whether the proofs of every dataset are about the genotype commitment in its leaf.
    pub(crate) fn check_genotypes(&mut self, leaves: &[DatasetLeaf]) -> Result<(), ArchiveError> {
        for (ordinal, leaf) in (0..).zip(leaves) {
            let mut blocks: Vec<FieldBytes> = Vec::new();
            let mut agree = true;
            for column in 0..self.columns.len() {
                let proof = EncryptionProof::parse(&self.body(ordinal, column)?.1);
                let commitment = proof.map_err(|_| ArchiveError::DamagedRecord("proof"))?.genotype_commitment();
                match self.columns[column] {
                    // Calls come first in every panel block.
                    (_, Plane::Calls) => blocks.push(commitment),
                    (_, Plane::Missing) => agree &= blocks.last() == Some(&commitment),
                }
            }
            let tree = GenotypeTree::of_commitments(&blocks).ok();
            if !agree || tree.is_none_or(|tree| tree.leaf_commitment() != leaf.commitments.genotypes) {
                return Err(ArchiveError::Mismatch { ordinal, what: Commitment::Genotypes });
            }
        }
        Ok(())
    }

    /// The body and the proof of one dataset in one column.
    pub(crate) fn body(&mut self, ordinal: u32, column: usize) -> Result<(Vec<u8>, Vec<u8>), ArchiveError> {
        let position = column * self.datasets as usize + ordinal as usize;
        let (body, proof) = (self.bodies.get(position)?, self.proofs.get(position)?);
        body.zip(proof).ok_or(ArchiveError::DamagedRecord("proof"))
    }
}
