//! Every number of the scheme, with where it comes from. The relations among them are checked by
//! the compiler: a changed constant does not build until its derivation is changed too.

use locus_genomics::{CHECK_SLOTS, PANEL_BLOCK_SLOTS};
use locus_privacy::{FLOODING_SIGMA_LOG2, NOISE_DISTANCES, REKEYINGS_MAX};

/// Ring dimension N: coefficients of a polynomial, slots of a panel block.
///
/// With q = 2^64, a binary secret of which two of three shares are known, and uniform encryption
/// noise on 16 values, the best attack the lattice estimator finds costs 2^197 (classical core-SVP)
/// or 2^180 (quantum). N = 2048 would leave 2^76.
pub const RING_DIMENSION: usize = 4096;
/// log2 of the ciphertext modulus q; arithmetic wraps natively.
pub(crate) const MODULUS_LOG2: u32 = 64;
/// Additive shares of a secret key.
pub const SHARES: usize = 3;

/// Bits of a packed counter.
pub const COUNTER_BITS: u32 = 19;
/// Place of the het counter on the calls plane: everything below is the noise budget.
pub const HET_SHIFT: u32 = 26;
/// Place of the missing counter on the missing plane.
pub const MISSING_SHIFT: u32 = 26;
/// Place of the hom_alt counter on the calls plane.
pub const HOM_ALT_SHIFT: u32 = 45;

/// Smallest encryption noise.
pub const ENCRYPTION_NOISE_MIN: i64 = -8;
/// Largest encryption noise.
pub const ENCRYPTION_NOISE_MAX: i64 = 7;
/// Largest absolute encryption noise.
pub const ENCRYPTION_NOISE_ABS_MAX: u64 = 8;

/// Most datasets in one sum.
pub const COHORT_SIZE_MAX: u32 = 1 << 18;
/// Variance of the noise that one share's part of a re-keying adds to a slot, TUniform(3), in sixteenths: 21.5.
const REKEYING_VARIANCE_SIXTEENTHS: u64 = 344;
/// Bound on what the re-keyings of all datasets of a sum add to a slot. It is a sum of independent, strictly sub-Gaussian values
/// of mean zero and variance proxy V = 2^18 * 8 * 3 * 21.5 in all, so a slot exceeds it with probability 2 exp(-2^34 / 2 V), below 2^-90.
pub(crate) const REKEYING_SUM_ABS_MAX: u64 = 1 << 17;

/// Bound on the noise below the counters: noise x with -2^25 <= x < 2^25 never changes a counter.
pub const LOW_BITS_ABS_MAX: u64 = 1 << (HET_SHIFT - 1);
/// Total flooding noise that always fits beside the largest sum of encryption noise, in tenths of
/// its standard deviation sqrt(3) * 2^21: 8.6 sigma, exceeded with probability below 2^-56 a slot.
pub const FLOODING_TOTAL_TENTH_SIGMAS: u64 = 86;

/// Words of 64 secret bits.
pub(crate) const SECRET_WORDS: usize = RING_DIMENSION / 64;
/// Bytes of the secret bits of one share of one body.
pub(crate) const SECRET_BYTES: usize = RING_DIMENSION / 8;
/// Check slots as an array length.
pub(crate) const CHECK_SLOT_COUNT: usize = 16;

/// Everything the derivations below speak about.
#[derive(Clone, Copy)]
struct Parameters {
    ring_dimension: usize,
    modulus_log2: u32,
    shares: usize,
    check_slots: usize,
    counter_bits: u32,
    het_shift: u32,
    missing_shift: u32,
    hom_alt_shift: u32,
    encryption_noise_min: i64,
    encryption_noise_max: i64,
    encryption_noise_abs_max: u64,
    cohort_size_max: u64,
    low_bits_abs_max: u64,
    flooding_sigma_log2: u8,
    flooding_total_tenth_sigmas: u64,
    rekeyings_max: u64,
    noise_distances: [u64; REKEYINGS_MAX as usize + 1],
    rekeying_variance_sixteenths: u64,
    rekeying_sum_abs_max: u64,
}

const PARAMETERS: Parameters = Parameters {
    ring_dimension: RING_DIMENSION,
    modulus_log2: MODULUS_LOG2,
    shares: SHARES,
    check_slots: CHECK_SLOT_COUNT,
    counter_bits: COUNTER_BITS,
    het_shift: HET_SHIFT,
    missing_shift: MISSING_SHIFT,
    hom_alt_shift: HOM_ALT_SHIFT,
    encryption_noise_min: ENCRYPTION_NOISE_MIN,
    encryption_noise_max: ENCRYPTION_NOISE_MAX,
    encryption_noise_abs_max: ENCRYPTION_NOISE_ABS_MAX,
    cohort_size_max: COHORT_SIZE_MAX as u64,
    low_bits_abs_max: LOW_BITS_ABS_MAX,
    flooding_sigma_log2: FLOODING_SIGMA_LOG2,
    flooding_total_tenth_sigmas: FLOODING_TOTAL_TENTH_SIGMAS,
    rekeyings_max: REKEYINGS_MAX as u64,
    noise_distances: NOISE_DISTANCES,
    rekeying_variance_sixteenths: REKEYING_VARIANCE_SIXTEENTHS,
    rekeying_sum_abs_max: REKEYING_SUM_ABS_MAX,
};

const _: () = assert!(PARAMETERS.ring_is_the_panel_block());
const _: () = assert!(PARAMETERS.is_the_set_the_security_estimate_was_made_for());
const _: () = assert!(PARAMETERS.encryption_noise_is_one_nibble());
const _: () = assert!(PARAMETERS.counters_fill_the_word_above_the_noise());
const _: () = assert!(PARAMETERS.noise_budget_holds_and_is_used_up());
const _: () = assert!(PARAMETERS.flooding_of_one_share_hides_a_person());
const _: () = assert!(PARAMETERS.rekeying_noise_of_a_sum_is_bounded());
const _: () = assert!(PARAMETERS.flooding_hides_a_person_with_other_keys());
const _: () = assert!(SECRET_BYTES * 8 == RING_DIMENSION && SECRET_WORDS * 64 == RING_DIMENSION);

impl Parameters {
    const fn ring_is_the_panel_block(&self) -> bool {
        self.ring_dimension == PANEL_BLOCK_SLOTS as usize && self.check_slots == CHECK_SLOTS as usize
    }

    /// Another ring, modulus, number of shares or noise needs another estimate first.
    const fn is_the_set_the_security_estimate_was_made_for(&self) -> bool {
        self.ring_dimension == 4096
            && self.modulus_log2 == 64
            && self.shares == 3
            && self.encryption_noise_min == -8
            && self.encryption_noise_max == 7
            && self.flooding_sigma_log2 == 21
    }

    const fn encryption_noise_is_one_nibble(&self) -> bool {
        self.encryption_noise_max - self.encryption_noise_min + 1 == 16
            && self.encryption_noise_min.unsigned_abs() == self.encryption_noise_abs_max
            && self.encryption_noise_max.unsigned_abs() <= self.encryption_noise_abs_max
    }

    /// Noise, counter, counter, side by side up to the top bit. A counter holds the largest cohort
    /// and leaves as much again for dp noise and its offset.
    const fn counters_fill_the_word_above_the_noise(&self) -> bool {
        self.low_bits_abs_max == 1 << (self.het_shift - 1)
            && self.missing_shift == self.het_shift
            && self.hom_alt_shift == self.het_shift + self.counter_bits
            && self.hom_alt_shift + self.counter_bits == self.modulus_log2
            && self.cohort_size_max == 1 << (self.counter_bits - 1)
    }

    /// The largest sum of encryption noise and so many sigmas of flooding stay below 2^25, and one
    /// tenth of a sigma more would not.
    const fn noise_budget_holds_and_is_used_up(&self) -> bool {
        let tenths = self.flooding_total_tenth_sigmas;
        self.low_bits_abs(tenths) < self.low_bits_abs_max && self.low_bits_abs(tenths + 1) >= self.low_bits_abs_max
    }

    /// K * 8 + bound on re-keyings + ceil(tenths / 10 * sqrt(shares) * sigma).
    const fn low_bits_abs(&self, tenths: u64) -> u64 {
        let flooding_squared = (tenths * tenths * self.shares as u64) << (2 * self.flooding_sigma_log2);
        let encryption = self.cohort_size_max * self.encryption_noise_abs_max + self.rekeying_sum_abs_max;
        encryption + (flooding_squared / 100).isqrt() + 1
    }

    /// Replacing a person's encryption noise moves each slot by less than 16, so one share of
    /// flooding gives rho = 16^2 N / (2 sigma^2) = 2^-23 at most.
    const fn flooding_of_one_share_hides_a_person(&self) -> bool {
        (16 * 16 * self.ring_dimension as u64) << 23 <= 2 << (2 * self.flooding_sigma_log2)
    }

    /// Variance that so many re-keyings add to a slot of one person, in sixteenths.
    const fn variance_sixteenths_of(&self, rekeyings: u64) -> u64 {
        rekeyings * self.shares as u64 * self.rekeying_variance_sixteenths
    }

    /// bound^2 >= 124 V: 2 exp(-124 / 2) is below 2^-88. Half of it would not do.
    const fn rekeying_noise_of_a_sum_is_bounded(&self) -> bool {
        let variance = self.cohort_size_max * self.variance_sixteenths_of(self.rekeyings_max) / 16;
        let (bound, half) = (self.rekeying_sum_abs_max, self.rekeying_sum_abs_max / 2);
        bound * bound >= 124 * variance && half * half < 124 * variance
    }

    /// Replacing a person whose bodies got other keys r times changes the noise by less than 16 a slot, as above, and by independent
    /// numbers of mean square 2 V, whose squares come to more than 5/4 of their mean over 4096 slots with probability below 2^-70
    /// (Laurent and Massart, Ann. Statist. 28(5), 2000, lemma 1). Losses are charged for both together, and stay below 2^-19.
    const fn flooding_hides_a_person_with_other_keys(&self) -> bool {
        let mut rekeyings = 0;
        while rekeyings < self.noise_distances.len() {
            let squares = (2 * 5 * self.variance_sixteenths_of(rekeyings as u64)).div_ceil(16 * 4);
            let rekeyed = if squares == 0 { 0 } else { squares.isqrt() + 1 };
            let charged = self.noise_distances[rekeyings];
            let is_small =
                (charged * charged * self.ring_dimension as u64) << 19 <= 2 << (2 * self.flooding_sigma_log2);
            if charged != 16 + rekeyed || !is_small {
                return false;
            }
            rekeyings += 1;
        }
        rekeyings as u64 == self.rekeyings_max + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builds(parameters: &Parameters) -> bool {
        parameters.ring_is_the_panel_block()
            && parameters.is_the_set_the_security_estimate_was_made_for()
            && parameters.encryption_noise_is_one_nibble()
            && parameters.counters_fill_the_word_above_the_noise()
            && parameters.noise_budget_holds_and_is_used_up()
            && parameters.flooding_of_one_share_hides_a_person()
            && parameters.rekeying_noise_of_a_sum_is_bounded()
            && parameters.flooding_hides_a_person_with_other_keys()
    }

    #[test]
    fn changing_any_single_constant_fails_the_build() {
        let p = PARAMETERS;
        assert!(builds(&p));
        let changed = [
            Parameters { ring_dimension: p.ring_dimension / 2, ..p },
            Parameters { ring_dimension: p.ring_dimension * 2, ..p },
            Parameters { modulus_log2: p.modulus_log2 - 1, ..p },
            Parameters { shares: p.shares - 1, ..p },
            Parameters { shares: p.shares + 1, ..p },
            Parameters { check_slots: p.check_slots + 1, ..p },
            Parameters { counter_bits: p.counter_bits - 1, ..p },
            Parameters { counter_bits: p.counter_bits + 1, ..p },
            Parameters { het_shift: p.het_shift - 1, ..p },
            Parameters { het_shift: p.het_shift + 1, ..p },
            Parameters { missing_shift: p.missing_shift - 1, ..p },
            Parameters { missing_shift: p.missing_shift + 1, ..p },
            Parameters { hom_alt_shift: p.hom_alt_shift - 1, ..p },
            Parameters { hom_alt_shift: p.hom_alt_shift + 1, ..p },
            Parameters { encryption_noise_min: p.encryption_noise_min + 1, ..p },
            Parameters { encryption_noise_max: p.encryption_noise_max + 1, ..p },
            Parameters { encryption_noise_abs_max: p.encryption_noise_abs_max - 1, ..p },
            Parameters { encryption_noise_abs_max: p.encryption_noise_abs_max + 1, ..p },
            Parameters { cohort_size_max: p.cohort_size_max - 1, ..p },
            Parameters { cohort_size_max: p.cohort_size_max * 2, ..p },
            Parameters { low_bits_abs_max: p.low_bits_abs_max * 2, ..p },
            Parameters { low_bits_abs_max: p.low_bits_abs_max / 2, ..p },
            Parameters { flooding_sigma_log2: p.flooding_sigma_log2 - 1, ..p },
            Parameters { flooding_sigma_log2: p.flooding_sigma_log2 + 1, ..p },
            Parameters { flooding_total_tenth_sigmas: p.flooding_total_tenth_sigmas - 1, ..p },
            Parameters { flooding_total_tenth_sigmas: p.flooding_total_tenth_sigmas + 1, ..p },
            Parameters { rekeyings_max: p.rekeyings_max * 2, ..p },
            Parameters { noise_distances: p.noise_distances.map(|distance| distance - 1), ..p },
            Parameters { rekeying_variance_sixteenths: p.rekeying_variance_sixteenths * 2, ..p },
            Parameters { rekeying_sum_abs_max: p.rekeying_sum_abs_max / 2, ..p },
            Parameters { rekeying_sum_abs_max: p.rekeying_sum_abs_max * 2, ..p },
        ];
        for (place, parameters) in changed.iter().enumerate() {
            assert!(!builds(parameters), "change {place} goes unnoticed");
        }
    }
}
