//! Panels: the ordered variant lists that genotypes are aligned to.

use crate::{
    assembly::{Assembly, Chrom},
    domain::{DST_PANEL, sha3_256},
    index::{PanelBlockIndex, PanelDigest, Plane, VARIANTS_PER_PANEL_BLOCK, VariantIndex},
    variant::{Variant, VariantRef},
};
use std::{cmp::Ordering, fmt, ops::Range};

mod builder;
mod canonical;
mod text;

pub use builder::PanelBuilder;
pub use canonical::PanelDecodeError;
pub use text::{PanelTextError, PanelTextProblem};

/// Most variants of a panel: four times the 257 panel blocks that one million variants take.
pub const PANEL_VARIANTS_MAX: u32 = 1 << 22;
/// Most allele bases of a panel, all alleles together: 64 a variant at full size.
pub const PANEL_ALLELE_BASES_MAX: u32 = 1 << 28;
/// Longest panel name, in bytes.
pub const PANEL_NAME_BYTES_MAX: usize = 64;

/// Why variants do not make a panel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PanelError {
    /// A name that is empty, too long or has unusual characters.
    #[error("a panel name is 1 to {PANEL_NAME_BYTES_MAX} letters, digits, dots, dashes or underscores, not {0:?}")]
    Name(String),
    /// No variant at all.
    #[error("a panel needs at least one variant")]
    Empty,
    /// More than [`PANEL_VARIANTS_MAX`].
    #[error("a panel has at most {PANEL_VARIANTS_MAX} variants: split the list")]
    TooManyVariants,
    /// More than [`PANEL_ALLELE_BASES_MAX`].
    #[error("a panel has at most {PANEL_ALLELE_BASES_MAX} allele bases: leave out the long alleles")]
    TooManyAlleleBases,
    /// A variant that reaches past the end of its chromosome: the list belongs to another assembly.
    #[error("variant {id} lies past the end of its chromosome in {assembly}: is the assembly right?")]
    PastChromEnd {
        /// The variant.
        id: String,
        /// The panel's assembly.
        assembly: Assembly,
    },
    /// The same variant twice.
    #[error("variant {0} is listed twice")]
    Duplicate(String),
    /// Canonical encodings are sorted.
    #[error("variant {0} is out of order")]
    OutOfOrder(String),
}

/// A sorted list of different variants on one assembly. Immutable; named by its digest.
///
/// Takes 16 bytes a variant and the alleles' bases, so that a panel of a million variants stays
/// below 20 MB.
#[derive(Clone)]
pub struct Panel {
    name: String,
    assembly: Assembly,
    complete_calls: bool,
    sites: Vec<Site>,
    /// All alleles, one after the other; `Site` knows where.
    bases: String,
    digest: PanelDigest,
}

/// Position and place of the alleles of one variant.
#[derive(Debug, Clone, Copy)]
struct Site {
    position: u32,
    bases_start: u32,
    ref_len: u16,
    alt_len: u16,
    chrom: Chrom,
}

impl Panel {
    /// A panel of these variants, in any order.
    ///
    /// `complete_calls` declares that no dataset on this panel has a missing call; such a panel
    /// has no missing plane.
    ///
    /// # Errors
    /// [`PanelError`] for a bad name, no or too many variants, a duplicate, or a variant outside
    /// the assembly.
    pub fn try_new<'a>(
        name: &str,
        assembly: Assembly,
        complete_calls: bool,
        variants: impl IntoIterator<Item = VariantRef<'a>>,
    ) -> Result<Self, PanelError> {
        let mut builder = PanelBuilder::try_new(name, assembly)?;
        for variant in variants {
            builder.push(variant)?;
        }
        builder.build(complete_calls)
    }

    /// The panel's name; the digest, not the name, identifies a panel.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The assembly its positions belong to.
    pub fn assembly(&self) -> Assembly {
        self.assembly
    }

    /// Whether datasets on this panel have no missing calls.
    pub fn complete_calls(&self) -> bool {
        self.complete_calls
    }

    /// SHA3-256 of the canonical bytes.
    pub fn digest(&self) -> PanelDigest {
        self.digest
    }

    /// Number of variants, 1 to [`PANEL_VARIANTS_MAX`].
    pub fn variant_count(&self) -> u32 {
        u32::try_from(self.sites.len()).unwrap_or(u32::MAX)
    }

    /// Number of panel blocks.
    pub fn block_count(&self) -> u32 {
        self.variant_count().div_ceil(VARIANTS_PER_PANEL_BLOCK)
    }

    /// The planes its datasets have, calls first.
    pub fn planes(&self) -> &'static [Plane] {
        Plane::of_panel(self.complete_calls)
    }

    /// Indices of the variants carried by `block`; empty past the last block.
    pub fn block_variants(&self, block: PanelBlockIndex) -> Range<u32> {
        let start = block.0.saturating_mul(VARIANTS_PER_PANEL_BLOCK).min(self.variant_count());
        start..start.saturating_add(VARIANTS_PER_PANEL_BLOCK).min(self.variant_count())
    }

    /// The variant at `index`, or `None` past the last.
    pub fn variant(&self, index: VariantIndex) -> Option<VariantRef<'_>> {
        let site = usize::try_from(index.0).ok().and_then(|place| self.sites.get(place))?;
        Some(view(&self.bases, site))
    }

    /// All variants in order.
    pub fn variants(&self) -> impl ExactSizeIterator<Item = VariantRef<'_>> + '_ {
        self.sites.iter().map(|site| view(&self.bases, site))
    }

    /// The index of a variant, or `None` when the panel lacks it.
    pub fn find(&self, variant: VariantRef<'_>) -> Option<VariantIndex> {
        let place = self.sites.binary_search_by(|site| view(&self.bases, site).cmp(&variant)).ok()?;
        u32::try_from(place).ok().map(VariantIndex)
    }

    /// Indices of all variants at one position (1-based).
    pub fn at_position(&self, chrom: Chrom, position: u32) -> Range<u32> {
        let key = (chrom, position);
        let start = self.sites.partition_point(|site| (site.chrom, site.position) < key);
        let here = self.sites[start..].iter().take_while(|site| (site.chrom, site.position) == key).count();
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        start..start.saturating_add(u32::try_from(here).unwrap_or(u32::MAX))
    }

    /// Indices of all variants whose position lies in `positions` (1-based, end exclusive).
    pub fn in_region(&self, chrom: Chrom, positions: Range<u32>) -> Range<u32> {
        let place = |position: u32| {
            let place = self.sites.partition_point(|site| (site.chrom, site.position) < (chrom, position));
            u32::try_from(place).unwrap_or(u32::MAX)
        };
        let start = place(positions.start);
        start..place(positions.end).max(start)
    }

    /// The same variants with another declaration about missing calls; another panel, therefore.
    pub fn with_complete_calls(self, complete_calls: bool) -> Self {
        Self::from_sorted(self.name, self.assembly, complete_calls, self.sites, self.bases)
    }

    /// Takes sorted, different, checked sites; computes the digest.
    fn from_sorted(name: String, assembly: Assembly, complete_calls: bool, sites: Vec<Site>, bases: String) -> Self {
        let mut panel = Self { name, assembly, complete_calls, sites, bases, digest: PanelDigest([0; 32]) };
        panel.digest = PanelDigest(sha3_256(DST_PANEL, &[&panel.to_canonical_bytes()]));
        panel
    }
}

/// Panels are equal when their digests are.
impl PartialEq for Panel {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Panel {}

impl fmt::Debug for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, assembly, digest, .. } = self;
        write!(f, "Panel({name:?}, {assembly}, {} variants, {digest})", self.variant_count())
    }
}

fn view<'a>(bases: &'a str, site: &Site) -> VariantRef<'a> {
    let start = usize::try_from(site.bases_start).unwrap_or(usize::MAX);
    let middle = start + usize::from(site.ref_len);
    let end = middle + usize::from(site.alt_len);
    VariantRef {
        chrom: site.chrom,
        position: site.position,
        ref_allele: &bases[start..middle],
        alt_allele: &bases[middle..end],
    }
}

fn check_name(name: &str) -> Result<(), PanelError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (1..=PANEL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(PanelError::Name(name.to_owned()))
    }
}

/// Refuses a neighbour that is not strictly greater.
fn check_order(previous: VariantRef<'_>, next: VariantRef<'_>) -> Result<(), PanelError> {
    match previous.cmp(&next) {
        Ordering::Less => Ok(()),
        Ordering::Equal => Err(PanelError::Duplicate(next.to_string())),
        Ordering::Greater => Err(PanelError::OutOfOrder(next.to_string())),
    }
}

impl<'a> From<&'a Variant> for VariantRef<'a> {
    fn from(variant: &'a Variant) -> Self {
        variant.as_ref()
    }
}

#[cfg(test)]
mod tests;
