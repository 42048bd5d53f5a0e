//! What scheduler, executors and questions have in common: storage, the aggregate function, and how plans are made.

use crate::{
    aggregate::CohortSum,
    config::StorageConfig,
    selection::Selections,
    table::{BODIES_URL, BodiesCodec},
};
use ballista_core::extension::SessionConfigExt as _;
use datafusion::{
    error::{DataFusionError, Result},
    execution::{
        SessionStateBuilder,
        registry::FunctionRegistry as _,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::SessionState,
    },
    prelude::SessionConfig,
};
use locus_store::{GROUP_ROWS, Store, StoreError, open_store};
use std::{path::Path, sync::Arc};
use url::Url;

/// The storage of a cluster, opened.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) bodies: Store,
    scratch: Store,
}

impl Storage {
    pub(crate) fn open(config: &StorageConfig) -> Result<Self, StoreError> {
        Ok(Self {
            bodies: open_store(&config.store_url, config.store_options.clone())?,
            scratch: open_store(&config.scratch_url, config.scratch_options.clone())?,
        })
    }

    /// Selections of questions. Must be called inside a tokio runtime.
    pub(crate) fn selections(&self) -> Selections {
        Selections::new(&self.scratch)
    }

    /// A DataFusion runtime that finds the bodies.
    pub(crate) fn runtime(&self, work_dir: Option<&Path>) -> Result<Arc<RuntimeEnv>> {
        let mut builder = RuntimeEnvBuilder::new();
        if let Some(work_dir) = work_dir {
            builder = builder.with_temp_file_path(work_dir);
        }
        let runtime = builder.build()?;
        let url = Url::parse(BODIES_URL).map_err(|error| DataFusionError::External(error.into()))?;
        runtime.register_object_store(&url, self.bodies.object_store());
        Ok(Arc::new(runtime))
    }

    /// How questions are planned. Ballista's adaptive planner is off: with it, a question hangs whose executor is lost
    /// after its first stage.
    pub(crate) fn session_config(&self, tasks: usize) -> SessionConfig {
        SessionConfig::new_with_ballista()
            .with_ballista_adaptive_query_planner(false)
            .with_ballista_logical_extension_codec(Arc::new(BodiesCodec::new(&self.bodies)))
            .with_target_partitions(tasks)
            .with_batch_size(GROUP_ROWS as usize)
    }

    /// A session that can plan sums.
    pub(crate) fn session(&self, config: SessionConfig) -> Result<SessionState> {
        let builder = SessionStateBuilder::new().with_default_features().with_config(config);
        let mut state = builder.with_runtime_env(self.runtime(None)?).build();
        state.register_udaf(Arc::new(CohortSum::udaf(None)))?;
        Ok(state)
    }
}
