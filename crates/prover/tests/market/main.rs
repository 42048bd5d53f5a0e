//! Roots moved and cohorts proven on a market, with real proofs of small circuits.

mod chain;
mod cohorts;
mod market;
mod reorganisation;
mod roots;
mod scene;
