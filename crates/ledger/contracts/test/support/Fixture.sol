// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {CommitteeVerifier} from "../../src/CommitteeVerifier.sol";
import {DatasetRegistry} from "../../src/DatasetRegistry.sol";
import {IDatasetRegistry} from "../../src/IDatasetRegistry.sol";
import {IOfferBook} from "../../src/IOfferBook.sol";
import {IQueryEscrow} from "../../src/IQueryEscrow.sol";
import {ISettlementVerifier} from "../../src/ISettlementVerifier.sol";
import {LocusToken} from "../../src/LocusToken.sol";
import {OfferBook} from "../../src/OfferBook.sol";
import {QueryEscrow} from "../../src/QueryEscrow.sol";
import {Typed} from "./Typed.sol";
import {Vm} from "./Vm.sol";

/// @title A complete network with keys for everybody, and builders of correctly signed messages.
/// @dev Each builder returns something that the contracts accept; a test changes one thing and sees it refused.
abstract contract Fixture {
    struct Batch {
        IDatasetRegistry.Registration registration;
        IDatasetRegistry.DatasetLeaf[] leaves;
        bytes registrantSignature;
        bytes accreditorSignature;
        bytes[3] keyholderSignatures;
    }

    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant START = 1_800_000_000;
    /// @dev Later than any test goes by itself.
    uint64 internal constant REKEYING_DEADLINE = uint64(START + 36_500 days);
    uint256 internal constant SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 internal constant CONTRIBUTOR_KEY = 0xC0117;
    uint256 internal constant OTHER_KEY = 0x07E5;
    uint256 internal constant RESEARCHER_KEY = 0x5EA5C;
    uint256 internal constant ACCREDITOR_KEY = 0xACC;
    bytes32 internal constant PANEL = keccak256("panel");
    bytes32 internal constant SECOND_PANEL = keccak256("second panel");
    address internal constant RELAYER = address(0xBEEF);
    uint96 internal constant MAX_PRICE = 1_000 ether;

    uint256[3] internal keyholderKeys = [uint256(0xA11), 0xA12, 0xA13];

    LocusToken internal token;
    DatasetRegistry internal registry;
    OfferBook internal offers;
    CommitteeVerifier internal verifier;
    QueryEscrow internal escrow;

    function setUp() public virtual {
        vm.warp(START);
        token = new LocusToken(address(this));
        registry = new DatasetRegistry(address(this), productionParameters());
        setCommittee(registry);
        registry.publishPanel(PANEL, "panel", 4080, true);
        registry.publishPanel(SECOND_PANEL, "second panel", 8160, false);
        registry.setAccreditor(vm.addr(ACCREDITOR_KEY), true, "biobank");
        offers = new OfferBook(registry);
        verifier = new CommitteeVerifier(registry);
        escrow = new QueryEscrow(token, registry, verifier);
        fund(RESEARCHER_KEY, 1_000_000 ether);
    }

    function productionParameters() internal pure returns (IDatasetRegistry.NetworkParameters memory) {
        return IDatasetRegistry.NetworkParameters({
            cohortSizeMin: 100,
            exactBatchMin: 1_000,
            exactChangeMin: 100,
            rhoOpenQueryMax: 10_000_000,
            rhoOpenYearMax: 100_000_000,
            rhoOpenLifetimeMax: 500_000_000,
            vettedFactor: 5,
            floodingSigmaLog2: 21,
            orderLifetimeMax: 1 days,
            testNetwork: false
        });
    }

    function setCommittee(DatasetRegistry target) internal {
        for (uint8 index = 1; index <= 3; index++) {
            target.setKeyholder(index, vm.addr(keyholderKeys[index - 1]), hpkeKey(index));
        }
    }

    function hpkeKey(uint8 index) internal pure returns (bytes memory key) {
        key = new bytes(1216);
        key[0] = bytes1(index);
    }

    /// @dev Gives a researcher money and lets the escrow take it.
    function fund(uint256 key, uint256 amount) internal {
        token.mint(vm.addr(key), amount);
        vm.prank(vm.addr(key));
        token.approve(address(escrow), type(uint256).max);
    }

    function signature(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// @dev The other signature that the curve equation accepts for the same message.
    function highS(bytes memory low) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s, uint8 v) = (bytes32(0), bytes32(0), uint8(low[64]));
        assembly ("memory-safe") {
            r := mload(add(low, 32))
            s := mload(add(low, 64))
        }
        return abi.encodePacked(r, bytes32(SECP256K1_ORDER - uint256(s)), v == 27 ? uint8(28) : uint8(27));
    }

    // ---- Registrations ----

    /// @dev Leaves whose every field depends on the seed and the ordinal.
    function leavesOf(uint256 seed, uint256 count)
        internal
        pure
        returns (IDatasetRegistry.DatasetLeaf[] memory leaves)
    {
        leaves = new IDatasetRegistry.DatasetLeaf[](count);
        for (uint256 i = 0; i < count; i++) {
            leaves[i].datasetId = keccak256(abi.encode("id", seed, i));
            leaves[i].personTag = keccak256(abi.encode("person", seed, i));
            leaves[i].bodyDigest = keccak256(abi.encode("body", seed, i));
            leaves[i].shareCommitment = keccak256(abi.encode("share", seed, i));
            leaves[i].genotypeCommitment = keccak256(abi.encode("genotype", seed, i));
        }
    }

    function batchOf(uint256 registrantKey, uint256 seed, uint256 count) internal view returns (Batch memory batch) {
        batch.registration.registrant = vm.addr(registrantKey);
        batch.registration.panelDigest = PANEL;
        batch.registration.version = 1;
        batch.registration.batchNonce = uint64(uint256(keccak256(abi.encode("nonce", seed))));
        batch.registration.deadline = uint64(block.timestamp + 1 hours);
        batch.leaves = leavesOf(seed, count);
        signBatch(batch, registrantKey);
    }

    /// @dev Sets the leaves hash and every signature to fit the batch as it is now.
    function signBatch(Batch memory batch, uint256 registrantKey) internal view {
        batch.registration.leavesHash = keccak256(abi.encode(batch.leaves));
        signRegistration(batch, registrantKey);
    }

    /// @dev As signBatch, for a batch with commitments to ciphertexts.
    function signCommitted(Batch memory batch, IDatasetRegistry.Ciphertexts memory ciphertexts, uint256 registrantKey)
        internal
        view
    {
        batch.registration.leavesHash = keccak256(abi.encode(batch.leaves, ciphertexts));
        signRegistration(batch, registrantKey);
    }

    function signRegistration(Batch memory batch, uint256 registrantKey) internal view {
        bytes32 digest = Typed.registration(batch.registration);
        batch.registrantSignature = signature(registrantKey, registryDigest(digest));
        if (batch.registration.accreditor != address(0)) {
            batch.accreditorSignature = signature(ACCREDITOR_KEY, registryDigest(Typed.accreditation(digest)));
        }
        attestBatch(batch, registry.committeeEpoch());
    }

    function attestBatch(Batch memory batch, uint64 epoch) internal view {
        bytes32 attestation = registryDigest(Typed.attestation(Typed.registration(batch.registration), epoch));
        for (uint256 i = 0; i < 3; i++) {
            batch.keyholderSignatures[i] = signature(keyholderKeys[i], attestation);
        }
    }

    function registryDigest(bytes32 structHash) internal view returns (bytes32) {
        return Typed.digest("LocusDatasetRegistry", address(registry), structHash);
    }

    function submit(Batch memory batch) internal returns (uint64) {
        return submitTo(registry, batch);
    }

    function submitTo(DatasetRegistry target, Batch memory batch) internal returns (uint64) {
        return target.registerDatasets(
            batch.registration,
            batch.leaves,
            batch.registrantSignature,
            batch.accreditorSignature,
            batch.keyholderSignatures
        );
    }

    function submitCommitted(Batch memory batch, IDatasetRegistry.Ciphertexts memory ciphertexts)
        internal
        returns (uint64)
    {
        return registry.registerCommittedDatasets(
            batch.registration,
            batch.leaves,
            ciphertexts,
            batch.registrantSignature,
            batch.accreditorSignature,
            batch.keyholderSignatures
        );
    }

    function submitExpecting(Batch memory batch, bytes memory revertData) internal {
        vm.expectRevert(revertData);
        submit(batch);
    }

    function register(uint256 registrantKey, uint256 seed, uint256 count) internal returns (uint64) {
        return submit(batchOf(registrantKey, seed, count));
    }

    // ---- Re-keyings ----

    /// @dev Keys that depend on the seed and the ordinal.
    function keysOf(uint256 seed, uint256 count) internal pure returns (IDatasetRegistry.DatasetKeys[] memory keys) {
        keys = new IDatasetRegistry.DatasetKeys[](count);
        for (uint256 i = 0; i < count; i++) {
            keys[i].bodyDigest = keccak256(abi.encode("new body", seed, i));
            keys[i].shareCommitment = keccak256(abi.encode("new share", seed, i));
        }
    }

    /// @dev Signatures of all keyholders in the present epoch.
    function signKeys(uint64 id, uint8 generation, IDatasetRegistry.DatasetKeys[] memory keys)
        internal
        view
        returns (bytes[3] memory signatures)
    {
        bytes32 digest =
            registryDigest(Typed.rekeying(id, generation, keys, registry.committeeEpoch(), REKEYING_DEADLINE));
        for (uint256 i = 0; i < 3; i++) {
            signatures[i] = signature(keyholderKeys[i], digest);
        }
    }

    function rekey(uint64 id, uint8 generation, IDatasetRegistry.DatasetKeys[] memory keys) internal {
        registry.rekeyDatasets(id, keys, REKEYING_DEADLINE, signKeys(id, generation, keys));
    }

    function ordinalsOf(uint32 first) internal pure returns (uint32[] memory ordinals) {
        ordinals = new uint32[](1);
        ordinals[0] = first;
    }

    function ordinalsOf(uint32 first, uint32 second) internal pure returns (uint32[] memory ordinals) {
        ordinals = new uint32[](2);
        (ordinals[0], ordinals[1]) = (first, second);
    }

    // ---- Offers ----

    function offerOf(uint64 registrationId, uint64 nonce) internal view returns (IOfferBook.Offer memory offer) {
        offer.registrationId = registrationId;
        offer.priceCounts = 3;
        offer.priceFilteredCounts = 5;
        offer.priceAssociation = 7;
        offer.dataUse = 1;
        offer.tiers = 3;
        offer.blockEnd = 1;
        offer.expiry = uint64(block.timestamp + 30 days);
        offer.nonce = nonce;
    }

    function offerDigest(bytes32 structHash) internal view returns (bytes32) {
        return Typed.digest("LocusOfferBook", address(offers), structHash);
    }

    // ---- Orders ----

    function orderOf(uint256 researcherKey, uint64 nonce) internal view returns (IQueryEscrow.Order memory order) {
        order.researcher = vm.addr(researcherKey);
        order.panelDigest = PANEL;
        order.selectionDigest = keccak256("selection");
        order.purpose = 1;
        order.rhoNano = 10_000_000;
        order.maxPrice = MAX_PRICE;
        order.hpkeKeyDigest = keccak256("hpke key");
        order.deadline = uint64(block.timestamp + 1 hours);
        order.nonce = nonce;
    }

    function escrowDigest(bytes32 structHash) internal view returns (bytes32) {
        return Typed.digest("LocusQueryEscrow", address(escrow), structHash);
    }

    function signOrder(IQueryEscrow.Order memory order, uint256 key) internal view returns (bytes memory) {
        return signature(key, escrowDigest(Typed.order(order)));
    }

    function open(IQueryEscrow.Order memory order) internal returns (bytes32) {
        return escrow.openOrder(order, signOrder(order, RESEARCHER_KEY));
    }

    function openExpecting(IQueryEscrow.Order memory order, bytes memory revertData) internal {
        bytes memory signed = signOrder(order, RESEARCHER_KEY);
        vm.expectRevert(revertData);
        escrow.openOrder(order, signed);
    }

    // ---- Settlements ----

    function settlementOf(bytes32 orderId, uint96 price, bytes32 root)
        internal
        view
        returns (IQueryEscrow.Settlement memory settlement)
    {
        settlement.orderId = orderId;
        settlement.answerDigest = keccak256("answer");
        settlement.cohortDigest = keccak256("cohort");
        settlement.cohortSize = 2_504;
        settlement.price = price;
        settlement.payoutSequence = escrow.payoutSequence() + 1;
        settlement.payoutRoot = root;
    }

    /// @dev Signatures of two keyholders, 1 and 3.
    function evidenceOf(IQueryEscrow.Settlement memory settlement) internal view returns (bytes memory) {
        return evidenceBy(settlement, 1, 3);
    }

    function evidenceBy(IQueryEscrow.Settlement memory settlement, uint8 first, uint8 second)
        internal
        view
        returns (bytes memory)
    {
        uint8[] memory indices = new uint8[](2);
        bytes[] memory signatures = new bytes[](2);
        bytes32 digest = escrowDigest(Typed.settlement(settlement));
        (indices[0], indices[1]) = (first, second);
        signatures[0] = signature(keyholderKeys[first - 1], digest);
        signatures[1] = signature(keyholderKeys[second - 1], digest);
        return abi.encode(indices, signatures);
    }

    function settle(IQueryEscrow.Settlement memory settlement) internal {
        escrow.settleOrder(settlement, evidenceOf(settlement));
    }

    function settleExpecting(IQueryEscrow.Settlement memory settlement, bytes memory revertData) internal {
        bytes memory evidence = evidenceOf(settlement);
        vm.expectRevert(revertData);
        escrow.settleOrder(settlement, evidence);
    }

    // ---- Payout trees ----

    function payoutLeaf(address account, uint256 cumulative) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(account, cumulative))));
    }

    function pairHash(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return left < right ? keccak256(bytes.concat(left, right)) : keccak256(bytes.concat(right, left));
    }

    /// @dev Root over a power of two of leaves, and the path of one of them.
    function merkle(bytes32[] memory leaves, uint256 index)
        internal
        pure
        returns (bytes32 root, bytes32[] memory path)
    {
        uint256 depth = 0;
        while (1 << depth < leaves.length) depth++;
        path = new bytes32[](depth);
        bytes32[] memory level = leaves;
        for (uint256 d = 0; d < depth; d++) {
            path[d] = level[index ^ 1];
            bytes32[] memory above = new bytes32[](level.length / 2);
            for (uint256 i = 0; i < above.length; i++) {
                above[i] = pairHash(level[2 * i], level[2 * i + 1]);
            }
            level = above;
            index /= 2;
        }
        root = level[0];
    }

    // ---- Checks ----

    function assertEq(uint256 actual, uint256 expected, string memory what) internal pure {
        require(actual == expected, string.concat(what, ": ", decimal(actual), " is not ", decimal(expected)));
    }

    function assertEq(bytes32 actual, bytes32 expected, string memory what) internal pure {
        require(actual == expected, what);
    }

    function assertEq(address actual, address expected, string memory what) internal pure {
        require(actual == expected, what);
    }

    function decimal(uint256 value) internal pure returns (string memory text) {
        if (value == 0) return "0";
        while (value > 0) {
            text = string.concat(string(abi.encodePacked(bytes1(uint8(48 + value % 10)))), text);
            value /= 10;
        }
    }

    /// @dev A value within min and max, spread evenly.
    function clamp(uint256 value, uint256 min, uint256 max) internal pure returns (uint256) {
        return min + value % (max - min + 1);
    }
}
