//! Three keyholders on threads of one process, for the unit tests.

use super::{Courier, Rounds};
use crate::error::KeyholderError;
use locus_commitment::Digest32;
use locus_sharing::{KeyholderIndex, NoiseKey, PrssSession, shares_of};
use locus_wire::pb::keyholder::RoundPiece;
use tokio::sync::mpsc::channel;

pub(in crate::answer) const SESSION: PrssSession = PrssSession { tau: Digest32([4; 32]), attempt: 3 };

fn rounds(keyholder: KeyholderIndex, session: PrssSession, courier: Courier) -> Rounds {
    let keys = shares_of(keyholder).map(|share| (share, NoiseKey::from_bytes([share.get(); 32])));
    Rounds::new(keyholder, session, keys, courier)
}

/// What `work` comes to at three keyholders whose pieces pass through `carry`.
pub(in crate::answer) fn run<T: Send>(
    sessions: [PrssSession; 3],
    mut carry: impl FnMut(RoundPiece) -> Vec<RoundPiece>,
    work: impl Fn(Rounds) -> Result<T, KeyholderError> + Sync,
) -> Vec<Result<T, KeyholderError>> {
    let (outgoing, mut carried) = channel(64);
    let mut inboxes = Vec::new();
    std::thread::scope(|scope| {
        let mut runs = Vec::new();
        for (keyholder, session) in KeyholderIndex::ALL.into_iter().zip(sessions) {
            let (inbox, incoming) = channel(64);
            inboxes.push(inbox);
            let courier = Courier { outgoing: outgoing.clone(), incoming };
            let (work, over) = (&work, outgoing.clone());
            runs.push(scope.spawn(move || {
                let ended = work(rounds(keyholder, session, courier));
                if ended.is_err() {
                    let _ = over.blocking_send(RoundPiece::default());
                }
                ended
            }));
        }
        drop(outgoing);
        while let Some(piece) = carried.blocking_recv() {
            // Like the aggregator, give up when one of them does.
            if piece.to_keyholder == 0 {
                break;
            }
            for piece in carry(piece) {
                let _ = inboxes[piece.to_keyholder as usize - 1].blocking_send(piece);
            }
        }
        inboxes.clear();
        drop(carried);
        runs.into_iter().map(|run| run.join().expect("no panic")).collect()
    })
}
