// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQueryEscrow} from "./IQueryEscrow.sol";

/// @title Decides whether a settlement may pay out.
interface ISettlementVerifier {
    /// @notice Called by an escrow for every settlement. Reverts, or returns its own selector.
    /// @param orderId The order that is settled.
    /// @param order What the escrow knows of it; the id binds the rest.
    /// @param settlement The terms.
    /// @param settlementDigest Their EIP-712 digest in the domain of the calling escrow.
    /// @param evidence Whatever the verifier asks for.
    function verifySettlement(
        bytes32 orderId,
        IQueryEscrow.OrderRecord calldata order,
        IQueryEscrow.Settlement calldata settlement,
        bytes32 settlementDigest,
        bytes calldata evidence
    ) external view returns (bytes4);
}
