//! The keyholders give datasets new keys, and nothing else changes.

use anyhow::{Context as _, Result, ensure};
use locus_client::{ClientError, erase, research::AskedFilter, revoke, statement};
use locus_genomics::{Genotype, Panel};
use locus_ledger::RegistrationId;
use locus_phenotype::{AttributeSchema, Predicate};
use locus_privacy::{REKEYINGS_MAX, Rho, Tier};
use locus_service::reason_of;
use locus_store::{PanelShape, SlotSet};
use locus_tests::{
    Market, People, about, ask, biomedical, filter_of, first_variants, made_up_input, made_up_schema, now_unix_s,
    question_of, selected_counts, small_floors,
};
use std::{collections::BTreeSet, sync::Arc};

/// People of one registration, and variants: two panel blocks would take longer and show no more.
const PEOPLE: u32 = 40;
const VARIANTS: u32 = 12;
const REVOKED: [u32; 2] = [3, 17];

struct Scene {
    market: Market,
    people: People,
    panel: Arc<Panel>,
    registration: RegistrationId,
    schema: Arc<AttributeSchema>,
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(small_floors()).await?;
        let people = People { missing: true, ..People::new(PEOPLE, VARIANTS, 19) };
        let input = market.read_people("everyone", &people)?;
        let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
        market.add_attributes(&market.biobank, batch.registration, &made_up_input(&people)?).await?;
        let (panel, registration) = (input.panel.clone(), batch.registration);
        Ok(Self { market, people, panel, registration, schema: made_up_schema()? })
    }

    /// Exact counts of everybody, which must be right, of the people who are left.
    async fn count(&self, gone: &[u32]) -> Result<()> {
        let question = biomedical(first_variants(&self.panel, VARIANTS)?, Tier::Exact, Rho::ZERO);
        let market = &self.market;
        let bought = market.buy_as(&market.researcher, &self.panel, &question, "5".parse()?).await?;
        ensure!(bought.opened.cohort_size() == PEOPLE - u32::try_from(gone.len())?);
        for row in bought.opened.rows() {
            let left = (0..PEOPLE).filter(|place| !gone.contains(place));
            let genotypes: Vec<Genotype> = left.map(|place| self.people.genotype(place, row.index.0)).collect();
            let count = |wanted| genotypes.iter().filter(|genotype| **genotype == wanted).count() as i64;
            ensure!([row.het, row.hom_alt] == [count(Genotype::Het), count(Genotype::HomAlt)], "{:?}", row.index);
        }
        Ok(())
    }

    fn filter(&self, text: &str) -> Result<AskedFilter> {
        filter_of(&[text], &self.schema)
    }

    /// Exact counts of the people whom a filter selects among all.
    async fn count_selected(&self, text: &str, authenticated: bool) -> Result<()> {
        let filter = self.filter(text)?.authenticated(authenticated);
        let question = about(filter, first_variants(&self.panel, VARIANTS)?, Tier::Exact, Rho::ZERO);
        let market = &self.market;
        let bought = market.buy_as(&market.researcher, &self.panel, &question, "5".parse()?).await?;
        let counts = bought.opened.selections().first().context("a selection")?;
        let predicate = Predicate::parse(text, &self.schema)?;
        for row in &counts.rows {
            let truth = selected_counts(&self.people, &predicate, row.index.0)?;
            ensure!([counts.matched, row.het, row.hom_alt] == truth, "{text}, {:?}", row.index);
        }
        Ok(())
    }

    /// Names of the objects with the bodies that the store would sum now.
    async fn objects(&self) -> Result<BTreeSet<String>> {
        let shape = PanelShape::try_new(1, false)?;
        let panel = self.market.node.store().panel(self.panel.digest(), shape);
        let manifest = panel.latest().await?;
        ensure!(manifest.live() == SlotSet::try_from_iter(0..PEOPLE)?);
        Ok(manifest.parts().iter().map(|part| format!("{:?}", part.name())).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_generations_of_keys_give_the_same_counts_and_then_there_are_no_more() -> Result<()> {
    let scene = Scene::set().await?;
    scene.count(&[]).await?;
    scene.count_selected("sex = 'F'", false).await?;
    let mut objects = BTreeSet::from([scene.objects().await?]);
    let mut shares = BTreeSet::new();
    for generation in 1..=REKEYINGS_MAX {
        let keys = scene.market.rekey(scene.registration).await?;
        ensure!(keys.generation == generation && keys.dataset_count() == PEOPLE as usize);
        shares.extend(keys.keys.iter().flatten().flat_map(|keys| [keys.shares.0.0, keys.bodies.0.0]));
        ensure!(shares.len() == 2 * usize::from(generation) * PEOPLE as usize, "all of them are new");
        ensure!(objects.insert(scene.objects().await?), "the bodies are elsewhere");
        scene.count(&[]).await?;
        scene.count_selected("sex = 'F'", generation % 2 == 0).await?;
    }
    let refused = scene.market.attest_new_keys(scene.registration).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("generation")), "the noise budget is used up");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_gets_no_new_keys_and_who_leaves_later_is_erased() -> Result<()> {
    let scene = Scene::set().await?;
    let (market, registration) = (&scene.market, scene.registration);
    let keys = &market.biobank.keys;
    revoke(&market.services, &market.network, keys, registration, &REVOKED, now_unix_s()).await?;
    let new = market.rekey(registration).await?;
    for (ordinal, keys) in (0u32..).zip(&new.keys) {
        ensure!(keys.is_none() == REVOKED.contains(&ordinal));
    }
    scene.count(&REVOKED).await?;
    let records = market.biobank.folder.enrolments();
    // As many as an exact answer may tell from the others.
    let gone = [REVOKED[0], REVOKED[1], 30, 31, 32, 33, 34];
    let erasure = erase(&market.services, &market.network, keys, registration, &gone, &records, now_unix_s()).await?;
    ensure!(erasure.is_complete());
    scene.count(&gone).await?;
    // Erased under the new keys, and the others go on to the next.
    market.rekey(registration).await?;
    scene.count(&gone).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_in_a_cohort_is_charged_for_the_noise_that_new_keys_add() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let rho = Rho::from_nano(10_000_000);
    // Of a panel block with a missing plane, with 10^9 d^2 / 2^31 for each: d is 16 at first, then 29 and 34.
    let mut spent = 0;
    for (variants, flooding) in [(3, 2 * 120), (4, 2 * 392), (5, 2 * 539)] {
        let question = biomedical(first_variants(&scene.panel, variants)?, Tier::Open, rho);
        let quoted = market.quote(&scene.panel, &market.researcher, &question).await?;
        ensure!(quoted.figures.cost.flooding == Rho::from_nano(flooding), "{:?}", quoted.figures.cost);
        market.buy_as(&market.researcher, &scene.panel, &question, "5".parse()?).await?;
        spent += rho.as_nano() + flooding;
        let (services, keys) = (&market.services, &market.biobank.keys);
        let statement = statement(services, &market.network, keys, scene.registration, 9, now_unix_s()).await?;
        ensure!(statement.budget.spent_lifetime == Rho::from_nano(spent), "{:?}", statement.budget);
        market.rekey(scene.registration).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_before_is_not_answered_with_the_keys_of_after() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let question = biomedical(first_variants(&scene.panel, VARIANTS)?, Tier::Exact, Rho::ZERO);
    let placed = market.place(&market.researcher, &question, "5".parse()?).await?;
    market.rekey(scene.registration).await?;
    let asked = question_of(&market.researcher, &placed);
    let refused = ask(&market.services.query, &placed, &market.researcher, &asked).await;
    let status = refused.err().context("the keys of that block are destroyed")?;
    ensure!(reason_of(&status).is_some(), "{status:?}");
    scene.count(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_seeds_and_what_they_were_drawn_from_are_gone() -> Result<()> {
    let scene = Scene::set().await?;
    let attested = scene.market.attest_new_keys(scene.registration).await?;
    ensure!(attested == scene.market.attest_new_keys(scene.registration).await?, "asked again, the same keys");
    attested.submit(&scene.market.services).await?;
    attested.submit(&scene.market.services).await.context("the chain has them")?;
    locus_client::publish_new_keys(&scene.market.services, scene.registration).await?;
    scene.count(&[]).await?;
    // Wrapping keys are files of their own: those of before are no more, so that no page that the database has freed opens.
    for folder in scene.market.node.keyholder_folders() {
        let names = locus_tests::files_below(folder)?;
        let is_key = |path: &&std::path::PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wrapping-key."))
        };
        let keys: Vec<_> = names.iter().filter(is_key).collect();
        ensure!(keys.len() == 1 && !keys[0].ends_with("wrapping-key.1"), "{keys:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_a_rekeyed_registration_stay_and_an_order_needs_the_admin() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    market.rekey(scene.registration).await?;
    scene.count_selected("sex = 'M'", false).await?;
    let refused = market.add_attributes(&market.biobank, scene.registration, &made_up_input(&scene.people)?).await;
    let text = format!("{:#}", refused.err().context("their seeds are gone")?);
    ensure!(text.contains("re-keyed"), "{text}");

    let impostor = market.keyholder_signer(locus_sharing::KeyholderIndex::ALL[0])?;
    let (services, registration) = (&market.services, scene.registration);
    let ordered = locus_client::attest_new_keys(
        services,
        &market.network,
        &impostor,
        registration,
        now_unix_s(),
        &locus_client::NoProgress,
    );
    let refused = ordered.await.err().context("a keyholder is not the admin")?;
    ensure!(matches!(&refused, ClientError::Call(_)) && refused.to_string().contains("admin"), "{refused}");
    Ok(())
}
