"""A client of Locus markets: ask for quotes, buy answers and open them, read statements.

It is a second implementation, from the specifications beside the Rust crates, of everything a
researcher has to check: what is signed, what is sealed, and how counts are decoded.
"""

from .account import Account
from .answer import AnswerError, Counts, open_answer
from .market import Market, MarketError
from .order import Order, OrderError, Question
from .panel import Panel, Variant
from .statement import Statement, statement

__all__ = [
    "Account",
    "AnswerError",
    "Counts",
    "Market",
    "MarketError",
    "Order",
    "OrderError",
    "Panel",
    "Question",
    "Statement",
    "Variant",
    "open_answer",
    "statement",
]
