//! Keyholders of a market in memory, for the unit tests.

use crate::{
    keyholder::{Inner, Keyholder},
    store::{DatasetKey, PendingDataset, Store},
};
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetContext, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment,
};
use locus_genomics::{PackedGenotypes, PanelDigest};
use locus_ledger::{
    AccountKey, Amount, Chain, ChainConfig, CommitteeMember, Contracts, DatasetKeys, DatasetLeaf, DeploymentConfig,
    EmbeddedChain, Ledger, Order, OrderId, PayoutTree, PermitSignature, PermitTerms, QueryClass, RegisteredBatch,
    Registration, RegistrationId, RekeyRequest, Settlement, SettlementSignatures, SystemClock, ViewFollower, deploy,
    leaves_hash, order_id, rekey_request_hash,
};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_rlwe::{Body, DatasetEncryptor, Mask};
use locus_service::Clock;
use locus_sharing::{
    DatasetSecrets, DatasetSeeds, GenotypeDigest, KeyholderIndex, MasterSecret, seal::SealingPrivateKey,
};
use locus_store::{BatchId, FILLER_BODY, PanelShape, PanelStore, RegistrationCommit, SlotSet};
use locus_wire::pb::keyholder as pb;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use zeroize::Zeroizing;

/// Everything here can be done until then.
const DEADLINE_UNIX_S: u64 = 4_000_000_000;
const PANEL: PanelDigest = PanelDigest([0xaa; 32]);
/// One panel block, in which calls may be missing: two bodies of each dataset.
const PANEL_OF_TWO_PLANES: PanelDigest = PanelDigest([0xbb; 32]);
const VARIANTS: u32 = 4_080;
const BATCH_NONCE: u64 = 7;
pub(crate) const ADMIN: u8 = 9;

/// A registration's datasets, with all that their contributor knows.
pub(crate) struct People {
    pub(crate) registration: RegistrationId,
    pub(crate) first_slot: u32,
    pub(crate) master: MasterSecret,
    pub(crate) contexts: Vec<DatasetContext>,
    pub(crate) secrets: Vec<DatasetSecrets>,
    pub(crate) bodies: Vec<DatasetBodyDigest>,
    pub(crate) registrant: AccountKey,
}

impl People {
    /// Nobody yet, on account number `number`.
    fn unregistered(number: u8) -> Self {
        Self {
            registration: RegistrationId(0),
            first_slot: 0,
            master: MasterSecret::from_bytes([number; 32]),
            contexts: Vec::new(),
            secrets: Vec::new(),
            bodies: Vec::new(),
            registrant: account(number),
        }
    }

    /// Makes the datasets attested at a keyholder, as enrolment would.
    pub(crate) fn attest_at(&self, keyholder: &Keyholder) {
        let dataset = |((context, secrets), bodies): ((&DatasetContext, &DatasetSecrets), &DatasetBodyDigest)| {
            let seeds = DatasetSeeds::for_keyholder(secrets, keyholder.index());
            let parts = seeds.0.iter().flat_map(|seed| [*seed.seed.as_bytes(), seed.blinding.0]);
            PendingDataset {
                key: DatasetKey::of(context),
                person: PersonTag(context.dataset.0),
                commitments: DatasetCommitments {
                    bodies: *bodies,
                    shares: secrets.share_set_commitment(context),
                    genotypes: GenotypeCommitment(Digest32(context.dataset.0)),
                },
                seeds: Zeroizing::new(parts.flatten().collect()),
                checks: Vec::new(),
                ciphertext: None,
            }
        };
        let datasets: Vec<PendingDataset> =
            self.contexts.iter().zip(&self.secrets).zip(&self.bodies).map(dataset).collect();
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

/// The machine's clock for the chain, and how far it is ahead.
#[derive(Clone, Default)]
struct ChainClock(Arc<AtomicU64>);

impl locus_ledger::Clock for ChainClock {
    fn unix_s(&self) -> u64 {
        locus_ledger::Clock::unix_s(&SystemClock) + self.0.load(Ordering::SeqCst)
    }
}

/// A deployed market without anybody in it.
pub(crate) struct Committee {
    chain: EmbeddedChain,
    clock: ChainClock,
    contracts: Contracts,
    /// The admin's connection.
    ledger: Ledger,
    objects: locus_store::Store,
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

/// Shape of the panel of two planes.
pub(crate) fn two_planes() -> PanelShape {
    PanelShape::try_new(1, false).expect("one block")
}

/// Keyholder 1, 2 or 3.
pub(crate) fn index(number: u8) -> KeyholderIndex {
    KeyholderIndex::try_new(number).expect("1 to 3")
}

impl Committee {
    /// Deploys the contracts with keyholders whose keys are constants.
    pub(crate) async fn deploy() -> Self {
        let clock = ChainClock::default();
        let chain = EmbeddedChain::in_memory(&ChainConfig::new(31_337), Arc::new(clock.clone()));
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
        ledger.publish_panel(PANEL, "panel", VARIANTS, true).await.expect("the panel is published");
        let published = ledger.publish_panel(PANEL_OF_TWO_PLANES, "two planes", VARIANTS, false);
        published.await.expect("the panel is published");
        Self { chain, clock, contracts, ledger, objects: locus_store::Store::memory() }
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
        let contexts = self.contexts(number, PANEL, count);
        let master = MasterSecret::from_bytes([number; 32]);
        let derive = |context| DatasetSecrets::derive(&master, context, &GenotypeDigest::of_packed(&[number]));
        let secrets = contexts.iter().map(derive).collect();
        let bodies = contexts.iter().map(|context| DatasetBodyDigest(Digest32(context.dataset.0))).collect();
        self.register_all(People { contexts, secrets, bodies, ..People::unregistered(number) }).await
    }

    /// Account number `number` registers people with these genotypes on the panel of two planes; their bodies are in the object
    /// store.
    pub(crate) async fn enrol_people(&self, number: u8, genotypes: &[PackedGenotypes]) -> People {
        let count = u32::try_from(genotypes.len()).expect("a few");
        let contexts = self.contexts(number, PANEL_OF_TWO_PLANES, count);
        let master = MasterSecret::from_bytes([number; 32]);
        let shape = two_planes();
        let (mut secrets, mut bodies) = (Vec::new(), Vec::<Vec<Body>>::new());
        for (context, genotypes) in contexts.iter().zip(genotypes) {
            let encryptor = DatasetEncryptor::new(&master, context, genotypes);
            let encrypt = |column: locus_store::Column| encryptor.encrypt(Mask::v1(), column.block, column.plane);
            bodies.push(shape.columns().map(|column| encrypt(column).expect("a block of the panel")).collect());
            secrets.push(DatasetSecrets::derive(&master, context, &GenotypeDigest::of_packed(genotypes.as_bytes())));
        }
        let digest =
            |bodies: &Vec<Body>| DatasetBodyDigest::of_bodies(&bodies.iter().map(Body::digest).collect::<Vec<_>>());
        let digests: Vec<DatasetBodyDigest> = bodies.iter().map(digest).collect();
        let people = People { contexts, secrets, bodies: digests.clone(), ..People::unregistered(number) };
        let people = self.register_all(people).await;
        let rows = |column: usize| bodies.iter().flat_map(move |bodies| bodies[column].to_bytes().to_vec()).collect();
        let (panel, commit) = self.store_bodies(&people, [rows(0), rows(1)], &digests).await;
        panel.commit_registration(commit, &digests).await.expect("they are in use");
        people
    }

    /// Puts new bodies, by column, of those who have new keys in the place of the old ones, as the archive does.
    pub(crate) async fn replace_bodies(&self, people: &People, keys: &[Option<DatasetKeys>], bodies: &[Vec<Body>]) {
        let rows = |column: usize| {
            let mut bodies = bodies[column].iter();
            let row = |keys: &Option<DatasetKeys>| match keys {
                Some(_) => bodies.next().expect("one for each").to_bytes().to_vec(),
                None => FILLER_BODY.to_vec(),
            };
            keys.iter().flat_map(row).collect()
        };
        let declared: Vec<_> = keys.iter().map(|keys| keys.map(|keys| keys.bodies)).collect();
        let filler = two_planes().filler_digest();
        let digests: Vec<DatasetBodyDigest> = declared.iter().map(|digest| digest.unwrap_or(filler)).collect();
        let (panel, commit) = self.store_bodies(people, [rows(0), rows(1)], &digests).await;
        let slots = (people.first_slot..).zip(keys).filter(|(_, keys)| keys.is_none()).map(|(slot, _)| slot);
        panel.tombstone(&SlotSet::try_from_iter(slots).expect("a few")).await.expect("they are out of use");
        panel.replace_registration(commit, &declared).await.expect("they are in use");
    }

    /// Stores bodies, by column, as a batch of the panel of two planes.
    async fn store_bodies(
        &self,
        people: &People,
        columns: [Vec<u8>; 2],
        digests: &[DatasetBodyDigest],
    ) -> (PanelStore, RegistrationCommit) {
        let panel = self.objects.panel(PANEL_OF_TWO_PLANES, two_planes());
        let batch = BatchId(digests[0].0.0);
        let count = u32::try_from(digests.len()).expect("a few");
        let mut writer = panel.create_batch(batch, count).await.expect("a new batch");
        for (column, rows) in two_planes().columns().zip(columns) {
            writer.append(column, 0, rows.into()).await.expect("it is stored");
        }
        writer.finish(digests).await.expect("it is sealed");
        let (registration, first_slot) = (people.registration.0, people.first_slot);
        (panel, RegistrationCommit { batch, registration, first_slot })
    }

    fn contexts(&self, number: u8, panel: PanelDigest, count: u32) -> Vec<DatasetContext> {
        let (network, registrant) = (self.contracts.network, account(number).address());
        let dataset = |ordinal| DatasetId::derive(registrant, BATCH_NONCE, ordinal);
        let context = |ordinal| DatasetContext { network, registrant, dataset: dataset(ordinal), panel, version: 1 };
        (0..count).map(context).collect()
    }

    /// Registers people; gives them with their number and slots.
    async fn register_all(&self, people: People) -> People {
        let leaf =
            |((context, secrets), bodies): ((&DatasetContext, &DatasetSecrets), &DatasetBodyDigest)| DatasetLeaf {
                dataset: context.dataset,
                person: PersonTag(context.dataset.0),
                commitments: DatasetCommitments {
                    bodies: *bodies,
                    shares: secrets.share_set_commitment(context),
                    // The registry takes no value twice, whatever it is a commitment to.
                    genotypes: GenotypeCommitment(Digest32(context.dataset.0.map(|byte| !byte))),
                },
            };
        let leaves: Vec<DatasetLeaf> =
            people.contexts.iter().zip(&people.secrets).zip(&people.bodies).map(leaf).collect();
        let registration = Registration {
            registrant: people.registrant.address(),
            panel: people.contexts[0].panel,
            version: 1,
            batch_nonce: BATCH_NONCE,
            accreditor: None,
            deadline_unix_s: DEADLINE_UNIX_S,
            leaves_hash: leaves_hash(&leaves),
        };
        let registered = self.register_signed(&people.registrant, &registration, &leaves).await;
        let first_slot = u32::try_from(registered.first_slot).expect("a few");
        People { registration: registered.registration, first_slot, ..people }
    }

    /// An order to re-key a registration, signed by account number `signer`.
    pub(crate) fn rekeying_order(&self, signer: u8, request: &RekeyRequest) -> pb::RekeyingOrder {
        let key = account(signer);
        pb::RekeyingOrder {
            registration_id: request.registration.0,
            generation: u32::from(request.generation),
            deadline_unix_s: request.deadline_unix_s,
            admin: key.address().0.to_vec().into(),
            signature: sign(&key, &rekey_request_hash(&self.contracts.network, request)).into(),
        }
    }

    /// What the time is on the chain.
    pub(crate) fn now_unix_s(&self) -> u64 {
        locus_ledger::Clock::unix_s(&self.clock)
    }

    /// Lets time go by on the chain: the next block is so much later.
    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The contracts, with the admin as sender.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Keyholder `number` is replaced by one with the same keys, so that another epoch of the committee begins.
    pub(crate) async fn begin_epoch(&self, number: u8) {
        let hpke_public_key = sealing(index(number)).public_key().to_bytes().to_vec();
        let member = CommitteeMember { signer: account(number).address(), hpke_public_key };
        self.ledger.set_keyholder(number, &member).await.expect("the admin may");
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
            objects: Some(self.objects.clone()),
            view: ViewFollower::start(ledger.clone(), Duration::from_secs(3_600)),
            ledger,
            clock: Clock::system(),
            encryption_verifier: None,
            disclosures: Arc::new(locus_cohort::DisclosureBook::new(None)),
            settles_on_cohorts: false,
            rekeyings_seen: Default::default(),
        });
        keyholder.poll_chain().await.expect("the chain can be followed");
        keyholder
    }
}
