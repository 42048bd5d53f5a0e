"""Command line: offers, quote, counts, fetch, statement."""

import argparse
import json
import sys
from pathlib import Path

from .account import Account
from .answer import AnswerError, open_answer
from .market import NANO, TOKEN, Market, MarketError, parse_tokens
from .order import PURPOSES, TIERS, Order, OrderError, Question
from .statement import statement


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="locus-client", description=__doc__)
    parser.add_argument("--endpoint", default="http://127.0.0.1:7400", help="address of the market")
    parser.add_argument("--keyholders", help="addresses of keyholders 1, 2 and 3, separated by commas")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder made by `locus keys new`")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("offers", help="list what is on offer")
    for name in ("quote", "counts"):
        asking = commands.add_parser(name, help="ask for counts" if name == "counts" else "what counts would cost")
        asking.add_argument("--panel", required=True)
        asking.add_argument("--variants", default="all", help="all, or ids separated by commas")
        asking.add_argument("--purpose", required=True, choices=PURPOSES)
        asking.add_argument("--tier", required=True, choices=TIERS)
        asking.add_argument("--rho", type=float, default=0.0, help="privacy loss; not in the exact tier")
        if name == "counts":
            asking.add_argument("--max-price", required=True, type=parse_tokens)
    fetching = commands.add_parser("fetch", help="fetch the answer to an order again, or for the first time; costs nothing")
    fetching.add_argument("order", type=_order_id, help="the order, 64 digits")
    own = commands.add_parser("statement", help="who used a dataset of yours")
    own.add_argument("--registration", required=True, type=int)
    own.add_argument("--ordinal", default=0, type=int)
    return parser.parse_args()


def _order_id(text: str) -> bytes:
    order_id = bytes.fromhex(text.removeprefix("0x"))
    if len(order_id) != 32:
        raise ValueError(text)
    return order_id


def _question(market: Market, arguments: argparse.Namespace) -> Question:
    ids = None if arguments.variants == "all" else arguments.variants.split(",")
    selection = market.panel(arguments.panel).select(ids)
    return Question(selection, arguments.purpose, arguments.tier, round(arguments.rho * NANO))


def _buy(market: Market, account: Account, arguments: argparse.Namespace) -> Order:
    """Orders what does not cost more than it may; says which order it is before anything is paid."""
    question = _question(market, arguments)
    price = int(market.quote(account.address, question).price)
    if price > arguments.max_price:
        raise MarketError(f"the answer costs {price / TOKEN} tokens, more than --max-price: nothing was paid")
    order = market.keep_order(account, question, arguments.max_price, arguments.data_dir)
    name = order.id.hex()
    print(f"placing order {name}; if this stops, run `locus-client fetch {name}`", file=sys.stderr)
    market.open_order(account, order)
    return order


def _counts(market: Market, account: Account, order: Order) -> list[dict]:
    answer = market.answer(account, order, told=lambda text: print(text, file=sys.stderr))
    rows = open_answer(market, account, order, answer)
    return [
        {
            "id": row.variant.id,
            "hom_ref": row.hom_ref,
            "het": row.het,
            "hom_alt": row.hom_alt,
            "missing": row.missing,
        }
        for row in rows
    ]


def _run(arguments: argparse.Namespace) -> object:
    host, _, port = arguments.endpoint.rpartition(":")
    keyholders = (
        arguments.keyholders.split(",")
        if arguments.keyholders
        else [f"{host}:{int(port) + offset}" for offset in (1, 2, 3)]
    )
    market, account = Market(arguments.endpoint, keyholders), Account.open(arguments.data_dir)
    match arguments.command:
        case "offers":
            return [
                {
                    "registration": entry.offer.registration_id,
                    "people": entry.dataset_count - entry.revoked_count,
                    "price": int(entry.offer.price_counts) / TOKEN,
                    "panel": entry.panel_digest.hex(),
                }
                for entry in market.offers()
            ]
        case "quote":
            quote = market.quote(account.address, _question(market, arguments))
            return {
                "people": quote.cohort_size,
                "price": int(quote.price) / TOKEN,
                "sigma": quote.sigma_total,
                "allele_frequency_se": quote.allele_frequency_se,
                "warnings": list(quote.warnings),
            }
        case "counts":
            return _counts(market, account, _buy(market, account, arguments))
        case "fetch":
            return _counts(market, account, market.load_order(arguments.order, arguments.data_dir))
        case _:
            said = statement(market, account, arguments.registration, arguments.ordinal)
            return {
                "uses": [{"order": use.order_id.hex(), "price": use.price / TOKEN} for use in said.uses],
                "rho_spent": said.rho_spent_nano / NANO,
                "rho_left": said.rho_left_nano / NANO,
                "keyholders": said.keyholders,
            }


def main() -> None:
    """Prints the result as JSON; errors go to standard error."""
    try:
        print(json.dumps(_run(_arguments()), indent=1))
    except (AnswerError, MarketError, OrderError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
