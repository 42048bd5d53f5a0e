//! A market whose orders settle on cohorts that are proven on the chain, with small circuits and real
//! proofs: what everybody gets from it, and what an aggregator cannot get past the keyholders.

use anyhow::{Context as _, Result};
use locus_client::{
    account_state,
    research::{self, AnswerError},
    revoke,
};
use locus_cohort::{RegisteredDataset, cohort_statement};
use locus_commitment::field::FieldBytes;
use locus_genomics::{Genotype, Panel};
use locus_ledger::{
    Chain, Cohort, CohortChoice, CohortEvidence, Ledger, Order, OrderId, ProvenRegistry, RegistrationId,
};
use locus_privacy::{Rho, Tier};
use locus_proofs::keys::KeyStore;
use locus_prover::{Circuits, CohortBook, CohortProver, MarketKeys, PanelMirror, ProvingTurn, RootProver};
use locus_sharing::KeyholderIndex;
use locus_tests::{Bought, Market, People, biomedical, first_variants, now_unix_s, question_of, small_floors};
use locus_wire::pb::{
    keyholder::{self as pb, proven_cohort::Blinding},
    query::AnswerRecord,
};
use std::{collections::BTreeMap, sync::Arc};
use tonic::Code;

const PEOPLE: u32 = 30;
const VARIANTS: u32 = 40;
const DAY_S: u64 = 86_400;

/// A market with proofs where the biobank has enrolled made-up people.
async fn market() -> Result<(Market, People, Arc<Panel>)> {
    let market = Market::start_proven(small_floors()).await?;
    let people = People { missing: true, ..People::new(PEOPLE, VARIANTS, 7) };
    let input = market.read_people("people", &people)?;
    let mut terms = locus_tests::terms(&input.panel)?;
    // Whatever the time of day, the offer holds to the end of this one.
    terms.expiry_unix_s = now_unix_s() + 2 * DAY_S;
    market.enrol_on_terms(&market.biobank, &input, terms).await?;
    Ok((market, people, input.panel))
}

async fn buy_exact(market: &Market, panel: &Panel) -> Result<Bought> {
    let question = biomedical(first_variants(panel, VARIANTS)?, Tier::Exact, Rho::ZERO);
    let quote = market.quote(panel, &market.researcher, &question).await?;
    market.buy_as(&market.researcher, panel, &question, quote.price).await
}

async fn registry(market: &Market) -> Result<ProvenRegistry> {
    let ledger = Ledger::open(Chain::embedded(market.node.chain().clone(), None), *market.node.contracts()).await?;
    Ok(ProvenRegistry::open(ledger).await?)
}

async fn is_proven(market: &Market, order: &Order, evidence: &CohortEvidence) -> Result<bool> {
    let statement = cohort_statement(order, evidence).context("a purpose")?;
    let id = locus_ledger::cohort_id(&statement, &evidence.cohort);
    Ok(registry(market).await?.is_cohort_proven(&id).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_settle_on_a_proven_cohort_whose_ciphertexts_open_what_it_commits_to() -> Result<()> {
    let (market, people, panel) = market().await?;
    assert!(market.network.settles_on_cohorts());
    let bought = buy_exact(&market, &panel).await?;
    for (variant, row) in (0..).zip(bought.opened.rows()) {
        assert_eq!(row.het, people.count(variant, Genotype::Het), "variant {variant}");
    }
    let evidence = bought.verified.cohort().context("the order settled on a proven cohort")?;
    assert_eq!(evidence.cohort.size, u64::from(PEOPLE));
    let order = bought.verified.order();
    assert!(is_proven(&market, order, evidence).await?);
    let none = CohortEvidence { cohort: Cohort { size: 29, ..evidence.cohort }, ..*evidence };
    assert!(!is_proven(&market, order, &none).await?, "control: not every cohort is proven");
    let earned = account_state(&market.services, market.biobank.keys.address()).await?.earned;
    assert_eq!(earned, bought.verified.settlement().price);

    // The same question again settles on the same cohort, without another proof.
    let again = buy_exact(&market, &panel).await?;
    assert_eq!(again.verified.cohort(), Some(evidence));
    check_openings(&market, &panel, &bought).await?;

    // Five people leave: the next cohort is proven without them.
    let left = RegistrationId(1);
    revoke(&market.services, &market.network, &market.biobank.keys, left, &[3, 4, 5, 6, 29], now_unix_s()).await?;
    let fewer = buy_exact(&market, &panel).await?;
    assert_eq!(fewer.verified.cohort().map(|evidence| evidence.cohort.size), Some(u64::from(PEOPLE) - 5));
    Ok(())
}

/// The sums that come with an answer open its cohort's commitment, and changed ones do not.
async fn check_openings(market: &Market, panel: &Panel, bought: &Bought) -> Result<()> {
    let file = market.scratch().join("opened.answer");
    let mut record = bought.record.clone();
    assert!(!research::verify_answer(&record, panel, &market.network)?.is_cohort_opened());
    let progress = locus_client::NoProgress;
    research::fetch_cohort_sums(&market.services, panel, &mut record, &file, &progress).await?;
    assert_eq!(research::load_record(&file)?, record);
    assert!(research::verify_answer(&record, panel, &market.network)?.is_cohort_opened());
    let refused = |change: &dyn Fn(&mut AnswerRecord)| {
        let mut changed = record.clone();
        change(&mut changed);
        let verified = research::verify_answer(&changed, panel, &market.network);
        assert!(matches!(verified, Err(locus_client::ClientError::Answer(AnswerError::CohortSums(_)))), "{verified:?}");
    };
    let flip = |bytes: &mut bytes::Bytes, place: usize| {
        let mut changed = bytes.to_vec();
        changed[place] ^= 1;
        *bytes = changed.into();
    };
    refused(&|record| flip(&mut record.cohort_sums[0].words, 8 * 4095));
    refused(&|record| flip(&mut record.cohort_sums[1].carries, 0));
    refused(&|record| drop(record.cohort_sums.pop()));
    refused(&|record| record.cohort_sums.swap(0, 1));
    // The sum that was answered, exchanged for another one in both places.
    refused(&|record| {
        flip(&mut record.blocks[0].planes[0].body_sum, 0);
        flip(&mut record.cohort_sums[0].words, 0);
    });
    refused(&|record| flip(&mut record.blocks[0].planes[0].body_sum, 0));
    Ok(())
}

/// What an aggregator of its own makes can prove: any cohort that consents.
struct Proofs {
    cohorts: CohortProver,
    sequence: u64,
}

impl Proofs {
    async fn open(market: &Market, panel: &Panel) -> Result<Self> {
        let folder = market.scratch().join("proof-keys");
        let store = KeyStore::new(&folder);
        let keys = MarketKeys::development(&store, Circuits::small()?, |_| ())?;
        let operator = locus_ledger::read_key_file(&market.data_dir().join("operator.key"))?;
        let chain = Chain::embedded(market.node.chain().clone(), Some(&operator));
        let registry = ProvenRegistry::open(Ledger::open(chain, *market.node.contracts()).await?).await?;
        let mirror = Arc::new(PanelMirror::new(registry, panel.digest(), keys.circuits().depth()));
        let (turn, circuits) = (ProvingTurn::default(), keys.circuits());
        let update = Arc::new(keys.update_proving_key(&store)?);
        let roots = RootProver::new(mirror.clone(), circuits.update(), update, turn.clone());
        let head = u64::MAX;
        let sequence = roots.advance_to(head, |_| ()).await?.sequence;
        let cohort = Arc::new(keys.cohort_proving_key(&store)?);
        let cohorts = CohortProver::new(mirror, circuits.cohort(), cohort, turn, CohortBook::in_memory()?);
        Ok(Self { cohorts, sequence })
    }

    /// A proven cohort of these people of the biobank's registration.
    async fn prove(&self, order: &Order, ordinals: impl Iterator<Item = u32>) -> Result<pb::ProvenCohort> {
        let day = u16::try_from(now_unix_s() / DAY_S)?;
        let (sequence, price_max_units) = (self.sequence, 1_000_000);
        let choice = CohortChoice { sequence, day, accredited_only: false, proven_only: false, price_max_units };
        let mut evidence = CohortEvidence { choice, researcher_accredited: false, cohort: Cohort::empty() };
        let statement = cohort_statement(order, &evidence).context("a purpose")?;
        let datasets = ordinals.map(|ordinal| RegisteredDataset { registration: RegistrationId(1), ordinal });
        let proven = self.cohorts.prove(&statement, &datasets.collect::<Vec<_>>(), |_, _| ()).await?;
        evidence.cohort = proven.cohort();
        let blinding = |(shard, blinding): (u32, FieldBytes)| Blinding { shard, blinding: blinding.0.to_vec().into() };
        Ok(pb::ProvenCohort {
            evidence: Some((&evidence).into()),
            shard_groups: 16,
            blindings: proven.blindings.into_iter().map(blinding).collect(),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keyholders_release_nothing_before_the_cohort_that_they_counted_is_proven() -> Result<()> {
    let (market, _, panel) = market().await?;
    let proofs = Proofs::open(&market, &panel).await?;
    let question = biomedical(first_variants(&panel, VARIANTS)?, Tier::Exact, Rho::ZERO);
    let price = market.quote(&panel, &market.researcher, &question).await?.price;
    let placed = market.place(&market.researcher, &question, price).await?;
    let asked = question_of(&market.researcher, &placed);
    let order = placed_order(&market, &placed.record, &panel)?;
    let mut preparations = Vec::new();
    for keyholder in KeyholderIndex::ALL {
        preparations.push(market.prepare(keyholder, &asked).await?);
    }
    let mut commitments = Vec::new();
    for keyholder in KeyholderIndex::ALL {
        commitments.push(market.commit(keyholder, &asked, &preparations).await?);
    }
    let everybody = proofs.prove(&order, 0..PEOPLE).await?;
    let fewer = proofs.prove(&order, 1..PEOPLE).await?;
    let changed = |change: &dyn Fn(&mut pb::ProvenCohort)| {
        let mut cohort = everybody.clone();
        change(&mut cohort);
        Some(cohort)
    };
    let sums = |cohort: &mut pb::ProvenCohort| cohort.evidence.clone().unwrap_or_default();
    let cases: BTreeMap<&str, Option<pb::ProvenCohort>> = BTreeMap::from([
        ("no cohort", None),
        ("a cohort without one of them", Some(fewer.clone())),
        ("that cohort, called as large as this one", {
            let mut cohort = fewer.clone();
            let evidence = everybody.evidence.clone().context("there")?;
            let named = cohort.evidence.as_mut().context("there")?;
            (named.size, named.total_price_units) = (evidence.size, evidence.total_price_units);
            Some(cohort)
        }),
        ("another blinding", changed(&|cohort| cohort.blindings[0].blinding = vec![1; 32].into())),
        ("other shards", changed(&|cohort| cohort.shard_groups = 256)),
        (
            "a price that was not proven",
            changed(&|cohort| {
                let evidence = sums(cohort);
                cohort.evidence = Some(locus_wire::pb::exchange::CohortEvidence { price_max_units: 7, ..evidence });
            }),
        ),
        (
            "another root",
            changed(&|cohort| {
                let evidence = sums(cohort);
                cohort.evidence = Some(locus_wire::pb::exchange::CohortEvidence { root_sequence: 0, ..evidence });
            }),
        ),
        (
            "an accredited researcher",
            changed(&|cohort| {
                let evidence = sums(cohort);
                cohort.evidence =
                    Some(locus_wire::pb::exchange::CohortEvidence { researcher_accredited: true, ..evidence });
            }),
        ),
    ]);
    for (case, cohort) in cases {
        for keyholder in KeyholderIndex::ALL {
            let released = market.release_on(keyholder, &asked, &commitments, 1, cohort.clone()).await;
            let status = released.err().with_context(|| format!("{case}: keyholder {keyholder} released"))?;
            assert_eq!(status.code(), Code::FailedPrecondition, "{case}: {status}");
        }
    }
    // Control: the cohort that they counted.
    for keyholder in KeyholderIndex::ALL {
        let (_, signed) = market.release_on(keyholder, &asked, &commitments, 1, Some(everybody.clone())).await?;
        assert!(signed);
    }
    Ok(())
}

fn placed_order(market: &Market, record: &AnswerRecord, panel: &Panel) -> Result<Order> {
    let order = record.order.as_ref().context("an order")?;
    let order = Order::try_from(order)?;
    assert_eq!(order.panel, panel.digest());
    assert_eq!(
        OrderId(locus_ledger::order_id(&order).0),
        OrderId(record.order_id.as_ref().try_into().map(locus_commitment::Digest32)?)
    );
    assert_eq!(order.researcher, market.researcher.keys.address());
    Ok(order)
}
