//! An accredited institution uploads what does not belong together.

use anyhow::{Context as _, Result};
use locus_client::publish_panel;
use locus_commitment::ShareSetCommitment;
use locus_genomics::{Genotype, Panel, PanelBlockIndex, Plane, VariantSelection};
use locus_privacy::{Rho, Tier};
use locus_rlwe::{Body, DatasetKeys, Mask, RlweError};
use locus_service::reason_of;
use locus_sharing::{DatasetSecrets, GenotypeDigest, KeyholderIndex};
use locus_tests::{Bought, Dataset, Market, People, Stage, Upload, biomedical, send, small_floors};
use locus_wire::pb::archive::{UploadDatasetsRequest, upload_datasets_request::Part};
use std::sync::Arc;
use tonic::{Code, Status};

/// Two panel blocks, the second with 20 variants, and a missing plane.
const VARIANTS: u32 = 4_100;
/// People of the clinic.
const PATIENTS: u32 = 20;

/// A market with one enrolled cohort, and what an honest clinic would upload to join it.
struct Scene {
    market: Market,
    panel: Arc<Panel>,
    people: People,
    clinic_people: People,
    clinic_input: locus_client::enrol::EnrolInput,
    /// Of the cohort that is enrolled already.
    enrolled: Upload,
    honest: Upload,
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(small_floors()).await?;
        let people = People { missing: true, ..People::new(24, VARIANTS, 11) };
        let clinic_people = people.next(PATIENTS);
        let input = market.read_people("everyone", &people)?;
        let clinic_input = market.read_more_people("patients", &clinic_people, &input.panel)?;
        publish_panel(&market.services, &input.panel).await?;
        let enrolled = Upload::of_institution(&market, &market.biobank, &input).await?;
        market.enrol(&market.biobank, &input).await?;
        let honest = Upload::of_institution(&market, &market.clinic, &clinic_input).await?;
        Ok(Self { panel: input.panel.clone(), market, people, clinic_people, clinic_input, enrolled, honest })
    }

    /// Counts of the first variants of both blocks in both kinds of tier.
    async fn answers(&self) -> Result<Vec<Bought>> {
        let ranges = [0..40, 4_080..4_090];
        let selection = VariantSelection::try_from_ranges(self.panel.digest(), VARIANTS, ranges)?;
        let mut answers = Vec::new();
        for (tier, rho) in [(Tier::Open, "0.01".parse()?), (Tier::Exact, Rho::ZERO)] {
            let question = biomedical(selection.clone(), tier, rho);
            let price = self.market.quote(&self.panel, &self.market.researcher, &question).await?.price;
            answers.push(self.market.buy_as(&self.market.researcher, &self.panel, &question, price).await?);
        }
        Ok(answers)
    }

    /// The secrets of everybody in the clinic's upload.
    fn secrets(&self) -> Result<Vec<DatasetSecrets>> {
        let of = |ordinal| self.honest.secrets(&self.market, &self.market.clinic, &self.clinic_input, ordinal);
        (0..PATIENTS).map(of).collect()
    }

    /// Secrets of the same dataset that an honest client would not derive.
    fn other_secrets(&self, ordinal: u32) -> Result<DatasetSecrets> {
        let context = self.honest.context(&self.market, ordinal)?;
        let digest = GenotypeDigest::of_packed(b"something else");
        Ok(DatasetSecrets::derive(self.market.clinic.keys.master(), &context, &digest))
    }

    /// One dataset of the clinic as keyholders and aggregator would hold it, with any body.
    fn dataset(&self, ordinal: u32, body: &[u8]) -> Result<Dataset> {
        let secrets = self.honest.secrets(&self.market, &self.market.clinic, &self.clinic_input, ordinal)?;
        Ok(Dataset { context: self.honest.context(&self.market, ordinal)?, secrets, body: Body::parse(body)? })
    }

    fn clinic_count(&self, variant: u32, genotype: Genotype) -> i64 {
        self.clinic_people.count(variant, genotype)
    }
}

fn words(status: &Status) -> String {
    format!("{:?} {} {}", status.code(), reason_of(status).unwrap_or_default(), status.message())
}

const CALLS_FIRST_BLOCK: (u32, u32) = (0, 0);

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_belong_to_its_seeds_is_refused_and_changes_nobody_elses_answers() -> Result<()> {
    let scene = Scene::set().await?;
    let (market, clinic) = (&scene.market, &scene.market.clinic);
    let before = scene.answers().await?;
    let holdings = market.holdings().await?;

    let mut cases: Vec<(&str, Upload, &str)> = Vec::new();
    let mut changed = |name, expected, change: &dyn Fn(&mut Upload)| {
        let mut upload = scene.honest.clone();
        change(&mut upload);
        cases.push((name, upload, expected));
    };
    changed("bodies of two people exchanged", "check slots", &|upload| {
        upload.bodies.values_mut().for_each(|column| column.swap(1, 4));
    });
    changed("bodies of two blocks exchanged", "check slots", &|upload| {
        let first = upload.bodies[&(0, 0)][2].clone();
        let second = std::mem::replace(&mut upload.bodies.get_mut(&(1, 0)).expect("a column")[2], first);
        upload.bodies.get_mut(&(0, 0)).expect("a column")[2] = second;
    });
    changed("a body of the other plane", "check slots", &|upload| {
        let missing = upload.bodies[&(0, 1)][5].clone();
        upload.bodies.get_mut(&CALLS_FIRST_BLOCK).expect("a column")[5] = missing;
    });
    changed("a body of somebody enrolled before", "check slots", &|upload| {
        let stolen = scene.enrolled.bodies[&CALLS_FIRST_BLOCK][7].clone();
        upload.bodies.get_mut(&CALLS_FIRST_BLOCK).expect("a column")[0] = stolen;
    });
    for bit in [4, 26, 63] {
        changed("a flipped bit in the last check slot", "check slots", &|upload| {
            upload.bodies.get_mut(&(1, 1)).expect("a column")[3][15 * 8 + bit / 8] ^= 1 << (bit % 8);
        });
    }
    for (name, mut upload, expected) in cases {
        upload.declare_bodies(market, clinic)?;
        check_refusal(name, upload.send(market).await, expected)?;
        market.check_unchanged(&holdings, name).await?;
    }

    // The clinic knows all secrets, so it can also send any seeds it likes (to one keyholder, or to all
    // with commitments that fit).
    for keyholder in KeyholderIndex::ALL {
        let mut upload = scene.honest.clone();
        let mut secrets = scene.secrets()?;
        secrets[2] = scene.other_secrets(2)?;
        upload.seal_seeds(market, keyholder, &secrets)?;
        let name = format!("other seeds for keyholder {keyholder}");
        check_refusal(&name, upload.send(market).await, &format!("keyholder {keyholder}"))?;
        market.check_unchanged(&holdings, &name).await?;
    }
    let mut upload = scene.honest.clone();
    let mut secrets = scene.secrets()?;
    secrets[2] = scene.other_secrets(2)?;
    let commitments = secrets[2].share_commitments(&upload.context(market, 2)?);
    let record = &mut upload.records[2];
    record.share_commitments = commitments.map(|commitment| commitment.0.0).concat().into();
    let leaf = record.leaf.as_mut().context("a leaf")?;
    leaf.share_commitment = ShareSetCommitment::new(&commitments).0.0.to_vec().into();
    for keyholder in KeyholderIndex::ALL {
        upload.seal_seeds(market, keyholder, &secrets)?;
    }
    upload.sign(market, clinic.keys.account(), Some(clinic.keys.accreditor()?.account()))?;
    check_refusal("other seeds for everybody", upload.send(market).await, "check slots")?;
    market.check_unchanged(&holdings, "everything").await?;

    let after = scene.answers().await?;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.content(), after.content(), "others' answers changed");
        assert_eq!(before.opened.cohort_size(), 24);
    }

    // The unmodified client is let in, and everybody is counted right.
    market.enrol(clinic, &scene.clinic_input).await?;
    let exact = scene.answers().await?.pop().context("the exact answer")?;
    assert_eq!(exact.opened.cohort_size(), 24 + PATIENTS);
    for row in exact.opened.rows() {
        let truth = |genotype| scene.people.count(row.index.0, genotype) + scene.clinic_count(row.index.0, genotype);
        let counts = [Genotype::Het, Genotype::HomAlt, Genotype::Missing].map(truth);
        assert_eq!([row.het, row.hom_alt, row.missing], counts, "variant {}", row.index.0);
    }
    controls(&scene)
}

fn check_refusal<T>(name: &str, result: Result<T, Status>, expected: &str) -> Result<()> {
    let status = result.err().with_context(|| format!("{name} was let in"))?;
    assert_eq!(status.code(), Code::FailedPrecondition, "{name}: {}", words(&status));
    assert_eq!(reason_of(&status).as_deref(), Some("KEYHOLDER_REFUSED"), "{name}: {}", words(&status));
    assert!(status.message().contains(expected), "{name}: {}", words(&status));
    Ok(())
}

/// Without the check at enrolment one such dataset makes the answers about everybody unreadable, or
/// wrong.
fn controls(scene: &Scene) -> Result<()> {
    let column = &scene.honest.bodies[&CALLS_FIRST_BLOCK];
    let cohort = (0..).zip(column).map(|(ordinal, body)| scene.dataset(ordinal, body)).collect::<Result<Vec<_>>>()?;
    let stage = Stage::new(8, None)?;
    let counts = stage.counts(&cohort.iter().collect::<Vec<_>>())?;
    for (variant, counts) in (0..).zip(&counts) {
        let truth = [Genotype::Het, Genotype::HomAlt].map(|genotype| scene.clinic_count(variant, genotype));
        assert_eq!([counts.het, counts.hom_alt], truth, "the control's own sum is right without a cheat");
    }
    let answer = |changed: &Dataset| {
        let mut cohort: Vec<&Dataset> = cohort.iter().collect();
        cohort[1] = changed;
        let tau = stage.tau(&cohort)?;
        stage.answer(&cohort, &tau)
    };
    let swapped = scene.dataset(1, &column[4])?;
    assert!(matches!(answer(&swapped)?.err(), Some(RlweError::AnswerCheckSlot { .. })));
    let mut other_seeds = scene.dataset(1, &column[1])?;
    other_seeds.secrets = scene.other_secrets(1)?;
    assert!(matches!(answer(&other_seeds)?.err(), Some(RlweError::AnswerCheckSlot { .. })));
    // A bit set above the check slots would go unnoticed and count eight people too many: bit 29 is
    // worth eight carriers, whose unit is bit 26.
    let is_clear = |variant: &usize| column[1][(16 + variant) * 8 + 3] & (1 << 5) == 0;
    let variant = (0..100).find(is_clear).context("a slot with that bit clear")?;
    let mut flipped = column[1].clone();
    flipped[(16 + variant) * 8 + 3] |= 1 << 5;
    let combined = answer(&scene.dataset(1, &flipped)?)??;
    let wrong = combined.decode_calls(stage.range(100)?)?;
    assert_eq!(wrong[variant].het - counts[variant].het, 8);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_in_a_body_is_refused_before_any_keyholder_is_asked() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let holdings = market.holdings().await?;
    // Both ends of the check slots, of the variants, of the unused slots past the panel's end.
    let places = [0, 127, 128, 20_000, 32_767];
    for (number, (column, place)) in scene.honest.bodies.keys().zip(places.iter().cycle()).enumerate() {
        let mut upload = scene.honest.clone();
        let dataset = number % PATIENTS as usize;
        upload.bodies.get_mut(column).context("a column")?[dataset][*place] ^= 1 << (number % 8);
        let status = upload.send(market).await.err().with_context(|| format!("byte {place} was let in"))?;
        assert_eq!(reason_of(&status).as_deref(), Some("DATASET_MISMATCH"), "{}", words(&status));
        assert!(status.message().contains(&format!("dataset {dataset} ")), "{}", words(&status));
    }
    let mut upload = scene.honest.clone();
    for place in places {
        upload.bodies.get_mut(&CALLS_FIRST_BLOCK).context("a column")?[5][place] ^= 0x80;
        let status = upload.send(market).await.err().with_context(|| format!("byte {place} was let in"))?;
        assert_eq!(reason_of(&status).as_deref(), Some("DATASET_MISMATCH"), "{}", words(&status));
        upload.bodies.get_mut(&CALLS_FIRST_BLOCK).context("a column")?[5][place] ^= 0x80;
    }
    market.check_unchanged(&holdings, "everything").await?;
    // The very upload without the flips is taken in.
    assert_eq!(upload.send(market).await?.attestations.len(), 3);
    Ok(())
}

/// A change of an upload, and the word with which it is refused.
type Malformed = (&'static str, &'static str, fn(&mut Upload));

/// Changes of single fields, signed again so that only the field itself is wrong.
const MALFORMED: &[Malformed] = &[
    ("another chain", "OTHER_NETWORK", |upload| {
        upload.header.network.as_mut().expect("a network").chain_id += 1;
    }),
    ("another market on this chain", "OTHER_NETWORK", |upload| {
        upload.header.network.as_mut().expect("a network").registry = vec![9; 20].into();
    }),
    ("an unknown panel", "PANEL_UNKNOWN", |upload| upload.header.panel_digest = vec![9; 32].into()),
    ("version 0", "MALFORMED", |upload| upload.header.version = 0),
    ("another version than was encrypted", "KEYHOLDER_REFUSED", |upload| upload.header.version = 2),
    ("another batch than was encrypted", "DATASET_MISMATCH", |upload| upload.header.batch_nonce ^= 1),
    ("a deadline that has passed", "DEADLINE", |upload| upload.header.deadline_unix_s = 1),
    ("no datasets", "MALFORMED", |upload| upload.header.dataset_count = 0),
    ("more datasets than bodies", "UPLOAD_ORDER", |upload| upload.header.dataset_count += 1),
    ("a record too few", "UPLOAD_ORDER", |upload| drop(upload.records.pop())),
    ("a record twice", "DATASET_MISMATCH", |upload| upload.records[3] = upload.records[2].clone()),
    ("a short body", "UPLOAD_ORDER", |upload| {
        upload.bodies.get_mut(&(0, 0)).expect("a column")[5].pop();
    }),
    ("a body too few", "UPLOAD_ORDER", |upload| {
        upload.bodies.get_mut(&(1, 1)).expect("a column").pop();
    }),
    ("a plane too few", "UPLOAD_ORDER", |upload| drop(upload.bodies.remove(&(1, 1)))),
    ("no seeds for one keyholder", "UPLOAD_ORDER", |upload| upload.seeds.retain(|seeds| seeds.keyholder != 2)),
    ("seeds of two keyholders exchanged", "KEYHOLDER_REFUSED", |upload| {
        let first = upload.seeds[0].sealed.clone();
        upload.seeds[0].sealed = std::mem::replace(&mut upload.seeds[1].sealed, first);
    }),
    ("a flipped bit in sealed seeds", "KEYHOLDER_REFUSED", |upload| {
        let mut sealed = upload.seeds[2].sealed.to_vec();
        sealed[1_200] ^= 1;
        upload.seeds[2].sealed = sealed.into();
    }),
    ("truncated seeds", "UPLOAD_ORDER", |upload| {
        let sealed = upload.seeds[1].sealed.slice(..1_000);
        upload.seeds[1].sealed = sealed;
    }),
    ("a short commitment", "MALFORMED", |upload| upload.records[1].share_commitments = vec![1; 95].into()),
    ("a share commitment of another dataset", "DATASET_MISMATCH", |upload| {
        upload.records[1].share_commitments = upload.records[0].share_commitments.clone();
    }),
    ("a genotype commitment twice", "DATASET_DUPLICATE", |upload| {
        let first = upload.records[0].leaf.as_ref().expect("a leaf").genotype_commitment.clone();
        upload.records[1].leaf.as_mut().expect("a leaf").genotype_commitment = first;
    }),
    ("a person twice", "DATASET_DUPLICATE", |upload| {
        let first = upload.records[0].leaf.as_ref().expect("a leaf").person_tag.clone();
        upload.records[1].leaf.as_mut().expect("a leaf").person_tag = first;
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn malformed_uploads_are_refused_by_name_and_leave_nothing_behind() -> Result<()> {
    let scene = Scene::set().await?;
    let (market, clinic) = (&scene.market, &scene.market.clinic);
    let accreditor = clinic.keys.accreditor()?;
    let holdings = market.holdings().await?;
    for &(name, expected, change) in MALFORMED {
        let mut upload = scene.honest.clone();
        change(&mut upload);
        if upload.leaves().is_ok() && upload.registration().is_ok() {
            upload.sign(market, clinic.keys.account(), Some(accreditor.account()))?;
        }
        let status = upload.send(market).await.err().with_context(|| format!("{name} was let in"))?;
        assert_eq!(reason_of(&status).as_deref(), Some(expected), "{name}: {}", words(&status));
        assert!(!matches!(status.code(), Code::Internal | Code::Unknown), "{name}: {}", words(&status));
        market.check_unchanged(&holdings, name).await?;
    }

    // Wrong signers.
    let (own, vouching) = (clinic.keys.account(), accreditor.account());
    let stranger = market.researcher.keys.account();
    let unlisted = market.researcher.keys.accreditor()?;
    let mut upload = scene.honest.clone();
    for (registrant, accreditor, expected) in
        [(stranger, vouching, "SIGNATURE"), (own, stranger, "SIGNATURE"), (own, own, "SIGNATURE")]
    {
        upload.sign(market, registrant, Some(accreditor))?;
        let status = upload.send(market).await.err().context("a wrong signature was let in")?;
        assert_eq!(reason_of(&status).as_deref(), Some(expected), "{}", words(&status));
    }
    upload.header.accreditor = unlisted.account().address().0.to_vec().into();
    upload.sign(market, own, Some(unlisted.account()))?;
    let status = upload.send(market).await.err().context("an unlisted accreditor was let in")?;
    assert_eq!(reason_of(&status).as_deref(), Some("ACCREDITOR_UNKNOWN"), "{}", words(&status));

    // Messages out of order, and a stream that ends in the middle.
    let messages = scene.honest.messages();
    let orders: [(&str, Vec<UploadDatasetsRequest>); 4] = [
        ("no header", messages[1..].to_vec()),
        ("no finish", messages[..messages.len() - 1].to_vec()),
        ("records before bodies", {
            let mut messages = messages.clone();
            let records = messages.iter().position(|message| matches!(message.part, Some(Part::Datasets(_))));
            messages.swap(1, records.context("records")?);
            messages
        }),
        ("a header twice", [&messages[..1], &messages[..]].concat()),
    ];
    for (name, messages) in orders {
        let status = send(market, messages).await.err().with_context(|| format!("{name} was let in"))?;
        assert_eq!(reason_of(&status).as_deref(), Some("UPLOAD_ORDER"), "{name}: {}", words(&status));
    }
    market.check_unchanged(&holdings, "everything").await?;
    assert_eq!(scene.honest.send(market).await?.attestations.len(), 3, "the control is taken in");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn datasets_of_one_panel_are_refused_on_another_of_the_same_shape() -> Result<()> {
    let scene = Scene::set().await?;
    let (market, clinic) = (&scene.market, &scene.market.clinic);
    let twin = market.read_people("twin", &scene.people)?;
    assert_eq!(twin.panel.block_count(), scene.panel.block_count());
    publish_panel(&market.services, &twin.panel).await?;
    let mut upload = scene.honest.clone();
    upload.header.panel_digest = twin.panel.digest().0.to_vec().into();
    let accreditor = clinic.keys.accreditor()?;
    upload.sign(market, clinic.keys.account(), Some(accreditor.account()))?;
    let status = upload.send(market).await.err().context("another panel was let in")?;
    assert_eq!(reason_of(&status).as_deref(), Some("KEYHOLDER_REFUSED"), "{}", words(&status));
    // Sealed anew for the other panel, the seeds open, but they are not those of the commitments.
    for keyholder in KeyholderIndex::ALL {
        upload.seal_seeds(market, keyholder, &scene.secrets()?)?;
    }
    check_refusal("seeds of another panel", upload.send(market).await, "key seeds")?;

    // Control: keys that are not bound to the panel would fit.
    let digest = GenotypeDigest::of_packed(scene.clinic_input.genotypes.person(0)?.as_bytes());
    let [here, there] = [&scene.honest, &upload].map(|upload| upload.context(market, 0));
    let body = |context| {
        DatasetKeys::derive(clinic.keys.master(), &context, &digest).encrypt(
            Mask::v1(),
            PanelBlockIndex(0),
            Plane::Calls,
            &[],
        )
    };
    assert_ne!(body(here?)?.check_slots(), body(there?)?.check_slots());
    Ok(())
}
