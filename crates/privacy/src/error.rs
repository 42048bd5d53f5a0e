//! What can be refused.

use crate::{
    budget::ChargeName,
    parameters::Tier,
    rho::{REKEYINGS_MAX, Rho},
    sigma::SigmaSquared,
};
use locus_commitment::DatasetId;
use thiserror::Error;

/// Why a value, a charge or a question is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrivacyError {
    /// A decimal string is not an amount of rho.
    #[error(
        "rho {text:?} is not a decimal number from 0 to 18446744073 with at most nine decimals; write for example 0.05"
    )]
    RhoSyntax {
        /// What was given, cut to 40 characters.
        text: String,
    },
    /// An addition or multiplication of rho does not fit 64 bits.
    #[error("sum of rho is out of range; lower the amounts")]
    RhoRange,
    /// Bodies that got other keys more often than the noise allows.
    #[error("a dataset was re-keyed {0} times; at most {REKEYINGS_MAX} are accounted for")]
    RekeyedTooOften(u8),
    /// A noise level of zero, or a division by zero rho.
    #[error("noise level must be positive; give a positive rho and at least one variant")]
    NoiseLevelZero,
    /// A noise level outside the exact range of the arithmetic.
    #[error("noise level sigma^2 = {numerator}/{denominator} is out of range; choose fewer variants or another rho")]
    NoiseLevelRange {
        /// Numerator.
        numerator: u128,
        /// Denominator.
        denominator: u128,
    },
    /// A noise level that the sampler does not support.
    #[error("sigma^2 = {0} cannot be sampled; it must lie in 1/16..=2^50 with a numerator below 2^53")]
    SamplerRange(SigmaSquared),
    /// A byte that names no tier.
    #[error("tier code {0} is unknown; use 1 (open), 2 (vetted) or 3 (exact)")]
    TierUnknown(u8),
    /// A network parameter breaks a rule.
    #[error("network parameter {name} = {value} is not allowed; it must be {rule}")]
    Parameter {
        /// Field of the parameters.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What would be allowed.
        rule: &'static str,
    },
    /// An exact answer must not carry rho for dp noise, and a noisy one must.
    #[error("tier {tier} cannot be charged rho {rho}; exact answers have none, the others a positive amount")]
    TierRho {
        /// Tier of the charge.
        tier: Tier,
        /// Rho of the dp noise.
        rho: Rho,
    },
    /// One question asks for more than the tier allows at once.
    #[error(
        "rho {asked} is above the {allowed} that tier {tier} allows per query; ask for fewer variants or more noise"
    )]
    QueryCap {
        /// Tier of the charge.
        tier: Tier,
        /// Rho asked for.
        asked: Rho,
        /// Cap.
        allowed: Rho,
    },
    /// The person's budget of the last 365 days is used up.
    #[error("rho {asked} exceeds the {left} left for this year in tier {tier}; ask again later or with more noise")]
    YearCap {
        /// Tier of the charge.
        tier: Tier,
        /// Rho asked for.
        asked: Rho,
        /// What is left.
        left: Rho,
    },
    /// The person's lifetime budget is used up.
    #[error("rho {asked} exceeds the {left} left for this person's lifetime in tier {tier}; leave the person out")]
    LifetimeCap {
        /// Tier of the charge.
        tier: Tier,
        /// Rho asked for.
        asked: Rho,
        /// What is left.
        left: Rho,
    },
    /// The same name was charged before, for less.
    #[error("charge {name} was made for rho {charged} and cannot grow to {asked}; name the new question differently")]
    ChargeGrown {
        /// Name of the charge.
        name: ChargeName,
        /// Rho charged before.
        charged: Rho,
        /// Rho asked for now.
        asked: Rho,
    },
    /// The account holds as many charges as it can.
    #[error("account holds {0} charges, its maximum; leave the person out")]
    AccountFull(usize),
    /// A stored object is not in the canonical form.
    #[error("{object} encoding is not canonical: {reason}; restore it from a peer")]
    Encoding {
        /// Which object.
        object: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// Too few members for an exact answer.
    #[error(
        "{members} members of a batch are below the {members_min} that an exact answer needs; use another tier or batch"
    )]
    ExactTooFew {
        /// Members now.
        members: u32,
        /// Floor.
        members_min: u32,
    },
    /// An exact answer would set a small group of people apart.
    #[error("an exact answer would set {group} people apart, fewer than {group_min}; wait until more members changed")]
    ExactIsolates {
        /// Size of the smallest group that could be computed.
        group: u32,
        /// Floor.
        group_min: u32,
    },
    /// The cohort entries are not in ascending order of dataset id.
    #[error("dataset {0} is out of order; sort the cohort by dataset id")]
    CohortOrder(DatasetId),
    /// A dataset occurs twice in a cohort.
    #[error("dataset {0} occurs twice; keep one version of each dataset")]
    CohortDuplicate(DatasetId),
    /// A cohort without members.
    #[error("cohort is empty; select at least one dataset")]
    CohortEmpty,
    /// No slot was asked for.
    #[error("question asks for no variant; request at least one slot")]
    SlotsEmpty,
    /// A check slot was asked for.
    #[error("slot {0} is a check slot and carries no variant; request slots from 16")]
    SlotIsCheck(u32),
    /// A predicate that is too long.
    #[error("predicate of {len} bytes is longer than {len_max}; simplify it")]
    PredicateLength {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        len_max: usize,
    },
    /// An answer without blocks, or with the same block twice.
    #[error("answer must list one or more different blocks; remove repeated ones")]
    AnswerBlocks,
    /// A failure probability outside (0, 1), or another impossible input of a quote.
    #[error("quote cannot be computed for {name}; it must be {rule}")]
    QuoteInput {
        /// Input.
        name: &'static str,
        /// What would be allowed.
        rule: &'static str,
    },
}
