use super::*;
use crate::{
    groth16::{Circuit as _, Shape},
    registry::{GROUP_SIZE, Group, GroupOffer, condition_word},
    testing::{Numbers, Solved, depends_on_every_input, key_of, matches_golden_rows, system_rng, violated},
    update::{RegistryEvent, RegistryTree},
};
use ark_bn254::Fr;
use ark_ff::Field;
use locus_commitment::pedersen::{CiphertextCommitment, Generators};
use locus_genomics::{ConditionMatch, DataUse, Declarations, DuoTerm, Purpose, PurposeCode};
use std::sync::OnceLock;

fn small() -> CohortShape {
    CohortShape::try_new(1, 3).unwrap()
}

fn commitment(label: u64) -> CiphertextCommitment {
    static GENERATORS: OnceLock<Generators> = OnceLock::new();
    let generators = GENERATORS.get_or_init(|| Generators::expand(0, 0));
    CiphertextCommitment::of_body(generators, &[label, label * 3 + 1])
}

const DAY: u16 = 20_000;

fn offer(price: u64) -> GroupOffer {
    GroupOffer {
        prices: [price, price + 1000, price + 2000],
        condition: Fr::from(0u64),
        data_use: DuoTerm::GeneralResearch.bit(),
        tiers: 0b111,
        accredited_only: false,
        named_only: false,
        expiry_day: DAY,
    }
}

/// A group of `size` datasets on offer.
fn group(label: u64, size: u64, price: u64) -> Group {
    let commitments: Vec<CiphertextCommitment> = (0..size).map(|place| commitment(100 * label + place)).collect();
    let registered = Group::registered(&commitments, label, 0);
    Group { offer: offer(price), accredited: true, proven: label.is_multiple_of(2), ..registered }
}

/// Shards 0 and 2 of a tree: full and single groups.
fn tree() -> RegistryTree {
    let mut tree = RegistryTree::of_depth(3);
    for place in [0u32, 1, 2, 3, 7, 15, 32, 33, 40] {
        let size = 1 + u64::from(place) % 5;
        let group = group(u64::from(place) + 1, size, 10 * u64::from(place) + 5);
        tree.apply(&RegistryEvent::Register { place, group }).unwrap();
    }
    tree
}

fn purpose(code: PurposeCode) -> Purpose {
    Purpose { code, declarations: Declarations::NONE }
}

fn policy() -> CohortPolicy {
    CohortPolicy::new(&purpose(PurposeCode::Biomedical), QueryTier::Vetted, 0, false, Provenance::default(), DAY)
}

fn selectable(groups: &[Option<Group>]) -> Vec<[bool; GROUP_SIZE]> {
    groups.iter().map(|group| group.map_or([false; GROUP_SIZE], |group| group.live)).collect()
}

/// The statement that `tree`'s shard with this selection is entitled to.
fn statement(
    tree: &RegistryTree,
    shard: u32,
    selected: Option<Vec<[bool; GROUP_SIZE]>>,
    policy: CohortPolicy,
    before: CohortState,
) -> (CohortPublic, CohortWitness) {
    let groups = tree.shard(1, shard);
    let selected = selected.unwrap_or_else(|| selectable(&groups));
    let witness = CohortWitness { groups, selected, blinding: Fr::from(77u64), path: tree.path(1, shard) };
    let after = witness.advance(&before, shard, policy);
    let (condition, price_max) = (Fr::from(0u64), 500);
    (CohortPublic { root: tree.root(), shard, policy, condition, price_max, before, after }, witness)
}

fn valid() -> (CohortPublic, CohortWitness) {
    statement(&tree(), 0, None, policy(), CohortState::empty())
}

fn verdict(public: &CohortPublic, witness: &CohortWitness) -> Result<(), CohortViolation> {
    let native = public.check(small(), witness);
    let circuit = violated(&CohortCircuit { shape: small(), public, witness });
    assert_eq!(native.is_err(), circuit.is_some(), "check says {native:?}, the circuit {circuit:?}");
    native
}

/// The verdict when the group at place 3 is changed, everything else computed honestly.
fn with_group(change: impl Fn(&mut Group), public_change: impl Fn(&mut CohortPublic)) -> Result<(), CohortViolation> {
    let mut tree = RegistryTree::of_depth(3);
    for place in [0u32, 3] {
        let mut group = group(u64::from(place) + 2, 4, 50);
        if place == 3 {
            change(&mut group);
        }
        tree.apply(&RegistryEvent::Register { place, group }).unwrap();
    }
    let live = [true, true, true, true, false];
    let mut selected = vec![[false; GROUP_SIZE]; 16];
    selected[3] = live;
    let (mut public, witness) = statement(&tree, 0, Some(selected), policy(), CohortState::empty());
    public_change(&mut public);
    let after = witness.advance(&public.before, 0, public.policy);
    public.after = after;
    verdict(&public, &witness)
}

#[test]
fn a_consenting_cohort_satisfies_check_and_circuit_whoever_is_left_out() {
    let (public, witness) = valid();
    assert_eq!(verdict(&public, &witness), Ok(()));
    assert_eq!(public.after.size, 1 + 2 + 3 + 4 + 3 + 1);
    let mut selected = selectable(&witness.groups);
    selected[3] = [false, true, false, true, false];
    selected[7] = [false; GROUP_SIZE];
    let (public, witness) = statement(&tree(), 0, Some(selected), policy(), CohortState::empty());
    assert_eq!(verdict(&public, &witness), Ok(()));
    assert_eq!(public.after.size, 1 + 2 + 3 + 2 + 1);
    let nobody = vec![[false; GROUP_SIZE]; 16];
    let (public, witness) = statement(&tree(), 1, Some(nobody), policy(), CohortState::empty());
    assert_eq!(verdict(&public, &witness), Ok(()), "an empty shard");
    assert_eq!(with_group(|_| {}, |_| {}), Ok(()));
}

#[test]
fn c4_a_revoked_or_unregistered_dataset_cannot_be_selected() {
    assert_eq!(with_group(|group| group.live[1] = false, |_| {}), Err(CohortViolation::NotLive));
    let (_, witness) = valid();
    for place in [0, 5] {
        let mut selected = selectable(&witness.groups);
        selected[place][4] = true;
        let (public, witness) = statement(&tree(), 0, Some(selected), policy(), CohortState::empty());
        assert_eq!(verdict(&public, &witness), Err(CohortViolation::NotLive), "group {place}");
    }
}

#[test]
fn c5_terms_that_do_not_permit_the_purpose_are_refused() {
    let set = |term: DuoTerm| move |group: &mut Group| group.offer.data_use = term.bit();
    assert_eq!(with_group(set(DuoTerm::Biomedical), |_| {}), Ok(()));
    assert_eq!(with_group(set(DuoTerm::PopulationOrigins), |_| {}), Err(CohortViolation::DataUse));
    assert_eq!(with_group(|group| group.offer.data_use = 0, |_| {}), Err(CohortViolation::DataUse));
    let restricted = |group: &mut Group| group.offer.data_use |= DuoTerm::EthicsApproval.bit();
    assert_eq!(with_group(restricted, |_| {}), Err(CohortViolation::DataUse));
}

#[test]
fn c5_a_disease_specific_consent_is_for_its_disease_only() {
    let disease = |public: &mut CohortPublic, word: u8| {
        public.condition = condition_word(&[word; 32]);
        let provenance = Provenance::default();
        public.policy = CohortPolicy::new(&purpose(PurposeCode::Disease), QueryTier::Open, 0, false, provenance, DAY);
    };
    let specific = |group: &mut Group| {
        group.offer.data_use = DuoTerm::DiseaseSpecific.bit();
        group.offer.condition = condition_word(&[4; 32]);
    };
    assert_eq!(with_group(specific, |public| disease(public, 4)), Ok(()));
    assert_eq!(with_group(specific, |public| disease(public, 5)), Err(CohortViolation::Condition));
    assert_eq!(with_group(|_| {}, |public| disease(public, 5)), Ok(()), "general consent names no disease");
}

#[test]
fn c5_the_policy_word_permits_exactly_what_the_data_use_terms_permit() {
    let declarations = [0, 0b1, 0b11, 0b111, 0xfff].map(|bits| Declarations::from_bits(bits).unwrap());
    for code in PurposeCode::all() {
        for declarations in declarations {
            let purpose = Purpose { code, declarations };
            let word = CohortPolicy::new(&purpose, QueryTier::Open, 0, true, Provenance::default(), DAY);
            for permission in DuoTerm::all().filter(|term| term.is_permission()) {
                for modifiers in 0..1u32 << 17 {
                    if modifiers.count_ones() > 2 && modifiers % 97 != 0 {
                        continue;
                    }
                    let Ok(data_use) = DataUse::try_from_bits(permission.bit() | modifiers << 5) else { continue };
                    let permitted = data_use.permits(&purpose, ConditionMatch::Same).is_ok();
                    assert_eq!(word.permits(data_use.bits()), permitted, "{code} {data_use}");
                }
            }
        }
    }
}

#[test]
fn a_policy_is_read_back_from_its_bits() {
    let general = policy();
    assert_eq!(CohortPolicy::from_bits(general.bits()), Some(general));
    assert!(!general.names_condition());
    let provenance = Provenance { accredited: true, proven: true };
    let disease = CohortPolicy::new(&purpose(PurposeCode::Disease), QueryTier::Exact, 2, true, provenance, u16::MAX);
    assert_eq!(CohortPolicy::from_bits(disease.bits()), Some(disease));
    assert!(disease.names_condition());
    assert_eq!(CohortPolicy::from_bits(disease.bits() | 1 << 70), None);
}

#[test]
fn c6_tier_audience_and_provenance_are_respected() {
    assert_eq!(with_group(|group| group.offer.tiers = 0b010, |_| {}), Ok(()));
    assert_eq!(with_group(|group| group.offer.tiers = 0b101, |_| {}), Err(CohortViolation::Tier));
    assert_eq!(with_group(|group| group.offer.named_only = true, |_| {}), Err(CohortViolation::Audience));
    assert_eq!(with_group(|group| group.offer.accredited_only = true, |_| {}), Err(CohortViolation::Audience));
    let general = purpose(PurposeCode::Biomedical);
    let accredited = |public: &mut CohortPublic| {
        public.policy = CohortPolicy::new(&general, QueryTier::Vetted, 0, true, Provenance::default(), DAY);
    };
    assert_eq!(with_group(|group| group.offer.accredited_only = true, accredited), Ok(()));
    let strict = |public: &mut CohortPublic| {
        let provenance = Provenance { accredited: true, proven: true };
        public.policy = CohortPolicy::new(&general, QueryTier::Vetted, 0, false, provenance, DAY);
    };
    let both = |group: &mut Group| (group.accredited, group.proven) = (true, true);
    assert_eq!(with_group(both, strict), Ok(()));
    assert_eq!(with_group(|group| group.proven = false, strict), Err(CohortViolation::Provenance));
    let unattested = |group: &mut Group| (group.accredited, group.proven) = (false, true);
    assert_eq!(with_group(unattested, strict), Err(CohortViolation::Provenance));
}

#[test]
fn c7_expired_and_dear_offers_are_refused_to_the_unit_and_the_day() {
    assert_eq!(with_group(|group| group.offer.expiry_day = DAY - 1, |_| {}), Err(CohortViolation::Expired));
    assert_eq!(with_group(|group| group.offer.prices[0] = 500, |_| {}), Ok(()));
    assert_eq!(with_group(|group| group.offer.prices[0] = 501, |_| {}), Err(CohortViolation::Price));
    let general = purpose(PurposeCode::Biomedical);
    let second_class = |public: &mut CohortPublic| {
        public.policy = CohortPolicy::new(&general, QueryTier::Vetted, 1, false, Provenance::default(), DAY);
    };
    assert_eq!(with_group(|_| {}, second_class), Err(CohortViolation::Price), "1050 is above 500");
    assert_eq!(with_group(|group| group.offer.prices = [900, 100, 900], second_class), Ok(()));
}

#[test]
fn c8_to_c11_wrong_totals_commitment_root_shard_and_payouts_are_refused() {
    let cases: [(fn(&mut CohortPublic), CohortViolation); 8] = [
        (|public| public.after.size += 1, CohortViolation::Totals),
        (|public| public.after.total_price += 1, CohortViolation::Totals),
        (|public| public.before.size += 1, CohortViolation::Totals),
        (|public| public.after.commitment = commitment(1), CohortViolation::Commitment),
        (|public| public.root += Fr::ONE, CohortViolation::Shard),
        (|public| public.shard = 1, CohortViolation::Shard),
        (|public| public.after.payouts += Fr::ONE, CohortViolation::Payouts),
        (|public| public.before.payouts += Fr::ONE, CohortViolation::Payouts),
    ];
    for (corrupt, violation) in cases {
        let (mut public, witness) = valid();
        corrupt(&mut public);
        assert_eq!(verdict(&public, &witness), Err(violation));
    }
    let (public, mut witness) = valid();
    witness.blinding += Fr::ONE;
    assert_eq!(verdict(&public, &witness), Err(CohortViolation::Payouts));
}

#[test]
fn c3_a_group_that_is_not_in_the_tree_or_stands_twice_is_refused() {
    let (_, witness) = valid();
    let cheaper = |mut witness: CohortWitness| {
        witness.groups[3].as_mut().unwrap().offer.prices[0] = 1;
        witness
    };
    let twice = |mut witness: CohortWitness| {
        witness.groups[5] = witness.groups[3];
        witness.selected[5] = witness.selected[3];
        witness
    };
    for forged in [cheaper(witness.clone()), twice(witness)] {
        let (mut public, _) = valid();
        public.after = forged.advance(&public.before, 0, public.policy);
        assert_eq!(verdict(&public, &forged), Err(CohortViolation::Shard));
    }
}

#[test]
fn ten_thousand_mutated_witnesses_are_refused() {
    let (public, witness) = valid();
    let mut solved = Solved::new(&CohortCircuit { shape: small(), public: &public, witness: &witness });
    solved.refuses_mutations(10_000, "cohort");
}

#[test]
fn a_chain_of_shards_verifies_in_order_once_and_on_one_statement() {
    let tree = tree();
    let (first, first_witness) = statement(&tree, 0, None, policy(), CohortState::empty());
    let (second, second_witness) = statement(&tree, 2, None, policy(), first.after);
    let circuit = CohortCircuit { shape: small(), public: &first, witness: &first_witness };
    let key = key_of(&Shape::of(&circuit));
    let proof = key.prove(&circuit, &mut system_rng()).unwrap();
    depends_on_every_input(&key, &circuit.public_inputs(), &proof);

    let prove = |public: &CohortPublic, witness: &CohortWitness| {
        CohortProof::prove(&key, small(), public, witness, &mut system_rng()).unwrap()
    };
    let links = [(first, prove(&first, &first_witness)), (second, prove(&second, &second_witness))];
    let verifier = CohortVerifier::new(key.verifying_key.clone());
    let last = verifier.verify_chain(&links).unwrap();
    assert_eq!(last, second.after);
    let mut sum = CiphertextCommitment::empty();
    for place in [0u32, 1, 2, 3, 7, 15, 32, 33, 40] {
        let group = tree.group(place).unwrap();
        sum = group.commitments.iter().fold(sum, |sum, next| sum.plus(next));
    }
    assert_eq!(last.commitment, sum);
    assert!(verifier.verify_chain(&links[1..]).is_err(), "does not start empty");
    assert!(verifier.verify_chain(&[links[0], links[0]]).is_err(), "a shard twice");
    assert!(verifier.verify_chain(&[links[1], links[0]]).is_err());
    let every_word = CohortPublic { price_max: 501, ..first };
    assert!(verifier.verify(&every_word, &links[0].1).is_err());
    assert!(verifier.verify(&CohortPublic { condition: Fr::ONE, ..first }, &links[0].1).is_err());
    let bytes = links[0].1.to_bytes();
    assert_eq!(CohortProof::parse(&bytes).unwrap(), links[0].1);
}

#[test]
fn every_public_word_is_bound() {
    let (public, witness) = valid();
    let key = key_of(&cohort_shape(small()));
    let proof = CohortProof::prove(&key, small(), &public, &witness, &mut system_rng()).unwrap();
    let proof = crate::groth16::Proof::parse(&proof.to_bytes()).unwrap();
    let words = public.words();
    let honest = public.inputs();
    let inputs_of = |words: &[Fr], digest: Fr| {
        crate::words::WordInputs::new(crate::domain::DST_COHORT_WORDS, digest, words).to_inputs()
    };
    assert!(key.verifying_key.verify(&inputs_of(&words, honest.digest), &proof));
    let mut numbers = Numbers::new("words");
    for place in 0..words.len() {
        let mut changed = words.clone();
        changed[place] += Fr::from(1 + numbers.next());
        // The contract recomputes challenge and evaluation from its own words.
        assert!(!key.verifying_key.verify(&inputs_of(&changed, honest.digest), &proof), "word {place}");
    }
}

#[test]
fn the_rows_match_their_golden_files() {
    matches_golden_rows(&cohort_shape(small()));
    matches_golden_rows(&cohort_shape(CohortShape::FULL));
}
