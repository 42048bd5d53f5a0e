//! How a service meets its callers: TLS, rates, metrics.

use crate::{
    AccessTable, Connector, Findings, Listen, Metrics, RateConfig, Role, ServeError, ServerHandle, Tls, TlsConfig,
    TlsError, serve_guarded,
};
use serde::Deserialize;
use std::net::SocketAddr;
use tonic::service::Routes;

/// The part of every service's configuration that is about its callers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontConfig {
    /// The service's certificate, and whom it trusts. Without it the service neither encrypts nor knows its
    /// callers, and listens on this host alone.
    pub tls: Option<TlsConfig>,
    /// Listen for other hosts without TLS: only where something else encrypts and authenticates.
    pub allow_plaintext: bool,
    /// Limits on calls from one address.
    pub rates: RateConfig,
}

/// Why a service may not start as configured.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Other hosts could reach it unprotected.
    #[error(
        "{0} can be reached by other hosts without TLS: add [front.tls], listen on 127.0.0.1, or set front.allow_plaintext when something else encrypts and authenticates"
    )]
    Plaintext(SocketAddr),
    /// The address of another service needs TLS, or may not have it.
    #[error("{url} does not fit: services with [front.tls] are reached at https://, others at http://")]
    Scheme {
        /// The address.
        url: String,
    },
}

impl FrontConfig {
    /// Reads the TLS files.
    ///
    /// # Errors
    /// [`FrontError`] for files that cannot be used, and for an address that other hosts reach without TLS.
    pub fn open(&self, role: Role, listen: SocketAddr, metrics: Metrics) -> Result<Front, FrontError> {
        if self.tls.is_none() && !listen.ip().is_loopback() && !self.allow_plaintext {
            return Err(FrontError::Plaintext(listen));
        }
        let tls = self.tls.as_ref().map(|config| Tls::load(config, role)).transpose()?;
        if tls.is_none() {
            tracing::warn!(%listen, "this service runs without TLS: callers are not authenticated");
        }
        Ok(Front { tls, rates: self.rates, metrics: Some(metrics), reflection: false })
    }

    /// What is wrong with it, for `--check-config`.
    pub fn check(&self, role: Role, listen: SocketAddr, findings: &mut Findings) {
        findings.check("front", self.open(role, listen, Metrics::new("check")).map(drop));
        findings.free_address("listen", listen);
    }

    /// Notes an address of another service that does not fit.
    pub fn check_url(&self, key: &str, url: &str, findings: &mut Findings) {
        findings.url(key, url, &[if self.tls.is_some() { "https" } else { "http" }]);
    }
}

/// How a service meets its callers.
#[derive(Debug, Clone)]
pub struct Front {
    tls: Option<Tls>,
    rates: RateConfig,
    metrics: Option<Metrics>,
    reflection: bool,
}

impl Front {
    /// Inside one process or on one host, for one operator: no TLS, every caller trusted, no limits.
    pub fn local(reflection: bool) -> Self {
        let rates = RateConfig { calls_per_s_max: 0, burst_max: 0 };
        Self { tls: None, rates, metrics: None, reflection }
    }

    /// The same with gRPC reflection on or off.
    pub fn with_reflection(self, reflection: bool) -> Self {
        Self { reflection, ..self }
    }

    /// The service's metrics, if it has any.
    pub fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    /// How to reach the service with `role` at `url`.
    ///
    /// # Errors
    /// [`FrontError::Scheme`] when one side has TLS and the other has not.
    pub fn connector(&self, url: &str, role: Role) -> Result<Connector, FrontError> {
        match &self.tls {
            Some(tls) if url.starts_with("https://") => Ok(tls.connector(url, role)),
            None if url.starts_with("http://") => Ok(Connector::Url(url.to_owned())),
            _ => Err(FrontError::Scheme { url: url.to_owned() }),
        }
    }

    /// Serves `routes`, whose calls `tables` list, described by `descriptors` when reflection is on.
    ///
    /// # Errors
    /// [`ServeError::Listen`] for an address that is taken.
    pub async fn serve(
        &self,
        routes: Routes,
        tables: &[AccessTable],
        listen: Listen,
        descriptors: &'static [u8],
    ) -> Result<ServerHandle, ServeError> {
        if let Some(metrics) = &self.metrics {
            metrics.expect_calls(tables);
        }
        let guard = crate::guard::Guard {
            tables: tables.to_vec(),
            trust_domain: self.tls.as_ref().map(|tls| tls.trust_domain().clone()),
            rates: crate::rates::Rates::new(self.rates),
            metrics: self.metrics.clone(),
        };
        serve_guarded(routes, listen, self.reflection.then_some(descriptors), guard, self.tls.as_ref()).await
    }
}
