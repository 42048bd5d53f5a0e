//! Logs.

use tracing_subscriber::EnvFilter;

/// Writes logs to standard error: text for people, or JSON lines with `json`. The filter comes from
/// `LOCUS_LOG` (for example `info` or `locus_keyholder=debug`), default `warn`.
///
/// Calling it a second time has no effect.
pub fn init_telemetry(json: bool) {
    let filter = EnvFilter::try_from_env("LOCUS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second initialisation is refused by the subscriber and leaves the first in place.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
