//! How long the archive waits for keyholders.

use super::market::Market;
use crate::{committee::Committee, error::ArchiveError};
use std::{future, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A committee that may take no time at all.
async fn impatient(market: &Market) -> Committee {
    let archive = market.archive().await;
    let view = archive.view.refreshed().await.expect("reads");
    Committee { patience: Duration::ZERO, ..Committee::of(&archive, &view).expect("complete") }
}

#[tokio::test]
async fn patience_with_an_answer_to_many_messages_begins_with_the_last_of_them() {
    let committee = impatient(&Market::new().await).await;
    let member = &committee.members[0];
    let all_sent = CancellationToken::new();
    let slow = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        Ok::<_, Status>(7)
    };
    let answer = committee.in_time_after(&all_sent, member, slow).await;
    assert_eq!(answer.expect("not everything was sent"), 7);
    all_sent.cancel();
    let never = future::pending::<Result<u8, Status>>();
    let answer = committee.in_time_after(&all_sent, member, never).await;
    assert!(matches!(answer, Err(ArchiveError::KeyholderSlow { .. })), "the control: {answer:?}");
}

#[tokio::test]
async fn a_keyholder_that_reads_nothing_is_not_waited_for() {
    let committee = impatient(&Market::new().await).await;
    let member = &committee.members[0];
    let (sender, receiver) = mpsc::channel(1);
    assert!(committee.pass_on(member, &sender, 1).await.expect("there is room"));
    let passed = committee.pass_on(member, &sender, 2).await;
    assert!(matches!(passed, Err(ArchiveError::KeyholderSlow { .. })), "{passed:?}");
    drop(receiver);
    assert!(!committee.pass_on(member, &sender, 3).await.expect("its own answer says why"));
}
