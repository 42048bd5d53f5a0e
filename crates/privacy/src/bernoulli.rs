//! Exact Bernoulli variables from uniform digits, without division and without rounding.
//!
//! A uniform real u in [0, 1) is the infinite sequence of its digits. Only as many digits are drawn
//! as a comparison needs, so every answer is that of the real number.

use crate::uniform::Digits;

/// Limbs are 64 bits.
const LIMB_BITS: u32 = 64;
/// Mask of the low limb.
const LIMB_MASK: u128 = u64::MAX as u128;

/// A fraction `numerator / denominator` in [0, 1): `numerator < denominator < 2^112`.
#[derive(Clone, Copy)]
pub(crate) struct Fraction {
    pub(crate) numerator: u128,
    pub(crate) denominator: u128,
}

/// Where a fraction x lies from the reals that start with one digit.
enum Place {
    /// All of them are below x.
    Above,
    /// All of them are at or above x.
    Below,
    /// x is inside, at this fraction (above 0) of the digit's interval.
    Inside(Fraction),
}

/// True with probability exp(-x).
///
/// Von Neumann's comparison chain (J. von Neumann, "Various techniques used in connection with
/// random digits", 1951; [[Kar16], section 3]): draw reals u1, u2, ... while
/// x > u1 > u2 > ...; if n of them satisfy the chain before it breaks, return whether n is even.
/// P(n >= k) = x^k / k!, so P(n even) is the alternating series of exp(-x).
///
/// Differs: digits that tie are not extended. Given that m reals of the chain share one interval,
/// they are independent and uniform in it, and m descending ones stay descending with one more
/// with probability 1 / (m + 1); when x is in that interval too, at fraction f, with probability
/// f / (m + 1). Deciding a tie by that probability is exact and needs no stored digits.
///
/// [Kar16]: https://arxiv.org/abs/1303.6257
#[inline]
pub(crate) fn exp_minus<D: Digits>(x: Fraction, digits: &mut D) -> bool {
    let digit = digits.next_digit();
    match place::<D>(x, digit) {
        Place::Below => true,
        Place::Above => chain_is_even(digit, None, digits),
        Place::Inside(inner) => {
            // The first real passes with probability f, which is the tie rule with m = 0.
            if is_below(inner, digits) { chain_is_even(digit, Some(inner), digits) } else { true }
        }
    }
}

/// True with probability exp(-1): the chain of [`exp_minus`] with x = 1, above every real.
#[inline]
pub(crate) fn exp_minus_one<D: Digits>(digits: &mut D) -> bool {
    let digit = digits.next_digit();
    chain_is_even(digit, None, digits)
}

/// Continues a chain of one real whose first digit is `digit`, and returns whether its final length
/// is even. `inner` is where x lies in the interval of `digit`, if it does.
#[inline]
fn chain_is_even<D: Digits>(digit: u32, inner: Option<Fraction>, digits: &mut D) -> bool {
    let mut lowest = digit;
    let mut bound = inner;
    let mut sharing_interval: u32 = 1;
    let mut length_is_even = false;
    loop {
        let next = digits.next_digit();
        if next > lowest {
            return length_is_even;
        }
        if next == lowest {
            sharing_interval += 1;
            if !tie_descends(bound, sharing_interval, digits) {
                return length_is_even;
            }
        } else {
            lowest = next;
            bound = None;
            sharing_interval = 1;
        }
        length_is_even = !length_is_even;
    }
}

/// True with probability `bound / sharing_interval`, where no bound means 1.
#[cold]
fn tie_descends<D: Digits>(bound: Option<Fraction>, sharing_interval: u32, digits: &mut D) -> bool {
    let one_of = Fraction { numerator: 1, denominator: u128::from(sharing_interval) };
    is_below(one_of, digits) && bound.is_none_or(|fraction| is_below(fraction, digits))
}

/// True with probability x: whether a uniform real is below x.
fn is_below<D: Digits>(x: Fraction, digits: &mut D) -> bool {
    let mut rest = x;
    loop {
        match place::<D>(rest, digits.next_digit()) {
            Place::Above => return true,
            Place::Below => return false,
            Place::Inside(inner) => rest = inner,
        }
    }
}

/// Compares x with the interval [digit, digit + 1) / 2^DIGIT_BITS, exactly in 192-bit arithmetic:
/// `numerator << DIGIT_BITS` and `digit * denominator` are below 2^(112 + 32), held as
/// (high, low) with a low part of 64 bits.
#[inline]
fn place<D: Digits>(x: Fraction, digit: u32) -> Place {
    let digit_wide = u128::from(digit);
    let low_product = digit_wide * (x.denominator & LIMB_MASK);
    let start_high = digit_wide * (x.denominator >> LIMB_BITS) + (low_product >> LIMB_BITS);
    let start_low = low_product & LIMB_MASK;
    let target_high = x.numerator >> (LIMB_BITS - D::DIGIT_BITS);
    let target_low = (x.numerator << D::DIGIT_BITS) & LIMB_MASK;
    if (start_high, start_low) >= (target_high, target_low) {
        return Place::Below;
    }
    let borrow = u128::from(target_low < start_low);
    let rest_low = target_low + (borrow << LIMB_BITS) - start_low;
    let rest_high = target_high - start_high - borrow;
    if rest_high > LIMB_MASK {
        return Place::Above;
    }
    let rest = (rest_high << LIMB_BITS) | rest_low;
    if rest >= x.denominator {
        return Place::Above;
    }
    Place::Inside(Fraction { numerator: rest, denominator: x.denominator })
}

#[cfg(test)]
mod tests;
