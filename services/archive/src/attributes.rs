//! Leading the attributes of a registration through the three keyholders: each takes its shares, then
//! each compares them with the other two and returns masked sums, then each sees that the sums are
//! zero and admits the attributes.
//!
//! The archive carries sealed shares and signed messages. It chooses the number of the attempt, and
//! could only make a check fail.

mod sequence;

use crate::{
    archive::Archive,
    committee::{Committee, Member},
    error::ArchiveError,
    upload,
};
use futures::{Stream, StreamExt as _, future::try_join_all};
use locus_commitment::Digest32;
use locus_ledger::{attribute_statement_hash, recover};
use locus_wire::{
    convert::{AttributeEnrolment, field::FieldError},
    pb::{
        archive::{
            AttributeChunk, EnrolAttributesRequest, EnrolAttributesResponse,
            enrol_attributes_request::Part,
            enrol_attributes_response::{Event, Progress as ProgressEvent, Receipt},
        },
        keyholder as pb,
    },
    relay,
};
use pb::check_attributes_request::Part as CheckPart;
use sequence::AttributeSequence;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Chunks that may wait for a slow keyholder; each has at most 1 MiB.
const CHUNKS_WAITING_MAX: usize = 2;
/// Steps that follow when all shares are there.
const CHECK_STEPS: u64 = 3;

/// Tells the contributor how far things are. Events that it is too slow to read are left out.
pub(crate) struct AttributeProgress(pub(crate) mpsc::Sender<Result<EnrolAttributesResponse, Status>>);

impl AttributeProgress {
    fn report(&self, stage: &str, done: u64, total: u64) {
        let progress = ProgressEvent { stage: stage.to_owned(), done, total };
        // A full or closed channel means that nobody reads: an event less.
        let _ = self.0.try_send(Ok(EnrolAttributesResponse { event: Some(Event::Progress(progress)) }));
    }
}

/// One attempt with all three keyholders.
struct Attempt {
    header: pb::AttributeHeader,
    enrolment: AttributeEnrolment,
    /// Name of the session.
    session: Digest32,
    number: u64,
    committee: Committee,
}

/// Takes in the attributes of a registration and runs their check. After an error, what was live
/// before is live still, unless some keyholders had admitted the new ones already: sending them again
/// completes it.
pub(crate) async fn receive<S>(
    archive: &Arc<Archive>,
    parts: &mut S,
    progress: &AttributeProgress,
) -> Result<Receipt, ArchiveError>
where
    S: Stream<Item = Result<EnrolAttributesRequest, Status>> + Unpin + Send,
{
    let _permit = archive.upload_permit()?;
    let idle = Duration::from_secs(archive.limits.upload_idle_s);
    let Some(Part::Header(header)) = next_part(parts, idle).await? else {
        return Err(upload::sequence::header_first().into());
    };
    let attempt = Attempt::begin(archive, header).await?;
    let checks = attempt.share(parts, idle, progress).await?;
    progress.report("checking", 1, CHECK_STEPS);
    let sums = attempt.verify(checks).await?;
    progress.report("checking", 2, CHECK_STEPS);
    let dataset_count = attempt.admit(sums).await?;
    let statement = &attempt.enrolment.statement;
    archive.schemas.put(statement.registration, &attempt.enrolment.schema)?;
    progress.report("checking", CHECK_STEPS, CHECK_STEPS);
    tracing::info!(
        registration = statement.registration.0,
        revision = statement.revision,
        schema = %statement.schema,
        datasets = dataset_count,
        "attributes admitted"
    );
    Ok(Receipt { dataset_count, schema_digest: statement.schema.0.to_vec().into() })
}

/// The next message's content; `None` at the end of the stream.
async fn next_part<S>(parts: &mut S, idle: Duration) -> Result<Option<Part>, ArchiveError>
where
    S: Stream<Item = Result<EnrolAttributesRequest, Status>> + Unpin + Send,
{
    let next = tokio::time::timeout(idle, parts.next()).await;
    let next = next.map_err(|_| ArchiveError::Idle(idle.as_secs()))?;
    let Some(message) = next else { return Ok(None) };
    let message = message.map_err(|status| ArchiveError::Broken(status.message().to_owned()))?;
    message.part.map(Some).ok_or(ArchiveError::EmptyMessage)
}

impl Attempt {
    /// Checks the header and takes a fresh number.
    async fn begin(archive: &Archive, mut header: pb::AttributeHeader) -> Result<Self, ArchiveError> {
        let enrolment = AttributeEnrolment::try_from(&header)?;
        let statement = enrolment.statement;
        let view = archive.view.refreshed().await?;
        let record = view.registration(statement.registration);
        let record = record.ok_or(ArchiveError::UnknownRegistration(statement.registration))?;
        if u32::try_from(record.leaves.len()) != Ok(enrolment.dataset_count) {
            let reason = format!("the registration has {} datasets", record.leaves.len());
            return Err(FieldError::refused("header.dataset_count", reason).into());
        }
        let network = archive.contracts().network;
        let digest = attribute_statement_hash(&network, &statement);
        archive.verify(record.registrant, &digest, &enrolment.registrant_signature, "registrant").await?;
        let number = archive.schemas.next_attempt(archive.clock.now_unix_s())?;
        header.attempt = number;
        let session = relay::attribute_session_digest(&network, &statement);
        let committee = Committee::of(archive, &view)?;
        Ok(Self { header, enrolment, session, number, committee })
    }

    /// First step: passes every chunk on as it comes; returns what the keyholders signed.
    async fn share<S>(
        &self,
        parts: &mut S,
        idle: Duration,
        progress: &AttributeProgress,
    ) -> Result<Vec<pb::AttributeCheck>, ArchiveError>
    where
        S: Stream<Item = Result<EnrolAttributesRequest, Status>> + Unpin + Send,
    {
        let all_sent = CancellationToken::new();
        let (mut senders, mut calls) = (Vec::with_capacity(3), Vec::with_capacity(3));
        for member in &self.committee.members {
            let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
            let header = CheckPart::Header(self.header.clone());
            // The channel is empty, so there is room.
            let _ = sender.try_send(pb::CheckAttributesRequest { part: Some(header) });
            senders.push(sender);
            calls.push(self.check(member, receiver, all_sent.clone()));
        }
        let forward = async {
            let is_complete = self.forward(parts, senders, idle, progress).await;
            all_sent.cancel();
            is_complete
        };
        let (is_complete, checks) = futures::future::try_join(forward, try_join_all(calls)).await?;
        let too_early = || self.committee.members[0].wrong("an answer before it had everything");
        if is_complete { Ok(checks) } else { Err(too_early()) }
    }

    /// Passes chunks on to the end of the stream; false when a keyholder stopped reading, whose own
    /// answer says why.
    async fn forward<S>(
        &self,
        parts: &mut S,
        senders: Vec<mpsc::Sender<pb::CheckAttributesRequest>>,
        idle: Duration,
        progress: &AttributeProgress,
    ) -> Result<bool, ArchiveError>
    where
        S: Stream<Item = Result<EnrolAttributesRequest, Status>> + Unpin + Send,
    {
        let bits = u32::try_from(self.enrolment.schema.bit_count()).unwrap_or(u32::MAX);
        let mut sequence = AttributeSequence::new(self.enrolment.dataset_count, bits);
        while let Some(part) = next_part(parts, idle).await? {
            let Part::Chunk(AttributeChunk { keyholder, attributes }) = part else {
                return Err(ArchiveError::SecondHeader);
            };
            let attributes = locus_wire::convert::field::required("chunk.attributes", &attributes)?;
            let keyholder = sequence.take(keyholder, attributes)?;
            let message = pb::CheckAttributesRequest { part: Some(CheckPart::Chunk(attributes.clone())) };
            let place = keyholder.position();
            if !self.committee.pass_on(&self.committee.members[place], &senders[place], message).await? {
                return Ok(false);
            }
            progress.report("sharing", sequence.done(), sequence.total());
        }
        sequence.finish().map(|()| true)
    }

    /// The first call to one keyholder, which has `patience` to answer when everything was sent.
    async fn check(
        &self,
        member: &Member,
        chunks: mpsc::Receiver<pb::CheckAttributesRequest>,
        all_sent: CancellationToken,
    ) -> Result<pb::AttributeCheck, ArchiveError> {
        let mut client = member.client.clone();
        let call = client.check_attributes(ReceiverStream::new(chunks));
        let response = self.committee.in_time_after(&all_sent, member, call).await?.into_inner();
        let check = response.check.ok_or_else(|| member.wrong("an answer without its check"))?;
        let digest = relay::attribute_check_digest(&self.session, self.number, &check);
        let is_signed = recover(&digest, &check.signature) == Ok(member.signer);
        if is_signed && check.keyholder == u32::from(member.keyholder.get()) {
            Ok(check)
        } else {
            Err(member.wrong("a check of attributes without its signature"))
        }
    }

    /// Second step.
    async fn verify(&self, checks: Vec<pb::AttributeCheck>) -> Result<Vec<pb::AttributeSums>, ArchiveError> {
        let calls = self.committee.members.iter().map(|member| {
            let request = pb::VerifyAttributesRequest { header: Some(self.header.clone()), checks: checks.clone() };
            async move {
                let mut client = member.client.clone();
                let response = self.committee.answer(member, client.verify_attributes(request)).await?;
                let sums = response.sums.ok_or_else(|| member.wrong("an answer without its sums"))?;
                let digest = relay::attribute_sums_digest(&self.session, self.number, &sums);
                let is_signed = recover(&digest, &sums.signature) == Ok(member.signer);
                if is_signed && sums.keyholder == u32::from(member.keyholder.get()) {
                    Ok(sums)
                } else {
                    Err(member.wrong("sums of attributes without its signature"))
                }
            }
        });
        try_join_all(calls).await
    }

    /// Third step; returns how many datasets have attributes now.
    async fn admit(&self, sums: Vec<pb::AttributeSums>) -> Result<u32, ArchiveError> {
        let calls = self.committee.members.iter().map(|member| {
            let request = pb::AdmitAttributesRequest { header: Some(self.header.clone()), sums: sums.clone() };
            async move {
                let mut client = member.client.clone();
                let response = self.committee.answer(member, client.admit_attributes(request)).await?;
                Ok::<_, ArchiveError>(response.dataset_count)
            }
        });
        let counts = try_join_all(calls).await?;
        // A dataset that one of them does not have cannot be asked about.
        Ok(counts.into_iter().min().unwrap_or(0))
    }
}
