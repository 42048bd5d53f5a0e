//! The embedded chain does exactly what Anvil does.

use crate::{
    backend::{Backend, account, key},
    market::{BIOBANK, Market, PERSON, RESEARCHER, earnings, leaf, sign},
    rekeying::new_keys,
};
use locus_commitment::Digest32;
use locus_ledger::{Amount, Contracts, EventSource, LocatedEvent};

/// What a script of transactions left behind.
#[derive(Debug, PartialEq)]
struct Trace {
    contracts: Contracts,
    gas: Vec<(&'static str, u64)>,
    events: Vec<LocatedEvent>,
}

async fn run_script(backend: &Backend) -> Trace {
    let market = Market::deploy(backend).await;
    let (ledger, contracts) = (&market.ledger, *market.contracts());
    let mut sent: Vec<(&'static str, Digest32)> = Vec::new();
    let many = market.batch(BIOBANK, 1, (0..64).map(leaf).collect());
    let many = market.submit(&many).await.expect("registered");
    sent.push(("register 64", many.transaction));
    sent.push(("register 1", market.register(PERSON, 100, 1).await.transaction));
    sent.push(("offer", market.post(BIOBANK, &market.offer(many.registration, 1, 7)).await.expect("posted")));
    sent.push(("next offer", market.post(BIOBANK, &market.offer(many.registration, 2, 9)).await.expect("posted")));
    sent.push(("mint", ledger.mint(account(RESEARCHER), Amount(1_000)).await.expect("minted")));
    let permit = market.permit(1_000).await;
    let order = market.order(1, 600);
    sent.push(("order", market.open_signed(&order, Some(&permit)).await.expect("opened").0));
    let tree = earnings(&[(BIOBANK, 500), (PERSON, 76)]);
    let terms = market.settlement(locus_ledger::order_id(&order), 1, 576, &tree);
    sent.push(("settle", market.settle(&terms).await.expect("settled")));
    sent.push(("claim", ledger.claim_payout(&tree.proof(account(BIOBANK)).unwrap()).await.expect("claimed")));
    let ordinals: Vec<u32> = (0..40).collect();
    let digest = contracts.revocation_signing_hash(many.registration, &ordinals, market.deadline());
    let signature = sign(&key(BIOBANK), &digest);
    let revoked = ledger.revoke_datasets(many.registration, &ordinals, market.deadline(), &signature).await;
    sent.push(("revoke 40", revoked.expect("revoked")));
    let rekeyed = market.rekey(many.registration, 1, &new_keys(200, 64)).await;
    sent.push(("rekey 64", rekeyed.expect("re-keyed")));
    let withdrawal = sign(&key(BIOBANK), &contracts.withdrawal_signing_hash(many.registration, 2));
    let withdrawn = ledger.withdraw_offer(many.registration, 2, &withdrawal).await;
    sent.push(("withdraw", withdrawn.expect("withdrawn")));

    let mut gas = Vec::new();
    for (what, transaction) in sent {
        let outcome = ledger.transaction_outcome(&transaction).await.unwrap().expect("included");
        gas.push((what, outcome.gas_used));
    }
    let head = ledger.head().await.unwrap().number;
    let mut events = ledger.events(0, head).await.expect("events can be read");
    for event in &mut events {
        // Anvil's clock runs by itself.
        event.time_unix_s = 0;
    }
    Trace { contracts, gas, events }
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_addresses_blocks_and_events_are_those_of_anvil() {
    let Some(anvil) = Backend::anvil(1) else { return };
    let (embedded, anvil) = (run_script(&Backend::embedded()).await, run_script(&anvil).await);
    assert_eq!(embedded, anvil);
    // A panel, three keyholders, two lists; then one event for each transaction but the mint.
    assert_eq!((embedded.events.len(), embedded.gas.len()), (16, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_script_leaves_the_same_embedded_chain() {
    assert_eq!(run_script(&Backend::embedded()).await, run_script(&Backend::embedded()).await);
}
