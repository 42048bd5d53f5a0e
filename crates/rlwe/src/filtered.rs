//! Sums over people whom nobody sees: a keyholder's part of a weighted ciphertext sum, decrypted on
//! the way.
//!
//! With shared weights f_i the sum of f_i b_i - a (f_i s_i) is linear in the stored bodies and in
//! products of two shared values, so every keyholder computes a third of it locally. No keyholder
//! ever shows its part of the sum of f_i b_i: the bodies are public, and that would be a linear
//! system for the weights.

use crate::{
    body::Body,
    combine::CombinedPlane,
    constants::{CHECK_SLOT_COUNT, COHORT_SIZE_MAX, HET_SHIFT, HOM_ALT_SHIFT, LOW_BITS_ABS_MAX, RING_DIMENSION},
    domain::DST_FILTERED_PART,
    error::RlweError,
    mask::Mask,
    noise::{NoiseInput, derive_noise},
    released::{released_count, released_slots, select_released},
    ring::Polynomial,
    secret::SecretBits,
};
use locus_commitment::{Digest32, Sha3Writer};
use locus_genomics::Plane;
use locus_privacy::{SlotMask, Tau};
use locus_sharing::{KeyholderIndex, Prss};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A keyholder's two shares of one person's weight.
#[derive(Clone, Copy)]
pub struct WeightShares {
    /// Its released share.
    pub released: u64,
    /// Its other share.
    pub other: u64,
}

/// One keyholder's running sums for one selection, panel block and plane.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct FilteredSum {
    #[zeroize(skip)]
    keyholder: KeyholderIndex,
    count: u32,
    /// Sum of (released share of the weight) * body.
    bodies: Box<Polynomial>,
    /// This keyholder's terms of the sum of weight * secret.
    secrets: Box<Polynomial>,
}

impl FilteredSum {
    /// Empty sums.
    pub fn new(keyholder: KeyholderIndex) -> Self {
        let zeros = || Box::new([0; RING_DIMENSION]);
        Self { keyholder, count: 0, bodies: zeros(), secrets: zeros() }
    }

    /// Adds one person: weight shares, body, and the secret bits of the keyholder's released and
    /// other share. Takes the same time whatever the weight is.
    ///
    /// # Errors
    /// [`RlweError::CohortTooLarge`] beyond 2^18 people.
    pub fn add(
        &mut self,
        weight: WeightShares,
        body: &Body,
        released: &SecretBits,
        other: &SecretBits,
    ) -> Result<(), RlweError> {
        self.count = self
            .count
            .checked_add(1)
            .filter(|count| *count <= COHORT_SIZE_MAX)
            .ok_or(RlweError::CohortTooLarge { max: COHORT_SIZE_MAX })?;
        for (sum, coefficient) in self.bodies.iter_mut().zip(body.coefficients()) {
            *sum = sum.wrapping_add(weight.released.wrapping_mul(*coefficient));
        }
        // (f, f') and (s, s') give the terms f s + f s' + f' s = (f + f') s + f s'.
        let both = weight.released.wrapping_add(weight.other);
        let words = released.words().iter().zip(other.words());
        for (slots, (word, other_word)) in self.secrets.as_chunks_mut::<64>().0.iter_mut().zip(words) {
            for (bit, slot) in slots.iter_mut().enumerate() {
                let from_released = both & (word >> bit & 1).wrapping_neg();
                let from_other = weight.released & (other_word >> bit & 1).wrapping_neg();
                *slot = slot.wrapping_add(from_released).wrapping_add(from_other);
            }
        }
        Ok(())
    }

    /// Adds the sums over other people for the same selection, block and plane.
    ///
    /// # Errors
    /// [`RlweError::KeyholderMismatch`], [`RlweError::CohortTooLarge`].
    pub fn merge(&mut self, sum: &Self) -> Result<(), RlweError> {
        if sum.keyholder != self.keyholder {
            return Err(RlweError::KeyholderMismatch { expected: self.keyholder, found: sum.keyholder });
        }
        self.count = self
            .count
            .checked_add(sum.count)
            .filter(|count| *count <= COHORT_SIZE_MAX)
            .ok_or(RlweError::CohortTooLarge { max: COHORT_SIZE_MAX })?;
        let pairs =
            self.bodies.iter_mut().zip(sum.bodies.iter()).chain(self.secrets.iter_mut().zip(sum.secrets.iter()));
        pairs.for_each(|(total, term)| *total = total.wrapping_add(*term));
        Ok(())
    }

    /// R_j: this keyholder's part of the answer at the released slots.
    ///
    /// `noise` is of the keyholder's own key: flooding of sigma 2^21 on every released slot, dp noise
    /// on every counter of the requested slots. `prss` gives the zeros that hide everything but the
    /// sum of the three parts, under the number `gate`.
    ///
    /// # Errors
    /// [`RlweError::DpNoise`], [`RlweError::Masking`].
    pub fn finish(
        self,
        mask: &Mask,
        plane: Plane,
        slots: &SlotMask,
        noise: NoiseInput<'_>,
        prss: &mut Prss,
        gate: u32,
    ) -> Result<FilteredPart, RlweError> {
        // Noise first: drawing it takes a time that depends on it.
        let derived = derive_noise(noise, self.keyholder.released_share(), plane, slots)?;
        if prss.keyholder() != self.keyholder {
            return Err(RlweError::KeyholderMismatch { expected: self.keyholder, found: prss.keyholder() });
        }
        let zeros = prss.zeros::<u64>(gate, released_count(slots)).map_err(RlweError::Masking)?;
        let mut product = mask.multiply_full(&self.secrets);
        let secret_part = Zeroizing::new(select_released(slots, &product));
        product.zeroize();
        let mut values = select_released(slots, &self.bodies);
        for (place, value) in values.iter_mut().enumerate() {
            let flooding = derived.flooding[place].cast_unsigned();
            *value = value.wrapping_sub(secret_part[place]).wrapping_add(zeros[place]).wrapping_add(flooding);
        }
        let requested = &mut values[CHECK_SLOT_COUNT..];
        for (noise, shift) in [(&derived.low_counter, HET_SHIFT), (&derived.high_counter, HOM_ALT_SHIFT)] {
            for (value, dp) in requested.iter_mut().zip(noise) {
                *value = value.wrapping_add(dp.cast_unsigned() << shift);
            }
        }
        Ok(FilteredPart { keyholder: self.keyholder, plane, slots: *slots, values })
    }
}

/// R_j: one keyholder's part of a filtered answer. Any two are uniform; all three add up to the
/// noisy counters. Sealed to the researcher like every answer.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct FilteredPart {
    #[zeroize(skip)]
    keyholder: KeyholderIndex,
    #[zeroize(skip)]
    plane: Plane,
    #[zeroize(skip)]
    slots: SlotMask,
    values: Vec<u64>,
}

impl FilteredPart {
    /// Parses the part of a known question: 8 little-endian bytes for every released slot, ascending.
    ///
    /// # Errors
    /// [`RlweError::ValueCount`] for another length.
    pub fn parse(keyholder: KeyholderIndex, plane: Plane, slots: &SlotMask, bytes: &[u8]) -> Result<Self, RlweError> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let expected = released_count(slots);
        if chunks.len() != expected || !rest.is_empty() {
            return Err(RlweError::ValueCount { expected, got: bytes.len() / 8 });
        }
        let values = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        Ok(Self { keyholder, plane, slots: *slots, values })
    }

    /// The encoding that [`parse`](Self::parse) reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Whose part it is.
    pub fn keyholder(&self) -> KeyholderIndex {
        self.keyholder
    }

    /// The values at the released slots, ascending.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// What is exchanged before any part is opened. The values are uniform, so they need no blinding.
    pub fn commitment(&self, tau: &Tau) -> Digest32 {
        let mut writer = Sha3Writer::new(DST_FILTERED_PART);
        writer.part(&tau.0.0).part(&[self.keyholder.get()]).part(&[self.plane.code()]);
        for words in [self.slots.words(), &self.values[..]] {
            writer.begin(8 * words.len() as u64);
            words.iter().for_each(|word| {
                writer.extend(&word.to_le_bytes());
            });
        }
        writer.finish()
    }
}

/// Adds the parts of the three keyholders and checks the check slots.
///
/// Noise: encryption noise of the people selected (below 2^21) and three flooding noises stay within
/// 2^25 but with probability 2^-57 a slot, as in an unfiltered answer.
///
/// # Errors
/// When planes, slots or keyholders do not match, and [`RlweError::AnswerCheckSlot`] when the parts
/// are not of one evaluation.
pub fn combine_filtered(plane: Plane, slots: &SlotMask, parts: [&FilteredPart; 3]) -> Result<CombinedPlane, RlweError> {
    let expected = released_count(slots);
    let mut values = vec![0u64; expected];
    for keyholder in KeyholderIndex::ALL {
        let part = parts.iter().find(|part| part.keyholder == keyholder);
        let part = part.ok_or(RlweError::PartMissing { missing: keyholder })?;
        if part.plane != plane || part.slots != *slots || part.values.len() != expected {
            return Err(RlweError::PartMismatch { keyholder });
        }
        values.iter_mut().zip(&part.values).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
    }
    for (value, slot) in values.iter().zip(released_slots(slots)).take(CHECK_SLOT_COUNT) {
        if value.cast_signed().unsigned_abs() >= LOW_BITS_ABS_MAX {
            return Err(RlweError::AnswerCheckSlot { slot: slot.get() });
        }
    }
    Ok(CombinedPlane::new(plane, slots, values.split_off(CHECK_SLOT_COUNT)))
}
