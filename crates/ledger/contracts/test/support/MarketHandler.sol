// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "../../src/IDatasetRegistry.sol";
import {IOfferBook} from "../../src/IOfferBook.sol";
import {IQueryEscrow} from "../../src/IQueryEscrow.sol";
import {Fixture} from "./Fixture.sol";
import {Typed} from "./Typed.sol";

/// @title Eight actors who do what the contracts allow, and try what they do not, in any order.
/// @notice Keeps its own account of what must be true. Each action knows beforehand whether the contracts must accept
/// it, and fails when they decide otherwise; a call that reverts by surprise fails as well.
contract MarketHandler is Fixture {
    uint256 public constant ACTORS = 8;
    uint256 public constant OPENING_BALANCE = 1_000_000;
    uint96 private constant PRICE_MAX = 10_000;
    uint256 private constant ORDINALS_MAX = 4;

    struct Registered {
        uint64 id;
        uint256 owner;
        uint32 count;
        uint64 offerNonce;
        uint256 seed;
    }

    struct Opened {
        IQueryEscrow.Order order;
        bytes signature;
        bytes32 id;
        IQueryEscrow.OrderState state;
        IQueryEscrow.Settlement settlement;
        bytes evidence;
    }

    // What must be true.
    Registered[] public registrations;
    mapping(uint64 registrationId => uint256 bits) public revokedBits;
    mapping(uint64 registrationId => uint8) public generations;
    Opened[] private _orders;
    uint256 public openTotal;
    uint256 public settledTotal;
    uint256 public claimedTotal;
    uint64 public settlementCount;
    uint256[ACTORS] public claimedOf;
    /// How often an action was accepted (true) and refused (false).
    mapping(string action => mapping(bool accepted => uint256)) public outcomes;
    uint256[ACTORS] private _earned;
    uint256[ACTORS] private _promised;

    uint256 private _clock;
    uint256 private _seed;
    bool private _paused;

    /// @dev Cheat codes that move the clock act on one call, so every action sets it again.
    modifier atOwnTime() {
        vm.warp(_clock);
        _;
    }

    function setUp() public override {
        super.setUp();
        _clock = START;
        for (uint256 actor = 0; actor < ACTORS; actor++) {
            fund(keyOf(actor), OPENING_BALANCE);
        }
    }

    // ---- Registry ----

    function registerSome(uint256 owner, uint256 count) external atOwnTime {
        owner %= ACTORS;
        count = clamp(count, 1, ORDINALS_MAX);
        Batch memory batch = batchOf(keyOf(owner), ++_seed, count);
        bool done = _try(
            address(registry),
            abi.encodeCall(
                registry.registerDatasets,
                (
                    batch.registration,
                    batch.leaves,
                    batch.registrantSignature,
                    batch.accreditorSignature,
                    batch.keyholderSignatures
                )
            )
        );
        _expect(done, !_paused, "register");
        if (!done) return;
        registrations.push(Registered(registry.registrationCount(), owner, uint32(count), 0, _seed));
    }

    function copyDataset(uint256 thief, uint256 which) external atOwnTime {
        if (registrations.length == 0) return;
        Registered memory original = registrations[which % registrations.length];
        Batch memory batch = batchOf(keyOf(thief % ACTORS), ++_seed, 1);
        batch.leaves[0].bodyDigest = leavesOf(original.seed, 1)[0].bodyDigest;
        signBatch(batch, keyOf(thief % ACTORS));
        bool done = _try(
            address(registry),
            abi.encodeCall(
                registry.registerDatasets,
                (
                    batch.registration,
                    batch.leaves,
                    batch.registrantSignature,
                    batch.accreditorSignature,
                    batch.keyholderSignatures
                )
            )
        );
        _expect(done, false, "copy");
    }

    function revoke(uint256 caller, uint256 which, uint32 ordinal) external atOwnTime {
        if (registrations.length == 0) return;
        Registered memory target = registrations[which % registrations.length];
        ordinal = ordinal % uint32(ORDINALS_MAX);
        caller = _oftenOwner(caller, target.owner);
        vm.prank(addressOf(caller));
        bool done = _try(address(registry), abi.encodeCall(registry.revokeDatasets, (target.id, ordinalsOf(ordinal))));
        _expect(done, caller % ACTORS == target.owner && ordinal < target.count, "revoke");
        if (done) revokedBits[target.id] |= 1 << ordinal;
    }

    function rekeySome(uint256 which, uint32 leftOut) external atOwnTime {
        if (registrations.length == 0) return;
        Registered memory target = registrations[which % registrations.length];
        IDatasetRegistry.DatasetKeys[] memory keys = keysOf(++_seed, target.count);
        // One time in two a dataset is left as it is, which is right when it is revoked.
        leftOut = leftOut % (2 * target.count);
        bool isLeftOut = leftOut < target.count;
        bool isLive = revokedBits[target.id] & (1 << leftOut) == 0;
        if (isLeftOut) delete keys[leftOut];
        uint8 generation = generations[target.id] + 1;
        bytes[3] memory signatures = signKeys(target.id, generation, keys);
        bytes memory call = abi.encodeCall(registry.rekeyDatasets, (target.id, keys, REKEYING_DEADLINE, signatures));
        bool done = _try(address(registry), call);
        _expect(done, generation <= 8 && !(isLeftOut && isLive), "rekey");
        if (done) generations[target.id] = generation;
    }

    // ---- Offers ----

    function postOffer(uint256 signer, uint256 which, uint64 nonceError) external atOwnTime {
        if (registrations.length == 0) return;
        Registered storage target = registrations[which % registrations.length];
        signer = _oftenOwner(signer, target.owner);
        // One time in four with a nonce that is one too high.
        bool wrongNonce = nonceError % 4 == 0;
        IOfferBook.Offer memory offer = offerOf(target.id, target.offerNonce + (wrongNonce ? 2 : 1));
        bytes memory signed = signature(keyOf(signer), offerDigest(Typed.offer(offer)));
        bool done = _try(address(offers), abi.encodeCall(offers.postOfferSigned, (offer, signed)));
        _expect(done, signer % ACTORS == target.owner && !wrongNonce && !_paused, "post offer");
        if (done) target.offerNonce++;
    }

    function withdrawOffer(uint256 caller, uint256 which) external atOwnTime {
        if (registrations.length == 0) return;
        Registered storage target = registrations[which % registrations.length];
        caller = _oftenOwner(caller, target.owner);
        vm.prank(addressOf(caller));
        bool done = _try(address(offers), abi.encodeCall(offers.withdrawOffer, (target.id)));
        _expect(done, caller % ACTORS == target.owner, "withdraw offer");
        if (done) target.offerNonce++;
    }

    // ---- Orders ----

    function openOrder(uint256 relayer, uint256 researcher, uint96 price, uint64 lifetime) external atOwnTime {
        IQueryEscrow.Order memory order = orderOf(keyOf(researcher), uint64(++_seed));
        order.maxPrice = uint96(clamp(price, 1, PRICE_MAX));
        order.deadline = uint64(_clock + clamp(lifetime, 1, 1 days));
        bytes memory signed = signOrder(order, keyOf(researcher));
        bool funded = token.balanceOf(order.researcher) >= order.maxPrice;
        vm.prank(addressOf(relayer));
        bool done = _try(address(escrow), abi.encodeCall(escrow.openOrder, (order, signed)));
        _expect(done, funded && !_paused, "open order");
        if (!done) return;
        Opened storage opened = _orders.push();
        (opened.order, opened.signature, opened.id) = (order, signed, Typed.order(order));
        opened.state = IQueryEscrow.OrderState.Open;
        openTotal += order.maxPrice;
    }

    function openAgain(uint256 which) external atOwnTime {
        if (_orders.length == 0) return;
        Opened storage opened = _someOrder(which);
        bool done = _try(address(escrow), abi.encodeCall(escrow.openOrder, (opened.order, opened.signature)));
        _expect(done, false, "open again");
    }

    function settleOrder(uint256 which, uint96 price, uint256 split) external atOwnTime {
        if (_orders.length == 0) return;
        Opened storage opened = _someOrder(which);
        // One time in ten above the highest price.
        price = uint96(clamp(price, 0, uint256(opened.order.maxPrice) * 10 / 9));
        (uint256[ACTORS] memory earned, uint256[ACTORS] memory promised) = _shares(price, split);
        IQueryEscrow.Settlement memory settlement = settlementOf(opened.id, price, _rootOf(promised));
        bytes memory evidence = evidenceOf(settlement);
        bool done = _try(address(escrow), abi.encodeCall(escrow.settleOrder, (settlement, evidence)));
        bool possible = opened.state == IQueryEscrow.OrderState.Open && _clock <= opened.order.deadline
            && price <= opened.order.maxPrice;
        _expect(done, possible, "settle");
        if (!done) return;
        opened.state = IQueryEscrow.OrderState.Settled;
        (opened.settlement, opened.evidence) = (settlement, evidence);
        openTotal -= opened.order.maxPrice;
        settledTotal += price;
        settlementCount++;
        (_earned, _promised) = (earned, promised);
    }

    function settleAgain(uint256 which) external atOwnTime {
        if (_orders.length == 0) return;
        Opened storage opened = _someOrder(which);
        bool done = _try(address(escrow), abi.encodeCall(escrow.settleOrder, (opened.settlement, opened.evidence)));
        _expect(done, false, "settle again");
    }

    function refundOrder(uint256 caller, uint256 which) external atOwnTime {
        if (_orders.length == 0) return;
        Opened storage opened = _someOrder(which);
        vm.prank(addressOf(caller));
        bool done = _try(address(escrow), abi.encodeCall(escrow.refundOrder, (opened.id)));
        bool due = opened.state == IQueryEscrow.OrderState.Open && _clock > opened.order.deadline;
        _expect(done, due, "refund");
        if (!done) return;
        opened.state = IQueryEscrow.OrderState.Refunded;
        openTotal -= opened.order.maxPrice;
    }

    // ---- Payouts ----

    function claim(uint256 caller, uint256 actor) external atOwnTime {
        actor %= ACTORS;
        (, bytes32[] memory path) = merkle(_leaves(_promised), actor);
        vm.prank(addressOf(caller));
        bool done =
            _try(address(escrow), abi.encodeCall(escrow.claimPayout, (addressOf(actor), _promised[actor], path)));
        bool due = settlementCount > 0 && _promised[actor] > claimedOf[actor]
            && _promised[actor] - claimedOf[actor] <= settledTotal - claimedTotal;
        _expect(done, due, "claim");
        if (!done) return;
        claimedTotal += _promised[actor] - claimedOf[actor];
        claimedOf[actor] = _promised[actor];
    }

    function transfer(uint256 from, uint256 to, uint256 amount) external atOwnTime {
        amount = clamp(amount, 0, token.balanceOf(addressOf(from)));
        vm.prank(addressOf(from));
        token.transfer(addressOf(to), amount);
    }

    // ---- The world ----

    function pass(uint256 time) external {
        _clock += clamp(time, 1, 3 hours);
    }

    function togglePause(uint256 chance) external {
        // Mostly unpaused, so that the rest is exercised.
        if (!_paused && chance % 4 != 0) return;
        if (_paused) registry.unpause();
        else registry.pause();
        _paused = !_paused;
    }

    /// @dev Nothing is stuck: when all deadlines have passed, every open order can be refunded, paused or not.
    function refundEverything() external {
        for (uint256 i = 0; i < _orders.length; i++) {
            if (_orders[i].state != IQueryEscrow.OrderState.Open) continue;
            vm.warp(uint256(_orders[i].order.deadline) + 1);
            uint256 before = token.balanceOf(_orders[i].order.researcher);
            escrow.refundOrder(_orders[i].id);
            uint256 returned = token.balanceOf(_orders[i].order.researcher) - before;
            require(returned == _orders[i].order.maxPrice, "refund is not the whole escrow");
        }
        require(token.balanceOf(address(escrow)) == settledTotal - claimedTotal, "escrow holds more than the pool");
    }

    // ---- Account ----

    function checkMoney() external view {
        uint256 sum = token.balanceOf(address(escrow)) + token.balanceOf(vm.addr(RESEARCHER_KEY));
        for (uint256 actor = 0; actor < ACTORS; actor++) {
            sum += token.balanceOf(addressOf(actor));
            require(escrow.claimed(addressOf(actor)) == claimedOf[actor], "claimed by one actor");
        }
        require(sum == token.totalSupply(), "tokens appeared or vanished");
        require(escrow.settledTotal() == settledTotal && escrow.claimedTotal() == claimedTotal, "totals");
        require(claimedTotal <= settledTotal, "payouts exceed settled prices");
        require(token.balanceOf(address(escrow)) == openTotal + settledTotal - claimedTotal, "escrow balance");
        require(escrow.payoutSequence() == settlementCount, "payout sequence");
    }

    function checkOrders() external view {
        for (uint256 i = 0; i < _orders.length; i++) {
            IQueryEscrow.OrderRecord memory record = escrow.orderRecord(_orders[i].id);
            require(record.state == _orders[i].state, "order state");
            require(record.maxPrice == _orders[i].order.maxPrice, "order price");
            require(record.deadline == _orders[i].order.deadline, "order deadline");
            require(record.researcher == _orders[i].order.researcher, "order researcher");
        }
    }

    function checkRegistry() external view {
        require(registry.registrationCount() == registrations.length, "registrations");
        uint64 slot = 0;
        for (uint256 i = 0; i < registrations.length; i++) {
            Registered memory registered = registrations[i];
            require(registered.id == i + 1, "ids are sequential");
            require(registry.registrationRecord(registered.id).firstSlot == slot, "slots are contiguous");
            slot += registered.count;
            for (uint32 ordinal = 0; ordinal < registered.count; ordinal++) {
                bool expected = revokedBits[registered.id] & (1 << ordinal) != 0;
                require(registry.isRevoked(registered.id, ordinal) == expected, "revoked bits");
            }
            require(registry.rekeyGeneration(registered.id) == generations[registered.id], "generation");
            require(offers.offerNonce(registered.id) == registered.offerNonce, "offer nonce");
        }
        require(registry.slotCount(PANEL) == slot, "slot count");
    }

    function orderCount() external view returns (uint256) {
        return _orders.length;
    }

    /// @dev The owner half of the time, else anybody.
    function _oftenOwner(uint256 seed, uint256 owner) private pure returns (uint256) {
        return seed % 2 == 0 ? owner : (seed / 2) % ACTORS;
    }

    /// @dev One of the last eight orders half of the time, else any: the old ones are over.
    function _someOrder(uint256 seed) private view returns (Opened storage) {
        uint256 count = _orders.length;
        uint256 recent = count < 8 ? count : 8;
        return _orders[seed % 2 == 0 ? count - 1 - (seed / 2) % recent : (seed / 2) % count];
    }

    function keyOf(uint256 actor) public pure returns (uint256) {
        return 0xAC7000 + actor % ACTORS;
    }

    function addressOf(uint256 actor) public pure returns (address) {
        return vm.addr(keyOf(actor));
    }

    /// @dev Earnings after a settlement: honest ones share the price; one split in eight promises more than is there.
    function _shares(uint96 price, uint256 split)
        private
        view
        returns (uint256[ACTORS] memory earned, uint256[ACTORS] memory promised)
    {
        uint256 first = split % ACTORS;
        earned = _earned;
        earned[first] += price / 2;
        earned[(split / ACTORS) % ACTORS] += price - price / 2;
        for (uint256 actor = 0; actor < ACTORS; actor++) {
            promised[actor] = earned[actor];
        }
        if ((split / ACTORS / ACTORS) % 8 == 0) promised[first] += openTotal + 1;
    }

    function _leaves(uint256[ACTORS] memory amounts) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](ACTORS);
        for (uint256 actor = 0; actor < ACTORS; actor++) {
            leaves[actor] = payoutLeaf(addressOf(actor), amounts[actor]);
        }
    }

    function _rootOf(uint256[ACTORS] memory amounts) private pure returns (bytes32 root) {
        (root,) = merkle(_leaves(amounts), 0);
    }

    function _try(address target, bytes memory call_) private returns (bool done) {
        (done,) = target.call(call_);
    }

    function _expect(bool done, bool expected, string memory what) private {
        outcomes[what][done]++;
        require(done == expected, string.concat(what, expected ? " was refused" : " was accepted"));
    }
}
