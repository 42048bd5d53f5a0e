//! One port for archive, exchange and query service: calls are passed on to the service that they
//! name, frame by frame and unread.

use super::Connectors;
use locus_service::{Connector, ServeError, connect_lazy};
use locus_wire::pb::{
    archive::archive_service_server::ArchiveServiceServer, exchange::exchange_service_server::ExchangeServiceServer,
    query::query_service_server::QueryServiceServer,
};
use std::{
    convert::Infallible,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{Status, body::Body, server::NamedService, service::Routes, transport::Channel};
use tower::Service;

/// The routes of the market's port.
pub(super) fn routes(connectors: &Connectors) -> Result<Routes, ServeError> {
    let mut routes = Routes::builder();
    routes
        .add_service(Forward::<ArchiveServiceServer<()>>::to(&connectors.archive)?)
        .add_service(Forward::<ExchangeServiceServer<()>>::to(&connectors.exchange)?)
        .add_service(Forward::<QueryServiceServer<()>>::to(&connectors.aggregator)?);
    Ok(routes.routes())
}

/// Passes the calls of the service named `N` on.
struct Forward<N> {
    channel: Channel,
    name: PhantomData<fn() -> N>,
}

impl<N> Forward<N> {
    fn to(connector: &Connector) -> Result<Self, ServeError> {
        Ok(Self { channel: connect_lazy(connector)?, name: PhantomData })
    }
}

impl<N> Clone for Forward<N> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), name: PhantomData }
    }
}

impl<N: NamedService> NamedService for Forward<N> {
    const NAME: &'static str = N::NAME;
}

impl<N> Service<http::Request<Body>> for Forward<N> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The call itself waits for the channel, so that its failure becomes the call's status.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut channel = self.channel.clone();
        Box::pin(async move {
            let ready = std::future::poll_fn(|context| channel.poll_ready(context)).await;
            let answered = match ready {
                Ok(()) => channel.call(request).await,
                Err(error) => Err(error),
            };
            Ok(answered.unwrap_or_else(|error| {
                tracing::warn!(%error, "a service behind the market's port does not answer");
                Status::unavailable("the service is starting or stopping, try again").into_http()
            }))
        })
    }
}
