// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {CohortPolicies} from "../src/CohortPolicies.sol";
import {Groth16Verifier} from "../src/Groth16Verifier.sol";
import {Scene} from "./support/Scene.sol";

/// @title Real proofs of three circuits under the verifier, and everything that is none.
contract Groth16VerifierTest is Scene {
    /// Enough for any proof here. A malformed point burns what it is given.
    uint256 private constant GAS = 1_000_000;

    Groth16Verifier private _disclosures;
    uint256[8] private _proof;
    uint256[] private _inputs;

    function setUp() public override {
        scene = vm.readFile("test/fixtures/registry_scene.json");
        _disclosures = keyOf("disclosureKey");
        updateProofs = keyOf("updateKey");
        cohortProofs = keyOf("cohortKey");
        _proof = proofAt(".disclosure");
        _inputs = vm.parseJsonUintArray(scene, ".disclosure.inputs");
    }

    function test_proofsOfAllCircuitsHold() public view {
        require(_verify(_disclosures, _proof, _inputs), "disclosure");
        for (uint256 number = 0; number < BATCHES; number++) {
            string memory path = updatePath(number);
            require(_verify(updateProofs, proofAt(path), _inputsAt(path)), "update");
        }
        for (uint256 number = 0; number < 3; number++) {
            string memory path = cohortPath(number);
            require(_verify(cohortProofs, proofAt(path), _inputsAt(path)), "cohort");
        }
    }

    function test_keysAreDescribed() public view {
        require(_disclosures.inputCount() == 4 && updateProofs.inputCount() == 3, "inputs");
        require(cohortProofs.isDevelopmentKey(), "development");
        assertEq(cohortProofs.keyId(), vm.parseJsonBytes32(scene, ".cohortKey.keyId"), "id");
    }

    function test_everyInputCounts() public view {
        for (uint256 place = 0; place < 4; place++) {
            uint256[] memory inputs = _inputs;
            inputs[place] = addmod(inputs[place], 1, SCALARS);
            require(!_verify(_disclosures, _proof, inputs), "another input");
            // The same residue, not reduced.
            inputs[place] = _inputs[place] + SCALARS;
            require(!_verify(_disclosures, _proof, inputs), "an input not below the order");
        }
        require(!_verify(_disclosures, _proof, new uint256[](3)), "too few");
        require(!_verify(_disclosures, _proof, new uint256[](5)), "too many");
        require(_verify(_disclosures, _proof, _inputs), "the right ones");
    }

    function test_proofsOfOtherKeysAndStatementsDoNotHold() public view {
        string memory update = updatePath(0);
        string memory cohort = cohortPath(0);
        require(!_verify(cohortProofs, proofAt(update), _inputsAt(update)), "another key");
        require(!_verify(updateProofs, proofAt(cohort), _inputsAt(cohort)), "another key");
        require(!_verify(updateProofs, proofAt(updatePath(1)), _inputsAt(update)), "another statement");
    }

    function test_mauledProofHoldsForTheSameInputsOnly() public view {
        require(_verify(_disclosures, mauled(_proof), _inputs), "valid");
        uint256[] memory inputs = _inputs;
        inputs[2] += 1;
        require(!_verify(_disclosures, mauled(_proof), inputs), "for nothing else");
    }

    function test_coordinatesThatAreNotReducedAreRefused() public view {
        for (uint256 place = 0; place < 8; place++) {
            uint256[8] memory proof = _proof;
            proof[place] += BASE_FIELD;
            require(!_verify(_disclosures, proof, _inputs), "plus the order");
            proof[place] = BASE_FIELD;
            require(!_verify(_disclosures, proof, _inputs), "the order itself");
            proof[place] = type(uint256).max;
            require(!_verify(_disclosures, proof, _inputs), "the largest");
        }
    }

    function test_pointsOffTheCurveAreRefused() public view {
        for (uint256 place = 0; place < 8; place++) {
            uint256[8] memory proof = _proof;
            proof[place] = addmod(proof[place], 1, BASE_FIELD);
            require(!_verify(_disclosures, proof, _inputs), "off the curve");
        }
    }

    function test_pointOutsideTheSubgroupIsRefused() public view {
        uint256[8] memory proof = _proof;
        // On the twisted curve at x = 1, but not of prime order.
        (proof[2], proof[3]) = (0, 1);
        proof[4] = 5912654199736721486680175016176231956195085055698687135131307249486702594212;
        proof[5] = 18278151005453108793778860132295291098363647455926340152056652516292830556603;
        require(!_verify(_disclosures, proof, _inputs), "small order");
    }

    function test_neutralAndExchangedPointsDoNotHold() public view {
        uint256[8] memory nothing;
        require(!_verify(_disclosures, nothing, _inputs), "all neutral");
        uint256[8] memory proof = _proof;
        (proof[0], proof[1]) = (0, 0);
        require(!_verify(_disclosures, proof, _inputs), "a neutral");
        proof = _proof;
        (proof[0], proof[1], proof[6], proof[7]) = (_proof[6], _proof[7], _proof[0], _proof[1]);
        require(!_verify(_disclosures, proof, _inputs), "exchanged");
    }

    function test_malformedKeysAreRefused() public {
        bytes memory key = vm.parseJsonBytes(scene, ".disclosureKey.key");
        for (uint256 i = 0; i < 4; i++) {
            uint256[4] memory lengths = [uint256(0), 14 * 32, key.length - 32, 24_576];
            bytes memory bad = new bytes(lengths[i]);
            vm.expectRevert(abi.encodeWithSelector(Groth16Verifier.Groth16VerifierBadKey.selector, lengths[i]));
            new Groth16Verifier(bad, bytes32(0), true);
        }
    }

    function test_policyWordsAreThoseOfTheCircuits() public view {
        string memory cases = vm.readFile("test/fixtures/policies.json");
        uint256[] memory purposes = vm.parseJsonUintArray(cases, ".purpose");
        uint256[] memory tiers = vm.parseJsonUintArray(cases, ".tier");
        uint256[] memory classes = vm.parseJsonUintArray(cases, ".queryClass");
        uint256[] memory researchers = vm.parseJsonUintArray(cases, ".researcher");
        CohortPolicies.Choice[] memory choices = _choices(cases, purposes.length);
        uint256[] memory policies = vm.parseJsonUintArray(cases, ".policy");
        require(purposes.length >= 42, "cases");
        for (uint256 i = 0; i < purposes.length; i++) {
            uint256 policy = CohortPolicies.policyOf(
                uint32(purposes[i]), uint8(tiers[i]), uint8(classes[i]), researchers[i] == 1, choices[i]
            );
            assertEq(policy, policies[i], string.concat("case ", decimal(i)));
        }
    }

    function test_unknownPurposesHaveNoPolicy() public view {
        uint32[4] memory unknown = [uint32(7), 255, 1 << 20, 1 << 31];
        for (uint256 i = 0; i < 4; i++) {
            try this.policyOf(unknown[i]) {
                revert("accepted");
            } catch (bytes memory reason) {
                require(bytes4(reason) == CohortPolicies.CohortPoliciesUnknownPurpose.selector, "reason");
            }
        }
        this.policyOf(6 | 0xFFF << 8);
    }

    function policyOf(uint32 purpose) external pure returns (uint256) {
        return CohortPolicies.policyOf(purpose, 0, 0, false, CohortPolicies.Choice(false, false, 0));
    }

    function _choices(string memory cases, uint256 count) private pure returns (CohortPolicies.Choice[] memory list) {
        uint256[] memory accredited = vm.parseJsonUintArray(cases, ".accreditedOnly");
        uint256[] memory proven = vm.parseJsonUintArray(cases, ".provenOnly");
        uint256[] memory dayList = vm.parseJsonUintArray(cases, ".day");
        list = new CohortPolicies.Choice[](count);
        for (uint256 i = 0; i < count; i++) {
            list[i] = CohortPolicies.Choice(accredited[i] == 1, proven[i] == 1, uint16(dayList[i]));
        }
    }

    function _inputsAt(string memory path) private view returns (uint256[] memory inputs) {
        inputs = new uint256[](3);
        inputs[0] = uintAt(string.concat(path, ".digest"));
        inputs[1] = uintAt(string.concat(path, ".challenge"));
        inputs[2] = uintAt(string.concat(path, ".evaluation"));
    }

    function _verify(Groth16Verifier target, uint256[8] memory proof, uint256[] memory inputs)
        private
        view
        returns (bool)
    {
        return target.verify{gas: GAS}(proof, inputs);
    }
}
