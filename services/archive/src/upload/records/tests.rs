use super::*;
use locus_commitment::{DatasetCommitments, GenotypeCommitment};
use locus_wire::pb::archive::DatasetRecord;

const REGISTRANT: Address = Address([7; 20]);
const NONCE: u64 = 5;

fn shares(byte: u8) -> [ShareCommitment; 3] {
    [1, 2, 3].map(|share| ShareCommitment(Digest32([byte + share; 32])))
}

fn leaf(ordinal: u32) -> DatasetLeaf {
    let byte = u8::try_from(ordinal).expect("few datasets") * 16;
    DatasetLeaf {
        dataset: DatasetId::derive(REGISTRANT, NONCE, ordinal),
        person: PersonTag([byte; 32]),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(Digest32([byte + 4; 32])),
            shares: ShareSetCommitment::new(&shares(byte)),
            genotypes: GenotypeCommitment(Digest32([byte + 5; 32])),
        },
    }
}

fn message(ordinal: u32, leaf: &DatasetLeaf) -> DatasetRecord {
    let byte = u8::try_from(ordinal).expect("few datasets") * 16;
    let share_commitments: Vec<u8> = shares(byte).iter().flat_map(|share| share.0.0).collect();
    DatasetRecord { leaf: Some(leaf.into()), share_commitments: share_commitments.into(), ..Default::default() }
}

fn accredited() -> Records {
    Records::new(REGISTRANT, NONCE, true, false)
}

#[test]
fn consistent_records_are_taken() {
    let mut records = accredited();
    for ordinal in 0..3 {
        records.push(&message(ordinal, &leaf(ordinal))).expect("consistent");
    }
    assert_eq!(records.leaves(), [leaf(0), leaf(1), leaf(2)]);
    assert_eq!(records.body_digests()[1], leaf(1).commitments.bodies);
}

#[test]
fn a_record_that_does_not_follow_from_the_batch_is_refused() {
    let changes: [(Commitment, fn(&mut DatasetLeaf)); 2] = [
        (Commitment::Dataset, |leaf| leaf.dataset = DatasetId::derive(Address([8; 20]), NONCE, 0)),
        (Commitment::Shares, |leaf| leaf.commitments.shares = ShareSetCommitment(Digest32([1; 32]))),
    ];
    for (expected, change) in changes {
        let mut changed = leaf(0);
        change(&mut changed);
        match accredited().push(&message(0, &changed)) {
            Err(ArchiveError::Mismatch { ordinal: 0, what }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    // A record sent under another ordinal.
    assert!(matches!(accredited().push(&message(1, &leaf(1))), Err(ArchiveError::Mismatch { .. })));
}

#[test]
fn a_person_who_enrols_alone_can_name_no_other_person() {
    let mut own = leaf(0);
    own.person = PersonTag::of_registrant(REGISTRANT);
    Records::new(REGISTRANT, NONCE, false, false).push(&message(0, &own)).expect("the registrant's own tag");
    let refused = Records::new(REGISTRANT, NONCE, false, false).push(&message(0, &leaf(0)));
    assert!(matches!(refused, Err(ArchiveError::Mismatch { what: Commitment::Person, .. })));
}

#[test]
fn a_copy_within_the_batch_is_refused_whatever_it_copies() {
    let copies: [(Commitment, fn(&mut DatasetLeaf, &DatasetLeaf)); 3] = [
        (Commitment::Bodies, |copy, of| copy.commitments.bodies = of.commitments.bodies),
        (Commitment::Genotypes, |copy, of| copy.commitments.genotypes = of.commitments.genotypes),
        (Commitment::Person, |copy, of| copy.person = of.person),
    ];
    for (expected, copy) in copies {
        let mut records = accredited();
        records.push(&message(0, &leaf(0))).expect("consistent");
        let mut copied = leaf(1);
        copy(&mut copied, &leaf(0));
        match records.push(&message(1, &copied)) {
            Err(ArchiveError::DuplicateInBatch { first: 0, second: 1, what }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    // Key shares, with the share commitments that go with them.
    let mut records = accredited();
    records.push(&message(0, &leaf(0))).expect("consistent");
    let mut copied = leaf(1);
    copied.commitments.shares = leaf(0).commitments.shares;
    let copied = DatasetRecord { leaf: Some((&copied).into()), ..message(0, &leaf(0)) };
    let refused = records.push(&copied);
    assert!(matches!(refused, Err(ArchiveError::DuplicateInBatch { what: Commitment::Shares, .. })));
}

#[test]
fn malformed_records_are_refused() {
    let whole = message(0, &leaf(0));
    let without_leaf = DatasetRecord { leaf: None, ..whole.clone() };
    let two_shares = DatasetRecord { share_commitments: vec![0; 64].into(), ..whole };
    for message in [without_leaf, two_shares] {
        assert!(matches!(accredited().push(&message), Err(ArchiveError::Field(_))));
    }
}
