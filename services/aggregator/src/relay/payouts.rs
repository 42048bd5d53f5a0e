//! Bringing a keyholder that was down up to the last settlement, so that it can sign the next one.

use super::{Committee, Member, present};
use crate::{aggregator::ExchangeClient, error::AggregatorError};
use bytes::Bytes;
use locus_sharing::KeyholderIndex;
use locus_wire::pb::{
    exchange::{ListEarningsRequest, ListEarningsResponse},
    keyholder::{
        ImportPayoutsRequest,
        import_payouts_request::{Header, Page, Part},
    },
};
use std::{future::Future, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Pages under way between the exchange and a keyholder.
const PAGES_MAX: usize = 2;

impl Committee {
    /// Carries the table of earnings, read page by page from the account given on, to keyholders
    /// that do not know it; tells whether one took it. They check it against the chain, so this can
    /// fail but do no harm; a failure is logged, and the next release tries again.
    pub(crate) async fn carry_payouts<F>(&self, page_after: impl Fn(Bytes) -> F, behind: &[KeyholderIndex]) -> bool
    where
        F: Future<Output = Result<ListEarningsResponse, AggregatorError>>,
    {
        let mut is_taken = false;
        for member in self.members.iter().filter(|member| behind.contains(&member.index)) {
            let keyholder = member.index.get();
            match self.carry_payouts_to(member, &page_after).await {
                Ok(sequence) => {
                    is_taken = true;
                    tracing::info!(keyholder, sequence, "the keyholder has the table of earnings");
                }
                Err(error) => tracing::warn!(keyholder, %error, "the keyholder took no table of earnings"),
            }
        }
        is_taken
    }

    async fn carry_payouts_to<F>(
        &self,
        member: &Member,
        page_after: &impl Fn(Bytes) -> F,
    ) -> Result<u64, AggregatorError>
    where
        F: Future<Output = Result<ListEarningsResponse, AggregatorError>>,
    {
        let patience = Duration::from_secs(self.limits.release_wait_s);
        let mut page = page_after(Bytes::new()).await?;
        let payout_sequence = page.payout_sequence;
        let (sender, requests) = mpsc::channel(PAGES_MAX);
        let mut client = member.client.clone();
        let taking =
            async move { present(member.index, patience, client.import_payouts(ReceiverStream::new(requests))).await };
        let sending = async move {
            let message = |part| ImportPayoutsRequest { part: Some(part) };
            // A keyholder that stops listening says why in its answer.
            let mut listens = sender.send(message(Part::Header(Header { payout_sequence }))).await.is_ok();
            while listens {
                let (earnings, is_last) = (page.earnings, page.is_last);
                let last_account = earnings.last().map(|earning| earning.account.clone());
                listens = sender.send(message(Part::Page(Page { earnings }))).await.is_ok();
                let Some(last_account) = last_account.filter(|_| !is_last) else { break };
                page = page_after(last_account).await?;
                // After another settlement in between the keyholder would refuse the mixture.
                listens &= page.payout_sequence == payout_sequence;
            }
            Ok::<_, AggregatorError>(())
        };
        let (taken, ()) = tokio::try_join!(taking, sending)?;
        Ok(taken.known_sequence)
    }
}

/// A page of the exchange's table of earnings.
pub(crate) async fn list_earnings(
    mut exchange: ExchangeClient,
    after_account: Bytes,
    patience: Duration,
) -> Result<ListEarningsResponse, AggregatorError> {
    match tokio::time::timeout(patience, exchange.list_earnings(ListEarningsRequest { after_account })).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(AggregatorError::Exchange(status)),
        Err(_) => {
            let text = format!("no answer within {} seconds; retry", patience.as_secs());
            Err(AggregatorError::Exchange(tonic::Status::deadline_exceeded(text)))
        }
    }
}
