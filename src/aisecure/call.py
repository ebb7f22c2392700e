"""What is being asked: a Call, and the context in which code runs on somebody's behalf."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from aisecure._value import value
from aisecure.errors import AuthenticationError
from aisecure.principal import Principal

__all__ = ["Call", "Context", "Credential", "acting_as", "current_context", "known_principal"]


_IDS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller showed to prove who they are. It never prints its values and never reaches an event.

    Attributes:
        scheme: Lower-case name: ``bearer``, ``dpop``, ``api_key``, or ``mtls`` when a certificate is all there is.
        value: The secret itself; empty for ``mtls``.
        proofs: Values of every ``DPoP`` header (RFC 9449).
        method: HTTP method of the request, as a proof has to name it; empty outside of HTTP.
        url: Its address without query and fragment, as a proof has to name it; empty when unknown.
        certificate: The peer's certificate in DER, as the TLS connection or a trusted proxy established it; empty
            when there is none.
    """

    scheme: str
    value: str = field(repr=False)
    proofs: tuple[str, ...] = field(default=(), repr=False)
    method: str = field(default="", repr=False)
    url: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)


@value
class Context:
    """On whose behalf, and as part of which request, the current code runs.

    Attributes:
        principal: Who is calling.
        source: Client address, as one trusted place established it; empty when unknown.
        request_id: Ties everything of one request together.
        conversation: Identifier of the conversation, if there is one.
        trace: W3C ``traceparent`` value, if there is one.
    """

    principal: Principal = Principal.anonymous()
    source: str = ""
    request_id: str = ""
    conversation: str = ""
    trace: str = ""

    def call(self, action: str, resource: str, input: Any = None) -> Call:
        """Return a call that is made in this context."""
        return Call(
            self.principal,
            action,
            resource,
            input,
            self.source,
            self.request_id,
            self.conversation,
            self.trace,
        )


@value
class Call:
    """A principal asks for an action on a resource, with an input.

    Attributes:
        principal: Who is calling.
        action: ``invoke``, ``read``, ``train`` ...
        resource: ``model:support-bot``, ``tool:send_email``, ``document:42``.
        input: Any object; `aisecure.content` knows how to walk it.
        source: Client address; empty when unknown.
        request_id: Ties everything of one request together.
        conversation: Identifier of the conversation, if there is one.
        trace: W3C ``traceparent`` value, if there is one.
        credential: What the caller showed; authentication guards consume it and set ``principal``.
        id: Unique in this process and kept by every changed copy: the key for a guard's per-call state.
    """

    principal: Principal
    action: str
    resource: str
    input: Any = field(default=None, repr=False)
    source: str = field(default="", repr=False)
    request_id: str = ""
    conversation: str = ""
    trace: str = ""
    credential: Credential | None = field(default=None, repr=False)
    id: str = field(default_factory=lambda: str(next(_IDS)), repr=False)

    def with_input(self, value: Any) -> Call:
        """Return the same call with another input."""
        return self._copy(self.principal, value, self.credential)

    def with_principal(self, principal: Principal) -> Call:
        """Return the same call made by an established principal, with the credential consumed."""
        return self._copy(principal, self.input, None)

    def _copy(self, principal: Principal, value: Any, credential: Credential | None) -> Call:
        # Spelled out: dataclasses.replace takes six times as long, and every call comes through here.
        return Call(
            principal,
            self.action,
            self.resource,
            value,
            self.source,
            self.request_id,
            self.conversation,
            self.trace,
            credential,
            self.id,
        )


_NOBODY = Context()
_CURRENT: ContextVar[Context] = ContextVar("aisecure_context", default=_NOBODY)


def current_context() -> Context:
    """Return the context that the innermost `acting_as` set, or one of nobody."""
    return _CURRENT.get()


def known_principal() -> Principal:
    """Return on whose behalf the code runs.

    Raises:
        AuthenticationError: Nobody's.
    """
    principal = current_context().principal
    if principal.is_anonymous:
        raise AuthenticationError
    return principal


def new_request_id() -> str:
    """Return a fresh request id: 128 random bits as hexadecimal."""
    return secrets.token_hex(16)


@contextmanager
def acting_as(
    principal: Principal,
    *,
    source: str | None = None,
    request_id: str | None = None,
    conversation: str | None = None,
    trace: str | None = None,
) -> Iterator[Context]:
    """Run a block on behalf of a principal; adapters do this for every request.

    What is not given is inherited from the surrounding context, so that an inner change of principal
    keeps the request it belongs to.

    >>> with acting_as(Principal("u-17")) as context:
    ...     current_context() is context
    True
    """
    if not isinstance(principal, Principal):
        raise TypeError("acting_as takes a Principal")
    outer = _CURRENT.get()
    context = Context(
        principal,
        outer.source if source is None else source,
        (outer.request_id or new_request_id()) if request_id is None else request_id,
        outer.conversation if conversation is None else conversation,
        outer.trace if trace is None else trace,
    )
    token = _CURRENT.set(context)
    try:
        yield context
    finally:
        _CURRENT.reset(token)
