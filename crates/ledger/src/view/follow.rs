//! A view that follows its chain in the background and that many readers share.

use super::{ChainView, EventSource, ViewError};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};

/// Readers that may wait for a refresh at the same time.
const WAITING_MAX: usize = 256;
/// Longest that one look at the chain may take. Pages read until then are kept, so that a view far
/// behind catches up in several looks.
const LOOK_DEADLINE: Duration = Duration::from_secs(30);

/// The view could not be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the chain cannot be followed: {reason}")]
pub struct ViewUnavailable {
    /// Why, in words.
    pub reason: String,
    /// Whether the chain node showed something impossible; then nothing read from it can be
    /// relied on, and waiting does not help.
    pub untrustworthy: bool,
}

/// Follows a chain and hands out snapshots. Cheap to clone; stops when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct ViewFollower {
    snapshots: watch::Receiver<Arc<ChainView>>,
    refresh: mpsc::Sender<Waiting>,
}

type Waiting = oneshot::Sender<Result<(), ViewUnavailable>>;

impl ViewFollower {
    /// Starts to follow `source` from its first block, looking for news every `period` and whenever
    /// somebody asks. Must be called inside a tokio runtime.
    pub fn start<S: EventSource + Send + Sync + 'static>(source: S, period: Duration) -> Self {
        let (publish, snapshots) = watch::channel(Arc::new(ChainView::default()));
        let (refresh, requests) = mpsc::channel(WAITING_MAX);
        tokio::spawn(follow(source, period, publish, requests));
        Self { snapshots, refresh }
    }

    /// What was seen last, without asking the chain.
    pub fn snapshot(&self) -> Arc<ChainView> {
        self.snapshots.borrow().clone()
    }

    /// What the chain shows now.
    ///
    /// # Errors
    /// [`ViewUnavailable`] when the chain cannot be read or is not trustworthy.
    pub async fn refreshed(&self) -> Result<Arc<ChainView>, ViewUnavailable> {
        let (done, answer) = oneshot::channel();
        let stopped = || ViewUnavailable { reason: "the follower has stopped".to_owned(), untrustworthy: false };
        self.refresh.send(done).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())??;
        Ok(self.snapshot())
    }

    /// Waits until the view differs from `seen`, the snapshot that the caller has dealt with.
    /// Returns `None` when the follower has stopped.
    pub async fn newer_than(&mut self, seen: &Arc<ChainView>) -> Option<Arc<ChainView>> {
        let differs = |current: &Arc<ChainView>| !Arc::ptr_eq(current, seen);
        self.snapshots.wait_for(differs).await.ok().map(|current| current.clone())
    }
}

async fn follow<S: EventSource>(
    source: S,
    period: Duration,
    publish: watch::Sender<Arc<ChainView>>,
    mut requests: mpsc::Receiver<Waiting>,
) {
    let mut view = ChainView::default();
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut waiting = Vec::new();
        tokio::select! {
            _ = ticks.tick() => {}
            request = requests.recv() => match request {
                Some(request) => waiting.push(request),
                None => return,
            },
        }
        // Whoever asked before this look begins is answered by it.
        while let Ok(request) = requests.try_recv() {
            waiting.push(request);
        }
        let before = view.finalized();
        let outcome = match tokio::time::timeout(LOOK_DEADLINE, view.poll(&source)).await {
            Ok(polled) => polled.map_err(|error| unavailable(&error)),
            Err(_) => Err(ViewUnavailable { reason: "the chain node is too slow".to_owned(), untrustworthy: false }),
        };
        if *outcome.as_ref().unwrap_or(&true) || view.finalized() != before {
            publish.send_replace(Arc::new(view.clone()));
        }
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the view of the chain is not current");
        }
        let answer = outcome.map(drop);
        for waiter in waiting {
            // A reader that went away needs no answer.
            let _ = waiter.send(answer.clone());
        }
    }
}

fn unavailable<E: std::error::Error>(error: &ViewError<E>) -> ViewUnavailable {
    ViewUnavailable { reason: error.to_string(), untrustworthy: !matches!(error, ViewError::Source(_)) }
}
