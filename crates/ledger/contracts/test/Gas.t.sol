// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IOfferBook} from "../src/IOfferBook.sol";
import {IQueryEscrow} from "../src/IQueryEscrow.sol";
import {Fixture} from "./support/Fixture.sol";
import {Typed} from "./support/Typed.sol";

/// @title What transactions cost, and the limits they must keep.
/// @notice In isolation every call is a transaction of its own: base cost, calldata, cold storage and refunds included.
/// Run with -vv to see the figures.
contract GasTest is Fixture {
    /// The event that forge prints.
    event log_named_uint(string what, uint256 gas);

    bytes32[] private _path;
    address private constant PAYEE = address(0xFA11);
    uint96 private constant PRICE = 300 ether;

    /// forge-config: default.isolate = true
    function test_bulkRegistrationCostsAtMost75000GasPerDataset() public {
        uint256[4] memory counts = [uint256(1), 16, 64, 200];
        register(CONTRIBUTOR_KEY, 99, 1);
        for (uint256 i = 0; i < 4; i++) {
            Batch memory batch = batchOf(CONTRIBUTOR_KEY, i, counts[i]);
            submit(batch);
            uint256 gas = _report(string.concat("registerDatasets ", decimal(counts[i]), ", whole"));
            emit log_named_uint(
                string.concat("registerDatasets ", decimal(counts[i]), ", per dataset"), gas / counts[i]
            );
            if (counts[i] >= 64) require(gas <= 75_000 * counts[i], "bulk registration is too dear");
        }
    }

    /// forge-config: default.isolate = true
    function test_accreditedRegistration() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 64);
        batch.registration.accreditor = vm.addr(ACCREDITOR_KEY);
        signBatch(batch, CONTRIBUTOR_KEY);
        submit(batch);
        _report("registerDatasets 64 with accreditor, whole");
    }

    /// forge-config: default.isolate = true
    function test_rekeyingCostsAtMost50000GasPerDataset() public {
        uint64 one = register(CONTRIBUTOR_KEY, 1, 1);
        uint64 many = register(CONTRIBUTOR_KEY, 2, 64);
        rekey(one, 1, keysOf(1, 1));
        _report("rekeyDatasets 1, whole");
        for (uint8 generation = 1; generation <= 2; generation++) {
            rekey(many, generation, keysOf(1 + generation, 64));
            uint256 gas = _report("rekeyDatasets 64, whole");
            emit log_named_uint("rekeyDatasets 64, per dataset", gas / 64);
            require(gas <= 50_000 * 64, "re-keying is too dear");
        }
    }

    /// forge-config: default.isolate = true
    function test_offersAndRevocations() public {
        uint64 id = register(CONTRIBUTOR_KEY, 1, 64);
        for (uint64 nonce = 1; nonce <= 2; nonce++) {
            IOfferBook.Offer memory offer = offerOf(id, nonce);
            offers.postOfferSigned(offer, signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer))));
            _report(nonce == 1 ? "postOfferSigned, first" : "postOfferSigned, later");
        }
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.withdrawOffer(id);
        _report("withdrawOffer");
        uint32[] memory all = new uint32[](64);
        for (uint32 i = 0; i < 64; i++) {
            all[i] = i;
        }
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(id, ordinalsOf(0));
        _report("revokeDatasets 1");
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(id, all);
        _report("revokeDatasets 64");
        bytes32 receipt = registryDigest(Typed.erasure(id, all, 1));
        registry.recordErasure(id, all, 1, signature(keyholderKeys[0], receipt));
        _report("recordErasure 64");
    }

    /// forge-config: default.isolate = true
    function test_settlementCostsWellUnder320000Gas() public {
        for (uint64 nonce = 1; nonce <= 2; nonce++) {
            bytes32 id = open(orderOf(RESEARCHER_KEY, nonce));
            _report(nonce == 1 ? "openOrder, first" : "openOrder, next");
            settle(settlementOf(id, PRICE, _tenLevels(PRICE * nonce)));
            uint256 gas = _report(nonce == 1 ? "settleOrder, first" : "settleOrder, next");
            require(gas < 200_000, "settlement is too dear");
            escrow.claimPayout(PAYEE, PRICE * nonce, _path);
            _report(nonce == 1 ? "claimPayout depth 10, first" : "claimPayout depth 10, next");
        }
        IQueryEscrow.Order memory order = orderOf(RESEARCHER_KEY, 3);
        bytes32 late = open(order);
        vm.warp(uint256(order.deadline) + 1);
        escrow.refundOrder(late);
        _report("refundOrder");
    }

    /// forge-config: default.isolate = true
    function test_administration() public {
        registry.setKeyholder(1, vm.addr(0xA20), hpkeKey(1));
        _report("setKeyholder");
        registry.publishPanel(keccak256("third"), "third", 4080, true);
        _report("publishPanel");
    }

    /// @dev A path of ten levels to the payee's leaf.
    function _tenLevels(uint256 cumulative) private returns (bytes32 root) {
        delete _path;
        root = payoutLeaf(PAYEE, cumulative);
        for (uint256 level = 0; level < 10; level++) {
            bytes32 sibling = keccak256(abi.encode("sibling", level));
            _path.push(sibling);
            root = pairHash(root, sibling);
        }
    }

    function _report(string memory what) private returns (uint256 gas) {
        (, uint64 total,,,) = vm.lastCallGas();
        gas = total;
        emit log_named_uint(what, gas);
    }
}
