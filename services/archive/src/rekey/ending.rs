//! What becomes of a re-keying that was attested: its bodies come into use with its keys, or go.

use crate::{
    archive::Archive,
    error::ArchiveError,
    publish::{Registered, insert_ordinal},
    staged::{BatchPlace, StagedRekeying},
    upload,
};
use locus_ledger::{ChainView, RegistrationId};
use locus_store::{RegistrationCommit, SHARD_SLOTS, SlotSet};
use locus_wire::convert::parse_rekeyed_keys;
use std::sync::PoisonError;

impl Archive {
    /// Removes bodies that will not be used. What cannot be removed now is when the archive starts again.
    pub(super) async fn give_up(&self, place: &BatchPlace) {
        if let Err(error) = upload::discard_upload(self, place).await {
            tracing::warn!(batch = %place.batch, %error, "its bodies could not be removed yet");
        }
    }

    /// Puts the new bodies of every re-keying of `view` that was not dealt with yet in the place of the old ones. A failure
    /// does not hold up the registrations after it, and is tried again the next time.
    pub(crate) async fn publish_rekeyed(&self, view: &ChainView) -> Result<(), ArchiveError> {
        let _publishing = self.publishing.lock().await;
        let seen = self.batches.rekeyed_up_to()?;
        let mut failed = None;
        for (number, (id, generation)) in (seen + 1..).zip(view.rekeyings_from(seen + 1)) {
            let replaced = match self.registered(view, id) {
                // Of several, the last one's bodies are the ones to have.
                Ok(registered) if registered.record.generation() == generation => {
                    self.replace_bodies(&registered).await
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = replaced {
                tracing::warn!(registration = id.0, %error, "re-keyed bodies are not in use yet");
                failed.get_or_insert(error);
            }
            if failed.is_none() {
                self.batches.set_rekeyed_up_to(number)?;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn replace_bodies(&self, registered: &Registered<'_>) -> Result<(), ArchiveError> {
        let record = registered.record;
        let id = record.id;
        let Some(staged) = self.batches.staged_rekeying(id)? else {
            tracing::warn!(registration = id.0, "re-keyed bodies are in use already, or in another archive");
            return Ok(());
        };
        let keys = parse_rekeyed_keys("keys", &staged.receipt.keys)?;
        let bodies: Vec<_> = keys
            .iter()
            .zip(record.leaves.iter())
            .map(|(keys, leaf)| keys.as_ref().map(|_| leaf.commitments.bodies))
            .collect();
        // Whoever was left out is revoked, also where that was not dealt with here yet.
        let mut left_out = SlotSet::new();
        for (ordinal, _) in (0u32..).zip(&keys).filter(|(_, keys)| keys.is_none()) {
            insert_ordinal(&mut left_out, registered.slots, ordinal)?;
        }
        registered.store.tombstone(&left_out).await?;
        let commit =
            RegistrationCommit { batch: staged.place.batch, registration: id.0, first_slot: registered.slots.first };
        registered.store.replace_registration(commit, &bodies).await?;
        self.batches.unstage_rekeying(id)?;
        // The batch may have bodies of somebody who was erased before.
        if let Some(gone) = self.gone.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&record.panel) {
            *gone = gone.difference(&SlotSet::from_range(registered.slots)?);
        }
        // A registration has datasets.
        let (first, last) = (registered.slots.first, registered.slots.first + (registered.slots.count - 1));
        let shards = first / SHARD_SLOTS..=last / SHARD_SLOTS;
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).entry(record.panel).or_default().extend(shards);
        let datasets = bodies.iter().flatten().count();
        tracing::info!(registration = id.0, datasets, "re-keyed bodies are in use");
        Ok(())
    }

    /// Deletes the bodies of re-keyings that can come into force no more. One that fails does not hold up the others.
    pub(crate) async fn discard_lapsed_rekeyings(&self) -> Result<(), ArchiveError> {
        let staged = self.batches.all_staged_rekeyings()?;
        if staged.is_empty() {
            return Ok(());
        }
        let view = self.view.refreshed().await?;
        let mut outcome = Ok(());
        for (id, staged) in staged {
            let discarded = self.discard_if_lapsed(&view, id, &staged).await;
            if let Err(error) = &discarded {
                tracing::warn!(registration = id.0, %error, "a re-keying that may have lapsed is not removed yet");
            }
            outcome = outcome.and(discarded);
        }
        outcome
    }

    async fn discard_if_lapsed(
        &self,
        view: &ChainView,
        id: RegistrationId,
        staged: &StagedRekeying,
    ) -> Result<(), ArchiveError> {
        let _publishing = self.publishing.lock().await;
        let is_same = self.batches.staged_rekeying(id)?.as_ref() == Some(staged);
        if is_same && self.is_lapsed(view, id, staged).await? {
            self.discard_rekeying(id, staged).await
        } else {
            Ok(())
        }
    }

    /// What an erasure has to know of a staged re-keying: when its keys are final its bodies come into use, when it has lapsed
    /// they go. Returns the deadline, in seconds since the epoch, of one that has new keys for datasets at `ordinals` and may
    /// still come into force: nobody can say yet whether the others of the registration will need its bodies.
    pub(crate) async fn settle_rekeying(
        &self,
        view: &ChainView,
        registered: &Registered<'_>,
        ordinals: &[u32],
    ) -> Result<Option<u64>, ArchiveError> {
        let _publishing = self.publishing.lock().await;
        let record = registered.record;
        let Some(staged) = self.batches.staged_rekeying(record.id)? else { return Ok(None) };
        if u32::from(record.generation()) == staged.receipt.generation {
            return self.replace_bodies(registered).await.map(|()| None);
        }
        if self.is_lapsed(view, record.id, &staged).await? {
            return self.discard_rekeying(record.id, &staged).await.map(|()| None);
        }
        let keys = parse_rekeyed_keys("keys", &staged.receipt.keys)?;
        let has_keys = |ordinal: &u32| keys.get(*ordinal as usize).is_some_and(Option::is_some);
        Ok(ordinals.iter().any(has_keys).then_some(staged.receipt.deadline_unix_s))
    }

    /// Whether the chain can take a re-keying no more: it has those keys' successors or another committee, or is past the
    /// deadline. Keyholders decide by the same (keyholder, clause 40).
    async fn is_lapsed(
        &self,
        view: &ChainView,
        id: RegistrationId,
        staged: &StagedRekeying,
    ) -> Result<bool, ArchiveError> {
        let on_chain = view.registration(id).map_or(0, |record| u32::from(record.generation()));
        if on_chain >= staged.receipt.generation {
            return Ok(on_chain > staged.receipt.generation);
        }
        Ok(view.committee_epoch() != staged.committee_epoch
            || self.final_time_unix_s(view).await? > staged.receipt.deadline_unix_s)
    }

    async fn discard_rekeying(&self, id: RegistrationId, staged: &StagedRekeying) -> Result<(), ArchiveError> {
        self.store_of(&staged.place).discard_batch(staged.place.batch).await?;
        self.batches.unstage_rekeying(id)?;
        tracing::info!(registration = id.0, generation = staged.receipt.generation, "removed a re-keying that lapsed");
        Ok(())
    }
}
