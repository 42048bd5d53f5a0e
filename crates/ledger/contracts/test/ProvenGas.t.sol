// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ICohortVerifier} from "../src/ICohortVerifier.sol";
import {IOfferBook} from "../src/IOfferBook.sol";
import {IQueryEscrow} from "../src/IQueryEscrow.sol";
import {Scene} from "./support/Scene.sol";

/// @title What transactions of a market with proofs cost, with real proofs and keys.
/// @notice In isolation every call is a transaction of its own. Run with -vv to see the figures.
contract ProvenGasTest is Scene {
    /// The event that forge prints.
    event log_named_uint(string what, uint256 gas);

    /// forge-config: default.isolate = true
    function test_advancingCostsUnder20000GasPerEvent() public {
        for (uint256 number = 0; number < BATCHES; number++) {
            advance(number);
            uint256 gas = _report(number + 1 < BATCHES ? "advance, 64 registrations" : "advance, 8 events");
            require(gas < EVENTS * 20_000, "a batch is too dear");
        }
    }

    /// forge-config: default.isolate = true
    function test_provingAndSettlingCohorts() public {
        advanceAll();
        cohorts.proveCohort(statement(), noCohort(), stepsOf(0));
        uint256 first = _report("proveCohort, one shard");
        cohorts.proveCohort(statement(), stepOf(0).cohort, stepsOf(1));
        _report("proveCohort, one shard more");
        ICohortVerifier.Step[] memory steps = bothSteps();
        vm.store(address(cohorts), _slotOf(cohorts.cohortIdOf(statement(), steps[1].cohort)), bytes32(0));
        cohorts.proveCohort(statement(), noCohort(), steps);
        uint256 both = _report("proveCohort, two shards at once");
        emit log_named_uint("proveCohort, each further shard", both - first);
        require(both - first < 260_000, "a shard is too dear");
        for (uint64 nonce = 1; nonce <= 2; nonce++) {
            IQueryEscrow.Order memory order = sceneOrder(nonce);
            bytes32 id = open(order);
            _report(nonce == 1 ? "openOrder, first" : "openOrder, next");
            IQueryEscrow.Settlement memory settlement = sceneSettlement(id, steps[1].cohort);
            escrow.settleOrder(settlement, signShown(shownFor(order, steps[1].cohort), settlement));
            require(_report(nonce == 1 ? "settleOrder, first" : "settleOrder, next") < 260_000, "too dear");
        }
    }

    /// forge-config: default.isolate = true
    function test_operationsOnManyGroups() public {
        IOfferBook.Offer memory offer = sceneOffer(BIOBANK, 1, [uint96(1 ether), 2 ether, 3 ether]);
        post(OTHER_KEY, offer);
        _report("postOffer, 254 groups");
        uint32[] memory ordinals = new uint32[](1_269);
        for (uint32 i = 0; i < ordinals.length; i++) {
            ordinals[i] = i + 1;
        }
        revoke(OTHER_KEY, BIOBANK, ordinals);
        _report("revokeDatasets, 1,269 of 254 groups");
        for (uint256 count = 1; count <= 7; count += 6) {
            registerCommitted(CONTRIBUTOR_KEY, 50 + count, 0, count, address(0));
            _report(string.concat("registerCommittedDatasets ", decimal(count)));
        }
    }

    /// @dev Of a cohort in the mapping of proven ones, the artifact's slot 2.
    function _slotOf(bytes32 cohortId) private pure returns (bytes32) {
        return keccak256(abi.encode(cohortId, 2));
    }

    function _report(string memory what) private returns (uint256 gas) {
        (, uint64 total,,,) = vm.lastCallGas();
        gas = total;
        emit log_named_uint(what, gas);
    }
}
