//! Numbers about a service, in the Prometheus text format. They count calls and states of the service;
//! nothing about genotypes, answers, persons or keys is ever measured.

use crate::AccessTable;
use prometheus::{Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Upper bounds of call durations, in seconds: quotes take milliseconds, enrolments minutes.
const DURATION_BUCKETS_S: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0];
/// Codes of calls that do not fail because of their caller.
const FAILURES: [tonic::Code; 4] =
    [tonic::Code::Internal, tonic::Code::Unknown, tonic::Code::DataLoss, tonic::Code::Unavailable];

/// The metrics of one service, named `locus_<service>_<noun>_<unit>`. Clones share everything.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    service: &'static str,
    registry: Registry,
    calls: IntCounterVec,
    durations: HistogramVec,
    /// Bring gauges up to date before they are shown.
    readings: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics of {}", self.0.service)
    }
}

impl Metrics {
    /// Metrics of `service`, a lower-case word.
    pub fn new(service: &'static str) -> Self {
        let registry = Registry::new();
        let name = |what: &str| format!("locus_{service}_{what}");
        let calls = IntCounterVec::new(
            Opts::new(name("calls_total"), "Calls answered, by method and gRPC code."),
            &["method", "code"],
        );
        let durations = HistogramVec::new(
            HistogramOpts::new(name("call_duration_seconds"), "Time from a call's first byte to its last.")
                .buckets(DURATION_BUCKETS_S.to_vec()),
            &["method"],
        );
        // Names and labels are constants that the tests build once.
        let calls = calls.expect("the name is valid");
        let durations = durations.expect("the name is valid");
        registry.register(Box::new(calls.clone())).expect("the name is free");
        registry.register(Box::new(durations.clone())).expect("the name is free");
        Self(Arc::new(Inner { service, registry, calls, durations, readings: Mutex::default() }))
    }

    /// A number that goes up and down, called `locus_<service>_<noun>`; `noun` ends with its unit. Asking for the
    /// same one again gives a handle that is not shown.
    pub fn gauge(&self, noun: &str, help: &str) -> IntGauge {
        let name = format!("locus_{}_{noun}", self.0.service);
        let gauge = IntGauge::new(name, help).expect("callers pass lower-case words");
        // A second gauge of the name is refused by the registry and counts for nobody.
        let _ = self.0.registry.register(Box::new(gauge.clone()));
        gauge
    }

    /// A gauge that shows what `read` says whenever it is looked at.
    pub fn reading(&self, noun: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        let gauge = self.gauge(noun, help);
        let update = move || gauge.set(i64::try_from(read()).unwrap_or(i64::MAX));
        self.0.readings.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(update));
    }

    /// Shows that no call of `tables` has failed yet: a counter that appears with its first failure has not increased to
    /// whoever looks for increases.
    pub(crate) fn expect_calls(&self, tables: &[AccessTable]) {
        for &(method, _) in tables.iter().flat_map(|table| table.methods) {
            for code in FAILURES {
                self.0.calls.with_label_values(&[method, format!("{code:?}").as_str()]);
            }
        }
    }

    /// Counts a finished call.
    pub(crate) fn call(&self, method: &str, code: tonic::Code, duration: Duration) {
        let code = format!("{code:?}");
        self.0.calls.with_label_values(&[method, code.as_str()]).inc();
        self.0.durations.with_label_values(&[method]).observe(duration.as_secs_f64());
    }

    /// Everything, as Prometheus reads it.
    pub fn render(&self) -> String {
        self.0.readings.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|update| update());
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.0.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    #[test]
    fn failures_are_shown_as_none_before_the_first() {
        let metrics = Metrics::new("archive");
        let methods = &[("UploadDatasets", Access::Anyone)];
        metrics.expect_calls(&[AccessTable { service: "locus.archive.v1.ArchiveService", methods }]);
        let line =
            |code, calls| format!(r#"locus_archive_calls_total{{code="{code}",method="UploadDatasets"}} {calls}"#);
        let text = metrics.render();
        for code in ["Internal", "Unknown", "DataLoss", "Unavailable"] {
            assert!(text.contains(&line(code, 0)), "{text}");
        }
        metrics.call("UploadDatasets", tonic::Code::Internal, Duration::from_millis(3));
        let text = metrics.render();
        assert!(text.contains(&line("Internal", 1)) && text.contains(&line("Unknown", 0)), "{text}");
    }

    #[test]
    fn calls_and_gauges_are_rendered_under_the_services_name() {
        let metrics = Metrics::new("archive");
        metrics.call("UploadDatasets", tonic::Code::Ok, Duration::from_millis(3));
        metrics.call("UploadDatasets", tonic::Code::ResourceExhausted, Duration::from_millis(3));
        let block = Arc::new(std::sync::atomic::AtomicU64::new(6));
        let read = block.clone();
        metrics.reading("chain_final_block_number", "Newest final block.", move || {
            read.load(std::sync::atomic::Ordering::SeqCst)
        });
        block.store(7, std::sync::atomic::Ordering::SeqCst);
        let text = metrics.render();
        assert!(text.contains(r#"locus_archive_calls_total{code="Ok",method="UploadDatasets"} 1"#), "{text}");
        assert!(text.contains(r#"code="ResourceExhausted""#), "{text}");
        assert!(text.contains("locus_archive_chain_final_block_number 7"), "{text}");
        assert!(text.contains(r#"locus_archive_call_duration_seconds_count{method="UploadDatasets"} 2"#), "{text}");
    }
}
