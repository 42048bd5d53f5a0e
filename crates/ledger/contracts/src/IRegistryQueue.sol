// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Changes of registry trees that wait for a proof.
/// @notice Every panel has a tree whose leaves are groups of up to five datasets of one registration. An operation is
/// what one transaction changes in it: one event for each group, in order. A prover batches events; RegistryRoots moves
/// the tree's root over them.
///
/// An event is 17 words: a head, kind + 4 * place + 2^26 * mask of revoked datasets, then the words of a group. A
/// registration (kind 1) gives all 16 words; an offer (2) gives prices, condition and terms; a revocation (3) none.
/// Words: x and y of five commitments, three prices in units of 10^10 base units, condition, terms, and registration *
/// 2^32 + first ordinal.
interface IRegistryQueue {
    /// @notice An operation waits.
    /// @param index Its number on the panel, from 0.
    /// @param heads One for each event.
    /// @param words Sixteen for each event, or sixteen that all events share, or none where all are zero.
    event OperationQueued(bytes32 indexed panelDigest, uint64 indexed index, uint256[] heads, uint256[] words);

    error RegistryQueueBadWords();

    /// @notice Operations of a panel so far.
    function queuedOperations(bytes32 panelDigest) external view returns (uint64);

    /// @notice When an operation was queued, and the head of the hash chain over its events; zeros when there is none.
    function queuedOperation(bytes32 panelDigest, uint64 index) external view returns (uint40 time, bytes27 head);
}
