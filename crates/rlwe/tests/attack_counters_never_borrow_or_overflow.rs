//! Noisy counters next to each other in one word: negative ones, full ones, and a million decodes.

mod support;

use locus_genomics::{Genotype, PackedGenotypes, Plane};
use locus_privacy::{SigmaSquared, SlotMask};
use locus_rlwe::{
    BlockKeys, COHORT_SIZE_MAX, CounterRange, DerivedNoise, HET_SHIFT, HOM_ALT_SHIFT, LOW_BITS_ABS_MAX, Mask,
    NoiseInput, PartialDecryption, RlweError, ShareSumBuilder, SignedCounts, combine, derive_noise, partial_decryption,
    select_released,
};
use locus_sharing::ShareIndex;
use proptest::prelude::*;
use support::{BLOCK, Person, all_slots, answer, body_sum, dp_share, noise_key, people, refs, slot, tau, truth};

/// Standard deviation of the total dp noise, and its offset ceil(7 sigma).
const SIGMA: u128 = 40;
const OFFSET: u64 = 280;

/// The dp noise of all three shares together, for het and hom_alt.
fn total_noise(label: u64, slots: &SlotMask, dp: SigmaSquared) -> (Vec<i64>, Vec<i64>) {
    let drawn = ShareIndex::ALL.map(|share| {
        let key = noise_key(share);
        let tau = tau(label);
        derive_noise(NoiseInput { noise_key: &key, tau: &tau, dp_share: Some(dp) }, share, Plane::Calls, slots)
            .expect("valid variance")
    });
    let sum = |kind: fn(&DerivedNoise) -> &Vec<i64>| {
        (0..kind(&drawn[0]).len()).map(|place| drawn.iter().map(|noise| kind(noise)[place]).sum()).collect()
    };
    (sum(|noise| &noise.low_counter), sum(|noise| &noise.high_counter))
}

fn decode(cohort: &[&Person], label: u64, slots: &SlotMask, dp: SigmaSquared) -> Vec<SignedCounts> {
    let partials = answer(cohort, BLOCK, Plane::Calls, slots, &tau(label), Some(dp));
    let sum = select_released(slots, &body_sum(cohort, BLOCK, Plane::Calls));
    let size = u32::try_from(cohort.len()).expect("small");
    combine(Plane::Calls, slots, &sum, partials.each_ref())
        .and_then(|plane| plane.decode_calls(CounterRange::try_new(size, OFFSET)?))
        .expect("decodes")
}

/// Checks that counts are plaintext plus known noise, and returns the noise.
fn check(cohort: &[&Person], label: u64) -> (Vec<i64>, Vec<i64>) {
    let (slots, dp) = (all_slots(), dp_share(SIGMA));
    let (het_noise, hom_alt_noise) = total_noise(label, &slots, dp);
    let het = truth(cohort, BLOCK, &slots, Genotype::Het);
    let hom_alt = truth(cohort, BLOCK, &slots, Genotype::HomAlt);
    for (place, counts) in decode(cohort, label, &slots, dp).iter().enumerate() {
        let expected =
            SignedCounts { het: het[place] + het_noise[place], hom_alt: hom_alt[place] + hom_alt_noise[place] };
        assert_eq!(*counts, expected, "place {place} of question {label}");
    }
    (het_noise, hom_alt_noise)
}

fn uniform(size: u32, genotype: Genotype) -> Vec<Person> {
    (0..size).map(|ordinal| Person::new(ordinal, PackedGenotypes::filled(4080, genotype))).collect()
}

#[test]
fn cohorts_of_equal_genotypes_decode_to_plaintext_plus_noise() {
    for (genotype, label) in [(Genotype::HomRef, 1), (Genotype::Het, 2), (Genotype::HomAlt, 3), (Genotype::Missing, 4)]
    {
        let population = uniform(30, genotype);
        let (het_noise, hom_alt_noise) = check(&refs(&population), label);
        assert!(het_noise.iter().any(|noise| *noise < -30) && hom_alt_noise.iter().any(|noise| *noise < -30));
    }
}

#[test]
fn decoding_without_the_offset_would_borrow_from_the_neighbour() {
    let population = uniform(30, Genotype::HomRef);
    let cohort = refs(&population);
    let (slots, dp) = (all_slots(), dp_share(SIGMA));
    let partials = answer(&cohort, BLOCK, Plane::Calls, &slots, &tau(1), Some(dp));
    let sum = select_released(&slots, &body_sum(&cohort, BLOCK, Plane::Calls));
    let plane = combine(Plane::Calls, &slots, &sum, partials.each_ref()).expect("check slots are zero");
    let (het_noise, hom_alt_noise) = total_noise(1, &slots, dp);
    let wrong = plane.values().iter().zip(&hom_alt_noise).filter(|(value, noise)| {
        let unsigned = value.wrapping_add(LOW_BITS_ABS_MAX) >> HOM_ALT_SHIFT;
        unsigned != noise.cast_unsigned() & 0x7_ffff
    });
    let negative = het_noise.iter().filter(|noise| **noise < 0).count();
    assert_eq!(wrong.count(), negative, "control: every negative het borrows one from hom_alt");
    // And decoding such an answer as an exact one is refused, not misread.
    let exact = CounterRange::try_new(30, 0).expect("fits");
    assert!(matches!(plane.decode_calls(exact), Err(RlweError::CountOutOfRange { .. })));
}

#[test]
fn a_million_noisy_counters_decode_without_an_error() {
    let population = people(40, 4080);
    let cohort = refs(&population);
    let decoded: usize = (0..250).map(|label| check(&cohort, 1000 + label).0.len()).sum();
    assert!(decoded > 1_000_000);
}

/// The three partial decryptions and the body sum of a cohort of `size` copies of one dataset:
/// the largest sums that can occur, in counters and in encryption noise.
fn copies(
    size: u32,
    genotype: Genotype,
    slots: &SlotMask,
    dp: Option<SigmaSquared>,
) -> ([PartialDecryption; 3], Vec<u64>) {
    let person = Person::new(0, PackedGenotypes::filled(4080, genotype));
    let mut sum = Box::new(*person.body(BLOCK, Plane::Calls).coefficients());
    sum.iter_mut().for_each(|value| *value = value.wrapping_mul(u64::from(size)));
    let partials = ShareIndex::ALL.map(|share| {
        let bits = BlockKeys::new(&person.context, share, person.secrets.seeds.of(share)).expand(BLOCK, Plane::Calls);
        let mut builder = ShareSumBuilder::new(share);
        (0..size).for_each(|_| builder.add(&bits).expect("within the limit"));
        let (key, tau) = (noise_key(share), tau(77));
        let noise = NoiseInput { noise_key: &key, tau: &tau, dp_share: dp };
        partial_decryption(Mask::v1(), &builder.finish(), Plane::Calls, slots, noise).expect("valid variance")
    });
    (partials, select_released(slots, &sum))
}

#[test]
fn the_largest_cohort_decodes_exactly_with_every_counter_full() {
    let slots = all_slots();
    for (genotype, expected) in [
        (Genotype::Het, SignedCounts { het: i64::from(COHORT_SIZE_MAX), hom_alt: 0 }),
        (Genotype::HomAlt, SignedCounts { het: 0, hom_alt: i64::from(COHORT_SIZE_MAX) }),
    ] {
        let (partials, sum) = copies(COHORT_SIZE_MAX, genotype, &slots, None);
        let plane = combine(Plane::Calls, &slots, &sum, partials.each_ref()).expect("check slots are zero");
        let range = CounterRange::try_new(COHORT_SIZE_MAX, 0).expect("fits");
        assert!(plane.decode_calls(range).expect("decodes").iter().all(|counts| *counts == expected));
    }
}

#[test]
fn the_largest_cohort_with_the_largest_offset_decodes_to_plaintext_plus_noise() {
    let slots = SlotMask::try_new((16..1016).map(slot)).expect("valid");
    let offset = u64::from(COHORT_SIZE_MAX) / 2 - 1;
    let dp = dp_share(u128::from(offset) / 7);
    let range = CounterRange::try_new(COHORT_SIZE_MAX, offset).expect("fits exactly");
    let (partials, sum) = copies(COHORT_SIZE_MAX, Genotype::Het, &slots, Some(dp));
    let plane = combine(Plane::Calls, &slots, &sum, partials.each_ref()).expect("check slots are zero");
    let (het_noise, hom_alt_noise) = total_noise(77, &slots, dp);
    let counts = plane.decode_calls(range).expect("decodes");
    for (count, (het, hom_alt)) in counts.iter().zip(het_noise.iter().zip(&hom_alt_noise)) {
        assert_eq!(*count, SignedCounts { het: i64::from(COHORT_SIZE_MAX) + het, hom_alt: *hom_alt });
    }
}

#[test]
fn cohorts_that_do_not_fit_a_counter_are_refused() {
    for (size, offset) in
        [(0, 0), (COHORT_SIZE_MAX + 1, 0), (COHORT_SIZE_MAX, 1 << 17), (1, 1 << 18), (100, 262_094), (100, u64::MAX)]
    {
        let refused = Err(RlweError::CounterRange { cohort_size: size, offset });
        assert_eq!(CounterRange::try_new(size, offset), refused);
    }
    assert!(CounterRange::try_new(COHORT_SIZE_MAX, 0).is_ok());
    assert!(CounterRange::try_new(COHORT_SIZE_MAX, (1 << 17) - 1).is_ok());
    assert!(CounterRange::try_new(100, 262_093).is_ok());
}

#[test]
fn exact_counts_above_the_cohort_are_refused() {
    // A cohort of three decoded as one of two: het 2 and hom_alt 1 exceed it only together.
    let genotypes = [Genotype::Het, Genotype::Het, Genotype::HomAlt];
    let population: Vec<Person> = (0u32..)
        .zip(genotypes)
        .map(|(ordinal, genotype)| Person::new(ordinal, PackedGenotypes::filled(4080, genotype)))
        .collect();
    let cohort = refs(&population);
    let slots = SlotMask::try_new([slot(20)]).expect("valid");
    let partials = answer(&cohort, BLOCK, Plane::Calls, &slots, &tau(1), None);
    let sum = select_released(&slots, &body_sum(&cohort, BLOCK, Plane::Calls));
    let plane = combine(Plane::Calls, &slots, &sum, partials.each_ref()).expect("check slots are zero");
    let decode = |size| plane.decode_calls(CounterRange::try_new(size, 0).expect("fits"));
    assert_eq!(decode(3), Ok(vec![SignedCounts { het: 2, hom_alt: 1 }]));
    assert_eq!(decode(2), Err(RlweError::CountOutOfRange { slot: 20, cohort_size: 2 }));
    // The sum has nothing between its counters.
    assert_eq!(plane.values()[0].wrapping_add(LOW_BITS_ABS_MAX) >> HET_SHIFT, 2 + (1 << 19));
}

/// Decodes one slot that holds `value`, with shares of zero.
fn decode_value(plane: Plane, value: u64, range: CounterRange) -> Result<Vec<i64>, RlweError> {
    let slots = SlotMask::try_new([slot(16)]).expect("valid");
    let zeros = [0; 8 * 17];
    let [first, second, third] =
        ShareIndex::ALL.map(|share| PartialDecryption::parse(share, plane, &slots, &zeros).expect("17 values"));
    let mut sum = vec![0; 17];
    sum[16] = value;
    let combined = combine(plane, &slots, &sum, [&first, &second, &third])?;
    match plane {
        Plane::Calls => Ok(combined.decode_calls(range)?.iter().flat_map(|count| [count.het, count.hom_alt]).collect()),
        Plane::Missing => combined.decode_missing(range),
    }
}

/// A cohort and an offset that fit a counter, and two counts within them.
fn counts_in_range() -> impl Strategy<Value = (u32, u64, i64, i64)> {
    (1..=COHORT_SIZE_MAX, 1u64..1 << 17).prop_flat_map(|(size, offset)| {
        let (lowest, highest) = (-offset.cast_signed(), i64::from(size) + offset.cast_signed());
        (Just(size), Just(offset), lowest..=highest, lowest..=highest)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_counts_and_any_noise_within_their_bounds_decode_exactly(
        (size, offset, low, high) in counts_in_range(),
        noise in -(1i64 << 25)..1 << 25,
    ) {
        let range = CounterRange::try_new(size, offset).expect("fits");
        let low_value = noise.cast_unsigned().wrapping_add(low.cast_unsigned() << HET_SHIFT);
        let both = low_value.wrapping_add(high.cast_unsigned() << HOM_ALT_SHIFT);
        prop_assert_eq!(decode_value(Plane::Calls, both, range), Ok(vec![low, high]));
        prop_assert_eq!(decode_value(Plane::Missing, low_value, range), Ok(vec![low]));
    }

    #[test]
    fn counts_just_outside_their_bounds_are_refused(size in 1..=COHORT_SIZE_MAX, offset in 1u64..1 << 16) {
        let range = CounterRange::try_new(size, offset).expect("fits");
        let refused = Err(RlweError::CountOutOfRange { slot: 16, cohort_size: size });
        for count in [-offset.cast_signed() - 1, i64::from(size) + offset.cast_signed() + 1] {
            for shift in [HET_SHIFT, HOM_ALT_SHIFT] {
                let value = count.cast_unsigned() << shift;
                prop_assert_eq!(decode_value(Plane::Calls, value, range), refused.clone());
            }
            prop_assert_eq!(decode_value(Plane::Missing, count.cast_unsigned() << HET_SHIFT, range), refused.clone());
        }
    }
}
