//! Sums of many multiples of points, the bulk of a prover's work.
//!
//! Bucket method of Pippenger with signed digits. Points of a bucket are added in affine coordinates,
//! pair by pair; many pairs share one inversion, so an addition costs about 6 multiplications
//! instead of 11. The time depends on the scalars, as that of every such method.

use ark_ec::{
    AffineRepr,
    short_weierstrass::{Affine, Projective, SWCurveConfig},
};
use ark_ff::{AdditiveGroup, BigInt, Field};
use rayon::prelude::*;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bits of a scalar, and one for the carry of signed digits.
const SCALAR_BITS: usize = 255;
const LIMBS: usize = 5;
/// Additions that share an inversion, which costs as much as about a hundred multiplications: so many that it hardly
/// counts, and few enough to stay in cache.
const PAIRS_MAX: usize = 2048;

/// Scalars, ready to be taken apart into signed digits of `window` bits.
///
/// Half a digit's range is added to every digit beforehand, so that a digit is read without the
/// carry of those below it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Scalars {
    shifted: Vec<[u64; LIMBS]>,
    window: usize,
}

impl Scalars {
    pub(super) fn new(scalars: impl IndexedParallelIterator<Item = BigInt<4>>) -> Self {
        let window = (scalars.len().max(1).ilog2() as usize).saturating_sub(4).clamp(2, 16);
        let mut offset = [0u64; LIMBS];
        for digit in 0..SCALAR_BITS.div_ceil(window) {
            let bit = digit * window + window - 1;
            offset[bit / 64] |= 1 << (bit % 64);
        }
        let shift = |scalar: BigInt<4>| {
            let mut sum = offset;
            let mut carry = false;
            for (limb, part) in sum.iter_mut().zip(scalar.0.iter().chain(&[0])) {
                (*limb, carry) = limb.carrying_add(*part, carry);
            }
            sum
        };
        Self { shifted: scalars.map(shift).collect(), window }
    }

    /// The digit of one scalar in [-2^(window-1), 2^(window-1)).
    fn digit(&self, place: usize, number: usize) -> i32 {
        let limbs = &self.shifted[place];
        let bit = number * self.window;
        let (limb, shift) = (bit / 64, bit % 64);
        let mut value = limbs[limb] >> shift;
        if shift + self.window > 64 && limb + 1 < LIMBS {
            value |= limbs[limb + 1] << (64 - shift);
        }
        // At most 16 bits.
        let digit = i32::try_from(value & ((1 << self.window) - 1)).unwrap_or(0);
        digit - (1 << (self.window - 1))
    }
}

/// The sum of scalars `from`, `from + 1`, ... times `points`.
pub(super) fn multiply<P: SWCurveConfig>(points: &[Affine<P>], scalars: &Scalars, from: usize) -> Projective<P> {
    let window = scalars.window;
    let digits = SCALAR_BITS.div_ceil(window);
    let sums: Vec<Projective<P>> =
        (0..digits).into_par_iter().map(|number| one_digit(points, scalars, from, number)).collect();
    sums.iter().rev().fold(Projective::ZERO, |mut total, sum| {
        (0..window).for_each(|_| {
            total.double_in_place();
        });
        total + sum
    })
}

/// The sum of the points times one of their scalars' digits.
fn one_digit<P: SWCurveConfig>(points: &[Affine<P>], scalars: &Scalars, from: usize, number: usize) -> Projective<P> {
    let bucket_count = 1usize << (scalars.window - 1);
    let digit_of = |place: usize| {
        let digit = scalars.digit(from + place, number);
        if points[place].is_zero() { 0 } else { digit }
    };
    let mut lengths = vec![0usize; bucket_count];
    for place in 0..points.len() {
        if let Some(bucket) = bucket_of(digit_of(place)) {
            lengths[bucket] += 1;
        }
    }
    let mut next: Vec<usize> = Vec::with_capacity(bucket_count);
    let total = lengths.iter().fold(0, |start, length| {
        next.push(start);
        start + length
    });
    // Twice the places of points, and one for a negative digit, bucket after bucket. The points themselves would take nine
    // times the memory.
    let mut order = vec![0usize; total];
    for place in 0..points.len() {
        let digit = digit_of(place);
        if let Some(bucket) = bucket_of(digit) {
            order[next[bucket]] = 2 * place + usize::from(digit < 0);
            next[bucket] += 1;
        }
    }
    let point = |rank: usize| {
        let point = points[order[rank] / 2];
        if order[rank] % 2 == 1 { -point } else { point }
    };
    let mut sums = add_pairs(point, &mut lengths);
    drop(order);
    while lengths.iter().any(|length| *length > 1) {
        sums = add_pairs(|rank| sums[rank], &mut lengths);
    }
    weighted_sum(&sums, &lengths)
}

/// Digit d belongs to bucket |d| - 1; zero to none.
fn bucket_of(digit: i32) -> Option<usize> {
    (digit.unsigned_abs() as usize).checked_sub(1)
}

/// Halves the buckets, whose points lie one after the other: every two points of a bucket become their sum.
fn add_pairs<P: SWCurveConfig>(point: impl Fn(usize) -> Affine<P>, lengths: &mut [usize]) -> Vec<Affine<P>> {
    let mut sums = Vec::with_capacity(lengths.iter().map(|length| length.div_ceil(2)).sum());
    let mut pending = Pending::new();
    let mut start = 0;
    for length in lengths {
        let end = start + *length;
        for rank in (start..end).step_by(2) {
            sums.push(point(rank));
            if rank + 1 < end {
                pending.add(&mut sums, point(rank + 1));
            }
        }
        (start, *length) = (end, length.div_ceil(2));
    }
    pending.finish(&mut sums);
    sums
}

/// Additions that wait for the inversion that they share.
struct Pending<P: SWCurveConfig> {
    /// Where one summand is, and the sum will be, with the other summand.
    pairs: Vec<(usize, Affine<P>)>,
    inverses: Vec<P::BaseField>,
}

impl<P: SWCurveConfig> Pending<P> {
    fn new() -> Self {
        Self { pairs: Vec::with_capacity(PAIRS_MAX), inverses: Vec::with_capacity(PAIRS_MAX) }
    }

    /// Adds a point to the last of `sums`.
    fn add(&mut self, sums: &mut [Affine<P>], point: Affine<P>) {
        self.pairs.push((sums.len() - 1, point));
        if self.pairs.len() == PAIRS_MAX {
            self.finish(sums);
        }
    }

    fn finish(&mut self, sums: &mut [Affine<P>]) {
        self.inverses.clear();
        self.inverses.extend(self.pairs.iter().map(|(place, point)| slope_denominator(&sums[*place], point)));
        invert_all(&mut self.inverses);
        for ((place, point), inverse) in self.pairs.drain(..).zip(&self.inverses) {
            sums[place] = add_with(&sums[place], &point, inverse);
        }
    }
}

/// What the slope of the line through two points is divided by; one where there is no slope.
fn slope_denominator<P: SWCurveConfig>(left: &Affine<P>, right: &Affine<P>) -> P::BaseField {
    if left.is_zero() || right.is_zero() {
        P::BaseField::ONE
    } else if left.x != right.x {
        right.x - left.x
    } else if left.y == right.y {
        // The groups have odd order: no point has y = 0.
        left.y.double()
    } else {
        P::BaseField::ONE
    }
}

/// The sum of two points, given the inverse of their slope's denominator.
fn add_with<P: SWCurveConfig>(left: &Affine<P>, right: &Affine<P>, inverse: &P::BaseField) -> Affine<P> {
    if left.is_zero() {
        return *right;
    }
    if right.is_zero() {
        return *left;
    }
    let slope = if left.x != right.x {
        (right.y - left.y) * inverse
    } else if left.y == right.y {
        let square = left.x.square();
        (square.double() + square + P::COEFF_A) * inverse
    } else {
        return Affine::zero();
    };
    let x = slope.square() - left.x - right.x;
    let y = slope * (left.x - x) - left.y;
    Affine::new_unchecked(x, y)
}

/// Montgomery's trick: one inversion for all. None of the values is zero.
fn invert_all<F: Field>(values: &mut [F]) {
    let mut products = Vec::with_capacity(values.len());
    let mut product = F::ONE;
    for value in values.iter() {
        products.push(product);
        product *= value;
    }
    let mut inverse = product.inverse().unwrap_or(F::ZERO);
    for (value, before) in values.iter_mut().zip(products).rev() {
        let next = inverse * *value;
        *value = inverse * before;
        inverse = next;
    }
}

/// The sum of the buckets' points, each times the bucket's number plus one.
fn weighted_sum<P: SWCurveConfig>(points: &[Affine<P>], lengths: &[usize]) -> Projective<P> {
    let mut remaining = points.iter().rev();
    let (mut running, mut total) = (Projective::<P>::ZERO, Projective::<P>::ZERO);
    for length in lengths.iter().rev() {
        if *length == 1
            && let Some(point) = remaining.next()
        {
            running += point;
        }
        total += running;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Numbers;
    use ark_bn254::{Fr, G1Affine, G1Projective, G2Projective, g1, g2};
    use ark_ec::{CurveGroup, PrimeGroup, VariableBaseMSM};
    use ark_ff::PrimeField;

    fn check<P: SWCurveConfig<ScalarField = Fr>>(points: &[Affine<P>], values: &[Fr]) {
        let integers: Vec<BigInt<4>> = values.iter().map(|value| value.into_bigint()).collect();
        let scalars = Scalars::new(integers.par_iter().copied());
        assert_eq!(multiply(points, &scalars, 0), Projective::<P>::msm_bigint(points, &integers));
        let half = points.len() / 2;
        let expected = Projective::<P>::msm_bigint(&points[half..], &integers[half..]);
        assert_eq!(multiply(&points[half..], &scalars, half), expected);
    }

    #[test]
    fn sums_equal_those_of_another_implementation_for_every_kind_of_scalar() {
        let mut numbers = Numbers::new("msm");
        for count in [1, 2, 3, 33, 700, 3000] {
            let points: Vec<G1Projective> = (0..count).map(|_| G1Projective::generator() * numbers.field()).collect();
            let points = G1Projective::normalize_batch(&points);
            let kinds: [&mut dyn FnMut(&mut Numbers) -> Fr; 5] = [
                &mut |numbers| numbers.field(),
                &mut |numbers| Fr::from(numbers.next() & 1),
                &mut |numbers| -Fr::from(numbers.next() & 0xff),
                &mut |_| -Fr::ONE,
                &mut |_| Fr::ZERO,
            ];
            for kind in kinds {
                let values: Vec<Fr> = (0..count).map(|_| kind(&mut numbers)).collect();
                check::<g1::Config>(&points, &values);
            }
        }
    }

    #[test]
    fn equal_opposite_and_neutral_points_meet_in_a_bucket_without_harm() {
        let mut numbers = Numbers::new("special");
        let point = (G1Projective::generator() * numbers.field()).into_affine();
        let points: Vec<G1Affine> =
            (0..500).map(|place| [point, -point, G1Affine::zero(), point, point][place % 5]).collect();
        let values: Vec<Fr> = (0..500u64).map(|place| Fr::from(1 + place / 100)).collect();
        check::<g1::Config>(&points, &values);
        check::<g1::Config>(&points[..2], &[Fr::ONE, Fr::ONE]);
        check::<g1::Config>(&[point; 300], &[-Fr::from(5u64); 300]);
    }

    #[test]
    fn sums_in_the_second_group_are_right_too() {
        let mut numbers = Numbers::new("second");
        let points: Vec<G2Projective> = (0..300).map(|_| G2Projective::generator() * numbers.field()).collect();
        let points = G2Projective::normalize_batch(&points);
        let values: Vec<Fr> = (0..300).map(|_| numbers.field()).collect();
        check::<g2::Config>(&points, &values);
    }
}
