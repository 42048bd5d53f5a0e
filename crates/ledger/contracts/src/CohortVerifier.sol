// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {CommitteeVerifier} from "./CommitteeVerifier.sol";
import {DataUseMasks} from "./DataUseMasks.sol";
import {ICohortVerifier} from "./ICohortVerifier.sol";
import {IProofVerifier} from "./IProofVerifier.sol";
import {IQueryEscrow} from "./IQueryEscrow.sol";
import {IRegistryRoots} from "./IRegistryRoots.sol";
import {ISettlementVerifier} from "./ISettlementVerifier.sol";

/// @title Accepts a settlement on a proven cohort statement that two of the three keyholders signed.
/// @notice Every public input of a proof is computed here from storage and from the conditions; nobody supplies one.
contract CohortVerifier is ICohortVerifier, CommitteeVerifier {
    /// What a settlement shows beside the keyholders' signatures: the conditions that the order does not fix.
    struct Choice {
        uint256 reducedRoot;
        uint96 priceCeiling;
        /// The named buyers whose offers are taken; empty for none.
        address[] buyers;
    }

    uint256 private constant _R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant _COHORT_INPUTS = 19;
    uint256 private constant _LEAVE_OUT_INPUTS = 2;
    /// Offers must hold until the end of the hour in which an order opens, so that orders of one hour share statements.
    uint64 private constant _TIME_STEP = 1 hours;

    IRegistryRoots private immutable _roots;
    IProofVerifier private immutable _cohortProofs;
    IProofVerifier private immutable _leaveOutProofs;
    uint256 private immutable _shardLeaves;
    /// Digest of no payouts.
    uint256 private immutable _noPayouts;
    mapping(bytes32 key => Sums) private _statements;
    mapping(uint256 root => mapping(uint256 reducedRoot => bool)) private _reduced;

    /// @param shardLeaves Leaves of one proof, fixed by the circuit.
    /// @param noPayouts The circuit's digest before the first payout.
    constructor(
        IRegistryRoots roots_,
        IProofVerifier cohortProofs,
        IProofVerifier leaveOutProofs,
        uint256 shardLeaves,
        uint256 noPayouts
    ) CommitteeVerifier(roots_.registry()) {
        bool sound = address(cohortProofs).code.length > 0 && address(leaveOutProofs).code.length > 0 && shardLeaves > 0
            && noPayouts < _R;
        if (!sound || cohortProofs.inputCount() != _COHORT_INPUTS || leaveOutProofs.inputCount() != _LEAVE_OUT_INPUTS) {
            revert CohortVerifierBadDeployment();
        }
        _roots = roots_;
        _cohortProofs = cohortProofs;
        _leaveOutProofs = leaveOutProofs;
        _shardLeaves = shardLeaves;
        _noPayouts = noPayouts;
    }

    // ---- Statements ----

    /// @inheritdoc ICohortVerifier
    function leaveOut(uint256 root, uint256 reducedRoot, uint256[8] calldata proof) external {
        uint256[] memory inputs = new uint256[](_LEAVE_OUT_INPUTS);
        (inputs[0], inputs[1]) = (root, reducedRoot);
        if (!_leaveOutProofs.verify(proof, inputs)) revert CohortVerifierBadProof(0);
        _reduced[root][reducedRoot] = true;
        emit MembersLeftOut(root, reducedRoot);
    }

    /// @inheritdoc ICohortVerifier
    function proveCohort(Statement calldata statement, Shard[] calldata shards) external returns (bytes32 key) {
        key = statementKey(statement);
        if (_statements[key].members > 0) return key;
        uint256[] memory inputs = _conditions(statement);
        // The neutral point of a twisted Edwards curve is (0, 1).
        Sums memory sums = Sums({members: 0, price: 0, payouts: _noPayouts, pointX: 0, pointY: 1});
        uint256 free = 0;
        for (uint256 i = 0; i < shards.length; i++) {
            uint256 start = shards[i].start;
            if (start < free || start % _shardLeaves != 0) revert CohortVerifierBadShard(i);
            free = start + _shardLeaves;
            inputs[1] = start;
            _place(inputs, 9, sums);
            sums = shards[i].sums;
            _place(inputs, 14, sums);
            if (!_cohortProofs.verify(shards[i].proof, inputs)) revert CohortVerifierBadProof(i);
        }
        if (sums.members == 0) revert CohortVerifierBadShard(0);
        _statements[key] = sums;
        emit CohortProven(key, statement, sums);
    }

    /// @inheritdoc ICohortVerifier
    function sumsOf(bytes32 key) public view returns (Sums memory sums) {
        sums = _statements[key];
        if (sums.members == 0) revert CohortVerifierNotProven(key);
    }

    /// @inheritdoc ICohortVerifier
    function statementKey(Statement calldata statement) public pure returns (bytes32) {
        return keccak256(abi.encode(statement));
    }

    /// @inheritdoc ICohortVerifier
    function roots() external view returns (IRegistryRoots) {
        return _roots;
    }

    // ---- Settlements ----

    /// @inheritdoc ISettlementVerifier
    /// @dev Evidence is abi.encode(Choice, uint8[] keyholders, bytes[] signatures), keyholders ascending.
    function verifySettlement(
        bytes32,
        IQueryEscrow.OrderRecord calldata order,
        IQueryEscrow.Settlement calldata settlement,
        bytes32 settlementDigest,
        bytes calldata evidence
    ) external view override returns (bytes4) {
        (Choice memory choice, uint8[] memory keyholders, bytes[] memory signatures) =
            abi.decode(evidence, (Choice, uint8[], bytes[]));
        Sums memory sums = sumsOf(keccak256(abi.encode(_statementOf(order, choice))));
        bool equal = sums.members == settlement.cohortSize && sums.price == settlement.price
            && sums.payouts == settlement.payoutCommitment;
        if (!equal) revert CohortVerifierOtherSums();
        _checkSignatures(settlementDigest, keyholders, signatures);
        return ISettlementVerifier.verifySettlement.selector;
    }

    /// @dev The statement that an order settles on.
    function _statementOf(IQueryEscrow.OrderRecord calldata order, Choice memory choice)
        private
        pure
        returns (Statement memory statement)
    {
        statement.panelDigest = order.panelDigest;
        statement.rootSequence = order.rootSequence;
        statement.reducedRoot = choice.reducedRoot;
        statement.purpose = order.purpose;
        statement.conditionDigest = order.conditionDigest;
        (statement.tier, statement.queryClass) = (order.tier, order.queryClass);
        (statement.blockFirst, statement.blockLast) = (order.blockFirst, order.blockLast);
        statement.time = (uint64(order.openedAt) + _TIME_STEP - 1) / _TIME_STEP * _TIME_STEP;
        statement.accredited = order.accredited;
        statement.priceCeiling = choice.priceCeiling;
        if (choice.buyers.length > 0) {
            bool isNamed = false;
            for (uint256 i = 0; i < choice.buyers.length; i++) {
                isNamed = isNamed || choice.buyers[i] == order.researcher;
            }
            if (!isNamed) revert CohortVerifierNotABuyer(order.researcher);
            statement.buyersHash = keccak256(abi.encodePacked(choice.buyers));
        }
    }

    /// @dev The public inputs that do not depend on the shard; places 1 and 9 to 18 are filled in for each.
    function _conditions(Statement calldata statement) private view returns (uint256[] memory inputs) {
        inputs = new uint256[](_COHORT_INPUTS);
        uint256 root = _roots.rootAt(statement.panelDigest, statement.rootSequence);
        if (root == 0) revert CohortVerifierUnknownRoot();
        if (statement.reducedRoot != 0) {
            if (!_reduced[root][statement.reducedRoot]) revert CohortVerifierUnknownRoot();
            root = statement.reducedRoot;
        }
        (uint32 forbidden, uint32 anyOf, bool sameCondition) = DataUseMasks.masksOf(statement.purpose);
        (inputs[0], inputs[2], inputs[3]) = (root, forbidden, anyOf);
        inputs[4] = uint256(statement.conditionDigest) % _R;
        // Three bits for the tier, three for the class, the blocks, three flags.
        inputs[5] = uint256(1) << statement.tier | uint256(1) << (3 + statement.queryClass)
            | uint256(statement.blockFirst) << 6 | uint256(statement.blockLast) << 22
            | (statement.accredited ? uint256(1) << 38 : 0) | (sameCondition ? uint256(1) << 39 : 0);
        inputs[6] = statement.time;
        inputs[7] = uint256(statement.buyersHash) % _R;
        inputs[8] = statement.priceCeiling;
    }

    function _place(uint256[] memory inputs, uint256 first, Sums memory sums) private pure {
        (inputs[first], inputs[first + 1], inputs[first + 2]) = (sums.members, sums.price, sums.payouts);
        (inputs[first + 3], inputs[first + 4]) = (sums.pointX, sums.pointY);
    }
}
