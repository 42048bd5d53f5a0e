// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IRegistryQueue} from "./IRegistryQueue.sol";
import {RegistryAdmin} from "./RegistryAdmin.sol";
import {RegistryGroups} from "./RegistryGroups.sol";
import {GROUP_SIZE, GROUP_WORDS, GROUPS_MAX, RegistryQueue} from "./RegistryQueue.sol";

/// @title Registry of encrypted datasets.
/// @notice Nothing here is half-enrolled: a registration carries the signatures of the registrant, of the accreditor
/// if one vouches for it, and of all three keyholders, who have checked keys against ciphertexts before signing.
/// @dev A commitment is used once for ever, by any of its three kinds, so a copied ciphertext is refused even after the
/// original was revoked. One storage slot per commitment names the dataset that used it.
contract DatasetRegistry is RegistryAdmin {
    using BitMaps for BitMaps.BitMap;
    using RegistryQueue for RegistryQueue.Operation[];

    bytes32 private constant _REGISTRATION_TYPEHASH = keccak256(
        "Registration(address registrant,bytes32 panelDigest,uint32 version,uint64 batchNonce,address accreditor,uint64 deadline,bytes32 leavesHash)"
    );
    bytes32 private constant _REVOCATION_TYPEHASH =
        keccak256("Revocation(uint64 registrationId,uint32[] ordinals,uint64 deadline)");
    bytes32 private constant _ERASURE_TYPEHASH =
        keccak256("Erasure(uint64 registrationId,uint32[] ordinals,uint8 keyholder)");
    bytes32 private constant _REKEYING_TYPEHASH = keccak256(
        "Rekeying(uint64 registrationId,uint8 generation,bytes32 keysHash,uint64 committeeEpoch,uint64 deadline)"
    );

    uint256 private constant _BATCH_MAX = 4096;
    uint32 private constant _VARIANTS_MAX = 1 << 22;
    uint256 private constant _NAME_BYTES_MAX = 64;

    /// Each re-keying adds noise to the ciphertexts, whose budget is for this many.
    uint8 private constant _REKEYINGS_MAX = 8;
    /// Bit of StoredRegistration.keys that is above every generation.
    uint8 private constant _COMMITTED = 1 << 7;

    struct Panel {
        /// Place in the list of panels; 0 before it is published.
        uint24 number;
        uint24 slots;
        uint24 groups;
    }

    /// @dev A registration in one slot: the panel by its number. A panel has at most 2^20 groups of five datasets.
    struct StoredRegistration {
        address registrant;
        uint16 count;
        uint24 firstSlot;
        uint24 firstGroup;
        uint24 panel;
        /// Number of re-keyings; and _COMMITTED when the words of the registry tree name commitments to the ciphertexts
        /// that were registered, which new ciphertexts would make false.
        uint8 keys;
    }

    uint64 private _registrationCount;
    uint24 private _panelCount;
    mapping(bytes32 panelDigest => Panel) private _panels;
    mapping(uint24 number => bytes32 panelDigest) private _panelDigests;
    mapping(bytes32 panelDigest => RegistryQueue.Operation[]) private _queues;
    mapping(uint64 registrationId => StoredRegistration) private _registrations;
    mapping(address registrant => mapping(uint64 batchNonce => bool)) private _batchNonces;
    /// Commitment to registrationId << 32 | ordinal.
    mapping(bytes32 commitment => uint256) private _commitments;
    mapping(uint64 registrationId => BitMaps.BitMap) private _revoked;
    mapping(uint64 registrationId => mapping(uint8 keyholder => BitMaps.BitMap)) private _erased;

    /// @param admin Sets the committee and the lists, and may pause; preferably a multi-signature wallet.
    /// @param parameters_ Can never be changed.
    constructor(address admin, NetworkParameters memory parameters_) RegistryAdmin(admin, parameters_) {}

    // ---- Registration ----

    /// @inheritdoc IDatasetRegistry
    function publishPanel(bytes32 panelDigest, string calldata name, uint32 variantCount, bool completeCalls)
        external
        whenNotPaused
    {
        bool wellFormed = panelDigest != bytes32(0) && variantCount > 0 && variantCount <= _VARIANTS_MAX
            && bytes(name).length > 0 && bytes(name).length <= _NAME_BYTES_MAX;
        if (!wellFormed) revert DatasetRegistryPanelInvalid();
        if (isPanelPublished(panelDigest)) revert DatasetRegistryPanelAlreadyPublished(panelDigest);
        // Checked arithmetic refuses the panel whose number would not fit, 2^24.
        _panels[panelDigest].number = ++_panelCount;
        _panelDigests[_panelCount] = panelDigest;
        emit PanelPublished(panelDigest, name, variantCount, completeCalls);
    }

    /// @inheritdoc IDatasetRegistry
    function registerDatasets(
        Registration calldata registration,
        DatasetLeaf[] calldata leaves,
        bytes calldata registrantSignature,
        bytes calldata accreditorSignature,
        bytes[3] calldata keyholderSignatures
    ) external whenNotPaused returns (uint64 registrationId) {
        _checkRegistration(registration, leaves.length, _leavesHash(leaves));
        _checkSignatures(registration, registrantSignature, accreditorSignature, keyholderSignatures);
        return _register(registration, leaves, RegistryGroups.neutral(leaves.length), 0, false);
    }

    /// @inheritdoc IDatasetRegistry
    function registerCommittedDatasets(
        Registration calldata registration,
        DatasetLeaf[] calldata leaves,
        Ciphertexts calldata ciphertexts,
        bytes calldata registrantSignature,
        bytes calldata accreditorSignature,
        bytes[3] calldata keyholderSignatures
    ) external whenNotPaused returns (uint64 registrationId) {
        _checkRegistration(registration, leaves.length, keccak256(abi.encode(leaves, ciphertexts)));
        _checkSignatures(registration, registrantSignature, accreditorSignature, keyholderSignatures);
        uint256[] memory words = RegistryGroups.committed(leaves, ciphertexts);
        return _register(registration, leaves, words, _COMMITTED, ciphertexts.proven);
    }

    // ---- Re-keying ----

    /// @inheritdoc IDatasetRegistry
    /// @dev Needs no nonce: the signed generation results once.
    function rekeyDatasets(
        uint64 registrationId,
        DatasetKeys[] calldata keys,
        uint64 deadline,
        bytes[3] calldata keyholderSignatures
    ) external {
        if (block.timestamp > deadline) revert DatasetRegistryExpired(deadline);
        StoredRegistration storage record = _registrationOf(registrationId);
        if (record.keys >= _COMMITTED) revert DatasetRegistryCommitted(registrationId);
        uint8 generation = record.keys + 1;
        if (generation > _REKEYINGS_MAX) revert DatasetRegistryRekeyedTooOften(registrationId);
        if (keys.length != record.count) revert DatasetRegistryBadBatchSize(keys.length);
        bytes32 keysHash = keccak256(abi.encode(keys));
        bytes memory message =
            abi.encode(_REKEYING_TYPEHASH, registrationId, generation, keysHash, committeeEpoch(), deadline);
        _checkKeyholders(_hashTypedDataV4(keccak256(message)), keyholderSignatures);
        record.keys = generation;
        _useKeys(registrationId, keys);
        emit DatasetsRekeyed(registrationId, generation, keys);
    }

    // ---- Revocation ----

    /// @inheritdoc IDatasetRegistry
    function revokeDatasets(uint64 registrationId, uint32[] calldata ordinals) external {
        if (_registrationOf(registrationId).registrant != msg.sender) revert DatasetRegistryNotRegistrant(msg.sender);
        _revoke(registrationId, ordinals);
    }

    /// @inheritdoc IDatasetRegistry
    /// @dev Needs no nonce: a revocation can be repeated without effect and never undone.
    function revokeDatasetsSigned(
        uint64 registrationId,
        uint32[] calldata ordinals,
        uint64 deadline,
        bytes calldata signature
    ) external {
        if (block.timestamp > deadline) revert DatasetRegistryExpired(deadline);
        bytes32 ordinalsHash = keccak256(abi.encodePacked(ordinals));
        bytes32 structHash = keccak256(abi.encode(_REVOCATION_TYPEHASH, registrationId, ordinalsHash, deadline));
        _checkSigner(_registrationOf(registrationId).registrant, _hashTypedDataV4(structHash), signature);
        _revoke(registrationId, ordinals);
    }

    /// @inheritdoc IDatasetRegistry
    function recordErasure(uint64 registrationId, uint32[] calldata ordinals, uint8 keyholder, bytes calldata signature)
        external
    {
        _checkOrdinals(registrationId, ordinals);
        BitMaps.BitMap storage revoked = _revoked[registrationId];
        for (uint256 i = 0; i < ordinals.length; i++) {
            if (!revoked.get(ordinals[i])) revert DatasetRegistryNotRevoked(ordinals[i]);
        }
        bytes32 ordinalsHash = keccak256(abi.encodePacked(ordinals));
        bytes32 structHash = keccak256(abi.encode(_ERASURE_TYPEHASH, registrationId, ordinalsHash, keyholder));
        _checkSigner(keyholderSigner(keyholder), _hashTypedDataV4(structHash), signature);
        uint32[] memory added = _setBits(_erased[registrationId][keyholder], ordinals);
        if (added.length > 0) emit DatasetsErased(registrationId, keyholder, added);
    }

    // ---- Views ----

    /// @inheritdoc IDatasetRegistry
    function isPanelPublished(bytes32 panelDigest) public view returns (bool) {
        return _panels[panelDigest].number != 0;
    }

    /// @inheritdoc IDatasetRegistry
    function isRevoked(uint64 registrationId, uint32 ordinal) public view returns (bool) {
        _checkOrdinal(registrationId, ordinal);
        return _revoked[registrationId].get(ordinal);
    }

    /// @inheritdoc IDatasetRegistry
    function isErased(uint64 registrationId, uint32 ordinal, uint8 keyholder) external view returns (bool) {
        if (keyholder < 1 || keyholder > 3) revert DatasetRegistryBadKeyholder(keyholder);
        _checkOrdinal(registrationId, ordinal);
        return _erased[registrationId][keyholder].get(ordinal);
    }

    /// @inheritdoc IDatasetRegistry
    function isCommitmentUsed(bytes32 commitment) external view returns (bool) {
        return _commitments[commitment] != 0;
    }

    /// @inheritdoc IDatasetRegistry
    function datasetOfCommitment(bytes32 commitment) external view returns (uint64 registrationId, uint32 ordinal) {
        uint256 place = _commitments[commitment];
        // The two halves of what _useCommitments stores.
        return (uint64(place >> 32), uint32(place));
    }

    /// @inheritdoc IDatasetRegistry
    function isBatchNonceUsed(address registrant, uint64 batchNonce) external view returns (bool) {
        return _batchNonces[registrant][batchNonce];
    }

    /// @inheritdoc IDatasetRegistry
    function registrationRecord(uint64 registrationId) external view returns (RegistrationRecord memory) {
        StoredRegistration storage record = _registrationOf(registrationId);
        return RegistrationRecord({
            registrant: record.registrant,
            count: record.count,
            firstSlot: record.firstSlot,
            firstGroup: record.firstGroup,
            panelDigest: _panelDigests[record.panel]
        });
    }

    /// @inheritdoc IDatasetRegistry
    function rekeyGeneration(uint64 registrationId) external view returns (uint8) {
        return _registrationOf(registrationId).keys & ~_COMMITTED;
    }

    /// @inheritdoc IDatasetRegistry
    function registrationCount() external view returns (uint64) {
        return _registrationCount;
    }

    /// @inheritdoc IDatasetRegistry
    function slotCount(bytes32 panelDigest) external view returns (uint64) {
        return _panels[panelDigest].slots;
    }

    /// @inheritdoc IDatasetRegistry
    function groupCount(bytes32 panelDigest) external view returns (uint32) {
        return _panels[panelDigest].groups;
    }

    /// @inheritdoc IRegistryQueue
    function queuedOperations(bytes32 panelDigest) external view returns (uint64) {
        return uint64(_queues[panelDigest].length);
    }

    /// @inheritdoc IRegistryQueue
    function queuedOperation(bytes32 panelDigest, uint64 index) external view returns (uint40 time, bytes27 head) {
        return _queues[panelDigest].read(index);
    }

    /// @inheritdoc IDatasetRegistry
    function registrationDigest(Registration calldata registration) public pure returns (bytes32) {
        // All members are value types, so their ABI encoding is the EIP-712 encoding.
        return keccak256(abi.encode(_REGISTRATION_TYPEHASH, registration));
    }

    // ---- Internals ----

    function _register(
        Registration calldata registration,
        DatasetLeaf[] calldata leaves,
        uint256[] memory words,
        uint8 keys,
        bool proven
    ) private returns (uint64 registrationId) {
        _batchNonces[registration.registrant][registration.batchNonce] = true;
        registrationId = ++_registrationCount;
        _useCommitments(registrationId, leaves);
        Panel storage panel = _panels[registration.panelDigest];
        StoredRegistration memory record = StoredRegistration({
            registrant: registration.registrant,
            // At most 4096 leaves were checked before, and fewer than 2^20 groups when each earlier one was registered.
            count: uint16(leaves.length),
            firstSlot: panel.slots,
            firstGroup: panel.groups,
            panel: panel.number,
            keys: keys
        });
        uint256 groups = record.firstGroup + RegistryQueue.groupsOf(record.count);
        // An event without a place could never be proven, and would hold up every event behind it.
        if (groups > GROUPS_MAX) revert DatasetRegistryPanelFull(registration.panelDigest);
        (panel.slots, panel.groups) = (record.firstSlot + record.count, uint24(groups));
        _registrations[registrationId] = record;
        _queueRegistration(registrationId, record, registration, words, proven);
        _emitRegistered(registrationId, registration, record.firstSlot, leaves);
    }

    /// @dev Emits DatasetsRegistered. As in _leavesHash, the leaves are encoded as they came.
    function _emitRegistered(
        uint64 registrationId,
        Registration calldata registration,
        uint256 firstSlot,
        DatasetLeaf[] calldata leaves
    ) private {
        bytes32 topic = DatasetsRegistered.selector;
        (address registrant, bytes32 panelDigest) = (registration.registrant, registration.panelDigest);
        bytes memory head = abi.encode(registration.version, firstSlot, registration.accreditor, uint256(128));
        assembly ("memory-safe") {
            // What follows the head is free memory, for the head was made last.
            let data := add(head, 32)
            mstore(add(data, 128), leaves.length)
            calldatacopy(add(data, 160), leaves.offset, mul(leaves.length, 160))
            log4(data, add(160, mul(leaves.length, 160)), topic, registrationId, registrant, panelDigest)
        }
    }

    /// @dev Fills in terms and origin of the groups, whose commitments are there, and queues them.
    function _queueRegistration(
        uint64 registrationId,
        StoredRegistration memory record,
        Registration calldata registration,
        uint256[] memory words,
        bool proven
    ) private {
        uint256[] memory heads = new uint256[](words.length / GROUP_WORDS);
        bool accredited = registration.accreditor != address(0);
        uint256 provenance =
            (accredited ? 1 << RegistryQueue.ACCREDITED_SHIFT : 0) | (proven ? 1 << RegistryQueue.PROVEN_SHIFT : 0);
        for (uint256 i = 0; i < heads.length; i++) {
            uint256 first = i * GROUP_SIZE;
            uint256 size = record.count - first < GROUP_SIZE ? record.count - first : GROUP_SIZE;
            uint256 live = (1 << size) - 1;
            heads[i] = RegistryQueue.eventHead(RegistryQueue.REGISTER, record.firstGroup + i, 0);
            words[i * GROUP_WORDS + RegistryQueue.TERMS] = provenance | live << RegistryQueue.LIVE_SHIFT;
            words[i * GROUP_WORDS + RegistryQueue.ORIGIN] = uint256(registrationId) << 32 | first;
        }
        _queues[registration.panelDigest].push(registration.panelDigest, heads, words);
    }

    function _registrationOf(uint64 registrationId) private view returns (StoredRegistration storage record) {
        record = _registrations[registrationId];
        if (record.registrant == address(0)) revert DatasetRegistryUnknownRegistration(registrationId);
    }

    function _checkSignatures(
        Registration calldata registration,
        bytes calldata registrantSignature,
        bytes calldata accreditorSignature,
        bytes[3] calldata keyholderSignatures
    ) private view {
        bytes32 digest = registrationDigest(registration);
        _checkSigner(registration.registrant, _hashTypedDataV4(digest), registrantSignature);
        _checkAccreditor(registration.accreditor, digest, accreditorSignature);
        _checkAttestations(digest, keyholderSignatures);
    }

    function _checkRegistration(Registration calldata registration, uint256 count, bytes32 leavesHash) private view {
        if (!isPanelPublished(registration.panelDigest)) revert DatasetRegistryPanelUnknown(registration.panelDigest);
        if (block.timestamp > registration.deadline) revert DatasetRegistryExpired(registration.deadline);
        if (count == 0 || count > _BATCH_MAX) revert DatasetRegistryBadBatchSize(count);
        // The version of keys is this plus the number of re-keyings.
        if (registration.version == 0 || registration.version > type(uint32).max - _REKEYINGS_MAX) {
            revert DatasetRegistryBadVersion();
        }
        if (leavesHash != registration.leavesHash) revert DatasetRegistryLeavesMismatch();
        if (_batchNonces[registration.registrant][registration.batchNonce]) {
            revert DatasetRegistryBatchNonceUsed(registration.registrant, registration.batchNonce);
        }
    }

    /// @dev keccak256(abi.encode(leaves)): the leaves, which are whole words, are encoded as they came.
    function _leavesHash(DatasetLeaf[] calldata leaves) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let encoded := mload(0x40)
            mstore(encoded, 32)
            mstore(add(encoded, 32), leaves.length)
            calldatacopy(add(encoded, 64), leaves.offset, mul(leaves.length, 160))
            hash := keccak256(encoded, add(64, mul(leaves.length, 160)))
        }
    }

    /// @dev For the three commitments of every leaf: refuses zero and what _commitments has, and puts the place there.
    function _useCommitments(uint64 registrationId, DatasetLeaf[] calldata leaves) private {
        uint256 place = uint256(registrationId) << 32;
        bytes4 empty = DatasetRegistryEmptyCommitment.selector;
        bytes4 duplicate = DatasetRegistryDuplicate.selector;
        assembly ("memory-safe") {
            mstore(32, _commitments.slot)
            let leaf := leaves.offset
            for { let end := add(leaf, mul(leaves.length, 160)) } lt(leaf, end) { place := add(place, 1) } {
                leaf := add(leaf, 160)
                // They are the last three of a leaf's five words.
                for { let word := sub(leaf, 96) } lt(word, leaf) { word := add(word, 32) } {
                    let commitment := calldataload(word)
                    mstore(0, commitment)
                    let slot := keccak256(0, 64)
                    if iszero(commitment) {
                        mstore(0, empty)
                        revert(0, 4)
                    }
                    if sload(slot) {
                        mstore(0, duplicate)
                        mstore(4, commitment)
                        revert(0, 36)
                    }
                    sstore(slot, place)
                }
            }
        }
    }

    /// @dev As _useCommitments, for the two commitments of all keys but those that are left as they are.
    function _useKeys(uint64 registrationId, DatasetKeys[] calldata keys) private {
        BitMaps.BitMap storage revoked = _revoked[registrationId];
        for (uint256 ordinal = 0; ordinal < keys.length; ordinal++) {
            (bytes32 bodies, bytes32 shares) = (keys[ordinal].bodyDigest, keys[ordinal].shareCommitment);
            if (bodies == bytes32(0) && shares == bytes32(0)) {
                if (!revoked.get(ordinal)) revert DatasetRegistryNotRevoked(uint32(ordinal));
                continue;
            }
            uint256 place = uint256(registrationId) << 32 | ordinal;
            _useCommitment(place, bodies);
            _useCommitment(place, shares);
        }
    }

    function _useCommitment(uint256 place, bytes32 commitment) private {
        if (commitment == bytes32(0)) revert DatasetRegistryEmptyCommitment();
        if (_commitments[commitment] != 0) revert DatasetRegistryDuplicate(commitment);
        _commitments[commitment] = place;
    }

    function _revoke(uint64 registrationId, uint32[] calldata ordinals) private {
        _checkOrdinals(registrationId, ordinals);
        uint32[] memory added = _setBits(_revoked[registrationId], ordinals);
        if (added.length == 0) return;
        _queueRevocation(_registrations[registrationId], added);
        emit DatasetsRevoked(registrationId, added);
    }

    /// @dev One event for neighbours in the list that are of one group, so ascending ordinals make the fewest.
    function _queueRevocation(StoredRegistration storage record, uint32[] memory ordinals) private {
        (bytes32 panelDigest, uint256 firstGroup) = (_panelDigests[record.panel], record.firstGroup);
        uint256[] memory heads = new uint256[](ordinals.length);
        uint256 count = 0;
        uint256 mask = 0;
        for (uint256 i = 0; i < ordinals.length; i++) {
            uint256 group = ordinals[i] / GROUP_SIZE;
            mask |= 1 << ordinals[i] % GROUP_SIZE;
            if (i + 1 == ordinals.length || ordinals[i + 1] / GROUP_SIZE != group) {
                heads[count++] = RegistryQueue.eventHead(RegistryQueue.REVOKE, firstGroup + group, mask);
                mask = 0;
            }
        }
        // The array only shrinks, so what lies behind its new end stays allocated and unused.
        assembly ("memory-safe") {
            mstore(heads, count)
        }
        _queues[panelDigest].push(panelDigest, heads, new uint256[](0));
    }

    /// @dev Sets the bits; returns those that were clear before, in the given order.
    function _setBits(BitMaps.BitMap storage bits, uint32[] calldata ordinals) private returns (uint32[] memory added) {
        added = new uint32[](ordinals.length);
        uint256 length = 0;
        for (uint256 i = 0; i < ordinals.length; i++) {
            if (!bits.get(ordinals[i])) {
                bits.set(ordinals[i]);
                added[length] = ordinals[i];
                length++;
            }
        }
        // The array only shrinks, so what lies behind its new end stays allocated and unused.
        assembly ("memory-safe") {
            mstore(added, length)
        }
    }

    function _checkOrdinals(uint64 registrationId, uint32[] calldata ordinals) private view {
        uint32 count = _registrationOf(registrationId).count;
        for (uint256 i = 0; i < ordinals.length; i++) {
            if (ordinals[i] >= count) revert DatasetRegistryBadOrdinal(ordinals[i]);
        }
    }

    function _checkOrdinal(uint64 registrationId, uint32 ordinal) private view {
        if (ordinal >= _registrationOf(registrationId).count) revert DatasetRegistryBadOrdinal(ordinal);
    }
}
