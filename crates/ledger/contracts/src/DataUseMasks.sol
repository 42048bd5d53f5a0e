// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What a declared purpose asks of data use terms, as bit masks over them.
/// @notice Terms permit a purpose when none of the `forbidden` bits is set, one of the `anyOf` bits is set (unless that
/// mask is zero), and, where `sameCondition` says so, disease-specific terms name the condition of the purpose.
/// @dev Bits of terms: 0 to 4 the permissions (no restriction, general research, biomedical, disease, population
/// origins), 5 no methods development, 7 no population origins, 8 clinical care, 9 to 21 those that ask for
/// declarations. A purpose is its code in the low byte and declarations above.
library DataUseMasks {
    uint32 private constant _NO_RESTRICTION = 1;
    uint32 private constant _GENERAL = 1 << 1;
    uint32 private constant _BIOMEDICAL = 1 << 2;
    uint32 private constant _DISEASE = 1 << 3;
    uint32 private constant _ORIGINS = 1 << 4;
    uint32 private constant _NO_METHODS = 1 << 5;
    uint32 private constant _NO_ORIGINS = 1 << 7;
    uint32 private constant _CLINICAL_CARE = 1 << 8;
    uint32 private constant _NOT_FOR_PROFIT = 1 << 9;
    uint32 private constant _NON_COMMERCIAL = 1 << 10;
    uint32 private constant _BOTH = 1 << 11;
    // The terms from bit 12 on ask for one declaration each, in order from the third.
    uint32 private constant _FIRST_PLAIN_TERM = 12;
    uint32 private constant _FIRST_PLAIN_DECLARATION = 2;
    uint32 private constant _PLAIN_TERMS = 10;

    error DataUseMasksUnknownPurpose(uint32 purpose);

    function masksOf(uint32 purpose) internal pure returns (uint32 forbidden, uint32 anyOf, bool sameCondition) {
        uint32 code = purpose & 0xFF;
        if (code == 0) forbidden = _GENERAL | _BIOMEDICAL | _DISEASE | _ORIGINS;
        else if (code == 1) forbidden = _BIOMEDICAL | _DISEASE | _ORIGINS;
        else if (code == 2) forbidden = _DISEASE | _ORIGINS;
        else if (code == 3) forbidden = _ORIGINS;
        else if (code == 4) forbidden = _BIOMEDICAL | _DISEASE | _NO_ORIGINS;
        else if (code == 5) forbidden = _ORIGINS | _NO_METHODS;
        else if (code == 6) anyOf = _NO_RESTRICTION | _CLINICAL_CARE;
        else revert DataUseMasksUnknownPurpose(purpose);
        sameCondition = code != 6;
        forbidden |= _undeclared(purpose >> 8);
    }

    /// @dev The terms whose declarations are missing.
    function _undeclared(uint32 declarations) private pure returns (uint32 forbidden) {
        if (declarations & 1 == 0) forbidden |= _NOT_FOR_PROFIT;
        if (declarations & 2 == 0) forbidden |= _NON_COMMERCIAL;
        if (declarations & 3 != 3) forbidden |= _BOTH;
        uint32 missing = ~(declarations >> _FIRST_PLAIN_DECLARATION) & ((uint32(1) << _PLAIN_TERMS) - 1);
        forbidden |= missing << _FIRST_PLAIN_TERM;
    }
}
