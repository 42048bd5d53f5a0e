// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "../src/IDatasetRegistry.sol";
import {IOfferBook} from "../src/IOfferBook.sol";
import {OfferBook} from "../src/OfferBook.sol";
import {Fixture} from "./support/Fixture.sol";
import {Typed} from "./support/Typed.sol";
import {OwnedWallet} from "./support/Wallets.sol";

contract OfferBookTest is Fixture {
    uint64 private _id;

    function setUp() public override {
        super.setUp();
        _id = register(CONTRIBUTOR_KEY, 1, 2);
    }

    // ---- Posting ----

    function test_registrantPostsAndTheEventCarriesTheTerms() public {
        IOfferBook.Offer memory offer = offerOf(_id, 1);
        vm.expectEmit(address(offers));
        emit IOfferBook.OfferPosted(_id, vm.addr(CONTRIBUTOR_KEY), offer);
        _post(offer);
        assertEq(offers.offerNonce(_id), 1, "nonce");
        assertEq(offers.offerHash(_id), Typed.offer(offer), "hash of the specification");
    }

    function test_relayedOfferNeedsTheRegistrantsSignature() public {
        IOfferBook.Offer memory offer = offerOf(_id, 1);
        bytes memory foreign = signature(OTHER_KEY, offerDigest(Typed.offer(offer)));
        vm.expectRevert(_badSignature());
        offers.postOfferSigned(offer, foreign);
        bytes memory own = signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer)));
        vm.expectRevert(_badSignature());
        offers.postOfferSigned(offer, highS(own));
        vm.prank(RELAYER);
        offers.postOfferSigned(offer, own);
        assertEq(offers.offerHash(_id), Typed.offer(offer), "posted");
    }

    function test_anyTermChangedAfterSigningIsRefused() public {
        for (uint256 field = 0; field < 14; field++) {
            IOfferBook.Offer memory offer = offerOf(_id, 1);
            offer.audience = 2;
            offer.buyers = new address[](2);
            bytes memory own = signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer)));
            if (field == 0) offer.priceCounts--;
            if (field == 1) offer.priceFilteredCounts--;
            if (field == 2) offer.priceAssociation--;
            if (field == 3) offer.dataUse = 3;
            if (field == 4) offer.tiers = 7;
            if (field == 5) (offer.audience, offer.buyers) = (0, new address[](0));
            if (field == 6) offer.buyers[1] = RELAYER;
            if (field == 7) offer.buyers = new address[](1);
            if (field == 8) offer.blockStart = 1;
            if (field == 9) offer.blockEnd = 2;
            if (field == 10) offer.conditionDigest = keccak256("asthma");
            if (field == 11) offer.expiry++;
            if (field == 12) offer.demands = 1;
            if (field == 13) offer.disclosureDigest = keccak256("a disclosure");
            vm.expectRevert(_badSignature());
            offers.postOfferSigned(offer, own);
        }
    }

    function test_offerForAnotherBookOrChainIsRefused() public {
        IOfferBook.Offer memory offer = offerOf(_id, 1);
        bytes memory own = signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer)));
        OfferBook other = new OfferBook(registry);
        vm.expectRevert(_badSignature());
        other.postOfferSigned(offer, own);
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        vm.expectRevert(_badSignature());
        offers.postOfferSigned(offer, own);
        vm.chainId(here);
        offers.postOfferSigned(offer, own);
    }

    function test_signatureOfOneMethodDoesNotServeAnother() public {
        // A withdrawal signed for nonce 0 is no offer, and an offer is no withdrawal.
        IOfferBook.Offer memory offer = offerOf(_id, 1);
        bytes memory withdrawal = signature(CONTRIBUTOR_KEY, offerDigest(Typed.withdrawal(_id, 0)));
        vm.expectRevert(_badSignature());
        offers.postOfferSigned(offer, withdrawal);
        bytes memory own = signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer)));
        vm.expectRevert(_badSignature());
        offers.withdrawOfferSigned(_id, 0, own);
    }

    function testFuzz_nobodyElsePosts(address caller) public {
        vm.assume(caller != vm.addr(CONTRIBUTOR_KEY) && caller != address(vm));
        vm.expectRevert(abi.encodeWithSelector(IOfferBook.OfferBookNotRegistrant.selector, caller));
        vm.prank(caller);
        offers.postOffer(offerOf(_id, 1));
        vm.expectRevert(abi.encodeWithSelector(IOfferBook.OfferBookNotRegistrant.selector, caller));
        vm.prank(caller);
        offers.withdrawOffer(_id);
    }

    function test_unknownRegistrationHasNoOffers() public {
        bytes memory unknown =
            abi.encodeWithSelector(IDatasetRegistry.DatasetRegistryUnknownRegistration.selector, _id + 1);
        vm.expectRevert(unknown);
        offers.postOffer(offerOf(_id + 1, 1));
        vm.expectRevert(unknown);
        offers.withdrawOffer(_id + 1);
    }

    function test_contractWalletPostsWithItsOwnersSignature() public {
        Batch memory batch = batchOf(CONTRIBUTOR_KEY, 2, 1);
        batch.registration.registrant = address(new OwnedWallet(vm.addr(CONTRIBUTOR_KEY)));
        signBatch(batch, CONTRIBUTOR_KEY);
        IOfferBook.Offer memory offer = offerOf(submit(batch), 1);
        offers.postOfferSigned(offer, signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer))));
        assertEq(offers.offerNonce(offer.registrationId), 1, "posted");
    }

    // ---- Nonces ----

    function test_nonceIsAlwaysTheNextOne() public {
        for (uint64 nonce = 0; nonce < 4; nonce++) {
            if (nonce != 1) _refused(offerOf(_id, nonce), _badNonce(1));
        }
        _post(offerOf(_id, 1));
        _refused(offerOf(_id, 1), _badNonce(2));
        _post(offerOf(_id, 2));
        assertEq(offers.offerNonce(_id), 2, "nonce");
    }

    function test_postedOfferCannotBeReplayed() public {
        IOfferBook.Offer memory offer = offerOf(_id, 1);
        bytes memory own = signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer)));
        offers.postOfferSigned(offer, own);
        vm.expectRevert(_badNonce(2));
        offers.postOfferSigned(offer, own);
    }

    function test_noncesOfOtherRegistrationsDoNotMove() public {
        uint64 other = register(OTHER_KEY, 2, 1);
        _post(offerOf(_id, 1));
        _post(offerOf(_id, 2));
        assertEq(offers.offerNonce(other), 0, "nonce of the other");
        vm.prank(vm.addr(OTHER_KEY));
        offers.postOffer(offerOf(other, 1));
        assertEq(offers.offerNonce(_id), 2, "nonce of the first");
    }

    // ---- Withdrawing ----

    function test_withdrawalEndsTheOffer() public {
        _post(offerOf(_id, 1));
        vm.expectEmit(address(offers));
        emit IOfferBook.OfferWithdrawn(_id, 2);
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.withdrawOffer(_id);
        assertEq(offers.offerHash(_id), bytes32(0), "no offer");
        assertEq(offers.offerNonce(_id), 2, "nonce");
        _post(offerOf(_id, 3));
    }

    function test_withdrawalCancelsAnOfferSignedButNotPosted() public {
        _post(offerOf(_id, 1));
        IOfferBook.Offer memory pending = offerOf(_id, 2);
        bytes memory own = signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(pending)));
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.withdrawOffer(_id);
        vm.expectRevert(_badNonce(3));
        offers.postOfferSigned(pending, own);
    }

    function test_relayedWithdrawalServesOnceAndForItsOfferOnly() public {
        _post(offerOf(_id, 1));
        bytes memory own = signature(CONTRIBUTOR_KEY, offerDigest(Typed.withdrawal(_id, 1)));
        bytes memory foreign = signature(OTHER_KEY, offerDigest(Typed.withdrawal(_id, 1)));
        vm.expectRevert(_badSignature());
        offers.withdrawOfferSigned(_id, 1, foreign);
        vm.prank(RELAYER);
        offers.withdrawOfferSigned(_id, 1, own);
        vm.expectRevert(_badNonce(2));
        offers.withdrawOfferSigned(_id, 1, own);
        _post(offerOf(_id, 3));
        vm.expectRevert(_badNonce(3));
        offers.withdrawOfferSigned(_id, 1, own);
        require(offers.offerHash(_id) != bytes32(0), "the later offer stands");
    }

    function test_pauseStopsPostingButNotWithdrawing() public {
        _post(offerOf(_id, 1));
        bytes memory own = signature(CONTRIBUTOR_KEY, offerDigest(Typed.withdrawal(_id, 1)));
        registry.pause();
        _refused(offerOf(_id, 2), abi.encodePacked(IOfferBook.OfferBookPaused.selector));
        offers.withdrawOfferSigned(_id, 1, own);
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.withdrawOffer(_id);
        registry.unpause();
        _post(offerOf(_id, 4));
    }

    // ---- Terms ----

    function test_malformedTermsAreRefused() public {
        for (uint256 field = 0; field < 11; field++) {
            IOfferBook.Offer memory offer = offerOf(_id, 1);
            if (field == 0) offer.tiers = 0;
            if (field == 1) offer.tiers = 8;
            if (field == 2) offer.audience = 3;
            if (field == 3) offer.audience = 2;
            if (field == 4) offer.buyers = new address[](1);
            if (field == 5) (offer.audience, offer.buyers) = (2, new address[](257));
            if (field == 6) offer.blockStart = 1;
            if (field == 7) (offer.blockStart, offer.blockEnd) = (2, 1);
            if (field == 8) offer.expiry = uint64(block.timestamp);
            if (field == 9) offer.demands = 4;
            if (field == 10) offer.demands = 1 << 31;
            _refused(offer, abi.encodePacked(IOfferBook.OfferBookBadOffer.selector));
        }
    }

    function testFuzz_everyWellFormedOfferIsPosted(IOfferBook.Offer memory offer) public {
        offer.registrationId = _id;
        offer.nonce = 1;
        offer.demands = offer.demands % 4;
        offer.tiers = uint32(clamp(offer.tiers, 1, 7));
        offer.audience = uint8(clamp(offer.audience, 0, 2));
        offer.buyers = new address[](offer.audience == 2 ? clamp(offer.priceCounts, 1, 256) : 0);
        for (uint256 i = 0; i < offer.buyers.length; i++) {
            offer.buyers[i] = address(uint160(offer.priceCounts + i));
        }
        offer.blockEnd = uint32(clamp(offer.blockEnd, 1, type(uint32).max));
        offer.blockStart = offer.blockStart % offer.blockEnd;
        offer.expiry = uint64(clamp(offer.expiry, block.timestamp + 1, type(uint64).max));
        offers.postOfferSigned(offer, signature(CONTRIBUTOR_KEY, offerDigest(Typed.offer(offer))));
        assertEq(offers.offerHash(_id), Typed.offer(offer), "hash of the specification");
    }

    function test_bookNeedsARegistry() public {
        vm.expectRevert(IOfferBook.OfferBookBadDeployment.selector);
        new OfferBook(IDatasetRegistry(address(0x1234)));
        assertEq(address(offers.registry()), address(registry), "registry");
    }

    function _post(IOfferBook.Offer memory offer) private {
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.postOffer(offer);
    }

    function _refused(IOfferBook.Offer memory offer, bytes memory revertData) private {
        vm.expectRevert(revertData);
        vm.prank(vm.addr(CONTRIBUTOR_KEY));
        offers.postOffer(offer);
    }

    function _badSignature() private pure returns (bytes memory) {
        return abi.encodeWithSelector(IOfferBook.OfferBookBadSignature.selector, vm.addr(CONTRIBUTOR_KEY));
    }

    function _badNonce(uint64 expected) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IOfferBook.OfferBookBadNonce.selector, expected);
    }
}
