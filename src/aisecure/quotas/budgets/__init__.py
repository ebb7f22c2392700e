"""Budgets of tokens and money: what a call may cost at most is held before it, what it cost is booked after it.

What users need of it is in `aisecure.quotas`; here are the records for those who keep budgets elsewhere.
"""

from __future__ import annotations

from aisecure.quotas.budgets.ledger import (
    Account,
    Answer,
    Balance,
    Bill,
    Done,
    Entry,
    Line,
    Reservation,
    Settled,
)

__all__ = ["Account", "Answer", "Balance", "Bill", "Done", "Entry", "Line", "Reservation", "Settled"]
