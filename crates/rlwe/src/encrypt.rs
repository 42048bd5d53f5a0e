//! Encryption of a dataset, panel block by panel block.

use crate::{
    body::Body,
    constants::{CHECK_SLOT_COUNT, ENCRYPTION_NOISE_MIN, HET_SHIFT, HOM_ALT_SHIFT, MISSING_SHIFT, RING_DIMENSION},
    domain::DST_ENCRYPTION_NOISE,
    error::RlweError,
    mask::Mask,
    secret::{BlockKeys, SecretBits, SecretKey, keystream},
};
use ctr::cipher::StreamCipher;
use locus_commitment::{DatasetContext, sha3_256};
use locus_genomics::{PackedGenotypes, PanelBlockIndex, Plane, VARIANTS_PER_PANEL_BLOCK};
use locus_sharing::{DatasetSecrets, EncryptionNoiseSeed, GenotypeDigest, MasterSecret, ShareIndex};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Packed bytes of one panel block's genotypes, four to a byte.
const PACKED_BLOCK_BYTES: usize = VARIANTS_PER_PANEL_BLOCK as usize / 4;
/// Bytes of the keystream of one body's encryption noise: a nibble per slot.
const NOISE_BYTES: usize = RING_DIMENSION / 2;

// A panel block starts on a byte of the packed genotypes, and fills the slots behind the check slots.
const _: () = assert!(VARIANTS_PER_PANEL_BLOCK.is_multiple_of(4));
const _: () = assert!(CHECK_SLOT_COUNT + 4 * PACKED_BLOCK_BYTES == RING_DIMENSION);

/// What a genotype adds to its slot, by two-bit code (hom_ref, het, hom_alt, missing).
const CALLS_FLAGS: [u64; 4] = [0, 1 << HET_SHIFT, 1 << HOM_ALT_SHIFT, 0];
/// The same on the missing plane.
const MISSING_FLAGS: [u64; 4] = [0, 0, 0, 1 << MISSING_SHIFT];

/// Keys and encryption noise of one version of one dataset, for callers that hold the genotypes of
/// many datasets one panel block at a time. They derive from the client's master secret, the context
/// and the digest of *all* genotypes of the dataset, so encrypting again gives the same bodies.
pub struct DatasetKeys {
    secrets: DatasetSecrets,
    keys: [BlockKeys; 3],
}

impl DatasetKeys {
    /// Derives the keys of the dataset version `context` whose packed genotypes have this digest.
    ///
    /// The digest must be that of the genotypes that are then encrypted, or a key could serve two
    /// plaintexts; [`DatasetEncryptor`] leaves no room for that mistake.
    pub fn derive(master: &MasterSecret, context: &DatasetContext, digest: &GenotypeDigest) -> Self {
        let secrets = DatasetSecrets::derive(master, context, digest);
        let keys = ShareIndex::ALL.map(|share| BlockKeys::new(context, share, secrets.seeds.of(share)));
        Self { secrets, keys }
    }

    /// The secrets of the dataset: what is committed to and sealed to the keyholders.
    pub fn secrets(&self) -> &DatasetSecrets {
        &self.secrets
    }

    /// The body of one panel block and plane: b = a * s + e + flags. `packed_block` has the block's
    /// genotypes, four to a byte; variants past its end are homozygous reference.
    ///
    /// Noise: e is uniform on [-8, 7] in every slot, and the body carries nothing else below its
    /// flags. Slots past the end of the panel, and the check slots, carry no flag.
    ///
    /// # Errors
    /// [`RlweError::BlockLength`] for more genotypes than a panel block has.
    pub fn encrypt(
        &self,
        mask: &Mask,
        block: PanelBlockIndex,
        plane: Plane,
        packed_block: &[u8],
    ) -> Result<Body, RlweError> {
        if packed_block.len() > PACKED_BLOCK_BYTES {
            return Err(RlweError::BlockLength { got: packed_block.len(), max: PACKED_BLOCK_BYTES });
        }
        let shares = self.share_bits(block, plane);
        let key = SecretKey::new(shares.each_ref());
        let mut coefficients = mask.multiply_key(key.coefficients());
        self.noise(block, plane).add_to(&mut coefficients);
        let flags = match plane {
            Plane::Calls => &CALLS_FLAGS,
            Plane::Missing => &MISSING_FLAGS,
        };
        let variant_slots = coefficients[CHECK_SLOT_COUNT..].as_chunks_mut::<4>().0;
        for (slots, byte) in variant_slots.iter_mut().zip(packed_block) {
            for (place, slot) in slots.iter_mut().enumerate() {
                let code = usize::from((byte >> (2 * place)) & 3);
                *slot = slot.wrapping_add(flags[code]);
            }
        }
        Ok(Body::new(coefficients))
    }

    /// The bits of key shares 1, 2 and 3 of one body: a witness of encryption proofs.
    pub fn share_bits(&self, block: PanelBlockIndex, plane: Plane) -> [SecretBits; 3] {
        self.keys.each_ref().map(|keys| keys.expand(block, plane))
    }

    /// The encryption noise of one body: a witness of encryption proofs.
    pub fn noise(&self, block: PanelBlockIndex, plane: Plane) -> EncryptionNoise {
        EncryptionNoise::expand(&self.secrets.encryption_noise_seed, block, plane)
    }
}

/// Encrypts one version of one dataset whose genotypes are all at hand; no key ever serves two
/// plaintexts.
pub struct DatasetEncryptor<'a> {
    genotypes: &'a PackedGenotypes,
    keys: DatasetKeys,
}

impl<'a> DatasetEncryptor<'a> {
    /// Prepares the encryption of `genotypes`, all those of the panel in panel order, as the
    /// dataset version `context`.
    pub fn new(master: &MasterSecret, context: &DatasetContext, genotypes: &'a PackedGenotypes) -> Self {
        let digest = GenotypeDigest::of_packed(genotypes.as_bytes());
        Self { genotypes, keys: DatasetKeys::derive(master, context, &digest) }
    }

    /// The secrets of the dataset: what is committed to and sealed to the keyholders.
    pub fn secrets(&self) -> &DatasetSecrets {
        self.keys.secrets()
    }

    /// Panel blocks of the dataset.
    pub fn block_count(&self) -> usize {
        self.genotypes.as_bytes().len().div_ceil(PACKED_BLOCK_BYTES)
    }

    /// The body of one panel block and plane; see [`DatasetKeys::encrypt`].
    ///
    /// # Errors
    /// [`RlweError::BlockOutOfRange`] when the panel has no such block.
    pub fn encrypt(&self, mask: &Mask, block: PanelBlockIndex, plane: Plane) -> Result<Body, RlweError> {
        self.keys.encrypt(mask, block, plane, self.packed_block(block)?)
    }

    fn packed_block(&self, block: PanelBlockIndex) -> Result<&[u8], RlweError> {
        let out_of_range = RlweError::BlockOutOfRange { block: block.0, blocks: self.block_count() };
        let index = usize::try_from(block.0).map_err(|_| out_of_range.clone())?;
        self.genotypes.as_bytes().chunks(PACKED_BLOCK_BYTES).nth(index).ok_or(out_of_range)
    }
}

/// The encryption noise e of one body: 4096 values uniform on [-8, 7], a nibble each, the low
/// nibble of a byte first.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EncryptionNoise([u8; NOISE_BYTES]);

impl EncryptionNoise {
    /// Expands the noise of one body from its dataset's seed.
    pub fn expand(seed: &EncryptionNoiseSeed, block: PanelBlockIndex, plane: Plane) -> Self {
        let parts: [&[u8]; 3] = [seed.as_bytes(), &block.0.to_le_bytes(), &[plane.code()]];
        let key = Zeroizing::new(sha3_256(DST_ENCRYPTION_NOISE, &parts).0);
        let mut noise = Self([0; NOISE_BYTES]);
        keystream(&key).apply_keystream(&mut noise.0);
        noise
    }

    /// The values in slot order.
    pub fn values(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().flat_map(|byte| [byte & 15, byte >> 4]).map(|nibble| i64::from(nibble) + ENCRYPTION_NOISE_MIN)
    }

    fn add_to(&self, coefficients: &mut [u64; RING_DIMENSION]) {
        let offset = ENCRYPTION_NOISE_MIN.unsigned_abs();
        for (pair, byte) in coefficients.as_chunks_mut::<2>().0.iter_mut().zip(&self.0) {
            let nibbles = [byte & 15, byte >> 4];
            for (coefficient, nibble) in pair.iter_mut().zip(nibbles) {
                *coefficient = coefficient.wrapping_add(u64::from(nibble)).wrapping_sub(offset);
            }
        }
    }
}
