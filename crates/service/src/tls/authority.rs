//! An authority of one's own for trying things out: it issues the certificates of a market's services.
//!
//! Whoever has its key can be every service, so a market whose operators do not trust each other takes
//! certificates from an authority that none of them runs alone.

use super::Role;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";
const TRUST_DOMAIN_FILE: &str = "trust-domain";
/// Years for which the authority's own certificate is valid.
const AUTHORITY_DAYS: u32 = 3_650;
/// Clocks may be behind by this much.
const SKEW: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Why no certificate is issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// There is an authority already.
    #[error("{path} holds an authority already: issue certificates with it, or choose another folder", path = path.display())]
    Exists {
        /// Its folder.
        path: PathBuf,
    },
    /// The name cannot stand in a URI.
    #[error("{0} is no trust domain: use lower-case letters, digits, dots and hyphens")]
    TrustDomain(String),
    /// A host name or key cannot be used.
    #[error("the certificate cannot be made: {0}; check host names and the authority's key")]
    Certificate(#[from] rcgen::Error),
}

/// A certificate authority in a folder.
pub struct Authority {
    folder: PathBuf,
    trust_domain: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, mode 0600.
    pub key: PathBuf,
    /// The authority's certificate, PEM.
    pub authority: PathBuf,
}

impl Authority {
    /// Makes an authority for `trust_domain` in `folder`.
    ///
    /// # Errors
    /// [`AuthorityError::Exists`] when there is one.
    pub fn create(folder: &Path, trust_domain: &str, now_unix_s: u64) -> Result<Self, AuthorityError> {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
        if trust_domain.is_empty() || !trust_domain.chars().all(is_name) {
            return Err(AuthorityError::TrustDomain(trust_domain.to_owned()));
        }
        if folder.join(KEY_FILE).exists() {
            return Err(AuthorityError::Exists { path: folder.to_owned() });
        }
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        let key = KeyPair::generate()?;
        let mut params = authority_params(trust_domain);
        set_validity(&mut params, now_unix_s, AUTHORITY_DAYS);
        let certificate = params.self_signed(&key)?;
        write_file(&folder.join(CERTIFICATE_FILE), certificate.pem().as_bytes(), 0o644)?;
        write_file(&folder.join(TRUST_DOMAIN_FILE), trust_domain.as_bytes(), 0o644)?;
        write_file(&folder.join(KEY_FILE), Zeroizing::new(key.serialize_pem()).as_bytes(), 0o600)?;
        Self::open(folder)
    }

    /// The authority in `folder`.
    ///
    /// # Errors
    /// [`AuthorityError::File`] or [`AuthorityError::Certificate`] for missing or damaged files.
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(file_error(&path))
        };
        let key = KeyPair::from_pem(&Zeroizing::new(read(KEY_FILE)?))?;
        let trust_domain = read(TRUST_DOMAIN_FILE)?;
        let issuer = Issuer::new(authority_params(&trust_domain), key);
        Ok(Self { folder: folder.to_owned(), trust_domain, issuer })
    }

    /// The name that all its certificates share.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Issues a certificate for `role`, valid for `days` from now on, and for servers called `hosts` (names or
    /// addresses). Earlier files of the role are replaced.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] for a host that is no name.
    pub fn issue(
        &self,
        role: Role,
        hosts: &[String],
        days: u32,
        now_unix_s: u64,
    ) -> Result<IssuedFiles, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts.to_vec())?;
        params.subject_alt_names.push(SanType::URI(role.uri(&self.trust_domain).try_into()?));
        params.distinguished_name = distinguished_name(&role.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now_unix_s, days);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let stem = role.file_stem();
        let files = IssuedFiles {
            certificate: self.folder.join(format!("{stem}.pem")),
            key: self.folder.join(format!("{stem}.key")),
            authority: self.folder.join(CERTIFICATE_FILE),
        };
        write_file(&files.certificate, certificate.pem().as_bytes(), 0o644)?;
        write_file(&files.key, Zeroizing::new(key.serialize_pem()).as_bytes(), 0o600)?;
        Ok(files)
    }
}

fn authority_params(trust_domain: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&format!("Locus authority of {trust_domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, now_unix_s: u64, days: u32) {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(now_unix_s);
    params.not_before = now - SKEW;
    params.not_after = now + DAY * days;
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path = path.to_owned();
    move |source| AuthorityError::File { path, source }
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let partial = path.with_extension("partial");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(&partial).map_err(file_error(&partial))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(file_error(&partial))?;
    fs::rename(&partial, path).map_err(file_error(path))
}
