//! Clauses 17 to 21: what orders require of datasets and offers demand of orders, with real proofs of what offers
//! disclose.

mod support;

use locus_cohort::{
    CohortQuestion, DisclosedClaim, DisclosureBook, DisclosureDocument, DisclosureRefusal, Eligible, ExclusionReason,
    Market, Requirements, disclosure_digest, eligible,
};
use locus_commitment::Digest32;
use locus_genomics::VariantIndex;
use locus_ledger::{Demands, Offer, QueryClass};
use locus_privacy::{NetworkParameterValues, NetworkParameters};
use locus_proofs::disclosure::GenotypeClaim;
use std::collections::BTreeMap;
use support::{GENOME, NETWORK, Registered, Scene, VARIANT_COUNT, prove};

const CARRIES: GenotypeClaim = GenotypeClaim::CARRIES;
const LACKS: GenotypeClaim = GenotypeClaim::DOES_NOT_CARRY;
const HOM_ALT: GenotypeClaim = GenotypeClaim::HOM_ALT;

fn claim(variant: u32, genotypes: GenotypeClaim) -> DisclosedClaim {
    DisclosedClaim { variant: VariantIndex(variant), genotypes }
}

fn disclosed(claims: &[DisclosedClaim]) -> Requirements {
    Requirements::try_new(false, claims.to_vec(), VARIANT_COUNT).expect("requirements")
}

fn proven_only() -> Requirements {
    Requirements::try_new(true, Vec::new(), VARIANT_COUNT).expect("requirements")
}

fn ask(scene: &Scene, class: QueryClass, requirements: &Requirements, authenticated: bool) -> Eligible {
    let parameters = NetworkParameters::try_new(NetworkParameterValues::default()).expect("the standard rules");
    let market = Market { view: &scene.view, parameters: &parameters, settles_on_cohorts: false };
    let (order, selection) = (scene.order(class), scene.selection());
    let question = CohortQuestion {
        order: &order,
        selection: &selection,
        requirements,
        authenticated,
        pinned_block: u64::MAX,
        time_unix_s: 1,
    };
    eligible(&market, &question)
}

/// Numbers of the registrations that are eligible, and how many datasets are left out, by reason.
fn outcome(found: &Eligible) -> (Vec<u64>, BTreeMap<ExclusionReason, u32>) {
    (found.members.iter().map(|member| member.registration.0).collect(), found.excluded.clone())
}

fn demanding(demands: Demands) -> impl Fn(&mut Offer) {
    move |offer| offer.demands = demands
}

#[tokio::test]
async fn proofs_are_required_by_orders_and_demanded_by_offers() {
    let attested = Registered { proven: false, ..Registered::PERSON };
    let scene = Scene::of(&[
        (Registered::PERSON, &demanding(Demands::NONE)),
        (Registered::PERSON, &demanding(Demands::PROVEN)),
        (attested, &demanding(Demands::NONE)),
        (attested, &demanding(Demands::PROVEN)),
    ])
    .await;
    let everybody = ask(&scene, QueryClass::Counts, &Requirements::default(), false);
    assert_eq!(outcome(&everybody), (vec![1, 3], BTreeMap::from([(ExclusionReason::ProvenDemanded, 2)])));
    let proven = ask(&scene, QueryClass::Counts, &proven_only(), false);
    assert_eq!(outcome(&proven), (vec![1, 2], BTreeMap::from([(ExclusionReason::NotProven, 2)])));
}

#[tokio::test]
async fn authenticated_evaluation_is_demanded_of_filtered_questions_only() {
    let scene = Scene::of(&[
        (Registered::PERSON, &demanding(Demands::AUTHENTICATED)),
        (Registered::PERSON, &demanding(Demands::NONE)),
    ])
    .await;
    let ask = |class, authenticated| outcome(&ask(&scene, class, &Requirements::default(), authenticated));
    assert_eq!(ask(QueryClass::Counts, false), (vec![1, 2], BTreeMap::new()));
    let left_out = BTreeMap::from([(ExclusionReason::AuthenticationDemanded, 1)]);
    for class in [QueryClass::FilteredCounts, QueryClass::Association] {
        assert_eq!(ask(class, false), (vec![2], left_out.clone()), "{class:?}");
        assert_eq!(ask(class, true), (vec![1, 2], BTreeMap::new()), "{class:?}");
    }
}

#[tokio::test]
async fn only_offers_of_single_people_that_name_a_document_can_disclose() {
    let naming = |offer: &mut Offer| offer.disclosure_digest = Digest32([7; 32]);
    let batch = Registered { people: 2, ..Registered::PERSON };
    let scene = Scene::of(&[(Registered::PERSON, &|_| ()), (Registered::PERSON, &naming), (batch, &naming)]).await;
    let found = ask(&scene, QueryClass::Counts, &disclosed(&[claim(2, CARRIES)]), false);
    assert_eq!(outcome(&found), (vec![2], BTreeMap::from([(ExclusionReason::NotDisclosed, 3)])));
    let documents: Vec<Digest32> = found.disclosures.iter().map(|offered| offered.digest).collect();
    assert_eq!(documents, [Digest32([7; 32])]);
    let whole = ask(&scene, QueryClass::Counts, &Requirements::default(), false);
    assert!(whole.disclosures.is_empty(), "nobody reads what is not required");
}

/// The offer of a person who names `document`, and what a party that was given `bytes` for it makes of it.
async fn verdict(
    document: &[u8],
    bytes: Option<&[u8]>,
    requirements: &Requirements,
) -> (DisclosureBook, Option<ExclusionReason>) {
    let digest = disclosure_digest(document);
    let scene = Scene::of(&[
        (Registered::PERSON, &move |offer: &mut Offer| offer.disclosure_digest = digest),
        (Registered::PERSON, &|_| ()),
    ])
    .await;
    let found = ask(&scene, QueryClass::Counts, requirements, false);
    let book = DisclosureBook::new(Some(support::verifier()));
    let unread = book.unread(&found);
    assert_eq!(unread.len(), 1);
    if let Some(bytes) = bytes {
        book.read(NETWORK, &scene.view, &unread[0], bytes);
    }
    let left_out = book.left_out(&found, requirements);
    assert!(left_out.keys().all(|slot| *slot == found.members[0].slot));
    (book, left_out.into_values().next())
}

#[tokio::test]
async fn a_document_counts_for_its_own_genome_its_claims_and_its_time_only() {
    // The genome is homozygous at 2, heterozygous at 3, and has the reference elsewhere.
    assert_eq!(GENOME[..4], [0, 0, 2, 1]);
    let until = support::OFFER_EXPIRY_UNIX_S;
    let of = |registration, until, claims: &[DisclosedClaim]| prove(registration, until, claims);
    let honest = of(1, until, &[claim(2, HOM_ALT), claim(3, CARRIES), claim(5, LACKS)]).expect("true claims");
    let bytes = honest.to_bytes();
    assert_eq!(DisclosureDocument::parse(&bytes), Ok(honest.clone()));
    for (what, requirements, expected) in [
        ("what it says", disclosed(&[claim(3, CARRIES), claim(5, LACKS)]), None),
        ("less than it says", disclosed(&[claim(2, CARRIES)]), None),
        ("more than it says", disclosed(&[claim(3, HOM_ALT)]), Some(ExclusionReason::NotDisclosed)),
        ("something else", disclosed(&[claim(4, LACKS)]), Some(ExclusionReason::NotDisclosed)),
    ] {
        assert_eq!(verdict(&bytes, Some(&bytes), &requirements).await.1, expected, "{what}");
    }
    let required = disclosed(&[claim(3, CARRIES)]);
    let refused = Some(ExclusionReason::DisclosureRefused);
    assert_eq!(verdict(&bytes, None, &required).await.1, Some(ExclusionReason::DisclosureUnread), "not fetched");

    // Bytes under another digest are not the document, and leave no verdict behind.
    let mut other = bytes.clone();
    *other.last_mut().expect("bytes") ^= 1;
    let (book, reason) = verdict(&bytes, Some(&other), &required).await;
    assert_eq!(reason, Some(ExclusionReason::DisclosureUnread), "other bytes");
    assert_eq!(format!("{book:?}"), "DisclosureBook of 0 documents");

    // Whatever the offer itself names must hold.
    assert!(of(1, until, &[claim(5, CARRIES)]).is_none(), "an untrue claim has no proof");
    let claims_at = 18;
    let mut lie = of(1, until, &[claim(5, LACKS)]).expect("a true claim").to_bytes();
    lie[claims_at + 4] = CARRIES.bits();
    assert_eq!(verdict(&lie, Some(&lie), &disclosed(&[claim(5, CARRIES)])).await.1, refused, "another claim");
    let mut moved = of(1, until, &[claim(3, CARRIES)]).expect("a true claim").to_bytes();
    moved[claims_at] = 4;
    assert_eq!(verdict(&moved, Some(&moved), &disclosed(&[claim(4, CARRIES)])).await.1, refused, "another variant");
    let mut later = of(1, until - 1, &[claim(3, CARRIES)]).expect("a true claim").to_bytes();
    assert_eq!(verdict(&later, Some(&later), &required).await.1, refused, "it ends before the offer");
    later[9..17].copy_from_slice(&until.to_le_bytes());
    assert_eq!(verdict(&later, Some(&later), &required).await.1, refused, "its end was moved");
    let theirs = of(2, until, &[claim(3, CARRIES)]).expect("a true claim").to_bytes();
    assert_eq!(verdict(&theirs, Some(&theirs), &required).await.1, refused, "somebody else's");
    let mut taken = theirs.clone();
    taken[1..9].copy_from_slice(&1u64.to_le_bytes());
    assert_eq!(verdict(&taken, Some(&taken), &required).await.1, refused, "somebody else's proof");
}

#[tokio::test]
async fn a_claim_about_no_variant_of_the_panel_is_refused() {
    // Encryption and proofs fill a panel block with reference genotypes past the last variant.
    let beyond = prove(1, 9, &[claim(VARIANT_COUNT, LACKS)]).expect("the circuit knows no panel");
    let scene = Scene::of(&[(Registered::PERSON, &|_| ())]).await;
    let verified = beyond.verify(&support::verifier(), NETWORK, &scene.view);
    assert!(matches!(verified, Err(DisclosureRefusal::Claims(_))), "{verified:?}");
    let inside = prove(1, 9, &[claim(VARIANT_COUNT - 1, LACKS)]).expect("a true claim");
    assert_eq!(inside.verify(&support::verifier(), NETWORK, &scene.view), Ok(()));
}

#[tokio::test]
async fn documents_have_one_form() {
    let document = prove(1, 9, &[claim(2, CARRIES), claim(3, CARRIES)]).expect("true claims");
    let bytes = document.to_bytes();
    assert_eq!(bytes.len(), 18 + 2 * 261);
    let reversed = [&bytes[..18], &bytes[23..28], &bytes[18..23], &bytes[28..]].concat();
    let mut version = bytes.clone();
    version[0] = 2;
    for wrong in [&bytes[1..], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &reversed, &version, &[]] {
        assert_eq!(DisclosureDocument::parse(wrong), Err(DisclosureRefusal::Format));
    }
}
