// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev Words of an operation.
uint256 constant OPERATION_WORDS = 10;

/// @title What happens to a registration, as the queue of a panel keeps it until a proof has moved the registry root.
/// @notice An operation is ten words, the first its kind. A queue is a hash chain over the operations in the order in
/// which they happened: one storage slot whatever its length.
library RegistryOperations {
    /// Nothing; fills the operations of a proof up to its size.
    uint256 internal constant NOTHING = 0;
    /// registration, live members, payee, sum of points (x, y), root of members, flags.
    uint256 internal constant APPEND = 1;
    /// registration, data use, tiers and audience and blocks, expiry, three prices, condition, named buyers.
    uint256 internal constant SET_TERMS = 2;
    /// registration, ordinal.
    uint256 internal constant REVOKE = 3;

    /// @dev The chain after one more operation.
    function chained(bytes32 head, uint256[OPERATION_WORDS] memory operation) internal pure returns (bytes32) {
        return link(head, digest(operation));
    }

    function digest(uint256[OPERATION_WORDS] memory operation) internal pure returns (bytes32) {
        return keccak256(abi.encode(operation));
    }

    function link(bytes32 head, bytes32 operationDigest) internal pure returns (bytes32) {
        return keccak256(abi.encode(head, operationDigest));
    }
}
