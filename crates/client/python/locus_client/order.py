"""Questions, the orders that pay for them, and the files that keep orders: client specification, clause 4."""

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from locus.exchange.v1 import exchange_pb2
from locus.genomics.v1 import genomics_pb2
from locus.query.v1 import query_pb2

from .account import Account
from .frame import digest
from .panel import Panel, Selection
from .typed import ORDER, Domain, struct_hash

TIERS = ("open", "vetted", "exact")
# Codes of genomics specification, clause 8.
PURPOSES = {"NRES": 0, "GRU": 1, "HMB": 2, "DS": 3, "POA": 4}
_CLOCK_SKEW_S = 30
_NOTHING = bytes(32)
_FILE_HEAD = b"LOCUSANS" + (1).to_bytes(4, "little")
_LENGTH_BYTES = 8
_DIGEST_BYTES = 32
_FILE_DOMAIN = "locus/client/answer-file/v1"


class OrderError(Exception):
    """An order that is not kept here, or that this client cannot have placed."""


@dataclass(frozen=True)
class Question:
    """What to count, for what, and how exactly."""

    selection: Selection
    purpose: str
    tier: str
    # Privacy loss in units of 1e-9 zCDP; 0 in the exact tier.
    rho_nano: int = 0

    @property
    def tier_code(self) -> int:
        return TIERS.index(self.tier)

    def selection_message(self) -> genomics_pb2.VariantSelection:
        ranges = [
            genomics_pb2.VariantSelection.Range(start=first, end=first + length)
            for first, length in self.selection.runs()
        ]
        return genomics_pb2.VariantSelection(ranges=ranges)


def escrow_domain(network: exchange_pb2.GetNetworkResponse) -> Domain:
    """The contract that orders are for."""
    return Domain("LocusQueryEscrow", network.network.chain_id, network.escrow)


@dataclass(frozen=True)
class Order:
    """A question that is paid for."""

    question: Question
    researcher: bytes
    max_price: int
    sealing_key_digest: bytes
    deadline_unix_s: int
    nonce: int
    domain: Domain

    @classmethod
    def of(
        cls, network: exchange_pb2.GetNetworkResponse, account: Account, question: Question, max_price: int
    ) -> "Order":
        lifetime_s = network.order_lifetime_max_s - _CLOCK_SKEW_S
        return cls(
            question=question,
            researcher=account.address,
            max_price=max_price,
            sealing_key_digest=account.sealing_key.digest,
            deadline_unix_s=int(time.time()) + lifetime_s,
            nonce=secrets.randbits(64),
            domain=escrow_domain(network),
        )

    @classmethod
    def of_record(
        cls, network: exchange_pb2.GetNetworkResponse, panel: Panel, record: query_pb2.AnswerRecord
    ) -> "Order":
        """The order of a record, as this client would have signed it.

        Raises OrderError for an order in another market, and for questions that this client does not ask.
        """
        message = record.order
        if record.network != network.network:
            raise OrderError("the order was placed in another market")
        purposes = {code: name for name, code in PURPOSES.items()}
        if message.purpose not in purposes or not 1 <= message.tier <= len(TIERS):
            raise OrderError("the order asks what this client does not: use `locus query fetch`")
        indices = [index for run in record.selection.ranges for index in range(run.start, run.end)]
        if not all(low < high for low, high in zip(indices, indices[1:] + [len(panel.variants)], strict=True)):
            raise OrderError("the order selects variants that its panel does not have")
        selection = Selection(panel, tuple(indices))
        order = cls(
            question=Question(selection, purposes[message.purpose], TIERS[message.tier - 1], message.rho_nano),
            researcher=message.researcher,
            max_price=int(message.max_price),
            sealing_key_digest=message.hpke_key_digest,
            deadline_unix_s=message.deadline_unix_s,
            nonce=message.nonce,
            domain=escrow_domain(network),
        )
        if order.message() != message or order.id != record.order_id:
            raise OrderError("the order asks what this client does not: use `locus query fetch`")
        return order

    def typed(self) -> dict:
        return {
            "researcher": "0x" + self.researcher.hex(),
            "panelDigest": self.question.selection.panel.digest,
            "selectionDigest": self.question.selection.digest,
            "predicateDigest": _NOTHING,
            "queryClass": 0,
            "purpose": PURPOSES[self.question.purpose],
            "conditionDigest": _NOTHING,
            "tier": self.question.tier_code,
            "rhoNano": self.question.rho_nano,
            "maxPrice": self.max_price,
            "hpkeKeyDigest": self.sealing_key_digest,
            "deadline": self.deadline_unix_s,
            "nonce": self.nonce,
        }

    @property
    def id(self) -> bytes:
        return struct_hash(self.domain, ORDER, self.typed())

    def message(self) -> genomics_pb2.Order:
        return genomics_pb2.Order(
            researcher=self.researcher,
            panel_digest=self.question.selection.panel.digest,
            selection_digest=self.question.selection.digest,
            predicate_digest=_NOTHING,
            query_class=genomics_pb2.QUERY_CLASS_COUNTS,
            purpose=PURPOSES[self.question.purpose],
            condition_digest=_NOTHING,
            # The wire counts from 1, the contracts from 0.
            tier=self.question.tier_code + 1,
            rho_nano=self.question.rho_nano,
            max_price=str(self.max_price),
            hpke_key_digest=self.sealing_key_digest,
            deadline_unix_s=self.deadline_unix_s,
            nonce=self.nonce,
        )

    def record(self, network: exchange_pb2.GetNetworkResponse) -> query_pb2.AnswerRecord:
        """What is kept of the order; an answer is added to it."""
        return query_pb2.AnswerRecord(
            network=network.network,
            order_id=self.id,
            order=self.message(),
            selection=self.question.selection_message(),
        )


def order_file(folder: Path, order_id: bytes) -> Path:
    """Where the data folder keeps an order; `locus` looks there, too."""
    return folder / "orders" / f"{order_id.hex()}.order"


def save_record(record: query_pb2.AnswerRecord, path: Path) -> None:
    """Writes a record that only its owner can read, and waits until it is on disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    payload = record.SerializeToString()
    partial = path.with_suffix(".partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(_FILE_HEAD + len(payload).to_bytes(_LENGTH_BYTES, "little") + payload)
        file.write(digest(_FILE_DOMAIN, payload))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_record(path: Path) -> query_pb2.AnswerRecord:
    """Reads a record; raises OrderError when there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise OrderError(f"nothing is recorded in {path}: use the folder from which the order was placed") from None
    head = len(_FILE_HEAD) + _LENGTH_BYTES
    payload = content[head:-_DIGEST_BYTES]
    framed = _FILE_HEAD + len(payload).to_bytes(_LENGTH_BYTES, "little") + payload + digest(_FILE_DOMAIN, payload)
    try:
        if content != framed:
            raise DecodeError
        return query_pb2.AnswerRecord.FromString(payload)
    except DecodeError:
        raise OrderError(f"{path} is no undamaged order of this version: restore it from a copy") from None
