//! Replies at set times, so that how long a computation took says little about what it computed with.
//!
//! How often the sampler of the noise tries again depends on the noise (privacy, section 3, clause 8), and whoever knew
//! the noise could take it off. Whoever waits for a commitment sees in which step of the grid it was ready, and no more.
//! Steps grow with the time passed, so that waiting costs at most [`STEP_MIN`] or an eighth.

use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Shortest step.
const STEP_MIN: Duration = Duration::from_millis(10);
/// Steps that have the shortest length; each doubling of the time passed doubles the length from then on.
const SHORT_STEPS: u32 = 16;

/// Does the work, and returns its outcome at the next time on the grid.
pub(crate) async fn at_set_times<T>(work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = work.await;
    sleep_until(started + replies_after(started.elapsed())).await;
    done
}

/// The first time on the grid that is not before `elapsed`.
fn replies_after(elapsed: Duration) -> Duration {
    let mut step = STEP_MIN;
    while elapsed > step * SHORT_STEPS {
        step *= 2;
    }
    let steps = elapsed.as_nanos().div_ceil(step.as_nanos()).max(1);
    // At most SHORT_STEPS.
    step * u32::try_from(steps).unwrap_or(SHORT_STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_privacy::{DiscreteGaussian, SigmaSquared, UniformBytes, UniformWords};
    use std::{cmp::Ordering, collections::BTreeSet};

    #[test]
    fn a_reply_does_not_tell_how_long_the_work_took_within_a_step() {
        // The time that noise of many magnitudes takes to draw: 1 to 9 ms, and 1.05 to 1.10 s.
        for (range, step) in [(1_000..9_000_u64, STEP_MIN), (1_050_000..1_100_000, STEP_MIN * 8)] {
            let works: Vec<Duration> = range.step_by(100).map(Duration::from_micros).collect();
            let replies: BTreeSet<Duration> = works.iter().map(|work| replies_after(*work)).collect();
            assert_eq!(replies.len(), 1, "{replies:?}");
            assert!(replies.iter().all(|reply| reply.as_nanos() % step.as_nanos() == 0), "{replies:?}");
        }
    }

    /// The words of SplitMix64 from a seed on.
    struct Source(u64);

    impl Source {
        fn next_word(&mut self) -> u32 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u32::try_from(mixed >> 32).expect("32 bits")
        }
    }

    impl UniformBytes for Source {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.chunks_exact_mut(4).for_each(|word| word.copy_from_slice(&self.next_word().to_le_bytes()));
        }
    }

    /// A noise, and the time it takes where every word takes a microsecond, after 2 ms of other work.
    fn draw(sampler: &DiscreteGaussian, seed: u64) -> (u64, Duration) {
        let mut words = UniformWords::new(Source(seed));
        let noise = sampler.sample(&mut words).unsigned_abs();
        let next = words.next_word();
        let mut source = Source(seed);
        let used = (0..).find(|_| source.next_word() == next).expect("the word that comes next");
        (noise, Duration::from_micros(2_000 + used))
    }

    /// How often whoever sees `time` tells the larger of two noises: 1/2 is guessing.
    fn told(drawn: &[(u64, Duration)], time: impl Fn(Duration) -> Duration) -> f64 {
        let (mut told, mut pairs) = (0.0, 0.0);
        for (place, (noise, work)) in drawn.iter().enumerate() {
            for (other, other_work) in drawn.iter().take(place).filter(|(other, _)| other != noise) {
                pairs += 1.0;
                told += match time(*work).cmp(&time(*other_work)) {
                    Ordering::Equal => 0.5,
                    order => f64::from(u8::from(order == noise.cmp(other))),
                };
            }
        }
        told / pairs
    }

    #[test]
    fn the_time_of_a_reply_does_not_tell_noises_apart() {
        let sampler =
            DiscreteGaussian::try_new(SigmaSquared::try_new(20 * 20, 1).expect("a variance")).expect("in range");
        let drawn: Vec<_> = (0..400).map(|seed| draw(&sampler, seed << 32)).collect();
        // Control: without the grid, the noise that took longer is more often the larger one.
        let without = told(&drawn, |work| work);
        assert!(without > 0.55, "{without}");
        let with = told(&drawn, replies_after);
        assert!((with - 0.5).abs() < 1e-9, "{with}");
    }

    #[tokio::test]
    async fn quick_work_is_not_answered_before_the_first_step() {
        let started = Instant::now();
        assert_eq!(at_set_times(async { 7 }).await, 7);
        assert!(started.elapsed() >= STEP_MIN);
    }

    #[test]
    fn waiting_costs_at_most_a_step_and_an_eighth() {
        let mut before = Duration::ZERO;
        for micros in (0..20_000_000).step_by(777) {
            let elapsed = Duration::from_micros(micros);
            let reply = replies_after(elapsed);
            assert!(reply >= elapsed.max(STEP_MIN) && reply >= before, "{elapsed:?}: {reply:?}");
            assert!(reply - elapsed <= STEP_MIN.max(elapsed / 8), "{elapsed:?}: {reply:?}");
            before = reply;
        }
        assert_eq!(replies_after(Duration::ZERO), STEP_MIN);
        assert_eq!(replies_after(STEP_MIN), STEP_MIN);
        assert_eq!(replies_after(STEP_MIN * 16), STEP_MIN * 16);
        assert_eq!(replies_after(STEP_MIN * 16 + Duration::from_nanos(1)), STEP_MIN * 18);
    }
}
