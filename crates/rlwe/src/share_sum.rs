//! The sum of one share's secret bits over a cohort.

use crate::{
    bits::spread,
    constants::{COHORT_SIZE_MAX, COUNTER_BITS, RING_DIMENSION, SECRET_WORDS},
    error::RlweError,
    ring::Polynomial,
    secret::{BlockKeys, SecretBits},
};
use locus_commitment::DatasetContext;
use locus_genomics::{PanelBlockIndex, Plane};
use locus_sharing::{KeySeed, ShareIndex};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// One bit for every slot.
type Row = [u64; SECRET_WORDS];
/// Levels of the carry-save tree: rows of weight 1, 2, 4, ... up to the largest cohort.
const LEVELS: usize = COUNTER_BITS as usize;

const _: () = assert!(COHORT_SIZE_MAX < 1 << LEVELS);

/// S_A: per slot, how many datasets of the cohort have a one in the secret of share A. It opens
/// the cohort's ciphertext sum together with the other two, so it never leaves a keyholder.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ShareSum {
    #[zeroize(skip)]
    share: ShareIndex,
    count: u32,
    coefficients: Box<Polynomial>,
}

impl ShareSum {
    /// The sum for one panel block and plane over `datasets`, given by context and root seed of
    /// `share`. About a microsecond a dataset; ranges of a cohort may be summed on several threads
    /// and [`merge`](Self::merge)d.
    ///
    /// # Errors
    /// [`RlweError::CohortTooLarge`] beyond 2^18 datasets.
    pub fn over<'a>(
        share: ShareIndex,
        block: PanelBlockIndex,
        plane: Plane,
        datasets: impl IntoIterator<Item = (&'a DatasetContext, &'a KeySeed)>,
    ) -> Result<Self, RlweError> {
        let mut builder = ShareSumBuilder::new(share);
        for (context, seed) in datasets {
            builder.add(&BlockKeys::new(context, share, seed).expand(block, plane))?;
        }
        Ok(builder.finish())
    }

    /// Adds the sum over other datasets for the same share, block and plane.
    ///
    /// # Errors
    /// [`RlweError::ShareMismatch`] for another share, [`RlweError::CohortTooLarge`] beyond 2^18
    /// datasets.
    pub fn merge(&mut self, other: &Self) -> Result<(), RlweError> {
        if other.share != self.share {
            return Err(RlweError::ShareMismatch { expected: self.share, found: other.share });
        }
        self.count = checked_count(self.count, other.count)?;
        for (sum, term) in self.coefficients.iter_mut().zip(other.coefficients.iter()) {
            *sum = sum.wrapping_add(*term);
        }
        Ok(())
    }

    /// The share summed.
    pub fn share(&self) -> ShareIndex {
        self.share
    }

    /// Datasets summed; no coefficient is larger.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The sums per slot: secret, like everything here.
    pub fn coefficients(&self) -> &[u64; RING_DIMENSION] {
        &self.coefficients
    }
}

/// Collects the secret bits of many datasets.
///
/// Rows are added in carry-save form: at every level one row is kept as the running sum and one
/// may wait; two new rows and the running sum become a new running sum and a carry for the next
/// level. One full adder a dataset on average, whatever the size of the cohort.
pub struct ShareSumBuilder {
    share: ShareIndex,
    count: u32,
    levels: Vec<Level>,
}

/// Rows of one weight.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Level {
    sum: Row,
    waiting: Row,
    is_waiting: bool,
}

impl ShareSumBuilder {
    /// An empty sum of `share`.
    pub fn new(share: ShareIndex) -> Self {
        Self { share, count: 0, levels: Vec::with_capacity(LEVELS) }
    }

    /// Adds the bits of one more dataset.
    ///
    /// # Errors
    /// [`RlweError::CohortTooLarge`] beyond 2^18 datasets.
    pub fn add(&mut self, bits: &SecretBits) -> Result<(), RlweError> {
        self.count = checked_count(self.count, 1)?;
        let mut carry = *bits.words();
        for level in &mut self.levels {
            if !level.is_waiting {
                level.wait(&mut carry);
                return Ok(());
            }
            level.add(&mut carry);
        }
        let mut level = Level { sum: carry, waiting: [0; SECRET_WORDS], is_waiting: false };
        std::mem::swap(&mut level.sum, &mut carry);
        self.levels.push(level);
        carry.zeroize();
        Ok(())
    }

    /// The sum of everything added.
    pub fn finish(self) -> ShareSum {
        let mut sum = ShareSum { share: self.share, count: self.count, coefficients: Box::new([0; RING_DIMENSION]) };
        for (weight_log2, level) in self.levels.iter().enumerate() {
            add_weighted(&mut sum.coefficients, &level.sum, weight_log2);
            if level.is_waiting {
                add_weighted(&mut sum.coefficients, &level.waiting, weight_log2);
            }
        }
        sum
    }
}

impl Level {
    /// Keeps the row until another one comes.
    fn wait(&mut self, row: &mut Row) {
        self.waiting = *row;
        self.is_waiting = true;
        row.zeroize();
    }

    /// Full adder: the running sum, the waiting row and `row` become the running sum and, in
    /// `row`, the carry.
    fn add(&mut self, row: &mut Row) {
        for ((sum, waiting), carry) in self.sum.iter_mut().zip(&self.waiting).zip(row.iter_mut()) {
            let half = *sum ^ waiting;
            let next = half ^ *carry;
            *carry = (*sum & waiting) | (half & *carry);
            *sum = next;
        }
        self.is_waiting = false;
    }
}

fn add_weighted(coefficients: &mut Polynomial, row: &Row, weight_log2: usize) {
    for (slots, word) in coefficients.as_chunks_mut::<64>().0.iter_mut().zip(row) {
        for (chunk, byte) in slots.as_chunks_mut::<8>().0.iter_mut().zip(word.to_le_bytes()) {
            for (coefficient, bit) in chunk.iter_mut().zip(spread(byte).to_le_bytes()) {
                *coefficient = coefficient.wrapping_add(u64::from(bit) << weight_log2);
            }
        }
    }
}

fn checked_count(count: u32, more: u32) -> Result<u32, RlweError> {
    let too_large = RlweError::CohortTooLarge { max: COHORT_SIZE_MAX };
    count.checked_add(more).filter(|sum| *sum <= COHORT_SIZE_MAX).ok_or(too_large)
}
