//! Messages between keyholders in the middle of an evaluation. The aggregator carries them: each is sealed
//! under a key that only sender and recipient can derive, so that nobody ever sees all three parts of a
//! shared value.

use crate::error::KeyholderError;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, aead::Aead as _};
use locus_commitment::sha3_256;
use locus_sharing::{KeyholderIndex, NoiseKey, Opening, PrssSession, RingWord, ShareIndex};
use locus_wire::pb::keyholder::RoundPiece;
use std::collections::BTreeMap;
use tokio::sync::mpsc::{Receiver, Sender};
use zeroize::Zeroizing;

const DST_ROUND_KEY: &str = "locus/keyholder/round-key/v1";
/// Bytes of values in a piece.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// Bytes that a keyholder sends another in a round.
pub(in crate::answer) const ROUND_BYTES_MAX: usize = 64 << 20;
/// Pieces of the peers that wait to be used: a peer is at most one round ahead.
const WAITING_PIECES_MAX: usize = 2 * 2 * ROUND_BYTES_MAX.div_ceil(PIECE_BYTES_MAX);

/// The pieces of messages that go in and out of an evaluation.
pub(crate) struct Courier {
    /// To the other keyholders.
    pub(crate) outgoing: Sender<RoundPiece>,
    /// From the other keyholders.
    pub(crate) incoming: Receiver<RoundPiece>,
}

/// One keyholder's side of the rounds of one attempt. Blocks: for threads that may.
pub(super) struct Rounds {
    keyholder: KeyholderIndex,
    session: PrssSession,
    /// The noise keys of the released and the other share: the peer that also holds the one lacks the other.
    keys: [(ShareIndex, NoiseKey); 2],
    courier: Courier,
    round: u32,
    waiting: BTreeMap<(u32, u32, u32), RoundPiece>,
}

impl Rounds {
    pub(super) fn new(
        keyholder: KeyholderIndex,
        session: PrssSession,
        keys: [(ShareIndex, NoiseKey); 2],
        courier: Courier,
    ) -> Self {
        Self { keyholder, session, keys, courier, round: 0, waiting: BTreeMap::new() }
    }

    #[cfg(test)]
    pub(super) fn keyholder(&self) -> KeyholderIndex {
        self.keyholder
    }

    /// One round: `message` goes to the keyholder that this one sends products to, and as many values come
    /// from the one it receives products from.
    pub(super) fn pass_on<W: RingWord>(&mut self, message: &[W]) -> Result<Vec<W>, KeyholderError> {
        self.round += 1;
        self.send(self.keyholder.sends_to(), &bytes_of(message))?;
        let received = self.receive(self.keyholder.receives_from(), W::BYTES * message.len())?;
        Ok(values_of(&received))
    }

    /// One round in which everybody tells both others the same; returns what they told, ascending by
    /// keyholder.
    pub(super) fn tell_all(
        &mut self,
        message: &[u8],
    ) -> Result<[(KeyholderIndex, Zeroizing<Vec<u8>>); 2], KeyholderError> {
        self.tell_each(others(self.keyholder).map(|peer| (peer, message)))
    }

    /// One round in which everybody shows both others the share that they lack; returns the own lacking share
    /// as both sent it.
    pub(super) fn show<W: RingWord>(&mut self, opening: &Opening<W>) -> Result<[Vec<W>; 2], KeyholderError> {
        let (next, previous) = (bytes_of(&opening.to_next), bytes_of(&opening.to_previous));
        let messages =
            [(self.keyholder.receives_from(), next.as_slice()), (self.keyholder.sends_to(), previous.as_slice())];
        Ok(self.tell_each(messages)?.map(|(_, shown)| values_of(&shown)))
    }

    /// One round of a message to each of the others, of one length; returns theirs, in the same order.
    fn tell_each(
        &mut self,
        messages: [(KeyholderIndex, &[u8]); 2],
    ) -> Result<[(KeyholderIndex, Zeroizing<Vec<u8>>); 2], KeyholderError> {
        self.round += 1;
        for (peer, message) in messages {
            self.send(peer, message)?;
        }
        let [(first, to_first), (second, to_second)] = messages;
        let first_message = self.receive(first, to_first.len())?;
        Ok([(first, first_message), (second, self.receive(second, to_second.len())?)])
    }

    fn send(&mut self, to: KeyholderIndex, message: &[u8]) -> Result<(), KeyholderError> {
        if message.len() > ROUND_BYTES_MAX {
            return Err(KeyholderError::RoundTooLong { bytes: message.len(), bytes_max: ROUND_BYTES_MAX });
        }
        let cipher = self.cipher(self.keyholder, to)?;
        let pieces: Vec<&[u8]> =
            if message.is_empty() { vec![message] } else { message.chunks(PIECE_BYTES_MAX).collect() };
        for (number, piece) in (0u32..).zip(&pieces) {
            let is_last = number as usize + 1 == pieces.len();
            let sealed = cipher.encrypt(&nonce(self.round, number, is_last), *piece);
            let piece = RoundPiece {
                from_keyholder: u32::from(self.keyholder.get()),
                to_keyholder: u32::from(to.get()),
                round: self.round,
                piece: number,
                is_last,
                sealed: sealed.map_err(|_| self.refused(to, "cannot be sealed"))?.into(),
            };
            self.courier.outgoing.blocking_send(piece).map_err(|_| KeyholderError::CutOff(self.round))?;
        }
        Ok(())
    }

    fn receive(&mut self, from: KeyholderIndex, length: usize) -> Result<Zeroizing<Vec<u8>>, KeyholderError> {
        let cipher = self.cipher(from, self.keyholder)?;
        let mut message = Zeroizing::new(Vec::with_capacity(length));
        for number in 0u32.. {
            let piece = self.piece(from, number)?;
            let opened = cipher.decrypt(&nonce(self.round, number, piece.is_last), piece.sealed.as_ref());
            let opened = Zeroizing::new(opened.map_err(|_| self.refused(from, "does not open"))?);
            if message.len() + opened.len() > length {
                return Err(self.refused(from, "is too long"));
            }
            message.extend_from_slice(&opened);
            if piece.is_last {
                break;
            }
        }
        if message.len() < length {
            return Err(self.refused(from, "is too short"));
        }
        Ok(message)
    }

    /// A piece of this round, which may have come early.
    fn piece(&mut self, from: KeyholderIndex, number: u32) -> Result<RoundPiece, KeyholderError> {
        let name = (self.round, u32::from(from.get()), number);
        loop {
            if let Some(piece) = self.waiting.remove(&name) {
                return Ok(piece);
            }
            let piece = self.courier.incoming.blocking_recv().ok_or(KeyholderError::CutOff(self.round))?;
            let is_expected = (self.round..=self.round + 1).contains(&piece.round)
                && piece.to_keyholder == u32::from(self.keyholder.get())
                && self.waiting.len() < WAITING_PIECES_MAX;
            if !is_expected {
                return Err(self.refused(from, "is of another round"));
            }
            self.waiting.insert((piece.round, piece.from_keyholder, piece.piece), piece);
        }
    }

    /// The key of what `from` sends `to` in this attempt: of the share that both hold.
    fn cipher(&self, from: KeyholderIndex, to: KeyholderIndex) -> Result<ChaCha20Poly1305, KeyholderError> {
        let common = self.keys.iter().find(|(share, _)| from.holds(*share) && to.holds(*share));
        let (_, key) = common.ok_or(KeyholderError::NoNoiseKeys)?;
        let attempt = self.session.attempt.to_le_bytes();
        let parts: [&[u8]; 5] = [key.as_bytes(), &self.session.tau.0, &attempt, &[from.get()], &[to.get()]];
        let key = Zeroizing::new(sha3_256(DST_ROUND_KEY, &parts).0);
        Ok(ChaCha20Poly1305::new((&*key).into()))
    }

    fn refused(&self, from: KeyholderIndex, what: &'static str) -> KeyholderError {
        KeyholderError::Round { round: self.round, from: from.get(), what }
    }
}

/// Every key seals at most one piece under each of these.
fn nonce(round: u32, piece: u32, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&round.to_le_bytes());
    bytes[4..8].copy_from_slice(&piece.to_le_bytes());
    bytes[8] = u8::from(is_last);
    Nonce::from(bytes)
}

fn others(keyholder: KeyholderIndex) -> [KeyholderIndex; 2] {
    let [first, second, third] = KeyholderIndex::ALL;
    match keyholder {
        one if one == first => [second, third],
        one if one == second => [first, third],
        _ => [first, second],
    }
}

fn bytes_of<W: RingWord>(values: &[W]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(W::BYTES * values.len()));
    values.iter().for_each(|value| value.write(&mut bytes));
    bytes
}

fn values_of<W: RingWord>(bytes: &[u8]) -> Vec<W> {
    bytes.chunks_exact(W::BYTES).map(W::read).collect()
}

#[cfg(test)]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use super::{
        testing::{SESSION, run},
        *,
    };

    fn talk(mut rounds: Rounds) -> Result<(Vec<u64>, Vec<u8>), KeyholderError> {
        let own = u64::from(rounds.keyholder.get());
        // More than a piece holds.
        let long = vec![own; PIECE_BYTES_MAX / 8 + 5];
        let first = rounds.pass_on(&long)?;
        let told = rounds.tell_all(&[rounds.keyholder.get()])?;
        Ok((first, told.iter().map(|(_, message)| message[0]).collect()))
    }

    #[test]
    fn messages_of_every_round_arrive_whole_and_in_any_order() {
        let ended = run([SESSION; 3], |piece| vec![piece], talk);
        for (keyholder, ended) in KeyholderIndex::ALL.into_iter().zip(ended) {
            let (passed, told) = ended.expect("it arrives");
            assert_eq!(passed, vec![u64::from(keyholder.receives_from().get()); PIECE_BYTES_MAX / 8 + 5]);
            assert_eq!(told, others(keyholder).map(KeyholderIndex::get));
        }
    }

    #[test]
    fn pieces_that_were_changed_or_come_from_another_attempt_do_not_open() {
        let changed = |mut piece: RoundPiece| {
            let mut sealed = piece.sealed.to_vec();
            sealed[0] ^= u8::from(piece.piece == 1);
            piece.sealed = sealed.into();
            vec![piece]
        };
        let other = PrssSession { attempt: 4, ..SESSION };
        let cut_short = |piece: RoundPiece| vec![RoundPiece { is_last: true, ..piece }];
        for ended in [
            run([SESSION; 3], changed, talk),
            run([SESSION; 3], cut_short, talk),
            run([SESSION, SESSION, other], |piece| vec![piece], talk),
        ] {
            assert!(ended.iter().any(|end| matches!(end, Err(KeyholderError::Round { what: "does not open", .. }))));
            assert!(ended.iter().all(|end| end.is_err()));
        }
    }
}
