//! What a result is a result of.

use locus_genomics::Assembly;

/// How many people the counts are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CohortCounts {
    /// Cases and controls.
    CaseControl {
        /// Cases.
        cases: i64,
        /// Controls.
        controls: i64,
    },
    /// People with a trait value.
    Quantitative {
        /// People.
        people: i64,
    },
}

impl CohortCounts {
    /// Everybody.
    pub fn people(&self) -> i64 {
        match self {
            Self::CaseControl { cases, controls } => cases.saturating_add(*controls),
            Self::Quantitative { people } => *people,
        }
    }
}

/// Which noise the counts carry.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseStatement {
    /// Standard deviation of the noise in every counter, in people; `None` for exact counts.
    pub sigma: Option<f64>,
    /// Privacy loss of the answer, as it was charged.
    pub rho: String,
    /// Tier of the answer.
    pub tier: String,
}

/// Everything about a study that its files and report state. All of it is shown as it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Trait, in the researcher's words.
    pub trait_description: String,
    /// Ontology terms of the trait.
    pub ontology_terms: Vec<String>,
    /// Name of the panel.
    pub panel: String,
    /// Its assembly.
    pub assembly: Assembly,
    /// Who was asked about, as predicates: name and text.
    pub selections: Vec<(String, String)>,
    /// How they were selected: with which shares.
    pub evaluation: String,
    /// People.
    pub counts: CohortCounts,
    /// Broad ancestry of the people, as the GWAS Catalog names it; `NR` when not reported.
    pub ancestry_category: String,
    /// How genotypes were obtained.
    pub genotyping_technology: String,
    /// Noise.
    pub noise: NoiseStatement,
    /// Orders that bought the counts.
    pub order_ids: Vec<String>,
    /// Proofs and settlements that the answers can be held against.
    pub proof_ids: Vec<String>,
    /// Day of the answer, `YYYY-MM-DD`.
    pub date: String,
    /// Program and version.
    pub software: String,
}
