// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {IDatasetRegistry} from "../src/IDatasetRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {Typed} from "./support/Typed.sol";
import {OwnedWallet, RevertingWallet, YesWallet} from "./support/Wallets.sol";

contract DatasetRegistryTest is Fixture {
    // ---- A batch that is in order ----

    function test_batchIsRecordedWithIdSlotsAndEvent() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 3);
        batch.registration.accreditor = vm.addr(ACCREDITOR_KEY);
        batch.registration.version = 7;
        signBatch(batch, CONTRIBUTOR_KEY);

        vm.expectEmit(address(registry));
        emit IDatasetRegistry.DatasetsRegistered(
            1, vm.addr(CONTRIBUTOR_KEY), PANEL, 7, 0, vm.addr(ACCREDITOR_KEY), batch.leaves
        );
        vm.prank(RELAYER);
        assertEq(submit(batch), 1, "id");

        IDatasetRegistry.RegistrationRecord memory record = registry.registrationRecord(1);
        assertEq(record.registrant, vm.addr(CONTRIBUTOR_KEY), "registrant");
        assertEq(record.count, 3, "count");
        assertEq(record.firstSlot, 0, "first slot");
        assertEq(record.panelDigest, PANEL, "panel");
        assertEq(registry.slotCount(PANEL), 3, "slots");
        require(registry.isBatchNonceUsed(vm.addr(CONTRIBUTOR_KEY), batch.registration.batchNonce), "nonce");
        (uint64 id, uint32 ordinal) = registry.datasetOfCommitment(batch.leaves[2].bodyDigest);
        assertEq(id, 1, "id of body");
        assertEq(ordinal, 2, "ordinal of body");
        require(registry.isCommitmentUsed(batch.leaves[0].shareCommitment), "share commitment");
        require(registry.isCommitmentUsed(batch.leaves[0].genotypeCommitment), "genotype commitment");
        require(!registry.isCommitmentUsed(batch.leaves[0].datasetId), "dataset id is no commitment");
    }

    function test_everyPanelNumbersItsOwnSlots() public {
        register(CONTRIBUTOR_KEY, 1, 3);
        Batch memory second = batchOf(CONTRIBUTOR_KEY, 2, 2);
        second.registration.panelDigest = SECOND_PANEL;
        signBatch(second, CONTRIBUTOR_KEY);
        assertEq(submit(second), 2, "second id");
        assertEq(register(OTHER_KEY, 3, 1), 3, "third id");
        assertEq(registry.registrationRecord(2).panelDigest, SECOND_PANEL, "second panel");
        assertEq(registry.registrationRecord(3).panelDigest, PANEL, "first panel again");
        assertEq(registry.registrationRecord(2).firstSlot, 0, "second panel starts at 0");
        assertEq(registry.registrationRecord(3).firstSlot, 3, "first panel goes on");
        assertEq(registry.slotCount(SECOND_PANEL), 2, "slots of the second panel");
        assertEq(registry.registrationCount(), 3, "count");
    }

    function test_registrationDigestIsTheStructHashOfTheSpecification() public view {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        assertEq(
            registry.registrationDigest(batch.registration),
            Typed.registration(batch.registration),
            "registration digest"
        );
    }

    // ---- Copies ----

    function test_copyUnderAnotherWalletIsRefusedForEachCommitment() public {
        IDatasetRegistry.DatasetLeaf memory original = leavesOf(1, 1)[0];
        register(CONTRIBUTOR_KEY, 1, 1);
        for (uint256 field = 0; field < 3; field++) {
            Batch memory copy = batchOf(OTHER_KEY, 2, 1);
            bytes32 copied;
            if (field == 0) copied = copy.leaves[0].bodyDigest = original.bodyDigest;
            if (field == 1) copied = copy.leaves[0].shareCommitment = original.shareCommitment;
            if (field == 2) copied = copy.leaves[0].genotypeCommitment = original.genotypeCommitment;
            signBatch(copy, OTHER_KEY);
            submitExpecting(copy, abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryDuplicate.selector, copied));
        }
        // The same batch with nothing copied is welcome, so it was the copying that was refused.
        register(OTHER_KEY, 2, 1);
    }

    function test_copyOfARevokedDatasetStaysRefused() public {
        uint64 id = register(CONTRIBUTOR_KEY, 1, 1);
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(id, ordinalsOf(0));
        Batch memory copy = batchOf(OTHER_KEY, 2, 1);
        copy.leaves[0].bodyDigest = leavesOf(1, 1)[0].bodyDigest;
        signBatch(copy, OTHER_KEY);
        submitExpecting(
            copy, abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryDuplicate.selector, copy.leaves[0].bodyDigest)
        );
    }

    function test_copyWithinABatchIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 4);
        batch.leaves[3].shareCommitment = batch.leaves[1].shareCommitment;
        signBatch(batch, CONTRIBUTOR_KEY);
        submitExpecting(
            batch,
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryDuplicate.selector, batch.leaves[1].shareCommitment)
        );
    }

    function test_commitmentOfOneKindCannotServeAsAnother() public {
        register(CONTRIBUTOR_KEY, 1, 1);
        Batch memory batch = batchOf(OTHER_KEY, 2, 1);
        batch.leaves[0].genotypeCommitment = leavesOf(1, 1)[0].bodyDigest;
        signBatch(batch, OTHER_KEY);
        submitExpecting(
            batch,
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryDuplicate.selector, leavesOf(1, 1)[0].bodyDigest)
        );
    }

    function test_emptyCommitmentIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.leaves[0].shareCommitment = bytes32(0);
        signBatch(batch, CONTRIBUTOR_KEY);
        submitExpecting(batch, abi.encodePacked(IDatasetRegistry.DatasetRegistryEmptyCommitment.selector));
    }

    // ---- What the registrant signed ----

    function testFuzz_anyChangedLeafFieldIsRefused(uint256 ordinal, uint256 field, bytes32 value) public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 4);
        IDatasetRegistry.DatasetLeaf memory leaf = batch.leaves[ordinal % 4];
        bytes32 before = keccak256(abi.encode(leaf));
        if (field % 5 == 0) leaf.datasetId = value;
        if (field % 5 == 1) leaf.personTag = value;
        if (field % 5 == 2) leaf.bodyDigest = value;
        if (field % 5 == 3) leaf.shareCommitment = value;
        if (field % 5 == 4) leaf.genotypeCommitment = value;
        vm.assume(keccak256(abi.encode(leaf)) != before);
        submitExpecting(batch, abi.encodePacked(IDatasetRegistry.DatasetRegistryLeavesMismatch.selector));
    }

    function test_leavesInAnotherOrderAreRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 2);
        (batch.leaves[0], batch.leaves[1]) = (batch.leaves[1], batch.leaves[0]);
        submitExpecting(batch, abi.encodePacked(IDatasetRegistry.DatasetRegistryLeavesMismatch.selector));
    }

    function test_anyHeaderFieldChangedAfterSigningIsRefused() public {
        for (uint256 field = 0; field < 6; field++) {
            Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
            if (field == 0) batch.registration.registrant = vm.addr(OTHER_KEY);
            if (field == 1) batch.registration.panelDigest = SECOND_PANEL;
            if (field == 2) batch.registration.version = 2;
            if (field == 3) batch.registration.batchNonce++;
            if (field == 4) batch.registration.deadline++;
            if (field == 5) {
                batch.registration.accreditor = vm.addr(ACCREDITOR_KEY);
                bytes32 digest = Typed.registration(batch.registration);
                batch.accreditorSignature = signature(ACCREDITOR_KEY, registryDigest(Typed.accreditation(digest)));
            }
            attestBatch(batch, registry.committeeEpoch());
            submitExpecting(batch, _badSignature(batch.registration.registrant));
        }
        register(CONTRIBUTOR_KEY, 1, 1);
    }

    function test_highSSignatureIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registrantSignature = highS(batch.registrantSignature);
        submitExpecting(batch, _badSignature(vm.addr(CONTRIBUTOR_KEY)));
    }

    function test_shortOrEmptySignatureIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        bytes memory cut = new bytes(64);
        for (uint256 i = 0; i < 64; i++) {
            cut[i] = batch.registrantSignature[i];
        }
        batch.registrantSignature = cut;
        submitExpecting(batch, _badSignature(vm.addr(CONTRIBUTOR_KEY)));
        batch.registrantSignature = "";
        submitExpecting(batch, _badSignature(vm.addr(CONTRIBUTOR_KEY)));
    }

    function test_zeroRegistrantIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registration.registrant = address(0);
        batch.registrantSignature = new bytes(65);
        attestBatch(batch, registry.committeeEpoch());
        submitExpecting(batch, _badSignature(address(0)));
    }

    function test_batchForAnotherRegistryIsRefused() public {
        DatasetRegistry other = new DatasetRegistry(address(this), productionParameters());
        setCommittee(other);
        other.publishPanel(PANEL, "panel", 4080, true);
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        vm.expectRevert(_badSignature(vm.addr(CONTRIBUTOR_KEY)));
        submitTo(other, batch);
        submit(batch);
    }

    function test_batchForAnotherChainIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        submitExpecting(batch, _badSignature(vm.addr(CONTRIBUTOR_KEY)));
        vm.chainId(here);
        submit(batch);
    }

    // ---- Nonce, deadline, size, version, panel ----

    function test_batchNonceRegistersOnce() public {
        Batch memory first = batchOf(CONTRIBUTOR_KEY, 1, 1);
        submit(first);
        Batch memory second = batchOf(CONTRIBUTOR_KEY, 2, 1);
        second.registration.batchNonce = first.registration.batchNonce;
        signBatch(second, CONTRIBUTOR_KEY);
        submitExpecting(
            second,
            abi.encodeWithSelector(
                IDatasetRegistry.DatasetRegistryBatchNonceUsed.selector,
                vm.addr(CONTRIBUTOR_KEY),
                first.registration.batchNonce
            )
        );
        // The nonce belongs to its registrant alone.
        Batch memory third = batchOf(OTHER_KEY, 3, 1);
        third.registration.batchNonce = first.registration.batchNonce;
        signBatch(third, OTHER_KEY);
        submit(third);
    }

    function test_batchIsAcceptedUpToItsDeadlineAndNotAfter() public {
        Batch memory first = batchOf(CONTRIBUTOR_KEY, 1, 1);
        Batch memory second = batchOf(CONTRIBUTOR_KEY, 2, 1);
        vm.warp(first.registration.deadline);
        submit(first);
        vm.warp(uint256(second.registration.deadline) + 1);
        submitExpecting(
            second,
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryExpired.selector, second.registration.deadline)
        );
    }

    function test_emptyBatchAndBatchOverTheLimitAreRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 0);
        submitExpecting(batch, abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadBatchSize.selector, 0));
        batch.leaves = new IDatasetRegistry.DatasetLeaf[](4097);
        submitExpecting(batch, abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadBatchSize.selector, 4097));
    }

    function test_versionHasRoomForEightRekeyings() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registration.version = type(uint32).max - 7;
        signBatch(batch, CONTRIBUTOR_KEY);
        submitExpecting(batch, abi.encodePacked(IDatasetRegistry.DatasetRegistryBadVersion.selector));
        batch.registration.version = type(uint32).max - 8;
        signBatch(batch, CONTRIBUTOR_KEY);
        submit(batch);
    }

    function test_versionZeroAndUnknownPanelAreRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registration.version = 0;
        signBatch(batch, CONTRIBUTOR_KEY);
        submitExpecting(batch, abi.encodePacked(IDatasetRegistry.DatasetRegistryBadVersion.selector));
        batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registration.panelDigest = keccak256("unpublished");
        signBatch(batch, CONTRIBUTOR_KEY);
        submitExpecting(
            batch,
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryPanelUnknown.selector, keccak256("unpublished"))
        );
    }

    // ---- Keyholders ----

    function test_everyAttestationIsNeededInItsPlace() public {
        for (uint256 i = 0; i < 3; i++) {
            Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
            batch.keyholderSignatures[i] = batch.keyholderSignatures[(i + 1) % 3];
            submitExpecting(batch, _badSignature(vm.addr(keyholderKeys[i])));
            batch.keyholderSignatures[i] = "";
            submitExpecting(batch, _badSignature(vm.addr(keyholderKeys[i])));
        }
        register(CONTRIBUTOR_KEY, 1, 1);
    }

    function test_attestationOfAnotherEpochOrBatchIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        attestBatch(batch, registry.committeeEpoch() - 1);
        submitExpecting(batch, _badSignature(vm.addr(keyholderKeys[0])));
        attestBatch(batch, registry.committeeEpoch() + 1);
        submitExpecting(batch, _badSignature(vm.addr(keyholderKeys[0])));
        batch.keyholderSignatures = batchOf(CONTRIBUTOR_KEY, 2, 1).keyholderSignatures;
        submitExpecting(batch, _badSignature(vm.addr(keyholderKeys[0])));
    }

    function test_committeeChangeEndsEarlierAttestations() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        keyholderKeys[2] = 0xA14;
        registry.setKeyholder(3, vm.addr(0xA14), hpkeKey(3));
        submitExpecting(batch, _badSignature(vm.addr(keyholderKeys[0])));
        attestBatch(batch, registry.committeeEpoch());
        submit(batch);
    }

    function test_incompleteCommitteeRegistersNothing() public {
        registry = new DatasetRegistry(address(this), productionParameters());
        registry.publishPanel(PANEL, "panel", 4080, true);
        registry.setKeyholder(1, vm.addr(keyholderKeys[0]), hpkeKey(1));
        registry.setKeyholder(2, vm.addr(keyholderKeys[1]), hpkeKey(2));
        require(!registry.isCommitteeComplete(), "two of three");
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        submitExpecting(batch, abi.encodePacked(IDatasetRegistry.DatasetRegistryCommitteeIncomplete.selector));
        registry.setKeyholder(3, vm.addr(keyholderKeys[2]), hpkeKey(3));
        require(registry.isCommitteeComplete(), "three of three");
        register(CONTRIBUTOR_KEY, 1, 1);
    }

    // ---- Accreditors ----

    function test_unlistedAccreditorIsRefused() public {
        registry.setAccreditor(vm.addr(ACCREDITOR_KEY), false, "biobank");
        Batch memory batch = _accreditedBatch();
        submitExpecting(
            batch,
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryAccreditorUnknown.selector, vm.addr(ACCREDITOR_KEY))
        );
        registry.setAccreditor(vm.addr(ACCREDITOR_KEY), true, "biobank");
        submit(batch);
    }

    function test_accreditationMustBeSignedForThisBatch() public {
        Batch memory batch = _accreditedBatch();
        bytes32 digest = Typed.registration(batch.registration);
        batch.accreditorSignature = signature(OTHER_KEY, registryDigest(Typed.accreditation(digest)));
        submitExpecting(batch, _badSignature(vm.addr(ACCREDITOR_KEY)));
        batch.accreditorSignature =
            signature(ACCREDITOR_KEY, registryDigest(Typed.accreditation(keccak256("another batch"))));
        submitExpecting(batch, _badSignature(vm.addr(ACCREDITOR_KEY)));
        batch.accreditorSignature = "";
        submitExpecting(batch, _badSignature(vm.addr(ACCREDITOR_KEY)));
    }

    function test_accreditationWithoutNamedAccreditorIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        bytes32 digest = Typed.registration(batch.registration);
        batch.accreditorSignature = signature(ACCREDITOR_KEY, registryDigest(Typed.accreditation(digest)));
        submitExpecting(batch, abi.encodePacked(IDatasetRegistry.DatasetRegistryAccreditorMissing.selector));
    }

    // ---- Contract wallets ----

    function test_contractWalletRegistersWithItsOwnersSignature() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registration.registrant = address(new OwnedWallet(vm.addr(CONTRIBUTOR_KEY)));
        signBatch(batch, OTHER_KEY);
        submitExpecting(batch, _badSignature(batch.registration.registrant));
        signBatch(batch, CONTRIBUTOR_KEY);
        submit(batch);
    }

    function test_walletThatRevertsOrAnswersCarelesslyIsRefused() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registration.registrant = address(new RevertingWallet());
        signBatch(batch, CONTRIBUTOR_KEY);
        submitExpecting(batch, _badSignature(batch.registration.registrant));
        batch.registration.registrant = address(new YesWallet());
        signBatch(batch, CONTRIBUTOR_KEY);
        submitExpecting(batch, _badSignature(batch.registration.registrant));
    }

    // ---- Pause ----

    function test_pauseStopsRegistrationUntilItEnds() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        registry.pause();
        submitExpecting(batch, abi.encodePacked(Pausable.EnforcedPause.selector));
        registry.unpause();
        submit(batch);
    }

    function _accreditedBatch() private view returns (Batch memory batch) {
        batch = batchOf(CONTRIBUTOR_KEY, 1, 1);
        batch.registration.accreditor = vm.addr(ACCREDITOR_KEY);
        signBatch(batch, CONTRIBUTOR_KEY);
    }

    function _badSignature(address signer) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadSignature.selector, signer);
    }
}
