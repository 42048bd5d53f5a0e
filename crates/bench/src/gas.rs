//! A market's contracts on the embedded chain, for rows about what transactions cost.

use anyhow::{Context as _, Result};
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment,
};
use locus_genomics::PanelDigest;
use locus_ledger::{
    AccountKey, Amount, Chain, ChainConfig, Clock as _, CommitteeMember, DatasetLeaf, DeploymentConfig, EmbeddedChain,
    Ledger, Order, PayoutTree, PermitSignature, PermitTerms, QueryClass, Registration, Settlement,
    SettlementSignatures, SystemClock, deploy, leaves_hash, order_id,
};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use std::{collections::BTreeMap, sync::Arc};

const CHAIN_ID: u64 = 31_337;
const ADMIN: u8 = 1;
const KEYHOLDERS: [u8; 3] = [11, 12, 13];
const BIOBANK: u8 = 31;
const RESEARCHER: u8 = 41;
const PANEL: PanelDigest = PanelDigest([0xaa; 32]);
const HPKE_PUBLIC_KEY_BYTES: usize = 1_216;
/// Cohort of the settlements: the least of a network for real use.
const PEOPLE: u32 = 100;
const PRICE: Amount = Amount(1_000_000_000_000_000_000);

/// Contracts and the connection of an exchange, which is also their admin.
pub(crate) struct GasMarket {
    ledger: Ledger,
    now_unix_s: u64,
}

fn key(number: u8) -> Result<AccountKey> {
    Ok(AccountKey::from_bytes(&[number; 32])?)
}

fn sign(number: u8, digest: &Digest32) -> Result<Vec<u8>> {
    Ok(key(number)?.sign_digest(digest)?.to_bytes().to_vec())
}

/// A dataset whose words have no zero byte, as nearly all have that are hashes.
fn leaf(seed: u64) -> DatasetLeaf {
    let word = |kind: u8| {
        let mut bytes = [kind; 32];
        bytes[..8].copy_from_slice(&(u64::MAX - seed).to_le_bytes());
        bytes
    };
    DatasetLeaf {
        dataset: DatasetId(word(1)),
        person: PersonTag(word(2)),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(Digest32(word(3))),
            shares: ShareSetCommitment(Digest32(word(4))),
            genotypes: GenotypeCommitment(Digest32(word(5))),
        },
    }
}

impl GasMarket {
    /// Deploys the contracts and publishes a panel.
    pub(crate) async fn deploy() -> Result<Self> {
        let clock = Arc::new(SystemClock);
        let now_unix_s = clock.unix_s();
        let chain = EmbeddedChain::in_memory(&ChainConfig::new(CHAIN_ID), clock);
        let chain = Chain::embedded(chain, Some(&key(ADMIN)?));
        let member = |number: u8| -> Result<CommitteeMember> {
            let hpke_public_key = vec![number; HPKE_PUBLIC_KEY_BYTES];
            Ok(CommitteeMember { signer: key(number)?.address(), hpke_public_key })
        };
        let [first, second, third] = KEYHOLDERS;
        let config = DeploymentConfig {
            parameters: NetworkParameterValues { test_network: true, ..NetworkParameterValues::default() },
            committee: [member(first)?, member(second)?, member(third)?],
            accreditors: Vec::new(),
            researchers: Vec::new(),
            token: None,
        };
        let contracts = deploy(&chain, &config).await?;
        let ledger = Ledger::open(chain, contracts).await?;
        ledger.publish_panel(PANEL, "bench", 4_080, true).await?;
        Ok(Self { ledger, now_unix_s })
    }

    fn deadline(&self) -> u64 {
        self.now_unix_s + 3_600
    }

    /// Registers `count` datasets in one transaction; returns its gas.
    pub(crate) async fn register(&self, first: u64, count: u64) -> Result<u64> {
        let leaves: Vec<DatasetLeaf> = (first..first + count).map(leaf).collect();
        let registration = Registration {
            registrant: key(BIOBANK)?.address(),
            panel: PANEL,
            version: 1,
            batch_nonce: u64::MAX - first,
            accreditor: None,
            deadline_unix_s: self.deadline(),
            leaves_hash: leaves_hash(&leaves),
        };
        let contracts = self.ledger.contracts();
        let signature = sign(BIOBANK, &contracts.registration_signing_hash(&registration))?;
        let epoch = self.ledger.committee_epoch().await?;
        let digest = contracts.attestation_signing_hash(&contracts.registration_digest(&registration), epoch);
        let [one, two, three] = KEYHOLDERS;
        let attestations = [sign(one, &digest)?, sign(two, &digest)?, sign(three, &digest)?];
        let batch = self.ledger.register_datasets(&registration, &leaves, &signature, &[], &attestations).await?;
        self.gas_of(&batch.transaction).await
    }

    /// Opens order number `nonce` and settles it with the signatures of two keyholders; returns the gas of settling.
    pub(crate) async fn settle(&self, nonce: u64) -> Result<u64> {
        let order = self.open(nonce).await?;
        let earned = Amount(PRICE.0 * u128::from(nonce));
        let payee = Address([0x77; 20]);
        let settlement = Settlement {
            order: order_id(&order),
            answer_digest: Digest32([3; 32]),
            cohort_digest: Digest32([4; 32]),
            cohort_size: PEOPLE,
            price: PRICE,
            payout_sequence: nonce,
            payout_root: PayoutTree::build(BTreeMap::from([(payee, earned)])).root(),
        };
        let digest = self.ledger.contracts().settlement_signing_hash(&settlement);
        let [one, _, three] = KEYHOLDERS;
        let signatures = SettlementSignatures(vec![(1, sign(one, &digest)?), (3, sign(three, &digest)?)]);
        let transaction = self.ledger.settle_order(&settlement, &signatures).await?;
        self.gas_of(&transaction).await
    }

    /// An order that holds more than it will cost, so that settling pays some back.
    async fn open(&self, nonce: u64) -> Result<Order> {
        let researcher = key(RESEARCHER)?.address();
        let max_price = Amount(2 * PRICE.0);
        self.ledger.mint(researcher, max_price).await?;
        let order = Order {
            researcher,
            panel: PANEL,
            selection_digest: Digest32([1; 32]),
            predicate_digest: Digest32([0; 32]),
            query_class: QueryClass::Counts,
            purpose: 1,
            condition_digest: Digest32([0; 32]),
            tier: Tier::Open,
            rho: Rho::from_nano(1_000_000),
            max_price,
            hpke_key_digest: Digest32([2; 32]),
            deadline_unix_s: self.deadline(),
            nonce,
        };
        let contracts = self.ledger.contracts();
        let terms = PermitTerms {
            owner: researcher,
            value: max_price,
            nonce: self.ledger.permit_nonce(researcher).await?,
            deadline_unix_s: self.deadline(),
        };
        let digest = contracts.permit_signing_hash(&terms, &self.ledger.token_name().await?);
        let signature = key(RESEARCHER)?.sign_digest(&digest)?.to_bytes();
        let permit = PermitSignature { value: max_price, deadline_unix_s: terms.deadline_unix_s, signature };
        let signature = sign(RESEARCHER, &contracts.order_signing_hash(&order))?;
        self.ledger.open_order(&order, &signature, Some(&permit)).await?;
        Ok(order)
    }

    async fn gas_of(&self, transaction: &Digest32) -> Result<u64> {
        let outcome = self.ledger.transaction_outcome(transaction).await?;
        Ok(outcome.context("the transaction is not included")?.gas_used)
    }
}
