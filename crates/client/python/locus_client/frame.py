"""The framing of every hash: commitment specification, clause 1."""

from hashlib import sha3_256


def digest(domain: str, *parts: bytes) -> bytes:
    """SHA3-256 over a domain and parts, each preceded by its length as a little-endian 64-bit number."""
    state = sha3_256()
    for part in (domain.encode("ascii"), *parts):
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()
