"""Who has used a dataset: the keyholders' books, compared with each other."""

from dataclasses import dataclass

import grpc

from locus.keyholder.v1 import keyholder_pb2

from .account import Account
from .market import Market, MarketError
from .typed import STATEMENT_REQUEST, Domain, RequestTerms


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
    books: dict[int, Statement] = {}
    refusals = []
    for index, keyholder in enumerate(market.keyholders, start=1):
        try:
            request = signed_request(market, account, registration, ordinal, index)
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


def signed_request(
    market: Market, account: Account, registration: int, ordinal: int, keyholder: int
) -> keyholder_pb2.GetStatementRequest:
    """A request for one keyholder, which takes it once."""
    terms = RequestTerms.fresh()
    network = market.network.network
    domain = Domain("LocusKeyholder", network.chain_id, network.registry)
    message = {"registrationId": registration, "ordinal": ordinal, "keyholder": keyholder, **terms.fields()}
    return keyholder_pb2.GetStatementRequest(
        registration_id=registration,
        ordinal=ordinal,
        deadline_unix_s=terms.deadline_unix_s,
        nonce=terms.nonce,
        signature=account.sign_typed(domain, STATEMENT_REQUEST, message),
    )


def _use(use: keyholder_pb2.Use) -> Use:
    return Use(use.order_id, use.researcher, use.purpose, use.tier, int(use.price), use.rho_nano, use.variant_count)
