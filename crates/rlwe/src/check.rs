//! Checking at enrolment that one dataset's body and key seeds belong together.

use crate::{
    constants::{CHECK_SLOT_COUNT, ENCRYPTION_NOISE_MAX, ENCRYPTION_NOISE_MIN, SHARES},
    error::RlweError,
    mask::Mask,
    secret::SecretBits,
};

/// The product a * s_A at the 16 check slots for one dataset: what a holder of share A shows the
/// other keyholders at enrolment.
///
/// It tells 16 noiseless equations about s_A, which lowers the dimension of the lattice problem
/// from 4096 to 4080 at most, and nothing about genotypes: check slots carry none. It is shown for
/// a body once, never for another slot.
pub fn check_share_values(mask: &Mask, bits: &SecretBits) -> [u64; CHECK_SLOT_COUNT] {
    mask.multiply_at_check_slots(bits)
}

/// Checks that the check slots of a body decrypt to encryption noise alone, given the values of
/// shares 1, 2 and 3 in this order. Any other body or seed passes with probability 2^-960.
///
/// # Errors
/// [`RlweError::DatasetCheckSlot`] naming the first slot that does not.
pub fn verify_check_slots(
    body: &[u64; CHECK_SLOT_COUNT],
    shares: &[[u64; CHECK_SLOT_COUNT]; SHARES],
) -> Result<(), RlweError> {
    let mut opened = *body;
    for share in shares {
        for (value, part) in opened.iter_mut().zip(share) {
            *value = value.wrapping_sub(*part);
        }
    }
    for (slot, value) in (0u32..).zip(opened) {
        if !(ENCRYPTION_NOISE_MIN..=ENCRYPTION_NOISE_MAX).contains(&value.cast_signed()) {
            return Err(RlweError::DatasetCheckSlot { slot });
        }
    }
    Ok(())
}
