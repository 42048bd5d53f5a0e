// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IOfferBook} from "./IOfferBook.sol";
import {OPERATION_WORDS} from "./RegistryOperations.sol";

/// @title Roots of the registry trees, one tree per panel, moved by proofs.
/// @notice Registrations, terms and revocations wait in the queues of the registry and the offer book. Anyone may prove
/// that a batch of them leads from the present root to the next. Nothing waits for it: revocations count at once, and
/// refunds need no proof.
interface IRegistryRoots {
    /// A batch of waiting operations; the operations of the registry come first.
    struct Batch {
        uint256[OPERATION_WORDS][] registrations;
        uint256[OPERATION_WORDS][] terms;
        /// Digests of the operations that stay behind these in each queue.
        bytes32[] registrationsLeft;
        bytes32[] termsLeft;
    }

    /// Where a batch leads, as the prover says.
    struct Advance {
        uint256 root;
        /// The circuit's digest of the operations of the batch.
        uint256 operationsDigest;
    }

    event RegistryAdvanced(
        bytes32 indexed panelDigest,
        uint64 indexed sequence,
        uint256 root,
        uint256 registrationsTaken,
        uint256 termsTaken
    );

    error RegistryRootsBadDeployment();
    error RegistryRootsNothingToDo();
    error RegistryRootsBatchTooLarge(uint256 operations, uint256 operationsMax);
    error RegistryRootsOtherQueue();
    error RegistryRootsBadProof();

    /// @notice Moves the root of a panel over a batch. Works while paused.
    function advance(bytes32 panelDigest, Advance calldata to, Batch calldata batch, uint256[8] calldata proof) external;

    /// @notice Number of the present root of a panel; 0 is the empty tree.
    function sequence(bytes32 panelDigest) external view returns (uint64);

    /// @notice A present or past root.
    function rootAt(bytes32 panelDigest, uint64 sequence_) external view returns (uint256);

    /// @notice True when no operation of the panel waits.
    function isCurrent(bytes32 panelDigest) external view returns (bool);

    function registry() external view returns (IDatasetRegistry);

    function offerBook() external view returns (IOfferBook);
}
