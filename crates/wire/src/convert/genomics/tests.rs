use super::*;
use locus_commitment::{Address, Digest32};
use locus_genomics::{Assembly, Panel, Variant, VariantIndex};

fn leaf() -> DatasetLeaf {
    DatasetLeaf {
        dataset: DatasetId([1; 32]),
        person: PersonTag([2; 32]),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(Digest32([3; 32])),
            shares: ShareSetCommitment(Digest32([4; 32])),
            genotypes: GenotypeCommitment(Digest32([5; 32])),
        },
    }
}

fn panel() -> Panel {
    let list: Vec<Variant> = (1..=5000).map(|place| format!("1:{place}:A:C").parse().expect("an id")).collect();
    Panel::try_new("t", Assembly::GRCh38, true, list.iter().map(Variant::as_ref)).expect("a panel")
}

fn ranges(ranges: &[(u32, u32)]) -> pb::VariantSelection {
    let range = |&(start, end): &(u32, u32)| pb::variant_selection::Range { start, end };
    pb::VariantSelection { ranges: ranges.iter().map(range).collect() }
}

#[test]
fn networks_survive_the_wire() {
    let network = NetworkId { chain_id: 31_337, registry: Address([9; 20]) };
    let message = pb::Network::from(&network);
    assert_eq!(NetworkId::try_from(&message), Ok(network));
    let nowhere = pb::Network { chain_id: 0, ..message.clone() };
    assert_eq!(NetworkId::try_from(&nowhere).err().map(|error| error.field), Some("network.chain_id"));
    let short = pb::Network { registry: vec![9; 19].into(), ..message };
    assert_eq!(NetworkId::try_from(&short).err().map(|error| error.field), Some("network.registry"));
}

#[test]
fn leaves_survive_the_wire_and_wrong_fields_are_refused() {
    let message = pb::DatasetLeaf::from(&leaf());
    assert_eq!(DatasetLeaf::try_from(&message), Ok(leaf()));
    let changes: [(&str, fn(&mut pb::DatasetLeaf)); 5] = [
        ("leaf.dataset_id", |message| message.dataset_id = vec![1; 31].into()),
        ("leaf.person_tag", |message| message.person_tag = vec![].into()),
        ("leaf.body_digest", |message| message.body_digest = vec![1; 33].into()),
        ("leaf.share_commitment", |message| message.share_commitment = vec![1; 96].into()),
        ("leaf.genotype_commitment", |message| message.genotype_commitment = vec![1; 16].into()),
    ];
    for (field, change) in changes {
        let mut changed = message.clone();
        change(&mut changed);
        assert_eq!(DatasetLeaf::try_from(&changed).err().map(|error| error.field), Some(field));
    }
}

#[test]
fn tiers_and_classes_survive_the_wire_and_zero_means_nothing() {
    for tier in Tier::ALL {
        assert_eq!(parse_tier("t", tier_to_pb(tier).into()), Ok(tier));
    }
    for class in [QueryClass::Counts, QueryClass::FilteredCounts, QueryClass::Association] {
        assert_eq!(parse_query_class("c", query_class_to_pb(class).into()), Ok(class));
    }
    for value in [-1, 0, 4, i32::MAX] {
        let refused = FieldError::new("x", FieldErrorKind::UnknownValue(value));
        assert_eq!(parse_tier("x", value), Err(refused.clone()));
        assert_eq!(parse_query_class("x", value), Err(refused));
    }
}

#[test]
fn selections_survive_the_wire() {
    let panel = panel();
    let scattered = [0, 1, 2, 9, 4079, 4080, 4999].map(VariantIndex);
    let selections =
        [VariantSelection::all(&panel), VariantSelection::from_indices(&panel, scattered).expect("a selection")];
    for selection in selections {
        let message = selection_to_pb(&selection);
        assert_eq!(parse_selection(&message, panel.digest(), panel.variant_count()), Ok(selection));
    }
    let message = selection_to_pb(&VariantSelection::from_indices(&panel, scattered).expect("a selection"));
    assert_eq!(message, ranges(&[(0, 3), (9, 10), (4079, 4081), (4999, 5000)]));
}

#[test]
fn a_selection_has_one_list_of_ranges() {
    let panel = panel();
    let parses = |list: &[(u32, u32)]| {
        let parsed = parse_selection(&ranges(list), panel.digest(), panel.variant_count());
        assert!(parsed.as_ref().is_ok() || parsed.as_ref().err().map(|error| error.field) == Some("selection.ranges"));
        parsed.is_ok()
    };
    assert!(parses(&[(0, 1), (2, 3), (4999, 5000)]));
    for list in [
        &[][..],
        &[(1, 1)],
        &[(2, 1)],
        &[(0, 2), (2, 3)],
        &[(0, 3), (2, 5)],
        &[(4, 5), (0, 1)],
        &[(0, 9), (0, 9)],
        &[(0, 1), (4000, 5001)],
        &[(0, u32::MAX)],
    ] {
        assert!(!parses(list), "{list:?}");
    }
}
