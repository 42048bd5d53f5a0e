//! A builder of rank-1 constraint systems, with one code path for shape and for values.
//!
//! A circuit is a function that writes to a [`Builder`]. In [`Mode::Shape`] the builder keeps the
//! rows, for key generation and export; in [`Mode::Assign`] it keeps the values of all variables
//! and of the three sides of every row, which is all that a prover needs. No matrix has to be kept
//! or multiplied to prove.

use crate::field::Fr;
use ark_ff::{AdditiveGroup, BigInteger, Field, PrimeField};
use zeroize::{Zeroize, ZeroizeOnDrop};

mod rows;

pub use rows::{Rows, Side};

/// What a builder keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The rows, for any values.
    Shape,
    /// The values, for one statement and witness.
    Assign,
}

/// A row that the values do not satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsatisfied {
    /// The row, from 0.
    pub row: usize,
    /// The clause the row belongs to.
    pub clause: &'static str,
}

/// A linear combination of variables, with its value.
#[derive(Clone)]
pub struct Linear {
    value: Fr,
    constant: Fr,
    /// (coefficient, variable); empty in [`Mode::Assign`].
    terms: Vec<(Fr, u32)>,
    /// False for a combination that is the same for all witnesses.
    varies: bool,
}

impl Linear {
    /// A constant.
    pub fn constant(value: Fr) -> Self {
        Self { value, constant: value, terms: Vec::new(), varies: false }
    }

    /// Zero.
    pub fn zero() -> Self {
        Self::constant(Fr::ZERO)
    }

    /// One.
    pub fn one() -> Self {
        Self::constant(Fr::ONE)
    }

    /// The value under the builder's assignment.
    pub fn value(&self) -> Fr {
        self.value
    }

    /// Whether the combination has no variable.
    pub fn is_constant(&self) -> bool {
        !self.varies
    }

    /// Adds `factor` times another combination.
    pub fn add_scaled(&mut self, factor: Fr, other: &Self) {
        self.value += factor * other.value;
        if other.constant != Fr::ZERO {
            self.constant += factor * other.constant;
        }
        self.terms.extend(other.terms.iter().map(|(coefficient, variable)| (*coefficient * factor, *variable)));
        self.varies |= other.varies;
    }

    /// Adds another combination.
    pub fn add(&mut self, other: &Self) {
        self.value += other.value;
        self.constant += other.constant;
        self.terms.extend_from_slice(&other.terms);
        self.varies |= other.varies;
    }

    /// The sum.
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.add(other);
        sum
    }

    /// The difference.
    pub fn minus(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        difference.add_scaled(-Fr::ONE, other);
        difference
    }

    /// The sum with a constant.
    pub fn plus_constant(&self, constant: Fr) -> Self {
        let mut sum = self.clone();
        sum.value += constant;
        sum.constant += constant;
        sum
    }

    /// The multiple by a constant.
    pub fn times(&self, factor: Fr) -> Self {
        let mut product = Self::zero();
        product.add_scaled(factor, self);
        product
    }

    /// One minus the combination: the negation of a bit.
    pub fn not(&self) -> Self {
        Self::one().minus(self)
    }

    /// The sum of many.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        parts.into_iter().fold(Self::zero(), |mut sum, part| {
            sum.add(part);
            sum
        })
    }
}

/// The values of a built circuit; they hold the witness and are erased on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Assignment {
    /// One, the public inputs, the witness.
    pub variables: Vec<Fr>,
    /// The three sides of every row: a * b = c.
    pub sides: [Vec<Fr>; 3],
    /// The first row that does not hold.
    #[zeroize(skip)]
    pub unsatisfied: Option<Unsatisfied>,
}

/// Writes constraints; see the module.
pub struct Builder {
    mode: Mode,
    public_inputs: usize,
    variables: Vec<Fr>,
    rows: Rows,
    sides: [Vec<Fr>; 3],
    row_count: usize,
    clause: &'static str,
    clause_rows: Vec<(&'static str, usize)>,
    unsatisfied: Option<Unsatisfied>,
}

impl Builder {
    /// A builder for a circuit with these public inputs, and the inputs as combinations.
    pub fn new(mode: Mode, public_inputs: &[Fr]) -> (Self, Vec<Linear>) {
        let mut builder = Self {
            mode,
            public_inputs: public_inputs.len(),
            variables: vec![Fr::ONE],
            rows: Rows::default(),
            sides: [Vec::new(), Vec::new(), Vec::new()],
            row_count: 0,
            clause: "",
            clause_rows: Vec::new(),
            unsatisfied: None,
        };
        let inputs = public_inputs.iter().map(|value| builder.witness(*value)).collect();
        (builder, inputs)
    }

    /// Names the clause that the following rows belong to.
    pub fn clause(&mut self, clause: &'static str) {
        self.clause = clause;
        if !self.clause_rows.iter().any(|(name, _)| *name == clause) {
            self.clause_rows.push((clause, 0));
        }
    }

    /// A new private variable.
    pub fn witness(&mut self, value: Fr) -> Linear {
        let terms = match self.mode {
            Mode::Shape => vec![(Fr::ONE, u32::try_from(self.variables.len()).unwrap_or(u32::MAX))],
            Mode::Assign => Vec::new(),
        };
        self.variables.push(value);
        Linear { value, constant: Fr::ZERO, terms, varies: true }
    }

    /// The row a * b = c.
    pub fn enforce(&mut self, a: &Linear, b: &Linear, c: &Linear) {
        match self.mode {
            Mode::Shape => {
                for (side, linear) in Side::ALL.into_iter().zip([a, b, c]) {
                    self.rows.push(side, linear.constant, &linear.terms);
                }
            }
            Mode::Assign => {
                if self.unsatisfied.is_none() && a.value * b.value != c.value {
                    self.unsatisfied = Some(Unsatisfied { row: self.row_count, clause: self.clause });
                }
                for (side, linear) in self.sides.iter_mut().zip([a, b, c]) {
                    side.push(linear.value);
                }
            }
        }
        self.row_count += 1;
        if let Some((_, rows)) = self.clause_rows.iter_mut().find(|(name, _)| *name == self.clause) {
            *rows += 1;
        }
    }

    /// The product as a new variable; without a row when a factor is constant.
    pub fn multiply(&mut self, a: &Linear, b: &Linear) -> Linear {
        if a.is_constant() {
            return b.times(a.value);
        }
        if b.is_constant() {
            return a.times(b.value);
        }
        let product = self.witness(a.value * b.value);
        self.enforce(a, b, &product);
        product
    }

    /// The row a = 0.
    pub fn enforce_zero(&mut self, a: &Linear) {
        self.enforce(a, &Linear::one(), &Linear::zero());
    }

    /// The row a = b.
    pub fn enforce_equal(&mut self, a: &Linear, b: &Linear) {
        self.enforce_zero(&a.minus(b));
    }

    /// A new variable that is 0 or 1.
    pub fn bit(&mut self, value: bool) -> Linear {
        self.bit_of(Fr::from(value))
    }

    /// A new variable of this value with the constraint that it is 0 or 1.
    pub fn bit_of(&mut self, value: Fr) -> Linear {
        let bit = self.witness(value);
        self.enforce(&bit, &bit.plus_constant(-Fr::ONE), &Linear::zero());
        bit
    }

    /// The low `count` bits of a value as new variables, lowest first, with their weighted sum.
    pub fn bits(&mut self, value: u64, count: usize) -> (Vec<Linear>, Linear) {
        self.field_bits(Fr::from(value), count)
    }

    /// As [`bits`](Self::bits) for any field element.
    pub fn field_bits(&mut self, value: Fr, count: usize) -> (Vec<Linear>, Linear) {
        let integer = value.into_bigint();
        let mut sum = Linear::zero();
        let mut weight = Fr::ONE;
        let bits = (0..count)
            .map(|place| {
                let bit = self.bit(integer.get_bit(place));
                sum.add_scaled(weight, &bit);
                weight.double_in_place();
                bit
            })
            .collect();
        (bits, sum)
    }

    /// The combination of the given ones with these coefficients, plus a constant.
    pub fn combine(&self, coefficients: &[Fr], parts: &[Linear], constant: Fr) -> Linear {
        let mut sum = Linear::constant(constant);
        for (coefficient, part) in coefficients.iter().zip(parts) {
            if *coefficient != Fr::ZERO {
                sum.add_scaled(*coefficient, part);
            }
        }
        sum
    }

    /// Rows so far.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// Variables so far, with the constant one and the public inputs.
    pub fn variable_count(&self) -> usize {
        self.variables.len()
    }

    /// Public inputs.
    pub fn public_input_count(&self) -> usize {
        self.public_inputs
    }

    /// Rows of every clause, in order of appearance.
    pub fn clause_rows(&self) -> &[(&'static str, usize)] {
        &self.clause_rows
    }

    /// The rows, of a builder in [`Mode::Shape`].
    pub fn into_rows(self) -> Rows {
        self.rows
    }

    /// The values, of a builder in [`Mode::Assign`].
    pub fn into_assignment(self) -> Assignment {
        Assignment { variables: self.variables, sides: self.sides, unsatisfied: self.unsatisfied }
    }
}
