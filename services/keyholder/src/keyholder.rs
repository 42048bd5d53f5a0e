//! A keyholder: its keys, its storage and its own view of the chain.

use crate::{error::KeyholderError, store::Store};
use bytes::Bytes;
use locus_cohort::{DisclosureBook, Member};
use locus_commitment::{Address, DatasetContext, Digest32, NetworkId};
use locus_genomics::PanelDigest;
use locus_ledger::{AccountKey, ChainView, CohortId, Contracts, Ledger, LedgerError, ProvenRegistry, ViewFollower};
use locus_privacy::NetworkParameters;
use locus_proofs::encryption::EncryptionVerifier;
use locus_service::{AuditLog, Clock, Metrics, SeenRequests, SignedRequest};
use locus_sharing::{KeyholderIndex, NoiseKey, Prss, PrssSession, ShareIndex, seal::SealingPrivateKey};
use std::sync::{Arc, Mutex, PoisonError};

/// Random numbers of the operating system.
pub(crate) fn system_rng() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

/// Where the storage keeps the key of the noise that is no other keyholder's.
pub(crate) const OWN_NOISE_KEY: u8 = 0;

/// Handle to a keyholder; clones share everything.
#[derive(Clone)]
pub(crate) struct Keyholder(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) index: KeyholderIndex,
    pub(crate) contracts: Contracts,
    pub(crate) parameters: NetworkParameters,
    pub(crate) signer: AccountKey,
    pub(crate) sealing: SealingPrivateKey,
    pub(crate) store: Store,
    pub(crate) requests: SeenRequests,
    pub(crate) audit: AuditLog,
    pub(crate) ledger: Ledger,
    pub(crate) view: ViewFollower,
    /// Where ciphertexts are read, for filtered questions.
    pub(crate) objects: Option<locus_store::Store>,
    pub(crate) clock: Clock,
    /// Checks proofs of encryption; `None` where the operator has no key.
    pub(crate) encryption_verifier: Option<EncryptionVerifier>,
    /// The documents of offers that this keyholder has verified.
    pub(crate) disclosures: Arc<DisclosureBook>,
    /// Whether settlements need a proven cohort, and datasets a commitment to their ciphertexts.
    pub(crate) settles_on_cohorts: bool,
    /// Re-keyings on the chain after which replaced seeds were destroyed since the start.
    pub(crate) rekeyings_seen: Mutex<u64>,
}

impl Keyholder {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn index(&self) -> KeyholderIndex {
        self.0.index
    }

    pub(crate) fn network(&self) -> NetworkId {
        self.0.contracts.network
    }

    pub(crate) fn contracts(&self) -> &Contracts {
        &self.0.contracts
    }

    pub(crate) fn parameters(&self) -> &NetworkParameters {
        &self.0.parameters
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    pub(crate) fn signer_address(&self) -> Address {
        self.0.signer.address()
    }

    pub(crate) fn sealing_key(&self) -> &SealingPrivateKey {
        &self.0.sealing
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn objects(&self) -> Result<&locus_store::Store, KeyholderError> {
        self.0.objects.as_ref().ok_or(KeyholderError::NoObjectStore)
    }

    pub(crate) fn encryption_verifier(&self) -> Option<&EncryptionVerifier> {
        self.0.encryption_verifier.as_ref()
    }

    pub(crate) fn disclosures(&self) -> &Arc<DisclosureBook> {
        &self.0.disclosures
    }

    pub(crate) fn settles_on_cohorts(&self) -> bool {
        self.0.settles_on_cohorts
    }

    pub(crate) fn now_unix_s(&self) -> u64 {
        self.0.clock.now_unix_s()
    }

    /// The chain as far as it was read.
    pub(crate) fn view(&self) -> Arc<ChainView> {
        self.0.view.snapshot()
    }

    /// Takes a signed request, once.
    pub(crate) fn take_request(&self, request: &SignedRequest) -> Result<(), KeyholderError> {
        Ok(self.0.requests.take(request, self.now_unix_s())?)
    }

    /// Records what is about to be answered; without a record it is not answered.
    pub(crate) fn record(&self, event: &str, facts: &[(&str, &dyn std::fmt::Display)]) -> Result<(), KeyholderError> {
        Ok(self.0.audit.append(event, facts)?)
    }

    /// Shows where chain and audit log stand.
    pub(crate) fn show_on(&self, metrics: &Metrics) {
        let followed = self.0.view.clone();
        metrics.reading("chain_final_block_number", "Newest block of the chain that is final here.", move || {
            followed.snapshot().finalized().map_or(0, |block| block.number)
        });
        let audit = self.0.audit.clone();
        metrics.reading("audit_entries_count", "Entries of the audit log.", move || audit.head().sequence);
    }

    /// Reads what is new on the chain.
    pub(crate) async fn poll_chain(&self) -> Result<(), KeyholderError> {
        let view = self.0.view.refreshed().await.map_err(|error| KeyholderError::Chain(error.to_string()))?;
        self.notice_rekeyings(view.rekeying_count()).await
    }

    /// Follows the chain without being called, so that replaced seeds do not wait for the next question.
    pub(crate) async fn follow_rekeyings(self) {
        let mut view = self.0.view.clone();
        loop {
            let current = view.snapshot();
            if let Err(error) = self.notice_rekeyings(current.rekeying_count()).await {
                tracing::warn!(%error, "replaced key seeds are not destroyed yet");
            }
            if view.newer_than(&current).await.is_none() {
                return;
            }
        }
    }

    /// Destroys replaced seeds when the chain has re-keyings that this keyholder has not dealt with since its start. One
    /// at a time: a second one that still saw the last re-keying signed would end the next one, which has begun since.
    async fn notice_rekeyings(&self, count: u64) -> Result<(), KeyholderError> {
        let is_done = self.0.rekeyings_seen.try_lock().is_ok_and(|seen| *seen >= count);
        if !is_done {
            let keyholder = self.clone();
            // Goes on when the call that noticed them is gone, so the lock is taken there.
            let retire = move || -> Result<(), KeyholderError> {
                let mut seen = keyholder.0.rekeyings_seen.lock().unwrap_or_else(PoisonError::into_inner);
                if *seen < count {
                    keyholder.retire_replaced_seeds()?;
                    *seen = count;
                }
                Ok(())
            };
            locus_service::blocking(retire).await?;
        }
        Ok(())
    }

    /// Whether the chain, as far as it was read, has other keys for this keyholder.
    pub(crate) fn is_someone_else(&self) -> bool {
        let own = self.sealing_key().public_key().to_bytes();
        self.view().keyholder(self.index().get()).is_some_and(|known| {
            known.signer != self.signer_address() || known.hpke_public_key.as_slice() != own.as_slice()
        })
    }

    /// Whether questions can be answered now; the reason when they cannot.
    pub(crate) fn check_ready(&self) -> Result<(), &'static str> {
        if self.view().finalized().is_none() {
            return Err("the chain was not read yet");
        }
        if self.is_someone_else() {
            return Err("the chain has other keys for this keyholder");
        }
        for share in locus_sharing::shares_of(self.index()) {
            match self.store().noise_key(share.get()) {
                Ok(Some(_)) => {}
                Ok(None) => return Err("the noise keys are not agreed yet: all keyholders must be up"),
                Err(_) => return Err("the database cannot be read"),
            }
        }
        Ok(())
    }

    /// The committee's present epoch.
    pub(crate) async fn committee_epoch(&self) -> Result<u64, KeyholderError> {
        self.0.ledger.committee_epoch().await.map_err(|error| KeyholderError::Chain(error.to_string()))
    }

    /// Whether the chain has verified a cohort.
    pub(crate) async fn is_cohort_proven(&self, cohort: &CohortId) -> Result<bool, KeyholderError> {
        let unread = |error: LedgerError| KeyholderError::Chain(error.to_string());
        let proven = ProvenRegistry::open(self.0.ledger.clone()).await.map_err(unread)?;
        proven.is_cohort_proven(cohort).await.map_err(unread)
    }

    /// Signs with the committee key.
    pub(crate) fn sign(&self, digest: &Digest32) -> Result<Bytes, KeyholderError> {
        let signature = self.0.signer.sign_digest(digest).map_err(|error| KeyholderError::Chain(error.to_string()))?;
        Ok(Bytes::copy_from_slice(&signature.to_bytes()))
    }

    /// Verifies a signature of an account, which may be a contract wallet.
    pub(crate) async fn verify(
        &self,
        signer: Address,
        digest: &Digest32,
        signature: &[u8],
        who: &'static str,
    ) -> Result<(), KeyholderError> {
        let valid = self
            .0
            .ledger
            .is_valid_signature(signer, digest, signature)
            .await
            .map_err(|error| KeyholderError::Chain(error.to_string()))?;
        if valid { Ok(()) } else { Err(KeyholderError::Signature(who)) }
    }

    /// Verifies a signature of a committee member as the chain knows it.
    pub(crate) async fn verify_peer(
        &self,
        number: u32,
        digest: &Digest32,
        signature: &[u8],
    ) -> Result<KeyholderIndex, KeyholderError> {
        let index = u8::try_from(number).ok().and_then(|number| KeyholderIndex::try_new(number).ok());
        let index = index.ok_or(KeyholderError::Committee(number))?;
        let signer = self.view().keyholder(index.get()).map(|member| member.signer);
        let signer = signer.ok_or(KeyholderError::Committee(number))?;
        self.verify(signer, digest, signature, "keyholder").await?;
        Ok(index)
    }

    /// What a member's secrets are bound to.
    pub(crate) fn context_of(&self, panel: PanelDigest, member: &Member) -> DatasetContext {
        DatasetContext {
            network: self.network(),
            registrant: member.registrant,
            dataset: member.dataset,
            panel,
            version: member.version,
        }
    }

    /// The common randomness of one attempt.
    pub(crate) fn prss(&self, session: PrssSession) -> Result<Prss, KeyholderError> {
        let released = self.noise_key(self.index().released_share())?;
        let other = self.noise_key(self.index().other_share())?;
        Ok(Prss::new(self.index(), &released, &other, session))
    }

    /// The key of the noise that this keyholder alone adds to filtered answers.
    pub(crate) fn own_noise_key(&self) -> Result<NoiseKey, KeyholderError> {
        let key = self.store().noise_key(OWN_NOISE_KEY)?.ok_or(KeyholderError::NoNoiseKeys)?;
        let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| crate::store::StoreError::Damaged("noise key"))?;
        Ok(NoiseKey::from_bytes(*key))
    }

    /// The noise key of a share this keyholder holds.
    pub(crate) fn noise_key(&self, share: ShareIndex) -> Result<NoiseKey, KeyholderError> {
        let key = self.store().noise_key(share.get())?.ok_or(KeyholderError::NoNoiseKeys)?;
        let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| crate::store::StoreError::Damaged("noise key"))?;
        Ok(NoiseKey::from_bytes(*key))
    }
}
