//! What the tests of all statements share.

use crate::groth16::{Assignment, Circuit, Proof, ProvingKey, Shape, ToxicWaste, assign};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use getrandom::{SysRng, rand_core::UnwrapErr};
use std::{fs, path::Path};

/// Randomness of proofs.
pub(crate) fn system_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Reproducible numbers.
pub(crate) struct Numbers(blake3::OutputReader);

impl Numbers {
    pub(crate) fn new(label: &str) -> Self {
        Self(blake3::Hasher::new().update(label.as_bytes()).finalize_xof())
    }

    pub(crate) fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn byte_below(&mut self, bound: u8) -> u8 {
        let mut byte = [0];
        self.0.fill(&mut byte);
        byte[0] % bound
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn field(&mut self) -> Fr {
        (0..5).fold(Fr::ZERO, |sum, _| sum * Fr::from(1u128 << 64) + Fr::from(self.next()))
    }
}

/// The clause that the circuit finds violated.
pub(crate) fn violated(circuit: &impl Circuit) -> Option<&'static str> {
    assign(circuit).unsatisfied.map(|unsatisfied| unsatisfied.clause)
}

/// The circuit's rows and its values, which must satisfy them.
pub(crate) struct Solved {
    pub(crate) shape: Shape,
    pub(crate) assignment: Assignment,
    /// Rows that name each variable.
    rows_of: Vec<Vec<usize>>,
}

impl Solved {
    pub(crate) fn new(circuit: &impl Circuit) -> Self {
        let (shape, assignment) = (Shape::of(circuit), assign(circuit));
        assert_eq!(assignment.unsatisfied, None);
        assert_eq!((shape.variables, shape.rows.len()), (assignment.variables.len(), assignment.sides[0].len()));
        let mut rows_of = vec![Vec::new(); shape.variables];
        for row in 0..shape.rows.len() {
            for side in locus_commitment::r1cs::Side::ALL {
                for (variable, _) in shape.rows.entries(side, row) {
                    let rows: &mut Vec<usize> = &mut rows_of[variable as usize];
                    if rows.last() != Some(&row) {
                        rows.push(row);
                    }
                }
            }
            assert!(shape.rows.holds(row, &assignment.variables), "row {row}");
        }
        Self { shape, assignment, rows_of }
    }

    /// Whether some row notices that these variables have other values.
    fn notices(&mut self, changes: &[(usize, Fr)]) -> bool {
        let saved: Vec<(usize, Fr)> =
            changes.iter().map(|(place, _)| (*place, self.assignment.variables[*place])).collect();
        for (place, value) in changes {
            self.assignment.variables[*place] = *value;
        }
        let rows = changes.iter().flat_map(|(place, _)| &self.rows_of[*place]);
        let noticed = rows.into_iter().any(|row| !self.shape.rows.holds(*row, &self.assignment.variables));
        for (place, value) in saved.into_iter().rev() {
            self.assignment.variables[place] = value;
        }
        noticed
    }

    /// Changes one to three variables at random, `count` times: every change must be noticed.
    pub(crate) fn refuses_mutations(&mut self, count: usize, label: &str) {
        let mut numbers = Numbers::new(label);
        for mutation in 0..count {
            let changes: Vec<(usize, Fr)> = (0..=numbers.below(3))
                .map(|_| {
                    let place = 1 + numbers.below(self.shape.variables - 1);
                    (place, mutate(self.assignment.variables[place], &mut numbers))
                })
                .collect();
            let unchanged = changes.iter().all(|(place, value)| self.assignment.variables[*place] == *value);
            assert!(unchanged || self.notices(&changes), "mutation {mutation} of variables {changes:?} goes unnoticed");
        }
    }

    /// Every variable is determined by the others, except the listed number of free ones.
    pub(crate) fn has_no_free_variable(&mut self) {
        for place in 1..self.shape.variables {
            let value = self.assignment.variables[place] + Fr::ONE;
            assert!(self.notices(&[(place, value)]), "variable {place} is free");
        }
    }
}

/// Another value: near by, bit-flipped, negated, doubled, a small number or anything.
fn mutate(value: Fr, numbers: &mut Numbers) -> Fr {
    let mutated = match numbers.below(7) {
        0 => value + Fr::ONE,
        1 => value - Fr::ONE,
        2 => Fr::ONE - value,
        3 => -value,
        4 => value.double(),
        5 => value + Fr::from(2u64).pow([numbers.next() % 254]),
        _ => numbers.field(),
    };
    if mutated == value { value + Fr::from(2u64) } else { mutated }
}

/// A key with published secrets.
pub(crate) fn key_of(shape: &Shape) -> ProvingKey {
    ProvingKey::setup(shape, &ToxicWaste::development(&shape.name)).unwrap()
}

/// A proof holds for its inputs, and for none that differ in one of them.
pub(crate) fn depends_on_every_input(key: &ProvingKey, inputs: &[Fr], proof: &Proof) {
    assert!(key.verifying_key.verify(inputs, proof));
    for place in 0..inputs.len() {
        let mut changed = inputs.to_vec();
        changed[place] += Fr::ONE;
        assert!(!key.verifying_key.verify(&changed, proof), "input {place}");
    }
    assert!(!key.verifying_key.verify(&inputs[1..], proof));
    assert!(!key.verifying_key.verify(&[inputs, &[Fr::ZERO]].concat(), proof));
}

/// Compares rows by clause with the golden file of the circuit; a changed circuit shows in review.
/// With LOCUS_WRITE_GOLDEN set the file is written instead.
pub(crate) fn matches_golden_rows(shape: &Shape) {
    let mut text = format!("{} public inputs, {} variables\n", shape.public_inputs, shape.variables);
    for (clause, rows) in &shape.clause_rows {
        text.push_str(&format!("{rows:>8} {clause}\n"));
    }
    let digest = shape.rows.digest(shape.public_inputs, shape.variables);
    text.push_str(&format!("{:>8} all, domain {}\nrows {digest}\n", shape.rows.len(), shape.domain_size()));
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
    let path = Path::new(&package).join("golden").join(format!("{}.txt", shape.name));
    if std::env::var_os("LOCUS_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(golden, text, "the rows of {} changed", shape.name);
}
