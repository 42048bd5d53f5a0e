//! `locus committee`: who the keyholders of a market are, and which keys they hold.

use super::{
    deploy::{DeployError, read_identity, wait_until_final},
    roots::read_deployment,
};
use crate::{
    cli::{CommitteeCommand, CommitteeRekeyArgs, CommitteeReplaceArgs},
    context::{Context, now_unix_s},
    error::CommandError,
    progress::Bars,
};
use locus_client::{
    RegistrationState, Services, attest_new_keys, publish_new_keys, registration_state, registration_states,
};
use locus_ledger::{Chain, Ledger, RegistrationId, read_key_file};
use serde_json::json;

pub(super) async fn run(command: &CommitteeCommand, context: &Context) -> Result<(), CommandError> {
    match command {
        CommitteeCommand::Replace(args) => replace(args, context).await,
        CommitteeCommand::Rekey(args) => rekey(args, context).await,
    }
}

/// Puts a successor's keys into the registry. From then on the chain takes no signature of the keyholder before.
async fn replace(args: &CommitteeReplaceArgs, context: &Context) -> Result<(), CommandError> {
    let identity = read_identity(&args.public)?;
    let contracts = read_deployment(&args.deployment)?;
    let admin = read_key_file(&args.operator_key).map_err(DeployError::from)?;
    let chain = Chain::http(&args.rpc, Some(&admin)).map_err(DeployError::from)?;
    let ledger = Ledger::open(chain, contracts).await.map_err(DeployError::from)?;
    let index = identity.index.get();
    ledger.set_keyholder(index, &identity.committee_member()).await.map_err(DeployError::from)?;
    wait_until_final(&ledger, context).await?;
    let epoch = ledger.committee_epoch().await.map_err(DeployError::from)?;
    let result = json!({ "keyholder": index, "signer": identity.signer.to_string(), "committee_epoch": epoch });
    context.output.result(&result, || {
        format!(
            "keyholder        {index}\nsigner           {}\ncommittee epoch  {epoch}\n\
             next: the other two run `locus-keyholder hand-over`, the successor `locus-keyholder take-over`\n",
            identity.signer
        )
    })
}

/// Gives registrations new keys, one after the other. What was done stays done when a later one fails.
async fn rekey(args: &CommitteeRekeyArgs, context: &Context) -> Result<(), CommandError> {
    let admin = read_key_file(&args.operator_key).map_err(DeployError::from)?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let mut done = Vec::new();
    for state in registrations(args, &services).await? {
        if args.generation.is_some_and(|wanted| wanted <= state.generation) {
            continue;
        }
        let bars = Bars::new(context.output);
        let keys = attest_new_keys(&services, &network, &admin, state.registration, now_unix_s(), &*bars).await?;
        bars.clear();
        keys.submit(&services).await?;
        publish_new_keys(&services, state.registration).await?;
        done.push(json!({
            "registration": state.registration.0,
            "generation": keys.generation,
            "datasets": keys.dataset_count(),
        }));
    }
    let count = done.len();
    context.output.result(&json!({ "rekeyed": done }), || {
        format!("registrations with new keys  {count}\nthe keys before them open nothing any more\n")
    })
}

/// Those named, or all that have datasets left.
async fn registrations(args: &CommitteeRekeyArgs, services: &Services) -> Result<Vec<RegistrationState>, CommandError> {
    if args.registrations.is_empty() {
        let mut all = registration_states(services).await?;
        all.retain(|state| state.revoked.len() < state.dataset_count as usize);
        return Ok(all);
    }
    let mut named = Vec::new();
    for id in &args.registrations {
        named.push(registration_state(services, RegistrationId(*id)).await?);
    }
    Ok(named)
}
