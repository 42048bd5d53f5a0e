//! Re-keyed bodies: same flags, other keys; and what somebody learns who gets keys of before and of after.

use super::*;
use crate::{BlockKeys, HET_SHIFT, LOW_BITS_ABS_MAX, encrypt::DatasetEncryptor, secret::SecretKey};
use locus_commitment::{Address, DatasetContext, DatasetId, NetworkId};
use locus_genomics::{Genotype, PackedGenotypes, PanelDigest, VARIANTS_PER_PANEL_BLOCK};
use locus_privacy::REKEYINGS_MAX;
use locus_sharing::{KeySeed, MasterSecret, ShareIndex};

const BLOCK: PanelBlockIndex = PanelBlockIndex(0);
const PLANE: Plane = Plane::Calls;

fn context(version: u32) -> DatasetContext {
    DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant: Address([2; 20]),
        dataset: DatasetId([3; 32]),
        panel: PanelDigest([4; 32]),
        version,
    }
}

fn genotypes() -> PackedGenotypes {
    let all = [Genotype::HomRef, Genotype::Het, Genotype::HomAlt];
    (0..VARIANTS_PER_PANEL_BLOCK as usize).map(|variant| all[(variant * variant + variant / 3) % 3]).collect()
}

/// The secrets of shares 1, 2 and 3 in a generation of keys; those of 0 are the contributor's.
struct Keys(Vec<[SecretBits; 3]>);

impl Keys {
    fn new(encryptor: &DatasetEncryptor<'_>) -> Self {
        let first = ShareIndex::ALL
            .map(|share| BlockKeys::new(&context(1), share, encryptor.secrets().seeds.of(share)).expand(BLOCK, PLANE));
        let later = (1..=REKEYINGS_MAX).map(|generation| {
            ShareIndex::ALL.map(|share| {
                let seed = KeySeed::from_bytes([generation * 4 + share.get(); 32]);
                BlockKeys::new(&context(1 + u32::from(generation)), share, &seed).expand(BLOCK, PLANE)
            })
        });
        Self(std::iter::once(first).chain(later).collect())
    }

    /// The parts that lead to `generation`.
    fn parts(&self, generation: usize) -> [RekeyingPart; 3] {
        [0, 1, 2].map(|share| {
            let seed = RekeyingNoiseSeed::from_bytes([u8::try_from(generation * 4 + share).unwrap(); 32]);
            let noise = RekeyingNoise::expand(&seed, BLOCK, PLANE);
            RekeyingPart::new(Mask::v1(), &self.0[generation - 1][share], &self.0[generation][share], &noise)
        })
    }
}

/// The body minus a times these secrets.
fn without(body: &Body, secrets: [&SecretBits; 3]) -> Vec<u64> {
    let product = Mask::v1().multiply_key(SecretKey::new(secrets).coefficients());
    body.coefficients().iter().zip(product.iter()).map(|(word, known)| word.wrapping_sub(*known)).collect()
}

/// Every slot's flags, if what is below them is small.
fn flags(words: &[u64], noise_abs_max: u64) -> Option<Vec<u64>> {
    let flag = |word: &u64| {
        let rounded = word.wrapping_add(LOW_BITS_ABS_MAX) >> HET_SHIFT << HET_SHIFT;
        (word.wrapping_sub(rounded).cast_signed().unsigned_abs() <= noise_abs_max).then_some(rounded)
    };
    words.iter().map(flag).collect()
}

#[test]
fn eight_rekeyings_keep_the_flags_and_the_noise_budget_and_end_every_older_key() {
    let genotypes = genotypes();
    let encryptor = DatasetEncryptor::new(&MasterSecret::from_bytes([9; 32]), &context(1), &genotypes);
    let keys = Keys::new(&encryptor);
    let mut body = encryptor.encrypt(Mask::v1(), BLOCK, PLANE).unwrap();
    let expected = flags(&without(&body, keys.0[0].each_ref()), 8).unwrap();
    assert!(expected.iter().any(|flag| *flag != 0));
    for generation in 1..=usize::from(REKEYINGS_MAX) {
        let parts = keys.parts(generation);
        body = body.rekeyed(parts.each_ref());
        let noise_abs_max = 8 + 24 * generation as u64;
        for (older, secrets) in keys.0.iter().enumerate().take(generation + 1) {
            let found = flags(&without(&body, secrets.each_ref()), noise_abs_max);
            let should_open = older == generation;
            assert_eq!(found.as_ref() == Some(&expected), should_open, "keys {older}, bodies {generation}");
        }
    }
}

#[test]
fn keys_of_two_keyholders_of_different_generations_open_neither_body() {
    let genotypes = genotypes();
    let encryptor = DatasetEncryptor::new(&MasterSecret::from_bytes([9; 32]), &context(1), &genotypes);
    let keys = Keys::new(&encryptor);
    let old = encryptor.encrypt(Mask::v1(), BLOCK, PLANE).unwrap();
    let parts = keys.parts(1);
    let new = old.rekeyed(parts.each_ref());
    let expected = flags(&without(&old, keys.0[0].each_ref()), 8).unwrap();
    // Keyholder 1 lost shares 2 and 3 before, keyholder 2 shares 1 and 3 after.
    let [_, old_2, old_3] = &keys.0[0];
    let [new_1, _, new_3] = &keys.0[1];
    let nothing = SecretBits::zeros();
    let mixtures: [(&Body, [&SecretBits; 3]); 4] = [
        (&old, [&nothing, old_2, old_3]),
        (&old, [new_1, old_2, old_3]),
        (&new, [new_1, &nothing, new_3]),
        (&new, [new_1, old_2, new_3]),
    ];
    for (body, secrets) in mixtures {
        assert_eq!(flags(&without(body, secrets), 32), None);
    }
    // The control: with the part of share 1 in the open, the same keys open the old body.
    let mut opened = without(&old, [new_1, old_2, old_3]);
    opened.iter_mut().zip(parts[0].0.iter()).for_each(|(word, change)| *word = word.wrapping_add(*change));
    assert_eq!(flags(&opened, 16), Some(expected));
}

#[test]
fn a_part_is_what_its_bytes_say_and_its_noise_is_centred() {
    let genotypes = genotypes();
    let encryptor = DatasetEncryptor::new(&MasterSecret::from_bytes([9; 32]), &context(1), &genotypes);
    let [part, ..] = Keys::new(&encryptor).parts(1);
    assert_eq!(RekeyingPart::parse(&part.to_bytes()).unwrap().0, part.0);
    assert!(RekeyingPart::parse(&part.to_bytes()[1..]).is_err());

    let (mut counts, mut bodies) = ([0u32; 17], 0u32);
    for seed in 0..32 {
        let noise = RekeyingNoise::expand(&RekeyingNoiseSeed::from_bytes([seed; 32]), BLOCK, PLANE);
        for value in noise.values() {
            counts[usize::try_from(value + 8).expect("no value is below -8")] += 1;
        }
        bodies += 1;
    }
    let draws = i64::from(bodies * 4096);
    for (value, count) in (-8..=8).zip(counts) {
        let expected = if i32::abs(value) == 8 { draws / 32 } else { draws / 16 };
        // Six standard deviations of a Poisson count.
        let distance = i64::from(count) - expected;
        assert!(distance * distance < 36 * expected, "{value}: {count} of {expected}");
    }
}
