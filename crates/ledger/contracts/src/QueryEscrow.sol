// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IQueryEscrow} from "./IQueryEscrow.sol";
import {ISettlementVerifier} from "./ISettlementVerifier.sol";

/// @title Orders with escrow, settlement and payouts.
/// @notice Money leaves in three ways only: a refund to the researcher of what an order did not cost, a refund of the
/// whole escrow after the deadline, and claims against settled prices. Claims can never exceed settled prices,
/// whatever the payout root says. No account has a privilege here, and nothing can be paused but new orders.
/// @dev For a token that moves the stated amounts and does not rebase, the balance always covers all open orders, the
/// unclaimed part of settled prices, and deferred refunds.
contract QueryEscrow is IQueryEscrow, ReentrancyGuard, EIP712 {
    using SafeERC20 for IERC20;

    bytes32 private constant _ORDER_TYPEHASH = keccak256(
        "Order(address researcher,bytes32 panelDigest,bytes32 selectionDigest,bytes32 predicateDigest,uint8 queryClass,uint32 purpose,bytes32 conditionDigest,uint8 tier,uint64 rhoNano,uint96 maxPrice,bytes32 hpkeKeyDigest,uint64 deadline,uint64 nonce)"
    );
    bytes32 private constant _SETTLEMENT_TYPEHASH = keccak256(
        "Settlement(bytes32 orderId,bytes32 answerDigest,bytes32 cohortDigest,uint32 cohortSize,uint96 price,uint64 payoutSequence,bytes32 payoutRoot)"
    );
    uint8 private constant _TIER_VETTED = 1;
    uint8 private constant _TIER_EXACT = 2;
    uint8 private constant _QUERY_CLASS_MAX = 2;

    IERC20 private immutable _token;
    IDatasetRegistry private immutable _registry;
    ISettlementVerifier private immutable _verifier;
    // The registry's parameters never change: those needed here are read once.
    uint32 private immutable _orderLifetimeMax;
    uint32 private immutable _cohortSizeMin;
    uint32 private immutable _exactBatchMin;
    uint64 private immutable _rhoOpenMax;
    uint64 private immutable _rhoVettedMax;
    uint64 private _payoutSequence;
    bytes32 private _payoutRoot;
    uint256 private _settledTotal;
    uint256 private _claimedTotal;
    mapping(bytes32 orderId => OrderRecord) private _orders;
    mapping(address account => uint256) private _claimed;
    mapping(address researcher => uint256) private _deferred;

    constructor(IERC20 token_, IDatasetRegistry registry_, ISettlementVerifier verifier_)
        EIP712("LocusQueryEscrow", "1")
    {
        bool deployed =
            address(token_).code.length > 0 && address(registry_).code.length > 0 && address(verifier_).code.length > 0;
        if (!deployed) revert QueryEscrowBadDeployment();
        _token = token_;
        _registry = registry_;
        _verifier = verifier_;
        IDatasetRegistry.NetworkParameters memory parameters = registry_.parameters();
        _orderLifetimeMax = parameters.orderLifetimeMax;
        _cohortSizeMin = parameters.cohortSizeMin;
        _exactBatchMin = parameters.exactBatchMin;
        _rhoOpenMax = parameters.rhoOpenQueryMax;
        _rhoVettedMax = parameters.rhoOpenQueryMax * parameters.vettedFactor;
    }

    // ---- Orders ----

    /// @inheritdoc IQueryEscrow
    function openOrder(Order calldata order, bytes calldata signature) external nonReentrant returns (bytes32) {
        return _open(order, signature);
    }

    /// @inheritdoc IQueryEscrow
    function openOrderWithPermit(Order calldata order, bytes calldata signature, Permit calldata permit)
        external
        nonReentrant
        returns (bytes32)
    {
        // Anyone can use a permit first. Then this call fails, the allowance is there all the same, and the transfer
        // below decides.
        try IERC20Permit(address(_token))
            .permit(order.researcher, address(this), permit.value, permit.deadline, permit.v, permit.r, permit.s) {}
            catch {}
        return _open(order, signature);
    }

    /// @inheritdoc IQueryEscrow
    function refundOrder(bytes32 orderId) external nonReentrant {
        OrderRecord storage record = _orders[orderId];
        if (record.state != OrderState.Open) revert QueryEscrowNotOpen(orderId);
        if (block.timestamp <= record.deadline) revert QueryEscrowBeforeDeadline(record.deadline);
        record.state = OrderState.Refunded;
        emit OrderRefunded(orderId, record.maxPrice);
        _payBack(record.researcher, record.maxPrice);
    }

    /// @inheritdoc IQueryEscrow
    function withdrawDeferred(address researcher) external nonReentrant {
        uint256 amount = _deferred[researcher];
        if (amount == 0) revert QueryEscrowNothingDeferred(researcher);
        _deferred[researcher] = 0;
        emit DeferredWithdrawn(researcher, amount);
        _token.safeTransfer(researcher, amount);
    }

    // ---- Settlement ----

    /// @inheritdoc IQueryEscrow
    function settleOrder(Settlement calldata settlement, bytes calldata evidence) external nonReentrant {
        OrderRecord storage record = _orders[settlement.orderId];
        _checkSettlement(record, settlement);
        bytes4 verdict =
            _verifier.verifySettlement(settlement.orderId, record, settlement, settlementDigest(settlement), evidence);
        if (verdict != ISettlementVerifier.verifySettlement.selector) revert QueryEscrowVerifierRefused();
        record.state = OrderState.Settled;
        _payoutSequence = settlement.payoutSequence;
        _payoutRoot = settlement.payoutRoot;
        _settledTotal += settlement.price;
        emit OrderSettled(settlement.orderId, settlement);
        _payBack(record.researcher, record.maxPrice - settlement.price);
    }

    /// @inheritdoc IQueryEscrow
    function claimPayout(address account, uint256 cumulative, bytes32[] calldata proof) external nonReentrant {
        // Hashed twice, so that no inner node of the tree can pass for a leaf.
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(account, cumulative))));
        if (!MerkleProof.verifyCalldata(proof, _payoutRoot, leaf)) revert QueryEscrowBadPayoutProof();
        uint256 already = _claimed[account];
        if (cumulative <= already) revert QueryEscrowNothingToClaim();
        uint256 amount = cumulative - already;
        if (amount > _settledTotal - _claimedTotal) revert QueryEscrowPoolExceeded();
        _claimed[account] = cumulative;
        _claimedTotal += amount;
        emit PayoutClaimed(account, amount);
        _token.safeTransfer(account, amount);
    }

    // ---- Views ----

    /// @inheritdoc IQueryEscrow
    function orderRecord(bytes32 orderId) external view returns (OrderRecord memory) {
        return _orders[orderId];
    }

    /// @inheritdoc IQueryEscrow
    function payoutRoot() external view returns (bytes32) {
        return _payoutRoot;
    }

    /// @inheritdoc IQueryEscrow
    function payoutSequence() external view returns (uint64) {
        return _payoutSequence;
    }

    /// @inheritdoc IQueryEscrow
    function claimed(address account) external view returns (uint256) {
        return _claimed[account];
    }

    /// @inheritdoc IQueryEscrow
    function deferredRefund(address researcher) external view returns (uint256) {
        return _deferred[researcher];
    }

    /// @inheritdoc IQueryEscrow
    function settledTotal() external view returns (uint256) {
        return _settledTotal;
    }

    /// @inheritdoc IQueryEscrow
    function claimedTotal() external view returns (uint256) {
        return _claimedTotal;
    }

    /// @inheritdoc IQueryEscrow
    function token() external view returns (IERC20) {
        return _token;
    }

    /// @inheritdoc IQueryEscrow
    function registry() external view returns (IDatasetRegistry) {
        return _registry;
    }

    /// @inheritdoc IQueryEscrow
    function verifier() external view returns (ISettlementVerifier) {
        return _verifier;
    }

    /// @inheritdoc IQueryEscrow
    function orderHash(Order calldata order) public pure returns (bytes32) {
        // All members are value types, so their ABI encoding is the EIP-712 encoding.
        return keccak256(abi.encode(_ORDER_TYPEHASH, order));
    }

    /// @inheritdoc IQueryEscrow
    function settlementDigest(Settlement calldata settlement) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(_SETTLEMENT_TYPEHASH, settlement)));
    }

    // ---- Internals ----

    function _open(Order calldata order, bytes calldata signature) private returns (bytes32 orderId) {
        _checkOrder(order);
        orderId = orderHash(order);
        if (_orders[orderId].state != OrderState.None) revert QueryEscrowOrderExists(orderId);
        bytes32 digest = _hashTypedDataV4(orderId);
        if (!SignatureChecker.isValidSignatureNowCalldata(order.researcher, digest, signature)) {
            revert QueryEscrowBadSignature(order.researcher);
        }
        _orders[orderId] = OrderRecord({
            researcher: order.researcher,
            maxPrice: order.maxPrice,
            panelDigest: order.panelDigest,
            deadline: order.deadline,
            purpose: order.purpose,
            queryClass: order.queryClass,
            tier: order.tier,
            state: OrderState.Open,
            openedAt: uint40(block.timestamp),
            accredited: _registry.isAccreditedResearcher(order.researcher)
        });
        emit OrderOpened(orderId, order.researcher, order);
        uint256 before = _token.balanceOf(address(this));
        // The researcher signed the order, and with it this very transfer.
        // slither-disable-next-line arbitrary-send-erc20
        _token.safeTransferFrom(order.researcher, address(this), order.maxPrice);
        // A token that keeps a fee would leave the escrow short.
        if (_token.balanceOf(address(this)) - before != order.maxPrice) revert QueryEscrowTransferMismatch();
    }

    /// @dev A researcher whom the token refuses (a blocked account, say) must not be able to stop a settlement that pays
    /// contributors, so the amount waits in the researcher's name instead.
    function _payBack(address researcher, uint256 amount) private {
        if (amount == 0) return;
        if (!_token.trySafeTransfer(researcher, amount)) {
            _deferred[researcher] += amount;
            emit RefundDeferred(researcher, amount);
        }
    }

    function _checkOrder(Order calldata order) private view {
        if (_registry.paused()) revert QueryEscrowPaused();
        bool noiseFits = order.tier == _TIER_EXACT ? order.rhoNano == 0 : order.rhoNano > 0;
        bool wellFormed = noiseFits && order.tier <= _TIER_EXACT && order.queryClass <= _QUERY_CLASS_MAX
            && order.maxPrice > 0 && order.researcher != address(0) && order.selectionDigest != bytes32(0)
            && order.hpkeKeyDigest != bytes32(0);
        if (!wellFormed) revert QueryEscrowBadOrder();
        if (order.tier != _TIER_EXACT) {
            uint64 rhoNanoMax = order.tier == _TIER_VETTED ? _rhoVettedMax : _rhoOpenMax;
            if (order.rhoNano > rhoNanoMax) revert QueryEscrowRhoTooHigh(order.rhoNano, rhoNanoMax);
        }
        if (order.deadline <= block.timestamp || order.deadline > block.timestamp + _orderLifetimeMax) {
            revert QueryEscrowBadDeadline(order.deadline);
        }
        if (!_registry.isPanelPublished(order.panelDigest)) revert QueryEscrowPanelUnknown(order.panelDigest);
    }

    function _checkSettlement(OrderRecord storage record, Settlement calldata settlement) private view {
        if (record.state != OrderState.Open) revert QueryEscrowNotOpen(settlement.orderId);
        if (block.timestamp > record.deadline) revert QueryEscrowPastDeadline(record.deadline);
        if (settlement.price > record.maxPrice) revert QueryEscrowPriceTooHigh(settlement.price, record.maxPrice);
        if (settlement.payoutSequence != _payoutSequence + 1) revert QueryEscrowBadSequence(_payoutSequence + 1);
        uint32 cohortSizeMin = record.tier == _TIER_EXACT ? _exactBatchMin : _cohortSizeMin;
        if (settlement.cohortSize < cohortSizeMin) {
            revert QueryEscrowCohortTooSmall(settlement.cohortSize, cohortSizeMin);
        }
        bool wellFormed = settlement.payoutRoot != bytes32(0) && settlement.answerDigest != bytes32(0)
            && settlement.cohortDigest != bytes32(0);
        if (!wellFormed) revert QueryEscrowBadSettlement();
    }
}
