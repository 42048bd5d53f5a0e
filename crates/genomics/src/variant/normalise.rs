//! Trimming and left alignment of allele pairs.

use super::VariantError;
use std::collections::VecDeque;

/// Longest shift of left alignment, in bases; the longest tandem repeats that a call can span are
/// orders of magnitude shorter.
const SHIFT_BASES_MAX: u32 = 100_000;

/// Alleles after [`trim`].
pub(super) struct Trimmed<'a> {
    pub(super) position: u32,
    pub(super) ref_allele: &'a [u8],
    pub(super) alt_allele: &'a [u8],
}

/// Alleles after [`left_align`].
pub(super) struct Shifted {
    pub(super) position: u32,
    pub(super) ref_allele: Vec<u8>,
    pub(super) alt_allele: Vec<u8>,
}

/// Whether [`trim`] would leave the alleles as they are.
pub(super) fn is_parsimonious(ref_allele: &[u8], alt_allele: &[u8]) -> bool {
    let shortest = ref_allele.len().min(alt_allele.len());
    shortest == 1 || (ref_allele.last() != alt_allele.last() && ref_allele.first() != alt_allele.first())
}

/// Cuts shared trailing bases, then shared leading bases; each allele keeps at least one base.
pub(super) fn trim<'a>(position: u32, ref_allele: &'a [u8], alt_allele: &'a [u8]) -> Trimmed<'a> {
    let shortest = ref_allele.len().min(alt_allele.len());
    let pairs_from_end = ref_allele.iter().rev().zip(alt_allele.iter().rev());
    let suffix = pairs_from_end.take(shortest - 1).take_while(|(left, right)| left == right).count();
    let ref_cut = &ref_allele[..ref_allele.len() - suffix];
    let alt_cut = &alt_allele[..alt_allele.len() - suffix];
    let pairs = ref_cut.iter().zip(alt_cut);
    let prefix = pairs.take(shortest - suffix - 1).take_while(|(left, right)| left == right).count();
    let shift = u32::try_from(prefix).unwrap_or(u32::MAX);
    Trimmed { position: position.saturating_add(shift), ref_allele: &ref_cut[prefix..], alt_allele: &alt_cut[prefix..] }
}

/// Rolls an indel to the left while its last bases agree, then trims.
pub(super) fn left_align(
    position: u32,
    ref_allele: &[u8],
    alt_allele: &[u8],
    reference_base: impl Fn(u32) -> Option<u8>,
) -> Result<Shifted, VariantError> {
    let base_at = |at: u32| reference_base(at).map(|base| base.to_ascii_uppercase());
    for (at, base) in (position..).zip(ref_allele) {
        if base_at(at).is_some_and(|found| is_base(found) && found != *base) {
            return Err(VariantError::ReferenceDiffers(at));
        }
    }
    let mut start = position;
    let mut ref_roll: VecDeque<u8> = ref_allele.iter().copied().collect();
    let mut alt_roll: VecDeque<u8> = alt_allele.iter().copied().collect();
    while ref_roll.back() == alt_roll.back() && start > 1 {
        let Some(previous) = base_at(start - 1).filter(|base| is_base(*base)) else { break };
        if position - start >= SHIFT_BASES_MAX {
            return Err(VariantError::ShiftTooLong(position));
        }
        for roll in [&mut ref_roll, &mut alt_roll] {
            roll.push_front(previous);
            roll.pop_back();
        }
        start -= 1;
    }
    let (ref_rolled, alt_rolled) = (Vec::from(ref_roll), Vec::from(alt_roll));
    let trimmed = trim(start, &ref_rolled, &alt_rolled);
    Ok(Shifted {
        position: trimmed.position,
        ref_allele: trimmed.ref_allele.to_vec(),
        alt_allele: trimmed.alt_allele.to_vec(),
    })
}

fn is_base(base: u8) -> bool {
    matches!(base, b'A' | b'C' | b'G' | b'T')
}
