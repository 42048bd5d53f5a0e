//! Terms of signed requests.

use crate::entropy::{EntropyError, fresh_32};
use locus_ledger::RequestTerms;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a signed request may be taken; services allow five minutes.
const REQUEST_LIFETIME_S: u64 = 120;

/// Terms that no other request has.
///
/// # Errors
/// [`EntropyError`] when the system gives no randomness.
pub(crate) fn fresh_terms(now_unix_s: u64) -> Result<RequestTerms, EntropyError> {
    let nonce = *fresh_32()?;
    Ok(RequestTerms { deadline_unix_s: now_unix_s.saturating_add(REQUEST_LIFETIME_S), nonce })
}

/// The machine's time: an answer may be waited for longer than a request may be taken.
pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
