//! Re-keyings: which keys are in force when.

use super::*;
use locus_privacy::REKEYINGS_MAX;

const ID: RegistrationId = RegistrationId(1);

/// New keys, all words of which are `byte`.
fn new_keys(byte: u8) -> DatasetKeys {
    DatasetKeys {
        bodies: DatasetBodyDigest(Digest32([byte; 32])),
        shares: ShareSetCommitment(Digest32([byte ^ 0x80; 32])),
    }
}

fn rekeyed_with(generation: u8, keys: Vec<Option<DatasetKeys>>) -> MarketEvent {
    MarketEvent::DatasetsRekeyed { registration: ID, generation, keys }
}

/// The re-keying of registration 1 that results in this generation, with keys that depend on it.
fn rekeyed(generation: u8) -> MarketEvent {
    rekeyed_with(generation, vec![Some(new_keys(0x10 + generation))])
}

fn registered_leaf() -> DatasetLeaf {
    let MarketEvent::DatasetsRegistered { leaves, .. } = registered(1) else { unreachable!("it is a registration") };
    leaves[0]
}

/// The leaf of registration 1 in this generation.
fn leaf_in(generation: u8) -> DatasetLeaf {
    let mut leaf = registered_leaf();
    if generation > 0 {
        let keys = new_keys(0x10 + generation);
        (leaf.commitments.bodies, leaf.commitments.shares) = (keys.bodies, keys.shares);
    }
    leaf
}

/// The generation of registration 1, after checking everything that must follow from it.
fn generation(view: &ChainView) -> u8 {
    let record = view.registration(ID).expect("registered");
    let generation = record.generation();
    assert_eq!(*record.leaves, [leaf_in(generation)]);
    assert_eq!(**record.registered_leaves(), [leaf_in(0)]);
    assert_eq!((record.version, record.key_version()), (1, 1 + u32::from(generation)));
    assert_eq!(record.rekeyed_in().is_some(), generation > 0);
    assert_eq!(view.rekeying_count(), u64::from(generation));
    generation
}

#[tokio::test]
async fn new_keys_are_in_force_only_when_their_block_is_final() {
    let script = Script::new(9);
    script.mine(vec![registered(1)]);
    script.finalize_all();
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    let block = script.mine(vec![rekeyed(1)]);
    poll(&mut view, &script).await;
    assert_eq!(generation(&view), 0);
    script.finalize(block);
    poll(&mut view, &script).await;
    assert_eq!(generation(&view), 1);
}

#[tokio::test]
async fn a_rekeying_that_is_reorganised_away_has_no_effect() {
    for depth in 1..=DEPTH_MAX {
        let script = Script::new(99);
        script.mine(vec![registered(1)]);
        script.finalize(100);
        script.mine(vec![rekeyed(1)]);
        script.mine_empty(depth - 1);
        let mut view = ChainView::default();
        poll(&mut view, &script).await;
        script.reorganise(depth);
        script.finalize_all();
        poll(&mut view, &script).await;
        assert_eq!(generation(&view), 0, "depth {depth}");
        // Control: the same event in a block that stays.
        script.mine(vec![rekeyed(1)]);
        script.finalize_all();
        poll(&mut view, &script).await;
        assert_eq!(generation(&view), 1, "depth {depth}");
    }
}

#[tokio::test]
async fn keys_are_those_in_force_at_the_end_of_a_block() {
    let script = Script::new(4);
    let registered_in = script.mine(vec![registered(1)]);
    let first = script.mine(vec![rekeyed(1)]);
    script.mine_empty(1);
    let twice = script.mine(vec![rekeyed(2), rekeyed(3)]);
    script.mine_empty(1);
    script.finalize_all();
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    assert_eq!(generation(&view), 3);
    let record = view.registration(ID).expect("registered");
    assert_eq!(record.rekeyed_in(), Some(twice));
    let expected = [(0, 0), (registered_in, 0), (first, 1), (first + 1, 1), (twice, 3), (twice + 1, 3), (u64::MAX, 3)];
    for (block, generation) in expected {
        assert_eq!(**record.leaves_as_of(block), [leaf_in(generation)], "block {block}");
        assert_eq!(record.generation_as_of(block), generation, "block {block}");
        assert_eq!(record.key_version_as_of(block), 1 + u32::from(generation), "block {block}");
    }
    // What was not replaced yet is shared, not copied.
    assert!(Arc::ptr_eq(record.leaves_as_of(0), record.registered_leaves()));
    assert!(Arc::ptr_eq(record.leaves_as_of(twice), &record.leaves));
}

#[tokio::test]
async fn a_registration_without_rekeyings_has_one_set_of_leaves() {
    let script = Script::new(4);
    script.mine(vec![registered(1)]);
    script.finalize_all();
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    let record = view.registration(ID).expect("registered");
    assert!(Arc::ptr_eq(record.registered_leaves(), &record.leaves));
    assert!(Arc::ptr_eq(record.leaves_as_of(0), &record.leaves));
    assert_eq!((record.rekeyed_in(), generation(&view)), (None, 0));
}

#[tokio::test]
async fn a_revoked_dataset_may_be_left_as_it_is_or_get_keys() {
    for keys in [None, Some(new_keys(0x11))] {
        let script = Script::new(4);
        let mut two = registered(1);
        let MarketEvent::DatasetsRegistered { leaves, .. } = &mut two else { unreachable!("it is a registration") };
        leaves.push(leaves[0]);
        script.mine(vec![two, revoked(1)]);
        script.mine(vec![rekeyed_with(1, vec![keys, Some(new_keys(0x11))])]);
        script.finalize_all();
        let mut view = ChainView::default();
        poll(&mut view, &script).await;
        let left = if keys.is_some() { leaf_in(1) } else { leaf_in(0) };
        assert_eq!(*view.registration(ID).expect("registered").leaves, [left, leaf_in(1)]);
        assert!(view.is_revoked(ID, 0) && !view.is_revoked(ID, 1));
    }
}

#[tokio::test]
async fn rekeyings_are_listed_in_the_order_of_the_chain() {
    let script = Script::new(4);
    script.mine(vec![registered(1), registered(2)]);
    let other = |generation| MarketEvent::DatasetsRekeyed {
        registration: RegistrationId(2),
        generation,
        keys: vec![Some(new_keys(0x20 + generation))],
    };
    script.mine(vec![other(1), rekeyed(1)]);
    script.mine(vec![other(2)]);
    script.finalize_all();
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    let all = [(RegistrationId(2), 1), (ID, 1), (RegistrationId(2), 2)];
    assert_eq!(view.rekeying_count(), 3);
    for (first, skipped) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (u64::MAX, 3)] {
        assert_eq!(view.rekeyings_from(first).collect::<Vec<_>>(), all[skipped..], "from {first}");
    }
}

#[tokio::test]
async fn rekeyings_that_do_not_follow_stop_the_view() {
    let keys = new_keys(0x11);
    let mut ninth: Vec<MarketEvent> = (1..=REKEYINGS_MAX).map(rekeyed).collect();
    ninth.push(rekeyed(REKEYINGS_MAX + 1));
    let unknown =
        MarketEvent::DatasetsRekeyed { registration: RegistrationId(2), generation: 1, keys: vec![Some(keys)] };
    let impossible: [(&str, Vec<MarketEvent>); 8] = [
        ("an unknown registration", vec![unknown]),
        ("generation 0", vec![rekeyed(0)]),
        ("a gap", vec![rekeyed(2)]),
        ("a generation twice", vec![rekeyed(1), rekeyed(1)]),
        ("more than there can be", ninth),
        ("no keys", vec![rekeyed_with(1, Vec::new())]),
        ("keys of more datasets", vec![rekeyed_with(1, vec![Some(keys); 2])]),
        ("a live dataset left out", vec![rekeyed_with(1, vec![None])]),
    ];
    for (what, events) in impossible {
        let script = Script::new(1);
        script.mine(vec![registered(1)]);
        script.finalize_all();
        let mut view = ChainView::default();
        poll(&mut view, &script).await;
        let block = script.mine(events);
        script.finalize_all();
        let error = view.poll(&script).await.expect_err(what);
        assert!(matches!(error, ViewError::Inconsistent { block: at, .. } if at == block), "{what}: {error}");
        assert_eq!(generation(&view), 0, "{what}");
    }
}

#[tokio::test]
async fn a_snapshot_keeps_the_keys_that_it_showed() {
    let script = Script::new(1);
    script.mine(vec![registered(1)]);
    script.finalize_all();
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    let snapshot = view.clone();
    script.mine(vec![rekeyed(1)]);
    script.finalize_all();
    poll(&mut view, &script).await;
    assert_eq!((generation(&snapshot), generation(&view)), (0, 1));
}
