//! New keys for registrations of a market.

use crate::{Market, now_unix_s};
use anyhow::Result;
use locus_client::{AttestedKeys, NoProgress, attest_new_keys, publish_new_keys};
use locus_ledger::{AccountKey, Chain, Ledger, RegistrationId, read_key_file};

impl Market {
    /// The key of the market's admin.
    pub fn admin(&self) -> Result<AccountKey> {
        Ok(read_key_file(&self.data_dir().join("operator.key"))?)
    }

    /// The market's contracts, with the admin as sender.
    pub async fn admin_ledger(&self) -> Result<Ledger> {
        let chain = Chain::embedded(self.node.chain().clone(), Some(&self.admin()?));
        Ok(Ledger::open(chain, *self.node.contracts()).await?)
    }

    /// New keys of a registration that the chain does not have yet.
    pub async fn attest_new_keys(&self, registration: RegistrationId) -> Result<AttestedKeys> {
        let admin = self.admin()?;
        Ok(attest_new_keys(&self.services, &self.network, &admin, registration, now_unix_s(), &NoProgress).await?)
    }

    /// Gives a registration new keys, and waits until they are in use.
    pub async fn rekey(&self, registration: RegistrationId) -> Result<AttestedKeys> {
        let keys = self.attest_new_keys(registration).await?;
        keys.submit(&self.services).await?;
        publish_new_keys(&self.services, registration).await?;
        Ok(keys)
    }
}
