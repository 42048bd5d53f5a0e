//! The gRPC face of the exchange: messages in, messages out, no decisions.

use crate::{
    error::ExchangeError,
    exchange::Exchange,
    offers::OfferPage,
    record,
    registrations::{RegistrationKey, SignedBatch},
};
use bytes::Bytes;
use locus_genomics::{PANEL_NAME_BYTES_MAX, PANEL_VARIANTS_MAX, PanelDigest};
use locus_ledger::{
    Ciphertexts, CohortEvidence, DatasetLeaf, Offer, Order, OrderId, OrderState, PermitSignature, Registration,
    RegistrationId, Settlement,
};
use locus_privacy::BATCH_SIZE_MAX;
use locus_service::{MESSAGE_BYTES_MAX, to_status};
use locus_wire::{
    convert::{
        Earning, FieldError, FieldErrorKind, field, parse_generation, parse_payees, parse_rekeyed_keys,
        parse_settlement_signatures,
    },
    pb::exchange::{
        self as pb,
        exchange_service_server::{ExchangeService, ExchangeServiceServer},
        get_registration_request::Key,
    },
};
use tonic::{Request, Response, Status};

/// Most datasets of a registration.
const BATCH_MAX: usize = BATCH_SIZE_MAX as usize;

/// Builds the service.
pub(crate) fn service(exchange: Exchange) -> ExchangeServiceServer<Grpc> {
    ExchangeServiceServer::new(Grpc(exchange))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) struct Grpc(Exchange);

type Answer<T> = Result<Response<T>, Status>;

/// The one place where an error becomes a status.
fn respond<T>(result: Result<T, ExchangeError>) -> Answer<T> {
    result.map(Response::new).map_err(|error| to_status(&error))
}

fn transaction(hash: [u8; 32]) -> Bytes {
    Bytes::copy_from_slice(&hash)
}

#[tonic::async_trait]
impl ExchangeService for Grpc {
    async fn get_network(&self, _: Request<pb::GetNetworkRequest>) -> Answer<pb::GetNetworkResponse> {
        respond(self.0.network().await.map(|info| (&info).into()))
    }

    async fn get_registration(
        &self,
        request: Request<pb::GetRegistrationRequest>,
    ) -> Answer<pb::GetRegistrationResponse> {
        respond(self.registration(request.get_ref()).await)
    }

    async fn publish_panel(&self, request: Request<pb::PublishPanelRequest>) -> Answer<pb::PublishPanelResponse> {
        respond(self.recorded("PublishPanel", self.publish(request.get_ref())).await)
    }

    async fn register_datasets(
        &self,
        request: Request<pb::RegisterDatasetsRequest>,
    ) -> Answer<pb::RegisterDatasetsResponse> {
        respond(self.recorded("RegisterDatasets", self.register(request.get_ref())).await)
    }

    async fn post_offer(&self, request: Request<pb::PostOfferRequest>) -> Answer<pb::PostOfferResponse> {
        respond(self.recorded("PostOffer", self.offer(request.get_ref())).await)
    }

    async fn withdraw_offer(&self, request: Request<pb::WithdrawOfferRequest>) -> Answer<pb::WithdrawOfferResponse> {
        respond(self.recorded("WithdrawOffer", self.withdraw(request.get_ref())).await)
    }

    async fn list_offers(&self, request: Request<pb::ListOffersRequest>) -> Answer<pb::ListOffersResponse> {
        respond(self.list(request.get_ref()).await)
    }

    async fn revoke_datasets(&self, request: Request<pb::RevokeDatasetsRequest>) -> Answer<pb::RevokeDatasetsResponse> {
        respond(self.recorded("RevokeDatasets", self.revoke(request.get_ref())).await)
    }

    async fn rekey_datasets(&self, request: Request<pb::RekeyDatasetsRequest>) -> Answer<pb::RekeyDatasetsResponse> {
        respond(self.recorded("RekeyDatasets", self.rekey(request.get_ref())).await)
    }

    async fn record_erasure(&self, request: Request<pb::RecordErasureRequest>) -> Answer<pb::RecordErasureResponse> {
        respond(self.recorded("RecordErasure", self.erasure(request.get_ref())).await)
    }

    async fn open_order(&self, request: Request<pb::OpenOrderRequest>) -> Answer<pb::OpenOrderResponse> {
        respond(self.recorded("OpenOrder", self.open(request.get_ref())).await)
    }

    async fn settle_order(&self, request: Request<pb::SettleOrderRequest>) -> Answer<pb::SettleOrderResponse> {
        respond(self.recorded("SettleOrder", self.settle(request.get_ref())).await)
    }

    async fn refund_order(&self, request: Request<pb::RefundOrderRequest>) -> Answer<pb::RefundOrderResponse> {
        respond(self.recorded("RefundOrder", self.refund(request.get_ref())).await)
    }

    async fn get_order(&self, request: Request<pb::GetOrderRequest>) -> Answer<pb::GetOrderResponse> {
        respond(self.order(request.get_ref()).await)
    }

    async fn get_account(&self, request: Request<pb::GetAccountRequest>) -> Answer<pb::GetAccountResponse> {
        respond(self.account(request.get_ref()).await)
    }

    async fn claim_payout(&self, request: Request<pb::ClaimPayoutRequest>) -> Answer<pb::ClaimPayoutResponse> {
        respond(self.recorded("ClaimPayout", self.claim(request.get_ref())).await)
    }

    async fn list_earnings(&self, request: Request<pb::ListEarningsRequest>) -> Answer<pb::ListEarningsResponse> {
        respond(self.earnings(request.get_ref()).await)
    }

    async fn mint_test_tokens(
        &self,
        request: Request<pb::MintTestTokensRequest>,
    ) -> Answer<pb::MintTestTokensResponse> {
        respond(self.recorded("MintTestTokens", self.mint(request.get_ref())).await)
    }
}

/// From messages to calls.
impl Grpc {
    /// Does what is asked by `call`, whose transactions are on record before they are sent, and on disk before the answer.
    async fn recorded<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, ExchangeError>>,
    ) -> Result<T, ExchangeError> {
        let outcome = record::during(call, work).await;
        self.0.inner().audit.flush()?;
        outcome
    }

    async fn registration(
        &self,
        request: &pb::GetRegistrationRequest,
    ) -> Result<pb::GetRegistrationResponse, ExchangeError> {
        let key = match field::required("key", &request.key)? {
            Key::RegistrationId(number) => RegistrationKey::Number(RegistrationId(*number)),
            Key::Batch(batch) => RegistrationKey::Batch {
                registrant: field::address("batch.registrant", &batch.registrant)?,
                batch_nonce: batch.batch_nonce,
            },
        };
        self.0.registration(key, request.ordinal).await
    }

    async fn publish(&self, request: &pb::PublishPanelRequest) -> Result<pb::PublishPanelResponse, ExchangeError> {
        let panel = PanelDigest(field::array("panel_digest", &request.panel_digest)?);
        let name_bytes = request.name.len();
        if !(1..=PANEL_NAME_BYTES_MAX).contains(&name_bytes) {
            let kind = FieldErrorKind::TooLong { max: PANEL_NAME_BYTES_MAX, got: name_bytes };
            return Err(FieldError::new("name", kind).into());
        }
        let variant_count = field::in_range("variant_count", request.variant_count, 1, u64::from(PANEL_VARIANTS_MAX))?;
        let hash = self.0.publish_panel(panel, &request.name, variant_count, request.complete_calls).await?;
        Ok(pb::PublishPanelResponse { tx_hash: transaction(hash) })
    }

    async fn register(
        &self,
        request: &pb::RegisterDatasetsRequest,
    ) -> Result<pb::RegisterDatasetsResponse, ExchangeError> {
        let registration = Registration::try_from(field::required("registration", &request.registration)?)?;
        if request.leaves.len() > BATCH_MAX {
            let kind = FieldErrorKind::TooLong { max: BATCH_MAX, got: request.leaves.len() };
            return Err(FieldError::new("leaves", kind).into());
        }
        let leaves = request.leaves.iter().map(DatasetLeaf::try_from).collect::<Result<Vec<_>, _>>()?;
        let accreditor_signature = match registration.accreditor {
            Some(_) => field::signature("accreditor_signature", &request.accreditor_signature)?,
            None if request.accreditor_signature.is_empty() => Vec::new(),
            None => {
                return Err(FieldError::refused("accreditor_signature", "the registration names no accreditor").into());
            }
        };
        let batch = SignedBatch {
            registration,
            ciphertexts: parse_ciphertexts(request)?,
            leaves,
            registrant_signature: field::signature("registrant_signature", &request.registrant_signature)?,
            accreditor_signature,
            attestations: parse_attestations(&request.attestations)?,
        };
        self.0.register(&batch).await
    }

    async fn offer(&self, request: &pb::PostOfferRequest) -> Result<pb::PostOfferResponse, ExchangeError> {
        let offer = Offer::try_from(field::required("offer", &request.offer)?)?;
        let signature = field::signature("signature", &request.signature)?;
        Ok(pb::PostOfferResponse { tx_hash: transaction(self.0.post_offer(&offer, &signature).await?) })
    }

    async fn withdraw(&self, request: &pb::WithdrawOfferRequest) -> Result<pb::WithdrawOfferResponse, ExchangeError> {
        let signature = field::signature("signature", &request.signature)?;
        let registration = RegistrationId(request.registration_id);
        let hash = self.0.withdraw_offer(registration, request.nonce, &signature).await?;
        Ok(pb::WithdrawOfferResponse { tx_hash: transaction(hash) })
    }

    async fn list(&self, request: &pb::ListOffersRequest) -> Result<pb::ListOffersResponse, ExchangeError> {
        let panel = if request.panel_digest.is_empty() {
            None
        } else {
            Some(PanelDigest(field::array("panel_digest", &request.panel_digest)?))
        };
        let page = OfferPage::parse(panel, request.page_size, &request.page_token)?;
        self.0.list_offers(&page).await
    }

    async fn revoke(&self, request: &pb::RevokeDatasetsRequest) -> Result<pb::RevokeDatasetsResponse, ExchangeError> {
        let ordinals = parse_ordinals(&request.ordinals)?;
        let signature = field::signature("signature", &request.signature)?;
        let registration = RegistrationId(request.registration_id);
        let hash = self.0.revoke(registration, &ordinals, request.deadline_unix_s, &signature).await?;
        Ok(pb::RevokeDatasetsResponse { tx_hash: transaction(hash) })
    }

    async fn rekey(&self, request: &pb::RekeyDatasetsRequest) -> Result<pb::RekeyDatasetsResponse, ExchangeError> {
        let generation = parse_generation("generation", request.generation)?;
        let keys = parse_rekeyed_keys("keys", &request.keys)?;
        let attestations = parse_attestations(&request.attestations)?;
        let registration = RegistrationId(request.registration_id);
        let deadline_unix_s = request.deadline_unix_s;
        let hash = self.0.rekey(registration, generation, &keys, deadline_unix_s, &attestations).await?;
        Ok(pb::RekeyDatasetsResponse { tx_hash: hash.map(transaction).unwrap_or_default() })
    }

    async fn erasure(&self, request: &pb::RecordErasureRequest) -> Result<pb::RecordErasureResponse, ExchangeError> {
        let ordinals = parse_ordinals(&request.ordinals)?;
        let keyholder = field::keyholder("keyholder", request.keyholder)?;
        let signature = field::signature("signature", &request.signature)?;
        let registration = RegistrationId(request.registration_id);
        let hash = self.0.record_erasure(registration, &ordinals, keyholder, &signature).await?;
        Ok(pb::RecordErasureResponse { tx_hash: transaction(hash) })
    }

    async fn open(&self, request: &pb::OpenOrderRequest) -> Result<pb::OpenOrderResponse, ExchangeError> {
        let order = Order::try_from(field::required("order", &request.order)?)?;
        let signature = field::signature("signature", &request.signature)?;
        let permit = request.permit.as_ref().map(parse_permit).transpose()?;
        let (order_id, hash, block_number) = self.0.open_order(&order, &signature, permit.as_ref()).await?;
        Ok(pb::OpenOrderResponse { order_id: order_id.0.0.to_vec().into(), block_number, tx_hash: transaction(hash) })
    }

    async fn settle(&self, request: &pb::SettleOrderRequest) -> Result<pb::SettleOrderResponse, ExchangeError> {
        let settlement = Settlement::try_from(field::required("settlement", &request.settlement)?)?;
        let signatures = parse_settlement_signatures(&request.signatures)?;
        let payees = parse_payees(&request.payees, settlement.price)?;
        let evidence = request.cohort.as_ref().map(CohortEvidence::try_from).transpose()?;
        let hash = self.0.settle(&settlement, &signatures, evidence.as_ref(), payees).await?;
        Ok(pb::SettleOrderResponse { tx_hash: hash.map(transaction).unwrap_or_default() })
    }

    async fn refund(&self, request: &pb::RefundOrderRequest) -> Result<pb::RefundOrderResponse, ExchangeError> {
        let order = OrderId(field::digest("order_id", &request.order_id)?);
        let hash = self.0.refund_order(order).await?;
        Ok(pb::RefundOrderResponse { tx_hash: hash.map(transaction).unwrap_or_default() })
    }

    async fn order(&self, request: &pb::GetOrderRequest) -> Result<pb::GetOrderResponse, ExchangeError> {
        let record = self.0.order(OrderId(field::digest("order_id", &request.order_id)?)).await?;
        let (state, settlement) = match record.state {
            OrderState::Open => (pb::OrderState::Open, None),
            OrderState::Settled(settlement) => (pb::OrderState::Settled, Some((&settlement).into())),
            OrderState::Refunded => (pb::OrderState::Refunded, None),
        };
        Ok(pb::GetOrderResponse { state: state.into(), order: Some((&record.order).into()), settlement })
    }

    async fn account(&self, request: &pb::GetAccountRequest) -> Result<pb::GetAccountResponse, ExchangeError> {
        let state = self.0.account(field::address("account", &request.account)?).await?;
        Ok(pb::GetAccountResponse {
            balance: field::amount_text(state.balance),
            earned: field::amount_text(state.earned),
            claimed: field::amount_text(state.claimed),
            permit_nonce: state.permit_nonce,
        })
    }

    async fn earnings(&self, request: &pb::ListEarningsRequest) -> Result<pb::ListEarningsResponse, ExchangeError> {
        let after = match request.after_account.is_empty() {
            true => None,
            false => Some(field::address("after_account", &request.after_account)?),
        };
        let page = self.0.earnings(after).await?;
        let message = |(account, cumulative)| Earning { account, cumulative }.into();
        Ok(pb::ListEarningsResponse {
            payout_sequence: page.version.sequence,
            earnings: page.earnings.into_iter().map(message).collect(),
            is_last: page.is_last,
        })
    }

    async fn claim(&self, request: &pb::ClaimPayoutRequest) -> Result<pb::ClaimPayoutResponse, ExchangeError> {
        let claimed = self.0.claim(field::address("account", &request.account)?).await?;
        Ok(pb::ClaimPayoutResponse {
            paid: field::amount_text(claimed.paid),
            tx_hash: claimed.transaction.map(transaction).unwrap_or_default(),
        })
    }

    async fn mint(&self, request: &pb::MintTestTokensRequest) -> Result<pb::MintTestTokensResponse, ExchangeError> {
        let account = field::address("account", &request.account)?;
        let amount = field::amount("amount", &request.amount)?;
        Ok(pb::MintTestTokensResponse { tx_hash: transaction(self.0.mint(account, amount).await?) })
    }
}

/// Ordinals of one registration, at least one.
/// Signatures of keyholders 1, 2 and 3.
fn parse_attestations(signatures: &[Bytes]) -> Result<[Vec<u8>; 3], FieldError> {
    let [first, second, third] = signatures else {
        let kind = FieldErrorKind::Length { expected: 3, got: signatures.len() };
        return Err(FieldError::new("attestations", kind));
    };
    let attestation = |bytes: &Bytes| field::signature("attestations", bytes);
    Ok([attestation(first)?, attestation(second)?, attestation(third)?])
}

fn parse_ordinals(ordinals: &[u32]) -> Result<Vec<u32>, FieldError> {
    if ordinals.is_empty() {
        return Err(FieldError::new("ordinals", FieldErrorKind::Missing));
    }
    field::ascending("ordinals", ordinals, u64::from(BATCH_SIZE_MAX), BATCH_MAX)
}

fn parse_permit(permit: &pb::Permit) -> Result<PermitSignature, FieldError> {
    Ok(PermitSignature {
        value: field::amount("permit.value", &permit.value)?,
        deadline_unix_s: permit.deadline_unix_s,
        signature: field::array("permit.signature", &permit.signature)?,
    })
}

/// Commitments to the ciphertexts: one for each leaf, or none at all.
fn parse_ciphertexts(request: &pb::RegisterDatasetsRequest) -> Result<Option<Ciphertexts>, FieldError> {
    let messages = &request.ciphertext_commitments;
    if messages.is_empty() {
        return match request.proven {
            false => Ok(None),
            true => Err(FieldError::refused("proven", "only batches with commitments to ciphertexts say so")),
        };
    }
    if messages.len() != request.leaves.len() {
        let kind = FieldErrorKind::Length { expected: request.leaves.len(), got: messages.len() };
        return Err(FieldError::new("ciphertext_commitments", kind));
    }
    let point = |bytes: &Bytes| field::ciphertext_commitment("ciphertext_commitments", bytes);
    let points = messages.iter().map(|bytes| Ok(point(bytes)?.to_bytes())).collect::<Result<Vec<_>, FieldError>>()?;
    Ok(Some(Ciphertexts::of_points(&points, request.proven)))
}
