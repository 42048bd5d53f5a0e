//! Progress events of an upload.

use locus_wire::pb::archive::{UploadDatasetsResponse, UploadProgress, upload_datasets_response::Event};
use tokio::sync::mpsc;
use tonic::Status;

/// Tells the uploader how far things are. Events that the uploader is too slow to read are left out.
#[derive(Debug, Clone)]
pub(crate) struct Progress(mpsc::Sender<Result<UploadDatasetsResponse, Status>>);

impl Progress {
    /// Reports through `events`.
    pub(crate) fn new(events: mpsc::Sender<Result<UploadDatasetsResponse, Status>>) -> Self {
        Self(events)
    }

    /// `done` of `total` steps of `stage` are over.
    pub(crate) fn report(&self, stage: &str, done: u64, total: u64) {
        let progress = UploadProgress { stage: stage.to_owned(), done, total };
        // A full or closed channel means that nobody reads: an event less.
        let _ = self.0.try_send(Ok(UploadDatasetsResponse { event: Some(Event::Progress(progress)) }));
    }
}
