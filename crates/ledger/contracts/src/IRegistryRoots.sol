// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IOfferBook} from "./IOfferBook.sol";

/// @title Roots of the registry trees, one tree per panel, moved by proofs.
/// @notice Registrations and revocations wait in the queue of the registry, offers in that of the offer book. Anyone may
/// prove that some of them lead from the present root to the next. Nothing waits for it but settlements on proven
/// cohorts: revocations count for keyholders at once, and refunds need no root.
interface IRegistryRoots {
    /// Events of one operation, from where the last batch ended.
    struct Slice {
        /// As in OperationQueued.
        uint256[] heads;
        uint256[] words;
        /// Head of the hash chain over the events of the operation behind these; zero when there are none.
        bytes32 rest;
    }

    /// What a proof takes from the queues, those of the registry first. In this order, and with each queue in its own
    /// order, the events lead to the same tree as in the order in which they were queued: offers and revocations change
    /// different words, and both come after the registration.
    struct Batch {
        Slice[] registry;
        Slice[] offers;
        /// Where they lead.
        uint256 root;
        /// The circuit's own hash of the events.
        uint256 digest;
    }

    event RegistryAdvanced(
        bytes32 indexed panelDigest, uint64 indexed sequence, uint256 root, uint256 registryEvents, uint256 offerEvents
    );

    error RegistryRootsBadDeployment();
    error RegistryRootsBadBatchSize(uint256 events, uint256 eventsMax);
    error RegistryRootsOtherEvents();
    error RegistryRootsBadRoot();
    error RegistryRootsUnknownRoot(bytes32 panelDigest, uint64 sequence);
    error RegistryRootsBadProof();

    /// @notice Moves the root of a panel over a batch. Works while paused.
    function advance(bytes32 panelDigest, Batch calldata batch, uint256[8] calldata proof) external;

    /// @notice Number of the present root of a panel; 0 is the empty tree.
    function sequence(bytes32 panelDigest) external view returns (uint64);

    /// @notice A present or past root. Reverts for others.
    function rootAt(bytes32 panelDigest, uint64 sequence_) external view returns (uint256);

    /// @notice When the oldest operation was queued that is not in a root, or not wholly; the largest number when all
    /// are. Reverts for an unknown root.
    function missingSince(bytes32 panelDigest, uint64 sequence_) external view returns (uint64);

    /// @notice Where the present root of a panel ends: the operations wholly in it, and the head of the rest of the
    /// next one, zero when none of it was taken.
    function taken(bytes32 panelDigest)
        external
        view
        returns (uint64 registryOperations, bytes32 registryRest, uint64 offerOperations, bytes32 offerRest);

    /// @notice Registry whose registrations and revocations move roots.
    function registry() external view returns (IDatasetRegistry);

    /// @notice Book whose offers move roots.
    function offerBook() external view returns (IOfferBook);
}
