// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IDatasetRegistry} from "./IDatasetRegistry.sol";
import {IQueryEscrow} from "./IQueryEscrow.sol";
import {ISettlementVerifier} from "./ISettlementVerifier.sol";

/// @title Accepts a settlement that two of the three keyholders signed.
/// @notice CohortVerifier, which asks for a proven cohort as well, takes this one's place where an escrow is deployed with
/// it: an escrow names its verifier for ever.
/// @dev The digest is in the domain of the calling escrow (chain and contract), so a signature counts nowhere else.
contract CommitteeVerifier is ISettlementVerifier {
    error CommitteeVerifierBadDeployment();
    error CommitteeVerifierCommitteeIncomplete();
    error CommitteeVerifierBadEvidence();
    error CommitteeVerifierBadSignature(uint8 keyholder);

    uint256 private constant _SIGNATURES_MIN = 2;

    IDatasetRegistry private immutable _registry;

    constructor(IDatasetRegistry registry_) {
        if (address(registry_).code.length == 0) revert CommitteeVerifierBadDeployment();
        _registry = registry_;
    }

    /// @notice Registry that names the committee.
    function registry() external view returns (IDatasetRegistry) {
        return _registry;
    }

    /// @inheritdoc ISettlementVerifier
    /// @dev Evidence is abi.encode(uint8[] keyholders, bytes[] signatures), keyholders ascending.
    function verifySettlement(
        bytes32,
        IQueryEscrow.OrderRecord calldata,
        IQueryEscrow.Settlement calldata,
        bytes32 settlementDigest,
        bytes calldata evidence
    ) external view virtual returns (bytes4) {
        (uint8[] memory keyholders, bytes[] memory signatures) = abi.decode(evidence, (uint8[], bytes[]));
        _checkSignatures(settlementDigest, keyholders, signatures);
        return ISettlementVerifier.verifySettlement.selector;
    }

    /// @dev Two or three signatures of different keyholders, ascending.
    function _checkSignatures(bytes32 digest, uint8[] memory keyholders, bytes[] memory signatures) internal view {
        if (!_registry.isCommitteeComplete()) revert CommitteeVerifierCommitteeIncomplete();
        bool enough = keyholders.length >= _SIGNATURES_MIN && keyholders.length <= 3;
        if (!enough || keyholders.length != signatures.length) revert CommitteeVerifierBadEvidence();
        uint8 previous = 0;
        for (uint256 i = 0; i < keyholders.length; i++) {
            uint8 keyholder = keyholders[i];
            if (keyholder <= previous) revert CommitteeVerifierBadEvidence();
            previous = keyholder;
            address signer = _registry.keyholderSigner(keyholder);
            if (!SignatureChecker.isValidSignatureNow(signer, digest, signatures[i])) {
                revert CommitteeVerifierBadSignature(keyholder);
            }
        }
    }
}
