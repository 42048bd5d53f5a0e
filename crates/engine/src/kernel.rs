//! Adding bodies to an exact sum.
//!
//! Eight bodies are added in one pass, so that the sum (64 KiB, in cache) is loaded and stored once
//! for eight bodies that come from memory; this runs at memory bandwidth.

mod simd;

use locus_store::{BodyBytes, BodySum};
use simd::InstructionSet;

/// The kernel for one instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    instruction_set: InstructionSet,
}

impl Kernel {
    /// The fastest kernel that this processor can run.
    pub fn detect() -> Self {
        Self { instruction_set: InstructionSet::available()[0] }
    }

    /// All kernels that this processor can run, fastest first. They give identical results.
    pub fn available() -> Vec<Self> {
        let sets = InstructionSet::available().into_iter();
        sets.map(|instruction_set| Self { instruction_set }).collect()
    }

    /// Name of the instruction set.
    pub fn name(self) -> &'static str {
        self.instruction_set.name()
    }

    /// Adds every body to `sum`.
    pub fn add(self, sum: &mut BodySum, bodies: &[BodyBytes]) {
        let (eights, rest) = bodies.as_chunks::<8>();
        for eight in eights {
            simd::add_eight(self.instruction_set, sum, eight);
        }
        for body in rest {
            simd::add_one(self.instruction_set, sum, body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_store::{BODY_BYTES, BODY_WORDS};
    use proptest::prelude::*;

    /// Bodies with long carries and words that wrap around.
    fn bodies(count: usize, seed: u64) -> Vec<BodyBytes> {
        let mut state = seed | 1;
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if state >> 61 == 0 { u64::MAX } else { state }
        };
        let mut body = || {
            let bytes: Vec<u8> = (0..BODY_WORDS).flat_map(|_| word().to_le_bytes()).collect();
            let body: &BodyBytes = bytes.as_slice().try_into().expect("one body");
            *body
        };
        (0..count).map(|_| body()).collect()
    }

    /// The sum by its definition, one word of one body at a time, with all its carries.
    fn sum_by_definition(bodies: &[BodyBytes]) -> Vec<u128> {
        let word = |body: &BodyBytes, index: usize| {
            body[index * 8..index * 8 + 8].iter().rev().fold(0u128, |word, byte| word << 8 | u128::from(*byte))
        };
        (0..BODY_WORDS).map(|index| bodies.iter().map(|body| word(body, index)).sum()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_kernel_gives_the_sum_by_definition(count in 0usize..19, seed in any::<u64>()) {
            let bodies = bodies(count, seed);
            let expected = sum_by_definition(&bodies);
            for kernel in Kernel::available() {
                let mut sum = BodySum::zero();
                kernel.add(&mut sum, &bodies);
                let exact = sum.exact();
                prop_assert_eq!(exact.as_ref(), Some(&expected), "{}", kernel.name());
            }
        }
    }

    #[test]
    fn unaligned_bodies_are_summed_alike() {
        let bodies = bodies(9, 3);
        let mut shifted = vec![0u8; 1];
        shifted.extend(bodies.iter().flatten());
        let (unaligned, _) = shifted[1..].as_chunks::<BODY_BYTES>();
        for kernel in Kernel::available() {
            let mut sum = BodySum::zero();
            kernel.add(&mut sum, unaligned);
            assert_eq!(sum.exact(), Some(sum_by_definition(&bodies)), "{}", kernel.name());
        }
    }

    #[test]
    fn the_portable_kernel_is_always_available() {
        assert_eq!(Kernel::available().last().map(|kernel| kernel.name()), Some("portable"));
        assert_eq!(Kernel::available().first(), Some(&Kernel::detect()));
    }
}
