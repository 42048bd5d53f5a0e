//! Shared values that keyholders compute with, whether they carry tags or not.

use crate::{
    error::SharingError,
    index::KeyholderIndex,
    prss::Prss,
    replicated::{ProductPart, SharedVector},
    ring::RingWord,
};

/// What one keyholder has of a vector of shared values: plain ([`SharedVector`]) or authenticated
/// ([`AuthenticatedVector`](crate::AuthenticatedVector)).
pub trait SharedValues: Clone {
    /// What messages are made of.
    type Word: RingWord;
    /// A keyholder's part of sums of products.
    type Part: ValuesPart<Values = Self, Word = Self::Word>;
    /// Bytes that one keyholder sends for one product.
    const PRODUCT_BYTES: usize;

    /// `length` zeros.
    fn zeros(keyholder: KeyholderIndex, length: usize) -> Self;

    /// Adds other values, place by place.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`], [`SharingError::KeyholderMismatch`].
    fn add(&mut self, values: &Self) -> Result<(), SharingError>;

    /// Multiplies every value by a public number.
    fn scale(&mut self, factor: u64);

    /// The shares of products: this keyholder's masked part, and the one received from
    /// [`KeyholderIndex::receives_from`].
    ///
    /// # Errors
    /// [`SharingError::VectorLength`].
    fn of_parts(
        keyholder: KeyholderIndex,
        own: Vec<Self::Word>,
        received: Vec<Self::Word>,
    ) -> Result<Self, SharingError>;
}

/// One keyholder's part of a vector of sums of products, before it is masked.
pub trait ValuesPart {
    /// The factors.
    type Values;
    /// What messages are made of.
    type Word;

    /// A part of `length` empty sums.
    fn new(keyholder: KeyholderIndex, length: usize) -> Self;

    /// Adds values as they are.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`], [`SharingError::KeyholderMismatch`].
    fn add(&mut self, values: &Self::Values) -> Result<(), SharingError>;

    /// Adds products, place by place.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`], [`SharingError::KeyholderMismatch`].
    fn add_product(&mut self, left: &Self::Values, right: &Self::Values) -> Result<(), SharingError>;

    /// The masked part: what may be sent to [`KeyholderIndex::sends_to`]. Takes the zeros of `gate`.
    ///
    /// # Errors
    /// [`SharingError::GateReused`], [`SharingError::KeyholderMismatch`].
    fn mask(self, prss: &mut Prss, gate: u32) -> Result<Vec<Self::Word>, SharingError>;
}

impl<W: RingWord> SharedValues for SharedVector<W> {
    type Word = W;
    type Part = ProductPart<W>;
    const PRODUCT_BYTES: usize = W::BYTES;

    fn zeros(keyholder: KeyholderIndex, length: usize) -> Self {
        Self::zeros(keyholder, length)
    }

    fn add(&mut self, values: &Self) -> Result<(), SharingError> {
        Self::add(self, values)
    }

    fn scale(&mut self, factor: u64) {
        Self::scale(self, W::from_u64(factor));
    }

    fn of_parts(keyholder: KeyholderIndex, own: Vec<W>, received: Vec<W>) -> Result<Self, SharingError> {
        Self::of_parts(keyholder, own, received)
    }
}

impl<W: RingWord> ValuesPart for ProductPart<W> {
    type Values = SharedVector<W>;
    type Word = W;

    fn new(keyholder: KeyholderIndex, length: usize) -> Self {
        Self::new(keyholder, length)
    }

    fn add(&mut self, values: &SharedVector<W>) -> Result<(), SharingError> {
        Self::add(self, values)
    }

    fn add_product(&mut self, left: &SharedVector<W>, right: &SharedVector<W>) -> Result<(), SharingError> {
        Self::add_product(self, left, right)
    }

    fn mask(self, prss: &mut Prss, gate: u32) -> Result<Vec<W>, SharingError> {
        Self::mask(self, prss, gate)
    }
}
