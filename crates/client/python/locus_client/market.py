"""A market over gRPC: panels, offers, quotes and orders."""

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import grpc

from locus.archive.v1 import archive_pb2, archive_pb2_grpc
from locus.exchange.v1 import exchange_pb2, exchange_pb2_grpc
from locus.genomics.v1 import genomics_pb2
from locus.keyholder.v1 import keyholder_pb2_grpc
from locus.query.v1 import query_pb2, query_pb2_grpc

from .account import Account
from .order import PURPOSES, Order, OrderError, Question, escrow_domain, load_record, order_file, save_record
from .panel import Panel
from .typed import ANSWER_REQUEST, ORDER, PERMIT, Domain, RequestTerms

TOKEN = 10**18
NANO = 10**9
_DEADLINE_S = 60
# The slowest chain in use takes about a quarter of an hour until an order is final.
_ANSWER_DEADLINE_S = 1800
_NOTHING = bytes(32)
# Calls that failed on their way are made this often, with pauses that double.
_TRIES_MAX = 4
_PAUSE_MIN_S = 0.5
_PAUSE_MAX_S = 4.0
_MAY_PASS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


class MarketError(Exception):
    """A service refused or cannot be reached; says what it said."""


T = TypeVar("T")


def _said(call: Callable[[], T]) -> T:
    try:
        return call()
    except grpc.RpcError as error:
        raise MarketError(_words(error)) from error


def _words(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}"


def _pause_s(tries: int) -> float:
    """Seconds to wait after this many tries."""
    return min(_PAUSE_MIN_S * 2 ** min(tries - 1, 8), _PAUSE_MAX_S)


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

    def keep_order(self, account: Account, question: Question, max_price: int, folder: Path) -> Order:
        """Makes an order and writes it to the data folder, so that nothing that is paid can get lost. Pays nothing."""
        if self.network.settles_on_cohorts:
            raise MarketError(
                "this market settles on proven cohorts, which this client cannot check, so it has paid nothing: "
                "buy with `locus query counts`"
            )
        order = Order.of(self.network, account, question, max_price)
        save_record(order.record(self.network), order_file(folder, order.id))
        return order

    def open_order(self, account: Account, order: Order) -> None:
        """Signs a kept order and a permit for its escrow, and puts both on the chain."""
        request = exchange_pb2.OpenOrderRequest(
            order=order.message(),
            signature=account.sign_typed(order.domain, ORDER, order.typed()),
            permit=self._permit(account, order.max_price, order.deadline_unix_s),
        )
        tries = 1
        while True:
            try:
                response = self.exchange.OpenOrder(request, timeout=_DEADLINE_S)
                break
            except grpc.RpcError as error:
                # A try whose answer was lost has opened it.
                if error.code() == grpc.StatusCode.ALREADY_EXISTS:
                    return
                if error.code() not in _MAY_PASS or tries == _TRIES_MAX:
                    raise MarketError(f"{_words(error)} (order {order.id.hex()})") from error
            time.sleep(_pause_s(tries))
            tries += 1
        if response.order_id != order.id:
            raise MarketError(f"the exchange gave order {order.id.hex()} another name")

    def place_order(self, account: Account, question: Question, max_price: int, folder: Path) -> Order:
        """Keeps an order in the data folder, then pays for it."""
        order = self.keep_order(account, question, max_price, folder)
        self.open_order(account, order)
        return order

    def load_order(self, order_id: bytes, folder: Path) -> Order:
        """An order that was placed from the data folder earlier."""
        record = load_record(order_file(folder, order_id))
        order = Order.of_record(self.network, self.panel(record.order.panel_digest.hex()), record)
        if order.id != order_id:
            raise OrderError(f"the file of order {order_id.hex()} holds another order")
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

    def answer(
        self,
        account: Account,
        order: Order,
        wait_s: float = _ANSWER_DEADLINE_S,
        told: Callable[[str], None] = lambda text: None,
    ) -> query_pb2.AnswerRecord:
        """Waits for the answer to an order, at most this many seconds; asking again gives the same bytes at no charge.

        An order that the market does not know is not final on the chain yet, which takes minutes on some. What is
        waited for is told.
        """
        ends = time.monotonic() + wait_s
        asked = failed = 0
        while True:
            try:
                return self._ask(account, order, max(ends - time.monotonic(), 1.0))
            except grpc.RpcError as error:
                asked += 1
                is_waiting = error.code() == grpc.StatusCode.NOT_FOUND
                failed += not is_waiting
                may_pass = is_waiting or (error.code() in _MAY_PASS and failed < _TRIES_MAX)
                pause_s = _pause_s(asked)
                if not may_pass or time.monotonic() + pause_s > ends:
                    advice = f"fetch the answer to order {order.id.hex()} later, or get its escrow back with `locus refund`"
                    raise MarketError(f"{_words(error)} ({advice})") from error
                told(f"no answer yet: {_words(error)}")
            time.sleep(pause_s)

    def _ask(self, account: Account, order: Order, timeout_s: float) -> query_pb2.AnswerRecord:
        """Asks once. Every request is signed anew, because each is taken once."""
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
        events = list(self.query.AnswerQuery(request, timeout=timeout_s))
        record = order.record(self.network)
        record.blocks.extend(event.block for event in events if event.HasField("block"))
        summaries = [event.summary for event in events if event.HasField("summary")]
        if len(summaries) != 1:
            raise MarketError(f"the answer to order {order.id.hex()} has no end: fetch it again, it costs nothing")
        record.summary.CopyFrom(summaries[0])
        return record


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
