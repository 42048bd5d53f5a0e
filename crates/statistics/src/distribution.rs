//! The distributions that the tests use, from `statrs`; nothing is approximated here.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal, StudentsT};

/// P(X > x) for X chi-squared with `degrees_of_freedom` (1 or 2). NaN never comes out for x >= 0.
pub(crate) fn chi_squared_upper(x: f64, degrees_of_freedom: u32) -> f64 {
    let distribution = ChiSquared::new(f64::from(degrees_of_freedom)).expect("degrees of freedom are 1 or 2");
    if x <= 0.0 { 1.0 } else { distribution.sf(x).clamp(0.0, 1.0) }
}

/// P(|T| > |t|) for Student's T with `degrees_of_freedom` > 0.
pub(crate) fn student_two_sided(t: f64, degrees_of_freedom: f64) -> f64 {
    let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).expect("degrees of freedom are positive");
    (2.0 * distribution.sf(t.abs())).clamp(0.0, 1.0)
}

/// The standard normal quantile at `probability` in (0, 1).
pub(crate) fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}
