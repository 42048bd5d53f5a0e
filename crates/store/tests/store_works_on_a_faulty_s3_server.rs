//! A server that speaks S3, over TCP, as it is on bad days: it asks for patience, it goes away and comes back.

mod common;

use common::{content, panel, s3::S3Server};
use locus_genomics::PanelDigest;
use locus_store::{
    BatchId, PanelShape, SlotSet, StoreError,
    conformance::{SyntheticBatch, store_conformance},
};
use object_store::{ObjectStore as _, PutMode, PutOptions, path::Path};
use std::{sync::atomic::Ordering, time::Duration};

/// More bodies in a column than one piece of an upload holds.
const LARGE: SyntheticBatch = SyntheticBatch { seed: 9, rows: 330 };

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opened_by_its_address_conforms() -> Result<(), Box<dyn std::error::Error>> {
    let server = S3Server::empty();
    store_conformance(&server.store("cohort/one")).await?;
    assert_eq!(server.faults.refused(), 0);
    // Another prefix of the bucket is another store.
    Ok(store_conformance(&server.store("cohort/two")).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_one_object_exactly_one_does() {
    let server = S3Server::empty();
    let client = common::client(&server);
    let name = Path::from("manifest/1");
    let create = async |number: u8| {
        let put = client.put_opts(&name, vec![number; 9].into(), PutOptions::from(PutMode::Create)).await;
        put.map(|_| number).ok()
    };
    let created: Vec<u8> = futures::future::join_all((0..16).map(create)).await.into_iter().flatten().collect();
    let [winner] = created[..] else { panic!("{} created it", created.len()) };
    let found = client.get_opts(&name, Default::default()).await.expect("it is there").bytes().await;
    assert_eq!(found.expect("it reads")[..], [winner; 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_go_in_pieces() {
    let server = S3Server::empty();
    let panel = panel(common::client(&server));
    let manifest = LARGE.enrol(&panel, 0).await.expect("it enrols");
    // 330 bodies are 10.3 MiB, and there are two columns.
    assert_eq!((server.faults.pieces(), server.objects.open_uploads()), (2 * 3, 0));
    assert_eq!(content(&panel, &manifest).await.len(), 330);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_to_slow_down_is_asked_again_and_nothing_is_lost() {
    let server = S3Server::empty();
    server.faults.slow_down_every.store(3, Ordering::SeqCst);
    let panel = panel(common::client(&server));
    let batch = SyntheticBatch { seed: 1, rows: 70 };
    batch.enrol(&panel, 0).await.expect("every request gets through in the end");
    let compacted = panel.compact(&[0].into()).await.expect("it compacts");
    assert_eq!(content(&panel, &compacted).await.len(), 70);
    assert!(server.faults.refused() > 10, "the control: only {} were refused", server.faults.refused());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_has_time_is_reported_and_changes_nothing() {
    let server = S3Server::empty();
    let panel = panel(common::client(&server));
    let before = SyntheticBatch { seed: 1, rows: 4 }.enrol(&panel, 0).await.expect("it enrols");
    server.faults.slow_down_every.store(1, Ordering::SeqCst);
    let refused = panel.tombstone(&SlotSet::try_from_iter([2]).expect("small")).await.expect_err("no time");
    assert!(matches!(refused, StoreError::Backend { .. }), "{refused}");
    assert!(refused.to_string().contains("try again"), "{refused}");
    server.faults.slow_down_every.store(0, Ordering::SeqCst);
    assert_eq!(panel.latest().await.expect("it reads"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_during_an_upload_leaves_the_store_as_it_was_and_work_goes_on() {
    let server = S3Server::empty();
    let (address, objects) = (server.address(), server.objects.clone());
    let panel = panel(common::client(&server));
    let kept = SyntheticBatch { seed: 1, rows: 4 };
    let before = kept.enrol(&panel, 0).await.expect("it enrols");
    let sound = content(&panel, &before).await;

    let mut writer = panel.create_batch(LARGE.id(), LARGE.rows).await.expect("it starts");
    let (column, _) = writer.expects().expect("nothing was written");
    writer.append(column, 0, LARGE.bodies(column, 0, 200)).await.expect("there is a server");
    drop(server);
    let gone = async {
        for first in [200, 250, 300] {
            writer.append(column, first, LARGE.bodies(column, first, 50.min(LARGE.rows - first))).await?;
        }
        panel.latest().await
    };
    let error = gone.await.expect_err("there is no server");
    assert!(matches!(error, StoreError::Backend { .. }), "{error}");
    drop(writer);

    let server = S3Server::start(objects, address);
    assert_eq!(panel.latest().await.expect("it reads"), before, "nothing was half done");
    assert_eq!(content(&panel, &before).await, sound);
    // An upload that was interrupted starts over under another id.
    let again = SyntheticBatch { seed: 10, ..LARGE };
    let after = again.enrol(&panel, 100).await.expect("the same client goes on");
    assert_eq!(content(&panel, &after).await.len(), 334);
    // What the interrupted upload left goes with the garbage.
    let policy = locus_store::GarbagePolicy {
        superseded_before: None,
        abandoned_before: std::time::SystemTime::now() + Duration::from_secs(3_600),
    };
    panel.collect_garbage(policy).await.expect("it collects");
    assert!(matches!(panel.sealed_batch(LARGE.id()).await, Err(StoreError::BatchNotSealed(BatchId(_)))));
    assert_eq!(content(&panel, &panel.latest().await.expect("it reads")).await.len(), 334);
    drop(server);
}

#[test]
fn a_wrong_key_is_refused_with_the_servers_reason() {
    let server = S3Server::empty();
    let mut options = server.options();
    options.insert("secret_access_key".to_owned(), "stolen".to_owned());
    let store = locus_store::open_store("s3://genomes/p", options).expect("the address is understood");
    let shape = PanelShape::try_new(1, true).expect("a shape");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let error = runtime.block_on(store.panel(PanelDigest([7; 32]), shape).latest()).expect_err("a wrong key");
    let text = format!("{error}: {:?}", std::error::Error::source(&error));
    assert!(text.contains("SignatureDoesNotMatch") && !text.contains("stolen"), "{text}");
}
