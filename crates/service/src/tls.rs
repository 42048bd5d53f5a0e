//! Mutual TLS between services: TLS 1.3 only, the hybrid group X25519MLKEM768 preferred, and a role in
//! every certificate.

mod authority;
mod role;

pub use authority::{Authority, AuthorityError, IssuedFiles};
pub use role::{Role, UnknownRole};

use locus_ledger::is_private_file;
use rustls::{
    RootCertStore, ServerConfig,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde::Deserialize;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tonic::transport::{ClientTlsConfig, Identity};

/// The application protocol of gRPC.
const ALPN_H2: &[u8] = b"h2";

/// The TLS part of a service's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The service's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, private (clause 15).
    pub key: PathBuf,
    /// Certificates of the authorities that the other services' certificates come from, PEM.
    pub authority: PathBuf,
    /// The name that the certificates of this market share: `spiffe://<trust_domain>/<role>`.
    pub trust_domain: String,
}

/// Why TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Others can read the key.
    #[error("{path} can be read by others: run `chmod 600` on it, or `chmod 640` where it is root's and has a group of this process", path = path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no such thing.
    #[error("{path} holds no {what} in PEM: issue it again", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The certificate names someone else.
    #[error("{path} is not a certificate for {expected}: issue one with that name", path = path.display())]
    OtherRole {
        /// The file.
        path: PathBuf,
        /// The name needed.
        expected: String,
    },
    /// Certificate, key and authorities do not fit together.
    #[error("certificate {path} cannot be used: {source}", path = path.display())]
    Unusable {
        /// The certificate.
        path: PathBuf,
        /// Cause.
        source: rustls::Error,
    },
}

/// The TLS identity of a service and whom it trusts, ready for use.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    identity: Option<Identity>,
    verifier: Arc<WebPkiServerVerifier>,
    trust_domain: Arc<str>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls of {}", self.trust_domain)
    }
}

impl Tls {
    /// Reads and checks the files: the key belongs to the certificate, which is `role`'s.
    ///
    /// # Errors
    /// [`TlsError`], naming the file that is wrong.
    pub fn load(config: &TlsConfig, role: Role) -> Result<Self, TlsError> {
        let unusable = |source| TlsError::Unusable { path: config.certificate.clone(), source };
        if !is_private_file(&fs::metadata(&config.key).map_err(file_error(&config.key))?) {
            return Err(TlsError::OpenKey { path: config.key.clone() });
        }
        let chain = certificates(&config.certificate)?;
        if chain.first().and_then(|first| Role::of_certificate(first, &config.trust_domain)) != Some(role) {
            let expected = role.uri(&config.trust_domain);
            return Err(TlsError::OtherRole { path: config.certificate.clone(), expected });
        }
        let key_pem = zeroize::Zeroizing::new(fs::read(&config.key).map_err(file_error(&config.key))?);
        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|_| TlsError::Pem { path: config.key.clone(), what: "key" })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots(&config.authority)?);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| unusable(rustls::Error::General(error.to_string())))?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        server.alpn_protocols = vec![ALPN_H2.to_vec()];
        let chain_pem = fs::read(&config.certificate).map_err(file_error(&config.certificate))?;
        Ok(Self {
            server: Arc::new(server),
            identity: Some(Identity::from_pem(chain_pem, &*key_pem)),
            verifier: server_verifier(roots, provider, &config.authority)?,
            trust_domain: config.trust_domain.as_str().into(),
        })
    }

    /// What a server does with connections.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// The name that certificates of this market share.
    pub fn trust_domain(&self) -> &Arc<str> {
        &self.trust_domain
    }

    /// How to reach `role` at `url`: with this service's certificate, and only if the other side has the
    /// role's.
    pub fn connector(&self, url: &str, role: Role) -> crate::Connector {
        let verifier = RoleVerifier { inner: self.verifier.clone(), expected: Some((role, self.trust_domain.clone())) };
        crate::Connector::Tls(crate::TlsConnector {
            url: url.to_owned(),
            identity: self.identity.clone(),
            verifier: Some(Arc::new(verifier)),
        })
    }
}

/// How somebody without a certificate reaches a server whose certificate comes from one of the authorities
/// in `authority`; from the authorities that the machine trusts, when it is `None`.
///
/// # Errors
/// [`TlsError`] for a file without certificates.
pub fn public_connector(url: &str, authority: Option<&Path>) -> Result<crate::Connector, TlsError> {
    let verifier = match authority {
        None => None,
        Some(path) => {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let inner = server_verifier(Arc::new(roots(path)?), provider, path)?;
            Some(Arc::new(RoleVerifier { inner, expected: None }) as Arc<dyn ServerCertVerifier>)
        }
    };
    Ok(crate::Connector::Tls(crate::TlsConnector { url: url.to_owned(), identity: None, verifier }))
}

/// The client's side of the handshake.
pub(crate) fn client_config(identity: Option<&Identity>) -> ClientTlsConfig {
    let config = ClientTlsConfig::new();
    match identity {
        Some(identity) => config.identity(identity.clone()),
        None => config,
    }
}

fn server_verifier(
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    authority: &Path,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let built = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    built.map_err(|_| TlsError::Pem { path: authority.to_owned(), what: "certificate" })
}

/// Checks a server's certificate as usual, and then that it names the role that was called.
#[derive(Debug)]
struct RoleVerifier {
    inner: Arc<WebPkiServerVerifier>,
    expected: Option<(Role, Arc<str>)>,
}

impl ServerCertVerifier for RoleVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        match &self.expected {
            Some((role, domain)) if Role::of_certificate(end_entity, domain) != Some(*role) => {
                let reason = format!("the server's certificate is not one of {}", role.uri(domain));
                Err(rustls::Error::General(reason))
            }
            _ => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::File { path, source }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(file_error(path))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let missing = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    let found = found.map_err(|_| missing())?;
    if found.is_empty() { Err(missing()) } else { Ok(found) }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| TlsError::Unusable { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{NamedGroup, ProtocolVersion};

    /// The group and version that a client with `versions` agrees on with a server of ours.
    async fn agreed(client: rustls::ClientConfig, server: &Tls) -> io::Result<(NamedGroup, ProtocolVersion)> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let accept = tokio_rustls::TlsAcceptor::from(server.server()).accept(far);
        let name = ServerName::try_from("localhost").expect("a name");
        let dial = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, near);
        let (accepted, dialled) = tokio::join!(accept, dial);
        let stream = accepted?;
        dialled?;
        let connection = stream.get_ref().1;
        let group = connection.negotiated_key_exchange_group().expect("agreed").name();
        Ok((group, connection.protocol_version().expect("agreed")))
    }

    fn client(
        roots: RootCertStore,
        provider: CryptoProvider,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> rustls::ClientConfig {
        rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .expect("supported")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    #[tokio::test]
    async fn connections_agree_on_the_hybrid_group_over_tls_1_3() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let dir = tempfile::tempdir().expect("a folder");
        let authority = Authority::create(dir.path(), "market.test", now).expect("an authority");
        let again = Authority::create(dir.path(), "market.test", now);
        assert!(matches!(again, Err(AuthorityError::Exists { .. })));
        let files = authority.issue(Role::Exchange, &["localhost".to_owned()], 1, now).expect("issued");
        let config = TlsConfig {
            certificate: files.certificate,
            key: files.key,
            authority: files.authority.clone(),
            trust_domain: authority.trust_domain().to_owned(),
        };
        let server = Tls::load(&config, Role::Exchange).expect("it loads");
        let roots = roots(&files.authority).expect("an authority");

        let modern = client(roots.clone(), aws_lc_rs::default_provider(), &rustls::version::TLS13);
        let (group, version) = agreed(modern, &server).await.expect("agreed");
        assert_eq!((group, version), (NamedGroup::X25519MLKEM768, ProtocolVersion::TLSv1_3));

        // A client that knows no hybrid group is served all the same, as libraries in other languages are.
        let mut classical = aws_lc_rs::default_provider();
        classical.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
        let (group, _) = agreed(client(roots, classical, &rustls::version::TLS13), &server).await.expect("agreed");
        assert_eq!(group, NamedGroup::X25519);
    }

    #[test]
    fn a_trust_domain_is_a_plain_name() {
        let dir = tempfile::tempdir().expect("a folder");
        for bad in ["", "a/b", "A", "a b", "a\n"] {
            assert!(matches!(Authority::create(dir.path(), bad, 0), Err(AuthorityError::TrustDomain(_))), "{bad:?}");
        }
    }
}
