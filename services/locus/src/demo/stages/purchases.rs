//! Clauses 5 to 7: what the researcher buys, and whether it is right.

use super::{Demo, Enrolment, PERSON};
use crate::{
    context::now_unix_s,
    demo::{
        extract::TrueCounts,
        report::{Report, check},
    },
    error::CommandError,
    progress::Bars,
};
use locus_client::{
    mint_test_tokens,
    research::{
        OpenedAnswer, OrderTerms, PlacedOrder, Question, Requirements, VariantCounts, VerifiedAnswer, fetch_answer,
        open_answer, place_order, quote, write_tsv,
    },
};
use locus_genomics::{Declarations, Panel, Purpose, PurposeCode, VariantIndex, VariantSelection};
use locus_ledger::{Amount, QueryClass};
use locus_privacy::{Rho, Tier};
use serde_json::json;
use std::{fs, time::Instant};

/// Variants of the noisy questions.
const VARIANTS: u32 = 100;
/// Privacy loss of the noisy questions: the most that the open tier allows in one.
const RHO: Rho = Rho::from_nano(10_000_000);
/// How far the root mean square error of [`VARIANTS`] allele frequencies may be from the standard
/// error quoted. It follows a chi distribution with 100 degrees of freedom, whose relative standard
/// deviation is 0.071; six of these leave one false alarm in 10^8 demos.
const ERROR_TOLERANCE: f64 = 0.43;

/// What the researcher gets to spend: 10,000 tokens.
pub(super) fn funds() -> Amount {
    Amount(10_000_000_000_000_000_000_000)
}

/// A bought answer.
pub(super) struct Purchase {
    pub(super) placed: PlacedOrder,
    pub(super) verified: VerifiedAnswer,
    pub(super) opened: OpenedAnswer,
}

impl Purchase {
    /// What it cost.
    pub(super) fn price(&self) -> Amount {
        self.verified.settlement().price
    }
}

/// Evenly spaced variants, beginning with `first`.
pub(super) fn spaced(panel: &Panel, first: u32) -> Result<VariantSelection, CommandError> {
    let step = panel.variant_count() / VARIANTS;
    Ok(VariantSelection::from_indices(panel, (0..VARIANTS).map(|number| VariantIndex(first + number * step)))?)
}

/// A question of the demo.
pub(super) fn ask(selection: VariantSelection, tier: Tier) -> Question {
    Question {
        selection,
        query_class: QueryClass::Counts,
        purpose: Purpose { code: PurposeCode::GeneralResearch, declarations: Declarations::NONE },
        condition: None,
        tier,
        rho: if tier == Tier::Exact { Rho::ZERO } else { RHO },
        filter: None,
        requirements: Requirements::default(),
    }
}

impl Demo {
    pub(super) async fn fund(&self, report: &mut Report) -> Result<(), CommandError> {
        let began = Instant::now();
        mint_test_tokens(&self.services, self.researcher.keys.address(), funds()).await?;
        report.stage("fund", began, format!("the researcher holds {} test tokens", funds()));
        Ok(())
    }

    /// Puts an order and its escrow on the chain.
    pub(super) async fn order(
        &self,
        question: &Question,
        max_price: Amount,
        lifetime_s: Option<u64>,
    ) -> Result<PlacedOrder, CommandError> {
        let terms = OrderTerms { max_price, lifetime_s };
        let (services, network, orders) = (&self.services, &self.network, self.researcher.folder.orders());
        Ok(place_order(services, network, &self.researcher.keys, question, &terms, &orders, now_unix_s()).await?)
    }

    /// Fetches and opens the answer to an order.
    pub(super) async fn fetch(
        &self,
        placed: PlacedOrder,
        panel: &Panel,
        report: &Report,
    ) -> Result<Purchase, CommandError> {
        let bars = Bars::new(report.output);
        let file = self.researcher.folder.answer_file(placed.order_id);
        let record = fetch_answer(&self.services, &self.researcher.keys, &placed, &file, bars.as_ref()).await?;
        let (verified, opened) = open_answer(&record, panel, &self.network, self.researcher.keys.sealing_key())?;
        check(!verified.is_degraded(), || "a keyholder was missing".to_owned())?;
        Ok(Purchase { placed, verified, opened })
    }

    /// Clause 5.
    pub(super) async fn buy_open(&self, enrolment: &Enrolment, report: &mut Report) -> Result<Purchase, CommandError> {
        let panel = &enrolment.panel;
        let began = Instant::now();
        let question = ask(spaced(panel, 0)?, Tier::Open);
        let researcher = self.researcher.keys.address();
        let quoted = quote(&self.services, &self.network, panel, researcher, &question).await?;
        let people = quoted.cohort_size;
        let everybody = enrolment.biobank.datasets.len() + enrolment.person.datasets.len();
        check(usize::try_from(people) == Ok(everybody), || format!("the quote counts {people} people"))?;
        let error_quoted = quoted.allele_frequency_se();
        let found = format!(
            "{VARIANTS} variants over {people} people: {} tokens, privacy loss {}, error {error_quoted:.4} of an allele frequency",
            quoted.price, question.rho
        );
        report.stage("quote", began, found);

        let began = Instant::now();
        let placed = self.order(&question, quoted.price, None).await?;
        let bought = self.fetch(placed, panel, report).await?;
        check(bought.price() == quoted.price, || format!("the answer cost {} tokens", bought.price()))?;
        let truth = self.extract.truth(panel, Some(PERSON))?;
        let error_found = root_mean_square_error(bought.opened.rows(), &truth, people)?;
        let ratio = error_found / error_quoted;
        check((ratio - 1.0).abs() <= ERROR_TOLERANCE, || {
            format!("the allele frequencies are off by {error_found:.4}, {error_quoted:.4} was quoted")
        })?;
        self.write_table("open.tsv", &bought.opened, panel)?;
        let found = format!(
            "error quoted {error_quoted:.4}, error found {error_found:.4}, settled for {} tokens",
            bought.price()
        );
        report.stage("buy open", began, found);
        report.figure(
            "open",
            json!({ "variants": VARIANTS, "people": people, "price": quoted.price.to_string(),
            "rho": question.rho.to_string(), "error_quoted": error_quoted, "error_found": error_found }),
        );
        Ok(bought)
    }

    /// Clause 6.
    pub(super) async fn ask_again(
        &self,
        enrolment: &Enrolment,
        first: &Purchase,
        report: &mut Report,
    ) -> Result<Purchase, CommandError> {
        let panel = &enrolment.panel;
        let began = Instant::now();
        let spent = self.statement_of_person(enrolment).await?.budget.spent_lifetime;
        let file = self.researcher.folder.answer_file(first.placed.order_id);
        let before = fs::read(&file).map_err(CommandError::file(&file))?;
        self.fetch(first.placed.clone(), panel, report).await?;
        let after = fs::read(&file).map_err(CommandError::file(&file))?;
        check(before == after, || "the same order was answered with other bytes".to_owned())?;
        let question = ask(spaced(panel, 0)?, Tier::Open);
        let placed = self.order(&question, first.price(), None).await?;
        let again = self.fetch(placed, panel, report).await?;
        check(again.opened.rows() == first.opened.rows(), || "the same question got other counts".to_owned())?;
        let now = self.statement_of_person(enrolment).await?.budget.spent_lifetime;
        check(now == spent, || format!("the privacy loss rose from {spent} to {now}"))?;
        let found = "the same order: the same bytes, nothing paid; the same question in a new order: the same counts, no privacy lost";
        report.stage("ask again", began, found.to_owned());
        Ok(again)
    }

    /// Clause 7.
    pub(super) async fn buy_exact(&self, enrolment: &Enrolment, report: &mut Report) -> Result<Purchase, CommandError> {
        let panel = &enrolment.panel;
        let began = Instant::now();
        let question = ask(VariantSelection::all(panel), Tier::Exact);
        let researcher = self.researcher.keys.address();
        let quoted = quote(&self.services, &self.network, panel, researcher, &question).await?;
        let placed = self.order(&question, quoted.price, None).await?;
        let bought = self.fetch(placed, panel, report).await?;
        let took = began.elapsed();
        let people = bought.opened.cohort_size();
        check(usize::try_from(people) == Ok(enrolment.biobank.datasets.len()), || {
            format!("{people} people were counted")
        })?;
        let truth = self.extract.truth(panel, None)?;
        let rows = bought.opened.rows();
        check(rows.len() == truth.len(), || format!("{} of {} variants were answered", rows.len(), truth.len()))?;
        let differing = rows.iter().zip(&truth).filter(|(row, truth)| !truth.is_of(row)).count();
        check(differing == 0, || format!("{differing} variants differ from the plaintext"))?;
        self.write_table("exact.tsv", &bought.opened, panel)?;
        let found = format!(
            "{} variants over {people} people, all equal to the plaintext; settled for {} tokens; membership test AUC {:.2}",
            rows.len(),
            bought.price(),
            quoted.membership_auc()
        );
        report.stage("buy exact", began, found);
        report.figure(
            "exact",
            json!({ "variants": rows.len(), "people": people, "price": bought.price().to_string(),
            "differing": differing, "answer_seconds": took.as_secs_f64(), "membership_auc": quoted.membership_auc() }),
        );
        Ok(bought)
    }

    fn write_table(&self, name: &str, opened: &OpenedAnswer, panel: &Panel) -> Result<(), CommandError> {
        let path = self.researcher.root.join(name);
        let mut content = Vec::new();
        write_tsv(opened, panel, &mut content).map_err(CommandError::file(&path))?;
        fs::write(&path, content).map_err(CommandError::file(&path))
    }
}

/// Of the allele frequencies, over the variants asked about.
fn root_mean_square_error(rows: &[VariantCounts], truth: &[TrueCounts], people: u32) -> Result<f64, CommandError> {
    let mut sum = 0.0;
    for row in rows {
        let place = usize::try_from(row.index.0).unwrap_or(usize::MAX);
        let (Some(found), Some(truth)) = (row.allele_frequency(), truth.get(place)) else {
            return Err(CommandError::Demo("the answer has a variant without allele frequency".to_owned()));
        };
        sum += (found - truth.allele_frequency(people)).powi(2);
    }
    Ok((sum / rows.len() as f64).sqrt())
}
