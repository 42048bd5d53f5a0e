//! What a payment token says about itself.

use super::{Chain, LedgerError};
use crate::bindings::token::LocusToken;

use alloy_primitives::Address as EvmAddress;
use locus_commitment::Address;

/// What decides whether a market can pay with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// Its EIP-712 name, part of what a permit signs.
    pub name: String,
    /// Decimal places of its amounts.
    pub decimals: u8,
    /// Whether it is the test token, which its admin creates at will.
    pub is_test_token: bool,
}

impl Chain {
    /// Asks a token with EIP-2612 permits about itself.
    ///
    /// # Errors
    /// [`LedgerError::UnexpectedAnswer`] or a refusal when there is no such token.
    pub async fn token_facts(&self, token: Address) -> Result<TokenFacts, LedgerError> {
        let name = self.read(token, &LocusToken::nameCall {}).await?;
        let decimals = self.read(token, &LocusToken::decimalsCall {}).await?;
        // Both belong to permits.
        self.read(token, &LocusToken::DOMAIN_SEPARATORCall {}).await?;
        self.read(token, &LocusToken::noncesCall { owner: EvmAddress::ZERO }).await?;
        let minter = self.read(token, &LocusToken::MINTER_ROLECall {}).await;
        Ok(TokenFacts { name, decimals, is_test_token: minter.is_ok() })
    }
}
