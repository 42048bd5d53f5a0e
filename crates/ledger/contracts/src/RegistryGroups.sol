// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {FIELD, GROUP_SIZE, GROUP_WORDS, RegistryQueue} from "./RegistryQueue.sol";

/// @title Commitments of a batch as words of its groups; all other words are zero yet.
/// @dev What a proof could not take is refused here: it would hold up every event behind it.
library RegistryGroups {
    // Numerator and denominator of the coefficient d of the curve x^2 + y^2 = 1 + d x^2 y^2.
    uint256 private constant _CURVE_NUMERATOR = 168696;
    uint256 private constant _CURVE_DENOMINATOR = 168700;

    /// @dev With neutral commitments, (0, 1); for at least one dataset.
    function neutral(uint256 datasets) internal pure returns (uint256[] memory words) {
        uint256 groups = RegistryQueue.groupsOf(datasets);
        words = new uint256[](groups * GROUP_WORDS);
        for (uint256 j = 0; j < GROUP_SIZE; j++) {
            words[2 * j + 1] = 1;
        }
        // All groups are like the first, and a copy costs a tenth of setting every word.
        uint256 groupBytes = GROUP_WORDS * 32;
        assembly ("memory-safe") {
            let first := add(words, 32)
            let end := add(first, mul(groups, groupBytes))
            for { let group := add(first, groupBytes) } lt(group, end) { group := add(group, groupBytes) } {
                mcopy(group, first, groupBytes)
            }
        }
    }

    /// @dev With these commitments, one for each dataset.
    function committed(
        IDatasetRegistry.DatasetLeaf[] calldata leaves,
        IDatasetRegistry.Ciphertexts calldata ciphertexts
    ) internal pure returns (uint256[] memory words) {
        if (ciphertexts.commitments.length != leaves.length) {
            revert IDatasetRegistry.DatasetRegistryBadCiphertexts();
        }
        words = neutral(leaves.length);
        for (uint256 i = 0; i < leaves.length; i++) {
            (uint256 x, uint256 y) = (ciphertexts.commitments[i][0], ciphertexts.commitments[i][1]);
            // The genotype commitment of a proven dataset is a root of the proofs' field.
            bool canonical = !ciphertexts.proven || uint256(leaves[i].genotypeCommitment) < FIELD;
            if (!canonical || !_isOnCurve(x, y)) revert IDatasetRegistry.DatasetRegistryBadCiphertexts();
            // The whole number of groups before is what is wanted.
            // slither-disable-next-line divide-before-multiply
            uint256 place = i / GROUP_SIZE * GROUP_WORDS + 2 * (i % GROUP_SIZE);
            (words[place], words[place + 1]) = (x, y);
        }
    }

    /// @dev Canonical coordinates that fit the equation, both sides times the denominator of d.
    function _isOnCurve(uint256 x, uint256 y) private pure returns (bool) {
        if (x >= FIELD || y >= FIELD) return false;
        (uint256 xx, uint256 yy) = (mulmod(x, x, FIELD), mulmod(y, y, FIELD));
        uint256 left = mulmod(_CURVE_DENOMINATOR, addmod(xx, yy, FIELD), FIELD);
        uint256 right = mulmod(_CURVE_NUMERATOR, mulmod(xx, yy, FIELD), FIELD);
        return left == addmod(_CURVE_DENOMINATOR, right, FIELD);
    }
}
