//! A market on an embedded chain with an exchange in front of it.

mod node;

pub(crate) use node::Node;

use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment, sha3_256,
};
use locus_exchange::{ExchangeDeps, ExchangeHandle, start_with};
use locus_genomics::{Declarations, PanelDigest, Purpose, PurposeCode};
use locus_ledger::{
    AccountKey, Amount, Chain, ChainConfig, CommitteeMember, Contracts, DatasetKeys, DatasetLeaf, DeploymentConfig,
    EmbeddedChain, Order, OrderId, PermitTerms, QueryClass, Registration, RegistrationId, Rekeying, Settlement, deploy,
    keys_hash, leaves_hash, order_id,
};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_service::{Clock, Listen, connect};
use locus_wire::{
    convert::{SettlementSignature, rekeyed_keys},
    pb::exchange::{self as pb, exchange_service_client::ExchangeServiceClient},
};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};
use tonic::{Status, transport::Channel};

/// Base units of one token.
pub(crate) const TOKEN: u128 = 10u128.pow(18);
/// Tokens that the researcher starts with.
pub(crate) const GRANT: u128 = 100 * TOKEN;
/// What settlements in these tests cost.
pub(crate) const PRICE: u128 = 4 * TOKEN;
/// Most that orders in these tests pay.
const MAX_PRICE: u128 = 5 * TOKEN;
/// Time to the deadline of orders in these tests.
pub(crate) const ORDER_LIFETIME_S: u64 = 600;
const START_UNIX_S: u64 = 1_700_000_000;
const PANEL: PanelDigest = PanelDigest([0x50; 32]);

/// The chain reads the same clock as the exchange.
struct ChainClock(Clock);

impl locus_ledger::Clock for ChainClock {
    fn unix_s(&self) -> u64 {
        self.0.now_unix_s()
    }
}

/// A market with an exchange.
pub(crate) struct Market {
    pub(crate) exchange: ExchangeServiceClient<Channel>,
    pub(crate) researcher: AccountKey,
    pub(crate) registrant: AccountKey,
    keyholders: [AccountKey; 3],
    contracts: Contracts,
    chain: Chain,
    clock: Clock,
    handle: Option<ExchangeHandle>,
    folder: tempfile::TempDir,
}

fn key(byte: u8) -> AccountKey {
    AccountKey::from_bytes(&[byte; 32]).expect("a key")
}

/// A chain with its clock.
fn new_chain() -> (Clock, EmbeddedChain) {
    let clock = Clock::manual(START_UNIX_S);
    let chain = EmbeddedChain::in_memory(&ChainConfig::new(31_337), Arc::new(ChainClock(clock.clone())));
    (clock, chain)
}

async fn exchange_over(
    chain: Chain,
    contracts: Contracts,
    clock: Clock,
    data_dir: PathBuf,
) -> (ExchangeHandle, ExchangeServiceClient<Channel>) {
    let deps = ExchangeDeps { chain, contracts, data_dir, clock, poll_period: Duration::from_secs(1) };
    let handle = start_with(deps, Listen::InProcess, false).await.expect("started");
    let channel = connect(&handle.connector()).await.expect("connected");
    (handle, ExchangeServiceClient::new(channel))
}

impl Market {
    pub(crate) async fn start() -> Self {
        let (clock, embedded) = new_chain();
        Self::start_on(clock, Chain::embedded(embedded, Some(&key(1)))).await
    }

    /// A market whose exchange reaches its chain through a node that can be late.
    pub(crate) async fn start_behind_node() -> (Self, Node) {
        let (clock, embedded) = new_chain();
        let node = Node::start(embedded);
        let chain = Chain::http(&node.url, Some(&key(1))).expect("an address");
        (Self::start_on(clock, chain).await, node)
    }

    async fn start_on(clock: Clock, chain: Chain) -> Self {
        let keyholders = [key(11), key(12), key(13)];
        let member =
            |byte: u8, key: &AccountKey| CommitteeMember { signer: key.address(), hpke_public_key: vec![byte; 1216] };
        let parameters = NetworkParameterValues {
            cohort_size_min: 1,
            exact_batch_min: 1,
            exact_change_min: 1,
            test_network: true,
            ..Default::default()
        };
        let config = DeploymentConfig {
            parameters,
            committee: [member(1, &keyholders[0]), member(2, &keyholders[1]), member(3, &keyholders[2])],
            accreditors: Vec::new(),
            researchers: Vec::new(),
            token: None,
        };
        let contracts = deploy(&chain, &config).await.expect("deployed");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (handle, exchange) =
            exchange_over(chain.clone(), contracts, clock.clone(), folder.path().join("data")).await;
        let mut market = Self {
            exchange,
            researcher: key(21),
            registrant: key(22),
            keyholders,
            contracts,
            chain,
            clock,
            handle: Some(handle),
            folder,
        };
        let grant = pb::MintTestTokensRequest {
            account: market.researcher.address().0.to_vec().into(),
            amount: GRANT.to_string(),
        };
        market.exchange.mint_test_tokens(grant).await.expect("minted");
        let panel = pb::PublishPanelRequest {
            panel_digest: PANEL.0.to_vec().into(),
            name: "panel".into(),
            variant_count: 10,
            complete_calls: true,
        };
        market.exchange.publish_panel(panel).await.expect("published");
        market
    }

    pub(crate) async fn stop_exchange(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.shutdown().await;
        }
    }

    pub(crate) async fn restart_exchange(&mut self) {
        self.stop_exchange().await;
        let (chain, clock) = (self.chain.clone(), self.clock.clone());
        let (handle, exchange) = exchange_over(chain, self.contracts, clock, self.folder.path().join("data")).await;
        (self.handle, self.exchange) = (Some(handle), exchange);
    }

    fn payouts_file(&self) -> PathBuf {
        self.folder.path().join("data").join("payouts.redb")
    }

    /// What the exchange has recorded of its transactions.
    pub(crate) fn audit_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("data").join("audit.log")).expect("read")
    }

    pub(crate) fn copy_data(&self) -> Vec<u8> {
        fs::read(self.payouts_file()).expect("read")
    }

    pub(crate) fn restore_data(&self, bytes: &[u8]) {
        fs::write(self.payouts_file(), bytes).expect("written");
    }

    pub(crate) fn advance_clock(&self, seconds: u64) {
        self.clock.advance(seconds);
    }

    pub(crate) fn order_id(&self, order: &Order) -> OrderId {
        order_id(order)
    }

    /// Opens an order and returns it.
    pub(crate) async fn open_order(&mut self, nonce: u64) -> Order {
        let order = Order {
            researcher: self.researcher.address(),
            panel: PANEL,
            selection_digest: Digest32([3; 32]),
            predicate_digest: Digest32([0; 32]),
            query_class: QueryClass::Counts,
            purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE }.to_bits(),
            condition_digest: Digest32([0; 32]),
            tier: Tier::Open,
            rho: Rho::from_nano(1_000_000),
            max_price: Amount(MAX_PRICE),
            hpke_key_digest: Digest32([4; 32]),
            deadline_unix_s: self.clock.now_unix_s() + ORDER_LIFETIME_S,
            nonce,
        };
        let opened = self.try_open_order(&order).await.expect("opened");
        assert_eq!(*opened.order_id, order_id(&order).0.0);
        order
    }

    pub(crate) async fn try_open_order(&mut self, order: &Order) -> Result<pb::OpenOrderResponse, Status> {
        let account = pb::GetAccountRequest { account: self.researcher.address().0.to_vec().into() };
        let nonce = self.exchange.get_account(account).await?.into_inner().permit_nonce;
        let network = self.exchange.get_network(pb::GetNetworkRequest {}).await?.into_inner();
        let terms = PermitTerms {
            owner: self.researcher.address(),
            value: order.max_price,
            nonce,
            deadline_unix_s: order.deadline_unix_s,
        };
        let sign = |digest: &Digest32| {
            let signature = self.researcher.sign_digest(digest).expect("signed").to_bytes();
            bytes::Bytes::copy_from_slice(&signature)
        };
        let request = pb::OpenOrderRequest {
            order: Some(order.into()),
            signature: sign(&self.contracts.order_signing_hash(order)),
            permit: Some(pb::Permit {
                value: order.max_price.0.to_string(),
                deadline_unix_s: order.deadline_unix_s,
                signature: sign(&self.contracts.permit_signing_hash(&terms, &network.token_name)),
            }),
        };
        Ok(self.exchange.open_order(request).await?.into_inner())
    }

    /// Signatures of these keyholders.
    pub(crate) fn sign_settlement(&self, settlement: &Settlement, by: &[u8]) -> Vec<SettlementSignature> {
        let hash = self.contracts.settlement_signing_hash(settlement);
        by.iter()
            .map(|&keyholder| SettlementSignature {
                keyholder,
                signature: self.keyholders[usize::from(keyholder) - 1]
                    .sign_digest(&hash)
                    .expect("signed")
                    .to_bytes()
                    .to_vec(),
            })
            .collect()
    }

    /// A fully signed batch of two datasets under this nonce.
    pub(crate) fn batch(&self, batch_nonce: u64) -> pb::RegisterDatasetsRequest {
        self.batch_of_version(batch_nonce, 1)
    }

    pub(crate) fn batch_of_version(&self, batch_nonce: u64, version: u32) -> pb::RegisterDatasetsRequest {
        let registrant = self.registrant.address();
        let leaves = [0, 1].map(|ordinal| leaf(registrant, batch_nonce, ordinal));
        let registration = Registration {
            registrant,
            panel: PANEL,
            version,
            batch_nonce,
            accreditor: None,
            deadline_unix_s: self.clock.now_unix_s() + 600,
            leaves_hash: leaves_hash(&leaves),
        };
        let sign = |key: &AccountKey, hash: &Digest32| {
            bytes::Bytes::copy_from_slice(&key.sign_digest(hash).expect("signed").to_bytes())
        };
        let digest = self.contracts.registration_digest(&registration);
        // The first committee is complete after three changes.
        let attested = self.contracts.attestation_signing_hash(&digest, COMMITTEE_EPOCH);
        pb::RegisterDatasetsRequest {
            registration: Some((&registration).into()),
            leaves: leaves.iter().map(Into::into).collect(),
            registrant_signature: sign(&self.registrant, &self.contracts.registration_signing_hash(&registration)),
            accreditor_signature: Default::default(),
            attestations: self.keyholders.iter().map(|key| sign(key, &attested)).collect(),
            ..Default::default()
        }
    }
}

impl Market {
    /// New keys of both datasets of a registration, with the keyholders' signatures.
    pub(crate) fn new_keys(&self, registration: u64, generation: u8) -> pb::RekeyDatasetsRequest {
        let digest = |what: u8| sha3_256("new keys", &[&registration.to_le_bytes(), &[generation, what]]);
        let of = |what: u8| DatasetKeys {
            bodies: DatasetBodyDigest(digest(what)),
            shares: ShareSetCommitment(digest(what + 2)),
        };
        let keys = [Some(of(0)), Some(of(1))];
        let rekeying = Rekeying {
            registration: RegistrationId(registration),
            generation,
            keys_hash: keys_hash(&keys),
            deadline_unix_s: self.clock.now_unix_s() + 600,
        };
        let hash = self.contracts.rekeying_signing_hash(&rekeying, COMMITTEE_EPOCH);
        let sign =
            |key: &AccountKey| bytes::Bytes::copy_from_slice(&key.sign_digest(&hash).expect("signed").to_bytes());
        pb::RekeyDatasetsRequest {
            registration_id: registration,
            generation: generation.into(),
            keys: rekeyed_keys(&keys).keys,
            attestations: self.keyholders.iter().map(sign).collect(),
            deadline_unix_s: rekeying.deadline_unix_s,
        }
    }
}

/// Every keyholder that is set starts a new epoch.
const COMMITTEE_EPOCH: u64 = 3;

fn leaf(registrant: Address, batch_nonce: u64, ordinal: u32) -> DatasetLeaf {
    let digest = |what: u8| sha3_256("test", &[&[what], &batch_nonce.to_le_bytes(), &ordinal.to_le_bytes()]);
    DatasetLeaf {
        dataset: DatasetId::derive(registrant, batch_nonce, ordinal),
        person: PersonTag(digest(0).0),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(digest(1)),
            shares: ShareSetCommitment(digest(2)),
            genotypes: GenotypeCommitment(digest(3)),
        },
    }
}
