//! Three keyholders take in the attributes of a few people, honest and not.

use super::*;
use crate::{
    keyholder::system_rng,
    testing::{Committee, People},
};
use locus_cohort::Member;
use locus_commitment::{DatasetBodyDigest, PersonTag};
use locus_genomics::PanelDigest;
use locus_ledger::{Amount, AttributeStatement, RegistrationId};
use locus_service::{ErrorCode, ServiceError as _};
use locus_sharing::{AttributeCommitment, AttributeEntry, AttributeShares};
use std::path::Path;
use tempfile::TempDir;

const SCHEMA: &str = r#"{"name": "t", "version": "1", "attributes": [
    {"kind": "category", "name": "sex", "values": ["F", "M"]}, {"kind": "flag", "name": "smoker"}]}"#;
/// F, not a smoker; M, unknown; unknown, a smoker.
const PEOPLE: [[u64; 6]; 3] = [[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0]];
/// What one keyholder is sent of one dataset, on its way.
type Alter = fn(KeyholderIndex, u32, &mut Vec<u64>);

struct Scene {
    committee: Committee,
    dirs: Vec<TempDir>,
    keyholders: Vec<Keyholder>,
    people: People,
}

/// What a contributor sends.
struct Shared {
    header: pb::AttributeHeader,
    /// For keyholders 1, 2 and 3.
    chunks: [pb::SealedAttributes; 3],
}

fn schema() -> AttributeSchema {
    AttributeSchema::parse_json(SCHEMA).expect("a schema")
}

async fn start(committee: &Committee, number: u8, dir: &Path) -> Keyholder {
    let keyholder = committee.keyholder(number, dir).await;
    for share in shares_of(keyholder.index()) {
        keyholder.store().put_noise_key(share.get(), &[share.get(); 32]).expect("it is kept");
    }
    keyholder
}

impl Scene {
    async fn set() -> Self {
        let committee = Committee::deploy().await;
        let people = committee.register_people(20, 3).await;
        let (mut dirs, mut keyholders) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let dir = tempfile::tempdir().expect("a folder");
            let keyholder = start(&committee, number, dir.path()).await;
            people.attest_at(&keyholder);
            dirs.push(dir);
            keyholders.push(keyholder);
        }
        Self { committee, dirs, keyholders, people }
    }

    /// Stops keyholder `place` and starts it on its files again.
    async fn restart(&mut self, place: usize) {
        drop(self.keyholders.remove(place));
        let number = u8::try_from(place + 1).expect("1 to 3");
        // Background tasks may hold the old one a moment longer.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let keyholder = start(&self.committee, number, self.dirs[place].path()).await;
        self.keyholders.insert(place, keyholder);
    }

    fn share(&self, revision: u32, attempt: u64, people: &[[u64; 6]; 3], alter: Alter) -> Shared {
        let schema = schema();
        let count = u32::try_from(people.len()).expect("three");
        let shares: Vec<AttributeShares> = (0..people.len())
            .map(|place| {
                let (context, secrets) = (&self.people.contexts[place], &self.people.secrets[place]);
                let (master, digest) = (&self.people.master, schema.digest().0);
                AttributeShares::new(master, context, &secrets.seeds, &digest, &people[place]).expect("bits")
            })
            .collect();
        let mut commitments = AttributeCommitmentsDigest::begin(count);
        shares.iter().for_each(|shares| commitments.add(shares.commitment()));
        let statement = AttributeStatement {
            registration: self.people.registration,
            revision,
            schema: schema.digest().0,
            commitments: commitments.finish(),
        };
        let network = self.keyholders[0].network();
        let chunks = KeyholderIndex::ALL.map(|keyholder| {
            let header = AttributePackageHeader {
                network,
                registration: self.people.registration.0,
                keyholder,
                first_ordinal: 0,
                count,
                schema: schema.digest().0,
                bit_count: 6,
            };
            let entries = (0..count).zip(&shares).map(|(ordinal, shares)| {
                let entry = shares.entry_for(keyholder);
                let mut sent = entry.sent().to_vec();
                alter(keyholder, ordinal, &mut sent);
                AttributeEntry::of_parts(entry.commitment(), sent)
            });
            let package = AttributePackage::try_new(header, entries.collect()).expect("they fit");
            let key = self.keyholders[keyholder.position()].sealing_key().public_key();
            let sealed = package.seal(&key, &mut system_rng()).expect("small").into_bytes().into();
            pb::SealedAttributes { first_ordinal: 0, dataset_count: count, sealed }
        });
        let header = pb::AttributeHeader {
            registration_id: self.people.registration.0,
            revision,
            schema_json: SCHEMA.to_owned(),
            dataset_count: count,
            commitments_digest: statement.commitments.0.to_vec().into(),
            registrant_signature: self.people.sign(&attribute_statement_hash(&network, &statement)).into(),
            attempt,
        };
        Shared { header, chunks }
    }

    async fn check(&self, place: usize, shared: &Shared) -> Result<pb::AttributeCheck, KeyholderError> {
        let keyholder = &self.keyholders[place];
        let batch = keyholder.open_attributes(&shared.header).await?;
        let mut intake = keyholder.begin_attributes(&batch)?;
        keyholder.take_attributes(&batch, &mut intake, &shared.chunks[place])?;
        keyholder.finish_attributes(&batch, intake)
    }

    async fn checks(&self, shared: &Shared) -> Result<Vec<pb::AttributeCheck>, KeyholderError> {
        let mut checks = Vec::new();
        for place in 0..3 {
            checks.push(self.check(place, shared).await?);
        }
        Ok(checks)
    }

    async fn verify(
        &self,
        shared: &Shared,
        checks: &[pb::AttributeCheck],
    ) -> Result<Vec<pb::AttributeSums>, KeyholderError> {
        let mut sums = Vec::new();
        for keyholder in &self.keyholders {
            let request = pb::VerifyAttributesRequest { header: Some(shared.header.clone()), checks: checks.to_vec() };
            sums.push(keyholder.verify_attributes(&request).await?);
        }
        Ok(sums)
    }

    async fn admit(&self, shared: &Shared, sums: &[pb::AttributeSums]) -> Result<Vec<u32>, KeyholderError> {
        let mut counts = Vec::new();
        for keyholder in &self.keyholders {
            let request = pb::AdmitAttributesRequest { header: Some(shared.header.clone()), sums: sums.to_vec() };
            counts.push(keyholder.admit_attributes(&request).await?.1);
        }
        Ok(counts)
    }

    /// All three steps.
    async fn enrol(&self, shared: &Shared) -> Result<Vec<u32>, KeyholderError> {
        let checks = self.checks(shared).await?;
        let sums = self.verify(shared, &checks).await?;
        self.admit(shared, &sums).await
    }

    fn member(&self, place: usize) -> Member {
        let context = &self.people.contexts[place];
        Member {
            registration: self.people.registration,
            ordinal: u32::try_from(place).expect("small"),
            slot: 0,
            dataset: context.dataset,
            version: context.version,
            rekeyings: 0,
            person: PersonTag(context.dataset.0),
            bodies: DatasetBodyDigest(Digest32(context.dataset.0)),
            registrant: context.registrant,
            price: Amount(1),
        }
    }

    fn panel(&self) -> PanelDigest {
        self.people.contexts[0].panel
    }

    /// The bits that the live shares of all keyholders add up to.
    fn live(&self, places: &[usize]) -> Result<Vec<Vec<u64>>, KeyholderError> {
        let members: Vec<Member> = places.iter().map(|place| self.member(*place)).collect();
        let rows = |keyholder: &Keyholder| keyholder.attribute_rows(self.panel(), &members, &schema());
        let rows = self.keyholders.iter().map(rows).collect::<Result<Vec<_>, _>>()?;
        let bit = |member: usize, place: usize| {
            rows.iter().fold(0u64, |sum, rows| sum.wrapping_add(rows.shares[member].released()[place]))
        };
        Ok((0..members.len()).map(|member| (0..6).map(|place| bit(member, place)).collect()).collect())
    }

    /// Which attributes the first keyholder reads with the shares.
    fn read(&self, places: &[usize]) -> Vec<AttributeCommitment> {
        let members: Vec<Member> = places.iter().map(|place| self.member(*place)).collect();
        self.keyholders[0].attribute_rows(self.panel(), &members, &schema()).expect("live").commitments
    }

    fn is_anything_live(&self) -> bool {
        self.live(&[0]).is_ok()
    }
}

fn honest(_: KeyholderIndex, _: u32, _: &mut Vec<u64>) {}

fn refusal<T>(result: Result<T, KeyholderError>) -> (ErrorCode, &'static str) {
    let Err(error) = result else { panic!("it was taken") };
    (error.code(), error.reason())
}

const REFUSED: (ErrorCode, &str) = (ErrorCode::Refused, "ATTRIBUTES_REFUSED");

#[tokio::test]
async fn shares_of_bits_are_live_after_three_steps_and_after_a_restart() {
    let mut scene = Scene::set().await;
    let shared = scene.share(1, 5, &PEOPLE, honest);
    let checks = scene.checks(&shared).await.expect("they open");
    scene.restart(0).await;
    let sums = scene.verify(&shared, &checks).await.expect("they agree");
    scene.restart(1).await;
    assert!(!scene.is_anything_live(), "nothing is live before it is admitted");
    assert_eq!(scene.admit(&shared, &sums).await.expect("they are bits"), [3, 3, 3]);
    assert_eq!(scene.admit(&shared, &sums).await.expect("again changes nothing"), [3, 3, 3]);
    scene.restart(2).await;
    assert_eq!(scene.live(&[2, 0, 1]).expect("live"), [PEOPLE[2], PEOPLE[0], PEOPLE[1]]);
    let keys: Vec<DatasetKey> = scene.people.contexts.iter().map(DatasetKey::of).collect();
    for keyholder in &scene.keyholders {
        let known = keyholder.store().attribute_commitments(&keys, &schema().digest()).expect("it reads");
        assert!(known.iter().all(Option::is_some));
        let other = keyholder.store().attribute_commitments(&keys, &SchemaDigest(Digest32([9; 32])));
        assert!(other.expect("it reads").iter().all(Option::is_none), "no attributes of another schema");
        let json = keyholder.store().schema_json(&schema().digest()).expect("it reads").expect("it is kept");
        assert_eq!(AttributeSchema::parse_json(&json), Ok(schema()));
    }
}

#[tokio::test]
async fn an_attempt_is_taken_once_and_its_sums_are_signed_once() {
    let mut scene = Scene::set().await;
    let shared = scene.share(1, 5, &PEOPLE, honest);
    let checks = scene.checks(&shared).await.expect("they open");
    assert_eq!(refusal(scene.check(0, &shared).await), (ErrorCode::Conflict, "ATTEMPT_USED"));
    scene.restart(0).await;
    for attempt in [0, 4, 5] {
        let again = scene.share(1, attempt, &PEOPLE, honest);
        assert_eq!(refusal(scene.check(0, &again).await), (ErrorCode::Conflict, "ATTEMPT_USED"), "{attempt}");
    }
    let sums = scene.verify(&shared, &checks).await.expect("they agree");
    assert_eq!(scene.verify(&shared, &checks).await.expect("the same again"), sums);
    // Other checks in the same attempt get the sums that were signed, not others under the same mask.
    let request = pb::VerifyAttributesRequest { header: Some(shared.header.clone()), checks: Vec::new() };
    assert_eq!(scene.keyholders[0].verify_attributes(&request).await.expect("stored"), sums[0]);
    // A new attempt ends the old one.
    let later = scene.share(1, 6, &PEOPLE, honest);
    let later_checks = scene.checks(&later).await.expect("a larger number");
    assert_ne!(later_checks[0].coin_part, checks[0].coin_part, "other randomness");
    assert_eq!(refusal(scene.verify(&shared, &checks).await), (ErrorCode::Conflict, "ATTEMPT_GONE"));
    assert_eq!(refusal(scene.admit(&shared, &sums).await), (ErrorCode::Conflict, "ATTEMPT_GONE"));
    assert!(scene.verify(&later, &checks).await.is_err(), "checks of another attempt");
    let later_sums = scene.verify(&later, &later_checks).await.expect("they agree");
    assert!(scene.admit(&later, &sums).await.is_err(), "sums of another attempt");
    scene.admit(&later, &later_sums).await.expect("they are bits");
}

#[tokio::test]
async fn only_the_registrants_word_about_final_registrations_is_taken() {
    let scene = Scene::set().await;
    let changes: [(&str, fn(&mut pb::AttributeHeader), ErrorCode); 6] = [
        ("signature", |header| header.registrant_signature = vec![1; 65].into(), ErrorCode::Refused),
        ("revision", |header| header.revision = 2, ErrorCode::Refused),
        ("commitments", |header| header.commitments_digest = vec![1; 32].into(), ErrorCode::Refused),
        (
            "schema",
            |header| header.schema_json = SCHEMA.replace("\"version\": \"1\"", "\"version\": \"2\""),
            ErrorCode::Refused,
        ),
        ("datasets", |header| header.dataset_count = 2, ErrorCode::BadRequest),
        ("registration", |header| header.registration_id = 999, ErrorCode::NotFound),
    ];
    for (what, change, code) in changes {
        let mut shared = scene.share(1, 5, &PEOPLE, honest);
        change(&mut shared.header);
        assert_eq!(refusal(scene.check(0, &shared).await).0, code, "{what}");
    }
    // Control: none of these used the attempt.
    scene.check(0, &scene.share(1, 5, &PEOPLE, honest)).await.expect("as it was signed");
}

#[tokio::test]
async fn a_package_that_is_altered_or_for_another_does_not_open() {
    let scene = Scene::set().await;
    let mut altered = scene.share(1, 5, &PEOPLE, honest);
    let mut bytes = altered.chunks[0].sealed.to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    altered.chunks[0].sealed = bytes.into();
    assert_eq!(refusal(scene.check(0, &altered).await), REFUSED);
    let mut swapped = scene.share(1, 6, &PEOPLE, honest);
    swapped.chunks.swap(0, 1);
    assert_eq!(refusal(scene.check(0, &swapped).await), REFUSED);
    // The statement of one registrant with the shares of other bits.
    let others = scene.share(1, 7, &[PEOPLE[1], PEOPLE[0], PEOPLE[2]], honest);
    let mut mixed = scene.share(1, 7, &PEOPLE, honest);
    mixed.chunks = others.chunks;
    assert_eq!(refusal(scene.check(0, &mixed).await), REFUSED);
    scene.check(0, &scene.share(1, 8, &PEOPLE, honest)).await.expect("control");
}

#[tokio::test]
async fn a_share_that_is_another_one_for_one_keyholder_is_seen_by_both_holders() {
    let scene = Scene::set().await;
    let altered = scene.share(1, 5, &PEOPLE, |keyholder, ordinal, sent| {
        if keyholder.get() == 2 && ordinal == 1 {
            sent[0] = sent[0].wrapping_add(1);
        }
    });
    let checks = scene.checks(&altered).await.expect("each alone sees nothing");
    let request = pb::VerifyAttributesRequest { header: Some(altered.header.clone()), checks };
    for (place, sees) in [true, true, false].into_iter().enumerate() {
        let verified = scene.keyholders[place].verify_attributes(&request).await;
        assert_eq!(verified.is_err(), sees, "keyholder {} holds share 3: {sees}", place + 1);
    }
    assert!(!scene.is_anything_live());
    scene.enrol(&scene.share(1, 6, &PEOPLE, honest)).await.expect("control");
}

#[tokio::test]
async fn shares_of_anything_but_one_bit_an_attribute_are_not_admitted() {
    let scene = Scene::set().await;
    // The same wrong share for both its holders: the sum is 2, or 2^63 more than it should be.
    let wrong: [Alter; 2] = [
        |_, ordinal, sent| {
            if ordinal == 0 && !sent.is_empty() {
                sent[0] = sent[0].wrapping_add(1);
            }
        },
        |_, ordinal, sent| {
            if ordinal == 2 && !sent.is_empty() {
                sent[4] = sent[4].wrapping_add(1 << 63);
            }
        },
    ];
    for (attempt, alter) in (5..).zip(wrong) {
        assert_eq!(refusal(scene.enrol(&scene.share(1, attempt, &PEOPLE, alter)).await), REFUSED);
    }
    for (attempt, person) in (7..).zip([[1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 1, 1]]) {
        let people = [PEOPLE[0], person, PEOPLE[2]];
        assert_eq!(refusal(scene.enrol(&scene.share(1, attempt, &people, honest)).await), REFUSED, "{person:?}");
    }
    assert!(!scene.is_anything_live());
    scene.enrol(&scene.share(1, 10, &PEOPLE, honest)).await.expect("control");
}

#[tokio::test]
async fn a_later_revision_replaces_an_earlier_one_only_when_it_is_admitted() {
    let scene = Scene::set().await;
    scene.enrol(&scene.share(3, 5, &PEOPLE, honest)).await.expect("they are bits");
    let changed = [PEOPLE[2], PEOPLE[0], PEOPLE[1]];
    for revision in [1, 2, 3] {
        let old = scene.share(revision, 6, &changed, honest);
        assert_eq!(refusal(scene.enrol(&old).await), (ErrorCode::Refused, "OLD_REVISION"), "{revision}");
    }
    scene.enrol(&scene.share(3, 6, &PEOPLE, honest)).await.expect("the same content under the same number");
    let later = scene.share(4, 7, &changed, honest);
    let checks = scene.checks(&later).await.expect("they open");
    let sums = scene.verify(&later, &checks).await.expect("they agree");
    assert_eq!(scene.live(&[0, 1, 2]).expect("live"), PEOPLE);
    let before = scene.read(&[0, 1, 2]);
    scene.admit(&later, &sums).await.expect("they are bits");
    assert_eq!(scene.live(&[0, 1, 2]).expect("live"), changed);
    // A filter that was planned before sees that these are other attributes.
    let now = scene.read(&[0, 1, 2]);
    assert!(now.iter().all(|commitment| !before.contains(commitment)));
    let keys: Vec<DatasetKey> = scene.people.contexts.iter().map(DatasetKey::of).collect();
    let live = scene.keyholders[0].store().attribute_commitments(&keys, &schema().digest()).expect("it reads");
    assert_eq!(live.into_iter().flatten().collect::<Vec<_>>(), now);
}

#[tokio::test]
async fn erased_people_have_no_attributes_and_the_others_keep_theirs() {
    let mut scene = Scene::set().await;
    scene.enrol(&scene.share(1, 5, &PEOPLE, honest)).await.expect("they are bits");
    let gone = DatasetKey::of(&scene.people.contexts[1]);
    // An attempt is under way when one of its people is erased.
    let under_way = scene.share(2, 6, &PEOPLE, honest);
    let checks = scene.checks(&under_way).await.expect("they open");
    scene.committee.revoke(&scene.people, &[1]).await;
    for keyholder in &scene.keyholders {
        assert_eq!(keyholder.store().erase(RegistrationId(1), &[gone]).expect("it erases"), 1);
        let left = keyholder.store().attribute_commitments(&[gone], &schema().digest()).expect("it reads");
        assert_eq!(left, [None]);
    }
    assert_eq!(refusal(scene.verify(&under_way, &checks).await), (ErrorCode::Conflict, "ATTEMPT_GONE"));
    scene.restart(0).await;
    assert_eq!(scene.live(&[0, 2]).expect("under the new key"), [PEOPLE[0], PEOPLE[2]]);
    assert_eq!(refusal(scene.live(&[1])), (ErrorCode::Refused, "NO_ATTRIBUTES"));
    // Nothing of revoked people is kept.
    let changed = [PEOPLE[2], PEOPLE[0], PEOPLE[1]];
    assert_eq!(scene.enrol(&scene.share(2, 7, &changed, honest)).await.expect("the others"), [2, 2, 2]);
    assert_eq!(scene.live(&[0, 2]).expect("live"), [changed[0], changed[2]]);
    assert!(scene.live(&[1]).is_err());
}

#[tokio::test]
async fn a_message_that_a_relay_changed_is_refused() {
    let scene = Scene::set().await;
    let shared = scene.share(1, 5, &PEOPLE, honest);
    let checks = scene.checks(&shared).await.expect("they open");
    let changes: [fn(&mut Vec<pb::AttributeCheck>); 4] = [
        |checks| checks[1].coin_part = vec![0; 32].into(),
        |checks| checks[2].share_digests.swap(0, 1),
        |checks| checks[1] = checks[2].clone(),
        |checks| checks.truncate(2),
    ];
    for change in changes {
        let mut changed = checks.clone();
        change(&mut changed);
        assert!(scene.verify(&shared, &changed).await.is_err());
    }
    let sums = scene.verify(&shared, &checks).await.expect("as they were signed");
    let mut zeroed = sums.clone();
    zeroed[1].sums = vec![0; 512].into();
    assert!(scene.admit(&shared, &zeroed).await.is_err());
    scene.admit(&shared, &sums).await.expect("control");
}

#[tokio::test]
async fn no_file_holds_a_share_in_the_clear() {
    let scene = Scene::set().await;
    let shared = scene.share(1, 5, &PEOPLE, honest);
    let checks = scene.checks(&shared).await.expect("they open");
    let keyholder = &scene.keyholders[0];
    let batch = keyholder.open_attributes(&shared.header).await.expect("signed");
    let pending = keyholder.store().pending_attributes(&batch.attempt, 0..1).expect("it reads");
    let share: Vec<u8> = pending[0].entry.sent().iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(share.len(), 48);
    let sums = scene.verify(&shared, &checks).await.expect("they agree");
    scene.admit(&shared, &sums).await.expect("they are bits");
    let file = std::fs::read(scene.dirs[0].path().join("keyholder.redb")).expect("it is there");
    assert!(!file.windows(share.len()).any(|window| window == share), "share 3 lies open");
    // Control: the commitment is no secret, and is found.
    let commitment = pending[0].entry.commitment().0.0;
    assert!(file.windows(32).any(|window| window == commitment));
}
