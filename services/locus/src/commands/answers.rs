//! `locus query` and `locus verify`.

use super::question;
use crate::{
    cli::{CountsArgs, FetchArgs, QueryCommand, VerifyArgs},
    context::{Context, now_unix_s, parse_order, read_panel, write_in_one_step},
    error::CommandError,
    progress::Bars,
};
use locus_client::{
    KeystoreError, Network, Services,
    research::{
        OpenedAnswer, OrderTerms, PlacedOrder, VerifiedAnswer, fetch_answer, fetch_cohort_sums, load_order,
        load_record, open_answer, place_order, quote as ask_for_quote, verify_answer, write_json_lines, write_tsv,
    },
};
use locus_genomics::{Panel, PanelDigest};
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
        QueryCommand::Fetch(args) => fetch(args, context).await,
    }
}

/// Asks for the price, orders, fetches, opens, writes.
async fn counts(args: CountsArgs, context: &Context) -> Result<(), CommandError> {
    check_out(&args.out)?;
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let panel = context.panel(&args.question.panel, &services).await?;
    let asked = question::parse(&args.question, &panel)?;
    let quote = ask_for_quote(&services, &network, &panel, keystore.address(), &asked).await?;
    if quote.price > args.max_price {
        return Err(CommandError::TooExpensive { price: quote.price, max_price: args.max_price });
    }
    quote.warnings.iter().for_each(|warning| context.output.note(&format!("warning: {warning}")));
    let terms = OrderTerms { max_price: args.max_price, lifetime_s: None };
    let orders = context.folder.orders();
    let placed = place_order(&services, &network, &keystore, &asked, &terms, &orders, now_unix_s()).await?;
    context.output.note(&format!(
        "order {} is placed; if this stops, fetch its answer with `locus query fetch`",
        placed.order_id
    ));
    finish(&services, &network, &panel, &placed, &args.out, context).await
}

async fn fetch(args: FetchArgs, context: &Context) -> Result<(), CommandError> {
    check_out(&args.out)?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let panel = context.panel(&args.panel, &services).await?;
    let placed = load_order(&context.folder.orders(), parse_order(&args.order)?, &panel, &network)?;
    finish(&services, &network, &panel, &placed, &args.out, context).await
}

/// Fetches the answer to a placed order and writes the table and the answer file beside it.
async fn finish(
    services: &Services,
    network: &Network,
    panel: &Panel,
    placed: &PlacedOrder,
    out: &Path,
    context: &Context,
) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let kept = context.folder.answer_file(placed.order_id);
    let bars = Bars::new(context.output);
    let mut record = fetch_answer(services, &keystore, placed, &kept, bars.as_ref()).await?;
    fetch_cohort_sums(services, panel, &mut record, &kept, bars.as_ref()).await?;
    bars.clear();
    let (verified, opened) = open_answer(&record, panel, network, keystore.sealing_key())?;
    write_in_one_step(out, &table(&opened, panel, out)?)?;
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

fn describe(verified: &VerifiedAnswer, opened: Option<&OpenedAnswer>) -> Value {
    let settlement = verified.settlement();
    let signed_by: Vec<u8> = verified.signed_by().iter().map(|keyholder| keyholder.get()).collect();
    json!({
        "order": verified.order_id().to_string(),
        "tier": verified.order().tier.to_string(),
        "cohort_size": settlement.cohort_size,
        "variant_count": verified.selection().count(),
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
    })
}

fn words(verified: &VerifiedAnswer, opened: Option<&OpenedAnswer>) -> String {
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
    let signers: Vec<String> = verified.signed_by().iter().map(ToString::to_string).collect();
    text += &format!("signed by  keyholders {}\n", signers.join(", "));
    if let Some(evidence) = verified.cohort() {
        let opened = match verified.is_cohort_opened() {
            true => "its ciphertexts add up to what it commits to",
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
