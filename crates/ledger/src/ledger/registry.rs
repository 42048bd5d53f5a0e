//! The dataset registry: panels, registrations, revocations, lists and rules.

use super::{
    Ledger, LedgerError,
    words::{bytes, registration_words, transaction},
};
use crate::{
    bindings::registry::DatasetRegistry,
    eip712::{ciphertext_words, evm, key_words, leaf_words, own},
    proven::Ciphertexts,
    types::{CommitteeMember, DatasetKeys, DatasetLeaf, Registration, RegistrationId},
};
use alloy_primitives::B256;
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_sol_types::SolCall;
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

/// What the registry keeps of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationSummary {
    /// Who owns it.
    pub registrant: Address,
    /// Its panel.
    pub panel: PanelDigest,
    /// Its number of datasets.
    pub dataset_count: u32,
    /// Registry slot of its first dataset.
    pub first_slot: u64,
    /// Place of its first group in the panel's registry tree.
    pub first_group: u32,
}

/// The batch that a receipt tells of.
fn registered(receipt: &TransactionReceipt) -> Result<RegisteredBatch, LedgerError> {
    let event = receipt.decoded_log::<DatasetRegistry::DatasetsRegistered>().ok_or(LedgerError::UnexpectedAnswer)?;
    Ok(RegisteredBatch {
        registration: RegistrationId(event.registrationId),
        first_slot: event.firstSlot,
        transaction: transaction(receipt),
    })
}

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

    /// Registers a batch with all its signatures (keyholders 1, 2, 3). Ciphertexts are what the
    /// registration's [`signed_leaves_hash`](crate::signed_leaves_hash) covers.
    pub async fn register_signed(
        &self,
        registration: &Registration,
        leaves: &[DatasetLeaf],
        ciphertexts: Option<&Ciphertexts>,
        signatures: (&[u8], &[u8], &[Vec<u8>; 3]),
    ) -> Result<RegisteredBatch, LedgerError> {
        let (registrant, accreditor, attestations) = signatures;
        match ciphertexts {
            None => self.register_datasets(registration, leaves, registrant, accreditor, attestations).await,
            Some(ciphertexts) => {
                self.register_committed_datasets(
                    registration,
                    leaves,
                    ciphertexts,
                    registrant,
                    accreditor,
                    attestations,
                )
                .await
            }
        }
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
            registration: registration_words(registration),
            leaves: leaves.iter().map(leaf_words).collect(),
            registrantSignature: bytes(registrant_signature),
            accreditorSignature: bytes(accreditor_signature),
            keyholderSignatures: attestations.each_ref().map(|signature| bytes(signature)),
        };
        registered(&self.write_registry(&call).await?)
    }

    /// As [`register_datasets`](Self::register_datasets), with commitments to the ciphertexts, which
    /// the registration's [`committed_leaves_hash`](crate::committed_leaves_hash) covers.
    pub async fn register_committed_datasets(
        &self,
        registration: &Registration,
        leaves: &[DatasetLeaf],
        ciphertexts: &Ciphertexts,
        registrant_signature: &[u8],
        accreditor_signature: &[u8],
        attestations: &[Vec<u8>; 3],
    ) -> Result<RegisteredBatch, LedgerError> {
        let call = DatasetRegistry::registerCommittedDatasetsCall {
            registration: registration_words(registration),
            leaves: leaves.iter().map(leaf_words).collect(),
            ciphertexts: ciphertext_words(ciphertexts),
            registrantSignature: bytes(registrant_signature),
            accreditorSignature: bytes(accreditor_signature),
            keyholderSignatures: attestations.each_ref().map(|signature| bytes(signature)),
        };
        registered(&self.write_registry(&call).await?)
    }

    /// Gives the datasets of a registration new keys, by ordinal, with the signatures of keyholders 1, 2 and 3 over the
    /// [`Rekeying`](crate::Rekeying), until its deadline. `None` leaves a revoked dataset as it is. Anyone may send it, also while
    /// the market is paused.
    pub async fn rekey_datasets(
        &self,
        registration: RegistrationId,
        keys: &[Option<DatasetKeys>],
        deadline_unix_s: u64,
        signatures: &[Vec<u8>; 3],
    ) -> Result<Digest32, LedgerError> {
        let call = DatasetRegistry::rekeyDatasetsCall {
            registrationId: registration.0,
            keys: keys.iter().map(key_words).collect(),
            deadline: deadline_unix_s,
            keyholderSignatures: signatures.each_ref().map(|signature| bytes(signature)),
        };
        self.write_registry(&call).await.map(|receipt| transaction(&receipt))
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

    /// Revokes datasets of the sending account.
    pub async fn revoke_own_datasets(
        &self,
        registration: RegistrationId,
        ordinals: &[u32],
    ) -> Result<Digest32, LedgerError> {
        let call = DatasetRegistry::revokeDatasetsCall { registrationId: registration.0, ordinals: ordinals.to_vec() };
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

    /// Sets keyholder 1, 2 or 3, which starts a new epoch of the committee; admin only.
    pub async fn set_keyholder(&self, keyholder: u8, member: &CommitteeMember) -> Result<Digest32, LedgerError> {
        let call = DatasetRegistry::setKeyholderCall {
            index: keyholder,
            signer: evm(member.signer),
            hpkePublicKey: member.hpke_public_key.clone().into(),
        };
        self.write_registry(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Lists or removes an accredited researcher; admin only.
    pub async fn set_researcher(&self, account: Address, listed: bool, name: &str) -> Result<Digest32, LedgerError> {
        let call = DatasetRegistry::setResearcherCall { account: evm(account), listed, name: name.to_owned() };
        self.write_registry(&call).await.map(|receipt| transaction(&receipt))
    }

    /// Lists or removes an accreditor; admin only.
    pub async fn set_accreditor(&self, account: Address, listed: bool, name: &str) -> Result<Digest32, LedgerError> {
        let call = DatasetRegistry::setAccreditorCall { account: evm(account), listed, name: name.to_owned() };
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

    /// The dataset (registration and ordinal) that used a commitment. Tells a retry whether its batch
    /// was registered after all.
    pub async fn dataset_of_commitment(
        &self,
        commitment: &Digest32,
    ) -> Result<Option<(RegistrationId, u32)>, LedgerError> {
        let call = DatasetRegistry::datasetOfCommitmentCall { commitment: B256::from(commitment.0) };
        let found = self.read_registry(&call).await?;
        Ok((found.registrationId > 0).then_some((RegistrationId(found.registrationId), found.ordinal)))
    }

    /// What the registry keeps of a registration; refused when there is none.
    pub async fn registration_summary(&self, registration: RegistrationId) -> Result<RegistrationSummary, LedgerError> {
        let call = DatasetRegistry::registrationRecordCall { registrationId: registration.0 };
        let record = self.read_registry(&call).await?;
        Ok(RegistrationSummary {
            registrant: own(record.registrant),
            panel: PanelDigest(record.panelDigest.0),
            dataset_count: record.count.into(),
            first_slot: record.firstSlot.to(),
            first_group: record.firstGroup,
        })
    }

    /// Number of re-keyings of a registration at the head of the chain; refused when there is no such registration.
    pub async fn rekey_generation(&self, registration: RegistrationId) -> Result<u8, LedgerError> {
        self.read_registry(&DatasetRegistry::rekeyGenerationCall { registrationId: registration.0 }).await
    }

    /// Whether an account sets the committee and the lists, at the head of the chain.
    pub async fn is_registry_admin(&self, account: Address) -> Result<bool, LedgerError> {
        // DEFAULT_ADMIN_ROLE of OpenZeppelin's AccessControl.
        let role = B256::ZERO;
        self.read_registry(&DatasetRegistry::hasRoleCall { role, account: evm(account) }).await
    }

    /// Whether a dataset is revoked at the head of the chain; refused when there is no such dataset.
    pub async fn is_revoked(&self, registration: RegistrationId, ordinal: u32) -> Result<bool, LedgerError> {
        self.read_registry(&DatasetRegistry::isRevokedCall { registrationId: registration.0, ordinal }).await
    }

    /// Whether an accreditor is listed at the head of the chain.
    pub async fn is_accreditor(&self, account: Address) -> Result<bool, LedgerError> {
        self.read_registry(&DatasetRegistry::isAccreditorCall { account: evm(account) }).await
    }

    /// Whether a researcher is accredited at the head of the chain.
    pub async fn is_accredited_researcher(&self, account: Address) -> Result<bool, LedgerError> {
        self.read_registry(&DatasetRegistry::isAccreditedResearcherCall { account: evm(account) }).await
    }

    /// Whether registrations, offers and orders are stopped.
    pub async fn is_paused(&self) -> Result<bool, LedgerError> {
        self.read_registry(&DatasetRegistry::pausedCall {}).await
    }

    /// The account that signs for keyholder 1, 2 or 3; refused when there is none.
    pub async fn keyholder_signer(&self, keyholder: u8) -> Result<Address, LedgerError> {
        self.read_registry(&DatasetRegistry::keyholderSignerCall { index: keyholder }).await.map(own)
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
        let code = self.chain.ask(self.chain.provider.get_code_at(evm(signer)).into_future()).await?;
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
