//! Statement E: a stored body is an encryption of committed genotypes under committed key shares.
//!
//! Public: the context (network, registrant, dataset, panel, version, panel block, plane, mask, body
//! digest), commitments to the three key shares and to the block's genotypes, the challenge, and the
//! body by its value at the challenge.
//!
//! Clauses, with N the ring dimension and g the challenge:
//!
//! - **E1** each key share s_1, s_2, s_3 has N coefficients 0 or 1;
//! - **E2** encryption noise e is in \[-8, 7\] in every slot;
//! - **E3** every slot from 16 on has a genotype of two bits, no other slot has one; flags m are what
//!   the layout of the plane says, so never het and hom_alt together;
//! - **E4** carries k are in \[-128, 127\];
//! - **E5** the share commitments open to s_1, s_2, s_3;
//! - **E6** the genotype commitment opens to the genotypes with its blinding;
//! - **E7** g is the hash of context, plane, commitments, noise and carries, that is of every bit of
//!   the witness;
//! - **E8** b - u = a * s' + e + m - 2^64 k over the integers, where s' = s_1 + s_2 + s_3 - 1 and
//!   u = a * (1, ..., 1) mod 2^64. The circuit checks this at g only.
//!
//! Why checking one point is enough: E1 to E4 bound every coefficient of the difference F of both
//! sides of E8 by 2^77, so F is zero modulo the field's order r exactly if it is zero over the
//! integers. E7 fixes F before g is known. A wrong F of degree below N vanishes at a random g with
//! probability below N / r = 2^-242. Leave one group of witness bits out of E7, and short vectors of a
//! lattice give values of that group that satisfy the one equation E8 for any body.
//!
//! Not stated: that genotypes are true, that shares were expanded from the seeds sent to keyholders
//! (these recompute the share commitments from the seeds), and which slots lie past the panel's end.

mod circuit;
mod proof;
mod statement;

pub use circuit::EncryptionCircuit;
pub use proof::{EncryptionProof, EncryptionVerifier, encryption_shape};
pub(crate) use statement::genotype_tag;
pub use statement::{
    BlockGenotypes, EncryptionPublic, EncryptionShape, EncryptionViolation, EncryptionWitness, binding, block_blinding,
    genotype_commitment, share_commitment,
};

#[cfg(test)]
mod forgery;
#[cfg(test)]
mod tests;
