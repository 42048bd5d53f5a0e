// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {CommitteeVerifier} from "../src/CommitteeVerifier.sol";
import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {IDatasetRegistry} from "../src/IDatasetRegistry.sol";
import {IQueryEscrow} from "../src/IQueryEscrow.sol";
import {ISettlementVerifier} from "../src/ISettlementVerifier.sol";
import {QueryEscrow} from "../src/QueryEscrow.sol";
import {Fixture} from "./support/Fixture.sol";
import {Typed} from "./support/Typed.sol";

/// @title Verifier that answers what it is told to, and remembers nothing.
contract ScriptedVerifier is ISettlementVerifier {
    bytes4 private immutable _answer;

    constructor(bytes4 answer) {
        _answer = answer;
    }

    function verifySettlement(
        bytes32,
        IQueryEscrow.OrderRecord calldata,
        IQueryEscrow.Settlement calldata,
        bytes32,
        bytes calldata
    ) external view returns (bytes4) {
        return _answer;
    }
}

contract SettlementsTest is Fixture {
    uint96 private constant PRICE = 300 ether;
    bytes32 private constant ROOT = keccak256("payout root");

    IQueryEscrow.Order private _order;
    bytes32 private _id;
    address private _researcher;

    function setUp() public override {
        super.setUp();
        _order = orderOf(RESEARCHER_KEY, 1);
        _id = open(_order);
        _researcher = vm.addr(RESEARCHER_KEY);
    }

    // ---- What settles ----

    function test_settlementPaysThePoolAndReturnsTheRest() public {
        uint256 before = token.balanceOf(_researcher);
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        vm.expectEmit(address(escrow));
        emit IQueryEscrow.OrderSettled(_id, settlement);
        settle(settlement);
        assertEq(token.balanceOf(_researcher) - before, MAX_PRICE - PRICE, "rest");
        assertEq(token.balanceOf(address(escrow)), PRICE, "pool");
        assertEq(escrow.settledTotal(), PRICE, "settled");
        assertEq(escrow.payoutSequence(), 1, "sequence");
        assertEq(escrow.payoutRoot(), ROOT, "root");
        require(escrow.orderRecord(_id).state == IQueryEscrow.OrderState.Settled, "state");
    }

    function test_anyTwoOrAllThreeKeyholdersSuffice() public {
        for (uint8 absent = 1; absent <= 3; absent++) {
            bytes32 id = open(orderOf(RESEARCHER_KEY, 10 + absent));
            IQueryEscrow.Settlement memory settlement = settlementOf(id, PRICE, ROOT);
            escrow.settleOrder(settlement, evidenceBy(settlement, absent == 1 ? 2 : 1, absent == 3 ? 2 : 3));
        }
        IQueryEscrow.Settlement memory last = settlementOf(_id, PRICE, ROOT);
        escrow.settleOrder(last, _evidence(last, 3));
        assertEq(escrow.payoutSequence(), 4, "sequence");
    }

    function test_settlementDigestIsThatOfTheSpecification() public view {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        assertEq(escrow.settlementDigest(settlement), escrowDigest(Typed.settlement(settlement)), "digest");
    }

    function test_freeAndFullPricedSettlementsBalance() public {
        settle(settlementOf(_id, 0, ROOT));
        assertEq(token.balanceOf(address(escrow)), 0, "all returned");
        bytes32 id = open(orderOf(RESEARCHER_KEY, 2));
        settle(settlementOf(id, MAX_PRICE, ROOT));
        assertEq(token.balanceOf(address(escrow)), MAX_PRICE, "nothing returned");
    }

    function test_settlementWorksWhilePausedAndUpToTheDeadline() public {
        registry.pause();
        vm.warp(_order.deadline);
        settle(settlementOf(_id, PRICE, ROOT));
        assertEq(escrow.settledTotal(), PRICE, "settled");
    }

    // ---- What the escrow refuses ----

    function test_settlementAfterTheDeadlineIsRefused() public {
        vm.warp(uint256(_order.deadline) + 1);
        settleExpecting(
            settlementOf(_id, PRICE, ROOT),
            abi.encodeWithSelector(IQueryEscrow.QueryEscrowPastDeadline.selector, _order.deadline)
        );
        escrow.refundOrder(_id);
    }

    function testFuzz_priceAboveTheHighestIsRefused(uint96 price) public {
        price = uint96(clamp(price, MAX_PRICE + 1, type(uint96).max));
        settleExpecting(
            settlementOf(_id, price, ROOT),
            abi.encodeWithSelector(IQueryEscrow.QueryEscrowPriceTooHigh.selector, price, MAX_PRICE)
        );
    }

    function test_orderSettlesOnce() public {
        settle(settlementOf(_id, PRICE, ROOT));
        bytes memory notOpen = abi.encodeWithSelector(IQueryEscrow.QueryEscrowNotOpen.selector, _id);
        settleExpecting(settlementOf(_id, PRICE, ROOT), notOpen);
        vm.warp(uint256(_order.deadline) + 1);
        vm.expectRevert(notOpen);
        escrow.refundOrder(_id);
    }

    function test_unknownAndRefundedOrdersDoNotSettle() public {
        bytes32 unknown = keccak256("no order");
        settleExpecting(
            settlementOf(unknown, 0, ROOT), abi.encodeWithSelector(IQueryEscrow.QueryEscrowNotOpen.selector, unknown)
        );
        vm.warp(uint256(_order.deadline) + 1);
        escrow.refundOrder(_id);
        settleExpecting(
            settlementOf(_id, PRICE, ROOT), abi.encodeWithSelector(IQueryEscrow.QueryEscrowNotOpen.selector, _id)
        );
    }

    function test_payoutSequenceMustBeTheNextOne() public {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        bytes memory badSequence = abi.encodeWithSelector(IQueryEscrow.QueryEscrowBadSequence.selector, uint64(1));
        settlement.payoutSequence = 0;
        settleExpecting(settlement, badSequence);
        settlement.payoutSequence = 2;
        settleExpecting(settlement, badSequence);
    }

    function test_cohortBelowTheFloorOfItsTierIsRefused() public {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        settlement.cohortSize = 99;
        settleExpecting(settlement, _cohortTooSmall(99, 100));
        settlement.cohortSize = 100;
        settle(settlement);

        IQueryEscrow.Order memory exact = orderOf(RESEARCHER_KEY, 2);
        (exact.tier, exact.rhoNano) = (2, 0);
        settlement = settlementOf(open(exact), PRICE, ROOT);
        settlement.cohortSize = 999;
        settleExpecting(settlement, _cohortTooSmall(999, 1_000));
        settlement.cohortSize = 1_000;
        settle(settlement);
    }

    function test_emptyDigestsAreRefused() public {
        for (uint256 field = 0; field < 3; field++) {
            IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
            if (field == 0) settlement.answerDigest = bytes32(0);
            if (field == 1) settlement.cohortDigest = bytes32(0);
            if (field == 2) settlement.payoutRoot = bytes32(0);
            settleExpecting(settlement, abi.encodePacked(IQueryEscrow.QueryEscrowBadSettlement.selector));
        }
    }

    // ---- What the committee must have signed ----

    function test_anyFieldChangedAfterSigningIsRefused() public {
        bytes32 second = open(orderOf(RESEARCHER_KEY, 2));
        for (uint256 field = 0; field < 6; field++) {
            IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
            bytes memory evidence = evidenceOf(settlement);
            if (field == 0) settlement.orderId = second;
            if (field == 1) settlement.answerDigest = keccak256("another answer");
            if (field == 2) settlement.cohortDigest = keccak256("another cohort");
            if (field == 3) settlement.cohortSize++;
            if (field == 4) settlement.price++;
            if (field == 5) settlement.payoutRoot = keccak256("another root");
            vm.expectRevert(_badKeyholderSignature(1));
            escrow.settleOrder(settlement, evidence);
        }
        settle(settlementOf(_id, PRICE, ROOT));
    }

    function test_signaturesForAnEarlierSequenceDoNotServeLater() public {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        bytes memory evidence = evidenceOf(settlement);
        settle(settlementOf(open(orderOf(RESEARCHER_KEY, 2)), PRICE, ROOT));
        settlement.payoutSequence = 2;
        vm.expectRevert(_badKeyholderSignature(1));
        escrow.settleOrder(settlement, evidence);
    }

    function test_oneKeyholderIsNotEnough() public {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        bytes memory evidence = _evidence(settlement, 1);
        vm.expectRevert(CommitteeVerifier.CommitteeVerifierBadEvidence.selector);
        escrow.settleOrder(settlement, evidence);
        // Nor is the same keyholder twice, in whatever order.
        evidence = evidenceBy(settlement, 2, 2);
        vm.expectRevert(CommitteeVerifier.CommitteeVerifierBadEvidence.selector);
        escrow.settleOrder(settlement, evidence);
        evidence = evidenceBy(settlement, 3, 1);
        vm.expectRevert(CommitteeVerifier.CommitteeVerifierBadEvidence.selector);
        escrow.settleOrder(settlement, evidence);
    }

    function test_strangersAndHighSDoNotCount() public {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        (uint8[] memory indices, bytes[] memory signatures) = abi.decode(evidenceOf(settlement), (uint8[], bytes[]));
        bytes memory honest = signatures[1];
        signatures[1] = signature(OTHER_KEY, escrowDigest(Typed.settlement(settlement)));
        vm.expectRevert(_badKeyholderSignature(3));
        escrow.settleOrder(settlement, abi.encode(indices, signatures));
        signatures[1] = highS(honest);
        vm.expectRevert(_badKeyholderSignature(3));
        escrow.settleOrder(settlement, abi.encode(indices, signatures));
        (signatures[1], indices[1]) = (honest, 4);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryBadKeyholder.selector, 4));
        escrow.settleOrder(settlement, abi.encode(indices, signatures));
        indices[1] = 3;
        escrow.settleOrder(settlement, abi.encode(indices, signatures));
    }

    function test_countsOfIndicesAndSignaturesMustAgree() public {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        (, bytes[] memory signatures) = abi.decode(_evidence(settlement, 3), (uint8[], bytes[]));
        (uint8[] memory two,) = abi.decode(_evidence(settlement, 2), (uint8[], bytes[]));
        vm.expectRevert(CommitteeVerifier.CommitteeVerifierBadEvidence.selector);
        escrow.settleOrder(settlement, abi.encode(two, signatures));
        vm.expectRevert(CommitteeVerifier.CommitteeVerifierBadEvidence.selector);
        escrow.settleOrder(settlement, abi.encode(new uint8[](4), new bytes[](4)));
        vm.expectRevert();
        escrow.settleOrder(settlement, "");
    }

    function test_signaturesForAnotherEscrowOrChainDoNotCount() public {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        bytes memory evidence = evidenceOf(settlement);
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        vm.expectRevert(_badKeyholderSignature(1));
        escrow.settleOrder(settlement, evidence);
        vm.chainId(here);

        QueryEscrow first = escrow;
        escrow = new QueryEscrow(token, registry, verifier);
        vm.prank(_researcher);
        token.approve(address(escrow), type(uint256).max);
        assertEq(open(_order), _id, "the same order in another escrow has the same id");
        vm.expectRevert(_badKeyholderSignature(1));
        escrow.settleOrder(settlement, evidence);
        first.settleOrder(settlement, evidence);
    }

    function test_formerKeyholderDoesNotCount() public {
        IQueryEscrow.Settlement memory settlement = settlementOf(_id, PRICE, ROOT);
        bytes memory evidence = evidenceOf(settlement);
        registry.setKeyholder(1, vm.addr(0xA20), hpkeKey(1));
        vm.expectRevert(_badKeyholderSignature(1));
        escrow.settleOrder(settlement, evidence);
        keyholderKeys[0] = 0xA20;
        settle(settlement);
    }

    function test_incompleteCommitteeSettlesNothing() public {
        DatasetRegistry empty = new DatasetRegistry(address(this), productionParameters());
        empty.publishPanel(PANEL, "panel", 4080, true);
        empty.setKeyholder(1, vm.addr(keyholderKeys[0]), hpkeKey(1));
        empty.setKeyholder(3, vm.addr(keyholderKeys[2]), hpkeKey(3));
        escrow = new QueryEscrow(token, empty, new CommitteeVerifier(empty));
        vm.prank(_researcher);
        token.approve(address(escrow), type(uint256).max);
        IQueryEscrow.Settlement memory settlement = settlementOf(open(orderOf(RESEARCHER_KEY, 2)), PRICE, ROOT);
        settleExpecting(settlement, abi.encodePacked(CommitteeVerifier.CommitteeVerifierCommitteeIncomplete.selector));
        empty.setKeyholder(2, vm.addr(keyholderKeys[1]), hpkeKey(2));
        settle(settlement);
    }

    // ---- Verifiers ----

    function test_verifierMustAnswerWithItsSelector() public {
        bytes4[3] memory answers = [bytes4(0), bytes4(0xffffffff), bytes4(uint32(1))];
        for (uint256 i = 0; i < 3; i++) {
            _useVerifier(new ScriptedVerifier(answers[i]));
            bytes32 id = open(orderOf(RESEARCHER_KEY, 2));
            settleExpecting(
                settlementOf(id, PRICE, ROOT), abi.encodePacked(IQueryEscrow.QueryEscrowVerifierRefused.selector)
            );
        }
        _useVerifier(new ScriptedVerifier(ISettlementVerifier.verifySettlement.selector));
        settle(settlementOf(open(orderOf(RESEARCHER_KEY, 2)), PRICE, ROOT));
    }

    function test_contractsWithoutCodeAreRefusedAtDeployment() public {
        address nobody = address(0x1234);
        vm.expectRevert(IQueryEscrow.QueryEscrowBadDeployment.selector);
        new QueryEscrow(IERC20(nobody), registry, verifier);
        vm.expectRevert(IQueryEscrow.QueryEscrowBadDeployment.selector);
        new QueryEscrow(token, IDatasetRegistry(nobody), verifier);
        vm.expectRevert(IQueryEscrow.QueryEscrowBadDeployment.selector);
        new QueryEscrow(token, registry, ISettlementVerifier(nobody));
        vm.expectRevert(CommitteeVerifier.CommitteeVerifierBadDeployment.selector);
        new CommitteeVerifier(IDatasetRegistry(nobody));
        require(
            address(escrow.token()) == address(token) && address(escrow.registry()) == address(registry)
                && address(escrow.verifier()) == address(verifier) && address(verifier.registry()) == address(registry),
            "wiring"
        );
    }

    function _useVerifier(ISettlementVerifier scripted) private {
        escrow = new QueryEscrow(token, registry, scripted);
        vm.prank(_researcher);
        token.approve(address(escrow), type(uint256).max);
    }

    /// @dev Signatures of the first keyholders, as many as asked for.
    function _evidence(IQueryEscrow.Settlement memory settlement, uint256 count) private view returns (bytes memory) {
        uint8[] memory indices = new uint8[](count);
        bytes[] memory signatures = new bytes[](count);
        for (uint256 i = 0; i < count; i++) {
            indices[i] = uint8(i + 1);
            signatures[i] = signature(keyholderKeys[i], escrowDigest(Typed.settlement(settlement)));
        }
        return abi.encode(indices, signatures);
    }

    function _badKeyholderSignature(uint8 keyholder) private pure returns (bytes memory) {
        return abi.encodeWithSelector(CommitteeVerifier.CommitteeVerifierBadSignature.selector, keyholder);
    }

    function _cohortTooSmall(uint32 size, uint32 min) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IQueryEscrow.QueryEscrowCohortTooSmall.selector, size, min);
    }
}
