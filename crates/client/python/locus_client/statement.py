"""Who has used a dataset: the keyholders' books, compared with each other."""

import time
from dataclasses import dataclass

import grpc

from locus.keyholder.v1 import keyholder_pb2

from .account import Account
from .frame import digest
from .market import Market, MarketError


@dataclass(frozen=True)
class Use:
    """One answer that counted the dataset."""

    order_id: bytes
    researcher: bytes
    purpose: int
    tier: int
    price: int
    rho_nano: int
    variant_count: int


@dataclass(frozen=True)
class Statement:
    """Uses and privacy budget, as the keyholders that answered report them."""

    uses: tuple[Use, ...]
    rho_spent_nano: int
    rho_left_nano: int
    # Keyholders whose book is the same.
    keyholders: tuple[int, ...]


def statement(market: Market, account: Account, registration: int, ordinal: int) -> Statement:
    """Asks every keyholder; fails when none answers or two disagree."""
    now = int(time.time())
    network = market.network.network
    signed = digest(
        "locus/wire/statement-request/v1",
        network.chain_id.to_bytes(8, "little"),
        network.registry,
        account.address,
        registration.to_bytes(8, "little"),
        ordinal.to_bytes(4, "little"),
        now.to_bytes(8, "little"),
    )
    request = keyholder_pb2.GetStatementRequest(
        registration_id=registration, ordinal=ordinal, time_unix_s=now, signature=account.sign_digest(signed)
    )
    books: dict[int, Statement] = {}
    refusals = []
    for index, keyholder in enumerate(market.keyholders, start=1):
        try:
            book = keyholder.GetStatement(request, timeout=30)
        except grpc.RpcError as error:
            refusals.append(f"keyholder {index}: {error.code().name}: {error.details()}")
            continue
        books[index] = Statement(
            tuple(_use(use) for use in book.uses), book.rho_spent_lifetime_nano, book.rho_left_lifetime_nano, ()
        )
    if not books:
        raise MarketError("; ".join(refusals))
    if len(set(books.values())) > 1:
        raise MarketError("the keyholders' books differ: compare them with `locus statement`")
    first = next(iter(books.values()))
    return Statement(first.uses, first.rho_spent_nano, first.rho_left_nano, tuple(books))


def _use(use: keyholder_pb2.Use) -> Use:
    return Use(use.order_id, use.researcher, use.purpose, use.tier, int(use.price), use.rho_nano, use.variant_count)
