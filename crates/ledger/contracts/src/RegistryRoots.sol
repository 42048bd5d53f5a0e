// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IOfferBook} from "./IOfferBook.sol";
import {IProofVerifier} from "./IProofVerifier.sol";
import {IRegistryRoots} from "./IRegistryRoots.sol";
import {OPERATION_WORDS, RegistryOperations} from "./RegistryOperations.sol";

/// @title Roots of the registry trees, moved by proofs.
/// @dev The circuit's hash is never computed here. The prover names its own digest of the operations; the proof shows
/// that it is the digest of operations that lead from root to root, and that their fingerprint
/// sum of word_j * challenge^j is the one computed here from the queues. The challenge hashes that digest, the queues
/// (through their heads) and both roots. So both lists are fixed before it is drawn, and two different lists of at most
/// 2^16 words agree at it with probability below 2^-237. Without the digest they would not be fixed: a word that a later
/// operation overwrites leaves no trace in the new root and could be chosen to fit the challenge.
contract RegistryRoots is IRegistryRoots {
    /// What was taken from the two queues of a panel so far.
    struct Cursor {
        bytes32 registrationsHead;
        bytes32 termsHead;
        uint64 sequence;
    }

    uint256 private constant _R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant _INPUTS = 5;

    IDatasetRegistry private immutable _registry;
    IOfferBook private immutable _offers;
    IProofVerifier private immutable _verifier;
    uint256 private immutable _operationsMax;
    uint256 private immutable _emptyRoot;
    mapping(bytes32 panelDigest => Cursor) private _cursors;
    mapping(bytes32 panelDigest => mapping(uint64 sequence => uint256)) private _roots;

    /// @param operationsMax Operations of one proof, fixed by the circuit.
    /// @param emptyRoot Root of the tree without leaves.
    constructor(IOfferBook offers_, IProofVerifier verifier_, uint256 operationsMax, uint256 emptyRoot) {
        bool sound = address(offers_).code.length > 0 && address(verifier_).code.length > 0;
        if (!sound || verifier_.inputCount() != _INPUTS || operationsMax == 0 || emptyRoot >= _R) {
            revert RegistryRootsBadDeployment();
        }
        _registry = offers_.registry();
        _offers = offers_;
        _verifier = verifier_;
        _operationsMax = operationsMax;
        _emptyRoot = emptyRoot;
    }

    /// @inheritdoc IRegistryRoots
    function advance(bytes32 panelDigest, Advance calldata to, Batch calldata batch, uint256[8] calldata proof)
        external
    {
        uint256 count = batch.registrations.length + batch.terms.length;
        if (count == 0) revert RegistryRootsNothingToDo();
        if (count > _operationsMax) revert RegistryRootsBatchTooLarge(count, _operationsMax);
        Cursor storage cursor = _cursors[panelDigest];
        bytes32 registrationsHead = _follow(
            cursor.registrationsHead, batch.registrations, batch.registrationsLeft, _registry.queueHead(panelDigest)
        );
        bytes32 termsHead = _follow(cursor.termsHead, batch.terms, batch.termsLeft, _offers.queueHead(panelDigest));

        uint64 next = cursor.sequence + 1;
        uint256[] memory inputs = new uint256[](_INPUTS);
        (inputs[0], inputs[1], inputs[2]) = (rootAt(panelDigest, next - 1), to.root, to.operationsDigest);
        // The heads stand for all operations before them.
        bytes32 queues = keccak256(abi.encode(registrationsHead, termsHead));
        bytes32 drawn = keccak256(
            abi.encode(block.chainid, address(this), panelDigest, next, inputs[0], inputs[1], inputs[2], queues)
        );
        inputs[3] = uint256(drawn) % _R;
        inputs[4] = _fingerprint(batch, inputs[3]);
        if (!_verifier.verify(proof, inputs)) revert RegistryRootsBadProof();

        cursor.registrationsHead = registrationsHead;
        cursor.termsHead = termsHead;
        cursor.sequence = next;
        _roots[panelDigest][next] = to.root;
        emit RegistryAdvanced(panelDigest, next, to.root, batch.registrations.length, batch.terms.length);
    }

    /// @inheritdoc IRegistryRoots
    function sequence(bytes32 panelDigest) external view returns (uint64) {
        return _cursors[panelDigest].sequence;
    }

    /// @inheritdoc IRegistryRoots
    function rootAt(bytes32 panelDigest, uint64 sequence_) public view returns (uint256) {
        return sequence_ == 0 ? _emptyRoot : _roots[panelDigest][sequence_];
    }

    /// @inheritdoc IRegistryRoots
    function isCurrent(bytes32 panelDigest) external view returns (bool) {
        Cursor storage cursor = _cursors[panelDigest];
        return cursor.registrationsHead == _registry.queueHead(panelDigest)
            && cursor.termsHead == _offers.queueHead(panelDigest);
    }

    /// @inheritdoc IRegistryRoots
    function registry() external view returns (IDatasetRegistry) {
        return _registry;
    }

    /// @inheritdoc IRegistryRoots
    function offerBook() external view returns (IOfferBook) {
        return _offers;
    }

    /// @dev The head after the operations; they and the digests left must lead to the head of the queue.
    function _follow(
        bytes32 head,
        uint256[OPERATION_WORDS][] calldata operations,
        bytes32[] calldata left,
        bytes32 queueHead
    ) private pure returns (bytes32 reached) {
        reached = head;
        for (uint256 i = 0; i < operations.length; i++) {
            reached = RegistryOperations.chained(reached, operations[i]);
        }
        bytes32 end = reached;
        for (uint256 i = 0; i < left.length; i++) {
            end = RegistryOperations.link(end, left[i]);
        }
        if (end != queueHead) revert RegistryRootsOtherQueue();
    }

    /// @dev sum of word_j * challenge^j over all words in order, by Horner's rule from the last word.
    function _fingerprint(Batch calldata batch, uint256 challenge) private pure returns (uint256 sum) {
        for (uint256 i = batch.terms.length; i > 0; i--) {
            sum = _absorb(sum, batch.terms[i - 1], challenge);
        }
        for (uint256 i = batch.registrations.length; i > 0; i--) {
            sum = _absorb(sum, batch.registrations[i - 1], challenge);
        }
    }

    function _absorb(uint256 sum, uint256[OPERATION_WORDS] calldata words, uint256 challenge)
        private
        pure
        returns (uint256)
    {
        for (uint256 j = OPERATION_WORDS; j > 0; j--) {
            sum = addmod(mulmod(sum, challenge, _R), words[j - 1], _R);
        }
        return sum;
    }
}
