//! Where time comes from.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Seconds since the Unix epoch, from the system or set by hand.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `unix_s` until [`advance`](Self::advance) moves it.
    pub fn manual(unix_s: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(unix_s))))
    }

    /// The current time in seconds since the Unix epoch.
    pub fn now_unix_s(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
            Source::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock (and all its clones) forward; the system clock does not move.
    pub fn advance(&self, seconds: u64) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(seconds, Ordering::SeqCst);
        }
    }
}
