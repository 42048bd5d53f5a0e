use super::*;
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment,
};
use locus_ledger::{
    Amount, Audience, BlockRef, DatasetLeaf, Demands, EventSource, LocatedEvent, MarketEvent, OfferPrices, TierSet,
};
use std::collections::BTreeSet;

/// A chain that consists of these events, one a block.
struct Script(Vec<MarketEvent>);

impl EventSource for Script {
    type Error = std::convert::Infallible;

    async fn head(&self) -> Result<BlockRef, Self::Error> {
        self.block(self.0.len() as u64).await
    }

    async fn finalized(&self) -> Result<BlockRef, Self::Error> {
        self.head().await
    }

    async fn block(&self, number: u64) -> Result<BlockRef, Self::Error> {
        Ok(BlockRef { number, hash: Digest32([7; 32]) })
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LocatedEvent>, Self::Error> {
        let located = (1u64..).zip(&self.0).filter(|(block, _)| (from..=to).contains(block));
        let event = |(block, event): (u64, &MarketEvent)| LocatedEvent {
            block,
            time_unix_s: block,
            log_index: 0,
            event: event.clone(),
        };
        Ok(located.map(event).collect())
    }
}

async fn view_of(events: Vec<MarketEvent>) -> ChainView {
    let mut view = ChainView::default();
    view.poll(&Script(events)).await.expect("a script does not fail");
    view
}

fn leaf(byte: u8) -> DatasetLeaf {
    let digest = Digest32([byte; 32]);
    DatasetLeaf {
        dataset: DatasetId([byte; 32]),
        person: PersonTag([byte; 32]),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(digest),
            shares: ShareSetCommitment(digest),
            genotypes: GenotypeCommitment(digest),
        },
    }
}

/// Registration `number` of two datasets; all before it on the same panel have two as well.
fn registered(number: u64, panel: u8, earlier_on_panel: u64) -> MarketEvent {
    MarketEvent::DatasetsRegistered {
        registration: RegistrationId(number),
        registrant: Address([1; 20]),
        panel: PanelDigest([panel; 32]),
        version: 1,
        first_slot: 2 * earlier_on_panel,
        accreditor: None,
        leaves: vec![leaf(1), leaf(2)],
    }
}

fn offer(number: u64, nonce: u64, expiry_unix_s: u64) -> Offer {
    Offer {
        registration: RegistrationId(number),
        prices: OfferPrices { counts: Amount(1), filtered_counts: Amount(2), association: Amount(3) },
        data_use: 1,
        tiers: TierSet(1),
        audience: Audience::Anyone,
        block_start: 0,
        block_end: 1,
        condition_digest: Digest32([0; 32]),
        demands: Demands::NONE,
        disclosure_digest: Digest32([0; 32]),
        expiry_unix_s,
        nonce,
    }
}

fn posted(number: u64) -> MarketEvent {
    MarketEvent::OfferPosted { offer: offer(number, 1, 1_000) }
}

fn page(panel: Option<u8>, page_size: u32, token: &str) -> OfferPage {
    OfferPage::parse(panel.map(|panel| PanelDigest([panel; 32])), page_size, token).expect("a page")
}

fn numbers(response: &ListOffersResponse) -> Vec<u64> {
    response.offers.iter().filter_map(|entry| Some(entry.offer.as_ref()?.registration_id)).collect()
}

#[tokio::test]
async fn pages_list_every_offer_once_in_order_of_registration() {
    let events = (1..=5).flat_map(|number| [registered(number, 1, number - 1), posted(number)]).collect();
    let view = view_of(events).await;
    let first = list(&view, &page(None, 2, ""), 0);
    let second = list(&view, &page(None, 2, &first.next_page_token), 0);
    let third = list(&view, &page(None, 2, &second.next_page_token), 0);
    assert_eq!([&first, &second, &third].map(numbers), [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!(third.next_page_token, "");
    let whole = list(&view, &page(None, 5, ""), 0);
    assert_eq!((numbers(&whole).len(), whole.next_page_token.as_str()), (5, ""));
}

#[tokio::test]
async fn only_offers_in_force_are_listed() {
    let mut events: Vec<_> = (1..=4).map(|number| registered(number, 0, number - 1)).collect();
    events.push(registered(5, 1, 0));
    events.extend((2..=5).map(posted));
    events.push(MarketEvent::OfferWithdrawn { registration: RegistrationId(3), nonce: 2 });
    events.push(MarketEvent::DatasetsRevoked { registration: RegistrationId(4), ordinals: vec![0, 1] });
    events.push(MarketEvent::DatasetsRevoked { registration: RegistrationId(2), ordinals: vec![1] });
    let view = view_of(events).await;
    let listed = list(&view, &page(None, 0, ""), 999);
    assert_eq!(numbers(&listed), [2, 5]);
    assert_eq!((listed.offers[0].dataset_count, listed.offers[0].revoked_count), (2, 1));
    assert_eq!(numbers(&list(&view, &page(Some(1), 0, ""), 999)), [5]);
    assert!(numbers(&list(&view, &page(None, 0, ""), 1_000)).is_empty(), "offers end at their expiry");
}

#[tokio::test]
async fn a_page_of_long_offers_stays_below_the_message_limit() {
    let buyers: BTreeSet<Address> = (0..=255).map(|byte| Address([byte; 20])).collect();
    let long = |number| MarketEvent::OfferPosted {
        offer: Offer { audience: Audience::Named(buyers.clone()), ..offer(number, 1, 1_000) },
    };
    let view =
        view_of((1..=1_000).flat_map(|number| [registered(number, 1, number - 1), long(number)]).collect()).await;
    let mut token = String::new();
    let mut seen = Vec::new();
    loop {
        let response = list(&view, &page(None, 1_000, &token), 0);
        assert!(response.encoded_len() <= PAGE_BYTES_MAX + 4096);
        seen.extend(numbers(&response));
        token = response.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (1..=1_000).collect::<Vec<_>>());
}

#[test]
fn page_tokens_and_sizes_are_checked() {
    for token in ["x", "-1", "+1", "01", "1 ", "18446744073709551616"] {
        assert!(matches!(OfferPage::parse(None, 1, token), Err(ExchangeError::PageToken)), "{token}");
    }
    assert_eq!(page(None, 0, "").page_size, 100);
    assert_eq!(page(None, u32::MAX, "7").page_size, 1_000);
}
