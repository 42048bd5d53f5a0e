"""Checking an answer against its order, and opening it: client specification, clauses 9 and 10."""

from dataclasses import dataclass
from math import gcd, isqrt

import numpy

from locus.genomics.v1 import genomics_pb2
from locus.query.v1 import query_pb2

from .account import Account
from .frame import digest
from .market import NANO, Market
from .order import Order
from .panel import CHECK_SLOTS, SLOTS, VARIANTS_PER_BLOCK, Variant
from .typed import SETTLEMENT, signer

# Ciphertext layout: rlwe specification, clause 9.
COUNTER_SHIFT = 26
HOM_ALT_SHIFT = 45
COUNTER_MASK = (1 << 19) - 1
NOISE_BOUND = 1 << (COUNTER_SHIFT - 1)
FLOODING_SIGMA_LOG2 = 21
LAYOUT_VERSION = 1
NOISE_EPOCH = 1
SIGNATURES_MIN = 2
SHARES = (1, 2, 3)
_SEALED_SHARE = b"locus/cohort/sealed-share/v1"
_SHARE_DIGEST = "locus/cohort/share-digest/v1"
SHARE_DIGEST_BYTES = 32


class AnswerError(Exception):
    """An answer that is not the one that was ordered and paid."""


@dataclass(frozen=True)
class Counts:
    """Genotype counts of one variant."""

    variant: Variant
    hom_ref: int
    het: int
    hom_alt: int
    missing: int


def open_answer(market: Market, account: Account, order: Order, record: query_pb2.AnswerRecord) -> list[Counts]:
    """Checks settlement, signatures, question and check slots, and decodes the counts."""
    settlement = record.summary.settlement
    _check_settlement(market, order, record)
    taus = _taus(market.network.network, order, settlement.cohort_digest)
    if digest("locus/privacy/answer/v1", *taus.values()) != settlement.answer_digest:
        raise AnswerError("the keyholders signed an answer to another question than the one ordered")
    if [block.block for block in record.blocks] != list(taus):
        raise AnswerError("the answer does not have the panel blocks that were asked for")
    offset = _offset(order)
    if settlement.cohort_size + 2 * offset > COUNTER_MASK:
        raise AnswerError("cohort and noise do not fit a counter")
    rows: list[Counts] = []
    slots = order.question.selection.slots()
    for block in record.blocks:
        rows += _open_block(account, order, block, taus[block.block], slots[block.block], settlement, offset)
    return rows


def _check_settlement(market: Market, order: Order, record: query_pb2.AnswerRecord) -> None:
    summary, settlement = record.summary, record.summary.settlement
    copies = (summary.cohort_size, summary.price, summary.answer_digest, summary.cohort_digest)
    if copies != (settlement.cohort_size, settlement.price, settlement.answer_digest, settlement.cohort_digest):
        raise AnswerError("the summary is not that of the settlement")
    if settlement.order_id != order.id or int(settlement.price) > order.max_price:
        raise AnswerError("the settlement is for another order, or above its maximum price")
    message = {
        "orderId": settlement.order_id,
        "answerDigest": settlement.answer_digest,
        "cohortDigest": settlement.cohort_digest,
        "cohortSize": settlement.cohort_size,
        "price": int(settlement.price),
        "payoutSequence": settlement.payout_sequence,
        "payoutRoot": settlement.payout_root,
    }
    signers = {keyholder.index: keyholder.signer for keyholder in market.network.keyholders}
    signed_by = {
        entry.keyholder
        for entry in summary.signatures
        if entry.keyholder in signers
        and signer(order.domain, SETTLEMENT, message, entry.signature) == signers[entry.keyholder]
    }
    if len(signed_by) < SIGNATURES_MIN:
        raise AnswerError(f"only {len(signed_by)} keyholders have signed the settlement")


def _taus(network: genomics_pb2.Network, order: Order, cohort_digest: bytes) -> dict[int, bytes]:
    """Names of the blocks' questions: privacy specification, clauses on names."""
    question, panel = order.question, order.question.selection.panel
    variance = _share_variance(len(question.selection.indices), question.rho_nano)
    taus = {}
    for block, slots in question.selection.slots().items():
        mask = bytearray(SLOTS // 8)
        for slot in slots:
            mask[slot // 8] |= 1 << slot % 8
        encoding = (
            network.chain_id.to_bytes(8, "little")
            + network.registry
            + LAYOUT_VERSION.to_bytes(4, "little")
            + panel.digest
            + block.to_bytes(4, "little")
            + bytes(mask)
            + cohort_digest
            + b"".join(part.to_bytes(16, "little") for part in variance)
            + bytes([FLOODING_SIGMA_LOG2])
            + NOISE_EPOCH.to_bytes(4, "little")
            # No predicate.
            + bytes(4)
        )
        taus[block] = digest("locus/privacy/tau/v1", encoding)
    return taus


def _share_variance(variants: int, rho_nano: int) -> tuple[int, int]:
    """Variance of the noise in each share, in lowest terms; 0/1 for exact counts."""
    if rho_nano == 0:
        return 0, 1
    numerator, denominator = variants * NANO, 3 * rho_nano
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def _offset(order: Order) -> int:
    """T, the least integer of at least seven standard deviations."""
    rho_nano = order.question.rho_nano
    if rho_nano == 0:
        return 0
    square = -(-49 * len(order.question.selection.indices) * NANO // rho_nano)
    floor = isqrt(square)
    return floor + (floor * floor < square)


def _open_block(account, order, block, tau, slots, settlement, offset) -> list[Counts]:  # noqa: PLR0913
    panel = order.question.selection.panel
    released = CHECK_SLOTS + len(slots)
    if block.tau != tau or [share.share for share in block.shares] != list(SHARES):
        raise AnswerError(f"panel block {block.block} does not have the parts that were asked for")
    if [plane.plane for plane in block.planes] != list(panel.planes):
        raise AnswerError(f"panel block {block.block} does not have all planes")
    partials, digests = {}, {}
    for share in block.shares:
        binding = order.id + tau + bytes([share.share])
        payload = account.sealing_key.open(_SEALED_SHARE, binding, share.sealed)
        if len(payload) != 8 * released * len(panel.planes) + SHARE_DIGEST_BYTES:
            raise AnswerError(f"a share of panel block {block.block} has another size")
        partials[share.share] = payload[:-SHARE_DIGEST_BYTES]
        digests[share.share] = payload[-SHARE_DIGEST_BYTES:]
    _check_digests(block, tau, partials, digests)
    opened = [numpy.frombuffer(partials[share], "<u8").reshape(len(panel.planes), released) for share in SHARES]
    words = {}
    for place, plane in enumerate(block.planes):
        total = numpy.frombuffer(plane.body_sum, "<u8")
        if total.size != released:
            raise AnswerError(f"the sum of panel block {block.block} has another size")
        # Unsigned arithmetic of numpy arrays wraps, as the ring does.
        words[plane.plane] = total - opened[0][place] - opened[1][place] - opened[2][place]
        _check_slots(words[plane.plane][:CHECK_SLOTS], block.block)
    lifted = words[0][CHECK_SLOTS:] + numpy.uint64((offset << COUNTER_SHIFT) + (offset << HOM_ALT_SHIFT) + NOISE_BOUND)
    hets = _counter(lifted, COUNTER_SHIFT, offset)
    hom_alts = _counter(lifted, HOM_ALT_SHIFT, offset)
    missings = numpy.zeros_like(hets)
    if 1 in words:
        lifted = words[1][CHECK_SLOTS:] + numpy.uint64((offset << COUNTER_SHIFT) + NOISE_BOUND)
        missings = _counter(lifted, COUNTER_SHIFT, offset)
    rows = []
    for slot, het, hom_alt, missing in zip(slots, hets.tolist(), hom_alts.tolist(), missings.tolist(), strict=True):
        variant = panel.variants[block.block * VARIANTS_PER_BLOCK + slot - CHECK_SLOTS]
        hom_ref = settlement.cohort_size - het - hom_alt - missing
        rows.append(Counts(variant, hom_ref, het, hom_alt, missing))
    return rows


def _check_digests(block, tau: bytes, partials: dict[int, bytes], digests: dict[int, bytes]) -> None:
    """Keyholder j holds the shares but j: with the one it releases it vouches for the other."""
    for share in block.shares:
        if share.keyholder not in SHARES or share.keyholder == share.share:
            raise AnswerError(f"a share of panel block {block.block} comes from a keyholder that does not hold it")
        (other,) = set(SHARES) - {share.keyholder, share.share}
        if digest(_SHARE_DIGEST, tau, bytes([other]), partials[other]) != digests[share.share]:
            raise AnswerError(f"a keyholder has altered a share of panel block {block.block}")


def _check_slots(words: numpy.ndarray, block: int) -> None:
    """Everybody is homozygous for the reference there: what is left must be small noise."""
    if (numpy.abs(words.astype(numpy.int64)) >= NOISE_BOUND).any():
        raise AnswerError(f"sum and key shares of panel block {block} are not of one cohort")


def _counter(words: numpy.ndarray, shift: int, offset: int) -> numpy.ndarray:
    return (words >> numpy.uint64(shift) & numpy.uint64(COUNTER_MASK)).astype(numpy.int64) - offset
