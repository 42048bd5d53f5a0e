// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {ISettlementVerifier} from "./ISettlementVerifier.sol";

/// @title Orders with escrow, settlement and payouts.
/// @notice A researcher locks the most that an order may cost. A settlement with evidence moves the price to the payout
/// pool and gives the rest back; without one, all comes back after the deadline. Contributors draw from the pool.
///
/// EIP-712 domain: name "LocusQueryEscrow", version "1", chain id, this contract. Signed messages: Order by the
/// researcher, Settlement by keyholders. The struct hash of an order is its id, used once for ever.
interface IQueryEscrow {
    /// A researcher's question and the most they pay; what the researcher signs.
    struct Order {
        address researcher;
        bytes32 panelDigest;
        /// Digest of the panel positions asked for.
        bytes32 selectionDigest;
        /// Digest of the cohort predicate.
        bytes32 predicateDigest;
        /// 0 counts, 1 filtered counts, 2 association.
        uint8 queryClass;
        /// Bit set of the uses the researcher declares.
        uint32 purpose;
        /// Hash of the ontology term of the condition studied, or zero.
        bytes32 conditionDigest;
        /// 0 open, 1 vetted, 2 exact.
        uint8 tier;
        /// Privacy loss per person, in units of 1e-9 rho; zero in the exact tier.
        uint64 rhoNano;
        /// Token base units.
        uint96 maxPrice;
        /// Digest of the key to which the answer is sealed.
        bytes32 hpkeKeyDigest;
        /// Last second at which the order may be settled.
        uint64 deadline;
        /// Tells equal orders apart.
        uint64 nonce;
    }

    /// EIP-2612 permit for the escrow to take the price.
    struct Permit {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// What an order was answered with and who is paid; what keyholders sign.
    struct Settlement {
        bytes32 orderId;
        bytes32 answerDigest;
        bytes32 cohortDigest;
        uint32 cohortSize;
        /// Token base units.
        uint96 price;
        /// One more than the escrow's payoutSequence.
        uint64 payoutSequence;
        /// Merkle root of all cumulative earnings, this settlement included.
        bytes32 payoutRoot;
    }

    enum OrderState {
        None,
        Open,
        Settled,
        Refunded
    }

    /// What the escrow keeps of an order.
    struct OrderRecord {
        address researcher;
        uint96 maxPrice;
        bytes32 panelDigest;
        uint64 deadline;
        uint32 purpose;
        uint8 queryClass;
        uint8 tier;
        OrderState state;
        uint40 openedAt;
        /// Whether the researcher was accredited when the order opened.
        bool accredited;
    }

    event OrderOpened(bytes32 indexed orderId, address indexed researcher, Order order);
    event OrderSettled(bytes32 indexed orderId, Settlement settlement);
    event OrderRefunded(bytes32 indexed orderId, uint256 amount);
    event PayoutClaimed(address indexed account, uint256 amount);
    /// @notice The token would not pay a researcher back; the amount waits for withdrawDeferred.
    event RefundDeferred(address indexed researcher, uint256 amount);
    event DeferredWithdrawn(address indexed researcher, uint256 amount);

    error QueryEscrowBadDeployment();
    error QueryEscrowPaused();
    error QueryEscrowBadOrder();
    error QueryEscrowBadDeadline(uint64 deadline);
    error QueryEscrowRhoTooHigh(uint64 rhoNano, uint64 rhoNanoMax);
    error QueryEscrowPanelUnknown(bytes32 panelDigest);
    error QueryEscrowOrderExists(bytes32 orderId);
    error QueryEscrowBadSignature(address expectedSigner);
    error QueryEscrowTransferMismatch();
    error QueryEscrowNotOpen(bytes32 orderId);
    error QueryEscrowPastDeadline(uint64 deadline);
    error QueryEscrowBeforeDeadline(uint64 deadline);
    error QueryEscrowPriceTooHigh(uint96 price, uint96 maxPrice);
    error QueryEscrowBadSequence(uint64 expected);
    error QueryEscrowBadSettlement();
    error QueryEscrowCohortTooSmall(uint32 cohortSize, uint32 cohortSizeMin);
    error QueryEscrowVerifierRefused();
    error QueryEscrowBadPayoutProof();
    error QueryEscrowNothingToClaim();
    error QueryEscrowPoolExceeded();
    error QueryEscrowNothingDeferred(address researcher);

    /// @notice Opens an order and takes its escrow from the researcher's allowance. Anyone may send it.
    function openOrder(Order calldata order, bytes calldata signature) external returns (bytes32 orderId);

    /// @notice As openOrder, with a permit for the allowance. A permit that somebody used first does no harm.
    function openOrderWithPermit(Order calldata order, bytes calldata signature, Permit calldata permit)
        external
        returns (bytes32 orderId);

    /// @notice Settles an order up to its deadline; the verifier decides whether the evidence suffices. Anyone may
    /// call. Works while paused.
    function settleOrder(Settlement calldata settlement, bytes calldata evidence) external;

    /// @notice Returns the escrow of an order that was not settled in time. Anyone may call. Works while paused.
    function refundOrder(bytes32 orderId) external;

    /// @notice Pays an account what it has earned and not yet been paid. Anyone may call. Works while paused.
    /// @param cumulative All that the account has earned since the beginning.
    /// @param proof Path of the leaf keccak256(keccak256(abi.encode(account, cumulative))), pairs sorted.
    function claimPayout(address account, uint256 cumulative, bytes32[] calldata proof) external;

    /// @notice Pays a researcher what the token would not pay back before. Anyone may call. Works while paused.
    function withdrawDeferred(address researcher) external;

    /// @notice What the escrow keeps of an order; state None when it was never opened.
    function orderRecord(bytes32 orderId) external view returns (OrderRecord memory);

    /// @notice Root of the cumulative payout tree.
    function payoutRoot() external view returns (bytes32);

    /// @notice Number of settlements.
    function payoutSequence() external view returns (uint64);

    /// @notice What an account has been paid so far.
    function claimed(address account) external view returns (uint256);

    /// @notice What waits for a researcher's withdrawDeferred.
    function deferredRefund(address researcher) external view returns (uint256);

    /// @notice Sum of all settled prices.
    function settledTotal() external view returns (uint256);

    /// @notice Sum of all payouts.
    function claimedTotal() external view returns (uint256);

    /// @notice Payment token.
    function token() external view returns (IERC20);

    /// @notice Registry of the network.
    function registry() external view returns (IDatasetRegistry);

    /// @notice Contract that every settlement must satisfy.
    function verifier() external view returns (ISettlementVerifier);

    /// @notice EIP-712 struct hash of an order: its id.
    function orderHash(Order calldata order) external pure returns (bytes32);

    /// @notice The 32 bytes that a keyholder signs.
    function settlementDigest(Settlement calldata settlement) external view returns (bytes32);
}
