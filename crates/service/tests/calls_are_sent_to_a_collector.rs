//! Traces as an OpenTelemetry collector receives them.

use locus_service::init_service_telemetry;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).expect("the test listens");
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_sent_as_spans_with_their_service_and_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, mut received) = mpsc::unbounded_channel();
    let service = TraceServiceServer::new(Collector(sender));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));

    let telemetry = init_service_telemetry("archive", true, Some(&endpoint)).expect("an address");
    // The default filter lets warnings and what is worse through.
    tracing::warn_span!("call", method = "UploadDatasets", request_id = "abc").in_scope(|| tracing::warn!("slow"));
    tracing::info_span!("detail").in_scope(|| {});
    tokio::task::spawn_blocking(move || drop(telemetry)).await.expect("sent");

    let request = received.recv().await.expect("spans arrive");
    let spans = &request.resource_spans[0];
    let attributes = &spans.resource.as_ref().expect("a resource").attributes;
    assert_eq!(text(attributes, "service.name"), Some("locus-archive"));
    let spans: Vec<_> = spans.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["call"]);
    assert_eq!(text(&spans[0].attributes, "method"), Some("UploadDatasets"));
    assert_eq!(text(&spans[0].attributes, "request_id"), Some("abc"));
    assert_eq!(spans[0].events.len(), 1);
}
