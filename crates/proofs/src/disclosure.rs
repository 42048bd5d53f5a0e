//! Statement D: a registered genome has one of these genotypes at this variant, and nothing else.
//!
//! Public: the dataset's genotype commitment, the place of the variant in the panel, the set of
//! genotypes claimed, and a hash of whom, what for and until when the disclosure is made.
//!
//! The genotype commitment of a proven dataset is the root of a tree of arity 16 and depth 3 over the
//! commitments of its panel blocks (those of statement E), so it covers 4096 blocks.
//!
//! Clauses:
//!
//! - **D1** the genotypes of a panel block with their blinding open a block commitment;
//! - **D2** the block commitment is the leaf at the block's place under the dataset's commitment;
//! - **D3** the place is 4080 * block + position, position below 4080;
//! - **D4** the genotype at the position is one of those claimed;
//! - **D5** the proof is bound to its hash of verifier, purpose and time.
//!
//! A missing genotype carries and lacks nothing: both usual claims exclude it. A list of variants is a
//! list of proofs with the same hash, which names the whole list.

mod circuit;
mod proof;
mod statement;

pub use circuit::DisclosureCircuit;
pub use proof::{DisclosureProof, DisclosureVerifier, disclosure_shape};
pub use statement::{
    BLOCK_TREE_DEPTH, DisclosureContext, DisclosurePublic, DisclosureShape, DisclosureViolation, DisclosureWitness,
    GenotypeClaim, GenotypeTree,
};

#[cfg(test)]
mod tests;
