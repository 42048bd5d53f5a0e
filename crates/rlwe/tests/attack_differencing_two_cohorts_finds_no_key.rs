//! A researcher who conspires with keyholder 1 buys two answers whose cohorts differ by one person
//! and tries to read that person's key and genotypes from the bits below the counters.
//!
//! Control: the same answers without flooding, put together here from lower-level pieces, give up
//! the whole genome although the counters carry dp noise.

mod support;

use locus_genomics::Plane;
use locus_privacy::{SigmaSquared, SlotMask, Tau};
use locus_rlwe::{
    HET_SHIFT, HOM_ALT_SHIFT, Mask, NoiseInput, RING_DIMENSION, derive_noise, partial_decryption, select_released,
};
use locus_sharing::ShareIndex;
use support::{
    BLOCK, Person, all_slots, as_f64, body_sum, dp_share, low_bits, noise_key, people, refs, share_sum,
    standard_deviation, tau,
};

type Words = Box<[u64; RING_DIMENSION]>;

/// Whether the keyholder that answers for share 1 floods.
#[derive(Clone, Copy, PartialEq)]
enum Flooding {
    AsBuilt,
    LeftOut,
}

/// The share that keyholder 1 does not hold.
fn unknown_share() -> ShareIndex {
    ShareIndex::ALL[0]
}

/// d_1 over all slots of the block.
fn released_unknown_share(cohort: &[&Person], tau: &Tau, flooding: Flooding) -> Vec<u64> {
    let (slots, share) = (all_slots(), unknown_share());
    let key = noise_key(share);
    let noise = NoiseInput { noise_key: &key, tau, dp_share: Some(dp()) };
    let sum = share_sum(cohort, share, BLOCK, Plane::Calls);
    if flooding == Flooding::AsBuilt {
        let partial = partial_decryption(Mask::v1(), &sum, Plane::Calls, &slots, noise).expect("valid variance");
        return partial.values().to_vec();
    }
    let drawn = derive_noise(noise, share, Plane::Calls, &slots).expect("valid variance");
    let mut values = select_released(&slots, &Mask::v1().multiply(&sum));
    let dp = drawn.low_counter.iter().zip(&drawn.high_counter);
    for (value, (het, hom_alt)) in values[16..].iter_mut().zip(dp) {
        let both = (het.cast_unsigned() << HET_SHIFT).wrapping_add(hom_alt.cast_unsigned() << HOM_ALT_SHIFT);
        *value = value.wrapping_sub(both);
    }
    values
}

fn dp() -> SigmaSquared {
    dp_share(50)
}

/// What is left below the counters once the conspirators take off everything they know.
fn residual(cohort: &[&Person], tau: &Tau, flooding: Flooding) -> Vec<i64> {
    let mut values = body_sum(cohort, BLOCK, Plane::Calls);
    let released = released_unknown_share(cohort, tau, flooding);
    values.iter_mut().zip(&released).for_each(|(value, part)| *value = value.wrapping_sub(*part));
    for share in [ShareIndex::ALL[1], ShareIndex::ALL[2]] {
        let known = Mask::v1().multiply(&share_sum(cohort, share, BLOCK, Plane::Calls));
        values.iter_mut().zip(known.iter()).for_each(|(value, part)| *value = value.wrapping_sub(*part));
    }
    values.iter().map(|value| low_bits(*value)).collect()
}

/// Substitutes X = Y + 1 in a polynomial over F_2 (its own inverse). There X^4096 + 1 = Y^4096.
fn shift_variable(bits: &mut [bool]) {
    if bits.len() < 2 {
        return;
    }
    let (low, high) = bits.split_at_mut(bits.len() / 2);
    // X^(n/2) = (Y + 1)^(n/2) = Y^(n/2) + 1.
    low.iter_mut().zip(high.iter()).for_each(|(left, right)| *left ^= *right);
    shift_variable(low);
    shift_variable(high);
}

/// All binary s with a * s = v modulo 2, at most `2^12` of them.
fn solve_modulo_2(mask: &[u64; RING_DIMENSION], value: &[u64; RING_DIMENSION]) -> Vec<Vec<bool>> {
    let shifted = |words: &[u64; RING_DIMENSION]| {
        let mut bits: Vec<bool> = words.iter().map(|word| word & 1 == 1).collect();
        shift_variable(&mut bits);
        bits
    };
    let (divisor, dividend) = (shifted(mask), shifted(value));
    let valuation = divisor.iter().position(|bit| *bit).expect("the mask is not even");
    assert!(valuation <= 12, "too many candidates");
    let determined = RING_DIMENSION - valuation;
    let mut quotient = vec![false; RING_DIMENSION];
    for place in 0..determined {
        let known = (0..place).filter(|lower| quotient[*lower] && divisor[valuation + place - lower]).count();
        quotient[place] = dividend[valuation + place] ^ (known % 2 == 1);
    }
    (0..1usize << valuation)
        .map(|choice| {
            let mut candidate = quotient.clone();
            for free in 0..valuation {
                candidate[determined + free] = (choice >> free) & 1 == 1;
            }
            shift_variable(&mut candidate);
            candidate
        })
        .collect()
}

/// a * s for bits s, schoolbook.
fn times_mask(bits: &[bool]) -> Words {
    let mask = Mask::v1().coefficients();
    let mut product = Box::new([0u64; RING_DIMENSION]);
    for shift in bits.iter().enumerate().filter_map(|(shift, bit)| bit.then_some(shift)) {
        for place in 0..RING_DIMENSION {
            let term = mask[(place + RING_DIMENSION - shift) % RING_DIMENSION];
            product[place] =
                if place >= shift { product[place].wrapping_add(term) } else { product[place].wrapping_sub(term) };
        }
    }
    product
}

struct Loot {
    key_bits: f64,
    genotypes: f64,
}

/// The attack: encryption noise of the victim from two residuals, then a linear system modulo 2
/// for the unknown share of its key, then its genotypes.
fn attack(population: &[Person], flooding: Flooding) -> Loot {
    let cohort = refs(population);
    let victim = cohort[0];
    let with = residual(&cohort, &tau(1), flooding);
    let without = residual(&cohort[1..], &tau(2), flooding);
    let body = victim.body(BLOCK, Plane::Calls);
    let mut value = Box::new(*body.coefficients());
    for share in [ShareIndex::ALL[1], ShareIndex::ALL[2]] {
        let known = Mask::v1().multiply(&share_sum(&[victim], share, BLOCK, Plane::Calls));
        value.iter_mut().zip(known.iter()).for_each(|(left, right)| *left = left.wrapping_sub(*right));
    }
    for (left, (first, second)) in value.iter_mut().zip(with.iter().zip(&without)) {
        *left = left.wrapping_sub(first.wrapping_sub(*second).cast_unsigned());
    }
    // Now value = a * s_1 + flags, if the noise guessed was right; flags vanish modulo 2.
    let truth = share_sum(&[victim], unknown_share(), BLOCK, Plane::Calls);
    let is_flag = |rest: u64| [0, 1 << HET_SHIFT, 1 << HOM_ALT_SHIFT].contains(&rest);
    let candidates = solve_modulo_2(Mask::v1().coefficients(), &value);
    let explained = |bits: &Vec<bool>| {
        let product = times_mask(bits);
        value.iter().zip(product.iter()).filter(|(left, right)| is_flag(left.wrapping_sub(**right))).count()
    };
    let best = candidates.iter().max_by_key(|bits| explained(bits)).expect("at least one candidate");
    let product = times_mask(best);
    let right_bits = best.iter().zip(truth.coefficients()).filter(|(guess, bit)| u64::from(**guess) == **bit);
    let flags = value.iter().zip(product.iter()).map(|(left, right)| left.wrapping_sub(*right));
    let guesses = flags.skip(16).map(|flag| match flag {
        0 => Some(0),
        flag if flag == 1 << HET_SHIFT => Some(1),
        flag if flag == 1 << HOM_ALT_SHIFT => Some(2),
        _ => None,
    });
    // Missing calls carry no flag on the calls plane: they look like hom_ref.
    let codes = victim.genotypes.iter().map(|genotype| Some(genotype.code() % 3));
    let right_genotypes = guesses.zip(codes).filter(|(guess, code)| guess == code).count();
    Loot { key_bits: right_bits.count() as f64 / RING_DIMENSION as f64, genotypes: right_genotypes as f64 / 4080.0 }
}

#[test]
fn without_flooding_the_genome_is_recovered_and_with_it_nothing_is() {
    let population = people(40, 4080);
    let control = attack(&population, Flooding::LeftOut);
    assert!(control.key_bits == 1.0 && control.genotypes == 1.0, "control: {} {}", control.key_bits, control.genotypes);
    let loot = attack(&population, Flooding::AsBuilt);
    // 4,096 coin flips: the standard error is 0.8 %.
    assert!((loot.key_bits - 0.5).abs() < 0.05, "key bits {}", loot.key_bits);
    assert!(loot.genotypes < 0.01, "genotypes {}", loot.genotypes);
}

#[test]
fn the_difference_of_two_residuals_is_two_floodings_wide() {
    let population = people(20, 4080);
    let cohort = refs(&population);
    let mut differences = Vec::new();
    for label in 0..4 {
        let with = residual(&cohort, &tau(10 + 2 * label), Flooding::AsBuilt);
        let without = residual(&cohort[1..], &tau(11 + 2 * label), Flooding::AsBuilt);
        let pairs = with.iter().zip(&without).map(|(first, second)| first - second);
        differences.extend(as_f64(&pairs.collect::<Vec<_>>()));
    }
    // Keyholder 1 takes off shares 2 and 3, so each residual keeps one flooding noise of sigma 2^21
    // beside encryption noise below 2^8: sqrt(2) * 2^21, measured on 16,384 values to 0.55 %.
    let expected = 2f64.sqrt() * 2f64.powi(21);
    let measured = standard_deviation(&differences);
    assert!((measured / expected - 1.0).abs() < 0.02, "{}", measured / expected);
    // Control: without flooding the residuals differ by one person's encryption noise only.
    let with = residual(&cohort, &tau(1), Flooding::LeftOut);
    let without = residual(&cohort[1..], &tau(2), Flooding::LeftOut);
    assert!(with.iter().zip(&without).all(|(first, second)| (-8..=7).contains(&(first - second))));
}

#[test]
fn a_single_requested_slot_is_flooded_like_a_whole_block() {
    let population = people(5, 4080);
    let cohort = refs(&population);
    let slots = SlotMask::try_new([support::slot(77)]).expect("valid");
    let share = unknown_share();
    let key = noise_key(share);
    let sum = share_sum(&cohort, share, BLOCK, Plane::Calls);
    let exact = select_released(&slots, &Mask::v1().multiply(&sum));
    let mut noise = Vec::new();
    for label in 0..500 {
        let tau = tau(1000 + label);
        let input = NoiseInput { noise_key: &key, tau: &tau, dp_share: None };
        let partial = partial_decryption(Mask::v1(), &sum, Plane::Calls, &slots, input).expect("no dp noise");
        let pairs = exact.iter().zip(partial.values());
        noise.extend(pairs.map(|(product, value)| product.wrapping_sub(*value).cast_signed()));
    }
    // 8,500 values: the standard error is 0.77 %.
    let measured = standard_deviation(&as_f64(&noise)) / 2f64.powi(21);
    assert!((measured - 1.0).abs() < 0.03, "{measured}");
}
