//! Products that one keyholder cannot falsify: authenticated shares modulo 2^128.
//!
//! Every value x comes with a tag alpha x under a key alpha that nobody knows, and every product is
//! computed for value and tag. One keyholder can add a number of its choice to either, but not so
//! that they still belong together. Before anything is opened, a random linear combination of all
//! tags is held against the same combination of the values ([[ADEN21], section 4]). Values count
//! modulo 2^64; the other 64 bits make the check sound, and may be anything in the inputs.
//!
//! [ADEN21]: https://doi.org/10.1007/978-3-030-78375-4_6

use crate::{
    error::SharingError,
    index::KeyholderIndex,
    prss::Prss,
    replicated::{ProductPart, SharedVector},
    ring::RingWord,
    values::{SharedValues, ValuesPart},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

impl SharedVector<u64> {
    /// Shares modulo 2^128 of values that are these modulo 2^64: the shares as they are. What they
    /// carry into the higher half counts nowhere.
    pub fn widened(&self) -> SharedVector<u128> {
        self.with_words(u128::from)
    }
}

impl SharedVector<u128> {
    /// The values modulo 2^64.
    pub fn to_words(&self) -> SharedVector<u64> {
        self.with_words(low_half)
    }
}

fn low_half(word: u128) -> u64 {
    u64::try_from(word & u128::from(u64::MAX)).unwrap_or(0)
}

/// The shared key alpha of one attempt.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MacKey(SharedVector<u128>);

impl MacKey {
    /// A key that no keyholder knows. Takes the random values of `gate`.
    ///
    /// # Errors
    /// [`SharingError::GateReused`].
    pub fn new(prss: &mut Prss, gate: u32) -> Result<Self, SharingError> {
        prss.random(gate, 1).map(Self)
    }

    /// The masked parts of the tags of all `inputs`, one after the other: what is to be exchanged
    /// before [`AuthenticatedVector::of_tags`]. Takes the zeros of `gate`.
    ///
    /// # Errors
    /// [`SharingError::GateReused`], [`SharingError::KeyholderMismatch`].
    pub fn tag(&self, inputs: &[SharedVector<u128>], prss: &mut Prss, gate: u32) -> Result<Vec<u128>, SharingError> {
        let keyholder = self.0.keyholder();
        if let Some(input) = inputs.iter().find(|input| input.keyholder() != keyholder) {
            return Err(SharingError::KeyholderMismatch { expected: keyholder, found: input.keyholder() });
        }
        let all = |share: fn(&SharedVector<u128>) -> &[u128]| inputs.iter().flat_map(share).copied().collect();
        let values = SharedVector::new(keyholder, all(SharedVector::released), all(SharedVector::other))?;
        let key = SharedVector::column(keyholder, std::iter::repeat_n(&self.0, values.len()), 0)?;
        let mut part = ProductPart::new(keyholder, values.len());
        part.add_product(&key, &values)?;
        part.mask(prss, gate)
    }
}

/// Shares of values and of their tags.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AuthenticatedVector {
    values: SharedVector<u128>,
    tags: SharedVector<u128>,
}

impl AuthenticatedVector {
    fn new(values: SharedVector<u128>, tags: SharedVector<u128>) -> Result<Self, SharingError> {
        if values.len() != tags.len() {
            return Err(SharingError::VectorLength { expected: values.len(), got: tags.len() });
        }
        Ok(Self { values, tags })
    }

    /// Inputs with their tags: the own parts as [`MacKey::tag`] made them, and those received.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`].
    pub fn of_tags(
        inputs: Vec<SharedVector<u128>>,
        own: &[u128],
        received: &[u128],
    ) -> Result<Vec<Self>, SharingError> {
        let expected = inputs.iter().map(SharedVector::len).sum();
        if let Some(got) = [own.len(), received.len()].into_iter().find(|got| *got != expected) {
            return Err(SharingError::VectorLength { expected, got });
        }
        let (mut own, mut received) = (own, received);
        let mut take = |values: SharedVector<u128>| {
            let (own_tags, own_rest) = own.split_at(values.len());
            let (tags, rest) = received.split_at(values.len());
            (own, received) = (own_rest, rest);
            let tags = SharedVector::of_parts(values.keyholder(), own_tags.to_vec(), tags.to_vec())?;
            Self::new(values, tags)
        };
        inputs.into_iter().map(&mut take).collect()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values modulo 2^64, for the ciphertext sums: only after [`MacCheck`] has passed.
    pub fn to_words(&self) -> SharedVector<u64> {
        self.values.to_words()
    }
}

impl SharedValues for AuthenticatedVector {
    type Word = u128;
    type Part = AuthenticatedPart;
    /// Of the value and of its tag.
    const PRODUCT_BYTES: usize = 2 * u128::BYTES;

    fn zeros(keyholder: KeyholderIndex, length: usize) -> Self {
        Self { values: SharedVector::zeros(keyholder, length), tags: SharedVector::zeros(keyholder, length) }
    }

    fn add(&mut self, values: &Self) -> Result<(), SharingError> {
        self.values.add(&values.values)?;
        self.tags.add(&values.tags)
    }

    fn scale(&mut self, factor: u64) {
        self.values.scale(u128::from(factor));
        self.tags.scale(u128::from(factor));
    }

    fn of_parts(keyholder: KeyholderIndex, own: Vec<u128>, received: Vec<u128>) -> Result<Self, SharingError> {
        if own.len() != received.len() || !own.len().is_multiple_of(2) {
            return Err(SharingError::VectorLength { expected: own.len(), got: received.len() });
        }
        let (own_values, own_tags) = own.split_at(own.len() / 2);
        let (values, tags) = received.split_at(received.len() / 2);
        let values = SharedVector::new(keyholder, own_values.to_vec(), values.to_vec())?;
        Self::new(values, SharedVector::new(keyholder, own_tags.to_vec(), tags.to_vec())?)
    }
}

/// One keyholder's part of sums of products, values and tags.
pub struct AuthenticatedPart {
    values: ProductPart<u128>,
    tags: ProductPart<u128>,
}

impl ValuesPart for AuthenticatedPart {
    type Values = AuthenticatedVector;
    type Word = u128;

    fn new(keyholder: KeyholderIndex, length: usize) -> Self {
        Self { values: ProductPart::new(keyholder, length), tags: ProductPart::new(keyholder, length) }
    }

    fn add(&mut self, values: &AuthenticatedVector) -> Result<(), SharingError> {
        self.values.add(&values.values)?;
        self.tags.add(&values.tags)
    }

    fn add_product(&mut self, left: &AuthenticatedVector, right: &AuthenticatedVector) -> Result<(), SharingError> {
        self.values.add_product(&left.values, &right.values)?;
        self.tags.add_product(&left.tags, &right.values)
    }

    /// Values, then tags.
    fn mask(self, prss: &mut Prss, gate: u32) -> Result<Vec<u128>, SharingError> {
        self.values.followed_by(self.tags)?.mask(prss, gate)
    }
}

/// What one keyholder shows to open a shared vector: to each of the others the share that it lacks.
/// Both holders send every share, so a false one is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening<W: RingWord = u128> {
    /// For [`KeyholderIndex::receives_from`]: the released share.
    pub to_next: Vec<W>,
    /// For [`KeyholderIndex::sends_to`]: the other share.
    pub to_previous: Vec<W>,
}

impl<W: RingWord> Opening<W> {
    /// What to send.
    pub fn of(vector: &SharedVector<W>) -> Self {
        Self { to_next: vector.released().to_vec(), to_previous: vector.other().to_vec() }
    }

    /// The values, from the own shares and the lacking share as both others sent it.
    ///
    /// # Errors
    /// [`SharingError::MacMismatch`] when they sent different ones.
    pub fn open(vector: &SharedVector<W>, received: [&[W]; 2]) -> Result<Vec<W>, SharingError> {
        let [first, second] = received;
        if first != second || first.len() != vector.len() {
            return Err(SharingError::MacMismatch);
        }
        let own = vector.released().iter().zip(vector.other());
        Ok(own.zip(first).map(|((x, y), z)| x.plus(*y).plus(*z)).collect())
    }
}

/// The check of everything authenticated in one attempt, in three exchanges: the combinations are
/// multiplied ([`begin`](Self::begin)), the key is opened ([`combined`](Self::combined)), and the
/// difference is opened and must be zero ([`difference`](Self::difference), [`verify`](Self::verify)).
pub struct MacCheck {
    key: SharedVector<u128>,
    own: Vec<u128>,
}

impl MacCheck {
    /// Combines all `vectors` with random weights that nobody knows; the second value is the masked
    /// part to send. Takes the random values and the zeros of `gate`.
    ///
    /// # Errors
    /// [`SharingError::GateReused`], [`SharingError::KeyholderMismatch`].
    pub fn begin(
        key: &MacKey,
        vectors: &[&AuthenticatedVector],
        prss: &mut Prss,
        gate: u32,
    ) -> Result<(Self, Vec<u128>), SharingError> {
        let keyholder = prss.keyholder();
        let total = vectors.iter().map(|vector| vector.len()).sum();
        let weights = prss.random::<u128>(gate, total)?;
        let (mut tags, mut values) = (0u128, 0u128);
        let mut start = 0;
        for vector in vectors {
            let end = start + vector.len();
            let slice = |share: &[u128]| share.get(start..end).unwrap_or_default().to_vec();
            let weight = SharedVector::new(keyholder, slice(weights.released()), slice(weights.other()))?;
            tags = tags.wrapping_add(inner_product(&weight, &vector.tags)?);
            values = values.wrapping_add(inner_product(&weight, &vector.values)?);
            start = end;
        }
        let zeros = prss.zeros::<u128>(gate, 2)?;
        let own: Vec<u128> =
            [tags, values].iter().zip(zeros.iter()).map(|(sum, zero)| sum.wrapping_add(*zero)).collect();
        Ok((Self { key: key.0.clone(), own: own.clone() }, own))
    }

    /// Takes the part received; gives the shares of both combinations, and what to send to open the
    /// key. From now on no product may be computed under this key.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`].
    pub fn combined(&self, received: Vec<u128>) -> Result<(SharedVector<u128>, Opening), SharingError> {
        let combinations = SharedVector::of_parts(self.key.keyholder(), self.own.clone(), received)?;
        Ok((combinations, Opening::of(&self.key)))
    }

    /// The shares of (tags - alpha * values), with alpha opened from what the others sent.
    ///
    /// # Errors
    /// [`SharingError::MacMismatch`] when they sent different shares of it.
    pub fn difference(
        &self,
        combinations: &SharedVector<u128>,
        received: [&[u128]; 2],
    ) -> Result<SharedVector<u128>, SharingError> {
        let key = Opening::open(&self.key, received)?.first().copied().ok_or(SharingError::MacMismatch)?;
        let keyholder = combinations.keyholder();
        let mut difference = SharedVector::column(keyholder, [combinations], 0)?;
        let mut values = SharedVector::column(keyholder, [combinations], 1)?;
        values.scale(key);
        difference.subtract(&values)?;
        Ok(difference)
    }

    /// Whether the opened difference is zero: whether every product was computed rightly, but for
    /// probability 2^-57.
    ///
    /// # Errors
    /// [`SharingError::MacMismatch`]: the attempt is to be abandoned, nothing may be opened.
    pub fn verify(difference: &SharedVector<u128>, received: [&[u128]; 2]) -> Result<(), SharingError> {
        if Opening::open(difference, received)? == [0] { Ok(()) } else { Err(SharingError::MacMismatch) }
    }
}

/// This keyholder's terms of the inner product of two shared vectors.
fn inner_product(left: &SharedVector<u128>, right: &SharedVector<u128>) -> Result<u128, SharingError> {
    if left.len() != right.len() {
        return Err(SharingError::VectorLength { expected: left.len(), got: right.len() });
    }
    let lefts = left.released().iter().zip(left.other());
    let rights = right.released().iter().zip(right.other());
    Ok(lefts.zip(rights).fold(0, |sum: u128, ((x, x_other), (y, y_other))| {
        let terms = x.wrapping_mul(y.wrapping_add(*y_other)).wrapping_add(x_other.wrapping_mul(*y));
        sum.wrapping_add(terms)
    }))
}
