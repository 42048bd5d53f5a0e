//! Keyholder 3 is lost, and another takes its place.

use super::*;
use crate::{
    keyholder::Keyholder,
    store::{
        AnswerRecord, AttributeAttempt, DatasetKey, ExactAnswer, ExactPerson, MemberCharge, Outcome, PendingEntry,
        StoredAnswer, UseRecord,
    },
    testing::{Committee, People, index},
};
use locus_commitment::{Digest32, PersonTag};
use locus_ledger::{AttributeStatement, OrderId};
use locus_privacy::{ChargeName, ChargeRequest, NetworkParameters, Rho, RhoCost, Tier};
use locus_sharing::{AttributeShares, MasterSecret, seal::SealingPrivateKey, shares_of};
use locus_wire::pb::keyholder::{AnswerCommitment, AttributeCheck, AttributeSums, Preparation};
use std::collections::BTreeSet;
use tempfile::TempDir;

/// Keys of the successor.
const SUCCESSOR: [u8; 32] = [33; 32];
const COUNT: u32 = 3;

struct Scene {
    committee: Committee,
    people: People,
    /// Keyholders 1, 2 and 3.
    keyholders: Vec<Keyholder>,
    _dirs: Vec<TempDir>,
}

impl Scene {
    async fn set() -> Self {
        let committee = Committee::deploy().await;
        let people = committee.register_people(20, COUNT).await;
        let (mut keyholders, mut dirs) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let dir = tempfile::tempdir().expect("a folder");
            let keyholder = committee.keyholder(number, dir.path()).await;
            for share in shares_of(keyholder.index()) {
                keyholder.store().put_noise_key(share.get(), &[share.get(); 32]).expect("it is kept");
            }
            people.attest_at(&keyholder);
            keyholders.push(keyholder);
            dirs.push(dir);
        }
        Self { committee, people, keyholders, _dirs: dirs }
    }

    fn store(&self, number: u8) -> &Store {
        self.keyholders[usize::from(number - 1)].store()
    }

    fn keys(&self) -> Vec<DatasetKey> {
        self.people.contexts.iter().map(DatasetKey::of).collect()
    }

    fn header(&self, giver: u8) -> Header {
        Header {
            network: self.keyholders[0].network(),
            giver: index(giver),
            successor: index(3),
            successor_signer: account(&SUCCESSOR).address(),
        }
    }

    /// What a keyholder gives for the successor of keyholder 3.
    fn given(&self, giver: u8) -> Vec<u8> {
        let keyholder = &self.keyholders[usize::from(giver - 1)];
        let recipient = SealingPrivateKey::from_seed(&SUCCESSOR).public_key();
        let (view, network) = (keyholder.view(), keyholder.network());
        let header = self.header(giver);
        let given =
            give(keyholder.store(), listed(&view, network), &header, recipient, &account(&[giver; 32]), Vec::new());
        given.expect("it gives").0
    }

    /// Takes over into `store`.
    fn take(&self, store: &Store, files: [(u8, &[u8]); 2]) -> Result<Taken, SuccessionError> {
        let [first, second] = files.map(|(giver, file)| {
            let key = SealingPrivateKey::from_seed(&SUCCESSOR);
            let signer = account(&[giver; 32]).address();
            Ok::<_, SuccessionError>((index(giver), HandOverReader::open(file, &self.header(giver), key, signer)?))
        });
        let view = self.keyholders[0].view();
        take(store, index(3), listed(&view, self.keyholders[0].network()), [first?, second?])
    }

    fn successor(&self) -> (TempDir, Store) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("it opens");
        (dir, store)
    }
}

fn account(bytes: &[u8; 32]) -> AccountKey {
    AccountKey::from_bytes(bytes).expect("small constants are keys")
}

/// Charges `people` under a name at a keyholder, in an order of the same number.
fn charge(store: &Store, name: u8, people: &[PersonTag], tier: Tier) -> Result<(), StoreError> {
    let dp = if tier == Tier::Exact { Rho::ZERO } else { Rho::from_nano(1_000) };
    let members: Vec<MemberCharge> = people.iter().map(|person| MemberCharge { slot: 1, person: *person }).collect();
    let exact: Vec<ExactPerson> = people
        .iter()
        .filter(|_| tier == Tier::Exact)
        .map(|person| ExactPerson { batch: RegistrationId(1), person: *person })
        .collect();
    let record = AnswerRecord {
        order: Digest32([name; 32]),
        charge: ChargeRequest {
            name: ChargeName([name; 32]),
            tier,
            cost: RhoCost { dp, flooding: Rho::from_nano(120) },
            at_unix_s: 1_800_000_000,
        },
        also: &[],
        members: &members,
        exact: ExactAnswer { people: &exact, history: None },
        question: Digest32([name; 32]),
        budget_exclusions: BTreeSet::from([u64::from(name)]),
        use_record: UseRecord { order: vec![name; 32].into(), ..UseRecord::default() },
        outcome: Outcome::Answer { answer: &StoredAnswer::default(), times_prepared: 0 },
    };
    store.commit_answer(&record, &NetworkParameters::standard())
}

fn person(number: u16) -> PersonTag {
    let mut tag = [0x66; 32];
    tag[..2].copy_from_slice(&number.to_le_bytes());
    PersonTag(tag)
}

fn crowd(numbers: std::ops::Range<u16>) -> Vec<PersonTag> {
    numbers.map(person).collect()
}

#[tokio::test]
async fn a_successor_has_what_the_lost_keyholder_had() {
    let scene = Scene::set().await;
    let whom = PersonTag(scene.people.contexts[0].dataset.0);
    // By all; by 1 and 3 without 2; by 2 and 3 without 1.
    for (name, keyholders) in [(1, &[1, 2, 3][..]), (2, &[1, 3]), (3, &[2, 3])] {
        for number in keyholders {
            charge(scene.store(*number), name, &[whom], Tier::Open).expect("it charges");
        }
    }
    scene.store(1).note_peer_sequence(3, 2).expect("it writes");
    scene.store(2).note_peer_sequence(3, 40).expect("it writes");
    let (dir, store) = scene.successor();
    assert!(store.is_unused().expect("it reads"));
    let files = [scene.given(1), scene.given(2)];
    for key in scene.store(3).seeds(&scene.keys()).expect("they are there") {
        for seed in key.chunks(32) {
            let shows = |file: &Vec<u8>| file.windows(32).any(|window| window == seed);
            assert!(!files.iter().any(shows), "a file shows a seed");
        }
    }
    let taken = scene.take(&store, [(2, &files[1]), (1, &files[0])]).expect("it takes over");
    assert_eq!(taken, Taken { datasets: u64::from(COUNT), missing: 0, attributes: 0, people: 1 });

    let lost = scene.store(3);
    assert_eq!(store.seeds(&scene.keys()).expect("all"), lost.seeds(&scene.keys()).expect("all"));
    for share in shares_of(index(3)) {
        assert_eq!(store.noise_key(share.get()).expect("it reads"), lost.noise_key(share.get()).expect("it reads"));
    }
    assert_eq!(store.noise_key(3).expect("it reads"), None, "nothing of the share that it does not hold");
    assert_eq!(store.budget(&whom).expect("it reads"), lost.budget(&whom).expect("it reads"), "nothing is free again");
    assert_eq!(store.charge_sequence().expect("it reads"), 40, "nobody takes it for an old copy");
    assert_eq!(store.peer_sequences().expect("it reads"), [(1, 2), (2, 2)].into());
    for name in 1..=3 {
        let name = ChargeName([name; 32]);
        assert_eq!(store.uses(&name).expect("it reads"), lost.uses(&name).expect("it reads"));
        assert!(store.is_charged_before_succession(&name).expect("it reads"));
        assert!(!lost.is_charged_before_succession(&name).expect("it reads"), "the control: no successor");
        let exclusions = store.last_budget_exclusions(&Digest32(name.0)).expect("it reads");
        assert_eq!(exclusions, Some(BTreeSet::from([u64::from(name.0[0])])));
    }
    // Numbers of the lost keyholder's attempts cannot come again.
    let order = OrderId(Digest32([9; 32]));
    assert_eq!(store.next_attempt(&order.0).expect("it reads"), 1 << 32);
    charge(&store, 4, &[whom], Tier::Open).expect("it goes on");
    assert!(!store.is_charged_before_succession(&ChargeName([4; 32])).expect("it reads"));
    assert_eq!(store.charge_sequence().expect("it reads"), 41);
    // Commitments of others are known, and it takes over once.
    let copied = DatasetKey { dataset: DatasetId([1; 32]), version: 1 };
    let commitments =
        scene.keyholders[0].view().registration(scene.people.registration).expect("it is there").leaves[0];
    assert!(matches!(store.check_unique(copied, &commitments.commitments), Err(StoreError::Duplicate { .. })));
    drop(store);
    let again = Store::open(dir.path()).expect("it opens");
    assert!(!again.is_unused().expect("it reads"));
    assert_eq!(again.dataset_count().expect("it reads"), u64::from(COUNT));
}

#[tokio::test]
async fn a_giver_cannot_free_anybody_of_a_charge_or_lame_the_other() {
    let scene = Scene::set().await;
    let whom = PersonTag(scene.people.contexts[0].dataset.0);
    // Keyholder 1 has uses that nobody was charged for, says that all had charged, and that 2 had a longer log.
    charge(scene.store(1), 5, &[], Tier::Open).expect("it invents");
    let released = StoredAnswer {
        commitment: Some(AnswerCommitment { answer_digest: vec![5; 32].into(), ..Default::default() }),
        participants: vec![1, 2, 3],
        ..Default::default()
    };
    let order = Digest32([50; 32]);
    let prepared = Preparation::default();
    assert!(scene.store(1).put_preparation(&order, &prepared).expect("it writes"));
    assert!(scene.store(1).put_filtered_answer(&order, &prepared, &released).expect("it writes"));
    assert!(scene.store(1).mark_released(&order, &released).expect("it writes"));
    scene.store(1).note_peer_sequence(2, 1_000).expect("it writes");
    let (_dir, store) = scene.successor();
    scene.take(&store, [(1, &scene.given(1)), (2, &scene.given(2))]).expect("it takes over");
    let spent = |store: &Store| store.budget(&whom).expect("it reads").spent_in_lifetime();
    assert!(!store.is_charged_by_all(&ChargeName([5; 32])).expect("it reads"));
    assert_eq!(store.peer_sequences().expect("it reads"), [(1, 1), (2, 0)].into());
    charge(&store, 5, &[whom], Tier::Open).expect("it charges");
    assert_eq!(spent(&store), Rho::from_nano(1_120));
    assert_eq!(store.uses(&ChargeName([5; 32])).expect("it reads").len(), 1, "an order is told once");
    // Control: who made the use itself charges nothing again, and believes its own eyes about the others.
    assert!(scene.store(1).is_charged_by_all(&ChargeName([5; 32])).expect("it reads"));
    charge(scene.store(1), 5, &[whom], Tier::Open).expect("it was charged");
    assert_eq!(spent(scene.store(1)), Rho::ZERO);
}

#[tokio::test]
async fn exact_answers_of_both_givers_bind_the_successor() {
    let scene = Scene::set().await;
    for (number, name, people) in [(1, 1, 0..1_200), (2, 1, 0..1_200), (1, 2, 0..1_100), (2, 3, 100..1_200)] {
        charge(scene.store(number), name, &crowd(people), Tier::Exact).expect("it is admitted");
    }
    let (_dir, store) = scene.successor();
    scene.take(&store, [(1, &scene.given(1)), (2, &scene.given(2))]).expect("it takes over");
    // 50 people of those that only one of the two has set apart.
    for (number, people) in [(1, 50..1_200), (2, 0..1_150)] {
        assert!(charge(&store, 4, &crowd(people.clone()), Tier::Exact).is_err(), "{people:?}");
        charge(scene.store(number), 4, &crowd(people), Tier::Exact).expect_err("the giver that knows refuses too");
    }
    charge(&store, 5, &crowd(100..1_100), Tier::Exact).expect("whole groups");
    assert_ne!(store.exact_history().expect("it reads"), scene.store(1).exact_history().expect("it reads"));
    // Either of them may have invented what the other does not know, so a pair gives no exact answer any more.
    assert!(store.is_exact_doubtful().expect("it reads"));
    let scene = Scene::set().await;
    for number in [1, 2] {
        charge(scene.store(number), 1, &crowd(0..1_200), Tier::Exact).expect("it is admitted");
    }
    let (_dir, store) = scene.successor();
    scene.take(&store, [(1, &scene.given(1)), (2, &scene.given(2))]).expect("it takes over");
    assert!(!store.is_exact_doubtful().expect("it reads"), "the control: one history");
}

#[tokio::test]
async fn seeds_that_do_not_open_the_commitment_are_refused_and_nothing_is_taken() {
    let mut scene = Scene::set().await;
    let honest = [scene.given(1), scene.given(2)];
    // Keyholder 2 has seeds of its own making for one dataset.
    let secrets = scene.people.secrets.clone();
    let other = MasterSecret::from_bytes([99; 32]);
    let genotypes = locus_sharing::GenotypeDigest::of_packed(&[20]);
    scene.people.secrets[1] = locus_sharing::DatasetSecrets::derive(&other, &scene.people.contexts[1], &genotypes);
    scene.store(2).erase(RegistrationId(1), &scene.keys()).expect("it erases");
    scene.people.attest_at(&scene.keyholders[1]);
    scene.people.secrets = secrets;
    let (_dir, store) = scene.successor();
    let refused = scene.take(&store, [(1, &honest[0]), (2, &scene.given(2))]).expect_err("they are false");
    assert!(matches!(refused, SuccessionError::FalseSeeds(dataset) if dataset == scene.people.contexts[1].dataset));
    assert!(store.is_unused().expect("it reads"));
    scene.take(&store, [(1, &honest[0]), (2, &honest[1])]).expect("the control: honest files");
}

#[tokio::test]
async fn what_was_erased_or_revoked_is_not_taken() {
    let scene = Scene::set().await;
    let keys = scene.keys();
    scene.store(2).erase(RegistrationId(1), &keys[..1]).expect("it erases");
    scene.committee.revoke(&scene.people, &[1]).await;
    for keyholder in &scene.keyholders {
        keyholder.poll_chain().await.expect("the chain is there");
    }
    let (_dir, store) = scene.successor();
    let taken = scene.take(&store, [(1, &scene.given(1)), (2, &scene.given(2))]).expect("it takes over");
    assert_eq!((taken.datasets, taken.missing), (1, 1));
    for (key, is_there) in keys.iter().zip([false, false, true]) {
        assert_eq!(store.seeds(&[*key]).is_ok(), is_there);
    }
}

#[tokio::test]
async fn a_changed_cut_or_exchanged_file_is_refused() {
    let scene = Scene::set().await;
    let files = [scene.given(1), scene.given(2)];
    let (_dir, store) = scene.successor();
    let refused = |first: &[u8]| {
        let outcome = scene.take(&store, [(1, first), (2, &files[1])]);
        assert!(store.is_unused().expect("it reads"), "{outcome:?}");
        outcome.expect_err("it is refused")
    };
    let whole = &files[0];
    for place in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        refused(&changed);
        refused(&whole[..place]);
    }
    refused(&[whole.as_slice(), &[0]].concat());
    // Frames: format, header, one piece, the signature.
    let frames = frames(whole);
    assert_eq!(frames.len(), 3);
    let file = |frames: &[&[u8]]| {
        let mut bytes = b"locus-hand-over 1\n".to_vec();
        for frame in frames {
            bytes.extend(u32::try_from(frame.len()).expect("small").to_le_bytes());
            bytes.extend(*frame);
        }
        bytes
    };
    assert_eq!(&file(&frames), whole, "the control: put together again");
    assert!(matches!(refused(&file(&frames[..2])), SuccessionError::Damaged(_)), "without a signature");
    assert!(matches!(refused(&file(&[frames[0], frames[2]])), SuccessionError::NotForThis), "without the piece");
    // Another keyholder's file under this one's name, and the same keyholder twice.
    assert!(matches!(refused(&files[1]), SuccessionError::OtherHeader { giver: 2, .. }));
    let twice = scene.take(&store, [(2, &files[1]), (2, &files[1])]).expect_err("keyholder 1 is missing");
    assert!(matches!(twice, SuccessionError::Givers(2, 2)));
    scene.take(&store, [(1, whole), (2, &files[1])]).expect("the control: as they were");
}

#[tokio::test]
async fn a_file_that_another_signed_or_for_other_keys_is_refused() {
    let scene = Scene::set().await;
    let keyholder = &scene.keyholders[0];
    let (view, network) = (keyholder.view(), keyholder.network());
    let (_dir, store) = scene.successor();
    let second = scene.given(2);
    let made = |header: &Header, recipient: &[u8; 32], signer: &[u8; 32]| {
        let recipient = SealingPrivateKey::from_seed(recipient).public_key();
        let datasets = listed(&view, network);
        give(keyholder.store(), datasets, header, recipient, &account(signer), Vec::new()).expect("it gives").0
    };
    let header = scene.header(1);
    let take = |first: &[u8]| scene.take(&store, [(1, first), (2, &second)]);
    assert!(matches!(take(&made(&header, &SUCCESSOR, &[7; 32])), Err(SuccessionError::Signature)));
    assert!(matches!(take(&made(&header, &[34; 32], &[1; 32])), Err(SuccessionError::NotForThis)));
    let other = Header { successor_signer: account(&[34; 32]).address(), ..header };
    assert!(matches!(take(&made(&other, &SUCCESSOR, &[1; 32])), Err(SuccessionError::OtherHeader { .. })));
    assert!(store.is_unused().expect("it reads"));
    take(&made(&header, &SUCCESSOR, &[1; 32])).expect("the control");
}

/// What a key or value may become in the hands of a giver that lies.
fn changed(bytes: &[u8]) -> Vec<Vec<u8>> {
    let half = bytes.len() / 2;
    let mut cuts: Vec<Vec<u8>> =
        [0, 1, half, bytes.len().saturating_sub(1)].map(|end| bytes[..end.min(bytes.len())].to_vec()).into();
    cuts.push([bytes, &[0]].concat());
    cuts.push(vec![0xff; bytes.len()]);
    cuts.extend([0, half, bytes.len().saturating_sub(1)].into_iter().filter(|place| *place < bytes.len()).map(
        |place| {
            let mut flipped = bytes.to_vec();
            flipped[place] ^= 0x80;
            flipped
        },
    ));
    cuts.retain(|cut| cut != bytes);
    cuts
}

#[tokio::test]
async fn records_that_a_giver_changed_are_refused_or_taken_and_nothing_is_taken_by_half() {
    let scene = Scene::set().await;
    let whom = PersonTag(scene.people.contexts[0].dataset.0);
    for number in [1, 2] {
        charge(scene.store(number), 1, &[whom], Tier::Open).expect("it charges");
        charge(scene.store(number), 2, &crowd(0..1_200), Tier::Exact).expect("it is admitted");
        admit(&scene, number, 1);
    }
    let files = [scene.given(1), scene.given(2)];
    let key = SealingPrivateKey::from_seed(&SUCCESSOR);
    let recipient = key.public_key();
    let mut reader =
        HandOverReader::open(&files[0][..], &scene.header(1), key, account(&[1; 32]).address()).expect("it opens");
    let mut records = Vec::new();
    while let Some(record) = reader.next().expect("it reads") {
        records.push(record);
    }
    let written = |records: &[Record]| {
        let mut writer = HandOverWriter::begin(Vec::new(), &scene.header(1), recipient.clone()).expect("it begins");
        records.iter().for_each(|record| writer.push(record).expect("it goes on"));
        writer.finish(&account(&[1; 32])).expect("it is signed")
    };
    let (_dir, store) = scene.successor();
    scene.take(&store, [(1, &written(&records)), (2, &files[1])]).expect("the control: as they were");
    let mut successor = scene.successor();
    let (mut kinds, mut refused) = (BTreeSet::new(), 0);
    for place in 0..records.len() {
        // The first of every kind.
        if !kinds.insert(records[place].place().0) {
            continue;
        }
        let (kind, key, value) = (records[place].kind(), records[place].key.clone(), records[place].value.clone());
        let keys = changed(&key).into_iter().map(|key| Record::new(kind, &key, &value));
        let values = changed(&value).into_iter().map(|value| Record::new(kind, &key, &value));
        for record in keys.chain(values) {
            let mut lie = records.clone();
            lie[place] = record;
            match scene.take(&successor.1, [(1, &written(&lie)), (2, &files[1])]) {
                Ok(_) => successor = scene.successor(),
                Err(_) => {
                    assert!(successor.1.is_unused().expect("it reads"), "{kind:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(kinds.len() >= 10, "{kinds:?}");
    assert!(refused > 50, "only {refused} were refused: the changes do not reach the checks");
}

/// The frames of a file.
fn frames(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = &file[b"locus-hand-over 1\n".len()..];
    let mut frames = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (frame, later) = after.split_at(u32::from_le_bytes(*length) as usize);
        frames.push(frame);
        rest = later;
    }
    frames
}

const SCHEMA: &str = r#"{"name": "t", "version": "1", "attributes": [{"kind": "flag", "name": "smoker"}]}"#;

/// The first attempt at a revision of everybody's attributes.
fn attempt(scene: &Scene, revision: u32) -> AttributeAttempt {
    let schema = locus_phenotype::AttributeSchema::parse_json(SCHEMA).expect("a schema");
    let statement = AttributeStatement {
        registration: scene.people.registration,
        revision,
        schema: schema.digest().0,
        commitments: Digest32([8; 32]),
    };
    AttributeAttempt { statement, number: u64::from(revision) }
}

/// Makes attributes live at keyholder `number`, as an enrolment that has passed all checks.
fn admit(scene: &Scene, number: u8, revision: u32) {
    let attempt = attempt(scene, revision);
    let statement = attempt.statement;
    let entries: Vec<PendingEntry> = (0u32..)
        .zip(&scene.people.contexts)
        .zip(&scene.people.secrets)
        .map(|((ordinal, context), secrets)| {
            let (master, bits) = (&scene.people.master, [1, 0]);
            let shares = AttributeShares::new(master, context, &secrets.seeds, &statement.schema, &bits).expect("bits");
            PendingEntry { ordinal, key: DatasetKey::of(context), entry: shares.entry_for(index(number)) }
        })
        .collect();
    let store = scene.store(number);
    store.begin_attributes(&attempt, SCHEMA).expect("it begins");
    store.put_attributes(&attempt, &entries).expect("they arrive");
    store.finish_check(&attempt, &AttributeCheck::default()).expect("they are checked");
    store.finish_verification(&attempt, &AttributeSums::default()).expect("they are bits");
    store.admit_attributes(&attempt, &scene.keys()).expect("they are live");
}

#[tokio::test]
async fn attributes_that_both_givers_have_are_taken_and_others_are_sent_again() {
    let scene = Scene::set().await;
    let schema = locus_phenotype::AttributeSchema::parse_json(SCHEMA).expect("a schema").digest();
    for number in 1..=3 {
        admit(&scene, number, 1);
    }
    let registration = scene.people.registration;
    let (_dir, store) = scene.successor();
    let taken = scene.take(&store, [(1, &scene.given(1)), (2, &scene.given(2))]).expect("it takes over");
    assert_eq!(taken.attributes, u64::from(COUNT));
    assert_eq!(store.schema_json(&schema).expect("it reads").as_deref(), Some(SCHEMA));
    let commitments = |store: &Store| store.attribute_commitments(&scene.keys(), &schema).expect("it reads");
    assert_eq!(commitments(&store), commitments(scene.store(3)));
    for entry in store.attributes(&scene.keys(), &schema).expect("it reads").iter().flatten() {
        assert!(entry.sent().is_empty(), "keyholder 3 has no share 3");
    }
    let one_word = |store: &Store| store.handed_over([registration].into_iter()).expect("it reads");
    assert!(one_word(&store).is_empty(), "its shares expand from seeds that open their commitments");

    // Keyholder 2 has admitted a later revision than keyholder 1.
    admit(&scene, 2, 2);
    let (_dir, store) = scene.successor();
    let taken = scene.take(&store, [(1, &scene.given(1)), (2, &scene.given(2))]).expect("it takes over");
    assert_eq!((taken.attributes, taken.datasets), (0, u64::from(COUNT)));
    assert!(commitments(&store).iter().all(Option::is_none));
    // Randomness that the lost keyholder may have taken is not taken again.
    let used = store.begin_attributes(&attempt(&scene, 2), SCHEMA);
    assert!(matches!(used, Err(StoreError::AttemptUsed { attempt: 2, last: 2 })));
    store.begin_attributes(&attempt(&scene, 3), SCHEMA).expect("the next one");
}
