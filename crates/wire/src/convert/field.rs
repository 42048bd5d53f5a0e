//! Checked parsing of single fields.

use bytes::Bytes;
use locus_commitment::{Address, Digest32, pedersen::CiphertextCommitment};
use locus_ledger::Amount;
use std::fmt;

/// Longest signature accepted: 65 bytes of an account, more of a contract wallet.
pub const SIGNATURE_BYTES_MAX: usize = 4096;
/// Digits of the largest 128-bit number.
const AMOUNT_DIGITS_MAX: usize = 39;

/// A field that does not hold what its message promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` {kind}")]
pub struct FieldError {
    /// Name of the field as in the proto file, with its message when it is nested.
    pub field: &'static str,
    /// What is wrong with it.
    pub kind: FieldErrorKind,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// The message or part is not there.
    Missing,
    /// A byte string of another length.
    Length {
        /// Bytes demanded.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// More bytes or items than allowed.
    TooLong {
        /// Most allowed.
        max: usize,
        /// Found.
        got: usize,
    },
    /// A number outside its range.
    OutOfRange {
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
        /// Found.
        got: u64,
    },
    /// An enum value that is unspecified or unknown.
    UnknownValue(i32),
    /// Bits without a meaning are set.
    UnknownBits(u32),
    /// Not a decimal number of base units below 2^128, without sign or leading zeros.
    NotAnAmount,
    /// Items are not strictly ascending.
    NotAscending,
    /// The value breaks a rule of its type, in words.
    Refused(String),
}

impl fmt::Display for FieldErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Length { expected, got } => write!(f, "must have {expected} bytes, got {got}"),
            Self::TooLong { max, got } => write!(f, "is limited to {max}, got {got}"),
            Self::OutOfRange { min, max, got } => write!(f, "must be {min} to {max}, got {got}"),
            Self::UnknownValue(value) => write!(f, "has the unknown value {value}"),
            Self::UnknownBits(bits) => write!(f, "has unknown bits {bits:#x}"),
            Self::NotAnAmount => {
                f.write_str("must be a decimal number of base units below 2^128, without sign or leading zeros")
            }
            Self::NotAscending => f.write_str("must be strictly ascending"),
            Self::Refused(reason) => write!(f, "is refused: {reason}"),
        }
    }
}

impl FieldError {
    /// The field `field` is wrong in this way.
    pub fn new(field: &'static str, kind: FieldErrorKind) -> Self {
        Self { field, kind }
    }

    /// The field `field` breaks a rule of its type.
    pub fn refused(field: &'static str, reason: impl fmt::Display) -> Self {
        Self { field, kind: FieldErrorKind::Refused(reason.to_string()) }
    }
}

/// A nested message that must be there.
///
/// # Errors
/// [`FieldErrorKind::Missing`].
pub fn required<'a, T>(field: &'static str, value: &'a Option<T>) -> Result<&'a T, FieldError> {
    value.as_ref().ok_or(FieldError { field, kind: FieldErrorKind::Missing })
}

/// A byte string of exactly `N` bytes.
///
/// # Errors
/// [`FieldErrorKind::Length`].
pub fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], FieldError> {
    bytes.try_into().map_err(|_| FieldError { field, kind: FieldErrorKind::Length { expected: N, got: bytes.len() } })
}

/// A 32-byte digest.
///
/// # Errors
/// [`FieldErrorKind::Length`].
pub fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest32, FieldError> {
    array(field, bytes).map(Digest32)
}

/// A commitment to ciphertexts: 64 bytes, a point of prime order.
pub fn ciphertext_commitment(field: &'static str, bytes: &[u8]) -> Result<CiphertextCommitment, FieldError> {
    CiphertextCommitment::parse(&array(field, bytes)?).map_err(|error| FieldError::refused(field, error))
}

/// A 20-byte account or contract.
///
/// # Errors
/// [`FieldErrorKind::Length`].
pub fn address(field: &'static str, bytes: &[u8]) -> Result<Address, FieldError> {
    array(field, bytes).map(Address)
}

/// A 20-byte account, or nothing for nobody.
///
/// # Errors
/// [`FieldErrorKind::Length`] for other lengths than 0 and 20, and for the zero address, which the
/// chain uses for nobody and which would be a second encoding of the same thing.
pub fn optional_address(field: &'static str, bytes: &[u8]) -> Result<Option<Address>, FieldError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let parsed = address(field, bytes)?;
    if parsed.0 == [0; 20] {
        return Err(FieldError::refused(field, "leave it empty to name nobody"));
    }
    Ok(Some(parsed))
}

/// A number of token base units in decimal: digits only, no leading zeros, below 2^128.
///
/// # Errors
/// [`FieldErrorKind::NotAnAmount`].
pub fn amount(field: &'static str, text: &str) -> Result<Amount, FieldError> {
    let canonical = !text.is_empty()
        && text.len() <= AMOUNT_DIGITS_MAX
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    let parsed = if canonical { text.parse().ok() } else { None };
    parsed.map(Amount).ok_or(FieldError { field, kind: FieldErrorKind::NotAnAmount })
}

/// The wire form of an amount.
pub fn amount_text(amount: Amount) -> String {
    amount.0.to_string()
}

/// A signature of 1 to [`SIGNATURE_BYTES_MAX`] bytes; whether it is right is for its verifier.
///
/// # Errors
/// [`FieldErrorKind::Missing`] or [`FieldErrorKind::TooLong`].
pub fn signature(field: &'static str, bytes: &Bytes) -> Result<Vec<u8>, FieldError> {
    let (max, got) = (SIGNATURE_BYTES_MAX, bytes.len());
    match got {
        0 => Err(FieldError { field, kind: FieldErrorKind::Missing }),
        _ if got > max => Err(FieldError { field, kind: FieldErrorKind::TooLong { max, got } }),
        _ => Ok(bytes.to_vec()),
    }
}

/// A bit set that has only the bits of `known`.
///
/// # Errors
/// [`FieldErrorKind::UnknownBits`].
pub fn flags(field: &'static str, bits: u32, known: u32) -> Result<u32, FieldError> {
    match bits & !known {
        0 => Ok(bits),
        unknown => Err(FieldError { field, kind: FieldErrorKind::UnknownBits(unknown) }),
    }
}

/// A number between `min` and `max`, both included.
///
/// # Errors
/// [`FieldErrorKind::OutOfRange`].
pub fn in_range<T: Copy + Into<u64>>(field: &'static str, value: T, min: u64, max: u64) -> Result<T, FieldError> {
    let got = value.into();
    if (min..=max).contains(&got) {
        Ok(value)
    } else {
        Err(FieldError { field, kind: FieldErrorKind::OutOfRange { min, max, got } })
    }
}

/// A keyholder number, 1 to 3.
///
/// # Errors
/// [`FieldErrorKind::OutOfRange`].
pub fn keyholder(field: &'static str, number: u32) -> Result<u8, FieldError> {
    in_range(field, number, 1, 3).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
}

/// Numbers in strictly ascending order, each below `end`, at most `max` of them.
///
/// # Errors
/// [`FieldErrorKind::TooLong`], [`FieldErrorKind::NotAscending`] or [`FieldErrorKind::OutOfRange`].
pub fn ascending<T: Copy + Ord + Into<u64>>(
    field: &'static str,
    values: &[T],
    end: u64,
    max: usize,
) -> Result<Vec<T>, FieldError> {
    if values.len() > max {
        return Err(FieldError { field, kind: FieldErrorKind::TooLong { max, got: values.len() } });
    }
    if !values.is_sorted_by(|left, right| left < right) {
        return Err(FieldError { field, kind: FieldErrorKind::NotAscending });
    }
    if let Some(&last) = values.last() {
        in_range(field, last, 0, end.saturating_sub(1))?;
    }
    Ok(values.to_vec())
}

#[cfg(test)]
mod tests;
