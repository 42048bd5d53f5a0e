//! What the calls of an archive share.

use crate::{
    config::Limits,
    error::ArchiveError,
    panels::{PanelInfo, Panels},
    schemas::Schemas,
    staged::{BatchPlace, StagedBatches},
};
use locus_commitment::{Address, Digest32};
use locus_genomics::{PanelDigest, VARIANTS_PER_PANEL_BLOCK};
use locus_ledger::{ChainView, Contracts, Ledger, PanelRecord, ViewFollower};
use locus_proofs::{disclosure::DisclosureVerifier, encryption::EncryptionVerifier};
use locus_service::{Clock, ServiceChannel};
use locus_sharing::KeyholderIndex;
use locus_store::{BatchId, PanelShape, PanelStore, SlotSet, Store};
use locus_wire::pb::keyholder::keyholder_service_client::KeyholderServiceClient;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A client of one keyholder; clones share the connection.
pub(crate) type KeyholderClient = KeyholderServiceClient<ServiceChannel>;

/// State of an archive.
pub(crate) struct Archive {
    pub(crate) ledger: Ledger,
    pub(crate) view: ViewFollower,
    pub(crate) panels: Panels,
    pub(crate) batches: StagedBatches,
    pub(crate) schemas: Schemas,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    /// Folder for scratch files.
    pub(crate) scratch: PathBuf,
    /// Checks proofs of encryption; `None` where the operator has no key.
    pub(crate) encryption_verifier: Option<Arc<EncryptionVerifier>>,
    /// Checks disclosures; `None` where the operator has no key.
    pub(crate) disclosure_verifier: Option<Arc<DisclosureVerifier>>,
    /// Whether datasets are registered with commitments to their ciphertexts.
    pub(crate) settles_on_cohorts: bool,
    /// Held while batches change from staged to published or gone.
    pub(crate) publishing: tokio::sync::Mutex<()>,
    /// Held while shards are rewritten and while garbage is collected: a rewriting that goes on after another one, or after an
    /// erasure, would leave copies of bodies that no manifest names.
    pub(crate) tidying: tokio::sync::Mutex<()>,
    /// Slots of which nothing has been left in the store since an erasure after the start.
    pub(crate) gone: Mutex<BTreeMap<PanelDigest, SlotSet>>,
    /// Shards in which bodies were replaced since the start and whose objects may still have those of before.
    pub(crate) replaced: Mutex<BTreeMap<PanelDigest, BTreeSet<u32>>>,
    pub(crate) store: Store,
    /// One handle per panel, so that all readers share the newest manifest seen.
    panel_stores: Mutex<BTreeMap<PanelDigest, PanelStore>>,
    keyholders: [KeyholderClient; 3],
    uploads: Arc<Semaphore>,
}

/// What an archive is made of.
pub(crate) struct Parts {
    pub(crate) ledger: Ledger,
    pub(crate) view: ViewFollower,
    pub(crate) panels: Panels,
    pub(crate) batches: StagedBatches,
    pub(crate) schemas: Schemas,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) scratch: PathBuf,
    pub(crate) encryption_verifier: Option<Arc<EncryptionVerifier>>,
    pub(crate) disclosure_verifier: Option<Arc<DisclosureVerifier>>,
    pub(crate) settles_on_cohorts: bool,
    pub(crate) store: Store,
    pub(crate) keyholders: [KeyholderClient; 3],
}

impl Archive {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            ledger: parts.ledger,
            view: parts.view,
            panels: parts.panels,
            batches: parts.batches,
            schemas: parts.schemas,
            limits: parts.limits,
            clock: parts.clock,
            scratch: parts.scratch,
            encryption_verifier: parts.encryption_verifier,
            disclosure_verifier: parts.disclosure_verifier,
            settles_on_cohorts: parts.settles_on_cohorts,
            publishing: tokio::sync::Mutex::new(()),
            tidying: tokio::sync::Mutex::new(()),
            gone: Mutex::default(),
            replaced: Mutex::default(),
            store: parts.store,
            panel_stores: Mutex::default(),
            keyholders: parts.keyholders,
            uploads: Arc::new(Semaphore::new(parts.limits.uploads_max as usize)),
        }
    }

    /// The contracts of the market.
    pub(crate) fn contracts(&self) -> &Contracts {
        self.ledger.contracts()
    }

    /// A client of one keyholder.
    pub(crate) fn keyholder(&self, keyholder: KeyholderIndex) -> KeyholderClient {
        self.keyholders[keyholder.position()].clone()
    }

    /// The ciphertexts of a panel.
    pub(crate) fn panel_store(&self, panel: PanelDigest, shape: PanelShape) -> PanelStore {
        let mut stores = self.panel_stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.entry(panel).or_insert_with(|| self.store.panel(panel, shape)).clone()
    }

    /// The ciphertexts of the batch's panel.
    pub(crate) fn store_of(&self, place: &BatchPlace) -> PanelStore {
        self.panel_store(place.panel, place.shape)
    }

    /// A place among the uploads that may run at the same time.
    pub(crate) fn upload_permit(&self) -> Result<OwnedSemaphorePermit, ArchiveError> {
        let permit = self.uploads.clone().try_acquire_owned();
        permit.map_err(|_| ArchiveError::TooManyUploads(self.limits.uploads_max))
    }

    /// A panel that is here and final on the chain.
    pub(crate) async fn published_panel(&self, digest: &PanelDigest) -> Result<PanelInfo, ArchiveError> {
        let panel = self.panels.get(digest).ok_or(ArchiveError::UnknownPanel(*digest))?;
        let view = self.view.refreshed().await?;
        let agrees = |record: &PanelRecord| {
            record.variant_count == panel.variant_count && record.complete_calls == panel.shape.complete_calls()
        };
        if view.panel(digest).is_some_and(agrees) { Ok(panel) } else { Err(ArchiveError::PanelNotPublished(*digest)) }
    }

    /// When the newest final block of `view` was made, in seconds since the epoch; 0 before the first. Nothing with an earlier
    /// deadline can become final any more that is not in the view.
    pub(crate) async fn final_time_unix_s(&self, view: &ChainView) -> Result<u64, ArchiveError> {
        let Some(block) = view.finalized() else { return Ok(0) };
        Ok(self.ledger.block_time_unix_s(block.number).await?)
    }

    /// The account that a keyholder signs with, as the chain has it.
    pub(crate) fn signer_of(&self, view: &ChainView, keyholder: KeyholderIndex) -> Result<Address, ArchiveError> {
        let member = view.keyholder(keyholder.get()).ok_or(ArchiveError::NoCommittee(keyholder.get()))?;
        Ok(member.signer)
    }

    /// Verifies an account's signature; the account may be a contract wallet.
    pub(crate) async fn verify(
        &self,
        signer: Address,
        digest: &Digest32,
        signature: &[u8],
        who: &'static str,
    ) -> Result<(), ArchiveError> {
        let valid = self.ledger.is_valid_signature(signer, digest, signature).await?;
        if valid { Ok(()) } else { Err(ArchiveError::Signature(who)) }
    }
}

/// The shape of a panel on the chain.
pub(crate) fn shape_of(record: &PanelRecord) -> Result<PanelShape, ArchiveError> {
    let blocks = record.variant_count.div_ceil(VARIANTS_PER_PANEL_BLOCK);
    Ok(PanelShape::try_new(blocks, record.complete_calls)?)
}

/// A name that no other upload ever had or will have.
pub(crate) fn fresh_batch_id() -> Result<BatchId, ArchiveError> {
    let mut name = [0; 32];
    getrandom::fill(&mut name)?;
    Ok(BatchId(name))
}
