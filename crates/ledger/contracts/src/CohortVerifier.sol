// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {CohortPolicies} from "./CohortPolicies.sol";
import {CommitteeVerifier} from "./CommitteeVerifier.sol";
import {ICohortVerifier} from "./ICohortVerifier.sol";
import {IProofVerifier} from "./IProofVerifier.sol";
import {IQueryEscrow} from "./IQueryEscrow.sol";
import {IRegistryRoots} from "./IRegistryRoots.sol";
import {ISettlementVerifier} from "./ISettlementVerifier.sol";
import {PublicWords} from "./PublicWords.sol";
import {FIELD} from "./RegistryQueue.sol";

/// @title Accepts a settlement on a proven cohort that two of the three keyholders signed.
/// @dev A proof is bound to nothing but its statement: whoever sends it first, the same cohort is proven, and a proof
/// made from another proves the same. A cohort is remembered by all of its content, so nobody can put another one in
/// its place.
contract CohortVerifier is ICohortVerifier, CommitteeVerifier, EIP712 {
    bytes32 private constant _PROVEN_SETTLEMENT_TYPEHASH =
        keccak256("ProvenSettlement(bytes32 settlementDigest,bytes32 cohortId)");
    /// SHA3-256 of "locus/proofs/cohort-words/v1", framed.
    uint256 private constant _DOMAIN = 0x74df019b95858d0977f8310b44ca367aec209e61c52a6fb8bc4ba841d77d6e05;
    uint256 private constant _INPUTS = 3;
    uint256 private constant _WORDS = 15;
    uint256 private constant _PRICE_UNIT = 10 ** 10;
    uint256 private constant _CONDITION_SHIFT = 8;
    uint64 private constant _ROOT_AGE_CAP = 30 days;
    // Places in the list of public words.
    uint256 private constant _SHARD = PublicWords.PREFIX + 1;
    uint256 private constant _BEFORE = PublicWords.PREFIX + 5;
    uint256 private constant _AFTER = PublicWords.PREFIX + 10;

    IRegistryRoots private immutable _roots;
    IProofVerifier private immutable _proofs;
    uint64 private immutable _rootAgeMax;
    mapping(bytes32 cohortId => bool) private _proven;

    /// @param proofs Verifies statements about one shard.
    constructor(IRegistryRoots roots_, IProofVerifier proofs, uint64 rootAgeMax_)
        CommitteeVerifier(roots_.registry())
        EIP712("LocusCohortVerifier", "1")
    {
        bool sound = address(proofs).code.length > 0 && rootAgeMax_ > 0 && rootAgeMax_ <= _ROOT_AGE_CAP;
        if (!sound || proofs.inputCount() != _INPUTS) revert CohortVerifierBadDeployment();
        // Whoever knows a development key's secrets can prove anything.
        if (proofs.isDevelopmentKey() && !roots_.registry().parameters().testNetwork) {
            revert CohortVerifierBadDeployment();
        }
        _roots = roots_;
        _proofs = proofs;
        _rootAgeMax = rootAgeMax_;
    }

    // ---- Cohorts ----

    /// @inheritdoc ICohortVerifier
    function proveCohort(Statement calldata statement, Cohort calldata from, Step[] calldata steps)
        external
        returns (bytes32 cohortId)
    {
        if (steps.length == 0) revert CohortVerifierBadShard(0);
        uint256[] memory list = _listOf(statement);
        uint256 shardMin = 0;
        if (_isEmpty(from)) {
            _write(list, _BEFORE, from);
        } else {
            cohortId = cohortIdOf(statement, from);
            if (!_proven[cohortId]) revert CohortVerifierNotProven(cohortId);
            _write(list, _BEFORE, from);
            shardMin = from.shard + 1;
        }
        for (uint256 i = 0; i < steps.length; i++) {
            Cohort calldata cohort = steps[i].cohort;
            // Each shard once: they ascend.
            if (cohort.shard < shardMin || cohort.shard > type(uint32).max) revert CohortVerifierBadShard(i);
            if (!_isCanonical(cohort)) revert CohortVerifierNotCanonical(i);
            list[1] = steps[i].digest;
            list[_SHARD] = cohort.shard;
            _write(list, _AFTER, cohort);
            if (!_proofs.verify(steps[i].proof, PublicWords.inputsOf(list))) revert CohortVerifierBadProof(i);
            _write(list, _BEFORE, cohort);
            shardMin = cohort.shard + 1;
        }
        Cohort calldata last = steps[steps.length - 1].cohort;
        cohortId = cohortIdOf(statement, last);
        if (!_proven[cohortId]) {
            _proven[cohortId] = true;
            emit CohortProven(cohortId, statement, last);
        }
    }

    /// @inheritdoc ICohortVerifier
    function isProven(bytes32 cohortId) external view returns (bool) {
        return _proven[cohortId];
    }

    /// @inheritdoc ICohortVerifier
    function cohortIdOf(Statement calldata statement, Cohort calldata cohort) public pure returns (bytes32) {
        return keccak256(abi.encode(statement, cohort));
    }

    /// @inheritdoc ICohortVerifier
    function provenSettlementDigest(bytes32 settlementDigest, bytes32 cohortId) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(_PROVEN_SETTLEMENT_TYPEHASH, settlementDigest, cohortId)));
    }

    /// @inheritdoc ICohortVerifier
    function roots() external view returns (IRegistryRoots) {
        return _roots;
    }

    /// @inheritdoc ICohortVerifier
    function rootAgeMax() external view returns (uint64) {
        return _rootAgeMax;
    }

    // ---- Settlements ----

    /// @inheritdoc ISettlementVerifier
    /// @dev Evidence is abi.encode(Evidence).
    function verifySettlement(
        bytes32 orderId,
        IQueryEscrow.OrderRecord calldata record,
        IQueryEscrow.Settlement calldata settlement,
        bytes32 settlementDigest,
        bytes calldata evidence
    ) external view override returns (bytes4) {
        Evidence memory shown = abi.decode(evidence, (Evidence));
        if (IQueryEscrow(msg.sender).orderHash(shown.order) != orderId) revert CohortVerifierOtherOrder(orderId);
        // Offers must hold at least on the day on which the order opened; a later day asks for more.
        uint256 dayMin = record.openedAt / 1 days;
        if (shown.day < dayMin) revert CohortVerifierBadDay(dayMin);
        // Keyholders refuse whatever is revoked at the head. Beyond this age a root is refused here, whatever they sign.
        uint64 missingSince = _roots.missingSince(record.panelDigest, shown.sequence);
        if (block.timestamp > uint256(missingSince) + _rootAgeMax) revert CohortVerifierStaleRoot(missingSince);
        bool equal =
            shown.cohort.size == settlement.cohortSize && shown.cohort.totalPrice * _PRICE_UNIT == settlement.price;
        if (!equal) revert CohortVerifierOtherSums();

        bytes32 cohortId = keccak256(abi.encode(_statementOf(record, shown), shown.cohort));
        if (!_proven[cohortId]) revert CohortVerifierNotProven(cohortId);
        _checkSignatures(provenSettlementDigest(settlementDigest, cohortId), shown.keyholders, shown.signatures);
        return ISettlementVerifier.verifySettlement.selector;
    }

    /// @dev What an order asks of every dataset.
    function _statementOf(IQueryEscrow.OrderRecord calldata record, Evidence memory shown)
        private
        pure
        returns (Statement memory)
    {
        CohortPolicies.Choice memory choice = CohortPolicies.Choice({
            accreditedOnly: shown.accreditedOnly, provenOnly: shown.provenOnly, day: shown.day
        });
        uint256 policy =
            CohortPolicies.policyOf(record.purpose, record.tier, record.queryClass, record.accredited, choice);
        // One statement serves all purposes that ask for no condition.
        uint256 condition =
            policy & CohortPolicies.CONDITION_FLAG == 0 ? 0 : uint256(shown.order.conditionDigest) >> _CONDITION_SHIFT;
        return Statement({
            panelDigest: record.panelDigest,
            sequence: shown.sequence,
            policy: policy,
            condition: condition,
            priceMax: shown.priceMax
        });
    }

    // ---- Words ----

    /// @dev Domain, a place for d, and the 15 words: root, shard, policy, condition, highest price, the state before
    /// (size, price, x, y, payouts), the state after.
    function _listOf(Statement calldata statement) private view returns (uint256[] memory list) {
        bool canonical = statement.policy < FIELD && statement.condition < FIELD && statement.priceMax < FIELD;
        if (!canonical) revert CohortVerifierNotCanonical(0);
        list = new uint256[](PublicWords.PREFIX + _WORDS);
        list[0] = _DOMAIN;
        list[PublicWords.PREFIX] = _roots.rootAt(statement.panelDigest, statement.sequence);
        list[_SHARD + 1] = statement.policy;
        list[_SHARD + 2] = statement.condition;
        list[_SHARD + 3] = statement.priceMax;
    }

    function _write(uint256[] memory list, uint256 first, Cohort calldata cohort) private pure {
        (list[first], list[first + 1]) = (cohort.size, cohort.totalPrice);
        (list[first + 2], list[first + 3], list[first + 4]) = (cohort.pointX, cohort.pointY, cohort.payouts);
    }

    /// @dev The state before any shard. Nothing hashes to payouts of zero, so no proven cohort is taken for it.
    function _isEmpty(Cohort calldata cohort) private pure returns (bool) {
        return cohort.shard == 0 && cohort.size == 0 && cohort.totalPrice == 0 && cohort.pointX == 0
            && cohort.pointY == 1 && cohort.payouts == 0;
    }

    function _isCanonical(Cohort calldata cohort) private pure returns (bool) {
        return cohort.size < FIELD && cohort.totalPrice < FIELD && cohort.pointX < FIELD && cohort.pointY < FIELD
            && cohort.payouts < FIELD;
    }
}
