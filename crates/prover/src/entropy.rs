//! Randomness of the operating system.

use crate::error::ProverError;
use getrandom::SysRng;
use locus_commitment::field::FieldBytes;
use rand_core::UnwrapErr;

/// Random bytes of a blinding: as many as are always below the field's order.
const BLINDING_BYTES: usize = 31;

/// The system's generator. It is tried once here, and a system that has given randomness does not stop
/// giving it.
pub(crate) fn system_rng() -> Result<UnwrapErr<SysRng>, ProverError> {
    getrandom::fill(&mut [0; 1])?;
    Ok(UnwrapErr(SysRng))
}

/// A fresh blinding of 248 bits.
pub(crate) fn blinding() -> Result<FieldBytes, ProverError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes[32 - BLINDING_BYTES..])?;
    Ok(FieldBytes(bytes))
}
