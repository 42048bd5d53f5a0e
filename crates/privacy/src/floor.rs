//! How many people a filter must match before their counts are released.

use crate::sigma::SigmaSquared;

/// The floor under the matched number of people: `people`, and `sigmas` standard deviations of the
/// noise that the number carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchFloor {
    /// People.
    pub people: u32,
    /// Standard deviations on top.
    pub sigmas: u32,
}

impl MatchFloor {
    /// 20 people and 5 sigma: a filter that matches 20 people passes with probability below 2^-21.
    pub const DEFAULT: Self = Self { people: 20, sigmas: 5 };

    /// Whether a noisy matched number reaches the floor; `noise` is its variance, `None` when the
    /// number is exact. Decided in integers: (matched - people)^2 >= sigmas^2 sigma^2.
    pub fn is_reached(&self, matched: i64, noise: Option<SigmaSquared>) -> bool {
        let above = i128::from(matched) - i128::from(self.people);
        let Ok(above) = u128::try_from(above) else { return false };
        let Some(noise) = noise else { return true };
        let sigmas = u128::from(self.sigmas) * u128::from(self.sigmas);
        let reached = above.checked_mul(above).and_then(|square| square.checked_mul(noise.denominator()));
        let needed = sigmas.checked_mul(noise.numerator());
        match (reached, needed) {
            (Some(reached), Some(needed)) => reached >= needed,
            // A variance too large to compare with is never reached; so many people always reach it.
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_people_and_sigmas_of_noise() {
        let floor = MatchFloor::DEFAULT;
        assert!(!floor.is_reached(19, None) && floor.is_reached(20, None) && !floor.is_reached(-5, None));
        let noise = SigmaSquared::try_new(100, 1).ok();
        assert!(!floor.is_reached(69, noise) && floor.is_reached(70, noise) && !floor.is_reached(i64::MIN, noise));
        let fine = SigmaSquared::try_new(1, 4).ok();
        assert!(!floor.is_reached(22, fine) && floor.is_reached(23, fine));
        let huge = SigmaSquared::try_new(u128::MAX, 1).ok();
        assert!(!floor.is_reached(i64::MAX, huge));
    }
}
