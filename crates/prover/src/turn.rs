//! One proof at a time.

use crate::error::ProverError;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Provers that share a turn make one proof at a time: a proof uses all cores and up to gigabytes. Who waits
/// longest is next, so a cohort is proven between two batches of a long catch-up.
#[derive(Debug, Clone, Default)]
pub struct ProvingTurn(Arc<Mutex<()>>);

impl ProvingTurn {
    /// Runs a proof on a blocking thread when it is its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        prove: impl FnOnce() -> Result<T, ProverError> + Send + 'static,
    ) -> Result<T, ProverError> {
        // Moved along, because work on a blocking thread goes on when nobody waits for it any more.
        let turn = self.0.clone().lock_owned().await;
        off_the_runtime(move || {
            let _turn = turn;
            prove()
        })
        .await
    }
}

/// Runs long work on a blocking thread.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProverError> + Send + 'static,
) -> Result<T, ProverError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ProverError::Interrupted)?
}
