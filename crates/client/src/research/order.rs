//! Signing an order and paying for it.

use crate::{
    account::account_state,
    entropy,
    error::ClientError,
    keystore::Keystore,
    network::Network,
    research::{
        AnswerError, Question, file,
        filter::{self, AskedFilter},
        open,
    },
    service::{CallError, Services, name, retrying},
};
use locus_commitment::Digest32;
use locus_genomics::Panel;
use locus_ledger::{Amount, Order, OrderId, PermitTerms, order_id};
use locus_wire::{convert::selection_to_pb, pb::exchange as exchange_pb, pb::query as pb};
use std::path::{Path, PathBuf};
use tonic::Code;

/// What a researcher offers for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderTerms {
    /// The most the answer may cost; held in escrow, the rest returns at settlement.
    pub max_price: Amount,
    /// Seconds until the escrow can be taken back when no answer came; `None` for the longest time
    /// the market allows.
    pub lifetime_s: Option<u64>,
}

/// An order that is on the chain, or on its way there.
#[derive(Debug, Clone)]
pub struct PlacedOrder {
    /// Its name.
    pub order_id: OrderId,
    /// The order.
    pub order: Order,
    /// What is kept of it; an answer is added to a copy of this.
    pub record: pb::AnswerRecord,
}

/// Where the order `order_id` is kept in `folder`.
fn order_file(folder: &Path, order_id: OrderId) -> PathBuf {
    folder.join(format!("{order_id}.order"))
}

/// Signs an order and the payment for it, keeps the order in `folder` (so that the answer can be
/// fetched after a crash), and puts both on the chain.
///
/// # Errors
/// [`ClientError::QueryClass`], [`ClientError::TooPoor`] when the account holds less than the maximum price, and
/// [`ClientError::Call`] with the contract's reason.
pub async fn place_order(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    question: &Question,
    terms: &OrderTerms,
    folder: &Path,
    now_unix_s: u64,
) -> Result<PlacedOrder, ClientError> {
    let order = order_of(network, keystore, question, terms, now_unix_s)?;
    let state = account_state(services, keystore.address()).await?;
    if state.balance < terms.max_price {
        return Err(ClientError::TooPoor { held: state.balance, needed: terms.max_price });
    }
    let contracts = network.contracts();
    let id = order_id(&order);
    let record = pb::AnswerRecord {
        network: Some((&network.id()).into()),
        order_id: id.0.0.to_vec().into(),
        order: Some((&order).into()),
        selection: Some(selection_to_pb(&question.selection)),
        blocks: Vec::new(),
        summary: None,
        cohort_sums: Vec::new(),
        filter: question.filter.as_ref().map(AskedFilter::to_pb),
        schema_json: question.filter.as_ref().map(|asked| asked.schema().to_json()).unwrap_or_default(),
        requirements: question.requirements.to_bytes().into(),
    };
    file::save_record(&record, &order_file(folder, id))?;
    let permit = PermitTerms {
        owner: keystore.address(),
        value: terms.max_price,
        nonce: state.permit_nonce,
        deadline_unix_s: order.deadline_unix_s,
    };
    let request = exchange_pb::OpenOrderRequest {
        order: record.order.clone(),
        signature: keystore.sign(&contracts.order_signing_hash(&order))?,
        permit: Some(exchange_pb::Permit {
            value: terms.max_price.0.to_string(),
            deadline_unix_s: order.deadline_unix_s,
            signature: keystore.sign(&contracts.permit_signing_hash(&permit, network.token_name()))?,
        }),
    };
    open_on_chain(services, request, id).await?;
    Ok(PlacedOrder { order_id: id, order, record })
}

fn order_of(
    network: &Network,
    keystore: &Keystore,
    question: &Question,
    terms: &OrderTerms,
    now_unix_s: u64,
) -> Result<Order, ClientError> {
    filter::check_class(question.query_class, question.filter.as_ref())?;
    let longest_s = network.parameters().values().order_lifetime_max_s;
    // A block may be a little older than this clock, and the contract compares with the block.
    let lifetime_s = terms.lifetime_s.unwrap_or(longest_s).min(longest_s.saturating_sub(CLOCK_SKEW_S));
    Ok(Order {
        researcher: keystore.address(),
        panel: question.selection.panel(),
        selection_digest: Digest32(question.selection.digest()),
        predicate_digest: filter::predicate_digest(question.filter.as_ref(), &question.requirements),
        query_class: question.query_class,
        purpose: question.purpose.to_bits(),
        condition_digest: question.condition_digest(),
        tier: question.tier,
        rho: question.rho,
        max_price: terms.max_price,
        hpke_key_digest: keystore.sealing_key_digest(),
        deadline_unix_s: now_unix_s.saturating_add(lifetime_s),
        nonce: entropy::fresh_u64()?,
    })
}

/// How far this clock may be ahead of the chain's.
const CLOCK_SKEW_S: u64 = 30;

/// Submits the order; one that is there already is as good.
async fn open_on_chain(
    services: &Services,
    request: exchange_pb::OpenOrderRequest,
    order_id: OrderId,
) -> Result<(), ClientError> {
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.open_order(request).await }
    };
    match retrying(name::EXCHANGE, call).await {
        Ok(response) if *response.order_id == order_id.0.0 => Ok(()),
        Ok(_) => Err(AnswerError::OtherOrder("order id given by the exchange").into()),
        Err(CallError { code: Code::AlreadyExists, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// An order placed from `folder` earlier.
///
/// # Errors
/// [`ClientError::UnknownOrder`] when nothing is recorded, and as [`verify_answer`](super::verify_answer)
/// when the record does not fit the panel or the market.
pub fn load_order(
    folder: &Path,
    order_id: OrderId,
    panel: &Panel,
    network: &Network,
) -> Result<PlacedOrder, ClientError> {
    let path = order_file(folder, order_id);
    if !path.exists() {
        return Err(ClientError::UnknownOrder(order_id));
    }
    let record = file::load_record(&path)?;
    let ordered = open::verify_order(&record, panel, network)?;
    if ordered.order_id != order_id {
        return Err(AnswerError::OtherOrder("order id").into());
    }
    Ok(PlacedOrder { order_id, order: ordered.order, record })
}

/// Returns the escrow of an order that was not answered before its deadline; does nothing where it is back already.
///
/// # Errors
/// [`ClientError::Call`] with the contract's reason, for example that the deadline has not passed or that the order is
/// settled.
pub async fn refund_order(services: &Services, order_id: OrderId) -> Result<(), ClientError> {
    let request = exchange_pb::RefundOrderRequest { order_id: order_id.0.0.to_vec().into() };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.refund_order(request).await }
    };
    retrying(name::EXCHANGE, call).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusing::services_refusing;

    #[tokio::test]
    async fn a_refund_that_the_exchange_refuses_is_no_refund() {
        for code in [Code::AlreadyExists, Code::FailedPrecondition] {
            let refused = refund_order(&services_refusing(code), OrderId(Digest32([1; 32]))).await;
            let Err(ClientError::Call(error)) = refused else { panic!("{refused:?} for {code:?}") };
            assert_eq!(error.code, code);
        }
    }
}
