//! Exact answers of a sealed batch, in any number, set no small group apart.

use locus_privacy::{BatchMembers, ExactHistory, NetworkParameterValues, NetworkParameters, PrivacyError, Rho};
use proptest::prelude::*;
use std::collections::BTreeMap;

const BATCH: u32 = 1300;

fn without(removed: impl IntoIterator<Item = u32>) -> BatchMembers {
    let mut members = BatchMembers::all_of(BATCH).expect("in range");
    for ordinal in removed {
        members.remove(ordinal).expect("in the batch");
    }
    members
}

fn history_after(answers: &[BatchMembers]) -> ExactHistory {
    let mut history = ExactHistory::new(BATCH).expect("in range");
    for members in answers {
        history.record(members, &NetworkParameters::standard()).expect("admitted");
    }
    history
}

fn verdict(answers: &[BatchMembers], next: &BatchMembers) -> Result<(), PrivacyError> {
    history_after(answers).admits(next, &NetworkParameters::standard())
}

#[test]
fn a_first_answer_needs_a_thousand_members() {
    assert_eq!(verdict(&[], &without(0..300)), Ok(()));
    assert_eq!(verdict(&[], &without(0..301)), Err(PrivacyError::ExactTooFew { members: 999, members_min: 1000 }));
}

#[test]
fn the_same_members_are_answered_again() {
    let members = without(0..7);
    assert_eq!(verdict(std::slice::from_ref(&members), &members), Ok(()));
}

#[test]
fn a_changed_batch_is_answered_only_after_a_hundred_changes() {
    let first = without([]);
    for lost in [1, 99] {
        assert_eq!(
            verdict(std::slice::from_ref(&first), &without(0..lost)),
            Err(PrivacyError::ExactIsolates { group: lost, group_min: 100 })
        );
    }
    assert_eq!(verdict(&[first], &without(0..100)), Ok(()));
    // The same for members who came in.
    assert!(verdict(&[without(0..99)], &without([])).is_err());
    assert_eq!(verdict(&[without(0..100)], &without([])), Ok(()));
}

#[test]
fn a_detour_over_a_third_set_isolates_nobody() {
    // Each set differs from the one before by at least 100 members, yet everyone minus the third is
    // member 100 alone.
    let everyone = without([]);
    let second = without(0..100);
    let third = without([100]);
    assert!(matches!(
        verdict(std::slice::from_ref(&everyone), &third),
        Err(PrivacyError::ExactIsolates { group: 1, .. })
    ));
    assert!(matches!(verdict(&[everyone, second], &third), Err(PrivacyError::ExactIsolates { group: 1, .. })));
}

#[test]
fn members_swapped_one_for_one_are_noticed() {
    let answers = [without(0..150)];
    let swapped = without((0..149).chain([200]));
    assert!(matches!(verdict(&answers, &swapped), Err(PrivacyError::ExactIsolates { group: 1, .. })));
}

#[test]
fn a_refused_answer_leaves_no_trace() {
    let mut history = history_after(&[without([])]);
    let before = history.clone();
    assert!(history.record(&without([3]), &NetworkParameters::standard()).is_err());
    assert_eq!(history, before);
    assert!(history.is_answered() && !ExactHistory::new(BATCH).expect("in range").is_answered());
}

#[test]
fn members_of_another_batch_are_refused() {
    let other = BatchMembers::all_of(BATCH + 1).expect("in range");
    assert_eq!(verdict(&[], &other), Err(PrivacyError::BatchMismatch { members: BATCH + 1, history: BATCH }));
    let mut members = BatchMembers::none_of(BATCH).expect("in range");
    assert_eq!(members.insert(BATCH), Err(PrivacyError::OrdinalRange { ordinal: BATCH, batch_size: BATCH }));
    for size in [0, 4097, u32::MAX] {
        assert_eq!(ExactHistory::new(size), Err(PrivacyError::BatchSize(size)));
    }
}

/// A name and the change that makes an encoding bad.
type Corruption = (&'static str, fn(&mut Vec<u8>));

#[test]
fn encodings_that_are_not_canonical_are_refused() {
    let good = history_after(&[without([]), without(0..100)]).to_bytes();
    assert!(ExactHistory::parse(&good).is_ok());
    let atoms_start = 5;
    let bad: [Corruption; 7] = [
        ("another version", |bytes| bytes[0] = 2),
        ("a batch of none", |bytes| bytes[1..5].fill(0)),
        ("a huge batch", |bytes| bytes[1..5].fill(255)),
        ("a missing byte", |bytes| bytes.truncate(bytes.len() - 1)),
        ("a byte too many", |bytes| bytes.push(0)),
        ("atoms numbered from 2", |bytes| bytes[5] = 2),
        ("a gap in the numbers", |bytes| bytes[5 + 2 * 100] = 9),
    ];
    assert_eq!(good[atoms_start], 1);
    for (name, corrupt) in bad {
        let mut bytes = good.clone();
        corrupt(&mut bytes);
        assert!(ExactHistory::parse(&bytes).is_err(), "{name}");
    }
    for length in 0..good.len() {
        assert!(ExactHistory::parse(&good[..length]).is_err(), "{length} bytes");
    }
}

const SMALL_BATCH: u32 = 40;
const SMALL_CHANGE_MIN: usize = 5;

fn small_network() -> NetworkParameters {
    NetworkParameters::try_new(NetworkParameterValues {
        cohort_size_min: 10,
        exact_batch_min: 10,
        exact_change_min: 5,
        rho_query_max: Rho::from_nano(1),
        test_network: true,
        ..NetworkParameterValues::default()
    })
    .expect("allowed on a test network")
}

/// Sets made of a few runs of ordinals, which often fit together and often do not.
fn member_sets() -> impl Strategy<Value = Vec<Vec<(u32, u32)>>> {
    let run = (0..SMALL_BATCH, 3u32..25).prop_map(|(start, len)| (start, (start + len).min(SMALL_BATCH)));
    prop::collection::vec(prop::collection::vec(run, 1..4), 1..12)
}

proptest! {
    #[test]
    fn no_combination_of_admitted_answers_reaches_a_small_group(sets in member_sets()) {
        let parameters = small_network();
        let mut history = ExactHistory::new(SMALL_BATCH).expect("in range");
        let mut admitted: Vec<Vec<bool>> = Vec::new();
        for runs in sets {
            let mut members = BatchMembers::none_of(SMALL_BATCH).expect("in range");
            let mut flags = vec![false; 40];
            for ordinal in runs.iter().flat_map(|(start, end)| *start..*end) {
                members.insert(ordinal).expect("in the batch");
                flags[usize::try_from(ordinal).expect("small")] = true;
            }
            if history.record(&members, &parameters).is_ok() {
                admitted.push(flags);
                prop_assert_eq!(history.admits(&members, &parameters), Ok(()));
            }
            prop_assert_eq!(ExactHistory::parse(&history.to_bytes()), Ok(history.clone()));
        }
        // Independently: a linear combination of answers is constant on datasets with equal membership
        // in all of them, so those groups are what can be computed at best.
        let mut groups: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
        for ordinal in 0..40 {
            *groups.entry(admitted.iter().map(|set| set[ordinal]).collect()).or_default() += 1;
        }
        for (membership, size) in groups {
            prop_assert!(size >= SMALL_CHANGE_MIN || !membership.contains(&true), "{} in {:?}", size, membership);
        }
    }
}
