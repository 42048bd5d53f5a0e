//! Collecting variants in any order into a panel.

use super::{PANEL_ALLELE_BASES_MAX, PANEL_VARIANTS_MAX, Panel, PanelError, Site, check_name, check_order, view};
use crate::{
    assembly::Assembly,
    variant::{ALLELE_BASES_MAX, VariantRef},
};

const _: () = assert!(ALLELE_BASES_MAX <= u16::MAX as usize, "allele lengths are kept in 16 bits");

/// Collects the variants of a panel; takes as much memory as the panel.
#[derive(Debug, Clone)]
pub struct PanelBuilder {
    name: String,
    assembly: Assembly,
    sites: Vec<Site>,
    bases: String,
}

impl PanelBuilder {
    /// A builder without variants.
    ///
    /// # Errors
    /// [`PanelError::Name`].
    pub fn try_new(name: &str, assembly: Assembly) -> Result<Self, PanelError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), assembly, sites: Vec::new(), bases: String::new() })
    }

    /// Number of variants collected, duplicates included.
    pub fn variant_count(&self) -> u32 {
        u32::try_from(self.sites.len()).unwrap_or(u32::MAX)
    }

    /// Adds a variant.
    ///
    /// # Errors
    /// [`PanelError`] when a limit is passed or the variant lies outside the assembly.
    pub fn push(&mut self, variant: VariantRef<'_>) -> Result<(), PanelError> {
        let (ref_allele, alt_allele) = (variant.ref_allele(), variant.alt_allele());
        let past_end = || PanelError::PastChromEnd { id: variant.to_string(), assembly: self.assembly };
        let ref_len = u16::try_from(ref_allele.len()).map_err(|_| PanelError::TooManyAlleleBases)?;
        let alt_len = u16::try_from(alt_allele.len()).map_err(|_| PanelError::TooManyAlleleBases)?;
        if variant.position() + u32::from(ref_len) - 1 > self.assembly.chrom_bases(variant.chrom()) {
            return Err(past_end());
        }
        if self.variant_count() >= PANEL_VARIANTS_MAX {
            return Err(PanelError::TooManyVariants);
        }
        let bases_start = u32::try_from(self.bases.len()).map_err(|_| PanelError::TooManyAlleleBases)?;
        if bases_start + u32::from(ref_len) + u32::from(alt_len) > PANEL_ALLELE_BASES_MAX {
            return Err(PanelError::TooManyAlleleBases);
        }
        self.bases.push_str(ref_allele);
        self.bases.push_str(alt_allele);
        let (position, chrom) = (variant.position(), variant.chrom());
        self.sites.push(Site { position, bases_start, ref_len, alt_len, chrom });
        Ok(())
    }

    /// The panel, if no variant was added twice.
    ///
    /// # Errors
    /// [`PanelError::Empty`] or [`PanelError::Duplicate`].
    pub fn build(mut self, complete_calls: bool) -> Result<Panel, PanelError> {
        self.sort();
        for pair in self.sites.windows(2) {
            check_order(view(&self.bases, &pair[0]), view(&self.bases, &pair[1]))?;
        }
        self.finish(complete_calls)
    }

    /// The panel with every variant once, and how many repetitions were left out.
    ///
    /// # Errors
    /// [`PanelError::Empty`].
    pub fn build_merging_duplicates(mut self, complete_calls: bool) -> Result<(Panel, u32), PanelError> {
        let pushed = self.variant_count();
        self.sort();
        let bases = &self.bases;
        self.sites.dedup_by(|next, previous| view(bases, next) == view(bases, previous));
        let repetitions = pushed - self.variant_count();
        Ok((self.finish(complete_calls)?, repetitions))
    }

    fn sort(&mut self) {
        let bases = &self.bases;
        self.sites.sort_unstable_by(|left, right| view(bases, left).cmp(&view(bases, right)));
    }

    fn finish(self, complete_calls: bool) -> Result<Panel, PanelError> {
        if self.sites.is_empty() {
            return Err(PanelError::Empty);
        }
        Ok(Panel::from_sorted(self.name, self.assembly, complete_calls, self.sites, self.bases))
    }
}
