//! A person for whom nobody vouches enrols something else than an encryption of genotypes.

use anyhow::{Context as _, Result, ensure};
use locus_client::{enrol::EnrolInput, publish_panel};
use locus_commitment::ShareSetCommitment;
use locus_proofs::encryption::EncryptionProof;
use locus_service::reason_of;
use locus_sharing::{DatasetSecrets, GenotypeDigest, KeyholderIndex};
use locus_tests::{Market, Party, People, Upload, small_floors};
use locus_wire::pb::keyholder::{self as pb, check_datasets_request::Part};
use tonic::Status;

/// Which of the people in the file enrols.
const INDIVIDUAL: u32 = 3;
/// A variant's slot, and the bit that counts one more carrier of two alternate alleles.
const SLOT: usize = 16 + 7;
const HOM_ALT_BIT: usize = 45;

struct Scene {
    market: Market,
    person: Party,
    input: EnrolInput,
    honest: Upload,
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(small_floors()).await?;
        let people = People { missing: true, ..People::new(24, 40, 13) };
        let input = market.read_people("everyone", &people)?;
        publish_panel(&market.services, &input.panel).await?;
        let person = market.funded_party("person").await?;
        let honest = Upload::of_person(&market, &person, &input, INDIVIDUAL).await?;
        Ok(Self { market, person, input, honest })
    }

    async fn refuse(&self, name: &str, upload: &Upload, expected: &str) -> Result<()> {
        let before = self.market.holdings().await?;
        let status = upload.send(&self.market).await.err().with_context(|| format!("{name} was let in"))?;
        check(name, &status, expected)?;
        self.market.check_unchanged(&before, name).await
    }

    fn enrol_header(&self, upload: &Upload, proven: bool) -> Result<pb::EnrolHeader> {
        Ok(pb::EnrolHeader {
            network: upload.header.network.clone(),
            registration: Some((&upload.registration()?).into()),
            registrant_signature: upload.finish.registrant_signature.clone(),
            accreditor_signature: Default::default(),
            dataset_count: 1,
            block_count: 1,
            complete_calls: false,
            proven,
        })
    }

    /// What a keyholder says to an archive that passes these on.
    async fn ask_keyholder(&self, parts: Vec<Part>) -> Result<Status> {
        let mut keyholder = self.market.services.keyholders[1].clone();
        let messages = parts.into_iter().map(|part| pb::CheckDatasetsRequest { part: Some(part) });
        match keyholder.check_datasets(tokio_stream::iter(messages.collect::<Vec<_>>())).await {
            Err(status) => Ok(status),
            Ok(answer) => answer.into_inner().message().await.err().context("the keyholder signed"),
        }
    }
}

fn check(name: &str, status: &Status, expected: &str) -> Result<()> {
    let reason = reason_of(status).unwrap_or_default();
    ensure!(reason == expected, "{name}: {reason} instead of {expected}: {}", status.message());
    Ok(())
}

fn only(column: &mut [Vec<u8>]) -> &mut Vec<u8> {
    &mut column[0]
}

/// One more flag on a variant than the genotype has.
fn inflate(body: &mut [u8]) {
    let word = &mut body[SLOT * 8..SLOT * 8 + 8];
    let value = u64::from_le_bytes(word.try_into().expect("eight bytes")).wrapping_add(1 << HOM_ALT_BIT);
    word.copy_from_slice(&value.to_le_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_ciphertexts_are_taken_with_true_proofs_only() -> Result<()> {
    let scene = Scene::set().await?;
    let (market, person) = (&scene.market, &scene.person);

    let mut bare = scene.honest.clone();
    bare.header.proven = false;
    bare.proofs.clear();
    scene.refuse("no proofs", &bare, "UNPROVEN").await?;
    let mut missing = scene.honest.clone();
    missing.proofs.clear();
    scene.refuse("proofs left out", &missing, "UPLOAD_ORDER").await?;

    // A body that counts its owner once more at one variant passes the check slots.
    let mut inflated = scene.honest.clone();
    inflate(only(inflated.bodies.get_mut(&(0, 0)).context("calls")?));
    inflated.declare_bodies(market, person)?;
    scene.refuse("an inflated body", &inflated, "PROOF_REFUSED").await?;

    // Honest proofs of something else: the other plane, another version, another person's batch.
    let mut planes = scene.honest.clone();
    let calls = planes.proofs.insert((0, 0), scene.honest.proofs[&(0, 1)].clone()).context("calls")?;
    planes.proofs.insert((0, 1), calls);
    scene.refuse("proofs of the other plane", &planes, "PROOF_REFUSED").await?;
    let mut version = scene.honest.clone();
    version.header.version = 2;
    version.sign(market, person.keys.account(), None)?;
    scene.refuse("another version", &version, "PROOF_REFUSED").await?;
    let thief = market.funded_party("thief").await?;
    let own = Upload::of_person(market, &thief, &scene.input, INDIVIDUAL).await?;
    let mut stolen = own.clone();
    (stolen.bodies, stolen.proofs) = (scene.honest.bodies.clone(), scene.honest.proofs.clone());
    stolen.declare_bodies(market, &thief)?;
    scene.refuse("somebody else's bodies and proofs", &stolen, "PROOF_REFUSED").await?;

    // Every part of the proof message, byte by byte in steps.
    for place in (0..EncryptionProof::BYTES).step_by(13) {
        let mut changed = scene.honest.clone();
        only(changed.proofs.get_mut(&(0, 1)).context("missing")?)[place] ^= 1;
        scene.refuse(&format!("byte {place} of a proof"), &changed, "PROOF_REFUSED").await?;
    }

    // True proofs about other genotypes or other keys than those that are registered.
    let mut genotypes = scene.honest.clone();
    let leaf = genotypes.records[0].leaf.as_mut().context("a leaf")?;
    leaf.genotype_commitment = vec![7; 32].into();
    genotypes.sign(market, person.keys.account(), None)?;
    scene.refuse("another genotype commitment", &genotypes, "DATASET_MISMATCH").await?;
    let mut keys = scene.honest.clone();
    let context = keys.context(market, 0)?;
    let other = DatasetSecrets::derive(person.keys.master(), &context, &GenotypeDigest::of_packed(b"another"));
    let commitments = other.share_commitments(&context);
    keys.records[0].share_commitments = commitments.map(|commitment| commitment.0.0).concat().into();
    let leaf = keys.records[0].leaf.as_mut().context("a leaf")?;
    leaf.share_commitment = ShareSetCommitment::new(&commitments).0.0.to_vec().into();
    for keyholder in KeyholderIndex::ALL {
        keys.seal_seeds(market, keyholder, std::slice::from_ref(&other))?;
    }
    keys.sign(market, person.keys.account(), None)?;
    scene.refuse("other keys", &keys, "KEYHOLDER_REFUSED").await?;

    assert_eq!(scene.honest.send(market).await?.attestations.len(), 3, "the unmodified upload is taken in");

    // Control: where somebody vouches and nothing is proven, the inflated body is taken in.
    let mut vouched = Upload::of_institution(market, &market.biobank, &scene.input).await?;
    inflate(only(vouched.bodies.get_mut(&(0, 0)).context("calls")?));
    vouched.declare_bodies(market, &market.biobank)?;
    assert_eq!(vouched.send(market).await?.attestations.len(), 3, "the control: accredited, not proven");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keyholders_do_not_believe_the_archive_about_proofs() -> Result<()> {
    let scene = Scene::set().await?;
    let honest = &scene.honest;
    let header = |proven| Ok::<_, anyhow::Error>(Part::Header(scene.enrol_header(honest, proven)?));
    let body = |column: u32| {
        let place = (0, column);
        let (body, proof) = (honest.bodies[&place][0].clone(), honest.proofs[&place][0].clone());
        pb::ProvenBody { ordinal: 0, column, body: body.into(), proof: proof.into() }
    };
    check("no proofs", &scene.ask_keyholder(vec![header(false)?]).await?, "UNPROVEN")?;

    let mut inflated = body(0).body.to_vec();
    inflate(&mut inflated);
    let changed = pb::ProvenBody { body: inflated.into(), ..body(0) };
    let said = scene.ask_keyholder(vec![header(true)?, Part::Body(changed)]).await?;
    check("a changed body", &said, "ENROLMENT_CHECK_FAILED")?;
    let other = pb::ProvenBody { proof: body(1).proof, ..body(0) };
    let said = scene.ask_keyholder(vec![header(true)?, Part::Body(other)]).await?;
    check("a proof of the other plane", &said, "ENROLMENT_CHECK_FAILED")?;
    let said = scene.ask_keyholder(vec![header(true)?, Part::Body(body(1))]).await?;
    check("bodies out of order", &said, "STREAM_ORDER")?;
    let chunk =
        pb::EnrolChunk { first_ordinal: 0, datasets: vec![Default::default()], sealed_seeds: Default::default() };
    let said = scene.ask_keyholder(vec![header(true)?, Part::Body(body(0)), Part::Chunk(chunk.clone())]).await?;
    check("a body left out", &said, "STREAM_ORDER")?;
    // Control: with both bodies the keyholder goes on to the seeds, which this chunk does not have.
    let said =
        scene.ask_keyholder(vec![header(true)?, Part::Body(body(0)), Part::Body(body(1)), Part::Chunk(chunk)]).await?;
    check("true bodies", &said, "SEEDS_REFUSED")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attested_batch_cannot_pass_for_a_proven_one() -> Result<()> {
    let market = Market::start_with(small_floors()).await?;
    let input = market.read_people("everyone", &People::new(24, 40, 13))?;
    publish_panel(&market.services, &input.panel).await?;
    let honest = Upload::of_institution(&market, &market.biobank, &input).await?;
    let is_proven = |upload: &Upload| Ok::<_, anyhow::Error>(upload.leaves()?[5].commitments.genotypes.is_proven());
    assert!(!is_proven(&honest)?);
    let mut pretending = honest.clone();
    let leaf = pretending.records[5].leaf.as_mut().context("a leaf")?;
    let mut commitment = leaf.genotype_commitment.to_vec();
    // Below the field's order, as proven commitments are.
    commitment[0] = 0;
    leaf.genotype_commitment = commitment.into();
    assert!(is_proven(&pretending)?);
    let accreditor = market.biobank.keys.accreditor()?;
    pretending.sign(&market, market.biobank.keys.account(), Some(accreditor.account()))?;
    let status = pretending.send(&market).await.err().context("it passed for a proven one")?;
    check("a commitment of the other form", &status, "KEYHOLDER_REFUSED")?;
    assert_eq!(honest.send(&market).await?.attestations.len(), 3, "the control: the honest batch");
    Ok(())
}
