"""The Protocols through which the concerns meet; no concern imports another.

A user may supply any of them. `Ports` is the bundle that `config.py` hands to each concern's ``build``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from aisecure.decisions import Finding
    from aisecure.events import SecurityEvent
    from aisecure.notices import Notices
    from aisecure.storage import Storage

__all__ = ["Cipher", "Clock", "EventSink", "Ports", "SystemClock", "TextFilter", "discard"]


class Clock(Protocol):
    """Time as a parameter. Limits use ``monotonic``; records use ``time``."""

    def time(self) -> float:
        """Return seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""


class SystemClock:
    """The machine's clocks."""

    def time(self) -> float:
        """Return seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()


@runtime_checkable
class EventSink(Protocol):
    """Where events go."""

    def record(self, event: SecurityEvent) -> object:
        """Take the event; what is returned is the sink's own affair.

        Raises:
            Unavailable: It could not be stored; the caller fails closed.
        """


class TextFilter(Protocol):
    """A transform of a text that arrives in pieces.

    The law: ``"".join(map(f.feed, pieces)) + f.finish()`` is the same for every way of cutting the text.
    """

    def feed(self, chunk: str) -> str:
        """Take a piece, return the text that no continuation can change any more.

        Raises:
            Denied: The stream must end here.
        """

    def finish(self) -> str:
        """Return what was held back; call once, at the end."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, with offsets into the whole text."""


class Cipher(Protocol):
    """Encryption of one field, bound to its place."""

    def encrypt(self, plaintext: str, *, context: tuple[str | int, ...] = ()) -> str:
        """Return a text token."""

    def decrypt(self, token: str, *, context: tuple[str | int, ...] = ()) -> str:
        """Return the plaintext.

        Raises:
            DecryptionError: For every reason alike.
        """

    def encrypt_bytes(self, data: bytes, *, context: tuple[str | int, ...] = ()) -> bytes:
        """Return a binary token, for BLOB columns."""

    def decrypt_bytes(self, token: bytes, *, context: tuple[str | int, ...] = ()) -> bytes:
        """Return the bytes of a binary token.

        Raises:
            DecryptionError: For every reason alike.
        """


class _Discard:
    """A sink that keeps nothing."""

    def record(self, event: SecurityEvent) -> None:
        return None


#: The sink of a guard that is used alone, without a shield and without a log.
discard: EventSink = _Discard()


@dataclass(frozen=True, slots=True)
class Ports:
    """What a concern's ``build(settings, ports)`` may use.

    Attributes:
        data_dir: Folder of everything stored; relative paths in settings are taken from ``base_dir``.
        base_dir: Folder of the configuration file.
        storage: The embedded database, opened on first use.
        notices: Change notices between objects and processes.
        clock: Time.
        events: Where events of the concern itself go (key created, policy loaded).
    """

    data_dir: Path
    base_dir: Path
    storage: Callable[[], Storage]
    notices: Notices
    clock: Clock = field(default_factory=SystemClock)
    events: EventSink = discard
