//! Which offers stand, a page at a time.

use crate::{error::ExchangeError, exchange::Exchange};
use locus_genomics::PanelDigest;
use locus_ledger::{ChainView, Offer, RegistrationId, RegistrationRecord};
use locus_wire::pb::exchange::{ListOffersResponse, list_offers_response::Entry};
use prost::Message as _;

/// Entries of a page when the caller does not say.
const PAGE_SIZE_DEFAULT: u32 = 100;
/// Most entries of a page.
const PAGE_SIZE_MAX: u32 = 1_000;
/// Most bytes of a page; an offer that names 256 buyers takes 6 KiB.
const PAGE_BYTES_MAX: usize = 3 << 20;

/// The offer that stands at the end of `block`, unless its withdrawal was seen since.
pub(crate) fn in_force<'a>(view: &ChainView, record: &'a RegistrationRecord, block: u64) -> Option<&'a Offer> {
    record.offer_as_of(block).filter(|_| !view.is_withdrawn_since(record.id, block))
}

/// What is asked of a list of offers.
pub(crate) struct OfferPage {
    /// Only this panel.
    pub(crate) panel: Option<PanelDigest>,
    /// Most entries.
    pub(crate) page_size: usize,
    /// Registrations up to this one were listed before.
    pub(crate) after: RegistrationId,
}

impl OfferPage {
    /// Parses page size and token of a request.
    pub(crate) fn parse(panel: Option<PanelDigest>, page_size: u32, page_token: &str) -> Result<Self, ExchangeError> {
        let size = if page_size == 0 { PAGE_SIZE_DEFAULT } else { page_size.min(PAGE_SIZE_MAX) };
        let after = if page_token.is_empty() {
            0
        } else {
            let number: Option<u64> = page_token.parse().ok();
            number.filter(|number| number.to_string() == page_token).ok_or(ExchangeError::PageToken)?
        };
        Ok(Self { panel, page_size: usize::try_from(size).unwrap_or(1), after: RegistrationId(after) })
    }
}

impl Exchange {
    /// A page of the offers that stand now.
    pub(crate) async fn list_offers(&self, page: &OfferPage) -> Result<ListOffersResponse, ExchangeError> {
        let view = self.refreshed().await?;
        Ok(list(&view, page, self.now_unix_s()))
    }
}

fn list(view: &ChainView, page: &OfferPage, now_unix_s: u64) -> ListOffersResponse {
    let mut response = ListOffersResponse::default();
    let Some(finalized) = view.finalized() else { return response };
    let mut bytes = 0;
    let mut last = page.after;
    let wanted = view
        .registrations()
        .filter(|record| record.id > page.after && page.panel.is_none_or(|panel| panel == record.panel));
    for record in wanted {
        let Some(entry) = entry_of(view, record, finalized.number, now_unix_s) else { continue };
        bytes += entry.encoded_len();
        if response.offers.len() == page.page_size || (bytes > PAGE_BYTES_MAX && !response.offers.is_empty()) {
            response.next_page_token = last.to_string();
            break;
        }
        response.offers.push(entry);
        last = record.id;
    }
    response
}

fn entry_of(view: &ChainView, record: &RegistrationRecord, block: u64, now_unix_s: u64) -> Option<Entry> {
    let offer = in_force(view, record, block).filter(|offer| offer.expiry_unix_s > now_unix_s)?;
    let revoked = view.revoked_of(record.id).count();
    if revoked >= record.leaves.len() {
        return None;
    }
    Some(Entry {
        offer: Some(offer.into()),
        registrant: record.registrant.0.to_vec().into(),
        panel_digest: record.panel.0.to_vec().into(),
        dataset_count: u32::try_from(record.leaves.len()).unwrap_or(u32::MAX),
        revoked_count: u32::try_from(revoked).unwrap_or(u32::MAX),
        accreditor: record.accreditor.map(|account| account.0.to_vec()).unwrap_or_default().into(),
        proven: record.is_proven(),
    })
}

#[cfg(test)]
mod tests;
