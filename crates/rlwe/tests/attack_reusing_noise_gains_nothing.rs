//! A researcher asks nearly the same question again and hopes that the noise repeats.

mod support;

use locus_commitment::{Address, BodyDigest, DatasetBodyDigest, Digest32, NetworkId};
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane};
use locus_privacy::{CohortDigest, CohortEntry, PredicateBytes, Question, SigmaSquared, SlotMask, Tau};
use locus_rlwe::{DerivedNoise, HET_SHIFT, HOM_ALT_SHIFT, NoiseInput, derive_noise};
use locus_sharing::ShareIndex;
use support::{
    BLOCK, Person, all_slots, answer, as_f64, body_sum, correlation, dp_share, noise_key, people, refs, tau,
};

fn question(cohort: &[&Person], dp_share: Option<SigmaSquared>) -> Question {
    let entries = cohort.iter().map(|person| CohortEntry {
        dataset: person.context.dataset,
        version: person.context.version,
        bodies: DatasetBodyDigest::of_bodies(&[BodyDigest(Digest32(person.context.dataset.0))]),
    });
    Question {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        panel: PanelDigest([4; 32]),
        block: BLOCK,
        slots: all_slots(),
        cohort: CohortDigest::of_entries(entries.collect()).expect("distinct datasets"),
        predicate: PredicateBytes::unfiltered(),
        dp_share,
        noise_epoch: 1,
    }
}

/// The noise of all three shares.
fn noise_of(tau: &Tau, dp_share: Option<SigmaSquared>) -> Vec<DerivedNoise> {
    let draw = |share: ShareIndex| {
        let key = noise_key(share);
        derive_noise(NoiseInput { noise_key: &key, tau, dp_share }, share, Plane::Calls, &all_slots())
            .expect("valid variance")
    };
    ShareIndex::ALL.map(draw).into()
}

fn correlations(left: &Tau, left_dp: SigmaSquared, right: &Tau, right_dp: SigmaSquared) -> [f64; 3] {
    let (left, right) = (noise_of(left, Some(left_dp)), noise_of(right, Some(right_dp)));
    let kinds: [fn(&DerivedNoise) -> &Vec<i64>; 3] =
        [|noise| &noise.flooding, |noise| &noise.low_counter, |noise| &noise.high_counter];
    kinds.map(|kind| {
        let all = |noise: &[DerivedNoise]| as_f64(&noise.iter().flat_map(kind).copied().collect::<Vec<_>>());
        correlation(&all(&left), &all(&right))
    })
}

#[test]
fn the_same_question_in_another_order_gets_the_same_bytes() {
    let population = people(12, 4080);
    let cohort = refs(&population);
    let mut reversed = cohort.clone();
    reversed.reverse();
    let dp = Some(dp_share(30));
    let slots = all_slots();
    let (asked, asked_again) = (question(&cohort, dp).tau(), question(&reversed, dp).tau());
    assert_eq!(asked, asked_again);
    let first = answer(&cohort, BLOCK, Plane::Calls, &slots, &asked, dp);
    let second = answer(&reversed, BLOCK, Plane::Calls, &slots, &asked_again, dp);
    assert!(first.iter().zip(&second).all(|(left, right)| left.to_bytes() == right.to_bytes()));
}

#[test]
fn another_scale_or_another_member_means_unrelated_noise() {
    let population = people(12, 4);
    let cohort = refs(&population);
    let (narrow, wide) = (dp_share(10), dp_share(20));
    let base = question(&cohort, Some(narrow)).tau();
    let rescaled = question(&cohort, Some(wide)).tau();
    let changed = question(&cohort[1..], Some(narrow)).tau();
    let next_epoch = Question { noise_epoch: 2, ..question(&cohort, Some(narrow)) }.tau();
    // 12,240 pairs: the standard error of a correlation is 0.009.
    for (other, dp) in [(rescaled, wide), (changed, narrow), (next_epoch, narrow)] {
        for measured in correlations(&base, narrow, &other, dp) {
            assert!(measured.abs() < 0.02, "{measured}");
        }
    }
    // Control: the same name and scale draw the same noise.
    let [_, het, hom_alt] = correlations(&base, narrow, &base, narrow);
    assert!(het > 0.999 && hom_alt > 0.999, "control");
}

#[test]
fn another_panel_block_means_unrelated_noise() {
    let population = people(12, 4);
    let dp = dp_share(10);
    let first = question(&refs(&population), Some(dp));
    let second = Question { block: PanelBlockIndex(1), ..first.clone() };
    // Four standard errors of 12,240 pairs.
    for measured in correlations(&first.tau(), dp, &second.tau(), dp) {
        assert!(measured.abs() < 0.036, "{measured}");
    }
}

#[test]
fn if_two_cohorts_shared_a_name_their_difference_would_be_one_genome() {
    let population = people(8, 4080);
    let cohort = refs(&population);
    let (slots, dp) = (all_slots(), Some(dp_share(30)));
    let difference = |with_tau: &Tau, without_tau: &Tau| -> Vec<u64> {
        let mut values = body_sum(&cohort, BLOCK, Plane::Calls);
        let rest = body_sum(&cohort[1..], BLOCK, Plane::Calls);
        values.iter_mut().zip(rest.iter()).for_each(|(left, right)| *left = left.wrapping_sub(*right));
        let with = answer(&cohort, BLOCK, Plane::Calls, &slots, with_tau, dp);
        let without = answer(&cohort[1..], BLOCK, Plane::Calls, &slots, without_tau, dp);
        for (plus, minus) in with.iter().zip(&without) {
            let parts = plus.values().iter().zip(minus.values());
            values.iter_mut().zip(parts).for_each(|(value, (left, right))| {
                *value = value.wrapping_sub(*left).wrapping_add(*right);
            });
        }
        values.to_vec()
    };
    let recovered = |values: &[u64]| {
        let flags = [0, 1 << HET_SHIFT, 1 << HOM_ALT_SHIFT, 0];
        let genotypes = population[0].genotypes.iter();
        let hits = values[16..].iter().zip(genotypes).filter(|(value, genotype)| {
            let rest = value.wrapping_sub(flags[usize::from(genotype.code())]).cast_signed();
            (-8..=7).contains(&rest)
        });
        hits.count()
    };
    assert_eq!(recovered(&difference(&tau(1), &tau(1))), 4080, "control: one name for two cohorts");
    let names = [question(&cohort, dp).tau(), question(&cohort[1..], dp).tau()];
    assert!(recovered(&difference(&names[0], &names[1])) < 5);
}

#[test]
fn a_slot_mask_is_part_of_the_question() {
    let population = people(3, 4);
    let cohort = refs(&population);
    let one = SlotMask::try_new([support::slot(16)]).expect("valid");
    let base = question(&cohort, None);
    assert_ne!(Question { slots: one, ..base.clone() }.tau(), base.tau());
}
