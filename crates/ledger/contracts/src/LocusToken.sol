// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";

/// @title Payment token of development and test networks: 18 decimals, created at will.
/// @notice A production network pays in any ERC-20 token with EIP-2612 permits that moves exactly the stated amounts (no
/// transfer fee) and does not rebase.
contract LocusToken is ERC20, ERC20Permit, AccessControl {
    /// @notice Role that may create tokens.
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");

    constructor(address admin) ERC20("Locus Test Token", "tLOCUS") ERC20Permit("Locus Test Token") {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(MINTER_ROLE, admin);
    }

    /// @notice Creates tokens; by the minter.
    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) {
        _mint(to, amount);
    }
}
