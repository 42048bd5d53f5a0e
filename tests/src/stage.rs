//! The answer pipeline below the services, without any of their checks: what attacks are tried on
//! when the defence is to be off, and where many answers are needed quickly.

use crate::People;
use anyhow::{Context as _, Result};
use locus_commitment::{Address, DatasetBodyDigest, DatasetContext, DatasetId, Digest32, NetworkId};
use locus_genomics::{PackedGenotypes, PanelBlockIndex, PanelDigest, Plane, Slot};
use locus_privacy::{CohortDigest, CohortEntry, PredicateBytes, Question, SigmaSquared, SlotMask, Tau};
use locus_rlwe::{
    Body, CombinedPlane, CounterRange, DatasetKeys, Mask, NoiseInput, RING_DIMENSION, RlweError, ShareSum,
    SignedCounts, combine, partial_decryption, select_released,
};
use locus_sharing::{DatasetSecrets, GenotypeDigest, MasterSecret, NoiseKey, ShareIndex};

/// One dataset as keyholders and aggregator hold it, for one panel block.
#[derive(Clone)]
pub struct Dataset {
    /// What it is encrypted for.
    pub context: DatasetContext,
    /// Its keys.
    pub secrets: DatasetSecrets,
    /// Its ciphertext on the calls plane.
    pub body: Body,
}

impl Dataset {
    /// The datasets of people on a panel of one block.
    pub fn of_people(people: &People) -> Result<Vec<Self>> {
        let master = MasterSecret::from_bytes([9; 32]);
        let registrant = Address([2; 20]);
        let dataset = |place: u32| -> Result<Self> {
            let context = DatasetContext {
                network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
                registrant,
                dataset: DatasetId::derive(registrant, 7, place),
                panel: PanelDigest([4; 32]),
                version: 1,
            };
            let packed: PackedGenotypes = (0..people.variants).map(|variant| people.genotype(place, variant)).collect();
            let digest = GenotypeDigest::of_packed(packed.as_bytes());
            let keys = DatasetKeys::derive(&master, &context, &digest);
            let body = keys.encrypt(Mask::v1(), PanelBlockIndex(0), Plane::Calls, packed.as_bytes())?;
            Ok(Self { context, secrets: keys.secrets().clone(), body })
        };
        (0..people.numbers.end - people.numbers.start).map(dataset).collect()
    }
}

/// Whom to ask what, and with which noise.
pub struct Stage {
    /// Panel block asked about.
    pub block: PanelBlockIndex,
    /// Slots asked for.
    pub slots: SlotMask,
    /// Variance of each share's noise; `None` switches the defence off.
    pub dp_share: Option<SigmaSquared>,
    /// Keys that the noise follows from.
    pub noise_keys: [NoiseKey; 3],
}

impl Stage {
    /// The first `variants` variants of the first block, with noise of this variance in each share.
    pub fn new(variants: u32, dp_share: Option<SigmaSquared>) -> Result<Self> {
        let slots = (16..16 + variants).map(|slot| Slot::try_new(slot).context("a slot"));
        Ok(Self {
            block: PanelBlockIndex(0),
            slots: SlotMask::try_new(slots.collect::<Result<Vec<_>>>()?)?,
            dp_share,
            noise_keys: [1, 2, 3].map(|share| NoiseKey::from_bytes([100 + share; 32])),
        })
    }

    /// The name of the question to these datasets.
    pub fn tau(&self, cohort: &[&Dataset]) -> Result<Tau> {
        let entry = |dataset: &&Dataset| {
            let bodies = DatasetBodyDigest::of_bodies(&[dataset.body.digest()]);
            CohortEntry { dataset: dataset.context.dataset, version: dataset.context.version, bodies }
        };
        let question = Question {
            network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
            panel: PanelDigest([4; 32]),
            block: self.block,
            slots: self.slots,
            cohort: CohortDigest::of_entries(cohort.iter().map(entry).collect())?,
            predicate: PredicateBytes::unfiltered(),
            dp_share: self.dp_share,
            noise_epoch: 1,
        };
        Ok(question.tau())
    }

    /// A name that has a nonce in it, as no question of the protocol has.
    pub fn tau_with_nonce(nonce: u64) -> Tau {
        let mut bytes = [0xee; 32];
        bytes[..8].copy_from_slice(&nonce.to_le_bytes());
        Tau(Digest32(bytes))
    }

    /// Sums the ciphertexts, takes off what the keyholders would release, and checks the check
    /// slots as researchers do.
    pub fn answer(&self, cohort: &[&Dataset], tau: &Tau) -> Result<Result<CombinedPlane, RlweError>> {
        let mut sum = Box::new([0u64; RING_DIMENSION]);
        for (total, value) in cohort.iter().flat_map(sum_pairs) {
            sum[total] = sum[total].wrapping_add(value);
        }
        let mut partials = Vec::with_capacity(3);
        for (share, noise_key) in ShareIndex::ALL.into_iter().zip(&self.noise_keys) {
            let seeds = cohort.iter().map(|dataset| (&dataset.context, dataset.secrets.seeds.of(share)));
            let share_sum = ShareSum::over(share, self.block, Plane::Calls, seeds)?;
            let noise = NoiseInput { noise_key, tau, dp_share: self.dp_share };
            partials.push(partial_decryption(Mask::v1(), &share_sum, Plane::Calls, &self.slots, noise)?);
        }
        let [first, second, third] = &partials[..] else { unreachable!("three shares") };
        let released = select_released(&self.slots, &sum);
        Ok(combine(Plane::Calls, &self.slots, &released, [first, second, third]))
    }

    /// The counts of these datasets under the question's own name.
    pub fn counts(&self, cohort: &[&Dataset]) -> Result<Vec<SignedCounts>> {
        let tau = self.tau(cohort)?;
        let combined = self.answer(cohort, &tau)??;
        Ok(combined.decode_calls(self.range(cohort.len())?)?)
    }

    /// Counters of a cohort of this size.
    pub fn range(&self, people: usize) -> Result<CounterRange> {
        let total = self.dp_share.map(|share| SigmaSquared::try_new(3 * share.numerator(), share.denominator()));
        let offset = total.transpose()?.map_or(Ok(0), SigmaSquared::decode_offset)?;
        Ok(CounterRange::try_new(u32::try_from(people)?, offset)?)
    }
}

fn sum_pairs<'a>(dataset: &'a &Dataset) -> impl Iterator<Item = (usize, u64)> + 'a {
    dataset.body.coefficients().iter().copied().enumerate()
}
