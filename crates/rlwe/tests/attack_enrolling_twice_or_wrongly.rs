//! Retries, edits, and datasets whose body and seeds do not belong together.

mod support;

use locus_genomics::{Genotype, PackedGenotypes, PanelBlockIndex, Plane};
use locus_rlwe::{
    BlockKeys, Body, DatasetEncryptor, DatasetKeys, Mask, RlweError, check_share_values, verify_check_slots,
};
use locus_sharing::{GenotypeDigest, KeySeed, ShareIndex};
use support::{BLOCK, Person, context, master, random_genotypes};

const BLOCKS: [PanelBlockIndex; 2] = [PanelBlockIndex(0), PanelBlockIndex(1)];

fn all_bodies(person: &Person) -> Vec<Body> {
    let places = BLOCKS.iter().flat_map(|block| [(*block, Plane::Calls), (*block, Plane::Missing)]);
    places.map(|(block, plane)| person.body(block, plane)).collect()
}

fn person() -> Person {
    Person::new(0, random_genotypes(5, 4080 + 100))
}

/// What the three pairs of holders show at enrolment, from the seeds they were given.
fn shown(person: &Person, seeds: [&KeySeed; 3], block: PanelBlockIndex, plane: Plane) -> [[u64; 16]; 3] {
    ShareIndex::ALL.map(|share| {
        let keys = BlockKeys::new(&person.context, share, seeds[share.position()]);
        check_share_values(Mask::v1(), &keys.expand(block, plane))
    })
}

fn seeds_of(person: &Person) -> [&KeySeed; 3] {
    ShareIndex::ALL.map(|share| person.secrets.seeds.of(share))
}

#[test]
fn a_retry_gives_identical_bytes() {
    assert_eq!(all_bodies(&person()), all_bodies(&person()));
}

#[test]
fn an_edited_genotype_under_the_same_version_gets_unrelated_seeds_and_bodies() {
    let first = person();
    let mut edited_genotypes = first.genotypes.clone();
    let edit = match edited_genotypes.get(4100) {
        Some(Genotype::Het) => Genotype::HomRef,
        _ => Genotype::Het,
    };
    assert!(edited_genotypes.set(4100, edit));
    let second = Person::new(0, edited_genotypes);
    for share in ShareIndex::ALL {
        assert!(!first.secrets.seeds.of(share).is_same_as(second.secrets.seeds.of(share)));
    }
    // The edit is in block 1. Even block 0, with equal genotypes, is encrypted afresh: in a reused
    // key the two bodies would differ by encryption noise alone.
    for (before, after) in all_bodies(&first).iter().zip(all_bodies(&second)) {
        let pairs = before.coefficients().iter().zip(after.coefficients());
        let close = pairs.filter(|(left, right)| left.wrapping_sub(**right).cast_signed().unsigned_abs() < 1 << 46);
        // Unrelated words lie within 2^46 of each other with probability 2^-17.
        assert!(close.count() < 8);
    }
}

#[test]
fn a_key_that_served_two_genotypes_would_show_which_variant_was_edited() {
    // Control: keys that follow from the first genotypes, whatever is encrypted with them.
    let person = person();
    let packed = &person.genotypes.as_bytes()[..1020];
    let mut edited = packed.to_vec();
    // The first of the four genotypes in this byte gets another flag, or loses the one it has.
    edited[500] ^= 1;
    let keys = DatasetKeys::derive(&master(), &person.context, &GenotypeDigest::of_packed(packed));
    let [before, after] =
        [packed, &edited[..]].map(|block| keys.encrypt(Mask::v1(), BLOCK, Plane::Calls, block).expect("one block"));
    let pairs = before.coefficients().iter().zip(after.coefficients());
    let differing: Vec<usize> =
        pairs.enumerate().filter(|(_, (left, right))| left != right).map(|(place, _)| place).collect();
    assert_eq!(differing, [16 + 4 * 500]);
}

#[test]
fn no_two_bodies_of_a_dataset_share_a_key() {
    // With equal plaintexts (nothing but hom_ref) any reuse would show as a small difference.
    let person = Person::new(0, PackedGenotypes::filled(2 * 4080, Genotype::HomRef));
    let next = Person::new(1, PackedGenotypes::filled(2 * 4080, Genotype::HomRef));
    let mut bodies = all_bodies(&person);
    bodies.extend(all_bodies(&next));
    for (place, left) in bodies.iter().enumerate() {
        for right in &bodies[place + 1..] {
            let pairs = left.coefficients().iter().zip(right.coefficients());
            let closest = pairs.map(|(first, second)| first.wrapping_sub(*second).cast_signed().unsigned_abs());
            assert!(closest.max() > Some(1 << 60));
        }
    }
}

#[test]
fn the_next_version_of_a_dataset_gets_other_keys() {
    let genotypes = random_genotypes(5, 4080);
    let body = |version| {
        let context = locus_commitment::DatasetContext { version, ..context(0) };
        DatasetEncryptor::new(&master(), &context, &genotypes).encrypt(Mask::v1(), BLOCK, Plane::Calls)
    };
    assert_ne!(body(1), body(2));
}

#[test]
fn check_slots_of_an_honest_dataset_are_zero_on_every_block_and_plane() {
    let person = person();
    for block in BLOCKS {
        for plane in [Plane::Calls, Plane::Missing] {
            let values = shown(&person, seeds_of(&person), block, plane);
            assert_eq!(verify_check_slots(&person.body(block, plane).check_slots(), &values), Ok(()));
        }
    }
}

#[test]
fn check_values_equal_the_product_with_the_mask() {
    let person = person();
    for share in ShareIndex::ALL {
        let values = shown(&person, seeds_of(&person), BLOCK, Plane::Calls)[share.position()];
        let product = Mask::v1().multiply(&support::share_sum(&[&person], share, BLOCK, Plane::Calls));
        assert_eq!(values[..], product[..16]);
    }
}

#[test]
fn one_wrong_bit_in_one_seed_is_refused() {
    let person = person();
    let body = person.body(BLOCK, Plane::Calls).check_slots();
    for share in ShareIndex::ALL {
        let mut bytes = *person.secrets.seeds.of(share).as_bytes();
        bytes[31] ^= 0x80;
        let wrong = KeySeed::from_bytes(bytes);
        let mut seeds = seeds_of(&person);
        seeds[share.position()] = &wrong;
        let refused = verify_check_slots(&body, &shown(&person, seeds, BLOCK, Plane::Calls));
        assert!(matches!(refused, Err(RlweError::DatasetCheckSlot { .. })));
    }
}

#[test]
fn swapped_bodies_shares_and_flipped_bits_are_refused() {
    let person = person();
    let values = shown(&person, seeds_of(&person), BLOCK, Plane::Calls);
    let body = person.body(BLOCK, Plane::Calls).check_slots();
    for (block, plane) in [(BLOCK, Plane::Missing), (BLOCKS[1], Plane::Calls)] {
        assert!(verify_check_slots(&person.body(block, plane).check_slots(), &values).is_err());
    }
    let other = Person::new(1, random_genotypes(5, 4080));
    assert!(verify_check_slots(&other.body(BLOCK, Plane::Calls).check_slots(), &values).is_err());
    let [first, second, third] = seeds_of(&person);
    let swapped = shown(&person, [second, first, third], BLOCK, Plane::Calls);
    assert!(verify_check_slots(&body, &swapped).is_err(), "the share index is part of the key");
    for slot in 0..16u32 {
        for bit in [4, 26, 45, 63] {
            let mut flipped = body;
            flipped[usize::try_from(slot).expect("small")] ^= 1 << bit;
            assert_eq!(verify_check_slots(&flipped, &values), Err(RlweError::DatasetCheckSlot { slot }));
        }
    }
}

#[test]
fn encryption_noise_one_past_either_end_is_refused() {
    let shares = [[0; 16]; 3];
    for (value, allowed) in [(-9i64, false), (-8, true), (0, true), (7, true), (8, false)] {
        let mut body = [0; 16];
        body[15] = value.cast_unsigned();
        assert_eq!(verify_check_slots(&body, &shares).is_ok(), allowed, "{value}");
    }
}
