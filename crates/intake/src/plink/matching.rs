//! From a pair of alleles without a stated reference to a panel variant.

use super::BimLine;
use crate::{
    alignment::Alignment,
    error::IntakeError,
    reference::Reference,
    report::RefusalReason,
    vcf::{Resolver, Site, complement},
};
use locus_genomics::{Chrom, Variant, VariantIndex, VariantRef};
use std::ops::Range;

/// What becomes of a `.bim` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PairFate {
    Matched {
        variant: VariantIndex,
        /// Whether A1 is the alternate allele.
        first_is_alt: bool,
    },
    /// Only A2 is known (A1 is `0`): these variants, and whether A2 is their reference allele.
    OneAllele(Vec<(VariantIndex, bool)>),
    OffPanel,
    /// Cannot be used, and speaks of these panel variants.
    Refused(RefusalReason, Range<u32>),
}

/// PLINK's way to write an allele that nobody carries.
const NO_ALLELE: &[u8] = b"0";

pub(super) struct Match<'r> {
    resolver: Resolver<'r>,
    has_reference: bool,
}

impl<'r> Match<'r> {
    pub(super) fn new(reference: Option<&'r Reference>) -> Self {
        Self { resolver: Resolver::new(reference), has_reference: reference.is_some() }
    }

    /// Finds the panel variant of a line.
    pub(super) fn resolve(&mut self, line: &BimLine, alignment: &mut Alignment<'_>) -> Result<PairFate, IntakeError> {
        let chrom = match self.resolver.autosome(&line.chrom) {
            Ok(chrom) => chrom,
            Err(reason) => return Ok(PairFate::Refused(reason, 0..0)),
        };
        let Some(position) = line.position else {
            return Ok(PairFate::Refused(RefusalReason::Position, 0..0));
        };
        if line.first_allele == NO_ALLELE && line.second_allele != NO_ALLELE {
            return Ok(one_allele(chrom, position, &line.second_allele, alignment));
        }
        let as_written = self.oriented(chrom, position, &line.second_allele, &line.first_allele)?;
        let exchanged = self.oriented(chrom, position, &line.first_allele, &line.second_allele)?;
        if let Some(index) = as_written.as_ref().ok().and_then(|variant| alignment.panel.find(variant.as_ref())) {
            alignment.compare(true);
            return Ok(PairFate::Matched { variant: index, first_is_alt: true });
        }
        if let Some(index) = exchanged.as_ref().ok().and_then(|variant| alignment.panel.find(variant.as_ref())) {
            return Ok(self.exchanged_fate(index, alignment));
        }
        match as_written.or(exchanged) {
            Ok(variant) => Ok(contradiction(variant.as_ref(), alignment)),
            Err(RefusalReason::ReferenceMismatch) => {
                let here = alignment.panel.at_position(chrom, position);
                Ok(PairFate::Refused(RefusalReason::ReferenceMismatch, here))
            }
            Err(reason) => Ok(PairFate::Refused(reason, 0..0)),
        }
    }

    /// The normal form of the pair with one allele taken as the reference.
    fn oriented(
        &self,
        chrom: Chrom,
        position: u32,
        ref_allele: &[u8],
        alt_allele: &[u8],
    ) -> Result<Result<Variant, RefusalReason>, IntakeError> {
        let mut site = Site { position, ref_allele: ref_allele.to_vec(), ..Site::default() };
        site.push_alt(alt_allele);
        self.resolver.normalise(chrom, &site, alt_allele)
    }

    /// Alleles found on the panel the other way round. One base for one base is the same variant
    /// with its alleles exchanged, unless it reads the same on both strands. An insertion and a
    /// deletion of the same bases are two different variants: only the reference sequence tells.
    fn exchanged_fate(&self, index: VariantIndex, alignment: &mut Alignment<'_>) -> PairFate {
        let here = index.0..index.0 + 1;
        match alignment.panel.variant(index) {
            Some(variant) if variant.is_strand_ambiguous() => PairFate::Refused(RefusalReason::StrandAmbiguous, here),
            Some(variant) if variant.is_snv() || self.has_reference => {
                alignment.compare(true);
                PairFate::Matched { variant: index, first_is_alt: false }
            }
            _ => PairFate::Refused(RefusalReason::Swapped, here),
        }
    }
}

/// The panel variants that a line with A2 alone speaks of.
fn one_allele(chrom: Chrom, position: u32, allele: &[u8], alignment: &Alignment<'_>) -> PairFate {
    let upper = allele.to_ascii_uppercase();
    let here = alignment.panel.at_position(chrom, position);
    let known = here.filter_map(|index| {
        let variant = alignment.panel.variant(VariantIndex(index)).filter(|variant| variant.is_snv())?;
        if variant.ref_allele().as_bytes() == upper {
            return Some((VariantIndex(index), true));
        }
        let is_alt = variant.alt_allele().as_bytes() == upper && !variant.is_strand_ambiguous();
        is_alt.then_some((VariantIndex(index), false))
    });
    let known: Vec<(VariantIndex, bool)> = known.collect();
    if known.is_empty() { PairFate::OffPanel } else { PairFate::OneAllele(known) }
}

/// Tells a pair that the panel merely lacks from one that contradicts the panel.
fn contradiction(pair: VariantRef<'_>, alignment: &mut Alignment<'_>) -> PairFate {
    let here = alignment.panel.at_position(pair.chrom(), pair.position());
    if !pair.is_snv() {
        return PairFate::OffPanel;
    }
    let alleles = [pair.ref_allele(), pair.alt_allele()];
    let flipped = alleles.map(complement);
    let (mut agrees, mut is_flipped, mut compared) = (false, false, false);
    for index in here.clone() {
        let Some(panel) = alignment.panel.variant(VariantIndex(index)).filter(|panel| panel.is_snv()) else {
            continue;
        };
        compared = true;
        agrees |= alleles.contains(&panel.ref_allele());
        is_flipped |= flipped.contains(&panel.ref_allele()) && flipped.contains(&panel.alt_allele());
    }
    if !compared {
        return PairFate::OffPanel;
    }
    alignment.compare(agrees && !is_flipped);
    match (is_flipped, agrees) {
        (true, _) => PairFate::Refused(RefusalReason::StrandFlipped, here),
        (false, true) => PairFate::OffPanel,
        (false, false) => PairFate::Refused(RefusalReason::ReferenceMismatch, here),
    }
}
