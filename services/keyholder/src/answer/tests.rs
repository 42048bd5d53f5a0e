//! Preparations among keyholders that restart, lag behind and lose their storage.

use super::*;
use crate::{store::UseRecord, testing::Committee};
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
        surcharge: None,
        members: &[],
        exact_people: &[],
        question: Digest32([number; 32]),
        excluded_slots: &BTreeSet::new(),
        use_record: UseRecord::default(),
        answer: &StoredAnswer::default(),
    };
    keyholder.store().commit_answer(&record, &NetworkParameters::standard()).expect("it commits");
}

/// The first step of an order at all `keyholders`.
fn prepare(keyholders: &[&Keyholder], number: u8) -> Vec<pb::Preparation> {
    let sign = |keyholder: &&Keyholder| keyholder.sign_preparation(&order(number), BTreeSet::new());
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
