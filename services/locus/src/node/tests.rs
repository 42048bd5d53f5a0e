use super::*;
use locus_client::{Network, ServiceChannels, Services, list_panels};
use locus_service::connect_lazy;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn any_port() -> NodeAddresses {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    NodeAddresses { market: any, keyholders: [any; 3] }
}

async fn started(dir: &Path) -> Node {
    Node::start(NodeConfig::new(dir)).await.expect("the market starts")
}

#[tokio::test]
async fn a_market_goes_on_where_it_stopped() {
    let dir = folder();
    let first = started(dir.path()).await;
    let contracts = *first.contracts();
    first.shutdown().await;
    let second = started(dir.path()).await;
    assert_eq!(*second.contracts(), contracts);
    second.shutdown().await;
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_is_begun_again() {
    let dir = folder();
    let first = started(dir.path()).await;
    let contracts = *first.contracts();
    first.shutdown().await;
    // What a crash before the last step of the deployment leaves: contracts on the chain, no file.
    std::fs::remove_file(dir.path().join(deployment::DEPLOYMENT_FILE)).expect("removed");
    for name in ["keyholder-1", "keyholder-2", "keyholder-3"] {
        for entry in std::fs::read_dir(dir.path().join(name)).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "key") {
                std::fs::remove_file(path).expect("removed");
            }
        }
    }
    for name in ["archive", "exchange", "aggregator"] {
        std::fs::remove_dir_all(dir.path().join(name)).expect("removed");
    }
    let second = started(dir.path()).await;
    assert_ne!(second.contracts().network.registry, contracts.network.registry);
    assert!(dir.path().join(deployment::DEPLOYMENT_FILE).exists());
    second.shutdown().await;
}

#[tokio::test]
async fn a_folder_serves_one_market_at_a_time() {
    let dir = folder();
    let first = started(dir.path()).await;
    let second = Node::start(NodeConfig::new(dir.path())).await.expect_err("in use");
    assert!(matches!(second, NodeError::Folder(FolderError::InUse { .. })), "{second}");
    first.shutdown().await;
}

#[tokio::test]
async fn keys_that_are_not_the_committees_are_refused() {
    let dir = folder();
    started(dir.path()).await.shutdown().await;
    let lost = dir.path().join("keyholder-2/committee.key");
    let kept = std::fs::read(&lost).expect("there");
    std::fs::remove_file(&lost).expect("removed");
    let error = Node::start(NodeConfig::new(dir.path())).await.expect_err("another key was made");
    assert!(matches!(error, NodeError::OtherKeys { index: 2, .. }), "{error}");
    // Control: with the key put back the market starts.
    std::fs::write(&lost, kept).expect("restored");
    started(dir.path()).await.shutdown().await;
}

#[tokio::test]
async fn one_port_serves_archive_exchange_and_queries() {
    let dir = folder();
    let mut config = NodeConfig::new(dir.path());
    config.listen = Some(any_port());
    config.reflection = true;
    let node = Node::start(config).await.expect("the market starts");
    let channel = |url: &str| connect_lazy(&Connector::Url(url.to_owned())).expect("an address");
    let market = channel(&node.market_url().expect("served over TCP"));
    let keyholders = node.keyholder_urls().expect("served over TCP");
    let services = Services::new(ServiceChannels {
        archive: market.clone(),
        exchange: market.clone(),
        aggregator: market,
        keyholders: keyholders.each_ref().map(|url| channel(url)),
    });
    let network = Network::fetch(&services).await.expect("the exchange answers");
    assert_eq!(network.id(), node.contracts().network);
    assert_eq!(list_panels(&services).await.expect("the archive answers"), []);
    let quoted = services
        .query
        .clone()
        .quote_query(locus_wire::pb::query::QuoteQueryRequest::default())
        .await
        .expect_err("an empty request");
    assert_eq!(quoted.code(), tonic::Code::InvalidArgument, "the query service answers: {quoted}");
    node.shutdown().await;
}

#[tokio::test]
async fn accounts_are_listed_at_any_start_and_once() {
    let dir = folder();
    let one = Listed { account: Address([1; 20]), name: "one".to_owned() };
    let two = Listed { account: Address([2; 20]), name: "two".to_owned() };
    let mut config = NodeConfig::new(dir.path());
    config.accreditors = vec![one.clone()];
    Node::start(config.clone()).await.expect("starts").shutdown().await;
    let blocks = |dir: &Path| {
        let chain = EmbeddedChain::open(
            &dir.join(JOURNAL_FILE),
            &ChainConfig::new(CHAIN_ID),
            Arc::new(locus_ledger::SystemClock),
        );
        chain.expect("opens").head_number()
    };
    let after_first = blocks(dir.path());
    config.accreditors.push(two.clone());
    config.researchers = vec![two];
    Node::start(config.clone()).await.expect("starts").shutdown().await;
    assert_eq!(blocks(dir.path()), after_first + 2, "one block for each account that was new");
    Node::start(config).await.expect("starts").shutdown().await;
    assert_eq!(blocks(dir.path()), after_first + 2);
}
