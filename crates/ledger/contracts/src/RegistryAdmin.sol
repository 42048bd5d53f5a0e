// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IDatasetRegistry} from "./IDatasetRegistry.sol";

/// @title Parameters of a network, its committee, whom it lists, and what they sign.
abstract contract RegistryAdmin is IDatasetRegistry, AccessControl, Pausable, EIP712 {
    bytes32 private constant _ACCREDITATION_TYPEHASH = keccak256("Accreditation(bytes32 registrationDigest)");
    bytes32 private constant _ATTESTATION_TYPEHASH =
        keccak256("Attestation(bytes32 registrationDigest,uint64 committeeEpoch)");

    uint256 private constant _HPKE_PUBLIC_KEY_BYTES = 1216;

    /// The one deviation the counter layout has room for: three shares of 2^21 stay far below the decoding bound 2^25.
    uint8 private constant _FLOODING_SIGMA_LOG2 = 21;

    // What a production network must keep; a test network may be weaker.
    uint32 private constant _COHORT_SIZE_FLOOR = 100;
    uint32 private constant _EXACT_BATCH_FLOOR = 1_000;
    uint32 private constant _EXACT_CHANGE_FLOOR = 100;
    uint64 private constant _RHO_OPEN_QUERY_CAP = 10_000_000;
    uint64 private constant _RHO_OPEN_YEAR_CAP = 100_000_000;
    uint64 private constant _RHO_OPEN_LIFETIME_CAP = 500_000_000;
    uint32 private constant _VETTED_FACTOR_CAP = 5;

    // What every network must keep: caps whose products fit 64 bits, and escrow that comes back within a month.
    uint64 private constant _RHO_ANY_CAP = 1_000_000_000_000;
    uint32 private constant _VETTED_FACTOR_ANY_CAP = 1_000;
    uint32 private constant _ORDER_LIFETIME_CAP = 30 days;

    NetworkParameters private _parameters;
    mapping(address account => bool) private _accreditors;
    mapping(address account => bool) private _researchers;
    address[3] private _keyholders;
    /// Last, so that it shares its slot with the counters that registrations read beside it.
    uint64 private _committeeEpoch;

    /// @param admin Sets the committee and the lists, and may pause; preferably a multi-signature wallet.
    /// @param parameters_ Can never be changed.
    constructor(address admin, NetworkParameters memory parameters_) EIP712("LocusDatasetRegistry", "1") {
        bool sound = _areSound(parameters_) && (parameters_.testNetwork || _areProduction(parameters_));
        if (!sound || admin == address(0)) revert DatasetRegistryBadParameters();
        _parameters = parameters_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    // ---- Administration ----

    /// @notice Sets a member of the committee. Signatures over the previous epoch stop counting.
    function setKeyholder(uint8 index, address signer, bytes calldata hpkePublicKey)
        external
        onlyRole(DEFAULT_ADMIN_ROLE)
    {
        bool wellFormed =
            index >= 1 && index <= 3 && signer != address(0) && hpkePublicKey.length == _HPKE_PUBLIC_KEY_BYTES;
        if (!wellFormed) revert DatasetRegistryBadKeyholder(index);
        for (uint8 other = 1; other <= 3; other++) {
            if (other != index && _keyholders[other - 1] == signer) revert DatasetRegistryBadKeyholder(index);
        }
        _keyholders[index - 1] = signer;
        _committeeEpoch += 1;
        emit KeyholderSet(index, signer, hpkePublicKey, _committeeEpoch);
    }

    /// @notice Lists or removes an accreditor.
    function setAccreditor(address account, bool listed, string calldata name) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _accreditors[account] = listed;
        emit AccreditorSet(account, listed, name);
    }

    /// @notice Lists or removes an accredited researcher.
    function setResearcher(address account, bool listed, string calldata name) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _researchers[account] = listed;
        emit ResearcherSet(account, listed, name);
    }

    /// @notice Stops registrations, offers and orders; never revocations, re-keyings, refunds, settlements or claims.
    function pause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _pause();
    }

    /// @notice Ends a pause.
    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
    }

    // ---- Views ----

    /// @inheritdoc IDatasetRegistry
    function parameters() external view returns (NetworkParameters memory) {
        return _parameters;
    }

    /// @inheritdoc IDatasetRegistry
    function paused() public view override(IDatasetRegistry, Pausable) returns (bool) {
        return Pausable.paused();
    }

    /// @inheritdoc IDatasetRegistry
    function committeeEpoch() public view returns (uint64) {
        return _committeeEpoch;
    }

    /// @inheritdoc IDatasetRegistry
    function keyholderSigner(uint8 index) public view returns (address) {
        if (index < 1 || index > 3) revert DatasetRegistryBadKeyholder(index);
        address signer = _keyholders[index - 1];
        if (signer == address(0)) revert DatasetRegistryCommitteeIncomplete();
        return signer;
    }

    /// @inheritdoc IDatasetRegistry
    function isCommitteeComplete() external view returns (bool) {
        return _keyholders[0] != address(0) && _keyholders[1] != address(0) && _keyholders[2] != address(0);
    }

    /// @inheritdoc IDatasetRegistry
    function isAccreditor(address account) external view returns (bool) {
        return _accreditors[account];
    }

    /// @inheritdoc IDatasetRegistry
    function isAccreditedResearcher(address account) external view returns (bool) {
        return _researchers[account];
    }

    // ---- Internals ----

    function _checkAccreditor(address accreditor, bytes32 digest, bytes calldata signature) internal view {
        if (accreditor == address(0)) {
            if (signature.length > 0) revert DatasetRegistryAccreditorMissing();
            return;
        }
        if (!_accreditors[accreditor]) revert DatasetRegistryAccreditorUnknown(accreditor);
        _checkSigner(accreditor, _hashTypedDataV4(keccak256(abi.encode(_ACCREDITATION_TYPEHASH, digest))), signature);
    }

    function _checkAttestations(bytes32 digest, bytes[3] calldata signatures) internal view {
        bytes memory message = abi.encode(_ATTESTATION_TYPEHASH, digest, _committeeEpoch);
        _checkKeyholders(_hashTypedDataV4(keccak256(message)), signatures);
    }

    function _checkKeyholders(bytes32 digest, bytes[3] calldata signatures) internal view {
        for (uint8 index = 1; index <= 3; index++) {
            _checkSigner(keyholderSigner(index), digest, signatures[index - 1]);
        }
    }

    function _checkSigner(address signer, bytes32 digest, bytes calldata signature) internal view {
        if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature)) {
            revert DatasetRegistryBadSignature(signer);
        }
    }

    function _areSound(NetworkParameters memory p) private pure returns (bool) {
        bool floors = p.cohortSizeMin > 0 && p.exactBatchMin >= p.cohortSizeMin && p.exactChangeMin > 0
            && p.exactChangeMin <= p.exactBatchMin;
        bool caps = p.rhoOpenQueryMax > 0 && p.rhoOpenQueryMax <= p.rhoOpenYearMax
            && p.rhoOpenYearMax <= p.rhoOpenLifetimeMax && p.rhoOpenLifetimeMax <= _RHO_ANY_CAP && p.vettedFactor > 0
            && p.vettedFactor <= _VETTED_FACTOR_ANY_CAP;
        return floors && caps && p.floodingSigmaLog2 == _FLOODING_SIGMA_LOG2 && p.orderLifetimeMax > 0
            && p.orderLifetimeMax <= _ORDER_LIFETIME_CAP;
    }

    function _areProduction(NetworkParameters memory p) private pure returns (bool) {
        return p.cohortSizeMin >= _COHORT_SIZE_FLOOR && p.exactBatchMin >= _EXACT_BATCH_FLOOR
            && p.exactChangeMin >= _EXACT_CHANGE_FLOOR && p.rhoOpenQueryMax <= _RHO_OPEN_QUERY_CAP
            && p.rhoOpenYearMax <= _RHO_OPEN_YEAR_CAP && p.rhoOpenLifetimeMax <= _RHO_OPEN_LIFETIME_CAP
            && p.vettedFactor <= _VETTED_FACTOR_CAP;
    }
}
