//! The statement that an order asks for, as the contract derives it.

use locus_commitment::{
    Digest32,
    field::{FieldBytes, encode_field},
};
use locus_genomics::{PanelDigest, Purpose};
use locus_ledger::{CohortChoice, CohortStatement, Order};
use locus_privacy::Tier;
use locus_proofs::{
    cohort::{CohortPolicy, Provenance, QueryTier},
    registry::condition_word,
};

/// A statement under the root of this number. The condition counts where the policy asks for one; one statement
/// serves all others.
pub fn cohort_statement(
    panel: PanelDigest,
    sequence: u64,
    policy: CohortPolicy,
    condition: &Digest32,
    price_max_units: u64,
) -> CohortStatement {
    let condition = match policy.names_condition() {
        true => encode_field(&condition_word(&condition.0)),
        false => [0; 32],
    };
    CohortStatement { panel, sequence, policy: policy.bits(), condition: FieldBytes(condition), price_max_units }
}

/// The statement that a settlement of this order with these choices needs: what the contract computes from the order and
/// the evidence. `None` for a purpose that there is not.
pub fn statement_of_order(
    order: &Order,
    researcher_accredited: bool,
    choice: &CohortChoice,
) -> Option<CohortStatement> {
    let tier = match order.tier {
        Tier::Open => QueryTier::Open,
        Tier::Vetted => QueryTier::Vetted,
        Tier::Exact => QueryTier::Exact,
    };
    let purpose = Purpose::from_bits(order.purpose)?;
    let provenance = Provenance { accredited: choice.accredited_only, proven: choice.proven_only };
    let class = order.query_class.code();
    let policy = CohortPolicy::new(&purpose, tier, class, researcher_accredited, provenance, choice.day);
    Some(cohort_statement(order.panel, choice.sequence, policy, &order.condition_digest, choice.price_max_units))
}
