//! The three keyholders, as the archive calls them.

use crate::{
    archive::{Archive, KeyholderClient},
    error::ArchiveError,
};
use locus_commitment::Address;
use locus_ledger::ChainView;
use locus_sharing::KeyholderIndex;
use std::{future::Future, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

/// A keyholder, and the account that it signs with.
pub(crate) struct Member {
    pub(crate) keyholder: KeyholderIndex,
    pub(crate) signer: Address,
    pub(crate) client: KeyholderClient,
}

/// All three, and how long each may take for a message.
pub(crate) struct Committee {
    pub(crate) members: [Member; 3],
    pub(crate) patience: Duration,
}

impl Committee {
    /// The keyholders that the chain names.
    pub(crate) fn of(archive: &Archive, view: &ChainView) -> Result<Self, ArchiveError> {
        let member = |keyholder: KeyholderIndex| -> Result<Member, ArchiveError> {
            let signer = archive.signer_of(view, keyholder)?;
            Ok(Member { keyholder, signer, client: archive.keyholder(keyholder) })
        };
        let [first, second, third] = KeyholderIndex::ALL;
        let members = [member(first)?, member(second)?, member(third)?];
        Ok(Self { members, patience: Duration::from_secs(archive.limits.keyholder_wait_s) })
    }

    /// What a keyholder answers, in time.
    pub(crate) async fn answer<T>(
        &self,
        member: &Member,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ArchiveError> {
        Ok(self.in_time(member, call).await?.into_inner())
    }

    /// The same for any message.
    pub(crate) async fn in_time<T>(
        &self,
        member: &Member,
        message: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, ArchiveError> {
        let message = tokio::time::timeout(self.patience, message).await;
        let message = message.map_err(|_| self.slow(member.keyholder))?;
        message.map_err(|status| member.refused(status))
    }

    /// The same for a message that a keyholder may owe to all that it is sent: its time begins when `all_sent` is cancelled.
    /// Until then [`pass_on`](Self::pass_on) sees whether it goes on reading.
    pub(crate) async fn in_time_after<T>(
        &self,
        all_sent: &CancellationToken,
        member: &Member,
        message: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, ArchiveError> {
        let too_late = async {
            all_sent.cancelled().await;
            tokio::time::sleep(self.patience).await;
        };
        tokio::select! {
            biased;
            message = message => message.map_err(|status| member.refused(status)),
            () = too_late => Err(self.slow(member.keyholder)),
        }
    }

    /// Passes a message on to a keyholder, which must make room for it in time. False when it has stopped reading: its own
    /// answer says why.
    pub(crate) async fn pass_on<T>(
        &self,
        member: &Member,
        sender: &mpsc::Sender<T>,
        message: T,
    ) -> Result<bool, ArchiveError> {
        let sent = tokio::time::timeout(self.patience, sender.send(message)).await;
        sent.map(|sent| sent.is_ok()).map_err(|_| self.slow(member.keyholder))
    }

    /// A keyholder took too long.
    pub(crate) fn slow(&self, keyholder: KeyholderIndex) -> ArchiveError {
        ArchiveError::KeyholderSlow { keyholder, seconds: self.patience.as_secs() }
    }
}

impl Member {
    /// It answered with an error.
    pub(crate) fn refused(&self, status: Status) -> ArchiveError {
        ArchiveError::Keyholder { keyholder: self.keyholder, status }
    }

    /// It answered what it must not.
    pub(crate) fn wrong(&self, what: &'static str) -> ArchiveError {
        ArchiveError::KeyholderMessage { keyholder: self.keyholder, what }
    }
}
