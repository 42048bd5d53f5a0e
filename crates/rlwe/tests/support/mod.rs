//! Synthetic people, cohorts and answers for the tests of this crate.

#![allow(dead_code)] // every test file uses another part

pub(crate) mod keyholders;

use locus_commitment::{Address, DatasetContext, DatasetId, Digest32, NetworkId};
use locus_genomics::{Genotype, PackedGenotypes, PanelBlockIndex, PanelDigest, Plane, Slot};
use locus_privacy::{SigmaSquared, SlotMask, Tau};
use locus_rlwe::{
    Body, DatasetEncryptor, Mask, NoiseInput, PartialDecryption, RING_DIMENSION, ShareSum, partial_decryption,
};
use locus_sharing::{DatasetSecrets, MasterSecret, NoiseKey, ShareIndex};

pub(crate) const BLOCK: PanelBlockIndex = PanelBlockIndex(0);

/// SplitMix64: small, fast and the same everywhere.
pub(crate) struct Prng(pub(crate) u64);

impl Prng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub(crate) fn context(ordinal: u32) -> DatasetContext {
    let registrant = Address([2; 20]);
    DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant,
        dataset: DatasetId::derive(registrant, 7, ordinal),
        panel: PanelDigest([4; 32]),
        version: 1,
    }
}

pub(crate) fn master() -> MasterSecret {
    MasterSecret::from_bytes([9; 32])
}

/// Random genotypes, some missing.
pub(crate) fn random_genotypes(seed: u64, variants: usize) -> PackedGenotypes {
    let mut prng = Prng(seed);
    (0..variants)
        .map(|_| match prng.below(100) {
            0..50 => Genotype::HomRef,
            50..80 => Genotype::Het,
            80..97 => Genotype::HomAlt,
            _ => Genotype::Missing,
        })
        .collect()
}

pub(crate) struct Person {
    pub(crate) context: DatasetContext,
    pub(crate) genotypes: PackedGenotypes,
    pub(crate) secrets: DatasetSecrets,
}

impl Person {
    pub(crate) fn new(ordinal: u32, genotypes: PackedGenotypes) -> Self {
        let context = context(ordinal);
        let secrets = DatasetEncryptor::new(&master(), &context, &genotypes).secrets().clone();
        Self { context, genotypes, secrets }
    }

    pub(crate) fn body(&self, block: PanelBlockIndex, plane: Plane) -> Body {
        let encryptor = DatasetEncryptor::new(&master(), &self.context, &self.genotypes);
        encryptor.encrypt(Mask::v1(), block, plane).expect("the block exists")
    }
}

/// `size` people with random genotypes at `variants` variants.
pub(crate) fn people(size: u32, variants: usize) -> Vec<Person> {
    (0..size).map(|ordinal| Person::new(ordinal, random_genotypes(u64::from(ordinal) + 1, variants))).collect()
}

pub(crate) fn refs(people: &[Person]) -> Vec<&Person> {
    people.iter().collect()
}

pub(crate) fn add(sum: &mut [u64; RING_DIMENSION], body: &Body) {
    for (total, value) in sum.iter_mut().zip(body.coefficients()) {
        *total = total.wrapping_add(*value);
    }
}

pub(crate) fn body_sum(cohort: &[&Person], block: PanelBlockIndex, plane: Plane) -> Box<[u64; RING_DIMENSION]> {
    let mut sum = Box::new([0; RING_DIMENSION]);
    cohort.iter().for_each(|person| add(&mut sum, &person.body(block, plane)));
    sum
}

pub(crate) fn share_sum(cohort: &[&Person], share: ShareIndex, block: PanelBlockIndex, plane: Plane) -> ShareSum {
    let seeds = cohort.iter().map(|person| (&person.context, person.secrets.seeds.of(share)));
    ShareSum::over(share, block, plane, seeds).expect("a small cohort")
}

pub(crate) fn noise_key(share: ShareIndex) -> NoiseKey {
    NoiseKey::from_bytes([100 + share.get(); 32])
}

pub(crate) fn tau(label: u64) -> Tau {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&label.to_le_bytes());
    Tau(Digest32(bytes))
}

pub(crate) fn slot(number: usize) -> Slot {
    u32::try_from(number).ok().and_then(Slot::try_new).expect("below 4096")
}

/// Every variant slot of a panel block.
pub(crate) fn all_slots() -> SlotMask {
    SlotMask::try_new((16..RING_DIMENSION).map(slot)).expect("no check slot")
}

/// The dp variance of one share for a total standard deviation of `sigma`.
pub(crate) fn dp_share(sigma: u128) -> SigmaSquared {
    SigmaSquared::try_new(sigma * sigma, 3).expect("positive")
}

/// The three partial decryptions of one block's answer.
pub(crate) fn answer(
    cohort: &[&Person],
    block: PanelBlockIndex,
    plane: Plane,
    slots: &SlotMask,
    tau: &Tau,
    dp_share: Option<SigmaSquared>,
) -> [PartialDecryption; 3] {
    ShareIndex::ALL.map(|share| {
        let noise_key = noise_key(share);
        let noise = NoiseInput { noise_key: &noise_key, tau, dp_share };
        partial_decryption(Mask::v1(), &share_sum(cohort, share, block, plane), plane, slots, noise)
            .expect("a valid variance")
    })
}

/// How many people of the cohort have `genotype` at each requested variant slot of a block.
pub(crate) fn truth(cohort: &[&Person], block: PanelBlockIndex, slots: &SlotMask, genotype: Genotype) -> Vec<i64> {
    let first = 4080 * usize::try_from(block.0).expect("a small block number");
    let count = |slot: Slot| {
        let variant = first + slot.index() - 16;
        cohort.iter().filter(|person| person.genotypes.get(variant) == Some(genotype)).count()
    };
    slots.slots().map(|slot| i64::try_from(count(slot)).expect("small")).collect()
}

pub(crate) fn as_f64(values: &[i64]) -> Vec<f64> {
    values.iter().map(|value| *value as f64).collect()
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(crate) fn standard_deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    mean(&values.iter().map(|value| (value - centre).powi(2)).collect::<Vec<_>>()).sqrt()
}

pub(crate) fn correlation(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    let (left_mean, right_mean) = (mean(left), mean(right));
    let products: Vec<f64> =
        left.iter().zip(right).map(|(first, second)| (first - left_mean) * (second - right_mean)).collect();
    mean(&products) / (standard_deviation(left) * standard_deviation(right))
}

/// The lowest 26 bits as a signed number: everything below the counters.
pub(crate) fn low_bits(value: u64) -> i64 {
    (value << 38).cast_signed() >> 38
}
