"""What happens to an order, whatever happens to the client; the market is a stand-in."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from locus.exchange.v1 import exchange_pb2
from locus.genomics.v1 import genomics_pb2
from locus.query.v1 import query_pb2
from locus_client import Account, Market, MarketError, OrderError, Panel, Question, Variant
from locus_client.order import load_record, order_file

ACCOUNT = Account(b"\x01" * 32, b"\x02" * 32)
PANEL = Panel("p", "GRCh38", True, tuple(Variant(1, place, "A", "C") for place in range(1, 9)), b"\x05" * 32)
PRICE = 10**18


class Refused(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__()
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "refused by the test"


class Scripted:
    """Answers every call with the next of its results; the last one again and again."""

    def __init__(self, *results: object) -> None:
        self.requests: list = []
        self._results = list(results)

    def __call__(self, request: object, timeout: float) -> object:
        self.requests.append(request)
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, grpc.StatusCode):
            raise Refused(result)
        return result


def question() -> Question:
    return Question(PANEL.select(["1:2:A:C", "1:3:A:C", "1:7:A:C"]), "HMB", "open", 10_000_000)


def stand_in(*, settles_on_cohorts: bool = False) -> Market:
    market = Market("http://127.0.0.1:1", ["http://127.0.0.1:1"] * 3)
    market.network = exchange_pb2.GetNetworkResponse(
        network=genomics_pb2.Network(chain_id=31337, registry=b"\x01" * 20),
        token=b"\x02" * 20,
        escrow=b"\x03" * 20,
        token_name="Test",
        order_lifetime_max_s=3600,
        settles_on_cohorts=settles_on_cohorts,
    )
    market.exchange.GetAccount = Scripted(exchange_pb2.GetAccountResponse(permit_nonce=0))
    market.panel = lambda name: PANEL
    return market


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes by itself here: what is waited is noted and over at once."""
    waited: list[float] = []
    monkeypatch.setattr("locus_client.market.time.sleep", waited.append)
    monkeypatch.setattr("locus_client.market.time.monotonic", lambda: sum(waited))
    return waited


def test_an_order_is_on_disk_before_it_is_paid_and_reads_back(tmp_path: Path, pauses: list[float]) -> None:
    market = stand_in()
    order = market.keep_order(ACCOUNT, question(), PRICE, tmp_path)
    path = order_file(tmp_path, order.id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert market.load_order(order.id, tmp_path) == order

    # The exchange breaks off: what is said and what is kept name the order.
    market.exchange.OpenOrder = Scripted(grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(MarketError, match="DEADLINE_EXCEEDED") as failed:
        market.place_order(ACCOUNT, question(), PRICE, tmp_path)
    tried = market.exchange.OpenOrder.requests
    assert len(tried) == 4 and len(pauses) == 3
    names = {path.stem for path in (tmp_path / "orders").iterdir()} - {order.id.hex()}
    assert len(names) == 1 and names.pop() in str(failed.value)


def test_an_order_that_an_earlier_try_has_opened_is_placed(tmp_path: Path, pauses: list[float]) -> None:
    market = stand_in()
    market.exchange.OpenOrder = Scripted(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ALREADY_EXISTS)
    market.place_order(ACCOUNT, question(), PRICE, tmp_path)
    assert len(market.exchange.OpenOrder.requests) == 2
    market.exchange.OpenOrder = Scripted(grpc.StatusCode.FAILED_PRECONDITION)
    with pytest.raises(MarketError, match="FAILED_PRECONDITION"):
        market.place_order(ACCOUNT, question(), PRICE, tmp_path)
    assert len(market.exchange.OpenOrder.requests) == 1


def test_a_market_that_settles_on_proven_cohorts_is_not_paid(tmp_path: Path) -> None:
    market = stand_in(settles_on_cohorts=True)
    market.exchange.OpenOrder = Scripted(grpc.StatusCode.ALREADY_EXISTS)
    with pytest.raises(MarketError, match="locus query counts"):
        market.place_order(ACCOUNT, question(), PRICE, tmp_path)
    assert market.exchange.OpenOrder.requests == [] and not (tmp_path / "orders").exists()
    other = stand_in()
    other.exchange.OpenOrder = market.exchange.OpenOrder
    other.place_order(ACCOUNT, question(), PRICE, tmp_path)
    assert len(other.exchange.OpenOrder.requests) == 1


def test_an_order_that_is_not_final_is_waited_for(tmp_path: Path, pauses: list[float]) -> None:
    market = stand_in()
    order = market.keep_order(ACCOUNT, question(), PRICE, tmp_path)
    summary = query_pb2.AnswerQueryResponse(summary=query_pb2.AnswerSummary(cohort_size=7))
    market.query.AnswerQuery = Scripted(*[grpc.StatusCode.NOT_FOUND] * 9, [summary])
    told: list[str] = []
    record = market.answer(ACCOUNT, order, told=told.append)
    assert record.summary.cohort_size == 7 and len(pauses) == 9
    assert len(told) == 9 and "NOT_FOUND" in told[0]
    nonces = [request.nonce for request in market.query.AnswerQuery.requests]
    assert len(set(nonces)) == 10, "every request is taken once"

    pauses.clear()
    market.query.AnswerQuery = Scripted(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(MarketError, match=order.id.hex()):
        market.answer(ACCOUNT, order, wait_s=100)
    assert 90 < sum(pauses) <= 100

    pauses.clear()
    market.query.AnswerQuery = Scripted(grpc.StatusCode.FAILED_PRECONDITION)
    with pytest.raises(MarketError, match="locus refund"):
        market.answer(ACCOUNT, order)
    assert pauses == []


def test_a_file_that_is_not_the_order_is_refused(tmp_path: Path) -> None:
    market = stand_in()
    order = market.keep_order(ACCOUNT, question(), PRICE, tmp_path)
    other = market.keep_order(ACCOUNT, question(), PRICE, tmp_path)
    path = order_file(tmp_path, order.id)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b"", whole + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(OrderError, match="restore"):
            load_record(path)
    path.write_bytes(order_file(tmp_path, other.id).read_bytes())
    with pytest.raises(OrderError, match="another order"):
        market.load_order(order.id, tmp_path)
    path.unlink()
    with pytest.raises(OrderError, match="use the folder"):
        market.load_order(order.id, tmp_path)
    elsewhere = stand_in()
    elsewhere.network.network.chain_id += 1
    with pytest.raises(OrderError, match="another market"):
        elsewhere.load_order(other.id, tmp_path)


def test_the_installed_command_starts_in_any_folder(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("locus-client")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([script, "--help"], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "fetch" in done.stdout, done.stderr
