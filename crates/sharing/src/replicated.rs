//! Replicated sharing among three keyholders, and products of shared values: local steps only.
//!
//! A value is the sum of three shares; every keyholder lacks one. Sums and products with public
//! numbers are local. A product x y is the sum of nine terms x_A y_B, of which every keyholder can
//! compute three; masked with zeros and passed on, its part becomes a share of the product
//! ([[AFLNO16], section 2.2]).
//!
//! Secure against one keyholder that follows the protocol, whatever it makes of what it sees. One
//! that does not can change a product by a number of its choice; see the clauses on authenticated
//! shares.
//!
//! [AFLNO16]: https://doi.org/10.1145/2976749.2978331

use crate::{
    error::SharingError,
    index::{KeyholderIndex, ShareIndex},
    prss::Prss,
    ring::RingWord,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What one keyholder has of a vector of shared values: two of the three shares.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SharedVector<W: RingWord> {
    #[zeroize(skip)]
    keyholder: KeyholderIndex,
    released: Vec<W>,
    other: Vec<W>,
}

impl<W: RingWord> SharedVector<W> {
    /// The vector whose shares, those of `keyholder`, are given: its released share first.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`] when they have different lengths.
    pub fn new(keyholder: KeyholderIndex, released: Vec<W>, other: Vec<W>) -> Result<Self, SharingError> {
        check_length(released.len(), other.len())?;
        Ok(Self { keyholder, released, other })
    }

    /// `length` zeros.
    pub fn zeros(keyholder: KeyholderIndex, length: usize) -> Self {
        Self { keyholder, released: vec![W::default(); length], other: vec![W::default(); length] }
    }

    /// The value at one place of many vectors, as one vector: a column of people's attributes.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`] when a vector is too short, and
    /// [`SharingError::KeyholderMismatch`].
    pub fn column<'a>(
        keyholder: KeyholderIndex,
        rows: impl IntoIterator<Item = &'a Self>,
        place: usize,
    ) -> Result<Self, SharingError> {
        let mut column = Self::zeros(keyholder, 0);
        for row in rows {
            if row.keyholder != keyholder {
                return Err(SharingError::KeyholderMismatch { expected: keyholder, found: row.keyholder });
            }
            let missing = SharingError::VectorLength { expected: place + 1, got: row.len() };
            column.released.push(*row.released.get(place).ok_or(missing)?);
            column.other.push(*row.other.get(place).ok_or(missing)?);
        }
        Ok(column)
    }

    /// The sum of all values, as a vector of one.
    pub fn total(&self) -> Self {
        let sum = |values: &[W]| vec![values.iter().fold(W::default(), |sum, value| sum.plus(*value))];
        Self { keyholder: self.keyholder, released: sum(&self.released), other: sum(&self.other) }
    }

    /// Whose shares these are.
    pub fn keyholder(&self) -> KeyholderIndex {
        self.keyholder
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.released.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.released.is_empty()
    }

    /// The share that this keyholder releases. The released shares of the three keyholders add up
    /// to the values.
    pub fn released(&self) -> &[W] {
        &self.released
    }

    /// The other share it holds.
    pub fn other(&self) -> &[W] {
        &self.other
    }

    /// Adds another vector.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`], [`SharingError::KeyholderMismatch`].
    pub fn add(&mut self, vector: &Self) -> Result<(), SharingError> {
        self.combine(vector, W::plus)
    }

    /// Takes another vector off.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`], [`SharingError::KeyholderMismatch`].
    pub fn subtract(&mut self, vector: &Self) -> Result<(), SharingError> {
        self.combine(vector, W::minus)
    }

    /// Multiplies every value by a public number.
    pub fn scale(&mut self, factor: W) {
        for value in self.released.iter_mut().chain(&mut self.other) {
            *value = value.times(factor);
        }
    }

    /// Adds a public number to every value: to share 1, by whoever holds it.
    pub fn add_public(&mut self, number: W) {
        let first = ShareIndex::ALL[0];
        let shares =
            [(self.keyholder.released_share(), &mut self.released), (self.keyholder.other_share(), &mut self.other)];
        for (_, values) in shares.into_iter().filter(|(share, _)| *share == first) {
            values.iter_mut().for_each(|value| *value = value.plus(number));
        }
    }

    /// 1 - value for every value: NOT, for bits.
    pub fn complement(&mut self) {
        self.scale(W::default().minus(W::from_u64(1)));
        self.add_public(W::from_u64(1));
    }

    /// The same shares in another ring.
    pub(crate) fn with_words<V: RingWord>(&self, convert: fn(W) -> V) -> SharedVector<V> {
        let converted = |share: &[W]| share.iter().map(|word| convert(*word)).collect();
        SharedVector { keyholder: self.keyholder, released: converted(&self.released), other: converted(&self.other) }
    }

    fn combine(&mut self, vector: &Self, operation: fn(W, W) -> W) -> Result<(), SharingError> {
        self.check_fits(vector)?;
        let pairs = self.released.iter_mut().zip(&vector.released).chain(self.other.iter_mut().zip(&vector.other));
        pairs.for_each(|(value, term)| *value = operation(*value, *term));
        Ok(())
    }

    fn check_fits(&self, vector: &Self) -> Result<(), SharingError> {
        if vector.keyholder != self.keyholder {
            return Err(SharingError::KeyholderMismatch { expected: self.keyholder, found: vector.keyholder });
        }
        check_length(self.len(), vector.len())
    }
}

/// One keyholder's part of a vector of sums of products, before it is masked: whoever has all three
/// parts has the values.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ProductPart<W: RingWord> {
    #[zeroize(skip)]
    keyholder: KeyholderIndex,
    values: Vec<W>,
}

impl<W: RingWord> ProductPart<W> {
    /// A part of `length` empty sums.
    pub fn new(keyholder: KeyholderIndex, length: usize) -> Self {
        Self { keyholder, values: vec![W::default(); length] }
    }

    /// Adds the products of two vectors, place by place.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`], [`SharingError::KeyholderMismatch`].
    pub fn add_product(&mut self, left: &SharedVector<W>, right: &SharedVector<W>) -> Result<(), SharingError> {
        left.check_fits(right)?;
        self.check(left)?;
        let lefts = left.released.iter().zip(&left.other);
        let rights = right.released.iter().zip(&right.other);
        for ((value, (x, x_other)), (y, y_other)) in self.values.iter_mut().zip(lefts).zip(rights) {
            let terms = x.times(y.plus(*y_other)).plus(x_other.times(*y));
            *value = value.plus(terms);
        }
        Ok(())
    }

    /// Adds a vector as it is.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`], [`SharingError::KeyholderMismatch`].
    pub fn add(&mut self, vector: &SharedVector<W>) -> Result<(), SharingError> {
        self.check(vector)?;
        for (value, term) in self.values.iter_mut().zip(&vector.released) {
            *value = value.plus(*term);
        }
        Ok(())
    }

    /// Both parts as one, to be masked together.
    pub(crate) fn followed_by(mut self, mut next: Self) -> Result<Self, SharingError> {
        if next.keyholder != self.keyholder {
            return Err(SharingError::KeyholderMismatch { expected: self.keyholder, found: next.keyholder });
        }
        self.values.append(&mut next.values);
        Ok(self)
    }

    /// Masks the part: what may be sent to [`KeyholderIndex::sends_to`].
    ///
    /// # Errors
    /// [`SharingError::GateReused`], [`SharingError::KeyholderMismatch`].
    pub fn mask(mut self, prss: &mut Prss, gate: u32) -> Result<Vec<W>, SharingError> {
        if prss.keyholder() != self.keyholder {
            return Err(SharingError::KeyholderMismatch { expected: self.keyholder, found: prss.keyholder() });
        }
        let zeros = prss.zeros::<W>(gate, self.values.len())?;
        let mut masked = std::mem::take(&mut self.values);
        masked.iter_mut().zip(zeros.iter()).for_each(|(value, zero)| *value = value.plus(*zero));
        Ok(masked)
    }

    fn check(&self, vector: &SharedVector<W>) -> Result<(), SharingError> {
        if vector.keyholder != self.keyholder {
            return Err(SharingError::KeyholderMismatch { expected: self.keyholder, found: vector.keyholder });
        }
        check_length(self.values.len(), vector.len())
    }
}

impl<W: RingWord> SharedVector<W> {
    /// The shares of products: this keyholder's masked part, and the one received from
    /// [`KeyholderIndex::receives_from`].
    ///
    /// # Errors
    /// [`SharingError::VectorLength`].
    pub fn of_parts(keyholder: KeyholderIndex, own: Vec<W>, received: Vec<W>) -> Result<Self, SharingError> {
        Self::new(keyholder, own, received)
    }
}

/// One keyholder's part of the sum of a shared vector, with noise of its own, masked: the three
/// parts add up to the noisy sum and say nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SumPart(pub u64);

impl SumPart {
    /// The part of `vector`'s sum, with `noise` added.
    ///
    /// # Errors
    /// [`SharingError::GateReused`].
    pub fn new(vector: &SharedVector<u64>, noise: i64, prss: &mut Prss, gate: u32) -> Result<Self, SharingError> {
        let zero = prss.zeros::<u64>(gate, 1)?;
        let sum = vector.released.iter().fold(zero.first().copied().unwrap_or(0), |sum, value| sum.plus(*value));
        Ok(Self(sum.wrapping_add(noise.cast_unsigned())))
    }
}

/// The noisy sum of three parts.
pub fn open_sum(parts: [SumPart; 3]) -> i64 {
    parts.iter().fold(0u64, |sum, part| sum.wrapping_add(part.0)).cast_signed()
}

fn check_length(expected: usize, got: usize) -> Result<(), SharingError> {
    if expected == got { Ok(()) } else { Err(SharingError::VectorLength { expected, got }) }
}
