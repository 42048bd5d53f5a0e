//! `locus committee`: who the keyholders of a market are.

use super::{
    deploy::{DeployError, read_identity, wait_until_final},
    roots::read_deployment,
};
use crate::{
    cli::{CommitteeCommand, CommitteeReplaceArgs},
    context::Context,
    error::CommandError,
};
use locus_ledger::{Chain, Ledger, read_key_file};
use serde_json::json;

pub(super) async fn run(command: &CommitteeCommand, context: &Context) -> Result<(), CommandError> {
    match command {
        CommitteeCommand::Replace(args) => replace(args, context).await,
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
