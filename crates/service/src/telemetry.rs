//! Logs and traces.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("observe.otlp_endpoint cannot be used: {0}; write it as http://HOST:4317")]
pub struct TelemetryError(#[from] ExporterBuildError);

/// What is on its way to the collector; dropping it sends the rest.
#[derive(Debug, Default)]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Writes logs to standard error: text for people, or JSON lines with `json`. The filter comes from
/// `LOCUS_LOG` (for example `info` or `locus_keyholder=debug`), default `warn`.
///
/// Calling it a second time has no effect.
pub fn init_telemetry(json: bool) {
    // A second initialisation is refused by the subscriber and leaves the first in place.
    let _ = tracing_subscriber::registry().with(log_layer(json)).try_init();
}

/// As [`init_telemetry`]; also sends the spans and events that the filter lets through, which name requests and never
/// what they are about, to the OpenTelemetry collector at `otlp_endpoint` (OTLP over gRPC). Must be called inside a tokio
/// runtime.
///
/// # Errors
/// [`TelemetryError`] for an address that is none. A collector that does not answer is no error: traces are dropped.
pub fn init_service_telemetry(
    service: &str,
    json: bool,
    otlp_endpoint: Option<&str>,
) -> Result<Telemetry, TelemetryError> {
    let Some(endpoint) = otlp_endpoint else {
        init_telemetry(json);
        return Ok(Telemetry(None));
    };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name(format!("locus-{service}")).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("locus")).with_filter(filter());
    // A second initialisation is refused by the subscriber and leaves the first in place.
    let _ = tracing_subscriber::registry().with(log_layer(json)).with(spans).try_init();
    Ok(Telemetry(Some(provider)))
}

fn filter() -> EnvFilter {
    EnvFilter::try_from_env("LOCUS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"))
}

fn log_layer(json: bool) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = fmt::layer().with_writer(std::io::stderr);
    if json { layer.json().with_filter(filter()).boxed() } else { layer.with_filter(filter()).boxed() }
}
