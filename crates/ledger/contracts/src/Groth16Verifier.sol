// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IProofVerifier} from "./IProofVerifier.sol";

/// @title Groth16 over BN254, the verifying key as data.
/// @notice e(A, B) e(-alpha, beta) e(-L, gamma) e(-C, delta) = 1 with L = IC_0 + sum of input_i IC_i
/// (https://ia.cr/2016/260, section 3.2). One compiled contract serves every circuit: the key lies in the code of a
/// contract that nobody can call.
/// @dev The precompiles refuse coordinates that are not reduced and points off curve or subgroup (EIP-196, EIP-197), so
/// only the inputs are compared with the group order here. A valid proof can be changed into other valid proofs of the
/// same inputs by anyone: nothing may be bound to the bytes of a proof.
contract Groth16Verifier is IProofVerifier {
    error Groth16VerifierBadKey(uint256 length);

    uint256 private constant _R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    // -alpha (2 words), beta, -gamma, -delta (4 each), then IC points of 2 words.
    uint256 private constant _FIXED_BYTES = 14 * 32;
    uint256 private constant _POINT_BYTES = 64;
    uint256 private constant _CODE_BYTES_MAX = 24_576;

    address private immutable _data;
    uint256 private immutable _inputCount;
    bytes32 private immutable _keyId;
    bool private immutable _isDevelopmentKey;

    /// @param key -alpha, beta, -gamma, -delta, IC_0, IC_1, ...: negated in advance, so nothing is negated here.
    constructor(bytes memory key, bytes32 keyId_, bool isDevelopmentKey_) {
        uint256 length = key.length;
        bool wellFormed = length >= _FIXED_BYTES + _POINT_BYTES && (length - _FIXED_BYTES) % _POINT_BYTES == 0
            && length < _CODE_BYTES_MAX;
        if (!wellFormed) revert Groth16VerifierBadKey(length);
        _inputCount = (length - _FIXED_BYTES) / _POINT_BYTES - 1;
        _keyId = keyId_;
        _isDevelopmentKey = isDevelopmentKey_;
        // Deploys STOP followed by the key: PUSH2 n DUP1 PUSH1 10 RETURNDATASIZE CODECOPY RETURNDATASIZE RETURN.
        bytes memory code = abi.encodePacked(hex"61", uint16(length + 1), hex"80600a3d393df300", key);
        address data;
        assembly ("memory-safe") {
            data := create(0, add(code, 32), mload(code))
        }
        if (data == address(0)) revert Groth16VerifierBadKey(length);
        _data = data;
    }

    /// @inheritdoc IProofVerifier
    function keyId() external view returns (bytes32) {
        return _keyId;
    }

    /// @inheritdoc IProofVerifier
    function isDevelopmentKey() external view returns (bool) {
        return _isDevelopmentKey;
    }

    /// @inheritdoc IProofVerifier
    function inputCount() external view returns (uint256) {
        return _inputCount;
    }

    /// @inheritdoc IProofVerifier
    function verify(uint256[8] calldata proof, uint256[] calldata inputs) external view returns (bool valid) {
        uint256 count = _inputCount;
        if (inputs.length != count) return false;
        address data = _data;
        uint256 order = _R;
        assembly ("memory-safe") {
            // The four pairs (768 bytes), then the IC points, then 192 bytes to add in.
            let pairs := mload(0x40)
            let points := add(pairs, 768)
            let pointsBytes := mul(add(count, 1), 64)
            let sum := add(points, pointsBytes)
            calldatacopy(pairs, proof, 192)
            extcodecopy(data, add(pairs, 192), 1, 192)
            extcodecopy(data, add(pairs, 448), 193, 128)
            calldatacopy(add(pairs, 576), add(proof, 192), 64)
            extcodecopy(data, add(pairs, 640), 321, 128)
            extcodecopy(data, points, 449, pointsBytes)

            valid := 1
            mcopy(sum, points, 64)
            let term := add(sum, 64)
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                let input := calldataload(add(inputs.offset, mul(i, 32)))
                valid := and(valid, lt(input, order))
                mcopy(term, add(points, mul(add(i, 1), 64)), 64)
                mstore(add(term, 64), input)
                valid := and(valid, staticcall(gas(), 7, term, 96, term, 64))
                valid := and(valid, staticcall(gas(), 6, sum, 128, sum, 64))
            }
            mcopy(add(pairs, 384), sum, 64)
            valid := and(valid, staticcall(gas(), 8, pairs, 768, pairs, 32))
            valid := and(valid, eq(mload(pairs), 1))
        }
    }
}
