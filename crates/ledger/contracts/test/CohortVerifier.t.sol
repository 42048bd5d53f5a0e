// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {CohortVerifier} from "../src/CohortVerifier.sol";
import {CommitteeVerifier} from "../src/CommitteeVerifier.sol";
import {ICohortVerifier} from "../src/ICohortVerifier.sol";
import {IRegistryRoots} from "../src/IRegistryRoots.sol";
import {RegistryRoots} from "../src/RegistryRoots.sol";
import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {OfferBook} from "../src/OfferBook.sol";
import {ExpectingVerifier} from "./support/ExpectingVerifier.sol";
import {Scene} from "./support/Scene.sol";

/// @title Cohorts are proven by real proofs, and by nothing else.
contract CohortVerifierTest is Scene {
    function setUp() public override {
        super.setUp();
        advanceAll();
    }

    function test_realProofsOfBothShardsProveTheCohort() public {
        ICohortVerifier.Step[] memory steps = bothSteps();
        bytes32 expected = cohorts.cohortIdOf(statement(), steps[1].cohort);
        require(!cohorts.isProven(expected), "too early");
        vm.expectEmit(address(cohorts));
        emit ICohortVerifier.CohortProven(expected, statement(), steps[1].cohort);
        assertEq(cohorts.proveCohort(statement(), noCohort(), steps), expected, "id");
        require(cohorts.isProven(expected), "proven");
        // Six people: the person, and of seven at the clinic all but the two who revoked.
        assertEq(steps[1].cohort.size, 6, "size");
        assertEq(steps[1].cohort.totalPrice, 5 * 10 ** 8 + 5 * 20, "price");
    }

    function test_chainsGrowInSeveralTransactions() public {
        bytes32 first = cohorts.proveCohort(statement(), noCohort(), stepsOf(0));
        bytes32 both = cohorts.proveCohort(statement(), stepOf(0).cohort, stepsOf(1));
        require(cohorts.isProven(first) && cohorts.isProven(both), "both ends can be settled on");
        CohortVerifier fresh = new CohortVerifier(roots, cohortProofs, ROOT_AGE_MAX);
        assertEq(fresh.proveCohort(statement(), noCohort(), bothSteps()), both, "the same cohort");
        require(!fresh.isProven(first), "ends in between are not kept");
    }

    function test_anotherCohortOfTheStatementTakesNobodysPlace() public {
        bytes32 alone = cohorts.proveCohort(statement(), noCohort(), stepsOf(2));
        bytes32 both = cohorts.proveCohort(statement(), noCohort(), bothSteps());
        require(alone != both && cohorts.isProven(alone) && cohorts.isProven(both), "both are proven");
    }

    // ---- Attacks on the words ----

    function test_everyPublicWordChangedIsRefused() public {
        for (uint256 word = 0; word < 5; word++) {
            ICohortVerifier.Statement memory changed = statement();
            if (word == 0) changed.sequence -= 1;
            if (word == 1) changed.policy ^= 1 << 52;
            if (word == 2) changed.condition += 1;
            if (word == 3) changed.priceMax += 1;
            if (word == 4) changed.policy += 1 << 54;
            _refuses(changed, noCohort(), stepsOf(0), ICohortVerifier.CohortVerifierBadProof.selector);
        }
        for (uint256 word = 0; word < 7; word++) {
            ICohortVerifier.Step[] memory changed = stepsOf(0);
            if (word == 0) changed[0].cohort.shard += 1;
            if (word == 1) changed[0].cohort.size += 1;
            if (word == 2) changed[0].cohort.totalPrice -= 1;
            if (word == 3) changed[0].cohort.pointX += 1;
            if (word == 4) changed[0].cohort.pointY = SCALARS - changed[0].cohort.pointY;
            if (word == 5) changed[0].cohort.payouts += 1;
            if (word == 6) changed[0].digest += 1;
            _refuses(statement(), noCohort(), changed, ICohortVerifier.CohortVerifierBadProof.selector);
        }
        cohorts.proveCohort(statement(), noCohort(), stepsOf(0));
    }

    function test_everyWordOfTheStateBeforeChangedIsRefused() public {
        cohorts.proveCohort(statement(), noCohort(), stepsOf(0));
        for (uint256 word = 0; word < 6; word++) {
            ICohortVerifier.Cohort memory before = stepOf(0).cohort;
            if (word == 0) before.shard = 1;
            if (word == 1) before.size += 1;
            if (word == 2) before.totalPrice += 1;
            if (word == 3) before.pointX += 1;
            if (word == 4) before.pointY += 1;
            if (word == 5) before.payouts += 1;
            _refuses(statement(), before, stepsOf(1), ICohortVerifier.CohortVerifierNotProven.selector);
        }
        cohorts.proveCohort(statement(), stepOf(0).cohort, stepsOf(1));
    }

    function test_wordsNotBelowTheOrderAreRefused() public {
        for (uint256 word = 0; word < 5; word++) {
            ICohortVerifier.Step[] memory changed = stepsOf(0);
            if (word == 0) changed[0].cohort.size += SCALARS;
            if (word == 1) changed[0].cohort.totalPrice += SCALARS;
            if (word == 2) changed[0].cohort.pointX += SCALARS;
            if (word == 3) changed[0].cohort.pointY += SCALARS;
            if (word == 4) changed[0].cohort.payouts += SCALARS;
            _refuses(statement(), noCohort(), changed, ICohortVerifier.CohortVerifierNotCanonical.selector);
        }
        for (uint256 word = 0; word < 3; word++) {
            ICohortVerifier.Statement memory changed = statement();
            if (word == 0) changed.policy += SCALARS;
            if (word == 1) changed.condition += SCALARS;
            if (word == 2) changed.priceMax += SCALARS;
            _refuses(changed, noCohort(), stepsOf(0), ICohortVerifier.CohortVerifierNotCanonical.selector);
        }
        ICohortVerifier.Step[] memory steps = stepsOf(0);
        steps[0].digest += SCALARS;
        _refuses(statement(), noCohort(), steps, ICohortVerifier.CohortVerifierBadProof.selector);
    }

    function test_otherPanelAndUnknownRootAreRefused() public {
        ICohortVerifier.Statement memory changed = statement();
        (changed.panelDigest, changed.sequence) = (SECOND_PANEL, 0);
        _refuses(changed, noCohort(), stepsOf(0), ICohortVerifier.CohortVerifierBadProof.selector);
        changed.sequence = 5;
        _refuses(changed, noCohort(), stepsOf(0), IRegistryRoots.RegistryRootsUnknownRoot.selector);
    }

    // ---- Attacks on the chain ----

    function test_shardsAreNeitherRepeatedNorTakenBackwards() public {
        ICohortVerifier.Step[] memory steps = bothSteps();
        (steps[0], steps[1]) = (steps[0], steps[0]);
        _refuses(statement(), noCohort(), steps, ICohortVerifier.CohortVerifierBadShard.selector);
        steps = bothSteps();
        (steps[0], steps[1]) = (steps[1], steps[0]);
        _refuses(statement(), noCohort(), steps, ICohortVerifier.CohortVerifierBadProof.selector);
        cohorts.proveCohort(statement(), noCohort(), bothSteps());
        // Neither the last shard nor the first can be added again.
        _refuses(statement(), stepOf(1).cohort, stepsOf(1), ICohortVerifier.CohortVerifierBadShard.selector);
        _refuses(statement(), stepOf(1).cohort, stepsOf(0), ICohortVerifier.CohortVerifierBadShard.selector);
    }

    function test_secondShardWithoutTheFirstIsRefused() public {
        _refuses(statement(), noCohort(), stepsOf(1), ICohortVerifier.CohortVerifierBadProof.selector);
        _refuses(statement(), stepOf(0).cohort, stepsOf(1), ICohortVerifier.CohortVerifierNotProven.selector);
        // The state after another cohort's first shard is not the one that the proof starts from.
        cohorts.proveCohort(statement(), noCohort(), stepsOf(2));
        _refuses(statement(), stepOf(2).cohort, stepsOf(1), ICohortVerifier.CohortVerifierBadProof.selector);
    }

    function test_emptyStateWithOtherWordsIsNoStart() public {
        for (uint256 word = 0; word < 4; word++) {
            ICohortVerifier.Cohort memory start = noCohort();
            if (word == 0) start.size = 1;
            if (word == 1) start.totalPrice = 1;
            if (word == 2) (start.pointX, start.pointY) = (0, SCALARS - 1);
            if (word == 3) start.payouts = 1;
            _refuses(statement(), start, stepsOf(0), ICohortVerifier.CohortVerifierNotProven.selector);
        }
        _refuses(
            statement(), noCohort(), new ICohortVerifier.Step[](0), ICohortVerifier.CohortVerifierBadShard.selector
        );
    }

    // ---- Attacks on the proof ----

    function test_mauledProofProvesTheSameCohortOnce() public {
        ICohortVerifier.Step[] memory steps = bothSteps();
        bytes32 id = cohorts.proveCohort(statement(), noCohort(), steps);
        steps[0].proof = mauled(steps[0].proof);
        steps[1].proof = mauled(steps[1].proof);
        vm.recordLogs();
        assertEq(cohorts.proveCohort(statement(), noCohort(), steps), id, "the same cohort");
        assertEq(vm.getRecordedLogs().length, 0, "nothing happens twice");
    }

    function test_proofUnderAnotherKeyIsRefused() public {
        CohortVerifier other = new CohortVerifier(roots, updateProofs, ROOT_AGE_MAX);
        ICohortVerifier.Step[] memory steps = stepsOf(0);
        vm.expectRevert(abi.encodeWithSelector(ICohortVerifier.CohortVerifierBadProof.selector, 0));
        other.proveCohort(statement(), noCohort(), steps);
        steps[0].proof = proofAt(updatePath(0));
        _refuses(statement(), noCohort(), steps, ICohortVerifier.CohortVerifierBadProof.selector);
    }

    // ---- Deployment ----

    function test_unsoundDeploymentsAreRefused() public {
        bytes4 bad = ICohortVerifier.CohortVerifierBadDeployment.selector;
        vm.expectRevert(bad);
        new CohortVerifier(roots, cohortProofs, 0);
        vm.expectRevert(bad);
        new CohortVerifier(roots, cohortProofs, 30 days + 1);
        ExpectingVerifier fourInputs = new ExpectingVerifier(4, false);
        vm.expectRevert(bad);
        new CohortVerifier(roots, fourInputs, ROOT_AGE_MAX);
        OfferBook production = new OfferBook(new DatasetRegistry(address(this), productionParameters()));
        RegistryRoots strict = new RegistryRoots(production, new ExpectingVerifier(3, false), EVENTS, 1);
        vm.expectRevert(bad);
        new CohortVerifier(strict, cohortProofs, ROOT_AGE_MAX);
        new CohortVerifier(strict, new ExpectingVerifier(3, false), ROOT_AGE_MAX);
    }

    function _refuses(
        ICohortVerifier.Statement memory statement_,
        ICohortVerifier.Cohort memory from,
        ICohortVerifier.Step[] memory steps,
        bytes4 selector
    ) private {
        try cohorts.proveCohort(statement_, from, steps) {
            revert("accepted");
        } catch (bytes memory reason) {
            require(bytes4(reason) == selector, "refused for another reason");
        }
    }
}
