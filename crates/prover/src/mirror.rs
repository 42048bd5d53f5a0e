//! A panel's tree, followed along the chain up to its head.

use crate::{error::ProverError, panel::PanelTree, turn::off_the_runtime};
use locus_genomics::PanelDigest;
use locus_ledger::{BlockRef, EVENT_PAGE_BLOCKS, EventSource as _, ProvenRegistry};
use std::sync::{Mutex, PoisonError};

/// Tries to read blocks that do not change meanwhile.
const ATTEMPTS_MAX: u32 = 4;
/// States kept beside the last final one. Reorganisations deeper than these start from the final state again.
const CHECKPOINTS_MAX: usize = 64;

/// The tree as it was at a block.
#[derive(Clone)]
struct Checkpoint {
    block: BlockRef,
    tree: PanelTree,
}

/// Follows one panel. States since the last final block are kept, so a reorganisation costs reading the new blocks;
/// states share what did not change.
pub struct PanelMirror {
    registry: ProvenRegistry,
    panel: PanelDigest,
    depth: usize,
    /// Ascending by block; the first is final, unless nothing was final yet.
    checkpoints: Mutex<Vec<Checkpoint>>,
    following: tokio::sync::Mutex<()>,
}

impl PanelMirror {
    /// A mirror that has seen nothing yet, of a tree of 16^depth groups.
    pub fn new(registry: ProvenRegistry, panel: PanelDigest, depth: usize) -> Self {
        Self { registry, panel, depth, checkpoints: Mutex::default(), following: tokio::sync::Mutex::default() }
    }

    /// The market's roots and cohorts.
    pub fn registry(&self) -> &ProvenRegistry {
        &self.registry
    }

    /// The panel.
    pub fn panel(&self) -> PanelDigest {
        self.panel
    }

    /// Reads on to the head of the chain and gives the tree there; the first time from the market's first block on.
    ///
    /// # Errors
    /// [`ProverError::Ledger`]; [`ProverError::Panel`] and [`ProverError::OtherRoot`] when the node leaves something
    /// out; [`ProverError::Unsettled`] when blocks change again and again.
    pub async fn follow(&self) -> Result<PanelTree, ProverError> {
        let _one = self.following.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.drop_reorganised().await?;
            let head = self.registry.ledger().head().await?;
            let outcome = self.read_to(head).await;
            // What was read of a chain that changed meanwhile proves nothing, not even that something is wrong.
            if !self.is_canonical(&head).await? {
                continue;
            }
            let tree = outcome?;
            if self.agrees(&tree).await? {
                return Ok(tree);
            }
        }
        Err(ProverError::Unsettled)
    }

    fn states(&self) -> std::sync::MutexGuard<'_, Vec<Checkpoint>> {
        // A list of states is sound whenever its lock is free.
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn is_canonical(&self, block: &BlockRef) -> Result<bool, ProverError> {
        let ledger = self.registry.ledger();
        Ok(ledger.head().await?.number >= block.number && ledger.block(block.number).await? == *block)
    }

    /// Forgets states at blocks that the chain does not have any more.
    async fn drop_reorganised(&self) -> Result<(), ProverError> {
        loop {
            let last = self.states().last().map(|state| state.block);
            let Some(block) = last else { return Ok(()) };
            if self.is_canonical(&block).await? {
                return Ok(());
            }
            tracing::info!(block = block.number, "a block was reorganised away: following its successor");
            self.states().pop();
        }
    }

    /// Reads from the last state on, with a stop at the last final block.
    async fn read_to(&self, head: BlockRef) -> Result<PanelTree, ProverError> {
        let ledger = self.registry.ledger();
        let last = self.states().last().cloned();
        let (mut next, mut tree) = match last {
            Some(state) => (state.block.number + 1, state.tree),
            None => (ledger.first_block().await?, PanelTree::new(self.depth)),
        };
        let finalized = ledger.finalized().await?;
        for stop in [finalized, head] {
            if stop.number >= next && stop.number <= head.number {
                tree = self.read(tree, next, stop.number).await?;
                next = stop.number + 1;
                self.keep(Checkpoint { block: stop, tree: tree.clone() }, finalized.number);
            }
        }
        Ok(tree)
    }

    /// Reads blocks in pages, so that only what is in no root yet is held.
    async fn read(&self, mut tree: PanelTree, first: u64, last: u64) -> Result<PanelTree, ProverError> {
        let mut from = first;
        while from <= last {
            let to = last.min(from + EVENT_PAGE_BLOCKS - 1);
            let operations = self.registry.queued_operations(self.panel, from, to).await?;
            let moves = self.registry.root_moves(self.panel, from, to).await?;
            // A move takes what was queued before it, so in a page all operations may come first.
            tree = off_the_runtime(move || {
                operations.into_iter().try_for_each(|operation| tree.queue(operation))?;
                moves.iter().try_for_each(|step| tree.follow(step))?;
                Ok(tree)
            })
            .await?;
            from = to + 1;
        }
        Ok(tree)
    }

    fn keep(&self, state: Checkpoint, finalized: u64) {
        let mut states = self.states();
        states.push(state);
        // One final state is enough to come back to.
        let last_final = states.iter().rposition(|state| state.block.number <= finalized);
        states.drain(..last_final.unwrap_or(0));
        if states.len() > CHECKPOINTS_MAX {
            states.remove(1);
        }
    }

    /// Whether the contract has this root under this number, and has taken the same events when it is the present one.
    /// False when the chain went back meanwhile.
    async fn agrees(&self, tree: &PanelTree) -> Result<bool, ProverError> {
        let taken = self.registry.taken_operations(self.panel).await?;
        if taken.sequence < tree.sequence() || (taken.sequence == tree.sequence() && taken != tree.taken()) {
            return Ok(false);
        }
        let (sequence, expected) = (tree.sequence(), tree.root());
        let found = self.registry.root_at(self.panel, sequence).await?;
        if found == expected { Ok(true) } else { Err(ProverError::OtherRoot { sequence, expected, found }) }
    }
}
