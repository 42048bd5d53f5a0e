//! Moving a panel's root over the operations that wait.

use crate::{
    entropy::system_rng,
    error::ProverError,
    mirror::PanelMirror,
    panel::{NextBatch, PanelTree},
    turn::ProvingTurn,
};
use locus_commitment::field::{FieldBytes, encode_field};
use locus_ledger::{LedgerError, PROOF_BYTES, RootBatch};
use locus_proofs::{
    groth16::ProvingKey,
    update::{UpdateProof, UpdatePublic, UpdateShape},
};
use std::sync::Arc;

/// Refusals of batches in a row that are looked into while the root stays where it is.
const REFUSALS_MAX: u32 = 3;

/// How far a prover has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootProgress {
    /// Batches that the root moved over since the start, whoever proved them.
    pub batches_done: u64,
    /// Batches that remain, if nothing is queued meanwhile.
    pub batches_to_do: u64,
}

/// Where a root was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advanced {
    /// Number of the present root.
    pub sequence: u64,
    /// The present root.
    pub root: FieldBytes,
    /// Batches that this prover proved and that count.
    pub batches: u64,
}

/// A batch with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenBatch {
    /// Number of the root that it starts from.
    pub from: u64,
    /// The batch.
    pub batch: RootBatch,
    /// The proof.
    pub proof: [u8; PROOF_BYTES],
}

/// What became of a batch.
#[derive(Debug)]
pub enum Submitted {
    /// The root of this number is its.
    Moved(u64),
    /// The contract refused it, or nobody knows: somebody else may have moved the root first.
    Refused(LedgerError),
}

/// Moves the root of one panel. Anyone may; several provers only waste work.
pub struct RootProver {
    mirror: Arc<PanelMirror>,
    shape: UpdateShape,
    key: Arc<ProvingKey>,
    turn: ProvingTurn,
    advancing: tokio::sync::Mutex<()>,
}

impl RootProver {
    /// A prover with the key of the market's update circuit. The mirror's connection pays for transactions.
    pub fn new(mirror: Arc<PanelMirror>, shape: UpdateShape, key: Arc<ProvingKey>, turn: ProvingTurn) -> Self {
        Self { mirror, shape, key, turn, advancing: tokio::sync::Mutex::default() }
    }

    /// The panel as this prover sees it.
    pub fn mirror(&self) -> &Arc<PanelMirror> {
        &self.mirror
    }

    /// Proves batch after batch until no operation that was queued up to `block` is missing from the root. Batches
    /// that others prove count; one call at a time moves the root, others wait.
    ///
    /// # Errors
    /// Those of [`PanelMirror::follow`], [`prove`](Self::prove) and [`submit`](Self::submit), and the contract's
    /// refusal when it refuses the batch that is next, for example because the key is of another circuit.
    pub async fn advance_to(
        &self,
        block: u64,
        mut progress: impl FnMut(RootProgress),
    ) -> Result<Advanced, ProverError> {
        let _one = self.advancing.lock().await;
        let mut tree = self.mirror.follow().await?;
        let (first, mut batches, mut refusals) = (tree.sequence(), 0, 0);
        loop {
            let events = tree.events_to_take(block);
            let batches_to_do = events.div_ceil(self.shape.events() as u64);
            progress(RootProgress { batches_done: tree.sequence() - first, batches_to_do });
            let proven = match self.prove(&tree).await? {
                Some(proven) if events > 0 => proven,
                _ => return Ok(Advanced { sequence: tree.sequence(), root: tree.root(), batches }),
            };
            let submitted = self.submit(&proven).await?;
            let next = self.mirror.follow().await?;
            match submitted {
                Submitted::Moved(_) => (batches, refusals) = (batches + 1, 0),
                Submitted::Refused(_) if next.sequence() != tree.sequence() => refusals = 0,
                Submitted::Refused(error) => {
                    refusals += 1;
                    let same = next.next_batch(self.shape.events())? == tree.next_batch(self.shape.events())?;
                    if same || refusals == REFUSALS_MAX {
                        return Err(error.into());
                    }
                }
            }
            tree = next;
        }
    }

    /// Proves the next batch; `None` when nothing waits.
    ///
    /// # Errors
    /// [`ProverError::Panel`], [`ProverError::Update`], [`ProverError::Proofs`].
    pub async fn prove(&self, tree: &PanelTree) -> Result<Option<ProvenBatch>, ProverError> {
        let next = tree.next_batch(self.shape.events())?;
        if next.events.is_empty() {
            return Ok(None);
        }
        let (shape, key, tree) = (self.shape, self.key.clone(), tree.clone());
        self.turn.run(move || prove_batch(shape, &key, &tree, next)).await.map(Some)
    }

    /// Sends a batch to the contract and waits for its answer.
    ///
    /// # Errors
    /// [`ProverError::Ledger`] when the chain cannot be reached or the account cannot pay.
    pub async fn submit(&self, proven: &ProvenBatch) -> Result<Submitted, ProverError> {
        let moved = self.mirror.registry().advance_roots(self.mirror.panel(), &proven.batch, &proven.proof).await;
        match moved {
            Ok((_, sequence)) => Ok(Submitted::Moved(sequence)),
            Err(error @ (LedgerError::Refused { .. } | LedgerError::Reverted(_) | LedgerError::NoReceipt { .. })) => {
                Ok(Submitted::Refused(error))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn prove_batch(
    shape: UpdateShape,
    key: &ProvingKey,
    tree: &PanelTree,
    next: NextBatch,
) -> Result<ProvenBatch, ProverError> {
    let NextBatch { registry, offers, events } = next;
    let (public, witness) = UpdatePublic::advance(shape, &mut tree.tree().clone(), &events)?;
    let proof = UpdateProof::prove(key, shape, &public, &witness, &mut system_rng()?)?;
    let root = FieldBytes(encode_field(&public.after));
    let batch = RootBatch { registry, offers, root, digest: public.digest_word() };
    Ok(ProvenBatch { from: tree.sequence(), batch, proof: proof.to_bytes() })
}
