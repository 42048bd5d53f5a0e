//! The verifying keys that a market's services use.

use crate::{
    Statement,
    error::ProofsError,
    keys::{CircuitKey, KeyStore},
};
use std::path::{Path, PathBuf};

/// Where a network's keys come from. Real networks need keys of a ceremony; test networks have
/// development keys, whose secrets are public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkKeys {
    folder: Option<PathBuf>,
    is_test_network: bool,
}

impl NetworkKeys {
    /// The keys in `folder`, or, without one, the development keys of test networks.
    pub fn new(folder: Option<&Path>, is_test_network: bool) -> Self {
        Self { folder: folder.map(Path::to_path_buf), is_test_network }
    }

    /// The key of a statement; `None` when a real network's operator named no folder.
    ///
    /// # Errors
    /// [`ProofsError::DevelopmentKey`] in the folder of a real network, and those of
    /// [`KeyStore::circuit_key`].
    pub fn circuit_key(&self, statement: Statement) -> Result<Option<CircuitKey>, ProofsError> {
        let Some(folder) = &self.folder else {
            return self.is_test_network.then(|| development_key(statement)).transpose();
        };
        let key = KeyStore::new(folder).circuit_key(statement.circuit(), None)?;
        if !self.is_test_network {
            key.for_production()?;
        }
        Ok(Some(key))
    }
}

/// The development key of a statement, as [`KeyStore::development_key`] makes it.
///
/// # Errors
/// Those of [`CircuitKey::parse`], never for the files in the tree.
fn development_key(statement: Statement) -> Result<CircuitKey, ProofsError> {
    CircuitKey::parse(match statement {
        Statement::Encryption => include_bytes!("../keys/encryption-4096.vk"),
        Statement::Disclosure => include_bytes!("../keys/disclosure-4080.vk"),
        Statement::Cohort => include_bytes!("../keys/cohort-2-5.vk"),
        Statement::Update => include_bytes!("../keys/update-64-5.vk"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyOrigin;

    #[test]
    fn test_networks_have_development_keys_and_others_refuse_them() {
        for statement in Statement::ALL {
            let key = NetworkKeys::new(None, true).circuit_key(statement).unwrap().unwrap();
            assert_eq!((key.circuit.as_str(), key.origin), (statement.circuit(), KeyOrigin::Development));
            assert_eq!(NetworkKeys::new(None, false).circuit_key(statement).unwrap(), None);
        }
        let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
        let folder = Path::new(&package).join("keys");
        for statement in Statement::ALL {
            let on_disk = |is_test| NetworkKeys::new(Some(&folder), is_test).circuit_key(statement);
            assert!(on_disk(true).unwrap().is_some());
            assert!(matches!(on_disk(false), Err(ProofsError::DevelopmentKey(_))));
        }
        assert!(NetworkKeys::new(Some(Path::new("/nowhere")), true).circuit_key(Statement::Cohort).is_err());
    }

    /// The committed keys of the two circuits that contributors use are those that they make.
    #[test]
    fn committed_development_keys_are_those_that_setup_makes() {
        let folder = tempfile::tempdir().unwrap();
        for statement in [Statement::Encryption, Statement::Disclosure] {
            let made = KeyStore::new(folder.path()).development_key(&statement.shape().unwrap(), |_| {}).unwrap();
            assert_eq!(made.id(), development_key(statement).unwrap().id(), "{}", statement.circuit());
        }
    }
}
