// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IRegistryQueue} from "./IRegistryQueue.sol";

/// @title Prices and terms under which registered datasets may be used.
/// @notice One offer per registration; it holds for every group of it in the registry tree. The tree knows no prices but
/// multiples of 10^10 base units below 2^48 of these, and no terms but the 22 of the protocol: any other offer stands
/// here, for committees, and is in no proven cohort. It has no place for demands and disclosures either, which restrict
/// what an offer allows: keyholders and everybody who resolves a cohort take them from the event. The nonce puts the registrant's decisions in order: posting and withdrawing both
/// advance it, so no older signature brings back older terms.
///
/// EIP-712 domain: name "LocusOfferBook", version "1", chain id, this contract. Signed messages, by the registrant:
/// Offer, and Withdrawal(uint64 registrationId,uint64 nonce).
interface IOfferBook is IRegistryQueue {
    /// Price and terms of all datasets of a registration; what the registrant signs.
    struct Offer {
        uint64 registrationId;
        /// Token base units per dataset, for each class of query.
        uint96 priceCounts;
        uint96 priceFilteredCounts;
        uint96 priceAssociation;
        /// Bit set of permitted uses and modifiers.
        uint32 dataUse;
        /// Bit 0 open, bit 1 vetted, bit 2 exact.
        uint32 tiers;
        /// 0 anyone, 1 accredited researchers, 2 the named buyers.
        uint8 audience;
        /// Empty unless the audience is 2.
        address[] buyers;
        /// Panel blocks on offer: from blockStart to before blockEnd.
        uint32 blockStart;
        uint32 blockEnd;
        /// Hash of the ontology term of a disease-specific consent, or zero.
        bytes32 conditionDigest;
        /// What a question must be for the datasets to be counted. Bit 0: it counts proven datasets only; bit 1: when
        /// it is about selected people, it is evaluated on authenticated shares.
        uint32 demands;
        /// Digest of a document with claims about the dataset's genotypes and their proof, or zero.
        bytes32 disclosureDigest;
        /// Last second of the offer.
        uint64 expiry;
        /// One more than offerNonce.
        uint64 nonce;
    }

    event OfferPosted(uint64 indexed registrationId, address indexed registrant, Offer offer);
    /// @param nonce The registration's nonce from now on; no offer signed with it or a lower one can be posted.
    event OfferWithdrawn(uint64 indexed registrationId, uint64 nonce);

    error OfferBookBadDeployment();
    error OfferBookPaused();
    error OfferBookBadOffer();
    error OfferBookBadNonce(uint64 expected);
    error OfferBookNotRegistrant(address caller);
    error OfferBookBadSignature(address expectedSigner);

    /// @notice Posts or replaces the offer of a registration; by its registrant.
    function postOffer(Offer calldata offer) external;

    /// @notice As postOffer, signed by the registrant and sent by anyone.
    function postOfferSigned(Offer calldata offer, bytes calldata signature) external;

    /// @notice Ends the offer of a registration, and cancels one that was signed and not yet posted; by its
    /// registrant. Works while paused.
    function withdrawOffer(uint64 registrationId) external;

    /// @notice As withdrawOffer, sent by anyone with the registrant's signature over the current offerNonce.
    function withdrawOfferSigned(uint64 registrationId, uint64 nonce, bytes calldata signature) external;

    /// @notice Number of offers and withdrawals of a registration so far.
    function offerNonce(uint64 registrationId) external view returns (uint64);

    /// @notice EIP-712 struct hash of the latest offer, which may have expired; zero when there is none.
    function offerHash(uint64 registrationId) external view returns (bytes32);

    /// @notice Registry whose registrations are offered here.
    function registry() external view returns (IDatasetRegistry);
}
