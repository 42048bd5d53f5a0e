//! Registry roots, proven cohorts and settlements on them.

use super::{
    Ledger, LedgerError, SettlementSignatures,
    words::{bytes, order_words, settlement_words, transaction},
};
use crate::{
    bindings::{
        cohorts::{CohortVerifier, ICohortVerifier},
        escrow::QueryEscrow,
        registry::DatasetRegistry::OperationQueued,
        roots::{IRegistryRoots, RegistryRoots},
    },
    eip712::{evm, own},
    proven::{
        Cohort, CohortChoice, CohortId, CohortStatement, CohortStep, OperationQueue, PROOF_BYTES, QueuePlace,
        QueuedOperation, RootBatch, RootMove, RootSlice, TakenOperations, cohort_words, field_word, proof_words,
    },
    types::{Order, Settlement},
};
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{Filter, Log};
use alloy_sol_types::{SolCall, SolEvent as _, SolValue as _};
use locus_commitment::{Address, Digest32, field::FieldBytes};
use locus_genomics::PanelDigest;

/// The registry roots and proven cohorts of a market whose settlements need them.
#[derive(Debug, Clone)]
pub struct ProvenRegistry {
    ledger: Ledger,
    roots: Address,
}

impl Ledger {
    /// Whether settlements of this market need a proven cohort; then every dataset is registered with a
    /// commitment to its ciphertexts.
    pub async fn settles_on_cohorts(&self) -> Result<bool, LedgerError> {
        let verifier = self.contracts.verifier;
        match self.chain.read(verifier, &CohortVerifier::rootsCall {}).await {
            Ok(_) => Ok(true),
            Err(LedgerError::Transport(error)) if error.as_error_resp().is_some() => Ok(false),
            Err(LedgerError::Refused { .. } | LedgerError::UnexpectedAnswer) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl ProvenRegistry {
    /// Of a market; refused when its verifier knows of no roots.
    pub async fn open(ledger: Ledger) -> Result<Self, LedgerError> {
        let verifier = ledger.contracts.verifier;
        let roots = own(ledger.chain.read(verifier, &CohortVerifier::rootsCall {}).await?);
        Ok(Self { ledger, roots })
    }

    /// The market.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The contract that keeps the roots.
    pub fn roots(&self) -> Address {
        self.roots
    }

    async fn read_roots<C: SolCall>(&self, call: &C) -> Result<C::Return, LedgerError> {
        self.ledger.chain.read(self.roots, call).await
    }

    async fn read_cohorts<C: SolCall>(&self, call: &C) -> Result<C::Return, LedgerError> {
        self.ledger.chain.read(self.ledger.contracts.verifier, call).await
    }

    // ---- Roots ----

    /// A present or past root of a panel; refused when there is none of that number.
    pub async fn root_at(&self, panel: PanelDigest, sequence: u64) -> Result<FieldBytes, LedgerError> {
        let call = RegistryRoots::rootAtCall { panelDigest: B256::from(panel.0), sequence_: sequence };
        Ok(FieldBytes(self.read_roots(&call).await?.to_be_bytes()))
    }

    /// When the oldest operation was queued that is not in a root; `None` when all are.
    pub async fn missing_since_unix_s(&self, panel: PanelDigest, sequence: u64) -> Result<Option<u64>, LedgerError> {
        let call = RegistryRoots::missingSinceCall { panelDigest: B256::from(panel.0), sequence_: sequence };
        Ok(Some(self.read_roots(&call).await?).filter(|since| *since < u64::MAX))
    }

    /// How far the present root of a panel has come. Ask again when a proof is refused: somebody else
    /// may have moved the root.
    pub async fn taken_operations(&self, panel: PanelDigest) -> Result<TakenOperations, LedgerError> {
        let panel_digest = B256::from(panel.0);
        let sequence = self.read_roots(&RegistryRoots::sequenceCall { panelDigest: panel_digest }).await?;
        let taken = self.read_roots(&RegistryRoots::takenCall { panelDigest: panel_digest }).await?;
        Ok(TakenOperations {
            sequence,
            registry: QueuePlace { operations: taken.registryOperations, rest: Digest32(taken.registryRest.0) },
            offers: QueuePlace { operations: taken.offerOperations, rest: Digest32(taken.offerRest.0) },
        })
    }

    /// The operations of a panel that these blocks queued, in the order of the chain.
    pub async fn queued_operations(
        &self,
        panel: PanelDigest,
        first_block: u64,
        last_block: u64,
    ) -> Result<Vec<QueuedOperation>, LedgerError> {
        let queues = [self.ledger.contracts.network.registry, self.ledger.contracts.offer_book].map(evm);
        let filter = Filter::new()
            .address(queues.to_vec())
            .event_signature(OperationQueued::SIGNATURE_HASH)
            .topic1(B256::from(panel.0));
        let logs = self.ledger.logs(&filter, first_block, last_block).await?;
        logs.iter().map(|log| self.decode_operation(log)).collect()
    }

    /// The moves of a panel's root in these blocks, in the order of the chain.
    pub async fn root_moves(
        &self,
        panel: PanelDigest,
        first_block: u64,
        last_block: u64,
    ) -> Result<Vec<RootMove>, LedgerError> {
        let filter = Filter::new()
            .address(evm(self.roots))
            .event_signature(RegistryRoots::RegistryAdvanced::SIGNATURE_HASH)
            .topic1(B256::from(panel.0));
        let logs = self.ledger.logs(&filter, first_block, last_block).await?;
        logs.iter().map(decode_move).collect()
    }

    fn decode_operation(&self, log: &Log) -> Result<QueuedOperation, LedgerError> {
        let event = OperationQueued::decode_log(&log.inner).map_err(|_| LedgerError::UnexpectedAnswer)?.data;
        let queue = if own(log.inner.address) == self.ledger.contracts.network.registry {
            OperationQueue::Registry
        } else {
            OperationQueue::Offers
        };
        let words = |list: Vec<U256>| list.into_iter().map(|word| FieldBytes(word.to_be_bytes())).collect();
        let block = log.block_number.ok_or(LedgerError::UnexpectedAnswer)?;
        let operation =
            QueuedOperation { queue, index: event.index, block, heads: words(event.heads), words: words(event.words) };
        if operation.is_well_formed() { Ok(operation) } else { Err(LedgerError::Value("a queued operation")) }
    }

    /// Moves the root of a panel over a batch. Gives the transaction and the number of the new root.
    pub async fn advance_roots(
        &self,
        panel: PanelDigest,
        batch: &RootBatch,
        proof: &[u8; PROOF_BYTES],
    ) -> Result<(Digest32, u64), LedgerError> {
        let call = RegistryRoots::advanceCall {
            panelDigest: B256::from(panel.0),
            batch: IRegistryRoots::Batch {
                registry: batch.registry.iter().map(slice_words).collect(),
                offers: batch.offers.iter().map(slice_words).collect(),
                root: field_word(&batch.root),
                digest: field_word(&batch.digest),
            },
            proof: proof_words(proof),
        };
        let receipt = self.ledger.chain.execute(self.roots, &call).await?;
        let event = receipt.decoded_log::<RegistryRoots::RegistryAdvanced>().ok_or(LedgerError::UnexpectedAnswer)?;
        Ok((transaction(&receipt), event.sequence))
    }

    // ---- Cohorts ----

    /// Adds shards to a cohort that is proven, or to [`Cohort::empty`]; a repetition changes nothing.
    pub async fn prove_cohort(
        &self,
        statement: &CohortStatement,
        from: &Cohort,
        steps: &[CohortStep],
    ) -> Result<Digest32, LedgerError> {
        let call = CohortVerifier::proveCohortCall {
            statement: ICohortVerifier::Statement {
                panelDigest: B256::from(statement.panel.0),
                sequence: statement.sequence,
                policy: U256::from(statement.policy),
                condition: field_word(&statement.condition),
                priceMax: U256::from(statement.price_max_units),
            },
            from: cohort_struct(from),
            steps: steps
                .iter()
                .map(|step| ICohortVerifier::Step {
                    cohort: cohort_struct(&step.cohort),
                    digest: field_word(&step.digest),
                    proof: proof_words(&step.proof),
                })
                .collect(),
        };
        let receipt = self.ledger.chain.execute(self.ledger.contracts.verifier, &call).await?;
        Ok(transaction(&receipt))
    }

    /// Whether a cohort is proven at the head of the chain.
    pub async fn is_cohort_proven(&self, cohort: &CohortId) -> Result<bool, LedgerError> {
        self.read_cohorts(&CohortVerifier::isProvenCall { cohortId: B256::from(cohort.0.0) }).await
    }

    /// Longest that an operation may be missing from the root of a settlement.
    pub async fn root_age_max_s(&self) -> Result<u64, LedgerError> {
        self.read_cohorts(&CohortVerifier::rootAgeMaxCall {}).await
    }

    /// Settles an order on a proven cohort, with keyholders' signatures over both.
    pub async fn settle_on_cohort(
        &self,
        settlement: &Settlement,
        order: &Order,
        choice: &CohortChoice,
        cohort: &Cohort,
        signatures: &SettlementSignatures,
    ) -> Result<Digest32, LedgerError> {
        let (keyholders, signatures): (Vec<_>, Vec<_>) =
            signatures.0.iter().map(|(keyholder, signature)| (U256::from(*keyholder), bytes(signature))).unzip();
        let shown = (
            order_words(order),
            choice.sequence,
            choice.day,
            choice.accredited_only,
            choice.proven_only,
            U256::from(choice.price_max_units),
            cohort_words(cohort),
            keyholders,
            signatures,
        );
        let call = QueryEscrow::settleOrderCall {
            settlement: settlement_words(settlement),
            evidence: shown.abi_encode().into(),
        };
        let receipt = self.ledger.chain.execute(self.ledger.contracts.escrow, &call).await?;
        Ok(transaction(&receipt))
    }
}

fn decode_move(log: &Log) -> Result<RootMove, LedgerError> {
    let event = RegistryRoots::RegistryAdvanced::decode_log(&log.inner);
    let event = event.map_err(|_| LedgerError::UnexpectedAnswer)?.data;
    let events = |count: U256| u64::try_from(count).map_err(|_| LedgerError::Value("events of a batch"));
    Ok(RootMove {
        sequence: event.sequence,
        root: FieldBytes(event.root.to_be_bytes()),
        registry_events: events(event.registryEvents)?,
        offer_events: events(event.offerEvents)?,
        block: log.block_number.ok_or(LedgerError::UnexpectedAnswer)?,
    })
}

fn slice_words(slice: &RootSlice) -> IRegistryRoots::Slice {
    IRegistryRoots::Slice {
        heads: slice.heads.iter().map(field_word).collect(),
        words: slice.words.iter().map(field_word).collect(),
        rest: B256::from(slice.rest.0),
    }
}

fn cohort_struct(cohort: &Cohort) -> ICohortVerifier::Cohort {
    let [shard, size, total_price, x, y, payouts] = cohort_words(cohort);
    ICohortVerifier::Cohort { shard, size, totalPrice: total_price, pointX: x, pointY: y, payouts }
}
