//! Money: balances, earnings, claims.

use crate::{
    error::ClientError,
    service::{Services, name, retrying},
};
use locus_commitment::Address;
use locus_ledger::Amount;
use locus_wire::{
    convert::{FieldError, field},
    pb::exchange as pb,
};

/// What an account has and had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountState {
    /// Tokens held.
    pub balance: Amount,
    /// Everything ever earned, claimed or not.
    pub earned: Amount,
    /// Paid out so far.
    pub claimed: Amount,
    /// Nonce of the account's next token permit.
    pub permit_nonce: u64,
}

impl AccountState {
    /// Earned and not paid out yet.
    pub fn claimable(&self) -> Amount {
        self.earned.checked_sub(self.claimed).unwrap_or(Amount::ZERO)
    }
}

fn malformed(error: FieldError) -> ClientError {
    ClientError::Malformed { service: name::EXCHANGE, error }
}

/// Balance, earnings and claims of an account.
///
/// # Errors
/// [`ClientError::Call`] or [`ClientError::Malformed`].
pub async fn account_state(services: &Services, account: Address) -> Result<AccountState, ClientError> {
    let request = pb::GetAccountRequest { account: account.0.to_vec().into() };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.get_account(request).await }
    };
    let message = retrying(name::EXCHANGE, call).await?;
    Ok(AccountState {
        balance: field::amount("balance", &message.balance).map_err(malformed)?,
        earned: field::amount("earned", &message.earned).map_err(malformed)?,
        claimed: field::amount("claimed", &message.claimed).map_err(malformed)?,
        permit_nonce: message.permit_nonce,
    })
}

/// Pays an account everything that it has earned and was not paid yet; returns how much.
///
/// # Errors
/// [`ClientError::Call`] with the contract's reason.
pub async fn claim(services: &Services, account: Address) -> Result<Amount, ClientError> {
    let request = pb::ClaimPayoutRequest { account: account.0.to_vec().into() };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.claim_payout(request).await }
    };
    let message = retrying(name::EXCHANGE, call).await?;
    field::amount("paid", &message.paid).map_err(malformed)
}

/// Mints test tokens, at most a million a call; only on test networks.
///
/// # Errors
/// [`ClientError::Call`] on every other network.
pub async fn mint_test_tokens(services: &Services, account: Address, amount: Amount) -> Result<(), ClientError> {
    let request = pb::MintTestTokensRequest { account: account.0.to_vec().into(), amount: field::amount_text(amount) };
    // Not tried again: a second try would mint a second time.
    let minted = services.exchange.clone().mint_test_tokens(request).await;
    minted.map(|_| ()).map_err(|status| crate::service::CallError::new(name::EXCHANGE, &status).into())
}
