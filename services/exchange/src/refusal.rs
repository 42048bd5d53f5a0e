//! What the contracts' refusals mean for the caller.

use locus_service::ErrorCode;
use std::fmt;

/// A contract's refusal with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    known: Option<&'static Known>,
    detail: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    error: &'static str,
    reason: &'static str,
    code: ErrorCode,
    advice: &'static str,
}

impl Refusal {
    /// The refusal by the contract error `name`, with its arguments in `detail`.
    pub fn of(name: &str, detail: String) -> Self {
        Self { known: KNOWN.iter().find(|known| known.error == name), detail }
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.known.map_or(ErrorCode::Refused, |known| known.code)
    }

    pub(crate) fn reason(&self) -> &'static str {
        self.known.map_or("CONTRACT_REFUSED", |known| known.reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known {
            Some(known) => write!(f, "{} ({})", known.advice, self.detail),
            None => write!(f, "the contract refuses: check the request against the chain ({})", self.detail),
        }
    }
}

const fn refused(error: &'static str, reason: &'static str, advice: &'static str) -> Known {
    Known { error, reason, code: ErrorCode::Refused, advice }
}

const fn exists(error: &'static str, reason: &'static str, advice: &'static str) -> Known {
    Known { error, reason, code: ErrorCode::AlreadyExists, advice }
}

/// The same request can succeed next time.
const fn behind(error: &'static str, reason: &'static str, advice: &'static str) -> Known {
    Known { error, reason, code: ErrorCode::Conflict, advice }
}

const fn forbidden(error: &'static str, reason: &'static str, advice: &'static str) -> Known {
    Known { error, reason, code: ErrorCode::Forbidden, advice }
}

const WRONG_SIGNER: &str =
    "the signature is not that of the account it should be of: sign with the right key and market";
const PAUSED: &str = "the market is paused: withdrawals and revocations still work, try again later";

/// Every refusal that a caller can meet, by the contract error's name.
const KNOWN: &[Known] = &[
    refused("EnforcedPause", "PAUSED", PAUSED),
    refused("OfferBookPaused", "PAUSED", PAUSED),
    refused("QueryEscrowPaused", "PAUSED", PAUSED),
    refused("DatasetRegistryPanelInvalid", "PANEL_INVALID", "a panel needs a digest, a name and at least one variant"),
    exists("DatasetRegistryPanelAlreadyPublished", "PANEL_EXISTS", "the panel is published already: go on with it"),
    refused("DatasetRegistryPanelUnknown", "PANEL_UNKNOWN", "the panel is not published: publish it first"),
    refused("QueryEscrowPanelUnknown", "PANEL_UNKNOWN", "the panel is not published: ask about a published one"),
    refused("DatasetRegistryExpired", "EXPIRED", "the signed deadline has passed: sign again with a later one"),
    refused("DatasetRegistryBadBatchSize", "BATCH_SIZE", "a batch has 1 to 4096 datasets: split it"),
    refused("DatasetRegistryBadVersion", "VERSION", "versions count from 1"),
    refused(
        "DatasetRegistryLeavesMismatch",
        "LEAVES",
        "the leaves are not those that were signed: enrol the batch again",
    ),
    refused(
        "DatasetRegistryBadCiphertexts",
        "CIPHERTEXTS",
        "a commitment to a ciphertext or a genotype commitment is malformed: enrol the batch again",
    ),
    refused(
        "DatasetRegistryPanelFull",
        "PANEL_FULL",
        "the panel's registry tree has no place left: register on another panel",
    ),
    exists(
        "DatasetRegistryBatchNonceUsed",
        "BATCH_NONCE_USED",
        "the batch nonce was used before: look up its registration",
    ),
    refused(
        "DatasetRegistryAccreditorUnknown",
        "ACCREDITOR_UNKNOWN",
        "the accreditor is not on the market's list: ask its admin to list it",
    ),
    refused(
        "DatasetRegistryAccreditorMissing",
        "ACCREDITOR_MISSING",
        "an accreditor's signature came without naming the accreditor",
    ),
    forbidden("DatasetRegistryBadSignature", "BAD_SIGNATURE", WRONG_SIGNER),
    forbidden("OfferBookBadSignature", "BAD_SIGNATURE", WRONG_SIGNER),
    forbidden("QueryEscrowBadSignature", "BAD_SIGNATURE", WRONG_SIGNER),
    forbidden("CommitteeVerifierBadSignature", "BAD_SIGNATURE", WRONG_SIGNER),
    refused(
        "DatasetRegistryDuplicate",
        "DUPLICATE",
        "one of the datasets repeats a registered commitment: a copy cannot be registered, encrypt a new version",
    ),
    refused("DatasetRegistryEmptyCommitment", "EMPTY_COMMITMENT", "a commitment is zero: enrol the batch again"),
    refused(
        "DatasetRegistryUnknownRegistration",
        "REGISTRATION_UNKNOWN",
        "there is no such registration: check its number",
    ),
    forbidden("DatasetRegistryNotRegistrant", "NOT_REGISTRANT", "only the registrant may do this"),
    forbidden("OfferBookNotRegistrant", "NOT_REGISTRANT", "only the registrant may do this"),
    refused("DatasetRegistryBadOrdinal", "ORDINAL", "the registration has no such dataset: check the ordinals"),
    refused("DatasetRegistryNotRevoked", "NOT_REVOKED", "the dataset is not revoked: revoke it first"),
    refused(
        "DatasetRegistryCommitted",
        "COMMITTED",
        "new keys would change ciphertexts that the registry tree commits to: these datasets keep theirs",
    ),
    refused(
        "DatasetRegistryRekeyedTooOften",
        "REKEYED_TOO_OFTEN",
        "the datasets got other keys as often as they may: enrol a new version of them",
    ),
    refused(
        "OfferBookBadOffer",
        "OFFER",
        "the offer's tiers, panel blocks, audience or expiry make no offer: correct them",
    ),
    refused("OfferBookBadNonce", "OFFER_NONCE", "the offer's nonce is not the next one: read it again and sign anew"),
    refused("QueryEscrowBadOrder", "ORDER", "tier, privacy loss, price or class of the order do not fit together"),
    refused(
        "QueryEscrowBadDeadline",
        "DEADLINE",
        "the order's deadline is past or too far ahead: sign one within the market's limit",
    ),
    refused("QueryEscrowRhoTooHigh", "RHO", "the order asks for more privacy loss than the tier allows: ask for less"),
    exists("QueryEscrowOrderExists", "ORDER_EXISTS", "the order is on the chain already: fetch its answer"),
    refused(
        "QueryEscrowTransferMismatch",
        "TRANSFER",
        "the token did not move as much as it should: use the market's payment token",
    ),
    refused(
        "QueryEscrowNotOpen",
        "ORDER_CLOSED",
        "the order is not open: it was settled or refunded, or never existed; look it up",
    ),
    refused(
        "QueryEscrowPastDeadline",
        "ORDER_EXPIRED",
        "the order's deadline has passed: have it refunded and order again",
    ),
    refused(
        "QueryEscrowBeforeDeadline",
        "BEFORE_DEADLINE",
        "the order can still be answered: refund it after its deadline",
    ),
    refused(
        "QueryEscrowPriceTooHigh",
        "PRICE",
        "the price is above the order's maximum: the order cannot be settled so",
    ),
    refused(
        "QueryEscrowBadSequence",
        "PAYOUT_SEQUENCE",
        "another settlement came first: ask the keyholders to sign with the next sequence",
    ),
    refused(
        "QueryEscrowBadSettlement",
        "SETTLEMENT",
        "the settlement has an empty digest or root: ask the keyholders again",
    ),
    refused("QueryEscrowCohortTooSmall", "COHORT", "the cohort is smaller than the market allows"),
    refused(
        "QueryEscrowVerifierRefused",
        "VERIFIER",
        "the settlement verifier refuses the evidence: collect the keyholders' signatures again",
    ),
    refused(
        "CommitteeVerifierBadEvidence",
        "EVIDENCE",
        "the evidence is not two or three signatures of different keyholders",
    ),
    refused(
        "CommitteeVerifierCommitteeIncomplete",
        "COMMITTEE_INCOMPLETE",
        "the market has no complete keyholder committee",
    ),
    refused(
        "DatasetRegistryCommitteeIncomplete",
        "COMMITTEE_INCOMPLETE",
        "the market has no complete keyholder committee",
    ),
    behind("QueryEscrowBadPayoutProof", "PAYOUT_PROOF", "the payout table moved on meanwhile: try again"),
    exists("QueryEscrowNothingToClaim", "NOTHING_TO_CLAIM", "everything earned was paid already"),
    refused(
        "QueryEscrowPoolExceeded",
        "POOL",
        "the escrow holds less than the payouts claim: the market's operators must look into it",
    ),
    refused(
        "ERC20InsufficientBalance",
        "BALANCE",
        "the account holds too few tokens: obtain more or lower the maximum price",
    ),
    refused(
        "ERC20InsufficientAllowance",
        "ALLOWANCE",
        "the escrow may not take the tokens: sign a permit for at least the maximum price",
    ),
    refused("ERC2612ExpiredSignature", "PERMIT_EXPIRED", "the permit has expired: sign a new one"),
    forbidden(
        "ERC2612InvalidSigner",
        "PERMIT_SIGNER",
        "the permit is not signed by the researcher, or its nonce is used: sign a new one",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_refusal_is_listed_once_and_says_what_to_do() {
        let names: BTreeSet<_> = KNOWN.iter().map(|known| known.error).collect();
        assert_eq!(names.len(), KNOWN.len());
        for known in KNOWN {
            assert!(known.advice.len() > 15 && !known.advice.ends_with('.'), "{}", known.error);
            assert!(known.reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{}", known.error);
        }
    }

    #[test]
    fn an_unknown_refusal_keeps_the_contracts_words() {
        let refusal = Refusal::of("Surprise", "Surprise(7)".to_owned());
        assert_eq!((refusal.code(), refusal.reason()), (ErrorCode::Refused, "CONTRACT_REFUSED"));
        assert!(refusal.to_string().contains("Surprise(7)"));
        let known = Refusal::of("QueryEscrowOrderExists", "QueryEscrowOrderExists(0x07)".to_owned());
        assert_eq!(known.code(), ErrorCode::AlreadyExists);
        assert!(known.to_string().contains("fetch its answer") && known.to_string().contains("0x07"));
    }

    #[test]
    fn only_what_was_done_exists_already_and_a_proof_of_yesterdays_table_can_be_made_again() {
        let code = |name: &str| Refusal::of(name, String::new()).code();
        assert_eq!(code("QueryEscrowNotOpen"), ErrorCode::Refused, "it may have been refunded");
        assert!(code("QueryEscrowBadPayoutProof").is_retriable());
        let exist = KNOWN.iter().filter(|known| known.code == ErrorCode::AlreadyExists).map(|known| known.error);
        assert_eq!(
            exist.collect::<Vec<_>>(),
            [
                "DatasetRegistryPanelAlreadyPublished",
                "DatasetRegistryBatchNonceUsed",
                "QueryEscrowOrderExists",
                "QueryEscrowNothingToClaim",
            ]
        );
    }

    /// The names are those of the contracts' interfaces, so that a renamed error is noticed.
    #[test]
    fn every_error_of_the_contracts_that_callers_can_meet_is_listed() {
        let sources = [
            include_str!("../../../crates/ledger/contracts/src/IDatasetRegistry.sol"),
            include_str!("../../../crates/ledger/contracts/src/IOfferBook.sol"),
            include_str!("../../../crates/ledger/contracts/src/IQueryEscrow.sol"),
            include_str!("../../../crates/ledger/contracts/src/CommitteeVerifier.sol"),
        ];
        let declared = sources
            .iter()
            .flat_map(|source| source.lines())
            .filter_map(|line| line.trim().strip_prefix("error ")?.split('(').next());
        // Met by whoever deploys or administers a market, never through this service.
        let administrative =
            ["DatasetRegistryBadParameters", "DatasetRegistryBadKeyholder", "QueryEscrowNothingDeferred"];
        for name in declared.filter(|name| !name.ends_with("BadDeployment") && !administrative.contains(name)) {
            assert!(KNOWN.iter().any(|known| known.error == name), "{name} has no advice");
        }
    }
}
