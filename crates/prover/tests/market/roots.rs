//! Roots advance to the head, whoever moves them, and every mirror equals the chain.

use crate::{
    chain::Backend,
    market::{Market, OTHER_PROVER, PANEL, STRANGER, keys},
    scene,
};
use locus_ledger::OperationQueue;
use locus_proofs::update::UpdateShape;
use locus_prover::{PanelTree, ProverError, ProvingTurn, RootProgress, RootProver, Submitted};

/// The mirror's roots, present and past, are the contract's; and so is a mirror that starts from nothing.
async fn equals_the_chain(market: &Market, tree: &PanelTree) {
    let registry = market.seen_by(STRANGER).await;
    assert_eq!(registry.taken_operations(PANEL).await.expect("the roots answer"), tree.taken());
    let fresh = market.mirror(STRANGER).await.follow().await.expect("it follows");
    for sequence in 0..=tree.sequence() {
        let root = registry.root_at(PANEL, sequence).await.expect("the roots answer");
        assert_eq!((tree.root_at(sequence), fresh.root_at(sequence)), (Some(root), Some(root)), "root {sequence}");
    }
    assert_eq!((fresh.taken(), fresh.waiting_operations()), (tree.taken(), tree.waiting_operations()));
}

async fn advance(market: &Market, prover: &RootProver) -> u64 {
    let mut heard = Vec::new();
    let advanced = prover.advance_to(scene::head(market).await, |progress| heard.push(progress)).await;
    let advanced = advanced.expect("the root moves");
    let total = heard[0].batches_to_do;
    let expected = |done| RootProgress { batches_done: done, batches_to_do: total - done };
    assert_eq!(heard, (0..=total).map(expected).collect::<Vec<_>>());
    assert_eq!(advanced.batches, total);
    advanced.batches
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_follow_registrations_offers_and_revocations_to_the_head() {
    let market = Market::deploy(Backend::embedded()).await;
    let prover = market.root_prover(STRANGER).await;
    assert_eq!(advance(&market, &prover).await, 0, "nothing is queued yet");
    scene::register(&market).await;
    assert_eq!(advance(&market, &prover).await, 3, "18 events");
    equals_the_chain(&market, &prover.mirror().follow().await.unwrap()).await;
    scene::offer(&market).await;
    assert_eq!(advance(&market, &prover).await, 3);
    equals_the_chain(&market, &prover.mirror().follow().await.unwrap()).await;
    scene::revoke(&market).await;
    assert_eq!(advance(&market, &prover).await, 1);
    let tree = prover.mirror().follow().await.unwrap();
    equals_the_chain(&market, &tree).await;
    assert_eq!(tree.waiting_operations(), [0, 0]);
    assert_eq!(prover.mirror().registry().missing_since_unix_s(PANEL, 7).await.unwrap(), None);
    assert_eq!(tree.tree().group(2).unwrap().live, [true, true, false, true, true], "dataset 7 is revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_moved_no_further_than_asked() {
    let market = Market::deploy(Backend::embedded()).await;
    scene::register(&market).await;
    let registered = scene::head(&market).await;
    scene::offer(&market).await;
    let prover = market.root_prover(STRANGER).await;
    let advanced = prover.advance_to(registered, |_| {}).await.unwrap();
    assert_eq!(advanced.batches, 3, "18 events; the last batch has room for six offers");
    let tree = prover.mirror().follow().await.unwrap();
    assert_eq!((tree.events_to_take(registered), tree.events_to_take(u64::MAX)), (0, 18 - 6));
    assert_ne!(tree.taken().offers.rest.0, [0; 32], "the batch ended within an offer");
    equals_the_chain(&market, &tree).await;
    assert_eq!(prover.advance_to(registered, |_| {}).await.unwrap().batches, 0);
    assert_eq!(advance(&market, &prover).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prover_that_comes_second_follows_and_goes_on() {
    let market = Market::deploy(Backend::embedded()).await;
    scene::play(&market).await;
    let head = scene::head(&market).await;
    let (slow, fast) = (market.root_prover(STRANGER).await, market.root_prover(OTHER_PROVER).await);
    let tree = slow.mirror().follow().await.unwrap();
    let late = slow.prove(&tree).await.unwrap().expect("operations wait");
    let batch = fast.prove(&fast.mirror().follow().await.unwrap()).await.unwrap().expect("operations wait");
    assert_eq!(batch.batch, late.batch);
    assert!(matches!(fast.submit(&batch).await.unwrap(), Submitted::Moved(1)));
    let Submitted::Refused(error) = slow.submit(&late).await.unwrap() else { panic!("the root had moved") };
    assert_eq!(error.refusal(), Some("RegistryRootsOtherEvents"));

    let (first, second) = tokio::join!(slow.advance_to(head, |_| {}), fast.advance_to(head, |_| {}));
    let (first, second) = (first.expect("it goes on"), second.expect("it goes on"));
    assert_eq!(1 + first.batches + second.batches, scene::EVENTS.div_ceil(8), "every batch counts once");
    assert_eq!((first.sequence, first.root), (second.sequence, second.root));
    equals_the_chain(&market, &slow.mirror().follow().await.unwrap()).await;
    assert!(slow.prove(&slow.mirror().follow().await.unwrap()).await.unwrap().is_none(), "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_nobody_overtook_and_the_contract_refuses_is_an_error() {
    let market = Market::deploy(Backend::embedded()).await;
    scene::register(&market).await;
    let prover = market.root_prover(STRANGER).await;
    let tree = prover.mirror().follow().await.unwrap();
    let honest = prover.prove(&tree).await.unwrap().expect("operations wait");
    let mut forged = honest.clone();
    forged.batch.root = tree.root();
    let Submitted::Refused(error) = prover.submit(&forged).await.unwrap() else { panic!("the root is another") };
    assert_eq!(error.refusal(), Some("RegistryRootsBadProof"));
    // A batch without its first event.
    let mut forged = honest.clone();
    assert_eq!(forged.batch.registry[0].heads.len(), 1);
    forged.batch.registry.remove(0);
    let Submitted::Refused(error) = prover.submit(&forged).await.unwrap() else { panic!("an event is missing") };
    assert_eq!(error.refusal(), Some("RegistryRootsOtherEvents"));

    // A key of a circuit of another size does not even prove.
    let other = UpdateShape::try_new(4, 5).unwrap();
    let wrong = RootProver::new(prover.mirror().clone(), other, keys().update.clone(), ProvingTurn::default());
    let refused = wrong.advance_to(u64::MAX, |_| {}).await;
    assert!(matches!(refused, Err(ProverError::Proofs(_))), "{refused:?}");
    assert!(matches!(prover.submit(&honest).await.unwrap(), Submitted::Moved(1)), "the honest batch is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_needs_nothing_but_what_the_chain_shows() {
    let market = Market::deploy(Backend::embedded()).await;
    scene::play_into_root(&market).await;
    let (head, registry) = (scene::head(&market).await, market.seen_by(OTHER_PROVER).await);
    let operations = registry.queued_operations(PANEL, 0, head).await.unwrap();
    let moves = registry.root_moves(PANEL, 0, head).await.unwrap();
    let mut tree = PanelTree::new(keys().market.circuits().depth());
    operations.iter().cloned().for_each(|operation| tree.queue(operation).unwrap());
    moves.iter().for_each(|step| tree.follow(step).unwrap());
    equals_the_chain(&market, &tree).await;

    // A node that hides an operation or a move is found out.
    let mut blind = PanelTree::new(keys().market.circuits().depth());
    let hidden = operations.iter().filter(|one| (one.queue, one.index) != (OperationQueue::Registry, 5));
    hidden.cloned().for_each(|operation| blind.queue(operation).unwrap());
    assert!(moves.iter().any(|step| blind.follow(step).is_err()));
    let mut blind = PanelTree::new(keys().market.circuits().depth());
    operations.iter().cloned().for_each(|operation| blind.queue(operation).unwrap());
    assert!(blind.follow(&moves[1]).is_err());
}
