// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IQueryEscrow} from "../src/IQueryEscrow.sol";
import {QueryEscrow} from "../src/QueryEscrow.sol";
import {Fixture} from "./support/Fixture.sol";
import {Typed} from "./support/Typed.sol";
import {OwnedWallet, RevertingWallet} from "./support/Wallets.sol";

contract OrdersTest is Fixture {
    address private _researcher;

    function setUp() public override {
        super.setUp();
        _researcher = vm.addr(RESEARCHER_KEY);
    }

    // ---- Opening ----

    function test_openedOrderLocksTheHighestPrice() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        uint256 before = token.balanceOf(_researcher);
        vm.expectEmit(address(escrow));
        emit IQueryEscrow.OrderOpened(Typed.order(order), _researcher, order);
        bytes32 id = open(order);
        assertEq(id, Typed.order(order), "id is the struct hash of the specification");
        assertEq(id, escrow.orderHash(order), "and the view agrees");
        assertEq(before - token.balanceOf(_researcher), MAX_PRICE, "paid");
        assertEq(token.balanceOf(address(escrow)), MAX_PRICE, "held");
        IQueryEscrow.OrderRecord memory record = escrow.orderRecord(id);
        require(record.state == IQueryEscrow.OrderState.Open, "open");
        require(
            record.researcher == _researcher && record.maxPrice == MAX_PRICE && record.panelDigest == PANEL
                && record.deadline == order.deadline && record.purpose == 1 && record.queryClass == 0
                && record.tier == 0,
            "record"
        );
    }

    function test_signatureThatWasNotForThisOrderIsRefused() public {
        for (uint256 field = 0; field < 11; field++) {
            IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
            bytes memory signed = signOrder(order, RESEARCHER_KEY);
            if (field == 0) order.panelDigest = SECOND_PANEL;
            if (field == 1) order.selectionDigest = keccak256("everything");
            if (field == 2) order.predicateDigest = keccak256("narrow");
            if (field == 3) order.queryClass = 1;
            if (field == 4) order.purpose = 2;
            if (field == 5) order.conditionDigest = keccak256("asthma");
            if (field == 6) order.tier = 1;
            if (field == 7) order.rhoNano--;
            if (field == 8) order.maxPrice++;
            if (field == 9) order.hpkeKeyDigest = keccak256("key of somebody else");
            if (field == 10) order.deadline++;
            vm.expectRevert(_badSignature(_researcher));
            escrow.openOrder(order, signed);
            order = orderOf(RESEARCHER_KEY, 1);
            order.nonce++;
            vm.expectRevert(_badSignature(_researcher));
            escrow.openOrder(order, signed);
        }
        open(orderOf(RESEARCHER_KEY, 1));
    }

    function test_highSForeignOrEmptySignatureIsRefused() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        bytes memory high = highS(signOrder(order, RESEARCHER_KEY));
        bytes memory foreign = signOrder(order, OTHER_KEY);
        vm.expectRevert(_badSignature(_researcher));
        escrow.openOrder(order, high);
        vm.expectRevert(_badSignature(_researcher));
        escrow.openOrder(order, foreign);
        vm.expectRevert(_badSignature(_researcher));
        escrow.openOrder(order, "");
    }

    function test_orderForAnotherEscrowOrChainIsRefused() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        bytes memory signed = signOrder(order, RESEARCHER_KEY);
        QueryEscrow other = new QueryEscrow(token, registry, verifier);
        vm.expectRevert(_badSignature(_researcher));
        other.openOrder(order, signed);
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        vm.expectRevert(_badSignature(_researcher));
        escrow.openOrder(order, signed);
        vm.chainId(here);
        escrow.openOrder(order, signed);
    }

    function test_orderIdServesOnceForEver() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        bytes32 id = open(order);
        openExpecting(order, abi.encodeWithSelector(IQueryEscrow.QueryEscrowOrderExists.selector, id));
        settle(settlementOf(id, 1, keccak256("root")));
        openExpecting(order, abi.encodeWithSelector(IQueryEscrow.QueryEscrowOrderExists.selector, id));
        // And the same after a refund, as soon as a clock that was wrong would allow it.
        order.nonce = 2;
        id = open(order);
        vm.warp(uint256(order.deadline) + 1);
        escrow.refundOrder(id);
        vm.warp(START);
        openExpecting(order, abi.encodeWithSelector(IQueryEscrow.QueryEscrowOrderExists.selector, id));
    }

    /// @dev Whoever sees an order in the pool can open it first; that only saves the researcher the fee.
    function test_frontRunnerCanOnlyOpenTheVeryOrderInTheResearchersName() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        bytes memory signed = signOrder(order, RESEARCHER_KEY);
        IQueryEscrow.Order memory stolen = orderOf(OTHER_KEY, 1);
        vm.prank(vm.addr(OTHER_KEY));
        vm.expectRevert(_badSignature(vm.addr(OTHER_KEY)));
        escrow.openOrder(stolen, signed);
        vm.prank(vm.addr(OTHER_KEY));
        bytes32 id = escrow.openOrder(order, signed);
        assertEq(escrow.orderRecord(id).researcher, _researcher, "researcher");
        vm.expectRevert(abi.encodeWithSelector(IQueryEscrow.QueryEscrowOrderExists.selector, id));
        escrow.openOrder(order, signed);
        assertEq(token.balanceOf(address(escrow)), MAX_PRICE, "charged once");
    }

    function test_deadlineMustBeAheadAndWithinTheLifetime() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        uint64 latest = uint64(block.timestamp + productionParameters().orderLifetimeMax);
        order.deadline = latest + 1;
        openExpecting(order, _badDeadline(latest + 1));
        order.deadline = uint64(block.timestamp);
        openExpecting(order, _badDeadline(uint64(block.timestamp)));
        order.deadline = type(uint64).max;
        openExpecting(order, _badDeadline(type(uint64).max));
        order.deadline = latest;
        open(order);
    }

    function test_malformedOrderIsRefused() public {
        for (uint256 field = 0; field < 7; field++) {
            IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
            if (field == 0) order.queryClass = 3;
            if (field == 1) order.tier = 3;
            if (field == 2) order.rhoNano = 0;
            if (field == 3) order.tier = 2;
            if (field == 4) order.maxPrice = 0;
            if (field == 5) order.selectionDigest = bytes32(0);
            if (field == 6) order.hpkeKeyDigest = bytes32(0);
            openExpecting(order, abi.encodePacked(IQueryEscrow.QueryEscrowBadOrder.selector));
        }
        IQueryEscrow.Order memory exact = orderOf(RESEARCHER_KEY, 1);
        (exact.tier, exact.rhoNano) = (2, 0);
        open(exact);
    }

    function test_privacyLossIsCappedByTheTier() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        order.rhoNano = 10_000_001;
        openExpecting(
            order,
            abi.encodeWithSelector(IQueryEscrow.QueryEscrowRhoTooHigh.selector, uint64(10_000_001), uint64(10_000_000))
        );
        (order.tier, order.rhoNano) = (1, 50_000_001);
        openExpecting(
            order,
            abi.encodeWithSelector(IQueryEscrow.QueryEscrowRhoTooHigh.selector, uint64(50_000_001), uint64(50_000_000))
        );
        order.rhoNano = 50_000_000;
        open(order);
    }

    function test_unknownPanelAndPauseStopNewOrders() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        order.panelDigest = keccak256("unpublished");
        openExpecting(
            order, abi.encodeWithSelector(IQueryEscrow.QueryEscrowPanelUnknown.selector, keccak256("unpublished"))
        );
        registry.pause();
        order = orderOf(RESEARCHER_KEY, 1);
        openExpecting(order, abi.encodePacked(IQueryEscrow.QueryEscrowPaused.selector));
        registry.unpause();
        open(order);
    }

    function test_orderWithoutAllowanceOrMoneyIsRefused() public {
        vm.prank(_researcher);
        token.approve(address(escrow), MAX_PRICE - 1);
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        openExpecting(
            order,
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), MAX_PRICE - 1, MAX_PRICE
            )
        );
        require(
            escrow.orderRecord(Typed.order(order)).state == IQueryEscrow.OrderState.None,
            "a refused order leaves nothing"
        );
    }

    function test_contractWalletOrdersWithItsOwnersSignature() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        order.researcher = address(new OwnedWallet(_researcher));
        token.mint(order.researcher, MAX_PRICE);
        vm.prank(order.researcher);
        token.approve(address(escrow), MAX_PRICE);
        bytes memory foreign = signOrder(order, OTHER_KEY);
        vm.expectRevert(_badSignature(order.researcher));
        escrow.openOrder(order, foreign);
        open(order);
        order.researcher = address(new RevertingWallet());
        openExpecting(order, _badSignature(order.researcher));
    }

    // ---- Permits ----

    function test_permitGivesTheAllowance() public {
        (IQueryEscrow.Order memory order, IQueryEscrow.Permit memory permit) = _permitted();
        bytes memory signed = signOrder(order, RESEARCHER_KEY);
        vm.prank(RELAYER);
        escrow.openOrderWithPermit(order, signed, permit);
        assertEq(token.balanceOf(address(escrow)), MAX_PRICE, "held");
    }

    function test_permitUsedByAFrontRunnerDoesNotBlockTheOrder() public {
        (IQueryEscrow.Order memory order, IQueryEscrow.Permit memory permit) = _permitted();
        vm.prank(vm.addr(OTHER_KEY));
        token.permit(_researcher, address(escrow), permit.value, permit.deadline, permit.v, permit.r, permit.s);
        escrow.openOrderWithPermit(order, signOrder(order, RESEARCHER_KEY), permit);
        assertEq(token.balanceOf(address(escrow)), MAX_PRICE, "held");
    }

    function test_wrongPermitWithoutAllowanceIsRefused() public {
        (IQueryEscrow.Order memory order, IQueryEscrow.Permit memory permit) = _permitted();
        permit.s = bytes32(uint256(permit.s) ^ 1);
        bytes memory signed = signOrder(order, RESEARCHER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, MAX_PRICE)
        );
        escrow.openOrderWithPermit(order, signed, permit);
    }

    // ---- Refunds ----

    function testFuzz_anyoneRefundsAfterTheDeadlineAndNotBefore(address caller, uint256 lateness) public {
        vm.assume(caller != address(vm));
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        uint256 before = token.balanceOf(_researcher);
        bytes32 id = open(order);
        vm.warp(order.deadline);
        vm.expectRevert(abi.encodeWithSelector(IQueryEscrow.QueryEscrowBeforeDeadline.selector, order.deadline));
        escrow.refundOrder(id);
        vm.warp(order.deadline + clamp(lateness, 1, 1000 days));
        vm.expectEmit(address(escrow));
        emit IQueryEscrow.OrderRefunded(id, MAX_PRICE);
        vm.prank(caller);
        escrow.refundOrder(id);
        assertEq(token.balanceOf(_researcher), before, "all of it came back");
        vm.expectRevert(abi.encodeWithSelector(IQueryEscrow.QueryEscrowNotOpen.selector, id));
        escrow.refundOrder(id);
    }

    function test_refundWorksWhilePaused() public {
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        bytes32 id = open(order);
        registry.pause();
        vm.warp(uint256(order.deadline) + 1);
        escrow.refundOrder(id);
        assertEq(token.balanceOf(address(escrow)), 0, "nothing held");
    }

    function test_unknownOrderHasNoRefund() public {
        vm.expectRevert(abi.encodeWithSelector(IQueryEscrow.QueryEscrowNotOpen.selector, keccak256("no order")));
        escrow.refundOrder(keccak256("no order"));
    }

    function _permitted() private returns (IQueryEscrow.Order memory order, IQueryEscrow.Permit memory permit) {
        vm.prank(_researcher);
        token.approve(address(escrow), 0);
        order = orderOf(RESEARCHER_KEY, 1);
        (permit.value, permit.deadline) = (MAX_PRICE, block.timestamp + 1 hours);
        bytes32 structHash =
            Typed.permit(_researcher, address(escrow), permit.value, token.nonces(_researcher), permit.deadline);
        (permit.v, permit.r, permit.s) =
            vm.sign(RESEARCHER_KEY, Typed.digest("Locus Test Token", address(token), structHash));
    }

    function _badSignature(address signer) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IQueryEscrow.QueryEscrowBadSignature.selector, signer);
    }

    function _badDeadline(uint64 deadline) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IQueryEscrow.QueryEscrowBadDeadline.selector, deadline);
    }
}
