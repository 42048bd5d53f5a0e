//! People's attributes from a table to the keyholders, over every service.

use anyhow::{Context as _, Result};
use locus_client::{
    ClientError, Progress, Stage,
    enrol::{AttributeError, AttributeInput, EnrolInput, Enrolled, add_attributes},
    erase,
    research::{get_schema, list_schemas},
    revoke,
};
use locus_commitment::Digest32;
use locus_intake::{AttributeMapping, AttributeSource, read_attributes};
use locus_phenotype::{AttributeSchema, PersonAttributes, SchemaDigest};
use locus_service::reason_of;
use locus_sharing::KeyholderIndex;
use locus_tests::{AttributeUpload, Market, People, now_unix_s, small_floors};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    sync::{Arc, Mutex, PoisonError},
};
use tonic::Code;

const SCHEMA: &str = r#"{"name": "tests", "version": "1", "attributes": [
    {"kind": "category", "name": "sex", "values": ["F", "M"]},
    {"kind": "bands", "name": "age", "edges": ["18", "50"], "whole": true, "unit": "a"},
    {"kind": "flag", "name": "smoker"},
    {"kind": "quantity", "name": "height", "origin": "100", "step": "1", "bits": 7, "unit": "cm"}]}"#;
const PEOPLE: u32 = 12;

struct Scene {
    market: Market,
    genotypes: EnrolInput,
    batch: Enrolled,
}

fn schema() -> AttributeSchema {
    AttributeSchema::parse_json(SCHEMA).expect("a schema")
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(small_floors()).await?;
        let genotypes = market.read_people("everyone", &People::new(PEOPLE, 40, 83))?;
        let batch = market.enrol(&market.biobank, &genotypes).await?.pop().context("a batch")?;
        Ok(Self { market, genotypes, batch })
    }

    /// A table about the first `count` people and one who was not enrolled.
    fn input(&self, count: u32, smokers: u32) -> Result<AttributeInput> {
        let mut table = "person\tsex\tage\tsmoker\theight\n".to_owned();
        for person in (0..count).chain([999]) {
            let sex = if person % 2 == 0 { "F" } else { "M" };
            let smokes = if person < smokers { "yes" } else { "no" };
            writeln!(table, "P{person}\t{sex}\t{}\t{smokes}\t{}", 15 + 5 * (person % 12), 150 + person % 50)?;
        }
        let path = self.market.scratch().join("people.tsv");
        fs::write(&path, table)?;
        let mapping = AttributeMapping::default();
        let intake = read_attributes(&AttributeSource::Table(path), &schema(), &mapping)?;
        Ok(AttributeInput::of_intake(schema(), intake))
    }
}

/// Remembers every stage.
#[derive(Default)]
struct Stages(Mutex<BTreeSet<Stage>>);

impl Progress for Stages {
    fn report(&self, stage: Stage, done: u64, total: u64) {
        assert!(done <= total);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(stage);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_attributes_and_everyone_can_see_of_which_schema() -> Result<()> {
    let scene = Scene::set().await?;
    let (market, registration) = (&scene.market, scene.batch.registration);
    let (services, network, biobank) = (&market.services, &market.network, &market.biobank);
    assert!(list_schemas(services).await?.is_empty());
    let unknown = get_schema(services, schema().digest()).await.expect_err("nobody has attributes");
    assert!(matches!(unknown, ClientError::Call(error) if error.code == Code::NotFound));

    let input = scene.input(PEOPLE - 2, 3)?;
    let stages = Arc::new(Stages::default());
    let (records, now, progress) = (biobank.folder.enrolments(), now_unix_s(), stages.clone());
    let added = add_attributes(services, network, &biobank.keys, &records, registration, &input, now, progress).await?;
    assert_eq!((added.dataset_count, added.matched), (PEOPLE, 10));
    let seen = stages.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(seen.contains(&Stage::SharingAttributes) && seen.contains(&Stage::CheckingAttributes), "{seen:?}");

    let listed = list_schemas(services).await?;
    let [only] = &listed[..] else { anyhow::bail!("{} schemas", listed.len()) };
    assert_eq!((only.digest, only.name.as_str(), only.version.as_str()), (schema().digest(), "tests", "1"));
    assert_eq!(only.registrations, [registration.0]);
    assert_eq!(get_schema(services, only.digest).await?, schema());
    let other = get_schema(services, SchemaDigest(Digest32([1; 32]))).await;
    assert!(other.is_err(), "no such schema");

    // The same again, then others.
    assert_eq!(market.add_attributes(biobank, registration, &input).await?, added);
    let changed = market.add_attributes(biobank, registration, &scene.input(PEOPLE, 5)?).await?;
    assert!(changed.revision > added.revision);
    assert_eq!(changed.matched, 12);
    let record = biobank.folder.enrolments().of_registration(&network.id(), registration)?.context("it is recorded")?;
    let given = record.attributes.context("attributes are recorded")?;
    assert!(given.admitted && given.revision == changed.revision);

    // Erased people are left out, the others can get new attributes.
    revoke(services, network, &biobank.keys, registration, &[4], now_unix_s()).await?;
    erase(services, network, &biobank.keys, registration, &[4], &biobank.folder.enrolments(), now_unix_s()).await?;
    let left = market.add_attributes(biobank, registration, &scene.input(PEOPLE, 7)?).await?;
    assert_eq!(left.dataset_count, PEOPLE - 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_refused_from_whoever_did_not_enrol_these_people() -> Result<()> {
    let scene = Scene::set().await?;
    let (market, registration) = (&scene.market, scene.batch.registration);
    let input = scene.input(PEOPLE, 3)?;
    let refused = market.add_attributes(&market.clinic, registration, &input).await.expect_err("not its people");
    assert!(matches!(refused, ClientError::Attributes(AttributeError::NotEnrolledHere(_))), "{refused}");
    let nobody = AttributeInput::new(schema(), [("Q1".to_owned(), PersonAttributes::unknown(&schema()))].into());
    let refused = market.add_attributes(&market.biobank, registration, &nobody).await.expect_err("other names");
    assert!(refused.to_string().contains("P0"), "it gives an example: {refused}");

    let honest = AttributeUpload::of(market, &market.biobank, registration, &input).await?;
    let mut forged = honest.clone();
    forged.header.revision += 1;
    let refused = forged.send(market).await.expect_err("not what was signed");
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::FailedPrecondition, Some("SIGNATURE")));
    let mut elsewhere = honest.clone();
    elsewhere.header.registration_id = 77;
    assert_eq!(elsewhere.send(market).await.expect_err("no such registration").code(), Code::NotFound);
    let mut short = honest.clone();
    short.chunks.pop();
    let refused = short.send(market).await.expect_err("a keyholder lacks its shares");
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::InvalidArgument, Some("UPLOAD_ORDER")));
    let mut twice = honest.clone();
    twice.chunks.push(honest.chunks[0].clone());
    assert_eq!(twice.send(market).await.expect_err("too much").code(), Code::InvalidArgument);
    let mut swapped = honest.clone();
    (swapped.chunks[0].keyholder, swapped.chunks[1].keyholder) = (2, 1);
    let refused = swapped.send(market).await.expect_err("sealed to others");
    assert_eq!(reason_of(&refused).as_deref(), Some("KEYHOLDER_REFUSED"));
    assert!(list_schemas(&market.services).await?.is_empty());

    let receipt = honest.send(market).await.context("control")?;
    assert_eq!(receipt.dataset_count, PEOPLE);
    assert_eq!(list_schemas(&market.services).await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_altered_for_one_keyholder_is_refused() -> Result<()> {
    let scene = Scene::set().await?;
    let (market, registration) = (&scene.market, scene.batch.registration);
    let people: Vec<PersonAttributes> = vec![PersonAttributes::unknown(&schema()); usize::try_from(PEOPLE)?];
    let named = scene.batch.datasets.iter().map(|dataset| dataset.sample.clone()).zip(people.clone());
    let input = AttributeInput::new(schema(), named.collect());
    let honest = AttributeUpload::of(market, &market.biobank, registration, &input).await?;
    let [first, second, _] = KeyholderIndex::ALL;
    let reseal = |upload: &mut AttributeUpload, keyholder, alter: fn(usize, &mut Vec<u64>)| {
        upload.reseal(market, &market.biobank, &scene.genotypes, &scene.batch, &people, keyholder, alter)
    };
    let alter: fn(usize, &mut Vec<u64>) = |place, sent| {
        if place == 3 {
            sent[2] = sent[2].wrapping_sub(1);
        }
    };
    for deceived in [first, second] {
        let mut altered = honest.clone();
        reseal(&mut altered, deceived, alter)?;
        let refused = altered.send(market).await.expect_err("the holders of share 3 compare");
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("differ between two keyholders"), "{refused}");
    }
    // Told to both holders alike, it is seen by all: the bit would be 0, and its attribute has no value.
    let mut alike = honest.clone();
    reseal(&mut alike, first, alter)?;
    reseal(&mut alike, second, alter)?;
    let refused = alike.send(market).await.expect_err("not one value for each attribute");
    assert!(refused.message().contains("check of its bits"), "{refused}");
    assert!(list_schemas(&market.services).await?.is_empty(), "nothing is live");

    let mut control = honest.clone();
    reseal(&mut control, first, |_, _| {})?;
    reseal(&mut control, second, |_, _| {})?;
    assert_eq!(control.send(market).await.context("control")?.dataset_count, PEOPLE);
    assert_eq!(list_schemas(&market.services).await?[0].registrations, [registration.0]);
    Ok(())
}
