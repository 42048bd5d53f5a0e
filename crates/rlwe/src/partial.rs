//! What a keyholder releases for one share.

use crate::{
    constants::{CHECK_SLOT_COUNT, HET_SHIFT, HOM_ALT_SHIFT},
    domain::DST_PARTIAL_DECRYPTION,
    error::RlweError,
    mask::Mask,
    noise::{DerivedNoise, NoiseInput, derive_noise},
    released::{released_count, select_released},
    share_sum::ShareSum,
};
use locus_commitment::{Digest32, Sha3Writer};
use locus_genomics::Plane;
use locus_privacy::{SlotMask, Tau};
use locus_sharing::{NoiseKey, ShareIndex};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The partial decryption d_A of one share: a * S_A - dp noise - flooding noise at the released
/// slots. The three of an answer open it, so each is sealed to the researcher.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PartialDecryption {
    #[zeroize(skip)]
    share: ShareIndex,
    #[zeroize(skip)]
    plane: Plane,
    #[zeroize(skip)]
    slots: SlotMask,
    values: Vec<u64>,
}

/// Computes the partial decryption of the share summed in `share_sum`.
///
/// Input: S_A with coefficients up to the cohort size. Output: at every released slot flooding
/// noise of sigma 2^21; at every requested slot also dp noise, in units of one person, on each
/// counter. Check slots get no dp noise: everybody is hom_ref there, so they say nothing about
/// anybody's genotypes, and their encryption noise is covered by the flooding.
///
/// # Errors
/// [`RlweError::DpNoise`] when the dp variance is outside the sampler's range.
pub fn partial_decryption(
    mask: &Mask,
    share_sum: &ShareSum,
    plane: Plane,
    slots: &SlotMask,
    noise: NoiseInput<'_>,
) -> Result<PartialDecryption, RlweError> {
    let share = share_sum.share();
    let derived = derive_noise(noise, share, plane, slots)?;
    let mut product = mask.multiply(share_sum);
    let mut values = select_released(slots, &product);
    product.zeroize();
    subtract_noise(&mut values, &derived);
    Ok(PartialDecryption { share, plane, slots: *slots, values })
}

fn subtract_noise(values: &mut [u64], noise: &DerivedNoise) {
    for (value, flooding) in values.iter_mut().zip(&noise.flooding) {
        *value = value.wrapping_sub(flooding.cast_unsigned());
    }
    let requested = &mut values[CHECK_SLOT_COUNT..];
    for (value, dp) in requested.iter_mut().zip(&noise.low_counter) {
        *value = value.wrapping_sub(dp.cast_unsigned() << HET_SHIFT);
    }
    for (value, dp) in requested.iter_mut().zip(&noise.high_counter) {
        *value = value.wrapping_sub(dp.cast_unsigned() << HOM_ALT_SHIFT);
    }
}

impl PartialDecryption {
    /// Parses the values of a partial decryption for a known question: 8 little-endian bytes for
    /// every released slot, ascending.
    ///
    /// # Errors
    /// [`RlweError::ValueCount`] for another length.
    pub fn parse(share: ShareIndex, plane: Plane, slots: &SlotMask, bytes: &[u8]) -> Result<Self, RlweError> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let expected = released_count(slots);
        if chunks.len() != expected || !rest.is_empty() {
            return Err(RlweError::ValueCount { expected, got: bytes.len() / 8 });
        }
        let values = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        Ok(Self { share, plane, slots: *slots, values })
    }

    /// The encoding that [`parse`](Self::parse) reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// The share.
    pub fn share(&self) -> ShareIndex {
        self.share
    }

    /// The plane.
    pub fn plane(&self) -> Plane {
        self.plane
    }

    /// The slots requested.
    pub fn slots(&self) -> &SlotMask {
        &self.slots
    }

    /// The values at the released slots, ascending.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// A commitment that the two holders of the share compare before either releases anything.
    /// Both derive the same values, so one differing bit shows that one of them cheats or errs.
    /// The noise key keeps everybody else from testing guesses against it.
    pub fn commitment(&self, noise_key: &NoiseKey, tau: &Tau) -> Digest32 {
        let mut writer = Sha3Writer::new(DST_PARTIAL_DECRYPTION);
        writer.part(noise_key.as_bytes()).part(&tau.0.0).part(&[self.share.get()]).part(&[self.plane.code()]);
        for words in [self.slots.words(), &self.values[..]] {
            writer.begin(8 * words.len() as u64);
            words.iter().for_each(|word| {
                writer.extend(&word.to_le_bytes());
            });
        }
        writer.finish()
    }
}
