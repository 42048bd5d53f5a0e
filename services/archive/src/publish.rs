//! From the chain to the store: registered batches become readable, revoked datasets unusable.
//!
//! The chain decides; this module only follows it. Everything here can be repeated after a crash.

use crate::{
    archive::{Archive, shape_of},
    error::ArchiveError,
    staged::{BatchKey, StagedBatch},
};
use locus_commitment::DatasetBodyDigest;
use locus_genomics::PanelDigest;
use locus_ledger::{ChainView, RegistrationId, RegistrationRecord, leaves_hash};
use locus_store::{PanelStore, RegistrationCommit, SlotRange, SlotSet};
use std::collections::{BTreeMap, BTreeSet};

/// Time after its deadline at which a batch without registration is given up: a registration that
/// made its deadline must have become final by then.
const DEADLINE_GRACE_S: u64 = 24 * 3600;

/// A registration and the ciphertexts of its panel.
pub(crate) struct Registered<'a> {
    pub(crate) record: &'a RegistrationRecord,
    pub(crate) store: PanelStore,
    /// Its registry slots.
    pub(crate) slots: SlotRange,
}

impl Archive {
    /// A registration that is final in `view`.
    pub(crate) fn registered<'a>(
        &self,
        view: &'a ChainView,
        id: RegistrationId,
    ) -> Result<Registered<'a>, ArchiveError> {
        let record = view.registration(id).ok_or(ArchiveError::UnknownRegistration(id))?;
        let panel = view.panel(&record.panel).ok_or(ArchiveError::PanelNotPublished(record.panel))?;
        let store = self.panel_store(record.panel, shape_of(panel)?);
        let first = u32::try_from(record.first_slot).map_err(|_| ArchiveError::Slot(record.first_slot))?;
        let count = u32::try_from(record.leaves.len()).unwrap_or(u32::MAX);
        Ok(Registered { record, store, slots: SlotRange { first, count } })
    }

    /// Makes the batch of a registration readable. Doing it again changes nothing.
    pub(crate) async fn publish(&self, registered: &Registered<'_>) -> Result<(), ArchiveError> {
        let _publishing = self.publishing.lock().await;
        let record = registered.record;
        // Bodies of later keys come in the place of these.
        let leaves = record.registered_leaves();
        let key = BatchKey { leaves_hash: leaves_hash(leaves) };
        if !registered.store.latest().await?.covers(registered.slots) {
            let staged = self.batches.staged(&key)?.ok_or(ArchiveError::NeverUploaded(record.id))?;
            let commit = RegistrationCommit {
                batch: staged.place.batch,
                registration: record.id.0,
                first_slot: registered.slots.first,
            };
            let digests: Vec<DatasetBodyDigest> = leaves.iter().map(|leaf| leaf.commitments.bodies).collect();
            registered.store.commit_registration(commit, &digests).await?;
            tracing::info!(registration = record.id.0, datasets = digests.len(), "registration published");
        }
        self.batches.unstage(&key)
    }

    /// Publishes every registration of `view` that was not dealt with yet. One that cannot be
    /// published because its batch is not here is left to whoever has it; another failure does not
    /// hold up the registrations after it, and is tried again the next time.
    pub(crate) async fn publish_new(&self, view: &ChainView) -> Result<(), ArchiveError> {
        let seen = self.batches.published_up_to()?;
        let mut failed = None;
        for record in view.registrations().filter(|record| record.id.0 > seen) {
            let published = match self.registered(view, record.id) {
                Ok(registered) => self.publish(&registered).await,
                Err(error) => Err(error),
            };
            match published {
                Err(ArchiveError::NeverUploaded(id)) => {
                    tracing::warn!(registration = id.0, "registered elsewhere: its batch is not in this archive");
                }
                Err(error) => {
                    tracing::warn!(registration = record.id.0, %error, "registration is not published yet");
                    failed.get_or_insert(error);
                }
                Ok(()) => {}
            }
            if failed.is_none() {
                self.batches.set_published_up_to(record.id.0)?;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Forbids the use of every dataset that was ever seen revoked, except those in `done`, to
    /// which it adds what it has dealt with. A panel that fails does not hold up the others.
    pub(crate) async fn tombstone_revoked(
        &self,
        view: &ChainView,
        done: &mut BTreeSet<(RegistrationId, u32)>,
    ) -> Result<(), ArchiveError> {
        let mut panels: BTreeMap<PanelDigest, Revoked> = BTreeMap::new();
        let mut outcome = Ok(());
        for record in view.registrations() {
            let revoked: Vec<u32> =
                view.revoked_of(record.id).filter(|ordinal| !done.contains(&(record.id, *ordinal))).collect();
            if revoked.is_empty() {
                continue;
            }
            let added = self.registered(view, record.id).and_then(|registered| {
                let of_panel = panels.entry(record.panel).or_insert_with(|| Revoked::on(&registered.store));
                of_panel.add(&registered, &revoked)
            });
            if let Err(error) = &added {
                tracing::warn!(registration = record.id.0, %error, "its revoked datasets are not out of use yet");
            }
            outcome = outcome.and(added);
        }
        for (panel, revoked) in panels {
            let tombstoned = revoked.store.tombstone(&revoked.slots).await;
            match tombstoned {
                Ok(_) => {
                    tracing::info!(datasets = revoked.datasets.len(), "revoked datasets are out of use");
                    done.extend(revoked.datasets);
                }
                Err(error) => {
                    tracing::warn!(%panel, %error, "revoked datasets of a panel are not out of use yet");
                    outcome = outcome.and(Err(error.into()));
                }
            }
        }
        outcome
    }

    /// Deletes staged batches whose registration did not come in time. This archive's clock says when to look, the chain
    /// decides: nothing is deleted while it cannot be read. A batch that cannot be deleted does not hold up those after it.
    pub(crate) async fn discard_expired(&self) -> Result<(), ArchiveError> {
        let now = self.clock.now_unix_s();
        let mut expired = self.batches.all_staged()?;
        expired.retain(|(_, staged)| staged.deadline_unix_s().saturating_add(DEADLINE_GRACE_S) < now);
        if expired.is_empty() {
            return Ok(());
        }
        let view = self.view.refreshed().await?;
        let final_time_unix_s = self.final_time_unix_s(&view).await?;
        let mut outcome = Ok(());
        for (key, staged) in expired {
            if final_time_unix_s <= staged.deadline_unix_s() {
                continue;
            }
            let discarded = self.discard_unregistered(&view, &key, &staged).await;
            if let Err(error) = &discarded {
                tracing::warn!(batch = %staged.place.batch, %error, "a batch past its deadline is not removed yet");
            }
            outcome = outcome.and(discarded);
        }
        outcome
    }

    /// Deletes a staged batch, unless it is registered in `view`, which has a final block past the batch's deadline.
    async fn discard_unregistered(
        &self,
        view: &ChainView,
        key: &BatchKey,
        staged: &StagedBatch,
    ) -> Result<(), ArchiveError> {
        let _publishing = self.publishing.lock().await;
        // Uploaded again meanwhile it may have a later deadline.
        if self.batches.staged(key)?.as_ref() != Some(staged) {
            return Ok(());
        }
        let mut on_panel = view.registrations_on(&staged.place.panel, u64::MAX);
        if on_panel.any(|record| leaves_hash(record.registered_leaves()) == key.leaves_hash) {
            tracing::warn!(batch = %staged.place.batch, "a registered batch is not published yet");
            return Ok(());
        }
        self.store_of(&staged.place).discard_batch(staged.place.batch).await?;
        self.batches.unstage(key)?;
        tracing::info!(batch = %staged.place.batch, "removed a batch that was never registered");
        Ok(())
    }
}

/// Revoked datasets of a panel, and their slots.
struct Revoked {
    store: PanelStore,
    slots: SlotSet,
    datasets: Vec<(RegistrationId, u32)>,
}

impl Revoked {
    fn on(store: &PanelStore) -> Self {
        Self { store: store.clone(), slots: SlotSet::new(), datasets: Vec::new() }
    }

    fn add(&mut self, registered: &Registered<'_>, ordinals: &[u32]) -> Result<(), ArchiveError> {
        for &ordinal in ordinals {
            insert_ordinal(&mut self.slots, registered.slots, ordinal)?;
            self.datasets.push((registered.record.id, ordinal));
        }
        Ok(())
    }
}

/// Adds the slot of the dataset at `ordinal` of a registration with these slots. An ordinal past its
/// end, which no contract emits, names no slot.
pub(crate) fn insert_ordinal(set: &mut SlotSet, slots: SlotRange, ordinal: u32) -> Result<(), ArchiveError> {
    if ordinal < slots.count {
        let past = || ArchiveError::Slot(u64::from(slots.first) + u64::from(ordinal));
        set.insert(slots.first.checked_add(ordinal).ok_or_else(past)?)?;
    }
    Ok(())
}
