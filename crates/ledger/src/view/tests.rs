//! The fold against a scripted chain that reorganises.

use super::*;
use locus_commitment::{DatasetBodyDigest, DatasetCommitments, DatasetId, GenotypeCommitment, PersonTag, ShareSetCommitment};
use std::{collections::BTreeMap, sync::Mutex};

const PANEL: PanelDigest = PanelDigest([9; 32]);

#[derive(Debug, thiserror::Error)]
#[error("scripted failure")]
struct ScriptError;

/// A chain whose blocks above the finalized one can be replaced.
#[derive(Default)]
struct Script(Mutex<ScriptState>);

#[derive(Default)]
struct ScriptState {
    fork: u8,
    head: u64,
    finalized: u64,
    hashes: BTreeMap<u64, Digest32>,
    events: BTreeMap<u64, Vec<MarketEvent>>,
}

impl Script {
    fn new(head: u64) -> Self {
        let script = Self::default();
        for _ in 0..head {
            script.mine(Vec::new());
        }
        script
    }

    fn mine(&self, events: Vec<MarketEvent>) -> u64 {
        let mut state = self.0.lock().expect("no test panics while holding the script");
        state.head += 1;
        let (number, fork) = (state.head, state.fork);
        let mut hash = [fork; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        state.hashes.insert(number, Digest32(hash));
        state.events.insert(number, events);
        number
    }

    /// Replaces the last `depth` blocks by as many empty ones.
    fn reorganise(&self, depth: u64) {
        let head = {
            let mut state = self.0.lock().expect("no test panics while holding the script");
            state.fork += 1;
            let head = state.head;
            state.head -= depth;
            let kept = state.head;
            state.events.retain(|number, _| *number <= kept);
            head
        };
        for _ in 0..head - self.0.lock().expect("no test panics while holding the script").head {
            self.mine(Vec::new());
        }
    }

    fn finalize(&self, number: u64) {
        self.0.lock().expect("no test panics while holding the script").finalized = number;
    }

    fn at(&self, number: u64) -> BlockRef {
        let state = self.0.lock().expect("no test panics while holding the script");
        BlockRef { number, hash: state.hashes.get(&number).copied().unwrap_or(Digest32([0; 32])) }
    }
}

impl EventSource for Script {
    type Error = ScriptError;

    async fn head(&self) -> Result<BlockRef, ScriptError> {
        let head = self.0.lock().map_err(|_| ScriptError)?.head;
        Ok(self.at(head))
    }

    async fn finalized(&self) -> Result<BlockRef, ScriptError> {
        let finalized = self.0.lock().map_err(|_| ScriptError)?.finalized;
        Ok(self.at(finalized))
    }

    async fn block(&self, number: u64) -> Result<BlockRef, ScriptError> {
        Ok(self.at(number))
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LocatedEvent>, ScriptError> {
        let state = self.0.lock().map_err(|_| ScriptError)?;
        let located = |(block, events): (&u64, &Vec<MarketEvent>)| {
            let block = *block;
            let locate = move |(index, event): (usize, &MarketEvent)| LocatedEvent {
                block,
                time_unix_s: block * 12,
                log_index: index as u64,
                event: event.clone(),
            };
            events.iter().enumerate().map(locate).collect::<Vec<_>>()
        };
        Ok(state.events.range(from..=to).flat_map(located).collect())
    }
}

fn registered(id: u64) -> MarketEvent {
    let leaf = DatasetLeaf {
        dataset: DatasetId([1; 32]),
        person: PersonTag([2; 32]),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(Digest32([3; 32])),
            shares: ShareSetCommitment(Digest32([4; 32])),
            genotypes: GenotypeCommitment(Digest32([5; 32])),
        },
    };
    MarketEvent::DatasetsRegistered {
        registration: RegistrationId(id),
        registrant: Address([7; 20]),
        panel: PANEL,
        version: 1,
        first_slot: 0,
        accreditor: None,
        leaves: vec![leaf],
    }
}

fn revoked(id: u64) -> MarketEvent {
    MarketEvent::DatasetsRevoked { registration: RegistrationId(id), ordinals: vec![0] }
}

#[tokio::test]
async fn a_grant_acts_only_when_its_block_is_final() {
    let script = Script::new(100);
    script.finalize(100);
    let mut view = ChainView::default();
    view.poll(&script).await.expect("the script answers");
    let block = script.mine(vec![registered(1)]);
    view.poll(&script).await.expect("the script answers");
    assert!(view.registration(RegistrationId(1)).is_none());
    script.finalize(block);
    view.poll(&script).await.expect("the script answers");
    assert!(view.registration(RegistrationId(1)).is_some());
}

#[tokio::test]
async fn a_grant_that_is_reorganised_away_at_any_depth_was_never_relied_on() {
    for depth in 1..=64u64 {
        let script = Script::new(100);
        script.finalize(100);
        let mut view = ChainView::default();
        view.poll(&script).await.expect("the script answers");
        script.mine(vec![registered(1)]);
        // Control: a reader of the head would have relied on it.
        assert!(!script.events(101, 101).await.expect("the script answers").is_empty());
        for _ in 1..depth {
            script.mine(Vec::new());
        }
        view.poll(&script).await.expect("the script answers");
        script.reorganise(depth);
        script.finalize(100 + depth);
        view.poll(&script).await.expect("the script answers");
        assert!(view.registration(RegistrationId(1)).is_none(), "depth {depth}");
    }
}

#[tokio::test]
async fn a_revocation_seen_once_is_honoured_even_when_its_block_is_lost() {
    for depth in 1..=64u64 {
        let script = Script::new(99);
        let block = script.mine(vec![registered(1)]);
        script.finalize(block);
        script.mine(vec![revoked(1)]);
        for _ in 1..depth {
            script.mine(Vec::new());
        }
        let mut view = ChainView::default();
        view.poll(&script).await.expect("the script answers");
        assert!(view.is_revoked(RegistrationId(1), 0));
        script.reorganise(depth);
        script.finalize(100 + depth);
        view.poll(&script).await.expect("the script answers");
        assert!(view.is_revoked(RegistrationId(1), 0), "depth {depth}");
    }
}

#[tokio::test]
async fn a_changed_finalized_block_stops_the_view() {
    let script = Script::new(100);
    script.finalize(90);
    let mut view = ChainView::default();
    view.poll(&script).await.expect("the script answers");
    script.reorganise(20);
    let error = view.poll(&script).await.expect_err("block 90 has another hash");
    assert!(matches!(error, ViewError::FinalizedChanged { number: 90 }));
    assert_eq!(view.finalized().map(|block| block.number), Some(90));
}

#[tokio::test]
async fn reading_the_same_blocks_twice_changes_nothing() {
    let script = Script::new(10);
    let block = script.mine(vec![registered(1)]);
    script.finalize(block);
    let mut view = ChainView::default();
    assert!(view.poll(&script).await.expect("the script answers"));
    assert!(!view.poll(&script).await.expect("the script answers"));
    assert_eq!(view.registrations_on(&PANEL, block).count(), 1);
    assert_eq!(view.registrations_on(&PANEL, block - 1).count(), 0);
}
