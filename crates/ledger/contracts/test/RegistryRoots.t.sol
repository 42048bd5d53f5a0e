// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Groth16Verifier} from "../src/Groth16Verifier.sol";
import {IQueryEscrow} from "../src/IQueryEscrow.sol";
import {IRegistryQueue} from "../src/IRegistryQueue.sol";
import {IRegistryRoots} from "../src/IRegistryRoots.sol";
import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {OfferBook} from "../src/OfferBook.sol";
import {RegistryRoots} from "../src/RegistryRoots.sol";
import {Scene} from "./support/Scene.sol";

/// @title Roots move by real proofs, over exactly what was queued.
contract RegistryRootsTest is Scene {
    function test_realProofsMoveTheRootOverEverythingQueued() public {
        assertEq(roots.rootAt(PANEL, 0), uintAt(".emptyRoot"), "empty root");
        assertEq(roots.missingSince(PANEL, 0), START, "all is missing");
        for (uint256 number = 0; number < BATCHES; number++) {
            uint256 root = nextBatch(number).root;
            bool last = number + 1 == BATCHES;
            vm.expectEmit(address(roots));
            emit IRegistryRoots.RegistryAdvanced(PANEL, uint64(number + 1), root, last ? 4 : EVENTS, last ? 4 : 0);
            advance(number);
            assertEq(roots.rootAt(PANEL, uint64(number + 1)), root, "root");
        }
        assertEq(roots.sequence(PANEL), BATCHES, "sequence");
        assertEq(roots.missingSince(PANEL, uint64(BATCHES)), type(uint64).max, "nothing is missing");
        assertEq(roots.missingSince(PANEL, uint64(BATCHES - 1)), START, "the batch before lacks something");
        (uint64 registryOperations, bytes32 registryRest, uint64 offerOperations, bytes32 offerRest) =
            roots.taken(PANEL);
        require(registryOperations == 5 && offerOperations == 3, "operations");
        require(registryRest == bytes32(0) && offerRest == bytes32(0), "rests");
        assertEq(roots.sequence(SECOND_PANEL), 0, "other panels stay");
    }

    function test_anyoneAdvancesAlsoWhilePaused() public {
        registry.pause();
        IRegistryRoots.Batch memory batch = nextBatch(0);
        uint256[8] memory proof = proofAt(updatePath(0));
        vm.prank(RELAYER);
        roots.advance(PANEL, batch, proof);
        assertEq(roots.sequence(PANEL), 1, "advanced");
    }

    function test_operationsAreTakenInParts() public {
        advance(0);
        (uint64 operations, bytes32 rest,,) = roots.taken(PANEL);
        assertEq(operations, 1, "the person is in");
        assertEq(rest, sliceOf(registryOperation(1), 0, 63).rest, "63 groups of the biobank are in");
        assertEq(roots.missingSince(PANEL, 1), START, "the rest is missing");
    }

    function test_revocationLaterIsMissingFromTheRootFromThenOn() public {
        advanceAll();
        vm.warp(START + 77);
        revoke(CONTRIBUTOR_KEY, PERSON, ordinalsOf(0));
        vm.warp(START + 99);
        post(CLINIC_KEY, sceneOffer(CLINIC, 2, [uint96(0), 0, 0]));
        assertEq(roots.missingSince(PANEL, uint64(BATCHES)), START + 77, "the older of both");
    }

    // ---- Attacks on the batch ----

    function test_everyWordOfTheBatchChangedIsRefused() public {
        for (uint256 word = 0; word < 17; word++) {
            IRegistryRoots.Batch memory batch = nextBatch(0);
            if (word == 16) batch.registry[0].heads[0] += 4;
            else batch.registry[0].words[word] += 1;
            _refuses(batch, 0, IRegistryRoots.RegistryRootsOtherEvents.selector);
        }
        advance(0);
    }

    function test_everyWordOfALastEventAndOffersChangedIsRefused() public {
        for (uint256 number = 0; number + 1 < BATCHES; number++) {
            advance(number);
        }
        uint256 last = BATCHES - 1;
        for (uint256 word = 0; word < 16; word++) {
            IRegistryRoots.Batch memory batch = nextBatch(last);
            batch.offers[2].words[word] += 1;
            _refuses(batch, last, IRegistryRoots.RegistryRootsOtherEvents.selector);
        }
        IRegistryRoots.Batch memory changed = nextBatch(last);
        // The revocation of another dataset, of none, and by words that a revocation does not have.
        changed.registry[1].heads[0] ^= 3 << 26;
        _refuses(changed, last, IRegistryRoots.RegistryRootsOtherEvents.selector);
        changed = nextBatch(last);
        changed.registry[1].heads[0] &= (1 << 26) - 1;
        _refuses(changed, last, IRegistryRoots.RegistryRootsOtherEvents.selector);
        changed = nextBatch(last);
        changed.registry[1].words = new uint256[](16);
        _refuses(changed, last, IRegistryRoots.RegistryRootsOtherEvents.selector);
        advance(last);
    }

    /// @dev Were the queue to hold other words, the proof would not fit them.
    function test_proofIsBoundToEveryWordOfEveryKindOfEvent() public {
        for (uint256 word = 0; word < 17; word++) {
            IRegistryRoots.Batch memory batch = nextBatch(0);
            if (word == 16) batch.registry[0].heads[0] += 4;
            else batch.registry[0].words[word] = addmod(batch.registry[0].words[word], 1, SCALARS);
            _mockQueue(address(registry), 0, batch.registry[0]);
            _refuses(batch, 0, IRegistryRoots.RegistryRootsBadProof.selector);
            vm.clearMockedCalls();
        }
        for (uint256 number = 0; number + 1 < BATCHES; number++) {
            advance(number);
        }
        for (uint256 word = 0; word < 17; word++) {
            // The first of the person's offers, which the second overwrites: it leaves no trace in the root.
            IRegistryRoots.Batch memory batch = nextBatch(BATCHES - 1);
            if (word == 16) batch.offers[0].heads[0] += 4;
            else batch.offers[0].words[word] += 1;
            _mockQueue(address(offers), 0, batch.offers[0]);
            _refuses(batch, BATCHES - 1, IRegistryRoots.RegistryRootsBadProof.selector);
            vm.clearMockedCalls();
        }
        IRegistryRoots.Batch memory revoking = nextBatch(BATCHES - 1);
        revoking.registry[2].heads[0] ^= 1 << 27;
        _mockQueue(address(registry), 4, revoking.registry[2]);
        _refuses(revoking, BATCHES - 1, IRegistryRoots.RegistryRootsBadProof.selector);
        vm.clearMockedCalls();
        advance(BATCHES - 1);
    }

    function test_rootAndDigestChangedAreRefused() public {
        IRegistryRoots.Batch memory batch = nextBatch(0);
        batch.root += 1;
        _refuses(batch, 0, IRegistryRoots.RegistryRootsBadProof.selector);
        batch = nextBatch(0);
        batch.root += SCALARS;
        _refuses(batch, 0, IRegistryRoots.RegistryRootsBadRoot.selector);
        batch = nextBatch(0);
        batch.digest += 1;
        _refuses(batch, 0, IRegistryRoots.RegistryRootsBadProof.selector);
        batch = nextBatch(0);
        batch.digest += SCALARS;
        _refuses(batch, 0, IRegistryRoots.RegistryRootsBadProof.selector);
        advance(0);
    }

    function test_replayedBatchAndBatchOutOfOrderAreRefused() public {
        IRegistryRoots.Batch memory first = nextBatch(0);
        advance(0);
        _refuses(first, 0, IRegistryRoots.RegistryRootsOtherEvents.selector);
        // The next events with the proof of the batch after them, and with the proof of those before.
        _refuses(nextBatch(1), 2, IRegistryRoots.RegistryRootsBadProof.selector);
        _refuses(nextBatch(1), 0, IRegistryRoots.RegistryRootsBadProof.selector);
        // Events may not be skipped: those of a later place are not next.
        IRegistryRoots.Batch memory skipping = nextBatch(1);
        skipping.registry[0] = sliceOf(registryOperation(1), 64, 128);
        _refuses(skipping, 1, IRegistryRoots.RegistryRootsOtherEvents.selector);
        advance(1);
    }

    function test_lastBatchWithoutItsRevocationsIsRefused() public {
        for (uint256 number = 0; number + 1 < BATCHES; number++) {
            advance(number);
        }
        IRegistryRoots.Batch memory batch = nextBatch(BATCHES - 1);
        batch.registry[1] = batch.registry[2];
        _refuses(batch, BATCHES - 1, IRegistryRoots.RegistryRootsOtherEvents.selector);
        batch = nextBatch(BATCHES - 1);
        batch.registry = new IRegistryRoots.Slice[](0);
        _refuses(batch, BATCHES - 1, IRegistryRoots.RegistryRootsBadProof.selector);
        batch = nextBatch(BATCHES - 1);
        batch.offers = new IRegistryRoots.Slice[](0);
        _refuses(batch, BATCHES - 1, IRegistryRoots.RegistryRootsBadProof.selector);
        advance(BATCHES - 1);
    }

    function test_emptyAndTooLargeBatchesAreRefused() public {
        IRegistryRoots.Batch memory batch;
        _refuses(batch, 0, IRegistryRoots.RegistryRootsBadBatchSize.selector);
        batch = nextBatch(0);
        batch.registry[1] = sliceOf(registryOperation(1), 0, 64);
        _refuses(batch, 0, IRegistryRoots.RegistryRootsBadBatchSize.selector);
        // A slice of no events with the right rest changes nothing and is refused all the same.
        batch.registry[1] = sliceOf(registryOperation(1), 0, 0);
        _refuses(batch, 0, IRegistryRoots.RegistryRootsOtherEvents.selector);
    }

    function test_batchOfAnotherPanelIsRefused() public {
        IRegistryRoots.Batch memory batch = nextBatch(0);
        uint256[8] memory proof = proofAt(updatePath(0));
        vm.expectRevert(IRegistryRoots.RegistryRootsOtherEvents.selector);
        roots.advance(SECOND_PANEL, batch, proof);
    }

    // ---- Attacks on the proof ----

    function test_mauledProofMovesTheSameRootOnce() public {
        IRegistryRoots.Batch memory batch = nextBatch(0);
        uint256[8] memory other = mauled(proofAt(updatePath(0)));
        roots.advance(PANEL, batch, other);
        assertEq(roots.rootAt(PANEL, 1), batch.root, "same root");
        _refuses(batch, 0, IRegistryRoots.RegistryRootsOtherEvents.selector);
        assertEq(roots.sequence(PANEL), 1, "once");
    }

    function test_proofOfAnotherCircuitOrKeyIsRefused() public {
        IRegistryRoots.Batch memory batch = nextBatch(0);
        uint256[8] memory foreign = proofAt(cohortPath(0));
        vm.expectRevert(IRegistryRoots.RegistryRootsBadProof.selector);
        roots.advance(PANEL, batch, foreign);
        RegistryRoots other = new RegistryRoots(offers, cohortProofs, EVENTS, uintAt(".emptyRoot"));
        uint256[8] memory proof = proofAt(updatePath(0));
        vm.expectRevert(IRegistryRoots.RegistryRootsBadProof.selector);
        other.advance(PANEL, batch, proof);
        roots.advance(PANEL, batch, proof);
    }

    // ---- Deployment ----

    function test_unsoundDeploymentsAreRefused() public {
        uint256 empty = uintAt(".emptyRoot");
        bytes4 bad = IRegistryRoots.RegistryRootsBadDeployment.selector;
        vm.expectRevert(bad);
        new RegistryRoots(OfferBook(RELAYER), updateProofs, EVENTS, empty);
        vm.expectRevert(bad);
        new RegistryRoots(offers, Groth16Verifier(RELAYER), EVENTS, empty);
        vm.expectRevert(bad);
        new RegistryRoots(offers, updateProofs, 0, empty);
        vm.expectRevert(bad);
        new RegistryRoots(offers, updateProofs, EVENTS, SCALARS);
        Groth16Verifier fourInputs = keyOf("disclosureKey");
        vm.expectRevert(bad);
        new RegistryRoots(offers, fourInputs, EVENTS, empty);
        // Development keys serve test networks only.
        OfferBook production = new OfferBook(new DatasetRegistry(address(this), productionParameters()));
        vm.expectRevert(bad);
        new RegistryRoots(production, updateProofs, EVENTS, empty);
    }

    function test_unknownRootsAreRefused() public {
        vm.expectRevert(abi.encodeWithSelector(IRegistryRoots.RegistryRootsUnknownRoot.selector, PANEL, 1));
        roots.rootAt(PANEL, 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistryRoots.RegistryRootsUnknownRoot.selector, PANEL, 1));
        roots.missingSince(PANEL, 1);
    }

    // ---- Who waits ----

    /// @dev Nobody has proven anything: revocations and refunds go through.
    function test_stalledProverHoldsUpNeitherRevocationsNorRefunds() public {
        IQueryEscrow.Order memory order = sceneOrder(1);
        bytes32 orderId = open(order);
        revoke(CONTRIBUTOR_KEY, PERSON, ordinalsOf(0));
        require(registry.isRevoked(PERSON, 0), "revoked");
        vm.warp(uint256(order.deadline) + 1);
        uint256 before = token.balanceOf(order.researcher);
        escrow.refundOrder(orderId);
        assertEq(token.balanceOf(order.researcher) - before, MAX_PRICE, "refund");
    }

    /// @dev Makes a queue answer that it holds this slice, of one event.
    function _mockQueue(address queue, uint64 index, IRegistryRoots.Slice memory slice) private {
        bytes32 chain = keccak256(abi.encode(slice.heads[0], keccak256(abi.encodePacked(slice.words)), slice.rest));
        bytes memory question = abi.encodeCall(IRegistryQueue.queuedOperation, (PANEL, index));
        vm.mockCall(queue, question, abi.encode(uint40(START), bytes27(chain)));
    }

    function _refuses(IRegistryRoots.Batch memory batch, uint256 number, bytes4 selector) private {
        uint256[8] memory proof = proofAt(updatePath(number));
        try roots.advance(PANEL, batch, proof) {
            revert("accepted");
        } catch (bytes memory reason) {
            require(bytes4(reason) == selector, "refused for another reason");
        }
    }
}
