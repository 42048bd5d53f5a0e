//! From a record's allele to a panel variant, or to the reason why not.

use super::Site;
use crate::{alignment::Alignment, error::IntakeError, reference::Reference, report::RefusalReason};
use locus_genomics::{ALLELE_BASES_MAX, Chrom, ChromError, Variant, VariantError, VariantIndex, VariantRef};
use std::ops::Range;

/// What becomes of one alternate allele.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AlleleFate {
    /// It is this panel variant.
    Matched(VariantIndex),
    /// The panel does not ask for it.
    OffPanel,
    /// It cannot be used, and speaks of these panel variants (often none).
    Refused(RefusalReason, Range<u32>),
}

/// The symbolic "any other allele" of gVCF records.
pub(crate) fn is_any_other(alt_allele: &[u8]) -> bool {
    matches!(alt_allele, b"<NON_REF>" | b"<*>")
}

/// Finds chromosomes and variants.
pub(crate) struct Resolver<'r> {
    reference: Option<&'r Reference>,
    /// The last sequence name and what it means: files are sorted.
    chrom_name: Vec<u8>,
    chrom: Option<Result<Chrom, RefusalReason>>,
}

impl<'r> Resolver<'r> {
    pub(crate) fn new(reference: Option<&'r Reference>) -> Self {
        Self { reference, chrom_name: Vec::new(), chrom: None }
    }

    /// The record's autosome; a record elsewhere is counted as refused.
    pub(crate) fn chrom(
        &mut self,
        site: &Site,
        alignment: &mut Alignment<'_>,
        place: impl FnOnce() -> String,
    ) -> Option<Chrom> {
        match self.autosome(&site.chrom) {
            Ok(chrom) => Some(chrom),
            Err(reason) => {
                let example = || format!("{}: {}", place(), site.describe(b""));
                alignment.file.refuse(reason, example);
                None
            }
        }
    }

    /// The autosome with this name.
    pub(crate) fn autosome(&mut self, name: &[u8]) -> Result<Chrom, RefusalReason> {
        if let Some(known) = self.chrom.filter(|_| self.chrom_name == name) {
            return known;
        }
        let parsed = std::str::from_utf8(name).map_err(|_| RefusalReason::UnknownContig).and_then(|name| {
            name.parse().map_err(|error| match error {
                ChromError::NotAutosomal(_) => RefusalReason::NotAutosomal,
                ChromError::Unknown(_) => RefusalReason::UnknownContig,
            })
        });
        self.chrom_name.clear();
        self.chrom_name.extend_from_slice(name);
        self.chrom = Some(parsed);
        parsed
    }

    /// The normal form of an allele, left-aligned when a reference sequence is at hand.
    ///
    /// # Errors
    /// The outer error when the reference sequence cannot be read, the inner one when the allele
    /// is no variant.
    pub(crate) fn normalise(
        &self,
        chrom: Chrom,
        site: &Site,
        alt_allele: &[u8],
    ) -> Result<Result<Variant, RefusalReason>, IntakeError> {
        if let Some(reason) = symbolic(alt_allele) {
            return Ok(Err(reason));
        }
        let variant = match Variant::normalise(chrom, site.position, &site.ref_allele, alt_allele) {
            Ok(variant) => variant,
            Err(error) => return Ok(Err(reason_of(&error, &site.ref_allele, alt_allele))),
        };
        let Some(reference) = self.reference else { return Ok(Ok(variant)) };
        let aligned = variant.left_align(|position| reference.base(chrom, position));
        reference.check()?;
        Ok(aligned.map_err(|error| reason_of(&error, &site.ref_allele, alt_allele)))
    }

    /// Finds an allele on the panel. Both alleles are asserted by the file: nothing is exchanged
    /// or complemented, only told apart.
    pub(crate) fn resolve(
        &self,
        chrom: Chrom,
        site: &Site,
        alt_allele: &[u8],
        alignment: &mut Alignment<'_>,
    ) -> Result<AlleleFate, IntakeError> {
        let at_site = alignment.panel.at_position(chrom, site.position);
        let variant = match self.normalise(chrom, site, alt_allele)? {
            Ok(variant) => variant,
            Err(RefusalReason::ReferenceMismatch) => {
                return Ok(AlleleFate::Refused(RefusalReason::ReferenceMismatch, at_site));
            }
            // Other forms of alleles are beside the panel's variants, not in their place.
            Err(reason) => return Ok(AlleleFate::Refused(reason, 0..0)),
        };
        if let Some(index) = alignment.panel.find(variant.as_ref()) {
            if variant.as_ref().is_snv() {
                alignment.compare(true);
            }
            return Ok(AlleleFate::Matched(index));
        }
        Ok(contradiction(variant.as_ref(), alignment))
    }
}

/// Tells an allele that the panel merely lacks from one that contradicts the panel.
fn contradiction(variant: VariantRef<'_>, alignment: &mut Alignment<'_>) -> AlleleFate {
    let here = alignment.panel.at_position(variant.chrom(), variant.position());
    if !variant.is_snv() {
        return AlleleFate::OffPanel;
    }
    let (ref_allele, alt_allele) = (variant.ref_allele(), variant.alt_allele());
    let mut worst = None;
    let mut agrees = false;
    for index in here.clone() {
        let Some(panel) = alignment.panel.variant(VariantIndex(index)).filter(|panel| panel.is_snv()) else {
            continue;
        };
        let pair = (panel.ref_allele(), panel.alt_allele());
        if panel.ref_allele() == ref_allele {
            agrees = true;
        } else if pair == (alt_allele, ref_allele) {
            worst = Some(RefusalReason::Swapped);
        } else if pair == (complement(ref_allele), complement(alt_allele)) {
            worst = Some(RefusalReason::StrandFlipped);
        } else {
            worst = worst.or(Some(RefusalReason::ReferenceMismatch));
        }
    }
    match worst.filter(|_| !agrees) {
        Some(reason) => {
            alignment.compare(false);
            AlleleFate::Refused(reason, here)
        }
        None => {
            if agrees {
                alignment.compare(true);
            }
            AlleleFate::OffPanel
        }
    }
}

/// The base on the other strand; other texts stay as they are.
pub(crate) fn complement(base: &str) -> &str {
    match base {
        "A" => "T",
        "C" => "G",
        "G" => "C",
        "T" => "A",
        other => other,
    }
}

fn symbolic(alt_allele: &[u8]) -> Option<RefusalReason> {
    let is_symbolic = alt_allele == b"*" || alt_allele.iter().any(|byte| matches!(byte, b'<' | b'[' | b']'));
    is_symbolic.then_some(RefusalReason::SymbolicAllele)
}

/// The reason for refusing alleles that make no variant.
pub(crate) fn reason_of(error: &VariantError, ref_allele: &[u8], alt_allele: &[u8]) -> RefusalReason {
    match error {
        VariantError::Position(_) => RefusalReason::Position,
        VariantError::ReferenceDiffers(_) | VariantError::ShiftTooLong(_) => RefusalReason::ReferenceMismatch,
        VariantError::Allele if ref_allele.len().max(alt_allele.len()) > ALLELE_BASES_MAX => {
            RefusalReason::AlleleLength
        }
        _ => RefusalReason::AlleleLetters,
    }
}
