//! New keys for all datasets of a registration, and every way to abuse the signatures for them.

use crate::{
    backend::{Backend, account, key},
    market::{ADMIN, BIOBANK, KEYHOLDERS, Market, PERSON, STRANGER, leaf, member, refusal, sign},
};
use locus_commitment::{DatasetBodyDigest, DatasetCommitments, Digest32, ShareSetCommitment, field::FieldBytes};
use locus_ledger::{
    ChainView, Ciphertexts, Contracts, DatasetKeys, DatasetLeaf, EventSource as _, LedgerError, RegistrationId,
    Rekeying, committed_leaves_hash, keys_hash,
};
use locus_privacy::REKEYINGS_MAX;

const BAD_SIGNATURE: &str = "DatasetRegistryBadSignature";
/// Far away.
const DEADLINE_UNIX_S: u64 = 4_000_000_000;
const DUPLICATE: &str = "DatasetRegistryDuplicate";
/// Epoch of the committee after a market's deployment.
const EPOCH: u64 = 3;

/// Keys for `count` datasets, from those of leaf `seed` on: no dataset has them yet.
pub(crate) fn new_keys(seed: u64, count: u64) -> Vec<Option<DatasetKeys>> {
    let keys = |seed| {
        let DatasetLeaf { commitments, .. } = leaf(seed);
        Some(DatasetKeys { bodies: commitments.bodies, shares: commitments.shares })
    };
    (seed..seed + count).map(keys).collect()
}

/// The three signatures for a re-keying.
pub(crate) fn endorse(
    contracts: &Contracts,
    registration: RegistrationId,
    generation: u8,
    keys: &[Option<DatasetKeys>],
    epoch: u64,
) -> [Vec<u8>; 3] {
    let rekeying = Rekeying { registration, generation, keys_hash: keys_hash(keys), deadline_unix_s: DEADLINE_UNIX_S };
    let digest = contracts.rekeying_signing_hash(&rekeying, epoch);
    KEYHOLDERS.map(|keyholder| sign(&key(keyholder), &digest))
}

impl Market {
    /// Re-keys with everybody's signature.
    pub(crate) async fn rekey(
        &self,
        registration: RegistrationId,
        generation: u8,
        keys: &[Option<DatasetKeys>],
    ) -> Result<Digest32, LedgerError> {
        let signatures = endorse(self.contracts(), registration, generation, keys, EPOCH);
        self.ledger.rekey_datasets(registration, keys, DEADLINE_UNIX_S, &signatures).await
    }
}

pub(crate) async fn new_keys_replace_the_old_ones_from_their_block_on(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let id = market.register(BIOBANK, 0, 3).await.registration;
    let registered_at = market.ledger.head().await.unwrap().number;
    market.seen_by(backend, &key(BIOBANK)).await.revoke_own_datasets(id, &[1]).await.expect("revoked");
    let mut keys = new_keys(100, 3);
    keys[1] = None;
    let signatures = endorse(market.contracts(), id, 1, &keys, EPOCH);
    let stranger = market.seen_by(backend, &key(STRANGER)).await;
    stranger.rekey_datasets(id, &keys, DEADLINE_UNIX_S, &signatures).await.expect("anyone sends it");
    let rekeyed_at = market.ledger.head().await.unwrap().number;
    assert_eq!(market.ledger.rekey_generation(id).await.unwrap(), 1);
    let place = market.ledger.dataset_of_commitment(&leaf(102).commitments.bodies.0).await.unwrap();
    assert_eq!(place, Some((id, 2)));
    backend.finalize().await;

    let mut view = ChainView::default();
    view.poll(&market.ledger).await.expect("the chain can be followed");
    assert_eq!(view.committee_epoch(), EPOCH);
    let record = view.registration(id).expect("registered");
    let old: Vec<DatasetLeaf> = (0..3).map(leaf).collect();
    let mut new = old.clone();
    for place in [0, 2] {
        let DatasetKeys { bodies, shares } = keys[place].expect("not left out");
        (new[place].commitments.bodies, new[place].commitments.shares) = (bodies, shares);
    }
    assert_eq!(record.leaves.to_vec(), new);
    assert_eq!(record.registered_leaves().to_vec(), old);
    assert_eq!(record.leaves_as_of(registered_at).to_vec(), old);
    assert_eq!(record.leaves_as_of(rekeyed_at).to_vec(), new);
    assert_eq!((record.generation(), record.key_version(), record.rekeyed_in()), (1, 2, Some(rekeyed_at)));
    assert_eq!(view.rekeyings_from(1).collect::<Vec<_>>(), [(id, 1)]);
}

pub(crate) async fn a_rekeying_needs_every_keyholders_signature_over_exactly_it(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let elsewhere = Market::deploy(backend).await;
    let (ledger, contracts) = (&market.ledger, *market.contracts());
    let id = market.register(BIOBANK, 0, 2).await.registration;
    let other = market.register(BIOBANK, 10, 2).await.registration;
    let keys = new_keys(100, 2);
    let mut other_chain = contracts;
    other_chain.network.chain_id += 1;
    let swapped = [keys[1], keys[0]];
    let good = endorse(&contracts, id, 1, &keys, EPOCH);
    let [one, two, three] = good.clone();
    let bad = [
        ("nobody", [const { Vec::new() }; 3]),
        ("one missing", [one.clone(), Vec::new(), three.clone()]),
        ("another order", [three, two, one.clone()]),
        ("one for all", [one.clone(), one.clone(), one]),
        ("another registration", endorse(&contracts, other, 1, &keys, EPOCH)),
        ("the generation before", endorse(&contracts, id, 0, &keys, EPOCH)),
        ("the generation after", endorse(&contracts, id, 2, &keys, EPOCH)),
        ("other keys", endorse(&contracts, id, 1, &swapped, EPOCH)),
        ("another epoch", endorse(&contracts, id, 1, &keys, EPOCH + 1)),
        ("another contract", endorse(elsewhere.contracts(), id, 1, &keys, EPOCH)),
        ("another chain", endorse(&other_chain, id, 1, &keys, EPOCH)),
    ];
    for (what, signatures) in bad {
        assert_eq!(
            refusal(ledger.rekey_datasets(id, &keys, DEADLINE_UNIX_S, &signatures).await),
            BAD_SIGNATURE,
            "{what}"
        );
    }
    ledger.rekey_datasets(id, &keys, DEADLINE_UNIX_S, &good).await.expect("the untouched re-keying is taken");
    assert_eq!(refusal(ledger.rekey_datasets(id, &keys, DEADLINE_UNIX_S, &good).await), BAD_SIGNATURE, "a repetition");
    ledger.set_keyholder(2, &member(14)).await.expect("the admin replaces keyholder 2");
    let late = market.rekey(id, 2, &new_keys(200, 2)).await;
    assert_eq!(refusal(late), BAD_SIGNATURE, "the committee before");
}

pub(crate) async fn new_keys_are_complete_and_no_copies(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let id = market.register(BIOBANK, 0, 2).await.registration;
    market.register(PERSON, 10, 1).await;
    let stolen = leaf(10).commitments;
    let keys = new_keys(100, 2);
    let with = |change: fn(&mut DatasetKeys, DatasetCommitments)| {
        let mut keys = keys.clone();
        change(keys[1].as_mut().expect("there are keys"), stolen);
        keys
    };
    let refused = [
        ("the bodies of somebody", DUPLICATE, with(|keys, stolen| keys.bodies = stolen.bodies)),
        ("the shares of somebody", DUPLICATE, with(|keys, stolen| keys.shares = stolen.shares)),
        (
            "the genotypes of somebody",
            DUPLICATE,
            with(|keys, stolen| keys.bodies = DatasetBodyDigest(stolen.genotypes.0)),
        ),
        ("its own old keys", DUPLICATE, vec![keys[0], new_keys(1, 1)[0]]),
        ("keys twice", DUPLICATE, vec![keys[0], keys[0]]),
        (
            "no bodies",
            "DatasetRegistryEmptyCommitment",
            with(|keys, _| keys.bodies = DatasetBodyDigest(Digest32([0; 32]))),
        ),
        (
            "no shares",
            "DatasetRegistryEmptyCommitment",
            with(|keys, _| keys.shares = ShareSetCommitment(Digest32([0; 32]))),
        ),
        ("a live dataset left out", "DatasetRegistryNotRevoked", vec![keys[0], None]),
        ("too few", "DatasetRegistryBadBatchSize", new_keys(100, 1)),
        ("too many", "DatasetRegistryBadBatchSize", new_keys(100, 3)),
    ];
    for (what, name, keys) in refused {
        assert_eq!(refusal(market.rekey(id, 1, &keys).await), name, "{what}");
    }
    let unknown = RegistrationId(9);
    assert_eq!(refusal(market.rekey(unknown, 1, &keys).await), "DatasetRegistryUnknownRegistration");
    assert_eq!(refusal(market.ledger.rekey_generation(unknown).await), "DatasetRegistryUnknownRegistration");
    market.rekey(id, 1, &keys).await.expect("nothing of the refused keys was kept");
    let copy = market.batch(PERSON, 2, vec![leaf(101)]);
    assert_eq!(refusal(market.submit(&copy).await), DUPLICATE, "a registration of the new keys");
}

pub(crate) async fn eight_rekeyings_are_taken_also_in_a_pause_and_no_ninth(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let id = market.register(BIOBANK, 0, 1).await.registration;
    market.ledger.pause().await.expect("the admin pauses");
    for generation in 1..=REKEYINGS_MAX {
        assert_eq!(market.ledger.rekey_generation(id).await.unwrap(), generation - 1);
        let keys = new_keys(100 * u64::from(generation), 1);
        market.rekey(id, generation, &keys).await.expect("there is room");
    }
    let ninth = market.rekey(id, REKEYINGS_MAX + 1, &new_keys(1_000, 1)).await;
    assert_eq!(refusal(ninth), "DatasetRegistryRekeyedTooOften");
}

pub(crate) async fn a_registration_with_commitments_to_its_ciphertexts_is_not_rekeyed(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let mut batch = market.batch(BIOBANK, 1, vec![leaf(1)]);
    let mut one = [0; 32];
    one[31] = 1;
    let neutral = [FieldBytes([0; 32]), FieldBytes(one)];
    let ciphertexts = Ciphertexts { commitments: vec![neutral], proven: false };
    batch.registration.leaves_hash = committed_leaves_hash(&batch.leaves, &ciphertexts);
    let batch = market.sign_batch(&key(BIOBANK), batch.registration, batch.leaves, EPOCH);
    let signatures = (&batch.registrant_signature[..], &batch.accreditor_signature[..], &batch.attestations);
    let registered =
        market.ledger.register_signed(&batch.registration, &batch.leaves, Some(&ciphertexts), signatures).await;
    let id = registered.expect("registered").registration;
    assert_eq!(market.ledger.rekey_generation(id).await.unwrap(), 0);
    assert_eq!(refusal(market.rekey(id, 1, &new_keys(100, 1)).await), "DatasetRegistryCommitted");
}

pub(crate) async fn only_the_admin_is_the_admin(backend: &Backend) {
    let market = Market::deploy(backend).await;
    assert!(market.ledger.is_registry_admin(account(ADMIN)).await.unwrap());
    for other in [STRANGER, BIOBANK, KEYHOLDERS[0]] {
        assert!(!market.ledger.is_registry_admin(account(other)).await.unwrap());
    }
}
