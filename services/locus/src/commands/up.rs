//! `locus up`.

use crate::{
    cli::UpArgs,
    context::Context,
    error::CommandError,
    node::{Listed, Node, NodeAddresses, NodeConfig},
    progress::Bars,
    proving::market_keys,
};
use locus_commitment::Address;
use serde_json::json;
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a market until it is interrupted or told to end.
pub(super) async fn run(args: &UpArgs, context: &Context) -> Result<(), CommandError> {
    let mut config = NodeConfig::new(&context.market_folder());
    config.listen = Some(addresses(args.listen)?);
    config.store_url = args.store_url.clone();
    config.store_options = args.store_option.iter().cloned().collect();
    config.accreditors = args.accreditor.iter().map(listed).collect();
    config.researchers = args.researcher.iter().map(listed).collect();
    config.parameters.cohort_size_min = args.cohort_size_min;
    config.reflection = args.reflection;
    if args.proven_cohorts {
        let bars = Bars::new(context.output);
        config.prover = Some(market_keys(args.proof_keys.as_deref(), true, &bars).await?);
        bars.clear();
    }

    // From here on a signal ends the process in order, also while it is starting.
    let mut terminate = signal(SignalKind::terminate()).map_err(CommandError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandError::Runtime)?;
    let mut node = tokio::select! {
        node = Node::start(config) => node?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    announce(&node, context)?;
    tokio::select! {
        stopped = node.stopped() => return Ok(stopped?),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    context.output.note("stopping");
    node.shutdown().await;
    Ok(())
}

/// The keyholders take the next three ports; free ones when a free one was asked for.
fn addresses(market: SocketAddr) -> Result<NodeAddresses, CommandError> {
    let beside = |offset: u16| {
        let port = match market.port() {
            0 => Some(0),
            port => port.checked_add(offset),
        };
        let full =
            || CommandError::Usage(format!("--listen {market} leaves no ports for the keyholders: take a lower one"));
        Ok::<_, CommandError>(SocketAddr::new(market.ip(), port.ok_or_else(full)?))
    };
    Ok(NodeAddresses { market, keyholders: [beside(1)?, beside(2)?, beside(3)?] })
}

fn listed((account, name): &(Address, String)) -> Listed {
    Listed { account: *account, name: name.clone() }
}

/// Says where the market is, once it can be reached.
fn announce(node: &Node, context: &Context) -> Result<(), CommandError> {
    let endpoint = node.market_url().unwrap_or_default();
    let keyholders = node.keyholder_urls().map(Vec::from).unwrap_or_default();
    let network = node.contracts().network;
    let value = json!({
        "endpoint": endpoint,
        "keyholders": keyholders,
        "chain_id": network.chain_id,
        "registry": network.registry.to_string(),
        "data_dir": context.market_folder(),
        "pid": std::process::id(),
    });
    context.output.result(&value, || {
        format!(
            "market      {endpoint}\nkeyholders  {}\nregistry    {} on chain {}\ndata        {}\n\
             This is a test network: anyone may mint its tokens. Its ports neither encrypt nor know their callers: keep\n\
             them on this machine. End it with ctrl-c; start it again to go on.\n",
            keyholders.join(" "),
            network.registry,
            network.chain_id,
            context.market_folder().display(),
        )
    })
}
