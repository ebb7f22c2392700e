"""Names of accounts where they are kept outside of this process: digests, since keys are people."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from aisecure.quotas.budgets.ledger import Account
from aisecure.quotas.budgets.notation import BudgetLimit
from aisecure.quotas.store import canonical

__all__ = ["name_of"]


def name_of(account: Account) -> str:
    """Return 160 bits in hexadecimal, the same in every process, and different for different accounts."""
    digest = _begun(account.name, account.limit).copy()
    for part in canonical(account.subject):
        # A text, or a pair of type and digest; the first byte says which.
        plain = isinstance(part, str)
        raw = b"=" + part.encode("utf-8", "surrogatepass") if plain else b"#" + part[0].encode() + part[1]
        digest.update(_framed(raw))
    return digest.hexdigest()[:40]


@lru_cache(maxsize=1024)
def _begun(name: str, limit: BudgetLimit) -> hashlib._Hash:
    digest = hashlib.sha256(_framed(limit.id.encode()))
    digest.update(_framed(name.encode("utf-8", "surrogatepass")))
    return digest


def _framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw
