// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IOfferBook} from "./IOfferBook.sol";
import {IRegistryQueue} from "./IRegistryQueue.sol";
import {GROUP_WORDS, RegistryQueue} from "./RegistryQueue.sol";

/// @title Offers.
/// @dev Only a hash and a nonce are stored; readers take the terms from the event.
contract OfferBook is IOfferBook, EIP712 {
    using RegistryQueue for RegistryQueue.Operation[];

    bytes32 private constant _OFFER_TYPEHASH = keccak256(
        "Offer(uint64 registrationId,uint96 priceCounts,uint96 priceFilteredCounts,uint96 priceAssociation,uint32 dataUse,uint32 tiers,uint8 audience,address[] buyers,uint32 blockStart,uint32 blockEnd,bytes32 conditionDigest,uint32 demands,bytes32 disclosureDigest,uint64 expiry,uint64 nonce)"
    );
    bytes32 private constant _WITHDRAWAL_TYPEHASH = keccak256("Withdrawal(uint64 registrationId,uint64 nonce)");
    uint8 private constant _AUDIENCE_ACCREDITED = 1;
    uint8 private constant _AUDIENCE_NAMED = 2;
    uint32 private constant _DEMANDS = 3;
    uint256 private constant _BUYERS_MAX = 256;
    uint256 private constant _PRICE_UNIT = 10 ** 10;
    uint256 private constant _PRICE_UNITS_MAX = 2 ** 48 - 1;
    uint256 private constant _DAY_MAX = type(uint16).max;
    // A condition is the first 31 bytes of its digest.
    uint256 private constant _CONDITION_SHIFT = 8;

    IDatasetRegistry private immutable _registry;
    mapping(uint64 registrationId => uint64) private _nonces;
    mapping(uint64 registrationId => bytes32) private _hashes;
    mapping(bytes32 panelDigest => RegistryQueue.Operation[]) private _queues;

    constructor(IDatasetRegistry registry_) EIP712("LocusOfferBook", "1") {
        if (address(registry_).code.length == 0) revert OfferBookBadDeployment();
        _registry = registry_;
    }

    /// @inheritdoc IOfferBook
    function postOffer(Offer calldata offer) external {
        if (_registrant(offer.registrationId) != msg.sender) revert OfferBookNotRegistrant(msg.sender);
        _post(offer, msg.sender, _hashOffer(offer));
    }

    /// @inheritdoc IOfferBook
    function postOfferSigned(Offer calldata offer, bytes calldata signature) external {
        address registrant = _registrant(offer.registrationId);
        bytes32 structHash = _hashOffer(offer);
        _checkSigner(registrant, structHash, signature);
        _post(offer, registrant, structHash);
    }

    /// @inheritdoc IOfferBook
    function withdrawOffer(uint64 registrationId) external {
        if (_registrant(registrationId) != msg.sender) revert OfferBookNotRegistrant(msg.sender);
        _withdraw(registrationId);
    }

    /// @inheritdoc IOfferBook
    function withdrawOfferSigned(uint64 registrationId, uint64 nonce, bytes calldata signature) external {
        if (nonce != _nonces[registrationId]) revert OfferBookBadNonce(_nonces[registrationId]);
        bytes32 structHash = keccak256(abi.encode(_WITHDRAWAL_TYPEHASH, registrationId, nonce));
        _checkSigner(_registrant(registrationId), structHash, signature);
        _withdraw(registrationId);
    }

    /// @inheritdoc IOfferBook
    function offerNonce(uint64 registrationId) external view returns (uint64) {
        return _nonces[registrationId];
    }

    /// @inheritdoc IOfferBook
    function offerHash(uint64 registrationId) external view returns (bytes32) {
        return _hashes[registrationId];
    }

    /// @inheritdoc IOfferBook
    function registry() external view returns (IDatasetRegistry) {
        return _registry;
    }

    /// @inheritdoc IRegistryQueue
    function queuedOperations(bytes32 panelDigest) external view returns (uint64) {
        return uint64(_queues[panelDigest].length);
    }

    /// @inheritdoc IRegistryQueue
    function queuedOperation(bytes32 panelDigest, uint64 index) external view returns (uint40 time, bytes27 head) {
        return _queues[panelDigest].read(index);
    }

    function _registrant(uint64 registrationId) private view returns (address) {
        return _registry.registrationRecord(registrationId).registrant;
    }

    function _checkSigner(address signer, bytes32 structHash, bytes calldata signature) private view {
        if (!SignatureChecker.isValidSignatureNowCalldata(signer, _hashTypedDataV4(structHash), signature)) {
            revert OfferBookBadSignature(signer);
        }
    }

    function _post(Offer calldata offer, address registrant, bytes32 structHash) private {
        if (_registry.paused()) revert OfferBookPaused();
        bool buyersFit = offer.audience == _AUDIENCE_NAMED
            ? offer.buyers.length > 0 && offer.buyers.length <= _BUYERS_MAX
            : offer.buyers.length == 0;
        bool wellFormed = buyersFit && offer.audience <= _AUDIENCE_NAMED && offer.tiers > 0 && offer.tiers <= 7
            && offer.blockStart < offer.blockEnd && offer.demands <= _DEMANDS && offer.expiry > block.timestamp;
        if (!wellFormed) revert OfferBookBadOffer();
        uint64 expected = _nonces[offer.registrationId] + 1;
        if (offer.nonce != expected) revert OfferBookBadNonce(expected);
        _nonces[offer.registrationId] = expected;
        _hashes[offer.registrationId] = structHash;
        _queue(offer.registrationId, _wordsOf(offer));
        emit OfferPosted(offer.registrationId, registrant, offer);
    }

    function _withdraw(uint64 registrationId) private {
        // Advanced even when nothing is on offer: the registrant may have signed an offer that was not posted yet.
        uint64 nonce = _nonces[registrationId] + 1;
        _nonces[registrationId] = nonce;
        if (_hashes[registrationId] != bytes32(0)) {
            _hashes[registrationId] = bytes32(0);
            // All words zero: on offer to nobody.
            _queue(registrationId, new uint256[](GROUP_WORDS));
        }
        emit OfferWithdrawn(registrationId, nonce);
    }

    /// @dev Queues the same words for every group of a registration.
    function _queue(uint64 registrationId, uint256[] memory words) private {
        IDatasetRegistry.RegistrationRecord memory record = _registry.registrationRecord(registrationId);
        uint256[] memory heads = new uint256[](RegistryQueue.groupsOf(record.count));
        for (uint256 i = 0; i < heads.length; i++) {
            heads[i] = RegistryQueue.eventHead(RegistryQueue.OFFER, record.firstGroup + i, 0);
        }
        _queues[record.panelDigest].push(record.panelDigest, heads, words);
    }

    /// @dev The offer in the words of a group; all zero where they cannot say it.
    function _wordsOf(Offer calldata offer) private pure returns (uint256[] memory words) {
        words = new uint256[](GROUP_WORDS);
        uint96[3] memory prices = [offer.priceCounts, offer.priceFilteredCounts, offer.priceAssociation];
        if (offer.dataUse >> RegistryQueue.DATA_USE_BITS != 0) return words;
        for (uint256 i = 0; i < 3; i++) {
            if (prices[i] % _PRICE_UNIT != 0 || prices[i] / _PRICE_UNIT > _PRICE_UNITS_MAX) return words;
        }
        for (uint256 i = 0; i < 3; i++) {
            words[RegistryQueue.PRICES + i] = prices[i] / _PRICE_UNIT;
        }
        words[RegistryQueue.CONDITION] = uint256(offer.conditionDigest) >> _CONDITION_SHIFT;
        // The last day that the offer holds to its end, as far as sixteen bits reach.
        uint256 day = (uint256(offer.expiry) + 1) / 1 days;
        day = day == 0 ? 0 : day - 1;
        words[RegistryQueue.TERMS] = offer.dataUse | uint256(offer.tiers) << RegistryQueue.TIERS_SHIFT
            | (offer.audience == _AUDIENCE_ACCREDITED ? 1 << RegistryQueue.ACCREDITED_ONLY_SHIFT : 0)
            | (offer.audience == _AUDIENCE_NAMED ? 1 << RegistryQueue.NAMED_ONLY_SHIFT : 0)
            | (day < _DAY_MAX ? day : _DAY_MAX) << RegistryQueue.EXPIRY_SHIFT;
    }

    function _hashOffer(Offer calldata offer) private pure returns (bytes32) {
        bytes32[] memory words = new bytes32[](16);
        words[0] = _OFFER_TYPEHASH;
        words[1] = bytes32(uint256(offer.registrationId));
        words[2] = bytes32(uint256(offer.priceCounts));
        words[3] = bytes32(uint256(offer.priceFilteredCounts));
        words[4] = bytes32(uint256(offer.priceAssociation));
        words[5] = bytes32(uint256(offer.dataUse));
        words[6] = bytes32(uint256(offer.tiers));
        words[7] = bytes32(uint256(offer.audience));
        // EIP-712: an array is the hash of its elements, each padded to a word, as encodePacked pads array elements.
        words[8] = keccak256(abi.encodePacked(offer.buyers));
        words[9] = bytes32(uint256(offer.blockStart));
        words[10] = bytes32(uint256(offer.blockEnd));
        words[11] = offer.conditionDigest;
        words[12] = bytes32(uint256(offer.demands));
        words[13] = offer.disclosureDigest;
        words[14] = bytes32(uint256(offer.expiry));
        words[15] = bytes32(uint256(offer.nonce));
        return keccak256(abi.encodePacked(words));
    }
}
