//! Writes what the contracts' tests check with real proofs: `contract_fixtures KEYS_FOLDER OUT_FOLDER`.
//!
//! The scene, which the tests drive the contracts through: on one panel, one person alone (place 0), a
//! biobank without commitments (places 1 to 254) and a clinic of seven (places 255 and 256, so in two
//! shards) register; the clinic and the biobank revoke some datasets; the person offers twice, the clinic
//! once. Batches of 64 events move the root, registry events before offers. Then two cohorts of one
//! statement are proven: one over both shards, and one of the person alone.
//!
//! Everything is derived from labels, so the same files come out again.

use ark_bn254::Fr;
use ark_ff::PrimeField;
use locus_commitment::{
    Address, DatasetContext, DatasetId, NetworkId,
    field::encode_field,
    pedersen::{CiphertextCommitment, Generators},
};
use locus_genomics::{
    Declarations, DuoTerm, PanelDigest, Purpose, PurposeCode, VARIANTS_PER_PANEL_BLOCK, VariantIndex,
};
use locus_proofs::{
    Statement,
    cohort::{
        CohortPolicy, CohortProof, CohortPublic, CohortShape, CohortState, CohortVerifier, CohortWitness, Provenance,
        QueryTier,
    },
    disclosure::{
        DisclosureContext, DisclosureProof, DisclosurePublic, DisclosureVerifier, GenotypeClaim, GenotypeTree,
    },
    encryption::{BlockGenotypes, genotype_commitment},
    groth16::{ProvingKey, VerifyingKey},
    keys::{CircuitKey, KeyStore},
    registry::{GROUP_SIZE, Group, GroupOffer, SHARD_LEVELS, condition_word},
    update::{RegistryEvent, RegistryTree, UpdateProof, UpdatePublic, UpdateShape, UpdateVerifier},
    words::WordInputs,
};
use rand_core::{TryCryptoRng, TryRng};
use serde_json::{Value, json};
use std::{convert::Infallible, error::Error, fs, path::Path};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Day on which the order opens, and the last day of all offers.
const ORDER_DAY: u16 = 20_833;
const EXPIRY_DAY: u16 = 20_900;
const PRICE_MAX: u64 = 1_000_000_000;
const BIOBANK_GROUPS: u32 = 254;
const CLINIC_PLACES: [u32; 2] = [255, 256];
const CONDITION_LABEL: &str = "condition";

/// Numbers that a label determines: blinds proofs in a way that anybody can repeat.
struct LabelRng(blake3::OutputReader);

impl LabelRng {
    fn new(label: &str) -> Self {
        Self(blake3::Hasher::new().update(label.as_bytes()).finalize_xof())
    }
}

impl TryRng for LabelRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> std::result::Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> std::result::Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> std::result::Result<(), Infallible> {
        self.0.fill(dst);
        Ok(())
    }
}

impl TryCryptoRng for LabelRng {}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn word(element: Fr) -> String {
    hex(&encode_field(&element))
}

fn digest_of(label: &str) -> [u8; 32] {
    *blake3::hash(label.as_bytes()).as_bytes()
}

/// A development key with its id.
struct Keys {
    key: CircuitKey,
    proving: ProvingKey,
}

impl Keys {
    fn load(store: &KeyStore, statement: Statement) -> Result<Self> {
        let key =
            store.development_key(&statement.shape()?, |stage| eprintln!("{}: {stage:?}", statement.circuit()))?;
        let proving = store.proving_key(&key)?;
        Ok(Self { key, proving })
    }

    fn verifying(&self) -> VerifyingKey {
        self.key.verifying_key.clone()
    }

    fn describe(&self) -> Value {
        json!({ "key": hex(&self.key.verifying_key.to_contract_bytes()), "keyId": hex(&self.key.id().0.0) })
    }
}

/// What a contract is given and must compute for one proof.
fn proof_case(inputs: &WordInputs, proof: &[u8]) -> Value {
    json!({
        "digest": word(inputs.digest),
        "challenge": word(inputs.challenge),
        "evaluation": word(inputs.evaluation),
        "proof": hex(proof),
    })
}

// ---- The registry ----

fn commitments() -> Vec<CiphertextCommitment> {
    let generators = Generators::expand(0, 0);
    (1..=8).map(|label| CiphertextCommitment::of_body(&generators, &[label, 3 * label + 1])).collect()
}

fn offer(prices: [u64; 3], data_use: DuoTerm, accredited_only: bool, condition: Fr) -> GroupOffer {
    GroupOffer {
        prices,
        condition,
        data_use: data_use.bit(),
        tiers: 0b011,
        accredited_only,
        named_only: false,
        expiry_day: EXPIRY_DAY,
    }
}

/// All events as the contracts queue them, those of the registry first.
fn events() -> Vec<RegistryEvent> {
    let points = commitments();
    let neutral = [CiphertextCommitment::empty(); GROUP_SIZE];
    let person = Group { proven: true, ..Group::registered(&points[..1], 1, 0) };
    let mut events = vec![RegistryEvent::Register { place: 0, group: person }];
    events.extend((0..BIOBANK_GROUPS).map(|index| {
        let group = Group::registered(&neutral, 2, 5 * index);
        RegistryEvent::Register { place: 1 + index, group }
    }));
    for (place, members, first) in [(CLINIC_PLACES[0], &points[1..6], 0), (CLINIC_PLACES[1], &points[6..], 5)] {
        let group = Group { accredited: true, proven: true, ..Group::registered(members, 3, first) };
        events.push(RegistryEvent::Register { place, group });
    }
    let second = [false, true, false, false, false];
    events.extend(CLINIC_PLACES.map(|place| RegistryEvent::Revoke { place, mask: second }));
    events.push(RegistryEvent::Revoke { place: 1, mask: [true, false, false, false, false] });

    let condition = condition_word(&digest_of(CONDITION_LABEL));
    let first = offer([100_000_000, 200_000_000, 300_000_000], DuoTerm::NoRestriction, false, Fr::from(0u64));
    let later = offer([300_000_000, 500_000_000, 700_000_000], DuoTerm::GeneralResearch, false, Fr::from(0u64));
    let clinic = offer([10, 20, 30], DuoTerm::DiseaseSpecific, true, condition);
    events.extend([first, later].map(|offer| RegistryEvent::SetOffer { place: 0, offer }));
    events.extend(CLINIC_PLACES.map(|place| RegistryEvent::SetOffer { place, offer: clinic }));
    events
}

fn updates(keys: &Keys, tree: &mut RegistryTree) -> Result<Value> {
    let verifier = UpdateVerifier::new(keys.verifying());
    let mut cases = Vec::new();
    for (number, batch) in events().chunks(UpdateShape::FULL.events()).enumerate() {
        eprintln!("batch {number} of {} events", batch.len());
        let (public, witness) = UpdatePublic::advance(UpdateShape::FULL, tree, batch)?;
        let mut rng = LabelRng::new(&format!("update {number}"));
        let proof = UpdateProof::prove(&keys.proving, UpdateShape::FULL, &public, &witness, &mut rng)?;
        verifier.verify(&public, &proof)?;
        let mut case = proof_case(&public.inputs(), &proof.to_bytes());
        case["root"] = word(public.after).into();
        cases.push(case);
    }
    Ok(cases.into())
}

// ---- Cohorts ----

fn policy() -> CohortPolicy {
    let purpose = Purpose { code: PurposeCode::Disease, declarations: Declarations::NONE };
    let provenance = Provenance { accredited: false, proven: true };
    CohortPolicy::new(&purpose, QueryTier::Open, 1, true, provenance, ORDER_DAY)
}

/// One proof for the live datasets of these groups of a shard.
fn shard(
    keys: &Keys,
    tree: &RegistryTree,
    number: u32,
    places: &[u32],
    before: CohortState,
) -> Result<(CohortState, Value)> {
    let groups = tree.shard(SHARD_LEVELS, number);
    let first = number << 8;
    let live = |place: u32, group: &Option<Group>| match group {
        Some(group) if places.contains(&place) => group.live,
        _ => [false; GROUP_SIZE],
    };
    let selected = (first..).zip(&groups).map(|(place, group)| live(place, group)).collect();
    let blinding = Fr::from_le_bytes_mod_order(&digest_of(&format!("blinding {number} {places:?}")));
    let witness = CohortWitness { groups, selected, blinding, path: tree.path(SHARD_LEVELS, number) };
    let policy = policy();
    let after = witness.advance(&before, number, policy);
    let condition = condition_word(&digest_of(CONDITION_LABEL));
    let public =
        CohortPublic { root: tree.root(), shard: number, policy, condition, price_max: PRICE_MAX, before, after };
    public.check(CohortShape::FULL, &witness)?;
    eprintln!("shard {number}, {} people so far", after.size);
    let mut rng = LabelRng::new(&format!("cohort {number} {places:?}"));
    let proof = CohortProof::prove(&keys.proving, CohortShape::FULL, &public, &witness, &mut rng)?;
    CohortVerifier::new(keys.verifying()).verify(&public, &proof)?;
    let mut case = proof_case(&public.inputs(), &proof.to_bytes());
    let (x, y) = after.commitment.coordinates();
    case["shard"] = number.into();
    case["size"] = after.size.into();
    case["totalPrice"] = u64::try_from(after.total_price)?.into();
    case["pointX"] = word(x).into();
    case["pointY"] = word(y).into();
    case["payouts"] = word(after.payouts).into();
    Ok((after, case))
}

fn cohorts(keys: &Keys, tree: &RegistryTree) -> Result<Value> {
    let (state, first) = shard(keys, tree, 0, &[0, CLINIC_PLACES[0]], CohortState::empty())?;
    let (_, second) = shard(keys, tree, 1, &[CLINIC_PLACES[1]], state)?;
    let (_, alone) = shard(keys, tree, 0, &[0], CohortState::empty())?;
    Ok(json!([first, second, alone]))
}

/// The policy word of every purpose, with different tiers, classes, declarations and flags.
fn policies() -> Result<Value> {
    let mut cases: [Vec<u128>; 8] = Default::default();
    for code in PurposeCode::all() {
        for (number, bits) in (0u8..).zip([0u32, 1, 2, 3, 0b1010_0000_0101, 0xfff]) {
            let declarations = Declarations::from_bits(bits).ok_or("unknown declarations")?;
            let tier = [QueryTier::Open, QueryTier::Vetted, QueryTier::Exact][usize::from(number) % 3];
            let class = number / 2;
            let (researcher, accredited, proven) = (number & 1 == 1, number & 2 == 2, number & 4 == 4);
            let day = ORDER_DAY + u16::from(number);
            let purpose = Purpose { code, declarations };
            let policy = CohortPolicy::new(&purpose, tier, class, researcher, Provenance { accredited, proven }, day);
            let case = [
                u128::from(code.code()) | u128::from(bits) << 8,
                u128::from(number) % 3,
                u128::from(class),
                u128::from(researcher),
                u128::from(accredited),
                u128::from(proven),
                u128::from(day),
                policy.bits(),
            ];
            cases.iter_mut().zip(case).for_each(|(list, value)| list.push(value));
        }
    }
    let names = ["purpose", "tier", "queryClass", "researcher", "accreditedOnly", "provenOnly", "day", "policy"];
    let lists = names.into_iter().zip(cases);
    Ok(lists
        .map(|(name, list)| {
            let texts: Vec<String> = list.iter().map(|value| format!("0x{value:x}")).collect();
            (name.to_owned(), json!(texts))
        })
        .collect::<serde_json::Map<String, Value>>()
        .into())
}

// ---- A disclosure ----

fn disclosure(keys: &Keys) -> Result<Value> {
    let codes =
        (0..VARIANTS_PER_PANEL_BLOCK).map(|place| u8::try_from(place % 3)).collect::<std::result::Result<_, _>>()?;
    let genotypes = BlockGenotypes { codes, blinding: Fr::from_le_bytes_mod_order(&digest_of("block")) };
    let tree = GenotypeTree::new(&[genotype_commitment(&genotypes)])?;
    let (variant, claim) = (VariantIndex(2), GenotypeClaim::HOM_ALT);
    let context = DisclosureContext {
        dataset: DatasetContext {
            network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
            registrant: Address([2; 20]),
            dataset: DatasetId([3; 32]),
            panel: PanelDigest([4; 32]),
            version: 1,
        },
        verifier: b"trial".to_vec(),
        purpose: "recruitment".to_owned(),
        nonce: [5; 32],
        expiry_unix_s: u64::from(EXPIRY_DAY) * 86_400,
        claims: vec![(variant, claim)],
    };
    let opening = |_| BlockGenotypes { codes: genotypes.codes.clone(), blinding: genotypes.blinding };
    let proof = DisclosureProof::prove(&keys.proving, &context, &tree, opening, &mut LabelRng::new("disclosure"))?;
    DisclosureVerifier::new(keys.verifying()).verify(&context, &tree.commitment(), &proof)?;
    let public = DisclosurePublic { dataset: tree.root(), variant, claim, binding: context.binding() };
    let inputs: Vec<String> = public.inputs().into_iter().map(word).collect();
    Ok(json!({ "inputs": inputs, "proof": hex(&proof.to_bytes()) }))
}

fn write(folder: &str, name: &str, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    Ok(fs::write(Path::new(folder).join(name), text)?)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keys_folder, out] = arguments.as_slice() else {
        return Err("usage: contract_fixtures KEYS_FOLDER OUT_FOLDER".into());
    };
    fs::create_dir_all(out)?;
    write(out, "policies.json", &policies()?)?;
    let store = KeyStore::new(keys_folder);
    let keys = Keys::load(&store, Statement::Disclosure)?;
    let (disclosure_key, disclosure) = (keys.describe(), disclosure(&keys)?);
    drop(keys);
    let keys = Keys::load(&store, Statement::Update)?;
    let mut tree = RegistryTree::new();
    let empty_root = word(tree.root());
    let (update_key, updates) = (keys.describe(), updates(&keys, &mut tree)?);
    drop(keys);
    let keys = Keys::load(&store, Statement::Cohort)?;
    let points: Vec<String> = commitments()
        .iter()
        .flat_map(|point| {
            let (x, y) = point.coordinates();
            [word(x), word(y)]
        })
        .collect();
    let scene = json!({
        "emptyRoot": empty_root,
        "conditionDigest": hex(&digest_of(CONDITION_LABEL)),
        "points": points,
        "policy": format!("0x{:x}", policy().bits()),
        "priceMax": PRICE_MAX,
        "updateKey": update_key,
        "cohortKey": keys.describe(),
        "disclosureKey": disclosure_key,
        "updates": updates,
        "cohorts": cohorts(&keys, &tree)?,
        "disclosure": disclosure,
    });
    write(out, "registry_scene.json", &scene)
}
