//! Researchers: ask what an answer would cost and be worth, buy it, open it, check it again.

mod answer;
mod association;
mod file;
mod filter;
mod open;
mod opened;
mod opening;
mod order;
mod quote;
mod schema;
#[cfg(test)]
mod scripted;
mod study;
mod table;

pub use answer::{answer_request, fetch_answer};
pub use association::{AssociationError, StudyKind, association_table, case_control_filter, trait_filter};
pub use file::{ANSWER_FILE_VERSION, load_record, save_record};
pub use filter::{AskedFilter, FilterCost};
pub use locus_cohort::Requirements;
pub use open::{AnswerError, VerifiedAnswer, open_answer, verify_answer};
pub use opened::{OpenedAnswer, SelectionCounts};
pub use opening::fetch_cohort_sums;
pub use order::{OrderTerms, PlacedOrder, load_order, place_order, refund_order};
pub use quote::{Quote, quote};
pub use schema::{ListedSchema, get_schema, list_schemas};
pub use study::{StudyFacts, study_files, study_of};
pub use table::{NoisyCalled, VariantCounts, write_json_lines, write_tsv};

use locus_commitment::Digest32;
use locus_genomics::{Condition, Panel, Purpose, SelectionError, VariantSelection};
use locus_ledger::QueryClass;
use locus_privacy::{Rho, Tier};

/// What a researcher wants to know, and under which terms.
#[derive(Debug, Clone)]
pub struct Question {
    /// The variants asked for; they name the panel.
    pub selection: VariantSelection,
    /// Kind of question; [`AskedFilter::query_class`] when there is a filter.
    pub query_class: QueryClass,
    /// Declared purpose.
    pub purpose: Purpose,
    /// Disease studied, when the purpose is one disease.
    pub condition: Option<Condition>,
    /// Privacy tier.
    pub tier: Tier,
    /// Privacy loss asked for; zero in the exact tier.
    pub rho: Rho,
    /// Who of the cohort is counted; `None` for everybody.
    pub filter: Option<AskedFilter>,
    /// What everybody in the cohort must be.
    pub requirements: Requirements,
}

impl Question {
    /// Digest of the condition; zeros for none.
    pub(crate) fn condition_digest(&self) -> Digest32 {
        Digest32(self.condition.as_ref().map_or([0; 32], Condition::digest))
    }
}

/// The variants that a text names: `all`, or ids `chrom:pos:ref:alt` separated by blanks, commas or
/// line ends. Lines that begin with `#` are left out, and of a line with several tab-separated
/// columns the first is the id, so that a table of counts selects its own variants again.
///
/// # Errors
/// [`SelectionError`] for the first id that is malformed or not on the panel.
pub fn parse_variants(panel: &Panel, text: &str) -> Result<VariantSelection, SelectionError> {
    if text.trim() == "all" {
        return Ok(VariantSelection::all(panel));
    }
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("id\t"));
    let ids = lines.flat_map(|line| {
        let has_columns = line.contains('\t');
        let first = line.split('\t').next().unwrap_or(line);
        let taken = if has_columns { first } else { line };
        taken.split([' ', ',']).map(str::trim).filter(|id| !id.is_empty())
    });
    VariantSelection::from_ids(panel, ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn variants_are_named_by_ids_lists_tables_or_all() {
        let panel = testing::panel(20, true);
        let picked = |text: &str| {
            let selection = parse_variants(&panel, text).expect(text);
            selection.indices().map(|index| index.0).collect::<Vec<_>>()
        };
        assert_eq!(picked("all").len(), 20);
        assert_eq!(picked("1:3:A:C,1:1:A:C"), [0, 2]);
        assert_eq!(picked("# mine\n1:3:A:C 1:4:A:C\n\nchr1:9:A:C\n"), [2, 3, 8]);
        assert_eq!(picked("id\tchrom\tpos\n1:3:A:C\t1\t3\n1:5:A:C\t1\t5\n"), [2, 4]);
        assert!(matches!(parse_variants(&panel, "1:3:A:T"), Err(SelectionError::NotOnPanel(_))));
        assert!(matches!(parse_variants(&panel, "rs12"), Err(SelectionError::Id { .. })));
        assert_eq!(parse_variants(&panel, "# nothing\n"), Err(SelectionError::Empty));
    }
}
