// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQueryEscrow} from "../src/IQueryEscrow.sol";
import {Fixture} from "./support/Fixture.sol";

contract PayoutsTest is Fixture {
    address private constant ALICE = address(0xA);
    address private constant BOB = address(0xB);
    uint96 private constant PRICE = 100 ether;

    uint64 private _nonce;

    // ---- What is paid ----

    function test_accountsDrawTheirCumulativeEarningsOnce() public {
        (bytes32 root, bytes32[] memory alice, bytes32[] memory bob) = _tree(40 ether, 60 ether);
        _settle(PRICE, root);
        vm.expectEmit(address(escrow));
        emit IQueryEscrow.PayoutClaimed(ALICE, 40 ether);
        vm.prank(RELAYER);
        escrow.claimPayout(ALICE, 40 ether, alice);
        _claimExpecting(ALICE, 40 ether, alice, abi.encodePacked(IQueryEscrow.QueryEscrowNothingToClaim.selector));
        escrow.claimPayout(BOB, 60 ether, bob);
        assertEq(token.balanceOf(ALICE), 40 ether, "alice");
        assertEq(token.balanceOf(BOB), 60 ether, "bob");
        assertEq(escrow.claimed(ALICE), 40 ether, "claimed");
        assertEq(escrow.claimedTotal(), PRICE, "claimed total");
        assertEq(token.balanceOf(address(escrow)), 0, "pool is empty");
    }

    function test_laterRootPaysOnlyTheDifference() public {
        (bytes32 root, bytes32[] memory alice,) = _tree(40 ether, 60 ether);
        _settle(PRICE, root);
        escrow.claimPayout(ALICE, 40 ether, alice);
        bytes32[] memory bob;
        (root, alice, bob) = _tree(55 ether, 145 ether);
        _settle(PRICE, root);
        escrow.claimPayout(ALICE, 55 ether, alice);
        escrow.claimPayout(BOB, 145 ether, bob);
        assertEq(token.balanceOf(ALICE), 55 ether, "alice");
        assertEq(token.balanceOf(BOB), 145 ether, "bob");
    }

    function test_claimsWorkWhilePaused() public {
        (bytes32 root, bytes32[] memory alice,) = _tree(40 ether, 60 ether);
        _settle(PRICE, root);
        registry.pause();
        escrow.claimPayout(ALICE, 40 ether, alice);
        assertEq(token.balanceOf(ALICE), 40 ether, "paid");
    }

    function testFuzz_everyLeafOfATreeCanBeClaimed(uint256 seed, uint8 depth, uint256 index) public {
        uint256 count = 1 << (depth % 5);
        index %= count;
        bytes32[] memory leaves = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            leaves[i] = payoutLeaf(_account(seed, i), _amount(seed, i));
        }
        (bytes32 root, bytes32[] memory path) = merkle(leaves, index);
        _settle(PRICE, root);
        escrow.claimPayout(_account(seed, index), _amount(seed, index), path);
        assertEq(token.balanceOf(_account(seed, index)), _amount(seed, index), "paid");
    }

    // ---- What is not paid ----

    function test_nothingIsPaidBeforeTheFirstSettlement() public {
        (, bytes32[] memory alice,) = _tree(40 ether, 60 ether);
        _claimExpecting(ALICE, 40 ether, alice, abi.encodePacked(IQueryEscrow.QueryEscrowBadPayoutProof.selector));
        _claimExpecting(
            ALICE, 40 ether, new bytes32[](0), abi.encodePacked(IQueryEscrow.QueryEscrowBadPayoutProof.selector)
        );
    }

    function testFuzz_changedClaimIsRefused(address account, uint256 cumulative, bytes32 sibling) public {
        (bytes32 root, bytes32[] memory alice,) = _tree(40 ether, 60 ether);
        _settle(PRICE, root);
        bytes memory badProof = abi.encodePacked(IQueryEscrow.QueryEscrowBadPayoutProof.selector);
        if (account != ALICE) _claimExpecting(account, 40 ether, alice, badProof);
        if (cumulative != 40 ether) _claimExpecting(ALICE, cumulative, alice, badProof);
        bytes32[] memory path = new bytes32[](1);
        path[0] = sibling;
        if (sibling != alice[0]) _claimExpecting(ALICE, 40 ether, path, badProof);
    }

    function test_claimAgainstAnOlderRootIsRefused() public {
        (bytes32 root, bytes32[] memory alice,) = _tree(40 ether, 60 ether);
        _settle(PRICE, root);
        (root,,) = _tree(41 ether, 60 ether);
        _settle(1 ether, root);
        _claimExpecting(ALICE, 40 ether, alice, abi.encodePacked(IQueryEscrow.QueryEscrowBadPayoutProof.selector));
    }

    function test_loweredEarningsPayNothingBackAndNothingMore() public {
        (bytes32 root, bytes32[] memory alice,) = _tree(40 ether, 60 ether);
        _settle(PRICE, root);
        escrow.claimPayout(ALICE, 40 ether, alice);
        (root, alice,) = _tree(39 ether, 60 ether);
        _settle(1 ether, root);
        _claimExpecting(ALICE, 39 ether, alice, abi.encodePacked(IQueryEscrow.QueryEscrowNothingToClaim.selector));
    }

    /// @dev Even a committee that signs a false root cannot pay out what no order paid in, so open orders are safe.
    function test_rootThatPromisesMoreThanThePoolCannotTouchOpenOrders() public {
        open(orderOf(RESEARCHER_KEY, 99));
        (bytes32 root, bytes32[] memory alice, bytes32[] memory bob) = _tree(101 ether, 100 ether);
        _settle(PRICE, root);
        bytes memory exceeded = abi.encodePacked(IQueryEscrow.QueryEscrowPoolExceeded.selector);
        _claimExpecting(ALICE, 101 ether, alice, exceeded);
        escrow.claimPayout(BOB, 100 ether, bob);
        _claimExpecting(ALICE, 101 ether, alice, exceeded);
        assertEq(token.balanceOf(address(escrow)), MAX_PRICE, "the open order is whole");
    }

    /// @dev With leaves hashed once, the 64 bytes below an inner node read as (account, amount) would be a leaf.
    function test_innerNodeCannotPassForALeaf() public {
        address thief = address(0x7E1F);
        uint256 loot = PRICE;
        bytes32 left = bytes32(uint256(uint160(thief)));
        bytes32 right = bytes32(loot);
        bytes32 root = pairHash(left, right);
        // The attack works on a tree of leaves hashed once: this inner node is such a leaf.
        assertEq(keccak256(abi.encode(thief, loot)), root, "control");
        _settle(PRICE, root);
        _claimExpecting(
            thief, loot, new bytes32[](0), abi.encodePacked(IQueryEscrow.QueryEscrowBadPayoutProof.selector)
        );
    }

    function _settle(uint96 price, bytes32 root) private {
        settle(settlementOf(open(orderOf(RESEARCHER_KEY, ++_nonce)), price, root));
    }

    function _claimExpecting(address account, uint256 cumulative, bytes32[] memory path, bytes memory revertData)
        private
    {
        vm.expectRevert(revertData);
        escrow.claimPayout(account, cumulative, path);
    }

    function _tree(uint256 alice, uint256 bob)
        private
        pure
        returns (bytes32 root, bytes32[] memory pathOfAlice, bytes32[] memory pathOfBob)
    {
        bytes32[] memory leaves = new bytes32[](2);
        (leaves[0], leaves[1]) = (payoutLeaf(ALICE, alice), payoutLeaf(BOB, bob));
        (root, pathOfAlice) = merkle(leaves, 0);
        (, pathOfBob) = merkle(leaves, 1);
    }

    function _account(uint256 seed, uint256 i) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("account", seed, i)))));
    }

    function _amount(uint256 seed, uint256 i) private pure returns (uint256) {
        return clamp(uint256(keccak256(abi.encode("amount", seed, i))), 1, PRICE);
    }
}
