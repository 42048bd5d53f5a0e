use super::*;
use proptest::prelude::*;

fn variants(ids: &[&str]) -> Vec<Variant> {
    ids.iter().map(|id| id.parse().expect("an id")).collect()
}

fn panel_of(ids: &[&str]) -> Result<Panel, PanelError> {
    Panel::try_new("test", Assembly::GRCh38, false, variants(ids).iter().map(Variant::as_ref))
}

fn example() -> Panel {
    panel_of(&["22:16050075:A:G", "2:5:C:T", "1:10:GA:G", "1:10:G:T", "chr1:9:T:TA"]).expect("a panel")
}

#[test]
fn a_panel_is_sorted_whatever_the_order_given() {
    let ids: Vec<String> = example().variants().map(|variant| variant.to_string()).collect();
    assert_eq!(ids, ["1:9:T:TA", "1:10:G:T", "1:10:GA:G", "2:5:C:T", "22:16050075:A:G"]);
    let reordered = panel_of(&["1:10:G:T", "1:9:T:TA", "22:16050075:A:G", "1:10:GA:G", "2:5:C:T"]).expect("a panel");
    assert_eq!(reordered.digest(), example().digest());
}

#[test]
fn the_canonical_bytes_and_the_digest_stay_what_they_were() {
    let panel = panel_of(&["1:9:T:TA", "22:16050075:A:G"]).expect("a panel");
    let expected: &[u8] = b"\x01\x26\x00\x04\x00test\x02\x00\x00\x00\
        \x01\x09\x00\x00\x00\x01\x00T\x02\x00TA\x16\x9b\xe7\xf4\x00\x01\x00A\x01\x00G";
    assert_eq!(panel.to_canonical_bytes(), expected);
    assert_eq!(panel.digest().to_string(), GOLDEN_DIGEST);
}

/// Over the 36 bytes of the test above; computed with another SHA3 implementation (Python's hashlib).
const GOLDEN_DIGEST: &str = "3a0df71ef61fe9d5adc393c560252071540b419a4628cedde8e78ab1dd0ba72b";

#[test]
fn everything_in_a_panel_changes_its_digest() {
    let base = panel_of(&["1:9:T:TA", "2:5:C:T"]).expect("a panel");
    let list = variants(&["1:9:T:TA", "2:5:C:T"]);
    let with = |name: &str, assembly: Assembly, complete: bool| {
        Panel::try_new(name, assembly, complete, list.iter().map(Variant::as_ref)).expect("a panel").digest()
    };
    let others = [
        with("other", Assembly::GRCh38, false),
        with("test", Assembly::GRCh37, false),
        with("test", Assembly::GRCh38, true),
        panel_of(&["1:9:T:TA"]).expect("a panel").digest(),
        panel_of(&["1:9:T:TA", "2:6:C:T"]).expect("a panel").digest(),
        panel_of(&["1:9:T:TA", "2:5:C:A"]).expect("a panel").digest(),
        panel_of(&["1:9:T:TA", "3:5:C:T"]).expect("a panel").digest(),
    ];
    assert_eq!(with("test", Assembly::GRCh38, false), base.digest());
    assert!(others.iter().all(|digest| *digest != base.digest()), "{others:?}");
}

#[test]
fn variants_are_found_by_value_and_by_position() {
    let panel = example();
    for (index, variant) in (0..).zip(panel.variants()) {
        assert_eq!(panel.find(variant), Some(VariantIndex(index)));
        assert_eq!(panel.variant(VariantIndex(index)), Some(variant));
    }
    let absent: Variant = "1:10:G:C".parse().expect("an id");
    assert_eq!(panel.find(absent.as_ref()), None);
    assert_eq!(panel.variant(VariantIndex(5)), None);
    let chrom = |number| Chrom::try_new(number).expect("an autosome");
    assert_eq!(panel.at_position(chrom(1), 10), 1..3);
    assert!(panel.at_position(chrom(1), 11).is_empty());
    assert_eq!(panel.in_region(chrom(1), 9..10), 0..1);
    assert_eq!(panel.in_region(chrom(1), 1..u32::MAX), 0..3);
    assert_eq!(panel.in_region(chrom(2), 1..u32::MAX), 3..4);
    assert!(panel.in_region(chrom(3), 1..u32::MAX).is_empty());
}

#[test]
fn blocks_carry_4080_variants_and_the_last_one_the_rest() {
    let list: Vec<Variant> = (1..=4081).map(|position| format!("1:{position}:A:C").parse().expect("an id")).collect();
    let full = |count: usize| {
        Panel::try_new("t", Assembly::GRCh37, true, list[..count].iter().map(Variant::as_ref)).expect("a panel")
    };
    assert_eq!((full(4080).block_count(), full(4081).block_count()), (1, 2));
    assert_eq!(full(4081).block_variants(PanelBlockIndex(0)), 0..4080);
    assert_eq!(full(4081).block_variants(PanelBlockIndex(1)), 4080..4081);
    assert!(full(4081).block_variants(PanelBlockIndex(2)).is_empty());
    assert!(full(4081).block_variants(PanelBlockIndex(u32::MAX)).is_empty());
}

#[test]
fn what_is_not_a_panel_is_refused() {
    assert_eq!(panel_of(&[]), Err(PanelError::Empty));
    assert_eq!(panel_of(&["1:9:T:TA", "chr1:9:T:TA"]), Err(PanelError::Duplicate("1:9:T:TA".into())));
    assert!(matches!(panel_of(&["22:50818469:A:C"]), Err(PanelError::PastChromEnd { .. })));
    assert!(panel_of(&["22:50818468:A:C"]).is_ok());
    for name in ["", "a b", "a\nb", "é", &"n".repeat(65)] {
        assert_eq!(Panel::try_new(name, Assembly::GRCh37, true, []), Err(PanelError::Name(name.to_owned())),);
    }
}

#[test]
fn merging_keeps_each_variant_once_and_counts_the_others() {
    let mut builder = PanelBuilder::try_new("t", Assembly::GRCh37).expect("a name");
    for variant in variants(&["2:5:C:T", "1:9:T:TA", "2:5:C:T", "2:5:C:T"]) {
        builder.push(variant.as_ref()).expect("a variant");
    }
    let (panel, repetitions) = builder.build_merging_duplicates(true).expect("a panel");
    assert_eq!((panel.variant_count(), repetitions), (2, 2));
}

#[test]
fn text_and_canonical_bytes_read_back_as_the_same_panel() {
    let panel = example();
    let text = panel.to_text();
    let read = Panel::parse_text(&text).expect("its own text");
    assert_eq!((read.digest(), read.name()), (panel.digest(), panel.name()));
    assert_eq!(read.to_text(), text);
    assert_eq!(Panel::parse_text(&text.replace('\n', "\r\n")), Ok(panel.clone()));
    assert_eq!(Panel::from_canonical_bytes(&panel.to_canonical_bytes()), Ok(panel));
}

#[test]
fn a_damaged_panel_file_is_refused_with_its_line() {
    let text = example().to_text();
    for (from, to, line, message) in [
        ("##locus-panel=1", "##fileformat=VCFv4.2", 1, "is this a panel file?"),
        ("##name=test", "##name=a b", 2, "a panel name is"),
        ("GRCh38", "GRCh39", 3, "unknown assembly"),
        ("=false", "=no", 4, "not a value"),
        ("##variants=5", "##variants=6", 11, "is it complete?"),
        ("1\t9\tT\tTA", "1\t9\tT", 7, "found 3"),
        ("1\t9\tT\tTA", "1\t+9\tT\tTA", 7, "not a position"),
        ("1\t9\tT\tTA", "chr1\t9\tT\tTA", 7, "write the chromosome as 1"),
        ("1\t9\tT\tTA", "X\t9\tT\tTA", 7, "not an autosome"),
        ("1\t9\tT\tTA", "1\t9\tTC\tAC", 7, "parsimonious"),
        ("1\t10\tG\tT", "1\t9\tT\tTA", 8, "twice"),
        ("2\t5\tC\tT", "1\t5\tC\tT", 10, "out of order"),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text, "{from}");
        let error = Panel::parse_text(&damaged).expect_err(to);
        assert_eq!(error.line, line, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    assert_eq!(Panel::parse_text("").expect_err("empty").line, 1);
}

#[test]
fn no_shortened_or_extended_encoding_is_accepted() {
    let bytes = example().to_canonical_bytes();
    for len in 0..bytes.len() {
        assert!(Panel::from_canonical_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Panel::from_canonical_bytes(&longer), Err(PanelDecodeError::TrailingBytes(1)));
}

proptest! {
    #[test]
    fn bytes_that_decode_encode_back_to_themselves(at in 0usize..80, value: u8) {
        let mut bytes = example().to_canonical_bytes();
        let place = at % bytes.len();
        bytes[place] = value;
        if let Ok(panel) = Panel::from_canonical_bytes(&bytes) {
            prop_assert_eq!(panel.to_canonical_bytes(), bytes);
        }
    }

    #[test]
    fn arbitrary_input_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".{0,300}") {
        prop_assert!(Panel::from_canonical_bytes(&bytes).is_err());
        prop_assert!(Panel::parse_text(&text).is_err());
    }
}
