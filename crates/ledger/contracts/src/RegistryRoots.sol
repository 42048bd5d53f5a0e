// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IOfferBook} from "./IOfferBook.sol";
import {IProofVerifier} from "./IProofVerifier.sol";
import {IRegistryQueue} from "./IRegistryQueue.sol";
import {IRegistryRoots} from "./IRegistryRoots.sol";
import {PublicWords} from "./PublicWords.sol";
import {FIELD, GROUP_WORDS, RegistryQueue} from "./RegistryQueue.sol";

/// @title Roots of the registry trees, moved by proofs.
/// @dev The circuits' hash is never computed here: PublicWords ties the proof to the events.
contract RegistryRoots is IRegistryRoots {
    /// A root and the operations of each queue that are wholly in it.
    struct Root {
        uint256 root;
        uint64 registryOperations;
        uint64 offerOperations;
    }

    /// What was taken of the operation behind those.
    struct Rests {
        bytes32 registryRest;
        bytes32 offerRest;
    }

    /// Where a batch has come to in a queue.
    struct Place {
        IRegistryQueue queue;
        bytes32 panelDigest;
        uint64 operation;
        bytes32 rest;
    }

    /// SHA3-256 of "locus/proofs/update-words/v1", framed.
    uint256 private constant _DOMAIN = 0x99d797520a12fcd8ad7b9162ec2df85235d442662681bd7dbab1e6aeaaaac26c;
    uint256 private constant _INPUTS = 3;
    uint256 private constant _EVENT_WORDS = 1 + GROUP_WORDS;
    /// Places of the first event: behind domain, digest and two roots.
    uint256 private constant _EVENTS = PublicWords.PREFIX + 2;

    IDatasetRegistry private immutable _registry;
    IOfferBook private immutable _offers;
    IProofVerifier private immutable _verifier;
    uint256 private immutable _eventsMax;
    uint256 private immutable _emptyRoot;
    mapping(bytes32 panelDigest => uint64) private _sequences;
    mapping(bytes32 panelDigest => mapping(uint64 sequence => Root)) private _roots;
    mapping(bytes32 panelDigest => Rests) private _rests;

    /// @param eventsMax Events of one proof, fixed by the circuit.
    /// @param emptyRoot Root of the tree without leaves.
    constructor(IOfferBook offers_, IProofVerifier verifier_, uint256 eventsMax, uint256 emptyRoot) {
        bool sound = address(offers_).code.length > 0 && address(verifier_).code.length > 0;
        if (!sound || verifier_.inputCount() != _INPUTS || eventsMax == 0 || emptyRoot >= FIELD) {
            revert RegistryRootsBadDeployment();
        }
        _offers = offers_;
        _registry = offers_.registry();
        _verifier = verifier_;
        _eventsMax = eventsMax;
        _emptyRoot = emptyRoot;
        // Whoever knows a development key's secrets can move a root anywhere.
        if (verifier_.isDevelopmentKey() && !_registry.parameters().testNetwork) revert RegistryRootsBadDeployment();
    }

    /// @inheritdoc IRegistryRoots
    function advance(bytes32 panelDigest, Batch calldata batch, uint256[8] calldata proof) external {
        uint64 present = _sequences[panelDigest];
        Rests storage rests = _rests[panelDigest];
        // Empty events fill the list up to the circuit's size: all their words are zero, as the list is now.
        uint256[] memory list = new uint256[](_EVENTS + _EVENT_WORDS * _eventsMax);
        (list[0], list[1]) = (_DOMAIN, batch.digest);
        (list[2], list[3]) = (rootAt(panelDigest, present), batch.root);
        // The words of events are below the field's order: the queues' contracts see to that.
        if (batch.root >= FIELD) revert RegistryRootsBadRoot();

        Root memory next = _roots[panelDigest][present];
        next.root = batch.root;
        Place memory place = Place(_registry, panelDigest, next.registryOperations, rests.registryRest);
        uint256 registryEvents = _take(place, batch.registry, list, 0);
        if (place.rest != rests.registryRest) rests.registryRest = place.rest;
        next.registryOperations = place.operation;
        place = Place(_offers, panelDigest, next.offerOperations, rests.offerRest);
        uint256 events = _take(place, batch.offers, list, registryEvents);
        if (place.rest != rests.offerRest) rests.offerRest = place.rest;
        next.offerOperations = place.operation;
        if (events == 0) revert RegistryRootsBadBatchSize(0, _eventsMax);

        if (!_verifier.verify(proof, PublicWords.inputsOf(list))) revert RegistryRootsBadProof();
        _sequences[panelDigest] = present + 1;
        _roots[panelDigest][present + 1] = next;
        emit RegistryAdvanced(panelDigest, present + 1, batch.root, registryEvents, events - registryEvents);
    }

    /// @inheritdoc IRegistryRoots
    function sequence(bytes32 panelDigest) external view returns (uint64) {
        return _sequences[panelDigest];
    }

    /// @inheritdoc IRegistryRoots
    function rootAt(bytes32 panelDigest, uint64 sequence_) public view returns (uint256) {
        if (sequence_ > _sequences[panelDigest]) revert RegistryRootsUnknownRoot(panelDigest, sequence_);
        return sequence_ == 0 ? _emptyRoot : _roots[panelDigest][sequence_].root;
    }

    /// @inheritdoc IRegistryRoots
    function missingSince(bytes32 panelDigest, uint64 sequence_) external view returns (uint64 since) {
        if (sequence_ > _sequences[panelDigest]) revert RegistryRootsUnknownRoot(panelDigest, sequence_);
        Root storage root = _roots[panelDigest][sequence_];
        since = _queuedAt(_registry, panelDigest, root.registryOperations);
        uint64 offer = _queuedAt(_offers, panelDigest, root.offerOperations);
        if (offer < since) since = offer;
    }

    /// @inheritdoc IRegistryRoots
    function taken(bytes32 panelDigest)
        external
        view
        returns (uint64 registryOperations, bytes32 registryRest, uint64 offerOperations, bytes32 offerRest)
    {
        Root storage root = _roots[panelDigest][_sequences[panelDigest]];
        Rests storage rests = _rests[panelDigest];
        return (root.registryOperations, rests.registryRest, root.offerOperations, rests.offerRest);
    }

    /// @inheritdoc IRegistryRoots
    function registry() external view returns (IDatasetRegistry) {
        return _registry;
    }

    /// @inheritdoc IRegistryRoots
    function offerBook() external view returns (IOfferBook) {
        return _offers;
    }

    /// @dev Writes the events of the slices into the list, behind those that are there, moves the place over them and
    /// gives the number of events in the list. Every slice must be what the queue has at its place.
    function _take(Place memory place, Slice[] calldata slices, uint256[] memory list, uint256 events)
        private
        view
        returns (uint256)
    {
        for (uint256 i = 0; i < slices.length; i++) {
            Slice memory slice = slices[i];
            if (slice.heads.length == 0 || !_isNext(place, slice)) revert RegistryRootsOtherEvents();
            _write(slice, list, events);
            events += slice.heads.length;
            place.rest = slice.rest;
            if (slice.rest == bytes32(0)) place.operation += 1;
        }
        return events;
    }

    function _isNext(Place memory place, Slice memory slice) private view returns (bool) {
        bytes32 found = RegistryQueue.chain(slice.heads, slice.words, slice.rest);
        if (place.rest != bytes32(0)) return found == place.rest;
        (uint40 time, bytes27 head) = place.queue.queuedOperation(place.panelDigest, place.operation);
        return time > 0 && bytes27(found) == head;
    }

    function _write(Slice memory slice, uint256[] memory list, uint256 events) private view {
        (uint256[] memory heads, uint256[] memory words) = (slice.heads, slice.words);
        if (events + heads.length > _eventsMax) {
            revert RegistryRootsBadBatchSize(events + heads.length, _eventsMax);
        }
        uint256 step = RegistryQueue.wordsStep(heads, words);
        uint256 place = _EVENTS + _EVENT_WORDS * events;
        for (uint256 i = 0; i < heads.length; i++) {
            list[place] = heads[i];
            if (words.length > 0) {
                assembly ("memory-safe") {
                    mcopy(add(add(list, 64), mul(place, 32)), add(add(words, 32), mul(step, i)), mul(GROUP_WORDS, 32))
                }
            }
            place += _EVENT_WORDS;
        }
    }

    function _queuedAt(IRegistryQueue queue, bytes32 panelDigest, uint64 operation) private view returns (uint64) {
        // The head does not matter here.
        // slither-disable-next-line unused-return
        (uint40 time,) = queue.queuedOperation(panelDigest, operation);
        return time == 0 ? type(uint64).max : time;
    }
}
