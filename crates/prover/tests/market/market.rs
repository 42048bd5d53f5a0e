//! A deployed market with everybody's keys, and provers on it.

use crate::chain::{Backend, START_UNIX_S, account, key};
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment,
    field::{FieldBytes, encode_field},
    pedersen::{CiphertextCommitment, Generators},
};
use locus_genomics::{DuoTerm, PanelDigest};
use locus_ledger::{
    AccountKey, Amount, Audience, Ciphertexts, CommitteeMember, DatasetLeaf, Demands, DeploymentConfig, Ledger,
    LedgerError, Offer, OfferPrices, ProvenRegistry, Registration, RegistrationId, TierSet, committed_leaves_hash,
    deploy_with_proofs, leaves_hash,
};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_proofs::{groth16::ProvingKey, keys::KeyStore};
use locus_prover::{Circuits, CohortBook, CohortProver, MarketKeys, PanelMirror, ProvingTurn, RootProver};
use std::sync::{Arc, OnceLock};

pub(crate) const ADMIN: u8 = 1;
pub(crate) const KEYHOLDERS: [u8; 3] = [11, 12, 13];
pub(crate) const ACCREDITOR: u8 = 21;
pub(crate) const BIOBANK: u8 = 31;
pub(crate) const PERSON: u8 = 32;
pub(crate) const RESEARCHER: u8 = 41;
pub(crate) const STRANGER: u8 = 51;
pub(crate) const OTHER_PROVER: u8 = 52;
pub(crate) const PANEL: PanelDigest = PanelDigest([0xaa; 32]);
pub(crate) const ROOT_AGE_MAX_S: u64 = 6 * 3_600;
/// Day of the chain's time.
pub(crate) const TODAY: u16 = 20_833;
/// Last day of every offer.
pub(crate) const LAST_DAY: u16 = 20_900;
/// Base units in one price unit.
pub(crate) const PRICE_UNIT: u128 = 10_000_000_000;

/// Development keys of the small circuits, made once for all tests.
pub(crate) struct Keys {
    pub(crate) market: MarketKeys,
    pub(crate) update: Arc<ProvingKey>,
    pub(crate) cohort: Arc<ProvingKey>,
}

pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = KeyStore::new(folder.path());
        let circuits = Circuits::small().expect("the sizes are permitted");
        let market = MarketKeys::development(&store, circuits, |_| {}).expect("the keys are made");
        let update = Arc::new(market.update_proving_key(&store).expect("it was made"));
        let cohort = Arc::new(market.cohort_proving_key(&store).expect("it was made"));
        Keys { market, update, cohort }
    })
}

fn parameters() -> NetworkParameterValues {
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

pub(crate) fn sign(key: &AccountKey, digest: &Digest32) -> Vec<u8> {
    key.sign_digest(digest).expect("keys sign").to_bytes().to_vec()
}

/// The name of the contract error that refused a call.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, LedgerError>) -> String {
    let error = outcome.expect_err("the contract refuses");
    error.refusal().map(str::to_owned).unwrap_or_else(|| panic!("not refused by a contract but: {error}"))
}

/// A leaf whose commitments depend on `seed` alone.
fn leaf(seed: u64) -> DatasetLeaf {
    let word = |kind: u8| {
        let mut bytes = [kind; 32];
        // The first byte stays: genotype commitments of proven datasets are field elements.
        bytes[24..].copy_from_slice(&seed.to_be_bytes());
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

/// The commitment of the dataset with this seed.
pub(crate) fn commitment(seed: u64) -> CiphertextCommitment {
    static GENERATORS: OnceLock<Generators> = OnceLock::new();
    let generators = GENERATORS.get_or_init(|| Generators::expand(0, 0));
    CiphertextCommitment::of_body(generators, &[seed, 3 * seed + 1])
}

pub(crate) fn coordinates(commitment: &CiphertextCommitment) -> [FieldBytes; 2] {
    let (x, y) = commitment.coordinates();
    [x, y].map(|coordinate| FieldBytes(encode_field(&coordinate)))
}

/// A market and the connection of its admin.
pub(crate) struct Market {
    pub(crate) backend: Backend,
    pub(crate) ledger: Ledger,
}

impl Market {
    /// Deploys a market with small circuits and publishes one panel.
    pub(crate) async fn deploy(backend: Backend) -> Self {
        let chain = backend.connect(&key(ADMIN));
        let member = |index: u8| CommitteeMember { signer: account(index), hpke_public_key: vec![index; 1216] };
        let config = DeploymentConfig {
            parameters: parameters(),
            committee: KEYHOLDERS.map(member),
            accreditors: vec![(account(ACCREDITOR), "Test accreditor".to_owned())],
            researchers: vec![(account(RESEARCHER), "Test researcher".to_owned())],
            token: None,
        };
        let proofs = keys().market.deployment(ROOT_AGE_MAX_S);
        let contracts = deploy_with_proofs(&chain, &config, &proofs).await.expect("the market deploys");
        let ledger = Ledger::open(chain, contracts).await.expect("the market opens");
        ledger.publish_panel(PANEL, "test panel", 4_080, true).await.expect("the panel is published");
        Self { backend, ledger }
    }

    /// The market's roots through the connection of another account.
    pub(crate) async fn seen_by(&self, index: u8) -> ProvenRegistry {
        let chain = self.backend.connect(&key(index));
        let ledger = Ledger::open(chain, *self.ledger.contracts()).await.expect("the market opens");
        ProvenRegistry::open(ledger).await.expect("the market has roots")
    }

    /// A mirror that has seen nothing yet.
    pub(crate) async fn mirror(&self, index: u8) -> Arc<PanelMirror> {
        let depth = keys().market.circuits().depth();
        Arc::new(PanelMirror::new(self.seen_by(index).await, PANEL, depth))
    }

    pub(crate) async fn root_prover(&self, index: u8) -> RootProver {
        let shape = keys().market.circuits().update();
        RootProver::new(self.mirror(index).await, shape, keys().update.clone(), ProvingTurn::default())
    }

    pub(crate) fn cohort_prover(&self, mirror: &Arc<PanelMirror>, book: CohortBook) -> CohortProver {
        let shape = keys().market.circuits().cohort();
        CohortProver::new(mirror.clone(), shape, keys().cohort.clone(), ProvingTurn::default(), book)
    }

    fn deadline(&self) -> u64 {
        START_UNIX_S + 3_600
    }

    /// Registers datasets with these seeds; with commitments they are proven, without they are neither.
    pub(crate) async fn register(&self, registrant: u8, seeds: std::ops::Range<u64>, committed: bool) {
        let leaves: Vec<_> = seeds.clone().map(leaf).collect();
        let commitments = seeds.clone().map(|seed| coordinates(&commitment(seed))).collect();
        let ciphertexts = Ciphertexts { commitments, proven: true };
        let accreditor: Option<Address> = (registrant == BIOBANK).then(|| account(ACCREDITOR));
        let registration = Registration {
            registrant: account(registrant),
            panel: PANEL,
            version: 1,
            batch_nonce: seeds.start,
            accreditor,
            deadline_unix_s: self.deadline(),
            leaves_hash: if committed { committed_leaves_hash(&leaves, &ciphertexts) } else { leaves_hash(&leaves) },
        };
        let contracts = self.ledger.contracts();
        let digest = contracts.registration_digest(&registration);
        let signature = sign(&key(registrant), &contracts.registration_signing_hash(&registration));
        let accreditation = match accreditor {
            Some(_) => sign(&key(ACCREDITOR), &contracts.accreditation_signing_hash(&digest)),
            None => Vec::new(),
        };
        let epoch = self.ledger.committee_epoch().await.expect("the registry answers");
        let attestation = contracts.attestation_signing_hash(&digest, epoch);
        let attestations = KEYHOLDERS.map(|keyholder| sign(&key(keyholder), &attestation));
        let registered = if committed {
            let (ledger, leaves) = (&self.ledger, &leaves);
            ledger
                .register_committed_datasets(
                    &registration,
                    leaves,
                    &ciphertexts,
                    &signature,
                    &accreditation,
                    &attestations,
                )
                .await
        } else {
            self.ledger.register_datasets(&registration, &leaves, &signature, &accreditation, &attestations).await
        };
        registered.expect("the batch is registered");
    }

    pub(crate) async fn revoke(&self, registrant: u8, registration: u64, ordinals: &[u32]) {
        let (registration, deadline) = (RegistrationId(registration), self.deadline());
        let digest = self.ledger.contracts().revocation_signing_hash(registration, ordinals, deadline);
        let signature = sign(&key(registrant), &digest);
        self.ledger.revoke_datasets(registration, ordinals, deadline, &signature).await.expect("revoked");
    }

    /// Puts a registration on offer to anyone in the open tier, at a price in units, for one data use term.
    pub(crate) async fn offer(&self, registrant: u8, registration: u64, nonce: u64, price: u64, term: DuoTerm) {
        let price = Amount(u128::from(price) * PRICE_UNIT);
        let offer = Offer {
            registration: RegistrationId(registration),
            prices: OfferPrices { counts: price, filtered_counts: price, association: price },
            data_use: term.bit(),
            tiers: TierSet::of(&[Tier::Open]),
            audience: Audience::Anyone,
            block_start: 0,
            block_end: 1,
            condition_digest: Digest32([0; 32]),
            demands: Demands::NONE,
            disclosure_digest: Digest32([0; 32]),
            expiry_unix_s: (u64::from(LAST_DAY) + 1) * 86_400 - 1,
            nonce,
        };
        let signature = sign(&key(registrant), &self.ledger.contracts().offer_signing_hash(&offer));
        self.ledger.post_offer(&offer, &signature).await.expect("posted");
    }
}
