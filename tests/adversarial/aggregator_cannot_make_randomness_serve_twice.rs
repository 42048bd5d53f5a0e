//! An aggregator cuts evaluations off in every round, keeps all messages, and starts again: each attempt must have
//! masks of its own, because two messages under one mask differ by what they hide.

use anyhow::{Context as _, Result, ensure};
use locus_client::statement;
use locus_phenotype::Predicate;
use locus_privacy::Tier;
use locus_service::reason_of;
use locus_tests::{
    Carried, Market, People, about, filter_of, first_variants, made_up_input, made_up_schema, now_unix_s, question_of,
    selected_counts, small_floors,
};
use std::collections::BTreeSet;

/// Two rounds of products, and then matched numbers are opened.
const SELECTED: &str = "(sex = 'F' or HP:0000819) and age >= 40 and not (sex = 'F' and HP:0000819)";
/// More rounds than any filter of the test has.
const NEVER: u32 = 100;

/// Every message that was never seen before.
fn keep_new(seen: &mut BTreeSet<Vec<u8>>, carried: &Carried) -> Result<()> {
    for piece in &carried.pieces {
        let is_new = seen.insert(piece.sealed.to_vec());
        ensure!(is_new, "a message of round {} from {} came twice", piece.round, piece.from_keyholder);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluations_cut_off_in_every_round_never_repeat_a_message_and_are_charged_once() -> Result<()> {
    let market = Market::start_with(small_floors()).await?;
    let people = People::new(150, 5, 83);
    let input = market.read_people("everyone", &people)?;
    let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
    market.add_attributes(&market.biobank, batch.registration, &made_up_input(&people)?).await?;
    let schema = made_up_schema()?;
    let question = about(
        filter_of(&[SELECTED], &schema)?,
        first_variants(&input.panel, people.variants)?,
        Tier::Exact,
        locus_privacy::Rho::ZERO,
    );
    let placed = market.place(&market.researcher, &question, "5".parse()?).await?;
    let asked = question_of(&market.researcher, &placed);

    let (mut seen, mut first_of_round) = (BTreeSet::new(), Vec::new());
    let mut cut_at = 1;
    let whole = loop {
        let prepared = market.prepare_all(&asked).await?;
        let carried = market.evaluate_until(&asked, &prepared, cut_at).await?;
        keep_new(&mut seen, &carried)?;
        first_of_round.extend(carried.pieces.first().map(|piece| piece.sealed.len()));

        // The same attempt once more, as if it had never been made.
        let again = market.evaluate_until(&asked, &prepared, NEVER).await;
        if !carried.commitments.is_empty() {
            ensure!(again?.pieces.is_empty(), "an answer that is there is told, not computed");
            break carried;
        }
        let refused = again.err().context("an attempt is made once")?;
        ensure!(reason_of(&refused).as_deref() == Some("ATTEMPT_USED"), "{refused:?}");
        cut_at += 1;
    };
    ensure!(cut_at == 4, "{cut_at} rounds, the last one whole");
    ensure!(whole.commitments.len() == 3 && first_of_round.len() == cut_at as usize);

    // What the researcher gets in the end is the truth, and everybody was asked once.
    let bought = market.collect(&market.researcher, &input.panel, placed).await?;
    let predicate = Predicate::parse(SELECTED, &schema)?;
    let [counts] = bought.opened.selections() else { panic!("one selection") };
    for row in &counts.rows {
        let truth = selected_counts(&people, &predicate, row.index.0)?;
        ensure!([counts.matched, row.het, row.hom_alt] == truth, "variant {}", row.index.0);
    }
    let keys = &market.biobank.keys;
    let statement = statement(&market.services, &market.network, keys, batch.registration, 7, now_unix_s()).await?;
    ensure!(statement.uses.len() == 1 && statement.differences.is_empty(), "{} uses", statement.uses.len());
    Ok(())
}
