//! The market's admin, who orders new keys.

use anyhow::{Context as _, Result};
use locus_client::{NoProgress, Services, attest_new_keys, publish_new_keys};
use locus_ledger::{AccountKey, Chain, Contracts, Ledger, RegistrationId, ViewFollower};
use std::time::Duration;

/// How often the chain is read without being asked for.
const CHAIN_PERIOD: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Admin {
    key: AccountKey,
    ledger: Ledger,
    view: ViewFollower,
}

impl Admin {
    /// The admin with this key; `chain` sends in the admin's name.
    pub(crate) async fn open(chain: Chain, contracts: Contracts, key: AccountKey) -> Result<Self> {
        let ledger = Ledger::open(chain, contracts).await?;
        let view = ViewFollower::start(ledger.clone(), CHAIN_PERIOD);
        Ok(Self { key, ledger, view })
    }

    /// Leads the re-keying that results in this generation to its end, from wherever it was left: the keys are final
    /// and the new bodies are in place.
    pub(crate) async fn rekey(
        &self,
        services: &Services,
        registration: RegistrationId,
        generation: u8,
        now_unix_s: u64,
    ) -> Result<()> {
        // Who ordered it again when the chain has it would order the next one.
        if self.ledger.rekey_generation(registration).await? < generation {
            let (ledger, key) = (&self.ledger, &self.key);
            let keys = attest_new_keys(services, ledger, key, registration, now_unix_s, &NoProgress).await?;
            keys.submit(ledger).await?;
        }
        while self.final_generation(registration).await? < generation {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(publish_new_keys(services, registration).await?)
    }

    async fn final_generation(&self, registration: RegistrationId) -> Result<u8> {
        let view = self.view.refreshed().await?;
        Ok(view.registration(registration).context("a registration")?.generation())
    }
}
