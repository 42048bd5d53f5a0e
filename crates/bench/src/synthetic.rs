//! A store of synthetic bodies.

use anyhow::{Context as _, Result};
use locus_commitment::DatasetBodyDigest;
use locus_engine::{Engine, RowTags, TagKey};
use locus_genomics::PanelDigest;
use locus_store::{
    BATCH_ROWS_MAX, GarbagePolicy, Manifest, PanelShape, PanelStore, SlotSet, conformance::SyntheticBatch, open_store,
};
use std::{collections::BTreeMap, path::Path, time::SystemTime};
use tokio::runtime::Runtime;

/// A cohort in a local store, and an engine.
pub(crate) struct Summing {
    pub(crate) runtime: Runtime,
    pub(crate) panel: PanelStore,
    pub(crate) manifest: Manifest,
    pub(crate) registered: BTreeMap<u32, DatasetBodyDigest>,
    pub(crate) engine: Engine,
}

/// An engine that has seen no body.
pub(crate) fn fresh_engine() -> Engine {
    Engine::new(RowTags::in_memory(TagKey::expand(&[7; 32])))
}

impl Summing {
    /// Fills a new store in `folder`, in batches as large as they may be; at most 255 of them.
    pub(crate) fn fill(folder: &Path, datasets: u32, blocks: u32) -> Result<Self> {
        let runtime = Runtime::new()?;
        let shape = PanelShape::try_new(blocks, true)?;
        let panel = open_store(&folder.display().to_string(), BTreeMap::new())?.panel(PanelDigest([0xbe; 32]), shape);
        let (manifest, registered) = runtime.block_on(async {
            let mut registered = Vec::new();
            for (seed, first) in (1..=u8::MAX).zip((0..datasets).step_by(BATCH_ROWS_MAX as usize)) {
                let batch = SyntheticBatch { seed, rows: BATCH_ROWS_MAX.min(datasets - first) };
                let uploaded = batch.upload(&panel, 64).await?;
                batch.register(&panel, first, &uploaded).await?;
                registered.extend(uploaded);
            }
            panel.compact(&panel.latest().await?.fragmented_shards()).await?;
            // What the shards were copied from.
            let policy = GarbagePolicy { superseded_before: None, abandoned_before: SystemTime::UNIX_EPOCH };
            panel.collect_garbage(policy).await?;
            Ok::<_, anyhow::Error>((panel.latest().await?, registered))
        })?;
        let registered = (0..).zip(registered).collect();
        Ok(Self { runtime, panel, manifest, registered, engine: fresh_engine() })
    }

    /// The sums of all columns over `selection`.
    pub(crate) fn sum(&self, selection: &SlotSet) -> Result<Vec<Vec<u64>>> {
        self.sum_by(&self.engine, selection)
    }

    /// The same by another engine.
    pub(crate) fn sum_by(&self, engine: &Engine, selection: &SlotSet) -> Result<Vec<Vec<u64>>> {
        let columns: Vec<_> = self.panel.shape().columns().collect();
        let summing = engine.sum_many(&self.panel, &self.manifest, &columns, selection, &self.registered);
        self.runtime.block_on(summing).context("the sum failed")
    }
}
