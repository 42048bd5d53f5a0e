//! Questions as they are asked on the command line, and `locus quote`.

use crate::{
    cli::{QuestionArgs, QuoteArgs},
    commands::filter::Asked,
    context::Context,
    error::CommandError,
};
use locus_client::disclosure::requirements;
use locus_client::research::{AskedFilter, Question, Quote, parse_variants, quote as ask_for_quote};
use locus_genomics::{Panel, Purpose, PurposeCode, VariantSelection};
use locus_ledger::QueryClass;
use locus_privacy::{
    Rho, Tier,
    report::{QUOTE_DELTA, QuotePrecision, Usefulness, sigma},
};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// The question that the arguments ask of a panel, about everybody or the people of a filter.
pub(super) fn parse(args: &QuestionArgs, panel: &Panel, filter: Option<AskedFilter>) -> Result<Question, CommandError> {
    let tier = Tier::from(args.tier);
    let rho = match (tier, args.rho) {
        (Tier::Exact, Some(_)) => {
            let reason = "the exact tier adds no noise, so it takes no --rho: leave it out";
            return Err(CommandError::Usage(reason.to_owned()));
        }
        (_, rho) => rho.unwrap_or(Rho::ZERO),
    };
    if (args.purpose == PurposeCode::Disease) != args.condition.is_some() {
        let advice = if args.condition.is_some() {
            "use --purpose DS with --condition"
        } else {
            "name the disease with --condition"
        };
        return Err(CommandError::Usage(format!(
            "the purpose {} and the condition do not go together: {advice}",
            args.purpose
        )));
    }
    Ok(Question {
        selection: selection(&args.variants, panel)?,
        query_class: filter.as_ref().map_or(QueryClass::Counts, AskedFilter::query_class),
        purpose: Purpose { code: args.purpose, declarations: args.declare },
        condition: args.condition.clone(),
        tier,
        rho,
        filter,
        requirements: requirements(panel, args.proven_only, &args.disclosed)?,
    })
}

/// Whether exact counts are asked for, of people of whom calls are missing.
pub(super) fn counts_missing_exactly(args: &QuestionArgs, panel: &Panel) -> bool {
    Tier::from(args.tier) == Tier::Exact && !panel.complete_calls()
}

/// Variants by `all`, by ids, or by a file of ids.
fn selection(text: &str, panel: &Panel) -> Result<VariantSelection, CommandError> {
    let path = Path::new(text);
    if text != "all" && path.is_file() {
        let ids = fs::read_to_string(path).map_err(CommandError::file(path))?;
        return Ok(parse_variants(panel, &ids)?);
    }
    if !text.contains(':') && text != "all" {
        let reason = format!("--variants {text}: there is no such file, and ids look like 1:69428:T:G");
        return Err(CommandError::Usage(reason));
    }
    Ok(parse_variants(panel, text)?)
}

/// `locus quote`.
pub(super) async fn quote(args: &QuoteArgs, context: &Context) -> Result<(), CommandError> {
    let services = context.services()?;
    let network = context.network(&services).await?;
    let panel = context.panel(&args.question.panel, &services).await?;
    let missing_calls = counts_missing_exactly(&args.question, &panel);
    let filter = Asked::of(&args.filter).filter(&args.filter.schema, &services, missing_calls).await?;
    let question = parse(&args.question, &panel, filter)?;
    let researcher = context.keystore()?.address();
    let quote = ask_for_quote(&services, &network, &panel, researcher, &question).await?;
    context.output.result(&describe(&quote), || words(&quote))
}

/// A quote for programs.
pub(crate) fn describe(quote: &Quote) -> Value {
    let mut value = json!({
        "cohort_size": quote.cohort_size,
        "price": quote.price.to_string(),
        "variant_count": quote.variant_count,
        "rho_charged": quote.figures.cost.total().map(|rho| rho.to_string()).ok(),
        "allele_frequency_se": quote.allele_frequency_se(),
        "membership_auc": quote.membership_auc(),
        "warnings": quote.warnings,
        "excluded": quote.excluded.iter().map(|(reason, count)| json!({ "reason": reason, "count": count })).collect::<Vec<_>>(),
    });
    if let Some(cost) = &quote.filter {
        value["selections"] = json!(cost.selections);
        value["rounds"] = json!(cost.rounds);
        value["keyholder_bytes"] = json!(cost.keyholder_bytes);
        value["authenticated"] = json!(cost.is_authenticated);
    }
    match &quote.figures.precision {
        QuotePrecision::Noisy(noisy) => {
            value["sigma"] = json!(sigma(noisy.total));
            value["rho_with_one_keyholder"] = json!(noisy.rho_with_one_keyholder.to_string());
            value["epsilon"] = json!(noisy.epsilon);
            value["delta"] = json!(QUOTE_DELTA);
            value["membership_auc_with_one_keyholder"] = json!(noisy.membership_auc_max_with_one_keyholder);
            value["useful"] = json!(noisy.usefulness == Usefulness::Useful);
        }
        QuotePrecision::Exact { .. } => value["differentially_private"] = json!(false),
    }
    value
}

/// A quote for people.
pub(super) fn words(quote: &Quote) -> String {
    let mut text = format!(
        "people     {}\nvariants   {}\nprice      {} tokens\n",
        quote.cohort_size, quote.variant_count, quote.price
    );
    if let Some(cost) = &quote.filter {
        text += &format!(
            "filter     {} selection{} by {} shares; the keyholders exchange {} rounds, {} bytes\n",
            cost.selections,
            if cost.selections == 1 { "" } else { "s" },
            if cost.is_authenticated { "authenticated" } else { "plain" },
            cost.rounds,
            cost.keyholder_bytes
        );
    }
    let of_whom =
        if quote.filter.is_some() { " if everybody is selected, ten times as much if a tenth is" } else { "" };
    match &quote.figures.precision {
        QuotePrecision::Noisy(noisy) => {
            text += &format!(
                "noise      standard deviation {:.1} on every count\nerror      {:.4} on an allele frequency{of_whom}\n",
                sigma(noisy.total),
                noisy.allele_frequency_standard_error
            );
            text += &format!(
                "privacy    rho {} per person, {} against you and one keyholder; epsilon {:.2} at delta {QUOTE_DELTA:e}\n",
                quote.figures.cost.dp, noisy.rho_with_one_keyholder, noisy.epsilon
            );
            text += &format!(
                "membership test AUC at most {:.3}, {:.3} with one keyholder\n",
                noisy.membership_auc_max, noisy.membership_auc_max_with_one_keyholder
            );
            if let Usefulness::Useless { variants_max, cohort_size_min, rho_min } = noisy.usefulness {
                text += "useless    the error is too large for allele frequencies; what would do:\n";
                text += &format!("           at most {variants_max} variants, or at least {cohort_size_min} people");
                text += &rho_min.map_or_else(|| "\n".to_owned(), |rho| format!(", or rho {rho}\n"));
            }
        }
        QuotePrecision::Exact { membership_auc } => {
            text += "noise      none: exact counts are not differentially private\n";
            text += &format!("membership test AUC about {membership_auc:.3}\n");
        }
    }
    for (reason, count) in &quote.excluded {
        text += &format!("left out   {count} datasets: {reason}\n");
    }
    for warning in &quote.warnings {
        text += &format!("warning    {warning}\n");
    }
    text
}
