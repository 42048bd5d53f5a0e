//! The stored objects are ordinary Parquet files with the documented bytes.

mod common;

use arrow_array::{Array, FixedSizeBinaryArray, cast::AsArray, types::UInt32Type};
use bytes::Bytes;
use common::{first_column, panel, shape};
use futures::TryStreamExt;
use locus_commitment::{BodyDigest, sha3_256};
use locus_store::{BODY_BYTES, conformance::SyntheticBatch};
use object_store::{GetOptions, ObjectStore, memory::InMemory};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{collections::BTreeMap, sync::Arc};

const BATCH: SyntheticBatch = SyntheticBatch { seed: 1, rows: 70 };

async fn objects(batch: SyntheticBatch) -> BTreeMap<String, Bytes> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    batch.enrol(&panel(store.clone()), 1000).await.expect("memory works");
    let metas: Vec<_> = store.list(None).try_collect().await.expect("memory lists");
    let mut objects = BTreeMap::new();
    for meta in metas {
        let found = store.get_opts(&meta.location, GetOptions::default()).await.expect("object exists");
        let name = meta.location.to_string();
        let name = name.split_once('/').map(|(_, rest)| rest.to_owned()).unwrap_or(name);
        objects.insert(name, found.bytes().await.expect("object reads"));
    }
    objects
}

#[tokio::test]
async fn any_parquet_reader_finds_rows_digests_and_bodies() {
    let objects = objects(BATCH).await;
    let name = format!("batch={}/block=0000/plane=0/rows=00000.parquet", BATCH.id());
    let builder = ParquetRecordBatchReaderBuilder::try_new(objects[&name].clone()).expect("valid Parquet");
    assert_eq!(builder.metadata().num_row_groups(), 2);
    let fields: Vec<_> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(fields, ["row", "digest", "body"]);
    let mut next = 0;
    for batch in builder.with_batch_size(16).build().expect("readable") {
        let batch = batch.expect("readable");
        let rows = batch.column(0).as_primitive::<UInt32Type>();
        let column = |index: usize| batch.column(index).as_any().downcast_ref::<FixedSizeBinaryArray>();
        let (digests, bodies) = (column(1).expect("fixed size"), column(2).expect("fixed size"));
        for index in 0..batch.num_rows() {
            let body = BATCH.body(first_column(), next);
            assert_eq!(rows.value(index), next);
            assert_eq!(bodies.value(index), body);
            let digest = BodyDigest::of_body(body.as_slice().try_into().expect("one body"));
            assert_eq!(digests.value(index), digest.0.0);
            next += 1;
        }
    }
    assert_eq!(next, BATCH.rows);
}

/// SHA3-256 of every object of a batch of three datasets. A change here is a change of the format:
/// it needs a new format number and a way to read the old one.
#[tokio::test]
async fn the_format_is_pinned() {
    let batch = SyntheticBatch { seed: 5, rows: 3 };
    let id = batch.id().to_string();
    let found: Vec<String> = objects(batch)
        .await
        .into_iter()
        .map(|(name, bytes)| format!("{} {} {}", name.replace(&id, "ID"), bytes.len(), sha3_256("golden", &[&bytes])))
        .collect();
    let golden: Vec<&str> = include_str!("golden/batch_of_three.txt").lines().collect();
    assert_eq!(found, golden, "found:\n{}", found.join("\n"));
}

#[tokio::test]
async fn a_genotype_takes_eight_bytes_at_rest() {
    let rows = 1024;
    let objects = objects(SyntheticBatch { seed: 6, rows }).await;
    let stored: usize = objects.values().map(Bytes::len).sum();
    let bodies = rows as usize * shape().column_count() * BODY_BYTES;
    // Digests twice (32 bytes each), one sum per 1024 bodies, page headers and footers.
    assert!(stored < bodies + bodies / 200, "{stored} bytes for {bodies} bytes of bodies");
}
