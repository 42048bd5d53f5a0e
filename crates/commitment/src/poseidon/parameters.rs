//! Constants and matrices, by the Grain generator of the Poseidon paper (appendix F of [[GKRRS19]]).
//!
//! [GKRRS19]: https://ia.cr/2019/458

use crate::field::Fr;
use ark_ff::{AdditiveGroup, BigInteger, Field, PrimeField};
use std::sync::OnceLock;

/// Rounds in which every element goes through the S-box.
pub(crate) const FULL_ROUNDS: usize = 8;
/// Rounds in which only the first element does, for widths 2 to 17; circomlib's numbers.
const PARTIAL_ROUNDS: [usize; 16] = [56, 57, 56, 60, 60, 63, 64, 63, 60, 66, 60, 65, 70, 60, 64, 68];
/// Bits of the field's order.
const FIELD_BITS: usize = 254;

/// A linear function of the values known so far in a permutation.
pub(crate) struct Affine {
    pub(crate) coefficients: Vec<Fr>,
    pub(crate) constant: Fr,
}

/// Everything fixed about one width.
///
/// The partial rounds are given as linear functions: basis are the outputs of the last S-boxes of
/// the first half, then the S-box outputs of the partial rounds so far. Between two S-boxes a
/// permutation is linear, so this is the same permutation with fewer multiplications, and a short
/// row for each S-box in a circuit.
pub(crate) struct Parameters {
    /// Added before the S-boxes, by round.
    pub(crate) constants: Vec<Vec<Fr>>,
    pub(crate) matrix: Vec<Vec<Fr>>,
    /// Input of the S-box of each partial round.
    pub(crate) partial_inputs: Vec<Affine>,
    /// The state after the partial rounds.
    pub(crate) partial_outputs: Vec<Affine>,
}

impl Parameters {
    /// The parameters of a width from 2 to 17; generated on first use.
    pub(crate) fn of_width(width: usize) -> &'static Self {
        static WIDTHS: [OnceLock<Parameters>; 16] = [const { OnceLock::new() }; 16];
        WIDTHS[width - 2].get_or_init(|| Self::generate(width, PARTIAL_ROUNDS[width - 2]))
    }

    fn generate(width: usize, partial_rounds: usize) -> Self {
        let mut grain = Grain::new(width, partial_rounds);
        let rounds = FULL_ROUNDS + partial_rounds;
        let constants: Vec<Vec<Fr>> =
            (0..rounds).map(|_| (0..width).map(|_| grain.element_below_order()).collect()).collect();
        let xs: Vec<Fr> = (0..width).map(|_| grain.element_reduced()).collect();
        let ys: Vec<Fr> = (0..width).map(|_| grain.element_reduced()).collect();
        let cauchy = |x: &Fr, y: &Fr| (*x + y).inverse().unwrap_or(Fr::ZERO);
        let matrix: Vec<Vec<Fr>> = xs.iter().map(|x| ys.iter().map(|y| cauchy(x, y)).collect()).collect();
        let (partial_inputs, partial_outputs) = partial_template(&constants, &matrix, partial_rounds);
        Self { constants, matrix, partial_inputs, partial_outputs }
    }
}

/// Follows the state through the partial rounds as linear functions.
fn partial_template(constants: &[Vec<Fr>], matrix: &[Vec<Fr>], partial_rounds: usize) -> (Vec<Affine>, Vec<Affine>) {
    let width = matrix.len();
    let unit = |place: usize| {
        let mut coefficients = vec![Fr::ZERO; width + partial_rounds];
        coefficients[place] = Fr::ONE;
        Affine { coefficients, constant: Fr::ZERO }
    };
    let mix = |state: &[Affine]| -> Vec<Affine> {
        matrix.iter().map(|row| combine(row, state, width + partial_rounds)).collect()
    };
    let mut inputs = Vec::with_capacity(partial_rounds);
    let basis: Vec<Affine> = (0..width).map(unit).collect();
    let mut state = mix(&basis);
    for round in 0..partial_rounds {
        for (element, constant) in state.iter_mut().zip(&constants[FULL_ROUNDS / 2 + round]) {
            element.constant += constant;
        }
        let mut input = std::mem::replace(&mut state[0], unit(width + round));
        input.coefficients.truncate(width + round);
        inputs.push(input);
        state = mix(&state);
    }
    (inputs, state)
}

fn combine(row: &[Fr], state: &[Affine], length: usize) -> Affine {
    let mut sum = Affine { coefficients: vec![Fr::ZERO; length], constant: Fr::ZERO };
    for (factor, element) in row.iter().zip(state) {
        sum.constant += *factor * element.constant;
        for (target, coefficient) in sum.coefficients.iter_mut().zip(&element.coefficients) {
            if *coefficient != Fr::ZERO {
                *target += *factor * coefficient;
            }
        }
    }
    sum
}

/// The self-shrinking 80-bit Grain register.
struct Grain {
    register: [bool; 80],
    head: usize,
}

impl Grain {
    fn new(width: usize, partial_rounds: usize) -> Self {
        // Prime field (2 bits), S-box x^5 (4), bits of the order (12), width (12), full rounds (10),
        // partial rounds (10), ones (30); each number with its highest bit first.
        let numbers = [(1, 2), (0, 4), (FIELD_BITS, 12), (width, 12), (FULL_ROUNDS, 10), (partial_rounds, 10)];
        let mut register = [true; 80];
        let mut place = 0;
        for (number, bits) in numbers {
            for bit in (0..bits).rev() {
                register[place] = (number >> bit) & 1 == 1;
                place += 1;
            }
        }
        let mut grain = Self { register, head: 0 };
        for _ in 0..160 {
            grain.step();
        }
        grain
    }

    fn step(&mut self) -> bool {
        let bit = [62, 51, 38, 23, 13, 0].iter().fold(false, |sum, tap| sum ^ self.register[(self.head + tap) % 80]);
        self.register[self.head] = bit;
        self.head = (self.head + 1) % 80;
        bit
    }

    /// The second bit of the next pair whose first bit is set.
    fn bit(&mut self) -> bool {
        while !self.step() {
            self.step();
        }
        self.step()
    }

    fn bits(&mut self) -> Vec<bool> {
        (0..FIELD_BITS).map(|_| self.bit()).collect()
    }

    fn element_below_order(&mut self) -> Fr {
        loop {
            let integer = <Fr as PrimeField>::BigInt::from_bits_be(&self.bits());
            if let Some(element) = Fr::from_bigint(integer) {
                return element;
            }
        }
    }

    fn element_reduced(&mut self) -> Fr {
        Fr::from_be_bytes_mod_order(&<Fr as PrimeField>::BigInt::from_bits_be(&self.bits()).to_bytes_be())
    }
}
