// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistryRoots} from "./IRegistryRoots.sol";

/// @title Cohort statements: who may be summed under given conditions, proven once and used by every order on them.
/// @notice A statement says: under a registry root, registrations whose terms allow this purpose, tier, class, blocks,
/// buyer and price, as of a time, have together so many live members, cost so much, are paid as the payout commitment
/// says, and have commitments to their ciphertexts that add up to this point. Which registrations is not shown, and a
/// statement need not take all that are allowed.
interface ICohortVerifier {
    /// The conditions of a statement.
    struct Statement {
        bytes32 panelDigest;
        /// Number of the registry root.
        uint64 rootSequence;
        /// A root that differs from it only by members left out, or zero.
        uint256 reducedRoot;
        uint32 purpose;
        bytes32 conditionDigest;
        uint8 tier;
        uint8 queryClass;
        /// First and last panel block asked about.
        uint16 blockFirst;
        uint16 blockLast;
        /// Offers must hold at least until then.
        uint64 time;
        /// Offers to accredited researchers count too.
        bool accredited;
        /// Offers to exactly these named buyers count too; keccak256 of their addresses, zero for none.
        bytes32 buyersHash;
        /// Most that a member may cost.
        uint96 priceCeiling;
    }

    /// What registrations add up to.
    struct Sums {
        uint256 members;
        uint256 price;
        /// The circuit's digest over (payee, amount) of every registration taken, in order.
        uint256 payouts;
        uint256 pointX;
        uint256 pointY;
    }

    /// A proof about neighbouring leaves of the registry tree.
    struct Shard {
        /// Place of the first leaf, a multiple of the circuit's size; above that of the shard before.
        uint256 start;
        /// After this shard.
        Sums sums;
        uint256[8] proof;
    }

    /// @notice The statement is proven and can be settled on.
    event CohortProven(bytes32 indexed key, Statement statement, Sums sums);
    event MembersLeftOut(uint256 indexed root, uint256 reducedRoot);

    error CohortVerifierBadDeployment();
    error CohortVerifierBadShard(uint256 index);
    error CohortVerifierBadProof(uint256 index);
    error CohortVerifierUnknownRoot();
    error CohortVerifierNotProven(bytes32 key);
    error CohortVerifierOtherSums();
    error CohortVerifierNotABuyer(address researcher);

    /// @notice Proves that a root follows from another by leaving members out; steps may follow each other.
    function leaveOut(uint256 root, uint256 reducedRoot, uint256[8] calldata proof) external;

    /// @notice Proves a statement. Anyone may; a statement that is proven already stays as it is.
    function proveCohort(Statement calldata statement, Shard[] calldata shards) external returns (bytes32 key);

    /// @notice What a proven statement adds up to. Reverts when it is not proven.
    function sumsOf(bytes32 key) external view returns (Sums memory);

    /// @notice The name of a statement.
    function statementKey(Statement calldata statement) external pure returns (bytes32);

    function roots() external view returns (IRegistryRoots);
}
