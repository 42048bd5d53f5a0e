// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDatasetRegistry} from "../../src/IDatasetRegistry.sol";
import {IOfferBook} from "../../src/IOfferBook.sol";
import {IQueryEscrow} from "../../src/IQueryEscrow.sol";

/// @title EIP-712 as the specification words it, written apart from the contracts so that both must agree.
library Typed {
    function digest(string memory name, address verifyingContract, bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                verifyingContract
            )
        );
        return keccak256(bytes.concat(hex"1901", domain, structHash));
    }

    function registration(IDatasetRegistry.Registration memory r) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Registration(address registrant,bytes32 panelDigest,uint32 version,uint64 batchNonce,address accreditor,uint64 deadline,bytes32 leavesHash)"
                ),
                r.registrant,
                r.panelDigest,
                r.version,
                r.batchNonce,
                r.accreditor,
                r.deadline,
                r.leavesHash
            )
        );
    }

    function accreditation(bytes32 registrationDigest) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("Accreditation(bytes32 registrationDigest)"), registrationDigest));
    }

    function attestation(bytes32 registrationDigest, uint64 epoch) internal pure returns (bytes32) {
        bytes32 typehash = keccak256("Attestation(bytes32 registrationDigest,uint64 committeeEpoch)");
        return keccak256(abi.encode(typehash, registrationDigest, epoch));
    }

    function revocation(uint64 registrationId, uint32[] memory ordinals, uint64 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typehash = keccak256("Revocation(uint64 registrationId,uint32[] ordinals,uint64 deadline)");
        return keccak256(abi.encode(typehash, registrationId, _list(ordinals), deadline));
    }

    function erasure(uint64 registrationId, uint32[] memory ordinals, uint8 keyholder) internal pure returns (bytes32) {
        bytes32 typehash = keccak256("Erasure(uint64 registrationId,uint32[] ordinals,uint8 keyholder)");
        return keccak256(abi.encode(typehash, registrationId, _list(ordinals), keyholder));
    }

    function rekeying(
        uint64 registrationId,
        uint8 generation,
        IDatasetRegistry.DatasetKeys[] memory keys,
        uint64 epoch,
        uint64 deadline
    ) internal pure returns (bytes32) {
        bytes memory words = abi.encode(uint256(32), keys.length);
        for (uint256 i = 0; i < keys.length; i++) {
            words = bytes.concat(words, keys[i].bodyDigest, keys[i].shareCommitment);
        }
        bytes32 typehash = keccak256(
            "Rekeying(uint64 registrationId,uint8 generation,bytes32 keysHash,uint64 committeeEpoch,uint64 deadline)"
        );
        return keccak256(abi.encode(typehash, registrationId, generation, keccak256(words), epoch, deadline));
    }

    function offer(IOfferBook.Offer memory o) internal pure returns (bytes32) {
        bytes memory words = abi.encode(
            keccak256(
                "Offer(uint64 registrationId,uint96 priceCounts,uint96 priceFilteredCounts,uint96 priceAssociation,uint32 dataUse,uint32 tiers,uint8 audience,address[] buyers,uint32 blockStart,uint32 blockEnd,bytes32 conditionDigest,uint32 demands,bytes32 disclosureDigest,uint64 expiry,uint64 nonce)"
            ),
            o.registrationId,
            o.priceCounts,
            o.priceFilteredCounts,
            o.priceAssociation
        );
        bytes memory buyers;
        for (uint256 i = 0; i < o.buyers.length; i++) {
            buyers = bytes.concat(buyers, abi.encode(o.buyers[i]));
        }
        words = bytes.concat(words, abi.encode(o.dataUse, o.tiers, o.audience, keccak256(buyers)));
        words = bytes.concat(words, abi.encode(o.blockStart, o.blockEnd, o.conditionDigest));
        words = bytes.concat(words, abi.encode(o.demands, o.disclosureDigest, o.expiry, o.nonce));
        return keccak256(words);
    }

    function withdrawal(uint64 registrationId, uint64 nonce) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("Withdrawal(uint64 registrationId,uint64 nonce)"), registrationId, nonce));
    }

    function order(IQueryEscrow.Order memory o) internal pure returns (bytes32) {
        bytes memory words = abi.encode(
            keccak256(
                "Order(address researcher,bytes32 panelDigest,bytes32 selectionDigest,bytes32 predicateDigest,uint8 queryClass,uint32 purpose,bytes32 conditionDigest,uint8 tier,uint64 rhoNano,uint96 maxPrice,bytes32 hpkeKeyDigest,uint64 deadline,uint64 nonce)"
            ),
            o.researcher,
            o.panelDigest,
            o.selectionDigest,
            o.predicateDigest
        );
        words = bytes.concat(words, abi.encode(o.queryClass, o.purpose, o.conditionDigest, o.tier, o.rhoNano));
        words = bytes.concat(words, abi.encode(o.maxPrice, o.hpkeKeyDigest, o.deadline, o.nonce));
        return keccak256(words);
    }

    function settlement(IQueryEscrow.Settlement memory s) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Settlement(bytes32 orderId,bytes32 answerDigest,bytes32 cohortDigest,uint32 cohortSize,uint96 price,uint64 payoutSequence,bytes32 payoutRoot)"
                ),
                s.orderId,
                s.answerDigest,
                s.cohortDigest,
                s.cohortSize,
                s.price,
                s.payoutSequence,
                s.payoutRoot
            )
        );
    }

    function provenSettlement(bytes32 settlementDigest, bytes32 cohortId) internal pure returns (bytes32) {
        bytes32 typehash = keccak256("ProvenSettlement(bytes32 settlementDigest,bytes32 cohortId)");
        return keccak256(abi.encode(typehash, settlementDigest, cohortId));
    }

    function permit(address owner, address spender, uint256 value, uint256 nonce, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        return keccak256(abi.encode(typehash, owner, spender, value, nonce, deadline));
    }

    function _list(uint32[] memory values) private pure returns (bytes32) {
        bytes memory words;
        for (uint256 i = 0; i < values.length; i++) {
            words = bytes.concat(words, abi.encode(values[i]));
        }
        return keccak256(words);
    }
}
