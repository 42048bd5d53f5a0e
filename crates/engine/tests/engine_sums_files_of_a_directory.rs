//! Files of a local directory are read in place, without the storage library in between.

use locus_commitment::DatasetBodyDigest;
use locus_engine::{Engine, EngineError, RowTags, TagKey};
use locus_genomics::PanelDigest;
use locus_store::{
    BodyBytes, BodySum, Column, PanelShape, SlotSet, StoreError, conformance::SyntheticBatch, open_store,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const BATCH: SyntheticBatch = SyntheticBatch { seed: 3, rows: 200 };

fn expected(column: Column, selection: &SlotSet) -> Vec<u64> {
    let mut sum = BodySum::zero();
    for slot in selection.iter() {
        let body: &BodyBytes = &BATCH.body(column, slot).as_chunks().0[0].clone();
        sum.add_body(body);
    }
    sum.words.to_vec()
}

/// The file of bodies below a folder that holds one.
fn bodies_file(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder).expect("a folder").find_map(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() { bodies_file(&path) } else { path.extension()?.eq("parquet").then_some(path) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_and_scattered_rows_are_summed_and_lost_or_short_files_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let shape = PanelShape::try_new(1, true).expect("a shape");
    let store = open_store(&folder.path().display().to_string(), BTreeMap::new()).expect("it opens");
    let panel = store.panel(PanelDigest([7; 32]), shape);
    let manifest = BATCH.enrol(&panel, 0).await.expect("it enrols");
    let registered: BTreeMap<u32, DatasetBodyDigest> = (0..).zip(BATCH.datasets(shape)).collect();
    let column = shape.columns().next().expect("a column");
    let engine = Engine::new(RowTags::in_memory(TagKey::expand(&[9; 32])));
    let sum = async |selection: &SlotSet| engine.sum(&panel, &manifest, column, selection, &registered).await;

    let all = SlotSet::try_from_iter(0..BATCH.rows).expect("small");
    let run = SlotSet::try_from_iter(3..90).expect("small");
    let scattered = SlotSet::try_from_iter((0..BATCH.rows).step_by(3)).expect("small");
    // First the rows are hashed and tagged, then they are read by plan.
    for selection in [&all, &run, &scattered, &all, &scattered] {
        assert_eq!(sum(selection).await.expect("sound files"), expected(column, selection));
    }

    let file = bodies_file(folder.path()).expect("a file of bodies");
    let length = fs::metadata(&file).expect("a file").len();
    fs::OpenOptions::new().write(true).open(&file).and_then(|file| file.set_len(length / 2)).expect("cut");
    let cut = sum(&scattered).await.expect_err("a short file");
    assert!(matches!(cut, EngineError::Store(StoreError::Malformed { .. })), "{cut:?}");
    fs::remove_file(&file).expect("removed");
    let lost = sum(&scattered).await.expect_err("a lost file");
    assert!(matches!(lost, EngineError::Store(StoreError::MissingObject { .. })) && lost.is_stale(), "{lost:?}");
}
