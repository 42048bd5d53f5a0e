// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "../src/IDatasetRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {Typed} from "./support/Typed.sol";

contract RevocationTest is Fixture {
    uint64 private _id;

    function setUp() public override {
        super.setUp();
        _id = register(CONTRIBUTOR_KEY, 1, 300);
    }

    // ---- Revocation ----

    function test_registrantRevokesAndTheEventNamesTheOrdinals() public {
        vm.expectEmit(address(registry));
        emit IDatasetRegistry.DatasetsRevoked(_id, ordinalsOf(255, 256));
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(_id, ordinalsOf(255, 256));
        require(registry.isRevoked(_id, 255) && registry.isRevoked(_id, 256), "revoked");
        require(!registry.isRevoked(_id, 254) && !registry.isRevoked(_id, 257), "neighbours stay");
    }

    function test_repeatedOrdinalsAreSkippedAndNothingNewMeansNoEvent() public {
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(_id, ordinalsOf(3, 3));
        vm.expectEmit(address(registry));
        emit IDatasetRegistry.DatasetsRevoked(_id, ordinalsOf(4));
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(_id, ordinalsOf(3, 4));
        vm.recordLogs();
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(_id, ordinalsOf(3, 4));
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(_id, new uint32[](0));
        assertEq(vm.getRecordedLogs().length, 0, "events");
    }

    function testFuzz_nobodyElseRevokes(address caller) public {
        vm.assume(caller != vm.addr(CONTRIBUTOR_KEY) && caller != address(vm));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryNotRegistrant.selector, caller));
        vm.prank(caller);
        registry.revokeDatasets(_id, ordinalsOf(0));
    }

    function testFuzz_revokedSetIsTheUnionOfAllRevocations(uint256 first, uint256 second) public {
        uint32[] memory ordinals = new uint32[](8);
        for (uint256 round = 0; round < 2; round++) {
            for (uint256 i = 0; i < 8; i++) {
                ordinals[i] = _picked(round == 0 ? first : second, i);
            }
            vm.prank(vm.addr(CONTRIBUTOR_KEY));
            registry.revokeDatasets(_id, ordinals);
        }
        for (uint32 ordinal = 0; ordinal < 300; ordinal++) {
            bool expected = false;
            for (uint256 i = 0; i < 8; i++) {
                if (_picked(first, i) == ordinal || _picked(second, i) == ordinal) expected = true;
            }
            require(registry.isRevoked(_id, ordinal) == expected, "union");
        }
    }

    function test_ordinalOutsideTheBatchIsRefused() public {
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadOrdinal.selector, 300));
        registry.revokeDatasets(_id, ordinalsOf(299, 300));
        require(!registry.isRevoked(_id, 299), "nothing of a refused list is revoked");
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadOrdinal.selector, 300));
        registry.isRevoked(_id, 300);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryUnknownRegistration.selector, _id + 1));
        registry.revokeDatasets(_id + 1, ordinalsOf(0));
    }

    function test_revocationAndErasureWorkWhilePaused() public {
        registry.pause();
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(_id, ordinalsOf(0));
        _revokeSigned(ordinalsOf(1), CONTRIBUTOR_KEY);
        registry.recordErasure(_id, ordinalsOf(0, 1), 1, _receipt(ordinalsOf(0, 1), 1));
        require(registry.isRevoked(_id, 0) && registry.isRevoked(_id, 1), "revoked");
    }

    // ---- Signed revocation ----

    function test_relayedRevocationNeedsTheRegistrantsSignature() public {
        bytes memory foreign = signature(OTHER_KEY, _revocationDigest(ordinalsOf(1)));
        vm.expectRevert(_badSignature(vm.addr(CONTRIBUTOR_KEY)));
        registry.revokeDatasetsSigned(_id, ordinalsOf(1), _deadline(), foreign);
        bytes memory own = signature(CONTRIBUTOR_KEY, _revocationDigest(ordinalsOf(1)));
        vm.expectRevert(_badSignature(vm.addr(CONTRIBUTOR_KEY)));
        registry.revokeDatasetsSigned(_id, ordinalsOf(2), _deadline(), own);
        vm.expectRevert(_badSignature(vm.addr(CONTRIBUTOR_KEY)));
        registry.revokeDatasetsSigned(_id, ordinalsOf(1), _deadline() + 1, own);
        vm.expectRevert(_badSignature(vm.addr(CONTRIBUTOR_KEY)));
        registry.revokeDatasetsSigned(_id, ordinalsOf(1), _deadline(), highS(own));
        vm.prank(RELAYER);
        registry.revokeDatasetsSigned(_id, ordinalsOf(1), _deadline(), own);
        require(registry.isRevoked(_id, 1), "revoked");
    }

    function test_revocationOfAnotherRegistrationDoesNotCount() public {
        uint64 other = register(CONTRIBUTOR_KEY, 2, 1);
        bytes memory own = signature(CONTRIBUTOR_KEY, _revocationDigest(ordinalsOf(0)));
        vm.expectRevert(_badSignature(vm.addr(CONTRIBUTOR_KEY)));
        registry.revokeDatasetsSigned(other, ordinalsOf(0), _deadline(), own);
    }

    function test_relayedRevocationEndsAtItsDeadline() public {
        bytes memory own = signature(CONTRIBUTOR_KEY, _revocationDigest(ordinalsOf(1)));
        uint64 deadline = _deadline();
        vm.warp(uint256(deadline) + 1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryExpired.selector, deadline));
        registry.revokeDatasetsSigned(_id, ordinalsOf(1), deadline, own);
        vm.warp(deadline);
        registry.revokeDatasetsSigned(_id, ordinalsOf(1), deadline, own);
    }

    function test_replayedRevocationChangesNothing() public {
        _revokeSigned(ordinalsOf(5, 6), CONTRIBUTOR_KEY);
        vm.recordLogs();
        _revokeSigned(ordinalsOf(5, 6), CONTRIBUTOR_KEY);
        assertEq(vm.getRecordedLogs().length, 0, "events");
    }

    // ---- Deletion receipts ----

    function test_receiptOfARevokedDatasetIsRecordedOncePerKeyholder() public {
        _revokeSigned(ordinalsOf(7, 8), CONTRIBUTOR_KEY);
        for (uint8 keyholder = 1; keyholder <= 3; keyholder++) {
            require(!registry.isErased(_id, 7, keyholder), "not yet");
            vm.expectEmit(address(registry));
            emit IDatasetRegistry.DatasetsErased(_id, keyholder, ordinalsOf(7, 8));
            registry.recordErasure(_id, ordinalsOf(7, 8), keyholder, _receipt(ordinalsOf(7, 8), keyholder));
            require(registry.isErased(_id, 7, keyholder) && registry.isErased(_id, 8, keyholder), "recorded");
            vm.recordLogs();
            registry.recordErasure(_id, ordinalsOf(7, 8), keyholder, _receipt(ordinalsOf(7, 8), keyholder));
            assertEq(vm.getRecordedLogs().length, 0, "events of a replay");
        }
    }

    function test_receiptOfALiveDatasetIsRefused() public {
        _revokeSigned(ordinalsOf(7), CONTRIBUTOR_KEY);
        bytes memory receipt = _receipt(ordinalsOf(7, 8), 1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryNotRevoked.selector, 8));
        registry.recordErasure(_id, ordinalsOf(7, 8), 1, receipt);
    }

    function test_receiptMustBeSignedByTheKeyholderItNames() public {
        _revokeSigned(ordinalsOf(7), CONTRIBUTOR_KEY);
        bytes memory receipt = _receipt(ordinalsOf(7), 1);
        vm.expectRevert(_badSignature(vm.addr(keyholderKeys[1])));
        registry.recordErasure(_id, ordinalsOf(7), 2, receipt);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadKeyholder.selector, 4));
        registry.recordErasure(_id, ordinalsOf(7), 4, receipt);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadKeyholder.selector, 0));
        registry.isErased(_id, 7, 0);
    }

    function _picked(uint256 seed, uint256 i) private pure returns (uint32) {
        return uint32(uint256(keccak256(abi.encode(seed, i))) % 300);
    }

    function _deadline() private pure returns (uint64) {
        return uint64(START + 1 days);
    }

    function _revocationDigest(uint32[] memory ordinals) private view returns (bytes32) {
        return registryDigest(Typed.revocation(_id, ordinals, _deadline()));
    }

    function _revokeSigned(uint32[] memory ordinals, uint256 key) private {
        registry.revokeDatasetsSigned(_id, ordinals, _deadline(), signature(key, _revocationDigest(ordinals)));
    }

    function _receipt(uint32[] memory ordinals, uint8 keyholder) private view returns (bytes memory) {
        return signature(keyholderKeys[keyholder - 1], registryDigest(Typed.erasure(_id, ordinals, keyholder)));
    }

    function _badSignature(address signer) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadSignature.selector, signer);
    }
}
