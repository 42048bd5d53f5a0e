//! An archive between a real embedded chain, a real store and scripted keyholders.

mod committee;
mod erasure;
mod housekeeping;
mod market;
mod rekeyings;
mod scripted;

use crate::{
    background::follow_once,
    error::{ArchiveError, Commitment},
    progress::Progress,
    upload,
};
use futures::stream;
use locus_ledger::RegistrationId;
use locus_service::{ErrorCode, ServiceError as _};
use locus_store::SlotRange;
use locus_wire::pb::archive::{EraseDatasetsRequest, UploadDatasetsRequest, upload_datasets_request::Part};
use market::{Batch, COLUMNS, Market, NOW, flipped, upload_parts};
use scripted::Conduct;
use std::{collections::BTreeSet, sync::Arc};
use tonic::Status;

async fn covers(archive: &Arc<crate::archive::Archive>, market: &Market, first: u32, count: u32) -> bool {
    let panel = archive.panels.get(&market.panel.digest()).expect("the panel is known");
    let store = archive.panel_store(panel.digest, panel.shape);
    store.latest().await.expect("reads").covers(SlotRange { first, count })
}

#[tokio::test]
async fn an_upload_is_attested_registered_and_published() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let batch = Batch::of(10, &[1, 2, 3]);
    let receipt = batch.upload(&market, &archive).await.expect("accepted");
    assert_eq!(receipt.registration, Some((&batch.registration(&market)).into()));
    for keyholder in &market.keyholders {
        let seen = keyholder.take_seen();
        assert_eq!(seen.chunks, [1, 1, 1]);
        assert_eq!(seen.peer_values.len(), 6);
        assert!(seen.peer_values.is_sorted_by_key(|(peer, first)| (*first, *peer)));
    }
    assert!(!covers(&archive, &market, 0, 3).await, "nothing is readable before the registration");
    let registered = market.register(&batch, &receipt).await;
    let view = archive.view.refreshed().await.expect("reads");
    follow_once(&archive, &view, &mut BTreeSet::new()).await.expect("publishes");
    assert!(covers(&archive, &market, 0, 3).await);
    let again = archive.registered(&view, registered.registration).expect("final");
    archive.publish(&again).await.expect("publishing again changes nothing");
    assert!(archive.batches.all_staged().expect("reads").is_empty());
}

#[tokio::test]
async fn whatever_is_wrong_with_an_upload_nothing_of_it_is_left() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let batch = Batch::of(10, &[1, 2]);
    type Damage = fn(&mut Vec<Part>);
    let damages: Vec<(&str, Damage)> = vec![
        ("DATASET_MISMATCH", |parts| {
            if let Part::Bodies(chunk) = &mut parts[3] {
                chunk.bodies = flipped(&chunk.bodies, 40_000);
            }
        }),
        ("DATASET_MISMATCH", |parts| parts.swap_bodies()),
        ("DATASET_MISMATCH", |parts| {
            if let Part::Datasets(chunk) = &mut parts[5] {
                chunk.datasets[1].share_commitments = flipped(&chunk.datasets[1].share_commitments, 0);
            }
        }),
        ("DATASET_DUPLICATE", |parts| {
            if let Part::Datasets(chunk) = &mut parts[5] {
                let person = chunk.datasets[0].leaf.as_ref().map(|leaf| leaf.person_tag.clone());
                chunk.datasets[1].leaf.as_mut().expect("a leaf").person_tag = person.expect("a leaf");
            }
        }),
        ("UPLOAD_ORDER", |parts| drop(parts.remove(2))),
        ("UPLOAD_ORDER", |parts| drop(parts.pop())),
        ("UPLOAD_ORDER", |parts| parts.insert(2, parts[0].clone())),
        ("SIGNATURE", |parts| {
            if let Some(Part::Finish(finish)) = parts.last_mut() {
                finish.registrant_signature = flipped(&finish.registrant_signature, 5);
            }
        }),
        ("SIGNATURE", |parts| {
            if let Some(Part::Finish(finish)) = parts.last_mut() {
                finish.accreditor_signature = finish.registrant_signature.clone();
            }
        }),
    ];
    for (number, (reason, damage)) in damages.into_iter().enumerate() {
        let mut parts = batch.parts(&market);
        damage(&mut parts);
        let error = upload_parts(&archive, parts).await.expect_err("damaged");
        assert_eq!(error.reason(), reason, "damage {number}: {error}");
        assert_eq!(market.body_objects(), 0, "damage {number}");
        assert!(archive.batches.open_uploads().expect("reads").is_empty(), "damage {number}");
        assert!(archive.batches.all_staged().expect("reads").is_empty(), "damage {number}");
    }
    // Control: undamaged it is accepted.
    batch.upload(&market, &archive).await.expect("accepted");
    assert!(market.body_objects() > 0);
}

/// Swaps the bodies of two columns, which keep their places.
trait SwapBodies {
    fn swap_bodies(&mut self);
}

impl SwapBodies for Vec<Part> {
    fn swap_bodies(&mut self) {
        let bodies = |part: &Part| match part {
            Part::Bodies(chunk) => chunk.bodies.clone(),
            other => panic!("not bodies: {other:?}"),
        };
        let (first, second) = (bodies(&self[1]), bodies(&self[2]));
        for (place, swapped) in [(1, second), (2, first)] {
            if let Part::Bodies(chunk) = &mut self[place] {
                chunk.bodies = swapped;
            }
        }
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_registered_is_refused_at_once() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let header = |change: fn(&mut locus_wire::pb::archive::UploadHeader)| {
        let mut parts = Batch::of(10, &[1]).parts(&market);
        if let Part::Header(header) = &mut parts[0] {
            change(header);
        }
        parts
    };
    let cases: Vec<(&str, Vec<Part>)> = vec![
        ("OTHER_NETWORK", header(|header| header.network.as_mut().expect("set").chain_id += 1)),
        ("PANEL_UNKNOWN", header(|header| header.panel_digest = vec![0; 32].into())),
        ("DEADLINE", header(|header| header.deadline_unix_s = NOW - 1)),
        ("DEADLINE", header(|header| header.deadline_unix_s = NOW + 30 * 24 * 3600)),
        ("MALFORMED", header(|header| header.dataset_count = 0)),
        ("MALFORMED", header(|header| header.dataset_count = 4097)),
        ("MALFORMED", header(|header| header.version = 0)),
        ("MALFORMED", header(|header| header.registrant = vec![1; 19].into())),
        ("UPLOAD_ORDER", Batch::of(10, &[1]).parts(&market).split_off(1)),
        ("UPLOAD_ORDER", Vec::new()),
    ];
    for (reason, parts) in cases {
        assert_eq!(upload_parts(&archive, parts).await.expect_err(reason).reason(), reason);
    }
    assert_eq!(market.body_objects(), 0);
}

#[tokio::test]
async fn a_keyholder_that_refuses_or_lies_ends_the_enrolment_and_leaves_nothing() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let batch = Batch::of(10, &[1, 2]);
    let conducts = [
        (Conduct::IsDown, "KEYHOLDER_REFUSED", ErrorCode::Unavailable),
        (Conduct::RefusesSeeds, "KEYHOLDER_REFUSED", ErrorCode::Refused),
        (Conduct::RefusesCheckSlots, "KEYHOLDER_REFUSED", ErrorCode::Refused),
        (Conduct::SignsOtherValues, "KEYHOLDER_MESSAGE", ErrorCode::Conflict),
        (Conduct::SendsFewerValues, "KEYHOLDER_MESSAGE", ErrorCode::Conflict),
        (Conduct::AttestsAnother, "KEYHOLDER_MESSAGE", ErrorCode::Conflict),
    ];
    for (number, (conduct, reason, code)) in conducts.into_iter().enumerate() {
        let keyholder = &market.keyholders[number % 3];
        keyholder.behave(conduct);
        let error = batch.upload(&market, &archive).await.expect_err("refused");
        assert_eq!((error.reason(), error.code()), (reason, code), "{conduct:?}: {error}");
        assert!(error.to_string().contains(&format!("keyholder {}", number % 3 + 1)), "{error}");
        assert_eq!(market.body_objects(), 0, "{conduct:?}");
        keyholder.behave(Conduct::Honest);
    }
    batch.upload(&market, &archive).await.expect("everybody is honest again");
}

#[tokio::test]
async fn the_same_batch_uploaded_again_gets_the_same_receipt_and_is_kept_once() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let batch = Batch::of(10, &[1, 2]);
    let first = batch.upload(&market, &archive).await.expect("accepted");
    let objects = market.body_objects();
    market.keyholders.iter().for_each(|keyholder| drop(keyholder.take_seen()));
    assert_eq!(batch.upload(&market, &archive).await.expect("accepted again"), first);
    assert!(market.keyholders[0].take_seen().chunks.is_empty(), "nobody was asked again");
    // With a later deadline it is another registration of the same ciphertexts.
    let later = Batch { deadline_unix_s: NOW + 7200, ..batch.clone() };
    let second = later.upload(&market, &archive).await.expect("accepted");
    assert_ne!(second.registration, first.registration);
    assert_eq!(market.body_objects(), objects);
    market.register(&later, &second).await;
    let view = archive.view.refreshed().await.expect("reads");
    archive.publish_new(&view).await.expect("publishes");
    assert!(covers(&archive, &market, 0, 2).await);
}

#[tokio::test]
async fn copies_of_a_registered_dataset_are_refused_whoever_sends_them() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let victim = Batch::of(10, &[1, 2]);
    let receipt = victim.upload(&market, &archive).await.expect("accepted");
    market.register(&victim, &receipt).await;
    // Dataset 1 of the sybil's batch has the ciphertexts, keys and genotypes of the victim's second.
    let sybil = Batch::of(11, &[7, 2]);
    match sybil.upload(&market, &archive).await {
        Err(ArchiveError::AlreadyRegistered { ordinal: 1, what, registration: RegistrationId(1), registered: 1 }) => {
            assert_eq!(what, Commitment::Bodies);
        }
        other => panic!("{other:?}"),
    }
    assert!(Batch::of(11, &[7, 8]).upload(&market, &archive).await.is_ok(), "control: its own data are accepted");
}

#[tokio::test]
async fn an_upload_that_a_crash_cut_off_is_gone_after_the_restart() {
    let market = Market::new().await;
    let batch = Batch::of(10, &[1, 2]);
    {
        let archive = market.archive().await;
        let mut parts = batch.parts(&market);
        parts.truncate(4);
        let sent = parts.into_iter().map(|part| Ok::<_, Status>(UploadDatasetsRequest { part: Some(part) }));
        // The rest never comes; the task is cut off where it waits.
        let mut messages = futures::StreamExt::chain(stream::iter(sent), stream::pending());
        let (sender, mut events) = tokio::sync::mpsc::channel(64);
        let progress = Progress::new(sender);
        let receiving = upload::receive(&archive, &mut messages, &progress);
        let all_stored = async {
            for _ in 0..3 {
                let event = events.recv().await.expect("a chunk is stored");
                assert!(event.is_ok());
            }
        };
        tokio::select! {
            _ = receiving => panic!("the upload cannot end"),
            () = all_stored => {}
        }
        assert_eq!(archive.batches.open_uploads().expect("reads").len(), 1);
    }
    assert!(market.body_objects() > 0, "control: the crash left objects behind");
    let archive = market.archive().await;
    assert_eq!(market.body_objects(), 0);
    assert!(archive.batches.open_uploads().expect("reads").is_empty());
}

#[tokio::test]
async fn a_registration_made_while_the_archive_was_down_is_published_when_it_is_back() {
    let market = Market::new().await;
    let batch = Batch::of(10, &[1, 2]);
    let receipt = {
        let archive = market.archive().await;
        batch.upload(&market, &archive).await.expect("accepted")
    };
    market.register(&batch, &receipt).await;
    let archive = market.archive().await;
    let view = archive.view.refreshed().await.expect("reads");
    follow_once(&archive, &view, &mut BTreeSet::new()).await.expect("publishes");
    assert!(covers(&archive, &market, 0, 2).await);
}

#[tokio::test]
async fn revoked_datasets_go_out_of_use_and_erased_ones_out_of_the_store() {
    let market = Market::new().await;
    let archive = market.archive().await;
    let batch = Batch::of(99, &[1, 2, 3]);
    let receipt = batch.upload(&market, &archive).await.expect("accepted");
    let registered = market.register(&batch, &receipt).await;
    let id = registered.registration;
    let erase = EraseDatasetsRequest { registration_id: id.0, ordinals: vec![1] };
    assert!(matches!(archive.erase(&erase).await, Err(ArchiveError::NotRevoked { ordinal: 1, .. })));

    market.ledger().await.revoke_own_datasets(id, &[1]).await.expect("revokes");
    let view = archive.view.refreshed().await.expect("reads");
    let mut tombstoned = BTreeSet::new();
    follow_once(&archive, &view, &mut tombstoned).await.expect("follows");
    assert_eq!(tombstoned, BTreeSet::from([(id, 1)]));
    let panel = archive.panels.get(&market.panel.digest()).expect("known");
    let store = archive.panel_store(panel.digest, panel.shape);
    assert_eq!(store.latest().await.expect("reads").live().iter().collect::<Vec<_>>(), [0, 2]);

    // One keyholder does not sign for what was asked: no receipt, but the bodies are gone for good.
    market.keyholders[2].behave(Conduct::KeepsSeeds);
    assert!(matches!(archive.erase(&erase).await, Err(ArchiveError::SeedsRemain { .. })));
    market.keyholders[2].behave(Conduct::Honest);
    let erased = archive.erase(&erase).await.expect("erases");
    assert_eq!(erased.bodies_removed, COLUMNS as u64);
    assert_eq!(erased.receipts.iter().map(|receipt| receipt.keyholder).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(store.latest().await.expect("reads").erased().iter().collect::<Vec<_>>(), [1]);
    let ledger = market.ledger().await;
    for receipt in &erased.receipts {
        let keyholder = u8::try_from(receipt.keyholder).expect("1 to 3");
        ledger.record_erasure(id, &[1], keyholder, &receipt.signature).await.expect("the contract accepts it");
    }
    assert_eq!(archive.erase(&erase).await.expect("erases again").receipts, erased.receipts);
}

#[tokio::test]
async fn uploads_beyond_the_limit_are_told_to_wait() {
    let mut market = Market::new().await;
    market.limits.uploads_max = 1;
    let archive = market.archive().await;
    let batch = Batch::of(10, &[1]);
    let permit = archive.upload_permit().expect("the first");
    let error = batch.upload(&market, &archive).await.expect_err("the second");
    assert_eq!(error.code(), ErrorCode::Busy);
    drop(permit);
    batch.upload(&market, &archive).await.expect("the first again");
}

#[tokio::test]
async fn an_uploader_that_stops_sending_is_cut_off() {
    let mut market = Market::new().await;
    market.limits.upload_idle_s = 0;
    let archive = market.archive().await;
    let (sender, _events) = tokio::sync::mpsc::channel(1);
    let mut silence = stream::pending::<Result<UploadDatasetsRequest, Status>>();
    let error = upload::receive(&archive, &mut silence, &Progress::new(sender)).await.expect_err("idle");
    assert_eq!(error.code(), ErrorCode::Timeout);
}
