// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {CohortVerifier} from "../../src/CohortVerifier.sol";
import {DatasetRegistry} from "../../src/DatasetRegistry.sol";
import {Groth16Verifier} from "../../src/Groth16Verifier.sol";
import {ICohortVerifier} from "../../src/ICohortVerifier.sol";
import {IDatasetRegistry} from "../../src/IDatasetRegistry.sol";
import {IOfferBook} from "../../src/IOfferBook.sol";
import {IQueryEscrow} from "../../src/IQueryEscrow.sol";
import {IRegistryQueue} from "../../src/IRegistryQueue.sol";
import {IRegistryRoots} from "../../src/IRegistryRoots.sol";
import {LocusToken} from "../../src/LocusToken.sol";
import {OfferBook} from "../../src/OfferBook.sol";
import {QueryEscrow} from "../../src/QueryEscrow.sol";
import {RegistryRoots} from "../../src/RegistryRoots.sol";
import {Fixture} from "./Fixture.sol";
import {Typed} from "./Typed.sol";
import {Vm} from "./Vm.sol";

/// @title The scene that the proofs in test/fixtures are about; `locus-proofs`' example contract_fixtures made them.
/// @notice One person alone, a biobank of 1,270 without commitments, and a clinic of seven that reaches into the second
/// shard. The clinic and the biobank revoke some datasets; the person offers twice, the clinic once.
abstract contract Scene is Fixture {
    struct Operation {
        uint256[] heads;
        uint256[] words;
    }

    uint256 internal constant CLINIC_KEY = 0xC111;
    uint256 internal constant EVENTS = 64;
    uint256 internal constant BATCHES = 5;
    uint256 internal constant BASE_FIELD =
        21888242871839275222246405745257275088696311157297823662689037894645226208583;
    uint256 internal constant SCALARS = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 internal constant PRICE_UNIT = 10 ** 10;
    uint64 internal constant ROOT_AGE_MAX = 6 hours;
    uint16 internal constant ORDER_DAY = 20_833;
    uint64 internal constant EXPIRY = 20_901 * 1 days - 1;
    uint64 internal constant PERSON = 1;
    uint64 internal constant BIOBANK = 2;
    uint64 internal constant CLINIC = 3;

    string internal scene;
    Groth16Verifier internal updateProofs;
    Groth16Verifier internal cohortProofs;
    RegistryRoots internal roots;
    CohortVerifier internal cohorts;
    Operation[] private _registryOperations;
    Operation[] private _offerOperations;
    /// Events of each queue that batches took so far.
    uint256 private _registryTaken;
    uint256 private _offersTaken;

    function setUp() public virtual override {
        vm.warp(START);
        scene = vm.readFile("test/fixtures/registry_scene.json");
        token = new LocusToken(address(this));
        registry = new DatasetRegistry(address(this), testParameters());
        setCommittee(registry);
        registry.publishPanel(PANEL, "panel", 4080, true);
        registry.publishPanel(SECOND_PANEL, "second panel", 8160, false);
        registry.setAccreditor(vm.addr(ACCREDITOR_KEY), true, "clinic");
        registry.setResearcher(vm.addr(RESEARCHER_KEY), true, "laboratory");
        offers = new OfferBook(registry);
        updateProofs = keyOf("updateKey");
        cohortProofs = keyOf("cohortKey");
        roots = new RegistryRoots(offers, updateProofs, EVENTS, uintAt(".emptyRoot"));
        cohorts = new CohortVerifier(roots, cohortProofs, ROOT_AGE_MAX);
        verifier = cohorts;
        escrow = new QueryEscrow(token, registry, cohorts);
        fund(RESEARCHER_KEY, 1_000_000 ether);
        _play();
    }

    function testParameters() internal pure returns (IDatasetRegistry.NetworkParameters memory parameters) {
        parameters = productionParameters();
        (parameters.cohortSizeMin, parameters.testNetwork) = (1, true);
    }

    function keyOf(string memory name) internal returns (Groth16Verifier) {
        string memory path = string.concat(".", name);
        bytes memory key = vm.parseJsonBytes(scene, string.concat(path, ".key"));
        return new Groth16Verifier(key, vm.parseJsonBytes32(scene, string.concat(path, ".keyId")), true);
    }

    // ---- What happens ----

    function _play() private {
        vm.recordLogs();
        registerCommitted(CONTRIBUTOR_KEY, 1, 0, 1, address(0));
        register(OTHER_KEY, 2, 1_270);
        registerCommitted(CLINIC_KEY, 3, 1, 7, vm.addr(ACCREDITOR_KEY));
        revoke(CLINIC_KEY, CLINIC, ordinalsOf(1, 6));
        revoke(OTHER_KEY, BIOBANK, ordinalsOf(0));
        IOfferBook.Offer memory offer = sceneOffer(PERSON, 1, [uint96(1 ether), 2 ether, 3 ether]);
        post(CONTRIBUTOR_KEY, offer);
        offer = sceneOffer(PERSON, 2, [uint96(3 ether), 5 ether, 7 ether]);
        offer.dataUse = 1 << 1;
        post(CONTRIBUTOR_KEY, offer);
        offer = sceneOffer(CLINIC, 1, [uint96(10 * PRICE_UNIT), uint96(20 * PRICE_UNIT), uint96(30 * PRICE_UNIT)]);
        (offer.dataUse, offer.audience) = (1 << 3, 1);
        offer.conditionDigest = vm.parseJsonBytes32(scene, ".conditionDigest");
        post(CLINIC_KEY, offer);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].topics[0] != IRegistryQueue.OperationQueued.selector) continue;
            Operation storage operation =
                logs[i].emitter == address(registry) ? _registryOperations.push() : _offerOperations.push();
            (operation.heads, operation.words) = abi.decode(logs[i].data, (uint256[], uint256[]));
        }
    }

    /// @dev Registers with the scene's commitments from the given place in its list on, as proven.
    function registerCommitted(uint256 key, uint256 seed, uint256 firstPoint, uint256 count, address accreditor)
        internal
        returns (uint64)
    {
        Batch memory batch = committedBatch(key, seed, count);
        batch.registration.accreditor = accreditor;
        IDatasetRegistry.Ciphertexts memory ciphertexts = pointsOf(firstPoint, count);
        signCommitted(batch, ciphertexts, key);
        return submitCommitted(batch, ciphertexts);
    }

    /// @dev Unsigned; genotype commitments are elements of the field, as those of proven datasets are.
    function committedBatch(uint256 key, uint256 seed, uint256 count) internal view returns (Batch memory batch) {
        batch = batchOf(key, seed, count);
        for (uint256 i = 0; i < count; i++) {
            batch.leaves[i].genotypeCommitment = bytes32(uint256(batch.leaves[i].genotypeCommitment) % SCALARS);
        }
    }

    function pointsOf(uint256 first, uint256 count)
        internal
        view
        returns (IDatasetRegistry.Ciphertexts memory ciphertexts)
    {
        uint256[] memory coordinates = vm.parseJsonUintArray(scene, ".points");
        ciphertexts.commitments = new uint256[2][](count);
        ciphertexts.proven = true;
        for (uint256 i = 0; i < count; i++) {
            ciphertexts.commitments[i] = [coordinates[2 * (first + i)], coordinates[2 * (first + i) + 1]];
        }
    }

    function revoke(uint256 key, uint64 registrationId, uint32[] memory ordinals) internal {
        vm.prank(vm.addr(key));
        registry.revokeDatasets(registrationId, ordinals);
    }

    function post(uint256 key, IOfferBook.Offer memory offer) internal {
        vm.prank(vm.addr(key));
        offers.postOffer(offer);
    }

    function sceneOffer(uint64 registrationId, uint64 nonce, uint96[3] memory prices)
        internal
        view
        returns (IOfferBook.Offer memory offer)
    {
        offer = offerOf(registrationId, nonce);
        (offer.priceCounts, offer.priceFilteredCounts, offer.priceAssociation) = (prices[0], prices[1], prices[2]);
        offer.expiry = EXPIRY;
    }

    // ---- Batches ----

    /// @dev Operation of the registry's queue as its event had it.
    function registryOperation(uint256 index) internal view returns (Operation memory) {
        return _registryOperations[index];
    }

    function offerOperation(uint256 index) internal view returns (Operation memory) {
        return _offerOperations[index];
    }

    /// @dev The next batch of the fixtures: 64 events, those of the registry first.
    function nextBatch(uint256 number) internal view returns (IRegistryRoots.Batch memory batch) {
        uint256 left;
        (batch.registry, left) = _slices(_registryOperations, _registryTaken, EVENTS);
        (batch.offers,) = _slices(_offerOperations, _offersTaken, left);
        string memory path = updatePath(number);
        batch.root = uintAt(string.concat(path, ".root"));
        batch.digest = uintAt(string.concat(path, ".digest"));
    }

    function advance(uint256 number) internal {
        IRegistryRoots.Batch memory batch = nextBatch(number);
        roots.advance(PANEL, batch, proofAt(updatePath(number)));
        _registryTaken += _events(batch.registry);
        _offersTaken += _events(batch.offers);
    }

    function advanceAll() internal {
        for (uint256 number = 0; number < BATCHES; number++) {
            advance(number);
        }
    }

    function updatePath(uint256 number) internal pure returns (string memory) {
        return string.concat(".updates[", decimal(number), "]");
    }

    function _events(IRegistryRoots.Slice[] memory slices) private pure returns (uint256 count) {
        for (uint256 i = 0; i < slices.length; i++) {
            count += slices[i].heads.length;
        }
    }

    /// @dev At most `count` events behind those taken; also how many more would have had room.
    function _slices(Operation[] storage operations, uint256 taken, uint256 count)
        private
        view
        returns (IRegistryRoots.Slice[] memory slices, uint256 left)
    {
        slices = new IRegistryRoots.Slice[](operations.length);
        uint256 used = 0;
        for (uint256 i = 0; i < operations.length; i++) {
            uint256 length = operations[i].heads.length;
            if (taken >= length) {
                taken -= length;
                continue;
            }
            if (count == 0) break;
            uint256 end = length - taken < count ? length : taken + count;
            slices[used++] = sliceOf(operations[i], taken, end);
            count -= end - taken;
            taken = 0;
        }
        assembly ("memory-safe") {
            mstore(slices, used)
        }
        left = count;
    }

    /// @dev Events `start` to before `end` of an operation, and the hash chain over those behind, written apart from
    /// the contracts.
    function sliceOf(Operation memory operation, uint256 start, uint256 end)
        internal
        pure
        returns (IRegistryRoots.Slice memory slice)
    {
        slice.heads = _part(operation.heads, start, end);
        bool shared = operation.words.length <= 16;
        slice.words = shared ? operation.words : _part(operation.words, 16 * start, 16 * end);
        for (uint256 i = operation.heads.length; i > end; i--) {
            uint256[] memory words = shared ? operation.words : _part(operation.words, 16 * (i - 1), 16 * i);
            slice.rest = keccak256(abi.encode(operation.heads[i - 1], keccak256(abi.encodePacked(words)), slice.rest));
        }
    }

    function _part(uint256[] memory list, uint256 start, uint256 end) private pure returns (uint256[] memory part) {
        part = new uint256[](end - start);
        for (uint256 i = 0; i < part.length; i++) {
            part[i] = list[start + i];
        }
    }

    // ---- Cohorts ----

    function statement() internal view returns (ICohortVerifier.Statement memory) {
        return ICohortVerifier.Statement({
            panelDigest: PANEL,
            sequence: uint64(BATCHES),
            policy: uintAt(".policy"),
            condition: uint256(vm.parseJsonBytes32(scene, ".conditionDigest")) >> 8,
            priceMax: uintAt(".priceMax")
        });
    }

    function noCohort() internal pure returns (ICohortVerifier.Cohort memory cohort) {
        cohort.pointY = 1;
    }

    /// @dev Proof 0 is about the first shard, 1 about the second after it, 2 about the person alone.
    function stepOf(uint256 number) internal view returns (ICohortVerifier.Step memory step) {
        string memory path = cohortPath(number);
        step.cohort = ICohortVerifier.Cohort({
            shard: uintAt(string.concat(path, ".shard")),
            size: uintAt(string.concat(path, ".size")),
            totalPrice: uintAt(string.concat(path, ".totalPrice")),
            pointX: uintAt(string.concat(path, ".pointX")),
            pointY: uintAt(string.concat(path, ".pointY")),
            payouts: uintAt(string.concat(path, ".payouts"))
        });
        step.digest = uintAt(string.concat(path, ".digest"));
        step.proof = proofAt(path);
    }

    function stepsOf(uint256 number) internal view returns (ICohortVerifier.Step[] memory steps) {
        steps = new ICohortVerifier.Step[](1);
        steps[0] = stepOf(number);
    }

    function bothSteps() internal view returns (ICohortVerifier.Step[] memory steps) {
        steps = new ICohortVerifier.Step[](2);
        (steps[0], steps[1]) = (stepOf(0), stepOf(1));
    }

    function cohortPath(uint256 number) internal pure returns (string memory) {
        return string.concat(".cohorts[", decimal(number), "]");
    }

    // ---- Settlements ----

    /// @dev An order that the scene's statement answers.
    function sceneOrder(uint64 nonce) internal view returns (IQueryEscrow.Order memory order) {
        order = orderOf(RESEARCHER_KEY, nonce);
        (order.queryClass, order.purpose) = (1, 3);
        order.conditionDigest = vm.parseJsonBytes32(scene, ".conditionDigest");
    }

    function sceneSettlement(bytes32 orderId, ICohortVerifier.Cohort memory cohort)
        internal
        view
        returns (IQueryEscrow.Settlement memory settlement)
    {
        settlement = settlementOf(orderId, uint96(cohort.totalPrice * PRICE_UNIT), keccak256("payouts"));
        settlement.cohortSize = uint32(cohort.size);
    }

    /// @dev Unsigned.
    function shownFor(IQueryEscrow.Order memory order, ICohortVerifier.Cohort memory cohort)
        internal
        view
        returns (ICohortVerifier.Evidence memory shown)
    {
        shown.order = order;
        (shown.sequence, shown.day, shown.provenOnly) = (uint64(BATCHES), ORDER_DAY, true);
        shown.priceMax = uintAt(".priceMax");
        shown.cohort = cohort;
    }

    /// @dev Signed by keyholders 1 and 3, who name the scene's statement with the shown cohort.
    function signShown(ICohortVerifier.Evidence memory shown, IQueryEscrow.Settlement memory settlement)
        internal
        view
        returns (bytes memory)
    {
        signShownFor(shown, settlement, cohorts.cohortIdOf(statement(), shown.cohort));
        return abi.encode(shown);
    }

    function signShownFor(
        ICohortVerifier.Evidence memory shown,
        IQueryEscrow.Settlement memory settlement,
        bytes32 cohortId
    ) internal view {
        bytes32 structHash = Typed.provenSettlement(escrowDigest(Typed.settlement(settlement)), cohortId);
        bytes32 digest = Typed.digest("LocusCohortVerifier", address(cohorts), structHash);
        (shown.keyholders, shown.signatures) = (new uint8[](2), new bytes[](2));
        (shown.keyholders[0], shown.keyholders[1]) = (1, 3);
        shown.signatures[0] = signature(keyholderKeys[0], digest);
        shown.signatures[1] = signature(keyholderKeys[2], digest);
    }

    // ---- Fixture files ----

    function uintAt(string memory path) internal view returns (uint256) {
        return vm.parseJsonUint(scene, path);
    }

    function proofAt(string memory path) internal view returns (uint256[8] memory) {
        return abi.decode(vm.parseJsonBytes(scene, string.concat(path, ".proof")), (uint256[8]));
    }

    /// @dev Another valid proof of the same statement: (-A, -B, C).
    function mauled(uint256[8] memory proof) internal pure returns (uint256[8] memory other) {
        other = proof;
        other[1] = BASE_FIELD - proof[1];
        other[4] = BASE_FIELD - proof[4];
        other[5] = BASE_FIELD - proof[5];
    }
}
