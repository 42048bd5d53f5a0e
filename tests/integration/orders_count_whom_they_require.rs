//! Orders that require proofs or disclosed variants count exactly the datasets that have them, and offers that demand
//! such orders are in no other. The keyholders believe no document that they have not verified.

use anyhow::{Context as _, Result, ensure};
use locus_client::{
    OfferTerms, account_state,
    disclosure::{Claim, claim_texts, fetch_offer_disclosure, offer_disclosure, requirements},
    enrol::{EnrolInput, Enrolled},
    post_offer, publish_panel,
    research::{Question, Quote},
};
use locus_cohort::{DisclosureDocument, disclosure_digest};
use locus_commitment::Digest32;
use locus_genomics::Genotype;
use locus_ledger::Demands;
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_proofs::groth16::ProvingKey;
use locus_service::reason_of;
use locus_tests::{Market, Party, People, biomedical, first_variants, question_of, small_floors, terms};
use locus_wire::pb::{archive::PutDisclosureRequest, keyholder::PrepareAnswerRequest};
use std::collections::BTreeMap;

/// People who enrol themselves: those before the last carry the variant, the last lacks it.
const PERSONS: u32 = 5;
/// The carrier who has disclosed nothing.
const SILENT: usize = 3;
/// People whom a biobank enrols.
const ATTESTED: u32 = 4;
const RHO: Rho = Rho::from_nano(1_000_000);

struct Scene {
    market: Market,
    input: EnrolInput,
    persons: Vec<(Party, Enrolled)>,
    /// The variant of the disclosures.
    variant: String,
    key: ProvingKey,
}

impl Scene {
    async fn set() -> Result<Self> {
        let floors = NetworkParameterValues { cohort_size_min: 3, ..small_floors() };
        let market = Market::start_with(floors).await?;
        let people = People::new(PERSONS, 200, 23);
        let carries = |place, variant| people.genotype(place, variant) != Genotype::HomRef;
        let divides = |variant: &u32| (0..PERSONS).all(|place| carries(place, *variant) == (place < PERSONS - 1));
        let place = (0..people.variants).find(divides).context("some variant divides them so")?;
        let variant = format!("1:{}:A:C", 1_000 + 10 * place);
        let input = market.read_people("persons", &people)?;
        let biobank = market.read_more_people("attested", &people.next(ATTESTED), &input.panel)?;
        publish_panel(&market.services, &input.panel).await?;
        market.enrol(&market.biobank, &biobank).await?;
        let mut persons = Vec::new();
        for individual in 0..PERSONS {
            let party = market.funded_party(&format!("person {individual}")).await?;
            let enrolled = market.enrol_person(&party, &input, individual, terms(&input.panel)?).await?;
            persons.push((party, enrolled));
        }
        let key = market.disclosure_key()?;
        Ok(Self { market, input, persons, variant, key })
    }

    fn claim(&self, word: &str) -> Result<Claim> {
        Ok(format!("{}={word}", self.variant).parse()?)
    }

    fn terms(&self) -> Result<OfferTerms> {
        terms(&self.input.panel)
    }

    /// Proves and publishes a claim about the genome of a person, for offers that end by `expiry_unix_s`.
    async fn disclose(&self, person: usize, claims: &[Claim], expiry_unix_s: u64) -> Result<Digest32> {
        let (party, enrolled) = &self.persons[person];
        let packed = self.input.genotypes.person(u32::try_from(person)?)?;
        let own = (&*self.input.panel, packed.as_bytes());
        let (services, network) = (&self.market.services, &self.market.network);
        let until = (enrolled.registration, expiry_unix_s);
        Ok(offer_disclosure(services, network, &party.keys, own, until, claims, &self.key).await?)
    }

    async fn offer(&self, person: usize, terms: &OfferTerms) -> Result<()> {
        let (party, enrolled) = &self.persons[person];
        let (services, network) = (&self.market.services, &self.market.network);
        post_offer(services, network, &party.keys, enrolled.registration, terms).await?;
        Ok(())
    }

    /// Puts a person's genome on offer with a claim about it.
    async fn offer_disclosing(&self, person: usize, word: &str) -> Result<Digest32> {
        let terms = self.terms()?;
        let digest = self.disclose(person, &[self.claim(word)?], terms.expiry_unix_s).await?;
        self.offer(person, &OfferTerms { disclosure: Some(digest), ..terms }).await?;
        Ok(digest)
    }

    async fn document(&self, person: usize, digest: Digest32) -> Result<DisclosureDocument> {
        let registration = self.persons[person].1.registration;
        Ok(fetch_offer_disclosure(&self.market.services, registration, digest).await?)
    }

    fn question(&self, proven_only: bool, claims: &[Claim]) -> Result<Question> {
        let panel = &self.input.panel;
        let requirements = requirements(panel, proven_only, claims)?;
        Ok(Question { requirements, ..biomedical(first_variants(panel, 5)?, Tier::Open, RHO) })
    }

    async fn quote(&self, question: &Question) -> Result<(Quote, BTreeMap<String, u32>)> {
        let quote = self.market.quote(&self.input.panel, &self.market.researcher, question).await?;
        let excluded = quote.excluded.iter().cloned().collect();
        Ok((quote, excluded))
    }

    /// The slots that each keyholder leaves out of the answer to a new order.
    async fn left_out(&self, question: &Question) -> Result<[Vec<u64>; 3]> {
        let researcher = &self.market.researcher;
        let placed = self.market.place(researcher, question, "1".parse()?).await?;
        let mut left_out = [const { Vec::new() }; 3];
        for (slots, keyholder) in left_out.iter_mut().zip(&self.market.services.keyholders) {
            let request = PrepareAnswerRequest { question: Some(question_of(researcher, &placed)) };
            let prepared = keyholder.clone().prepare_answer(request).await?.into_inner();
            *slots = prepared.preparation.context("a preparation")?.excluded_slots;
        }
        Ok(left_out)
    }

    async fn earned(&self) -> Result<Vec<bool>> {
        let mut earned = Vec::new();
        for (party, _) in &self.persons {
            earned.push(account_state(&self.market.services, party.keys.address()).await?.earned.0 > 0);
        }
        Ok(earned)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_variant_counts_exactly_those_who_disclosed_it() -> Result<()> {
    let scene = Scene::set().await?;
    for person in 0..SILENT {
        scene.offer_disclosing(person, "carries").await?;
    }
    let lacking = scene.offer_disclosing(4, "lacks").await?;
    let shown = scene.document(4, lacking).await?;
    ensure!(claim_texts(&scene.input.panel, shown.claims()) == [scene.claim("lacks")?]);

    // The silent carrier, the one who lacks it and the biobank's people are not counted.
    let question = scene.question(false, &[scene.claim("carries")?])?;
    let (quote, excluded) = scene.quote(&question).await?;
    ensure!(quote.cohort_size == 3, "{quote:?}");
    ensure!(excluded == BTreeMap::from([("required variants not disclosed".to_owned(), 2 + ATTESTED)]), "{excluded:?}");
    let market = &scene.market;
    let bought = market.buy_as(&market.researcher, &scene.input.panel, &question, quote.price).await?;
    ensure!(bought.verified.settlement().cohort_size == 3 && bought.verified.disclosed() == [scene.claim("carries")?]);
    ensure!(bought.opened.rows().len() == 5 && bought.opened.rows().iter().all(|row| row.individuals == 3));
    ensure!(scene.earned().await? == [true, true, true, false, false], "only those counted are paid");

    // Without the requirement everybody is counted; with the opposite one too few are.
    ensure!(scene.quote(&scene.question(false, &[])?).await?.0.cohort_size == PERSONS + ATTESTED);
    let refused = scene.quote(&scene.question(false, &[scene.claim("lacks")?])?).await;
    let text = format!("{:#}", refused.err().context("one person is a cohort")?);
    ensure!(text.contains("1 people, fewer than the 3"), "{text}");
    ensure!(text.contains("required variants not disclosed"), "{text}");

    // Keyholders hold the requirement against the order.
    let placed = market.place(&market.researcher, &question, quote.price).await?;
    let mut stripped = question_of(&market.researcher, &placed);
    stripped.requirements.clear();
    let request = PrepareAnswerRequest { question: Some(stripped) };
    let status = market.services.keyholders[0].clone().prepare_answer(request).await.err().context("it prepared")?;
    ensure!(reason_of(&status).as_deref() == Some("ORDER_MISMATCH"), "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keyholders_leave_out_whose_document_does_not_hold() -> Result<()> {
    let scene = Scene::set().await?;
    for person in 0..SILENT {
        scene.offer_disclosing(person, "carries").await?;
    }
    let (carries, terms) = (scene.claim("carries")?, scene.terms()?);
    let question = scene.question(false, std::slice::from_ref(&carries))?;
    let (_, silent) = &scene.persons[SILENT];
    let slot = silent.first_slot;
    let store = scene.market.node.store();

    // Whoever runs the archive can put anything into it: a claim of another person with its proof, a true document
    // with another claim in it, and one that names the registration of the thief.
    let theirs = scene.offer_disclosing(0, "carries").await?;
    let theirs = scene.document(0, theirs).await?.to_bytes();
    let lacking = scene.disclose(4, &[scene.claim("lacks")?], terms.expiry_unix_s).await?;
    let mut altered = scene.document(4, lacking).await?.to_bytes();
    // Registration (from byte 1), end (from 9), number of claims (17), the claim's variant (18) and genotypes (22).
    altered[22] = 0b0110;
    altered[1..9].copy_from_slice(&silent.registration.0.to_le_bytes());
    let mut taken = theirs.clone();
    taken[1..9].copy_from_slice(&silent.registration.0.to_le_bytes());
    let short = scene.disclose(SILENT, std::slice::from_ref(&carries), terms.expiry_unix_s - 1).await?;
    let mut prolonged = scene.document(SILENT, short).await?.to_bytes();
    prolonged[9..17].copy_from_slice(&terms.expiry_unix_s.to_le_bytes());
    let genotype = scene.input.genotypes.person(u32::try_from(SILENT)?)?;
    let other = (0..scene.input.panel.variant_count()).find(|place| {
        let variant = format!("1:{}:A:C", 1_000 + 10 * place);
        variant != scene.variant && genotype.get(*place as usize) == Some(Genotype::HomRef)
    });
    let other = format!("1:{}:A:C=lacks", 1_000 + 10 * other.context("a reference genotype")?).parse::<Claim>()?;
    let elsewhere = scene.disclose(SILENT, &[other], terms.expiry_unix_s).await?;

    let no_proof = "disclosure that does not hold";
    let mut cases = vec![
        ("a document that is not there", Digest32([7; 32]), "disclosure that cannot be read", 1),
        ("one that ends before the offer", short, no_proof, 1),
        ("one about another variant", elsewhere, "required variants not disclosed", 1 + ATTESTED + 1),
    ];
    for (what, bytes) in [
        ("somebody else's document", &theirs),
        ("somebody else's proof", &taken),
        ("another claim", &altered),
        ("a later end", &prolonged),
    ] {
        let digest = disclosure_digest(bytes);
        let refused = scene.market.services.archive.clone();
        let request = PutDisclosureRequest { document: bytes.clone().into() };
        let put = refused.clone().put_disclosure(request).await;
        // Somebody else's own document is good where it belongs.
        ensure!(put.is_ok() == (bytes == &theirs), "{what}: {put:?}");
        store.put_disclosure(silent.registration.0, digest, bytes.clone().into()).await?;
        cases.push((what, digest, no_proof, 1));
    }
    for (what, digest, reason, count) in cases {
        scene.offer(SILENT, &OfferTerms { disclosure: Some(digest), ..terms.clone() }).await?;
        let (quote, excluded) = scene.quote(&question).await?;
        ensure!(quote.cohort_size == 3 && excluded.get(reason) == Some(&count), "{what}: {excluded:?}");
        for slots in scene.left_out(&question).await? {
            ensure!(slots == [slot], "{what}: {slots:?}");
        }
    }

    // Other bytes in the place of a true document are not believed either.
    let honest = scene.disclose(SILENT, std::slice::from_ref(&carries), terms.expiry_unix_s).await?;
    let bytes = scene.document(SILENT, honest).await?.to_bytes();
    store.put_disclosure(silent.registration.0, honest, theirs.into()).await?;
    scene.offer(SILENT, &OfferTerms { disclosure: Some(honest), ..terms.clone() }).await?;
    ensure!(scene.left_out(&question).await?.iter().all(|slots| slots == &[slot]), "replaced");

    // Control: the true document counts.
    store.put_disclosure(silent.registration.0, honest, bytes.into()).await?;
    ensure!(scene.left_out(&question).await?.iter().all(Vec::is_empty), "the true one");
    let quote = scene.quote(&question).await?.0;
    ensure!(quote.cohort_size == 4);
    let market = &scene.market;
    let bought = market.buy_as(&market.researcher, &scene.input.panel, &question, quote.price).await?;
    ensure!(bought.verified.settlement().cohort_size == 4);
    ensure!(scene.earned().await? == [true, true, true, true, false]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn proven_datasets_are_told_from_attested_ones() -> Result<()> {
    let scene = Scene::set().await?;
    let demanding = OfferTerms { demands: Demands::PROVEN, ..scene.terms()? };
    scene.offer(4, &demanding).await?;
    let (quote, excluded) = scene.quote(&scene.question(false, &[])?).await?;
    ensure!(quote.cohort_size == PERSONS - 1 + ATTESTED, "{quote:?}");
    let demands = "offered to cohorts of proven datasets only".to_owned();
    ensure!(excluded == BTreeMap::from([(demands, 1)]), "{excluded:?}");
    let question = scene.question(true, &[])?;
    let (quote, excluded) = scene.quote(&question).await?;
    ensure!(quote.cohort_size == PERSONS, "{quote:?}");
    ensure!(excluded == BTreeMap::from([("not registered with proofs".to_owned(), ATTESTED)]), "{excluded:?}");
    let market = &scene.market;
    let bought = market.buy_as(&market.researcher, &scene.input.panel, &question, quote.price).await?;
    ensure!(bought.verified.settlement().cohort_size == PERSONS && bought.verified.requirements().proven_only());
    ensure!(scene.earned().await?.iter().all(|earned| *earned));

    // A batch of the biobank that is proven too is both.
    let listed = locus_client::list_offers(&market.services, None).await?;
    let origins: Vec<(bool, bool)> = listed.iter().map(|offer| (offer.proven, offer.accreditor.is_some())).collect();
    ensure!(origins.iter().filter(|origin| **origin == (true, false)).count() == 5, "{origins:?}");
    ensure!(origins.iter().filter(|origin| **origin == (false, true)).count() == 1, "{origins:?}");
    Ok(())
}
