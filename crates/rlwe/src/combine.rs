//! What the researcher does: take the shares off the sum, check it, read the counters.

use crate::{
    constants::{
        CHECK_SLOT_COUNT, COHORT_SIZE_MAX, COUNTER_BITS, HET_SHIFT, HOM_ALT_SHIFT, LOW_BITS_ABS_MAX, MISSING_SHIFT,
    },
    error::RlweError,
    partial::PartialDecryption,
    released::{released_count, released_slots},
};
use locus_genomics::{Plane, Slot};
use locus_privacy::SlotMask;
use locus_sharing::ShareIndex;

/// Mask of one counter.
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;

/// The counters an answer may hold: a cohort of K people, lifted by the public offset T so that
/// noise cannot make them negative. K + 2 T fits 19 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterRange {
    cohort_size: u32,
    offset: u32,
}

impl CounterRange {
    /// The range for a cohort of `cohort_size` and an offset of ceil(7 sigma) people, 0 for exact
    /// counts.
    ///
    /// # Errors
    /// [`RlweError::CounterRange`] unless 1 <= K <= 2^18 and K + 2 T < 2^19.
    pub fn try_new(cohort_size: u32, offset: u64) -> Result<Self, RlweError> {
        let refused = RlweError::CounterRange { cohort_size, offset };
        if !(1..=COHORT_SIZE_MAX).contains(&cohort_size) {
            return Err(refused);
        }
        let small_offset = u32::try_from(offset).map_err(|_| refused.clone())?;
        let largest = u64::from(cohort_size) + 2 * u64::from(small_offset);
        if largest > COUNTER_MASK { Err(refused) } else { Ok(Self { cohort_size, offset: small_offset }) }
    }

    /// K.
    pub fn cohort_size(&self) -> u32 {
        self.cohort_size
    }

    /// T.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// The signed count of a lifted counter, or `None` when no cohort of this size can have it.
    fn lower(&self, lifted: u64) -> Option<i64> {
        let largest = u64::from(self.cohort_size) + 2 * u64::from(self.offset);
        let signed = i64::try_from(lifted).ok().filter(|_| lifted <= largest)?;
        Some(signed - i64::from(self.offset))
    }

    /// Lifts the counters at the given shifts, and the noise below them.
    fn lift(&self, value: u64, shifts: &[u32]) -> u64 {
        let offset = u64::from(self.offset);
        shifts.iter().fold(value.wrapping_add(LOW_BITS_ABS_MAX), |lifted, shift| lifted.wrapping_add(offset << shift))
    }
}

/// Counts of one variant as released: with dp noise they may be negative or exceed the cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedCounts {
    /// Heterozygous people.
    pub het: i64,
    /// Homozygous alternate people.
    pub hom_alt: i64,
}

/// The decrypted sum of one panel block and plane at the requested slots, its check slots checked:
/// counters above, noise below bit 26.
pub struct CombinedPlane {
    plane: Plane,
    slots: SlotMask,
    values: Vec<u64>,
}

/// Takes the three partial decryptions off the ciphertext sum and checks the check slots.
///
/// `body_sum` holds the summed bodies at the released slots, ascending. Noise: the sum's
/// encryption noise (below 2^21) and three flooding noises (total sigma sqrt(3) * 2^21) stay
/// within 2^25 but with probability 2^-57 a slot.
///
/// # Errors
/// When lengths, planes, slots or shares do not match, and [`RlweError::AnswerCheckSlot`] when sum
/// and shares are of different cohorts: garbage passes the 16 slots with probability 2^-608.
pub fn combine(
    plane: Plane,
    slots: &SlotMask,
    body_sum: &[u64],
    partials: [&PartialDecryption; 3],
) -> Result<CombinedPlane, RlweError> {
    let expected = released_count(slots);
    if body_sum.len() != expected {
        return Err(RlweError::ValueCount { expected, got: body_sum.len() });
    }
    for share in ShareIndex::ALL {
        if partials.iter().all(|partial| partial.share() != share) {
            return Err(RlweError::SharesIncomplete { missing: share });
        }
    }
    let mut values = body_sum.to_vec();
    for partial in partials {
        let share = partial.share();
        if partial.plane() != plane {
            return Err(RlweError::PlaneMismatch { share, expected: plane });
        }
        if partial.slots() != slots {
            return Err(RlweError::SlotMismatch { share });
        }
        for (value, part) in values.iter_mut().zip(partial.values()) {
            *value = value.wrapping_sub(*part);
        }
    }
    let requested = values.split_off(CHECK_SLOT_COUNT);
    for (value, slot) in values.iter().zip(released_slots(slots)) {
        if value.cast_signed().unsigned_abs() >= LOW_BITS_ABS_MAX {
            return Err(RlweError::AnswerCheckSlot { slot: slot.get() });
        }
    }
    Ok(CombinedPlane { plane, slots: *slots, values: requested })
}

impl CombinedPlane {
    /// Values at the requested slots whose check slots have been checked.
    pub(crate) fn new(plane: Plane, slots: &SlotMask, values: Vec<u64>) -> Self {
        Self { plane, slots: *slots, values }
    }

    /// The decrypted values at the requested slots, ascending, before decoding.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// Decodes the calls plane: signed counts at the requested slots, ascending. Exact counts
    /// (offset 0) must also add up to no more than the cohort.
    ///
    /// # Errors
    /// [`RlweError::PlaneUndecodable`] on the missing plane, [`RlweError::CountOutOfRange`] for a
    /// counter outside [-T, K + T]; dp noise leaves that range with probability 2^-34 a counter.
    pub fn decode_calls(&self, range: CounterRange) -> Result<Vec<SignedCounts>, RlweError> {
        self.check_plane(Plane::Calls)?;
        self.decode(range, |value| {
            let lifted = range.lift(value, &[HET_SHIFT, HOM_ALT_SHIFT]);
            let het = range.lower((lifted >> HET_SHIFT) & COUNTER_MASK)?;
            let hom_alt = range.lower(lifted >> HOM_ALT_SHIFT)?;
            let fits = range.offset > 0 || het + hom_alt <= i64::from(range.cohort_size);
            fits.then_some(SignedCounts { het, hom_alt })
        })
    }

    /// Decodes the missing plane: signed missing counts at the requested slots, ascending.
    ///
    /// # Errors
    /// [`RlweError::PlaneUndecodable`] on the calls plane, [`RlweError::CountOutOfRange`] as for
    /// calls.
    pub fn decode_missing(&self, range: CounterRange) -> Result<Vec<i64>, RlweError> {
        self.check_plane(Plane::Missing)?;
        // Nothing is packed above the missing counter, so the whole rest of the word is the counter.
        self.decode(range, |value| range.lower(range.lift(value, &[MISSING_SHIFT]) >> MISSING_SHIFT))
    }

    fn decode<T>(&self, range: CounterRange, counts: impl Fn(u64) -> Option<T>) -> Result<Vec<T>, RlweError> {
        let out_of_range = |slot: Slot| RlweError::CountOutOfRange { slot: slot.get(), cohort_size: range.cohort_size };
        let slots = self.slots.slots();
        self.values.iter().zip(slots).map(|(value, slot)| counts(*value).ok_or_else(|| out_of_range(slot))).collect()
    }

    fn check_plane(&self, wanted: Plane) -> Result<(), RlweError> {
        if self.plane == wanted { Ok(()) } else { Err(RlweError::PlaneUndecodable { plane: self.plane, wanted }) }
    }
}
