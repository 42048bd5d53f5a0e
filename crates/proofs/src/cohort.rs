//! Statement C: the selected datasets of a shard all consent, and these are their number, price,
//! ciphertext commitment and payouts.
//!
//! Public words (15): registry root, shard, policy, condition, highest price; the state before
//! (cohort size, total price, commitment x and y, payouts) and the state after. A cohort that spans
//! several shards is a chain of proofs: the state after one is the state before the next, in ascending
//! order of shards, from the empty state. The contract sees neither which datasets are selected nor
//! which groups they are in.
//!
//! Clauses, for each group of the shard unless said otherwise:
//!
//! - **C1** the public inputs are those of the 15 words (once);
//! - **C2** the policy word is a set of bits, see [`CohortPolicy`] (once);
//! - **C3** the 16 words of each group hash to its leaf, and its terms are a set of bits;
//! - **C4** a selected dataset is live and its group is open;
//! - **C5** the data use terms of an open group have a permitting term and no forbidding one, and a
//!   disease-specific consent names the condition asked for;
//! - **C6** an open group allows tier and audience and has the provenance asked for;
//! - **C7** an open group's offer has not expired, and its price is at most the highest;
//! - **C8** cohort size and total price grow by the selected datasets and their prices;
//! - **C9** the commitment grows by the selected datasets' commitments;
//! - **C10** the leaves are those of the shard under the registry root (once);
//! - **C11** the payouts' hash grows by the shard's selection, blinded (once).
//!
//! Not stated: that every dataset that consents was selected; which panel blocks an offer covers
//! (keyholders check that, as they check everything here against their own view of the chain).

mod circuit;
mod proof;
mod statement;

pub use circuit::CohortCircuit;
pub use proof::{CohortProof, CohortVerifier, cohort_shape};
pub use statement::{
    CohortPolicy, CohortPublic, CohortShape, CohortState, CohortViolation, CohortWitness, Provenance, QueryTier,
    payouts_after,
};

#[cfg(test)]
mod tests;
