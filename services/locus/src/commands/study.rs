//! `locus query association`, and fetching its answer again.

use super::{
    answers::{Market, describe, place, words},
    filter::Asked,
    question,
};
use crate::{
    cli::{AssociationArgs, StudyArgs, TestArg},
    context::{Context, private_folder, write_in_one_step},
    error::CommandError,
};
use locus_client::research::{
    AssociationError, OpenedAnswer, PlacedOrder, StudyFacts, VerifiedAnswer, association_table, study_files, study_of,
    write_tsv,
};
use locus_report::{AssociationTable, EffectKind, Method};
use serde_json::{Value, json};
use std::{fs, io, path::Path};

/// The answer with its proofs, in a study's folder.
const ANSWER_FILE: &str = "order.answer";
/// Counts of every group, in a study's folder.
const COUNTS_FILE: &str = "counts.tsv";
/// Strongest results that are printed.
const TOP_ROWS: usize = 5;

/// Asks for the price, orders, fetches, opens, tests, writes.
pub(super) async fn association(args: &AssociationArgs, context: &Context) -> Result<(), CommandError> {
    check_folder(&args.out)?;
    let market = Market::open(&args.question.panel, context).await?;
    let asked = match (&args.quantity, &args.cases, &args.controls) {
        (Some(quantity), ..) => Asked::Trait { quantity, people: args.people.as_deref() },
        (None, Some(cases), Some(controls)) => Asked::Groups { cases, controls, strata: args.strata.as_deref() },
        _ => return Err(CommandError::Usage("name --cases and --controls, or a --trait".to_owned())),
    };
    let missing_calls = question::counts_missing_exactly(&args.question, &market.panel);
    let filter = asked.filter(&args.schema, &market.services, missing_calls).await?;
    let asked = question::parse(&args.question, &market.panel, filter)?;
    let placed = place(&market, &asked, args.max_price, context).await?;
    finish(&market, &placed, &args.study, &args.out, context).await
}

/// Fetches the answer to a placed order and writes all files of the study.
pub(super) async fn finish(
    market: &Market,
    placed: &PlacedOrder,
    args: &StudyArgs,
    out: &Path,
    context: &Context,
) -> Result<(), CommandError> {
    check_folder(out)?;
    let (kept, verified, opened) = market.fetch(placed, context).await?;
    let panel = &market.panel;
    let asked = verified.filter().ok_or(AssociationError::NoStudy)?;
    let table = association_table(&opened, asked, panel, method(args.test))?;
    let facts = StudyFacts {
        title: args.title.clone(),
        ancestry_category: args.ancestry.clone(),
        genotyping_technology: args.technology.clone(),
        date: super::own::today(),
        software: format!("locus {}", env!("CARGO_PKG_VERSION")),
    };
    let study = study_of(&verified, &opened, panel, facts)?;
    private_folder(out)?;
    let mut names = write_files(out, study_files(&table, &study).map_err(AssociationError::from)?)?;
    let mut counts = Vec::new();
    write_tsv(&opened, panel, &mut counts).map_err(CommandError::file(out))?;
    names.extend(write_files(out, vec![(COUNTS_FILE.to_owned(), counts)])?);
    let answer_file = out.join(ANSWER_FILE);
    fs::copy(&kept, &answer_file).map_err(CommandError::file(&answer_file))?;
    names.push(ANSWER_FILE.to_owned());
    print(&verified, &opened, &table, (out, &names), context)
}

fn method(test: Option<TestArg>) -> Method {
    match test.unwrap_or(TestArg::Allelic) {
        TestArg::Allelic => Method::Allelic,
        TestArg::Trend => Method::Trend,
        TestArg::Dominant => Method::Dominant,
        TestArg::Recessive => Method::Recessive,
        TestArg::Genotypic => Method::Genotypic,
    }
}

/// Before anything is paid: the folder can be written and holds nothing that would be lost.
fn check_folder(out: &Path) -> Result<(), CommandError> {
    match fs::read_dir(out).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => Err(CommandError::Usage(format!("--out {} is not empty: name a new folder", out.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if parent.is_dir() && out.file_name().is_some() {
                return Ok(());
            }
            Err(CommandError::Usage(format!("--out {}: name a folder in one that exists", out.display())))
        }
        Err(error) => Err(CommandError::file(out)(error)),
    }
}

fn write_files(out: &Path, files: Vec<(String, Vec<u8>)>) -> Result<Vec<String>, CommandError> {
    let write = |(name, content): (String, Vec<u8>)| write_in_one_step(&out.join(&name), &content).map(|()| name);
    files.into_iter().map(write).collect()
}

fn print(
    verified: &VerifiedAnswer,
    opened: &OpenedAnswer,
    table: &AssociationTable,
    (out, names): (&Path, &[String]),
    context: &Context,
) -> Result<(), CommandError> {
    let top = table.top(TOP_ROWS);
    let (effect_key, effect_words) = match table.effect_kind {
        EffectKind::OddsRatio => ("odds_ratio", "odds ratio"),
        EffectKind::Beta => ("beta", "beta"),
    };
    let tested = table.rows.iter().filter(|row| row.p_value.is_some()).count();
    let mut value: Value = describe(verified, Some(opened));
    value["test"] = json!(table.method.code());
    value["variants_tested"] = json!(tested);
    value["lambda"] = json!(table.lambda());
    value["top"] = top
        .iter()
        .map(|row| {
            let effect = row.effect.map(|effect| effect.estimate);
            json!({ "id": row.id(), effect_key: effect, "p": row.p_value })
        })
        .collect();
    value["folder"] = json!(out);
    value["files"] = json!(names);
    context.output.result(&value, || {
        let mut text = words(verified, Some(opened));
        text += &format!("test       {}, {tested} variants tested\n", table.method.describe());
        if let Some(lambda) = table.lambda() {
            text += &format!("lambda     {lambda:.4}\n");
        }
        for row in top {
            let effect = row.effect.map_or_else(|| "NA".to_owned(), |effect| format!("{:.4}", effect.estimate));
            text +=
                &format!("           {}  {effect_words} {effect}, p {:.3e}\n", row.id(), row.p_value.unwrap_or(1.0));
        }
        text + &format!("files      {}\n", out.join(names.first().map_or("", |_| "report.html")).display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_files_or_nowhere_are_refused_before_paying() {
        let dir = tempfile::tempdir().expect("a folder");
        check_folder(dir.path()).expect("empty");
        check_folder(&dir.path().join("new")).expect("new");
        let nowhere = check_folder(&dir.path().join("missing/new")).expect_err("nowhere");
        assert_eq!(nowhere.exit_code(), 2);
        fs::write(dir.path().join("old"), b"x").expect("written");
        assert!(check_folder(dir.path()).is_err());
        assert!(check_folder(&dir.path().join("old")).is_err(), "a file");
    }

    #[test]
    fn files_are_written_under_their_names() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = vec![("a.tsv".to_owned(), b"1".to_vec()), ("b.svg".to_owned(), b"2".to_vec())];
        assert_eq!(write_files(dir.path(), files).expect("written"), ["a.tsv", "b.svg"]);
        assert_eq!(fs::read(dir.path().join("b.svg")).expect("there"), b"2");
    }
}
