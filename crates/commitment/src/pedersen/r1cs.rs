//! Sums of commitments in circuits.

use super::COEFFICIENT_D;
use crate::{
    field::Fr,
    r1cs::{Builder, Linear},
};
use ark_ff::{AdditiveGroup, Field};

/// A point of the curve in a circuit.
#[derive(Clone)]
pub struct PointVar {
    /// First coordinate.
    pub x: Linear,
    /// Second coordinate.
    pub y: Linear,
}

impl PointVar {
    /// The neutral element (0, 1).
    pub fn neutral() -> Self {
        Self { x: Linear::zero(), y: Linear::one() }
    }

    /// Enforces x^2 + y^2 = 1 + d x^2 y^2, in three rows.
    pub fn enforce_on_curve(&self, builder: &mut Builder) {
        let xx = builder.multiply(&self.x, &self.x);
        let yy = builder.multiply(&self.y, &self.y);
        let right = xx.plus(&yy).plus_constant(-Fr::ONE);
        builder.enforce(&xx.times(COEFFICIENT_D), &yy, &right);
    }

    /// This point where `selected` is one, the neutral element where it is zero, in two rows.
    pub fn select(&self, builder: &mut Builder, selected: &Linear) -> Self {
        let x = builder.multiply(selected, &self.x);
        let y = builder.multiply(selected, &self.y.plus_constant(-Fr::ONE)).plus_constant(Fr::ONE);
        Self { x, y }
    }

    /// The sum, in six rows; right for all points of the curve.
    pub fn plus(&self, builder: &mut Builder, other: &Self) -> Self {
        let xy = builder.multiply(&self.x, &other.y);
        let yx = builder.multiply(&self.y, &other.x);
        let cross = builder.multiply(&self.y.minus(&self.x), &other.x.plus(&other.y));
        let product = builder.multiply(&xy, &yx).times(COEFFICIENT_D);
        let x = quotient(builder, &xy.plus(&yx), &product.plus_constant(Fr::ONE));
        let y = quotient(builder, &cross.minus(&yx).plus(&xy), &product.not());
        Self { x, y }
    }
}

/// numerator / denominator, for a denominator that is never zero on the curve.
fn quotient(builder: &mut Builder, numerator: &Linear, denominator: &Linear) -> Linear {
    let inverse = denominator.value().inverse().unwrap_or(Fr::ZERO);
    let quotient = builder.witness(numerator.value() * inverse);
    builder.enforce(denominator, &quotient, numerator);
    quotient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pedersen::{CiphertextCommitment, Generators},
        r1cs::Mode,
    };

    fn point(builder: &mut Builder, commitment: &CiphertextCommitment) -> PointVar {
        let (x, y) = commitment.coordinates();
        PointVar { x: builder.witness(x), y: builder.witness(y) }
    }

    #[test]
    fn the_circuit_adds_like_the_curve_also_doubling_neutral_and_opposite_points() {
        let generators = Generators::expand(0, 0);
        let first = CiphertextCommitment::of_body(&generators, &[5, 7, 9]);
        let second = CiphertextCommitment::of_body(&generators, &[1, 0, u64::MAX]);
        let (x, y) = first.coordinates();
        let opposite = CiphertextCommitment::from_coordinates(-x, y).unwrap();
        for (left, right) in
            [(first, second), (first, first), (first, opposite), (CiphertextCommitment::empty(), second)]
        {
            let (mut builder, _) = Builder::new(Mode::Assign, &[]);
            let (left_var, right_var) = (point(&mut builder, &left), point(&mut builder, &right));
            left_var.enforce_on_curve(&mut builder);
            let start = builder.row_count();
            let sum = left_var.plus(&mut builder, &right_var);
            assert_eq!(builder.row_count() - start, 6);
            assert_eq!((sum.x.value(), sum.y.value()), left.plus(&right).coordinates());
            assert_eq!(builder.into_assignment().unsatisfied, None);
        }
    }

    #[test]
    fn a_point_off_the_curve_is_refused_and_an_unselected_one_adds_nothing() {
        let (mut builder, _) = Builder::new(Mode::Assign, &[]);
        let off = PointVar { x: builder.witness(Fr::from(2u64)), y: builder.witness(Fr::from(3u64)) };
        let unselected = builder.bit(false);
        let none = off.select(&mut builder, &unselected);
        assert_eq!((none.x.value(), none.y.value()), (Fr::ZERO, Fr::ONE));
        off.enforce_on_curve(&mut builder);
        assert!(builder.into_assignment().unsatisfied.is_some());
    }
}
