//! Which rows of a part to read, so that it is never more than half of them.

use locus_store::{ReadWindow, read_windows};

/// How the sum over some rows of a part comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartPlan {
    /// Whether to start from the stored sum over all rows and take the read rows away, or to add
    /// the read rows up.
    pub(crate) from_total: bool,
    /// The rows to read.
    pub(crate) windows: Vec<ReadWindow>,
}

impl PartPlan {
    /// The plan for summing the rows at `selected` (ascending) of a part of `rows` rows.
    pub(crate) fn new(selected: &[u32], rows: u32) -> Self {
        if selected.len() * 2 <= rows as usize {
            return Self { from_total: false, windows: read_windows(selected) };
        }
        let mut rest = selected.iter().copied().peekable();
        let unselected: Vec<u32> = (0..rows).filter(|&row| rest.next_if_eq(&row).is_none()).collect();
        Self { from_total: true, windows: read_windows(&unselected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn read(plan: &PartPlan) -> BTreeSet<u32> {
        plan.windows.iter().flat_map(|window| window.runs().iter().cloned().flatten()).collect()
    }

    #[test]
    fn all_rows_need_no_reading_and_no_rows_need_no_total() {
        let all: Vec<u32> = (0..1024).collect();
        assert_eq!(PartPlan::new(&all, 1024), PartPlan { from_total: true, windows: Vec::new() });
        assert_eq!(PartPlan::new(&[], 1024), PartPlan { from_total: false, windows: Vec::new() });
    }

    proptest! {
        #[test]
        fn never_more_than_half_of_the_rows_are_read(
            rows in 1u32..1025, selected in prop::collection::btree_set(0u32..1024, 0..1024),
        ) {
            let selected: BTreeSet<u32> = selected.into_iter().filter(|&row| row < rows).collect();
            let plan = PartPlan::new(&selected.iter().copied().collect::<Vec<_>>(), rows);
            let read = read(&plan);
            prop_assert!(read.len() * 2 <= rows as usize);
            let expected: BTreeSet<u32> =
                if plan.from_total { (0..rows).filter(|row| !selected.contains(row)).collect() } else { selected };
            prop_assert_eq!(read, expected);
            for window in &plan.windows {
                prop_assert!(window.row_count() <= 64 && window.row_count() > 0);
            }
        }
    }
}
