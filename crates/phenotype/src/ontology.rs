//! Which terms are kinds of which.

use crate::{curie::Curie, error::SchemaError};
use std::collections::{BTreeMap, BTreeSet};

/// Most rows of a table: four times those of the largest phenotype ontologies.
const ROWS_MAX: usize = 1 << 18;

/// A versioned excerpt of ontologies: rows "child is a parent". Terms of different ontologies may
/// be related, which is how codes of one are mapped to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ontology {
    version: String,
    parents: BTreeMap<Curie, BTreeSet<Curie>>,
    children: BTreeMap<Curie, BTreeSet<Curie>>,
}

impl Ontology {
    /// The table with these (child, parent) rows.
    ///
    /// # Errors
    /// [`SchemaError::Cycle`], [`SchemaError::TooManyRows`] or, for the version, [`SchemaError::Name`].
    pub fn try_new(version: &str, rows: impl IntoIterator<Item = (Curie, Curie)>) -> Result<Self, SchemaError> {
        crate::schema::check_name(version)?;
        let (mut parents, mut children) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeMap::<_, BTreeSet<_>>::new());
        let mut count = 0;
        for (child, parent) in rows {
            count += 1;
            children.entry(parent.clone()).or_default().insert(child.clone());
            parents.entry(child).or_default().insert(parent);
        }
        if count > ROWS_MAX {
            return Err(SchemaError::TooManyRows { max: ROWS_MAX, got: count });
        }
        let ontology = Self { version: version.to_owned(), parents, children };
        ontology.check_order()?;
        Ok(ontology)
    }

    /// The table's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All rows (child, parent), ascending.
    pub fn rows(&self) -> impl Iterator<Item = (&Curie, &Curie)> {
        self.parents.iter().flat_map(|(child, parents)| parents.iter().map(move |parent| (child, parent)))
    }

    /// All terms that `term` is a kind of, itself left out.
    pub fn ancestors(&self, term: &Curie) -> BTreeSet<Curie> {
        reachable(&self.parents, term)
    }

    /// All terms that are kinds of `term`, itself left out.
    pub fn descendants(&self, term: &Curie) -> BTreeSet<Curie> {
        reachable(&self.children, term)
    }

    /// Takes terms away that have no parent left, until none is left or the rest is a cycle.
    fn check_order(&self) -> Result<(), SchemaError> {
        let mut open: BTreeMap<&Curie, usize> = self.parents.iter().map(|(child, all)| (child, all.len())).collect();
        let mut ready: Vec<&Curie> = self.children.keys().filter(|term| !open.contains_key(term)).collect();
        while let Some(term) = ready.pop() {
            for child in self.children.get(term).into_iter().flatten() {
                if let Some(count) = open.get_mut(child) {
                    *count -= 1;
                    if *count == 0 {
                        open.remove(child);
                        ready.push(child);
                    }
                }
            }
        }
        match open.into_keys().find(|term| self.ancestors(term).contains(*term)) {
            Some(term) => Err(SchemaError::Cycle(term.clone())),
            None => Ok(()),
        }
    }
}

fn reachable(edges: &BTreeMap<Curie, BTreeSet<Curie>>, start: &Curie) -> BTreeSet<Curie> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(term) = open.pop() {
        for next in edges.get(term).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(text: &str) -> Curie {
        text.parse().expect("a term")
    }

    fn table(rows: &[(&str, &str)]) -> Result<Ontology, SchemaError> {
        Ontology::try_new("1", rows.iter().map(|(child, parent)| (term(child), term(parent))))
    }

    #[test]
    fn ancestors_and_descendants_follow_all_paths() {
        let ontology =
            table(&[("A:4", "A:2"), ("A:4", "A:3"), ("A:2", "A:1"), ("A:3", "A:1"), ("B:1", "A:3")]).expect("no cycle");
        assert_eq!(ontology.ancestors(&term("A:4")), ["A:1", "A:2", "A:3"].map(term).into());
        assert_eq!(ontology.descendants(&term("A:3")), ["A:4", "B:1"].map(term).into());
        assert!(ontology.descendants(&term("C:9")).is_empty());
    }

    #[test]
    fn a_cycle_is_refused() {
        assert!(matches!(table(&[("A:1", "A:2"), ("A:2", "A:3"), ("A:3", "A:1")]), Err(SchemaError::Cycle(_))));
        assert!(matches!(table(&[("A:1", "A:1")]), Err(SchemaError::Cycle(_))));
        assert!(matches!(table(&[("A:1", "A:0"), ("A:2", "A:3"), ("A:3", "A:2")]), Err(SchemaError::Cycle(_))));
    }
}
