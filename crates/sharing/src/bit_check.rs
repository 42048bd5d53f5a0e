//! Checks that shared attribute bits are bits, and one-hot where they have to be, without opening
//! any.
//!
//! For bits f the values f^2 - f, for each one-hot group the sum of its bits less one, and for a number and
//! its square u^2 less the square, are zero.
//! 64 random subsets of all these values are summed and the sums opened. A wrong value survives one
//! subset with probability at most 1/2, also modulo 2^64 where it may be divisible by a high power
//! of two; all of them with probability 2^-64.

use crate::{
    domain::DST_COIN,
    error::SharingError,
    index::KeyholderIndex,
    prss::{Prss, StreamKind, words_of_key},
    replicated::SharedVector,
};
use locus_commitment::{Digest32, sha3_256};
use std::ops::Range;

/// Sums opened by one check.
pub const BIT_CHECK_WORDS: usize = 64;

/// What must hold of a person's bits, beside that they are bits.
#[derive(Debug, Clone, Default)]
pub struct BitRules {
    /// Exactly one bit of each range is set.
    pub one_hot: Vec<Range<usize>>,
    /// The bits of a number, and those of its square, lowest first.
    pub squares: Vec<(Range<usize>, Range<usize>)>,
}

/// What one keyholder contributes to the coin that chooses the subsets. It is to be sent to the one
/// keyholder that lacks it, [`CoinPart::recipient`], when all shares under check are in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoinPart([u64; 4]);

impl CoinPart {
    /// The part of a coin as bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *chunk = word.to_le_bytes();
        }
        bytes
    }

    /// The part that these bytes encode.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        Self(words)
    }

    /// Who gets the part that `keyholder` sends.
    pub fn recipient(keyholder: KeyholderIndex) -> KeyholderIndex {
        keyholder.receives_from()
    }
}

/// One check of many people's bits.
pub struct BitCheck {
    keyholder: KeyholderIndex,
    /// Parts of the released and of the other share.
    parts: [CoinPart; 2],
}

impl BitCheck {
    /// Starts the check; the second value is to be sent.
    ///
    /// # Errors
    /// [`SharingError::GateReused`].
    pub fn begin(prss: &mut Prss, gate: u32) -> Result<(Self, CoinPart), SharingError> {
        let streams = prss.streams::<u64>(gate, StreamKind::Coin, 4)?;
        let parts = streams.map(|words| {
            let mut part = [0; 4];
            part.iter_mut().zip(words.iter()).for_each(|(to, from)| *to = *from);
            CoinPart(part)
        });
        Ok((Self { keyholder: prss.keyholder(), parts }, parts[0]))
    }

    /// This keyholder's masked part of the 64 sums over `people`, of whose bits `rules` must hold. `received` is
    /// the coin part that this keyholder lacked.
    ///
    /// # Errors
    /// [`SharingError::GateReused`], [`SharingError::VectorLength`],
    /// [`SharingError::KeyholderMismatch`].
    pub fn part(
        &self,
        received: CoinPart,
        people: &[&SharedVector<u64>],
        rules: &BitRules,
        prss: &mut Prss,
        gate: u32,
    ) -> Result<[u64; BIT_CHECK_WORDS], SharingError> {
        let bits = people.first().map_or(0, |person| person.len());
        let mut sums = self.sums(received, bits, rules.clone(), prss, gate)?;
        people.iter().try_for_each(|person| sums.add(person))?;
        Ok(sums.finish())
    }

    /// As [`part`](Self::part), for people of `bits` bits who come one after the other.
    ///
    /// # Errors
    /// [`SharingError::GateReused`].
    pub fn sums(
        &self,
        received: CoinPart,
        bits: usize,
        rules: BitRules,
        prss: &mut Prss,
        gate: u32,
    ) -> Result<BitSums, SharingError> {
        let zeros = prss.zeros::<u64>(gate, BIT_CHECK_WORDS)?;
        let mut sums = [0u64; BIT_CHECK_WORDS];
        sums.iter_mut().zip(zeros.iter()).for_each(|(sum, zero)| *sum = *zero);
        let subsets = Subsets::new(&self.coin(received));
        Ok(BitSums { keyholder: self.keyholder, bits, rules, subsets, sums })
    }

    /// The coin of all three parts, in the order of the shares.
    fn coin(&self, received: CoinPart) -> Digest32 {
        let lacking = CoinPart::recipient(CoinPart::recipient(self.keyholder)).released_share();
        let mut parts = [
            (self.keyholder.released_share(), self.parts[0]),
            (self.keyholder.other_share(), self.parts[1]),
            (lacking, received),
        ];
        parts.sort_by_key(|(share, _)| *share);
        let bytes = parts.map(|(_, part)| part.to_bytes());
        sha3_256(DST_COIN, &[&bytes[0], &bytes[1], &bytes[2]])
    }
}

/// One keyholder's part of the 64 sums, while people are added.
pub struct BitSums {
    keyholder: KeyholderIndex,
    bits: usize,
    rules: BitRules,
    subsets: Subsets,
    sums: [u64; BIT_CHECK_WORDS],
}

impl BitSums {
    /// Adds the next person.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`], [`SharingError::KeyholderMismatch`].
    pub fn add(&mut self, person: &SharedVector<u64>) -> Result<(), SharingError> {
        if person.keyholder() != self.keyholder {
            return Err(SharingError::KeyholderMismatch { expected: self.keyholder, found: person.keyholder() });
        }
        if person.len() != self.bits {
            return Err(SharingError::VectorLength { expected: self.bits, got: person.len() });
        }
        let one = u64::from(self.keyholder.released_share().get() == 1);
        let BitRules { one_hot, squares } = &self.rules;
        let choices = self.subsets.next(self.bits + one_hot.len() + squares.len());
        let (of_bits, of_rules) = choices.split_at(self.bits);
        let (of_groups, of_squares) = of_rules.split_at(one_hot.len());
        let (released, other) = (person.released(), person.other());
        for ((x, y), choice) in released.iter().zip(other).zip(of_bits) {
            add_chosen(&mut self.sums, own_square(*x, *y).wrapping_sub(*x), *choice);
        }
        for (group, choice) in one_hot.iter().zip(of_groups) {
            let sum = part_of(released, group)?.iter().fold(0u64, |sum, bit| sum.wrapping_add(*bit));
            add_chosen(&mut self.sums, sum.wrapping_sub(one), *choice);
        }
        for ((number, square), choice) in squares.iter().zip(of_squares) {
            let (x, y) = (number_of(part_of(released, number)?), number_of(part_of(other, number)?));
            let square = number_of(part_of(released, square)?);
            add_chosen(&mut self.sums, own_square(x, y).wrapping_sub(square), *choice);
        }
        Ok(())
    }

    /// The masked part.
    pub fn finish(self) -> [u64; BIT_CHECK_WORDS] {
        self.sums
    }
}

fn part_of<'a>(shares: &'a [u64], range: &Range<usize>) -> Result<&'a [u64], SharingError> {
    let missing = SharingError::VectorLength { expected: range.end, got: shares.len() };
    shares.get(range.clone()).ok_or(missing)
}

/// A keyholder's terms of the square of a value of which it has the released share x and the other share y.
fn own_square(x: u64, y: u64) -> u64 {
    x.wrapping_mul(x.wrapping_add(2u64.wrapping_mul(y)))
}

/// The number of these bits, lowest first.
fn number_of(bits: &[u64]) -> u64 {
    bits.iter().rev().fold(0, |number, bit| number.wrapping_mul(2).wrapping_add(*bit))
}

/// Whether the opened sums are zero: whether all bits are valid, but for probability 2^-64.
///
/// # Errors
/// [`SharingError::InvalidBits`] when they are not.
pub fn verify_bits(parts: [&[u64; BIT_CHECK_WORDS]; 3]) -> Result<(), SharingError> {
    let [first, second, third] = parts;
    let sums = first.iter().zip(second).zip(third).map(|((x, y), z)| x.wrapping_add(*y).wrapping_add(*z));
    if sums.fold(0, |all, sum| all | sum) == 0 { Ok(()) } else { Err(SharingError::InvalidBits) }
}

/// A 64-bit word for every value under check: bit t tells whether subset t has it.
struct Subsets {
    coin: Digest32,
    person: u64,
}

impl Subsets {
    fn new(coin: &Digest32) -> Self {
        Self { coin: *coin, person: 0 }
    }

    fn next(&mut self, length: usize) -> Vec<u64> {
        let key = sha3_256(DST_COIN, &[&self.coin.0, &self.person.to_le_bytes()]);
        self.person += 1;
        words_of_key::<u64>(&key.0, length).to_vec()
    }
}

fn add_chosen(sums: &mut [u64; BIT_CHECK_WORDS], value: u64, choice: u64) {
    for (subset, sum) in sums.iter_mut().enumerate() {
        *sum = sum.wrapping_add(value & (choice >> subset & 1).wrapping_neg());
    }
}
