// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Verifies proofs of one circuit under one key.
interface IProofVerifier {
    /// @notice True when the proof is valid for these public inputs. False for malformed proofs, inputs that are not
    /// reduced and a wrong number of inputs.
    /// @param proof A (2 words), B (4 words, imaginary part first as in EIP-197), C (2 words).
    function verify(uint256[8] calldata proof, uint256[] calldata inputs) external view returns (bool);

    /// @notice SHA3-256 of the verifying key in the encoding that key files use.
    function keyId() external view returns (bytes32);

    /// @notice True when whoever made the key knew its secrets, so that its proofs prove nothing to others.
    function isDevelopmentKey() external view returns (bool);

    /// @notice Number of public inputs.
    function inputCount() external view returns (uint256);
}
