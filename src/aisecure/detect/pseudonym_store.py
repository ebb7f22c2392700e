"""What a place that keeps pseudonyms has to do; `Storage` and SQL databases are such places."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["PseudonymStore", "ValueDigest"]


class ValueDigest(NamedTuple):
    """Which value a pseudonym stands for, and whose it is: keyed digests, from which neither is read.

    Attributes:
        owner: Digest of the tenant.
        scope: Digest of tenant, conversation and principal.
        label: What kind of value it is, such as ``EMAIL``.
        digest: Digest of scope, label and value.
    """

    owner: bytes
    scope: bytes
    label: str
    digest: bytes

    def __repr__(self) -> str:
        return f"ValueDigest(label={self.label!r})"


@runtime_checkable
class PseudonymStore(Protocol):
    """Keeps numbers and tokens. Every method raises `Unavailable` when it cannot do its work, and then has changed nothing.

    Times are whole seconds. A pseudonym whose time is up is as if it were not there, deleted or not.

    Attributes:
        over_network: Whether asking may take a while, so that coroutines ask in a thread.
    """

    over_network: bool

    def number_of(
        self, value: ValueDigest, *, now: int, expires: int, is_reserved: Callable[[int], bool]
    ) -> tuple[int, bool]:
        """Return the number of a value, and whether its token is stored already; the value is kept until ``expires``.

        One that has no number gets the first after the highest of its scope and label that is not reserved. All that ask
        for one value at once, from whatever process, get the same number, and for different values different ones.
        """

    def keep(self, value: ValueDigest, number: int, token: str) -> None:
        """Store the token of a number, unless it has one, or the number is another value's by now."""

    def rows(self, scope: bytes, now: int) -> list[tuple[str, int, str]]:
        """Return label, number and token of everything in a scope that has a token."""

    def erase(self, scope: bytes) -> int:
        """Delete a scope; return how many pseudonyms it had."""

    def erase_tenant(self, tenant: bytes) -> int:
        """Delete what a tenant has; return how many pseudonyms."""

    def purge(self, now: int) -> int:
        """Delete what is past its time; return how many pseudonyms."""
