// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Contract wallet that accepts its owner's signatures, and can approve tokens.
contract OwnedWallet is IERC1271 {
    address private immutable _owner;

    constructor(address owner) {
        _owner = owner;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        bool valid = ECDSA.recoverCalldata(hash, signature) == _owner;
        return valid ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// @title Contract wallet that reverts when asked about a signature.
contract RevertingWallet is IERC1271 {
    error RevertingWalletRefuses();

    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        revert RevertingWalletRefuses();
    }
}

/// @title Contract that answers every call with the number one, as a careless fallback would.
contract YesWallet {
    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(uint256(1));
    }
}
