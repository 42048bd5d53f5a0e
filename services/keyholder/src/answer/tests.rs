//! Preparations among keyholders that restart, lag behind and lose their storage.

use super::*;
use crate::{store::UseRecord, testing::Committee};
use locus_ledger::RegistrationId;
use locus_privacy::{NetworkParameters, Rho, RhoCost};
use std::{fs, path::Path};

fn order(number: u8) -> OrderId {
    OrderId(Digest32([number; 32]))
}

/// Makes the charge of one answer durable.
fn charge(keyholder: &Keyholder, number: u8) {
    let charge = ChargeRequest {
        name: ChargeName([number; 32]),
        tier: Tier::Open,
        cost: RhoCost { dp: Rho::from_nano(1_000), flooding: Rho::from_nano(120) },
        at_unix_s: 1_900_000_000,
    };
    let record = AnswerRecord {
        order: order(number).0,
        charge,
        also: &[],
        members: &[],
        exact: ExactAnswer::default(),
        question: Digest32([number; 32]),
        budget_exclusions: BTreeSet::new(),
        use_record: UseRecord::default(),
        outcome: Outcome::Answer {
            answer: &StoredAnswer::default(),
            times_prepared: keyholder.store().times_prepared(&order(number).0).expect("it reads"),
        },
    };
    keyholder.store().commit_answer(&record, &NetworkParameters::standard()).expect("it commits");
}

/// The first step of an order at all `keyholders`.
fn prepare(keyholders: &[&Keyholder], number: u8) -> Vec<pb::Preparation> {
    let sign = |keyholder: &&Keyholder| keyholder.sign_preparation(&order(number), Tier::Open, BTreeSet::new(), 0);
    keyholders.iter().map(|keyholder| sign(keyholder).expect("it signs")).collect()
}

/// All steps of an order.
async fn answer(keyholders: &[&Keyholder], number: u8) {
    let preparations = prepare(keyholders, number);
    for keyholder in keyholders {
        keyholder.check_preparations(&order(number), &preparations).await.expect("they agree");
        charge(keyholder, number);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("it lists") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a file"))).expect("it copies");
    }
}

#[tokio::test]
async fn an_order_cut_off_before_others_were_answered_is_completed_with_its_old_preparations() {
    let committee = Committee::deploy().await;
    let dirs = [1, 2].map(|_| tempfile::tempdir().expect("a folder"));
    let first = committee.keyholder(1, dirs[0].path()).await;
    let second = committee.keyholder(2, dirs[1].path()).await;
    let old = prepare(&[&first, &second], 1);
    // Only the second keyholder gets as far as its charge; then everything stops.
    second.check_preparations(&order(1), &old).await.expect("they agree");
    charge(&second, 1);
    drop((first, second));

    let first = committee.keyholder(1, dirs[0].path()).await;
    let second = committee.keyholder(2, dirs[1].path()).await;
    for number in 2..=4 {
        answer(&[&first, &second], number).await;
    }
    let seen = prepare(&[&first], 5).remove(0).seen;
    assert_eq!(seen, [pb::LedgerLength { keyholder: 2, charge_sequence: 3 }]);
    let (participants, _) = first.check_preparations(&order(1), &old).await.expect("old words accuse nobody");
    assert_eq!(participants, [1, 2]);
    assert_eq!(first.store().peer_sequences().expect("it reads"), [(2, 3)].into(), "and nothing is forgotten");
}

#[tokio::test]
async fn orders_whose_steps_interleave_are_all_answered() {
    let committee = Committee::deploy().await;
    let dirs = [1, 2].map(|_| tempfile::tempdir().expect("a folder"));
    let first = committee.keyholder(1, dirs[0].path()).await;
    let second = committee.keyholder(2, dirs[1].path()).await;
    let waiting: Vec<_> = (1..=8).map(|number| (number, prepare(&[&first, &second], number))).collect();
    answer(&[&first, &second], 9).await;
    for (number, preparations) in waiting.iter().rev() {
        for keyholder in [&first, &second] {
            keyholder.check_preparations(&order(*number), preparations).await.expect("they agree");
            charge(keyholder, *number);
        }
    }
}

#[tokio::test]
async fn a_keyholder_restored_from_an_old_copy_refuses_to_answer() {
    let committee = Committee::deploy().await;
    let dirs = [1, 2].map(|_| tempfile::tempdir().expect("a folder"));
    let first = committee.keyholder(1, dirs[0].path()).await;
    // The copy is taken while nothing runs.
    drop(committee.keyholder(2, dirs[1].path()).await);
    let backup = tempfile::tempdir().expect("a folder");
    copy_folder(dirs[1].path(), backup.path());

    let second = committee.keyholder(2, dirs[1].path()).await;
    for number in 1..=3 {
        answer(&[&first, &second], number).await;
    }
    let restored = committee.keyholder(2, backup.path()).await;
    let preparations = prepare(&[&first, &restored], 4);
    let error = restored.check_preparations(&order(4), &preparations).await.expect_err("charges are lost");
    assert!(matches!(error, KeyholderError::Rollback { peer: 1, seen: 2, now: 0 }), "{error}");
    // Control: with its ledger whole the same keyholder goes on.
    let preparations = prepare(&[&first, &second], 4);
    second.check_preparations(&order(4), &preparations).await.expect("nothing was lost");
}

/// All steps of an exact answer over these people of batch 1, by keyholders of which one is absent
/// unless there are three. Fails when one of them refuses.
fn answer_exactly(keyholders: &[&Keyholder], number: u8, people: &[u16]) -> Result<(), KeyholderError> {
    let sign = |keyholder: &&Keyholder| keyholder.sign_preparation(&order(number), Tier::Exact, BTreeSet::new(), 0);
    let preparations: Vec<_> = keyholders.iter().map(|keyholder| sign(keyholder).expect("it signs")).collect();
    keyholders
        .iter()
        .try_for_each(|keyholder| commit_exactly(keyholder, number, people, agreed_history(&preparations)?))
}

fn commit_exactly(
    keyholder: &Keyholder,
    number: u8,
    people: &[u16],
    history: Option<Digest32>,
) -> Result<(), KeyholderError> {
    let person = |person: &u16| {
        let mut tag = [0x55; 32];
        tag[..2].copy_from_slice(&person.to_le_bytes());
        ExactPerson { batch: RegistrationId(1), person: PersonTag(tag) }
    };
    let people: Vec<ExactPerson> = people.iter().map(person).collect();
    let charge = ChargeRequest {
        name: ChargeName([number; 32]),
        tier: Tier::Exact,
        cost: RhoCost { dp: Rho::ZERO, flooding: Rho::from_nano(120) },
        at_unix_s: 1_900_000_000,
    };
    let record = AnswerRecord {
        order: order(number).0,
        charge,
        also: &[],
        members: &[],
        exact: ExactAnswer { people: &people, history },
        question: Digest32([number; 32]),
        budget_exclusions: BTreeSet::new(),
        use_record: UseRecord::default(),
        outcome: Outcome::Answer {
            answer: &StoredAnswer::default(),
            times_prepared: keyholder.store().times_prepared(&order(number).0).expect("it reads"),
        },
    };
    Ok(keyholder.store().commit_answer(&record, &NetworkParameters::standard())?)
}

#[tokio::test]
async fn three_exact_answers_by_three_pairs_of_keyholders_isolate_nobody() {
    let committee = Committee::deploy().await;
    let dirs: Vec<_> = (0..6).map(|_| tempfile::tempdir().expect("a folder")).collect();
    let mut keyholders = Vec::new();
    for (number, dir) in [1, 2, 3, 1, 2, 3].into_iter().zip(&dirs) {
        keyholders.push(committee.keyholder(number, dir.path()).await);
    }
    let [first, second, third, unwary_first, unwary_second, unwary_third] = &keyholders[..] else { panic!("six") };
    let union = |parts: &[std::ops::Range<u16>]| -> Vec<u16> { parts.iter().cloned().flatten().collect() };
    let (one, two) = (union(&[0..500, 500..1_000]), union(&[0..500, 1_000..1_500]));
    // The first two minus the third are twice the people 0 to 499, less person 1500: an odd person shows.
    let three = union(&[500..1_000, 1_000..1_500, 1_500..1_501]);

    // A relay tells each pair in turn that the third keyholder is down.
    answer_exactly(&[first, second], 1, &one).expect("a first answer");
    let error = answer_exactly(&[first, third], 2, &two).expect_err("keyholder 3 does not know the first answer");
    assert!(matches!(error, KeyholderError::Disagreement(_)), "{error}");
    answer_exactly(&[first, second], 3, &two).expect("these two know everything");
    answer_exactly(&[first, second], 4, &three).expect_err("one person would be apart");
    answer_exactly(&[first, second, third], 5, &three).expect_err("the first two know");
    answer_exactly(&[first, second, third], 6, &one).expect("whole groups, by all three");

    // Control: keyholders that do not compare what they know each see only two of the three answers.
    let commit = |keyholder: &Keyholder, number, people: &[u16]| commit_exactly(keyholder, number, people, None);
    for (number, people, pair) in [
        (1, &one, [unwary_first, unwary_second]),
        (2, &two, [unwary_first, unwary_third]),
        (3, &three, [unwary_second, unwary_third]),
    ] {
        for keyholder in pair {
            commit(keyholder, number, people).expect("each pair of answers is harmless");
        }
    }
}

#[tokio::test]
async fn pairs_that_agree_at_the_same_time_do_not_all_commit() {
    let committee = Committee::deploy().await;
    let dirs = [1, 2, 3].map(|_| tempfile::tempdir().expect("a folder"));
    let mut keyholders = Vec::new();
    for (number, dir) in (1..).zip(&dirs) {
        keyholders.push(committee.keyholder(number, dir.path()).await);
    }
    let histories: BTreeSet<Digest32> =
        keyholders.iter().map(|keyholder| keyholder.store().exact_history().expect("it reads")).collect();
    let history = histories.first().copied();
    assert_eq!(histories.len(), 1, "nothing was answered yet");
    let (one, two): (Vec<u16>, Vec<u16>) = ((0..1_000).collect(), (500..1_500).collect());
    commit_exactly(&keyholders[0], 1, &one, history).expect("nothing came in between");
    commit_exactly(&keyholders[1], 1, &one, history).expect("nothing came in between");
    commit_exactly(&keyholders[2], 2, &two, history).expect("nothing it knows of came in between");
    let error = commit_exactly(&keyholders[0], 2, &two, history).expect_err("the first answer did");
    assert!(matches!(error, KeyholderError::Store(crate::store::StoreError::ExactHistoryMoved)), "{error}");
    // The same people once more add nothing that anybody could miss.
    let after = keyholders[0].store().exact_history().expect("it reads");
    commit_exactly(&keyholders[0], 3, &one, Some(after)).expect("agreed on anew");
    assert_eq!(keyholders[0].store().exact_history().expect("it reads"), after);
}
