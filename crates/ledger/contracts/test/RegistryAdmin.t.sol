// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {IDatasetRegistry} from "../src/IDatasetRegistry.sol";
import {LocusToken} from "../src/LocusToken.sol";
import {Fixture} from "./support/Fixture.sol";

contract RegistryAdminTest is Fixture {
    // ---- Parameters ----

    function test_parametersAreKeptAsGiven() public view {
        require(
            keccak256(abi.encode(registry.parameters())) == keccak256(abi.encode(productionParameters())), "parameters"
        );
    }

    function test_productionNetworkRefusesEachWeakerParameter() public {
        for (uint256 field = 0; field < 7; field++) {
            IDatasetRegistry.NetworkParameters memory p = productionParameters();
            if (field == 0) p.cohortSizeMin = 99;
            if (field == 1) p.exactBatchMin = 999;
            if (field == 2) p.exactChangeMin = 99;
            if (field == 3) p.rhoOpenQueryMax += 1;
            if (field == 4) p.rhoOpenYearMax += 1;
            if (field == 5) p.rhoOpenLifetimeMax += 1;
            if (field == 6) p.vettedFactor += 1;
            _refused(p);
            p.testNetwork = true;
            new DatasetRegistry(address(this), p);
        }
    }

    function test_everyNetworkRefusesUnsoundParameters() public {
        for (uint256 field = 0; field < 14; field++) {
            IDatasetRegistry.NetworkParameters memory p = productionParameters();
            p.testNetwork = true;
            if (field == 0) p.cohortSizeMin = 0;
            if (field == 1) p.exactBatchMin = p.cohortSizeMin - 1;
            if (field == 2) p.exactChangeMin = 0;
            if (field == 3) p.exactChangeMin = p.exactBatchMin + 1;
            if (field == 4) p.rhoOpenQueryMax = 0;
            if (field == 5) p.rhoOpenQueryMax = p.rhoOpenYearMax + 1;
            if (field == 6) p.rhoOpenYearMax = p.rhoOpenLifetimeMax + 1;
            if (field == 7) p.rhoOpenLifetimeMax = 1_000_000_000_001;
            if (field == 8) p.vettedFactor = 0;
            if (field == 9) p.vettedFactor = 1_001;
            if (field == 10) p.floodingSigmaLog2 = 20;
            if (field == 11) p.floodingSigmaLog2 = 22;
            if (field == 12) p.orderLifetimeMax = 0;
            if (field == 13) p.orderLifetimeMax = 30 days + 1;
            _refused(p);
        }
    }

    function test_zeroAdminIsRefused() public {
        vm.expectRevert(IDatasetRegistry.DatasetRegistryBadParameters.selector);
        new DatasetRegistry(address(0), productionParameters());
    }

    // ---- Committee ----

    function test_keyholderIsSetWithKeyAndNewEpoch() public {
        uint64 epoch = registry.committeeEpoch();
        vm.expectEmit(address(registry));
        emit IDatasetRegistry.KeyholderSet(2, vm.addr(0xA20), hpkeKey(9), epoch + 1);
        registry.setKeyholder(2, vm.addr(0xA20), hpkeKey(9));
        assertEq(registry.keyholderSigner(2), vm.addr(0xA20), "signer");
        assertEq(registry.committeeEpoch(), epoch + 1, "epoch");
        // The same signer may take a new sealing key.
        registry.setKeyholder(2, vm.addr(0xA20), hpkeKey(10));
        assertEq(registry.committeeEpoch(), epoch + 2, "next epoch");
    }

    function test_malformedKeyholderIsRefused() public {
        _keyholderRefused(0, vm.addr(0xA20), hpkeKey(1));
        _keyholderRefused(4, vm.addr(0xA20), hpkeKey(1));
        _keyholderRefused(1, address(0), hpkeKey(1));
        _keyholderRefused(1, vm.addr(0xA20), new bytes(1215));
        _keyholderRefused(1, vm.addr(0xA20), new bytes(1217));
    }

    function test_oneAccountCannotTakeTwoSeats() public {
        _keyholderRefused(1, vm.addr(keyholderKeys[1]), hpkeKey(1));
        _keyholderRefused(1, vm.addr(keyholderKeys[2]), hpkeKey(1));
        _keyholderRefused(3, vm.addr(keyholderKeys[0]), hpkeKey(3));
    }

    function test_unknownKeyholderHasNoSigner() public {
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadKeyholder.selector, 4));
        registry.keyholderSigner(4);
        DatasetRegistry empty = new DatasetRegistry(address(this), productionParameters());
        vm.expectRevert(IDatasetRegistry.DatasetRegistryCommitteeIncomplete.selector);
        empty.keyholderSigner(1);
    }

    // ---- Lists and roles ----

    function test_listsFollowTheAdmin() public {
        address lab = address(0x1AB);
        vm.expectEmit(address(registry));
        emit IDatasetRegistry.AccreditorSet(lab, true, "laboratory");
        registry.setAccreditor(lab, true, "laboratory");
        vm.expectEmit(address(registry));
        emit IDatasetRegistry.ResearcherSet(lab, true, "institute");
        registry.setResearcher(lab, true, "institute");
        require(registry.isAccreditor(lab) && registry.isAccreditedResearcher(lab), "listed");
        registry.setResearcher(lab, false, "institute");
        require(registry.isAccreditor(lab) && !registry.isAccreditedResearcher(lab), "lists are separate");
        registry.setAccreditor(lab, false, "laboratory");
        require(!registry.isAccreditor(lab), "delisted");
    }

    function testFuzz_onlyTheAdminAdministers(address caller) public {
        vm.assume(caller != address(this) && caller != address(vm));
        bytes memory refusal =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, bytes32(0));
        vm.prank(caller);
        vm.expectRevert(refusal);
        registry.setKeyholder(1, caller, hpkeKey(1));
        vm.prank(caller);
        vm.expectRevert(refusal);
        registry.setAccreditor(caller, true, "self");
        vm.prank(caller);
        vm.expectRevert(refusal);
        registry.setResearcher(caller, true, "self");
        vm.prank(caller);
        vm.expectRevert(refusal);
        registry.pause();
        vm.prank(caller);
        vm.expectRevert(refusal);
        registry.unpause();
    }

    // ---- Panels ----

    function testFuzz_anyonePublishesAPanelOnce(address publisher, bytes32 digest) public {
        vm.assume(digest != bytes32(0) && digest != PANEL && digest != SECOND_PANEL && publisher != address(vm));
        require(!registry.isPanelPublished(digest), "not yet");
        vm.expectEmit(address(registry));
        emit IDatasetRegistry.PanelPublished(digest, "exome", 9_000, false);
        vm.prank(publisher);
        registry.publishPanel(digest, "exome", 9_000, false);
        require(registry.isPanelPublished(digest), "published");
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryPanelAlreadyPublished.selector, digest));
        registry.publishPanel(digest, "exome", 9_000, false);
    }

    function test_panelNumbersEndWhereTheirRoomEnds() public {
        // Number of panels, registrations and committee changes, in the slot that the artifact's storage layout names.
        vm.store(address(registry), bytes32(uint256(11)), bytes32(uint256(type(uint24).max - 1) << 128 | 3));
        bytes32 last = keccak256("last");
        registry.publishPanel(last, "last", 1, true);
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registration.panelDigest = last;
        signBatch(batch, CONTRIBUTOR_KEY);
        assertEq(registry.registrationRecord(submit(batch)).panelDigest, last, "panel");
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        registry.publishPanel(keccak256("one too many"), "one too many", 1, true);
    }

    function test_malformedPanelIsRefused() public {
        bytes32 digest = keccak256("third panel");
        _panelRefused(bytes32(0), "name", 1);
        _panelRefused(digest, "", 1);
        _panelRefused(digest, string(new bytes(65)), 1);
        _panelRefused(digest, "name", 0);
        _panelRefused(digest, "name", (1 << 22) + 1);
        registry.publishPanel(digest, string(new bytes(64)), 1 << 22, true);
    }

    // ---- Test token ----

    function test_onlyTheMinterCreatesTokens() public {
        bytes32 role = token.MINTER_ROLE();
        vm.prank(RELAYER);
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, RELAYER, role));
        token.mint(RELAYER, 1);
        token.mint(RELAYER, 1);
        assertEq(token.balanceOf(RELAYER), 1, "minted");
        assertEq(token.decimals(), 18, "decimals");
    }

    function _refused(IDatasetRegistry.NetworkParameters memory p) private {
        vm.expectRevert(IDatasetRegistry.DatasetRegistryBadParameters.selector);
        new DatasetRegistry(address(this), p);
    }

    function _keyholderRefused(uint8 index, address signer, bytes memory key) private {
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadKeyholder.selector, index));
        registry.setKeyholder(index, signer, key);
    }

    function _panelRefused(bytes32 digest, string memory name, uint32 variantCount) private {
        vm.expectRevert(IDatasetRegistry.DatasetRegistryPanelInvalid.selector);
        registry.publishPanel(digest, name, variantCount, true);
    }
}
