//! What an opened answer says.

use crate::research::table::VariantCounts;
use locus_phenotype::Selection;
use locus_privacy::{Rho, SigmaSquared, Tier};

/// An opened answer.
#[derive(Debug, Clone)]
pub struct OpenedAnswer {
    pub(crate) tier: Tier,
    pub(crate) rho: Rho,
    pub(crate) cohort_size: u32,
    pub(crate) dp_total: Option<SigmaSquared>,
    pub(crate) rows: Vec<VariantCounts>,
    pub(crate) selections: Vec<SelectionCounts>,
}

/// Counts of the people of one selection of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectionCounts {
    /// The selection.
    pub selection: Selection,
    /// It in words.
    pub text: String,
    /// People selected, with the noise of a counter; for a bit of a quantity those in whom it is set.
    pub matched: i64,
    /// For the lowest bit of a quantity: the sum of u^2 over its people, with noise of its own.
    pub square_sum: Option<i64>,
    /// Counts of every variant asked for, in panel order.
    pub rows: Vec<VariantCounts>,
}

impl OpenedAnswer {
    /// Counts of every variant asked for over the whole cohort, in panel order; empty in filtered answers.
    pub fn rows(&self) -> &[VariantCounts] {
        &self.rows
    }

    /// Counts of every selection of the filter, in its order; empty in answers about whole cohorts.
    pub fn selections(&self) -> &[SelectionCounts] {
        &self.selections
    }

    /// People in the cohort, whether a filter selects them or not.
    pub fn cohort_size(&self) -> u32 {
        self.cohort_size
    }

    /// The privacy tier.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Privacy loss bought; zero in the exact tier.
    pub fn rho(&self) -> Rho {
        self.rho
    }

    /// Variance of the noise in every counter and matched number; `None` for exact counts.
    pub fn dp_total(&self) -> Option<SigmaSquared> {
        self.dp_total
    }

    #[cfg(test)]
    pub(crate) fn for_tests(tier: Tier, rho: Rho, cohort_size: u32, rows: Vec<VariantCounts>) -> Self {
        let variants = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let dp_total = SigmaSquared::total(variants, rho).ok();
        Self { tier, rho, cohort_size, dp_total, rows, selections: Vec::new() }
    }
}
