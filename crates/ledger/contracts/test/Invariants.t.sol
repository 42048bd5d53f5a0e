// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MarketHandler} from "./support/MarketHandler.sol";

/// @title What holds after any sequence of actions of eight actors.
contract InvariantsTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// The event that forge prints.
    event log_named_uint(string what, uint256 value);

    MarketHandler private _market;

    function setUp() public {
        _market = new MarketHandler();
        _market.setUp();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_market);
    }

    /// @dev Orders, settlements and time appear more than once: they must meet for anything to happen.
    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[18] memory list = [
            MarketHandler.registerSome.selector,
            MarketHandler.copyDataset.selector,
            MarketHandler.revoke.selector,
            MarketHandler.revoke.selector,
            MarketHandler.rekeySome.selector,
            MarketHandler.postOffer.selector,
            MarketHandler.withdrawOffer.selector,
            MarketHandler.openOrder.selector,
            MarketHandler.openOrder.selector,
            MarketHandler.openAgain.selector,
            MarketHandler.settleOrder.selector,
            MarketHandler.settleOrder.selector,
            MarketHandler.settleAgain.selector,
            MarketHandler.refundOrder.selector,
            MarketHandler.claim.selector,
            MarketHandler.transfer.selector,
            MarketHandler.pass.selector,
            MarketHandler.togglePause.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(_market);
        targets[0].selectors = new bytes4[](list.length);
        for (uint256 i = 0; i < list.length; i++) {
            targets[0].selectors[i] = list[i];
        }
    }

    /// @dev One invariant with three parts, so that every sequence is checked for all of them:
    /// tokens are conserved, the escrow covers what it owes, payouts stay within settled prices, claims count once;
    /// orders keep price, deadline and owner and change state only as they may;
    /// revoked bits stay set and no others are, generations count re-keyings, slots and ids are contiguous, nobody moves the nonce of another.
    function invariant_marketKeepsItsPromises() public view {
        _market.checkMoney();
        _market.checkOrders();
        _market.checkRegistry();
    }

    function afterInvariant() public {
        _market.refundEverything();
    }

    /// @dev The actions are worth something: on a long random walk each one is accepted often, and refused often where
    /// it can be refused. What can never be accepted is refused every time, or the action itself fails.
    function test_randomWalkSeesBothAnswersOfEveryAction() public {
        bytes4[] memory selectors = targetSelectors()[0].selectors;
        for (uint256 step = 0; step < 3_000; step++) {
            uint256 random = uint256(keccak256(abi.encode("walk", step)));
            bytes memory arguments =
                abi.encode(uint32(random), uint32(random >> 32), uint32(random >> 64), uint32(random >> 96));
            (bool done,) = address(_market).call(bytes.concat(selectors[(random >> 128) % selectors.length], arguments));
            require(done, "an action failed");
        }
        string[8] memory twoSided =
            ["register", "revoke", "rekey", "post offer", "withdraw offer", "open order", "settle", "refund"];
        for (uint256 i = 0; i < twoSided.length; i++) {
            _requireOutcomes(twoSided[i], true);
            _requireOutcomes(twoSided[i], false);
        }
        _requireOutcomes("claim", true);
        _requireOutcomes("claim", false);
        _requireOutcomes("copy", false);
        _requireOutcomes("open again", false);
        _requireOutcomes("settle again", false);
        invariant_marketKeepsItsPromises();
        _market.refundEverything();
    }

    function _requireOutcomes(string memory action, bool accepted) private {
        uint256 count = _market.outcomes(action, accepted);
        emit log_named_uint(string.concat(action, accepted ? " accepted" : " refused"), count);
        require(count >= 5, string.concat(action, accepted ? " is hardly ever accepted" : " is hardly ever refused"));
    }
}
