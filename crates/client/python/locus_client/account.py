"""Keys in a folder as `locus keys new` makes it: client specification, clause 1."""

import stat
from pathlib import Path

from eth_account import Account as EthAccount

from .sealing import SealingKey
from .typed import Domain


def _secret(path: Path) -> bytes:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise PermissionError(f"{path} can be read by others: make it private with chmod 600")
    secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    if len(secret) != 32:
        raise ValueError(f"{path} does not hold a secret of 32 bytes")
    return secret


class Account:
    """An account that signs and opens."""

    def __init__(self, signing_key: bytes, sealing_seed: bytes) -> None:
        self._account = EthAccount.from_key(signing_key)
        self.sealing_key = SealingKey(sealing_seed)

    @classmethod
    def open(cls, folder: Path) -> "Account":
        """Reads the keys of a data folder."""
        keys = folder / "keys"
        return cls(_secret(keys / "account.key"), _secret(keys / "sealing.seed"))

    @property
    def address(self) -> bytes:
        return bytes.fromhex(self._account.address[2:])

    def sign_typed(self, domain: Domain, types: dict, message: dict) -> bytes:
        """EIP-712, 65 bytes: r, s, v."""
        return bytes(self._account.sign_typed_data(domain.data(), types, message).signature)

    def sign_digest(self, digest: bytes) -> bytes:
        """Signs a digest of the framing of this project, which no transaction can have."""
        return bytes(self._account.unsafe_sign_hash(digest).signature)
