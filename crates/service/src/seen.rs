//! Signed requests count once: a durable record of those that were taken.
//!
//! A request says until when it may be taken and has a random number. It is remembered until nobody can take it any
//! more, also over a restart, so that whoever saw it cannot make it again.

use crate::error::{ErrorCode, ServiceError};
use redb::{Database, ReadableTable as _, ReadableTableMetadata as _, TableDefinition};
use std::path::Path;

/// How far clocks may differ.
pub const CLOCK_SKEW_S: u64 = 60;
/// Longest time for which a request may be valid.
pub const REQUEST_LIFETIME_MAX_S: u64 = 300;
/// Requests that are remembered at the same time.
const REMEMBERED_MAX: u64 = 1_000_000;
/// Memory for pages of the database; the library's own default grows to a gigabyte.
const CACHE_BYTES: usize = 2 << 20;
/// Requests that are forgotten when one is taken: more than one, so that the record shrinks after a rush.
const FORGOTTEN_AT_ONCE: usize = 16;
/// Bytes of signer and random number.
const NAME_BYTES: usize = 20 + 32;

/// Requests by signer and random number.
const TAKEN: TableDefinition<&[u8; NAME_BYTES], ()> = TableDefinition::new("taken");
/// The same by the time from which they can be forgotten.
const BY_END: TableDefinition<(u64, &[u8; NAME_BYTES]), ()> = TableDefinition::new("by_end");

/// Why a signed request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// It was valid until earlier, or its signer's clock is far behind.
    #[error("the request has expired: set the clock and sign it again")]
    Expired,
    /// It would be valid for too long, or its signer's clock is far ahead.
    #[error("the request is valid for more than five minutes: set the clock and sign it again")]
    TooLong,
    /// It was taken before.
    #[error("the request was made before: sign it again with a new random number")]
    Repeated,
    /// There are more requests than can be remembered.
    #[error("too many signed requests: wait a minute and try again")]
    Full,
    /// The record cannot be read or written.
    #[error("the record of requests cannot be used: {0}")]
    Database(Box<redb::Error>),
}

crate::from_database_errors!(SeenError);

impl ServiceError for SeenError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Expired | Self::TooLong | Self::Repeated => ErrorCode::Forbidden,
            Self::Full => ErrorCode::Busy,
            Self::Database(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Expired => "REQUEST_EXPIRED",
            Self::TooLong => "REQUEST_TOO_LONG",
            Self::Repeated => "REQUEST_REPEATED",
            Self::Full => "TOO_MANY_REQUESTS",
            Self::Database(_) => "STORAGE",
        }
    }
}

/// A signed request, once its signature is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedRequest {
    /// The account that signed.
    pub signer: [u8; 20],
    /// Its random number.
    pub nonce: [u8; 32],
    /// Until when it may be taken.
    pub deadline_unix_s: u64,
}

/// The record of requests that were taken.
#[derive(Debug)]
pub struct SeenRequests {
    database: Database,
    remembered_max: u64,
}

impl SeenRequests {
    /// The record in the file `path`; starts an empty one.
    ///
    /// # Errors
    /// [`SeenError::Database`], also when another process has it open.
    pub fn open(path: &Path) -> Result<Self, SeenError> {
        Self::with_limit(Database::builder().set_cache_size(CACHE_BYTES).create(path)?, REMEMBERED_MAX)
    }

    fn with_limit(database: Database, remembered_max: u64) -> Result<Self, SeenError> {
        let transaction = database.begin_write()?;
        transaction.open_table(TAKEN)?;
        transaction.open_table(BY_END)?;
        transaction.commit()?;
        Ok(Self { database, remembered_max })
    }

    /// Takes a request whose signature was verified. When this returns, no repetition will be taken, whatever happens.
    ///
    /// # Errors
    /// [`SeenError`]; only [`SeenError::Full`] and [`SeenError::Database`] may pass.
    pub fn take(&self, request: &SignedRequest, now_unix_s: u64) -> Result<(), SeenError> {
        if now_unix_s > request.deadline_unix_s.saturating_add(CLOCK_SKEW_S) {
            return Err(SeenError::Expired);
        }
        if request.deadline_unix_s > now_unix_s.saturating_add(REQUEST_LIFETIME_MAX_S + CLOCK_SKEW_S) {
            return Err(SeenError::TooLong);
        }
        let name = name_of(request);
        let transaction = self.database.begin_write()?;
        {
            let mut taken = transaction.open_table(TAKEN)?;
            let mut by_end = transaction.open_table(BY_END)?;
            forget(&mut taken, &mut by_end, now_unix_s)?;
            if taken.get(&name)?.is_some() {
                return Err(SeenError::Repeated);
            }
            if taken.len()? >= self.remembered_max {
                return Err(SeenError::Full);
            }
            taken.insert(&name, ())?;
            // The last second in which it could be taken is deadline + skew.
            by_end.insert((request.deadline_unix_s.saturating_add(CLOCK_SKEW_S + 1), &name), ())?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn name_of(request: &SignedRequest) -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    name[..20].copy_from_slice(&request.signer);
    name[20..].copy_from_slice(&request.nonce);
    name
}

/// Forgets some requests that nobody can make any more.
fn forget(
    taken: &mut redb::Table<'_, &'static [u8; NAME_BYTES], ()>,
    by_end: &mut redb::Table<'_, (u64, &'static [u8; NAME_BYTES]), ()>,
    now_unix_s: u64,
) -> Result<(), SeenError> {
    let mut old = Vec::new();
    for entry in by_end.iter()?.take(FORGOTTEN_AT_ONCE) {
        let (key, _) = entry?;
        let (end, name) = key.value();
        if end > now_unix_s {
            break;
        }
        old.push((end, *name));
    }
    for (end, name) in old {
        by_end.remove((end, &name))?;
        taken.remove(&name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const NOW: u64 = 1_900_000_000;

    fn request(nonce: u8, deadline_unix_s: u64) -> SignedRequest {
        SignedRequest { signer: [7; 20], nonce: [nonce; 32], deadline_unix_s }
    }

    fn in_memory(limit: u64) -> SeenRequests {
        let backend = redb::backends::InMemoryBackend::new();
        SeenRequests::with_limit(Database::builder().create_with_backend(backend).expect("memory"), limit)
            .expect("opens")
    }

    #[test]
    fn a_request_is_taken_once_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("requests.redb");
        let seen = SeenRequests::open(&path).expect("opens");
        seen.take(&request(1, NOW + 10), NOW).expect("new");
        drop(seen);
        let seen = SeenRequests::open(&path).expect("opens");
        assert!(matches!(seen.take(&request(1, NOW + 10), NOW), Err(SeenError::Repeated)));
        // Another deadline does not make it another request.
        assert!(matches!(seen.take(&request(1, NOW + 20), NOW), Err(SeenError::Repeated)));
        seen.take(&request(2, NOW + 10), NOW).expect("another number");
        let other = SignedRequest { signer: [8; 20], ..request(1, NOW + 10) };
        seen.take(&other, NOW).expect("another signer");
    }

    #[test]
    fn a_repetition_is_refused_in_every_second_in_which_the_request_could_be_taken() {
        let seen = in_memory(1_000);
        let deadline = NOW + REQUEST_LIFETIME_MAX_S;
        seen.take(&request(1, deadline), NOW).expect("new");
        for now in NOW..=deadline + CLOCK_SKEW_S + 5 {
            // Others come meanwhile, so that old ones are forgotten as soon as they may be.
            let byte = u8::try_from(2 + (now - NOW) % 200).expect("small");
            let _ = seen.take(&request(byte, now + 1), now);
            assert!(seen.take(&request(1, deadline), now).is_err(), "{} s after", now - NOW);
        }
    }

    #[test]
    fn requests_of_the_past_and_of_the_far_future_are_refused() {
        let seen = in_memory(1_000);
        assert!(matches!(seen.take(&request(1, NOW - CLOCK_SKEW_S - 1), NOW), Err(SeenError::Expired)));
        seen.take(&request(1, NOW - CLOCK_SKEW_S), NOW).expect("the signer's clock is behind");
        let longest = NOW + REQUEST_LIFETIME_MAX_S + CLOCK_SKEW_S;
        assert!(matches!(seen.take(&request(2, longest + 1), NOW), Err(SeenError::TooLong)));
        seen.take(&request(2, longest), NOW).expect("the signer's clock is ahead");
        assert!(matches!(seen.take(&request(3, u64::MAX), NOW), Err(SeenError::TooLong)));
    }

    #[test]
    fn the_record_is_bounded_and_empties_itself() {
        let seen = in_memory(3);
        for nonce in 0..3 {
            seen.take(&request(nonce, NOW + 10), NOW).expect("there is room");
        }
        assert!(matches!(seen.take(&request(9, NOW + 10), NOW), Err(SeenError::Full)));
        let later = NOW + 10 + CLOCK_SKEW_S + 1;
        seen.take(&request(9, later + 10), later).expect("the others are forgotten");
    }

    #[test]
    fn of_many_at_once_exactly_one_is_taken() {
        let seen = Arc::new(in_memory(1_000));
        let threads: Vec<_> = (0..64)
            .map(|_| {
                let seen = seen.clone();
                std::thread::spawn(move || seen.take(&request(1, NOW + 10), NOW).is_ok())
            })
            .collect();
        let taken = threads.into_iter().map(|thread| thread.join().expect("it ends")).filter(|taken| *taken).count();
        assert_eq!(taken, 1);
    }
}
