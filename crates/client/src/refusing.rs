//! An exchange for tests that refuses every call.

use crate::service::{ServiceChannels, Services};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::{Ipv4Addr, SocketAddr},
    task::{Context, Poll},
};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::{Endpoint, Server, server::TcpIncoming},
};

/// Answers everything with one code.
#[derive(Clone)]
struct Refusing(Code);

impl NamedService for Refusing {
    const NAME: &'static str = "locus.exchange.v1.ExchangeService";
}

impl Service<http::Request<Body>> for Refusing {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        ready(Ok(Status::new(self.0, "refused by the test").into_http()))
    }
}

/// Services whose exchange refuses every call with this code; the others are not there. Served until the test ends.
pub(crate) fn services_refusing(code: Code) -> Services {
    let incoming = TcpIncoming::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let address = incoming.local_addr().expect("bound");
    tokio::spawn(Server::builder().add_service(Refusing(code)).serve_with_incoming(incoming));
    let channel = Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy();
    Services::new(ServiceChannels {
        archive: channel.clone(),
        exchange: channel.clone(),
        aggregator: channel.clone(),
        keyholders: [channel.clone(), channel.clone(), channel],
    })
}
