//! Blocks that are reorganised away are forgotten, and what they held is done again. On Anvil only: the embedded chain
//! has no reorganisations.

use crate::{
    chain::Backend,
    market::{BIOBANK, Market, PANEL, PERSON, STRANGER},
    scene::head,
};
use locus_genomics::DuoTerm;

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_was_reorganised_away_is_moved_again() {
    let Some(backend) = Backend::anvil(8) else { return };
    let market = Market::deploy(backend).await;
    let deployed = head(&market).await;
    market.register(PERSON, 1..2, true).await;
    market.register(BIOBANK, 10..40, true).await;
    let prover = market.root_prover(STRANGER).await;
    prover.advance_to(head(&market).await, |_| {}).await.expect("the root moves");
    let before = prover.mirror().follow().await.unwrap();
    assert_eq!((before.sequence(), before.waiting_operations()), (1, [0, 0]));

    market.offer(PERSON, 1, 1, 50, DuoTerm::GeneralResearch).await;
    prover.advance_to(head(&market).await, |_| {}).await.expect("the root moves");
    let moved = prover.mirror().follow().await.unwrap();
    assert_eq!(moved.sequence(), 2);
    // The move goes, the offer stays.
    market.backend.reorganise(1);
    let back = prover.mirror().follow().await.expect("it follows");
    assert_eq!((back.sequence(), back.root(), back.waiting_operations()), (1, before.root(), [0, 1]));
    prover.advance_to(head(&market).await, |_| {}).await.expect("the root moves again");
    assert_eq!(prover.mirror().follow().await.unwrap().root(), moved.root());
    // Everything goes.
    market.backend.reorganise(head(&market).await - deployed);
    let gone = prover.mirror().follow().await.expect("it follows");
    assert_eq!((gone.sequence(), gone.waiting_operations()), (0, [0, 0]));
    assert_eq!(prover.mirror().registry().root_at(PANEL, 0).await.unwrap(), gone.root());
}
