"""The client against a market of its own: LOCUS_BINARY names the `locus` command to start it with."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from locus_client import Account, AnswerError, Market, MarketError, Question, open_answer, statement
from locus_client.market import TOKEN
from locus_client.statement import signed_request

pytestmark = pytest.mark.skipif("LOCUS_BINARY" not in os.environ, reason="LOCUS_BINARY names no `locus` command")

EXTRACT = Path(__file__).resolve().parents[4] / "services" / "locus" / "demo" / "kgp3_exome_4500"
PEOPLE = 2504
PRICE = PEOPLE * TOKEN // 2


class Running:
    """A market with the committed extract enrolled, and its researcher."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.panel = folder / "extract.panel"
        self._endpoint: list[str] = []
        self.locus("keys", "new", "--accreditor")
        accreditor = self.locus("keys", "show")["accreditor"]
        command = [os.environ["LOCUS_BINARY"], "up", "--json", "--listen", "127.0.0.1:0"]
        command += ["--data-dir", str(folder / "market"), "--accreditor", f"{accreditor}=Biobank"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        told = json.loads(self._process.stdout.readline())
        self._endpoint = ["--endpoint", told["endpoint"], "--keyholders", ",".join(told["keyholders"])]
        self.market = Market(told["endpoint"], told["keyholders"])
        source = ["--plink", str(EXTRACT)]
        self.locus("panel", "build", "--name", "extract", "--assembly", "GRCh37", *source, "--out", str(self.panel))
        terms = ["--price", "0.5", "--terms", "GRU", "--tier", "open", "--tier", "exact", "--biobank"]
        self.locus("enroll", *source, "--panel", str(self.panel), *terms)
        self.locus("fund", "100000")
        self.account = Account.open(self.home)

    def locus(self, *words: str) -> dict:
        command = [os.environ["LOCUS_BINARY"], "--json", "--data-dir", str(self.home), *self._endpoint, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def buy(self, question: Question) -> tuple:
        order = self.market.place_order(self.account, question, PRICE, self.home)
        return order, self.market.answer(self.account, order)

    def client(self, *words: str) -> subprocess.CompletedProcess:
        """Runs this client's own command."""
        command = [sys.executable, "-m", "locus_client", "--data-dir", str(self.home), *self._endpoint, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    started = Running(tmp_path_factory.mktemp("market"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def exact(running: Running) -> tuple:
    panel = running.market.panel("extract")
    return running.buy(Question(panel.select(), "HMB", "exact"))


def test_exact_counts_are_those_of_the_rust_client(running: Running, exact: tuple, tmp_path: Path) -> None:
    order, record = exact
    rows = open_answer(running.market, running.account, order, record)
    out = tmp_path / "counts.tsv"
    question = ["--panel", "extract", "--purpose", "HMB", "--tier", "exact", "--max-price", "1252"]
    running.locus("query", "counts", *question, "--out", str(out))
    lines = [line.split("\t") for line in out.read_text().splitlines()[1:]]
    expected = [(line[0], *map(int, line[5:9])) for line in lines]
    assert [(row.variant.id, row.hom_ref, row.het, row.hom_alt, row.missing) for row in rows] == expected
    assert len(rows) == 4500


def test_an_order_is_fetched_again_by_either_client(running: Running, exact: tuple, tmp_path: Path) -> None:
    panel = running.market.panel("extract")
    ids = [variant.id for variant in panel.variants[:3]]
    asked = ["--panel", "extract", "--variants", ",".join(ids), "--purpose", "HMB", "--tier", "exact"]
    refused = running.client("counts", *asked, "--max-price", "1000")
    assert refused.returncode == 1 and "nothing was paid" in refused.stderr
    bought = running.client("counts", *asked, "--max-price", "1252")
    assert bought.returncode == 0, bought.stderr
    (name,) = re.findall(r"placing order ([0-9a-f]{64})", bought.stderr)
    assert {"order": name, "state": "settled"}.items() <= next(
        order for order in running.locus("orders") if order["order"] == name
    ).items()

    fetched = running.client("fetch", name)
    assert fetched.returncode == 0, fetched.stderr
    assert json.loads(fetched.stdout) == json.loads(bought.stdout)
    out = tmp_path / "counts.tsv"
    running.locus("query", "fetch", name, "--panel", "extract", "--out", str(out))
    hets = [int(line.split("\t")[6]) for line in out.read_text().splitlines()[1:]]
    assert hets == [row["het"] for row in json.loads(bought.stdout)]
    unknown = running.client("fetch", "ab" * 32)
    assert unknown.returncode == 1 and "use the folder" in unknown.stderr


def test_noisy_counts_are_the_same_every_time_and_near_the_truth(running: Running, exact: tuple) -> None:
    panel = running.market.panel("extract")
    ids = [variant.id for variant in panel.variants[:50]]
    question = Question(panel.select(ids), "HMB", "open", 10_000_000)
    first = open_answer(running.market, running.account, *running.buy(question))
    second = open_answer(running.market, running.account, *running.buy(question))
    assert first == second
    truth = open_answer(running.market, running.account, *exact)[:50]
    errors = [noisy.het - true.het for noisy, true in zip(first, truth, strict=True)]
    # sigma = sqrt(50 / 0.01) = 71; the mean square of 50 draws stays within a factor of 2.
    assert 71**2 / 2 < sum(error**2 for error in errors) / 50 < 71**2 * 2


def test_the_statement_shows_every_use(running: Running, exact: tuple) -> None:
    said = statement(running.market, running.account, 1, 7)
    assert exact[0].id in [use.order_id for use in said.uses]
    assert all(use.price == TOKEN // 2 for use in said.uses)
    assert said.keyholders == (1, 2, 3)


def test_a_stranger_gets_no_statement(running: Running) -> None:
    stranger = Account(b"\x01" * 32, b"\x02" * 32)
    with pytest.raises(MarketError, match="PERMISSION_DENIED"):
        statement(running.market, stranger, 1, 7)


def test_a_signed_request_is_taken_once_and_by_its_keyholder_only(running: Running, exact: tuple) -> None:
    first, second, _ = running.market.keyholders
    request = signed_request(running.market, running.account, 1, 7, 1)
    first.GetStatement(request, timeout=30)
    for keyholder, reason in ((first, "made before"), (second, "registrant")):
        with pytest.raises(grpc.RpcError) as refused:
            keyholder.GetStatement(request, timeout=30)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert reason in refused.value.details()


def test_an_answer_that_was_changed_is_refused(running: Running, exact: tuple) -> None:
    order, record = exact

    def refuses(change, match: str) -> None:
        copy = type(record)()
        copy.CopyFrom(record)
        change(copy)
        with pytest.raises((AnswerError, ValueError), match=match):
            open_answer(running.market, running.account, order, copy)

    def flip_check_slot(copy) -> None:
        total = bytearray(copy.blocks[0].planes[0].body_sum)
        total[7] ^= 1
        copy.blocks[0].planes[0].body_sum = bytes(total)

    def flip_share(copy) -> None:
        sealed = bytearray(copy.blocks[0].shares[1].sealed)
        sealed[-1] ^= 1
        copy.blocks[0].shares[1].sealed = bytes(sealed)

    def grow_cohort(copy) -> None:
        copy.summary.cohort_size += 1
        copy.summary.settlement.cohort_size += 1

    def forget_signature(copy) -> None:
        del copy.summary.signatures[1:]

    refuses(flip_check_slot, "not of one cohort")
    refuses(flip_share, "does not open")
    refuses(grow_cohort, "only 0 keyholders")
    refuses(forget_signature, "only 1 keyholders")
    refuses(lambda copy: copy.blocks[1].ClearField("tau"), "does not have the parts")
    other = replace(order, nonce=order.nonce ^ 1)
    with pytest.raises(AnswerError, match="another order"):
        open_answer(running.market, running.account, other, record)
