//! Fresh randomness from the operating system.

use rand_core::{TryCryptoRng, UnwrapErr};
use zeroize::Zeroizing;

/// The operating system has no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no randomness: {0}")]
pub struct EntropyError(#[from] getrandom::Error);

/// 32 fresh bytes, erased on drop.
pub(crate) fn fresh_32() -> Result<Zeroizing<[u8; 32]>, EntropyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut bytes[..])?;
    Ok(bytes)
}

/// A fresh 64-bit number.
pub(crate) fn fresh_u64() -> Result<u64, EntropyError> {
    Ok(getrandom::u64()?)
}

/// The system's generator for functions that take one. It is tried once here, and a system that
/// has given randomness does not stop giving it.
pub(crate) fn system_rng() -> Result<UnwrapErr<impl TryCryptoRng>, EntropyError> {
    fresh_32()?;
    Ok(UnwrapErr(getrandom::SysRng))
}
