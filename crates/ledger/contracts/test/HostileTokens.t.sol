// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IQueryEscrow} from "../src/IQueryEscrow.sol";
import {QueryEscrow} from "../src/QueryEscrow.sol";
import {Fixture} from "./support/Fixture.sol";
import {BlockingToken, FalseToken, FeeToken, PhantomToken, ReentrantToken, SilentToken} from "./support/Tokens.sol";

contract HostileTokensTest is Fixture {
    uint96 private constant PRICE = 300 ether;
    bytes32 private constant ROOT = keccak256("payout root");

    address private _researcher;

    function setUp() public override {
        super.setUp();
        _researcher = vm.addr(RESEARCHER_KEY);
    }

    function test_tokenThatKeepsAFeeIsRefused() public {
        FeeToken hostile = new FeeToken();
        _pay(address(hostile));
        hostile.mint(_researcher, 10 * MAX_PRICE);
        openExpecting(orderOf(RESEARCHER_KEY, 1), abi.encodePacked(IQueryEscrow.QueryEscrowTransferMismatch.selector));
    }

    function test_tokenThatMovesNothingIsRefused() public {
        PhantomToken hostile = new PhantomToken();
        _pay(address(hostile));
        openExpecting(orderOf(RESEARCHER_KEY, 1), abi.encodePacked(IQueryEscrow.QueryEscrowTransferMismatch.selector));
    }

    function test_tokenThatAnswersFalseOpensNothing() public {
        FalseToken hostile = new FalseToken();
        _pay(address(hostile));
        hostile.mint(_researcher, 10 * MAX_PRICE);
        hostile.lie(true);
        openExpecting(
            orderOf(RESEARCHER_KEY, 1),
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(hostile))
        );
        hostile.lie(false);
        open(orderOf(RESEARCHER_KEY, 1));
    }

    function test_payoutThatTheTokenRefusesCanBeClaimedLater() public {
        FalseToken hostile = new FalseToken();
        _pay(address(hostile));
        hostile.mint(_researcher, MAX_PRICE);
        settle(settlementOf(open(orderOf(RESEARCHER_KEY, 1)), PRICE, payoutLeaf(RELAYER, PRICE)));
        hostile.lie(true);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(hostile)));
        escrow.claimPayout(RELAYER, PRICE, new bytes32[](0));
        assertEq(escrow.claimed(RELAYER), 0, "nothing counted as paid");
        hostile.lie(false);
        escrow.claimPayout(RELAYER, PRICE, new bytes32[](0));
        assertEq(hostile.balanceOf(RELAYER), PRICE, "paid");
    }

    function test_refundThatTheTokenAnswersWithFalseIsDeferred() public {
        FalseToken hostile = new FalseToken();
        _pay(address(hostile));
        hostile.mint(_researcher, MAX_PRICE);
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        bytes32 id = open(order);
        hostile.lie(true);
        vm.warp(uint256(order.deadline) + 1);
        escrow.refundOrder(id);
        assertEq(escrow.deferredRefund(_researcher), MAX_PRICE, "deferred");
        hostile.lie(false);
        escrow.withdrawDeferred(_researcher);
        assertEq(hostile.balanceOf(_researcher), MAX_PRICE, "withdrawn");
    }

    function test_tokenWithoutReturnValuesWorks() public {
        SilentToken silent = new SilentToken();
        _pay(address(silent));
        silent.mint(_researcher, MAX_PRICE);
        settle(settlementOf(open(orderOf(RESEARCHER_KEY, 1)), PRICE, payoutLeaf(RELAYER, PRICE)));
        escrow.claimPayout(RELAYER, PRICE, new bytes32[](0));
        assertEq(silent.balanceOf(_researcher), MAX_PRICE - PRICE, "rest");
        assertEq(silent.balanceOf(RELAYER), PRICE, "payout");
    }

    // ---- A researcher whom the token refuses ----

    function test_blockedResearcherCannotStopASettlement() public {
        BlockingToken blocking = _blockingToken();
        bytes32 id = open(orderOf(RESEARCHER_KEY, 1));
        blocking.setBlocked(_researcher, true);
        vm.expectEmit(address(escrow));
        emit IQueryEscrow.RefundDeferred(_researcher, MAX_PRICE - PRICE);
        settle(settlementOf(id, PRICE, payoutLeaf(RELAYER, PRICE)));
        escrow.claimPayout(RELAYER, PRICE, new bytes32[](0));
        assertEq(blocking.balanceOf(RELAYER), PRICE, "the contributor is paid");
        assertEq(escrow.deferredRefund(_researcher), MAX_PRICE - PRICE, "deferred");
        _withdrawLater(blocking, MAX_PRICE - PRICE);
    }

    function test_refundOfABlockedResearcherWaitsInTheirName() public {
        BlockingToken blocking = _blockingToken();
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 1);
        bytes32 id = open(order);
        blocking.setBlocked(_researcher, true);
        vm.warp(uint256(order.deadline) + 1);
        escrow.refundOrder(id);
        _withdrawLater(blocking, MAX_PRICE);
        vm.expectRevert(abi.encodeWithSelector(IQueryEscrow.QueryEscrowNothingDeferred.selector, _researcher));
        escrow.withdrawDeferred(_researcher);
    }

    // ---- Reentrancy ----

    /// @dev Every entry point, called again from inside a transfer of every other one, is refused.
    function test_noEntryPointCanBeReentered() public {
        ReentrantToken hostile = new ReentrantToken();
        _pay(address(hostile));
        hostile.mint(_researcher, 100 * MAX_PRICE);
        bytes32 victim = open(orderOf(RESEARCHER_KEY, 1));
        vm.warp(START + 2 hours);
        uint64 nonce = 2;
        for (uint256 attack = 0; attack < 4; attack++) {
            bytes memory call_ = _attack(attack, victim, ++nonce);
            hostile.attack(address(escrow), call_);
            bytes32 id = open(orderOf(RESEARCHER_KEY, ++nonce));
            call_ = _attack(attack, victim, ++nonce);
            hostile.attack(address(escrow), call_);
            settle(settlementOf(id, PRICE, payoutLeaf(RELAYER, escrow.settledTotal() + PRICE)));
            call_ = _attack(attack, victim, ++nonce);
            hostile.attack(address(escrow), call_);
            escrow.claimPayout(RELAYER, escrow.settledTotal(), new bytes32[](0));
        }
        assertEq(hostile.attempts(), 12, "attempts");
        assertEq(hostile.refusals(), 12, "refusals by the guard");
        // Control: outside a transfer the same calls go through.
        open(orderOf(RESEARCHER_KEY, ++nonce));
        escrow.refundOrder(victim);
    }

    function _attack(uint256 attack, bytes32 victim, uint64 nonce) private view returns (bytes memory) {
        if (attack == 0) return abi.encodeCall(IQueryEscrow.refundOrder, (victim));
        if (attack == 1) {
            IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, nonce);
            return abi.encodeCall(IQueryEscrow.openOrder, (order, signOrder(order, RESEARCHER_KEY)));
        }
        if (attack == 2) {
            return abi.encodeCall(IQueryEscrow.claimPayout, (RELAYER, escrow.settledTotal(), new bytes32[](0)));
        }
        return abi.encodeCall(IQueryEscrow.withdrawDeferred, (_researcher));
    }

    function _blockingToken() private returns (BlockingToken blocking) {
        blocking = new BlockingToken();
        _pay(address(blocking));
        blocking.mint(_researcher, MAX_PRICE);
    }

    function _withdrawLater(BlockingToken blocking, uint256 amount) private {
        vm.expectRevert(BlockingToken.BlockingTokenBlocked.selector);
        escrow.withdrawDeferred(_researcher);
        blocking.setBlocked(_researcher, false);
        vm.prank(RELAYER);
        escrow.withdrawDeferred(_researcher);
        assertEq(blocking.balanceOf(_researcher), amount, "withdrawn");
        assertEq(blocking.balanceOf(address(escrow)), 0, "nothing left");
    }

    /// @dev Deploys an escrow that pays in this token, and lets it take the researcher's money.
    function _pay(address payment) private {
        escrow = new QueryEscrow(IERC20(payment), registry, verifier);
        vm.prank(_researcher);
        // Without a look at the answer, which one of these tokens does not give.
        (bool approved,) = payment.call(abi.encodeCall(IERC20.approve, (address(escrow), type(uint256).max)));
        require(approved, "approved");
    }
}
