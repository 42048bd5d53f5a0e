//! A contributor's attribute bits as shares, bound to the dataset.

use crate::{
    domain::{
        DST_ATTRIBUTE_BLINDING, DST_ATTRIBUTE_COMMITMENTS, DST_ATTRIBUTE_PACKAGE, DST_ATTRIBUTE_SHARE,
        DST_ATTRIBUTE_SHARE_DIGEST, DST_ATTRIBUTE_SHARE_DIGESTS, DST_ATTRIBUTES,
    },
    error::SharingError,
    index::{KeyholderIndex, ShareIndex},
    prss::words_of_key,
    replicated::SharedVector,
    seal::{SealBinding, SealedBox, SealingPrivateKey, SealingPublicKey, open, seal},
    seed::{KeySeed, MasterSecret, SeedShares},
    seed_package::{REGISTRATION_DATASETS_MAX, SEED_PACKAGE_DATASETS_MAX},
};
use locus_commitment::{DatasetContext, Digest32, NetworkId, Sha3Writer, sha3_256};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Most attribute bits of a dataset.
pub const ATTRIBUTE_BITS_MAX: usize = 4096;
/// Bytes of one shared bit.
const WORD_BYTES: usize = 8;
/// The share that is sent; the others expand from the dataset's root seeds.
const SENT_SHARE: usize = 2;

/// Commitment to the attribute bits of one dataset version, blinded by 256 bits. Shares 1 and 2
/// derive from it, so other bits have other shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeCommitment(pub Digest32);

/// Digest of the commitments of all datasets of a registration, by ordinal: what a registrant signs.
pub struct AttributeCommitmentsDigest(Sha3Writer);

impl AttributeCommitmentsDigest {
    /// The digest of `count` commitments, which are to follow.
    pub fn begin(count: u32) -> Self {
        let mut writer = Sha3Writer::new(DST_ATTRIBUTE_COMMITMENTS);
        writer.part(&count.to_le_bytes());
        Self(writer)
    }

    /// Takes in the commitment of the next dataset.
    pub fn add(&mut self, commitment: AttributeCommitment) {
        self.0.part(&commitment.0.0);
    }

    /// The digest.
    pub fn finish(self) -> Digest32 {
        self.0.finish()
    }
}

/// Digest of many datasets' shares with one number, by ordinal: what the two holders of that share
/// compare.
pub struct AttributeShareDigests(Sha3Writer);

impl AttributeShareDigests {
    /// The digest of what is to follow.
    pub fn begin() -> Self {
        Self(Sha3Writer::new(DST_ATTRIBUTE_SHARE_DIGESTS))
    }

    /// Takes in the [`attribute_share_digest`] of the dataset with this ordinal.
    pub fn add(&mut self, ordinal: u32, digest: &Digest32) {
        self.0.part(&ordinal.to_le_bytes()).part(&digest.0);
    }

    /// The digest.
    pub fn finish(self) -> Digest32 {
        self.0.finish()
    }
}

/// The shares of one dataset's attribute bits modulo 2^64: shares 1 and 2 expand from the root seeds
/// that the keyholders have, share 3 is what is missing to the bits.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AttributeShares {
    #[zeroize(skip)]
    commitment: AttributeCommitment,
    shares: [Vec<u64>; 3],
}

impl AttributeShares {
    /// Shares `bits`, each 0 or 1, in the layout of the schema with digest `schema`.
    ///
    /// # Errors
    /// [`SharingError::NotABit`], [`SharingError::TooManyBits`].
    pub fn new(
        master: &MasterSecret,
        context: &DatasetContext,
        seeds: &SeedShares,
        schema: &Digest32,
        bits: &[u64],
    ) -> Result<Self, SharingError> {
        if bits.len() > ATTRIBUTE_BITS_MAX {
            return Err(SharingError::TooManyBits { max: ATTRIBUTE_BITS_MAX, got: bits.len() });
        }
        if let Some(place) = bits.iter().position(|bit| *bit > 1) {
            return Err(SharingError::NotABit { place });
        }
        let packed = pack(bits);
        let context_bytes = context.to_bytes();
        let parts: [&[u8]; 4] = [master.as_bytes(), &context_bytes, &schema.0, &packed];
        let blinding = Zeroizing::new(sha3_256(DST_ATTRIBUTE_BLINDING, &parts).0);
        let count = count_bytes(bits.len());
        let parts: [&[u8]; 5] = [&context_bytes, &schema.0, &blinding[..], &count, &packed];
        let commitment = AttributeCommitment(sha3_256(DST_ATTRIBUTES, &parts));
        let expand = |share: ShareIndex| expand_share(seeds.of(share), context, share, commitment, bits.len());
        let [first, second, _] = ShareIndex::ALL;
        let (mut first, mut second) = (expand(first), expand(second));
        let third = bits.iter().zip(first.iter().zip(second.iter()));
        let third = third.map(|(bit, (x, y))| bit.wrapping_sub(*x).wrapping_sub(*y)).collect();
        let shares = [std::mem::take(&mut *first), std::mem::take(&mut *second), third];
        Ok(Self { commitment, shares })
    }

    /// The commitment to the bits.
    pub fn commitment(&self) -> AttributeCommitment {
        self.commitment
    }

    /// What `keyholder` is sent for this dataset.
    pub fn entry_for(&self, keyholder: KeyholderIndex) -> AttributeEntry {
        let is_sent = keyholder.holds(ShareIndex::ALL[SENT_SHARE]);
        AttributeEntry {
            commitment: self.commitment,
            sent: if is_sent { self.shares[SENT_SHARE].clone() } else { Vec::new() },
        }
    }
}

/// What a keyholder is sent for one dataset: the commitment and, unless it lacks that share, share 3.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AttributeEntry {
    #[zeroize(skip)]
    commitment: AttributeCommitment,
    sent: Vec<u64>,
}

impl AttributeEntry {
    /// The entry with these parts, as they were kept: `sent` is share 3, or nothing for the keyholder
    /// that lacks it.
    pub fn of_parts(commitment: AttributeCommitment, sent: Vec<u64>) -> Self {
        Self { commitment, sent }
    }

    /// Share 3, or nothing for the keyholder that lacks it: what has to be kept beside the commitment.
    pub fn sent(&self) -> &[u64] {
        &self.sent
    }

    /// The commitment.
    pub fn commitment(&self) -> AttributeCommitment {
        self.commitment
    }

    /// The entry after shares 1 and 2 changed by these words (see [`attribute_share_change`]): for a keyholder that has share 3 the
    /// share that all bits then need.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`] for another number of words.
    pub fn rekeyed(&self, changes: [&[u64]; 2]) -> Result<Self, SharingError> {
        let mut sent = self.sent.clone();
        for change in changes {
            let (expected, got) = (sent.len(), change.len());
            if expected != 0 && expected != got {
                return Err(SharingError::VectorLength { expected, got });
            }
            sent.iter_mut().zip(change).for_each(|(word, change)| *word = word.wrapping_add(*change));
        }
        Ok(Self { commitment: self.commitment, sent })
    }

    /// The keyholder's shares of the dataset's `bit_count` bits, from its two root seeds.
    ///
    /// # Errors
    /// [`SharingError::NotAHolder`] for other seeds, [`SharingError::VectorLength`] when the entry is
    /// for another number of bits.
    pub fn shares(
        &self,
        keyholder: KeyholderIndex,
        context: &DatasetContext,
        seeds: [(ShareIndex, &KeySeed); 2],
        bit_count: usize,
    ) -> Result<SharedVector<u64>, SharingError> {
        let share = |wanted: ShareIndex| -> Result<Vec<u64>, SharingError> {
            if wanted == ShareIndex::ALL[SENT_SHARE] {
                let got = self.sent.len();
                let fits = got == bit_count;
                return if fits {
                    Ok(self.sent.clone())
                } else {
                    Err(SharingError::VectorLength { expected: bit_count, got })
                };
            }
            let seed = seeds.iter().find(|(share, _)| *share == wanted);
            let (_, seed) = seed.ok_or(SharingError::NotAHolder { keyholder, share: wanted })?;
            let mut words = expand_share(seed, context, wanted, self.commitment, bit_count);
            Ok(std::mem::take(&mut *words))
        };
        SharedVector::new(keyholder, share(keyholder.released_share())?, share(keyholder.other_share())?)
    }
}

/// What `share`, 1 or 2, of a dataset's attribute bits loses when its root seed and the version of its keys change: old minus new
/// words. Share 3 must gain it. The new words hide the old ones from whoever has neither root seed.
///
/// Each of `old` and `new` is the root seed and the context that it is bound to.
pub fn attribute_share_change(
    share: ShareIndex,
    old: (&KeySeed, &DatasetContext),
    new: (&KeySeed, &DatasetContext),
    commitment: AttributeCommitment,
    bit_count: usize,
) -> Zeroizing<Vec<u64>> {
    let mut change = expand_share(old.0, old.1, share, commitment, bit_count);
    let after = expand_share(new.0, new.1, share, commitment, bit_count);
    change.iter_mut().zip(after.iter()).for_each(|(word, after)| *word = word.wrapping_sub(*after));
    change
}

/// What the two holders of a share compare before a dataset's attributes can be asked about.
pub fn attribute_share_digest(
    context: &DatasetContext,
    commitment: AttributeCommitment,
    share: ShareIndex,
    words: &[u64],
) -> Digest32 {
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(words.iter().flat_map(|word| word.to_le_bytes()).collect());
    sha3_256(DST_ATTRIBUTE_SHARE_DIGEST, &[&context.to_bytes(), &commitment.0.0, &[share.get()], &bytes])
}

/// Which attributes an [`AttributePackage`] carries. It is the associated data of the sealed message, so
/// a package cannot be replayed under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributePackageHeader {
    /// The market.
    pub network: NetworkId,
    /// Number of the registration.
    pub registration: u64,
    /// The keyholder that can open the package.
    pub keyholder: KeyholderIndex,
    /// Ordinal of the first dataset of the package within the registration.
    pub first_ordinal: u32,
    /// Datasets in the package.
    pub count: u32,
    /// Digest of the attribute schema.
    pub schema: Digest32,
    /// Bits of a dataset.
    pub bit_count: u32,
}

impl AttributePackageHeader {
    /// The associated data: chain id (8), registry (20), registration (8), keyholder (1), first ordinal
    /// (4), count (4), schema digest (32), bits (4).
    fn to_bytes(self) -> Vec<u8> {
        let parts: [&[u8]; 8] = [
            &self.network.chain_id.to_le_bytes(),
            &self.network.registry.0,
            &self.registration.to_le_bytes(),
            &[self.keyholder.get()],
            &self.first_ordinal.to_le_bytes(),
            &self.count.to_le_bytes(),
            &self.schema.0,
            &self.bit_count.to_le_bytes(),
        ];
        parts.concat()
    }

    /// Checks ranges; gives bits and bytes of an entry.
    fn check(&self) -> Result<(usize, usize), SharingError> {
        let range_error = SharingError::PackageRange { first: self.first_ordinal, count: self.count };
        let end = self.first_ordinal.checked_add(self.count).ok_or(range_error)?;
        if !(1..=SEED_PACKAGE_DATASETS_MAX).contains(&self.count) || end > REGISTRATION_DATASETS_MAX {
            return Err(range_error);
        }
        let bits = usize::try_from(self.bit_count).unwrap_or(usize::MAX);
        if bits > ATTRIBUTE_BITS_MAX {
            return Err(SharingError::TooManyBits { max: ATTRIBUTE_BITS_MAX, got: bits });
        }
        let is_sent = self.keyholder.holds(ShareIndex::ALL[SENT_SHARE]);
        Ok((bits, 32 + if is_sent { bits * WORD_BYTES } else { 0 }))
    }
}

/// Attribute entries of several datasets for one keyholder, in ordinal order.
pub struct AttributePackage {
    header: AttributePackageHeader,
    entries: Vec<AttributeEntry>,
}

impl AttributePackage {
    /// The package of these entries.
    ///
    /// # Errors
    /// [`SharingError::PackageCount`] and [`SharingError::VectorLength`] when they do not fit the
    /// header, and what the header breaks.
    pub fn try_new(header: AttributePackageHeader, entries: Vec<AttributeEntry>) -> Result<Self, SharingError> {
        let (bits, entry_bytes) = header.check()?;
        if u32::try_from(entries.len()) != Ok(header.count) {
            return Err(SharingError::PackageCount { expected: header.count, got: entries.len() });
        }
        let expected = if entry_bytes == 32 { 0 } else { bits };
        match entries.iter().find(|entry| entry.sent.len() != expected) {
            Some(entry) => Err(SharingError::VectorLength { expected, got: entry.sent.len() }),
            None => Ok(Self { header, entries }),
        }
    }

    /// The header.
    pub fn header(&self) -> &AttributePackageHeader {
        &self.header
    }

    /// The entries, by ordinal.
    pub fn entries(&self) -> &[AttributeEntry] {
        &self.entries
    }

    /// Seals the package to the keyholder's key. Split registrations so that a message stays below
    /// the limit of sealed messages.
    ///
    /// # Errors
    /// [`SharingError::SealedLength`] and [`SharingError::Seal`].
    pub fn seal(&self, recipient: &SealingPublicKey, rng: &mut impl CryptoRng) -> Result<SealedBox, SharingError> {
        let mut payload = Zeroizing::new(Vec::new());
        for entry in &self.entries {
            payload.extend(entry.commitment.0.0);
            payload.extend(entry.sent.iter().flat_map(|word| word.to_le_bytes()));
        }
        let associated_data = self.header.to_bytes();
        seal(recipient, binding(&associated_data), &payload, rng)
    }

    /// Opens a package sealed for this header.
    ///
    /// # Errors
    /// [`SharingError::Open`], [`SharingError::PayloadLength`], and what the header breaks.
    pub fn open(
        header: AttributePackageHeader,
        private_key: &SealingPrivateKey,
        sealed: &SealedBox,
    ) -> Result<Self, SharingError> {
        let (_, entry_bytes) = header.check()?;
        let associated_data = header.to_bytes();
        let payload = open(private_key, binding(&associated_data), sealed)?;
        let count = usize::try_from(header.count).unwrap_or(usize::MAX);
        let expected = count.saturating_mul(entry_bytes);
        if payload.len() != expected {
            return Err(SharingError::PayloadLength { expected, got: payload.len() });
        }
        let entries = payload.chunks_exact(entry_bytes).map(|entry| {
            let (commitment, words) = entry.split_at(32);
            let mut digest = [0; 32];
            digest.copy_from_slice(commitment);
            let sent = words.as_chunks::<WORD_BYTES>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
            AttributeEntry { commitment: AttributeCommitment(Digest32(digest)), sent }
        });
        Ok(Self { header, entries: entries.collect() })
    }
}

fn binding(associated_data: &[u8]) -> SealBinding<'_> {
    SealBinding { info: DST_ATTRIBUTE_PACKAGE.as_bytes(), associated_data }
}

/// Share 1 or 2: the AES-256-CTR keystream under a key that binds seed, dataset, share and bits.
fn expand_share(
    seed: &KeySeed,
    context: &DatasetContext,
    share: ShareIndex,
    commitment: AttributeCommitment,
    length: usize,
) -> Zeroizing<Vec<u64>> {
    let parts: [&[u8]; 4] = [&context.to_bytes(), &[share.get()], seed.as_bytes(), &commitment.0.0];
    let key = Zeroizing::new(sha3_256(DST_ATTRIBUTE_SHARE, &parts).0);
    words_of_key(&key, length)
}

fn pack(bits: &[u64]) -> Zeroizing<Vec<u8>> {
    let byte = |chunk: &[u64]| chunk.iter().rev().fold(0u8, |byte, bit| byte << 1 | u8::from(*bit == 1));
    Zeroizing::new(bits.chunks(8).map(byte).collect())
}

fn count_bytes(count: usize) -> [u8; 8] {
    u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes()
}
