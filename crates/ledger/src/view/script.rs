//! A scripted chain that reorganises, and a node that misbehaves.

use super::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

/// Why the scripted node fails.
#[derive(Debug, thiserror::Error)]
#[error("too many events")]
pub(super) struct TooMany;

/// A chain whose blocks above the finalized one can be replaced.
#[derive(Default)]
pub(super) struct Script(Mutex<State>);

#[derive(Default)]
struct State {
    fork: u8,
    head: u64,
    finalized: u64,
    hashes: BTreeMap<u64, Digest32>,
    events: BTreeMap<u64, Vec<MarketEvent>>,
    misbehaviour: Misbehaviour,
    requests: Vec<(u64, u64)>,
}

/// What the node does wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Misbehaviour {
    /// Every event is answered twice, in reverse order.
    pub(super) doubled: bool,
    /// Events of these blocks are left out.
    pub(super) hidden: BTreeSet<u64>,
    /// These events are in every answer.
    pub(super) stray: Vec<LocatedEvent>,
    /// More events than this are refused at once.
    pub(super) events_max: Option<usize>,
}

impl Script {
    /// A chain of this many empty blocks, none of them final.
    pub(super) fn new(head: u64) -> Self {
        let script = Self::default();
        for _ in 0..head {
            script.mine(Vec::new());
        }
        script
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while holding the script")
    }

    /// Adds a block with these events; returns its number.
    pub(super) fn mine(&self, events: Vec<MarketEvent>) -> u64 {
        let mut state = self.state();
        state.head += 1;
        let (number, fork) = (state.head, state.fork);
        let mut hash = [fork; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        state.hashes.insert(number, Digest32(hash));
        state.events.insert(number, events);
        number
    }

    /// Adds empty blocks.
    pub(super) fn mine_empty(&self, count: u64) {
        for _ in 0..count {
            self.mine(Vec::new());
        }
    }

    /// Takes the last `depth` blocks away and puts as many empty ones there.
    pub(super) fn reorganise(&self, depth: u64) {
        {
            let mut state = self.state();
            state.fork += 1;
            state.head -= depth;
            let kept = state.head;
            state.events.retain(|number, _| *number <= kept);
        }
        self.mine_empty(depth);
    }

    pub(super) fn finalize(&self, number: u64) {
        self.state().finalized = number;
    }

    /// Makes everything final.
    pub(super) fn finalize_all(&self) {
        let mut state = self.state();
        state.finalized = state.head;
    }

    pub(super) fn misbehave(&self, misbehaviour: Misbehaviour) {
        self.state().misbehaviour = misbehaviour;
    }

    /// Block ranges that were asked for, in order.
    pub(super) fn requests(&self) -> Vec<(u64, u64)> {
        self.state().requests.clone()
    }

    fn at(&self, number: u64) -> BlockRef {
        BlockRef { number, hash: self.state().hashes.get(&number).copied().unwrap_or(Digest32([0; 32])) }
    }
}

impl EventSource for Script {
    type Error = TooMany;

    async fn head(&self) -> Result<BlockRef, TooMany> {
        let head = self.state().head;
        Ok(self.at(head))
    }

    async fn finalized(&self) -> Result<BlockRef, TooMany> {
        let finalized = self.state().finalized;
        Ok(self.at(finalized))
    }

    async fn block(&self, number: u64) -> Result<BlockRef, TooMany> {
        Ok(self.at(number))
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LocatedEvent>, TooMany> {
        let mut state = self.state();
        state.requests.push((from, to));
        let mut found = Vec::new();
        for (&block, events) in state.events.range(from..=to) {
            if state.misbehaviour.hidden.contains(&block) {
                continue;
            }
            for (log_index, event) in (0..).zip(events) {
                found.push(LocatedEvent { block, time_unix_s: block * 12, log_index, event: event.clone() });
            }
        }
        if state.misbehaviour.events_max.is_some_and(|max| found.len() > max) {
            return Err(TooMany);
        }
        if state.misbehaviour.doubled {
            found.extend(found.clone());
            found.reverse();
        }
        found.extend(state.misbehaviour.stray.clone());
        Ok(found)
    }

    fn is_too_many(&self, _error: &TooMany) -> bool {
        true
    }
}
