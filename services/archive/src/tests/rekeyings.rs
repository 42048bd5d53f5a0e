//! Re-keyings that were attested, without keyholders.

use super::{
    market::{Batch, COLUMNS, Market},
    scripted::committee_key,
};
use crate::{
    archive::{Archive, fresh_batch_id},
    staged::{BatchPlace, StagedRekeying},
};
use locus_ledger::{DatasetKeys, RegistrationId, Rekeying, keys_hash};
use locus_sharing::KeyholderIndex;
use locus_wire::{convert::rekeyed_keys, pb::archive::RekeyReceipt};
use std::sync::Arc;

impl Batch {
    /// Stages these datasets as the first new ones of a registration, and returns their keys.
    pub(super) async fn stage_rekeying(
        &self,
        market: &Market,
        archive: &Arc<Archive>,
        id: RegistrationId,
        deadline_unix_s: u64,
    ) -> Vec<Option<DatasetKeys>> {
        let leaves = self.leaves();
        let panel = archive.panels.get(&market.panel.digest()).expect("known");
        let batch = fresh_batch_id().expect("randomness");
        let place = BatchPlace { batch, panel: panel.digest, shape: panel.shape };
        archive.batches.begin_upload(&place).expect("writes");
        let rows = u32::try_from(leaves.len()).expect("few datasets");
        let mut writer = archive.store_of(&place).create_batch(batch, rows).await.expect("a new batch");
        for (number, column) in (0..COLUMNS).zip(panel.shape.columns()) {
            let bodies: Vec<u8> = (0..leaves.len()).flat_map(|ordinal| self.body(ordinal, number)).collect();
            writer.append(column, 0, bodies.into()).await.expect("the next bodies");
        }
        let digests: Vec<_> = leaves.iter().map(|leaf| leaf.commitments.bodies).collect();
        writer.finish(&digests).await.expect("whole");
        let keys_of = |commitments: &locus_commitment::DatasetCommitments| {
            Some(DatasetKeys { bodies: commitments.bodies, shares: commitments.shares })
        };
        let keys: Vec<_> = leaves.iter().map(|leaf| keys_of(&leaf.commitments)).collect();
        let receipt = RekeyReceipt {
            registration_id: id.0,
            generation: 1,
            keys: rekeyed_keys(&keys).keys,
            attestations: Vec::new(),
            deadline_unix_s,
        };
        let view = archive.view.refreshed().await.expect("reads");
        let staged = StagedRekeying { place, committee_epoch: view.committee_epoch(), receipt };
        archive.batches.stage_rekeying(id, &staged).expect("writes");
        keys
    }
}

impl Market {
    /// Puts new keys on the chain.
    pub(super) async fn rekey(&self, id: RegistrationId, keys: &[Option<DatasetKeys>], deadline_unix_s: u64) {
        let ledger = self.ledger().await;
        let epoch = ledger.committee_epoch().await.expect("reads");
        let rekeying = Rekeying { registration: id, generation: 1, keys_hash: keys_hash(keys), deadline_unix_s };
        let hash = self.contracts.rekeying_signing_hash(&rekeying, epoch);
        let sign = |index| committee_key(index).sign_digest(&hash).expect("a key signs").to_bytes().to_vec();
        let signatures = KeyholderIndex::ALL.map(sign);
        ledger.rekey_datasets(id, keys, deadline_unix_s, &signatures).await.expect("the contract takes them");
    }
}
