//! An aggregator has a filtered answer released, keeps the settlement to itself, and asks again when somebody has left:
//! two answers to one order would be paid once, and differ by those who left.

use anyhow::{Context as _, Result, ensure};
use locus_client::{enrol::EnrolInput, research::PlacedOrder, revoke};
use locus_ledger::RegistrationId;
use locus_phenotype::Predicate;
use locus_privacy::{Rho, Tier};
use locus_service::reason_of;
use locus_sharing::KeyholderIndex;
use locus_tests::{
    Market, People, about, filter_of, first_variants, made_up_input, made_up_schema, now_unix_s, question_of,
    selected_counts, small_floors,
};
use locus_wire::pb::keyholder as pb;
use std::ops::Range;
use tonic::Status;

const SELECTED: &str = "(sex = 'F' or HP:0000819) and age >= 40";
/// More rounds than any filter of the test has.
const NEVER: u32 = 100;

struct Scene {
    market: Market,
    people: People,
    input: EnrolInput,
    registration: RegistrationId,
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(small_floors()).await?;
        let people = People::new(150, 5, 89);
        let input = market.read_people("everyone", &people)?;
        let registration = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?.registration;
        market.add_attributes(&market.biobank, registration, &made_up_input(&people)?).await?;
        Ok(Self { market, people, input, registration })
    }

    /// An order for exact counts of the first variants.
    async fn order(&self, variants: u32) -> Result<(PlacedOrder, pb::Question)> {
        let filter = filter_of(&[SELECTED], &made_up_schema()?)?;
        let question = about(filter, first_variants(&self.input.panel, variants)?, Tier::Exact, Rho::ZERO);
        let placed = self.market.place(&self.market.researcher, &question, "5".parse()?).await?;
        let asked = question_of(&self.market.researcher, &placed);
        Ok((placed, asked))
    }

    /// As many people leave as exact answers must differ by.
    async fn leave(&self, ordinals: Range<u32>) -> Result<()> {
        let Market { services, network, biobank, .. } = &self.market;
        let left: Vec<u32> = ordinals.collect();
        revoke(services, network, &biobank.keys, self.registration, &left, now_unix_s()).await?;
        Ok(())
    }

    /// Everything that all keyholders let go of.
    async fn release_all(
        &self,
        asked: &pb::Question,
        commitments: &[pb::AnswerCommitment],
    ) -> Result<Vec<pb::ReleasedShare>, Status> {
        let mut released = Vec::new();
        for keyholder in KeyholderIndex::ALL {
            released.extend(self.market.release(keyholder, asked, commitments, 1).await?.0);
        }
        Ok(released)
    }
}

fn sizes(commitments: &[pb::AnswerCommitment]) -> Vec<u32> {
    commitments.iter().map(|commitment| commitment.cohort_size).collect()
}

fn check_refused<T>(what: &str, outcome: Result<T, Status>, reason: &str) -> Result<()> {
    let status = outcome.err().with_context(|| format!("{what} was taken"))?;
    ensure!(reason_of(&status).as_deref() == Some(reason), "{what}: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_released_is_what_is_released_again_when_the_cohort_has_changed() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let (_, asked) = scene.order(5).await?;
    let stale = market.prepare_all(&asked).await?;
    let whole = market.evaluate_until(&asked, &stale, NEVER).await?.commitments;
    ensure!(sizes(&whole) == [150; 3]);
    // Nothing has left, so the same lists give the same answer without a computation.
    ensure!(market.prepare_all(&asked).await? == stale);

    // Control: while nothing has left, the order is answered anew without those who leave, and only so.
    scene.leave(0..5).await?;
    let prepared = market.prepare_all(&asked).await?;
    check_refused("a forgotten answer", scene.release_all(&asked, &whole).await, "STEP_MISSING")?;
    let mut committed = market.evaluate_until(&asked, &prepared, NEVER).await?.commitments;
    committed.sort_by_key(|commitment| commitment.keyholder);
    ensure!(sizes(&committed) == [145; 3], "another cohort is counted");
    let released = scene.release_all(&asked, &committed).await?;

    // From now on there is no other answer, whoever leaves.
    scene.leave(5..10).await?;
    ensure!(market.prepare_all(&asked).await? == prepared);
    let mut again = market.evaluate_until(&asked, &prepared, NEVER).await?;
    again.commitments.sort_by_key(|commitment| commitment.keyholder);
    ensure!(again.pieces.is_empty() && again.commitments == committed, "an answer that left is told, not computed");
    check_refused("another attempt", market.evaluate_until(&asked, &stale, NEVER).await, "KEYHOLDERS_DISAGREE")?;
    ensure!(scene.release_all(&asked, &committed).await? == released, "the same bytes");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_one_keyholder_released_is_finished_or_the_order_has_none() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let first = KeyholderIndex::ALL[0];

    // The aggregator stops after the first release, and another one, which kept nothing of it, finishes the answer.
    let (placed, asked) = scene.order(4).await?;
    let prepared = market.prepare_all(&asked).await?;
    let committed = market.evaluate_until(&asked, &prepared, NEVER).await?.commitments;
    market.release(first, &asked, &committed, 1).await?;
    let bought = market.collect(&market.researcher, &scene.input.panel, placed).await?;
    let predicate = Predicate::parse(SELECTED, &*made_up_schema()?)?;
    let [counts] = bought.opened.selections() else { panic!("one selection") };
    for row in &counts.rows {
        let truth = selected_counts(&scene.people, &predicate, row.index.0)?;
        ensure!([counts.matched, row.het, row.hom_alt] == truth, "variant {}", row.index.0);
    }

    // People leave after the first release: the keyholders that let nothing go leave them out, and the first one, which
    // has let its part go, takes no part in an answer without them.
    let (_, asked) = scene.order(5).await?;
    let prepared = market.prepare_all(&asked).await?;
    let committed = market.evaluate_until(&asked, &prepared, NEVER).await?.commitments;
    market.release(first, &asked, &committed, 2).await?;
    scene.leave(0..5).await?;
    let fresh = market.prepare_all(&asked).await?;
    let is_repeated = |place: usize| fresh[place] == prepared[place];
    ensure!([0, 1, 2].map(is_repeated) == [true, false, false]);
    check_refused("another cohort", market.evaluate_until(&asked, &fresh, NEVER).await, "ANSWER_FINAL")?;
    for keyholder in &KeyholderIndex::ALL[1..] {
        let released = market.release(*keyholder, &asked, &committed, 2).await;
        check_refused("what was prepared anew", released, "STEP_MISSING")?;
    }
    Ok(())
}
