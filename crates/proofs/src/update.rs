//! Statement U: a batch of queued events moves the registry root from one value to the next.
//!
//! The contract queues events and never computes Poseidon. Anyone may prove a batch; the contract
//! moves its root when the proof fits the events it has queued. A prover that stalls delays new offers
//! only: revocations count from the moment they are queued, because keyholders refuse whatever is
//! revoked at the head, and refunds need no root.
//!
//! Public words: root before, root after, then 17 words an event: head, the 16 words of a group in
//! their order. Words that a kind of event does not use are zero, and so are all words of the empty
//! events that fill up a batch.
//!
//! Clauses, for each event unless said otherwise:
//!
//! - **U1** the public inputs are those of the words (once);
//! - **U2** the head is kind + 4 * place + 2^26 * mask;
//! - **U3** a registration finds an empty place, and its commitments are points of the curve;
//! - **U4** new terms replace prices, condition and offer terms, and keep commitments, provenance,
//!   live datasets and origin;
//! - **U5** a revocation clears the live bits of its mask and keeps everything else;
//! - **U6** the words before and after hash to the leaf before and after;
//! - **U7** changing that leaf moves the root from the previous event's to the next's; the first root
//!   and the last are the public ones.

mod circuit;
mod proof;
mod statement;

pub use circuit::UpdateCircuit;
pub use proof::{UpdateProof, UpdateVerifier, update_shape};
pub use statement::{
    EVENT_WORDS, RegistryEvent, RegistryTree, UpdatePublic, UpdateShape, UpdateViolation, UpdateWitness,
};

#[cfg(test)]
mod tests;
