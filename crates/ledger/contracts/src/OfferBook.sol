// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IOfferBook} from "./IOfferBook.sol";
import {OPERATION_WORDS, RegistryOperations} from "./RegistryOperations.sol";

/// @title Offers.
/// @dev Only a hash and a nonce are stored; readers take the terms from the event.
contract OfferBook is IOfferBook, EIP712 {
    bytes32 private constant _OFFER_TYPEHASH = keccak256(
        "Offer(uint64 registrationId,uint96 priceCounts,uint96 priceFilteredCounts,uint96 priceAssociation,uint32 dataUse,uint32 tiers,uint8 audience,address[] buyers,uint32 blockStart,uint32 blockEnd,bytes32 conditionDigest,uint64 expiry,uint64 nonce)"
    );
    bytes32 private constant _WITHDRAWAL_TYPEHASH = keccak256("Withdrawal(uint64 registrationId,uint64 nonce)");
    uint8 private constant _AUDIENCE_NAMED = 2;
    uint256 private constant _BUYERS_MAX = 256;
    uint32 private constant _BLOCK_MAX = type(uint16).max;
    /// Order of the field in which registry trees are computed; digests are reduced to it.
    uint256 private constant _FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617;

    IDatasetRegistry private immutable _registry;
    mapping(uint64 registrationId => uint64) private _nonces;
    mapping(uint64 registrationId => bytes32) private _hashes;
    mapping(bytes32 panelDigest => bytes32) private _queueHeads;

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
    function queueHead(bytes32 panelDigest) external view returns (bytes32) {
        return _queueHeads[panelDigest];
    }

    /// @inheritdoc IOfferBook
    function registry() external view returns (IDatasetRegistry) {
        return _registry;
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
            && offer.blockStart < offer.blockEnd && offer.blockEnd <= _BLOCK_MAX && offer.expiry > block.timestamp;
        if (!wellFormed) revert OfferBookBadOffer();
        uint64 expected = _nonces[offer.registrationId] + 1;
        if (offer.nonce != expected) revert OfferBookBadNonce(expected);
        _nonces[offer.registrationId] = expected;
        _hashes[offer.registrationId] = structHash;
        _enqueue(offer.registrationId, _terms(offer));
        emit OfferPosted(offer.registrationId, registrant, offer);
    }

    function _withdraw(uint64 registrationId) private {
        // Advanced even when nothing is on offer: the registrant may have signed an offer that was not posted yet.
        uint64 nonce = _nonces[registrationId] + 1;
        _nonces[registrationId] = nonce;
        _hashes[registrationId] = bytes32(0);
        uint256[OPERATION_WORDS] memory nothingOnOffer;
        _enqueue(registrationId, nothingOnOffer);
        emit OfferWithdrawn(registrationId, nonce);
    }

    function _enqueue(uint64 registrationId, uint256[OPERATION_WORDS] memory operation) private {
        operation[0] = RegistryOperations.SET_TERMS;
        operation[1] = registrationId;
        bytes32 panelDigest = _registry.registrationRecord(registrationId).panelDigest;
        _queueHeads[panelDigest] = RegistryOperations.chained(_queueHeads[panelDigest], operation);
    }

    function _terms(Offer calldata offer) private pure returns (uint256[OPERATION_WORDS] memory operation) {
        operation[2] = offer.dataUse;
        // Three bits, two bits, sixteen bits each.
        operation[3] =
            offer.tiers | uint256(offer.audience) << 3 | uint256(offer.blockStart) << 5 | uint256(offer.blockEnd) << 21;
        operation[4] = offer.expiry;
        operation[5] = offer.priceCounts;
        operation[6] = offer.priceFilteredCounts;
        operation[7] = offer.priceAssociation;
        operation[8] = uint256(offer.conditionDigest) % _FIELD;
        if (offer.buyers.length > 0) {
            operation[9] = uint256(keccak256(abi.encodePacked(offer.buyers))) % _FIELD;
        }
    }

    function _hashOffer(Offer calldata offer) private pure returns (bytes32) {
        bytes32[] memory words = new bytes32[](14);
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
        words[12] = bytes32(uint256(offer.expiry));
        words[13] = bytes32(uint256(offer.nonce));
        return keccak256(abi.encodePacked(words));
    }
}
