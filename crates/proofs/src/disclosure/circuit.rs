//! Statement D as constraints.

use super::statement::{BLOCK_TREE_DEPTH, DisclosurePublic, DisclosureShape, DisclosureWitness};
use crate::{encryption::genotype_tag, groth16::Circuit};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use locus_commitment::{
    merkle::{self, LEVEL_BITS},
    poseidon::{pack, r1cs::hash_list, values_per_element},
    r1cs::{Builder, Linear},
};

/// Statement D with a witness.
pub struct DisclosureCircuit<'a> {
    /// Size.
    pub shape: DisclosureShape,
    /// Public part.
    pub public: &'a DisclosurePublic,
    /// Private part.
    pub witness: &'a DisclosureWitness,
}

impl Circuit for DisclosureCircuit<'_> {
    fn name(&self) -> String {
        format!("disclosure-{}", self.shape.variants())
    }

    fn public_inputs(&self) -> Vec<Fr> {
        self.public.inputs()
    }

    fn synthesize(&self, builder: &mut Builder, inputs: &[Linear]) {
        let [dataset, place, claim, binding] = [0, 1, 2, 3].map(|input: usize| &inputs[input]);
        let (block, position) = self.public.block_and_position(self.shape);
        let per_element = values_per_element(2);

        builder.clause("D1 block commitment");
        let codes: Vec<u64> = self.witness.genotypes.codes.iter().map(|code| u64::from(*code)).collect();
        let elements: Vec<Linear> = pack(&codes, 2).iter().map(|element| builder.witness(*element)).collect();
        let blinding = builder.witness(self.witness.genotypes.blinding);
        let leaf = hash_list(builder, genotype_tag(), &[&[blinding], elements.as_slice()].concat());

        builder.clause("D2 path to the dataset");
        let (block_bits, block_number) = builder.bits(u64::from(block), LEVEL_BITS * BLOCK_TREE_DEPTH);
        let root = merkle::r1cs::root(builder, &self.witness.path, &block_bits, &leaf);
        builder.enforce_equal(&root, dataset);

        builder.clause("D3 place");
        let element_choice = choose(builder, self.shape.elements(), position / per_element);
        let code_choice = choose(builder, per_element, position % per_element);
        let per_block = Fr::from(self.shape.variants() as u64);
        let in_block = numbered(&element_choice).times(Fr::from(per_element as u64)).plus(&numbered(&code_choice));
        builder.enforce_equal(&block_number.times(per_block).plus(&in_block), place);
        self.enforce_last_element(builder, &element_choice, &code_choice);

        builder.clause("D4 claim");
        let chosen = select(builder, &element_choice, &elements);
        let (bits, whole) = builder.field_bits(chosen.value(), 2 * per_element);
        builder.enforce_equal(&whole, &chosen);
        let low: Vec<Linear> = bits.iter().step_by(2).cloned().collect();
        let high: Vec<Linear> = bits.iter().skip(1).step_by(2).cloned().collect();
        let (low, high) = (select(builder, &code_choice, &low), select(builder, &code_choice, &high));
        let (claim_bits, claim_number) = builder.bits(u64::from(self.public.claim.bits()), 4);
        builder.enforce_equal(&claim_number, claim);
        let both = builder.multiply(&low, &high);
        let one_hot = [low.plus(&high).minus(&both).not(), low.minus(&both), high.minus(&both), both];
        let in_claim = select(builder, &one_hot, &claim_bits);
        builder.enforce_equal(&in_claim, &Linear::one());

        builder.clause("D5 binding");
        builder.multiply(binding, binding);
    }
}

impl DisclosureCircuit<'_> {
    /// The last element of a block may hold fewer codes; positions past the block's end are refused,
    /// or they would name a variant of the next block.
    fn enforce_last_element(&self, builder: &mut Builder, element_choice: &[Linear], code_choice: &[Linear]) {
        let used = self.shape.variants() - values_per_element(2) * (self.shape.elements() - 1);
        let beyond = Linear::sum(&code_choice[used..]);
        if let Some(last) = element_choice.last() {
            builder.enforce(last, &beyond, &Linear::zero());
        }
    }
}

/// `count` bits of which exactly the one at `place` is set.
fn choose(builder: &mut Builder, count: usize, place: usize) -> Vec<Linear> {
    let bits: Vec<Linear> = (0..count).map(|number| builder.bit(number == place)).collect();
    builder.enforce_equal(&Linear::sum(&bits), &Linear::one());
    bits
}

/// The number of the bit that is set.
fn numbered(bits: &[Linear]) -> Linear {
    let mut sum = Linear::zero();
    let mut number = Fr::ZERO;
    for bit in bits {
        sum.add_scaled(number, bit);
        number += Fr::ONE;
    }
    sum
}

/// The sum of the products: the value whose bit is set.
fn select(builder: &mut Builder, choice: &[Linear], values: &[Linear]) -> Linear {
    let products: Vec<Linear> = choice.iter().zip(values).map(|(bit, value)| builder.multiply(value, bit)).collect();
    Linear::sum(&products)
}
