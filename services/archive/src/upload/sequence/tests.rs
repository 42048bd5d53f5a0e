use super::*;
use locus_wire::pb::archive::DatasetRecord;

/// Three datasets on a panel of two blocks with both planes.
fn upload() -> Sequence {
    Sequence::new(3, 2, 2, false)
}

fn bodies(block: u32, plane: u32, first_ordinal: u32, count: usize) -> BodyChunk {
    BodyChunk { block, plane, first_ordinal, bodies: vec![0; count * BODY_BYTES].into(), proofs: Default::default() }
}

fn records(first_ordinal: u32, count: usize) -> DatasetChunk {
    DatasetChunk { first_ordinal, datasets: vec![DatasetRecord::default(); count] }
}

fn seeds(keyholder: u32, first_ordinal: u32, dataset_count: u32) -> SealedSeeds {
    let bytes = SEALED_OVERHEAD_BYTES + SEALED_DATASET_BYTES * dataset_count as usize;
    SealedSeeds { keyholder, first_ordinal, dataset_count, sealed: vec![0; bytes].into() }
}

/// One message of an upload.
enum Part {
    Bodies(BodyChunk),
    Datasets(DatasetChunk),
    Seeds(SealedSeeds),
    Finish,
}

impl Part {
    fn take(&self, sequence: &mut Sequence) -> Result<(), SequenceError> {
        match self {
            Self::Bodies(chunk) => sequence.bodies(chunk).map(drop),
            Self::Datasets(chunk) => sequence.datasets(chunk),
            Self::Seeds(chunk) => sequence.seeds(chunk),
            Self::Finish => sequence.finish(),
        }
    }
}

/// The messages of a whole upload that is in order.
fn whole_upload() -> Vec<Part> {
    let mut parts = Vec::new();
    for block in 0..2 {
        for plane in 0..2 {
            parts.push(Part::Bodies(bodies(block, plane, 0, 2)));
            parts.push(Part::Bodies(bodies(block, plane, 2, 1)));
        }
    }
    parts.push(Part::Datasets(records(0, 1)));
    parts.push(Part::Datasets(records(1, 2)));
    for keyholder in 1..=3 {
        parts.push(Part::Seeds(seeds(keyholder, 0, 2)));
        parts.push(Part::Seeds(seeds(keyholder, 2, 1)));
    }
    parts.push(Part::Finish);
    parts
}

/// Runs the first `after` messages of a whole upload.
fn run(after: usize) -> Sequence {
    let mut sequence = upload();
    for part in &whole_upload()[..after] {
        part.take(&mut sequence).expect("the upload is in order");
    }
    sequence
}

#[test]
fn an_upload_in_order_is_taken_to_its_end() {
    let parts = whole_upload();
    let sequence = run(parts.len());
    assert_eq!(sequence.expected(), Place::End);
    assert_eq!(sequence.packages(), [0..2, 2..3]);
}

#[test]
fn no_message_can_be_left_out_or_repeated() {
    let parts = whole_upload();
    for position in 0..parts.len() {
        if position + 1 < parts.len() {
            let skipped = parts[position + 1].take(&mut run(position));
            // Seeds of two keyholders may take turns, so leaving out one package is seen at the finish.
            let may_take_turns = matches!(
                (&parts[position], &parts[position + 1]),
                (Part::Seeds(left_out), Part::Seeds(next)) if left_out.keyholder != next.keyholder
            );
            assert!(skipped.is_err() || may_take_turns, "message {position} was left out");
        }
        assert!(parts[position].take(&mut run(position + 1)).is_err(), "message {position} was repeated");
    }
}

#[test]
fn an_upload_that_misses_any_message_never_finishes() {
    let parts = whole_upload();
    for left_out in 0..parts.len() {
        let mut sequence = upload();
        let others = parts.iter().enumerate().filter(|&(position, _)| position != left_out);
        let refused = others.map(|(_, part)| part.take(&mut sequence)).any(|taken| taken.is_err());
        assert!(refused || sequence.expected() != Place::End, "message {left_out} was left out");
    }
}

#[test]
fn messages_out_of_order_are_refused_with_what_was_expected() {
    let first = Place::Bodies { block: 0, plane: 0, ordinal: 0 };
    let cases: Vec<(usize, Part, Place)> = vec![
        (0, Part::Bodies(bodies(0, 0, 1, 1)), first),
        (0, Part::Bodies(bodies(0, 1, 0, 1)), first),
        (0, Part::Bodies(bodies(1, 0, 0, 1)), first),
        (0, Part::Datasets(records(0, 3)), first),
        (0, Part::Seeds(seeds(1, 0, 3)), first),
        (0, Part::Finish, first),
        (1, Part::Bodies(bodies(0, 0, 1, 1)), Place::Bodies { block: 0, plane: 0, ordinal: 2 }),
        (2, Part::Bodies(bodies(1, 0, 0, 1)), Place::Bodies { block: 0, plane: 1, ordinal: 0 }),
        (8, Part::Bodies(bodies(2, 0, 0, 1)), Place::Datasets { ordinal: 0 }),
        (8, Part::Datasets(records(1, 1)), Place::Datasets { ordinal: 0 }),
        (9, Part::Seeds(seeds(1, 0, 3)), Place::Datasets { ordinal: 1 }),
        (10, Part::Datasets(records(3, 1)), Place::Seeds { keyholder: 1, ordinal: 0 }),
        (10, Part::Seeds(seeds(0, 0, 2)), Place::Seeds { keyholder: 1, ordinal: 0 }),
        (10, Part::Seeds(seeds(4, 0, 2)), Place::Seeds { keyholder: 1, ordinal: 0 }),
        (10, Part::Seeds(seeds(2, 2, 1)), Place::Seeds { keyholder: 2, ordinal: 0 }),
        (12, Part::Seeds(seeds(1, 3, 1)), Place::Seeds { keyholder: 2, ordinal: 0 }),
        (15, Part::Finish, Place::Seeds { keyholder: 3, ordinal: 2 }),
        (17, Part::Finish, Place::End),
    ];
    for (number, (after, part, place)) in cases.iter().enumerate() {
        match part.take(&mut run(*after)) {
            Err(SequenceError::OutOfOrder { expected, .. }) => assert_eq!(expected.0, *place, "case {number}"),
            other => panic!("case {number}: {other:?}"),
        }
    }
}

#[test]
fn messages_of_a_wrong_length_are_refused() {
    let half = BodyChunk { bodies: vec![0; BODY_BYTES / 2].into(), ..bodies(0, 0, 0, 1) };
    let none = bodies(0, 0, 0, 0);
    let past_the_column = bodies(0, 0, 0, 4);
    for chunk in [half, none, past_the_column] {
        let bytes = chunk.bodies.len();
        let refused = SequenceError::BodyLength { bytes, datasets_max: 3 };
        assert_eq!(upload().bodies(&chunk), Err(refused));
    }
    let too_many = bodies(0, 0, 0, 65);
    let refused = SequenceError::BodyLength { bytes: 65 * BODY_BYTES, datasets_max: 64 };
    assert_eq!(Sequence::new(100, 1, 1, false).bodies(&too_many), Err(refused));
    for count in [0, 4] {
        let refused = SequenceError::ChunkCount { what: "records", datasets: count, datasets_max: 3 };
        assert_eq!(run(8).datasets(&records(0, usize::try_from(count).expect("small"))), Err(refused));
    }
    for count in [0, 4] {
        let refused = SequenceError::ChunkCount { what: "seeds", datasets: u64::from(count), datasets_max: 3 };
        assert_eq!(run(10).seeds(&seeds(1, 0, count)), Err(refused));
    }
    let short = SealedSeeds { sealed: vec![0; 1391].into(), ..seeds(1, 0, 2) };
    let refused = SequenceError::SealedLength { keyholder: 1, bytes: 1391, expected: 1392 };
    assert_eq!(run(10).seeds(&short), Err(refused));
}

#[test]
fn keyholders_may_take_turns_but_must_share_package_boundaries() {
    let mut sequence = run(10);
    for (keyholder, first) in [(2, 0), (1, 0), (3, 0), (3, 2), (1, 2), (2, 2)] {
        let count = if first == 0 { 2 } else { 1 };
        sequence.seeds(&seeds(keyholder, first, count)).expect("taking turns is allowed");
    }
    assert_eq!(sequence.expected(), Place::Finish);
    let mut other = run(11);
    let refused = SequenceError::Boundaries { keyholder: 2, ordinal: 0, other: 1 };
    assert_eq!(other.seeds(&seeds(2, 0, 1)), Err(refused));
}

#[test]
fn a_package_is_no_larger_than_the_panel_allows() {
    let columns = 2 * 1024;
    let mut sequence = Sequence::new(100, 1024, 2, false);
    sequence.stage = Stage::Seeds { next: [0; 3] };
    let limit = enrol_chunk_datasets_max(columns);
    let refused = SequenceError::ChunkCount { what: "seeds", datasets: u64::from(limit) + 1, datasets_max: limit };
    assert_eq!(sequence.seeds(&seeds(1, 0, limit + 1)), Err(refused));
    assert_eq!(sequence.seeds(&seeds(1, 0, limit)), Ok(()));
}
