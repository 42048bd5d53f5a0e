//! The storage under ordinary use, erasure and crashes at any write.

use super::*;
use crate::store::datasets::PendingDataset;
use locus_commitment::{
    DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag, ShareSetCommitment,
};
use locus_ledger::RegistrationId;
use locus_privacy::{ChargeName, ChargeRequest, NetworkParameters, PersonBudget, Rho, RhoCost, Tier};
use locus_sharing::{KeyholderIndex, shares_of};
use locus_wire::pb::keyholder::{AnswerCommitment, Preparation};
use redb::{Builder, StorageBackend};
use std::{
    collections::BTreeSet,
    fs, io,
    sync::{Arc, Mutex},
};
use zeroize::Zeroizing;

const REGISTRATION: Digest32 = Digest32([0xaa; 32]);

fn dataset(number: u8) -> PendingDataset {
    let digest = |kind: u8| Digest32([number ^ kind; 32]);
    PendingDataset {
        key: DatasetKey { dataset: DatasetId([number; 32]), version: 1 },
        person: PersonTag([number; 32]),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(digest(0x10)),
            shares: ShareSetCommitment(digest(0x20)),
            genotypes: GenotypeCommitment(digest(0x40)),
        },
        seeds: Zeroizing::new(vec![number; 128]),
        checks: vec![[[u64::from(number); 16]; 3]; 2],
        ciphertext: (number % 2 == 1).then_some([number; 64]),
    }
}

fn attested(store: &Store, numbers: &[u8]) {
    let datasets: Vec<PendingDataset> = numbers.iter().map(|number| dataset(*number)).collect();
    store.put_pending(&REGISTRATION, 0, &datasets).expect("pending datasets are kept");
    store.attest(&REGISTRATION, u32::try_from(numbers.len()).expect("few")).expect("they are attested");
}

fn key(number: u8) -> DatasetKey {
    dataset(number).key
}

fn charge(rho_nano: u64, name: u8) -> ChargeRequest {
    ChargeRequest {
        name: ChargeName([name; 32]),
        tier: Tier::Open,
        cost: RhoCost { dp: Rho::from_nano(rho_nano), flooding: Rho::from_nano(120) },
        at_unix_s: 1_800_000_000,
    }
}

fn commit(store: &Store, order: u8, members: &[MemberCharge], charge: ChargeRequest) -> Result<(), StoreError> {
    let answer = StoredAnswer {
        commitment: Some(AnswerCommitment { cohort_size: u32::from(order), ..Default::default() }),
        ..Default::default()
    };
    store.commit_answer(
        &AnswerRecord {
            order: Digest32([order; 32]),
            charge,
            also: &[],
            members,
            exact: ExactAnswer::default(),
            question: Digest32([0x77; 32]),
            budget_exclusions: BTreeSet::from([9]),
            use_record: UseRecord { order: vec![order; 32].into(), ..UseRecord::default() },
            outcome: Outcome::Answer { answer: &answer, times_prepared: 0 },
        },
        &NetworkParameters::standard(),
    )
}

fn members(numbers: &[u8]) -> Vec<MemberCharge> {
    numbers.iter().map(|number| MemberCharge { slot: u64::from(*number), person: PersonTag([*number; 32]) }).collect()
}

#[test]
fn seeds_come_back_in_the_order_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    attested(&store, &[1, 2, 3]);
    let seeds = store.seeds(&[key(3), key(1)]).expect("both are there");
    assert_eq!([seeds[0][0], seeds[1][0]], [3, 1]);
    assert!(matches!(store.seeds(&[key(4)]), Err(StoreError::SeedsMissing(_))));
}

#[test]
fn pending_datasets_have_no_seeds_until_they_are_attested() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    store.put_pending(&REGISTRATION, 0, &[dataset(1)]).expect("it is kept");
    assert!(matches!(store.seeds(&[key(1)]), Err(StoreError::SeedsMissing(_))));
    let pending = store.pending(&REGISTRATION, 0..1).expect("it reads");
    assert_eq!(pending[0].checks, dataset(1).checks);
    assert_eq!(pending[0].ciphertext, dataset(1).ciphertext);
    assert_eq!(*pending[0].seeds, vec![1; 128]);
}

#[test]
fn a_copied_commitment_of_any_kind_is_refused_and_a_retry_is_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    attested(&store, &[1]);
    attested(&store, &[1]);
    let original = dataset(1).commitments;
    let copies: [fn(&mut DatasetCommitments, &DatasetCommitments); 3] = [
        |copy, original| copy.bodies = original.bodies,
        |copy, original| copy.shares = original.shares,
        |copy, original| copy.genotypes = original.genotypes,
    ];
    for copy in copies {
        let mut thief = dataset(2);
        copy(&mut thief.commitments, &original);
        assert!(store.check_unique(thief.key, &thief.commitments).is_err());
        store.put_pending(&Digest32([0xbb; 32]), 0, &[thief]).expect("pending is no claim");
        assert!(matches!(store.attest(&Digest32([0xbb; 32]), 1), Err(StoreError::Duplicate { .. })));
    }
    // Control: with commitments of its own the second dataset is welcome.
    store.put_pending(&Digest32([0xcc; 32]), 0, &[dataset(2)]).expect("it is kept");
    store.attest(&Digest32([0xcc; 32]), 1).expect("it is attested");
}

#[test]
fn erased_seeds_cannot_be_opened_even_from_an_older_copy_of_the_database() {
    let dir = tempfile::tempdir().expect("a folder");
    let copy = tempfile::tempdir().expect("a folder");
    {
        let store = Store::open(dir.path()).expect("it opens");
        attested(&store, &[1, 2]);
    }
    fs::copy(dir.path().join("keyholder.redb"), copy.path().join("keyholder.redb")).expect("a backup");
    fs::copy(dir.path().join("wrapping-key.1"), copy.path().join("stolen-key")).expect("for the control");
    let store = Store::open(dir.path()).expect("it opens");
    assert_eq!(store.erase(RegistrationId(1), &[key(1)]).expect("it erases"), 1);
    assert!(matches!(store.seeds(&[key(1)]), Err(StoreError::SeedsMissing(_))));
    assert_eq!(*store.seeds(&[key(2)]).expect("the survivor is there")[0], vec![2; 128]);
    assert!(!dir.path().join("wrapping-key.1").exists());
    // The backup with today's key does not open anything.
    fs::copy(dir.path().join("wrapping-key.2"), copy.path().join("wrapping-key.1")).expect("an attempt");
    let restored = Store::open(copy.path()).expect("the database itself opens");
    assert!(matches!(restored.seeds(&[key(1)]), Err(StoreError::Damaged(_))));
    drop(restored);
    // Control: with the destroyed key it would have.
    fs::copy(copy.path().join("stolen-key"), copy.path().join("wrapping-key.1")).expect("the control");
    let restored = Store::open(copy.path()).expect("it opens");
    assert_eq!(*restored.seeds(&[key(1)]).expect("the old key opens it")[0], vec![1; 128]);
}

#[test]
fn a_share_that_both_holders_erased_comes_back_with_no_backup_of_the_third_keyholder() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let backups = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    for (keyholder, (folder, backup)) in KeyholderIndex::ALL.into_iter().zip(folders.iter().zip(&backups)) {
        let store = Store::open(folder.path()).expect("it opens");
        let mut held = dataset(1);
        // Seed and blinding of a share are its number here.
        held.seeds = Zeroizing::new(shares_of(keyholder).map(|share| [share.get(); 64]).concat());
        store.put_pending(&REGISTRATION, 0, &[held]).expect("it is kept");
        store.attest(&REGISTRATION, 1).expect("it is attested");
        drop(store);
        for file in ["keyholder.redb", "wrapping-key.1"] {
            fs::copy(folder.path().join(file), backup.path().join(file)).expect("a backup with its key");
        }
    }
    // The shares whose seeds these storages give out together.
    let shares = |folders: [&tempfile::TempDir; 3]| -> BTreeSet<u8> {
        let seeds = folders.map(|folder| Store::open(folder.path()).expect("it opens").seeds(&[key(1)]));
        seeds.into_iter().flatten().flatten().flat_map(|seeds| seeds.to_vec()).collect()
    };
    let all = BTreeSet::from([1, 2, 3]);
    assert_eq!(shares(folders.each_ref()), all);
    for folder in &folders {
        let store = Store::open(folder.path()).expect("it opens");
        assert_eq!(store.erase(RegistrationId(1), &[key(1)]).expect("it erases"), 1);
    }
    assert_eq!(shares(folders.each_ref()), BTreeSet::new());
    let [first, second, third] = &folders;
    assert_eq!(shares([first, second, &backups[2]]), BTreeSet::from([1, 2]), "share 3 is gone");
    assert_eq!(shares([&backups[0], second, third]), BTreeSet::from([2, 3]), "share 1 is gone");
    // Control: one keyholder that erased is not enough.
    assert_eq!(shares([first, &backups[1], &backups[2]]), all);
}

#[test]
fn no_file_of_the_storage_holds_a_seed_in_the_clear() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    let mut secret = dataset(1);
    let seed: Vec<u8> = (0..128u8).map(|byte| byte.wrapping_mul(37).wrapping_add(11)).collect();
    secret.seeds = Zeroizing::new(seed.clone());
    store.put_pending(&REGISTRATION, 0, &[secret]).expect("it is kept");
    store.attest(&REGISTRATION, 1).expect("it is attested");
    store.put_noise_key(1, seed.first_chunk().expect("long enough")).expect("it is kept");
    drop(store);
    let mut files = 0;
    for entry in fs::read_dir(dir.path()).expect("the folder lists") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("it reads");
        assert!(!bytes.windows(16).any(|window| window == &seed[..16]));
        files += 1;
    }
    assert_eq!(files, 2, "the database and the wrapping key");
}

/// Public key and contributions of what is drawn for a re-keying.
fn draws(store: &Store, registration: u64, generation: u8, epoch: u64) -> (Vec<u8>, [[u8; 32]; 2]) {
    let draws = store.open_rekeying(RegistrationId(registration), generation, epoch).expect("it draws");
    let contributions = draws.contributions(KeyholderIndex::ALL[0]).map(|(_, contribution)| *contribution.as_bytes());
    (draws.private_key().public_key().to_bytes().to_vec(), contributions)
}

#[test]
fn draws_of_a_rekeying_outlast_a_restart_and_erasures_elsewhere_and_lie_nowhere_open() {
    let dir = tempfile::tempdir().expect("a folder");
    let copy = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    attested(&store, &[1]);
    let first = draws(&store, 1, 1, 1);
    drop(store);
    let database = fs::read(dir.path().join("keyholder.redb")).expect("it reads");
    let is_there = |needle: &[u8]| database.windows(16).any(|window| window == needle);
    assert!(!first.1.iter().any(|contribution| is_there(&contribution[..16])));
    assert!(is_there(&dataset(1).commitments.bodies.0.0[..16]), "control: what is no secret is found");
    for file in ["keyholder.redb", "wrapping-key.1"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).expect("a backup with its key");
    }

    let store = Store::open(dir.path()).expect("it opens again");
    assert_eq!(draws(&store, 1, 1, 1), first);
    store.erase(RegistrationId(2), &[key(1)]).expect("it erases");
    assert_eq!(draws(&store, 1, 1, 1), first, "under the new key");
    let others = [draws(&store, 2, 1, 1), draws(&store, 1, 2, 1), draws(&store, 1, 2, 2), draws(&store, 1, 1, 1)];
    for (place, other) in others.iter().enumerate() {
        assert!(other.0 != first.0 && other.1 != first.1, "{place}");
    }

    store.erase(RegistrationId(1), &[]).expect("it erases");
    assert!(store.rekeying_draws(RegistrationId(1)).expect("it reads").is_none());
    drop(store);
    // A backup does not bring them back, but with the key that was destroyed.
    fs::rename(copy.path().join("wrapping-key.1"), copy.path().join("stolen-key")).expect("for the control");
    fs::copy(dir.path().join("wrapping-key.3"), copy.path().join("wrapping-key.1")).expect("an attempt");
    let restored = Store::open(copy.path()).expect("the database itself opens");
    assert!(matches!(restored.rekeying_draws(RegistrationId(1)), Err(StoreError::Damaged(_))));
    drop(restored);
    fs::copy(copy.path().join("stolen-key"), copy.path().join("wrapping-key.1")).expect("the control");
    assert_eq!(draws(&Store::open(copy.path()).expect("it opens"), 1, 1, 1), first);
}

#[test]
fn a_second_replica_cannot_open_the_same_storage() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    let Err(refused) = Store::open(dir.path()) else { panic!("two replicas would charge beside each other") };
    assert!(refused.to_string().contains("already open"), "{refused}");
    // Control: one after the other may.
    drop(store);
    Store::open(dir.path()).expect("it opens");
}

#[test]
fn an_order_is_charged_once_however_often_it_is_committed() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    for _ in 0..3 {
        commit(&store, 1, &members(&[1, 2]), charge(1_000_000, 5)).expect("it commits");
    }
    let budget = store.budget(&PersonTag([1; 32])).expect("it reads");
    assert_eq!(budget.spent_in_lifetime(), Rho::from_nano(1_000_120));
    assert_eq!(store.charge_sequence().expect("it reads"), 1);
    // The same question in another order is a new use, not a new charge.
    commit(&store, 2, &members(&[1, 2]), charge(1_000_000, 5)).expect("it commits");
    let budget = store.budget(&PersonTag([1; 32])).expect("it reads");
    assert_eq!(budget.spent_in_lifetime(), Rho::from_nano(1_000_120));
    assert_eq!(store.uses(&ChargeName([5; 32])).expect("it reads").len(), 2);
}

#[test]
fn when_one_member_cannot_pay_nobody_is_charged_and_nothing_is_stored() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    // Ten questions at the cap of 0.01 use up the 0.1 of a year, minus what flooding costs.
    let mut name = 10;
    while commit(&store, name, &members(&[2]), charge(10_000_000, name)).is_ok() {
        name += 1;
    }
    let before = store.budget(&PersonTag([1; 32])).expect("it reads");
    assert!(commit(&store, 200, &members(&[1, 2]), charge(10_000_000, 200)).is_err());
    assert_eq!(store.budget(&PersonTag([1; 32])).expect("it reads"), before);
    assert!(store.answer(&Digest32([200; 32])).expect("it reads").is_none());
    let exhausted = store.exhausted(&members(&[1, 2]), &charge(10_000_000, 201), &NetworkParameters::standard());
    assert_eq!(exhausted.expect("it reads"), BTreeSet::from([2]));
}

/// An exact answer over these people of a batch.
fn commit_exact(store: &Store, order: u8, batch: u64, people: impl IntoIterator<Item = u16>) -> Result<(), StoreError> {
    let tag = |person: u16| {
        let mut tag = [0x77; 32];
        tag[..2].copy_from_slice(&person.to_le_bytes());
        PersonTag(tag)
    };
    let people = people.into_iter().map(|person| ExactPerson { batch: RegistrationId(batch), person: tag(person) });
    store.commit_answer(
        &AnswerRecord {
            order: Digest32([order; 32]),
            charge: ChargeRequest { tier: Tier::Exact, ..charge(0, order) },
            also: &[],
            members: &[],
            exact: ExactAnswer { people: &people.collect::<Vec<_>>(), history: None },
            question: Digest32([1; 32]),
            budget_exclusions: BTreeSet::new(),
            use_record: UseRecord::default(),
            outcome: Outcome::Answer { answer: &StoredAnswer::default(), times_prepared: 0 },
        },
        &NetworkParameters::standard(),
    )
}

#[test]
fn an_answer_to_a_preparation_that_was_replaced_meanwhile_is_refused_and_charges_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    let order = Digest32([1; 32]);
    let answered = |times_prepared: u64| {
        let number = u8::try_from(times_prepared).expect("small");
        let answer = StoredAnswer { participants: vec![number.into()], ..Default::default() };
        let record = AnswerRecord {
            order,
            charge: charge(1_000_000, number),
            also: &[],
            members: &members(&[1]),
            exact: ExactAnswer::default(),
            question: Digest32([0x77; 32]),
            budget_exclusions: BTreeSet::new(),
            use_record: UseRecord { order: order.0.to_vec().into(), ..UseRecord::default() },
            outcome: Outcome::Answer { answer: &answer, times_prepared },
        };
        store.commit_answer(&record, &NetworkParameters::standard())
    };
    // The answer to the first preparation is still computed when the order is prepared anew: by this keyholder as it was
    // before, by others differently.
    for times in 1..=2 {
        assert!(store.put_preparation(&order, &Preparation::default()).expect("it writes"));
        assert_eq!(store.times_prepared(&order).expect("it reads"), times);
    }
    assert!(matches!(answered(1), Err(StoreError::PreparedAnew)));
    assert!(store.answer(&order).expect("it reads").is_none());
    assert_eq!(store.charge_sequence().expect("it reads"), 0);
    assert_eq!(store.budget(&PersonTag([1; 32])).expect("it reads"), PersonBudget::new());

    answered(2).expect("it is the last one");
    let kept = |store: &Store| store.answer(&order).expect("it reads").map(|answer| answer.participants);
    assert_eq!((kept(&store), store.charge_sequence().expect("it reads")), (Some(vec![2]), 1));
    // Late, it changes nothing either.
    assert!(matches!(answered(1), Err(StoreError::PreparedAnew)));
    answered(2).expect("the same again");
    assert_eq!((kept(&store), store.charge_sequence().expect("it reads")), (Some(vec![2]), 1));
}

#[test]
fn people_are_answered_exactly_again_only_together_or_with_many_others_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    commit_exact(&store, 1, 1, 0..1_200).expect("the first exact answer");
    commit_exact(&store, 2, 1, 0..1_200).expect("the same members again");
    assert!(commit_exact(&store, 3, 1, (0..1_200).filter(|person| *person != 7)).is_err(), "one person is apart");
    assert!(store.answer(&Digest32([3; 32])).expect("it reads").is_none());
    commit_exact(&store, 4, 1, 100..1_200).expect("the difference is a hundred people");
}

#[test]
fn a_batch_registered_again_without_one_person_is_not_answered_exactly_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let again = || (0..1_200).filter(|person| *person != 7);
    {
        let store = Store::open(dir.path()).expect("it opens");
        commit_exact(&store, 1, 1, 0..1_200).expect("the first version");
    }
    let store = Store::open(dir.path()).expect("it opens");
    let refused = commit_exact(&store, 2, 2, again()).expect_err("the difference is person 7");
    assert!(matches!(refused, StoreError::Privacy(locus_privacy::PrivacyError::ExactIsolates { group: 1, .. })));
    // With a hundred new people beside them the old ones still lack one.
    assert!(commit_exact(&store, 3, 2, again().chain(2_000..2_200)).is_err());
    // Control: a keyholder that never answered the first version has nothing to compare with, and the
    // same people in a new version are welcome here too.
    let elsewhere = tempfile::tempdir().expect("a folder");
    commit_exact(&Store::open(elsewhere.path()).expect("it opens"), 2, 2, again()).expect("a first answer");
    commit_exact(&store, 4, 2, 0..1_200).expect("nobody is apart");
}

#[test]
fn exact_answers_over_several_batches_keep_one_history() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    commit_exact(&store, 1, 1, 0..1_000).expect("a batch");
    commit_exact(&store, 2, 2, 1_000..2_000).expect("another");
    // A third batch of half of each: no half is small.
    commit_exact(&store, 3, 3, 500..1_500).expect("two halves");
    // All three are one union now; its parts are five hundred each.
    let sizes = |people: std::ops::Range<u16>, batch| commit_exact(&store, 4, batch, people);
    assert!(sizes(450..1_450, 4).is_err(), "fifty people of two groups would be apart");
    commit_exact(&store, 5, 4, 0..2_000).expect("whole groups");
}

#[test]
fn the_longest_charge_log_of_a_peer_is_remembered_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("it opens");
    assert!(store.peer_sequences().expect("it reads").is_empty());
    store.note_peer_sequence(2, 5).expect("it writes");
    drop(store);
    let store = Store::open(dir.path()).expect("it opens");
    store.note_peer_sequence(2, 4).expect("words that arrive late");
    store.note_peer_sequence(3, 0).expect("it writes");
    assert_eq!(store.peer_sequences().expect("it reads"), [(2, 5), (3, 0)].into());
}

/// A disk that stops working after a number of operations. What was synced survives; of what was
/// written later either everything or nothing does, as the test chooses.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    written: Vec<u8>,
    synced: Vec<u8>,
    operations_left: Option<u64>,
    operations: u64,
}

impl Disk {
    fn operate<T>(&self, act: impl FnOnce(&mut DiskState) -> T) -> io::Result<T> {
        let mut state = self.0.lock().expect("no test panics inside");
        state.operations += 1;
        match &mut state.operations_left {
            Some(0) => return Err(io::Error::other("the machine stopped")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(act(&mut state))
    }

    /// The disk as a restarted machine finds it.
    fn after_crash(&self, unsynced_survives: bool) -> Disk {
        let state = self.0.lock().expect("no test panics inside");
        let bytes = if unsynced_survives { state.written.clone() } else { state.synced.clone() };
        let fresh = DiskState { written: bytes.clone(), synced: bytes, operations_left: None, operations: 0 };
        Disk(Arc::new(Mutex::new(fresh)))
    }

    fn stop_after(&self, operations: u64) {
        self.0.lock().expect("no test panics inside").operations_left = Some(operations);
    }

    fn operations(&self) -> u64 {
        self.0.lock().expect("no test panics inside").operations
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("no test panics inside").written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().expect("no test panics inside");
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = state.written.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.operate(|state| state.written.resize(len, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(|state| state.synced = state.written.clone())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        self.operate(|state| state.written[start..start + data.len()].copy_from_slice(data))
    }
}

fn open_on(disk: &Disk, dir: &Path) -> Result<Store, StoreError> {
    Store::with_database(Builder::new().create_with_backend(disk.clone())?, dir, None)
}

#[test]
fn a_crash_at_any_operation_never_loses_a_charge_whose_answer_could_leave() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Disk::default();
    let store = open_on(&disk, dir.path()).expect("it opens");
    commit(&store, 1, &members(&[1, 2, 3]), charge(1_000_000, 1)).expect("it commits");
    drop(store);
    let healthy = disk.after_crash(true);
    let operations = {
        let trial = healthy.after_crash(true);
        let store = open_on(&trial, dir.path()).expect("it opens");
        let before = trial.operations();
        commit(&store, 2, &members(&[1, 2, 3]), charge(2_000_000, 2)).expect("it commits");
        trial.operations() - before
    };
    assert!(operations > 2, "a commit writes and syncs");
    let mut outcomes = BTreeSet::new();
    for stop_after in 0..=operations {
        for unsynced_survives in [false, true] {
            let trial = healthy.after_crash(true);
            let store = open_on(&trial, dir.path()).expect("it opens");
            trial.stop_after(stop_after);
            let committed = commit(&store, 2, &members(&[1, 2, 3]), charge(2_000_000, 2)).is_ok();
            drop(store);
            let store = open_on(&trial.after_crash(unsynced_survives), dir.path()).expect("it opens again");
            let answered = store.answer(&Digest32([2; 32])).expect("it reads").is_some();
            let spent: BTreeSet<Rho> = [1, 2, 3u8]
                .iter()
                .map(|person| store.budget(&PersonTag([*person; 32])).expect("it reads").spent_in_lifetime())
                .collect();
            let charged = spent == BTreeSet::from([Rho::from_nano(3_000_240)]);
            let untouched = spent == BTreeSet::from([Rho::from_nano(1_000_120)]);
            assert!(charged || untouched, "all members or none, after {stop_after} operations: {spent:?}");
            assert_eq!(charged, answered, "a charge and its answer are one, after {stop_after} operations");
            assert!(!committed || charged, "what was reported as committed is there, after {stop_after} operations");
            outcomes.insert(charged);
        }
    }
    assert_eq!(outcomes, BTreeSet::from([false, true]), "the crash points cover both sides of the commit");
}

/// Charges for one attempt at an order's filter.
fn attempt(store: &Store, order: u8, attempt: u64) -> Result<(), StoreError> {
    store.commit_answer(
        &AnswerRecord {
            order: Digest32([order; 32]),
            charge: charge(1_000_000, 5),
            also: &[],
            members: &members(&[1, 2]),
            exact: ExactAnswer::default(),
            question: Digest32([0x77; 32]),
            budget_exclusions: BTreeSet::new(),
            use_record: UseRecord { order: vec![order; 32].into(), ..UseRecord::default() },
            outcome: Outcome::Attempt(attempt),
        },
        &NetworkParameters::standard(),
    )
}

#[test]
fn no_attempt_is_made_twice_and_all_attempts_at_an_order_are_charged_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let order = Digest32([1; 32]);
    {
        let store = Store::open(dir.path()).expect("it opens");
        assert_eq!(store.next_attempt(&order).expect("it reads"), 1);
        attempt(&store, 1, 1).expect("the first");
        attempt(&store, 1, 4).expect("another keyholder had made more");
    }
    // The process was killed in the middle: the attempt is not made again.
    let store = Store::open(dir.path()).expect("it opens");
    for used in [1, 3, 4] {
        assert!(matches!(attempt(&store, 1, used), Err(StoreError::EvaluationUsed(number)) if number == used));
    }
    assert_eq!(store.next_attempt(&order).expect("it reads"), 5);
    attempt(&store, 1, 5).expect("the next");
    let budget = store.budget(&PersonTag([1; 32])).expect("it reads");
    assert_eq!(budget.spent_in_lifetime(), Rho::from_nano(1_000_120));
    assert_eq!(store.uses(&ChargeName([5; 32])).expect("it reads").len(), 1);
    assert!(store.answer(&order).expect("it reads").is_none());
}
