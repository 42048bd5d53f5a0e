//! Orders that are not what was signed, paid or permitted, and answers of others.

use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use locus_client::{
    ClientError, Network, OfferTerms, account_state,
    research::{AnswerError, PlacedOrder, Question, answer_request, open_answer},
    statement,
};
use locus_commitment::{Address, Digest32, NetworkId};
use locus_genomics::{Declarations, Panel, Purpose, PurposeCode, VariantSelection};
use locus_ledger::{
    Amount, Audience, Order, RegistrationId, RequestTerms, TierSet, answer_request_hash, statement_request_hash,
};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_service::{Clock, reason_of};
use locus_sharing::{KeyholderIndex, SharingError};
use locus_tests::{
    Market, Party, People, ask, biomedical, first_variants, now_unix_s, question_of, small_floors, terms,
};
use locus_wire::{
    convert::NetworkInfo,
    pb::{
        exchange::{OpenOrderRequest, OrderState},
        keyholder::GetStatementRequest,
        query::AnswerQueryRequest,
    },
};
use std::{collections::BTreeSet, ops::Range, sync::Arc};
use tonic::{Code, Status};

struct Scene {
    market: Market,
    panel: Arc<Panel>,
    registration: RegistrationId,
    question: Question,
}

/// Enough for two open answers a person.
fn two_answers() -> NetworkParameterValues {
    NetworkParameterValues { rho_year_max: Rho::from_nano(20_001_000), ..small_floors() }
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(two_answers()).await?;
        let input = market.read_people("everyone", &People::new(24, 60, 61))?;
        let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
        let question = biomedical(first_variants(&input.panel, 20)?, Tier::Open, "0.01".parse()?);
        Ok(Self { panel: input.panel.clone(), market, registration: batch.registration, question })
    }

    fn draft(&self, nonce: u64) -> Order {
        self.market.draft(&self.market.researcher, &self.question, Amount(10_u128.pow(18)), nonce)
    }

    async fn signed(&self, order: &Order) -> Result<OpenOrderRequest> {
        self.market.sign(&self.market.researcher, &self.market.network, order).await
    }

    async fn open(&self, request: OpenOrderRequest) -> Result<(), Status> {
        self.market.services.exchange.clone().open_order(request).await.map(drop)
    }

    /// Sends a request for an answer as it is, and reads the answer to its end.
    async fn request_answer(&self, request: AnswerQueryRequest) -> Result<(), Status> {
        let mut stream = self.market.services.query.clone().answer_query(request).await?.into_inner();
        while stream.message().await?.is_some() {}
        Ok(())
    }

    async fn balance(&self) -> Result<u128> {
        Ok(account_state(&self.market.services, self.market.researcher.keys.address()).await?.balance.0)
    }
}

fn check(name: &str, result: Result<(), Status>, expected: &str) -> Result<()> {
    let status = result.err().with_context(|| format!("{name} was accepted"))?;
    let reason = reason_of(&status).unwrap_or_default();
    ensure!(reason == expected, "{name}: {reason} instead of {expected}: {}", status.message());
    Ok(())
}

/// A change of an order before it is signed, and the word with which it is refused.
type Spoiled = (&'static str, &'static str, fn(&mut Order));

const SPOILED: &[Spoiled] = &[
    ("an expired order", "DEADLINE", |order| order.deadline_unix_s = now_unix_s() - 1),
    ("an order that lasts for ever", "DEADLINE", |order| order.deadline_unix_s = u64::MAX),
    ("more privacy loss than the tier allows", "RHO", |order| order.rho = Rho::from_nano(10_000_001)),
    ("an unpublished panel", "PANEL_UNKNOWN", |order| order.panel = locus_genomics::PanelDigest([7; 32])),
    ("no price", "ORDER", |order| order.max_price = Amount::ZERO),
    ("more money than there is", "BALANCE", |order| order.max_price = Amount(2_000_000 * 10_u128.pow(18))),
    ("no selection", "ORDER", |order| order.selection_digest = Digest32([0; 32])),
    ("no key to seal to", "ORDER", |order| order.hpke_key_digest = Digest32([0; 32])),
];

/// Changes of an order after it was signed.
const TAMPERED: &[(&str, fn(&mut Order))] = &[
    ("another selection", |order| order.selection_digest.0[0] ^= 1),
    ("another predicate", |order| order.predicate_digest.0[31] ^= 1),
    ("another purpose", |order| order.purpose ^= 3),
    ("another condition", |order| order.condition_digest.0[5] ^= 1),
    ("another tier", |order| order.tier = Tier::Vetted),
    ("less privacy loss", |order| order.rho = Rho::from_nano(1_000_000)),
    ("another price", |order| order.max_price = Amount(2 * 10_u128.pow(18))),
    ("another key", |order| order.hpke_key_digest.0[9] ^= 1),
    ("another deadline", |order| order.deadline_unix_s += 1),
    ("another nonce", |order| order.nonce += 1),
    ("another buyer", |order| order.researcher = Address([5; 20])),
];

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_expired_tampered_with_or_signed_for_another_market_are_refused() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let balance = scene.balance().await?;
    for &(name, expected, change) in SPOILED {
        let mut order = scene.draft(1);
        change(&mut order);
        check(name, scene.open(scene.signed(&order).await?).await, expected)?;
    }
    for &(name, change) in TAMPERED {
        let mut order = scene.draft(1);
        let mut request = scene.signed(&order).await?;
        change(&mut order);
        request.order = Some((&order).into());
        check(name, scene.open(request).await, "BAD_SIGNATURE")?;
    }

    // Signed for another chain, another registry's market, another escrow.
    let order = scene.draft(1);
    let honest = scene.signed(&order).await?;
    let other_markets: [fn(&mut NetworkInfo); 2] =
        [|info| info.contracts.network.chain_id += 1, |info| info.contracts.escrow = Address([6; 20])];
    for change in other_markets {
        let mut info = market.network.info().clone();
        change(&mut info);
        let elsewhere = Network::try_new(info)?;
        let signed = market.sign(&market.researcher, &elsewhere, &order).await?;
        let request = OpenOrderRequest { permit: honest.permit.clone(), ..signed };
        check("signed for another market", scene.open(request).await, "BAD_SIGNATURE")?;
    }
    // By somebody else; in the high form; cut short; and another kind of message.
    let stranger = market.sign(&market.biobank, &market.network, &order).await?;
    let request = OpenOrderRequest { signature: stranger.signature.clone(), ..honest.clone() };
    check("signed by a stranger", scene.open(request).await, "BAD_SIGNATURE")?;
    let request = OpenOrderRequest { signature: high_form(&honest.signature)?, ..honest.clone() };
    check("a signature in the high form", scene.open(request).await, "BAD_SIGNATURE")?;
    let request = OpenOrderRequest { signature: honest.signature.slice(..64), ..honest.clone() };
    check("a signature cut short", scene.open(request).await, "BAD_SIGNATURE")?;
    let permit = honest.permit.clone().context("a permit")?;
    let request = OpenOrderRequest { signature: permit.signature.clone(), ..honest.clone() };
    check("the permit's signature", scene.open(request).await, "BAD_SIGNATURE")?;
    // A permit for less than the price, or of somebody else.
    let mut cheaper = permit.clone();
    cheaper.value = "1".to_owned();
    let request = OpenOrderRequest { permit: Some(cheaper), ..honest.clone() };
    check("a permit for less", scene.open(request).await, "ALLOWANCE")?;
    let request = OpenOrderRequest { permit: stranger.permit, ..honest.clone() };
    check("a permit of a stranger", scene.open(request).await, "ALLOWANCE")?;
    assert_eq!(scene.balance().await?, balance, "nothing was paid");

    // The control is accepted, once.
    scene.open(honest.clone()).await?;
    check("a replay", scene.open(honest).await, "ORDER_EXISTS")?;
    assert_eq!(scene.balance().await?, balance - 10_u128.pow(18));
    Ok(())
}

/// The other signature that the same key and digest admit: s becomes n - s and v flips.
fn high_form(signature: &[u8]) -> Result<bytes::Bytes> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae,
        0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
    ];
    let mut high = signature.to_vec();
    ensure!(high.len() == 65, "r, s and v");
    let mut borrow = false;
    for place in (0..32).rev() {
        let (first, under) = ORDER[place].overflowing_sub(high[32 + place]);
        let (digit, under_again) = first.overflowing_sub(u8::from(borrow));
        borrow = under || under_again;
        high[32 + place] = digit;
    }
    high[64] ^= 27 ^ 28;
    Ok(high.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_four_submissions_at_once_exactly_one_wins() -> Result<()> {
    let scene = Scene::set().await?;
    let balance = scene.balance().await?;
    let request = scene.signed(&scene.draft(1)).await?;
    let results = join_all((0..64).map(|_| scene.open(request.clone()))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for status in results.into_iter().filter_map(Result::err) {
        assert_eq!(status.code(), Code::AlreadyExists, "{}", status.message());
    }
    assert_eq!(scene.balance().await?, balance - 10_u128.pow(18), "paid once");

    // Different orders that spend one permit.
    let mut requests = Vec::new();
    for nonce in 2..66 {
        requests.push(scene.signed(&scene.draft(nonce)).await?);
    }
    let results = join_all(requests.into_iter().map(|request| scene.open(request))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert_eq!(scene.balance().await?, balance - 2 * 10_u128.pow(18), "one permit pays one order");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_is_taken_once_in_its_time_and_for_what_it_says() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let (here, now) = (market.network.id(), now_unix_s());
    let abroad = NetworkId { chain_id: here.chain_id + 1, ..here };
    let sign = |party: &Party, digest: Digest32| -> Result<bytes::Bytes> {
        Ok(party.keys.account().sign_digest(&digest)?.to_bytes().to_vec().into())
    };
    let terms = |deadline_unix_s| RequestTerms { deadline_unix_s, nonce: [9; 32] };

    // Answers, which only the order's researcher fetches.
    let placed = market.place(&market.researcher, &scene.question, "1".parse()?).await?;
    let honest = answer_request(&market.researcher.keys, &placed)?;
    let request = |party: &Party, network: &NetworkId, deadline_unix_s: u64| -> Result<AnswerQueryRequest> {
        let terms = terms(deadline_unix_s);
        let signature = sign(party, answer_request_hash(network, &placed.order_id, &terms))?;
        Ok(AnswerQueryRequest { deadline_unix_s, nonce: terms.nonce.to_vec().into(), signature, ..honest.clone() })
    };
    let researcher = &market.researcher;
    for (name, request, expected) in [
        ("a request of the past", request(researcher, &here, now - 3_600)?, "REQUEST_EXPIRED"),
        ("a request of the far future", request(researcher, &here, now + 3_600)?, "REQUEST_TOO_LONG"),
        ("a request to another market", request(researcher, &abroad, now + 60)?, "NOT_RESEARCHER"),
        ("a stranger's request", request(&market.biobank, &here, now + 60)?, "NOT_RESEARCHER"),
        ("a later deadline", AnswerQueryRequest { deadline_unix_s: now + 250, ..honest.clone() }, "NOT_RESEARCHER"),
    ] {
        check(name, scene.request_answer(request).await, expected)?;
    }
    // Control: as the client signs it, it is taken.
    scene.request_answer(honest.clone()).await?;
    check("a repeated request", scene.request_answer(honest).await, "REQUEST_REPEATED")?;

    // Statements, which only the registrant gets, from the keyholder named in the request.
    let (first, second) = (KeyholderIndex::ALL[0], KeyholderIndex::ALL[1]);
    let terms = terms(now + 60);
    let statement_of = |ordinal| statement_request_hash(&here, scene.registration, ordinal, first.get(), &terms);
    let request = |party: &Party, digest: Digest32| -> Result<GetStatementRequest> {
        Ok(GetStatementRequest {
            registration_id: scene.registration.0,
            ordinal: 3,
            deadline_unix_s: terms.deadline_unix_s,
            signature: sign(party, digest)?,
            nonce: terms.nonce.to_vec().into(),
        })
    };
    let state = async |keyholder: KeyholderIndex, request: GetStatementRequest| {
        market.services.keyholders[keyholder.position()].clone().get_statement(request).await.map(drop)
    };
    let honest = request(&market.biobank, statement_of(3))?;
    let other_method = answer_request_hash(&here, &placed.order_id, &terms);
    for (name, keyholder, request) in [
        ("a statement of another keyholder", second, honest.clone()),
        ("a statement of another dataset", first, request(&market.biobank, statement_of(4))?),
        ("a stranger's statement", first, request(&market.clinic, statement_of(3))?),
        ("a request for an answer", first, request(&market.biobank, other_method)?),
    ] {
        check(name, state(keyholder, request).await, "NOT_REGISTRANT")?;
    }
    // Control, and once only.
    state(first, honest.clone()).await?;
    check("a repeated statement", state(first, honest).await, "REQUEST_REPEATED")
}

/// Places an order and has it refused.
async fn refused(scene: &Scene, party: &Party, question: &Question, max_price: &str, words: &str) -> Result<()> {
    let market = &scene.market;
    let placed = market.place(party, question, max_price.parse()?).await?;
    let answer = ask(&market.services.query, &placed, party, &question_of(party, &placed)).await;
    let status = answer.err().with_context(|| format!("answered, not refused with {words:?}"))?;
    assert_eq!(reason_of(&status).as_deref(), Some("COHORT_REFUSED"), "{}", status.message());
    assert!(status.message().contains(words), "{}", status.message());
    let request = locus_wire::pb::exchange::GetOrderRequest { order_id: placed.record.order_id.clone() };
    let order = market.services.exchange.clone().get_order(request).await?.into_inner();
    assert_eq!(order.state(), OrderState::Open, "a refused order can be refunded");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_outside_of_the_contributors_terms_are_not_answered_and_cost_nobody_privacy() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let researcher = &market.researcher;
    let with_purpose = |code| {
        let purpose = Purpose { code, declarations: Declarations::NONE };
        Question { purpose, ..scene.question.clone() }
    };
    refused(&scene, researcher, &scene.question, "0.23", "above the order's maximum").await?;
    refused(&scene, researcher, &with_purpose(PurposeCode::ClinicalCare), "1", "purpose not permitted").await?;
    let vetted = Question { tier: Tier::Vetted, ..scene.question.clone() };
    refused(&scene, researcher, &vetted, "1", "buyer not admitted").await?;

    // Another cohort, offered to the biobank alone, noisy answers only, and not all panel blocks.
    let other = market.read_people("others", &People::new(24, 4_100, 67))?;
    let mut narrow = terms(&other.panel)?;
    narrow.audience = Audience::Named(BTreeSet::from([market.biobank.keys.address()]));
    narrow.tiers = TierSet::of(&[Tier::Open]);
    narrow.blocks = 0..1;
    let batch = market.enrol_on_terms(&market.clinic, &other, narrow).await?.pop().context("a batch")?;
    let first_block: &[Range<u32>] = std::slice::from_ref(&(0..5));
    let ask_other = |ranges: &[Range<u32>], tier, rho| -> Result<Question> {
        let selection = VariantSelection::try_from_ranges(other.panel.digest(), 4_100, ranges.to_vec())?;
        Ok(biomedical(selection, tier, rho))
    };
    let open = |ranges| ask_other(ranges, Tier::Open, Rho::from_nano(10_000_000));
    let buyer = market.funded_party("buyer").await?;
    refused(&scene, &buyer, &open(first_block)?, "1", "buyer not admitted").await?;
    locus_client::mint_test_tokens(&market.services, market.biobank.keys.address(), "10".parse()?).await?;
    refused(&scene, &market.biobank, &ask_other(first_block, Tier::Exact, Rho::ZERO)?, "1", "tier not offered").await?;
    refused(&scene, &market.biobank, &open(&[0..5, 4_085..4_090])?, "1", "panel blocks not offered").await?;

    // Nobody was charged; the question that the terms admit is answered.
    for (party, registration) in [(&market.biobank, scene.registration), (&market.clinic, batch.registration)] {
        let keys = &party.keys;
        let spent = statement(&market.services, &market.network, keys, registration, 0, now_unix_s()).await?;
        assert_eq!((spent.uses.len(), spent.budget.spent_lifetime), (0, Rho::ZERO));
    }
    let admitted = market.buy_as(&market.biobank, &other.panel, &open(first_block)?, "1".parse()?).await?;
    assert_eq!(admitted.opened.cohort_size(), 24);
    Ok(())
}

/// Cohort sizes that the keyholders commit to for an order, each by its own account.
async fn sizes(market: &Market, placed: &PlacedOrder) -> Result<Vec<u32>> {
    let asked = question_of(&market.researcher, placed);
    let (mut prepared, mut sizes) = (Vec::new(), Vec::new());
    for keyholder in KeyholderIndex::ALL {
        prepared.push(market.prepare(keyholder, &asked).await?);
    }
    for keyholder in KeyholderIndex::ALL {
        sizes.push(market.commit(keyholder, &asked, &prepared).await?.cohort_size);
    }
    Ok(sizes)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_whose_offer_has_expired_since_it_was_posted_are_left_out_by_every_keyholder() -> Result<()> {
    const LASTS_S: u64 = 600;
    let clock = Clock::manual(now_unix_s());
    let market = Market::start_changed(|config| {
        config.parameters = small_floors();
        config.clock = clock.clone();
    })
    .await?;
    let people = People::new(24, 40, 61);
    let staying = market.read_people("everyone", &people)?;
    market.enrol(&market.biobank, &staying).await?;
    let panel = &staying.panel;
    let leaving = market.read_more_people("leaving", &people.next(30), panel)?;
    let short = OfferTerms { expiry_unix_s: clock.now_unix_s() + LASTS_S, ..terms(panel)? };
    market.enrol_on_terms(&market.clinic, &leaving, short).await?;
    let question =
        |variants| Ok::<_, anyhow::Error>(biomedical(first_variants(panel, variants)?, Tier::Open, "0.01".parse()?));
    let order = async |variants| market.place(&market.researcher, &question(variants)?, "1".parse()?).await;

    // Control: until the last second they are asked and counted.
    clock.advance(LASTS_S - 1);
    let paid_in_time = order(10).await?;
    assert_eq!(sizes(&market, &order(11).await?).await?, [54; 3]);
    clock.advance(1);
    assert_eq!(sizes(&market, &order(12).await?).await?, [24; 3]);
    let quote = market.quote(panel, &market.researcher, &question(13)?).await?;
    assert_eq!((quote.cohort_size, quote.excluded), (24, vec![("offer expired".to_owned(), 30)]));
    // What counts is when the order was paid.
    assert_eq!(sizes(&market, &paid_in_time).await?, [54; 3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_whose_budget_is_spent_are_not_asked_again_but_old_answers_stay() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let question = |count| -> Result<Question> {
        Ok(Question { selection: first_variants(&scene.panel, count)?, ..scene.question.clone() })
    };
    let buy = async |question: &Question| market.buy_as(&market.researcher, &scene.panel, question, "1".parse()?).await;
    let first = buy(&question(20)?).await?;
    buy(&question(21)?).await?;
    refused(&scene, &market.researcher, &question(22)?, "1", "no dataset").await?;
    // The first question has been paid for with privacy already.
    assert_eq!(buy(&question(20)?).await?.content(), first.content());
    let keys = &market.biobank.keys;
    let spent = statement(&market.services, &market.network, keys, scene.registration, 5, now_unix_s()).await?;
    assert_eq!(spent.budget.spent_lifetime, Rho::from_nano(2 * 10_000_120));
    assert_eq!(spent.uses.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_of_no_use_to_anyone_but_its_buyer() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let thief = market.funded_party("thief").await?;
    let bought = market.buy_as(&market.researcher, &scene.panel, &scene.question, "1".parse()?).await?;
    let placed = &bought.placed;
    // The thief's signature is not the researcher's, and under the thief's own key the order is not the one that
    // was signed.
    for (signer, reason) in [(&thief, "NOT_RESEARCHER"), (&market.researcher, "ORDER_MISMATCH")] {
        let answer = ask(&market.services.query, placed, signer, &question_of(&thief, placed)).await;
        let status = answer.err().context("answered")?;
        assert_eq!(reason_of(&status).as_deref(), Some(reason), "{}", status.message());
    }
    for keyholder in &market.services.keyholders {
        let question = Some(question_of(&thief, placed));
        let request = locus_wire::pb::keyholder::PrepareAnswerRequest { question };
        let status = keyholder.clone().prepare_answer(request).await.err().context("prepared")?;
        assert_eq!(reason_of(&status).as_deref(), Some("ORDER_MISMATCH"), "{}", status.message());
    }
    // Whoever sees the sealed bytes on their way does not open them.
    let stolen =
        ask(&market.services.query, placed, &market.researcher, &question_of(&market.researcher, placed)).await?;
    assert_eq!(stolen, bought.record);
    let opened = open_answer(&stolen, &scene.panel, &market.network, thief.keys.sealing_key());
    assert!(matches!(opened, Err(ClientError::Answer(AnswerError::OtherKey { .. }))));
    // Not even as the answer to an order of the thief's own about the same question.
    let own = market.buy_as(&thief, &scene.panel, &scene.question, "1".parse()?).await?;
    let mut grafted = own.record.clone();
    grafted.blocks = stolen.blocks.clone();
    let opened = open_answer(&grafted, &scene.panel, &market.network, thief.keys.sealing_key());
    assert!(matches!(opened, Err(ClientError::Sharing(SharingError::Open))), "{:?}", opened.err());
    assert_eq!(own.content(), bought.content(), "who pays gets the same counts");
    Ok(())
}
