"""What researchers and keyholders sign: EIP-712 messages of the contracts."""

import secrets
import time
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
STATEMENT_REQUEST = {
    "StatementRequest": _fields(
        "uint64 registrationId,uint32 ordinal,uint8 keyholder,uint64 deadline,bytes32 nonce"
    )
}
ANSWER_REQUEST = {"AnswerRequest": _fields("bytes32 orderId,uint64 deadline,bytes32 nonce")}
PERMIT = {"Permit": _fields("address owner,address spender,uint256 value,uint256 nonce,uint256 deadline")}


# How long a signed request may be taken; services allow five minutes.
_REQUEST_LIFETIME_S = 120


@dataclass(frozen=True)
class RequestTerms:
    """What makes a signed request a request of its own: it counts once."""

    deadline_unix_s: int
    nonce: bytes

    @staticmethod
    def fresh() -> "RequestTerms":
        return RequestTerms(int(time.time()) + _REQUEST_LIFETIME_S, secrets.token_bytes(32))

    def fields(self) -> dict:
        return {"deadline": self.deadline_unix_s, "nonce": self.nonce}


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
