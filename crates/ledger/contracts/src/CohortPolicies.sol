// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The policy word of a cohort statement: what an order asks of every dataset, as bits.
/// @notice Bits 0 to 21: data use terms that forbid the purpose; 22 to 43: terms of which one must be present; 44 to 46:
/// tier; 47 to 49: class of the question; 50: the researcher is accredited; 51 and 52: datasets must be accredited, or
/// proven; 53: disease-specific consents must name the condition; 54 to 69: day on which offers must still hold.
/// @dev A purpose is its code in the low byte and declarations above. Terms and declarations have the bits of the Data
/// Use Ontology's terms in the protocol.
library CohortPolicies {
    /// What the order does not say.
    struct Choice {
        bool accreditedOnly;
        bool provenOnly;
        /// Days since 1970-01-01.
        uint16 day;
    }

    uint256 internal constant CONDITION_FLAG = 1 << 53;

    uint256 private constant _ANY_PURPOSE = 1;
    uint256 private constant _GENERAL = 1 << 1;
    uint256 private constant _BIOMEDICAL = 1 << 2;
    uint256 private constant _DISEASE = 1 << 3;
    uint256 private constant _ORIGINS = 1 << 4;
    uint256 private constant _NO_METHODS = 1 << 5;
    uint256 private constant _NO_ORIGINS = 1 << 7;
    uint256 private constant _CLINICAL_CARE = 1 << 8;
    uint256 private constant _NOT_FOR_PROFIT = 1 << 9;
    uint256 private constant _NON_COMMERCIAL = 1 << 10;
    uint256 private constant _BOTH = 1 << 11;
    // The ten terms from bit 12 on ask for one declaration each, in order from the third.
    uint256 private constant _PLAIN_TERMS_SHIFT = 12;
    uint256 private constant _PLAIN_TERMS = (1 << 10) - 1;
    uint256 private constant _PLAIN_DECLARATIONS_SHIFT = 2;
    uint256 private constant _CODE_BITS = 8;
    uint256 private constant _DECLARATION_BITS = 12;

    uint256 private constant _PERMITTING_SHIFT = 22;
    uint256 private constant _TIER_SHIFT = 44;
    uint256 private constant _CLASS_SHIFT = 47;
    uint256 private constant _RESEARCHER_FLAG = 1 << 50;
    uint256 private constant _ACCREDITED_FLAG = 1 << 51;
    uint256 private constant _PROVEN_FLAG = 1 << 52;
    uint256 private constant _DAY_SHIFT = 54;

    error CohortPoliciesUnknownPurpose(uint32 purpose);

    /// @param tier At most 2.
    /// @param queryClass At most 2.
    function policyOf(uint32 purpose, uint8 tier, uint8 queryClass, bool researcherAccredited, Choice memory choice)
        internal
        pure
        returns (uint256 policy)
    {
        (uint256 permitting, uint256 forbidding, bool sameCondition) = _termsOf(purpose);
        policy = forbidding | permitting << _PERMITTING_SHIFT | uint256(1) << (_TIER_SHIFT + tier) | uint256(1)
            << (_CLASS_SHIFT + queryClass) | uint256(choice.day) << _DAY_SHIFT;
        if (researcherAccredited) policy |= _RESEARCHER_FLAG;
        if (choice.accreditedOnly) policy |= _ACCREDITED_FLAG;
        if (choice.provenOnly) policy |= _PROVEN_FLAG;
        if (sameCondition) policy |= CONDITION_FLAG;
    }

    function _termsOf(uint32 purpose)
        private
        pure
        returns (uint256 permitting, uint256 forbidding, bool sameCondition)
    {
        uint256 code = purpose & type(uint8).max;
        if (purpose >> (_CODE_BITS + _DECLARATION_BITS) != 0) revert CohortPoliciesUnknownPurpose(purpose);
        forbidding = _undeclared(purpose >> _CODE_BITS);
        permitting = _ANY_PURPOSE;
        if (code == 6) return (permitting | _CLINICAL_CARE, forbidding, false);
        if (code > 6) revert CohortPoliciesUnknownPurpose(purpose);
        if (code > 0) permitting |= _GENERAL;
        if (code == 2 || code == 3 || code == 5) permitting |= _BIOMEDICAL;
        if (code == 4) (permitting, forbidding) = (permitting | _ORIGINS, forbidding | _NO_ORIGINS);
        if (code == 5) forbidding |= _NO_METHODS;
        sameCondition = code == 3 || code == 5;
        if (sameCondition) permitting |= _DISEASE;
    }

    /// @dev The terms whose declarations are missing.
    function _undeclared(uint256 declarations) private pure returns (uint256 forbidding) {
        if (declarations & 1 == 0) forbidding |= _NOT_FOR_PROFIT;
        if (declarations & 2 == 0) forbidding |= _NON_COMMERCIAL;
        if (declarations & 3 != 3) forbidding |= _BOTH;
        forbidding |= (~(declarations >> _PLAIN_DECLARATIONS_SHIFT) & _PLAIN_TERMS) << _PLAIN_TERMS_SHIFT;
    }
}
