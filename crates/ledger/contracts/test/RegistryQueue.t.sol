// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "../src/IDatasetRegistry.sol";
import {IOfferBook} from "../src/IOfferBook.sol";
import {IRegistryQueue} from "../src/IRegistryQueue.sol";
import {Fixture} from "./support/Fixture.sol";
import {Vm} from "./support/Vm.sol";

/// @title What registrations, offers and revocations put in the queues, and what must never get there.
contract RegistryQueueTest is Fixture {
    uint256 private constant FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    /// A point of the commitments' curve, its base point.
    uint256 private constant X = 19698561148652590122159747500897617769866003486955115824547446575314762165298;
    uint256 private constant Y = 19298250018296453272277890825869354524455968081175474282777126169995084727839;
    /// Of the mapping of counts, as the artifact's storage layout has it.
    uint256 private constant PANELS_SLOT = 12;

    // ---- Registrations ----

    function test_attestedBatchIsQueuedInGroupsOfFiveWithNeutralCommitments() public {
        (uint256[] memory heads, uint256[] memory words) = _queuedBy(batchOf(CONTRIBUTOR_KEY, 1, 7), address(0));
        require(heads.length == 2 && words.length == 32, "two groups");
        require(heads[0] == 1 && heads[1] == (1 | 1 << 2), "heads");
        for (uint256 place = 0; place < 10; place++) {
            require(words[place] == place % 2 && words[16 + place] == place % 2, "neutral");
        }
        for (uint256 place = 10; place < 14; place++) {
            require(words[place] == 0 && words[16 + place] == 0, "not on offer");
        }
        require(words[14] == 0x1F << 29 && words[30] == 0x3 << 29, "live datasets");
        require(words[15] == 1 << 32 && words[31] == (1 << 32 | 5), "origin");
        // The next registration follows at the next place.
        (heads, words) = _queuedBy(batchOf(CONTRIBUTOR_KEY, 2, 1), vm.addr(ACCREDITOR_KEY));
        require(heads.length == 1 && heads[0] == (1 | 2 << 2), "place");
        require(words[14] == (1 << 27 | 1 << 29) && words[15] == 2 << 32, "accredited");
        assertEq(registry.groupCount(PANEL), 3, "groups");
        assertEq(registry.registrationRecord(2).firstGroup, 2, "first group");
        assertEq(registry.queuedOperations(PANEL), 2, "operations");
    }

    function test_committedBatchIsQueuedWithItsPoints() public {
        Batch memory batch = _canonical(batchOf(CONTRIBUTOR_KEY, 1, 6));
        IDatasetRegistry.Ciphertexts memory ciphertexts = _neutral(6, true);
        ciphertexts.commitments[5] = [X, Y];
        ciphertexts.commitments[1] = [FIELD - X, Y];
        signCommitted(batch, ciphertexts, CONTRIBUTOR_KEY);
        vm.recordLogs();
        submitCommitted(batch, ciphertexts);
        (, uint256[] memory words) = _lastQueued();
        require(words[2] == FIELD - X && words[3] == Y && words[16] == X && words[17] == Y, "points");
        require(words[0] == 0 && words[1] == 1, "neutral");
        require(words[14] == (1 << 28 | 0x1F << 29) && words[30] == (1 << 28 | 1 << 29), "proven");
    }

    function test_pointsOffTheCurveOrNotReducedAreRefused() public {
        uint256[2][6] memory bad =
            [[X, Y + 1], [X + 1, Y], [uint256(0), 0], [X + FIELD, Y], [X, Y + FIELD], [uint256(0), 1 + FIELD]];
        for (uint256 i = 0; i < bad.length; i++) {
            IDatasetRegistry.Ciphertexts memory ciphertexts = _neutral(2, false);
            ciphertexts.commitments[1] = bad[i];
            _refuses(batchOf(CONTRIBUTOR_KEY, 1, 2), ciphertexts);
        }
        _refuses(batchOf(CONTRIBUTOR_KEY, 1, 2), _neutral(1, false));
        _refuses(batchOf(CONTRIBUTOR_KEY, 1, 2), _neutral(3, false));
    }

    function test_provenBatchNeedsCanonicalGenotypeCommitments() public {
        Batch memory batch = _canonical(batchOf(CONTRIBUTOR_KEY, 1, 2));
        batch.leaves[1].genotypeCommitment = bytes32(FIELD);
        _refuses(batch, _neutral(2, true));
        batch.leaves[1].genotypeCommitment = bytes32(FIELD - 1);
        IDatasetRegistry.Ciphertexts memory ciphertexts = _neutral(2, true);
        signCommitted(batch, ciphertexts, CONTRIBUTOR_KEY);
        submitCommitted(batch, ciphertexts);
    }

    function test_everySignatureCoversTheCiphertexts() public {
        Batch memory batch = _canonical(batchOf(CONTRIBUTOR_KEY, 1, 2));
        IDatasetRegistry.Ciphertexts memory signed = _neutral(2, false);
        signCommitted(batch, signed, CONTRIBUTOR_KEY);
        IDatasetRegistry.Ciphertexts memory changed = _neutral(2, true);
        vm.expectRevert(IDatasetRegistry.DatasetRegistryLeavesMismatch.selector);
        submitCommitted(batch, changed);
        changed = _neutral(2, false);
        changed.commitments[0] = [X, Y];
        vm.expectRevert(IDatasetRegistry.DatasetRegistryLeavesMismatch.selector);
        submitCommitted(batch, changed);
        // Nor can the commitments be left out, or be added to a batch that was signed without.
        submitExpecting(batch, abi.encodePacked(IDatasetRegistry.DatasetRegistryLeavesMismatch.selector));
        Batch memory plain = batchOf(CONTRIBUTOR_KEY, 2, 2);
        vm.expectRevert(IDatasetRegistry.DatasetRegistryLeavesMismatch.selector);
        submitCommitted(plain, signed);
        submitCommitted(batch, signed);
    }

    function test_committedBatchNeedsAllSignaturesAndNoPause() public {
        IDatasetRegistry.Ciphertexts memory ciphertexts = _neutral(2, false);
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 1, 2);
        signCommitted(batch, ciphertexts, CONTRIBUTOR_KEY);
        for (uint256 i = 0; i < 4; i++) {
            Batch memory forged = batchOf(CONTRIBUTOR_KEY, 1, 2);
            signCommitted(forged, ciphertexts, CONTRIBUTOR_KEY);
            if (i == 3) forged.registrantSignature = signature(OTHER_KEY, bytes32(0));
            else forged.keyholderSignatures[i] = batch.registrantSignature;
            vm.expectRevert();
            submitCommitted(forged, ciphertexts);
        }
        registry.pause();
        vm.expectRevert();
        submitCommitted(batch, ciphertexts);
        registry.unpause();
        submitCommitted(batch, ciphertexts);
    }

    /// @dev The tree has 2^20 places. An event without one could never be proven.
    function test_fullPanelTakesNoMoreGroups() public {
        register(CONTRIBUTOR_KEY, 1, 1);
        // Mapping of the panels: its number, slots and groups, from the lowest bits on, 24 bits each.
        bytes32 place = keccak256(abi.encode(PANEL, PANELS_SLOT));
        uint256 nearlyFull = (1 << 20) - 1;
        vm.store(address(registry), place, bytes32(nearlyFull << 48 | 1 << 24 | 1));
        assertEq(registry.groupCount(PANEL), nearlyFull, "slot");
        submitExpecting(
            batchOf(CONTRIBUTOR_KEY, 2, 6),
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryPanelFull.selector, PANEL)
        );
        register(CONTRIBUTOR_KEY, 2, 5);
        submitExpecting(
            batchOf(CONTRIBUTOR_KEY, 3, 1),
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryPanelFull.selector, PANEL)
        );
    }

    // ---- Revocations ----

    function test_revocationsAreMasksOfGroups() public {
        uint64 id = register(CONTRIBUTOR_KEY, 1, 12);
        uint32[] memory ordinals = new uint32[](5);
        (ordinals[0], ordinals[1], ordinals[2], ordinals[3], ordinals[4]) = (0, 3, 5, 11, 4);
        vm.recordLogs();
        _revoke(id, ordinals);
        (uint256[] memory heads, uint256[] memory words) = _lastQueued();
        require(heads.length == 4 && words.length == 0, "one event for neighbours of one group");
        require(heads[0] == (3 | 9 << 26), "0 and 3");
        require(heads[1] == (3 | 1 << 2 | 1 << 26), "5");
        require(heads[2] == (3 | 2 << 2 | 2 << 26), "11");
        require(heads[3] == (3 | 16 << 26), "4");
        vm.recordLogs();
        _revoke(id, ordinals);
        assertEq(vm.getRecordedLogs().length, 0, "nothing twice");
        assertEq(registry.queuedOperations(PANEL), 2, "operations");
    }

    // ---- Offers ----

    function test_offersAreQueuedForEveryGroup() public {
        register(CONTRIBUTOR_KEY, 1, 3);
        uint64 id = register(CONTRIBUTOR_KEY, 2, 11);
        IOfferBook.Offer memory offer = _offer(id);
        (uint256[] memory heads, uint256[] memory words) = _queuedByOffer(offer);
        require(heads.length == 3 && words.length == 16, "three groups share the words");
        require(heads[0] == (2 | 1 << 2) && heads[2] == (2 | 3 << 2), "heads");
        require(words[10] == 1 && words[11] == 2 && words[12] == 2 ** 48 - 1, "prices");
        assertEq(words[13], uint256(offer.conditionDigest) >> 8, "condition");
        assertEq(words[14], 0x3FFFFF | 5 << 22 | uint256(20_862) << 34, "terms");
        require(words[0] == 0 && words[9] == 0 && words[15] == 0, "nothing else");
        offer.audience = 1;
        (, words) = _queuedByOffer(offer);
        assertEq(words[14] >> 25 & 3, 1, "accredited researchers only");
        (offer.audience, offer.buyers) = (2, new address[](1));
        (, words) = _queuedByOffer(offer);
        assertEq(words[14] >> 25 & 3, 2, "named buyers only");
    }

    function test_daysAreThoseOnWhichTheOfferHoldsToTheEnd() public {
        uint64 id = register(CONTRIBUTOR_KEY, 1, 1);
        uint64[5] memory expiries =
            [uint64(21_000 * 1 days), 21_000 * 1 days - 1, 21_000 * 1 days - 2, 65_536 * 1 days - 1, type(uint64).max];
        uint256[5] memory last = [uint256(20_999), 20_999, 20_998, 65_535, 65_535];
        for (uint256 i = 0; i < 5; i++) {
            IOfferBook.Offer memory offer = _offer(id);
            offer.expiry = expiries[i];
            (, uint256[] memory words) = _queuedByOffer(offer);
            assertEq(words[14] >> 34, last[i], "day");
        }
    }

    function test_offersThatWordsCannotSayAreOnOfferToNobodyInTheTree() public {
        uint64 id = register(CONTRIBUTOR_KEY, 1, 1);
        for (uint256 i = 0; i < 4; i++) {
            IOfferBook.Offer memory offer = _offer(id);
            if (i == 0) offer.priceCounts += 1;
            if (i == 1) offer.priceAssociation += 10 ** 10;
            if (i == 2) offer.dataUse = 1 << 22;
            if (i == 3) offer.priceFilteredCounts = type(uint96).max;
            (, uint256[] memory words) = _queuedByOffer(offer);
            for (uint256 place = 0; place < 16; place++) {
                require(words[place] == 0, "all zero");
            }
        }
    }

    function test_withdrawalIsQueuedWhenSomethingIsOnOffer() public {
        uint64 id = register(CONTRIBUTOR_KEY, 1, 1);
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.withdrawOffer(id);
        assertEq(offers.queuedOperations(PANEL), 0, "nothing was on offer");
        IOfferBook.Offer memory offer = _offer(id);
        _queuedByOffer(offer);
        vm.recordLogs();
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.withdrawOffer(id);
        (uint256[] memory heads, uint256[] memory words) = _lastQueued();
        require(heads.length == 1 && heads[0] == 2 && words.length == 16, "an offer");
        for (uint256 place = 0; place < 16; place++) {
            require(words[place] == 0, "to nobody");
        }
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.withdrawOffer(id);
        assertEq(offers.queuedOperations(PANEL), 2, "and no more");
    }

    // ---- The chain over the events ----

    function test_operationsAreKeptAsChainsWithTheirTime() public {
        vm.warp(START + 5);
        (uint256[] memory heads, uint256[] memory words) = _queuedBy(batchOf(CONTRIBUTOR_KEY, 1, 7), address(0));
        bytes32 chain = bytes32(0);
        for (uint256 i = 2; i > 0; i--) {
            bytes memory packed = "";
            for (uint256 place = 0; place < 16; place++) {
                packed = bytes.concat(packed, bytes32(words[16 * (i - 1) + place]));
            }
            chain = keccak256(bytes.concat(bytes32(heads[i - 1]), keccak256(packed), chain));
        }
        (uint40 time, bytes27 head) = registry.queuedOperation(PANEL, 0);
        require(time == START + 5 && head == bytes27(chain), "chain");
        (time, head) = registry.queuedOperation(PANEL, 1);
        require(time == 0 && head == bytes27(0), "none");
        (time,) = registry.queuedOperation(SECOND_PANEL, 0);
        require(time == 0, "other panels");
    }

    // ---- Helpers ----

    function _offer(uint64 id) private view returns (IOfferBook.Offer memory offer) {
        offer = offerOf(id, offers.offerNonce(id) + 1);
        (offer.priceCounts, offer.priceFilteredCounts) = (10 ** 10, 2 * 10 ** 10);
        offer.priceAssociation = uint96((2 ** 48 - 1) * 10 ** 10);
        (offer.dataUse, offer.tiers) = (0x3FFFFF, 5);
        offer.conditionDigest = bytes32(type(uint256).max);
        // Of these the tree knows nothing.
        (offer.demands, offer.disclosureDigest) = (3, bytes32(type(uint256).max));
    }

    function _queuedByOffer(IOfferBook.Offer memory offer)
        private
        returns (uint256[] memory heads, uint256[] memory words)
    {
        offer.nonce = offers.offerNonce(offer.registrationId) + 1;
        vm.recordLogs();
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.postOffer(offer);
        return _lastQueued();
    }

    function _queuedBy(Batch memory batch, address accreditor)
        private
        returns (uint256[] memory heads, uint256[] memory words)
    {
        batch.registration.accreditor = accreditor;
        signBatch(batch, CONTRIBUTOR_KEY);
        vm.recordLogs();
        submit(batch);
        return _lastQueued();
    }

    function _lastQueued() private returns (uint256[] memory heads, uint256[] memory words) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].topics[0] != IRegistryQueue.OperationQueued.selector) continue;
            assertEq(logs[i].topics[1], PANEL, "panel");
            (heads, words) = abi.decode(logs[i].data, (uint256[], uint256[]));
        }
    }

    function _revoke(uint64 id, uint32[] memory ordinals) private {
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        registry.revokeDatasets(id, ordinals);
    }

    function _canonical(Batch memory batch) private pure returns (Batch memory) {
        for (uint256 i = 0; i < batch.leaves.length; i++) {
            batch.leaves[i].genotypeCommitment = bytes32(uint256(batch.leaves[i].genotypeCommitment) % FIELD);
        }
        return batch;
    }

    function _neutral(uint256 count, bool proven)
        private
        pure
        returns (IDatasetRegistry.Ciphertexts memory ciphertexts)
    {
        ciphertexts.commitments = new uint256[2][](count);
        ciphertexts.proven = proven;
        for (uint256 i = 0; i < count; i++) {
            ciphertexts.commitments[i] = [uint256(0), 1];
        }
    }

    function _refuses(Batch memory batch, IDatasetRegistry.Ciphertexts memory ciphertexts) private {
        signCommitted(batch, ciphertexts, CONTRIBUTOR_KEY);
        vm.expectRevert(IDatasetRegistry.DatasetRegistryBadCiphertexts.selector);
        submitCommitted(batch, ciphertexts);
    }
}
