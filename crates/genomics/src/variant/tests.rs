use super::*;
use proptest::prelude::*;

fn chrom(number: u8) -> Chrom {
    Chrom::try_new(number).expect("an autosome")
}

fn normal(position: u32, ref_allele: &str, alt_allele: &str) -> Result<String, VariantError> {
    Variant::normalise(chrom(1), position, ref_allele.as_bytes(), alt_allele.as_bytes()).map(|v| v.to_string())
}

#[test]
fn shared_bases_are_cut_from_the_end_first() {
    for (position, ref_allele, alt_allele, expected) in [
        (100, "A", "G", "1:100:A:G"),
        (100, "ca", "cg", "1:101:A:G"),
        (100, "ACT", "GCT", "1:100:A:G"),
        (100, "GACT", "GGCT", "1:101:A:G"),
        (100, "GA", "GAA", "1:100:G:GA"),
        (100, "GAA", "GA", "1:100:GA:G"),
        (100, "CTCC", "CCC", "1:100:CT:C"),
        (100, "AT", "GC", "1:100:AT:GC"),
        (100, "TAACCC", "T", "1:100:TAACCC:T"),
    ] {
        assert_eq!(normal(position, ref_allele, alt_allele).as_deref(), Ok(expected), "{ref_allele}>{alt_allele}");
    }
}

#[test]
fn what_is_not_a_variant_is_refused() {
    assert_eq!(normal(0, "A", "G"), Err(VariantError::Position(0)));
    assert_eq!(normal(POSITION_MAX + 1, "A", "G"), Err(VariantError::Position(POSITION_MAX + 1)));
    assert_eq!(normal(1, "A", "A"), Err(VariantError::SameAlleles));
    for (ref_allele, alt_allele) in
        [("A", ""), ("", "A"), ("N", "A"), ("A", "<DEL>"), ("A", "*"), ("A", "."), ("A", "R")]
    {
        assert_eq!(normal(1, ref_allele, alt_allele), Err(VariantError::Allele), "{ref_allele}>{alt_allele}");
    }
    assert!(normal(1, "A", &"A".repeat(ALLELE_BASES_MAX)).is_ok());
    assert_eq!(normal(1, "A", &"A".repeat(ALLELE_BASES_MAX + 1)), Err(VariantError::Allele));
}

#[test]
fn try_new_refuses_what_normalise_would_change() {
    assert_eq!(Variant::try_new(chrom(1), 5, "CA", "CG"), Err(VariantError::NotNormalised));
    assert_eq!(Variant::try_new(chrom(1), 5, "AC", "GC"), Err(VariantError::NotNormalised));
    assert_eq!(Variant::try_new(chrom(1), 5, "a", "g"), Err(VariantError::Allele));
    assert!(Variant::try_new(chrom(1), 5, "CA", "C").is_ok());
}

#[test]
fn indels_move_to_the_leftmost_place_of_their_repeat() {
    let reference = b"GGGCACACACAGGG";
    let base = |at: u32| usize::try_from(at - 1).ok().and_then(|at| reference.get(at).copied());
    for (position, ref_allele, alt_allele, expected) in [
        (8, "CAC", "C", "1:3:GCA:G"),
        (6, "CA", "CACA", "1:3:G:GCA"),
        (3, "GCA", "G", "1:3:GCA:G"),
        (2, "G", "GG", "1:1:G:GG"),
        (9, "A", "T", "1:9:A:T"),
        (10, "CA", "C", "1:10:CA:C"),
    ] {
        let given =
            Variant::normalise(chrom(1), position, ref_allele.as_bytes(), alt_allele.as_bytes()).expect("a variant");
        let aligned = given.left_align(base).map(|variant| variant.to_string());
        assert_eq!(aligned.as_deref(), Ok(expected), "{given}");
    }
}

#[test]
fn left_alignment_refuses_a_contradicting_reference_and_stops_at_unknown_bases() {
    let given = Variant::try_new(chrom(1), 3, "AA", "A").expect("a variant");
    assert_eq!(given.left_align(|_| Some(b'C')), Err(VariantError::ReferenceDiffers(3)));
    let reference = b"NAAA";
    let base = |at: u32| usize::try_from(at - 1).ok().and_then(|at| reference.get(at).copied());
    assert_eq!(given.left_align(base).map(|v| v.to_string()).as_deref(), Ok("1:2:AA:A"));
    assert_eq!(given.left_align(|_| None), Ok(given.clone()));
    let far = Variant::try_new(chrom(1), 200_001, "AA", "A").expect("a variant");
    assert_eq!(far.left_align(|_| Some(b'A')), Err(VariantError::ShiftTooLong(200_001)));
}

#[test]
fn ids_parse_with_and_without_prefix_into_one_form() {
    let expected = Variant::try_new(chrom(7), 123, "A", "T").expect("a variant");
    assert_eq!("7:123:A:T".parse(), Ok(expected.clone()));
    assert_eq!("chr7:123:a:t".parse(), Ok(expected.clone()));
    assert_eq!(expected.to_string(), "7:123:A:T");
    for id in ["", "7:123:A", "7:123:A:T:C", "7:-1:A:T", "7:99999999999:A:T"] {
        assert_eq!(id.parse::<Variant>(), Err(VariantError::Id), "{id}");
    }
    assert!(matches!("X:5:A:T".parse::<Variant>(), Err(VariantError::Chrom(_))));
}

#[test]
fn variants_sort_by_number_not_by_text() {
    let mut ids =
        ["10:1:A:C", "2:10:A:C", "2:9:A:C", "2:9:A:AC", "2:9:A:T"].map(|id| id.parse::<Variant>().expect("an id"));
    ids.sort();
    let sorted: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(sorted, ["2:9:A:AC", "2:9:A:C", "2:9:A:T", "2:10:A:C", "10:1:A:C"]);
}

#[test]
fn only_complementary_substitutions_are_strand_ambiguous() {
    for (id, ambiguous) in [("1:1:A:T", true), ("1:1:G:C", true), ("1:1:A:G", false), ("1:1:A:AT", false)] {
        assert_eq!(id.parse::<Variant>().expect("an id").as_ref().is_strand_ambiguous(), ambiguous, "{id}");
    }
}

/// The sequence that results from applying a variant to `reference`.
fn apply(reference: &[u8], variant: &Variant) -> Vec<u8> {
    let start = usize::try_from(variant.position()).expect("small") - 1;
    let mut out = reference[..start].to_vec();
    out.extend_from_slice(variant.alt_allele().as_bytes());
    out.extend_from_slice(&reference[start + variant.ref_allele().len()..]);
    out
}

fn bases(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'A'), Just(b'C')], len)
}

proptest! {
    #[test]
    fn normal_forms_spell_the_same_haplotype_and_are_unique(
        reference in bases(4..24), at in 0usize..20, len in 1usize..5, alt in bases(1..5),
    ) {
        let start = at % reference.len();
        let end = (start + len).min(reference.len());
        let base = |at: u32| usize::try_from(at - 1).ok().and_then(|at| reference.get(at).copied());
        let position = u32::try_from(start + 1).expect("small");
        if let Ok(variant) = Variant::normalise(chrom(1), position, &reference[start..end], &alt) {
            let aligned = variant.left_align(base).expect("the reference agrees");
            let mut haplotype = reference[..start].to_vec();
            haplotype.extend_from_slice(&alt);
            haplotype.extend_from_slice(&reference[end..]);
            prop_assert_eq!(apply(&reference, &variant), haplotype.clone());
            prop_assert_eq!(apply(&reference, &aligned), haplotype);
            prop_assert!(Variant::try_new(chrom(1), aligned.position(), aligned.ref_allele(), aligned.alt_allele()).is_ok());
            prop_assert_eq!(aligned.left_align(base).expect("the reference agrees"), aligned);
        }
    }

    #[test]
    fn any_text_as_an_id_is_parsed_or_refused(text in "\\PC{0,40}") {
        if let Ok(variant) = text.parse::<Variant>() {
            prop_assert_eq!(variant.to_string().parse(), Ok(variant));
        }
    }
}
