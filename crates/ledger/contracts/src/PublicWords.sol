// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {FIELD} from "./RegistryQueue.sol";

/// @title Many words behind three public inputs.
/// @notice A circuit with words w_1 .. w_n has the inputs (d, c, f): d is the prover's, c = keccak256(domain, d, w_1,
/// ..., w_n) modulo the field's order, and f = (..(w_1 c + w_2) c + ..) + w_n. The circuit holds d to be its own hash
/// of its own words, so those are fixed before c is known; if they differ from the words here, their polynomials meet
/// at c with probability below n / 2^253. Without d a prover could choose a free word after c.
/// @dev Words must be below the field's order; d is compared with it by the verifier.
library PublicWords {
    /// @dev Places before the words: the domain and d.
    uint256 internal constant PREFIX = 2;

    /// @param list Domain, d, then the words.
    function inputsOf(uint256[] memory list) internal pure returns (uint256[] memory inputs) {
        uint256 challenge;
        uint256 sum = 0;
        assembly ("memory-safe") {
            let order := FIELD
            let end := add(add(list, 32), mul(mload(list), 32))
            challenge := mod(keccak256(add(list, 32), mul(mload(list), 32)), order)
            for { let place := add(list, 96) } lt(place, end) { place := add(place, 32) } {
                sum := addmod(mulmod(sum, challenge, order), mload(place), order)
            }
        }
        inputs = new uint256[](3);
        (inputs[0], inputs[1], inputs[2]) = (list[1], challenge, sum);
    }
}
