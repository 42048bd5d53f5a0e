//! The people of the demo.

use crate::{context::now_unix_s, error::CommandError, node::Connectors};
use locus_client::{DataFolder, Keystore, Network, NewKeys, ServiceChannels, Services};
use locus_service::connect_lazy;
use std::path::{Path, PathBuf};

/// Someone with keys and a folder of their own.
pub(super) struct Party {
    pub(super) root: PathBuf,
    pub(super) folder: DataFolder,
    pub(super) keys: Keystore,
}

impl Party {
    /// Makes keys in a new folder.
    pub(super) fn new(root: &Path, accreditor: bool) -> Result<Self, CommandError> {
        let folder = DataFolder::new(root);
        let keys = Keystore::create(&folder.keys(), NewKeys { accreditor }, now_unix_s())?;
        Ok(Self { root: root.to_path_buf(), folder, keys })
    }

    /// The market, remembered in this party's folder.
    pub(super) async fn network(&self, services: &Services) -> Result<Network, CommandError> {
        Ok(Network::fetch_pinned(services, &self.folder.network_file()).await?)
    }
}

/// Clients of all services of a node in this process.
pub(super) fn services(connectors: &Connectors) -> Result<Services, CommandError> {
    let [first, second, third] = &connectors.keyholders;
    Ok(Services::new(ServiceChannels {
        archive: connect_lazy(&connectors.archive)?,
        exchange: connect_lazy(&connectors.exchange)?,
        aggregator: connect_lazy(&connectors.aggregator)?,
        keyholders: [connect_lazy(first)?, connect_lazy(second)?, connect_lazy(third)?],
    }))
}
