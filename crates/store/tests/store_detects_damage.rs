//! Damaged, swapped, missing and forged objects give typed errors, never other content.

mod common;

use common::{Backend, content, copy_of, first_column, on_every_backend, panel, shape};
use locus_genomics::PanelDigest;
use locus_store::{Manifest, PanelShape, PanelStore, Store, StoreError, conformance::SyntheticBatch, read_windows};
use object_store::{GetOptions, ObjectStore, PutOptions, path::Path};
use proptest::prelude::*;
use std::sync::Arc;

on_every_backend!(
    an_undamaged_store_reads,
    a_flipped_bit_in_a_body_is_a_body_mismatch_of_its_slot,
    swapped_bodies_are_detected,
    objects_swapped_between_columns_are_detected,
    a_sum_of_another_column_is_detected,
    digests_of_a_dataset_that_was_not_registered_are_detected,
    every_missing_or_cut_object_is_named,
    an_oversized_object_is_refused_without_reading_it,
    an_audit_sees_damage_that_reading_does_not_touch,
    a_rolled_back_store_is_refused,
    a_panel_is_opened_with_the_shape_of_its_data,
);

const BATCH: SyntheticBatch = SyntheticBatch { seed: 1, rows: 70 };

async fn enrolled(backend: Backend) -> (Arc<dyn ObjectStore>, Manifest) {
    let store = backend.empty();
    let manifest = BATCH.enrol(&panel(store.clone()), 0).await.expect("it works");
    (store, manifest)
}

async fn bytes(store: &Arc<dyn ObjectStore>, name: &Path) -> Vec<u8> {
    let found = store.get_opts(name, GetOptions::default()).await.expect("object exists");
    found.bytes().await.expect("object reads").to_vec()
}

async fn put(store: &Arc<dyn ObjectStore>, name: &Path, bytes: Vec<u8>) {
    store.put_opts(name, bytes.into(), PutOptions::default()).await.expect("it stores");
}

/// The only object whose name ends in `suffix` and contains `within`.
async fn object(store: &Arc<dyn ObjectStore>, within: &str, suffix: &str) -> Path {
    use futures::TryStreamExt;
    let metas: Vec<_> = store.list(None).try_collect().await.expect("it lists");
    let names = metas.into_iter().map(|meta| meta.location);
    let mut names = names.filter(|name| name.as_ref().contains(within) && name.as_ref().ends_with(suffix));
    let name = names.next().expect("there is such an object");
    assert!(names.next().is_none(), "there is one such object");
    name
}

/// Reads all bodies and the sum of the first column, checked.
async fn read_all(panel: &PanelStore, manifest: &Manifest) -> Result<u64, StoreError> {
    let reader = panel.open(&manifest.parts()[0]).await?;
    let registered: Vec<_> = (0..).zip(BATCH.datasets(shape())).collect();
    let digests = reader.digests(&[first_column()], &registered).await?;
    let digests = digests.column(first_column()).expect("column was asked for");
    let positions: Vec<u32> = (0..reader.row_count()).collect();
    let mut bodies = 0;
    for window in read_windows(&positions) {
        for run in reader.read(first_column(), &window).await? {
            run.visit_checked(digests, 4, |checked| bodies += checked.len() as u64)?;
        }
    }
    reader.total(first_column()).await?;
    Ok(bodies)
}

async fn an_undamaged_store_reads(backend: Backend) {
    let (store, manifest) = enrolled(backend).await;
    assert_eq!(read_all(&panel(store), &manifest).await.expect("sound data"), 70);
}

async fn a_flipped_bit_in_a_body_is_a_body_mismatch_of_its_slot(backend: Backend) {
    let (store, manifest) = enrolled(backend).await;
    let name = object(&store, "block=0000", ".parquet").await;
    let needle = BATCH.needle(first_column(), 33);
    let mut object = bytes(&store, &name).await;
    let place = object.windows(32).position(|window| window == needle).expect("the body is in its object");
    object[place] ^= 1;
    put(&store, &name, object).await;
    let error = read_all(&panel(store), &manifest).await.expect_err("the body is damaged");
    assert!(matches!(error, StoreError::BodyMismatch { row: 33, .. }), "{error:?}");
}

async fn swapped_bodies_are_detected(backend: Backend) {
    let (store, manifest) = enrolled(backend).await;
    let name = object(&store, "block=0000", ".parquet").await;
    let mut object = bytes(&store, &name).await;
    let place = |object: &[u8], row| {
        let body = BATCH.body(first_column(), row);
        object.windows(64).position(|window| window == &body[..64]).expect("the body is in its object")
    };
    let (left, right) = (place(&object, 3), place(&object, 40));
    for offset in 0..locus_store::BODY_BYTES {
        object.swap(left + offset, right + offset);
    }
    put(&store, &name, object).await;
    let error = read_all(&panel(store), &manifest).await.expect_err("bodies are swapped");
    assert!(matches!(error, StoreError::BodyMismatch { row: 3, .. }), "{error:?}");
}

async fn objects_swapped_between_columns_are_detected(backend: Backend) {
    let (store, manifest) = enrolled(backend).await;
    let (left, right) =
        (object(&store, "block=0000", ".parquet").await, object(&store, "block=0001", ".parquet").await);
    let (left_bytes, right_bytes) = (bytes(&store, &left).await, bytes(&store, &right).await);
    put(&store, &left, right_bytes).await;
    put(&store, &right, left_bytes).await;
    let error = read_all(&panel(store), &manifest).await.expect_err("columns are swapped");
    assert!(matches!(error, StoreError::BodyMismatch { row: 0, .. }), "{error:?}");
}

async fn a_sum_of_another_column_is_detected(backend: Backend) {
    let (store, manifest) = enrolled(backend).await;
    let (left, right) = (object(&store, "block=0000", ".total").await, object(&store, "block=0001", ".total").await);
    let other = bytes(&store, &right).await;
    put(&store, &left, other).await;
    let error = read_all(&panel(store), &manifest).await.expect_err("the sum belongs to another column");
    assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error:?}");
}

async fn digests_of_a_dataset_that_was_not_registered_are_detected(backend: Backend) {
    let (store, manifest) = enrolled(backend).await;
    let name = object(&store, "", ".digests").await;
    let mut digests = bytes(&store, &name).await;
    let record = 2 * 32;
    for offset in 0..record {
        digests.swap(offset, record + offset);
    }
    put(&store, &name, digests).await;
    let error = read_all(&panel(store), &manifest).await.expect_err("datasets are swapped");
    assert!(matches!(error, StoreError::DatasetMismatch { row: 0 }), "{error:?}");
}

async fn every_missing_or_cut_object_is_named(backend: Backend) {
    let (start, manifest) = enrolled(backend).await;
    for (within, suffix) in
        [("block=0000", ".parquet"), ("block=0000", ".total"), ("", ".digests"), ("", ".index.json")]
    {
        let name = object(&start, within, suffix).await;
        let store = copy_of(&start, backend).await;
        object_store::ObjectStoreExt::delete(&store, &name).await.expect("memory deletes");
        let error = read_all(&panel(store), &manifest).await.expect_err("an object is missing");
        assert!(
            matches!(&error, StoreError::MissingObject { name: missing } if *missing == name.to_string()),
            "{error:?}"
        );

        let store = copy_of(&start, backend).await;
        let whole = bytes(&store, &name).await;
        put(&store, &name, whole[..whole.len() / 2].to_vec()).await;
        let error = read_all(&panel(store), &manifest).await.expect_err("an object is cut");
        let typed = matches!(
            error,
            StoreError::Backend { .. } | StoreError::Malformed { .. } | StoreError::DigestMismatch { .. }
        );
        assert!(typed, "{name}: {error:?}");
    }
}

async fn an_oversized_object_is_refused_without_reading_it(backend: Backend) {
    let (store, manifest) = enrolled(backend).await;
    let name = object(&store, "", ".index.json").await;
    put(&store, &name, vec![b' '; 3 << 20]).await;
    let error = read_all(&panel(store), &manifest).await.expect_err("the index is too long");
    assert!(matches!(error, StoreError::ObjectTooLarge { .. }), "{error:?}");
}

async fn an_audit_sees_damage_that_reading_does_not_touch(backend: Backend) {
    let (start, manifest) = enrolled(backend).await;
    let name = object(&start, "block=0001", ".parquet").await;
    let whole = bytes(&start, &name).await;
    // The footer, which sums do not read, and the digest column.
    let digest = whole.windows(6).rposition(|window| window == b"digest").expect("the footer names the column");
    for place in [digest, whole.len() - 1, whole.len() - 6] {
        let store = copy_of(&start, backend).await;
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        put(&store, &name, damaged).await;
        let report = panel(store).audit(&manifest).await.expect("audit runs");
        assert!(
            matches!(report.faults.as_slice(), [StoreError::DigestMismatch { .. }]),
            "byte {place}: {:?}",
            report.faults
        );
    }
}

async fn a_rolled_back_store_is_refused(backend: Backend) {
    let (store, first) = enrolled(backend).await;
    let reader = panel(store.clone());
    let backup = copy_of(&store, backend).await;
    let second = SyntheticBatch { seed: 2, rows: 1 }.enrol(&reader, 500).await.expect("it works");
    assert_eq!(reader.latest().await.expect("newest").pin(), second.pin());

    let restored = panel(backup.clone());
    assert_eq!(restored.latest().await.expect("no newer version was seen").pin(), first.pin());
    restored.observe(second.pin());
    let error = restored.latest().await.expect_err("a newer version was seen");
    assert!(matches!(error, StoreError::RolledBack { seen: 2, found: 1 | 0 }), "{error:?}");

    // Another history of the same length.
    SyntheticBatch { seed: 3, rows: 1 }.enrol(&panel(backup.clone()), 500).await.expect("it works");
    let error = restored.latest().await.expect_err("version 2 differs");
    assert!(matches!(error, StoreError::RolledBack { seen: 2, found: 2 }), "{error:?}");
    let error = restored.pinned(second.pin()).await.expect_err("version 2 differs");
    assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error:?}");
}

async fn a_panel_is_opened_with_the_shape_of_its_data(backend: Backend) {
    let (store, _) = enrolled(backend).await;
    let other = PanelShape::try_new(3, true).expect("three blocks are allowed");
    let error = Store::from_object_store(store).panel(PanelDigest([7; 32]), other).latest().await;
    assert!(matches!(error, Err(StoreError::ShapeMismatch { blocks: 3, found_blocks: 2, .. })), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever one byte of whatever object becomes, reading gives the right content or an error.
    #[test]
    fn damage_anywhere_never_changes_what_is_read(
        backend in prop::sample::select(&Backend::ALL[..]), which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(), flip in 1u8..=255,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        runtime.block_on(async {
            use futures::TryStreamExt;
            let store = backend.empty();
            let batch = SyntheticBatch { seed: 8, rows: 3 };
            let manifest = batch.enrol(&panel(store.clone()), 0).await.expect("it works");
            let sound = content(&panel(store.clone()), &manifest).await;
            let metas: Vec<_> = store.list(None).try_collect().await.expect("it lists");
            let name = &metas[which.index(metas.len())].location;
            let mut damaged = bytes(&store, name).await;
            let place = place.index(damaged.len());
            damaged[place] ^= flip;
            put(&store, name, damaged).await;
            let reopened = panel(store);
            if let Ok(manifest) = reopened.latest().await {
                let report = reopened.audit(&manifest).await.expect("audit runs");
                if report.faults.is_empty() {
                    let found = content(&reopened, &manifest).await;
                    assert_eq!(found, sound, "byte {place} of {name}");
                }
            }
        });
    }
}
