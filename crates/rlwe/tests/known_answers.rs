//! Values computed by a second implementation, `tests/vectors/reference.py`.

mod support;

use locus_commitment::sha3_256;
use locus_genomics::{Genotype, PackedGenotypes, PanelBlockIndex, Plane};
use locus_rlwe::{BlockKeys, DatasetEncryptor, Mask, ShareSumBuilder};
use locus_sharing::ShareIndex;
use support::{context, master};

fn genotypes() -> PackedGenotypes {
    let code = |variant: usize| u8::try_from((variant * variant + variant / 7) % 4).expect("below 4");
    (0..4080 + 1000).map(|variant| Genotype::from_low_bits(code(variant))).collect()
}

#[test]
fn bodies_equal_those_of_the_second_implementation() {
    let genotypes = genotypes();
    let context = context(0);
    let encryptor = DatasetEncryptor::new(&master(), &context, &genotypes);
    assert_eq!(encryptor.block_count(), 2);
    for (block, plane, expected) in [
        (0, Plane::Calls, "ba068e1523bf37e637c7c94e352799206b8ddd887fa236a8084a8ef8b1f6eb0d"),
        (0, Plane::Missing, "add993e16a50ed11a7c03879ff5694c8539e3bfb4686536eccaa5fe496e0aa2d"),
        (1, Plane::Calls, "c5ed371846d0e78edf83895c8b3199cae8892b23267188b2a26f9e1565b8fb71"),
        (1, Plane::Missing, "50581d80ec3c0d95be4991f4321581d504b1673b1f1561219bcbfb0a2047ee23"),
    ] {
        let body = encryptor.encrypt(Mask::v1(), PanelBlockIndex(block), plane).expect("the block exists");
        assert_eq!(sha3_256("body", &[&body.to_bytes()[..]]).to_string(), expected, "{block} {plane:?}");
    }
}

#[test]
fn the_mask_times_secret_bits_equals_that_of_the_second_implementation() {
    let genotypes = genotypes();
    let context = context(0);
    let encryptor = DatasetEncryptor::new(&master(), &context, &genotypes);
    let share = ShareIndex::ALL[2];
    let bits =
        BlockKeys::new(&context, share, encryptor.secrets().seeds.of(share)).expand(PanelBlockIndex(1), Plane::Missing);
    let mut builder = ShareSumBuilder::new(share);
    builder.add(&bits).expect("one dataset");
    let product = Mask::v1().multiply(&builder.finish());
    let bytes: Vec<u8> = product.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(
        sha3_256("product", &[&bytes]).to_string(),
        "6c9ccefc25c2aa760213c72a73397d441bc9b1cb1f5e145c8bb69f0e68f6c923"
    );
}

#[test]
fn a_released_share_keeps_its_bytes_from_release_to_release() {
    // The noise of an answered question must never be drawn anew, so this value must not change.
    let person = support::Person::new(0, genotypes());
    let slots = support::all_slots();
    let dp = Some(support::dp_share(50));
    let [calls, ..] = support::answer(&[&person], support::BLOCK, Plane::Calls, &slots, &support::tau(1), dp);
    let [.., missing] = support::answer(&[&person], support::BLOCK, Plane::Missing, &slots, &support::tau(1), dp);
    let digest = sha3_256("partial", &[&calls.to_bytes(), &missing.to_bytes()]);
    assert_eq!(digest.to_string(), "1a712f32fa925ad6f2b1d51af1e6d67692bace2697ef1ad6feb5f86ebce3c513");
    let commitment = calls.commitment(&support::noise_key(calls.share()), &support::tau(1));
    assert_eq!(commitment.to_string(), "0d5b8f05aecd0c2506356b18b3db62a5301c816eff1b25e8415b65c2e05a5cda");
}
