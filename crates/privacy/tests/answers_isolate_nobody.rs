//! Exact answers, in any number and over any batches and versions, set no small group of people apart.

use locus_privacy::{
    ExactCohort, ExactGroup, ExactMember, NetworkParameterValues, NetworkParameters, PrivacyError, Rho,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A person of the tests.
type Person = u32;
/// People and the sealed batch of the dataset that speaks for each.
type Cohort = BTreeMap<Person, u64>;

const BATCH: u32 = 1300;

/// The history of exact answers, kept as its owner keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
struct History {
    groups: BTreeMap<Person, ExactGroup>,
    sizes: BTreeMap<ExactGroup, u32>,
}

impl History {
    fn cohort(&self, cohort: &Cohort) -> ExactCohort {
        let member =
            |(person, batch): (&Person, &u64)| ExactMember { batch: *batch, group: self.groups.get(person).copied() };
        ExactCohort::try_new(cohort.iter().map(member).collect(), self.sizes.clone()).expect("a sound history")
    }

    fn admits(&self, cohort: &Cohort) -> Result<(), PrivacyError> {
        self.cohort(cohort).admits(&NetworkParameters::standard())
    }

    fn answer(&mut self, cohort: &Cohort, parameters: &NetworkParameters) -> Result<(), PrivacyError> {
        let mut last_numbers = BTreeMap::new();
        for group in self.sizes.keys() {
            last_numbers.insert(group.batch, group.number);
        }
        let refined = self.cohort(cohort).refine(&last_numbers, parameters)?;
        self.groups.extend(cohort.keys().copied().zip(refined.groups));
        self.sizes.extend(refined.sizes);
        Ok(())
    }

    fn after(answers: &[Cohort]) -> Self {
        let mut history = Self::default();
        for cohort in answers {
            history.answer(cohort, &NetworkParameters::standard()).expect("admitted");
        }
        history
    }
}

fn of_batch(batch: u64, people: impl IntoIterator<Item = Person>) -> Cohort {
    people.into_iter().map(|person| (person, batch)).collect()
}

/// Batch 1 without these.
fn without(removed: impl IntoIterator<Item = Person>) -> Cohort {
    let mut cohort = of_batch(1, 0..BATCH);
    for person in removed {
        cohort.remove(&person);
    }
    cohort
}

fn isolates(outcome: Result<(), PrivacyError>) -> Option<u32> {
    match outcome {
        Err(PrivacyError::ExactIsolates { group, group_min: 100 }) => Some(group),
        Ok(()) => None,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_first_answer_needs_a_thousand_members_of_every_batch() {
    let nothing = History::default();
    assert_eq!(nothing.admits(&without(0..300)), Ok(()));
    let too_few = Err(PrivacyError::ExactTooFew { members: 999, members_min: 1000 });
    assert_eq!(nothing.admits(&without(0..301)), too_few);
    let mut two = without([]);
    two.extend(of_batch(2, 5_000..5_999));
    assert_eq!(nothing.admits(&two), too_few);
}

#[test]
fn the_same_people_are_answered_again_also_from_another_batch() {
    let first = without(0..7);
    let history = History::after(std::slice::from_ref(&first));
    assert_eq!(history.admits(&first), Ok(()));
    assert_eq!(history.admits(&of_batch(2, first.keys().copied())), Ok(()), "a new version of everybody");
}

#[test]
fn a_changed_batch_is_answered_only_after_a_hundred_changes() {
    let history = History::after(&[without([])]);
    for lost in [1, 99] {
        assert_eq!(isolates(history.admits(&without(0..lost))), Some(lost));
    }
    assert_eq!(isolates(history.admits(&without(0..100))), None);
    // The same for members who came in.
    assert_eq!(isolates(History::after(&[without(0..99)]).admits(&without([]))), Some(99));
    assert_eq!(isolates(History::after(&[without(0..100)]).admits(&without([]))), None);
}

#[test]
fn a_detour_over_a_third_set_isolates_nobody() {
    // Each set differs from the one before by at least 100 members, yet everyone minus the third is
    // member 100 alone.
    let (everyone, second, third) = (without([]), without(0..100), without([100]));
    assert_eq!(isolates(History::after(std::slice::from_ref(&everyone)).admits(&third)), Some(1));
    assert_eq!(isolates(History::after(&[everyone, second]).admits(&third)), Some(1));
}

#[test]
fn members_swapped_one_for_one_are_noticed() {
    let swapped = without((0..149).chain([200]));
    assert_eq!(isolates(History::after(&[without(0..150)]).admits(&swapped)), Some(1));
}

#[test]
fn a_refused_answer_leaves_no_trace() {
    let mut history = History::after(&[without([])]);
    let before = history.clone();
    assert!(history.answer(&without([3]), &NetworkParameters::standard()).is_err());
    assert_eq!(history, before);
}

/// Allele count of a person at some variant: what an exact answer sums.
fn genotype(person: Person) -> u64 {
    u64::from(person.wrapping_mul(2_654_435_761) >> 16) % 3
}

fn exact_count(cohort: &Cohort) -> u64 {
    cohort.keys().map(|person| genotype(*person)).sum()
}

#[test]
fn a_batch_registered_again_without_one_person_does_not_give_that_person_away() {
    let victim = 77;
    let first = without([]);
    let again: Cohort = of_batch(2, (0..BATCH).filter(|person| *person != victim));
    let history = History::after(std::slice::from_ref(&first));
    assert_eq!(isolates(history.admits(&again)), Some(1));
    // Somebody else in the victim's place, or a hundred strangers besides, change nothing.
    let mut replaced = again.clone();
    replaced.insert(9_000, 2);
    assert_eq!(isolates(history.admits(&replaced)), Some(1));
    let mut enlarged = again.clone();
    enlarged.extend(of_batch(2, 9_000..9_200));
    assert_eq!(isolates(history.admits(&enlarged)), Some(1));
    // Nor does a split into two batches, one of which the victim is in.
    let half = of_batch(3, (0..BATCH).filter(|person| person % 1_200 != victim));
    assert_eq!(isolates(history.admits(&half)), Some(2));

    // Control: a history that knows batches instead of people admits both, and their difference is
    // the victim's genotype.
    let (mut by_batch, mut other_batch) = (History::default(), History::default());
    by_batch.answer(&first, &NetworkParameters::standard()).expect("a first answer");
    other_batch.answer(&again, &NetworkParameters::standard()).expect("a first answer of another batch");
    assert_eq!(exact_count(&first) - exact_count(&again), genotype(victim));
}

#[test]
fn unions_of_batches_are_taken_apart_batch_by_batch_only() {
    let (one, two, three) = (of_batch(1, 0..1_100), of_batch(2, 2_000..3_100), of_batch(3, 4_000..5_100));
    let union = |parts: &[&Cohort]| -> Cohort { parts.iter().flat_map(|part| (*part).clone()).collect() };
    let history = History::after(&[union(&[&one, &two]), union(&[&two, &three])]);
    for parts in [&[&one][..], &[&two], &[&three], &[&one, &three], &[&one, &two, &three]] {
        assert_eq!(history.admits(&union(parts)), Ok(()), "whole batches");
    }
    let mut smaller = union(&[&one, &two]);
    smaller.remove(&2_500);
    assert_eq!(isolates(history.admits(&smaller)), Some(1));
    // What can be saved is: the batch that changed is left out.
    let cohort = history.cohort(&smaller);
    let excluded = cohort.exclusions(&NetworkParameters::standard());
    let left: BTreeSet<Person> =
        smaller.keys().enumerate().filter(|(place, _)| !excluded.contains(place)).map(|(_, person)| *person).collect();
    assert_eq!(left, one.keys().copied().collect());
}

#[test]
fn a_history_that_contradicts_itself_is_refused() {
    let group = ExactGroup { batch: 1, number: 1 };
    let members = vec![ExactMember { batch: 1, group: Some(group) }; 3];
    for sizes in [BTreeMap::new(), BTreeMap::from([(group, 2)])] {
        let refused = ExactCohort::try_new(members.clone(), sizes);
        assert!(matches!(refused, Err(PrivacyError::Encoding { .. })));
    }
    assert!(ExactCohort::try_new(members, BTreeMap::from([(group, 3)])).is_ok());
}

#[test]
fn groups_have_one_encoding() {
    let group = ExactGroup { batch: 0x0102_0304_0506_0708, number: 0x090a };
    assert_eq!(group.to_bytes(), [8, 7, 6, 5, 4, 3, 2, 1, 0x0a, 9]);
    assert_eq!(ExactGroup::from_bytes(group.to_bytes()), group);
}

const SMALL_CHANGE_MIN: usize = 5;
const PEOPLE: Person = 40;

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

/// Cohorts made of a few runs of people, each from one of three batches, which often fit together
/// and often do not.
fn cohorts() -> impl Strategy<Value = Vec<Cohort>> {
    let run = (0..PEOPLE, 5u32..25, 1u64..4)
        .prop_map(|(start, len, batch)| of_batch(batch, start..(start + len).min(PEOPLE)));
    let cohort = prop::collection::vec(run, 1..4).prop_map(|runs| runs.into_iter().flatten().collect());
    prop::collection::vec(cohort, 1..16)
}

proptest! {
    #[test]
    fn no_combination_of_admitted_answers_reaches_a_small_group(cohorts in cohorts()) {
        let parameters = small_network();
        let mut history = History::default();
        let mut admitted: Vec<Cohort> = Vec::new();
        for mut cohort in cohorts {
            // Half of the time as a keyholder does it: the faulty part is left out first.
            if admitted.len() % 2 == 1 {
                let excluded = history.cohort(&cohort).exclusions(&parameters);
                let mut place = 0;
                cohort.retain(|_, _| {
                    place += 1;
                    !excluded.contains(&(place - 1))
                });
                prop_assert_eq!(history.cohort(&cohort).admits(&parameters), Ok(()));
            }
            if history.answer(&cohort, &parameters).is_ok() {
                prop_assert_eq!(history.cohort(&cohort).admits(&parameters), Ok(()));
                prop_assert_eq!(history.cohort(&cohort).exclusions(&parameters), BTreeSet::new());
                admitted.push(cohort);
            }
        }
        // Independently: a linear combination of answers is constant on people with equal membership
        // in all of them, so those sets of people are what can be computed at best.
        let mut sets: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
        for person in 0..PEOPLE {
            *sets.entry(admitted.iter().map(|cohort| cohort.contains_key(&person)).collect()).or_default() += 1;
        }
        for (membership, size) in sets {
            prop_assert!(size >= SMALL_CHANGE_MIN || !membership.contains(&true), "{} in {:?}", size, membership);
        }
        let mut counted: BTreeMap<ExactGroup, u32> = BTreeMap::new();
        for group in history.groups.values() {
            *counted.entry(*group).or_default() += 1;
        }
        prop_assert_eq!(counted, history.sizes);
    }
}
