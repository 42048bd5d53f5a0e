//! Clause 8: what the researcher buys about people whom nobody sees.

use super::{Demo, Enrolment, purchases::Purchase};
use crate::{
    context::now_unix_s,
    demo::report::{Report, check},
    error::CommandError,
    progress::Bars,
};
use locus_client::{
    enrol::{AttributeInput, add_attributes},
    research::{
        AskedFilter, Question, SelectionCounts, StudyFacts, association_table, case_control_filter, quote, study_files,
        study_of,
    },
};
use locus_genomics::{Panel, VariantSelection};
use locus_intake::{AttributeMapping, AttributeSource, read_attributes};
use locus_phenotype::{AttributeSchema, Predicate, Selection};
use locus_privacy::Tier;
use locus_report::Method;
use serde_json::json;
use std::{fs, sync::Arc, time::Instant};

const SCHEMA: &str = include_str!("../../../demo/attributes.json");
const TABLE: &str = include_str!("../../../demo/kgp3_attributes.tsv");
/// Who is counted, and how a line of the table says it.
const EUROPEAN_WITH_DIABETES: (&str, [&str; 2]) = ("super_population = 'EUR' and HP:0000819", ["EUR", "yes"]);
const CASES: (&str, &str) = ("HP:0000819", "yes");
const CONTROLS: (&str, &str) = ("not HP:0000819", "no");

/// What is known of a person in the table.
struct Line {
    super_population: &'static str,
    has_diabetes: &'static str,
}

impl Demo {
    /// Attributes for everybody, a filtered count and an association study, held against the plaintext.
    pub(super) async fn ask_about_selected(
        &self,
        enrolment: &Enrolment,
        report: &mut Report,
    ) -> Result<[Purchase; 2], CommandError> {
        let schema = Arc::new(self.add_attributes(enrolment, report).await?);
        let counted = self.count_selected(&schema, enrolment, report).await?;
        let studied = self.study(&schema, enrolment, report).await?;
        Ok([counted, studied])
    }

    async fn add_attributes(
        &self,
        enrolment: &Enrolment,
        report: &mut Report,
    ) -> Result<AttributeSchema, CommandError> {
        let began = Instant::now();
        let schema = AttributeSchema::parse_json(SCHEMA)
            .map_err(|error| CommandError::Demo(format!("the demo's schema is refused: {error}")))?;
        let table = self.folder.join("genomes").join("attributes.tsv");
        fs::write(&table, TABLE).map_err(CommandError::file(&table))?;
        let intake = read_attributes(&AttributeSource::Table(table), &schema, &AttributeMapping::default())?;
        let input = AttributeInput::of_intake(schema.clone(), intake);
        let (services, network, keys) = (&self.services, &self.network, &self.biobank.keys);
        let (records, bars) = (self.biobank.folder.enrolments(), Bars::new(report.output));
        let registration = enrolment.biobank.registration;
        let added = add_attributes(services, network, keys, &records, registration, &input, now_unix_s(), bars).await?;
        let people = enrolment.biobank.datasets.len();
        check(added.matched == people, || format!("{} of {people} people have attributes", added.matched))?;
        let found = format!(
            "{} attributes of {people} people shared among 3 keyholders, none of whom can read them (all made up)",
            schema.attribute_count()
        );
        report.stage("add attributes", began, found);
        Ok(schema)
    }

    /// Orders exact counts of selected people, and opens them.
    async fn buy_filtered(
        &self,
        filter: AskedFilter,
        panel: &Panel,
        report: &Report,
    ) -> Result<Purchase, CommandError> {
        let whole = super::purchases::ask(VariantSelection::all(panel), Tier::Exact);
        let question = Question { query_class: filter.query_class(), filter: Some(filter), ..whole };
        let quoted = quote(&self.services, &self.network, panel, self.researcher.keys.address(), &question).await?;
        let placed = self.order(&question, quoted.price, None).await?;
        self.fetch(placed, panel, report).await
    }

    async fn count_selected(
        &self,
        schema: &Arc<AttributeSchema>,
        enrolment: &Enrolment,
        report: &mut Report,
    ) -> Result<Purchase, CommandError> {
        let began = Instant::now();
        let (text, [super_population, has_diabetes]) = EUROPEAN_WITH_DIABETES;
        let filter = AskedFilter::try_new(vec![people_of(text, schema)?], schema.clone()).map_err(refused)?;
        let bought = self.buy_filtered(filter, &enrolment.panel, report).await?;
        let [counts] = bought.opened.selections() else { return Err(not_selected()) };
        let is_meant = |line: &Line| line.super_population == super_population && line.has_diabetes == has_diabetes;
        self.check_counts(counts, &enrolment.panel, is_meant)?;
        let found = format!(
            "{text}: {} of {} people match, {} variants, all equal to the plaintext; nobody saw who",
            counts.matched,
            bought.opened.cohort_size(),
            counts.rows.len()
        );
        report.stage("filter", began, found);
        report.figure("filtered", json!({ "matched": counts.matched, "variants": counts.rows.len() }));
        Ok(bought)
    }

    async fn study(
        &self,
        schema: &Arc<AttributeSchema>,
        enrolment: &Enrolment,
        report: &mut Report,
    ) -> Result<Purchase, CommandError> {
        let began = Instant::now();
        let panel = &enrolment.panel;
        let [cases, controls] = [CASES.0, CONTROLS.0].map(|text| predicate_of(text, schema));
        let filter = case_control_filter(&cases?, &controls?, None, schema.clone()).map_err(refused)?;
        let bought = self.buy_filtered(filter, panel, report).await?;
        let [case_counts, control_counts] = bought.opened.selections() else { return Err(not_selected()) };
        self.check_counts(case_counts, panel, |line| line.has_diabetes == CASES.1)?;
        self.check_counts(control_counts, panel, |line| line.has_diabetes == CONTROLS.1)?;
        let asked = bought.verified.filter().ok_or_else(not_selected)?;
        let table = association_table(&bought.opened, asked, panel, Method::Allelic).map_err(refused)?;
        let facts = StudyFacts {
            title: Some("Diabetes, made up".to_owned()),
            ancestry_category: "NR".to_owned(),
            genotyping_technology: "NR".to_owned(),
            date: crate::commands::today(),
            software: concat!("locus ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let study = study_of(&bought.verified, &bought.opened, panel, facts).map_err(refused)?;
        let folder = self.researcher.root.join("association");
        fs::create_dir_all(&folder).map_err(CommandError::file(&folder))?;
        let files = study_files(&table, &study).map_err(refused)?;
        for (name, content) in &files {
            let path = folder.join(name);
            fs::write(&path, content).map_err(CommandError::file(&path))?;
        }
        let found = format!(
            "{} cases, {} controls, {} variants, {} files with plots and a report",
            case_counts.matched,
            control_counts.matched,
            table.rows.len(),
            files.len()
        );
        report.stage("associate", began, found);
        report.figure(
            "association",
            json!({ "cases": case_counts.matched, "controls": control_counts.matched, "files": files.len() }),
        );
        Ok(bought)
    }

    /// Fails unless the counts are those of the people whose lines are meant.
    fn check_counts(
        &self,
        counts: &SelectionCounts,
        panel: &Panel,
        is_meant: impl Fn(&Line) -> bool,
    ) -> Result<(), CommandError> {
        let selected = |person: &&str| line_of(person).is_some_and(|line| is_meant(&line));
        let samples = self.extract.samples().iter().enumerate();
        let places: Vec<usize> = samples.filter(|(_, person)| selected(person)).map(|(place, _)| place).collect();
        check(i64::try_from(places.len()) == Ok(counts.matched), || {
            format!("{} people match, in the table {}", counts.matched, places.len())
        })?;
        let truth = self.extract.truth_of(panel, &places)?;
        let differing = counts.rows.iter().zip(&truth).filter(|(row, truth)| !truth.is_of(row)).count();
        check(differing == 0 && counts.rows.len() == truth.len(), || {
            format!("{differing} variants differ from the plaintext")
        })
    }
}

/// The line of a person, read without the product's own readers.
fn line_of(person: &str) -> Option<Line> {
    let line = TABLE.lines().find(|line| line.split('\t').next() == Some(person))?;
    let columns: Vec<&'static str> = line.split('\t').collect();
    Some(Line { super_population: columns.get(1)?, has_diabetes: columns.get(3)? })
}

fn predicate_of(text: &str, schema: &AttributeSchema) -> Result<Predicate, CommandError> {
    Predicate::parse(text, schema).map_err(refused)
}

fn people_of(text: &str, schema: &AttributeSchema) -> Result<Selection, CommandError> {
    predicate_of(text, schema).map(Selection::People)
}

fn refused(error: impl std::fmt::Display) -> CommandError {
    CommandError::Demo(error.to_string())
}

fn not_selected() -> CommandError {
    CommandError::Demo("the answer has other selections than were asked for".to_owned())
}
