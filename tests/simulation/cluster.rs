//! The services of one market, each in a runtime of its own that can be dropped in the middle of anything.

use crate::{
    link::{Link, Weather},
    node::Node,
    operation::{PARTS, Part},
    random::Random,
    template::Template,
};
use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use locus_aggregator::AggregatorDeps;
use locus_archive::ArchiveDeps;
use locus_client::{ServiceChannels, Services};
use locus_exchange::ExchangeDeps;
use locus_keyholder::{KeyholderDeps, KeyholderKeys};
use locus_ledger::{AccountKey, Chain, ChainConfig, Contracts, EmbeddedChain, read_key_file};
use locus_service::{Clock, Connector, Listen, connect_lazy};
use locus_sharing::KeyholderIndex;
use locus_store::{Store, open_store};
use locus_tests::now_unix_s;
use std::{
    any::Any,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// How often a service is started anew while the one that died still has its files open: its threads cannot be
/// killed, as a process can, and end by themselves.
const START_TRIES: u32 = 400;
const START_PAUSE: Duration = Duration::from_millis(5);
/// How far clocks of services are apart.
const SKEW_S: u64 = 20;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    Client,
    Service(Part),
}

struct ChainClock(Clock);

impl locus_ledger::Clock for ChainClock {
    fn unix_s(&self) -> u64 {
        self.0.now_unix_s()
    }
}

struct Running {
    runtime: Runtime,
    // The handle of the service, which stops it when dropped.
    handle: Box<dyn Any + Send>,
}

/// The chain that all services use.
enum LedgerNode {
    /// Final at once.
    Embedded(EmbeddedChain),
    Reorganising(Node),
}

impl LedgerNode {
    /// A connection, of an account that sends if one is given.
    fn chain(&self, sender: Option<&AccountKey>) -> Result<Chain> {
        Ok(match self {
            Self::Embedded(chain) => Chain::embedded(chain.clone(), sender),
            Self::Reorganising(node) => Chain::http(node.url(), sender)?,
        })
    }
}

/// A market's services, and all ways between them.
pub(crate) struct Cluster {
    data_dir: PathBuf,
    ledger: LedgerNode,
    contracts: Contracts,
    operator: AccountKey,
    store: Store,
    chain_clock: Clock,
    clocks: BTreeMap<Part, Clock>,
    links: BTreeMap<(Caller, Part), Link>,
    running: BTreeMap<Part, Running>,
}

impl Cluster {
    /// Opens the market in `data_dir`, a copy of the template's; nothing runs yet.
    pub(crate) async fn open(
        data_dir: &Path,
        template: &Template,
        reorganises: bool,
        random: &mut Random,
    ) -> Result<Self> {
        let now = now_unix_s();
        let chain_clock = Clock::manual(now);
        let journal = data_dir.join("chain.journal");
        let ledger = if reorganises {
            LedgerNode::Reorganising(Node::start(&journal, chain_clock.clone(), random.fork()).await?)
        } else {
            let clock = Arc::new(ChainClock(chain_clock.clone()));
            LedgerNode::Embedded(EmbeddedChain::open(&journal, &ChainConfig::new(locus::node::CHAIN_ID), clock)?)
        };
        let mut links = BTreeMap::new();
        for (caller, part) in ways() {
            links.insert((caller, part), Link::new(random.fork()));
        }
        let skewed = |random: &mut Random| Clock::manual(now + random.below(2 * SKEW_S));
        Ok(Self {
            data_dir: data_dir.to_path_buf(),
            ledger,
            contracts: template.contracts,
            operator: read_key_file(&data_dir.join("operator.key"))?,
            store: open_store(&data_dir.join("objects").to_string_lossy(), BTreeMap::new())?,
            chain_clock,
            clocks: PARTS.into_iter().map(|part| (part, skewed(random))).collect(),
            links,
            running: BTreeMap::new(),
        })
    }

    /// The client's way to all services.
    pub(crate) fn services(&self) -> Result<Services> {
        let channel = |part| connect_lazy(&self.link(Caller::Client, part));
        Ok(Services::new(ServiceChannels {
            archive: channel(Part::Archive)?,
            exchange: channel(Part::Exchange)?,
            aggregator: channel(Part::Aggregator)?,
            keyholders: [channel(Part::Keyholder(0))?, channel(Part::Keyholder(1))?, channel(Part::Keyholder(2))?],
        }))
    }

    /// The key of the market's admin.
    pub(crate) fn admin(&self) -> AccountKey {
        self.operator.clone()
    }

    /// What the time is on the chain.
    pub(crate) fn now_unix_s(&self) -> u64 {
        self.chain_clock.now_unix_s()
    }

    /// Lets time pass everywhere.
    pub(crate) fn wait(&self, seconds: u64) {
        self.chain_clock.advance(seconds);
        self.clocks.values().for_each(|clock| clock.advance(seconds));
    }

    /// Changes the weather on all ways.
    pub(crate) fn set_weather(&self, weather: Weather) {
        self.links.values().for_each(|link| link.set_weather(weather));
    }

    /// Takes back the newest blocks of a chain that reorganises. Returns how many transactions wait again.
    pub(crate) fn reorganise(&self, depth: u64) -> Result<usize> {
        match &self.ledger {
            LedgerNode::Embedded(_) => Ok(0),
            LedgerNode::Reorganising(node) => node.reorganise(depth),
        }
    }

    /// Whether everything that was sent to the chain is final.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.ledger {
            LedgerNode::Embedded(_) => true,
            LedgerNode::Reorganising(node) => node.is_settled(),
        }
    }

    /// The folder of the objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.data_dir.join("objects")
    }

    /// Starts what is down.
    pub(crate) async fn start_all(&mut self) -> Result<()> {
        for part in PARTS {
            if !self.running.contains_key(&part) {
                self.start(part).await?;
            }
        }
        Ok(())
    }

    /// Starts a service that is down.
    pub(crate) async fn start(&mut self, part: Part) -> Result<()> {
        let mut tries = 0;
        let (runtime, handle, connector) = loop {
            let runtime = Builder::new_multi_thread().worker_threads(1).max_blocking_threads(4).enable_all().build()?;
            let started = runtime.spawn(self.starting(part)?);
            match started.await.context("a start panicked")? {
                Ok((handle, connector)) => break (runtime, handle, connector),
                Err(_) if tries < START_TRIES => runtime.shutdown_background(),
                Err(error) => {
                    runtime.shutdown_background();
                    return Err(error.context(format!("{part:?} does not start")));
                }
            }
            tries += 1;
            tokio::time::sleep(START_PAUSE).await;
        };
        for ((_, to), link) in &self.links {
            if *to == part {
                link.lead_to(&connector)?;
            }
        }
        self.running.insert(part, Running { runtime, handle });
        Ok(())
    }

    /// Kills a service: every task of it ends where it waits.
    pub(crate) fn crash(&mut self, part: Part) {
        for ((from, to), link) in &self.links {
            if *to == part {
                link.cut(true);
            } else if *from == Caller::Service(part) {
                link.cut(false);
            }
        }
        if let Some(Running { runtime, handle }) = self.running.remove(&part) {
            runtime.shutdown_background();
            drop(handle);
        }
    }

    fn link(&self, caller: Caller, part: Part) -> Connector {
        self.links[&(caller, part)].connector()
    }

    fn keyholders_of(&self, part: Part) -> [Connector; 3] {
        [0, 1, 2].map(|place| self.link(Caller::Service(part), Part::Keyholder(place)))
    }

    /// The start of a service, to be run in its runtime.
    fn starting(&self, part: Part) -> Result<BoxFuture<'static, Result<Started>>> {
        let (contracts, clock, store) = (self.contracts, self.clocks[&part].clone(), self.store.clone());
        let (reading, sending) = (self.ledger.chain(None)?, self.ledger.chain(Some(&self.operator))?);
        Ok(match part {
            Part::Keyholder(place) => self.starting_keyholder(place)?,
            Part::Exchange => {
                let data_dir = self.data_dir.join("exchange");
                let deps =
                    ExchangeDeps { chain: sending, contracts, data_dir, clock, poll_period: Duration::from_secs(1) };
                Box::pin(async move {
                    let handle = locus_exchange::start_with(deps, Listen::InProcess, false).await?;
                    let connector = handle.connector();
                    Ok((Box::new(handle) as Box<dyn Any + Send>, connector))
                })
            }
            Part::Archive => {
                let deps = ArchiveDeps {
                    store,
                    data_dir: self.data_dir.join("archive"),
                    chain: reading,
                    contracts,
                    keyholders: self.keyholders_of(part),
                    proof_keys_dir: None,
                    limits: locus_archive::Limits::default(),
                    clock,
                };
                Box::pin(async move {
                    let handle = locus_archive::start_with(deps, Listen::InProcess, false).await?;
                    let connector = handle.connector();
                    Ok((Box::new(handle) as Box<dyn Any + Send>, connector))
                })
            }
            Part::Aggregator => {
                let deps = AggregatorDeps {
                    store,
                    data_dir: self.data_dir.join("aggregator"),
                    chain: sending,
                    prover: None,
                    proof_keys_dir: None,
                    contracts,
                    keyholders: self.keyholders_of(part),
                    exchange: self.link(Caller::Service(part), Part::Exchange),
                    cluster: None,
                    limits: locus_aggregator::Limits::default(),
                    clock,
                };
                Box::pin(async move {
                    let handle = locus_aggregator::start_with(deps, Listen::InProcess, false).await?;
                    let connector = handle.connector();
                    Ok((Box::new(handle) as Box<dyn Any + Send>, connector))
                })
            }
        })
    }

    fn starting_keyholder(&self, place: usize) -> Result<BoxFuture<'static, Result<Started>>> {
        let (part, index) = (Part::Keyholder(place), KeyholderIndex::ALL[place]);
        let data_dir = self.data_dir.join(format!("keyholder-{index}"));
        let deps = KeyholderDeps {
            index,
            keys: KeyholderKeys::load_or_create(&data_dir)?,
            data_dir,
            kek: None,
            proof_keys_dir: None,
            chain: self.ledger.chain(None)?,
            contracts: self.contracts,
            objects: Some(self.store.clone()),
            clock: self.clocks[&part].clone(),
        };
        let way = |peer| (KeyholderIndex::ALL[peer], self.link(Caller::Service(part), Part::Keyholder(peer)));
        let peers: BTreeMap<KeyholderIndex, Connector> = (place + 1..3).map(way).collect();
        Ok(Box::pin(async move {
            let prepared = locus_keyholder::prepare(deps).await?;
            let handle = prepared.serve(Listen::InProcess, || peers, false).await?;
            let connector = handle.connector();
            Ok((Box::new(handle) as Box<dyn Any + Send>, connector))
        }))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for part in PARTS {
            self.crash(part);
        }
    }
}

/// A service that runs, and how it is reached.
type Started = (Box<dyn Any + Send>, Connector);

/// Who calls whom.
fn ways() -> Vec<(Caller, Part)> {
    let mut ways: Vec<(Caller, Part)> = PARTS.into_iter().map(|part| (Caller::Client, part)).collect();
    for place in 0..3 {
        ways.push((Caller::Service(Part::Archive), Part::Keyholder(place)));
        ways.push((Caller::Service(Part::Aggregator), Part::Keyholder(place)));
        ways.extend((place + 1..3).map(|peer| (Caller::Service(Part::Keyholder(place)), Part::Keyholder(peer))));
    }
    ways.push((Caller::Service(Part::Aggregator), Part::Exchange));
    ways
}
