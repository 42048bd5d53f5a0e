//! Reading the bodies of single rows, for sums that only their reader may form.

use crate::{
    engine::{Query, check_selection, select_part},
    error::EngineError,
    object::SelectedPart,
    registered::RegisteredBodies,
};
use locus_commitment::BodyDigest;
use locus_store::{
    BodyBytes, BodyVisitor, Column, Manifest, OpenColumn, PanelStore, SlotSet, StoreError, read_windows,
};

/// What is done with the bodies of some slots, one at a time.
pub trait RowVisitor: Send + 'static {
    /// Takes the body of the dataset at `slot`.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`] ends the reading.
    fn visit(&mut self, slot: u32, body: &BodyBytes) -> Result<(), StoreError>;
}

/// Hands the bodies of the selected slots of one column to `visitor`, each after its digest was checked
/// (SPEC clauses 1 to 3), and returns the visitor. Part by part, not by slot.
///
/// # Errors
/// Those of [`Engine::sum_many`](crate::Engine::sum_many).
pub async fn visit_rows<V: RowVisitor>(
    panel: &PanelStore,
    manifest: &Manifest,
    column: Column,
    selection: &SlotSet,
    registered: &dyn RegisteredBodies,
    visitor: V,
) -> Result<V, EngineError> {
    panel.shape().position(column).map_err(|_| EngineError::UnknownColumn(column))?;
    check_selection(manifest, selection)?;
    let query = Query { panel, manifest, selection, registered };
    let mut visitor = visitor;
    for part in manifest.parts() {
        if let Some(part) = select_part(query, part, &[column]).await? {
            visitor = part.visit(column, visitor).await?;
        }
    }
    Ok(visitor)
}

impl SelectedPart {
    async fn visit<V: RowVisitor>(&self, column: Column, visitor: V) -> Result<V, EngineError> {
        let digests = self.digests().await?.column(column).unwrap_or_default().to_vec();
        let opened = self.reader().column(column)?;
        let slots: Vec<(u32, u32)> =
            self.positions().iter().copied().zip(self.datasets().iter().map(|(slot, _)| *slot)).collect();
        let checked = CheckedRows { visitor, column: opened.column().clone(), digests, slots: slots.into_iter() };
        Ok(opened.visit(read_windows(self.positions()), checked).await?.visitor)
    }
}

/// Checks every body before it is handed on.
struct CheckedRows<V> {
    visitor: V,
    column: OpenColumn,
    digests: Vec<BodyDigest>,
    /// Positions and slots that are read, in this order.
    slots: std::vec::IntoIter<(u32, u32)>,
}

impl<V: RowVisitor> BodyVisitor for CheckedRows<V> {
    fn visit(&mut self, positions: &[u32], bodies: &[BodyBytes]) -> Result<(), StoreError> {
        for (&position, body) in positions.iter().zip(bodies) {
            let (_, slot) = self.slots.find(|(expected, _)| *expected == position).ok_or(StoreError::Interrupted)?;
            self.column.check(&self.digests, position, body)?;
            self.visitor.visit(slot, body)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_commitment::DatasetBodyDigest;
    use locus_genomics::PanelDigest;
    use locus_store::{PanelShape, Store, conformance::SyntheticBatch};
    use std::collections::BTreeMap;

    const BATCH: SyntheticBatch = SyntheticBatch { seed: 5, rows: 70 };

    #[derive(Default)]
    struct Seen(BTreeMap<u32, Vec<u8>>);

    impl RowVisitor for Seen {
        fn visit(&mut self, slot: u32, body: &BodyBytes) -> Result<(), StoreError> {
            self.0.insert(slot, body.to_vec());
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_selected_body_is_seen_once_with_its_slot_and_another_one_is_refused() {
        let shape = PanelShape::try_new(2, true).expect("a shape");
        let panel = Store::memory().panel(PanelDigest([7; 32]), shape);
        BATCH.enrol(&panel, 10).await.expect("it enrols");
        let late = SyntheticBatch { seed: 6, rows: 3 };
        let manifest = late.enrol(&panel, 80).await.expect("it enrols");
        let mut registered: BTreeMap<u32, DatasetBodyDigest> = (10..).zip(BATCH.datasets(shape)).collect();
        registered.extend((80..).zip(late.datasets(shape)));
        let column = shape.columns().nth(1).expect("a column");
        let selection = SlotSet::try_from_iter([11, 12, 64, 79, 82]).expect("small");
        let seen = visit_rows(&panel, &manifest, column, &selection, &registered, Seen::default()).await;
        let expected = |slot: u32| if slot < 80 { BATCH.body(column, slot - 10) } else { late.body(column, slot - 80) };
        let expected: BTreeMap<u32, Vec<u8>> = selection.iter().map(|slot| (slot, expected(slot))).collect();
        assert_eq!(seen.expect("sound").0, expected);

        let other = registered.get(&10).copied().expect("registered");
        registered.insert(12, other);
        let refused = visit_rows(&panel, &manifest, column, &selection, &registered, Seen::default()).await;
        assert!(matches!(refused, Err(EngineError::Store(StoreError::DatasetMismatch { row: 12 }))));
        registered.remove(&12);
        let refused = visit_rows(&panel, &manifest, column, &selection, &registered, Seen::default()).await;
        assert!(matches!(refused, Err(EngineError::NotRegistered { slot: 12 })));
    }
}
