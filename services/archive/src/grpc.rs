//! The gRPC face of the archive: messages in, messages out, no decisions.

use crate::{
    archive::Archive,
    attributes::{self, AttributeProgress},
    error::ArchiveError,
    panels::PANEL_CHUNK_BYTES,
    progress::Progress,
    rekey, upload,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use locus_genomics::PanelDigest;
use locus_ledger::RegistrationId;
use locus_phenotype::SchemaDigest;
use locus_service::{MESSAGE_BYTES_MAX, spawn_for_request, to_status};
use locus_wire::{
    convert::field,
    pb::archive::{
        self as pb,
        archive_service_server::{ArchiveService, ArchiveServiceServer},
        enrol_attributes_response::Event as AttributeEvent,
        rekey_datasets_response::Event as RekeyEvent,
        upload_datasets_response::Event,
    },
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Events that may wait for a slow reader.
const EVENTS_MAX: usize = 16;

/// Builds the service.
pub(crate) fn service(archive: Arc<Archive>) -> ArchiveServiceServer<Grpc> {
    ArchiveServiceServer::new(Grpc(archive))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) struct Grpc(Arc<Archive>);

fn status(error: ArchiveError) -> Status {
    to_status(&error)
}

#[tonic::async_trait]
impl ArchiveService for Grpc {
    type GetPanelStream = Pin<Box<dyn Stream<Item = Result<pb::GetPanelResponse, Status>> + Send>>;
    type EnrolAttributesStream = ReceiverStream<Result<pb::EnrolAttributesResponse, Status>>;
    type RekeyDatasetsStream = ReceiverStream<Result<pb::RekeyDatasetsResponse, Status>>;
    type UploadDatasetsStream = ReceiverStream<Result<pb::UploadDatasetsResponse, Status>>;

    async fn put_panel(
        &self,
        request: Request<Streaming<pb::PutPanelRequest>>,
    ) -> Result<Response<pb::PutPanelResponse>, Status> {
        let _permit = self.0.upload_permit().map_err(status)?;
        let chunks = request.into_inner().map(|message| message.map(|message| message.chunk));
        let idle = Duration::from_secs(self.0.limits.upload_idle_s);
        let bytes = collect_panel(chunks, self.0.panels.bytes_max(), idle).await?;
        let digest = self.0.panels.put(bytes).await.map_err(status)?;
        Ok(Response::new(pb::PutPanelResponse { panel_digest: digest.0.to_vec().into() }))
    }

    async fn get_panel(&self, request: Request<pb::GetPanelRequest>) -> Result<Response<Self::GetPanelStream>, Status> {
        let digest = field::array("panel_digest", &request.get_ref().panel_digest);
        let digest = PanelDigest(digest.map_err(|error| status(error.into()))?);
        let file = self.0.panels.file(digest).await.map_err(status)?;
        let chunks = stream::unfold(file, |mut rest: Bytes| async move {
            if rest.is_empty() {
                return None;
            }
            let chunk = rest.split_to(rest.len().min(PANEL_CHUNK_BYTES));
            Some((Ok(pb::GetPanelResponse { chunk }), rest))
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn list_panels(&self, _: Request<pb::ListPanelsRequest>) -> Result<Response<pb::ListPanelsResponse>, Status> {
        let panels = self.0.panels.list().iter().map(|panel| panel.to_entry()).collect();
        Ok(Response::new(pb::ListPanelsResponse { panels }))
    }

    async fn upload_datasets(
        &self,
        request: Request<Streaming<pb::UploadDatasetsRequest>>,
    ) -> Result<Response<Self::UploadDatasetsStream>, Status> {
        let mut parts = request.into_inner();
        let archive = self.0.clone();
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        // Its own task, so that an upload whose reader goes away is still cleaned up or completed.
        spawn_for_request(async move {
            let progress = Progress::new(events.clone());
            let received = upload::receive(&archive, &mut parts, &progress).await;
            let last = received
                .map(|receipt| pb::UploadDatasetsResponse { event: Some(Event::Receipt(receipt)) })
                .map_err(status);
            // A reader that is gone can upload again: it gets the same receipt.
            let _ = events.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn rekey_datasets(
        &self,
        request: Request<pb::RekeyDatasetsRequest>,
    ) -> Result<Response<Self::RekeyDatasetsStream>, Status> {
        let order = request.into_inner().order;
        let order = field::required("order", &order).map_err(|error| status(error.into()))?.clone();
        let archive = self.0.clone();
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        // Its own task, as for uploads: a reader that went away asks again and gets the same receipt.
        spawn_for_request(async move {
            let of_progress = events.clone();
            let report = move |stage: &str, done, total| {
                let progress = pb::UploadProgress { stage: stage.to_owned(), done, total };
                let event = pb::RekeyDatasetsResponse { event: Some(RekeyEvent::Progress(progress)) };
                let _ = of_progress.try_send(Ok(event));
            };
            let receipt = rekey::rekey(&archive, &order, report).await;
            let last = receipt
                .map(|receipt| pb::RekeyDatasetsResponse { event: Some(RekeyEvent::Receipt(receipt)) })
                .map_err(status);
            let _ = events.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn publish_registration(
        &self,
        request: Request<pb::PublishRegistrationRequest>,
    ) -> Result<Response<pb::PublishRegistrationResponse>, Status> {
        let id = RegistrationId(request.get_ref().registration_id);
        let view = self.0.view.refreshed().await.map_err(|error| status(error.into()))?;
        let registered = self.0.registered(&view, id).map_err(status)?;
        self.0.publish(&registered).await.map_err(status)?;
        self.0.publish_rekeyed(&view).await.map_err(status)?;
        Ok(Response::new(pb::PublishRegistrationResponse {
            first_slot: registered.record.first_slot,
            dataset_count: registered.slots.count,
        }))
    }

    async fn enrol_attributes(
        &self,
        request: Request<Streaming<pb::EnrolAttributesRequest>>,
    ) -> Result<Response<Self::EnrolAttributesStream>, Status> {
        let mut parts = request.into_inner();
        let archive = self.0.clone();
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        spawn_for_request(async move {
            let progress = AttributeProgress(events.clone());
            let received = attributes::receive(&archive, &mut parts, &progress).await;
            let last = received
                .map(|receipt| pb::EnrolAttributesResponse { event: Some(AttributeEvent::Receipt(receipt)) })
                .map_err(status);
            // A reader that is gone can send them again: it gets the same receipt.
            let _ = events.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn list_schemas(
        &self,
        _: Request<pb::ListSchemasRequest>,
    ) -> Result<Response<pb::ListSchemasResponse>, Status> {
        let schemas = self.0.schemas.list().map_err(status)?;
        Ok(Response::new(pb::ListSchemasResponse { schemas }))
    }

    async fn get_schema(
        &self,
        request: Request<pb::GetSchemaRequest>,
    ) -> Result<Response<pb::GetSchemaResponse>, Status> {
        let digest = field::digest("schema_digest", &request.get_ref().schema_digest);
        let digest = SchemaDigest(digest.map_err(|error| status(error.into()))?);
        let schema_json = self.0.schemas.json(digest).map_err(status)?;
        Ok(Response::new(pb::GetSchemaResponse { schema_json }))
    }

    async fn put_disclosure(
        &self,
        request: Request<pb::PutDisclosureRequest>,
    ) -> Result<Response<pb::PutDisclosureResponse>, Status> {
        let digest = self.0.put_disclosure(request.into_inner().document).await.map_err(status)?;
        Ok(Response::new(pb::PutDisclosureResponse { disclosure_digest: digest.0.to_vec().into() }))
    }

    async fn get_disclosure(
        &self,
        request: Request<pb::GetDisclosureRequest>,
    ) -> Result<Response<pb::GetDisclosureResponse>, Status> {
        let request = request.get_ref();
        let digest = field::digest("disclosure_digest", &request.disclosure_digest);
        let digest = digest.map_err(|error| status(error.into()))?;
        let document = self.0.disclosure(RegistrationId(request.registration_id), digest).await.map_err(status)?;
        Ok(Response::new(pb::GetDisclosureResponse { document }))
    }

    async fn erase_datasets(
        &self,
        request: Request<pb::EraseDatasetsRequest>,
    ) -> Result<Response<pb::EraseDatasetsResponse>, Status> {
        self.0.erase(request.get_ref()).await.map(Response::new).map_err(status)
    }
}

/// Puts the pieces of a panel file together, at most `bytes_max` bytes of them, each of which must come within `idle`.
async fn collect_panel(
    mut chunks: impl Stream<Item = Result<Bytes, Status>> + Unpin,
    bytes_max: u64,
    idle: Duration,
) -> Result<Vec<u8>, Status> {
    let mut bytes = Vec::new();
    let too_late = |_| status(ArchiveError::Idle(idle.as_secs()));
    while let Some(chunk) = tokio::time::timeout(idle, chunks.next()).await.map_err(too_late)? {
        let chunk = chunk?;
        if chunk.len() > PANEL_CHUNK_BYTES {
            return Err(status(ArchiveError::PanelChunkTooLarge(chunk.len())));
        }
        if (bytes.len() + chunk.len()) as u64 > bytes_max {
            return Err(status(ArchiveError::PanelTooLarge(bytes_max)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_service::reason_of;

    async fn collect(chunks: &[&[u8]], bytes_max: u64) -> Result<Vec<u8>, Status> {
        let chunks: Vec<Result<Bytes, Status>> = chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        collect_panel(stream::iter(chunks), bytes_max, Duration::from_secs(60)).await
    }

    #[tokio::test]
    async fn whoever_stops_sending_a_panel_is_cut_off() {
        let begun = stream::iter([Ok(Bytes::from_static(b"ab"))]);
        let silent = begun.clone().chain(stream::pending());
        let refused = collect_panel(silent, 4, Duration::ZERO).await.expect_err("nothing more comes");
        assert_eq!(reason_of(&refused).as_deref(), Some("UPLOAD_IDLE"));
        let ended = collect_panel(begun, 4, Duration::ZERO).await;
        assert_eq!(ended.expect("the control: the end comes in time"), b"ab");
    }

    #[tokio::test]
    async fn a_panel_is_put_together_up_to_the_limit_and_no_further() {
        assert_eq!(collect(&[b"ab", b"", b"cd"], 4).await.expect("fits"), b"abcd");
        let refused = collect(&[b"ab", b"cd"], 3).await.expect_err("too large");
        assert_eq!(reason_of(&refused).as_deref(), Some("PANEL_TOO_LARGE"));
        let large = vec![0; PANEL_CHUNK_BYTES + 1];
        assert!(collect(&[&large], u64::MAX).await.is_err());
    }
}
