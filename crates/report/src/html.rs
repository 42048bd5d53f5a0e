//! One HTML file that holds everything: facts, plots, the strongest results.

use crate::{
    association::{AssociationTable, EffectKind},
    error::ReportError,
    plink::number,
    plot::{Plot, PlotKind},
    study::{CohortCounts, Study},
};
use std::io::Write;

/// Rows of the table of strongest results.
const TOP_ROWS: usize = 25;

const STYLE: &str = "body{font-family:sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;text-align:left;border-bottom:1px solid #ddd;\
overflow-wrap:anywhere}td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}";

/// Writes the report of a study. The file refers to nothing outside itself and runs no script.
///
/// # Errors
/// [`ReportError::Write`], and what the plots refuse.
pub fn write_html(study: &Study, table: &AssociationTable, out: &mut impl Write) -> Result<(), ReportError> {
    let title = escape(&study.trait_description);
    write!(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>")?;
    write!(
        out,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    )?;
    writeln!(out, "<style>{STYLE}</style></head><body>\n<h1>{title}</h1>")?;
    write_facts(study, table, out)?;
    for (kind, name) in [
        (PlotKind::Manhattan, "Association along the genome"),
        (PlotKind::Quantiles, "Observed and expected p-values"),
        (PlotKind::Frequencies, "Allele frequencies"),
    ] {
        match Plot::new(kind, table, name) {
            Ok(plot) => writeln!(out, "<figure>{}</figure>", plot.to_svg()?)?,
            Err(ReportError::NothingToPlot) => writeln!(out, "<p>{name}: no variant has a result.</p>")?,
            Err(other) => return Err(other),
        }
    }
    write_top(table, out)?;
    writeln!(out, "</body></html>")?;
    Ok(())
}

fn write_facts(study: &Study, table: &AssociationTable, out: &mut impl Write) -> Result<(), ReportError> {
    let people = match study.counts {
        CohortCounts::CaseControl { cases, controls } => format!("{cases} cases, {controls} controls"),
        CohortCounts::Quantitative { people } => format!("{people} with a trait value"),
    };
    let tested = table.rows.iter().filter(|row| row.p_value.is_some()).count();
    let noise = match study.noise.sigma {
        Some(sigma) => format!(
            "Gaussian, standard deviation {} people in every counter; standard errors and p-values include it",
            number(Some(sigma))
        ),
        None => "none: these counts are exact and not differentially private".to_owned(),
    };
    let mut facts = vec![
        ("People", people),
        ("Panel", format!("{} ({}), {} variants, {tested} tested", study.panel, study.assembly, table.rows.len())),
        ("Method", table.method.describe().to_owned()),
        ("Noise", noise),
        ("Selected with", study.evaluation.clone()),
        ("Privacy", format!("tier {}, rho {}", study.noise.tier, study.noise.rho)),
        (
            "Genomic control lambda",
            table.lambda().map_or_else(|| "not defined".to_owned(), |lambda| format!("{lambda:.4}")),
        ),
        ("Date", study.date.clone()),
        ("Software", study.software.clone()),
    ];
    facts.extend(study.selections.iter().map(|(name, predicate)| (name.as_str(), predicate.clone())));
    facts.extend(study.ontology_terms.iter().map(|term| ("Ontology term", term.clone())));
    facts.extend(study.order_ids.iter().map(|id| ("Order", id.clone())));
    facts.extend(study.proof_ids.iter().map(|id| ("Proof", id.clone())));
    writeln!(out, "<table>")?;
    for (name, value) in facts {
        writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(&value))?;
    }
    writeln!(out, "</table>")?;
    Ok(())
}

fn write_top(table: &AssociationTable, out: &mut impl Write) -> Result<(), ReportError> {
    let effect_name = match table.effect_kind {
        EffectKind::OddsRatio => "odds ratio",
        EffectKind::Beta => "beta",
    };
    writeln!(out, "<h2>Smallest p-values</h2>\n<table><tr><th>variant</th><th>frequency</th><th>{effect_name}</th>")?;
    writeln!(out, "<th>95 % interval</th><th>p</th></tr>")?;
    for row in table.top(TOP_ROWS) {
        let interval = row.effect.map_or_else(
            || "NA".to_owned(),
            |effect| format!("{} to {}", number(Some(effect.interval.0)), number(Some(effect.interval.1))),
        );
        let cells =
            [number(row.frequency), number(row.effect.map(|effect| effect.estimate)), interval, number(row.p_value)];
        write!(out, "<tr><td>{}</td>", escape(&row.id()))?;
        for cell in cells {
            write!(out, "<td class=\"n\">{cell}</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>")?;
    Ok(())
}

/// Text as HTML shows it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
