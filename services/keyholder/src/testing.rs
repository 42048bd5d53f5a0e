//! Keyholders of a market in memory, for the unit tests.

use crate::{
    keyholder::{Inner, Keyholder},
    store::{DatasetKey, PendingDataset, Store},
};
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetContext, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment,
};
use locus_genomics::PanelDigest;
use locus_ledger::{
    AccountKey, Amount, Chain, ChainConfig, CommitteeMember, Contracts, DatasetLeaf, DeploymentConfig, EmbeddedChain,
    Ledger, Order, OrderId, PayoutTree, PermitSignature, PermitTerms, QueryClass, RegisteredBatch, Registration,
    RegistrationId, Settlement, SettlementSignatures, SystemClock, ViewFollower, deploy, leaves_hash, order_id,
};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_service::Clock;
use locus_sharing::{
    DatasetSecrets, DatasetSeeds, GenotypeDigest, KeyholderIndex, MasterSecret, seal::SealingPrivateKey,
};
use std::{path::Path, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// Everything here can be done until then.
const DEADLINE_UNIX_S: u64 = 4_000_000_000;
const PANEL: PanelDigest = PanelDigest([0xaa; 32]);
const ADMIN: u8 = 9;

/// A registration's datasets, with all that their contributor knows.
pub(crate) struct People {
    pub(crate) registration: RegistrationId,
    pub(crate) master: MasterSecret,
    pub(crate) contexts: Vec<DatasetContext>,
    pub(crate) secrets: Vec<DatasetSecrets>,
    pub(crate) registrant: AccountKey,
}

impl People {
    /// Makes the datasets attested at a keyholder, as enrolment would.
    pub(crate) fn attest_at(&self, keyholder: &Keyholder) {
        let dataset = |(context, secrets): (&DatasetContext, &DatasetSecrets)| {
            let seeds = DatasetSeeds::for_keyholder(secrets, keyholder.index());
            let parts = seeds.0.iter().flat_map(|seed| [*seed.seed.as_bytes(), seed.blinding.0]);
            PendingDataset {
                key: DatasetKey::of(context),
                person: PersonTag(context.dataset.0),
                commitments: DatasetCommitments {
                    bodies: DatasetBodyDigest(Digest32(context.dataset.0)),
                    shares: secrets.share_set_commitment(context),
                    genotypes: GenotypeCommitment(Digest32(context.dataset.0)),
                },
                seeds: Zeroizing::new(parts.flatten().collect()),
                checks: Vec::new(),
                ciphertext: None,
            }
        };
        let datasets: Vec<PendingDataset> = self.contexts.iter().zip(&self.secrets).map(dataset).collect();
        let name = Digest32([0x77; 32]);
        keyholder.store().put_pending(&name, 0, &datasets).expect("they are kept");
        let count = u32::try_from(datasets.len()).expect("a few");
        keyholder.store().attest(&name, count).expect("they are attested");
    }

    /// The registrant's signature.
    pub(crate) fn sign(&self, digest: &Digest32) -> Vec<u8> {
        sign(&self.registrant, digest)
    }
}

/// A deployed market without anybody in it.
pub(crate) struct Committee {
    chain: EmbeddedChain,
    contracts: Contracts,
    /// The admin's connection.
    ledger: Ledger,
}

fn account(number: u8) -> AccountKey {
    AccountKey::from_bytes(&[number; 32]).expect("small constants are keys")
}

fn sign(key: &AccountKey, digest: &Digest32) -> Vec<u8> {
    key.sign_digest(digest).expect("keys sign").to_bytes().to_vec()
}

fn sealing(index: KeyholderIndex) -> SealingPrivateKey {
    SealingPrivateKey::from_seed(&[index.get(); 32])
}

/// Keyholder 1, 2 or 3.
pub(crate) fn index(number: u8) -> KeyholderIndex {
    KeyholderIndex::try_new(number).expect("1 to 3")
}

impl Committee {
    /// Deploys the contracts with keyholders whose keys are constants.
    pub(crate) async fn deploy() -> Self {
        let chain = EmbeddedChain::in_memory(&ChainConfig::new(31_337), Arc::new(SystemClock));
        let member = |index: KeyholderIndex| CommitteeMember {
            signer: account(index.get()).address(),
            hpke_public_key: sealing(index).public_key().to_bytes().to_vec(),
        };
        let config = DeploymentConfig {
            parameters: NetworkParameterValues::default(),
            committee: KeyholderIndex::ALL.map(member),
            accreditors: Vec::new(),
            researchers: Vec::new(),
            token: None,
        };
        let admin = Chain::embedded(chain.clone(), Some(&account(ADMIN)));
        let contracts = deploy(&admin, &config).await.expect("the contracts deploy");
        let ledger = Ledger::open(admin, contracts).await.expect("the market opens");
        ledger.publish_panel(PANEL, "panel", 4_080, true).await.expect("the panel is published");
        Self { chain, contracts, ledger }
    }

    /// Account number `number` registers one dataset, and so can earn.
    pub(crate) async fn register(&self, number: u8) -> Address {
        let word = |kind: u8| Digest32([kind; 32].map(|byte: u8| byte ^ number));
        let leaf = DatasetLeaf {
            dataset: DatasetId(word(0x10).0),
            person: PersonTag(word(0x20).0),
            commitments: DatasetCommitments {
                bodies: DatasetBodyDigest(word(0x30)),
                shares: ShareSetCommitment(word(0x40)),
                genotypes: GenotypeCommitment(word(0x50)),
            },
        };
        let registrant = account(number);
        let registration = Registration {
            registrant: registrant.address(),
            panel: PANEL,
            version: 1,
            batch_nonce: 1,
            accreditor: None,
            deadline_unix_s: DEADLINE_UNIX_S,
            leaves_hash: leaves_hash(&[leaf]),
        };
        self.register_signed(&registrant, &registration, &[leaf]).await;
        registrant.address()
    }

    /// Account number `number` registers `count` datasets, whose seeds it gives to nobody yet.
    pub(crate) async fn register_people(&self, number: u8, count: u32) -> People {
        let registrant = account(number);
        let network = self.contracts.network;
        let context = |ordinal| DatasetContext {
            network,
            registrant: registrant.address(),
            dataset: DatasetId::derive(registrant.address(), 7, ordinal),
            panel: PANEL,
            version: 1,
        };
        let contexts: Vec<DatasetContext> = (0..count).map(context).collect();
        let master = MasterSecret::from_bytes([number; 32]);
        let derive = |context| DatasetSecrets::derive(&master, context, &GenotypeDigest::of_packed(&[number]));
        let secrets: Vec<DatasetSecrets> = contexts.iter().map(derive).collect();
        let leaf = |(context, secrets): (&DatasetContext, &DatasetSecrets)| DatasetLeaf {
            dataset: context.dataset,
            person: PersonTag(context.dataset.0),
            commitments: DatasetCommitments {
                bodies: DatasetBodyDigest(Digest32(context.dataset.0)),
                shares: secrets.share_set_commitment(context),
                // The registry takes no value twice, whatever it is a commitment to.
                genotypes: GenotypeCommitment(Digest32(context.dataset.0.map(|byte| !byte))),
            },
        };
        let leaves: Vec<DatasetLeaf> = contexts.iter().zip(&secrets).map(leaf).collect();
        let registration = Registration {
            registrant: registrant.address(),
            panel: PANEL,
            version: 1,
            batch_nonce: 7,
            accreditor: None,
            deadline_unix_s: DEADLINE_UNIX_S,
            leaves_hash: leaves_hash(&leaves),
        };
        let registered = self.register_signed(&registrant, &registration, &leaves).await;
        People { registration: registered.registration, master, contexts, secrets, registrant }
    }

    /// Revokes datasets of a registration.
    pub(crate) async fn revoke(&self, people: &People, ordinals: &[u32]) {
        let contracts = &self.contracts;
        let digest = contracts.revocation_signing_hash(people.registration, ordinals, DEADLINE_UNIX_S);
        let signature = sign(&people.registrant, &digest);
        let revoked = self.ledger.revoke_datasets(people.registration, ordinals, DEADLINE_UNIX_S, &signature);
        revoked.await.expect("they are revoked");
    }

    async fn register_signed(
        &self,
        registrant: &AccountKey,
        registration: &Registration,
        leaves: &[DatasetLeaf],
    ) -> RegisteredBatch {
        let digest = self.contracts.registration_digest(registration);
        let epoch = self.ledger.committee_epoch().await.expect("the registry answers");
        let attestation = self.contracts.attestation_signing_hash(&digest, epoch);
        let attestations = [1, 2, 3].map(|keyholder| sign(&account(keyholder), &attestation));
        let signature = sign(registrant, &self.contracts.registration_signing_hash(registration));
        let registered = self.ledger.register_datasets(registration, leaves, &signature, &[], &attestations);
        registered.await.expect("it is registered")
    }

    /// Puts an order for `price` base units on the chain.
    pub(crate) async fn open_order(&self, nonce: u64, price: u128) -> OrderId {
        let researcher = account(8);
        let order = Order {
            researcher: researcher.address(),
            panel: PANEL,
            selection_digest: Digest32([1; 32]),
            predicate_digest: Digest32([0; 32]),
            query_class: QueryClass::Counts,
            purpose: 1,
            condition_digest: Digest32([0; 32]),
            tier: Tier::Open,
            rho: Rho::from_nano(1_000_000),
            max_price: Amount(price),
            hpke_key_digest: Digest32([2; 32]),
            deadline_unix_s: locus_ledger::Clock::unix_s(&SystemClock) + 3_600,
            nonce,
        };
        self.ledger.mint(order.researcher, order.max_price).await.expect("the admin mints");
        let permit_nonce = self.ledger.permit_nonce(order.researcher).await.expect("the token answers");
        let terms = PermitTerms {
            owner: order.researcher,
            value: order.max_price,
            nonce: permit_nonce,
            deadline_unix_s: DEADLINE_UNIX_S,
        };
        let name = self.ledger.token_name().await.expect("the token answers");
        let signed = researcher.sign_digest(&self.contracts.permit_signing_hash(&terms, &name)).expect("keys sign");
        let permit = PermitSignature {
            value: terms.value,
            deadline_unix_s: terms.deadline_unix_s,
            signature: signed.to_bytes(),
        };
        let signature = sign(&researcher, &self.contracts.order_signing_hash(&order));
        self.ledger.open_order(&order, &signature, Some(&permit)).await.expect("the order opens");
        order_id(&order)
    }

    /// Settles an order with the signatures of keyholders 1 and 3, after which these are everybody's
    /// earnings.
    pub(crate) async fn settle(&self, order: OrderId, sequence: u64, price: u128, earned: &[(Address, u128)]) {
        let earned = earned.iter().map(|(account, amount)| (*account, Amount(*amount))).collect();
        let settlement = Settlement {
            order,
            answer_digest: Digest32([3; 32]),
            cohort_digest: Digest32([4; 32]),
            cohort_size: 100,
            price: Amount(price),
            payout_sequence: sequence,
            payout_root: PayoutTree::build(earned).root(),
        };
        let digest = self.contracts.settlement_signing_hash(&settlement);
        let signatures = [1, 3].map(|keyholder| (keyholder, sign(&account(keyholder), &digest)));
        let signatures = SettlementSignatures(signatures.into());
        self.ledger.settle_order(&settlement, &signatures).await.expect("it is settled");
    }

    /// A keyholder with its storage in `dir`, which has read the chain.
    pub(crate) async fn keyholder(&self, number: u8, dir: &Path) -> Keyholder {
        let ledger = Ledger::open(Chain::embedded(self.chain.clone(), None), self.contracts);
        let ledger = ledger.await.expect("the market opens");
        let keyholder = Keyholder::new(Inner {
            index: index(number),
            contracts: self.contracts,
            parameters: ledger.parameters().await.expect("the rules are on the chain"),
            signer: account(number),
            sealing: sealing(index(number)),
            store: Store::open(dir).expect("the storage opens"),
            requests: locus_service::SeenRequests::open(&dir.join("requests.redb")).expect("the record opens"),
            audit: locus_service::AuditLog::open(&dir.join("audit.log"), Clock::system()).expect("the log opens"),
            objects: None,
            view: ViewFollower::start(ledger.clone(), Duration::from_secs(3_600)),
            ledger,
            clock: Clock::system(),
            encryption_verifier: None,
            disclosures: Arc::new(locus_cohort::DisclosureBook::new(None)),
            settles_on_cohorts: false,
        });
        keyholder.poll_chain().await.expect("the chain can be followed");
        keyholder
    }
}
