// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQueryEscrow} from "./IQueryEscrow.sol";
import {IRegistryRoots} from "./IRegistryRoots.sol";

/// @title Cohorts that are proven to consent, each proven once and settled on by every order that asks for it.
/// @notice A statement says what is asked of every dataset under a registry root. A cohort is some of the datasets for
/// which that holds: a proof for each shard of 256 groups, in ascending order, adds to size, price, sum of ciphertext
/// commitments and hash of who is paid. Who is in it is not shown, and it need not be everybody who consents.
///
/// EIP-712 domain: name "LocusCohortVerifier", version "1", chain id, this contract. Signed message, by keyholders:
/// ProvenSettlement(bytes32 settlementDigest,bytes32 cohortId).
interface ICohortVerifier {
    /// What is asked of every dataset.
    struct Statement {
        bytes32 panelDigest;
        /// Number of the registry root.
        uint64 sequence;
        /// See CohortPolicies.
        uint256 policy;
        /// First 31 bytes of the condition's digest, zero where the policy asks for none.
        uint256 condition;
        /// Most that a dataset may cost, in units of 10^10 base units.
        uint256 priceMax;
    }

    /// What the datasets of all shards so far add up to. Without a shard: 0, 0, 0, 0, 1, 0.
    struct Cohort {
        /// The last shard.
        uint256 shard;
        uint256 size;
        /// Units of 10^10 base units.
        uint256 totalPrice;
        /// Sum of the commitments to their ciphertexts.
        uint256 pointX;
        uint256 pointY;
        /// Blinded hash of who is in it, shard for shard.
        uint256 payouts;
    }

    /// A proof for one shard.
    struct Step {
        Cohort cohort;
        /// The circuit's own hash of the words.
        uint256 digest;
        uint256[8] proof;
    }

    /// What a settlement shows beside the keyholders' signatures.
    struct Evidence {
        /// The order, whose hash is its id.
        IQueryEscrow.Order order;
        uint64 sequence;
        uint16 day;
        bool accreditedOnly;
        bool provenOnly;
        uint256 priceMax;
        Cohort cohort;
        /// Two or three, ascending.
        uint8[] keyholders;
        bytes[] signatures;
    }

    /// @notice The cohort is proven and can be settled on, and shards can be added to it.
    event CohortProven(bytes32 indexed cohortId, Statement statement, Cohort cohort);

    error CohortVerifierBadDeployment();
    error CohortVerifierBadShard(uint256 index);
    error CohortVerifierBadProof(uint256 index);
    error CohortVerifierNotCanonical(uint256 index);
    error CohortVerifierNotProven(bytes32 cohortId);
    error CohortVerifierOtherOrder(bytes32 orderId);
    error CohortVerifierBadDay(uint256 dayMin);
    error CohortVerifierStaleRoot(uint64 missingSince);
    error CohortVerifierOtherSums();

    /// @notice Adds shards to a cohort that is proven, or to none; anyone may.
    function proveCohort(Statement calldata statement, Cohort calldata from, Step[] calldata steps)
        external
        returns (bytes32 cohortId);

    /// @notice True for a cohort that is proven.
    function isProven(bytes32 cohortId) external view returns (bool);

    /// @notice The name of a cohort: whoever signs it signs statement and sums.
    function cohortIdOf(Statement calldata statement, Cohort calldata cohort) external pure returns (bytes32);

    /// @notice The 32 bytes that a keyholder signs.
    function provenSettlementDigest(bytes32 settlementDigest, bytes32 cohortId) external view returns (bytes32);

    /// @notice Roots under which cohorts are proven.
    function roots() external view returns (IRegistryRoots);

    /// @notice Longest that a registration, offer or revocation may be missing from the root of a settlement, in seconds.
    function rootAgeMax() external view returns (uint64);
}
