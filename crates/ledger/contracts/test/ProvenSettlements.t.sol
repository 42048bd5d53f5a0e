// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {CohortVerifier} from "../src/CohortVerifier.sol";
import {CommitteeVerifier} from "../src/CommitteeVerifier.sol";
import {ICohortVerifier} from "../src/ICohortVerifier.sol";
import {IQueryEscrow} from "../src/IQueryEscrow.sol";
import {Scene} from "./support/Scene.sol";
import {Typed} from "./support/Typed.sol";

/// @title Orders settle on a proven cohort that keyholders signed, and on no other.
contract ProvenSettlementsTest is Scene {
    IQueryEscrow.Order private _order;
    bytes32 private _orderId;

    function setUp() public override {
        super.setUp();
        advanceAll();
        cohorts.proveCohort(statement(), noCohort(), bothSteps());
        cohorts.proveCohort(statement(), noCohort(), stepsOf(2));
        _order = sceneOrder(1);
        _orderId = open(_order);
    }

    function test_orderSettlesOnAProvenCohort() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        IQueryEscrow.Settlement memory settlement = sceneSettlement(_orderId, cohort);
        escrow.settleOrder(settlement, signShown(shownFor(_order, cohort), settlement));
        assertEq(escrow.settledTotal(), 5 ether + 100 * PRICE_UNIT, "price");
        assertEq(uint256(escrow.orderRecord(_orderId).state), uint256(IQueryEscrow.OrderState.Settled), "state");
    }

    function test_ordersShareACohortAndPayOnceEach() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        for (uint64 nonce = 1; nonce <= 3; nonce++) {
            IQueryEscrow.Order memory order = sceneOrder(nonce);
            bytes32 id = nonce == 1 ? _orderId : open(order);
            IQueryEscrow.Settlement memory settlement = sceneSettlement(id, cohort);
            bytes memory evidence = signShown(shownFor(order, cohort), settlement);
            escrow.settleOrder(settlement, evidence);
            vm.expectRevert(abi.encodeWithSelector(IQueryEscrow.QueryEscrowNotOpen.selector, id));
            escrow.settleOrder(settlement, evidence);
        }
        assertEq(escrow.settledTotal(), 3 * (5 ether + 100 * PRICE_UNIT), "each once");
    }

    function test_keyholdersChooseAmongProvenCohorts() public {
        ICohortVerifier.Cohort memory alone = stepOf(2).cohort;
        ICohortVerifier.Cohort memory both = stepOf(1).cohort;
        IQueryEscrow.Settlement memory settlement = sceneSettlement(_orderId, alone);
        ICohortVerifier.Evidence memory shown = shownFor(_order, alone);
        // Signed for the cohort of both shards, shown with the other.
        signShownFor(shown, settlement, cohorts.cohortIdOf(statement(), both));
        _refuses(settlement, abi.encode(shown), CommitteeVerifier.CommitteeVerifierBadSignature.selector);
        escrow.settleOrder(settlement, signShown(shown, settlement));
    }

    // ---- The order ----

    function test_orderOfOtherTermsDoesNotSettleOnTheCohort() public {
        for (uint256 term = 0; term < 4; term++) {
            IQueryEscrow.Order memory order = sceneOrder(uint64(10 + term));
            if (term == 0) order.purpose = 2;
            if (term == 1) order.queryClass = 0;
            if (term == 2) order.tier = 1;
            if (term == 3) order.conditionDigest = keccak256("another condition");
            _refusesOrder(order, ICohortVerifier.CohortVerifierNotProven.selector);
        }
        registry.setResearcher(vm.addr(RESEARCHER_KEY), false, "");
        _refusesOrder(sceneOrder(20), ICohortVerifier.CohortVerifierNotProven.selector);
        registry.setResearcher(vm.addr(RESEARCHER_KEY), true, "laboratory");
        IQueryEscrow.Order memory elsewhere = sceneOrder(21);
        elsewhere.panelDigest = SECOND_PANEL;
        _refusesOrder(elsewhere, bytes4(0));
    }

    function test_anotherOrderCannotBeShown() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        IQueryEscrow.Settlement memory settlement = sceneSettlement(_orderId, cohort);
        IQueryEscrow.Order memory other = sceneOrder(2);
        bytes memory evidence = signShown(shownFor(other, cohort), settlement);
        _refuses(settlement, evidence, ICohortVerifier.CohortVerifierOtherOrder.selector);
    }

    function test_everyChoiceChangedIsRefused() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        IQueryEscrow.Settlement memory settlement = sceneSettlement(_orderId, cohort);
        for (uint256 choice = 0; choice < 7; choice++) {
            ICohortVerifier.Evidence memory shown = shownFor(_order, cohort);
            if (choice == 0) shown.day += 1;
            if (choice == 1) shown.accreditedOnly = true;
            if (choice == 2) shown.provenOnly = false;
            if (choice == 3) shown.priceMax += 1;
            if (choice == 4) shown.cohort.shard = 2;
            if (choice == 5) shown.cohort.payouts += 1;
            if (choice == 6) shown.cohort.pointX += 1;
            _refuses(settlement, signShown(shown, settlement), ICohortVerifier.CohortVerifierNotProven.selector);
        }
        ICohortVerifier.Evidence memory older = shownFor(_order, cohort);
        older.sequence -= 1;
        _refuses(settlement, signShown(older, settlement), ICohortVerifier.CohortVerifierNotProven.selector);
        older.sequence = 6;
        _refuses(settlement, signShown(older, settlement), bytes4(0));
    }

    function test_offersOfYesterdayDoNotServe() public {
        vm.warp((uint256(ORDER_DAY) + 1) * 1 days);
        IQueryEscrow.Order memory order = sceneOrder(5);
        _refusesOrder(order, ICohortVerifier.CohortVerifierBadDay.selector);
    }

    // ---- The sums ----

    function test_otherSizeOrPriceIsRefused() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        for (uint256 sum = 0; sum < 3; sum++) {
            IQueryEscrow.Settlement memory settlement = sceneSettlement(_orderId, cohort);
            if (sum == 0) settlement.cohortSize += 1;
            if (sum == 1) settlement.price += 1;
            if (sum == 2) settlement.price -= uint96(PRICE_UNIT);
            bytes memory evidence = signShown(shownFor(_order, cohort), settlement);
            _refuses(settlement, evidence, ICohortVerifier.CohortVerifierOtherSums.selector);
        }
    }

    // ---- The root ----

    function test_revocationReachesSettlementsBeforeTheRootMoves() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        vm.warp(START + 100);
        revoke(CONTRIBUTOR_KEY, PERSON, ordinalsOf(0));
        // Later orders, so that deadlines are no matter.
        vm.warp(START + 100 + ROOT_AGE_MAX);
        IQueryEscrow.Order memory order = sceneOrder(7);
        IQueryEscrow.Settlement memory settlement = sceneSettlement(open(order), cohort);
        bytes memory evidence = signShown(shownFor(order, cohort), settlement);
        vm.warp(START + 101 + ROOT_AGE_MAX);
        _refuses(settlement, evidence, ICohortVerifier.CohortVerifierStaleRoot.selector);
        vm.warp(START + 100 + ROOT_AGE_MAX);
        escrow.settleOrder(settlement, evidence);
    }

    function test_oldRootServesWhileItLacksNothing() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        vm.warp(START + 16 hours - 1);
        IQueryEscrow.Order memory order = sceneOrder(8);
        IQueryEscrow.Settlement memory settlement = sceneSettlement(open(order), cohort);
        bytes memory evidence = signShown(shownFor(order, cohort), settlement);
        escrow.settleOrder(settlement, evidence);
    }

    // ---- The signatures ----

    function test_signaturesOfPlainSettlementsDoNotServe() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        IQueryEscrow.Settlement memory settlement = sceneSettlement(_orderId, cohort);
        ICohortVerifier.Evidence memory shown = shownFor(_order, cohort);
        (shown.keyholders, shown.signatures) = abi.decode(evidenceOf(settlement), (uint8[], bytes[]));
        _refuses(settlement, abi.encode(shown), CommitteeVerifier.CommitteeVerifierBadSignature.selector);
        _refuses(settlement, evidenceOf(settlement), bytes4(0));
    }

    function test_oneSignatureOrOneTwiceIsNotEnough() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        IQueryEscrow.Settlement memory settlement = sceneSettlement(_orderId, cohort);
        ICohortVerifier.Evidence memory shown = shownFor(_order, cohort);
        signShown(shown, settlement);
        shown.keyholders[1] = 1;
        shown.signatures[1] = shown.signatures[0];
        _refuses(settlement, abi.encode(shown), CommitteeVerifier.CommitteeVerifierBadEvidence.selector);
        (bytes memory only, uint8[] memory one) = (shown.signatures[0], new uint8[](1));
        one[0] = 1;
        (shown.keyholders, shown.signatures) = (one, new bytes[](1));
        shown.signatures[0] = only;
        _refuses(settlement, abi.encode(shown), CommitteeVerifier.CommitteeVerifierBadEvidence.selector);
    }

    function test_signaturesForAnotherVerifierDoNotServe() public {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        IQueryEscrow.Settlement memory settlement = sceneSettlement(_orderId, cohort);
        bytes32 id = cohorts.cohortIdOf(statement(), cohort);
        bytes32 settled = escrowDigest(Typed.settlement(settlement));
        CohortVerifier other = new CohortVerifier(roots, cohortProofs, ROOT_AGE_MAX);
        bytes32 digest = other.provenSettlementDigest(settled, id);
        ICohortVerifier.Evidence memory shown = shownFor(_order, cohort);
        signShown(shown, settlement);
        shown.signatures[1] = signature(keyholderKeys[2], digest);
        _refuses(settlement, abi.encode(shown), CommitteeVerifier.CommitteeVerifierBadSignature.selector);
        assertEq(
            cohorts.provenSettlementDigest(settled, id),
            Typed.digest("LocusCohortVerifier", address(cohorts), Typed.provenSettlement(settled, id)),
            "digest of the specification"
        );
    }

    function _refusesOrder(IQueryEscrow.Order memory order, bytes4 selector) private {
        ICohortVerifier.Cohort memory cohort = stepOf(1).cohort;
        IQueryEscrow.Settlement memory settlement = sceneSettlement(open(order), cohort);
        _refuses(settlement, signShown(shownFor(order, cohort), settlement), selector);
    }

    /// @param selector Zero for any reason.
    function _refuses(IQueryEscrow.Settlement memory settlement, bytes memory evidence, bytes4 selector) private {
        try escrow.settleOrder(settlement, evidence) {
            revert("accepted");
        } catch (bytes memory reason) {
            require(selector == bytes4(0) || bytes4(reason) == selector, "refused for another reason");
        }
    }
}
