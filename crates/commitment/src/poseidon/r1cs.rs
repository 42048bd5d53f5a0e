//! Poseidon in circuits: the same functions as in the parent module, on combinations.

use super::{FULL_ROUNDS, Parameters, RATE, values_per_element};
use crate::{
    field::Fr,
    r1cs::{Builder, Linear},
};
use ark_ff::{AdditiveGroup, Field};

/// x^5 in three rows; none for a constant. By way of x^3, so that neither x^2 nor x^3 stands on both
/// sides A and B of rows: each absence saves a prover work.
fn sbox(builder: &mut Builder, x: &Linear) -> Linear {
    if x.is_constant() {
        return Linear::constant(super::sbox(x.value()));
    }
    let square = builder.multiply(x, x);
    let cube = builder.multiply(x, &square);
    builder.multiply(&cube, &square)
}

fn full_round(builder: &mut Builder, state: &[Linear], constants: &[Fr]) -> Vec<Linear> {
    state.iter().zip(constants).map(|(element, constant)| sbox(builder, &element.plus_constant(*constant))).collect()
}

fn mix(builder: &Builder, state: &[Linear], matrix: &[Vec<Fr>]) -> Vec<Linear> {
    matrix.iter().map(|row| builder.combine(row, state, Fr::ZERO)).collect()
}

/// The first element of the permutation of `state`.
fn permute(builder: &mut Builder, mut state: Vec<Linear>) -> Linear {
    let parameters = Parameters::of_width(state.len());
    let half = FULL_ROUNDS / 2;
    for round in 0..half {
        state = full_round(builder, &state, &parameters.constants[round]);
        if round + 1 < half {
            state = mix(builder, &state, &parameters.matrix);
        }
    }
    let mut known = state;
    for inner in &parameters.partial_inputs {
        let input = builder.combine(&inner.coefficients, &known, inner.constant);
        known.push(sbox(builder, &input));
    }
    let outer = parameters.partial_outputs.iter();
    state = outer.map(|outer| builder.combine(&outer.coefficients, &known, outer.constant)).collect();
    for round in 0..half {
        state = full_round(builder, &state, &parameters.constants[half + parameters.partial_inputs.len() + round]);
        if round + 1 < half {
            state = mix(builder, &state, &parameters.matrix);
        }
    }
    builder.combine(&parameters.matrix[0], &state, Fr::ZERO)
}

fn compress(builder: &mut Builder, capacity: Linear, inputs: &[Linear], width: usize) -> Linear {
    let mut state = vec![capacity];
    state.extend_from_slice(inputs);
    state.resize(width, Linear::zero());
    permute(builder, state)
}

/// [`hash`](super::hash) in a circuit.
pub fn hash(builder: &mut Builder, inputs: &[Linear]) -> Linear {
    compress(builder, Linear::zero(), inputs, inputs.len() + 1)
}

/// [`hash_list`](super::hash_list) in a circuit: at most 609 rows for each 16 elements.
pub fn hash_list(builder: &mut Builder, tag: Fr, inputs: &[Linear]) -> Linear {
    let mut chain = Linear::constant(tag + Fr::from(inputs.len() as u64));
    for part in inputs.chunks(RATE) {
        chain = compress(builder, chain, part, RATE + 1);
    }
    chain
}

/// [`pack`](super::pack) in a circuit; the caller has constrained every value to `bits` bits.
pub fn pack(values: &[Linear], bits: usize) -> Vec<Linear> {
    let pack_one = |part: &[Linear]| {
        let mut sum = Linear::zero();
        let mut weight = Fr::ONE;
        for value in part {
            sum.add_scaled(weight, value);
            weight *= Fr::from(1u128 << bits);
        }
        sum
    };
    values.chunks(values_per_element(bits)).map(pack_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{poseidon, r1cs::Mode};

    #[test]
    fn the_circuit_computes_the_native_hash_within_the_known_number_of_rows() {
        for (count, rows) in [(2usize, 240), (3, 261), (4, 297), (5, 321), (6, 354), (8, 402), (12, 504), (16, 609)] {
            let values: Vec<Fr> = (1..=count as u64).map(Fr::from).collect();
            let (mut builder, inputs) = Builder::new(Mode::Assign, &values);
            let digest = hash(&mut builder, &inputs);
            assert_eq!(digest.value(), poseidon::hash(&values));
            assert_eq!(builder.row_count(), rows, "{count} inputs");
            assert_eq!(builder.into_assignment().unsatisfied, None);
        }
    }

    #[test]
    fn shape_and_assignment_agree_and_every_variable_of_a_hash_is_determined() {
        let values: Vec<Fr> = (1..=20u64).map(Fr::from).collect();
        let (mut shape, inputs) = Builder::new(Mode::Shape, &values);
        hash_list(&mut shape, Fr::from(9u64), &inputs);
        let rows = shape.into_rows();
        let (mut assign, inputs) = Builder::new(Mode::Assign, &values);
        let digest = hash_list(&mut assign, Fr::from(9u64), &inputs);
        assert_eq!(digest.value(), poseidon::hash_list(Fr::from(9u64), &values));
        let mut variables = assign.into_assignment().variables.clone();
        assert!((0..rows.len()).all(|row| rows.holds(row, &variables)));
        for variable in 1..variables.len() {
            variables[variable] += Fr::ONE;
            assert!(!(0..rows.len()).all(|row| rows.holds(row, &variables)), "variable {variable} is free");
            variables[variable] -= Fr::ONE;
        }
    }
}
