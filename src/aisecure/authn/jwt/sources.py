"""Where the keys of an issuer come from, and those that were given once and for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aisecure.authn.jwt.errors import BadKeys
from aisecure.authn.jwt.key_set import KeySet, read_key_set
from aisecure.errors import Misconfigured

__all__ = ["FixedKeys", "KeySource"]


class KeySource(Protocol):
    """The keys of an issuer, as they are now.

    Attributes:
        over_network: Whether an answer may have to be waited for.
    """

    over_network: bool

    def current(self, *, wait: bool) -> KeySet | None:
        """Return the keys; the same object as long as they are the same. None when they have to be waited for and ``wait`` is False.

        Raises:
            Unavailable: There are none that may be used.
        """

    def after_unknown(self, keys: KeySet, *, wait: bool) -> KeySet | None:
        """Return the keys after looking once more, since ``keys`` lack one; the same ones when it is too early to look again.

        None when they have to be waited for and ``wait`` is False.
        """

    def health(self) -> dict[str, Any]:
        """Return whether there are keys, under ``ok``, and how many."""


class FixedKeys:
    """Keys that stand in the configuration.

    Args:
        jwks: A JWK set (RFC 7517 section 5); with secrets (``oct``) for HMAC, which no issuer publishes.
        algorithms: Those allowed.

    Raises:
        Misconfigured: None of the keys can be used.
    """

    over_network = False

    def __init__(self, jwks: Mapping[str, Any], algorithms: Sequence[str]) -> None:
        if not isinstance(jwks, Mapping):
            raise TypeError('jwks: give a JWK set, {"keys": [...]}')
        try:
            self._keys = read_key_set(jwks, algorithms, secrets=True)
        except BadKeys as err:
            raise Misconfigured(
                f"jwks: the key set {err}; give public keys that fit the algorithms", code="config.jwks"
            ) from None

    def current(self, *, wait: bool) -> KeySet:
        """Return the keys."""
        return self._keys

    def after_unknown(self, keys: KeySet, *, wait: bool) -> KeySet:
        """Return the same keys."""
        return self._keys

    def health(self) -> dict[str, Any]:
        """Return how many keys there are."""
        return {"ok": True, "keys": len(self._keys)}
