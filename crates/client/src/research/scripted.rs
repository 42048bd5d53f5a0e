//! Filtered answers for tests: made like those of three keyholders, of plain genotypes and attributes.

use crate::{
    error::ClientError,
    research::{AskedFilter, OpenedAnswer, VerifiedAnswer, open_answer},
    testing,
};
use locus_cohort::{AnswerPlan, BlockPlan, DST_SEALED_SHARE, NamedCohort, PanelShape, sealed_share_associated_data};
use locus_commitment::Digest32;
use locus_genomics::{Declarations, Genotype, Panel, Plane, Purpose, PurposeCode, VariantIndex, VariantSelection};
use locus_ledger::{Amount, Order, OrderId, QueryClass, Settlement, order_id};
use locus_phenotype::{Attribute, AttributeSchema, PersonAttributes, Predicate, Selection};
use locus_privacy::{CohortDigest, Rho, Tau, Tier};
use locus_rlwe::{HET_SHIFT, HOM_ALT_SHIFT, MISSING_SHIFT};
use locus_sharing::{
    KeyholderIndex,
    seal::{SealBinding, SealingPrivateKey, seal},
};
use locus_wire::{
    convert::{SettlementSignature, selection_to_pb},
    pb::query as pb,
};
use std::sync::Arc;

pub(crate) const RESEARCHER_SEED: [u8; 32] = [51; 32];

/// Signatures of these keyholders on a settlement.
pub(crate) fn sign(
    settlement: &Settlement,
    by: &[u8],
) -> Vec<locus_wire::pb::exchange::settle_order_request::Signature> {
    let hash = testing::network_info().contracts.settlement_signing_hash(settlement);
    by.iter()
        .map(|&keyholder| {
            let key = &testing::keyholder_accounts()[usize::from(keyholder) - 1];
            let signature = key.sign_digest(&hash).expect("signed").to_bytes().to_vec();
            (&SettlementSignature { keyholder, signature }).into()
        })
        .collect()
}

/// A number that looks random, the same for the same input.
fn scattered(input: u64) -> u64 {
    let mixed = (input ^ (input >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The people of every scripted answer: all values occur, unknown ones too.
pub(crate) fn person(number: u32, schema: &AttributeSchema) -> PersonAttributes {
    let mut person = PersonAttributes::unknown(schema);
    let find = |name: &str| schema.find_named(name).expect("an attribute");
    let draw = |salt: u64, values: u64| scattered(u64::from(number) << 8 | salt) % values;
    if draw(1, 10) > 0 {
        person.set_category(schema, find("sex"), ["M", "F"][usize::from(draw(2, 2) == 1)]).expect("a value");
    }
    if draw(3, 10) > 0 {
        person.set_flag(schema, find("smoker"), draw(4, 3) == 0).expect("a flag");
    }
    let age = (20 + draw(5, 60)).to_string();
    person.set_number(schema, find("age"), age.parse().expect("a number")).expect("an age");
    if draw(6, 8) > 0 {
        let tenths = 100 + 5 * draw(7, 8);
        let bmi = format!("{}.{}", tenths / 10, tenths % 10);
        person.set_number(schema, find("bmi"), bmi.parse().expect("a number")).expect("a bmi");
    }
    person
}

/// Everything that a scripted answer is about.
pub(crate) struct Scene {
    pub(crate) panel: Panel,
    pub(crate) schema: Arc<AttributeSchema>,
    pub(crate) people: u32,
}

impl Scene {
    pub(crate) fn new(people: u32, variants: u32, complete_calls: bool) -> Self {
        let schema = Arc::new(testing::attribute_schema());
        Self { panel: testing::panel(variants, complete_calls), schema, people }
    }

    pub(crate) fn predicate(&self, text: &str) -> Predicate {
        Predicate::parse(text, &self.schema).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The filter of the people of these predicates.
    pub(crate) fn filter(&self, texts: &[&str]) -> AskedFilter {
        let selections = texts.iter().map(|text| Selection::People(self.predicate(text)));
        AskedFilter::try_new(selections.collect(), self.schema.clone()).expect("a filter")
    }

    /// The people whom a selection counts.
    pub(crate) fn selected(&self, selection: &Selection) -> Vec<u32> {
        let is_selected = |number: &u32| {
            let person = person(*number, &self.schema);
            let bit = selection.plane_bit(&self.schema).map_or(1, |bit| person.to_bits(&self.schema)[bit]);
            selection.people().selects(&person) && bit == 1
        };
        (0..self.people).filter(is_selected).collect()
    }

    pub(crate) fn genotype(&self, variant: u32, person: u32) -> Genotype {
        match testing::genotype(variant, person) {
            Genotype::Missing if self.panel.complete_calls() => Genotype::HomRef,
            genotype => genotype,
        }
    }

    /// het, hom_alt and missing of some people at a variant.
    pub(crate) fn counts(&self, variant: u32, people: &[u32]) -> [i64; 3] {
        let count = |wanted: Genotype| {
            people.iter().filter(|person| self.genotype(variant, **person) == wanted).map(|_| 1).sum()
        };
        [count(Genotype::Het), count(Genotype::HomAlt), count(Genotype::Missing)]
    }

    /// The sum of u^2 of the quantity of a plane over its people.
    fn square_sum(&self, selection: &Selection) -> i64 {
        let Selection::TraitPlane { people, quantity, .. } = selection else { return 0 };
        let bits = self.schema.attribute(*quantity).map_or(0, Attribute::number_bits);
        let planes = self.schema.bits_of(*quantity).skip(2).take(bits);
        let value = |number: &u32| -> i64 {
            let bits = person(*number, &self.schema).to_bits(&self.schema);
            planes.clone().enumerate().map(|(plane, bit)| i64::try_from(bits[bit]).expect("a bit") << plane).sum()
        };
        self.selected(&Selection::People(people.clone())).iter().map(|number| value(number).pow(2)).sum()
    }

    /// An answer to a question about `variants`, with `error` people too many in every number.
    pub(crate) fn answer(&self, asked: &AskedFilter, variants: &[u32], rho: Rho, error: i64) -> ScriptedAnswer<'_> {
        let tier = if rho.is_zero() { Tier::Exact } else { Tier::Open };
        let indices = variants.iter().copied().map(VariantIndex);
        let selection = VariantSelection::from_indices(&self.panel, indices).expect("a selection");
        let order = order_of(&selection, asked, tier, rho);
        let cohort = NamedCohort { digest: CohortDigest(Digest32([61; 32])), size: self.people };
        let shape = PanelShape { digest: self.panel.digest(), complete_calls: self.panel.complete_calls() };
        let filter = asked.shape(ATTRIBUTES);
        let network = testing::network().id();
        let plan = AnswerPlan::of_named(network, shape, &selection, tier, rho, cohort, Some(&filter)).expect("a plan");
        let id = order_id(&order);
        let settlement = Settlement {
            order: id,
            answer_digest: plan.digest().0,
            cohort_digest: cohort.digest.0,
            cohort_size: self.people,
            price: Amount(70),
            payout_sequence: 1,
            payout_root: Digest32([62; 32]),
        };
        let blocks = plan.blocks().iter().map(|block| self.block(asked, block, id, error)).collect();
        let record = pb::AnswerRecord {
            network: Some((&network).into()),
            order_id: id.0.0.to_vec().into(),
            order: Some((&order).into()),
            selection: Some(selection_to_pb(&selection)),
            blocks,
            summary: Some(summary_of(&settlement, rho)),
            cohort_sums: Vec::new(),
            filter: Some(asked.to_pb()),
            schema_json: self.schema.to_json(),
            requirements: Default::default(),
        };
        ScriptedAnswer { scene: self, record, plan, order: id }
    }

    fn block(&self, asked: &AskedFilter, block: &BlockPlan, order: OrderId, error: i64) -> pb::BlockAnswer {
        let selection = &asked.filter().selections()[usize::try_from(block.selection).expect("small")];
        let people = self.selected(selection);
        let mut payloads = [const { Vec::new() }; 3];
        for plane in block.planes {
            for (place, slot) in (0u64..).zip(block.released_slots()) {
                let total = match VariantIndex::at(block.block, slot) {
                    Some(index) => packed(*plane, self.counts(index.0, &people), error),
                    None => 0,
                };
                // Encryption and flooding noise, in the check slots too.
                let total = total.wrapping_add(scattered(place) % 2048).wrapping_sub(1024);
                let parts = [scattered(place + 1_000_000), scattered(place + 2_000_000)];
                let last = total.wrapping_sub(parts[0]).wrapping_sub(parts[1]);
                for (payload, part) in payloads.iter_mut().zip([parts[0], parts[1], last]) {
                    payload.extend(part.to_le_bytes());
                }
            }
        }
        let matched = i64::try_from(people.len()).expect("small") + error;
        let shares = KeyholderIndex::ALL.iter().zip(payloads).map(|(keyholder, mut payload)| {
            payload.extend(matched.to_le_bytes());
            if block.total_count > 1 {
                payload.extend(self.square_sum(selection).to_le_bytes());
            }
            sealed_part(&order, &block.tau, *keyholder, &payload)
        });
        pb::BlockAnswer {
            block: block.block.0,
            tau: block.tau.0.0.to_vec().into(),
            planes: Vec::new(),
            shares: shares.collect(),
            selection: block.selection,
        }
    }
}

const ATTRIBUTES: Digest32 = Digest32([63; 32]);

fn packed(plane: Plane, [het, hom_alt, missing]: [i64; 3], error: i64) -> u64 {
    let at = |count: i64, shift: u32| (count + error).cast_unsigned() << shift;
    match plane {
        Plane::Calls => at(het, HET_SHIFT).wrapping_add(at(hom_alt, HOM_ALT_SHIFT)),
        Plane::Missing => at(missing, MISSING_SHIFT),
    }
}

fn order_of(selection: &VariantSelection, asked: &AskedFilter, tier: Tier, rho: Rho) -> Order {
    let purpose = Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE };
    let query_class =
        if asked.filter().selections().len() == 1 { QueryClass::FilteredCounts } else { QueryClass::Association };
    Order {
        researcher: testing::account(52).address(),
        panel: selection.panel(),
        selection_digest: Digest32(selection.digest()),
        predicate_digest: asked.filter().digest(),
        query_class,
        purpose: purpose.to_bits(),
        condition_digest: Digest32([0; 32]),
        tier,
        rho,
        max_price: Amount(100),
        hpke_key_digest: SealingPrivateKey::from_seed(&RESEARCHER_SEED).public_key().digest(),
        deadline_unix_s: 1_700_000_000,
        nonce: 1,
    }
}

fn summary_of(settlement: &Settlement, rho: Rho) -> pb::AnswerSummary {
    pb::AnswerSummary {
        cohort_size: settlement.cohort_size,
        price: settlement.price.0.to_string(),
        rho_nano: rho.as_nano(),
        degraded: false,
        answer_digest: settlement.answer_digest.0.to_vec().into(),
        cohort_digest: settlement.cohort_digest.0.to_vec().into(),
        settlement: Some(settlement.into()),
        signatures: sign(settlement, &[1, 2, 3]),
        cohort: None,
        attributes_digest: ATTRIBUTES.0.to_vec().into(),
    }
}

/// A keyholder's part, sealed to the researcher.
pub(crate) fn sealed_part(order: &OrderId, tau: &Tau, keyholder: KeyholderIndex, payload: &[u8]) -> pb::SealedShare {
    let associated_data = sealed_share_associated_data(order, tau, keyholder.get());
    let binding = SealBinding { info: DST_SEALED_SHARE, associated_data: &associated_data };
    let recipient = SealingPrivateKey::from_seed(&RESEARCHER_SEED).public_key();
    let mut rng = crate::entropy::system_rng().expect("randomness");
    let sealed = seal(&recipient, binding, payload, &mut rng).expect("sealed").into_bytes();
    let number = u32::from(keyholder.get());
    pb::SealedShare { share: number, keyholder: number, sealed: sealed.into() }
}

/// An answer of three keyholders to a filtered question.
pub(crate) struct ScriptedAnswer<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) record: pb::AnswerRecord,
    pub(crate) plan: AnswerPlan,
    pub(crate) order: OrderId,
}

impl ScriptedAnswer<'_> {
    pub(crate) fn open(&self, record: &pb::AnswerRecord) -> Result<(VerifiedAnswer, OpenedAnswer), ClientError> {
        let key = SealingPrivateKey::from_seed(&RESEARCHER_SEED);
        open_answer(record, &self.scene.panel, &testing::network(), &key)
    }

    pub(crate) fn opened(&self) -> OpenedAnswer {
        self.open(&self.record).expect("opened").1
    }
}
