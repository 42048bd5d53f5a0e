//! `locus roots`: moving and showing the roots of registry trees.

use crate::{
    cli::{RootsAdvanceArgs, RootsArgs, RootsCommand},
    context::Context,
    error::CommandError,
    progress::Bars,
    proving::update_key,
};
use locus_ledger::{
    AccountKey, Chain, Contracts, DeploymentFile, EventSource as _, KeyFileError, Ledger, LedgerError, ProvenRegistry,
    read_key_file,
};
use locus_prover::{Circuits, PanelMirror, ProverError, ProvingTurn, RootProver};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a root is not moved or shown.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The description of the market is none.
    #[error("{path} does not describe a deployment ({reason}): name the file that `locus deploy` wrote", path = path.display())]
    Deployment {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The market settles without proofs.
    #[error("the market has no roots: its settlements do not rest on proven cohorts ({0})")]
    NoRoots(#[source] LedgerError),
    /// The key of the account that pays is not usable.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The chain refuses or cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The prover stops.
    #[error(transparent)]
    Prover(#[from] ProverError),
}

pub(super) async fn run(command: &RootsCommand, context: &Context) -> Result<(), CommandError> {
    match command {
        RootsCommand::Advance(args) => advance(args, context).await,
        RootsCommand::Show(args) => show(args, context).await,
    }
}

async fn advance(args: &RootsAdvanceArgs, context: &Context) -> Result<(), CommandError> {
    let operator = read_key_file(&args.operator_key).map_err(RootsError::from)?;
    let mirror = open(&args.roots, Some(&operator)).await?;
    let ledger = mirror.registry().ledger();
    let is_test_network = ledger.parameters().await.map_err(RootsError::from)?.values().test_network;
    let block = match args.block {
        Some(block) => block,
        None => ledger.head().await.map_err(RootsError::from)?.number,
    };
    let bars = Bars::new(context.output);
    let key = Arc::new(update_key(is_test_network, args.proof_keys.as_deref(), &bars).await?);
    bars.show("reading the chain", 0, 0);
    let prover = RootProver::new(Arc::new(mirror), Circuits::FULL.update(), key, ProvingTurn::default());
    let shown = bars.clone();
    let progress = move |progress: locus_prover::RootProgress| {
        let total = progress.batches_done + progress.batches_to_do;
        shown.show("proving batches", progress.batches_done, total);
    };
    let advanced = prover.advance_to(block, progress).await.map_err(RootsError::from)?;
    bars.clear();
    let root = hex::encode(advanced.root.0);
    let result = json!({ "sequence": advanced.sequence, "root": root, "batches": advanced.batches });
    context.output.result(&result, || {
        format!("sequence  {}\nroot      {root}\nbatches   {} proven now\n", advanced.sequence, advanced.batches)
    })
}

async fn show(args: &RootsArgs, context: &Context) -> Result<(), CommandError> {
    let mirror = open(args, None).await?;
    let bars = Bars::new(context.output);
    bars.show("reading the chain", 0, 0);
    let tree = mirror.follow().await.map_err(RootsError::from)?;
    let since = mirror.registry().missing_since_unix_s(args.panel, tree.sequence()).await.map_err(RootsError::from)?;
    bars.clear();
    let ([registry, offers], root) = (tree.waiting_operations(), hex::encode(tree.root().0));
    let events = tree.events_to_take(u64::MAX);
    let result = json!({
        "sequence": tree.sequence(),
        "root": root,
        "missing": { "registry": registry, "offers": offers, "events": events, "since_unix_s": since },
    });
    context.output.result(&result, || {
        let missing = match since {
            None => "nothing".to_owned(),
            Some(since) => format!(
                "{registry} registrations and revocations, {offers} offers: {events} events, since {since} (Unix time)"
            ),
        };
        format!("sequence  {}\nroot      {root}\nmissing   {missing}\n", tree.sequence())
    })
}

/// The panel's roots on the market that the file describes.
async fn open(args: &RootsArgs, sender: Option<&AccountKey>) -> Result<PanelMirror, CommandError> {
    let contracts = read_deployment(&args.deployment)?;
    let chain = Chain::http(&args.rpc, sender).map_err(RootsError::from)?;
    let ledger = Ledger::open(chain, contracts).await.map_err(RootsError::from)?;
    let registry = ProvenRegistry::open(ledger).await.map_err(RootsError::NoRoots)?;
    Ok(PanelMirror::new(registry, args.panel, Circuits::FULL.depth()))
}

pub(super) fn read_deployment(path: &Path) -> Result<Contracts, CommandError> {
    let text = fs::read_to_string(path).map_err(CommandError::file(path))?;
    let refused = |reason: String| RootsError::Deployment { path: path.to_path_buf(), reason };
    let file: DeploymentFile = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Ok(Contracts::try_from(&file).map_err(|error| refused(error.to_string()))?)
}
