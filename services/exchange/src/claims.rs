//! Paying accounts what they have earned, at anybody's request.

use crate::{error::ExchangeError, exchange::Exchange};
use locus_commitment::Address;
use locus_ledger::{Amount, PayoutProof};
use locus_service::blocking;
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Claims under way at once: nodes hold a few dozen transactions of one account.
const CLAIMS_MAX: usize = 16;

/// What a claim paid.
pub(crate) struct Claimed {
    pub(crate) paid: Amount,
    /// `None` when nothing was left to pay.
    pub(crate) transaction: Option<[u8; 32]>,
}

/// The accounts whose claims are under way.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<BTreeSet<Address>>);

/// Keeps a claim under way while it lives.
#[derive(Debug)]
struct Claiming<'a> {
    claims: &'a Claims,
    account: Address,
}

impl Claims {
    fn accounts(&self) -> MutexGuard<'_, BTreeSet<Address>> {
        // A set of accounts is sound whenever its lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. Of two claims of one account the second could only fail, and would cost gas.
    fn begin(&self, account: Address) -> Result<Claiming<'_>, ExchangeError> {
        let mut accounts = self.accounts();
        if accounts.contains(&account) {
            return Err(ExchangeError::ClaimUnderWay(account));
        }
        if accounts.len() >= CLAIMS_MAX {
            return Err(ExchangeError::TooManyClaims);
        }
        accounts.insert(account);
        Ok(Claiming { claims: self, account })
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.claims.accounts().remove(&self.account);
    }
}

impl Exchange {
    /// Pays an account everything that it has earned and was not paid yet.
    pub(crate) async fn claim(&self, account: Address) -> Result<Claimed, ExchangeError> {
        let nothing = Claimed { paid: Amount::ZERO, transaction: None };
        let _claiming = self.inner().claims.begin(account)?;
        let Some((proof, paid)) = self.claimable(account).await? else { return Ok(nothing) };
        match self.ledger().claim_payout(&proof).await {
            Ok(transaction) => Ok(Claimed { paid, transaction: Some(transaction.0) }),
            // Somebody else had it paid in between.
            Err(error) if error.refusal() == Some("QueryEscrowNothingToClaim") => Ok(nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// The proof of what an account has earned, and how much of it was not paid yet, if anything.
    async fn claimable(&self, account: Address) -> Result<Option<(PayoutProof, Amount)>, ExchangeError> {
        // A settlement that is not included yet would void the proof. One that starts after this does not wait for the
        // payment: should it come first nevertheless, the contract refuses the proof, and the caller tries again.
        let _no_settlement = self.inner().settling.lock().await;
        self.follow_payouts().await?;
        let book = self.inner().book.clone();
        let tree = blocking(move || book.tree()).await?;
        let Some(proof) = tree.proof(account) else { return Ok(None) };
        let before = self.ledger().claimed(account).await?;
        let unpaid = proof.cumulative.checked_sub(before).filter(|unpaid| *unpaid > Amount::ZERO);
        Ok(unpaid.map(|unpaid| (proof, unpaid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_under_way_are_few_and_of_different_accounts() {
        let claims = Claims::default();
        let account = |number: usize| Address([u8::try_from(number).expect("a byte"); 20]);
        let mut under_way: Vec<_> =
            (0..CLAIMS_MAX).map(|number| claims.begin(account(number)).expect("free")).collect();
        assert!(matches!(claims.begin(account(0)), Err(ExchangeError::ClaimUnderWay(first)) if first == account(0)));
        assert!(matches!(claims.begin(account(CLAIMS_MAX)), Err(ExchangeError::TooManyClaims)));
        under_way.remove(0);
        let _next = claims.begin(account(CLAIMS_MAX)).expect("a place is free");
        assert!(matches!(claims.begin(account(0)), Err(ExchangeError::TooManyClaims)));
    }
}
