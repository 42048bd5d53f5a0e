//! Wall-clock time as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time of day comes from, so that tests decide it.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since 1970-01-01T00:00:00Z.
    fn unix_s(&self) -> u64;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_s(&self) -> u64 {
        // A clock set before 1970 reads as 0; block times never run backwards anyway.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
    }
}
