//! Who may make which call.

use crate::{Role, ServiceError, error::ErrorCode};
use std::sync::Arc;
use tonic::{
    Status,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

/// Services that everybody may call.
const OPEN_SERVICES: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: the call reveals what the chain shows, or carries its own signature.
    Anyone,
    /// Services with one of these roles.
    Only(&'static [Role]),
}

/// Every keyholder.
pub const KEYHOLDERS: &[Role] = &[Role::Keyholder(1), Role::Keyholder(2), Role::Keyholder(3)];

/// Who may make the calls of one gRPC service. A call that is not listed may nobody make.
#[derive(Debug, Clone, Copy)]
pub struct AccessTable {
    /// Full name, such as `locus.keyholder.v1.KeyholderService`.
    pub service: &'static str,
    /// Calls by name.
    pub methods: &'static [(&'static str, Access)],
}

/// The other end of a call, in the extensions of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The connection is not authenticated: the server runs without TLS, inside one process or on one host.
    Trusted,
    /// A service with this role.
    Service(Role),
    /// Somebody without a certificate of the market.
    Public,
}

/// Why a call is refused before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessRefused {
    /// The caller has no certificate of the market.
    #[error("this call is for other services: connect with a certificate of this market")]
    NoRole,
    /// The caller has another role.
    #[error("this call is not for {0}: connect with the certificate of the service that makes it")]
    OtherRole(Role),
    /// There is no such call.
    #[error("this service has no such call: client and service are of different versions")]
    UnknownCall,
}

impl ServiceError for AccessRefused {
    fn code(&self) -> ErrorCode {
        ErrorCode::Forbidden
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NoRole => "CERTIFICATE_NEEDED",
            Self::OtherRole(_) => "OTHER_ROLE",
            Self::UnknownCall => "UNKNOWN_CALL",
        }
    }
}

/// Decides whether `caller` may call `path`, such as `/locus.query.v1.QueryService/QuoteQuery`.
pub(crate) fn decide(tables: &[AccessTable], path: &str, caller: Caller) -> Result<(), AccessRefused> {
    if caller == Caller::Trusted {
        return Ok(());
    }
    let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
    if OPEN_SERVICES.contains(&service) {
        return Ok(());
    }
    match find(tables, service, method) {
        None => Err(AccessRefused::UnknownCall),
        Some(Access::Anyone) => Ok(()),
        Some(Access::Only(roles)) => match caller {
            Caller::Service(role) if roles.contains(&role) => Ok(()),
            Caller::Service(role) => Err(AccessRefused::OtherRole(role)),
            _ => Err(AccessRefused::NoRole),
        },
    }
}

fn find(tables: &[AccessTable], service: &str, method: &str) -> Option<Access> {
    let table = tables.iter().find(|table| table.service == service)?;
    table.methods.iter().find(|(name, _)| *name == method).map(|(_, access)| *access)
}

/// The caller of a request, from the certificate of its connection. `trust_domain` is `None` on servers
/// without TLS.
pub(crate) fn caller_of(extensions: &http::Extensions, trust_domain: Option<&Arc<str>>) -> Caller {
    let Some(trust_domain) = trust_domain else { return Caller::Trusted };
    let connection = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    let certificates = connection.and_then(TlsConnectInfo::peer_certs);
    let role = certificates.and_then(|chain| Role::of_certificate(chain.first()?, trust_domain));
    role.map_or(Caller::Public, Caller::Service)
}

/// The caller of a request, for handlers that compare it with what the message says.
pub fn caller<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get::<Caller>().copied().unwrap_or(Caller::Trusted)
}

/// Refuses a message that speaks for another keyholder than the one that sent it.
pub fn check_speaks_for_itself<T>(request: &tonic::Request<T>, keyholder: u32) -> Result<(), Status> {
    match caller(request) {
        Caller::Service(role @ Role::Keyholder(index)) if u32::from(index) != keyholder => {
            Err(crate::to_status(&AccessRefused::OtherRole(role)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &[AccessTable] = &[AccessTable {
        service: "a.B",
        methods: &[
            ("Open", Access::Anyone),
            ("Closed", Access::Only(&[Role::Archive])),
            ("Peers", Access::Only(KEYHOLDERS)),
        ],
    }];

    #[test]
    fn calls_are_for_their_roles_and_nobody_else() {
        let archive = Caller::Service(Role::Archive);
        let peer = Caller::Service(Role::Keyholder(2));
        for (path, caller, expected) in [
            ("/a.B/Open", Caller::Public, Ok(())),
            ("/a.B/Open", peer, Ok(())),
            ("/a.B/Closed", archive, Ok(())),
            ("/a.B/Closed", peer, Err(AccessRefused::OtherRole(Role::Keyholder(2)))),
            ("/a.B/Closed", Caller::Public, Err(AccessRefused::NoRole)),
            ("/a.B/Peers", peer, Ok(())),
            ("/a.B/Peers", archive, Err(AccessRefused::OtherRole(Role::Archive))),
            ("/a.B/Missing", archive, Err(AccessRefused::UnknownCall)),
            ("/a.C/Open", archive, Err(AccessRefused::UnknownCall)),
            ("/a.B", Caller::Public, Err(AccessRefused::UnknownCall)),
            ("", Caller::Public, Err(AccessRefused::UnknownCall)),
            ("/grpc.health.v1.Health/Check", Caller::Public, Ok(())),
            ("/a.B/Closed", Caller::Trusted, Ok(())),
        ] {
            assert_eq!(decide(TABLES, path, caller), expected, "{path} by {caller:?}");
        }
    }

    #[test]
    fn a_connection_without_certificate_is_the_public_and_without_tls_trusted() {
        let nothing = http::Extensions::new();
        assert_eq!(caller_of(&nothing, Some(&"market".into())), Caller::Public);
        assert_eq!(caller_of(&nothing, None), Caller::Trusted);
    }
}
