//! Reading from and writing to the market's contracts.

use super::{Ledger, LedgerError};
use crate::{
    amount::Amount,
    bindings::{
        escrow::{IQueryEscrow, QueryEscrow},
        offers::{IOfferBook, OfferBook},
        registry::{DatasetRegistry, IDatasetRegistry},
        token::LocusToken,
    },
    eip712::{audience_words, evm, leaf_words, uint96},
    payouts::PayoutProof,
    types::{DatasetLeaf, Offer, Order, OrderId, Registration, RegistrationId, Settlement, tier_code},
};
use alloy_primitives::{B256, Bytes, U256};
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_sol_types::{SolCall, SolValue as _};
use locus_commitment::{Address, Digest32};
use locus_genomics::PanelDigest;
use locus_privacy::{NetworkParameterValues, NetworkParameters, Rho};

/// A batch that is on the chain now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisteredBatch {
    /// Its number.
    pub registration: RegistrationId,
    /// Registry slot of its first dataset.
    pub first_slot: u64,
    /// The transaction.
    pub transaction: Digest32,
}

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

fn transaction(receipt: &TransactionReceipt) -> Digest32 {
    Digest32(receipt.transaction_hash.0)
}

fn bytes(signature: &[u8]) -> Bytes {
    Bytes::copy_from_slice(signature)
}

fn order_words(order: &Order) -> IQueryEscrow::Order {
    IQueryEscrow::Order {
        researcher: evm(order.researcher),
        panelDigest: B256::from(order.panel.0),
        selectionDigest: B256::from(order.selection_digest.0),
        predicateDigest: B256::from(order.predicate_digest.0),
        queryClass: order.query_class.code(),
        purpose: order.purpose,
        conditionDigest: B256::from(order.condition_digest.0),
        tier: tier_code(order.tier),
        rhoNano: order.rho.as_nano(),
        maxPrice: uint96(order.max_price),
        hpkeKeyDigest: B256::from(order.hpke_key_digest.0),
        deadline: order.deadline_unix_s,
        nonce: order.nonce,
    }
}

fn settlement_words(settlement: &Settlement) -> IQueryEscrow::Settlement {
    IQueryEscrow::Settlement {
        orderId: B256::from(settlement.order.0.0),
        answerDigest: B256::from(settlement.answer_digest.0),
        cohortDigest: B256::from(settlement.cohort_digest.0),
        cohortSize: settlement.cohort_size,
        price: uint96(settlement.price),
        payoutSequence: settlement.payout_sequence,
        payoutRoot: B256::from(settlement.payout_root.0),
    }
}

fn offer_words(offer: &Offer) -> IOfferBook::Offer {
    let (audience, buyers) = audience_words(&offer.audience);
    IOfferBook::Offer {
        registrationId: offer.registration.0,
        priceCounts: uint96(offer.prices.counts),
        priceFilteredCounts: uint96(offer.prices.filtered_counts),
        priceAssociation: uint96(offer.prices.association),
        dataUse: offer.data_use,
        tiers: offer.tiers.0,
        audience,
        buyers,
        blockStart: offer.block_start,
        blockEnd: offer.block_end,
        conditionDigest: B256::from(offer.condition_digest.0),
        expiry: offer.expiry_unix_s,
        nonce: offer.nonce,
    }
}

/// Registry.
impl Ledger {
    async fn write_registry<C: SolCall>(&self, call: &C) -> Result<TransactionReceipt, LedgerError> {
        self.chain.execute(self.contracts.network.registry, call).await
    }

    /// Publishes a panel's digest.
    pub async fn publish_panel(
        &self,
        panel: PanelDigest,
        name: &str,
        variant_count: u32,
        complete_calls: bool,
    ) -> Result<Digest32, LedgerError> {
        let call = DatasetRegistry::publishPanelCall {
            panelDigest: B256::from(panel.0),
            name: name.to_owned(),
            variantCount: variant_count,
            completeCalls: complete_calls,
        };
        self.write_registry(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Registers a batch with all its signatures (keyholders 1, 2, 3).
    pub async fn register_datasets(
        &self,
        registration: &Registration,
        leaves: &[DatasetLeaf],
        registrant_signature: &[u8],
        accreditor_signature: &[u8],
        attestations: &[Vec<u8>; 3],
    ) -> Result<RegisteredBatch, LedgerError> {
        let call = DatasetRegistry::registerDatasetsCall {
            registration: IDatasetRegistry::Registration {
                registrant: evm(registration.registrant),
                panelDigest: B256::from(registration.panel.0),
                version: registration.version,
                batchNonce: registration.batch_nonce,
                accreditor: registration.accreditor.map_or_else(Default::default, evm),
                deadline: registration.deadline_unix_s,
                leavesHash: B256::from(registration.leaves_hash.0),
            },
            leaves: leaves.iter().map(leaf_words).collect(),
            registrantSignature: bytes(registrant_signature),
            accreditorSignature: bytes(accreditor_signature),
            keyholderSignatures: attestations.each_ref().map(|signature| bytes(signature)),
        };
        let receipt = self.write_registry(&call).await?;
        let event = receipt
            .decoded_log::<DatasetRegistry::DatasetsRegistered>()
            .ok_or(LedgerError::UnexpectedAnswer)?;
        Ok(RegisteredBatch {
            registration: RegistrationId(event.registrationId),
            first_slot: event.firstSlot,
            transaction: transaction(&receipt),
        })
    }

    /// Revokes datasets with the registrant's signature.
    pub async fn revoke_datasets(
        &self,
        registration: RegistrationId,
        ordinals: &[u32],
        deadline_unix_s: u64,
        signature: &[u8],
    ) -> Result<Digest32, LedgerError> {
        let call = DatasetRegistry::revokeDatasetsSignedCall {
            registrationId: registration.0,
            ordinals: ordinals.to_vec(),
            deadline: deadline_unix_s,
            signature: bytes(signature),
        };
        self.write_registry(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Records a keyholder's deletion receipt.
    pub async fn record_erasure(
        &self,
        registration: RegistrationId,
        ordinals: &[u32],
        keyholder: u8,
        signature: &[u8],
    ) -> Result<Digest32, LedgerError> {
        let call = DatasetRegistry::recordErasureCall {
            registrationId: registration.0,
            ordinals: ordinals.to_vec(),
            keyholder,
            signature: bytes(signature),
        };
        self.write_registry(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Lists or removes an accredited researcher; admin only.
    pub async fn set_researcher(&self, account: Address, listed: bool, name: &str) -> Result<Digest32, LedgerError> {
        let call =
            DatasetRegistry::setResearcherCall { account: evm(account), listed, name: name.to_owned() };
        self.write_registry(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Lists or removes an accreditor; admin only.
    pub async fn set_accreditor(&self, account: Address, listed: bool, name: &str) -> Result<Digest32, LedgerError> {
        let call =
            DatasetRegistry::setAccreditorCall { account: evm(account), listed, name: name.to_owned() };
        self.write_registry(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Pauses registrations, offers and orders; admin only.
    pub async fn pause(&self) -> Result<Digest32, LedgerError> {
        self.write_registry(&DatasetRegistry::pauseCall {}).await.map(|receipt| transaction(&receipt))
    }

    /// Ends a pause; admin only.
    pub async fn unpause(&self) -> Result<Digest32, LedgerError> {
        self.write_registry(&DatasetRegistry::unpauseCall {}).await.map(|receipt| transaction(&receipt))
    }

    /// The committee's epoch.
    pub async fn committee_epoch(&self) -> Result<u64, LedgerError> {
        self.read_registry(&DatasetRegistry::committeeEpochCall {}).await
    }

    /// The market's rules.
    pub async fn parameters(&self) -> Result<NetworkParameters, LedgerError> {
        let words = self.read_registry(&DatasetRegistry::parametersCall {}).await?;
        let values = NetworkParameterValues {
            cohort_size_min: words.cohortSizeMin,
            exact_batch_min: words.exactBatchMin,
            exact_change_min: words.exactChangeMin,
            rho_query_max: Rho::from_nano(words.rhoOpenQueryMax),
            rho_year_max: Rho::from_nano(words.rhoOpenYearMax),
            rho_lifetime_max: Rho::from_nano(words.rhoOpenLifetimeMax),
            vetted_factor: words.vettedFactor,
            flooding_sigma_log2: words.floodingSigmaLog2,
            order_lifetime_max_s: u64::from(words.orderLifetimeMax),
            test_network: words.testNetwork,
        };
        NetworkParameters::try_new(values).map_err(|_| LedgerError::Value("network parameters"))
    }

    /// Whether a commitment is used by a registered dataset.
    pub async fn is_commitment_used(&self, commitment: &Digest32) -> Result<bool, LedgerError> {
        self.read_registry(&DatasetRegistry::isCommitmentUsedCall { commitment: B256::from(commitment.0) }).await
    }

    /// Whether `signature` over `digest` is the signer's: by its key, or by EIP-1271 when the signer
    /// is a contract.
    pub async fn is_valid_signature(
        &self,
        signer: Address,
        digest: &Digest32,
        signature: &[u8],
    ) -> Result<bool, LedgerError> {
        if crate::account::recover(digest, signature) == Ok(signer) {
            return Ok(true);
        }
        use alloy_provider::Provider as _;
        let code = self.chain.provider.get_code_at(evm(signer)).await?;
        if code.is_empty() {
            return Ok(false);
        }
        alloy_sol_types::sol! {
            function isValidSignature(bytes32 hash, bytes memory signature) external view returns (bytes4 magicValue);
        }
        let call = isValidSignatureCall { hash: B256::from(digest.0), signature: bytes(signature) };
        match self.chain.read(signer, &call).await {
            Ok(magic) => Ok(magic.0 == isValidSignatureCall::SELECTOR),
            Err(LedgerError::Transport(error)) if error.as_error_resp().is_some() => Ok(false),
            Err(LedgerError::Refused { .. } | LedgerError::UnexpectedAnswer) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Offers.
impl Ledger {
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
        let call = OfferBook::withdrawOfferSignedCall {
            registrationId: registration.0,
            nonce,
            signature: bytes(signature),
        };
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

fn amount(value: U256) -> Result<Amount, LedgerError> {
    u128::try_from(value).map(Amount).map_err(|_| LedgerError::Value("token amount"))
}
