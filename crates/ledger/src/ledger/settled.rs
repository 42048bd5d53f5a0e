//! Settlements as the transactions that made them show them: with what the contracts do not keep.

use super::{Ledger, LedgerError, SettlementSignatures, words::settlement_of};
use crate::{
    bindings::escrow::{IQueryEscrow, QueryEscrow},
    eip712::evm,
    proven::{Cohort, CohortChoice, cohort_of_words},
    types::Settlement,
    view::EVENT_PAGE_BLOCKS,
};
use alloy_consensus::Transaction as _;
use alloy_network::TransactionResponse as _;
use alloy_primitives::{Bytes, U256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::{Filter, Log};
use alloy_sol_types::{SolCall as _, SolEvent as _, SolValue as _};

/// A settlement with who signed it, and in markets that settle on proven cohorts with its cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSettlement {
    /// The settlement.
    pub settlement: Settlement,
    /// The proven cohort.
    pub cohort: Option<(CohortChoice, Cohort)>,
    /// The keyholders' signatures.
    pub signatures: SettlementSignatures,
}

/// What a proven settlement shows beside itself: order, number of the root, day, accredited only, proven only,
/// highest price, cohort, keyholders, signatures.
type ProvenEvidence = (IQueryEscrow::Order, u64, u16, bool, bool, U256, [U256; 6], Vec<U256>, Vec<Bytes>);

impl Ledger {
    /// The settlements of these blocks, in the order of the chain. `on_cohorts` says whether they rest on proven
    /// cohorts.
    ///
    /// # Errors
    /// [`LedgerError::Value`] for one that was not sent to the escrow directly.
    pub async fn shown_settlements(
        &self,
        first_block: u64,
        last_block: u64,
        on_cohorts: bool,
    ) -> Result<Vec<ShownSettlement>, LedgerError> {
        let filter = Filter::new()
            .address(evm(self.contracts.escrow))
            .event_signature(QueryEscrow::OrderSettled::SIGNATURE_HASH);
        let mut shown = Vec::new();
        for log in self.logs(&filter, first_block, last_block).await? {
            let hash = log.transaction_hash.ok_or(LedgerError::UnexpectedAnswer)?;
            let found = self.chain.ask(self.chain.provider.get_transaction_by_hash(hash).into_future()).await?;
            let transaction = found.ok_or(LedgerError::UnexpectedAnswer)?;
            if transaction.tx_hash() != hash || transaction.to() != Some(evm(self.contracts.escrow)) {
                return Err(LedgerError::Value("a settlement that was not sent to the escrow directly"));
            }
            shown.push(parse(transaction.input(), on_cohorts)?);
        }
        Ok(shown)
    }

    /// The logs of these blocks in order, read in pages that the node can answer.
    pub(super) async fn logs(
        &self,
        filter: &Filter,
        first_block: u64,
        last_block: u64,
    ) -> Result<Vec<Log>, LedgerError> {
        let chain = &self.chain;
        let mut all = Vec::new();
        let mut from = first_block;
        while from <= last_block {
            let mut to = last_block.min(from.saturating_add(EVENT_PAGE_BLOCKS - 1));
            let page = loop {
                let filter = filter.clone().from_block(from).to_block(to);
                match chain.ask(chain.provider.get_logs(&filter)).await {
                    Err(error) if error.is_too_many_logs() && to > from => to = from + (to - from) / 2,
                    outcome => break outcome?,
                }
            };
            all.extend(page.into_iter().filter(|log| !log.removed));
            from = to + 1;
        }
        all.sort_by_key(|log| (log.block_number, log.log_index));
        Ok(all)
    }
}

fn parse(input: &[u8], on_cohorts: bool) -> Result<ShownSettlement, LedgerError> {
    let unreadable = |_| LedgerError::Value("the evidence of a settlement");
    let call = QueryEscrow::settleOrderCall::abi_decode(input).map_err(unreadable)?;
    let settlement = settlement_of(&call.settlement);
    if !on_cohorts {
        let (keyholders, signatures) =
            <(Vec<U256>, Vec<Bytes>)>::abi_decode_params(&call.evidence).map_err(unreadable)?;
        return Ok(ShownSettlement { settlement, cohort: None, signatures: signed_by(&keyholders, &signatures)? });
    }
    let (_, sequence, day, accredited_only, proven_only, price_max, cohort, keyholders, signatures) =
        ProvenEvidence::abi_decode(&call.evidence).map_err(unreadable)?;
    let price_max_units = u64::try_from(price_max).map_err(|_| LedgerError::Value("the highest price of a cohort"))?;
    let choice = CohortChoice { sequence, day, accredited_only, proven_only, price_max_units };
    let cohort = cohort_of_words(&cohort).ok_or(LedgerError::Value("a cohort"))?;
    let signatures = signed_by(&keyholders, &signatures)?;
    Ok(ShownSettlement { settlement, cohort: Some((choice, cohort)), signatures })
}

fn signed_by(keyholders: &[U256], signatures: &[Bytes]) -> Result<SettlementSignatures, LedgerError> {
    if keyholders.len() != signatures.len() {
        return Err(LedgerError::Value("the evidence of a settlement"));
    }
    let number = |keyholder: &U256| u8::try_from(*keyholder).map_err(|_| LedgerError::Value("a keyholder"));
    let pairs =
        keyholders.iter().zip(signatures).map(|(keyholder, signature)| Ok((number(keyholder)?, signature.to_vec())));
    Ok(SettlementSignatures(pairs.collect::<Result<_, LedgerError>>()?))
}
