//! Networks, datasets, tiers, classes and selections.

use super::field::{self, FieldError, FieldErrorKind};
use crate::pb::genomics as pb;
use locus_commitment::{
    DatasetBodyDigest, DatasetCommitments, DatasetId, GenotypeCommitment, NetworkId, PersonTag, ShareSetCommitment,
};
use locus_genomics::{PanelDigest, Purpose, VariantSelection};
use locus_ledger::{DatasetLeaf, QueryClass};
use locus_privacy::Tier;
use std::ops::Range;

impl From<&NetworkId> for pb::Network {
    fn from(network: &NetworkId) -> Self {
        Self { chain_id: network.chain_id, registry: network.registry.0.to_vec().into() }
    }
}

impl TryFrom<&pb::Network> for NetworkId {
    type Error = FieldError;

    fn try_from(message: &pb::Network) -> Result<Self, FieldError> {
        Ok(Self {
            chain_id: field::in_range("network.chain_id", message.chain_id, 1, u64::MAX)?,
            registry: field::address("network.registry", &message.registry)?,
        })
    }
}

impl From<&DatasetLeaf> for pb::DatasetLeaf {
    fn from(leaf: &DatasetLeaf) -> Self {
        Self {
            dataset_id: leaf.dataset.0.to_vec().into(),
            person_tag: leaf.person.0.to_vec().into(),
            body_digest: leaf.commitments.bodies.0.0.to_vec().into(),
            share_commitment: leaf.commitments.shares.0.0.to_vec().into(),
            genotype_commitment: leaf.commitments.genotypes.0.0.to_vec().into(),
        }
    }
}

impl TryFrom<&pb::DatasetLeaf> for DatasetLeaf {
    type Error = FieldError;

    fn try_from(message: &pb::DatasetLeaf) -> Result<Self, FieldError> {
        Ok(Self {
            dataset: DatasetId(field::array("leaf.dataset_id", &message.dataset_id)?),
            person: PersonTag(field::array("leaf.person_tag", &message.person_tag)?),
            commitments: DatasetCommitments {
                bodies: DatasetBodyDigest(field::digest("leaf.body_digest", &message.body_digest)?),
                shares: ShareSetCommitment(field::digest("leaf.share_commitment", &message.share_commitment)?),
                genotypes: GenotypeCommitment(field::digest("leaf.genotype_commitment", &message.genotype_commitment)?),
            },
        })
    }
}

/// The wire form of a tier.
pub fn tier_to_pb(tier: Tier) -> pb::Tier {
    match tier {
        Tier::Open => pb::Tier::Open,
        Tier::Vetted => pb::Tier::Vetted,
        Tier::Exact => pb::Tier::Exact,
    }
}

/// The tier of the enum field `field`.
///
/// # Errors
/// [`FieldErrorKind::UnknownValue`], also for an unspecified tier.
pub fn parse_tier(field: &'static str, value: i32) -> Result<Tier, FieldError> {
    match pb::Tier::try_from(value) {
        Ok(pb::Tier::Open) => Ok(Tier::Open),
        Ok(pb::Tier::Vetted) => Ok(Tier::Vetted),
        Ok(pb::Tier::Exact) => Ok(Tier::Exact),
        Ok(pb::Tier::Unspecified) | Err(_) => Err(FieldError::new(field, FieldErrorKind::UnknownValue(value))),
    }
}

/// The wire form of a query class.
pub fn query_class_to_pb(class: QueryClass) -> pb::QueryClass {
    match class {
        QueryClass::Counts => pb::QueryClass::Counts,
        QueryClass::FilteredCounts => pb::QueryClass::FilteredCounts,
        QueryClass::Association => pb::QueryClass::Association,
    }
}

/// The query class of the enum field `field`.
///
/// # Errors
/// [`FieldErrorKind::UnknownValue`], also for an unspecified class.
pub fn parse_query_class(field: &'static str, value: i32) -> Result<QueryClass, FieldError> {
    match pb::QueryClass::try_from(value) {
        Ok(pb::QueryClass::Counts) => Ok(QueryClass::Counts),
        Ok(pb::QueryClass::FilteredCounts) => Ok(QueryClass::FilteredCounts),
        Ok(pb::QueryClass::Association) => Ok(QueryClass::Association),
        Ok(pb::QueryClass::Unspecified) | Err(_) => Err(FieldError::new(field, FieldErrorKind::UnknownValue(value))),
    }
}

/// The purpose of the bit field `field`.
///
/// # Errors
/// [`FieldErrorKind::UnknownBits`] for an unknown purpose code or declaration.
pub fn parse_purpose(field: &'static str, bits: u32) -> Result<Purpose, FieldError> {
    Purpose::from_bits(bits).ok_or(FieldError::new(field, FieldErrorKind::UnknownBits(bits)))
}

/// The wire form of a selection: its runs of neighbouring variants.
pub fn selection_to_pb(selection: &VariantSelection) -> pb::VariantSelection {
    let range = |range: &Range<u32>| pb::variant_selection::Range { start: range.start, end: range.end };
    pb::VariantSelection { ranges: selection.ranges().iter().map(range).collect() }
}

/// A selection of the panel `panel`, which has `variant_count` variants. The ranges must be the
/// only ones that describe the selection: ascending, not empty, with a gap between one and the next.
///
/// # Errors
/// [`FieldErrorKind::Refused`] with the reason, for no, empty, touching, overlapping or unsorted
/// ranges and for ranges past the panel.
pub fn parse_selection(
    message: &pb::VariantSelection,
    panel: PanelDigest,
    variant_count: u32,
) -> Result<VariantSelection, FieldError> {
    let ranges = message.ranges.iter().map(|range| range.start..range.end);
    VariantSelection::try_from_ranges(panel, variant_count, ranges)
        .map_err(|error| FieldError::refused("selection.ranges", error))
}

#[cfg(test)]
mod tests;
