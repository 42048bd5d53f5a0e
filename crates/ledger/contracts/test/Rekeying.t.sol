// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {IDatasetRegistry} from "../src/IDatasetRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {Typed} from "./support/Typed.sol";

contract RekeyingTest is Fixture {
    uint8 private constant REKEYINGS_MAX = 8;
    uint64 private _id;

    function setUp() public override {
        super.setUp();
        _id = register(CONTRIBUTOR_KEY, 1, 3);
    }

    // ---- A re-keying that is in order ----

    function test_newKeysTakeThePlacesOfTheirDatasets() public {
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        bytes[3] memory signatures = signKeys(_id, 1, keys);
        assertEq(registry.rekeyGeneration(_id), 0, "generation before");
        IDatasetRegistry.RegistrationRecord memory before = registry.registrationRecord(_id);

        vm.expectEmit(address(registry));
        emit IDatasetRegistry.DatasetsRekeyed(_id, 1, keys);
        vm.prank(RELAYER);
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE, signatures);

        assertEq(registry.rekeyGeneration(_id), 1, "generation");
        for (uint256 i = 0; i < 3; i++) {
            _requirePlace(keys[i].bodyDigest, i);
            _requirePlace(keys[i].shareCommitment, i);
            _requirePlace(leavesOf(1, 3)[i].bodyDigest, i);
        }
        require(
            keccak256(abi.encode(registry.registrationRecord(_id))) == keccak256(abi.encode(before)),
            "all else stays as it was"
        );
    }

    function test_eachRegistrationHasItsOwnGeneration() public {
        uint64 other = register(OTHER_KEY, 2, 1);
        rekey(_id, 1, keysOf(1, 3));
        assertEq(registry.rekeyGeneration(other), 0, "other");
        rekey(other, 1, keysOf(2, 1));
        assertEq(registry.rekeyGeneration(other), 1, "other");
        assertEq(registry.rekeyGeneration(_id), 1, "first");
    }

    function test_eightRekeyingsAreTakenAndNoNinth() public {
        for (uint8 generation = 1; generation <= REKEYINGS_MAX; generation++) {
            rekey(_id, generation, keysOf(generation, 3));
            assertEq(registry.rekeyGeneration(_id), generation, "generation");
        }
        _expectRefusal(
            REKEYINGS_MAX + 1,
            keysOf(9, 3),
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryRekeyedTooOften.selector, _id)
        );
    }

    function test_rekeyingWorksWhilePaused() public {
        registry.pause();
        rekey(_id, 1, keysOf(1, 3));
        assertEq(registry.rekeyGeneration(_id), 1, "generation");
    }

    // ---- Revoked datasets ----

    function test_onlyRevokedDatasetsMayBeLeftAsTheyAre() public {
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        delete keys[1];
        _expectRefusal(1, keys, abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryNotRevoked.selector, 1));
        _revoke(1);
        vm.expectEmit(address(registry));
        emit IDatasetRegistry.DatasetsRekeyed(_id, 1, keys);
        rekey(_id, 1, keys);
        _requirePlace(keys[2].bodyDigest, 2);
        require(!registry.isCommitmentUsed(bytes32(0)), "nothing is no commitment");
        keys = keysOf(2, 3);
        delete keys[2];
        delete keys[1];
        _expectRefusal(2, keys, abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryNotRevoked.selector, 2));
    }

    function test_datasetRevokedAfterTheKeyholdersSignedStaysRevoked() public {
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        bytes[3] memory signatures = signKeys(_id, 1, keys);
        _revoke(0);
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE, signatures);
        require(registry.isRevoked(_id, 0), "revoked");
        require(!registry.isRevoked(_id, 1), "not revoked");
        _requirePlace(keys[0].bodyDigest, 0);
    }

    // ---- Copies ----

    function test_commitmentsThatWereEverUsedAreRefused() public {
        register(OTHER_KEY, 2, 1);
        rekey(_id, 1, keysOf(1, 3));
        bytes32[5] memory used = [
            leavesOf(2, 1)[0].bodyDigest,
            leavesOf(1, 3)[1].bodyDigest,
            leavesOf(1, 3)[1].genotypeCommitment,
            keysOf(1, 3)[1].shareCommitment,
            keysOf(2, 3)[0].bodyDigest
        ];
        for (uint256 i = 0; i < used.length; i++) {
            bytes memory refusal = abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryDuplicate.selector, used[i]);
            IDatasetRegistry.DatasetKeys[] memory keys = keysOf(2, 3);
            keys[1].bodyDigest = used[i];
            _expectRefusal(2, keys, refusal);
            keys = keysOf(2, 3);
            keys[1].shareCommitment = used[i];
            _expectRefusal(2, keys, refusal);
        }
        // With nothing copied the same keys are taken.
        rekey(_id, 2, keysOf(2, 3));
    }

    function test_registrationCannotCopyNewKeys() public {
        rekey(_id, 1, keysOf(1, 3));
        Batch memory copy = batchOf(OTHER_KEY, 2, 1);
        copy.leaves[0].bodyDigest = keysOf(1, 3)[2].bodyDigest;
        signBatch(copy, OTHER_KEY);
        submitExpecting(
            copy, abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryDuplicate.selector, copy.leaves[0].bodyDigest)
        );
    }

    function test_halfOfAnEntryIsRefused() public {
        _revoke(1);
        bytes memory refusal = abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryEmptyCommitment.selector);
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        keys[1].bodyDigest = bytes32(0);
        _expectRefusal(1, keys, refusal);
        keys = keysOf(1, 3);
        keys[1].shareCommitment = bytes32(0);
        _expectRefusal(1, keys, refusal);
    }

    // ---- Signatures ----

    function test_everyKeyholdersSignatureIsNeededInItsPlace() public {
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        for (uint256 i = 0; i < 3; i++) {
            bytes[3] memory signatures = signKeys(_id, 1, keys);
            signatures[i] = signatures[(i + 1) % 3];
            _expectBadSignature(keys, signatures, i);
            signatures = signKeys(_id, 1, keys);
            signatures[i] = highS(signatures[i]);
            _expectBadSignature(keys, signatures, i);
            signatures[i] = "";
            _expectBadSignature(keys, signatures, i);
        }
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE, signKeys(_id, 1, keys));
    }

    function test_signaturesAreForOneGenerationRegistrationAndListOfKeys() public {
        uint64 other = register(CONTRIBUTOR_KEY, 2, 3);
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        _expectBadSignature(keys, signKeys(_id, 0, keys), 0);
        _expectBadSignature(keys, signKeys(_id, 2, keys), 0);
        _expectBadSignature(keys, signKeys(other, 1, keys), 0);
        _expectBadSignature(keys, signKeys(_id, 1, keysOf(2, 3)), 0);
        bytes[3] memory signatures = signKeys(_id, 1, keys);
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE, signatures);
        // The same message again is for a generation that was.
        _expectBadSignature(keys, signatures, 0);
    }

    function test_signaturesOfAnotherEpochAreRefused() public {
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        bytes[3] memory signatures = signKeys(_id, 1, keys);
        keyholderKeys[2] = 0xA20;
        registry.setKeyholder(3, vm.addr(0xA20), hpkeKey(3));
        _expectBadSignature(keys, signatures, 0);
        rekey(_id, 1, keys);
    }

    function test_signaturesAreTakenUpToTheirDeadlineAndForNoOther() public {
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        bytes[3] memory signatures = signKeys(_id, 1, keys);
        bytes memory refusal =
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadSignature.selector, vm.addr(keyholderKeys[0]));
        vm.expectRevert(refusal);
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE + 1, signatures);
        vm.warp(REKEYING_DEADLINE + 1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryExpired.selector, REKEYING_DEADLINE));
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE, signatures);
        vm.warp(REKEYING_DEADLINE);
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE, signatures);
    }

    function test_signatureForAnotherRegistryIsRefused() public {
        DatasetRegistry other = new DatasetRegistry(address(this), productionParameters());
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(1, 3);
        bytes32 structHash = Typed.rekeying(_id, 1, keys, registry.committeeEpoch(), REKEYING_DEADLINE);
        bytes[3] memory signatures = signKeys(_id, 1, keys);
        signatures[0] = signature(keyholderKeys[0], Typed.digest("LocusDatasetRegistry", address(other), structHash));
        _expectBadSignature(keys, signatures, 0);
    }

    // ---- Registrations that cannot be re-keyed ----

    function test_unknownRegistrationAndOtherNumberOfKeysAreRefused() public {
        for (uint256 count = 0; count <= 4; count++) {
            if (count == 3) continue;
            _expectRefusal(
                1,
                keysOf(1, count),
                abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadBatchSize.selector, count)
            );
        }
        bytes memory unknown =
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryUnknownRegistration.selector, _id + 1);
        bytes[3] memory signatures = signKeys(_id + 1, 1, keysOf(1, 3));
        vm.expectRevert(unknown);
        registry.rekeyDatasets(_id + 1, keysOf(1, 3), REKEYING_DEADLINE, signatures);
        vm.expectRevert(unknown);
        registry.rekeyGeneration(_id + 1);
    }

    function test_registrationWithCommitmentsToItsCiphertextsIsRefused() public {
        for (uint256 proven = 0; proven < 2; proven++) {
            Batch memory batch = batchOf(CONTRIBUTOR_KEY, 2 + proven, 1);
            IDatasetRegistry.Ciphertexts memory ciphertexts;
            ciphertexts.commitments = new uint256[2][](1);
            ciphertexts.commitments[0] = [uint256(0), 1];
            ciphertexts.proven = proven == 1;
            signCommitted(batch, ciphertexts, CONTRIBUTOR_KEY);
            _id = submitCommitted(batch, ciphertexts);
            assertEq(registry.rekeyGeneration(_id), 0, "generation");
            _expectRefusal(
                1, keysOf(1, 1), abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryCommitted.selector, _id)
            );
        }
    }

    function _revoke(uint32 ordinal) private {
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(_id, ordinalsOf(ordinal));
    }

    function _requirePlace(bytes32 commitment, uint256 expected) private view {
        (uint64 id, uint32 ordinal) = registry.datasetOfCommitment(commitment);
        assertEq(id, _id, "registration of a commitment");
        assertEq(ordinal, expected, "ordinal of a commitment");
    }

    function _expectRefusal(uint8 generation, IDatasetRegistry.DatasetKeys[] memory keys, bytes memory refusal)
        private
    {
        bytes[3] memory signatures = signKeys(_id, generation, keys);
        vm.expectRevert(refusal);
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE, signatures);
    }

    /// @dev Refused for the signature of the keyholder in this place, from 0.
    function _expectBadSignature(IDatasetRegistry.DatasetKeys[] memory keys, bytes[3] memory signatures, uint256 place)
        private
    {
        address signer = vm.addr(keyholderKeys[place]);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadSignature.selector, signer));
        registry.rekeyDatasets(_id, keys, REKEYING_DEADLINE, signatures);
    }
}
