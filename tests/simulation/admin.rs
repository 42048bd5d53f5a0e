//! The market's admin, who orders new keys.

use anyhow::Result;
use locus_client::{Network, NoProgress, Services, attest_new_keys, publish_new_keys, registration_state};
use locus_ledger::{AccountKey, RegistrationId};

/// Leads the re-keying that results in this generation to its end, from wherever it was left: the keys are final and the new bodies
/// are in place.
pub(crate) async fn rekey(
    services: &Services,
    network: &Network,
    admin: &AccountKey,
    registration: RegistrationId,
    generation: u8,
    now_unix_s: u64,
) -> Result<()> {
    // Who ordered it again when the chain has it would order the next one.
    if registration_state(services, registration).await?.generation < generation {
        let keys = attest_new_keys(services, network, admin, registration, now_unix_s, &NoProgress).await?;
        keys.submit(services).await?;
    }
    Ok(publish_new_keys(services, registration).await?)
}
