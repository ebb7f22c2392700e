"""What a way to prove who one is has to answer; API keys, tokens and certificates are such methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from aisecure.call import Credential
from aisecure.decisions import Decision
from aisecure.errors import AuthenticationError
from aisecure.principal import Principal

__all__ = ["Answer", "Method", "refused"]

#: Who it is, or why nobody: the first reason is for the caller and the same for all, the second is for the log.
Answer = Principal | Decision


@runtime_checkable
class Method(Protocol):
    """One way to prove who one is.

    Attributes:
        name: Becomes ``Principal.method``: ``api_key``, ``jwt``, ``mtls``.
    """

    name: str

    @property
    def aauthenticate(self) -> Callable[[Credential], Awaitable[Answer]] | None:
        """As `authenticate`, for coroutines; None for a method that waits for nothing over a network."""

    def takes(self, credential: Credential) -> bool:
        """Whether a credential looks like one of this method; cheap, and proof of nothing."""

    def authenticate(self, credential: Credential) -> Answer:
        """Return the principal, or the refusal as a decision; records nothing.

        Raises:
            Unavailable: The check could not run, so nobody is let in.
        """


def refused(reason: str, *, code: str = "authn.invalid", retry_after: float | None = None) -> Decision:
    """Return a refusal.

    Args:
        reason: For the log: no secret, no personal data, nothing that the caller wrote.
        code: ``authn.invalid`` unless the caller can do something about it.
        retry_after: Seconds.
    """
    return Decision.deny(code, AuthenticationError.default_detail, reason, retry_after=retry_after)
