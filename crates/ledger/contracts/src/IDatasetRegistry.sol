// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistryQueue} from "./IRegistryQueue.sol";

/// @title Registry of encrypted datasets, keyholders, accreditors and panels.
/// @notice Together with the chain id this contract names a network. It holds digests only: no genotype, no key, no
/// ciphertext.
///
/// EIP-712 domain: name "LocusDatasetRegistry", version "1", chain id, this contract. Signed messages:
///   Registration   by the registrant, see the struct
///   Accreditation(bytes32 registrationDigest)   by the accreditor
///   Attestation(bytes32 registrationDigest,uint64 committeeEpoch)   by each keyholder
///   Revocation(uint64 registrationId,uint32[] ordinals,uint64 deadline)   by the registrant
///   Erasure(uint64 registrationId,uint32[] ordinals,uint8 keyholder)   by the keyholder
///   Rekeying(uint64 registrationId,uint8 generation,bytes32 keysHash,uint64 committeeEpoch,uint64 deadline)   by each keyholder
/// where registrationDigest is the EIP-712 struct hash of the Registration, generation the one that the re-keying
/// results in (1 to 8) and keysHash keccak256(abi.encode(keys)). Signers are plain accounts (65 bytes, low
/// s) or EIP-1271 wallets.
interface IDatasetRegistry is IRegistryQueue {
    /// Rules of the market, fixed at deployment. Rho is zero-concentrated differential privacy in units of 1e-9.
    struct NetworkParameters {
        /// Fewest persons in a cohort.
        uint32 cohortSizeMin;
        /// Fewest persons in a sealed batch of the exact tier.
        uint32 exactBatchMin;
        /// Fewest members that must differ before an exact batch is answered again.
        uint32 exactChangeMin;
        /// Most that one query of the open tier may cost a person.
        uint64 rhoOpenQueryMax;
        /// Most that the open tier may cost a person in a year.
        uint64 rhoOpenYearMax;
        /// Most that the open tier may cost a person for ever.
        uint64 rhoOpenLifetimeMax;
        /// The caps of the vetted tier are those of the open tier times this.
        uint32 vettedFactor;
        /// log2 of the flooding noise's standard deviation per key share.
        uint8 floodingSigmaLog2;
        /// Longest time from opening an order to its deadline, in seconds.
        uint32 orderLifetimeMax;
        /// True where floors and caps may be weaker than a production network's.
        bool testNetwork;
    }

    /// A batch of datasets of one registrant on one panel; what the registrant signs.
    struct Registration {
        address registrant;
        bytes32 panelDigest;
        /// Version of every dataset in the batch, from 1 to 2^32 - 9: keys have this plus the number of re-keyings.
        uint32 version;
        /// Chosen by the registrant; registers once.
        uint64 batchNonce;
        /// Listed accreditor who vouches for the batch, or zero.
        address accreditor;
        /// Last second at which the batch may be recorded.
        uint64 deadline;
        /// keccak256(abi.encode(leaves)), or keccak256(abi.encode(leaves, ciphertexts)) with ciphertexts.
        bytes32 leavesHash;
    }

    /// One individual's genotypes; the ordinal of a dataset is its place in the batch, from 0.
    struct DatasetLeaf {
        /// Chosen by the client and not checked here: readers name a dataset by registration and ordinal.
        bytes32 datasetId;
        bytes32 personTag;
        /// Digest of all stored ciphertext bodies.
        bytes32 bodyDigest;
        /// Commitment to the three key shares.
        bytes32 shareCommitment;
        /// Blinded commitment to the genotypes.
        bytes32 genotypeCommitment;
    }

    /// What a re-keying gives a dataset. Both are zero where a revoked dataset is left as it is.
    struct DatasetKeys {
        /// Digest of all stored ciphertext bodies.
        bytes32 bodyDigest;
        /// Commitment to the three key shares.
        bytes32 shareCommitment;
    }

    /// What proofs about cohorts need of a batch. A batch without it is registered with neutral commitments.
    struct Ciphertexts {
        /// For each dataset x and y of the sum of b_i G_i over all coefficients of its stored bodies: a point of the
        /// curve x^2 + y^2 = 1 + d x^2 y^2 over the proofs' field, d = 168696 / 168700; neutral is (0, 1).
        uint256[2][] commitments;
        /// The keyholders verified a proof of encryption of every body.
        bool proven;
    }

    /// What the registry keeps of a registration.
    struct RegistrationRecord {
        address registrant;
        uint16 count;
        uint40 firstSlot;
        /// Place of the first group in the panel's registry tree; every five datasets are a group.
        uint32 firstGroup;
        bytes32 panelDigest;
    }

    /// @dev Only the digest binds. Whoever publishes first chooses the rest, so readers take name, variants and
    /// completeness from the panel's own bytes.
    event PanelPublished(bytes32 indexed panelDigest, string name, uint32 variantCount, bool completeCalls);
    event KeyholderSet(uint8 indexed index, address signer, bytes hpkePublicKey, uint64 committeeEpoch);
    event AccreditorSet(address indexed account, bool listed, string name);
    event ResearcherSet(address indexed account, bool listed, string name);
    /// @notice The leaves hold registry slots firstSlot, firstSlot + 1, ... of the panel, in order.
    event DatasetsRegistered(
        uint64 indexed registrationId,
        address indexed registrant,
        bytes32 indexed panelDigest,
        uint32 version,
        uint64 firstSlot,
        address accreditor,
        DatasetLeaf[] leaves
    );
    /// @notice The keys are those of the registration's datasets, in order.
    event DatasetsRekeyed(uint64 indexed registrationId, uint8 generation, DatasetKeys[] keys);
    /// @notice Lists exactly the ordinals that were not revoked before.
    event DatasetsRevoked(uint64 indexed registrationId, uint32[] ordinals);
    /// @notice Lists exactly the ordinals for which this keyholder had no receipt before.
    event DatasetsErased(uint64 indexed registrationId, uint8 indexed keyholder, uint32[] ordinals);

    error DatasetRegistryBadParameters();
    error DatasetRegistryBadKeyholder(uint8 index);
    error DatasetRegistryCommitteeIncomplete();
    error DatasetRegistryPanelInvalid();
    error DatasetRegistryPanelAlreadyPublished(bytes32 panelDigest);
    error DatasetRegistryPanelUnknown(bytes32 panelDigest);
    error DatasetRegistryExpired(uint64 deadline);
    error DatasetRegistryBadBatchSize(uint256 count);
    error DatasetRegistryBadVersion();
    error DatasetRegistryLeavesMismatch();
    error DatasetRegistryBadCiphertexts();
    error DatasetRegistryPanelFull(bytes32 panelDigest);
    error DatasetRegistryBatchNonceUsed(address registrant, uint64 batchNonce);
    error DatasetRegistryAccreditorUnknown(address accreditor);
    error DatasetRegistryAccreditorMissing();
    error DatasetRegistryBadSignature(address expectedSigner);
    error DatasetRegistryDuplicate(bytes32 commitment);
    error DatasetRegistryEmptyCommitment();
    error DatasetRegistryUnknownRegistration(uint64 registrationId);
    error DatasetRegistryNotRegistrant(address caller);
    error DatasetRegistryBadOrdinal(uint32 ordinal);
    error DatasetRegistryNotRevoked(uint32 ordinal);
    error DatasetRegistryCommitted(uint64 registrationId);
    error DatasetRegistryRekeyedTooOften(uint64 registrationId);

    /// @notice Publishes a panel's digest; the first publication stands.
    function publishPanel(bytes32 panelDigest, string calldata name, uint32 variantCount, bool completeCalls) external;

    /// @notice Registers a batch that its registrant, its accreditor (if any) and all keyholders signed.
    function registerDatasets(
        Registration calldata registration,
        DatasetLeaf[] calldata leaves,
        bytes calldata registrantSignature,
        bytes calldata accreditorSignature,
        bytes[3] calldata keyholderSignatures
    ) external returns (uint64 registrationId);

    /// @notice As registerDatasets, with commitments to the ciphertexts.
    function registerCommittedDatasets(
        Registration calldata registration,
        DatasetLeaf[] calldata leaves,
        Ciphertexts calldata ciphertexts,
        bytes calldata registrantSignature,
        bytes calldata accreditorSignature,
        bytes[3] calldata keyholderSignatures
    ) external returns (uint64 registrationId);

    /// @notice Gives all datasets of a registration new key shares and ciphertexts of the same genotypes, one entry for
    /// each. All keyholders signed; anyone may send it. Works while paused. The datasets stay what they are: owner,
    /// person, genotype commitment, offer and revocations. Only revoked ones may be left as they are. At most 8 times,
    /// and not for batches with commitments to the ciphertexts.
    function rekeyDatasets(
        uint64 registrationId,
        DatasetKeys[] calldata keys,
        uint64 deadline,
        bytes[3] calldata keyholderSignatures
    ) external;

    /// @notice Withdraws datasets of the caller for ever. Works while paused. Ordinals revoked before are skipped.
    function revokeDatasets(uint64 registrationId, uint32[] calldata ordinals) external;

    /// @notice As revokeDatasets, signed by the registrant and sent by anyone.
    function revokeDatasetsSigned(
        uint64 registrationId,
        uint32[] calldata ordinals,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Records a keyholder's signed receipt that it destroyed its key seeds of revoked datasets. Anyone may
    /// send it. Works while paused. Ordinals with a receipt are skipped.
    function recordErasure(uint64 registrationId, uint32[] calldata ordinals, uint8 keyholder, bytes calldata signature)
        external;

    /// @notice Rules of the network.
    function parameters() external view returns (NetworkParameters memory);

    /// @notice True while registrations, offers and orders are stopped.
    function paused() external view returns (bool);

    /// @notice Number of committee changes so far; attestations hold for one epoch.
    function committeeEpoch() external view returns (uint64);

    /// @notice Account that signs for keyholder 1, 2 or 3. Reverts when it is not set.
    function keyholderSigner(uint8 index) external view returns (address);

    /// @notice True when all three keyholders are set.
    function isCommitteeComplete() external view returns (bool);

    /// @notice True for a listed accreditor.
    function isAccreditor(address account) external view returns (bool);

    /// @notice True for a listed researcher.
    function isAccreditedResearcher(address account) external view returns (bool);

    /// @notice True when somebody published the panel.
    function isPanelPublished(bytes32 panelDigest) external view returns (bool);

    /// @notice True when the dataset is revoked. Reverts when there is no such dataset.
    function isRevoked(uint64 registrationId, uint32 ordinal) external view returns (bool);

    /// @notice True when the keyholder's deletion receipt is recorded. Reverts when there is no such dataset.
    function isErased(uint64 registrationId, uint32 ordinal, uint8 keyholder) external view returns (bool);

    /// @notice True when the value was ever a dataset's body digest, share or genotype commitment.
    function isCommitmentUsed(bytes32 commitment) external view returns (bool);

    /// @notice The dataset that used a commitment; registrationId 0 when none did.
    function datasetOfCommitment(bytes32 commitment) external view returns (uint64 registrationId, uint32 ordinal);

    /// @notice True when the registrant has used the batch nonce.
    function isBatchNonceUsed(address registrant, uint64 batchNonce) external view returns (bool);

    /// @notice What the registry keeps of a registration. Reverts when it does not exist.
    function registrationRecord(uint64 registrationId) external view returns (RegistrationRecord memory);

    /// @notice Number of re-keyings of a registration. Reverts when it does not exist.
    function rekeyGeneration(uint64 registrationId) external view returns (uint8);

    /// @notice Number of registrations, also the newest id.
    function registrationCount() external view returns (uint64);

    /// @notice Registry slots handed out on a panel.
    function slotCount(bytes32 panelDigest) external view returns (uint64);

    /// @notice Groups of a panel's registry tree that have a place.
    function groupCount(bytes32 panelDigest) external view returns (uint32);

    /// @notice EIP-712 struct hash of a registration: what accreditors and keyholders refer to.
    function registrationDigest(Registration calldata registration) external pure returns (bytes32);
}
