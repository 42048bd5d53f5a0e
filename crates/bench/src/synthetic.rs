//! A store of synthetic bodies.

use anyhow::{Context as _, Result};
use locus_commitment::DatasetBodyDigest;
use locus_engine::{Engine, RowTags, TagKey};
use locus_genomics::PanelDigest;
use locus_store::{Manifest, PanelShape, PanelStore, SlotSet, conformance::SyntheticBatch, open_store};
use std::{collections::BTreeMap, path::Path};
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
    /// Fills a new store in `folder`.
    pub(crate) fn fill(folder: &Path, datasets: u32, blocks: u32) -> Result<Self> {
        let runtime = Runtime::new()?;
        let shape = PanelShape::try_new(blocks, true)?;
        let panel = open_store(&folder.display().to_string(), BTreeMap::new())?.panel(PanelDigest([0xbe; 32]), shape);
        let batch = SyntheticBatch { seed: 1, rows: datasets };
        let (manifest, registered) = runtime.block_on(async {
            let registered = batch.upload(&panel, 64).await?;
            let manifest = batch.register(&panel, 0, &registered).await?;
            panel.compact(&manifest.fragmented_shards()).await?;
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
