//! Fetching and publishing panels.

use crate::{
    error::ClientError,
    service::{CallError, Services, name, retrying},
};
use bytes::Bytes;
use locus_genomics::{Assembly, Panel, PanelDigest};
use locus_wire::{
    convert::field,
    pb::{archive as pb, exchange as exchange_pb},
};
use tonic::Code;

/// Bytes of one message of a panel file.
const CHUNK_BYTES: usize = 1 << 20;
/// Largest panel file accepted: what the archive accepts by default.
const PANEL_BYTES_MAX: usize = 64 << 20;

/// A panel as the archive lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPanel {
    /// Its digest.
    pub digest: PanelDigest,
    /// Its name.
    pub name: String,
    /// Assembly of its positions.
    pub assembly: Assembly,
    /// Number of variants.
    pub variant_count: u32,
    /// Whether it declares complete calls.
    pub complete_calls: bool,
}

/// Gives a panel to the archive and publishes its digest on the chain. A panel that is there already
/// is as good.
///
/// # Errors
/// [`ClientError::Call`] when the archive or the contract refuses.
pub async fn publish_panel(services: &Services, panel: &Panel) -> Result<(), ClientError> {
    let file = Bytes::from(panel.to_canonical_bytes());
    let call = || {
        let mut archive = services.archive.clone();
        let file = file.clone();
        async move {
            let starts = (0..file.len()).step_by(CHUNK_BYTES);
            let chunk = move |start: usize| pb::PutPanelRequest {
                chunk: file.slice(start..file.len().min(start + CHUNK_BYTES)),
            };
            archive.put_panel(tokio_stream::iter(starts.map(chunk))).await
        }
    };
    retrying(name::ARCHIVE, call).await?;
    let request = exchange_pb::PublishPanelRequest {
        panel_digest: panel.digest().0.to_vec().into(),
        name: panel.name().to_owned(),
        variant_count: panel.variant_count(),
        complete_calls: panel.complete_calls(),
    };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.publish_panel(request).await }
    };
    match retrying(name::EXCHANGE, call).await {
        Ok(_) => Ok(()),
        Err(error) if error.code == Code::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Fetches a panel by digest and checks that it is that panel.
///
/// # Errors
/// [`ClientError::Call`] when the archive does not have it, [`ClientError::OtherPanel`] when what it
/// sends has another digest.
pub async fn fetch_panel(services: &Services, digest: PanelDigest) -> Result<Panel, ClientError> {
    let request = pb::GetPanelRequest { panel_digest: digest.0.to_vec().into() };
    let failed = |status: tonic::Status| ClientError::from(CallError::new(name::ARCHIVE, &status));
    let mut stream = services.archive.clone().get_panel(request).await.map_err(failed)?.into_inner();
    let mut file = Vec::new();
    while let Some(message) = stream.message().await.map_err(failed)? {
        if file.len() + message.chunk.len() > PANEL_BYTES_MAX {
            return Err(ClientError::OtherPanel { wanted: digest });
        }
        file.extend_from_slice(&message.chunk);
    }
    let panel = Panel::from_canonical_bytes(&file)?;
    if panel.digest() == digest { Ok(panel) } else { Err(ClientError::OtherPanel { wanted: digest }) }
}

/// The panels that the archive knows.
///
/// # Errors
/// [`ClientError::Call`] or [`ClientError::Malformed`].
pub async fn list_panels(services: &Services) -> Result<Vec<ListedPanel>, ClientError> {
    let call = || {
        let mut archive = services.archive.clone();
        async move { archive.list_panels(pb::ListPanelsRequest {}).await }
    };
    let message = retrying(name::ARCHIVE, call).await?;
    let malformed = |error| ClientError::Malformed { service: name::ARCHIVE, error };
    let parse = |panel: pb::list_panels_response::Panel| {
        let refused = |error| malformed(locus_wire::convert::FieldError::refused("panels.assembly", error));
        Ok(ListedPanel {
            digest: PanelDigest(field::array("panels.panel_digest", &panel.panel_digest).map_err(malformed)?),
            name: panel.name,
            assembly: panel.assembly.parse().map_err(refused)?,
            variant_count: panel.variant_count,
            complete_calls: panel.complete_calls,
        })
    };
    message.panels.into_iter().map(parse).collect()
}
