//! What the archive does by itself, and what it leaves alone.

use super::{
    covers,
    market::{Batch, Market, NOW},
};
use crate::{
    archive::Archive,
    background::{clean_once, follow_once},
    error::ArchiveError,
};
use locus_genomics::{Assembly, Panel, Variant};
use locus_ledger::{BlockRef, EventSource, LocatedEvent, ViewFollower};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

const DAY_S: u64 = 24 * 3600;

#[tokio::test]
async fn a_batch_that_is_not_registered_in_time_is_deleted() {
    let market = Market::new().await;
    let archive = market.archive().await;
    Batch::of(10, &[1]).upload(&market, &archive).await.expect("accepted");
    market.pass(3600).await;
    clean_once(&archive).await.expect("cleans");
    assert!(market.body_objects() > 0, "control: it may still be registered");
    market.clock.advance(2 * DAY_S);
    clean_once(&archive).await.expect("cleans");
    assert!(market.body_objects() > 0, "control: as far as the chain is final, it may still be registered");
    market.make_block().await;
    clean_once(&archive).await.expect("cleans");
    assert_eq!(market.body_objects(), 0);
    assert!(archive.batches.all_staged().expect("reads").is_empty());
}

#[tokio::test]
async fn a_registered_batch_is_kept_however_late_it_is_published() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let batch = Batch::of(10, &[1, 2]);
    let receipt = batch.upload(&market, &archive).await.expect("accepted");
    market.register(&batch, &receipt).await;
    market.pass(30 * DAY_S).await;
    clean_once(&archive).await.expect("cleans");
    let view = archive.view.refreshed().await.expect("reads");
    archive.publish_new(&view).await.expect("it is still there");
    assert!(covers(&archive, &market, 0, 2).await);
}

/// A chain node that is away.
struct Away;

impl EventSource for Away {
    type Error = io::Error;

    async fn head(&self) -> io::Result<BlockRef> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn finalized(&self) -> io::Result<BlockRef> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn block(&self, _: u64) -> io::Result<BlockRef> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn events(&self, _: u64, _: u64) -> io::Result<Vec<LocatedEvent>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[tokio::test]
async fn no_batch_is_deleted_while_the_chain_cannot_be_read() {
    let market = Market::new().await;
    let archive = market.archive().await;
    Batch::of(10, &[1]).upload(&market, &archive).await.expect("accepted");
    market.pass(2 * DAY_S).await;
    let mut archive = Arc::into_inner(archive).expect("nobody else has it");
    let chain = std::mem::replace(&mut archive.view, ViewFollower::start(Away, Duration::from_secs(3600)));
    assert!(matches!(clean_once(&archive).await, Err(ArchiveError::Chain(_))));
    assert!(market.body_objects() > 0);
    archive.view = chain;
    clean_once(&archive).await.expect("cleans");
    assert_eq!(market.body_objects(), 0, "control: nothing else kept it");
}

fn make_old(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            make_old(&path);
        } else {
            fs::File::options().write(true).open(&path).expect("opens").set_modified(UNIX_EPOCH).expect("is set");
        }
    }
}

#[tokio::test]
async fn objects_of_a_batch_that_waits_for_the_chain_are_no_garbage_at_any_age() {
    let market = Market::new().await;
    let archive = market.archive().await;
    Batch::of(10, &[1]).upload(&market, &archive).await.expect("accepted");
    make_old(&market.objects());
    clean_once(&archive).await.expect("cleans");
    assert!(market.body_objects() > 0);
    let key = archive.batches.all_staged().expect("reads").remove(0).0;
    archive.batches.unstage(&key).expect("writes");
    clean_once(&archive).await.expect("cleans");
    assert_eq!(market.body_objects(), 0, "control: it was old enough");
}

#[tokio::test]
async fn a_batch_in_use_that_was_noted_as_debris_is_left_alone_at_the_start() {
    let market = Market::new().await;
    let batch = Batch::of(10, &[1, 2]);
    {
        let archive = market.archive().await;
        let receipt = batch.upload(&market, &archive).await.expect("accepted");
        let staged = archive.batches.all_staged().expect("reads").remove(0).1;
        market.register(&batch, &receipt).await;
        let view = archive.view.refreshed().await.expect("reads");
        archive.publish_new(&view).await.expect("publishes");
        archive.batches.begin_upload(&staged.place).expect("writes");
    }
    let archive = market.archive().await;
    assert!(covers(&archive, &market, 0, 2).await);
    assert!(market.body_objects() > 0);
    assert!(archive.batches.open_uploads().expect("reads").is_empty());
}

/// A panel that comes before the market's own.
fn earlier_panel(market: &Market) -> Panel {
    let variants: Vec<Variant> = ["1:9:T:TA", "2:5:C:T"].iter().map(|id| id.parse().expect("an id")).collect();
    let named = |number: u32| {
        let variants = variants.iter().map(Variant::as_ref);
        Panel::try_new(&format!("panel-{number}"), Assembly::GRCh38, false, variants).expect("a panel")
    };
    (0..).map(named).find(|panel| panel.digest() < market.panel.digest()).expect("half of all come before")
}

fn manifests(market: &Market, panel: &Panel) -> PathBuf {
    market.objects().join(format!("panel={}", panel.digest())).join("manifest")
}

#[tokio::test]
async fn a_damaged_panel_does_not_keep_the_others_from_being_cleaned() {
    let mut market = Market::new().await;
    market.limits.superseded_grace_s = 0;
    let archive = market.archive().await;
    let batch = Batch::of(10, &[1, 2]);
    let receipt = batch.upload(&market, &archive).await.expect("accepted");
    market.register(&batch, &receipt).await;
    let view = archive.view.refreshed().await.expect("reads");
    archive.publish_new(&view).await.expect("publishes");
    let registered = archive.registered(&view, view.registrations().next().expect("one").id).expect("final");
    let slots = [1].into_iter();
    registered.store.tombstone(&locus_store::SlotSet::try_from_iter(slots).expect("small")).await.expect("works");
    let first = manifests(&market, &market.panel).join(format!("{:020}.json", 1));
    assert!(first.exists());

    let damaged = earlier_panel(&market);
    archive.panels.put(damaged.to_canonical_bytes()).await.expect("takes the panel");
    fs::create_dir_all(manifests(&market, &damaged)).expect("a folder");
    fs::write(manifests(&market, &damaged).join(format!("{:020}.json", 1)), "{}").expect("writes");
    assert!(matches!(clean_once(&archive).await, Err(ArchiveError::Store(_))), "the first error is told");
    assert!(!first.exists(), "the other panel's garbage is collected");
}

async fn follow(archive: &Archive) -> Result<(), ArchiveError> {
    let view = archive.view.refreshed().await.expect("reads");
    follow_once(archive, &view, &mut BTreeSet::new()).await
}

#[tokio::test]
async fn a_registration_that_cannot_be_published_does_not_hold_up_new_keys() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let batch = Batch::of(10, &[1, 2]);
    let receipt = batch.upload(&market, &archive).await.expect("accepted");
    let id = market.register(&batch, &receipt).await.registration;
    follow(&archive).await.expect("publishes");
    let rekeyed = Batch::of(10, &[11, 12]).stage_rekeying(&market, &archive, id, NOW + 3600).await;
    market.rekey(id, &rekeyed, NOW + 3600).await;

    let lost = Batch { nonce: 2, ..Batch::of(10, &[3]) };
    let receipt = lost.upload(&market, &archive).await.expect("accepted");
    market.register(&lost, &receipt).await;
    let staged = archive.batches.all_staged().expect("reads").remove(0).1;
    archive.store_of(&staged.place).discard_batch(staged.place.batch).await.expect("storage loses it");
    assert!(matches!(follow(&archive).await, Err(ArchiveError::Store(_))));
    assert_eq!(archive.batches.staged_rekeying(id).expect("reads"), None, "the new bodies are in use");
}
