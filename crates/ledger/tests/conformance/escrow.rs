//! Orders, settlements, refunds and payouts, and every way to abuse their signatures.

use crate::{
    backend::{Backend, account, key},
    market::{BIOBANK, KEYHOLDERS, Market, PERSON, RESEARCHER, STRANGER, earnings, refusal, sign},
    registration::high_form,
};
use locus_commitment::Digest32;
use locus_genomics::PanelDigest;
use locus_ledger::{
    Amount, LedgerError, Order, OrderStatus, RegistrationId, Settlement, SettlementSignatures, order_id,
};
use locus_privacy::{Rho, Tier};

const BAD_SIGNATURE: &str = "QueryEscrowBadSignature";
const BAD_EVIDENCE: &str = "CommitteeVerifierBadEvidence";
const BAD_KEYHOLDER_SIGNATURE: &str = "CommitteeVerifierBadSignature";

pub(crate) async fn an_order_is_the_researchers_alone_and_opens_once(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let (ledger, contracts) = (&market.ledger, *market.contracts());
    let order = market.order(1, 100);
    ledger.mint(account(RESEARCHER), Amount(1_000)).await.expect("minted");
    let permit = market.permit(500).await;
    let digest = contracts.order_signing_hash(&order);
    let stranger = sign(&key(STRANGER), &digest);
    assert_eq!(refusal(ledger.open_order(&order, &stranger, Some(&permit)).await), BAD_SIGNATURE);
    let signature = sign(&key(RESEARCHER), &digest);
    let high = high_form(&signature);
    assert_eq!(refusal(ledger.open_order(&order, &high, Some(&permit)).await), BAD_SIGNATURE);
    let mut dearer = order;
    dearer.max_price = Amount(500);
    assert_eq!(refusal(ledger.open_order(&dearer, &signature, Some(&permit)).await), BAD_SIGNATURE);
    let mut redirected = order;
    redirected.hpke_key_digest = Digest32([66; 32]);
    assert_eq!(
        refusal(ledger.open_order(&redirected, &signature, Some(&permit)).await),
        BAD_SIGNATURE,
        "stolen answer"
    );
    let mut abroad = contracts;
    abroad.network.chain_id += 1;
    let abroad = sign(&key(RESEARCHER), &abroad.order_signing_hash(&order));
    assert_eq!(refusal(ledger.open_order(&order, &abroad, Some(&permit)).await), BAD_SIGNATURE);
    // Without an allowance the money cannot be taken.
    assert_eq!(refusal(ledger.open_order(&order, &signature, None).await), "ERC20InsufficientAllowance");

    ledger.open_order(&order, &signature, Some(&permit)).await.expect("opened");
    // The permit covers more, so only the rule of one order per id stops the replay.
    let replay = ledger.open_order(&order, &signature, Some(&permit)).await;
    assert_eq!(refusal(replay), "QueryEscrowOrderExists");
    assert_eq!(market.balance(account(RESEARCHER)).await, 900);
    // A used permit does no harm: the rest of the allowance is there.
    market.open_signed(&market.order(2, 100), Some(&permit)).await.expect("opened");
}

pub(crate) async fn orders_and_settlements_are_signed_for_one_market_and_one_method(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let other = Market::deploy(backend).await;
    let order = market.order(1, 100);
    for place in [&market, &other] {
        place.ledger.mint(account(RESEARCHER), Amount(100)).await.expect("minted");
    }
    let (permit, permit_there) = (market.permit(100).await, other.permit(100).await);
    let there = sign(&key(RESEARCHER), &other.contracts().order_signing_hash(&order));
    assert_eq!(refusal(market.ledger.open_order(&order, &there, Some(&permit)).await), BAD_SIGNATURE, "another market");
    let method = sign(&key(RESEARCHER), &market.contracts().withdrawal_signing_hash(RegistrationId(1), 1));
    assert_eq!(
        refusal(market.ledger.open_order(&order, &method, Some(&permit)).await),
        BAD_SIGNATURE,
        "another method"
    );
    // A permit for the other market's token or escrow moves no money here.
    let here = sign(&key(RESEARCHER), &market.contracts().order_signing_hash(&order));
    let unpaid = refusal(market.ledger.open_order(&order, &here, Some(&permit_there)).await);
    assert_eq!(unpaid, "ERC20InsufficientAllowance");
    // Control: each signature is good where it belongs, and orders of one market are named alike in both.
    other.ledger.open_order(&order, &there, Some(&permit_there)).await.expect("opened in the other market");
    market.ledger.open_order(&order, &here, Some(&permit)).await.expect("opened");

    let tree = earnings(&[(BIOBANK, 40)]);
    let terms = market.settlement(order_id(&order), 1, 40, &tree);
    let elsewhere = other.endorse(&terms, &[1, 2]);
    let crossed = market.ledger.settle_order(&terms, &elsewhere).await;
    assert_eq!(refusal(crossed), BAD_KEYHOLDER_SIGNATURE, "another market");
    other.ledger.settle_order(&terms, &elsewhere).await.expect("settled in the other market");
    market.settle(&terms).await.expect("settled");
}

pub(crate) async fn an_order_outside_the_rules_is_refused(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let changes: [(&str, &str, fn(&mut Order)); 9] = [
        ("no price", "QueryEscrowBadOrder", |order| order.max_price = Amount::ZERO),
        ("no noise in the open tier", "QueryEscrowBadOrder", |order| order.rho = Rho::ZERO),
        ("noise in the exact tier", "QueryEscrowBadOrder", |order| order.tier = Tier::Exact),
        ("no selection", "QueryEscrowBadOrder", |order| order.selection_digest = Digest32([0; 32])),
        ("no key", "QueryEscrowBadOrder", |order| order.hpke_key_digest = Digest32([0; 32])),
        ("too little noise", "QueryEscrowRhoTooHigh", |order| order.rho = Rho::from_nano(10_000_001)),
        ("an unknown panel", "QueryEscrowPanelUnknown", |order| order.panel = PanelDigest([1; 32])),
        ("a past deadline", "QueryEscrowBadDeadline", |order| order.deadline_unix_s = 1),
        ("a far deadline", "QueryEscrowBadDeadline", |order| order.deadline_unix_s += 86_400),
    ];
    for (what, name, change) in changes {
        let mut order = market.order(1, 100);
        change(&mut order);
        assert_eq!(refusal(market.open_signed(&order, None).await), name, "{what}");
    }
}

pub(crate) async fn anyone_returns_the_escrow_after_the_deadline_and_nobody_before(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let (open, settled) = (market.open(1, 100).await, market.open(2, 100).await);
    let stranger = market.seen_by(backend, &key(STRANGER)).await;
    assert_eq!(refusal(stranger.refund_order(open).await), "QueryEscrowBeforeDeadline");
    let tree = earnings(&[(BIOBANK, 40)]);
    let settlement = market.settlement(settled, 1, 40, &tree);
    market.settle(&settlement).await.expect("settled");
    backend.advance_s(7_200).await;
    let late = market.settlement(open, 2, 40, &tree);
    assert_eq!(refusal(market.settle(&late).await), "QueryEscrowPastDeadline");
    assert_eq!(refusal(stranger.refund_order(settled).await), "QueryEscrowNotOpen");
    assert_eq!(refusal(stranger.refund_order(order_id(&market.order(9, 9))).await), "QueryEscrowNotOpen");
    stranger.refund_order(open).await.expect("refunded");
    assert_eq!(refusal(stranger.refund_order(open).await), "QueryEscrowNotOpen");
    assert_eq!(market.ledger.order_status(open).await.unwrap(), OrderStatus::Refunded);
    assert_eq!(market.balance(account(RESEARCHER)).await, 160);
    assert_eq!(market.ledger.deferred_refund(account(RESEARCHER)).await.unwrap(), Amount::ZERO);
    let nothing = market.ledger.withdraw_deferred(account(RESEARCHER)).await;
    assert_eq!(refusal(nothing), "QueryEscrowNothingDeferred");
}

pub(crate) async fn a_settlement_needs_two_keyholders_who_signed_exactly_it(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let order = market.open(1, 100).await;
    let tree = earnings(&[(BIOBANK, 40)]);
    let good = market.settlement(order, 1, 40, &tree);
    let settle = async |signatures: &SettlementSignatures| market.ledger.settle_order(&good, signatures).await;
    let signed = |keyholders: &[u8]| market.endorse(&good, keyholders);

    assert_eq!(refusal(settle(&signed(&[])).await), BAD_EVIDENCE);
    assert_eq!(refusal(settle(&signed(&[2])).await), BAD_EVIDENCE);
    assert_eq!(refusal(settle(&signed(&[2, 2])).await), BAD_EVIDENCE, "one keyholder twice");
    assert_eq!(refusal(settle(&signed(&[3, 1])).await), BAD_EVIDENCE, "descending");
    let mut forged = signed(&[1, 2]);
    forged.0[1].1 = forged.0[0].1.clone();
    assert_eq!(refusal(settle(&forged).await), BAD_KEYHOLDER_SIGNATURE, "one keyholder under two numbers");
    let digest = market.contracts().settlement_signing_hash(&good);
    forged.0[1].1 = sign(&key(STRANGER), &digest);
    assert_eq!(refusal(settle(&forged).await), BAD_KEYHOLDER_SIGNATURE);
    forged.0[1].1 = high_form(&sign(&key(KEYHOLDERS[1]), &digest));
    assert_eq!(refusal(settle(&forged).await), BAD_KEYHOLDER_SIGNATURE, "a high s");
    let mut abroad = *market.contracts();
    abroad.network.chain_id += 1;
    forged.0[1].1 = sign(&key(KEYHOLDERS[1]), &abroad.settlement_signing_hash(&good));
    assert_eq!(refusal(settle(&forged).await), BAD_KEYHOLDER_SIGNATURE, "another chain");

    let changes: [(&str, fn(&mut Settlement)); 5] = [
        ("answer", |terms| terms.answer_digest = Digest32([9; 32])),
        ("cohort", |terms| terms.cohort_digest = Digest32([9; 32])),
        ("cohort size", |terms| terms.cohort_size += 1),
        ("price", |terms| terms.price = Amount(41)),
        ("payouts", |terms| terms.payout_root = Digest32([9; 32])),
    ];
    for (what, change) in changes {
        let mut changed = good;
        change(&mut changed);
        let outcome = market.ledger.settle_order(&changed, &signed(&[1, 2])).await;
        assert_eq!(refusal(outcome), BAD_KEYHOLDER_SIGNATURE, "{what}");
    }
    let rules: [(&str, fn(&mut Settlement)); 5] = [
        ("QueryEscrowPriceTooHigh", |terms| terms.price = Amount(101)),
        ("QueryEscrowBadSequence", |terms| terms.payout_sequence = 2),
        ("QueryEscrowCohortTooSmall", |terms| terms.cohort_size = 2),
        ("QueryEscrowBadSettlement", |terms| terms.payout_root = Digest32([0; 32])),
        ("QueryEscrowNotOpen", |terms| terms.order.0 = Digest32([9; 32])),
    ];
    for (name, change) in rules {
        let mut changed = good;
        change(&mut changed);
        assert_eq!(refusal(market.settle(&changed).await), name);
    }
    settle(&signed(&[1, 2, 3])).await.expect("settled");
}

pub(crate) async fn an_order_is_settled_once(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let (first, second) = (market.open(1, 100).await, market.open(2, 100).await);
    let tree = earnings(&[(BIOBANK, 40)]);
    let terms = market.settlement(first, 1, 40, &tree);
    market.settle(&terms).await.expect("settled");
    assert_eq!(refusal(market.settle(&terms).await), "QueryEscrowNotOpen", "the same");
    let again = market.settlement(first, 2, 40, &tree);
    assert_eq!(refusal(market.settle(&again).await), "QueryEscrowNotOpen", "with the next number");
    let reused = Settlement { order: second, ..terms };
    let signatures = market.endorse(&terms, &[1, 2]);
    assert_eq!(refusal(market.ledger.settle_order(&reused, &signatures).await), "QueryEscrowBadSequence");
    assert_eq!(market.balance(market.contracts().escrow).await, 140);
}

pub(crate) async fn a_payout_is_claimed_once_and_grows(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let ledger = &market.ledger;
    let first = earnings(&[(BIOBANK, 30), (PERSON, 10)]);
    let order = market.open(1, 100).await;
    market.settle(&market.settlement(order, 1, 40, &first)).await.expect("settled");
    let early = first.proof(account(BIOBANK)).unwrap();
    ledger.claim_payout(&early).await.expect("paid");
    assert_eq!(refusal(ledger.claim_payout(&early).await), "QueryEscrowNothingToClaim");

    let second = earnings(&[(BIOBANK, 80), (PERSON, 20)]);
    let order = market.open(2, 100).await;
    market.settle(&market.settlement(order, 2, 60, &second)).await.expect("settled");
    assert_eq!(refusal(ledger.claim_payout(&early).await), "QueryEscrowBadPayoutProof", "an old root");
    let mut inflated = second.proof(account(PERSON)).unwrap();
    inflated.cumulative = Amount(21);
    assert_eq!(refusal(ledger.claim_payout(&inflated).await), "QueryEscrowBadPayoutProof");
    let mut redirected = second.proof(account(PERSON)).unwrap();
    redirected.account = account(STRANGER);
    assert_eq!(refusal(ledger.claim_payout(&redirected).await), "QueryEscrowBadPayoutProof");

    ledger.claim_payout(&second.proof(account(BIOBANK)).unwrap()).await.expect("the difference is paid");
    ledger.claim_payout(&second.proof(account(PERSON)).unwrap()).await.expect("paid");
    assert_eq!((market.balance(account(BIOBANK)).await, market.balance(account(PERSON)).await), (80, 20));
    assert_eq!(ledger.claimed(account(BIOBANK)).await.unwrap(), Amount(80));
}

pub(crate) async fn claims_never_exceed_settled_prices(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let (cheap, _unsettled) = (market.open(1, 100).await, market.open(2, 1_000).await);
    // Two dishonest keyholders sign a root that pays more than the price.
    let greedy = earnings(&[(STRANGER, 500)]);
    market.settle(&market.settlement(cheap, 1, 10, &greedy)).await.expect("settled");
    let outcome = market.ledger.claim_payout(&greedy.proof(account(STRANGER)).unwrap()).await;
    assert_eq!(refusal(outcome), "QueryEscrowPoolExceeded");
    assert_eq!(market.balance(market.contracts().escrow).await, 1_010);
}

pub(crate) async fn a_contract_without_a_signature_method_signs_nothing(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let ledger = &market.ledger;
    let mut order = market.order(1, 100);
    // The token is a contract that answers no isValidSignature.
    order.researcher = market.contracts().token;
    let digest = market.contracts().order_signing_hash(&order);
    let signature = sign(&key(RESEARCHER), &digest);
    assert_eq!(refusal(ledger.open_order(&order, &signature, None).await), BAD_SIGNATURE);
    let valid = async |signer, digest: &Digest32| ledger.is_valid_signature(signer, digest, &signature).await.unwrap();
    assert!(!valid(order.researcher, &digest).await);
    assert!(valid(account(RESEARCHER), &digest).await);
    assert!(!valid(account(STRANGER), &digest).await);
    assert!(!valid(account(RESEARCHER), &Digest32([1; 32])).await);
    let unfunded: Result<_, LedgerError> = market.open_signed(&market.order(3, 100), None).await;
    assert_eq!(refusal(unfunded), "ERC20InsufficientAllowance");
}
