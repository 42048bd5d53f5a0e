//! Keys on disk: one pair of files a circuit, named by the circuit, checked against an id.
//!
//! `NAME.vk` has what a verifier needs and the digest of `NAME.pk`, so the id of the first covers
//! both. A changed proving key could make proofs leak their witness; it is refused before use.

use crate::{
    domain::DST_KEY_ID,
    error::ProofsError,
    groth16::{ProvingKey, Shape, ToxicWaste, VerifyingKey},
};
use ark_bn254::{Fq, Fq2, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, Fp, PrimeField};
use locus_commitment::{Digest32, sha3_256};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

const VERIFYING_MAGIC: &[u8; 8] = b"LOCUSVK1";
const PROVING_MAGIC: &[u8; 8] = b"LOCUSPK1";
const NAME_BYTES_MAX: usize = 64;

/// Where the secrets of a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Published secrets: anybody can prove anything. For tests and demonstrations.
    Development,
    /// A ceremony.
    Ceremony,
}

/// Name of a key: SHA3-256 of the whole verifying key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub Digest32);

/// A verifying key with what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitKey {
    /// Name of the circuit and its size.
    pub circuit: String,
    /// Where the secrets came from.
    pub origin: KeyOrigin,
    /// The key.
    pub verifying_key: VerifyingKey,
    proving_digest: [u8; 32],
}

impl CircuitKey {
    /// The key's name.
    pub fn id(&self) -> KeyId {
        KeyId(sha3_256(DST_KEY_ID, &[&self.to_bytes()]))
    }

    /// The key, unless it is a development key.
    ///
    /// # Errors
    /// [`ProofsError::DevelopmentKey`].
    pub fn for_production(&self) -> Result<&VerifyingKey, ProofsError> {
        match self.origin {
            KeyOrigin::Ceremony => Ok(&self.verifying_key),
            KeyOrigin::Development => Err(ProofsError::DevelopmentKey(self.circuit.clone())),
        }
    }

    /// Magic, origin (0 development, 1 ceremony), length of the name, name, number of public inputs
    /// (`u32` little endian), digest of the proving key, canonical key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERIFYING_MAGIC.to_vec();
        bytes.push(u8::from(self.origin == KeyOrigin::Ceremony));
        bytes.push(u8::try_from(self.circuit.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(self.circuit.as_bytes());
        let inputs = u32::try_from(self.verifying_key.inputs_g1.len() - 1).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&inputs.to_le_bytes());
        bytes.extend_from_slice(&self.proving_digest);
        bytes.extend_from_slice(&self.verifying_key.to_bytes());
        bytes
    }

    /// Parses [`to_bytes`](Self::to_bytes) with all checks.
    ///
    /// # Errors
    /// [`ProofsError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofsError> {
        let mut reader = Reader(bytes);
        let magic = reader.take(8)?;
        let (origin, length) = (reader.take(1)?[0], usize::from(reader.take(1)?[0]));
        let origin = match origin {
            0 => KeyOrigin::Development,
            1 => KeyOrigin::Ceremony,
            _ => return Err(ProofsError::NotCanonical),
        };
        if magic != VERIFYING_MAGIC || length > NAME_BYTES_MAX {
            return Err(ProofsError::NotCanonical);
        }
        let circuit = String::from_utf8(reader.take(length)?.to_vec()).map_err(|_| ProofsError::NotCanonical)?;
        let inputs = reader.number()?;
        let mut proving_digest = [0; 32];
        proving_digest.copy_from_slice(reader.take(32)?);
        let verifying_key = VerifyingKey::parse(reader.0, inputs)?;
        Ok(Self { circuit, origin, verifying_key, proving_digest })
    }
}

/// What a long operation is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStage {
    /// Points are computed.
    Computing,
    /// Files are written.
    Writing,
}

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct KeyStore(PathBuf);

impl KeyStore {
    /// The keys in a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The verifying key of a circuit; with `expected`, only that one.
    ///
    /// # Errors
    /// [`ProofsError::Io`], [`ProofsError::KeyFile`], [`ProofsError::KeyMismatch`].
    pub fn circuit_key(&self, circuit: &str, expected: Option<KeyId>) -> Result<CircuitKey, ProofsError> {
        let path = self.path(circuit, "vk");
        let key = CircuitKey::parse(&read(&path)?).map_err(|_| ProofsError::KeyFile(path.clone()))?;
        let right = key.circuit == circuit && expected.is_none_or(|expected| key.id() == expected);
        if right { Ok(key) } else { Err(mismatch(&path, circuit)) }
    }

    /// The proving key that belongs to a verifying key; read and checked now, so load it once.
    ///
    /// # Errors
    /// As [`circuit_key`](Self::circuit_key).
    pub fn proving_key(&self, key: &CircuitKey) -> Result<ProvingKey, ProofsError> {
        let path = self.path(&key.circuit, "pk");
        let bytes = read(&path)?;
        if *blake3::hash(&bytes).as_bytes() != key.proving_digest {
            return Err(mismatch(&path, &key.circuit));
        }
        parse_proving(&bytes, key.verifying_key.clone()).map_err(|_| ProofsError::KeyFile(path))
    }

    /// The development key of a circuit, made and written when the folder does not have it.
    ///
    /// # Errors
    /// [`ProofsError`].
    pub fn development_key(
        &self,
        shape: &Shape,
        mut progress: impl FnMut(KeyStage),
    ) -> Result<CircuitKey, ProofsError> {
        match self.circuit_key(&shape.name, None) {
            Err(ProofsError::Io { .. }) => {}
            found => return found,
        }
        progress(KeyStage::Computing);
        let proving = ProvingKey::setup(shape, &ToxicWaste::development(&shape.name))?;
        progress(KeyStage::Writing);
        self.store(&shape.name, KeyOrigin::Development, &proving)
    }

    /// Writes a key. The proving key goes first: a verifying key on disk is complete.
    ///
    /// # Errors
    /// [`ProofsError::Io`]; [`ProofsError::WrongSize`] for a name that is no file name.
    pub fn store(&self, circuit: &str, origin: KeyOrigin, key: &ProvingKey) -> Result<CircuitKey, ProofsError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if circuit.is_empty() || circuit.len() > NAME_BYTES_MAX || !circuit.bytes().all(plain) {
            return Err(ProofsError::WrongSize("the circuit's name"));
        }
        let bytes = proving_bytes(key);
        let proving_digest = *blake3::hash(&bytes).as_bytes();
        let verifying_key = key.verifying_key.clone();
        let circuit_key = CircuitKey { circuit: circuit.to_owned(), origin, verifying_key, proving_digest };
        fs::create_dir_all(&self.0).map_err(|source| ProofsError::Io { path: self.0.clone(), source })?;
        write(&self.path(circuit, "pk"), &bytes)?;
        write(&self.path(circuit, "vk"), &circuit_key.to_bytes())?;
        Ok(circuit_key)
    }

    fn path(&self, circuit: &str, extension: &str) -> PathBuf {
        self.0.join(format!("{circuit}.{extension}"))
    }
}

fn mismatch(path: &Path, circuit: &str) -> ProofsError {
    ProofsError::KeyMismatch { path: path.to_owned(), expected: circuit.to_owned() }
}

fn read(path: &Path) -> Result<Vec<u8>, ProofsError> {
    fs::read(path).map_err(|source| ProofsError::Io { path: path.to_owned(), source })
}

/// Writes beside the file and renames, so that no half-written key is ever read. Several writers of one
/// key, threads or processes, write the same.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ProofsError> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let error = |source| ProofsError::Io { path: path.to_owned(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".tmp-{}-{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    let temporary = PathBuf::from(name);
    let mut file = fs::File::create(&temporary).map_err(error)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(error)?;
    fs::rename(&temporary, path).map_err(error)
}

/// A cursor over bytes of a key file.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], ProofsError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(ProofsError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn number(&mut self) -> Result<usize, ProofsError> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| ProofsError::Truncated)
    }

    pub(crate) fn coordinate(&mut self) -> Result<Fq, ProofsError> {
        let mut limbs = [0; 4];
        for (limb, chunk) in limbs.iter_mut().zip(self.take(32)?.as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*chunk);
        }
        let integer = BigInt(limbs);
        if integer < Fq::MODULUS { Ok(Fp::new_unchecked(integer)) } else { Err(ProofsError::NotCanonical) }
    }

    /// A point in the memory layout of the field library; neutral is zero. Not checked.
    pub(crate) fn g1(&mut self) -> Result<G1Affine, ProofsError> {
        let (x, y) = (self.coordinate()?, self.coordinate()?);
        let neutral = x == Fq::ZERO && y == Fq::ZERO;
        Ok(if neutral { G1Affine::zero() } else { G1Affine::new_unchecked(x, y) })
    }

    /// As [`g1`](Self::g1).
    pub(crate) fn g2(&mut self) -> Result<G2Affine, ProofsError> {
        let x = Fq2::new(self.coordinate()?, self.coordinate()?);
        let y = Fq2::new(self.coordinate()?, self.coordinate()?);
        let neutral = x == Fq2::ZERO && y == Fq2::ZERO;
        Ok(if neutral { G2Affine::zero() } else { G2Affine::new_unchecked(x, y) })
    }

    fn g1s(&mut self) -> Result<Vec<G1Affine>, ProofsError> {
        let count = self.number()?;
        let mut part = Reader(self.take(64 * count)?);
        (0..count).map(|_| part.g1()).collect()
    }
}

/// Coordinates in Montgomery form, limbs little endian: the layout of zkey files.
pub(crate) fn push_g1(out: &mut Vec<u8>, point: &G1Affine) {
    let (x, y) = point.xy().unwrap_or((Fq::ZERO, Fq::ZERO));
    [x, y].iter().for_each(|coordinate| push_limbs(out, coordinate));
}

/// As [`push_g1`], the real part first.
pub(crate) fn push_g2(out: &mut Vec<u8>, point: &G2Affine) {
    let (x, y) = point.xy().unwrap_or((Fq2::ZERO, Fq2::ZERO));
    [x.c0, x.c1, y.c0, y.c1].iter().for_each(|coordinate| push_limbs(out, coordinate));
}

fn push_limbs(out: &mut Vec<u8>, coordinate: &Fq) {
    coordinate.0.0.iter().for_each(|limb| out.extend_from_slice(&limb.to_le_bytes()));
}

/// Magic, beta and delta of the first group, then each list with its length.
fn proving_bytes(key: &ProvingKey) -> Vec<u8> {
    let points = 3 * key.a_g1.len() + key.b_g1.len() + key.private_g1.len() + key.quotient_g1.len();
    let mut bytes = Vec::with_capacity(64 * points + 1024);
    bytes.extend_from_slice(PROVING_MAGIC);
    push_g1(&mut bytes, &key.beta_g1);
    push_g1(&mut bytes, &key.delta_g1);
    for list in [&key.a_g1, &key.b_g1, &key.private_g1, &key.quotient_g1] {
        bytes.extend_from_slice(&u32::try_from(list.len()).unwrap_or(u32::MAX).to_le_bytes());
        list.iter().for_each(|point| push_g1(&mut bytes, point));
    }
    bytes.extend_from_slice(&u32::try_from(key.b_g2.len()).unwrap_or(u32::MAX).to_le_bytes());
    key.b_g2.iter().for_each(|point| push_g2(&mut bytes, point));
    bytes
}

fn parse_proving(bytes: &[u8], verifying_key: VerifyingKey) -> Result<ProvingKey, ProofsError> {
    let mut reader = Reader(bytes);
    if reader.take(8)? != PROVING_MAGIC {
        return Err(ProofsError::NotCanonical);
    }
    let (beta_g1, delta_g1) = (reader.g1()?, reader.g1()?);
    let [a_g1, b_g1, private_g1, quotient_g1] = [reader.g1s()?, reader.g1s()?, reader.g1s()?, reader.g1s()?];
    let count = reader.number()?;
    let b_g2 = (0..count).map(|_| reader.g2()).collect::<Result<_, _>>()?;
    let whole = reader.0.is_empty() && count == a_g1.len();
    let key = ProvingKey { verifying_key, beta_g1, delta_g1, a_g1, b_g1, b_g2, private_g1, quotient_g1 };
    if whole && key.is_consistent() { Ok(key) } else { Err(ProofsError::Truncated) }
}

#[cfg(test)]
mod tests;
