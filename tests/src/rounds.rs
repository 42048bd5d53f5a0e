//! Carrying the messages of an evaluation between keyholders, as an aggregator does that keeps everything and
//! stops when it likes, also together with a keyholder that falsifies what it sends.

use crate::{Market, vault};
use anyhow::{Context as _, Result};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, aead::Aead as _};
use futures::{StreamExt as _, stream::SelectAll};
use locus_commitment::{Digest32, sha3_256};
use locus_ledger::OrderId;
use locus_sharing::KeyholderIndex;
use locus_wire::pb::keyholder::{
    self as pb, evaluate_answer_request::Part as Asked, evaluate_answer_response::Part as Told,
};
use std::collections::BTreeMap;
use tokio::sync::mpsc::unbounded_channel;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

/// What passed through an aggregator.
#[derive(Debug, Default)]
pub struct Carried {
    /// All pieces, in the order in which they came.
    pub pieces: Vec<pb::RoundPiece>,
    /// Of keyholders that came to the end.
    pub commitments: Vec<pb::AnswerCommitment>,
}

impl Market {
    /// First step of an answer at all keyholders.
    ///
    /// # Errors
    /// The first error of a keyholder.
    pub async fn prepare_all(&self, question: &pb::Question) -> Result<Vec<pb::Preparation>, Status> {
        let mut preparations = Vec::new();
        for keyholder in KeyholderIndex::ALL {
            preparations.push(self.prepare(keyholder, question).await?);
        }
        Ok(preparations)
    }

    /// One attempt at a filtered answer, until all keyholders have committed, or until the first message of
    /// `last_round` comes, which is passed to nobody.
    ///
    /// # Errors
    /// The first error of a keyholder.
    pub async fn evaluate_until(
        &self,
        question: &pb::Question,
        preparations: &[pb::Preparation],
        last_round: u32,
    ) -> Result<Carried, Status> {
        let carry = |piece: pb::RoundPiece| (piece.round < last_round).then_some(piece);
        self.evaluate_with(question, preparations, carry).await
    }

    /// One attempt at a filtered answer, until all keyholders have committed, or `carry` has nothing to pass on.
    ///
    /// # Errors
    /// The first error of a keyholder.
    pub async fn evaluate_with(
        &self,
        question: &pb::Question,
        preparations: &[pb::Preparation],
        mut carry: impl FnMut(pb::RoundPiece) -> Option<pb::RoundPiece>,
    ) -> Result<Carried, Status> {
        let (mut senders, mut streams) = (Vec::new(), SelectAll::new());
        for keyholder in KeyholderIndex::ALL {
            let (sender, requests) = unbounded_channel();
            let start =
                pb::CommitAnswerRequest { question: Some(question.clone()), preparations: preparations.to_vec() };
            let _ = sender.send(pb::EvaluateAnswerRequest { part: Some(Asked::Start(start)) });
            let mut client = self.services.keyholders[keyholder.position()].clone();
            streams.push(client.evaluate_answer(UnboundedReceiverStream::new(requests)).await?.into_inner());
            senders.push(sender);
        }
        let mut carried = Carried::default();
        while carried.commitments.len() < KeyholderIndex::ALL.len() {
            let Some(message) = streams.next().await else { break };
            match message?.part {
                Some(Told::Piece(piece)) => {
                    carried.pieces.push(piece.clone());
                    let Some(piece) = carry(piece) else { break };
                    let to = piece.to_keyholder as usize - 1;
                    let _ = senders[to].send(pb::EvaluateAnswerRequest { part: Some(Asked::Piece(piece)) });
                }
                Some(Told::Commitment(commitment)) => carried.commitments.push(commitment),
                None => return Err(Status::internal("an empty message")),
            }
        }
        Ok(carried)
    }

    /// What a keyholder can do to its own messages in attempts at this order, for an answer that it has charged for.
    pub fn falsifier(&self, keyholder: KeyholderIndex, order: OrderId) -> Result<Falsifier> {
        let folder = &self.node.keyholder_folders()[keyholder.position()];
        let answer = vault::last_charge(folder)?.context("nothing was charged yet")?;
        let session = sha3_256("locus/keyholder/evaluation/v1", &[&answer, &order.0.0]);
        Ok(Falsifier { keyholder, session, noise_keys: vault::noise_keys(folder)? })
    }
}

/// A keyholder's keys, with which it seals messages that it has changed.
pub struct Falsifier {
    keyholder: KeyholderIndex,
    session: Digest32,
    noise_keys: BTreeMap<u8, Vec<u8>>,
}

impl Falsifier {
    /// Adds one to the first number of a message's first piece, in what this keyholder sends in the first round of an
    /// attempt. Other messages pass as they are.
    pub fn falsify(&self, attempt: u64, mut piece: pb::RoundPiece) -> Result<pb::RoundPiece> {
        let is_own = piece.from_keyholder == u32::from(self.keyholder.get());
        if !is_own || (piece.round, piece.piece) != (1, 0) {
            return Ok(piece);
        }
        let to = KeyholderIndex::try_new(u8::try_from(piece.to_keyholder)?)?;
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&piece.round.to_le_bytes());
        nonce[8] = u8::from(piece.is_last);
        let (cipher, nonce) = (self.cipher(to, attempt)?, Nonce::from(nonce));
        let mut opened = cipher.decrypt(&nonce, piece.sealed.as_ref()).ok().context("the session is another one")?;
        let first = opened.first_chunk_mut::<8>().context("an empty message")?;
        *first = u64::from_le_bytes(*first).wrapping_add(1).to_le_bytes();
        piece.sealed = cipher.encrypt(&nonce, opened.as_slice()).ok().context("it seals")?.into();
        Ok(piece)
    }

    fn cipher(&self, to: KeyholderIndex, attempt: u64) -> Result<ChaCha20Poly1305> {
        let is_common = |share: &u8| ![0, self.keyholder.get(), to.get()].contains(share);
        let (_, key) = self.noise_keys.iter().find(|(share, _)| is_common(share)).context("a common share")?;
        let parts: [&[u8]; 5] = [key, &self.session.0, &attempt.to_le_bytes(), &[self.keyholder.get()], &[to.get()]];
        Ok(ChaCha20Poly1305::new((&sha3_256("locus/keyholder/round-key/v1", &parts).0).into()))
    }
}
