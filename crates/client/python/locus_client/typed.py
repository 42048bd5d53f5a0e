"""What researchers and keyholders sign: EIP-712 messages of the contracts."""

from dataclasses import dataclass

from eth_account import Account as EthAccount
from eth_account.messages import encode_typed_data


def _fields(declaration: str) -> list[dict[str, str]]:
    return [dict(zip(("type", "name"), field.split(), strict=True)) for field in declaration.split(",")]


ORDER = {
    "Order": _fields(
        "address researcher,bytes32 panelDigest,bytes32 selectionDigest,bytes32 predicateDigest,uint8 queryClass,"
        "uint32 purpose,bytes32 conditionDigest,uint8 tier,uint64 rhoNano,uint96 maxPrice,bytes32 hpkeKeyDigest,"
        "uint64 deadline,uint64 nonce"
    )
}
SETTLEMENT = {
    "Settlement": _fields(
        "bytes32 orderId,bytes32 answerDigest,bytes32 cohortDigest,uint32 cohortSize,uint96 price,"
        "uint64 payoutSequence,bytes32 payoutRoot"
    )
}
PERMIT = {"Permit": _fields("address owner,address spender,uint256 value,uint256 nonce,uint256 deadline")}


@dataclass(frozen=True)
class Domain:
    """The contract that a message is for."""

    name: str
    chain_id: int
    contract: bytes

    def data(self) -> dict:
        return {
            "name": self.name,
            "version": "1",
            "chainId": self.chain_id,
            "verifyingContract": "0x" + self.contract.hex(),
        }


def struct_hash(domain: Domain, types: dict, message: dict) -> bytes:
    """The hash of the message alone: the name of an order."""
    return bytes(encode_typed_data(domain_data=domain.data(), message_types=types, message_data=message).body)


def signer(domain: Domain, types: dict, message: dict, signature: bytes) -> bytes | None:
    """Who signed the message, as 20 bytes; None when the signature is malformed."""
    signable = encode_typed_data(domain_data=domain.data(), message_types=types, message_data=message)
    try:
        return bytes.fromhex(EthAccount.recover_message(signable, signature=signature)[2:])
    except Exception:  # noqa: BLE001  eth-keys raises several unrelated types for bad signatures
        return None
