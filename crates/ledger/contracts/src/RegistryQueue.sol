// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistryQueue} from "./IRegistryQueue.sol";

/// @dev Order of the field in which registry trees are computed: every word of an event is below it.
uint256 constant FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
/// @dev Datasets of a group.
uint256 constant GROUP_SIZE = 5;
/// @dev Words of a group, the leaf of a registry tree.
uint256 constant GROUP_WORDS = 16;
/// @dev Groups of a panel: a tree of arity 16 and depth 5.
uint256 constant GROUPS_MAX = 1 << 20;

/// @title Queues of operations on registry trees.
/// @dev One slot keeps an operation, however many groups it changes: the head of a hash chain over its events, made from
/// the last to the first, so that whoever takes some of them off the front needs one word more, the head of the rest.
/// The head is cut to 216 bits to leave room for the time; a collision then takes 2^108 steps, more than breaking the
/// proofs' curve does.
library RegistryQueue {
    struct Operation {
        uint40 time;
        bytes27 head;
    }

    uint256 internal constant REGISTER = 1;
    uint256 internal constant OFFER = 2;
    uint256 internal constant REVOKE = 3;

    // Places of words in a group.
    uint256 internal constant PRICES = 10;
    uint256 internal constant CONDITION = 13;
    uint256 internal constant TERMS = 14;
    uint256 internal constant ORIGIN = 15;

    // Bits of the word of terms: data use (22), tiers (3), accredited researchers only, named buyers only, accredited
    // datasets, proven datasets, live datasets (5), last day of the offer (16).
    uint256 internal constant DATA_USE_BITS = 22;
    uint256 internal constant TIERS_SHIFT = 22;
    uint256 internal constant ACCREDITED_ONLY_SHIFT = 25;
    uint256 internal constant NAMED_ONLY_SHIFT = 26;
    uint256 internal constant ACCREDITED_SHIFT = 27;
    uint256 internal constant PROVEN_SHIFT = 28;
    uint256 internal constant LIVE_SHIFT = 29;
    uint256 internal constant EXPIRY_SHIFT = 34;

    uint256 private constant _PLACE_SHIFT = 2;
    uint256 private constant _MASK_SHIFT = 26;

    function eventHead(uint256 kind, uint256 place, uint256 mask) internal pure returns (uint256) {
        return kind | place << _PLACE_SHIFT | mask << _MASK_SHIFT;
    }

    /// @dev Groups of so many datasets.
    function groupsOf(uint256 datasets) internal pure returns (uint256) {
        return (datasets + GROUP_SIZE - 1) / GROUP_SIZE;
    }

    /// @dev Queues an operation with at least one event.
    function push(Operation[] storage queue, bytes32 panelDigest, uint256[] memory heads, uint256[] memory words)
        internal
    {
        // Numbers of operations stay below 2^64 and the time below 2^40.
        uint64 index = uint64(queue.length);
        queue.push(Operation({time: uint40(block.timestamp), head: bytes27(chain(heads, words, bytes32(0)))}));
        emit IRegistryQueue.OperationQueued(panelDigest, index, heads, words);
    }

    /// @dev An operation, or zeros when there is none.
    function read(Operation[] storage queue, uint64 index) internal view returns (uint40 time, bytes27 head) {
        if (index >= queue.length) return (0, bytes27(0));
        Operation storage operation = queue[index];
        return (operation.time, operation.head);
    }

    /// @dev Head of the chain over these events and the rest behind them; zero stands for no rest.
    function chain(uint256[] memory heads, uint256[] memory words, bytes32 rest) internal pure returns (bytes32 head) {
        uint256 step = wordsStep(heads, words);
        uint256 bytesEach = words.length == 0 ? 0 : GROUP_WORDS * 32;
        head = rest;
        for (uint256 i = heads.length; i > 0; i--) {
            uint256 eventWord = heads[i - 1];
            assembly ("memory-safe") {
                let free := mload(0x40)
                mstore(free, eventWord)
                mstore(add(free, 32), keccak256(add(add(words, 32), mul(step, sub(i, 1))), bytesEach))
                mstore(add(free, 64), head)
                head := keccak256(free, 96)
            }
        }
    }

    /// @dev Bytes from the words of one event to those of the next: none where all events share them.
    function wordsStep(uint256[] memory heads, uint256[] memory words) internal pure returns (uint256) {
        if (words.length == 0 || words.length == GROUP_WORDS) return 0;
        if (words.length != GROUP_WORDS * heads.length) revert IRegistryQueue.RegistryQueueBadWords();
        return GROUP_WORDS * 32;
    }
}
