"""A market over gRPC: panels, offers, quotes and orders."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TypeVar

import grpc

from locus.archive.v1 import archive_pb2, archive_pb2_grpc
from locus.exchange.v1 import exchange_pb2, exchange_pb2_grpc
from locus.genomics.v1 import genomics_pb2
from locus.keyholder.v1 import keyholder_pb2_grpc
from locus.query.v1 import query_pb2, query_pb2_grpc

from .account import Account
from .panel import Panel, Selection
from .typed import ANSWER_REQUEST, ORDER, PERMIT, Domain, RequestTerms, struct_hash

TOKEN = 10**18
NANO = 10**9
TIERS = ("open", "vetted", "exact")
# Codes of genomics specification, clause 8.
PURPOSES = {"NRES": 0, "GRU": 1, "HMB": 2, "DS": 3, "POA": 4}
_DEADLINE_S = 60
_ANSWER_DEADLINE_S = 1800
_CLOCK_SKEW_S = 30
_NOTHING = bytes(32)


class MarketError(Exception):
    """A service refused or cannot be reached; says what it said."""


T = TypeVar("T")


def _said(call: Callable[[], T]) -> T:
    try:
        return call()
    except grpc.RpcError as error:
        raise MarketError(f"{error.code().name}: {error.details()}") from error


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


class Market:
    """Connections to a market and its three keyholders."""

    def __init__(self, endpoint: str, keyholders: list[str]) -> None:
        channel = _channel(endpoint)
        self.archive = archive_pb2_grpc.ArchiveServiceStub(channel)
        self.exchange = exchange_pb2_grpc.ExchangeServiceStub(channel)
        self.query = query_pb2_grpc.QueryServiceStub(channel)
        self.keyholders = [keyholder_pb2_grpc.KeyholderServiceStub(_channel(url)) for url in keyholders]

    @cached_property
    def network(self) -> exchange_pb2.GetNetworkResponse:
        """Contracts, rules and keyholders."""
        return _said(lambda: self.exchange.GetNetwork(exchange_pb2.GetNetworkRequest(), timeout=_DEADLINE_S))

    @property
    def escrow_domain(self) -> Domain:
        return Domain("LocusQueryEscrow", self.network.network.chain_id, self.network.escrow)

    def panel(self, name: str) -> Panel:
        """Fetches the panel with this name or digest and checks that it has that digest."""
        listed = _said(lambda: self.archive.ListPanels(archive_pb2.ListPanelsRequest(), timeout=_DEADLINE_S)).panels
        found = [entry for entry in listed if name in (entry.name, entry.panel_digest.hex())]
        if len(found) != 1:
            raise MarketError(f"{len(found)} published panels are called {name}: give a digest")
        wanted = found[0].panel_digest
        request = archive_pb2.GetPanelRequest(panel_digest=wanted)
        chunks = _said(lambda: [part.chunk for part in self.archive.GetPanel(request, timeout=_DEADLINE_S)])
        panel = Panel.parse(b"".join(chunks))
        if panel.digest != wanted:
            raise MarketError("the archive sent another panel")
        return panel

    def offers(self, panel: Panel | None = None) -> Iterator[exchange_pb2.ListOffersResponse.Entry]:
        """All offers in force, page by page."""
        token = ""
        while True:
            digest = panel.digest if panel else b""
            request = exchange_pb2.ListOffersRequest(panel_digest=digest, page_token=token)
            page = _said(lambda request=request: self.exchange.ListOffers(request, timeout=_DEADLINE_S))
            yield from page.offers
            token = page.next_page_token
            if not token:
                return

    def quote(self, researcher: bytes, question: Question) -> query_pb2.QuoteQueryResponse:
        """Cohort, price, noise and predicted error, before paying."""
        request = query_pb2.QuoteQueryRequest(
            researcher=researcher,
            panel_digest=question.selection.panel.digest,
            selection=question.selection_message(),
            query_class=genomics_pb2.QUERY_CLASS_COUNTS,
            purpose=PURPOSES[question.purpose],
            condition_digest=_NOTHING,
            # The wire counts from 1, the contracts from 0.
            tier=question.tier_code + 1,
            rho_nano=question.rho_nano,
        )
        return _said(lambda: self.query.QuoteQuery(request, timeout=_DEADLINE_S))

    def place_order(self, account: Account, question: Question, max_price: int) -> "Order":
        """Signs an order and a permit for its escrow, and puts both on the chain."""
        order = Order.of(self, account, question, max_price)
        request = exchange_pb2.OpenOrderRequest(
            order=order.message(),
            signature=account.sign_typed(self.escrow_domain, ORDER, order.typed()),
            permit=self._permit(account, max_price, order.deadline_unix_s),
        )
        response = _said(lambda: self.exchange.OpenOrder(request, timeout=_DEADLINE_S))
        if response.order_id != order.id:
            raise MarketError("the exchange gave the order another name")
        return order

    def _permit(self, account: Account, value: int, deadline_unix_s: int) -> exchange_pb2.Permit:
        request = exchange_pb2.GetAccountRequest(account=account.address)
        state = _said(lambda: self.exchange.GetAccount(request, timeout=_DEADLINE_S))
        domain = Domain(self.network.token_name, self.network.network.chain_id, self.network.token)
        message = {
            "owner": "0x" + account.address.hex(),
            "spender": "0x" + self.network.escrow.hex(),
            "value": value,
            "nonce": state.permit_nonce,
            "deadline": deadline_unix_s,
        }
        signature = account.sign_typed(domain, PERMIT, message)
        return exchange_pb2.Permit(value=str(value), deadline_unix_s=deadline_unix_s, signature=signature)

    def answer(self, account: Account, order: "Order") -> query_pb2.AnswerRecord:
        """Waits for the answer to an order; asking again gives the same bytes at no charge."""
        terms = RequestTerms.fresh()
        network = self.network.network
        domain = Domain("LocusQuery", network.chain_id, network.registry)
        request = query_pb2.AnswerQueryRequest(
            order_id=order.id,
            selection=order.question.selection_message(),
            hpke_public_key=account.sealing_key.public,
            deadline_unix_s=terms.deadline_unix_s,
            nonce=terms.nonce,
            signature=account.sign_typed(domain, ANSWER_REQUEST, {"orderId": order.id, **terms.fields()}),
        )
        events = _said(lambda: list(self.query.AnswerQuery(request, timeout=_ANSWER_DEADLINE_S)))
        record = query_pb2.AnswerRecord(
            network=self.network.network,
            order_id=order.id,
            order=order.message(),
            selection=order.question.selection_message(),
            blocks=[event.block for event in events if event.HasField("block")],
        )
        summaries = [event.summary for event in events if event.HasField("summary")]
        if len(summaries) != 1:
            raise MarketError("the answer has no end: ask again, it costs nothing")
        record.summary.CopyFrom(summaries[0])
        return record


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
    def of(cls, market: Market, account: Account, question: Question, max_price: int) -> "Order":
        lifetime_s = market.network.order_lifetime_max_s - _CLOCK_SKEW_S
        return cls(
            question=question,
            researcher=account.address,
            max_price=max_price,
            sealing_key_digest=account.sealing_key.digest,
            deadline_unix_s=int(time.time()) + lifetime_s,
            nonce=secrets.randbits(64),
            domain=market.escrow_domain,
        )

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
            tier=self.question.tier_code + 1,
            rho_nano=self.question.rho_nano,
            max_price=str(self.max_price),
            hpke_key_digest=self.sealing_key_digest,
            deadline_unix_s=self.deadline_unix_s,
            nonce=self.nonce,
        )


def parse_tokens(text: str) -> int:
    """Tokens as people write them, in base units."""
    amount = Decimal(text) * TOKEN
    if amount != amount.to_integral_value() or amount < 0:
        raise ValueError(f"{text} is not an amount of tokens")
    return int(amount)


def _channel(url: str) -> grpc.Channel:
    options = [("grpc.max_receive_message_length", 64 << 20)]
    if url.startswith("https://"):
        return grpc.secure_channel(url.removeprefix("https://"), grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(url.removeprefix("http://"), options)
