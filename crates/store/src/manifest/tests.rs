//! Every rule of the manifest format has a manifest that breaks it alone.

use super::*;

fn range(first: u32, count: u32) -> SlotRange {
    SlotRange { first, count }
}

/// Two batches, the first half compacted into shard 0, and one erased slot.
fn valid() -> ManifestFile {
    let part = |slots| BatchPart { index_digest: Hex32([1; 32]), slots };
    ManifestFile {
        format: MANIFEST_FORMAT,
        panel: Hex32([7; 32]),
        blocks: 2,
        complete_calls: true,
        version: 3,
        previous: Some(Hex32([2; 32])),
        batches: vec![
            BatchEntry {
                batch: Hex32([3; 32]),
                registration: 1,
                first_slot: 1000,
                rows: 1100,
                parts: vec![part(vec![range(1024, 1000)]), part(vec![range(2024, 76)])],
            },
            BatchEntry {
                batch: Hex32([4; 32]),
                registration: 2,
                first_slot: 2100,
                rows: 5,
                parts: vec![part(vec![range(2100, 5)])],
            },
        ],
        shards: vec![ShardEntry {
            shard: 0,
            generation: 2,
            index_digest: Hex32([5; 32]),
            slots: vec![range(0, 10), range(1000, 23)],
        }],
        tombstones: vec![range(1023, 1), range(2104, 1)],
        erased: vec![range(1023, 1)],
        retiring: vec![Origin::Shard { shard: 0, generation: 1 }],
    }
}

fn parse(file: &ManifestFile) -> Result<Manifest, StoreError> {
    Manifest::encode(&Path::from("manifest"), file.clone()).map(|(_, manifest)| manifest)
}

/// As version 1 of the format had it.
fn without_own_digest(file: &ManifestFile) -> Vec<u8> {
    serde_json::to_vec(&ManifestFile { format: 1, ..file.clone() }).expect("JSON")
}

#[test]
fn a_valid_manifest_says_what_is_live_and_what_is_left_to_do() {
    let manifest = parse(&valid()).expect("valid");
    assert_eq!(manifest.live().len(), 33 + 1000 + 76 + 4);
    assert_eq!(manifest.fragmented_shards(), BTreeSet::from([1, 2]));
    // Slot 1023 was left out of shard 0, but the batch's first part still has its body.
    assert_eq!(manifest.pending_erasure().iter().collect::<Vec<_>>(), [1023, 2104]);
    assert!(manifest.covers(range(1000, 1105)));
    assert!(!manifest.covers(range(10, 1)));
}

#[test]
fn equal_content_has_an_equal_digest() {
    let (first, second) = (parse(&valid()).expect("valid"), parse(&valid()).expect("valid"));
    assert_eq!(first.pin(), second.pin());
    let mut other = valid();
    other.batches[0].registration = 9;
    assert_ne!(parse(&other).expect("valid").pin(), first.pin());
}

#[test]
fn a_manifest_that_breaks_any_rule_is_refused() {
    type Corrupt = fn(&mut ManifestFile);
    let cases: [(&str, Corrupt); 19] = [
        ("version zero", |file| file.version = 0),
        ("no link to the version before", |file| file.previous = None),
        ("first version with a link", |file| file.version = 1),
        ("no blocks", |file| file.blocks = 0),
        ("overlapping tombstones", |file| file.tombstones.push(range(2104, 1))),
        ("erased without tombstone", |file| file.erased.push(range(1030, 1))),
        ("erased and stored", |file| {
            file.tombstones = vec![range(1022, 2)];
            file.erased = vec![range(1022, 1)];
        }),
        ("slot in two parts", |file| file.shards[0].slots[0] = range(1024, 1)),
        ("slot in two batches", |file| file.batches[1].first_slot = 2099),
        ("part slots outside the batch", |file| file.batches[1].parts[0].slots = vec![range(2100, 6)]),
        ("shard slots outside the shard", |file| file.shards[0].slots.push(range(1024, 1))),
        ("too few parts", |file| drop(file.batches[0].parts.pop())),
        ("batch too large", |file| file.batches[1].rows = 4097),
        ("batch past the last slot", |file| file.batches[1].first_slot = u32::MAX),
        ("same batch twice", |file| file.batches[1].batch = file.batches[0].batch),
        ("batch without slots", |file| file.batches[1].parts[0].slots.clear()),
        ("batches out of order", |file| file.batches.swap(0, 1)),
        ("shard of no generation", |file| file.shards[0].generation = 0),
        ("impossible shard", |file| file.shards[0].shard = u32::MAX),
    ];
    assert!(parse(&valid()).is_ok(), "the positive control");
    for (rule, corrupt) in cases {
        let mut file = valid();
        corrupt(&mut file);
        assert!(matches!(parse(&file), Err(StoreError::Malformed { .. })), "{rule}");
    }
}

#[test]
fn any_bit_that_changes_is_noticed() {
    let name = Path::from("manifest");
    let (bytes, manifest) = Manifest::encode(&name, valid()).expect("valid");
    assert_eq!(Manifest::parse(&name, &bytes).expect("valid"), manifest);
    let flipped = |bytes: &[u8], bit: usize| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        Manifest::parse(&name, &flipped)
    };
    assert!((0..8 * bytes.len()).all(|bit| flipped(&bytes, bit).is_err()));
    // Without the digest another name or slot is as good.
    let old = without_own_digest(&valid());
    assert!((0..8 * old.len()).filter(|bit| flipped(&old, *bit).is_ok()).count() > 100);
}

#[test]
fn a_manifest_of_version_1_is_read_and_what_follows_it_has_a_digest() {
    let name = Path::from("manifest");
    let old = without_own_digest(&valid());
    let read = Manifest::parse(&name, &old).expect("still read");
    let new = parse(&valid()).expect("valid");
    assert_eq!((read.parts(), read.held(), read.tombstones()), (new.parts(), new.held(), new.tombstones()));
    let (bytes, _) = Manifest::encode(&name, read.file().clone()).expect("valid");
    assert!(String::from_utf8(bytes.clone()).expect("text").starts_with("{\"format\":2,"));
    // Neither format passes for the other.
    let text = String::from_utf8(old).expect("text").replace("\"format\":1", "\"format\":2");
    assert!(Manifest::parse(&name, text.as_bytes()).is_err());
    let content = String::from_utf8(bytes).expect("text").replace("\"format\":2", "\"format\":1");
    let (content, _) = content.split_once(",\"digest\"").expect("a digest");
    let digest = content_digest(content.as_bytes());
    assert!(Manifest::parse(&name, format!("{content},\"digest\":\"{digest}\"}}").as_bytes()).is_err());
}

#[test]
fn bytes_that_are_not_a_manifest_are_refused() {
    let name = Path::from("manifest");
    let valid = String::from_utf8(without_own_digest(&valid())).expect("text");
    assert!(Manifest::parse(&name, valid.as_bytes()).is_ok(), "the positive control");
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[".repeat(100_000),
        valid.replace("\"format\":1", "\"format\":1,\"extra\":0"),
        valid.replace(&"03".repeat(32), &"0X".repeat(32)),
        valid.replace("\"shard=00000/gen=1\"", "\"shard=0/gen=1\""),
        valid.replace("1024,1000", "-1,1000"),
        valid.replace("1024,1000", "99999999999,1000"),
    ] {
        assert_ne!(bad, valid);
        assert!(Manifest::parse(&name, bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(60)]);
    }
}
