"""Nonces that a client has to put into its proofs, so that none can be made in advance (RFC 9449 section 8)."""

from __future__ import annotations

import base64
import hmac
import os

from aisecure.ports import Clock, SystemClock

__all__ = ["DpopNonces"]

_SECRET_BYTES = 32
_TIME_BYTES, _TAG_BYTES = 6, 16
_CHARS = (_TIME_BYTES + _TAG_BYTES) * 4 // 3 + 1
_PURPOSE = b"aisecure dpop nonce 1"


class DpopNonces:
    """Makes and checks nonces without keeping any: each is a time and an HMAC over it.

    A client that sends none, or one that is too old, is answered 401 with ``error="use_dpop_nonce"`` and a fresh one in
    ``DPoP-Nonce``, and tries again.

    Args:
        secret: At least 32 random bytes, the same in every process that serves one address. None makes one for
            this object, so a client that meets another process is asked to try again.
        lifetime_seconds: How long a nonce is taken.
        clock: Time.

    >>> nonces = DpopNonces(bytes(32))
    >>> nonces.accepts(nonces.fresh())
    True
    """

    def __init__(
        self, secret: bytes | None = None, *, lifetime_seconds: float = 300.0, clock: Clock | None = None
    ) -> None:
        if secret is not None and not isinstance(secret, bytes):
            raise TypeError(f"secret: give bytes, not {type(secret).__name__}")
        if secret is not None and len(secret) < _SECRET_BYTES:
            raise ValueError(f"secret: give at least {_SECRET_BYTES} random bytes")
        if not 1 <= lifetime_seconds <= 86_400:
            raise ValueError("lifetime_seconds lies between 1 and 86400")
        self._secret = os.urandom(_SECRET_BYTES) if secret is None else secret
        self._lifetime = lifetime_seconds
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"DpopNonces(lifetime_seconds={self._lifetime})"

    def fresh(self) -> str:
        """Return a nonce of now."""
        when = int(self._clock.time() * 1000).to_bytes(_TIME_BYTES, "big")
        return base64.urlsafe_b64encode(when + self._tag(when)).rstrip(b"=").decode()

    def accepts(self, nonce: object) -> bool:
        """Whether a nonce is one of ours, and young enough."""
        if not isinstance(nonce, str) or len(nonce) != _CHARS or not nonce.isascii():
            return False
        try:
            data = base64.urlsafe_b64decode(nonce + "=" * (-len(nonce) % 4))
        except ValueError:
            return False
        when, tag = data[:_TIME_BYTES], data[_TIME_BYTES:]
        if not hmac.compare_digest(tag, self._tag(when)):
            return False
        age = self._clock.time() - int.from_bytes(when, "big") / 1000
        # Below zero by the difference of two machines' clocks.
        return -60 <= age < self._lifetime

    def _tag(self, when: bytes) -> bytes:
        return hmac.digest(self._secret, _PURPOSE + when, "sha256")[:_TAG_BYTES]
