#!/usr/bin/env python3
"""Second implementation of the encryption, written from SPEC.md alone.

Prints the values that tests/known_answers.rs expects. Needs Python 3.8 and the package `cryptography`.
"""
import hashlib
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

N = 4096
Q = 1 << 64


def sha3(dst, *parts):
    state = hashlib.sha3_256()
    for part in (dst.encode(),) + parts:
        state.update(struct.pack("<Q", len(part)) + part)
    return state.digest()


def keystream(key, length):
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(length))


def negacyclic_product(left, right):
    """Kronecker substitution with 96-bit digits, then X^N = -1, modulo 2^64."""
    pack = lambda poly: int.from_bytes(b"".join(c.to_bytes(12, "little") for c in poly), "little")
    product = (pack(left) * pack(right)).to_bytes(2 * N * 12 + 12, "little")
    digits = [int.from_bytes(product[12 * i : 12 * i + 12], "little") for i in range(2 * N)]
    return [(digits[i] - digits[N + i]) % Q for i in range(N)]


MASK_SEED = b"Locus mask v1: uniform element of Z_(2^64)[X]/(X^4096+1), expanded by SHAKE256"
mask = list(struct.unpack("<4096Q", hashlib.shake_256(MASK_SEED).digest(8 * N)))

registrant = bytes([2]) * 20
dataset = sha3("locus/commitment/dataset-id/v1", registrant, struct.pack("<Q", 7), struct.pack("<I", 0))
context = struct.pack("<Q", 31337) + bytes([1]) * 20 + registrant + dataset + bytes([4]) * 32 + struct.pack("<I", 1)
master = bytes([9]) * 32

# Genotype of variant v: hom_ref, het, hom_alt or missing as (v * v + v / 7) mod 4 is 0, 1, 2 or 3.
variants = 4080 + 1000
codes = [(v * v + v // 7) % 4 for v in range(variants)]
packed = bytes(
    sum(code << (2 * place) for place, code in enumerate(codes[i : i + 4])) for i in range(0, variants, 4)
)

root = sha3("locus/sharing/dataset-root/v1", master, context, sha3("locus/sharing/genotype-digest/v1", packed))
seeds = [sha3("locus/sharing/root-seed/v1", root, bytes([share])) for share in (1, 2, 3)]
noise_seed = sha3("locus/sharing/encryption-noise/v1", root)


def secret_bits(share, block, plane):
    parts = (context, bytes([share]), seeds[share - 1], struct.pack("<I", block), bytes([plane]))
    stream = keystream(sha3("locus/rlwe/block-key/v1", *parts), N // 8)
    return [stream[i // 8] >> (i % 8) & 1 for i in range(N)]


def encryption_noise(block, plane):
    key = sha3("locus/rlwe/encryption-noise/v1", noise_seed, struct.pack("<I", block), bytes([plane]))
    stream = keystream(key, N // 2)
    return [(stream[i // 2] >> (4 * (i % 2)) & 15) - 8 for i in range(N)]


FLAGS = {0: [0, 1 << 26, 1 << 45, 0], 1: [0, 0, 0, 1 << 26]}


def body(block, plane):
    key = [sum(bits) for bits in zip(*(secret_bits(share, block, plane) for share in (1, 2, 3)))]
    slots = [0] * 16 + codes[4080 * block : 4080 * (block + 1)]
    slots += [0] * (N - len(slots))
    flags = [FLAGS[plane][code] for code in slots]
    terms = zip(negacyclic_product(mask, key), encryption_noise(block, plane), flags)
    return struct.pack("<4096Q", *(sum(term) % Q for term in terms))


print("mask", sha3("mask", struct.pack("<4096Q", *mask)).hex())
print("product", sha3("product", struct.pack("<4096Q", *negacyclic_product(mask, secret_bits(3, 1, 1)))).hex())
for block in (0, 1):
    for plane in (0, 1):
        print("body", block, plane, sha3("body", body(block, plane)).hex())
