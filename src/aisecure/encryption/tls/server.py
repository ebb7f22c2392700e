"""The server's end: its certificate, the clients it asks for one, and renewal without a restart."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from aisecure.encryption.tls.floor import FlooredContext, Minimum
from aisecure.encryption.tls.material import CertificateFacts, load_chain, read_anchors
from aisecure.errors import AISecureError, Misconfigured
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard

__all__ = ["ServerContext", "server_context"]

#: A renewed file is seen by the first handshake after this many seconds; looking costs three calls of stat.
WATCH_SECONDS = 1.0


class _Files(NamedTuple):
    """Where the material comes from, to read it again."""

    certificate: Path
    key: Path | None
    client_ca: Path | None
    password: str | bytes | None

    def __repr__(self) -> str:
        return f"_Files({str(self.certificate)!r})"

    def stamp(self) -> tuple[object, ...]:
        """Return what changes when a file is replaced, also through a link as certbot does it, or its mode is set right."""
        out: list[object] = []
        for path in (self.certificate, self.key, self.client_ca):
            try:
                status = os.stat(path) if path is not None else None  # noqa: PTH116  (once a second, in a handshake)
            except (OSError, ValueError):  # absent, or no name of a file: reading says so
                status = None
            out.append(status and (status.st_ino, status.st_ctime_ns, status.st_size))
        return tuple(out)


class ServerContext(FlooredContext):
    """A server's context that serves the renewed certificate once its files change; made by `server_context`.

    A handshake looks at the files at most once in `WATCH_SECONDS`. Files that do not fit each other, as while they are
    being replaced, or that are expired, are left alone and told by ``tls.certificate_refused``: the last good pair serves on.
    """

    def __init__(
        self,
        protocol: Any,
        *,
        files: _Files,
        minimum: Minimum,
        alpn: tuple[str, ...],
        clock: Clock,
        events: EventSink,
    ) -> None:
        super().__init__(protocol, minimum=minimum)
        # Ticket keys of OpenSSL live as long as the process, so that whoever gets them reads all sessions of TLS 1.2
        # (RFC 9325 section 3.4), and a resumed session would outlive the client's certificate. So none is issued.
        self.options |= ssl.OP_NO_TICKET
        self.num_tickets = 0
        self._settings: dict[str, Any] = {"minimum": minimum, "clock": clock, "events": events}
        self._files = files
        self._clock = clock
        self._events = events
        self._alpn = alpn
        self._stamp = files.stamp()  # before reading: what changes meanwhile is read again
        self._looked = clock.monotonic()
        self._turn = threading.Lock()
        self._renewed: ServerContext | None = None
        self._facts = load_chain(self, files.certificate, files.key, files.password, now=clock.time())
        if files.client_ca is not None:
            self.load_verify_locations(cadata=read_anchors(files.client_ca))
            self.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            super().set_alpn_protocols(list(alpn))
        self.sni_callback = _choose
        self._seal(own_anchors=True)

    def __repr__(self) -> str:
        return f"ServerContext({str(self._files.certificate)!r})"

    @property
    def certificate(self) -> CertificateFacts:
        """What the certificate says that is served now; ask its ``days_left`` in a health check."""
        current = self._renewed or self
        return current._facts  # noqa: SLF001  (another of this class)

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Set the protocols to offer, also for certificates that are renewed later."""
        self._alpn = tuple(alpn_protocols)
        for context in (self, self._renewed):
            if context is not None:
                ssl.SSLContext.set_alpn_protocols(context, list(self._alpn))

    def reload(self) -> CertificateFacts:
        """Read the files again, and serve what they hold from the next handshake on; return what it is.

        Handshakes do it by themselves; call it to learn at once whether new files are usable.

        Raises:
            Misconfigured: They are not; the last good pair serves on.
            Unavailable: The disk failed.
        """
        with self._turn:
            return self._read_again()

    def _read_again(self) -> CertificateFacts:
        self._stamp = self._files.stamp()
        try:
            # A context of its own: OpenSSL does not allow changing one that other threads shake hands with.
            renewed = ServerContext(
                ssl.PROTOCOL_TLS_SERVER, files=self._files, alpn=self._alpn, **self._settings
            )
        except AISecureError as err:
            self._tell("tls.certificate_refused", Result.FAILURE, {"reason": err.code})
            raise
        self._renewed = renewed
        self._tell(
            "tls.certificate_loaded", Result.SUCCESS, {"not_after": renewed._facts.not_after.isoformat()}
        )
        return renewed._facts

    def _tell(self, event_type: str, result: Result, detail: dict[str, str]) -> None:
        detail["file"] = str(self._files.certificate)
        # In a handshake there is nobody to tell that the log is down, and the certificate is as good as before.
        with contextlib.suppress(Exception):
            self._events.record(
                SecurityEvent(event_type, time=self._clock.time(), result=result, detail=detail)
            )

    def _current(self) -> ServerContext:
        now = self._clock.monotonic()
        if now - self._looked >= WATCH_SECONDS and self._turn.acquire(blocking=False):
            try:
                self._looked = now
                if self._files.stamp() != self._stamp:
                    with contextlib.suppress(AISecureError):  # told by its event
                        self._read_again()
            finally:
                self._turn.release()
        return self._renewed or self


def _choose(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    """Give a connection the newest certificate; OpenSSL calls this in each handshake, also without a server name."""
    if isinstance(context, ServerContext):
        current = context._current()  # noqa: SLF001  (of our own class)
        if current is not context:
            connection.context = current


def server_context(
    certificate: str | os.PathLike[str],
    key: str | os.PathLike[str] | None = None,
    *,
    client_ca: str | os.PathLike[str] | None = None,
    minimum: Minimum = "1.3",
    password: str | bytes | None = None,
    alpn: Iterable[str] | None = None,
    clock: Clock | None = None,
    events: EventSink = discard,
) -> ServerContext:
    """Return a context for a server, which follows its certificate's renewal by itself.

    Args:
        certificate: PEM file: the server's certificate first, then those of its issuers (certbot's ``fullchain.pem``).
        key: PEM file of the private key, mode 0600; None when it stands in the file of the certificate.
        client_ca: PEM file of the authorities whose clients may connect. When given, a client without a valid
            certificate is refused; under TLS 1.3 the client learns it with its first read.
        minimum: Oldest version to accept. With ``"1.2"``, that version is limited to ephemeral key agreement and
            authenticated encryption.
        password: Of an encrypted key.
        alpn: Protocols to offer, such as ``["h2", "http/1.1"]``.
        clock: Time, for tests.
        events: Where ``tls.certificate_loaded`` and ``tls.certificate_refused`` go.

    Raises:
        Misconfigured: A file cannot be used, the two do not belong together, or the certificate is outside its dates; the
            text names file and remedy.
        Unavailable: The disk failed.
    """
    if isinstance(alpn, str):
        raise TypeError("alpn is a list of protocol names")
    files = _Files(
        Path(certificate),
        None if key is None else Path(key),
        None if client_ca is None else Path(client_ca),
        password,
    )
    try:
        return ServerContext(
            ssl.PROTOCOL_TLS_SERVER,
            files=files,
            minimum=minimum,
            alpn=tuple(alpn or ()),
            clock=clock or SystemClock(),
            events=events,
        )
    except ssl.SSLError as err:
        raise Misconfigured(
            f"{certificate}: OpenSSL refuses the settings ({err.reason})", code="config.tls"
        ) from err
