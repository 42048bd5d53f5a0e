//! A deployed market with everybody's keys.

use crate::backend::{Backend, account, key};
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment,
};
use locus_genomics::PanelDigest;
use locus_ledger::{
    AccountKey, Amount, Audience, Chain, CommitteeMember, Contracts, DatasetLeaf, Demands, DeploymentConfig, Ledger,
    LedgerError, Offer, OfferPrices, Order, OrderId, PayoutTree, PermitSignature, PermitTerms, ProofDeployment,
    QueryClass, RegisteredBatch, Registration, RegistrationId, Settlement, SettlementSignatures, TierSet, deploy,
    deploy_with_proofs, leaves_hash, order_id,
};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use std::collections::BTreeMap;

pub(crate) const ADMIN: u8 = 1;
pub(crate) const KEYHOLDERS: [u8; 3] = [11, 12, 13];
pub(crate) const ACCREDITOR: u8 = 21;
pub(crate) const BIOBANK: u8 = 31;
pub(crate) const PERSON: u8 = 32;
pub(crate) const RESEARCHER: u8 = 41;
pub(crate) const STRANGER: u8 = 51;
pub(crate) const PANEL: PanelDigest = PanelDigest([0xaa; 32]);

/// A market and the connection of its exchange, which is also its admin.
pub(crate) struct Market {
    pub(crate) ledger: Ledger,
    pub(crate) now_unix_s: u64,
}

/// Everything that a registration carries.
#[derive(Clone)]
pub(crate) struct SignedBatch {
    pub(crate) registration: Registration,
    pub(crate) leaves: Vec<DatasetLeaf>,
    pub(crate) registrant_signature: Vec<u8>,
    pub(crate) accreditor_signature: Vec<u8>,
    pub(crate) attestations: [Vec<u8>; 3],
}

pub(crate) fn sign(key: &AccountKey, digest: &Digest32) -> Vec<u8> {
    key.sign_digest(digest).expect("keys sign").to_bytes().to_vec()
}

/// A leaf whose commitments depend on `seed` alone.
pub(crate) fn leaf(seed: u64) -> DatasetLeaf {
    let word = |kind: u8| {
        let mut bytes = [kind; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
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

pub(crate) fn member(index: u8) -> CommitteeMember {
    CommitteeMember { signer: account(index), hpke_public_key: vec![index; 1216] }
}

/// Floors low enough for small tests.
pub(crate) fn parameters() -> NetworkParameterValues {
    NetworkParameterValues {
        cohort_size_min: 3,
        exact_batch_min: 3,
        exact_change_min: 1,
        rho_query_max: Rho::from_nano(10_000_000),
        rho_year_max: Rho::from_nano(100_000_000),
        rho_lifetime_max: Rho::from_nano(500_000_000),
        vetted_factor: 5,
        flooding_sigma_log2: 21,
        order_lifetime_max_s: 86_400,
        test_network: true,
    }
}

fn config() -> DeploymentConfig {
    DeploymentConfig {
        parameters: parameters(),
        committee: KEYHOLDERS.map(member),
        accreditors: vec![(account(ACCREDITOR), "Test accreditor".to_owned())],
        researchers: vec![(account(RESEARCHER), "Test researcher".to_owned())],
        token: None,
    }
}

/// The name of the contract error that refused a call.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, LedgerError>) -> String {
    let error = outcome.expect_err("the contract refuses");
    error.refusal().map(str::to_owned).unwrap_or_else(|| panic!("not refused by a contract but: {error}"))
}

impl Market {
    /// Deploys a market and publishes one panel.
    pub(crate) async fn deploy(backend: &Backend) -> Self {
        let chain = backend.connect(&key(ADMIN)).await;
        let contracts = deploy(&chain, &config()).await.expect("the market deploys");
        Self::open_new(backend, chain, contracts).await
    }

    /// As [`deploy`](Self::deploy), for a market that settles on proven cohorts.
    pub(crate) async fn deploy_with_proofs(backend: &Backend, proofs: &ProofDeployment) -> Self {
        let chain = backend.connect(&key(ADMIN)).await;
        let contracts = deploy_with_proofs(&chain, &config(), proofs).await.expect("the market deploys");
        Self::open_new(backend, chain, contracts).await
    }

    async fn open_new(backend: &Backend, chain: Chain, contracts: Contracts) -> Self {
        let ledger = Ledger::open(chain, contracts).await.expect("the market opens");
        ledger.publish_panel(PANEL, "test panel", 4_080, true).await.expect("the panel is published");
        Self { ledger, now_unix_s: backend.now_unix_s() }
    }

    pub(crate) fn contracts(&self) -> &Contracts {
        self.ledger.contracts()
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.now_unix_s + 3_600
    }

    /// The same market through the connection of another account.
    pub(crate) async fn seen_by(&self, backend: &Backend, key: &AccountKey) -> Ledger {
        Ledger::open(backend.connect(key).await, *self.contracts()).await.expect("the market opens")
    }

    /// A batch with all its signatures.
    pub(crate) fn batch(&self, registrant: u8, batch_nonce: u64, leaves: Vec<DatasetLeaf>) -> SignedBatch {
        let accreditor = (registrant == BIOBANK).then(|| account(ACCREDITOR));
        let registration = Registration {
            registrant: account(registrant),
            panel: PANEL,
            version: 1,
            batch_nonce,
            accreditor,
            deadline_unix_s: self.deadline(),
            leaves_hash: leaves_hash(&leaves),
        };
        self.sign_batch(&key(registrant), registration, leaves, 3)
    }

    /// Signs a registration for everybody, in this epoch of the committee.
    pub(crate) fn sign_batch(
        &self,
        registrant: &AccountKey,
        registration: Registration,
        leaves: Vec<DatasetLeaf>,
        epoch: u64,
    ) -> SignedBatch {
        let contracts = self.contracts();
        let digest = contracts.registration_digest(&registration);
        let accreditation = contracts.accreditation_signing_hash(&digest);
        let attestation = contracts.attestation_signing_hash(&digest, epoch);
        SignedBatch {
            registrant_signature: sign(registrant, &contracts.registration_signing_hash(&registration)),
            accreditor_signature: match registration.accreditor {
                Some(_) => sign(&key(ACCREDITOR), &accreditation),
                None => Vec::new(),
            },
            attestations: KEYHOLDERS.map(|keyholder| sign(&key(keyholder), &attestation)),
            registration,
            leaves,
        }
    }

    pub(crate) async fn submit(&self, batch: &SignedBatch) -> Result<RegisteredBatch, LedgerError> {
        self.ledger
            .register_datasets(
                &batch.registration,
                &batch.leaves,
                &batch.registrant_signature,
                &batch.accreditor_signature,
                &batch.attestations,
            )
            .await
    }

    /// Registers `count` datasets with commitments from `seed` on.
    pub(crate) async fn register(&self, registrant: u8, seed: u64, count: u64) -> RegisteredBatch {
        let leaves = (seed..seed + count).map(leaf).collect();
        self.submit(&self.batch(registrant, seed, leaves)).await.expect("the batch is registered")
    }

    /// An offer at `price` base units per dataset.
    pub(crate) fn offer(&self, registration: RegistrationId, nonce: u64, price: u128) -> Offer {
        let prices = OfferPrices { counts: Amount(price), filtered_counts: Amount(price), association: Amount(price) };
        Offer {
            registration,
            prices,
            data_use: 1,
            tiers: TierSet::of(&[Tier::Open, Tier::Exact]),
            audience: Audience::Named([account(RESEARCHER), account(STRANGER)].into()),
            block_start: 0,
            block_end: 1,
            condition_digest: Digest32([0; 32]),
            demands: Demands::NONE,
            disclosure_digest: Digest32([0; 32]),
            expiry_unix_s: self.deadline(),
            nonce,
        }
    }

    pub(crate) async fn post(&self, signer: u8, offer: &Offer) -> Result<Digest32, LedgerError> {
        self.ledger.post_offer(offer, &sign(&key(signer), &self.contracts().offer_signing_hash(offer))).await
    }

    /// An order of the researcher for at most `max_price` base units.
    pub(crate) fn order(&self, nonce: u64, max_price: u128) -> Order {
        Order {
            researcher: account(RESEARCHER),
            panel: PANEL,
            selection_digest: Digest32([1; 32]),
            predicate_digest: Digest32([0; 32]),
            query_class: QueryClass::Counts,
            purpose: 1,
            condition_digest: Digest32([0; 32]),
            tier: Tier::Open,
            rho: Rho::from_nano(1_000_000),
            max_price: Amount(max_price),
            hpke_key_digest: Digest32([2; 32]),
            deadline_unix_s: self.deadline(),
            nonce,
        }
    }

    /// The researcher's permit for `value` base units.
    pub(crate) async fn permit(&self, value: u128) -> PermitSignature {
        let owner = account(RESEARCHER);
        let nonce = self.ledger.permit_nonce(owner).await.expect("the token answers");
        let terms = PermitTerms { owner, value: Amount(value), nonce, deadline_unix_s: self.deadline() };
        let name = self.ledger.token_name().await.expect("the token answers");
        let digest = self.contracts().permit_signing_hash(&terms, &name);
        let signature = key(RESEARCHER).sign_digest(&digest).expect("keys sign").to_bytes();
        PermitSignature { value: terms.value, deadline_unix_s: terms.deadline_unix_s, signature }
    }

    /// Opens a funded order; mints what it may cost.
    pub(crate) async fn open(&self, nonce: u64, max_price: u128) -> OrderId {
        let order = self.order(nonce, max_price);
        self.ledger.mint(account(RESEARCHER), Amount(max_price)).await.expect("the admin mints");
        let permit = self.permit(max_price).await;
        self.open_signed(&order, Some(&permit)).await.expect("the order opens");
        order_id(&order)
    }

    pub(crate) async fn open_signed(
        &self,
        order: &Order,
        permit: Option<&PermitSignature>,
    ) -> Result<(Digest32, u64), LedgerError> {
        let signature = sign(&key(RESEARCHER), &self.contracts().order_signing_hash(order));
        self.ledger.open_order(order, &signature, permit).await
    }

    /// A settlement number `sequence` that pays these cumulative earnings.
    pub(crate) fn settlement(&self, order: OrderId, sequence: u64, price: u128, tree: &PayoutTree) -> Settlement {
        Settlement {
            order,
            answer_digest: Digest32([3; 32]),
            cohort_digest: Digest32([4; 32]),
            cohort_size: 3,
            price: Amount(price),
            payout_sequence: sequence,
            payout_root: tree.root(),
        }
    }

    /// Signatures of these keyholders (1 to 3).
    pub(crate) fn endorse(&self, settlement: &Settlement, keyholders: &[u8]) -> SettlementSignatures {
        let digest = self.contracts().settlement_signing_hash(settlement);
        let signed = |keyholder: &u8| {
            let place = usize::from(*keyholder) - 1;
            (*keyholder, sign(&key(KEYHOLDERS[place]), &digest))
        };
        SettlementSignatures(keyholders.iter().map(signed).collect())
    }

    /// Settles with keyholders 1 and 3.
    pub(crate) async fn settle(&self, settlement: &Settlement) -> Result<Digest32, LedgerError> {
        self.ledger.settle_order(settlement, &self.endorse(settlement, &[1, 3])).await
    }

    pub(crate) async fn balance(&self, account: Address) -> u128 {
        self.ledger.balance(account).await.expect("the token answers").0
    }
}

/// A tree of these earnings.
pub(crate) fn earnings(of: &[(u8, u128)]) -> PayoutTree {
    let map: BTreeMap<_, _> = of.iter().map(|(index, base)| (account(*index), Amount(*base))).collect();
    PayoutTree::build(map)
}
