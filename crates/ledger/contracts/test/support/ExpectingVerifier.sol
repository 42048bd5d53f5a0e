// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IProofVerifier} from "../../src/IProofVerifier.sol";

/// @title Accepts any proof of exactly the inputs that the test computed by itself.
contract ExpectingVerifier is IProofVerifier {
    bytes32 public constant keyId = bytes32("expecting");
    bool public immutable isDevelopmentKey;
    uint256 public immutable inputCount;
    bytes32 private _expected;

    constructor(uint256 inputCount_, bool isDevelopmentKey_) {
        (inputCount, isDevelopmentKey) = (inputCount_, isDevelopmentKey_);
    }

    function expect(uint256[] memory inputs) external {
        _expected = keccak256(abi.encode(inputs));
    }

    function verify(uint256[8] calldata, uint256[] calldata inputs) external view returns (bool) {
        return keccak256(abi.encode(inputs)) == _expected;
    }
}
