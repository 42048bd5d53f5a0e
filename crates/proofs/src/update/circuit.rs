//! Statement U as constraints.

use super::statement::{
    KIND_BITS, MASK_SHIFT, RegistryEvent, UpdatePublic, UpdateShape, UpdateStep, UpdateWitness, words_tag,
};
use crate::{
    groth16::Circuit,
    registry::{ACCREDITED_SHIFT, EXPIRY_SHIFT, GROUP_SIZE, GROUP_WORDS, LIVE_SHIFT, TERMS_BITS, group_tag, word},
    words,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use locus_commitment::{
    merkle::{self, LEVEL_BITS},
    pedersen::r1cs::PointVar,
    poseidon::r1cs::hash_list,
    r1cs::{Builder, Linear},
};

/// Statement U with a witness.
pub struct UpdateCircuit<'a> {
    /// Size.
    pub shape: UpdateShape,
    /// Public part.
    pub public: &'a UpdatePublic,
    /// Private part.
    pub witness: &'a UpdateWitness,
}

/// The kind of an event, each flag 0 or 1 and at most one set.
struct Kind {
    register: Linear,
    offer: Linear,
    revoke: Linear,
    /// Takes prices and terms from the event.
    takes_offer: Linear,
    active: Linear,
}

impl Circuit for UpdateCircuit<'_> {
    fn name(&self) -> String {
        format!("update-{}-{}", self.shape.events(), self.shape.depth())
    }

    fn public_inputs(&self) -> Vec<Fr> {
        self.public.inputs().to_inputs()
    }

    fn synthesize(&self, builder: &mut Builder, inputs: &[Linear]) {
        let before = builder.witness(self.public.before);
        let after = builder.witness(self.public.after);
        let mut public_words = vec![before.clone(), after.clone()];
        let mut digested = Vec::new();
        let mut root = before;
        for (event, step) in self.public.events.iter().zip(&self.witness.steps) {
            root = self.apply(builder, event, step, root, &mut public_words, &mut digested);
        }
        builder.clause("U7 roots");
        builder.enforce_equal(&root, &after);
        builder.clause("U1 public words");
        let digest = hash_list(builder, words_tag(), &digested);
        words::enforce(builder, inputs, &digest, &public_words);
    }
}

impl UpdateCircuit<'_> {
    /// Applies one event to `root`.
    fn apply(
        &self,
        builder: &mut Builder,
        event: &RegistryEvent,
        step: &UpdateStep,
        root: Linear,
        public_words: &mut Vec<Linear>,
        digested: &mut Vec<Linear>,
    ) -> Linear {
        builder.clause("U2 head");
        let head = event.head();
        let (kind_bits, kind_number) = builder.bits(head, KIND_BITS);
        let (place_bits, place) = builder.bits(u64::from(event.place()), LEVEL_BITS * self.shape.depth());
        let (mask, mask_number) = builder.bits(head >> MASK_SHIFT, GROUP_SIZE);
        let kind = kind_of(builder, &kind_bits);
        builder.enforce(&mask_number, &kind.revoke.not(), &Linear::zero());
        let mut head = kind_number;
        head.add_scaled(Fr::from(1u64 << KIND_BITS), &place);
        head.add_scaled(Fr::from(1u64 << MASK_SHIFT), &mask_number);

        builder.clause("U4 new terms");
        let old: Vec<Linear> = step.old_words(event).iter().map(|word| builder.witness(*word)).collect();
        let new: Vec<Linear> = step.new_words(event).iter().map(|word| builder.witness(*word)).collect();
        let mut event_words = self.changed_words(builder, &kind, &old, &new);
        let terms = builder.witness(event.words()[1 + word::TERMS]);
        event_words[word::TERMS] = terms.clone();
        enforce_terms(builder, &kind, &mask, &terms, [&old[word::TERMS], &new[word::TERMS]]);

        builder.clause("U3 registrations");
        for point in new[..2 * GROUP_SIZE].chunks(2) {
            PointVar { x: point[0].clone(), y: point[1].clone() }.enforce_on_curve(builder);
        }

        builder.clause("U6 leaves");
        let old_hash = hash_list(builder, group_tag(), &old);
        let new_hash = hash_list(builder, group_tag(), &new);
        let old_leaf = builder.witness(step.path.levels[0][event.place() as usize % merkle::ARITY]);
        builder.enforce(&kind.register, &old_leaf, &Linear::zero());
        let changes_group = kind.offer.plus(&kind.revoke);
        builder.enforce(&changes_group, &old_hash.minus(&old_leaf), &Linear::zero());
        let new_leaf = builder.multiply(&kind.active, &new_hash.minus(&old_leaf)).plus(&old_leaf);

        builder.clause("U7 roots");
        let (from, to) = merkle::r1cs::update(builder, &step.path, &place_bits, &old_leaf, &new_leaf);
        builder.enforce_equal(&from, &root);

        digested.extend([head.clone(), new_hash, terms]);
        public_words.push(head);
        public_words.extend(event_words);
        to
    }

    /// Commitments and origin change in registrations only, prices and condition also with offers.
    /// Gives the words of the event: the new words where they change, zero elsewhere.
    fn changed_words(&self, builder: &mut Builder, kind: &Kind, old: &[Linear], new: &[Linear]) -> Vec<Linear> {
        let mut event_words = vec![Linear::zero(); GROUP_WORDS];
        for place in (0..GROUP_WORDS).filter(|place| *place != word::TERMS) {
            let changes = match place {
                word::PRICES..=word::CONDITION => &kind.takes_offer,
                _ => &kind.register,
            };
            builder.enforce(&new[place].minus(&old[place]), &changes.not(), &Linear::zero());
            event_words[place] = builder.multiply(&new[place], changes);
        }
        event_words
    }
}

fn kind_of(builder: &mut Builder, bits: &[Linear]) -> Kind {
    let revoke = builder.multiply(&bits[0], &bits[1]);
    let (register, offer) = (bits[0].minus(&revoke), bits[1].minus(&revoke));
    let takes_offer = register.plus(&offer);
    let active = takes_offer.plus(&revoke);
    Kind { register, offer, revoke, takes_offer, active }
}

/// The word of terms: the event's for a registration; the event's with provenance and live bits kept
/// for an offer; the old one without the live bits of the mask for a revocation.
fn enforce_terms(builder: &mut Builder, kind: &Kind, mask: &[Linear], event: &Linear, [old, new]: [&Linear; 2]) {
    builder.enforce(event, &kind.takes_offer.not(), &Linear::zero());
    let (bits, number) = builder.field_bits(old.value(), TERMS_BITS);
    builder.enforce_equal(&number, old);
    let kept = weighted(&bits[ACCREDITED_SHIFT..EXPIRY_SHIFT], ACCREDITED_SHIFT);
    builder.clause("U5 revocations");
    let live = &bits[LIVE_SHIFT..LIVE_SHIFT + GROUP_SIZE];
    let cleared: Vec<Linear> = live.iter().zip(mask).map(|(live, mask)| builder.multiply(live, mask)).collect();
    let remaining = old.minus(&weighted(&cleared, LIVE_SHIFT));
    let kept = builder.multiply(&kept, &kind.offer);
    let remaining = builder.multiply(&remaining, &kind.revoke);
    // An empty event has no group before or after.
    builder.enforce_equal(new, &Linear::sum([event, &kept, &remaining]));
}

/// The number with these bits from place `shift` on.
fn weighted(bits: &[Linear], shift: usize) -> Linear {
    let mut sum = Linear::zero();
    let mut weight = Fr::from(1u128 << shift);
    for bit in bits {
        sum.add_scaled(weight, bit);
        weight.double_in_place();
    }
    sum
}
