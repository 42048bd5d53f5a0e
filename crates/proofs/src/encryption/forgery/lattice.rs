//! Small solutions of one linear equation modulo the field's order, by lattice reduction
//! ([[LLL82]], [[Babai86]]).
//!
//! The lattice has a vector for each unknown and one for the order, with the equation's value as an
//! extra coordinate. It is reduced at a precision of few bits first, then at more and more, so that
//! floating point is exact enough at every step.
//!
//! [LLL82]: https://doi.org/10.1007/BF01457454
//! [Babai86]: https://doi.org/10.1007/BF02579403

use ark_bn254::Fr;
use ark_ff::{BigInteger, PrimeField};
use num_bigint::BigInt;
use num_traits::ToPrimitive;

/// Bits of the equation's value added at every step.
const STEP_BITS: usize = 16;
const ORDER_BITS: usize = 254;
/// Weight of the value in the end: large enough that only zero is short.
const FINAL_WEIGHT: f64 = 4096.0;
/// Lovasz factor.
const DELTA: f64 = 0.99;

fn integer(value: impl Into<<Fr as PrimeField>::BigInt>) -> BigInt {
    BigInt::from_bytes_be(num_bigint::Sign::Plus, &value.into().to_bytes_be())
}

/// A lattice vector: unknowns, then the multiple of the order, with its coordinates.
#[derive(Clone)]
struct Vector {
    unknowns: Vec<i64>,
    orders: i64,
    coordinates: Vec<f64>,
}

impl Vector {
    fn subtract(&mut self, factor: f64, other: &Self) {
        let times = factor.to_i64().unwrap();
        self.unknowns.iter_mut().zip(&other.unknowns).for_each(|(left, right)| *left -= times * right);
        self.orders -= times * other.orders;
        self.coordinates.iter_mut().zip(&other.coordinates).for_each(|(left, right)| *left -= factor * right);
    }

    /// The coordinates when the value is known but for its last `hidden` bits.
    fn refresh(&mut self, weights: &[BigInt], order: &BigInt, offset: &BigInt, hidden: usize) {
        let sum: BigInt = self.unknowns.iter().zip(weights).map(|(unknown, weight)| weight * *unknown).sum();
        let value = sum + order * self.orders - offset;
        let weight = if hidden == 0 { FINAL_WEIGHT } else { 1.0 };
        self.coordinates = self.unknowns.iter().map(|unknown| *unknown as f64).collect();
        self.coordinates.push((value >> hidden).to_f64().unwrap() * weight);
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Gram-Schmidt coefficients of a basis, kept up to date.
struct Reduction {
    basis: Vec<Vector>,
    orthogonal: Vec<Vec<f64>>,
    norms: Vec<f64>,
    mu: Vec<Vec<f64>>,
}

impl Reduction {
    fn new(basis: Vec<Vector>) -> Self {
        let count = basis.len();
        let (orthogonal, norms, mu) = (vec![Vec::new(); count], vec![0.0; count], vec![vec![0.0; count]; count]);
        let mut reduction = Self { basis, orthogonal, norms, mu };
        (0..count).for_each(|place| reduction.orthogonalise(place));
        reduction
    }

    fn orthogonalise(&mut self, place: usize) {
        let mut rest = self.basis[place].coordinates.clone();
        for below in 0..place {
            // Projecting the rest and not the vector itself keeps the error small.
            let mu = dot(&rest, &self.orthogonal[below]) / self.norms[below];
            self.mu[place][below] = mu;
            rest.iter_mut().zip(&self.orthogonal[below]).for_each(|(left, right)| *left -= mu * right);
        }
        self.norms[place] = dot(&rest, &rest).max(f64::MIN_POSITIVE);
        self.orthogonal[place] = rest;
    }

    fn size_reduce(&mut self, place: usize) {
        for below in (0..place).rev() {
            let factor = self.mu[place][below].round();
            if factor != 0.0 {
                let other = self.basis[below].clone();
                self.basis[place].subtract(factor, &other);
                for lower in 0..below {
                    self.mu[place][lower] -= factor * self.mu[below][lower];
                }
                self.mu[place][below] -= factor;
            }
        }
    }

    fn run(&mut self) {
        let mut place = 1;
        while place < self.basis.len() {
            self.orthogonalise(place);
            self.size_reduce(place);
            self.orthogonalise(place);
            let mu = self.mu[place][place - 1];
            if self.norms[place] >= (DELTA - mu * mu) * self.norms[place - 1] {
                place += 1;
            } else {
                self.basis.swap(place, place - 1);
                self.orthogonalise(place - 1);
                place = place.saturating_sub(1).max(1);
                self.orthogonalise(place);
            }
        }
    }

    /// Moves a vector near zero by lattice vectors.
    fn nearest_plane(&self, target: &mut Vector) {
        for (vector, orthogonal) in self.basis.iter().zip(&self.orthogonal).rev() {
            let factor = (dot(&target.coordinates, orthogonal) / dot(orthogonal, orthogonal)).round();
            if factor != 0.0 {
                target.subtract(factor, vector);
            }
        }
    }
}

/// Small integers x with sum of weights * x = target modulo the order.
pub(super) fn small_solution(weights: &[Fr], target: Fr) -> Vec<i64> {
    let order = integer(Fr::MODULUS);
    let weights: Vec<BigInt> = weights.iter().map(|weight| integer(*weight)).collect();
    let offset = integer(target);
    let count = weights.len();
    let vector = |place: usize| {
        let mut unknowns = vec![0; count];
        if place < count {
            unknowns[place] = 1;
        }
        Vector { unknowns, orders: i64::from(place == count), coordinates: Vec::new() }
    };
    let mut basis: Vec<Vector> = (0..=count).map(vector).collect();
    let mut solution = Vector { unknowns: vec![0; count], orders: 0, coordinates: Vec::new() };
    let none = BigInt::from(0);
    let hidden_bits = (0..ORDER_BITS).step_by(STEP_BITS).rev();
    for hidden in hidden_bits {
        basis.iter_mut().for_each(|vector| vector.refresh(&weights, &order, &none, hidden));
        let mut reduction = Reduction::new(basis);
        reduction.run();
        solution.refresh(&weights, &order, &offset, hidden);
        reduction.nearest_plane(&mut solution);
        basis = reduction.basis;
    }
    solution.refresh(&weights, &order, &offset, 0);
    assert_eq!(solution.coordinates[count], 0.0, "the equation holds exactly");
    solution.unknowns
}
