//! Leading the keyholders through giving all datasets of a registration new keys, and putting the new bodies in the place of the
//! old ones when the chain has the keys.
//!
//! The archive carries sealed pieces that it cannot open, and gets the new bodies from keyholder 1. It believes nobody: the
//! bodies must have the digests that all three sign for.

mod ending;
mod rows;

use crate::{
    archive::{Archive, fresh_batch_id},
    committee::{Committee, Member},
    error::ArchiveError,
    publish::Registered,
    staged::{BatchPlace, StagedRekeying},
};
use futures::future::{try_join, try_join_all};
use locus_ledger::{ChainView, RegistrationId, RekeyRequest, Rekeying, keys_hash, recover, rekey_request_hash};
use locus_sharing::KeyholderIndex;
use locus_wire::{
    convert::{field, parse_generation, parse_rekeyed_keys},
    pb::{
        archive::RekeyReceipt,
        keyholder::{self as pb, receive_rekeying_request::Part as Sent, receive_rekeying_response::Part as Received},
    },
    relay,
};
use rows::Rows;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Time that is left to send a transaction with signatures that are given out again.
const SENDING_S: u64 = 900;
/// Pieces that wait for a slow keyholder, 2 MiB each.
const PIECES_WAITING_MAX: usize = 2;

/// One re-keying on its way through the keyholders.
struct Ceremony<'a> {
    registered: &'a Registered<'a>,
    order: &'a pb::RekeyingOrder,
    generation: u8,
    committee_epoch: u64,
    committee: Committee,
    /// Ordinals that get new keys, and those that do not.
    live: Vec<u32>,
    left_out: Vec<u32>,
}

/// What came of one keyholder's work.
struct Outcome {
    keys: pb::RekeyedKeys,
    statement: pb::RekeyingStatement,
}

/// Runs a re-keying up to the point where its transaction can be sent. Doing it again gives the same receipt.
pub(crate) async fn rekey(
    archive: &Arc<Archive>,
    order: &pb::RekeyingOrder,
    report: impl Fn(&str, u64, u64) + Sync,
) -> Result<RekeyReceipt, ArchiveError> {
    let _permit = archive.upload_permit()?;
    check_order(archive, order).await?;
    let view = archive.view.refreshed().await?;
    let id = RegistrationId(order.registration_id);
    let registered = archive.registered(&view, id)?;
    archive.publish(&registered).await?;
    // The record of a re-keying that is final gives way to that of the next one, so its bodies come first.
    archive.publish_rekeyed(&view).await?;
    let next = registered.record.generation() + 1;
    let generation = u8::try_from(order.generation).ok().filter(|generation| *generation == next);
    let generation = generation.ok_or(ArchiveError::OtherGeneration { next, ordered: order.generation })?;
    let committee_epoch = view.committee_epoch();
    if let Some(staged) = archive.batches.staged_rekeying(id)?
        && (staged.receipt.generation, staged.committee_epoch) == (u32::from(generation), committee_epoch)
        && staged.receipt.deadline_unix_s >= archive.clock.now_unix_s().saturating_add(SENDING_S)
    {
        return Ok(staged.receipt);
    }
    let ceremony = Ceremony::new(archive, &view, &registered, order, generation, committee_epoch)?;
    let place =
        BatchPlace { batch: fresh_batch_id()?, panel: registered.record.panel, shape: registered.store.shape() };
    archive.batches.begin_upload(&place)?;
    match ceremony.run(archive, &place, &report).await {
        Ok(receipt) => {
            let staged = StagedRekeying { place, committee_epoch, receipt: receipt.clone() };
            // Nothing is put in place between the two: a batch in use is never given up.
            let _publishing = archive.publishing.lock().await;
            let replaced = archive.batches.stage_rekeying(id, &staged)?;
            tracing::info!(registration = id.0, generation, "re-keying attested");
            if let Some(earlier) = replaced {
                archive.give_up(&earlier).await;
            }
            Ok(receipt)
        }
        Err(error) => {
            tracing::info!(registration = id.0, generation, %error, "re-keying refused");
            archive.give_up(&place).await;
            Err(error)
        }
    }
}

/// The order is the admin's, and its time is not over.
async fn check_order(archive: &Archive, order: &pb::RekeyingOrder) -> Result<(), ArchiveError> {
    if archive.settles_on_cohorts {
        return Err(ArchiveError::RekeyingOfCommitted);
    }
    let admin = field::address("order.admin", &order.admin)?;
    let signature = field::signature("order.signature", &order.signature)?;
    let generation = parse_generation("order.generation", order.generation)?;
    let (now, deadline) = (archive.clock.now_unix_s(), order.deadline_unix_s);
    if deadline < now {
        return Err(field::FieldError::refused("order.deadline_unix_s", "it has passed: sign a later one").into());
    }
    if !archive.ledger.is_registry_admin(admin).await? {
        return Err(ArchiveError::Signature("market's admin"));
    }
    let network = archive.contracts().network;
    let id = RegistrationId(order.registration_id);
    let request = RekeyRequest { registration: id, generation, deadline_unix_s: deadline };
    let digest = rekey_request_hash(&network, &request);
    archive.verify(admin, &digest, &signature, "market's admin").await
}

impl<'a> Ceremony<'a> {
    fn new(
        archive: &Archive,
        view: &ChainView,
        registered: &'a Registered<'a>,
        order: &'a pb::RekeyingOrder,
        generation: u8,
        committee_epoch: u64,
    ) -> Result<Self, ArchiveError> {
        let id = registered.record.id;
        let is_live = |ordinal: &u32| !view.is_revoked(id, *ordinal);
        let (live, left_out): (Vec<u32>, Vec<u32>) = (0..registered.slots.count).partition(is_live);
        if live.is_empty() {
            return Err(ArchiveError::AllRevoked(id));
        }
        Ok(Self {
            registered,
            order,
            generation,
            committee_epoch,
            committee: Committee::of(archive, view)?,
            live,
            left_out,
        })
    }

    async fn run(
        &self,
        archive: &Archive,
        place: &BatchPlace,
        report: &(impl Fn(&str, u64, u64) + Sync),
    ) -> Result<RekeyReceipt, ArchiveError> {
        report("drawing keys", 0, 3);
        let headers = self.headers().await?;
        report("drawing keys", 3, 3);
        let writer = archive.store_of(place).create_batch(place.batch, self.registered.slots.count).await?;
        let mut rows = Rows::new(writer, place.shape, &self.live, self.registered.slots.count);
        let [first, second, third] = &self.committee.members;
        let (kept, others) = try_join(
            self.exchange(first, &headers, Some((&mut rows, report))),
            try_join_all([second, third].map(|member| self.exchange(member, &headers, NOBODY))),
        )
        .await?;
        let outcomes: Vec<Outcome> = std::iter::once(kept).chain(others).collect();
        let keys = self.agreed_keys(&outcomes)?;
        let declared = parse_rekeyed_keys("keys", &keys.keys)?;
        rows.finish(&declared).await?;
        report("attesting", 0, 3);
        let attestations = self.attest(archive, &headers, &outcomes, keys_hash(&declared)).await?;
        report("attesting", 3, 3);
        Ok(RekeyReceipt {
            registration_id: self.registered.record.id.0,
            generation: u32::from(self.generation),
            keys: keys.keys.clone(),
            attestations,
            deadline_unix_s: self.order.deadline_unix_s,
        })
    }

    /// The first two steps; gives what each keyholder is sent in those after.
    async fn headers(&self) -> Result<[pb::RekeyingHeader; 3], ArchiveError> {
        let opened = self.committee.members.iter().map(|member| async {
            let request = pb::OpenRekeyingRequest { order: Some(self.order.clone()) };
            let mut client = member.client.clone();
            let response = self.committee.answer(member, client.open_rekeying(request)).await?;
            response.opening.ok_or_else(|| member.wrong("an answer without its opening"))
        });
        let openings = try_join_all(opened).await?;
        let shared = self.committee.members.iter().map(|member| async {
            let request = pb::ShareRekeyingRequest { order: Some(self.order.clone()), openings: openings.clone() };
            let mut client = member.client.clone();
            Ok::<_, ArchiveError>(self.committee.answer(member, client.share_rekeying(request)).await?.contributions)
        });
        let contributions: Vec<pb::RekeyingContribution> = try_join_all(shared).await?.into_iter().flatten().collect();
        Ok(KeyholderIndex::ALL.map(|keyholder| {
            let is_for = |message: &&pb::RekeyingContribution| message.to_keyholder == u32::from(keyholder.get());
            pb::RekeyingHeader {
                order: Some(self.order.clone()),
                openings: openings.clone(),
                contributions: contributions.iter().filter(is_for).cloned().collect(),
                left_out: self.left_out.clone(),
            }
        }))
    }

    /// Third and fourth step: what `member` lacks comes from the keyholder that releases it; the bodies go to `kept`, if they are
    /// wanted.
    async fn exchange<R: Fn(&str, u64, u64) + Sync>(
        &self,
        member: &Member,
        headers: &[pb::RekeyingHeader; 3],
        kept: Option<(&mut Rows<'_>, &R)>,
    ) -> Result<Outcome, ArchiveError> {
        let source = &self.committee.members[member.keyholder.sends_to().position()];
        let header_of = |member: &Member| headers[member.keyholder.position()].clone();
        let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let header = pb::ReceiveRekeyingHeader { header: Some(header_of(member)), with_bodies: kept.is_some() };
        // The channel is empty, so there is room.
        let _ = sender.try_send(pb::ReceiveRekeyingRequest { part: Some(Sent::Header(header)) });
        let all_sent = CancellationToken::new();
        let forward = async {
            let forwarded = self.forward(source, member, header_of(source), sender).await;
            all_sent.cancel();
            forwarded
        };
        let receive = self.receive(member, receiver, &all_sent, kept);
        let ((), outcome) = try_join(forward, receive).await?;
        Ok(outcome)
    }

    /// Passes what `source` releases on to `member`, to the end or until it stops reading.
    async fn forward(
        &self,
        source: &Member,
        member: &Member,
        header: pb::RekeyingHeader,
        sender: mpsc::Sender<pb::ReceiveRekeyingRequest>,
    ) -> Result<(), ArchiveError> {
        let request = pb::SendRekeyingRequest { header: Some(header) };
        let mut client = source.client.clone();
        let mut pieces = self.committee.answer(source, client.send_rekeying(request)).await?;
        while let Some(message) = self.committee.in_time(source, pieces.message()).await? {
            let piece = message.piece.ok_or_else(|| source.wrong("an empty piece"))?;
            let message = pb::ReceiveRekeyingRequest { part: Some(Sent::Piece(piece)) };
            if !self.committee.pass_on(member, &sender, message).await? {
                break;
            }
        }
        Ok(())
    }

    /// What `member` makes of it. Who is not asked for bodies says nothing before it has everything, however long that takes.
    async fn receive<R: Fn(&str, u64, u64) + Sync>(
        &self,
        member: &Member,
        pieces: mpsc::Receiver<pb::ReceiveRekeyingRequest>,
        all_sent: &CancellationToken,
        mut kept: Option<(&mut Rows<'_>, &R)>,
    ) -> Result<Outcome, ArchiveError> {
        let committee = &self.committee;
        let mut client = member.client.clone();
        let call = client.receive_rekeying(ReceiverStream::new(pieces));
        let mut answers = committee.in_time_after(all_sent, member, call).await?.into_inner();
        let mut keys = None;
        while let Some(message) = committee.in_time_after(all_sent, member, answers.message()).await? {
            match (message.part, &mut kept) {
                (Some(Received::Bodies(bodies)), Some((rows, report))) => {
                    rows.take(&bodies).await?;
                    report("storing", rows.done(), rows.total());
                }
                (Some(Received::Keys(found)), _) => keys = Some(found),
                (Some(Received::Statement(statement)), _) => {
                    let keys = keys.ok_or_else(|| member.wrong("a statement without keys"))?;
                    return self.checked(member, Outcome { keys, statement });
                }
                _ => return Err(member.wrong("bodies that nobody asked for")),
            }
        }
        Err(member.wrong("no statement about the new keys"))
    }

    fn checked(&self, member: &Member, outcome: Outcome) -> Result<Outcome, ArchiveError> {
        let digest = relay::rekeying_statement_digest(&outcome.statement);
        let is_signed = recover(&digest, &outcome.statement.signature) == Ok(member.signer);
        if is_signed && outcome.statement.keyholder == u32::from(member.keyholder.get()) {
            Ok(outcome)
        } else {
            Err(member.wrong("a statement without its signature"))
        }
    }

    /// The keys that all three computed.
    fn agreed_keys<'b>(&self, outcomes: &'b [Outcome]) -> Result<&'b pb::RekeyedKeys, ArchiveError> {
        let [first, second, third] = outcomes else { return Err(ArchiveError::RekeyingDiffers) };
        let is_same = [second, third].iter().all(|other| {
            other.keys == first.keys
                && other.statement.session == first.statement.session
                && other.statement.keys_hash == first.statement.keys_hash
                && other.statement.attributes_digest == first.statement.attributes_digest
        });
        if is_same { Ok(&first.keys) } else { Err(ArchiveError::RekeyingDiffers) }
    }

    /// Fifth step.
    async fn attest(
        &self,
        archive: &Archive,
        headers: &[pb::RekeyingHeader; 3],
        outcomes: &[Outcome],
        keys_hash: locus_commitment::Digest32,
    ) -> Result<Vec<bytes::Bytes>, ArchiveError> {
        let rekeying = Rekeying {
            registration: self.registered.record.id,
            generation: self.generation,
            keys_hash,
            deadline_unix_s: self.order.deadline_unix_s,
        };
        let signing_hash = archive.contracts().rekeying_signing_hash(&rekeying, self.committee_epoch);
        let statements: Vec<_> = outcomes.iter().map(|outcome| outcome.statement.clone()).collect();
        let calls = self.committee.members.iter().zip(headers).map(|(member, header)| {
            let request = pb::AttestRekeyingRequest { header: Some(header.clone()), statements: statements.clone() };
            async move {
                let mut client = member.client.clone();
                let response = self.committee.answer(member, client.attest_rekeying(request)).await?;
                let is_signed = recover(&signing_hash, &response.signature) == Ok(member.signer);
                if is_signed {
                    Ok(response.signature)
                } else {
                    Err(member.wrong("an attestation that does not verify"))
                }
            }
        });
        try_join_all(calls).await
    }
}

/// Where bodies go that nobody wants.
const NOBODY: Option<(&mut Rows<'static>, &fn(&str, u64, u64))> = None;
