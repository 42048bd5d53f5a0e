//! Aggregators of a market in memory, for the unit tests.

use crate::{
    aggregator::{Aggregator, ExchangeClient, KeyholderClient, Parts},
    answers::Answers,
    config::Limits,
    question::Answering,
    relay::tests::{answering, key},
};
use locus_cohort::{DisclosureBook, Requirements, predicate_digest};
use locus_commitment::Digest32;
use locus_engine::{Engine, RowTags, TagKey};
use locus_genomics::{Declarations, PanelDigest, Purpose, PurposeCode, VARIANTS_PER_PANEL_BLOCK, VariantSelection};
use locus_ledger::{
    AccountKey, Amount, Chain, ChainConfig, CommitteeMember, Contracts, DeploymentConfig, EmbeddedChain, Ledger, Order,
    OrderId, PermitSignature, PermitTerms, QueryClass, RequestTerms, Settlement, SettlementSignatures, ViewFollower,
    answer_request_hash, deploy, order_id,
};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_service::{Clock, Connector, Listen, SeenRequests, ServerHandle, ServerOptions, connect_service, serve};
use locus_sharing::{
    KeyholderIndex,
    seal::{SealingPrivateKey, SealingPublicKey},
};
use locus_store::Store;
use locus_wire::{convert::selection_to_pb, pb::query::AnswerQueryRequest};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tonic::{Status, service::Routes};

const START_UNIX_S: u64 = 1_900_000_000;
/// Time from the opening of an order to its deadline, in seconds.
pub(crate) const ORDER_LIFETIME_S: u64 = 600;
/// A panel of three blocks without missing calls.
pub(crate) const PANEL: PanelDigest = PanelDigest([0x50; 32]);
const VARIANTS: u32 = 3 * VARIANTS_PER_PANEL_BLOCK;
const MAX_PRICE: Amount = Amount(1_000);

/// The chain reads the same clock as the services.
struct ChainClock(Clock);

impl locus_ledger::Clock for ChainClock {
    fn unix_s(&self) -> u64 {
        self.0.now_unix_s()
    }
}

/// A deployed market with a researcher, in which nobody offers anything.
pub(crate) struct Market {
    pub(crate) contracts: Contracts,
    pub(crate) clock: Clock,
    /// The admin's connection.
    pub(crate) ledger: Ledger,
    chain: EmbeddedChain,
    researcher: AccountKey,
    recipient: SealingPublicKey,
    selection: VariantSelection,
}

fn account(byte: u8) -> AccountKey {
    AccountKey::from_bytes(&[byte; 32]).expect("a valid key")
}

impl Market {
    /// Keyholders sign with the keys of the scripted ones.
    pub(crate) async fn deploy() -> Self {
        let clock = Clock::manual(START_UNIX_S);
        let chain = EmbeddedChain::in_memory(&ChainConfig::new(31_337), Arc::new(ChainClock(clock.clone())));
        let sealing = |byte: u8| SealingPrivateKey::from_seed(&[byte; 32]).public_key();
        let member = |index: KeyholderIndex| CommitteeMember {
            signer: key(index).address(),
            hpke_public_key: sealing(index.get()).to_bytes().to_vec(),
        };
        let parameters = NetworkParameterValues {
            cohort_size_min: 1,
            exact_batch_min: 1,
            exact_change_min: 1,
            test_network: true,
            ..NetworkParameterValues::default()
        };
        let config = DeploymentConfig {
            parameters,
            committee: KeyholderIndex::ALL.map(member),
            accreditors: Vec::new(),
            researchers: Vec::new(),
            token: None,
        };
        let admin = Chain::embedded(chain.clone(), Some(&account(99)));
        let contracts = deploy(&admin, &config).await.expect("deploys");
        let ledger = Ledger::open(admin, contracts).await.expect("opens");
        ledger.publish_panel(PANEL, "panel", VARIANTS, true).await.expect("publishes");
        let selection =
            VariantSelection::try_from_ranges(PANEL, VARIANTS, [0..3, 4_080..4_082]).expect("five variants");
        Self { contracts, clock, ledger, chain, researcher: account(8), recipient: sealing(9), selection }
    }

    /// An order of the researcher's, final.
    pub(crate) async fn open_order(&self, nonce: u64) -> OrderId {
        let order = Order {
            researcher: self.researcher.address(),
            panel: PANEL,
            selection_digest: Digest32(self.selection.digest()),
            predicate_digest: predicate_digest(None, &Requirements::default()),
            query_class: QueryClass::Counts,
            purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE }.to_bits(),
            condition_digest: Digest32([0; 32]),
            tier: Tier::Open,
            rho: Rho::from_nano(1_000_000),
            max_price: MAX_PRICE,
            hpke_key_digest: self.recipient.digest(),
            deadline_unix_s: self.clock.now_unix_s() + ORDER_LIFETIME_S,
            nonce,
        };
        self.ledger.mint(order.researcher, order.max_price).await.expect("the admin mints");
        let terms = PermitTerms {
            owner: order.researcher,
            value: order.max_price,
            nonce: self.ledger.permit_nonce(order.researcher).await.expect("the token answers"),
            deadline_unix_s: order.deadline_unix_s,
        };
        let token = self.ledger.token_name().await.expect("the token answers");
        let sign = |digest: &Digest32| self.researcher.sign_digest(digest).expect("keys sign").to_bytes();
        let permit = PermitSignature {
            value: terms.value,
            deadline_unix_s: terms.deadline_unix_s,
            signature: sign(&self.contracts.permit_signing_hash(&terms, &token)),
        };
        let signature = sign(&self.contracts.order_signing_hash(&order));
        self.ledger.open_order(&order, &signature, Some(&permit)).await.expect("the order opens");
        order_id(&order)
    }

    /// The researcher's request for the answer of an order; requests with different numbers are different ones.
    pub(crate) fn request(&self, order: &OrderId, number: u8) -> AnswerQueryRequest {
        let terms = RequestTerms { deadline_unix_s: self.clock.now_unix_s() + 60, nonce: [number; 32] };
        let digest = answer_request_hash(&self.contracts.network, order, &terms);
        let signature = self.researcher.sign_digest(&digest).expect("keys sign").to_bytes();
        AnswerQueryRequest {
            order_id: order.0.0.to_vec().into(),
            selection: Some(selection_to_pb(&self.selection)),
            hpke_public_key: self.recipient.to_bytes().to_vec().into(),
            deadline_unix_s: terms.deadline_unix_s,
            nonce: terms.nonce.to_vec().into(),
            signature: signature.to_vec().into(),
            filter: None,
            requirements: Default::default(),
        }
    }

    /// The first settlement, as the scripted keyholders sign it.
    pub(crate) fn settlement(&self, order: OrderId) -> Settlement {
        let Answering { cohort, plan, .. } = answering();
        Settlement {
            order,
            answer_digest: plan.digest().0,
            cohort_digest: cohort.digest().0,
            cohort_size: cohort.size(),
            price: cohort.price(),
            payout_sequence: 1,
            payout_root: Digest32([5; 32]),
        }
    }

    /// Puts a settlement on the chain.
    pub(crate) async fn settle(&self, settlement: &Settlement) {
        let hash = self.contracts.settlement_signing_hash(settlement);
        let sign = |index: KeyholderIndex| {
            let signature = key(index).sign_digest(&hash).expect("keys sign").to_bytes();
            (index.get(), signature.to_vec())
        };
        let signatures = SettlementSignatures(KeyholderIndex::ALL[..2].iter().copied().map(sign).collect());
        self.ledger.settle_order(settlement, &signatures).await.expect("it is settled");
    }

    /// An aggregator that reaches nobody.
    pub(crate) async fn aggregator(&self, limits: Limits) -> Arc<Aggregator> {
        let nobody = || Connector::Url("http://127.0.0.1:1".to_owned());
        self.aggregator_among(limits, [nobody(), nobody(), nobody()], &nobody()).await
    }

    /// An aggregator among these keyholders and this exchange.
    pub(crate) async fn aggregator_among(
        &self,
        limits: Limits,
        keyholders: [Connector; 3],
        exchange: &Connector,
    ) -> Arc<Aggregator> {
        let ledger = Ledger::open(Chain::embedded(self.chain.clone(), None), self.contracts).await.expect("opens");
        // The files go when they are closed: names are needed no longer than until they are open.
        let folder: TempDir = tempfile::tempdir().expect("a scratch folder");
        let channel = |connector: &Connector| connect_service(connector).expect("a valid address");
        Arc::new(Aggregator::new(Parts {
            parameters: ledger.parameters().await.expect("the rules are on the chain"),
            view: ViewFollower::start(ledger.clone(), Duration::from_secs(3_600)),
            ledger,
            answers: Answers::open(&folder.path().join("aggregator.redb")).expect("opens"),
            engine: Engine::new(RowTags::in_memory(TagKey::expand(&[9; 32]))),
            requests: SeenRequests::open(&folder.path().join("requests.redb")).expect("opens"),
            limits,
            clock: self.clock.clone(),
            keyholders: keyholders.map(|keyholder| KeyholderClient::new(channel(&keyholder))),
            exchange: ExchangeClient::new(channel(exchange)),
            prover: None,
            disclosures: DisclosureBook::new(None),
            store: Store::memory(),
        }))
    }
}

/// An exchange that answers every call with this status.
pub(crate) async fn refusing_exchange(status: Status) -> ServerHandle {
    let refuse = move || std::future::ready(status.clone().into_http::<tonic::body::Body>());
    let routes = Routes::from(Routes::default().into_axum_router().fallback(refuse));
    serve(routes, Listen::InProcess, ServerOptions::default()).await.expect("serves")
}
