//! GWAS-SSF, the summary statistics format of the GWAS Catalog, version 1.0.

use crate::{
    association::{AssociationRow, AssociationTable, EffectKind, Method},
    error::ReportError,
    plink::six_digits,
    study::{CohortCounts, Study},
};
use md5::{Digest, Md5};
use std::{fmt::Write as _, io::Write};

/// What the data file is, for its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsfSummary {
    /// MD5 of the bytes written, lower-case hexadecimal.
    pub md5: String,
    /// Variants written.
    pub variants: u64,
    /// Variants left out because a mandatory field cannot be computed.
    pub left_out: u64,
    /// Whether a p-value was too small for a 64-bit float and is written as 0.
    pub has_zero_p: bool,
}

/// Writes the data file: the eight mandatory columns in their order, then `variant_id`, `ref_allele`,
/// `n` and, for odds ratios and betas alike, `ci_lower` and `ci_upper`. Frequencies that noise moved
/// out of 0 to 1 are written as 0 or 1.
///
/// # Errors
/// [`ReportError::Write`].
pub fn write_ssf(table: &AssociationTable, out: &mut impl Write) -> Result<SsfSummary, ReportError> {
    let mut hash = Md5::new();
    let mut emit = |line: &str| -> Result<(), ReportError> {
        hash.update(line.as_bytes());
        out.write_all(line.as_bytes())?;
        Ok(())
    };
    let effect = match table.effect_kind {
        EffectKind::OddsRatio => "odds_ratio",
        EffectKind::Beta => "beta",
    };
    emit(&format!(
        "chromosome\tbase_pair_location\teffect_allele\tother_allele\t{effect}\tstandard_error\t\
         effect_allele_frequency\tp_value\tvariant_id\tref_allele\tn\tci_lower\tci_upper\n"
    ))?;
    let (mut variants, mut left_out, mut has_zero_p) = (0, 0, false);
    for row in &table.rows {
        match line(row) {
            Some(text) => {
                emit(&text)?;
                variants += 1;
                has_zero_p |= row.p_value == Some(0.0);
            }
            None => left_out += 1,
        }
    }
    let md5 = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(SsfSummary { md5, variants, left_out, has_zero_p })
}

fn line(row: &AssociationRow) -> Option<String> {
    let (effect, frequency, p_value) = (row.effect?, row.frequency?, row.p_value?);
    let AssociationRow { chrom, position, ref_allele, alt_allele, .. } = row;
    let is_finite = [effect.estimate, effect.standard_error, frequency, p_value].iter().all(|value| value.is_finite());
    if !is_finite {
        return None;
    }
    let numbers = [effect.estimate, effect.standard_error, frequency.clamp(0.0, 1.0), p_value].map(six_digits);
    let interval = [effect.interval.0, effect.interval.1].map(six_digits);
    Some(format!(
        "{chrom}\t{position}\t{alt_allele}\t{ref_allele}\t{}\t{chrom}_{position}_{ref_allele}_{alt_allele}\tOA\t{}\t{}\n",
        numbers.join("\t"),
        six_digits(row.called),
        interval.join("\t"),
    ))
}

/// The metadata file `NAME-meta.yaml` of the data file called `data_file_name`.
pub fn ssf_metadata(study: &Study, method: Method, data_file_name: &str, data: &SsfSummary) -> String {
    let mut yaml = String::from("---\n");
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(yaml, "{name}: {value}");
    };
    field("author_notes", &quoted(&notes(study, method, data)));
    field("date_metadata_last_modified", &study.date);
    field("trait_description", &list(std::slice::from_ref(&study.trait_description)));
    if !study.ontology_terms.is_empty() {
        field("ontology_mapping", &list(&study.ontology_terms));
    }
    field("genome_assembly", &study.assembly.to_string());
    field("coordinate_system", "1-based");
    field("genotyping_technology", &list(std::slice::from_ref(&study.genotyping_technology)));
    let mut sample =
        format!("\n  - sample_ancestry_category: {}", list(std::slice::from_ref(&study.ancestry_category)));
    let _ = write!(sample, "\n    sample_size: {}", study.counts.people().max(0));
    if let CohortCounts::CaseControl { cases, controls } = study.counts {
        let _ = write!(sample, "\n    case_control_study: true");
        let _ = write!(sample, "\n    case_count: {}\n    control_count: {}", cases.max(0), controls.max(0));
    } else {
        let _ = write!(sample, "\n    case_control_study: false");
    }
    field("samples", &sample);
    field("data_file_name", &quoted(data_file_name));
    field("file_type", "GWAS-SSF v1.0");
    field("data_file_md5sum", &data.md5);
    field("analysis_software", &quoted(&study.software));
    field("is_harmonised", "false");
    field("is_sorted", "true");
    yaml
}

fn notes(study: &Study, method: Method, data: &SsfSummary) -> String {
    let mut notes = format!("Method: {}. Tier: {}, rho {}.", method.describe(), study.noise.tier, study.noise.rho);
    match study.noise.sigma {
        Some(sigma) => {
            let _ = write!(
                notes,
                " Counts carry Gaussian noise of standard deviation {}, which the standard errors and p-values include;\
                 frequencies are limited to 0 to 1.",
                six_digits(sigma)
            );
        }
        None => notes.push_str(" Counts are exact."),
    }
    let _ = write!(notes, " Selected with {}.", study.evaluation);
    if data.left_out > 0 {
        let _ = write!(notes, " {} variants without a computable effect are left out.", data.left_out);
    }
    if data.has_zero_p {
        notes.push_str(" p-values below 1e-308 are written as 0.");
    }
    for id in &study.order_ids {
        let _ = write!(notes, " Order {id}.");
    }
    notes
}

/// A list of strings in YAML's flow form.
fn list(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", values.join(", "))
}

/// JSON strings are YAML strings.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
