"""The client's end: servers are verified, by name and, if wanted, by the very key they are known to have."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Iterable
from typing import Any

from aisecure.encryption.tls.floor import FlooredContext, Minimum
from aisecure.encryption.tls.material import checked_pins, load_chain, pin_of, read_anchors
from aisecure.events import Result, SecurityEvent
from aisecure.ports import EventSink, discard

__all__ = ["PinMismatch", "client_context"]


class PinMismatch(ssl.SSLCertVerificationError):
    """The server proved a name that is right with a key that is not pinned; nothing was sent to it.

    A ``ssl.SSLError``, so that every HTTP client treats it as the failed handshake it is.
    """

    code = "tls.pin_mismatch"


def client_context(
    *,
    ca: str | os.PathLike[str] | None = None,
    pins: Iterable[str] = (),
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    password: str | bytes | None = None,
    minimum: Minimum = "1.3",
    events: EventSink = discard,
) -> ssl.SSLContext:
    """Return a context for connections to servers; it fits wherever an ``ssl.SSLContext`` does.

    The server's chain and name are verified. Later attempts to switch that off, to allow an older version or to trust
    more certificates than were named here raise `Misconfigured`.

    Args:
        ca: PEM file of the only certificates to trust, for a private authority; the system's when None.
        pins: Public keys of which the server must have one, see `pin_of`; at least two, one of them a key that is kept
            offline as a backup. They are compared with the server's own certificate, not with its issuers: to trust
            one issuer only, name it in ``ca``. The comparison ends the handshake, before anything is sent; only the own client
            certificate has been shown by then.
        certificate: PEM file of the own certificate, for servers that ask for one.
        key: PEM file of its private key, mode 0600; None when it stands in the file of the certificate.
        password: Of an encrypted key.
        minimum: Oldest version to speak. With ``"1.2"``, that version is limited to ephemeral key agreement and
            authenticated encryption.
        events: Where ``tls.pin_mismatch`` goes.

    Raises:
        Misconfigured: A file or a pin cannot be used; the text says why and what to do.
        Unavailable: The disk failed.

    >>> context = client_context()
    >>> context.minimum_version.name, context.check_hostname
    ('TLSv1_3', True)
    """
    context = _ClientContext(ssl.PROTOCOL_TLS_CLIENT, minimum=minimum, pins=checked_pins(pins), events=events)
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=read_anchors(ca))
    if certificate is not None:
        load_chain(context, certificate, key, password, now=time.time())
    elif key is not None or password is not None:
        raise TypeError("client_context: a key belongs to a certificate; give both")
    context._seal(own_anchors=ca is not None)  # noqa: SLF001  (of our own class)
    return context


class _ClientContext(FlooredContext):
    def __init__(self, protocol: Any, *, minimum: Minimum, pins: frozenset[str], events: EventSink) -> None:
        super().__init__(protocol, minimum=minimum)
        self.pins = pins
        self.events = events
        if pins:
            self.sslsocket_class = _PinnedSocket
            self.sslobject_class = _PinnedObject

    def _weakens(self, name: str, value: Any) -> bool:
        return name == "pins" or super()._weakens(name, value)


def _require_pin(context: Any, der: bytes | None, host: str | None) -> None:
    seen = pin_of(der) if der else ""
    if seen in context.pins:
        return
    event = SecurityEvent(
        "tls.pin_mismatch", result=Result.FAILURE, detail={"host": host or "", "seen": seen}
    )
    # The handshake fails either way, and as an error of TLS: asyncio would leave a connection open after any other.
    with contextlib.suppress(Exception):
        context.events.record(event)
    raise PinMismatch(
        f"the server's public key {seen} is none of the {len(context.pins)} pinned; if its key was changed on purpose, add the pin"
    )


class _PinnedSocket(ssl.SSLSocket):
    """Refuses to carry a byte before the pin was seen; OpenSSL would shake hands on the first write by itself."""

    _pinned = False

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  (the signature of ssl)
        super().do_handshake(block)
        _require_pin(self.context, self.getpeercert(binary_form=True), self.server_hostname)
        self._pinned = True

    def read(self, *args: Any, **kwargs: Any) -> Any:
        self._before_use()
        return super().read(*args, **kwargs)

    def write(self, data: Any) -> int:
        self._before_use()
        return super().write(data)

    def send(self, data: Any, flags: int = 0) -> int:
        self._before_use()
        return super().send(data, flags)

    def _before_use(self) -> None:
        # Without a TLS object it is a bare socket: not connected yet, or unwrapped at the owner's wish.
        if not self._pinned and getattr(self, "_sslobj", None) is not None:
            self.do_handshake()


class _PinnedObject(ssl.SSLObject):
    """The same without a socket, as asyncio uses it."""

    _pinned = False

    def do_handshake(self) -> None:
        super().do_handshake()
        _require_pin(self.context, self.getpeercert(binary_form=True), self.server_hostname)
        self._pinned = True

    def read(self, *args: Any, **kwargs: Any) -> Any:
        if not self._pinned:
            self.do_handshake()
        return super().read(*args, **kwargs)

    def write(self, data: Any) -> int:
        if not self._pinned:
            self.do_handshake()
        return super().write(data)
