//! The Poseidon hash function over the scalar field of BN254 ([[GKRRS19]]).
//!
//! Round numbers, constants and matrices are those of circomlib, generated here by the procedure of
//! the paper's reference implementation. [`hash`] equals circomlib's `poseidon` for 1 to 16 inputs.
//!
//! [GKRRS19]: https://ia.cr/2019/458

use crate::field::Fr;
use ark_ff::{AdditiveGroup, Field};

mod parameters;
pub mod r1cs;

pub(crate) use parameters::{FULL_ROUNDS, Parameters};

/// Field elements that a wide permutation absorbs at once.
pub const RATE: usize = 16;

/// x^5, a bijection because 5 does not divide the order of the field minus one.
fn sbox(x: Fr) -> Fr {
    x.square().square() * x
}

fn dot(coefficients: &[Fr], values: &[Fr]) -> Fr {
    coefficients.iter().zip(values).map(|(coefficient, value)| *coefficient * value).sum()
}

/// The permutation; `state` has 2 to 17 elements.
fn permute(state: &mut [Fr]) {
    let parameters = Parameters::of_width(state.len());
    let half = FULL_ROUNDS / 2;
    for round in 0..half {
        add_constants_and_sbox(state, &parameters.constants[round]);
        if round + 1 < half {
            mix(state, &parameters.matrix);
        }
    }
    let mut known = state.to_vec();
    for inner in &parameters.partial_inputs {
        let input = dot(&inner.coefficients, &known) + inner.constant;
        known.push(sbox(input));
    }
    for (element, outer) in state.iter_mut().zip(&parameters.partial_outputs) {
        *element = dot(&outer.coefficients, &known) + outer.constant;
    }
    for round in 0..half {
        add_constants_and_sbox(state, &parameters.constants[half + parameters.partial_inputs.len() + round]);
        mix(state, &parameters.matrix);
    }
}

fn add_constants_and_sbox(state: &mut [Fr], constants: &[Fr]) {
    for (element, constant) in state.iter_mut().zip(constants) {
        *element = sbox(*element + constant);
    }
}

fn mix(state: &mut [Fr], matrix: &[Vec<Fr>]) {
    let before = state.to_vec();
    for (element, row) in state.iter_mut().zip(matrix) {
        *element = dot(row, &before);
    }
}

/// One permutation with `capacity` in front of the inputs; the first element of the result.
fn compress(capacity: Fr, inputs: &[Fr], width: usize) -> Fr {
    let mut state = vec![Fr::ZERO; width];
    state[0] = capacity;
    state[1..=inputs.len()].copy_from_slice(inputs);
    permute(&mut state);
    state[0]
}

/// circomlib's `poseidon` of 1 to 16 inputs. For other counts use [`hash_list`].
///
/// # Panics
/// Never for 1 to 16 inputs.
pub fn hash(inputs: &[Fr]) -> Fr {
    compress(Fr::ZERO, inputs, inputs.len() + 1)
}

/// The hash of a list of any length in the domain `tag`.
///
/// Permutations of width 17 are chained through their first element (Merkle-Damgaard); the chain
/// starts with the tag plus the length, so lists of different lengths never meet. Collision
/// resistance: that of the compression function, 2^127.
pub fn hash_list(tag: Fr, inputs: &[Fr]) -> Fr {
    let mut chain = tag + Fr::from(inputs.len() as u64);
    if inputs.is_empty() {
        return compress(chain, &[], RATE + 1);
    }
    for part in inputs.chunks(RATE) {
        chain = compress(chain, part, RATE + 1);
    }
    chain
}

/// Packs values of `bits` bits each, lowest first, as many as fit into 252 bits to an element.
pub fn pack(values: &[u64], bits: usize) -> Vec<Fr> {
    let per_element = values_per_element(bits);
    let shift = Fr::from(1u128 << bits);
    let pack_one = |part: &[u64]| part.iter().rev().fold(Fr::ZERO, |sum, value| sum * shift + Fr::from(*value));
    values.chunks(per_element).map(pack_one).collect()
}

/// Values of `bits` bits that [`pack`] puts into one element.
pub fn values_per_element(bits: usize) -> usize {
    252 / bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use light_poseidon::{Poseidon, PoseidonHasher};
    use std::str::FromStr;

    #[test]
    fn hashes_equal_another_implementation_of_circomlib_for_every_width_it_has() {
        for count in 1..=12usize {
            let inputs: Vec<Fr> = (1..=count as u64).map(|value| Fr::from(value * value + 3)).collect();
            let expected = Poseidon::<Fr>::new_circom(count).unwrap().hash(&inputs).unwrap();
            assert_eq!(hash(&inputs), expected, "{count} inputs");
        }
    }

    #[test]
    fn hashes_match_known_answers_of_circomlib() {
        let narrow = hash(&[Fr::from(1u64), Fr::from(2u64)]);
        let expected = "7853200120776062878684798364095072458815029376092732009249414926327459813530";
        assert_eq!(narrow, Fr::from_str(expected).unwrap());
        let wide: Vec<Fr> = (1..=16u64).map(Fr::from).collect();
        let expected = "9989051620750914585850546081941653841776809718687451684622678807385399211877";
        assert_eq!(hash(&wide), Fr::from_str(expected).unwrap());
    }

    #[test]
    fn lists_differ_by_tag_length_and_every_element() {
        let tag = Fr::from(7u64);
        let list: Vec<Fr> = (0..40u64).map(Fr::from).collect();
        let digest = hash_list(tag, &list);
        assert_ne!(digest, hash_list(tag + Fr::ONE, &list));
        assert_ne!(hash_list(tag, &list[..39]), hash_list(tag, &[&list[..39], &[Fr::ZERO]].concat()));
        for place in 0..list.len() {
            let mut changed = list.clone();
            changed[place] += Fr::ONE;
            assert_ne!(hash_list(tag, &changed), digest, "element {place}");
        }
    }

    #[test]
    fn packing_is_injective_at_the_ends_of_an_element() {
        let values = vec![3u64; 127];
        let packed = pack(&values, 2);
        assert_eq!(packed.len(), 2);
        assert_eq!(packed[1], Fr::from(3u64));
        assert_eq!(packed[0], Fr::from(4u64).pow([126]) - Fr::ONE);
    }
}
