use super::*;
use proptest::prelude::*;

/// A genotype that differs from its neighbours in both directions.
fn genotype_at(variant: u32, person: u32) -> Genotype {
    let mixed = variant.wrapping_mul(0x9e37_79b9) ^ person.wrapping_mul(0x85eb_ca6b);
    let [.., high] = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d).to_le_bytes();
    Genotype::from_low_bits(high)
}

fn filled(mut spool: GenotypeSpool) -> GenotypeSpool {
    for variant in 0..spool.variant_count() {
        let row: PackedGenotypes = (0..spool.people()).map(|person| genotype_at(variant, person)).collect();
        spool.write_rows(VariantIndex(variant), row.as_bytes()).expect("within the spool");
    }
    spool
}

fn on_disk(people: u32, variant_count: u32) -> GenotypeSpool {
    let dir = std::env::temp_dir();
    let mut spool = GenotypeSpool::create(people, variant_count, &dir).expect("a spool");
    let Rows::Memory(memory) = &spool.rows else { return spool };
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(memory).expect("written");
    spool.rows = Rows::File(Mutex::new(file));
    spool
}

fn in_memory(people: u32, variant_count: u32) -> GenotypeSpool {
    GenotypeSpool::create(people, variant_count, &std::env::temp_dir()).expect("a spool")
}

#[test]
fn a_new_spool_has_only_missing_calls() {
    for spool in [in_memory(5, 3), on_disk(5, 3)] {
        for variant in 0..3 {
            assert_eq!(spool.counts(VariantIndex(variant)).expect("a row").missing(), 5);
        }
    }
}

#[test]
fn people_read_back_what_variants_wrote() {
    for (people, variant_count) in [(1, 1), (3, 4079), (4, 4080), (5, 4081), (37, 8200), (4099, 65)] {
        for spool in [filled(in_memory(people, variant_count)), filled(on_disk(people, variant_count))] {
            for person in [0, people / 2, people - 1] {
                let found = spool.person(person).expect("a person");
                let expected: PackedGenotypes = (0..variant_count).map(|v| genotype_at(v, person)).collect();
                assert_eq!(found, expected, "person {person} of {people} on {variant_count} variants");
            }
            let row = spool.row(VariantIndex(variant_count - 1)).expect("the last row");
            assert_eq!(row, (0..people).map(|p| genotype_at(variant_count - 1, p)).collect());
        }
    }
}

#[test]
fn strips_cover_everybody_once_and_pad_with_zeros() {
    let spool = filled(in_memory(4099, 4090));
    let strips: Vec<Range<u32>> = spool.strips().collect();
    assert_eq!(strips, [0..4096, 4096..4099]);
    let strip = spool.read_strip(PanelBlockIndex(1), 4096..4099).expect("the last strip");
    assert_eq!((strip.people(), strip.variant_count()), (4096..4099, 10));
    let bytes = strip.person(4098).expect("the last person");
    let expected: PackedGenotypes = (4080..4090).map(|variant| genotype_at(variant, 4098)).collect();
    assert_eq!(&bytes[..3], expected.as_bytes());
    assert!(bytes[3..].iter().all(|byte| *byte == 0));
    assert!(strip.person(4095).is_none() && strip.person(4099).is_none());
}

#[test]
fn places_outside_the_spool_are_refused() {
    let mut spool = in_memory(10, 20);
    assert!(matches!(spool.row(VariantIndex(20)), Err(IntakeError::SpoolRange)));
    assert!(matches!(spool.person(10), Err(IntakeError::SpoolRange)));
    for (block, people) in [(1, 0..4), (u32::MAX, 0..4), (0, 0..11), (0, 2..4), (0, 4..4)] {
        let refused = spool.read_strip(PanelBlockIndex(block), people.clone());
        assert!(matches!(refused, Err(IntakeError::SpoolRange)), "block {block} people {people:?}");
    }
    assert!(matches!(spool.write_rows(VariantIndex(20), &[0; 3]), Err(IntakeError::SpoolRange)));
}

#[test]
fn large_spools_leave_memory_and_no_name_on_the_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let people = u32::try_from(SPOOL_MEMORY_BYTES_MAX).expect("small") / 100;
    let spool = GenotypeSpool::create(people, 500, dir.path()).expect("a spool");
    assert!(matches!(spool.rows, Rows::File(_)));
    assert_eq!(spool.counts(VariantIndex(499)).expect("a row").missing(), u64::from(people));
    assert_eq!(std::fs::read_dir(dir.path()).expect("the directory").count(), 0);
}

#[test]
fn threads_share_a_spool() {
    fn check<T: Send + Sync>(_: &T) {}
    check(&in_memory(1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_transpose_agrees_with_single_genotypes(people in 1u32..70, variant_count in 1u32..200, on_file: bool) {
        let spool = filled(if on_file { on_disk(people, variant_count) } else { in_memory(people, variant_count) });
        let strip = spool.read_strip(PanelBlockIndex(0), 0..people).expect("everybody");
        for person in 0..people {
            let bytes = strip.person(person).expect("in the strip").to_vec();
            let genotypes = PackedGenotypes::try_from_bytes(bytes, 4080).expect("a whole block");
            for (variant, genotype) in (0..variant_count).zip(genotypes.iter()) {
                prop_assert_eq!(genotype, genotype_at(variant, person));
            }
        }
    }
}
