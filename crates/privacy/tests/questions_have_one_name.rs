//! tau names the question and nothing else.

use locus_commitment::{Address, DatasetBodyDigest, DatasetId, Digest32, NetworkId};
use locus_genomics::{PanelBlockIndex, PanelDigest, Slot};
use locus_privacy::{
    AnswerDigest, CohortDigest, CohortDigestWriter, CohortEntry, PREDICATE_BYTES_MAX, PredicateBytes, PrivacyError,
    Question, Rho, SigmaSquared, SlotMask, Tau,
};
use std::collections::BTreeSet;

fn entry(dataset: u8) -> CohortEntry {
    CohortEntry {
        dataset: DatasetId([dataset; 32]),
        version: 1,
        bodies: DatasetBodyDigest(Digest32([dataset ^ 0xff; 32])),
    }
}

fn mask(slots: &[u32]) -> SlotMask {
    SlotMask::try_new(slots.iter().map(|slot| Slot::try_new(*slot).expect("a slot"))).expect("variants")
}

fn cohort(entries: &[CohortEntry]) -> CohortDigest {
    CohortDigest::of_entries(entries.to_vec()).expect("a cohort")
}

fn question() -> Question {
    Question {
        network: NetworkId { chain_id: 31_337, registry: Address([0x11; 20]) },
        panel: PanelDigest([0x22; 32]),
        block: PanelBlockIndex(3),
        slots: mask(&[16, 17, 4095]),
        cohort: cohort(&[entry(1), entry(2), entry(3)]),
        predicate: PredicateBytes::unfiltered(),
        dp_share: Some(SigmaSquared::per_share(3, Rho::from_nano(10_000_000)).expect("positive")),
        noise_epoch: 1,
    }
}

#[test]
fn the_order_of_the_cohort_and_of_the_slots_does_not_matter() {
    let mut other = question();
    other.cohort = cohort(&[entry(3), entry(1), entry(2)]);
    other.slots = mask(&[4095, 16, 17, 16]);
    assert_eq!(other.tau(), question().tau());
}

#[test]
fn equal_noise_levels_written_differently_are_one_question() {
    let mut other = question();
    other.dp_share = Some(SigmaSquared::try_new(300, 3).expect("positive"));
    assert_eq!(other.tau(), question().tau());
}

/// A name and the change to a question.
type Change = (&'static str, Box<dyn Fn(&mut Question)>);

#[test]
fn every_part_of_a_question_changes_its_name() {
    let newer = CohortEntry { version: 2, ..entry(2) };
    let edited = CohortEntry { bodies: DatasetBodyDigest(Digest32([9; 32])), ..entry(2) };
    let changes: Vec<Change> = vec![
        ("nothing", Box::new(|_| {})),
        ("chain id", Box::new(|question| question.network.chain_id += 1)),
        ("registry", Box::new(|question| question.network.registry.0[19] ^= 1)),
        ("panel", Box::new(|question| question.panel.0[0] ^= 1)),
        ("block", Box::new(|question| question.block.0 += 1)),
        ("a slot more", Box::new(|question| question.slots = mask(&[16, 17, 18, 4095]))),
        ("another slot", Box::new(|question| question.slots = mask(&[16, 18, 4095]))),
        ("a member less", Box::new(|question| question.cohort = cohort(&[entry(1), entry(2)]))),
        ("another member", Box::new(|question| question.cohort = cohort(&[entry(1), entry(2), entry(4)]))),
        ("a newer version", Box::new(move |question| question.cohort = cohort(&[entry(1), newer, entry(3)]))),
        ("other bodies", Box::new(move |question| question.cohort = cohort(&[entry(1), edited, entry(3)]))),
        ("predicate", Box::new(|question| question.predicate = PredicateBytes::try_new(vec![0]).expect("short"))),
        ("noise level", Box::new(|question| question.dp_share = SigmaSquared::try_new(101, 1).ok())),
        ("inverse noise level", Box::new(|question| question.dp_share = SigmaSquared::try_new(1, 100).ok())),
        ("exact", Box::new(|question| question.dp_share = None)),
        ("noise epoch", Box::new(|question| question.noise_epoch += 1)),
    ];
    let taus: BTreeSet<Tau> = changes
        .iter()
        .map(|(_, change)| {
            let mut changed = question();
            change(&mut changed);
            changed.tau()
        })
        .collect();
    assert_eq!(taus.len(), changes.len(), "two of the changes share a name");
}

#[test]
fn every_byte_of_the_encoding_counts_and_its_length_is_fixed() {
    let bytes = question().to_bytes();
    assert_eq!(bytes.len(), 8 + 20 + 4 + 32 + 4 + 512 + 32 + 16 + 16 + 1 + 4 + 4);
    let mut filtered = question();
    filtered.predicate = PredicateBytes::try_new(b"sex=XX".to_vec()).expect("short");
    assert_eq!(filtered.to_bytes().len(), bytes.len() + 6);
}

#[test]
fn names_match_the_known_answers() {
    assert_eq!(question().cohort.to_string(), KNOWN_COHORT);
    assert_eq!(question().tau().to_string(), KNOWN_TAU);
    let mut exact = question();
    exact.dp_share = None;
    let answer = AnswerDigest::of_taus(&[question().tau(), exact.tau()]).expect("two blocks");
    assert_eq!(answer.to_string(), KNOWN_ANSWER);
}

// Computed by a separate program from the byte layouts in the specification.
const KNOWN_COHORT: &str = "0dff40aa4f0eac570f6eda9af4ec3eee5047e0dce5d644be365097813acb1065";
const KNOWN_TAU: &str = "7218eb5b48fb29e952b60231ad8a75e09f3bf1a6b95367a51d15c9b7f2d3708d";
const KNOWN_ANSWER: &str = "88f4b5b92b29505c7f6d68d559d6933af77fa1794a93709eb822ca04dbd0ec32";

#[test]
fn a_cohort_writer_wants_ascending_and_different_datasets() {
    let mut writer = CohortDigestWriter::new();
    writer.push(&entry(2)).expect("first");
    assert_eq!(writer.push(&entry(1)), Err(PrivacyError::CohortOrder(DatasetId([1; 32]))));
    assert_eq!(writer.push(&entry(2)), Err(PrivacyError::CohortDuplicate(DatasetId([2; 32]))));
    let newer = CohortEntry { version: 2, ..entry(2) };
    assert_eq!(writer.push(&newer), Err(PrivacyError::CohortDuplicate(DatasetId([2; 32]))));
    writer.push(&entry(3)).expect("ascending");
    assert_eq!(writer.count(), 2);
    // Refused entries left no trace.
    assert_eq!(writer.finish(), CohortDigest::of_entries(vec![entry(3), entry(2)]));
    assert_eq!(CohortDigestWriter::new().finish(), Err(PrivacyError::CohortEmpty));
    assert_eq!(
        CohortDigest::of_entries(vec![newer, entry(1), entry(2)]),
        Err(PrivacyError::CohortDuplicate(DatasetId([2; 32])))
    );
}

#[test]
fn a_slot_mask_holds_exactly_the_variants_asked_for() {
    let asked = mask(&[16, 63, 64, 4095]);
    let slots: Vec<u32> = asked.slots().map(Slot::get).collect();
    assert_eq!((slots, asked.count()), (vec![16, 63, 64, 4095], 4));
    assert!(asked.contains(Slot::try_new(64).expect("a slot")));
    assert!(!asked.contains(Slot::try_new(65).expect("a slot")));
    assert_eq!(SlotMask::from_words(*asked.words()), Ok(asked));
    assert_eq!(SlotMask::from_words([0; 64]), Err(PrivacyError::SlotsEmpty));
    let mut words = [0; 64];
    words[0] = 1 << 15;
    assert_eq!(SlotMask::from_words(words), Err(PrivacyError::SlotIsCheck(15)));
}

#[test]
fn answers_are_named_by_their_blocks_in_order() {
    let (first, second) = (question().tau(), Tau(Digest32([4; 32])));
    let digest = |taus: &[Tau]| AnswerDigest::of_taus(taus);
    assert_ne!(digest(&[first, second]), digest(&[second, first]));
    assert_ne!(digest(&[first]), digest(&[first, second]));
    assert_eq!(digest(&[]), Err(PrivacyError::AnswerBlocks));
    assert_eq!(digest(&[first, first]), Err(PrivacyError::AnswerBlocks));
}

#[test]
fn a_predicate_has_a_longest_length() {
    assert!(PredicateBytes::try_new(vec![1; PREDICATE_BYTES_MAX]).is_ok());
    assert!(matches!(
        PredicateBytes::try_new(vec![1; PREDICATE_BYTES_MAX + 1]),
        Err(PrivacyError::PredicateLength { .. })
    ));
}
