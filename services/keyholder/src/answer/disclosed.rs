//! Offers that disclose something: this keyholder reads and verifies every document itself.

use super::question::Asked;
use crate::{error::KeyholderError, keyholder::Keyholder};
use futures::future::join_all;
use locus_cohort::{DISCLOSURE_BYTES_MAX, OfferedDisclosure};
use locus_service::blocking;
use std::collections::BTreeSet;

/// Documents that are fetched and verified together.
const DISCLOSURES_AT_ONCE: usize = 64;

impl Keyholder {
    /// Slots of eligible datasets that have not disclosed what the order requires, as far as this keyholder could
    /// verify.
    pub(super) async fn undisclosed(&self, asked: &Asked) -> Result<BTreeSet<u64>, KeyholderError> {
        if asked.requirements.disclosed().is_empty() {
            return Ok(BTreeSet::new());
        }
        let objects = self.objects()?;
        let fetch = async |offered: OfferedDisclosure| {
            let (registration, digest) = (offered.registration.0, offered.digest);
            (offered, objects.disclosure(registration, digest, DISCLOSURE_BYTES_MAX as u64).await)
        };
        for some in self.disclosures().unread(&asked.eligible).chunks(DISCLOSURES_AT_ONCE) {
            let fetched = join_all(some.iter().copied().map(fetch)).await;
            let (book, view, network) = (self.disclosures().clone(), self.view(), self.network());
            blocking(move || {
                for (offered, document) in fetched {
                    match document {
                        Ok(Some(bytes)) => book.read(network, &view, &offered, &bytes),
                        Ok(None) => {}
                        Err(error) => tracing::warn!(disclosure = %offered.digest, %error, "not read"),
                    }
                }
            })
            .await;
        }
        Ok(self.disclosures().left_out(&asked.eligible, &asked.requirements).into_keys().collect())
    }
}
