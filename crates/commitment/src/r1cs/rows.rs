//! Sparse rows, with every different coefficient kept once.

use crate::field::Fr;
use ark_ff::{AdditiveGroup, PrimeField};
use std::collections::BTreeMap;

/// A side of the row a * b = c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first factor.
    A,
    /// The second factor.
    B,
    /// The product.
    C,
}

impl Side {
    /// All sides in order.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];
}

/// One side of all rows: 8 bytes a nonzero entry.
#[derive(Default)]
struct Matrix {
    /// End of each row in `entries`.
    ends: Vec<usize>,
    /// (variable, place in the table of coefficients).
    entries: Vec<(u32, u32)>,
}

/// All rows of a circuit.
#[derive(Default)]
pub struct Rows {
    matrices: [Matrix; 3],
    coefficients: Vec<Fr>,
    places: BTreeMap<[u64; 4], u32>,
}

impl Rows {
    /// Appends one side of a row; equal variables are merged and zeros left out.
    pub(super) fn push(&mut self, side: Side, constant: Fr, terms: &[(Fr, u32)]) {
        let mut sorted: Vec<(u32, Fr)> =
            terms.iter().map(|(coefficient, variable)| (*variable, *coefficient)).collect();
        sorted.push((0, constant));
        sorted.sort_by_key(|(variable, _)| *variable);
        let mut merged: Vec<(u32, Fr)> = Vec::with_capacity(sorted.len());
        for (variable, coefficient) in sorted {
            match merged.last_mut() {
                Some((last, sum)) if *last == variable => *sum += coefficient,
                _ => merged.push((variable, coefficient)),
            }
        }
        for (variable, coefficient) in merged.into_iter().filter(|(_, coefficient)| *coefficient != Fr::ZERO) {
            let place = self.place_of(coefficient);
            self.matrices[side as usize].entries.push((variable, place));
        }
        let matrix = &mut self.matrices[side as usize];
        matrix.ends.push(matrix.entries.len());
    }

    fn place_of(&mut self, coefficient: Fr) -> u32 {
        let next = u32::try_from(self.coefficients.len()).unwrap_or(u32::MAX);
        let place = *self.places.entry(coefficient.0.0).or_insert(next);
        if place == next {
            self.coefficients.push(coefficient);
        }
        place
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.matrices[0].ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nonzero entries of all sides.
    pub fn entry_count(&self) -> usize {
        self.matrices.iter().map(|matrix| matrix.entries.len()).sum()
    }

    /// The entries of one side of a row, by variable.
    pub fn entries(&self, side: Side, row: usize) -> impl Iterator<Item = (u32, Fr)> + '_ {
        let matrix = &self.matrices[side as usize];
        let start = if row == 0 { 0 } else { matrix.ends[row - 1] };
        let entries = &matrix.entries[start..matrix.ends[row]];
        entries.iter().map(|(variable, place)| (*variable, self.coefficients[*place as usize]))
    }

    /// Whether a row holds for these variables.
    pub fn holds(&self, row: usize, variables: &[Fr]) -> bool {
        let [a, b, c] = Side::ALL.map(|side| -> Fr {
            self.entries(side, row).map(|(variable, coefficient)| coefficient * variables[variable as usize]).sum()
        });
        a * b == c
    }

    /// A digest of all rows, to tell circuits apart: BLAKE3, because large circuits have gigabytes.
    pub fn digest(&self, public_inputs: usize, variables: usize) -> crate::Digest32 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(crate::domain::DST_ROWS.as_bytes());
        hasher.update(&(public_inputs as u64).to_le_bytes()).update(&(variables as u64).to_le_bytes());
        let coefficients: Vec<[u64; 4]> = self.coefficients.iter().map(|value| value.into_bigint().0).collect();
        let mut bytes = Vec::new();
        for matrix in &self.matrices {
            let starts = [0].into_iter().chain(matrix.ends.iter().copied());
            for (start, end) in starts.zip(matrix.ends.iter().copied()) {
                bytes.clear();
                bytes.extend_from_slice(&((end - start) as u64).to_le_bytes());
                for (variable, place) in &matrix.entries[start..end] {
                    bytes.extend_from_slice(&variable.to_le_bytes());
                    coefficients[*place as usize].iter().for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
                }
                hasher.update(&bytes);
            }
        }
        crate::Digest32(*hasher.finalize().as_bytes())
    }
}
