//! From genotypes to counts: every step of an answer, for cohorts of synthetic people.

mod support;

use locus_genomics::{Genotype, PackedGenotypes, PanelBlockIndex, Plane};
use locus_privacy::{DiscreteGaussian, Rho, SigmaSquared, SlotMask};
use locus_rlwe::{
    Body, CombinedPlane, CounterRange, EncryptionNoise, Mask, PartialDecryption, RING_DIMENSION, RlweError, ShareSum,
    ShareSumBuilder, SignedCounts, combine, export_aggregate, select_released,
};
use locus_sharing::ShareIndex;
use support::{
    BLOCK, Person, all_slots, answer, as_f64, body_sum, context, mean, people, random_genotypes, refs, share_sum, slot,
    standard_deviation, tau, truth,
};
use tfhe::core_crypto::prelude::{
    CiphertextModulus, ContiguousEntityContainer, GlweCiphertext, GlweSecretKey, PlaintextCount, PlaintextList,
    PolynomialSize, decrypt_glwe_ciphertext,
};

fn combined(
    cohort: &[&Person],
    block: PanelBlockIndex,
    plane: Plane,
    slots: &SlotMask,
    partials: &[PartialDecryption; 3],
) -> Result<CombinedPlane, RlweError> {
    let sum = select_released(slots, &body_sum(cohort, block, plane));
    combine(plane, slots, &sum, partials.each_ref())
}

#[test]
fn exact_counts_of_300_people_equal_the_plaintext_counts() {
    let population = people(300, 4080 + 500);
    let cohort = refs(&population);
    let range = CounterRange::try_new(300, 0).expect("fits");
    for (block, slots) in [(0, all_slots()), (1, SlotMask::try_new((16..516).map(slot)).expect("valid"))] {
        let block = PanelBlockIndex(block);
        let calls = answer(&cohort, block, Plane::Calls, &slots, &tau(1), None);
        let counts = combined(&cohort, block, Plane::Calls, &slots, &calls)
            .and_then(|plane| plane.decode_calls(range))
            .expect("decodes");
        let het: Vec<i64> = counts.iter().map(|count| count.het).collect();
        let hom_alt: Vec<i64> = counts.iter().map(|count| count.hom_alt).collect();
        assert_eq!(het, truth(&cohort, block, &slots, Genotype::Het));
        assert_eq!(hom_alt, truth(&cohort, block, &slots, Genotype::HomAlt));
        let missing = answer(&cohort, block, Plane::Missing, &slots, &tau(1), None);
        let missing_counts = combined(&cohort, block, Plane::Missing, &slots, &missing)
            .and_then(|plane| plane.decode_missing(range))
            .expect("decodes");
        assert_eq!(missing_counts, truth(&cohort, block, &slots, Genotype::Missing));
    }
}

#[test]
fn open_tier_counts_have_the_stated_variance_and_no_bias() {
    let population = people(60, 4080);
    let cohort = refs(&population);
    let slots = all_slots();
    let rho = Rho::from_nano(50_000_000);
    let total = SigmaSquared::total(slots.count(), rho).expect("positive");
    let share = SigmaSquared::per_share(slots.count(), rho).expect("positive");
    let range = CounterRange::try_new(60, total.decode_offset().expect("in range")).expect("fits");
    let partials = answer(&cohort, BLOCK, Plane::Calls, &slots, &tau(2), Some(share));
    let counts = combined(&cohort, BLOCK, Plane::Calls, &slots, &partials)
        .and_then(|plane| plane.decode_calls(range))
        .expect("decodes");
    let sigma = 285.657; // sqrt(4080 / 0.05)
    let het = counts.iter().map(|count| count.het).zip(truth(&cohort, BLOCK, &slots, Genotype::Het));
    let hom_alt = counts.iter().map(|count| count.hom_alt).zip(truth(&cohort, BLOCK, &slots, Genotype::HomAlt));
    for errors in [
        het.map(|(noisy, exact)| noisy - exact).collect(),
        hom_alt.map(|(noisy, exact)| noisy - exact).collect::<Vec<_>>(),
    ] {
        let errors = as_f64(&errors);
        // Standard errors over 4,080 draws: 1.1 % of sigma for the deviation, 1.6 % for the mean.
        assert!((standard_deviation(&errors) / sigma - 1.0).abs() < 0.04, "{}", standard_deviation(&errors));
        assert!(mean(&errors).abs() < 4.0 * sigma / 4080f64.sqrt(), "{}", mean(&errors));
    }
}

#[test]
fn each_person_alone_in_a_slot_is_counted_exactly_once() {
    // Person i carries only variant i, so a count other than one shows a lost or doubled dataset.
    let population: Vec<Person> = (0..100u32)
        .map(|ordinal| {
            let mut genotypes = PackedGenotypes::filled(4080, Genotype::HomRef);
            assert!(genotypes.set(usize::try_from(ordinal).expect("small"), Genotype::Het));
            Person::new(ordinal, genotypes)
        })
        .collect();
    let cohort = refs(&population);
    let slots = SlotMask::try_new((16..116).map(slot)).expect("valid");
    let partials = answer(&cohort, BLOCK, Plane::Calls, &slots, &tau(3), None);
    let counts = combined(&cohort, BLOCK, Plane::Calls, &slots, &partials)
        .and_then(|plane| plane.decode_calls(CounterRange::try_new(100, 0)?))
        .expect("decodes");
    assert!(counts.iter().all(|count| *count == SignedCounts { het: 1, hom_alt: 0 }));
}

#[test]
fn share_sums_of_two_ranges_merge_into_the_sum_of_the_cohort() {
    let population = people(70, 4);
    let cohort = refs(&population);
    for share in ShareIndex::ALL {
        let whole = share_sum(&cohort, share, BLOCK, Plane::Calls);
        let mut merged = share_sum(&cohort[..33], share, BLOCK, Plane::Calls);
        merged.merge(&share_sum(&cohort[33..], share, BLOCK, Plane::Calls)).expect("same share");
        assert_eq!((merged.count(), merged.share()), (70, share));
        assert!(Mask::v1().multiply(&merged) == Mask::v1().multiply(&whole));
    }
    let mut first = share_sum(&cohort, ShareIndex::ALL[0], BLOCK, Plane::Calls);
    let second = share_sum(&cohort, ShareIndex::ALL[1], BLOCK, Plane::Calls);
    let mismatch = RlweError::ShareMismatch { expected: ShareIndex::ALL[0], found: ShareIndex::ALL[1] };
    assert_eq!(first.merge(&second), Err(mismatch));
}

#[test]
fn an_answer_whose_shares_are_of_another_cohort_is_refused_at_a_check_slot() {
    let population = people(20, 4080);
    let cohort = refs(&population);
    let slots = SlotMask::try_new([slot(16), slot(900)]).expect("valid");
    let right = answer(&cohort, BLOCK, Plane::Calls, &slots, &tau(4), None);
    let others = answer(&cohort[1..], BLOCK, Plane::Calls, &slots, &tau(4), None);
    assert!(combined(&cohort, BLOCK, Plane::Calls, &slots, &right).is_ok());
    for wrong in 0..3 {
        let mixed = [0, 1, 2].map(|share| if share == wrong { others[share].clone() } else { right[share].clone() });
        let refused = combined(&cohort, BLOCK, Plane::Calls, &slots, &mixed).err();
        assert!(matches!(refused, Some(RlweError::AnswerCheckSlot { .. })), "{refused:?}");
    }
}

#[test]
fn an_answer_needs_one_share_of_each_kind_for_the_same_question() {
    let population = people(3, 4080);
    let cohort = refs(&population);
    let slots = SlotMask::try_new([slot(16), slot(17)]).expect("valid");
    let other_slots = SlotMask::try_new([slot(16), slot(18)]).expect("valid");
    let sum = select_released(&slots, &body_sum(&cohort, BLOCK, Plane::Calls));
    let [first, second, third] = answer(&cohort, BLOCK, Plane::Calls, &slots, &tau(5), None);
    assert!(combine(Plane::Calls, &slots, &sum, [&third, &first, &second]).is_ok(), "any order");
    let twice = combine(Plane::Calls, &slots, &sum, [&first, &second, &second]).err();
    assert_eq!(twice, Some(RlweError::SharesIncomplete { missing: ShareIndex::ALL[2] }));
    let short = combine(Plane::Calls, &slots, &sum[1..], [&first, &second, &third]).err();
    assert_eq!(short, Some(RlweError::ValueCount { expected: 18, got: 17 }));
    let [_, _, of_missing] = answer(&cohort, BLOCK, Plane::Missing, &slots, &tau(5), None);
    let planes = combine(Plane::Calls, &slots, &sum, [&first, &second, &of_missing]).err();
    assert_eq!(planes, Some(RlweError::PlaneMismatch { share: ShareIndex::ALL[2], expected: Plane::Calls }));
    let [_, _, of_others] = answer(&cohort, BLOCK, Plane::Calls, &other_slots, &tau(5), None);
    let mismatch = combine(Plane::Calls, &slots, &sum, [&first, &second, &of_others]).err();
    assert_eq!(mismatch, Some(RlweError::SlotMismatch { share: ShareIndex::ALL[2] }));
    let plane = combine(Plane::Calls, &slots, &sum, [&first, &second, &third]).expect("valid");
    let range = CounterRange::try_new(3, 0).expect("fits");
    assert!(matches!(plane.decode_missing(range), Err(RlweError::PlaneUndecodable { .. })));
}

#[test]
fn partial_decryptions_survive_their_encoding() {
    let population = people(3, 4080);
    let slots = SlotMask::try_new([slot(16), slot(4095)]).expect("valid");
    let [first, ..] = answer(&refs(&population), BLOCK, Plane::Calls, &slots, &tau(6), None);
    let bytes = first.to_bytes();
    assert_eq!(bytes.len(), 8 * 18);
    let parsed = PartialDecryption::parse(first.share(), Plane::Calls, &slots, &bytes).expect("right length");
    assert_eq!(parsed.values(), first.values());
    for length in [0, 8 * 17, 8 * 18 - 1] {
        let refused = PartialDecryption::parse(first.share(), Plane::Calls, &slots, &bytes[..length]).err();
        assert!(matches!(refused, Some(RlweError::ValueCount { expected: 18, .. })));
    }
}

#[test]
fn only_released_slots_leave_a_keyholder() {
    let population = people(3, 4080);
    let slots = SlotMask::try_new([slot(700)]).expect("valid");
    let partials = answer(&refs(&population), BLOCK, Plane::Calls, &slots, &tau(7), None);
    assert!(partials.iter().all(|partial| partial.values().len() == 16 + 1));
}

#[test]
fn bodies_survive_their_encoding() {
    let body = Person::new(0, random_genotypes(1, 4080)).body(BLOCK, Plane::Calls);
    let bytes = body.to_bytes();
    assert_eq!(Body::parse(&bytes[..]), Ok(body.clone()));
    assert_eq!(body.check_slots()[..], body.coefficients()[..16]);
    assert_eq!(body.digest(), locus_commitment::BodyDigest::of_body(&bytes));
    assert!(matches!(Body::parse(&bytes[1..]), Err(RlweError::BodyLength { got: 32_767, .. })));
}

#[test]
fn tfhe_decrypts_an_exported_aggregate_under_the_summed_key() {
    let population = people(50, 4080);
    let cohort = refs(&population);
    let words = export_aggregate(Mask::v1(), &body_sum(&cohort, BLOCK, Plane::Calls));
    assert_eq!(words.len(), 2 * RING_DIMENSION);
    // The summed key exists in this test only: nobody else ever holds all three shares.
    let key = summed_key(&cohort);
    let secret_key = GlweSecretKey::from_container(key, PolynomialSize(RING_DIMENSION));
    let ciphertext =
        GlweCiphertext::from_container(words, PolynomialSize(RING_DIMENSION), CiphertextModulus::new_native());
    let mut plaintext = PlaintextList::new(0u64, PlaintextCount(RING_DIMENSION));
    decrypt_glwe_ciphertext(&secret_key, &ciphertext, &mut plaintext);
    let slots = all_slots();
    let het = truth(&cohort, BLOCK, &slots, Genotype::Het);
    let hom_alt = truth(&cohort, BLOCK, &slots, Genotype::HomAlt);
    for (value, (het, hom_alt)) in plaintext.iter().skip(16).zip(het.iter().zip(&hom_alt)) {
        let rounded = value.0.wrapping_add(1 << 25);
        assert_eq!((rounded >> 26) & 0x7_ffff, het.cast_unsigned());
        assert_eq!(rounded >> 45, hom_alt.cast_unsigned());
    }
}

/// The sum over the cohort of all three shares' secret bits.
fn summed_key(cohort: &[&Person]) -> Vec<u64> {
    let sums = ShareIndex::ALL.map(|share| share_sum(cohort, share, BLOCK, Plane::Calls));
    let mut key = vec![0u64; RING_DIMENSION];
    for sum in &sums {
        key.iter_mut().zip(sum.coefficients()).for_each(|(total, bit_count)| *total += bit_count);
    }
    key
}

#[test]
fn a_panel_without_the_block_gives_no_body() {
    let genotypes = random_genotypes(1, 4080);
    let context = context(0);
    let encryptor = locus_rlwe::DatasetEncryptor::new(&support::master(), &context, &genotypes);
    let refused = encryptor.encrypt(Mask::v1(), PanelBlockIndex(1), Plane::Calls).err();
    assert_eq!(refused, Some(RlweError::BlockOutOfRange { block: 1, blocks: 1 }));
}

#[test]
fn encryption_noise_is_uniform_on_sixteen_values() {
    let person = Person::new(0, random_genotypes(1, 4080));
    let mut tally = [0u32; 16];
    for block in 0..64 {
        let noise =
            EncryptionNoise::expand(&person.secrets.encryption_noise_seed, PanelBlockIndex(block), Plane::Calls);
        for value in noise.values() {
            tally[usize::try_from(value + 8).expect("at least -8")] += 1;
        }
    }
    let expected = f64::from(64 * 4096 / 16);
    let chi_square: f64 = tally.iter().map(|seen| (f64::from(*seen) - expected).powi(2) / expected).sum();
    // 15 degrees of freedom: 44.3 is exceeded with probability 1e-4.
    assert!(chi_square < 44.3, "{chi_square}");
}

#[test]
fn more_datasets_than_a_sum_holds_are_refused() {
    let person = Person::new(0, random_genotypes(1, 4));
    let share = ShareIndex::ALL[0];
    let bits =
        locus_rlwe::BlockKeys::new(&person.context, share, person.secrets.seeds.of(share)).expand(BLOCK, Plane::Calls);
    let mut builder = ShareSumBuilder::new(share);
    for _ in 0..1 << 18 {
        builder.add(&bits).expect("within the limit");
    }
    assert_eq!(builder.add(&bits).err(), Some(RlweError::CohortTooLarge { max: 1 << 18 }));
    let mut full = builder.finish();
    let one = ShareSum::over(share, BLOCK, Plane::Calls, [(&person.context, person.secrets.seeds.of(share))]);
    assert_eq!(full.merge(&one.expect("one dataset")), Err(RlweError::CohortTooLarge { max: 1 << 18 }));
}

#[test]
fn flooding_noise_of_a_released_share_has_sigma_2_to_the_21() {
    let population = people(2, 4080);
    let slots = all_slots();
    let mut errors = Vec::new();
    for label in 0..4 {
        let partials = answer(&refs(&population), BLOCK, Plane::Calls, &slots, &tau(100 + label), None);
        for partial in &partials {
            let sum = share_sum(&refs(&population), partial.share(), BLOCK, Plane::Calls);
            let product = select_released(&slots, &Mask::v1().multiply(&sum));
            let noise =
                product.iter().zip(partial.values()).map(|(exact, value)| exact.wrapping_sub(*value).cast_signed());
            errors.extend(as_f64(&noise.collect::<Vec<_>>()));
        }
    }
    // 49,152 draws: the standard error of the deviation is 0.32 %.
    let sigma = 2f64.powi(21);
    assert!((standard_deviation(&errors) / sigma - 1.0).abs() < 0.015, "{}", standard_deviation(&errors) / sigma);
    assert_eq!(DiscreteGaussian::flooding().sigma_squared().numerator(), 1 << 42);
}
