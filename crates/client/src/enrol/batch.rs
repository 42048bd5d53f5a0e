//! The first pass over the genotypes: who is in the batch, and every secret and commitment that
//! does not need ciphertexts.

use super::{Accreditor, Contributor, EnrolError, EnrolInput};
use crate::{
    domain::DST_BATCH_NONCE,
    parallel,
    progress::{Progress, Stage},
};
use locus_commitment::{
    Address, DatasetContext, DatasetId, GenotypeCommitment, NetworkId, PersonTag, Sha3Writer, ShareCommitment,
};
use locus_genomics::{PackedGenotypes, Panel, PanelBlockIndex};
use locus_intake::{BLOCK_GENOTYPE_BYTES, BlockStrip, GenotypeSpool};
use locus_proofs::dataset::genotype_tree;
use locus_rlwe::DatasetKeys;
use locus_sharing::{GenotypeDigest, MasterSecret};
use std::{collections::BTreeSet, ops::Range, sync::Arc};
use zeroize::Zeroizing;

/// Memory for packed genotypes of whole panels; people are taken in groups that fit.
const GROUP_BYTES_MAX: usize = 32 << 20;
/// Both bits of a genotype are set when its call is missing; these are the low bits of each pair.
const PAIR_LOW_BITS: u8 = 0b0101_0101;

/// What all datasets of a batch have in common.
#[derive(Debug, Clone)]
pub(crate) struct BatchIdentity {
    pub(crate) network: NetworkId,
    pub(crate) registrant: Address,
    pub(crate) version: u32,
    pub(crate) accreditor: Option<Address>,
    /// Whether every body is proven; then the genotype commitment is one that proofs open.
    pub(crate) proven: bool,
}

/// A batch after the first pass.
pub(crate) struct PreparedBatch {
    pub(crate) identity: BatchIdentity,
    pub(crate) panel: Arc<Panel>,
    pub(crate) genotypes: Arc<GenotypeSpool>,
    /// Places in the genotypes.
    pub(crate) people: Range<u32>,
    pub(crate) batch_nonce: u64,
    pub(crate) datasets: Vec<PreparedDataset>,
}

/// One dataset after the first pass.
pub(crate) struct PreparedDataset {
    /// Place in the genotypes.
    pub(crate) individual: u32,
    pub(crate) sample: String,
    pub(crate) dataset: DatasetId,
    pub(crate) person: PersonTag,
    /// What its keys derive from, beside the master secret.
    pub(crate) genotypes: GenotypeDigest,
    pub(crate) keys: DatasetKeys,
    pub(crate) share_commitments: [ShareCommitment; 3],
    pub(crate) genotype_commitment: GenotypeCommitment,
}

/// Who is enrolled together: one person, or everybody in equal batches.
pub(crate) fn split(input: &EnrolInput, contributor: &Contributor) -> Result<Vec<Range<u32>>, EnrolError> {
    let people = input.genotypes.people();
    if people == 0 {
        return Err(EnrolError::Nobody);
    }
    if !input.genotypes.fits(&input.panel) {
        return Err(EnrolError::OtherPanel);
    }
    if u32::try_from(input.samples.len()) != Ok(people) {
        return Err(EnrolError::SampleCount { samples: input.samples.len(), people });
    }
    match contributor {
        Contributor::Person { individual } if *individual < people => {
            Ok(Vec::from([Range { start: *individual, end: *individual + 1 }]))
        }
        Contributor::Person { individual } => Err(EnrolError::NoSuchIndividual { individual: *individual, people }),
        Contributor::Biobank { .. } => {
            let mut seen = BTreeSet::new();
            match input.samples.iter().find(|sample| !seen.insert(sample.as_str())) {
                Some(twice) => Err(EnrolError::DuplicateSample(twice.clone())),
                None => Ok(even_batches(people)),
            }
        }
    }
}

/// Batches of nearly equal size, each at most 4,096, each beginning at a multiple of four (where
/// genotypes of neighbours share no byte).
fn even_batches(people: u32) -> Vec<Range<u32>> {
    let count = people.div_ceil(super::BATCH_DATASETS_MAX);
    let size = people.div_ceil(count).next_multiple_of(4);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    (0..people)
        .step_by(size)
        .map(|start| start..people.min(start.saturating_add(u32::try_from(size).unwrap_or(u32::MAX))))
        .collect()
}

/// The genotypes of `people` in one panel block.
pub(crate) fn read_strip(
    genotypes: &GenotypeSpool,
    block: PanelBlockIndex,
    people: &Range<u32>,
) -> Result<BlockStrip, EnrolError> {
    let aligned_start = people.start - people.start % 4;
    Ok(genotypes.read_strip(block, aligned_start..people.end)?)
}

/// One person's packed genotypes in a strip.
pub(crate) fn of_person(strip: &BlockStrip, person: u32) -> Result<&[u8; BLOCK_GENOTYPE_BYTES], EnrolError> {
    strip.person(person).ok_or(EnrolError::OtherPanel)
}

impl PreparedBatch {
    /// Makes the first pass. Reads the genotypes twice: their digests name the batch, and only then
    /// are the secrets known from which the commitments are made.
    pub(crate) fn prepare(
        identity: BatchIdentity,
        master: &MasterSecret,
        input: &EnrolInput,
        people: Range<u32>,
        accreditor: Option<&dyn Accreditor>,
        progress: &dyn Progress,
    ) -> Result<Self, EnrolError> {
        let pass = Pass { input, people: people.clone(), progress };
        let digests = pass.over_people(0, |individual, packed| {
            if input.panel.complete_calls() && has_missing(packed) {
                return Err(EnrolError::MissingCalls { sample: pass.sample(individual) });
            }
            Ok(GenotypeDigest::of_packed(packed))
        })?;
        let persons: Vec<PersonTag> = people
            .clone()
            .map(|individual| match accreditor {
                Some(accreditor) => accreditor.person_tag(&pass.sample(individual)),
                None => PersonTag::of_registrant(identity.registrant),
            })
            .collect();
        let batch_nonce = derive_nonce(master, &identity, &input.panel, &persons, &digests);
        let start = people.start;
        let datasets = pass.over_people(1, |individual, packed| {
            let ordinal = individual - start;
            let place = usize::try_from(ordinal).unwrap_or(usize::MAX);
            let (Some(person), Some(digest)) = (persons.get(place), digests.get(place)) else {
                return Err(EnrolError::OtherPanel);
            };
            let dataset = DatasetId::derive(identity.registrant, batch_nonce, ordinal);
            let context = identity.context(&input.panel, dataset);
            let keys = DatasetKeys::derive(master, &context, digest);
            let blinding = &keys.secrets().genotype_blinding;
            let genotype_commitment = if identity.proven {
                genotype_tree(blinding, packed)?.leaf_commitment()
            } else {
                let mut writer = GenotypeCommitment::begin(&context, blinding, packed.len() as u64);
                writer.extend(packed);
                GenotypeCommitment::seal(writer)
            };
            Ok(PreparedDataset {
                individual,
                sample: pass.sample(individual),
                dataset,
                person: *person,
                genotypes: digest.clone(),
                share_commitments: keys.secrets().share_commitments(&context),
                genotype_commitment,
                keys,
            })
        })?;
        let (panel, genotypes) = (input.panel.clone(), input.genotypes.clone());
        Ok(Self { identity, panel, genotypes, people, batch_nonce, datasets })
    }
}

impl BatchIdentity {
    pub(crate) fn context(&self, panel: &Panel, dataset: DatasetId) -> DatasetContext {
        DatasetContext {
            network: self.network,
            registrant: self.registrant,
            dataset,
            panel: panel.digest(),
            version: self.version,
        }
    }
}

/// A number for the batch that follows from its content and the master secret: the same batch has
/// the same number, and nobody else learns anything from it.
fn derive_nonce(
    master: &MasterSecret,
    identity: &BatchIdentity,
    panel: &Panel,
    persons: &[PersonTag],
    digests: &[GenotypeDigest],
) -> u64 {
    let mut writer = Sha3Writer::new(DST_BATCH_NONCE);
    writer
        .part(master.as_bytes())
        .part(&identity.network.chain_id.to_le_bytes())
        .part(&identity.network.registry.0)
        .part(&identity.registrant.0)
        .part(&identity.accreditor.map_or([0; 20], |account| account.0))
        .part(&panel.digest().0)
        .part(&identity.version.to_le_bytes());
    for (person, digest) in persons.iter().zip(digests) {
        writer.part(&person.0).part(digest.as_bytes());
    }
    let digest = writer.finish().0;
    let (number, _) = digest.split_at(8);
    number.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn has_missing(packed: &[u8]) -> bool {
    packed.iter().any(|byte| byte & (byte >> 1) & PAIR_LOW_BITS != 0)
}

/// A pass over the whole genotypes of some people.
struct Pass<'a> {
    input: &'a EnrolInput,
    people: Range<u32>,
    progress: &'a dyn Progress,
}

impl Pass<'_> {
    fn sample(&self, individual: u32) -> String {
        let place = usize::try_from(individual).unwrap_or(usize::MAX);
        self.input.samples.get(place).cloned().unwrap_or_default()
    }

    /// `work` on the packed genotypes of everybody, in order; `earlier` passes were made before.
    fn over_people<R: Send>(
        &self,
        earlier: u64,
        work: impl Fn(u32, &[u8]) -> Result<R, EnrolError> + Sync,
    ) -> Result<Vec<R>, EnrolError> {
        let variant_count = usize::try_from(self.input.panel.variant_count()).unwrap_or(usize::MAX);
        let packed_len = PackedGenotypes::bytes_for(variant_count);
        let group = (GROUP_BYTES_MAX / packed_len).max(4) / 4 * 4;
        let group = u32::try_from(group).unwrap_or(u32::MAX).min(super::BATCH_DATASETS_MAX);
        let total = 2 * self.people.len() as u64;
        let mut results = Vec::with_capacity(self.people.len());
        let mut start = self.people.start;
        while start < self.people.end {
            let people = start..self.people.end.min(start.saturating_add(group));
            let packed = self.read_packed(&people, packed_len)?;
            results.extend(parallel::map(&packed, |(individual, packed)| work(*individual, packed))?);
            start = people.end;
            let done = earlier * self.people.len() as u64 + results.len() as u64;
            self.progress.report(Stage::Committing, done, total);
        }
        Ok(results)
    }

    /// Everybody's genotypes of the whole panel, four to a byte.
    #[allow(clippy::type_complexity)]
    fn read_packed(
        &self,
        people: &Range<u32>,
        packed_len: usize,
    ) -> Result<Vec<(u32, Zeroizing<Vec<u8>>)>, EnrolError> {
        let empty = |individual| (individual, Zeroizing::new(Vec::with_capacity(packed_len)));
        let mut packed: Vec<_> = people.clone().map(empty).collect();
        for block in 0..self.input.genotypes.block_count() {
            let strip = read_strip(&self.input.genotypes, PanelBlockIndex(block), people)?;
            for (individual, packed) in &mut packed {
                let missing_bytes = (packed_len - packed.len()).min(BLOCK_GENOTYPE_BYTES);
                packed.extend_from_slice(&of_person(&strip, *individual)?[..missing_bytes]);
            }
        }
        Ok(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_even_and_cover_everybody_once() {
        for (people, sizes) in [
            (1, vec![1]),
            (4096, vec![4096]),
            (4097, vec![2052, 2045]),
            (2504, vec![2504]),
            (10_000, vec![3336, 3336, 3328]),
        ] {
            let batches = even_batches(people);
            assert_eq!(batches.iter().map(|batch| batch.end - batch.start).collect::<Vec<_>>(), sizes);
            assert!(batches.iter().all(|batch| batch.start.is_multiple_of(4)));
            assert_eq!(
                (batches.first().map(|batch| batch.start), batches.last().map(|batch| batch.end)),
                (Some(0), Some(people))
            );
            assert!(batches.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }

    #[test]
    fn a_missing_call_is_seen_at_every_place_of_a_byte() {
        for place in 0..4 {
            for code in 0..4u8 {
                assert_eq!(has_missing(&[0, code << (2 * place)]), code == 3, "{code} at {place}");
            }
        }
        // A het beside a hom_alt sets neighbouring bits of different genotypes.
        assert!(!has_missing(&[0b10_01_10_01, 0b01_10_01_10]));
    }
}
