//! Offers, orders with escrow, payouts and the token.

use super::{
    Ledger, LedgerError,
    words::{amount, bytes, offer_words, order_words, settlement_words, transaction},
};
use crate::{
    amount::Amount,
    bindings::{
        escrow::{IQueryEscrow, QueryEscrow},
        offers::OfferBook,
        token::LocusToken,
    },
    eip712::evm,
    payouts::PayoutProof,
    types::{Offer, Order, OrderId, RegistrationId, Settlement},
};
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_sol_types::{SolCall, SolValue as _};
use locus_commitment::{Address, Digest32};

/// A signed EIP-2612 permit for the escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermitSignature {
    /// Tokens that the escrow may take.
    pub value: Amount,
    /// The permit can be used until then.
    pub deadline_unix_s: u64,
    /// r, s, v.
    pub signature: [u8; 65],
}

/// Signatures of keyholders over a settlement: (keyholder, signature), ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementSignatures(pub Vec<(u8, Vec<u8>)>);

/// Where an order stands at the head of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    /// Never opened.
    Unknown,
    /// Funded, not settled.
    Open,
    /// Settled.
    Settled,
    /// Escrow returned.
    Refunded,
}

/// Offers.
impl Ledger {
    /// Posts an offer of the sending account.
    pub async fn post_own_offer(&self, offer: &Offer) -> Result<Digest32, LedgerError> {
        let call = OfferBook::postOfferCall { offer: offer_words(offer) };
        let receipt = self.chain.execute(self.contracts.offer_book, &call).await?;
        Ok(transaction(&receipt))
    }

    /// Withdraws the offer of a registration of the sending account, whatever its nonce.
    pub async fn withdraw_own_offer(&self, registration: RegistrationId) -> Result<Digest32, LedgerError> {
        let call = OfferBook::withdrawOfferCall { registrationId: registration.0 };
        let receipt = self.chain.execute(self.contracts.offer_book, &call).await?;
        Ok(transaction(&receipt))
    }

    /// Posts an offer with the registrant's signature.
    pub async fn post_offer(&self, offer: &Offer, signature: &[u8]) -> Result<Digest32, LedgerError> {
        let call = OfferBook::postOfferSignedCall { offer: offer_words(offer), signature: bytes(signature) };
        let receipt = self.chain.execute(self.contracts.offer_book, &call).await?;
        Ok(transaction(&receipt))
    }

    /// Withdraws the offer with this nonce, with the registrant's signature.
    pub async fn withdraw_offer(
        &self,
        registration: RegistrationId,
        nonce: u64,
        signature: &[u8],
    ) -> Result<Digest32, LedgerError> {
        let call =
            OfferBook::withdrawOfferSignedCall { registrationId: registration.0, nonce, signature: bytes(signature) };
        let receipt = self.chain.execute(self.contracts.offer_book, &call).await?;
        Ok(transaction(&receipt))
    }

    /// Nonce of the registration's latest offer; 0 before the first.
    pub async fn offer_nonce(&self, registration: RegistrationId) -> Result<u64, LedgerError> {
        let call = OfferBook::offerNonceCall { registrationId: registration.0 };
        self.chain.read(self.contracts.offer_book, &call).await
    }
}

/// Escrow and token.
impl Ledger {
    async fn write_escrow<C: SolCall>(&self, call: &C) -> Result<TransactionReceipt, LedgerError> {
        self.chain.execute(self.contracts.escrow, call).await
    }

    async fn read_escrow<C: SolCall>(&self, call: &C) -> Result<C::Return, LedgerError> {
        self.chain.read(self.contracts.escrow, call).await
    }

    /// Opens an order with the researcher's signature, and a permit if one is given. Returns the
    /// transaction and its block.
    pub async fn open_order(
        &self,
        order: &Order,
        signature: &[u8],
        permit: Option<&PermitSignature>,
    ) -> Result<(Digest32, u64), LedgerError> {
        let (words, signature) = (order_words(order), bytes(signature));
        let receipt = match permit {
            None => self.write_escrow(&QueryEscrow::openOrderCall { order: words, signature }).await?,
            Some(permit) => {
                let (rs, v) = permit.signature.split_at(64);
                let (r, s) = rs.split_at(32);
                let permit = IQueryEscrow::Permit {
                    value: U256::from(permit.value.0),
                    deadline: U256::from(permit.deadline_unix_s),
                    v: v.first().copied().unwrap_or(0),
                    r: B256::from_slice(r),
                    s: B256::from_slice(s),
                };
                self.write_escrow(&QueryEscrow::openOrderWithPermitCall { order: words, signature, permit }).await?
            }
        };
        Ok((transaction(&receipt), receipt.block_number.ok_or(LedgerError::UnexpectedAnswer)?))
    }

    /// Settles an order with keyholder signatures.
    pub async fn settle_order(
        &self,
        settlement: &Settlement,
        signatures: &SettlementSignatures,
    ) -> Result<Digest32, LedgerError> {
        let (keyholders, signatures): (Vec<_>, Vec<_>) =
            signatures.0.iter().map(|(keyholder, signature)| (U256::from(*keyholder), bytes(signature))).unzip();
        let call = QueryEscrow::settleOrderCall {
            settlement: settlement_words(settlement),
            evidence: (keyholders, signatures).abi_encode_params().into(),
        };
        self.write_escrow(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Returns the escrow of an order whose deadline has passed.
    pub async fn refund_order(&self, order: OrderId) -> Result<Digest32, LedgerError> {
        let call = QueryEscrow::refundOrderCall { orderId: B256::from(order.0.0) };
        self.write_escrow(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Pays an account what the proof says it has earned and was not paid yet.
    pub async fn claim_payout(&self, proof: &PayoutProof) -> Result<Digest32, LedgerError> {
        let call = QueryEscrow::claimPayoutCall {
            account: evm(proof.account),
            cumulative: U256::from(proof.cumulative.0),
            proof: proof.path.iter().map(|node| B256::from(node.0)).collect(),
        };
        self.write_escrow(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Pays a researcher back what the token refused to pay back before.
    pub async fn withdraw_deferred(&self, researcher: Address) -> Result<Digest32, LedgerError> {
        let call = QueryEscrow::withdrawDeferredCall { researcher: evm(researcher) };
        self.write_escrow(&call).await.map(|receipt| transaction(&receipt))
    }

    /// What waits for [`withdraw_deferred`](Self::withdraw_deferred).
    pub async fn deferred_refund(&self, researcher: Address) -> Result<Amount, LedgerError> {
        amount(self.read_escrow(&QueryEscrow::deferredRefundCall { researcher: evm(researcher) }).await?)
    }

    /// Where an order stands at the head of the chain.
    pub async fn order_status(&self, order: OrderId) -> Result<OrderStatus, LedgerError> {
        let record = self.read_escrow(&QueryEscrow::orderRecordCall { orderId: B256::from(order.0.0) }).await?;
        match record.state {
            0 => Ok(OrderStatus::Unknown),
            1 => Ok(OrderStatus::Open),
            2 => Ok(OrderStatus::Settled),
            3 => Ok(OrderStatus::Refunded),
            _ => Err(LedgerError::Value("state of an order")),
        }
    }

    /// The root of cumulative earnings.
    pub async fn payout_root(&self) -> Result<Digest32, LedgerError> {
        Ok(Digest32(self.read_escrow(&QueryEscrow::payoutRootCall {}).await?.0))
    }

    /// Number of the last settlement.
    pub async fn payout_sequence(&self) -> Result<u64, LedgerError> {
        self.read_escrow(&QueryEscrow::payoutSequenceCall {}).await
    }

    /// What an account was paid so far.
    pub async fn claimed(&self, account: Address) -> Result<Amount, LedgerError> {
        amount(self.read_escrow(&QueryEscrow::claimedCall { account: evm(account) }).await?)
    }

    /// Tokens of an account.
    pub async fn balance(&self, account: Address) -> Result<Amount, LedgerError> {
        let call = LocusToken::balanceOfCall { account: evm(account) };
        amount(self.chain.read(self.contracts.token, &call).await?)
    }

    /// An account's next permit nonce in the token.
    pub async fn permit_nonce(&self, account: Address) -> Result<u64, LedgerError> {
        let call = LocusToken::noncesCall { owner: evm(account) };
        let nonce = self.chain.read(self.contracts.token, &call).await?;
        u64::try_from(nonce).map_err(|_| LedgerError::Value("permit nonce"))
    }

    /// The token's EIP-712 name.
    pub async fn token_name(&self) -> Result<String, LedgerError> {
        self.chain.read(self.contracts.token, &LocusToken::nameCall {}).await
    }

    /// Mints test tokens; only where this account may.
    pub async fn mint(&self, account: Address, amount: Amount) -> Result<Digest32, LedgerError> {
        let call = LocusToken::mintCall { to: evm(account), amount: U256::from(amount.0) };
        let receipt = self.chain.execute(self.contracts.token, &call).await?;
        Ok(transaction(&receipt))
    }
}
