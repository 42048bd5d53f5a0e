//! Erasure while a re-keying is under way, and what becomes of attributes.

use super::*;
use crate::store::{AttributeAttempt, PendingEntry};
use locus_cohort::Member;
use locus_commitment::PersonTag;
use locus_ledger::{Amount, AttributeStatement};
use locus_phenotype::AttributeSchema;
use locus_sharing::AttributeShares;

const SCHEMA: &str = r#"{"name": "t", "version": "1", "attributes": [
    {"kind": "category", "name": "sex", "values": ["F", "M"]}, {"kind": "flag", "name": "smoker"}]}"#;
const BITS: [[u64; 6]; PEOPLE] = [[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0]];
const OTHER_BITS: [[u64; 6]; PEOPLE] = [BITS[1], BITS[2], BITS[0]];

fn schema() -> AttributeSchema {
    AttributeSchema::parse_json(SCHEMA).expect("a schema")
}

impl Scene {
    async fn erase(&self, place: usize, ordinal: u32) -> Result<(), KeyholderError> {
        let request = pb::EraseSeedsRequest { registration_id: self.id().0, ordinals: vec![ordinal] };
        self.keyholders[place].erase_seeds(&request).await.map(drop)
    }

    fn has_draws(&self, place: usize) -> bool {
        self.keyholders[place].store().rekeying_draws(self.id()).expect("it reads").is_some()
    }

    /// Starts a keyholder's part in taking in attributes, and ends it as if all three had checked them.
    fn give_attributes(&self, place: usize, revision: u32, bits: &[[u64; 6]; PEOPLE]) -> Result<u32, KeyholderError> {
        let (store, schema) = (self.keyholders[place].store(), schema().digest().0);
        let commitments = Digest32([u8::try_from(revision).expect("small"); 32]);
        let statement = AttributeStatement { registration: self.id(), revision, schema, commitments };
        let attempt = AttributeAttempt { statement, number: u64::from(revision) };
        let keys: Vec<DatasetKey> = self.people.contexts.iter().map(DatasetKey::of).collect();
        store.begin_attributes(&attempt, SCHEMA)?;
        let entry = |(ordinal, bits): (u32, &[u64; 6])| {
            let (context, secrets) = (&self.people.contexts[ordinal as usize], &self.people.secrets[ordinal as usize]);
            let shares = AttributeShares::new(&self.people.master, context, &secrets.seeds, &schema, bits);
            let entry = shares.expect("bits").entry_for(self.keyholders[place].index());
            PendingEntry { ordinal, key: DatasetKey::of(context), entry }
        };
        store.put_attributes(&attempt, &(0..).zip(bits).map(entry).collect::<Vec<_>>())?;
        store.finish_check(&attempt, &pb::AttributeCheck::default())?;
        store.finish_verification(&attempt, &pb::AttributeSums::default())?;
        Ok(store.admit_attributes(&attempt, &keys)?)
    }

    fn give_all(&self, revision: u32, bits: &[[u64; 6]; PEOPLE]) {
        for place in 0..3 {
            self.give_attributes(place, revision, bits).expect("they are live");
        }
    }

    /// The bits that live shares add up to, of which both holders must have the same.
    fn live(&self, version: u32) -> Vec<Vec<u64>> {
        let member = |(place, context): (usize, &DatasetContext)| Member {
            registration: self.id(),
            ordinal: u32::try_from(place).expect("small"),
            slot: place as u64,
            dataset: context.dataset,
            version,
            rekeyings: 0,
            person: PersonTag(context.dataset.0),
            bodies: self.people.bodies[place],
            registrant: context.registrant,
            price: Amount(1),
        };
        let members: Vec<Member> = self.people.contexts.iter().enumerate().map(member).collect();
        let panel = self.people.contexts[0].panel;
        let rows = |keyholder: &Keyholder| keyholder.attribute_rows(panel, &members, &schema()).expect("they are live");
        let rows: Vec<_> = self.keyholders.iter().map(rows).collect();
        for (place, keyholder) in self.keyholders.iter().enumerate() {
            let other = &rows[keyholder.index().receives_from().position()];
            for (here, there) in rows[place].shares.iter().zip(&other.shares) {
                assert_eq!(here.other(), there.released(), "both holders have the same share");
            }
        }
        let bit = |person: usize, place: usize| {
            rows.iter().fold(0u64, |sum, rows| sum.wrapping_add(rows.shares[person].released()[place]))
        };
        (0..PEOPLE).map(|person| (0..6).map(|place| bit(person, place)).collect()).collect()
    }
}

#[tokio::test]
async fn an_erasure_ends_an_unsigned_rekeying_and_waits_for_a_signed_one() {
    let scene = Scene::set().await;
    let being_rekeyed = (ErrorCode::Refused, "BEING_REKEYED");
    let opened = scene.headers(1, &[]).await.expect("opened");
    scene.committee.revoke(&scene.people, &[1]).await;
    for place in 0..3 {
        assert!(scene.has_draws(place));
        scene.erase(place, 1).await.expect("nobody can have signed");
        assert!(!scene.has_draws(place), "new seeds would follow from them");
        assert_eq!(refusal(scene.receive_honestly(place, &opened).await), GONE);
    }
    let again = scene.headers(1, &[]).await.expect("they draw anew");
    assert_eq!(refusal(scene.receive_honestly(0, &again).await), (ErrorCode::Refused, "SEEDS_MISSING"));
    let run = scene.run(1, &[1]).await.expect("without the one who is gone");
    let signatures = scene.attest_all(&run).await.expect("they agree");

    scene.committee.revoke(&scene.people, &[2]).await;
    for place in 0..3 {
        assert_eq!(refusal(scene.erase(place, 2).await), being_rekeyed);
        assert_eq!(scene.keyholders[place].store().dataset_count().expect("it reads"), 4, "all is still there");
    }
    scene.submit(&run, &signatures).await;
    for place in 0..3 {
        scene.erase(place, 2).await.expect("the new keys are final");
        assert_eq!(scene.keyholders[place].store().dataset_count().expect("it reads"), 1);
    }
    for version in 1..=3 {
        assert!(scene.seeds(1, version).is_err() && scene.seeds(2, version).is_err());
    }
    scene.seeds(0, 2).expect("the one who stays has the new ones");
}

/// One keyholder has signed when somebody withdraws; the others sign for those who are left, and so does it.
#[tokio::test]
async fn signatures_that_were_never_made_are_made_again_for_those_who_are_left() {
    let scene = Scene::set().await;
    let run = scene.run(1, &[]).await.expect("all are honest");
    scene.attest(0, &run.headers[0], run.statements()).await.expect("the first signs");
    scene.committee.revoke(&scene.people, &[1]).await;
    for place in 0..3 {
        // Who has not signed does not know who has.
        assert_eq!(refusal(scene.erase(place, 1).await), (ErrorCode::Refused, "BEING_REKEYED"));
    }
    let run = scene.run(1, &[1]).await.expect("without the one who is gone");
    let signatures = scene.attest_all(&run).await.expect("they agree");
    scene.submit(&run, &signatures).await;
    for place in 0..3 {
        scene.erase(place, 1).await.expect("the new keys are final");
        assert_eq!(scene.keyholders[place].store().dataset_count().expect("it reads"), 2);
    }
    scene.seeds(0, 2).expect("both holders of each share have the same");
}

/// A keyholder that does not sign cannot hold up those who leave for longer than the order's deadline.
#[tokio::test]
async fn a_rekeying_past_its_deadline_is_over_and_holds_up_nobody() {
    let mut scene = Scene::set().await;
    let being_rekeyed = (ErrorCode::Refused, "BEING_REKEYED");
    scene.give_all(1, &BITS);
    let run = scene.run(1, &[]).await.expect("all are honest");
    let mut signatures = [const { Vec::new() }; 3];
    for (place, signature) in signatures.iter_mut().enumerate().take(2) {
        *signature = scene.attest(place, &run.headers[place], run.statements()).await.expect("it signs");
    }
    scene.committee.revoke(&scene.people, &[1]).await;
    scene.committee.advance(ORDER_LIFETIME_S + 1);
    for place in 0..3 {
        let refused = refusal(scene.erase(place, 1).await);
        assert_eq!(refused, being_rekeyed, "the control: no block is past the deadline, so one before it may come");
    }
    // The third signs after all, and the chain takes it no more.
    signatures[2] = scene.attest(2, &run.headers[2], run.statements()).await.expect("by its own clock it is early");
    let keys = parse_rekeyed_keys("keys", &run.made[0].keys.keys).expect("keys");
    let sent = scene.committee.ledger().rekey_datasets(scene.id(), &keys, scene.deadline_unix_s, &signatures).await;
    assert_eq!(sent.expect_err("the deadline").refusal(), Some("DatasetRegistryExpired"));
    scene.committee.revoke(&scene.people, &[2]).await;
    assert_eq!(refusal(scene.attest(2, &run.headers[2], run.statements()).await), GONE, "nor does it sign again");
    for place in 0..3 {
        scene.erase(place, 1).await.expect("nothing of it can come into force");
        let store = scene.keyholders[place].store();
        assert!(!scene.has_draws(place) && store.attested_rekeyings().expect("it reads").is_empty());
        assert_eq!(store.dataset_count().expect("it reads"), 2, "the new seeds are gone, of everybody");
        let new: Vec<DatasetKey> = (0..PEOPLE).map(|person| DatasetKey::of(&scene.context(person, 2))).collect();
        assert!(store.attribute_records(&new).expect("it reads").iter().all(Option::is_none));
    }
    scene.seeds(0, 1).expect("the old ones are as they were");
    // The next order draws anew, and goes through.
    scene.deadline_unix_s = scene.committee.now_unix_s() + ORDER_LIFETIME_S;
    let anew = scene.run(1, &[1, 2]).await.expect("for those who are left");
    assert_ne!(anew.made[0].keys, run.made[0].keys);
    let signatures = scene.attest_all(&anew).await.expect("they agree");
    scene.submit(&anew, &signatures).await;
    scene.seeds(0, 2).expect("both holders of each share have the same");
}

#[tokio::test]
async fn after_a_signature_only_the_signed_keys_can_be_had() {
    let scene = Scene::set().await;
    let run = scene.run(1, &[]).await.expect("all are honest");
    let signatures = scene.attest_all(&run).await.expect("they agree");
    let again = scene.run(1, &[]).await.expect("once more");
    assert_eq!(scene.attest_all(&again).await.expect("they agree"), signatures);
    scene.committee.revoke(&scene.people, &[0]).await;
    let fewer = scene.run(1, &[0]).await.expect("without the one who withdrew since");
    let signatures = scene.attest_all(&fewer).await.expect("they agree");
    assert_eq!(refusal(scene.run(1, &[]).await.map(drop)), GONE, "who was left out does not come back");
    scene.submit(&fewer, &signatures).await;
    for place in 0..3 {
        scene.erase(place, 0).await.expect("the new keys are final");
    }
    assert!((1..=2).all(|version| scene.seeds(0, version).is_err()));
    scene.seeds(1, 2).expect("the others have new keys");
}

/// A re-keying that one keyholder has signed alone ends with the committee that signed.
#[tokio::test]
async fn a_new_committee_starts_again() {
    let scene = Scene::set().await;
    let run = scene.run(1, &[]).await.expect("all are honest");
    scene.attest(0, &run.headers[0], run.statements()).await.expect("the first signs");
    scene.committee.begin_epoch(3).await;
    assert_eq!(refusal(scene.attest(1, &run.headers[1], run.statements()).await), GONE);
    let anew = scene.run(1, &[]).await.expect("a new committee starts again");
    assert_ne!(anew.made[0].keys, run.made[0].keys);
    let signatures = scene.attest_all(&anew).await.expect("they agree");
    scene.submit(&anew, &signatures).await;
    scene.seeds(0, 2).expect("both holders of each share have the same");
}

#[tokio::test]
async fn attributes_keep_their_bits_under_new_seeds() {
    let scene = Scene::set().await;
    scene.give_all(1, &BITS);
    assert_eq!(scene.live(1), BITS);
    for generation in 1..=2 {
        let run = scene.run(generation, &[]).await.expect("all are honest");
        let signatures = scene.attest_all(&run).await.expect("they agree");
        if generation == 1 {
            let refused = scene.give_attributes(0, 2, &OTHER_BITS);
            assert_eq!(refusal(refused), (ErrorCode::Refused, "BEING_REKEYED"));
        }
        let version = u32::from(generation) + 1;
        assert_eq!(scene.live(version - 1), BITS, "until the new ones are in force");
        assert_eq!(scene.live(version), BITS);
        scene.submit(&run, &signatures).await;
        assert_eq!(scene.live(version), BITS);
        for (keyholder, context) in scene.keyholders.iter().zip(&scene.people.contexts) {
            let old = DatasetKey { dataset: context.dataset, version: version - 1 };
            let records = keyholder.store().attribute_records(&[old]).expect("it reads");
            assert!(records[0].is_none(), "the old shares are gone");
        }
    }
}

#[tokio::test]
async fn attributes_that_changed_meanwhile_or_that_differ_are_not_rekeyed() {
    let scene = Scene::set().await;
    scene.give_all(1, &BITS);
    let run = scene.run(1, &[]).await.expect("all are honest");
    scene.give_attributes(0, 2, &OTHER_BITS).expect("nobody has signed");
    assert_eq!(refusal(scene.attest(0, &run.headers[0], run.statements()).await), GONE);
    assert!(!scene.is_anything_attested());
    // As long as one keyholder has others, the one that needs their change refuses.
    let headers = scene.headers(1, &[]).await.expect("opened");
    let mut refused = 0;
    for place in 0..3 {
        if let Err(error) = scene.receive_honestly(place, &headers).await {
            assert_eq!((error.code(), error.reason()), DISAGREE);
            refused += 1;
        }
    }
    assert!(refused > 0, "nobody compared");
    // Control: when all have the same again.
    for place in [1, 2] {
        scene.give_attributes(place, 2, &OTHER_BITS).expect("nobody has signed");
    }
    let run = scene.run(1, &[]).await.expect("all are honest");
    let signatures = scene.attest_all(&run).await.expect("they agree");
    scene.submit(&run, &signatures).await;
    assert_eq!(scene.live(2), OTHER_BITS);
}
