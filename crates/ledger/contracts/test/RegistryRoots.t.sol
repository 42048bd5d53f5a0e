// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IOfferBook} from "../src/IOfferBook.sol";
import {IRegistryRoots} from "../src/IRegistryRoots.sol";
import {RegistryRoots} from "../src/RegistryRoots.sol";
import {ExpectingVerifier} from "./support/ExpectingVerifier.sol";
import {Fixture} from "./support/Fixture.sol";
import {Typed} from "./support/Typed.sol";

/// @title The queue of registry operations, and the roots that proofs move over it.
contract RegistryRootsTest is Fixture {
    uint256 private constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant OPERATIONS_DIGEST = 123;

    uint256[8] private _proof;
    uint64 private _id;

    function setUp() public override {
        super.setUp();
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 3);
        (batch.registration.pointX, batch.registration.pointY) = (11, 12);
        (batch.registration.membersRoot, batch.registration.flags) = (13, 1);
        signBatch(batch, CONTRIBUTOR_KEY);
        _id = submit(batch);
    }

    // ---- What waits ----

    function test_registrationTermsAndRevocationsWaitInOrder() public {
        IOfferBook.Offer memory offer = _postOffer();
        _revoke(2);
        IRegistryRoots.Batch memory batch = _empty(2, 1);
        batch.registrations[0] = _append();
        batch.registrations[1] = [uint256(3), _id, 2, 0, 0, 0, 0, 0, 0, 0];
        batch.terms[0] = _terms(offer);
        _advance(batch, 500);
        assertEq(roots.sequence(PANEL), 1, "sequence");
        assertEq(roots.rootAt(PANEL, 1), 500, "root");
        require(roots.isCurrent(PANEL), "nothing waits");
    }

    function test_namedBuyersAndConditionsAreReducedToTheField() public {
        IOfferBook.Offer memory offer = offerOf(_id, 1);
        offer.audience = 2;
        offer.buyers = new address[](2);
        (offer.buyers[0], offer.buyers[1]) = (RELAYER, address(7));
        offer.conditionDigest = bytes32(type(uint256).max);
        offers.postOfferSigned(offer, signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer))));
        IRegistryRoots.Batch memory batch = _empty(1, 1);
        batch.registrations[0] = _append();
        batch.terms[0] = _terms(offer);
        batch.terms[0][8] = type(uint256).max % R;
        batch.terms[0][9] = uint256(keccak256(abi.encode(RELAYER, address(7)))) % R;
        _advance(batch, 500);
    }

    function test_withdrawalTakesEverythingOffOffer() public {
        _postOffer();
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.withdrawOffer(_id);
        IRegistryRoots.Batch memory batch = _empty(1, 2);
        batch.registrations[0] = _append();
        batch.terms[0] = _terms(offerOf(_id, 1));
        batch.terms[1] = [uint256(2), _id, 0, 0, 0, 0, 0, 0, 0, 0];
        _advance(batch, 500);
    }

    function test_batchesFollowEachOtherWhileMoreWaits() public {
        IOfferBook.Offer memory offer = _postOffer();
        _revoke(0);
        IRegistryRoots.Batch memory first = _empty(1, 0);
        first.registrations[0] = _append();
        first.registrationsLeft = new bytes32[](1);
        first.registrationsLeft[0] = keccak256(abi.encode([uint256(3), _id, 0, 0, 0, 0, 0, 0, 0, 0]));
        first.termsLeft = new bytes32[](1);
        first.termsLeft[0] = keccak256(abi.encode(_terms(offer)));
        _advance(first, 500);
        require(!roots.isCurrent(PANEL), "two operations wait");

        IRegistryRoots.Batch memory second = _empty(1, 1);
        second.registrations[0] = [uint256(3), _id, 0, 0, 0, 0, 0, 0, 0, 0];
        second.terms[0] = _terms(offer);
        _advance(second, 600);
        assertEq(roots.rootAt(PANEL, 1), 500, "past root");
        assertEq(roots.rootAt(PANEL, 2), 600, "root");
        require(roots.isCurrent(PANEL), "nothing waits");
    }

    function test_revocationAndProofsWorkWhilePaused() public {
        registry.pause();
        _revoke(1);
        IRegistryRoots.Batch memory batch = _empty(2, 0);
        batch.registrations[0] = _append();
        batch.registrations[1] = [uint256(3), _id, 1, 0, 0, 0, 0, 0, 0, 0];
        _advance(batch, 500);
    }

    function test_panelsHaveQueuesAndRootsOfTheirOwn() public {
        require(!roots.isCurrent(PANEL) && roots.isCurrent(SECOND_PANEL), "only one waits");
        assertEq(roots.rootAt(SECOND_PANEL, 0), EMPTY_ROOT, "empty tree");
        IRegistryRoots.Batch memory batch = _empty(1, 0);
        batch.registrations[0] = _append();
        rootProofs.expect(_inputs(PANEL, 1, EMPTY_ROOT, 500, batch));
        vm.expectRevert(IRegistryRoots.RegistryRootsOtherQueue.selector);
        roots.advance(SECOND_PANEL, _to(500), batch, _proof);
    }

    // ---- What is refused ----

    function test_anyChangedWordIsRefused() public {
        IRegistryRoots.Batch memory batch = _empty(1, 0);
        batch.registrations[0] = _append();
        rootProofs.expect(_inputs(PANEL, 1, EMPTY_ROOT, 500, batch));
        for (uint256 word = 0; word < 10; word++) {
            batch.registrations[0][word] ^= 1;
            vm.expectRevert(IRegistryRoots.RegistryRootsOtherQueue.selector);
            roots.advance(PANEL, _to(500), batch, _proof);
            batch.registrations[0][word] ^= 1;
        }
        roots.advance(PANEL, _to(500), batch, _proof);
    }

    function test_proofForAnotherRootPanelChainOrContractIsRefused() public {
        IRegistryRoots.Batch memory batch = _empty(1, 0);
        batch.registrations[0] = _append();
        rootProofs.expect(_inputs(PANEL, 1, EMPTY_ROOT, 500, batch));
        _notProven(roots, 501, batch);
        vm.expectRevert(IRegistryRoots.RegistryRootsBadProof.selector);
        roots.advance(PANEL, IRegistryRoots.Advance({root: 500, operationsDigest: 124}), batch, _proof);
        RegistryRoots other = new RegistryRoots(offers, rootProofs, OPERATIONS_MAX, EMPTY_ROOT);
        _notProven(other, 500, batch);
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        _notProven(roots, 500, batch);
        vm.chainId(here);
        roots.advance(PANEL, _to(500), batch, _proof);
        // Once taken, the same batch is not what waits.
        vm.expectRevert(IRegistryRoots.RegistryRootsOtherQueue.selector);
        roots.advance(PANEL, _to(500), batch, _proof);
    }

    function test_operationsLeftOutOrOutOfOrderAreRefused() public {
        _revoke(2);
        IRegistryRoots.Batch memory batch = _empty(1, 0);
        batch.registrations[0] = _append();
        _otherQueue(batch);
        batch = _empty(2, 0);
        batch.registrations[1] = _append();
        batch.registrations[0] = [uint256(3), _id, 2, 0, 0, 0, 0, 0, 0, 0];
        _otherQueue(batch);
    }

    function test_emptyAndTooLargeBatchesAreRefused() public {
        vm.expectRevert(IRegistryRoots.RegistryRootsNothingToDo.selector);
        roots.advance(PANEL, _to(500), _empty(0, 0), _proof);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRegistryRoots.RegistryRootsBatchTooLarge.selector, OPERATIONS_MAX + 1, OPERATIONS_MAX
            )
        );
        roots.advance(PANEL, _to(500), _empty(3, 2), _proof);
    }

    function test_deploymentNeedsAFittingVerifier() public {
        ExpectingVerifier wrong = new ExpectingVerifier(4);
        vm.expectRevert(IRegistryRoots.RegistryRootsBadDeployment.selector);
        new RegistryRoots(offers, wrong, OPERATIONS_MAX, EMPTY_ROOT);
        vm.expectRevert(IRegistryRoots.RegistryRootsBadDeployment.selector);
        new RegistryRoots(offers, rootProofs, 0, EMPTY_ROOT);
        vm.expectRevert(IRegistryRoots.RegistryRootsBadDeployment.selector);
        new RegistryRoots(offers, rootProofs, OPERATIONS_MAX, R);
        vm.expectRevert(IRegistryRoots.RegistryRootsBadDeployment.selector);
        new RegistryRoots(IOfferBook(address(0x1234)), rootProofs, OPERATIONS_MAX, EMPTY_ROOT);
        assertEq(address(roots.registry()), address(registry), "registry");
        assertEq(address(roots.offerBook()), address(offers), "offers");
    }

    // ---- Helpers ----

    function _append() private view returns (uint256[10] memory) {
        return [uint256(1), _id, 3, uint160(vm.addr(CONTRIBUTOR_KEY)), 11, 12, 13, 1, 0, 0];
    }

    function _terms(IOfferBook.Offer memory offer) private pure returns (uint256[10] memory words) {
        (words[0], words[1], words[2]) = (2, offer.registrationId, offer.dataUse);
        words[3] = offer.tiers + 8 * uint256(offer.audience) + 32 * uint256(offer.blockStart) + 2_097_152
            * uint256(offer.blockEnd);
        (words[4], words[5]) = (offer.expiry, offer.priceCounts);
        (words[6], words[7]) = (offer.priceFilteredCounts, offer.priceAssociation);
    }

    function _postOffer() private returns (IOfferBook.Offer memory offer) {
        offer = offerOf(_id, 1);
        offers.postOfferSigned(offer, signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer))));
    }

    function _revoke(uint32 ordinal) private {
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(_id, ordinalsOf(ordinal));
    }

    function _empty(uint256 registrations, uint256 terms) private pure returns (IRegistryRoots.Batch memory batch) {
        batch.registrations = new uint256[10][](registrations);
        batch.terms = new uint256[10][](terms);
    }

    function _advance(IRegistryRoots.Batch memory batch, uint256 newRoot) private {
        uint64 next = roots.sequence(PANEL) + 1;
        rootProofs.expect(_inputs(PANEL, next, roots.rootAt(PANEL, next - 1), newRoot, batch));
        roots.advance(PANEL, _to(newRoot), batch, _proof);
    }

    /// @dev The public inputs as the specification words them: the challenge over the heads, then powers in order.
    function _inputs(bytes32 panel, uint64 next, uint256 oldRoot, uint256 newRoot, IRegistryRoots.Batch memory batch)
        private
        view
        returns (uint256[] memory inputs)
    {
        bytes32 registrationsHead = _head(registry.queueHead(panel), batch.registrations, batch.registrationsLeft);
        bytes32 termsHead = _head(offers.queueHead(panel), batch.terms, batch.termsLeft);
        bytes memory drawn = abi.encode(block.chainid, address(roots), panel, next);
        bytes32 queues = keccak256(abi.encode(registrationsHead, termsHead));
        drawn = bytes.concat(drawn, abi.encode(oldRoot, newRoot, OPERATIONS_DIGEST, queues));
        inputs = new uint256[](5);
        (inputs[0], inputs[1], inputs[2]) = (oldRoot, newRoot, OPERATIONS_DIGEST);
        inputs[3] = uint256(keccak256(drawn)) % R;
        uint256 power = 1;
        for (uint256 i = 0; i < batch.registrations.length + batch.terms.length; i++) {
            uint256[10] memory words =
                i < batch.registrations.length ? batch.registrations[i] : batch.terms[i - batch.registrations.length];
            for (uint256 j = 0; j < 10; j++) {
                inputs[4] = addmod(inputs[4], mulmod(words[j], power, R), R);
                power = mulmod(power, inputs[3], R);
            }
        }
    }

    /// @dev The head after the batch: the queue's own when nothing is left, else the chain up to there.
    function _head(bytes32 queueHead, uint256[10][] memory operations, bytes32[] memory left)
        private
        pure
        returns (bytes32 head)
    {
        if (left.length == 0) return queueHead;
        for (uint256 i = 0; i < operations.length; i++) {
            head = keccak256(abi.encode(head, keccak256(abi.encode(operations[i]))));
        }
    }

    function _to(uint256 newRoot) private pure returns (IRegistryRoots.Advance memory) {
        return IRegistryRoots.Advance({root: newRoot, operationsDigest: OPERATIONS_DIGEST});
    }

    function _notProven(RegistryRoots target, uint256 newRoot, IRegistryRoots.Batch memory batch) private {
        vm.expectRevert(IRegistryRoots.RegistryRootsBadProof.selector);
        target.advance(PANEL, _to(newRoot), batch, _proof);
    }

    function _otherQueue(IRegistryRoots.Batch memory batch) private {
        vm.expectRevert(IRegistryRoots.RegistryRootsOtherQueue.selector);
        roots.advance(PANEL, _to(500), batch, _proof);
    }
}
