//! Who a service is, as its certificate says.

use std::{fmt, str::FromStr};
use webpki::EndEntityCert;

/// A service of a market, as named by the URI in its certificate: `spiffe://<trust domain>/<role>`, with
/// the roles `archive`, `exchange`, `aggregator`, `engine`, `keyholder/1`, `keyholder/2` and `keyholder/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Keeps the encrypted genomes.
    Archive,
    /// Talks to the chain.
    Exchange,
    /// Answers questions.
    Aggregator,
    /// Sums ciphertexts on a cluster, for an aggregator.
    Engine,
    /// Holds key shares: 1, 2 or 3.
    Keyholder(u8),
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no role: use archive, exchange, aggregator, engine, keyholder/1, keyholder/2 or keyholder/3")]
pub struct UnknownRole(pub String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Archive,
        Self::Exchange,
        Self::Aggregator,
        Self::Engine,
        Self::Keyholder(1),
        Self::Keyholder(2),
        Self::Keyholder(3),
    ];

    /// The role's name in certificates of `trust_domain`.
    pub fn uri(self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/{self}")
    }

    /// The name of its files: `keyholder-1`.
    pub fn file_stem(self) -> String {
        self.to_string().replace('/', "-")
    }

    /// The role that a certificate gives its bearer in `trust_domain`. A certificate with several URIs, or
    /// with one of another trust domain, gives none: an identity is exactly one name.
    pub fn of_certificate(der: &[u8], trust_domain: &str) -> Option<Self> {
        let der = rustls::pki_types::CertificateDer::from(der);
        let certificate = EndEntityCert::try_from(&der).ok()?;
        let mut names = certificate.valid_uri_names();
        let name = names.next()?;
        if names.next().is_some() {
            return None;
        }
        let (domain, role) = name.strip_prefix("spiffe://")?.split_once('/')?;
        if domain == trust_domain { role.parse().ok() } else { None }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive => f.write_str("archive"),
            Self::Exchange => f.write_str("exchange"),
            Self::Aggregator => f.write_str("aggregator"),
            Self::Engine => f.write_str("engine"),
            Self::Keyholder(index) => write!(f, "keyholder/{index}"),
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|role| role.to_string() == text);
        found.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}
