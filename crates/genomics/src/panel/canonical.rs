//! The canonical bytes of a panel.

use super::{Panel, PanelBuilder, PanelError, check_order};
use crate::{
    assembly::{Assembly, Chrom},
    variant::{Variant, VariantError},
};

/// First byte of the encoding.
const VERSION: u8 = 1;

/// Why bytes are not the canonical encoding of a panel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PanelDecodeError {
    /// The bytes end early.
    #[error("the encoded panel ends early")]
    Truncated,
    /// Bytes follow the last variant.
    #[error("{0} bytes follow the encoded panel")]
    TrailingBytes(usize),
    /// A version, assembly, flag, name or chromosome byte that means nothing.
    #[error("the encoded panel has an unknown {0}")]
    UnknownCode(&'static str),
    /// A variant is not one.
    #[error("variant {index} of the encoded panel: {source}")]
    Variant {
        /// Its place in the encoding, from 0.
        index: u32,
        /// What is wrong.
        source: VariantError,
    },
    /// The variants do not make a panel, or are not in order.
    #[error(transparent)]
    Panel(#[from] PanelError),
}

impl Panel {
    /// The one encoding of this panel; the panel's digest is over these bytes. The format is
    /// clause 4 of this crate's specification.
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.name.len() + 9 * self.sites.len() + self.bases.len());
        let name_len = u16::try_from(self.name.len()).unwrap_or(u16::MAX);
        bytes.extend([VERSION, self.assembly.code(), u8::from(self.complete_calls)]);
        bytes.extend(name_len.to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend(self.variant_count().to_le_bytes());
        for (site, variant) in self.sites.iter().zip(self.variants()) {
            bytes.push(site.chrom.number());
            bytes.extend(site.position.to_le_bytes());
            bytes.extend(site.ref_len.to_le_bytes());
            bytes.extend(variant.ref_allele().as_bytes());
            bytes.extend(site.alt_len.to_le_bytes());
            bytes.extend(variant.alt_allele().as_bytes());
        }
        bytes
    }

    /// Parses [`to_canonical_bytes`](Self::to_canonical_bytes).
    ///
    /// # Errors
    /// [`PanelDecodeError`] for anything but the canonical encoding of a panel.
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<Self, PanelDecodeError> {
        let mut input = Input(bytes);
        if input.u8()? != VERSION {
            return Err(PanelDecodeError::UnknownCode("version"));
        }
        let assembly = Assembly::from_code(input.u8()?).ok_or(PanelDecodeError::UnknownCode("assembly"))?;
        let complete_calls = match input.u8()? {
            0 => false,
            1 => true,
            _ => return Err(PanelDecodeError::UnknownCode("complete-calls flag")),
        };
        let name = input.text("name")?;
        let mut builder = PanelBuilder::try_new(name, assembly)?;
        let variant_count = input.u32()?;
        let mut previous: Option<Variant> = None;
        for index in 0..variant_count {
            let chrom = Chrom::try_new(input.u8()?).ok_or(PanelDecodeError::UnknownCode("chromosome"))?;
            let position = input.u32()?;
            let (ref_allele, alt_allele) = (input.text("allele")?, input.text("allele")?);
            let variant = Variant::try_new(chrom, position, ref_allele, alt_allele)
                .map_err(|source| PanelDecodeError::Variant { index, source })?;
            if let Some(previous) = &previous {
                check_order(previous.as_ref(), variant.as_ref())?;
            }
            builder.push(variant.as_ref())?;
            previous = Some(variant);
        }
        if !input.0.is_empty() {
            return Err(PanelDecodeError::TrailingBytes(input.0.len()));
        }
        Ok(builder.build(complete_calls)?)
    }
}

/// The bytes not yet read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], PanelDecodeError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(PanelDecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, PanelDecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, PanelDecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A text after its length (`u16`).
    fn text(&mut self, what: &'static str) -> Result<&'a str, PanelDecodeError> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (head, rest) = self.0.split_at_checked(len).ok_or(PanelDecodeError::Truncated)?;
        self.0 = rest;
        std::str::from_utf8(head).map_err(|_| PanelDecodeError::UnknownCode(what))
    }
}
