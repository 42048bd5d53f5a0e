//! `locus query` and `locus verify`.

use super::{filter::Asked, question, study};
use crate::{
    cli::{CohortArgs, CountsArgs, FetchArgs, QueryCommand, VerifyArgs},
    context::{Context, now_unix_s, parse_order, read_panel, write_in_one_step},
    error::CommandError,
    progress::Bars,
};
use locus_client::{
    Keystore, KeystoreError, Network, Services,
    research::{
        OpenedAnswer, OrderTerms, PlacedOrder, Question, StudyKind, VerifiedAnswer, fetch_answer, fetch_cohort_sums,
        load_order, load_record, open_answer, place_order, quote as ask_for_quote, verify_answer, write_json_lines,
        write_tsv,
    },
};
use locus_genomics::{Panel, PanelDigest};
use locus_ledger::{Amount, QueryClass};
use locus_privacy::{Tier, report::sigma};
use locus_wire::pb::query::AnswerRecord;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) async fn query(command: QueryCommand, context: &Context) -> Result<(), CommandError> {
    match command {
        QueryCommand::Counts(args) => counts(args, context).await,
        QueryCommand::Cohort(args) => cohort(args, context).await,
        QueryCommand::Association(args) => study::association(&args, context).await,
        QueryCommand::Fetch(args) => fetch(args, context).await,
    }
}

/// A market with what a purchase on one panel needs.
pub(super) struct Market {
    pub(super) keystore: Keystore,
    pub(super) services: Services,
    pub(super) network: Network,
    pub(super) panel: Panel,
}

impl Market {
    pub(super) async fn open(panel: &str, context: &Context) -> Result<Self, CommandError> {
        let keystore = context.keystore()?;
        let services = context.services()?;
        let network = context.network(&services).await?;
        let panel = context.panel(panel, &services).await?;
        Ok(Self { keystore, services, network, panel })
    }

    /// Fetches, verifies and opens the answer to a placed order; also says where it is kept.
    pub(super) async fn fetch(
        &self,
        placed: &PlacedOrder,
        context: &Context,
    ) -> Result<(PathBuf, VerifiedAnswer, OpenedAnswer), CommandError> {
        let kept = context.folder.answer_file(placed.order_id);
        let bars = Bars::new(context.output);
        let mut record = fetch_answer(&self.services, &self.keystore, placed, &kept, bars.as_ref()).await?;
        fetch_cohort_sums(&self.services, &self.panel, &mut record, &kept, bars.as_ref()).await?;
        bars.clear();
        let (verified, opened) = open_answer(&record, &self.panel, &self.network, self.keystore.sealing_key())?;
        Ok((kept, verified, opened))
    }
}

async fn counts(args: CountsArgs, context: &Context) -> Result<(), CommandError> {
    check_out(&args.purchase.out)?;
    let market = Market::open(&args.question.panel, context).await?;
    let asked = question::parse(&args.question, &market.panel, None)?;
    let placed = place(&market, &asked, args.purchase.max_price, context).await?;
    finish(&market, &placed, &args.purchase.out, context).await
}

async fn cohort(args: CohortArgs, context: &Context) -> Result<(), CommandError> {
    check_out(&args.purchase.out)?;
    let market = Market::open(&args.question.panel, context).await?;
    let filter = Asked::People(&args.people).filter(&args.schema, &market.services, false).await?;
    let asked = question::parse(&args.question, &market.panel, filter)?;
    let placed = place(&market, &asked, args.purchase.max_price, context).await?;
    finish(&market, &placed, &args.purchase.out, context).await
}

/// Asks for the price, shows it, and orders.
pub(super) async fn place(
    market: &Market,
    asked: &Question,
    max_price: Amount,
    context: &Context,
) -> Result<PlacedOrder, CommandError> {
    let Market { keystore, services, network, panel } = market;
    let quote = ask_for_quote(services, network, panel, keystore.address(), asked).await?;
    if quote.price > max_price {
        return Err(CommandError::TooExpensive { price: quote.price, max_price });
    }
    match &asked.filter {
        Some(_) => context.output.note(question::words(&quote).trim_end()),
        None => quote.warnings.iter().for_each(|warning| context.output.note(&format!("warning: {warning}"))),
    }
    let terms = OrderTerms { max_price, lifetime_s: None };
    let orders = context.folder.orders();
    let placed = place_order(services, network, keystore, asked, &terms, &orders, now_unix_s()).await?;
    context.output.note(&format!(
        "order {} is placed; if this stops, fetch its answer with `locus query fetch`",
        placed.order_id
    ));
    Ok(placed)
}

async fn fetch(args: FetchArgs, context: &Context) -> Result<(), CommandError> {
    let market = Market::open(&args.panel, context).await?;
    let order = parse_order(&args.order)?;
    let placed = load_order(&context.folder.orders(), order, &market.panel, &market.network)?;
    if placed.order.query_class == QueryClass::Association {
        return study::finish(&market, &placed, &args.study, &args.out, context).await;
    }
    check_out(&args.out)?;
    finish(&market, &placed, &args.out, context).await
}

/// Fetches the answer to a placed order and writes the table and the answer file beside it.
async fn finish(market: &Market, placed: &PlacedOrder, out: &Path, context: &Context) -> Result<(), CommandError> {
    let (kept, verified, opened) = market.fetch(placed, context).await?;
    write_in_one_step(out, &table(&opened, &market.panel, out)?)?;
    let answer_file = answer_file_beside(out);
    fs::copy(&kept, &answer_file).map_err(CommandError::file(&answer_file))?;
    let mut value = describe(&verified, Some(&opened));
    value["table"] = json!(out);
    value["answer"] = json!(answer_file);
    context.output.result(&value, || {
        words(&verified, Some(&opened))
            + &format!("table      {}\nanswer     {}\n", out.display(), answer_file.display())
    })
}

/// JSON lines when the file is called so, else TSV.
fn table(opened: &OpenedAnswer, panel: &Panel, out: &Path) -> Result<Vec<u8>, CommandError> {
    let mut content = Vec::new();
    let is_json = out.extension().is_some_and(|extension| extension == "json" || extension == "jsonl");
    if is_json {
        write_json_lines(opened, panel, &mut content).map_err(CommandError::file(out))?;
    } else {
        write_tsv(opened, panel, &mut content).map_err(CommandError::file(out))?;
    }
    Ok(content)
}

fn answer_file_beside(out: &Path) -> PathBuf {
    out.with_extension("answer")
}

/// Before anything is paid: the files can be written, and are two.
fn check_out(out: &Path) -> Result<(), CommandError> {
    if answer_file_beside(out) == out {
        let reason =
            format!("--out {} is where the answer with its proofs goes: give the table another name", out.display());
        return Err(CommandError::Usage(reason));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() && out.file_name().is_some() && !out.is_dir() {
        return Ok(());
    }
    Err(CommandError::Usage(format!("--out {}: name a file in a folder that exists", out.display())))
}

/// Checks a kept answer without any service: signatures and question, and with the keys the counts.
pub(super) async fn verify(args: &VerifyArgs, context: &Context) -> Result<(), CommandError> {
    let record = load_record(&args.answer)?;
    let network = context.known_network()?;
    let panel = panel_of(&record, args, context)?;
    let verified = verify_answer(&record, &panel, &network)?;
    let opened = match context.keystore() {
        Ok(keystore) => Some(open_answer(&record, &panel, &network, keystore.sealing_key())?.1),
        Err(CommandError::Client(locus_client::ClientError::Keystore(KeystoreError::Missing { .. }))) => None,
        Err(error) => return Err(error),
    };
    if let Some(path) = &args.table {
        let opened = opened
            .as_ref()
            .ok_or_else(|| CommandError::Usage("comparing a table needs the keys that bought it".to_owned()))?;
        compare_table(path, &table(opened, &panel, path)?)?;
    }
    let mut value = describe(&verified, opened.as_ref());
    value["verified"] = json!(true);
    context.output.result(&value, || {
        let checked = match (&opened, &args.table) {
            (Some(_), Some(_)) => "signatures, question, check slots, counts and table",
            (Some(_), None) => "signatures, question, check slots and counts",
            (None, _) => "signatures and question (the counts are sealed to keys that are not here)",
        };
        words(&verified, opened.as_ref()) + &format!("verified   {checked}\n")
    })
}

fn panel_of(record: &AnswerRecord, args: &VerifyArgs, context: &Context) -> Result<Panel, CommandError> {
    if let Some(path) = &args.panel {
        return read_panel(path);
    }
    let digest = record.order.as_ref().map(|order| order.panel_digest.as_ref()).unwrap_or_default();
    let digest = <[u8; 32]>::try_from(digest).map(PanelDigest).ok();
    let kept = match digest {
        Some(digest) => context.kept_panel(digest)?,
        None => None,
    };
    kept.ok_or_else(|| CommandError::Usage("the panel is not kept here: name its file with --panel".to_owned()))
}

fn compare_table(path: &Path, expected: &[u8]) -> Result<(), CommandError> {
    let found = fs::read(path).map_err(CommandError::file(path))?;
    if found == expected {
        return Ok(());
    }
    let lines = found.split(|byte| *byte == b'\n').zip(expected.split(|byte| *byte == b'\n'));
    let line = 1 + lines.take_while(|(left, right)| left == right).count();
    Err(CommandError::OtherTable { table: path.to_path_buf(), line })
}

pub(super) fn describe(verified: &VerifiedAnswer, opened: Option<&OpenedAnswer>) -> Value {
    let settlement = verified.settlement();
    let signed_by: Vec<u8> = verified.signed_by().iter().map(|keyholder| keyholder.get()).collect();
    json!({
        "order": verified.order_id().to_string(),
        "tier": verified.order().tier.to_string(),
        "cohort_size": settlement.cohort_size,
        "variant_count": verified.selection().count(),
        "proven_only": verified.requirements().proven_only(),
        "disclosed": verified.disclosed(),
        "price": settlement.price.to_string(),
        "rho": verified.order().rho.to_string(),
        "sigma": opened.and_then(OpenedAnswer::dp_total).map(sigma),
        "signed_by": signed_by,
        "degraded": verified.is_degraded(),
        "cohort_digest": settlement.cohort_digest.to_string(),
        "answer_digest": settlement.answer_digest.to_string(),
        "proven_cohort": verified.cohort().map(|evidence| json!({
            "registry_root": evidence.choice.sequence,
            "day": evidence.choice.day,
            "ciphertexts_opened": verified.is_cohort_opened(),
        })),
        "authenticated": verified.filter().map(|asked| asked.filter().is_authenticated()),
        "selections": selected(verified, opened).iter().map(|selected| json!({
            "name": selected.name,
            "predicate": selected.text,
            "matched": selected.matched,
        })).collect::<Vec<_>>(),
    })
}

/// A selection of a filtered answer, as it is shown.
struct Selected {
    /// What it is in a study; `None` when it stands alone.
    name: Option<String>,
    text: String,
    /// Known when the answer is opened.
    matched: Option<i64>,
}

fn selected(verified: &VerifiedAnswer, opened: Option<&OpenedAnswer>) -> Vec<Selected> {
    let Some(asked) = verified.filter() else { return Vec::new() };
    let kind = StudyKind::of(asked);
    let counts = opened.map(OpenedAnswer::selections).unwrap_or_default();
    let show = |(place, selection)| Selected {
        name: kind.map(|kind| kind.name_of(place)),
        text: asked.describe(selection),
        matched: counts.get(place).map(|counts| counts.matched),
    };
    asked.filter().selections().iter().enumerate().map(show).collect()
}

pub(super) fn words(verified: &VerifiedAnswer, opened: Option<&OpenedAnswer>) -> String {
    let settlement = verified.settlement();
    let tier = verified.order().tier;
    let noise = match opened.and_then(OpenedAnswer::dp_total) {
        Some(total) => format!("standard deviation {:.1} on every count, rho {}", sigma(total), verified.order().rho),
        None if tier == Tier::Exact => "none: exact counts are not differentially private".to_owned(),
        None => format!("rho {}", verified.order().rho),
    };
    let mut text = format!(
        "order      {}\npeople     {}\nvariants   {}\nprice      {} tokens\nnoise      {noise}\n",
        verified.order_id(),
        settlement.cohort_size,
        verified.selection().count(),
        settlement.price,
    );
    if verified.requirements().proven_only() {
        text += "datasets   only those registered with proofs\n";
    }
    for claim in verified.disclosed() {
        text += &format!("disclosed  {claim}\n");
    }
    // The bits of a trait are no groups of people to anybody.
    let is_trait = verified.filter().is_some_and(|asked| matches!(StudyKind::of(asked), Some(StudyKind::Trait { .. })));
    let shown = if is_trait { 1 } else { usize::MAX };
    for Selected { name, text: predicate, matched } in selected(verified, opened).into_iter().take(shown) {
        let name = name.unwrap_or_else(|| "selected".to_owned());
        let matched = matched.map_or_else(String::new, |matched| format!(": {matched} people"));
        text += &format!("{name:<10} {predicate}{matched}\n");
    }
    if let Some(asked) = verified.filter() {
        text += &format!("filter     evaluated with {}\n", asked.describe_evaluation());
        text += "sums       those of a filtered answer are not opened: nobody sees them\n";
    }
    let signers: Vec<String> = verified.signed_by().iter().map(ToString::to_string).collect();
    text += &format!("signed by  keyholders {}\n", signers.join(", "));
    if let Some(evidence) = verified.cohort() {
        let opened = match verified.is_cohort_opened() {
            true => "its ciphertexts add up to what it commits to",
            false if verified.filter().is_some() => "its ciphertexts are not summed in the open",
            false => "the sums of its ciphertexts are not kept with the answer",
        };
        text += &format!("cohort     proven under registry root {}; {opened}\n", evidence.choice.sequence);
    }
    if verified.is_degraded() {
        text += "degraded   a keyholder was missing: two of the three shares were not compared between holders\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("t.tsv");
        fs::write(&path, b"a\nb\nc\n").expect("written");
        compare_table(&path, b"a\nb\nc\n").expect("the same");
        for (expected, line) in [(&b"a\nx\nc\n"[..], 2), (b"a\nb\n", 3), (b"a\nb\nc\nd\n", 4)] {
            let error = compare_table(&path, expected).expect_err("another");
            assert!(matches!(error, CommandError::OtherTable { line: found, .. } if found == line), "{error}");
        }
    }

    #[test]
    fn results_that_cannot_be_written_are_refused_before_paying() {
        let dir = tempfile::tempdir().expect("a folder");
        check_out(&dir.path().join("counts.tsv")).expect("writable");
        for name in ["missing/counts.tsv", "counts.answer", ""] {
            let refused = check_out(&dir.path().join(name)).expect_err(name);
            assert_eq!(refused.exit_code(), 2);
        }
    }
}
