use super::*;
use crate::{
    research::{
        open::verify_answer,
        scripted::{RESEARCHER_SEED, Scene, ScriptedAnswer, sealed_part},
    },
    testing,
};
use locus_cohort::{DST_SEALED_SHARE, sealed_share_associated_data};
use locus_phenotype::Selection;
use locus_privacy::Rho;
use locus_rlwe::RlweError;
use locus_sharing::{
    SharingError,
    seal::{SealBinding, SealedBox, open},
};

const ASKED: [u32; 5] = [0, 3, 4079, 4080, 4089];
const THREE: [&str; 3] = ["smoker", "sex = 'F' and not smoker", "age >= 65"];

fn check_counts(answer: &ScriptedAnswer<'_>, error: i64) {
    let (verified, opened) = answer.open(&answer.record).expect("opened");
    assert!(!verified.is_degraded() && opened.rows().is_empty());
    for counts in opened.selections() {
        let people = answer.scene.selected(&counts.selection);
        assert_eq!(counts.matched, i64::try_from(people.len()).expect("small") + error, "{}", counts.text);
        let indices: Vec<u32> = counts.rows.iter().map(|row| row.index.0).collect();
        assert_eq!(indices, ASKED);
        for row in &counts.rows {
            let [het, hom_alt, missing] = answer.scene.counts(row.index.0, &people);
            let missing_error = if answer.scene.panel.complete_calls() { 0 } else { error };
            let calls = if counts.selection.release().missing_only { [0, 0] } else { [het + error, hom_alt + error] };
            let expected = [counts.matched, calls[0], calls[1], missing + missing_error];
            assert_eq!([row.individuals, row.het, row.hom_alt, row.missing], expected, "{}", counts.text);
        }
    }
}

#[test]
fn counts_of_every_selection_equal_those_of_the_people_it_selects() {
    for complete_calls in [false, true] {
        let scene = Scene::new(300, 4090, complete_calls);
        let answer = scene.answer(&scene.filter(&THREE), &ASKED, Rho::ZERO, 0);
        check_counts(&answer, 0);
        let texts: Vec<String> = answer.opened().selections().iter().map(|counts| counts.text.clone()).collect();
        assert_eq!(texts, ["smoker", "sex = 'F' AND NOT smoker", "age >= 65"]);
    }
}

#[test]
fn noisy_counts_are_opened_as_they_are_negative_ones_too() {
    let scene = Scene::new(300, 4090, false);
    for error in [5, -40] {
        let answer = scene.answer(&scene.filter(&THREE), &ASKED, Rho::from_nano(50_000_000), error);
        check_counts(&answer, error);
    }
}

#[test]
fn bits_of_a_quantity_are_selections_of_their_own() {
    for complete_calls in [true, false] {
        let scene = Scene::new(300, 4090, complete_calls);
        let known = scene.predicate("bmi is not unknown");
        let bmi = scene.schema.find_named("bmi").expect("an attribute");
        let mut selections = vec![Selection::People(known.clone())];
        selections.extend(Selection::trait_planes(&known, bmi, &scene.schema));
        if !complete_calls {
            selections.extend(Selection::square_planes(&known, bmi, &scene.schema));
        }
        let asked = crate::research::AskedFilter::try_new(selections, scene.schema.clone()).expect("a filter");
        let answer = scene.answer(&asked, &ASKED, Rho::ZERO, 0);
        check_counts(&answer, 0);
        let opened = answer.opened();
        assert_eq!(opened.selections()[3].text, "bit 2 of bmi where bmi IS NOT UNKNOWN");
        let last = opened.selections().last().map(|counts| counts.text.as_str());
        let square = "bit 5 of the square of bmi where bmi IS NOT UNKNOWN without a call";
        assert_eq!(last == Some(square), !complete_calls, "{last:?}");
    }
}

#[test]
fn a_record_without_keys_is_verified_but_for_its_counts() {
    let scene = Scene::new(100, 30, true);
    let answer = scene.answer(&scene.filter(&["smoker"]), &[1, 2], Rho::ZERO, 0);
    let verified = verify_answer(&answer.record, &scene.panel, &testing::network()).expect("verified");
    assert_eq!(verified.filter().map(|asked| asked.filter().selections().len()), Some(1));
    assert!(!verified.is_cohort_opened());
}

/// Every bit of a sealed part is authenticated; a few in each region stand for all.
#[test]
fn a_part_with_a_flipped_bit_does_not_open() {
    let scene = Scene::new(100, 30, false);
    let answer = scene.answer(&scene.filter(&["smoker", "not smoker"]), &[1, 2], Rho::ZERO, 0);
    for (block, share) in [(0, 0), (0, 2), (1, 1)] {
        let length = answer.record.blocks[block].shares[share].sealed.len();
        for place in (0..length).step_by(37).chain([length - 1]) {
            let mut record = answer.record.clone();
            let sealed = &mut record.blocks[block].shares[share].sealed;
            let mut bytes = sealed.to_vec();
            bytes[place] ^= 1 << (place % 8);
            *sealed = bytes.into();
            assert!(answer.open(&record).is_err(), "block {block}, share {share}, byte {place}");
        }
    }
}

#[test]
fn a_filtered_answer_with_any_part_changed_does_not_open() {
    let scene = Scene::new(100, 4090, false);
    let answer = scene.answer(&scene.filter(&["smoker", "not smoker"]), &ASKED, Rho::ZERO, 0);
    assert_eq!(answer.record.blocks.len(), 4, "two selections of two blocks");
    let changes: [(&str, fn(&mut pb::AnswerRecord)); 15] = [
        ("a part of another selection", |record| record.blocks[0].shares[1] = record.blocks[2].shares[1].clone()),
        ("a part of another block", |record| record.blocks[0].shares[1] = record.blocks[1].shares[1].clone()),
        ("the selections swapped", |record| record.blocks.swap(0, 2)),
        ("the selections renumbered", |record| {
            record.blocks.swap(0, 2);
            record.blocks[0].selection = 0;
            record.blocks[2].selection = 1;
        }),
        ("keyholders swapped", |record| record.blocks[0].shares.swap(0, 1)),
        ("keyholders swapped and renumbered", |record| {
            record.blocks[0].shares.swap(0, 1);
            for (number, share) in (1..).zip(&mut record.blocks[0].shares) {
                (share.share, share.keyholder) = (number, number);
            }
        }),
        ("a part of one keyholder twice", |record| record.blocks[0].shares[1] = record.blocks[0].shares[0].clone()),
        ("a part missing", |record| drop(record.blocks[0].shares.pop())),
        ("a block missing", |record| drop(record.blocks.pop())),
        ("sums of bodies", |record| record.blocks[0].planes = vec![pb::PlaneAnswer::default()]),
        ("another tau", |record| record.blocks[3].tau = vec![9; 32].into()),
        ("no filter", |record| record.filter = None),
        ("another filter", |record| {
            let filter = record.filter.as_mut().expect("one");
            filter.selections.swap(0, 1);
        }),
        ("other attributes", |record| {
            record.summary.as_mut().expect("one").attributes_digest = vec![9; 32].into();
        }),
        ("no attributes", |record| {
            record.summary.as_mut().expect("one").attributes_digest = Default::default();
        }),
    ];
    for (what, change) in changes {
        let mut record = answer.record.clone();
        change(&mut record);
        assert!(answer.open(&record).is_err(), "{what}");
    }
}

/// The payload of a part of `answer`.
fn payload(answer: &ScriptedAnswer<'_>, block: usize, keyholder: KeyholderIndex) -> Vec<u8> {
    let key = SealingPrivateKey::from_seed(&RESEARCHER_SEED);
    let tau = &answer.plan.blocks()[block].tau;
    let associated_data = sealed_share_associated_data(&answer.order, tau, keyholder.get());
    let binding = SealBinding { info: DST_SEALED_SHARE, associated_data: &associated_data };
    let sealed = answer.record.blocks[block].shares[keyholder.position()].sealed.to_vec();
    open(&key, binding, &SealedBox::parse(sealed).expect("sealed")).expect("opens").to_vec()
}

/// `answer` with a part that its keyholder has changed and sealed again.
fn resealed(
    answer: &ScriptedAnswer<'_>,
    block: usize,
    keyholder: KeyholderIndex,
    change: impl FnOnce(&mut Vec<u8>),
) -> pb::AnswerRecord {
    let mut payload = payload(answer, block, keyholder);
    change(&mut payload);
    let mut record = answer.record.clone();
    let part = sealed_part(&answer.order, &answer.plan.blocks()[block].tau, keyholder, &payload);
    record.blocks[block].shares[keyholder.position()] = part;
    record
}

#[test]
fn keyholders_who_state_different_matched_numbers_are_caught() {
    let scene = Scene::new(100, 4090, true);
    let answer = scene.answer(&scene.filter(&["smoker", "not smoker"]), &ASKED, Rho::ZERO, 0);
    for (block, keyholder) in [(0, 0), (0, 2), (3, 1)] {
        let record = resealed(&answer, block, KeyholderIndex::ALL[keyholder], |payload| {
            let place = payload.len() - TOTAL_BYTES;
            payload[place] ^= 1;
        });
        let refused = answer.open(&record);
        let Err(ClientError::Answer(AnswerError::Matched { selection })) = refused else { panic!("{refused:?}") };
        assert_eq!(selection, answer.plan.blocks()[block].selection);
    }
}

#[test]
fn parts_of_other_lengths_and_evaluations_are_refused() {
    let scene = Scene::new(100, 30, true);
    let answer = scene.answer(&scene.filter(&["smoker", "not smoker"]), &[1, 2], Rho::ZERO, 0);
    let first = KeyholderIndex::ALL[0];
    let longer = resealed(&answer, 0, first, |payload| payload.extend([0; 8]));
    assert!(matches!(answer.open(&longer), Err(ClientError::Answer(AnswerError::Parts { block: 0 }))));
    let unmasked = resealed(&answer, 0, first, |payload| payload[3] ^= 0x80);
    assert!(matches!(answer.open(&unmasked), Err(ClientError::Rlwe(RlweError::AnswerCheckSlot { slot: 0 }))));
    let other = scene.answer(&scene.filter(&["smoker", "age >= 65"]), &[1, 2], Rho::ZERO, 0);
    let mut record = answer.record.clone();
    record.blocks[1].shares = other.record.blocks[1].shares.clone();
    assert!(matches!(answer.open(&record), Err(ClientError::Sharing(SharingError::Open))));
}
