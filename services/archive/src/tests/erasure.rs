//! Erasure, as the archive does it: with its own policy for garbage, beside re-keyings, and as often as anybody likes.

use super::market::{Batch, COLUMNS, Market, NOW};
use crate::{
    archive::Archive,
    background::{clean_once, follow_once},
    error::ArchiveError,
};
use locus_ledger::RegistrationId;
use locus_service::{ErrorCode, ServiceError as _};
use locus_store::open_store;
use locus_wire::pb::archive::EraseDatasetsRequest;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

/// The contributor, who is also the admin and can send transactions.
const CONTRIBUTOR: u8 = 99;
const DEADLINE: u64 = NOW + 3600;

/// A market with a registration of three datasets.
struct Scene {
    market: Market,
    archive: Arc<Archive>,
    batch: Batch,
    id: RegistrationId,
}

impl Scene {
    async fn set() -> Self {
        let market = Market::new().await;
        let archive = market.archive().await;
        let batch = Batch::of(CONTRIBUTOR, &[1, 2, 3]);
        let receipt = batch.upload(&market, &archive).await.expect("accepted");
        let id = market.register(&batch, &receipt).await.registration;
        let scene = Self { market, archive, batch, id };
        scene.follow().await;
        scene
    }

    async fn follow(&self) {
        let view = self.archive.view.refreshed().await.expect("reads");
        follow_once(&self.archive, &view, &mut BTreeSet::new()).await.expect("follows");
    }

    async fn revoke(&self, ordinal: u32) {
        self.market.ledger().await.revoke_own_datasets(self.id, &[ordinal]).await.expect("revokes");
    }

    /// Erases a dataset; returns how many bodies are gone.
    async fn erase(&self, ordinal: u32) -> Result<u64, ArchiveError> {
        let request = EraseDatasetsRequest { registration_id: self.id.0, ordinals: vec![ordinal] };
        self.archive.erase(&request).await.map(|response| response.bodies_removed)
    }

    /// Whether anything of a dataset is in the store.
    async fn has(&self, batch: &Batch, ordinal: usize) -> bool {
        let store = open_store(&self.market.objects().display().to_string(), BTreeMap::new()).expect("opens");
        !store.scan(&[batch.needle(ordinal)]).await.expect("reads").is_empty()
    }

    fn panel_folder(&self) -> std::path::PathBuf {
        self.market.objects().join(format!("panel={}", self.market.panel.digest()))
    }

    fn manifests(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.panel_folder().join("manifest")).expect("a folder");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }
}

#[tokio::test]
async fn what_a_compaction_left_an_hour_ago_is_erased_too() {
    let scene = Scene::set().await;
    scene.revoke(1).await;
    let shard = scene.panel_folder().join("shard=00000");
    let column = scene.panel_folder().join("block=0000/plane=0/shard=00000");
    fs::create_dir_all(&shard).expect("a folder");
    fs::create_dir_all(&column).expect("a folder");
    fs::write(shard.join("gen=1.claim"), "").expect("writes");
    fs::write(column.join("gen=1.parquet"), scene.batch.body(1, 0)).expect("writes");
    assert!(scene.has(&scene.batch, 1).await, "control: it is there");
    assert_eq!(scene.erase(1).await.expect("erases"), COLUMNS as u64);
    assert!(!scene.has(&scene.batch, 1).await);
    assert!(scene.has(&scene.batch, 2).await, "control: the others are there");
}

#[tokio::test]
async fn erasing_again_what_is_gone_takes_nothing_from_those_who_read() {
    let scene = Scene::set().await;
    scene.revoke(1).await;
    scene.revoke(2).await;
    assert_eq!(scene.erase(1).await.expect("erases"), COLUMNS as u64);
    let more = Batch { nonce: 2, ..Batch::of(CONTRIBUTOR, &[4]) };
    let receipt = more.upload(&scene.market, &scene.archive).await.expect("accepted");
    scene.market.register(&more, &receipt).await;
    scene.follow().await;
    let before = scene.manifests();
    assert_eq!(scene.erase(1).await.expect("the same answer"), COLUMNS as u64);
    assert_eq!(scene.manifests(), before, "replaced manifests keep their grace");
    assert_eq!(scene.erase(2).await.expect("erases"), COLUMNS as u64);
    assert!(scene.manifests().is_disjoint(&before), "control: an erasure that has work to do collects them");
}

#[tokio::test]
async fn who_leaves_while_new_keys_may_come_is_erased_when_that_is_decided() {
    let scene = Scene::set().await;
    let new = Batch::of(CONTRIBUTOR, &[11, 12, 13]);
    new.stage_rekeying(&scene.market, &scene.archive, scene.id, DEADLINE).await;
    scene.revoke(1).await;
    let refused = scene.erase(1).await.expect_err("the others may need the new bodies");
    assert_eq!((refused.reason(), refused.code()), ("BEING_REKEYED", ErrorCode::Refused));
    assert!(!scene.has(&scene.batch, 1).await, "the present bodies are gone");
    assert!(scene.has(&new, 1).await);
    scene.market.pass(DEADLINE - NOW + 1).await;
    assert_eq!(scene.erase(1).await.expect("nothing of it can come into force"), COLUMNS as u64);
    assert!(!scene.has(&new, 1).await && !scene.has(&new, 0).await);
    assert!(scene.has(&scene.batch, 0).await, "control: the others have what they had");
}

#[tokio::test]
async fn who_left_before_new_keys_were_final_is_erased_from_the_new_bodies() {
    let scene = Scene::set().await;
    let new = Batch::of(CONTRIBUTOR, &[11, 12, 13]);
    let keys = new.stage_rekeying(&scene.market, &scene.archive, scene.id, DEADLINE).await;
    scene.revoke(1).await;
    assert!(matches!(scene.erase(1).await, Err(ArchiveError::BeingRekeyed { .. })));
    scene.market.rekey(scene.id, &keys, DEADLINE).await;
    assert_eq!(scene.erase(1).await.expect("erases"), COLUMNS as u64);
    assert!(!scene.has(&new, 1).await && !scene.has(&scene.batch, 0).await);
    assert!(scene.has(&new, 0).await && scene.has(&new, 2).await, "control: the others have the new ones");
}

#[tokio::test]
async fn the_bodies_of_a_rekeying_that_lapsed_are_deleted() {
    let scene = Scene::set().await;
    let new = Batch::of(CONTRIBUTOR, &[11, 12, 13]);
    new.stage_rekeying(&scene.market, &scene.archive, scene.id, DEADLINE).await;
    scene.market.clock.advance(DEADLINE - NOW + 1);
    clean_once(&scene.archive).await.expect("cleans");
    assert!(scene.has(&new, 0).await, "control: as far as the chain is final, it may come into force");
    scene.market.make_block().await;
    clean_once(&scene.archive).await.expect("cleans");
    assert!(!scene.has(&new, 0).await);
    assert_eq!(scene.archive.batches.staged_rekeying(scene.id).expect("reads"), None);
    assert!(scene.has(&scene.batch, 0).await);
}
