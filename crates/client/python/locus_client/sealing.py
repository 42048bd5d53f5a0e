"""Opening what is sealed to a researcher: sharing specification, clauses 5 to 7.

HPKE (RFC 9180) in base mode with KEM X-Wing, KDF HKDF-SHA256 and AEAD ChaCha20Poly1305.
"""

import hmac
from hashlib import sha3_256, sha256, shake_256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .frame import digest

ENCAPSULATION_BYTES = 1120
_ML_KEM_CIPHERTEXT_BYTES = 1088
_KEM_ID = 0x647A
_KEM_SUITE = b"KEM" + _KEM_ID.to_bytes(2, "big")
# KEM, then HKDF-SHA256 (1) and ChaCha20Poly1305 (3).
_SUITE = b"HPKE" + _KEM_ID.to_bytes(2, "big") + bytes([0, 1, 0, 3])
_VERSION = b"HPKE-v1"
_X_WING_LABEL = rb"\.//^" + b"\\"


class SealingKey:
    """A researcher's X-Wing key, derived from the 32-byte seed of a key file."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError("a sealing seed has 32 bytes")
        label = b"DeriveKeyPair"
        labeled = seed + _VERSION + _KEM_SUITE + len(label).to_bytes(2, "big") + label + (32).to_bytes(2, "big")
        expanded = shake_256(shake_256(labeled).digest(32)).digest(96)
        self._ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._x25519_public = self._x25519.public_key().public_bytes_raw()
        self.public = self._ml_kem.public_key().public_bytes_raw() + self._x25519_public

    @property
    def digest(self) -> bytes:
        """The name under which orders know this key."""
        return digest("locus/sharing/sealing-key/v1", self.public)

    def open(self, info: bytes, associated_data: bytes, sealed: bytes) -> bytes:
        """Opens a sealed message; fails in one way only, whatever was wrong."""
        encapsulation, ciphertext = sealed[:ENCAPSULATION_BYTES], sealed[ENCAPSULATION_BYTES:]
        try:
            secret = self._decapsulate(encapsulation)
            key, nonce = _schedule(secret, info)
            return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, associated_data)
        except (InvalidTag, ValueError) as error:
            raise ValueError("the sealed message does not open with this key for this order") from error

    def _decapsulate(self, encapsulation: bytes) -> bytes:
        lattice, curve = encapsulation[:_ML_KEM_CIPHERTEXT_BYTES], encapsulation[_ML_KEM_CIPHERTEXT_BYTES:]
        lattice_secret = self._ml_kem.decapsulate(lattice)
        curve_secret = self._x25519.exchange(X25519PublicKey.from_public_bytes(curve))
        return sha3_256(lattice_secret + curve_secret + curve + self._x25519_public + _X_WING_LABEL).digest()


def _extract(salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), _VERSION + _SUITE + label + material, sha256)


def _expand(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
    # One round of HKDF-Expand is enough: nothing here is longer than a hash.
    labeled = length.to_bytes(2, "big") + _VERSION + _SUITE + label + context
    return hmac.digest(key, labeled + b"\x01", sha256)[:length]


def _schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    context = b"\x00" + _extract(b"", b"psk_id_hash", b"") + _extract(b"", b"info_hash", info)
    schedule = _extract(secret, b"secret", b"")
    return _expand(schedule, b"key", context, 32), _expand(schedule, b"base_nonce", context, 12)
