//! Statement C as constraints.

use super::statement::{
    CLASS_SHIFT, CONDITION_SHIFT, CohortPublic, CohortShape, CohortWitness, DAY_SHIFT, NEED_ACCREDITED_SHIFT,
    NEED_PROVEN_SHIFT, PERMITTING_SHIFT, POLICY_BITS, RESEARCHER_SHIFT, TIER_SHIFT, payouts_tag, words_tag,
};
use crate::{
    groth16::Circuit,
    registry::{
        ACCREDITED_ONLY_SHIFT, ACCREDITED_SHIFT, DATA_USE_BITS, DAY_BITS, EXPIRY_SHIFT, GROUP_SIZE, GROUP_WORDS, Group,
        LIVE_SHIFT, NAMED_ONLY_SHIFT, PRICE_BITS, PRICE_CLASSES, PROVEN_SHIFT, TERMS_BITS, TIER_BITS, TIERS_SHIFT,
        group_tag, word,
    },
    words,
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use locus_commitment::{
    merkle::{self, ARITY, LEVEL_BITS},
    pedersen::r1cs::PointVar,
    poseidon::r1cs::{hash_list, pack},
    r1cs::{Builder, Linear},
};
use locus_genomics::DuoTerm;

/// Statement C with a witness.
pub struct CohortCircuit<'a> {
    /// Size.
    pub shape: CohortShape,
    /// Public part.
    pub public: &'a CohortPublic,
    /// Private part.
    pub witness: &'a CohortWitness,
}

/// The words of the statement.
struct Words {
    root: Linear,
    shard: Linear,
    policy: Vec<Linear>,
    condition: Linear,
    price_max: Linear,
    before: Vec<Linear>,
    after: Vec<Linear>,
}

/// Sums over the groups so far.
struct Running {
    size: Linear,
    total_price: Linear,
    point: PointVar,
    selection: Vec<Linear>,
}

impl Circuit for CohortCircuit<'_> {
    fn name(&self) -> String {
        format!("cohort-{}-{}", self.shape.shard_levels(), self.shape.depth())
    }

    fn public_inputs(&self) -> Vec<Fr> {
        self.public.inputs().to_inputs()
    }

    fn synthesize(&self, builder: &mut Builder, inputs: &[Linear]) {
        let words = self.allocate_words(builder, inputs);
        let before = &words.before;
        let mut running = Running {
            size: before[0].clone(),
            total_price: before[1].clone(),
            point: PointVar { x: before[2].clone(), y: before[3].clone() },
            selection: Vec::with_capacity(GROUP_SIZE * self.shape.groups()),
        };
        let mut nodes = Vec::with_capacity(self.shape.groups());
        for (group, selected) in self.witness.groups.iter().zip(&self.witness.selected) {
            nodes.push(self.add_group(builder, &words, group.as_ref(), selected, &mut running));
        }

        builder.clause("C8 totals");
        builder.enforce_equal(&running.size, &words.after[0]);
        builder.enforce_equal(&running.total_price, &words.after[1]);
        builder.clause("C9 commitments");
        builder.enforce_equal(&running.point.x, &words.after[2]);
        builder.enforce_equal(&running.point.y, &words.after[3]);

        builder.clause("C10 shard");
        while nodes.len() > 1 {
            nodes = nodes.chunks(ARITY).map(|children| merkle::r1cs::node(builder, children)).collect();
        }
        let levels_above = self.shape.levels_above();
        let (shard_bits, shard) = builder.bits(u64::from(self.public.shard), LEVEL_BITS * levels_above);
        builder.enforce_equal(&shard, &words.shard);
        let root = merkle::r1cs::root(builder, &self.witness.path, &shard_bits, &nodes[0]);
        builder.enforce_equal(&root, &words.root);

        builder.clause("C11 payouts");
        let blinding = builder.witness(self.witness.blinding);
        let mut elements = vec![words.before[4].clone(), words.shard.clone(), blinding];
        elements.extend(pack(&running.selection, 1));
        let payouts = hash_list(builder, payouts_tag(), &elements);
        builder.enforce_equal(&payouts, &words.after[4]);
    }
}

impl CohortCircuit<'_> {
    fn allocate_words(&self, builder: &mut Builder, inputs: &[Linear]) -> Words {
        builder.clause("C1 public words");
        let all: Vec<Linear> = self.public.words().iter().map(|word| builder.witness(*word)).collect();
        let digest = hash_list(builder, words_tag(), &all);
        words::enforce(builder, inputs, &digest, &all);
        builder.clause("C2 policy");
        let (policy, number) = builder.field_bits(Fr::from(self.public.policy.bits()), POLICY_BITS);
        builder.enforce_equal(&number, &all[2]);
        Words {
            root: all[0].clone(),
            shard: all[1].clone(),
            policy,
            condition: all[3].clone(),
            price_max: all[4].clone(),
            before: all[5..10].to_vec(),
            after: all[10..].to_vec(),
        }
    }

    /// Adds one group and gives its leaf. An empty leaf is zero, which no words are known to hash to.
    fn add_group(
        &self,
        builder: &mut Builder,
        statement: &Words,
        group: Option<&Group>,
        selected: &[bool; GROUP_SIZE],
        running: &mut Running,
    ) -> Linear {
        builder.clause("C3 groups");
        let values = group.map_or([Fr::ZERO; GROUP_WORDS], Group::words);
        let words: Vec<Linear> = values.iter().map(|word| builder.witness(*word)).collect();
        let (terms, number) = builder.bits(group.map_or(0, Group::terms_word), TERMS_BITS);
        builder.enforce_equal(&number, &words[word::TERMS]);
        let hashed = hash_list(builder, group_tag(), &words);
        let present = builder.bit(group.is_some());
        let leaf = builder.multiply(&present, &hashed);

        builder.clause("C4 selected datasets");
        let open = builder.bit(selected.contains(&true));
        builder.enforce(&open, &present.not(), &Linear::zero());
        let selection: Vec<Linear> = selected.iter().map(|selected| builder.bit(*selected)).collect();
        for (bit, live) in selection.iter().zip(&terms[LIVE_SHIFT..]) {
            let missing = Linear::constant(Fr::from(2u64)).minus(&open).minus(live);
            builder.enforce(&missing, bit, &Linear::zero());
        }

        enforce_data_use(builder, statement, &words, &terms, &open);
        enforce_terms(builder, &statement.policy, &terms, &open);
        let price = enforce_price(builder, statement, &words, &terms, &open);

        builder.clause("C8 totals");
        let count = Linear::sum(&selection);
        running.size.add(&count);
        running.total_price.add(&builder.multiply(&price, &count));

        builder.clause("C9 commitments");
        for (place, bit) in selection.iter().enumerate() {
            let point = PointVar { x: words[2 * place].clone(), y: words[2 * place + 1].clone() };
            let chosen = point.select(builder, bit);
            running.point = running.point.plus(builder, &chosen);
        }
        running.selection.extend(selection);
        leaf
    }
}

/// C5.
fn enforce_data_use(builder: &mut Builder, statement: &Words, words: &[Linear], terms: &[Linear], open: &Linear) {
    builder.clause("C5 data use");
    let data_use = &terms[..DATA_USE_BITS];
    let forbidden = overlap(builder, data_use, &statement.policy);
    builder.enforce(&forbidden, open, &Linear::zero());
    let permitted = overlap(builder, data_use, &statement.policy[PERMITTING_SHIFT..]);
    let inverse = permitted.value().inverse().unwrap_or(Fr::ZERO) * open.value();
    let inverse = builder.witness(inverse);
    builder.enforce(&permitted, &inverse, open);
    // Nothing depends on the inverse in a closed group; it is zero there so that nothing is left free.
    builder.enforce(&inverse, &open.not(), &Linear::zero());
    let specific = &data_use[DuoTerm::DiseaseSpecific as usize];
    let asked = builder.multiply(specific, &statement.policy[CONDITION_SHIFT]);
    let difference = builder.multiply(&words[word::CONDITION].minus(&statement.condition), &asked);
    builder.enforce(&difference, open, &Linear::zero());
}

/// C6: the number of objections is zero.
fn enforce_terms(builder: &mut Builder, policy: &[Linear], terms: &[Linear], open: &Linear) {
    builder.clause("C6 tier, audience, provenance");
    let tiers = &terms[TIERS_SHIFT..TIERS_SHIFT + TIER_BITS];
    let allowed = overlap(builder, tiers, &policy[TIER_SHIFT..]);
    let outsider = builder.multiply(&policy[RESEARCHER_SHIFT].not(), &terms[ACCREDITED_ONLY_SHIFT]);
    let unaccredited = builder.multiply(&policy[NEED_ACCREDITED_SHIFT], &terms[ACCREDITED_SHIFT].not());
    let unproven = builder.multiply(&policy[NEED_PROVEN_SHIFT], &terms[PROVEN_SHIFT].not());
    let objections = Linear::sum([&allowed.not(), &terms[NAMED_ONLY_SHIFT], &outsider, &unaccredited, &unproven]);
    builder.enforce(&objections, open, &Linear::zero());
}

/// C7; gives the price of the class asked for.
fn enforce_price(
    builder: &mut Builder,
    statement: &Words,
    words: &[Linear],
    terms: &[Linear],
    open: &Linear,
) -> Linear {
    builder.clause("C7 expiry and price");
    let days_left =
        number(&terms[EXPIRY_SHIFT..EXPIRY_SHIFT + DAY_BITS]).minus(&number(&statement.policy[DAY_SHIFT..]));
    enforce_not_negative(builder, open, &days_left, DAY_BITS);
    let prices = &words[word::PRICES..word::PRICES + PRICE_CLASSES];
    let price = overlap(builder, prices, &statement.policy[CLASS_SHIFT..]);
    enforce_not_negative(builder, open, &statement.price_max.minus(&price), PRICE_BITS);
    price
}

/// Where `open` is set, `value` is below 2^bits.
fn enforce_not_negative(builder: &mut Builder, open: &Linear, value: &Linear, bits: usize) {
    let (_, sum) = builder.field_bits(open.value() * value.value(), bits);
    builder.enforce(value, open, &sum);
}

/// The sum of the products of values and bits.
fn overlap(builder: &mut Builder, values: &[Linear], bits: &[Linear]) -> Linear {
    let products: Vec<Linear> = values.iter().zip(bits).map(|(value, bit)| builder.multiply(value, bit)).collect();
    Linear::sum(&products)
}

/// The number with these bits, lowest first.
fn number(bits: &[Linear]) -> Linear {
    let mut sum = Linear::zero();
    let mut weight = Fr::ONE;
    for bit in bits {
        sum.add_scaled(weight, bit);
        weight.double_in_place();
    }
    sum
}
