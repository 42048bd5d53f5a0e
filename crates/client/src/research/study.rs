//! The files of an association study, as bytes; nothing is written here.

use crate::research::{AssociationError, OpenedAnswer, StudyKind, VerifiedAnswer};
use locus_genomics::Panel;
use locus_phenotype::AttributeKey;
use locus_privacy::report::sigma;
use locus_report::{
    AssociationTable, CohortCounts, NoiseStatement, Plot, PlotKind, ReportError, Study, ssf_metadata, write_html,
    write_parquet, write_plink_tsv, write_ssf,
};
use std::collections::BTreeSet;

/// What a study states that its answer does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyFacts {
    /// The trait in the researcher's words; `None` for the selections themselves.
    pub title: Option<String>,
    /// Broad ancestry of the people, as the GWAS Catalog names it; `NR` when not reported.
    pub ancestry_category: String,
    /// How genotypes were obtained, as the GWAS Catalog names it; `NR` when not reported.
    pub genotyping_technology: String,
    /// Day of the answer, `YYYY-MM-DD`.
    pub date: String,
    /// Program and version.
    pub software: String,
}

const SSF_FILE: &str = "association.ssf.tsv";
/// Plots, by the names of their files.
const PLOTS: [(PlotKind, &str, &str); 3] = [
    (PlotKind::Manhattan, "manhattan", "Association along the genome"),
    (PlotKind::Quantiles, "quantiles", "Observed and expected p-values"),
    (PlotKind::Frequencies, "frequencies", "Allele frequencies"),
];

/// The study that a verified and opened answer is of.
///
/// # Errors
/// [`AssociationError::NoStudy`] when its selections make none.
pub fn study_of(
    verified: &VerifiedAnswer,
    opened: &OpenedAnswer,
    panel: &Panel,
    facts: StudyFacts,
) -> Result<Study, AssociationError> {
    let asked = verified.filter().ok_or(AssociationError::NoStudy)?;
    let kind = StudyKind::of(asked).ok_or(AssociationError::NoStudy)?;
    let selections: Vec<(String, String)> = opened
        .selections()
        .iter()
        // How many people have a bit of a square tells nobody anything.
        .take(kind.group_count().unwrap_or(usize::MAX))
        .enumerate()
        .map(|(place, counts)| (kind.name_of(place), format!("{} ({} people)", counts.text, counts.matched)))
        .collect();
    let matched_of =
        |first: usize| opened.selections().iter().skip(first).step_by(2).map(|counts| counts.matched).sum();
    let texts = |place: usize| opened.selections().get(place).map_or("", |counts| counts.text.as_str());
    let (counts, title) = match kind {
        StudyKind::CaseControl | StudyKind::Stratified => {
            let counts = CohortCounts::CaseControl { cases: matched_of(0), controls: matched_of(1) };
            (counts, format!("{} versus {}", texts(0), texts(1)))
        }
        StudyKind::Trait { quantity, .. } => {
            let people = opened.selections().first().map_or(0, |counts| counts.matched);
            let name = asked.schema().attribute(quantity).map(|attribute| attribute.key.to_string());
            (CohortCounts::Quantitative { people }, name.unwrap_or_default())
        }
    };
    let mut proof_ids = vec![
        format!("answer digest {}", verified.settlement().answer_digest),
        format!("cohort digest {}", verified.settlement().cohort_digest),
    ];
    proof_ids.extend(verified.cohort().map(|evidence| format!("registry root {}", evidence.choice.sequence)));
    Ok(Study {
        trait_description: facts.title.unwrap_or(title),
        ontology_terms: terms_of(verified),
        panel: panel.name().to_owned(),
        assembly: panel.assembly(),
        selections,
        evaluation: asked.describe_evaluation().to_owned(),
        counts,
        ancestry_category: facts.ancestry_category,
        genotyping_technology: facts.genotyping_technology,
        noise: NoiseStatement {
            sigma: opened.dp_total().map(sigma),
            rho: opened.rho().to_string(),
            tier: opened.tier().to_string(),
        },
        order_ids: vec![verified.order_id().to_string()],
        proof_ids,
        date: facts.date,
        software: facts.software,
    })
}

/// The ontology terms that the selections ask about.
fn terms_of(verified: &VerifiedAnswer) -> Vec<String> {
    let Some(asked) = verified.filter() else { return Vec::new() };
    let mut terms = BTreeSet::new();
    for predicate in asked.filter().predicates() {
        for index in predicate.attributes() {
            if let Some(AttributeKey::Term(term)) = asked.schema().attribute(index).map(|attribute| &attribute.key) {
                terms.insert(term.to_string());
            }
        }
    }
    terms.into_iter().collect()
}

/// The files of a study, by name: the table in PLINK's form and as Parquet, GWAS-SSF with its metadata,
/// plots (those that have points) as SVG and PNG, and one page.
///
/// # Errors
/// [`ReportError`].
pub fn study_files(table: &AssociationTable, study: &Study) -> Result<Vec<(String, Vec<u8>)>, ReportError> {
    let mut files = Vec::new();
    files.push(("association.tsv".to_owned(), written(|out| write_plink_tsv(table, out))?));
    let mut ssf = Vec::new();
    let summary = write_ssf(table, &mut ssf)?;
    let metadata = ssf_metadata(study, table.method, SSF_FILE, &summary);
    files.push((SSF_FILE.to_owned(), ssf));
    files.push((format!("{SSF_FILE}-meta.yaml"), metadata.into_bytes()));
    files.push(("association.parquet".to_owned(), written(|out| write_parquet(table, out))?));
    for (kind, file, title) in PLOTS {
        match Plot::new(kind, table, title) {
            Ok(plot) => {
                files.push((format!("{file}.svg"), plot.to_svg()?.into_bytes()));
                files.push((format!("{file}.png"), plot.to_png()?));
            }
            Err(ReportError::NothingToPlot) => {}
            Err(error) => return Err(error),
        }
    }
    files.push(("report.html".to_owned(), written(|out| write_html(study, table, out))?));
    Ok(files)
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), ReportError>) -> Result<Vec<u8>, ReportError> {
    let mut bytes = Vec::new();
    write(&mut bytes)?;
    Ok(bytes)
}
