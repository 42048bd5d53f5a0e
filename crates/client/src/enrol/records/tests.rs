use super::*;
use locus_commitment::Address;
use std::io::Write as _;

const NETWORK: NetworkId = NetworkId { chain_id: 31_337, registry: Address([1; 20]) };
const OTHER: NetworkId = NetworkId { chain_id: 31_337, registry: Address([2; 20]) };

fn market() -> Option<MarketName> {
    Some(NETWORK.into())
}

fn started(batch_nonce: u64) -> EnrolmentEvent {
    EnrolmentEvent::Started(started_in(&NETWORK, batch_nonce, "HG00096"))
}

fn started_in(network: &NetworkId, batch_nonce: u64, sample: &str) -> StartedEvent {
    StartedEvent {
        format: FORMAT,
        time_unix_s: 1_700_000_000,
        chain_id: network.chain_id,
        registry: network.registry.to_string(),
        registrant: "0x02".into(),
        panel: "03".into(),
        version: 1,
        batch_nonce,
        accreditor: None,
        datasets: vec![EnrolledDataset {
            ordinal: 0,
            sample: sample.into(),
            dataset: "04".into(),
            person: "05".into(),
        }],
        genotypes: vec!["06".into()],
    }
}

fn records(dir: &tempfile::TempDir) -> EnrolmentRecords {
    EnrolmentRecords::new(&dir.path().join("private").join("enrolments.jsonl"))
}

#[test]
fn the_story_of_a_batch_reads_back_as_one_record() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let records = records(&dir);
    assert_eq!(records.load().expect("nothing yet"), []);
    let events = [
        started(u64::MAX),
        EnrolmentEvent::Registered { batch_nonce: u64::MAX, registration_id: 7, first_slot: 40 },
        EnrolmentEvent::Published { market: market(), registration_id: 7 },
        EnrolmentEvent::Offered { market: market(), registration_id: 7, offer_nonce: 1 },
        started(u64::MAX),
        EnrolmentEvent::Revoked { market: market(), registration_id: 7, ordinals: vec![2, 0] },
        EnrolmentEvent::Erased { market: market(), registration_id: 7, ordinals: vec![0], keyholders: vec![1, 3] },
        EnrolmentEvent::Erased { market: market(), registration_id: 7, ordinals: vec![0], keyholders: vec![2, 3] },
        EnrolmentEvent::Attributes {
            market: market(),
            registration_id: 7,
            revision: 3,
            schema: "08".into(),
            commitments: "09".into(),
        },
        EnrolmentEvent::AttributesAdmitted { market: market(), registration_id: 7, revision: 2 },
        started(5),
    ];
    for event in &events {
        records.append(event).expect("added");
    }
    let loaded = records.load().expect("loaded");
    assert_eq!(loaded.len(), 2);
    let first = &loaded[0];
    assert_eq!((first.registration_id, first.first_slot, first.published), (Some(7), Some(40), true));
    assert_eq!((first.offer_nonce, first.revoked.as_slice()), (Some(1), &[0, 2][..]));
    assert_eq!(first.erased, [(0, vec![1, 2, 3])].into());
    assert_eq!(first.datasets[0].sample, "HG00096");
    assert_eq!(first.batch_nonce, u64::MAX.to_string());
    assert_eq!(first.attributes.as_ref().map(|given| (given.revision, given.admitted)), Some((3, false)));
    assert_eq!(records.of_registration(&NETWORK, RegistrationId(7)).expect("loaded"), Some(first.clone()));
    assert_eq!(loaded[1].registration_id, None);
}

#[test]
fn a_batch_begun_by_an_older_client_learns_what_its_secrets_derive_from() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let records = records(&dir);
    let EnrolmentEvent::Started(new) = started(1) else { unreachable!("it is a start") };
    let old = StartedEvent { genotypes: Vec::new(), ..new.clone() };
    records.append(&EnrolmentEvent::Started(old)).expect("added");
    assert!(records.load().expect("loaded")[0].genotypes.is_empty());
    records.append(&EnrolmentEvent::Started(new)).expect("added");
    assert_eq!(records.load().expect("loaded")[0].genotypes, ["06"]);
    let shown = serde_json::to_string(&records.load().expect("loaded")).expect("serialises");
    assert!(!shown.contains("genotypes"), "{shown}");
}

#[test]
fn a_line_cut_off_by_a_crash_is_passed_over_and_junk_is_not() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let records = records(&dir);
    records.append(&started(1)).expect("added");
    let open = || fs::OpenOptions::new().append(true).open(&records.path).expect("open");
    open().write_all(b"{\"event\":\"publ").expect("torn");
    records.append(&EnrolmentEvent::Registered { batch_nonce: 1, registration_id: 9, first_slot: 0 }).expect("added");
    assert_eq!(records.load().expect("loaded")[0].registration_id, Some(9));
    open().write_all(b"{\"event\":\"unheard of\"}\n").expect("junk");
    assert!(matches!(records.load(), Err(ClientError::Record { line: 4, .. })));
}

/// One registration, number 1, in each of two markets.
fn records_of_two_markets(dir: &tempfile::TempDir) -> EnrolmentRecords {
    let records = records(dir);
    for (batch_nonce, network, sample) in [(1, NETWORK, "P6"), (2, OTHER, "P7")] {
        records.append(&EnrolmentEvent::Started(started_in(&network, batch_nonce, sample))).expect("added");
        let registered = EnrolmentEvent::Registered { batch_nonce, registration_id: 1, first_slot: 0 };
        records.append(&registered).expect("added");
    }
    records
}

#[test]
fn registrations_of_two_markets_with_one_number_are_told_apart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let records = records_of_two_markets(&dir);
    let find = |network| records.of_registration(network, RegistrationId(1)).expect("loaded").expect("registered");
    records.note_offer(&NETWORK, RegistrationId(1), 4).expect("noted");
    records.note_revocation(&OTHER, RegistrationId(1), &[0]).expect("noted");
    let (one, other) = (find(&NETWORK), find(&OTHER));
    assert_eq!((one.datasets[0].sample.as_str(), one.offer_nonce, one.revoked), ("P6", Some(4), vec![]));
    assert_eq!((other.datasets[0].sample.as_str(), other.offer_nonce, other.revoked), ("P7", None, vec![0]));
    let third = NetworkId { chain_id: 1, ..NETWORK };
    assert_eq!(records.of_registration(&third, RegistrationId(1)).expect("loaded"), None);
}

#[test]
fn an_offer_that_was_withdrawn_has_no_nonce() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let records = records_of_two_markets(&dir);
    let nonce = || {
        let found = records.of_registration(&NETWORK, RegistrationId(1)).expect("loaded");
        found.expect("registered").offer_nonce
    };
    records.note_offer(&NETWORK, RegistrationId(1), 4).expect("noted");
    records.note_withdrawal(&OTHER, RegistrationId(1)).expect("noted");
    assert_eq!(nonce(), Some(4), "the other market's was withdrawn");
    records.note_withdrawal(&NETWORK, RegistrationId(1)).expect("noted");
    assert_eq!(nonce(), None);
}

#[test]
fn lines_of_older_clients_are_about_the_market_of_the_last_enrolment() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let records = records_of_two_markets(&dir);
    let nonces = || {
        let loaded = records.load().expect("loaded");
        [loaded[0].offer_nonce, loaded[1].offer_nonce]
    };
    let append = |line: &str| files::append_line(&records.path, line).expect("added");
    append(r#"{"event":"offered","registration_id":1,"offer_nonce":3}"#);
    assert_eq!(nonces(), [None, Some(3)]);
    records.append(&started(1)).expect("begun again");
    append(r#"{"event":"offered","registration_id":1,"offer_nonce":5}"#);
    assert_eq!(nonces(), [Some(5), Some(3)]);
}
