//! Re-keying: both holders of a share get the same new secrets, nobody else does, and attributes stay what they are.

mod support;

use locus_commitment::{Address, DatasetContext, DatasetId, Digest32, NetworkId};
use locus_genomics::PanelDigest;
use locus_sharing::{seal::*, *};
use support::TestRng;

fn network() -> NetworkId {
    NetworkId { chain_id: 31_337, registry: Address([1; 20]) }
}

fn context(version: u32) -> DatasetContext {
    DatasetContext {
        network: network(),
        registrant: Address([2; 20]),
        dataset: DatasetId([3; 32]),
        panel: PanelDigest([4; 32]),
        version,
    }
}

fn private_keys() -> [SealingPrivateKey; 3] {
    [1, 2, 3].map(|byte| SealingPrivateKey::from_seed(&[byte; 32]))
}

fn session() -> RekeyingSession {
    let keys = private_keys().map(|key| key.public_key());
    RekeyingSession { network: network(), registration: 5, generation: 1, committee_epoch: 3, keys }
}

fn contribution(keyholder: KeyholderIndex, share: ShareIndex) -> RekeyingContribution {
    RekeyingContribution::from_bytes([10 * keyholder.get() + share.get(); 32])
}

#[test]
fn both_holders_of_every_share_get_the_same_secrets() {
    let (session, private_keys, mut rng) = (session(), private_keys(), TestRng::new(7));
    let mut commitments = Vec::new();
    for share in ShareIndex::ALL {
        let holders = holders_of(share);
        let seeds = [0, 1].map(|place| {
            let (own, peer) = (holders[place], holders[1 - place]);
            let sealed =
                session.seal_contribution(peer, share, &contribution(peer, share), &mut rng).expect("a holder");
            let private_key = &private_keys[own.position()];
            let received = session.open_contribution(own, share, private_key, &sealed).expect("sealed for it");
            let mut both = [contribution(own, share), received];
            both.rotate_left(place);
            session.seed(share, both.each_ref())
        });
        assert!(seeds[0].is_same_as(&seeds[1]));
        let [lower, higher] = seeds.each_ref().map(|seed| seed.dataset(share, &context(2)));
        assert!(lower.seed.is_same_as(&higher.seed) && lower.noise.is_same_as(&higher.noise));
        assert_eq!(lower.commitment(share, &context(2)), higher.commitment(share, &context(2)));
        commitments.push(lower.commitment(share, &context(2)));
        let digest = session.digest();
        let [one, other] = holders;
        let key = |holder: usize, from, to, salt| seeds[holder].message_key(&digest, from, to, &[salt; 32]);
        assert_eq!(key(0, one, other, 1), key(1, one, other, 1));
        assert_ne!(key(0, one, other, 1), key(0, other, one, 1));
        assert_ne!(key(0, one, other, 1), key(0, one, other, 2));
    }
    commitments.dedup();
    assert_eq!(commitments.len(), 3);
}

#[test]
fn a_contribution_opens_only_for_the_other_holder_in_this_session() {
    let (session, private_keys, mut rng) = (session(), private_keys(), TestRng::new(8));
    let [first, second, third] = KeyholderIndex::ALL;
    // Share 3 is held by keyholders 1 and 2.
    let share = ShareIndex::ALL[2];
    let sealed = session.seal_contribution(first, share, &contribution(first, share), &mut rng).expect("a holder");
    assert!(session.open_contribution(second, share, &private_keys[1], &sealed).is_ok());
    assert!(session.open_contribution(second, share, &private_keys[2], &sealed).is_err(), "another key");
    assert!(session.open_contribution(third, share, &private_keys[2], &sealed).is_err(), "no holder");
    assert!(session.open_contribution(second, ShareIndex::ALL[0], &private_keys[1], &sealed).is_err(), "another share");
    assert!(session.seal_contribution(third, share, &contribution(third, share), &mut rng).is_err(), "no holder");
    let mut changed_key = session.keys.clone();
    changed_key[0] = SealingPrivateKey::from_seed(&[9; 32]).public_key();
    let others = [
        RekeyingSession { registration: 6, ..session.clone() },
        RekeyingSession { generation: 2, ..session.clone() },
        RekeyingSession { committee_epoch: 4, ..session.clone() },
        RekeyingSession { network: NetworkId { chain_id: 1, ..network() }, ..session.clone() },
        RekeyingSession { keys: changed_key, ..session.clone() },
    ];
    for other in others {
        assert!(other.open_contribution(second, share, &private_keys[1], &sealed).is_err());
        assert_ne!(other.digest(), session.digest());
    }
}

#[test]
fn every_input_changes_what_a_dataset_gets() {
    let session = session();
    let share = ShareIndex::ALL[0];
    let [lower, higher] = holders_of(share).map(|holder| contribution(holder, share));
    let seed = session.seed(share, [&lower, &higher]);
    let base = seed.dataset(share, &context(2));
    let others = [
        session.seed(share, [&higher, &lower]).dataset(share, &context(2)),
        session.seed(ShareIndex::ALL[1], [&lower, &higher]).dataset(share, &context(2)),
        seed.dataset(share, &context(3)),
        seed.dataset(ShareIndex::ALL[1], &context(2)),
    ];
    for other in others {
        assert!(!other.seed.is_same_as(&base.seed) && !other.noise.is_same_as(&base.noise));
        assert_ne!(other.blinding.0, base.blinding.0);
    }
}

#[test]
fn attributes_stay_what_they_are_under_new_seeds() {
    let (old, new) = (context(1), context(2));
    let seeds = |generation: u8| ShareIndex::ALL.map(|share| KeySeed::from_bytes([generation * 8 + share.get(); 32]));
    let (before, after) = (seeds(1), seeds(2));
    let bits = [1, 0, 1, 1, 0];
    let schema = Digest32([6; 32]);
    let master = MasterSecret::from_bytes([9; 32]);
    let shares = AttributeShares::new(&master, &old, &SeedShares::new(before.clone()), &schema, &bits).expect("bits");
    let change = |place: usize| {
        let share = ShareIndex::ALL[place];
        attribute_share_change(share, (&before[place], &old), (&after[place], &new), shares.commitment(), bits.len())
    };
    let changes = [change(0), change(1)];
    let vectors = KeyholderIndex::ALL.map(|keyholder| {
        let entry = shares.entry_for(keyholder).rekeyed([&changes[0], &changes[1]]).expect("as many words");
        let seeds = shares_of(keyholder).map(|share| (share, &after[share.position()]));
        entry.shares(keyholder, &new, seeds, bits.len()).expect("its seeds")
    });
    for (place, bit) in bits.iter().enumerate() {
        let sum = vectors.iter().fold(0u64, |sum, vector| sum.wrapping_add(vector.released()[place]));
        assert_eq!(sum, *bit);
    }
    // Both holders of each share have the same.
    for keyholder in KeyholderIndex::ALL {
        let other = KeyholderIndex::ALL.into_iter().find(|other| other.other_share() == keyholder.released_share());
        let other = other.expect("every share has two holders");
        assert_eq!(vectors[keyholder.position()].released(), vectors[other.position()].other());
    }
    assert!(shares.entry_for(KeyholderIndex::ALL[0]).rekeyed([&changes[0][1..], &changes[1]]).is_err());
}
