//! Somebody registers another person's ciphertexts as their own, so that this person counts often.

use anyhow::{Context as _, Result};
use locus_client::publish_panel;
use locus_commitment::{BodyDigest, DatasetId, Digest32, GenotypeCommitment, PersonTag, ShareSetCommitment};
use locus_genomics::{Genotype, Panel};
use locus_ledger::{DatasetLeaf, leaves_hash};
use locus_privacy::Tier;
use locus_rlwe::Body;
use locus_service::reason_of;
use locus_sharing::{DatasetSecrets, KeyholderIndex};
use locus_tests::{Bought, Dataset, Market, People, Stage, Upload, biomedical, first_variants, small_floors};
use locus_wire::pb::{exchange as exchange_pb, keyholder as pb};
use pb::check_datasets_request::Part;
use std::sync::Arc;
use tonic::{Code, Status};

/// Whose datasets are copied.
struct Scene {
    market: Market,
    panel: Arc<Panel>,
    people: People,
    victims: Upload,
    victims_secrets: Vec<DatasetSecrets>,
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(small_floors()).await?;
        let people = People::new(24, 40, 23);
        let input = market.read_people("everyone", &people)?;
        publish_panel(&market.services, &input.panel).await?;
        let victims = Upload::of_institution(&market, &market.biobank, &input).await?;
        let secrets = |ordinal| victims.secrets(&market, &market.biobank, &input, ordinal);
        let victims_secrets = (0..24).map(secrets).collect::<Result<Vec<_>>>()?;
        market.enrol(&market.biobank, &input).await?;
        Ok(Self { panel: input.panel.clone(), market, people, victims, victims_secrets })
    }

    async fn open_answer(&self) -> Result<Bought> {
        let question = biomedical(first_variants(&self.panel, 20)?, Tier::Open, "0.01".parse()?);
        self.market.buy_as(&self.market.researcher, &self.panel, &question, "1".parse()?).await
    }

    /// The victims' upload under the clinic's name, with ids and persons of its own.
    fn copied(&self) -> Result<Upload> {
        let clinic = &self.market.clinic;
        let accreditor = clinic.keys.accreditor()?;
        let mut copy = self.victims.clone();
        copy.header.registrant = clinic.keys.address().0.to_vec().into();
        copy.header.accreditor = accreditor.account().address().0.to_vec().into();
        for (ordinal, record) in (0u32..).zip(&mut copy.records) {
            let leaf = record.leaf.as_mut().context("a leaf")?;
            let dataset = DatasetId::derive(clinic.keys.address(), copy.header.batch_nonce, ordinal);
            leaf.dataset_id = dataset.0.to_vec().into();
            leaf.person_tag = accreditor.person_tag(&format!("copy {ordinal}")).0.to_vec().into();
        }
        self.sign(&mut copy)?;
        Ok(copy)
    }

    fn sign(&self, copy: &mut Upload) -> Result<()> {
        let clinic = &self.market.clinic;
        copy.sign(&self.market, clinic.keys.account(), Some(clinic.keys.accreditor()?.account()))
    }

    /// Makes the share commitments those that the victims' seeds have under the clinic's name.
    fn commit_again(&self, copy: &mut Upload) -> Result<()> {
        for (ordinal, secrets) in (0u32..).zip(&self.victims_secrets) {
            let commitments = secrets.share_commitments(&copy.context(&self.market, ordinal)?);
            let record = &mut copy.records[ordinal as usize];
            record.share_commitments = commitments.map(|commitment| commitment.0.0).concat().into();
            let leaf = record.leaf.as_mut().context("a leaf")?;
            leaf.share_commitment = ShareSetCommitment::new(&commitments).0.0.to_vec().into();
        }
        Ok(())
    }

    /// Asks one keyholder to check an upload, without any archive in between.
    async fn check_at(&self, keyholder: KeyholderIndex, upload: &Upload) -> Result<pb::CheckValues, Status> {
        let internal = |error: anyhow::Error| Status::internal(error.to_string());
        let registration = upload.registration().map_err(internal)?;
        let header = pb::EnrolHeader {
            network: upload.header.network.clone(),
            registration: Some((&registration).into()),
            registrant_signature: upload.finish.registrant_signature.clone(),
            accreditor_signature: upload.finish.accreditor_signature.clone(),
            dataset_count: upload.header.dataset_count,
            block_count: self.panel.block_count(),
            complete_calls: self.panel.complete_calls(),
            proven: false,
        };
        let number = u32::from(keyholder.get());
        let seeds = upload.seeds.iter().find(|seeds| seeds.keyholder == number);
        let sealed_seeds = seeds.map(|seeds| seeds.sealed.clone()).unwrap_or_default();
        let datasets = upload.records.iter().enumerate().map(|(ordinal, record)| pb::EnrolDataset {
            leaf: record.leaf.clone(),
            share_commitments: record.share_commitments.clone(),
            ciphertext_commitment: Default::default(),
            bodies: upload.bodies.values().map(|column| opening(&column[ordinal])).collect(),
        });
        let chunk = pb::EnrolChunk { first_ordinal: 0, datasets: datasets.collect(), sealed_seeds };
        let requests = [Part::Header(header), Part::Chunk(chunk)];
        let requests = requests.map(|part| pb::CheckDatasetsRequest { part: Some(part) });
        let mut client = self.market.services.keyholders[keyholder.position()].clone();
        let mut responses = client.check_datasets(tokio_stream::iter(requests)).await?.into_inner();
        let response = responses.message().await?;
        response.and_then(|response| response.values).ok_or_else(|| Status::aborted("no check values"))
    }
}

fn opening(body: &[u8]) -> pb::BodyOpening {
    let whole: &[u8; 32_768] = body.try_into().expect("a whole body");
    let body_hash = BodyDigest::whole_hash(whole).0.to_vec().into();
    pb::BodyOpening { check_slots: body[..128].to_vec().into(), body_hash }
}

fn check_reason<T>(result: Result<T, Status>, expected: &str, words: &str) -> Result<()> {
    let status = result.err().with_context(|| format!("{words}: let in"))?;
    assert_eq!(reason_of(&status).as_deref(), Some(expected), "{words}: {}", status.message());
    assert!(status.message().contains(words), "{}", status.message());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_refused_by_the_archive_by_each_keyholder_and_by_the_chain() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let before = scene.open_answer().await?;
    let holdings = market.holdings().await?;

    // The archive knows what is registered, and to whom ids belong.
    let mut verbatim = scene.victims.clone();
    verbatim.header.registrant = market.clinic.keys.address().0.to_vec().into();
    verbatim.header.accreditor = market.clinic.keys.accreditor()?.account().address().0.to_vec().into();
    scene.sign(&mut verbatim)?;
    check_reason(verbatim.send(market).await, "DATASET_MISMATCH", "dataset id")?;
    check_reason(scene.copied()?.send(market).await, "DATASET_REGISTERED", "ciphertexts")?;

    // So does every keyholder, whatever archive it is asked by.
    for keyholder in KeyholderIndex::ALL {
        let mut copy = scene.copied()?;
        check_reason(scene.check_at(keyholder, &copy).await, "SEEDS_REFUSED", "sealed seeds")?;
        // Somebody who knows the victims' secrets (they are the victim, with a second wallet) seals
        // the same seeds again,
        for keyholder in KeyholderIndex::ALL {
            copy.seal_seeds(market, keyholder, &scene.victims_secrets)?;
        }
        check_reason(scene.check_at(keyholder, &copy).await, "ENROLMENT_CHECK_FAILED", "key seeds")?;
        // and commits to them under the new name.
        scene.commit_again(&mut copy)?;
        scene.sign(&mut copy)?;
        check_reason(scene.check_at(keyholder, &copy).await, "DUPLICATE", "ciphertext")?;
    }
    // Control: what is refused is the copy, not the way it takes.
    for keyholder in KeyholderIndex::ALL {
        assert_eq!(scene.check_at(keyholder, &scene.victims).await?.dataset_count, 24);
    }

    // A bit of encryption noise changed gives a digest that nobody has: then the keys do not fit,
    // because they are made for the victim's name.
    let mut disguised = scene.copied()?;
    disguised.bodies.values_mut().flatten().for_each(|body| body[20_000] ^= 1);
    for record in &mut disguised.records {
        let leaf = record.leaf.as_mut().context("a leaf")?;
        leaf.genotype_commitment = leaf.genotype_commitment.iter().map(|byte| byte ^ 1).collect();
    }
    scene.commit_again(&mut disguised)?;
    disguised.declare_bodies(market, &market.clinic)?;
    for keyholder in KeyholderIndex::ALL {
        disguised.seal_seeds(market, keyholder, &scene.victims_secrets)?;
    }
    check_reason(disguised.send(market).await, "KEYHOLDER_REFUSED", "check slots")?;
    market.check_unchanged(&holdings, "copies").await?;
    refused_by_the_chain(&scene).await?;
    assert_eq!(scene.open_answer().await?.content(), before.content(), "others' answers changed");
    control(&scene)
}

/// Even with the signatures of all three keyholders the registry takes no copy of any commitment.
async fn refused_by_the_chain(scene: &Scene) -> Result<()> {
    let market = &scene.market;
    let victim = scene.victims.leaves()?[3];
    let fresh = |number: u8| DatasetLeaf {
        dataset: DatasetId([number; 32]),
        person: PersonTag([number; 32]),
        commitments: locus_commitment::DatasetCommitments {
            bodies: locus_commitment::DatasetBodyDigest(Digest32([number; 32])),
            shares: ShareSetCommitment(Digest32([64 + number; 32])),
            genotypes: GenotypeCommitment(Digest32([128 + number; 32])),
        },
    };
    let mut copies = [fresh(1), fresh(2), fresh(3)];
    copies[0].commitments.bodies = victim.commitments.bodies;
    copies[1].commitments.shares = victim.commitments.shares;
    copies[2].commitments.genotypes = victim.commitments.genotypes;
    for copy in copies {
        let status = register(scene, &[fresh(7), copy]).await?.err().context("a copy was registered")?;
        assert_eq!(reason_of(&status).as_deref(), Some("DUPLICATE"), "{}", status.message());
    }
    // Twice in one batch is a copy as well.
    let status = register(scene, &[fresh(7), fresh(7)]).await?.err().context("a copy was registered")?;
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::FailedPrecondition, Some("DUPLICATE")));
    assert!(market.registration(2).await.is_err());
    // Control: the same registration without a copy is taken.
    let registered = register(scene, &[fresh(7), fresh(8)]).await?;
    assert!(registered.is_ok(), "{registered:?}");
    Ok(())
}

/// Registers leaves of the clinic with the keyholders' own signing keys, as if all three conspired.
async fn register(
    scene: &Scene,
    leaves: &[DatasetLeaf],
) -> Result<Result<exchange_pb::RegisterDatasetsResponse, Status>> {
    let market = &scene.market;
    let contracts = market.network.contracts();
    let mut copy = scene.copied()?;
    copy.header.batch_nonce = 77;
    copy.header.accreditor = Default::default();
    let mut registration = copy.registration()?;
    registration.leaves_hash = leaves_hash(leaves);
    let digest = contracts.registration_digest(&registration);
    let attestation = contracts.attestation_signing_hash(&digest, market.network.committee_epoch());
    let registrant = market.clinic.keys.account();
    let mut attestations = Vec::new();
    for keyholder in KeyholderIndex::ALL {
        let signature = market.keyholder_signer(keyholder)?.sign_digest(&attestation)?;
        attestations.push(signature.to_bytes().to_vec().into());
    }
    let signature = registrant.sign_digest(&contracts.registration_signing_hash(&registration))?;
    let request = exchange_pb::RegisterDatasetsRequest {
        registration: Some((&registration).into()),
        leaves: leaves.iter().map(Into::into).collect(),
        registrant_signature: signature.to_bytes().to_vec().into(),
        accreditor_signature: Default::default(),
        attestations,
        ..Default::default()
    };
    let registered = market.services.exchange.clone().register_datasets(request).await;
    Ok(registered.map(tonic::Response::into_inner))
}

/// Without these checks, a victim copied ten times counts eleven times.
fn control(scene: &Scene) -> Result<()> {
    let stage = Stage::new(40, None)?;
    let dataset = |ordinal: u32| -> Result<Dataset> {
        let body = &scene.victims.bodies[&(0, 0)][ordinal as usize];
        let secrets = scene.victims_secrets[ordinal as usize].clone();
        Ok(Dataset { context: scene.victims.context(&scene.market, ordinal)?, secrets, body: Body::parse(body)? })
    };
    let people = (0..24).map(dataset).collect::<Result<Vec<_>>>()?;
    let mut cohort: Vec<&Dataset> = people.iter().collect();
    cohort.extend([&people[5]; 10]);
    // Not even the name of such a cohort exists.
    assert!(stage.tau(&cohort).is_err());
    let combined = stage.answer(&cohort, &Stage::tau_with_nonce(0))??;
    for (variant, counts) in (0..).zip(combined.decode_calls(stage.range(cohort.len())?)?) {
        let honest = scene.people.count(variant, Genotype::Het);
        let copies = 10 * i64::from(scene.people.genotype(5, variant) == Genotype::Het);
        assert_eq!(counts.het, honest + copies);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_batch_that_is_attested_but_not_registered_yet_is_refused() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    // The biobank's next people are attested; the clinic sees the upload and is first at the chain.
    let next = market.read_more_people("next", &scene.people.next(3), &scene.panel)?;
    let pending = Upload::of_institution(market, &market.biobank, &next).await?;
    assert_eq!(pending.send(market).await?.attestations.len(), 3);
    let thief = Scene { victims: pending, victims_secrets: Vec::new(), ..scene };
    let copy = thief.copied()?;
    check_reason(copy.send(&thief.market).await, "KEYHOLDER_REFUSED", "sealed seeds")?;
    for keyholder in KeyholderIndex::ALL {
        check_reason(thief.check_at(keyholder, &copy).await, "SEEDS_REFUSED", "sealed seeds")?;
    }
    // Its owner goes on undisturbed.
    thief.market.enrol(&thief.market.biobank, &next).await?;
    assert_eq!(thief.open_answer().await?.opened.cohort_size(), 27);
    Ok(())
}
