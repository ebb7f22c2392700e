"""The address of a request as its client wrote it, which a DPoP proof has to name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from aisecure.adapters._https import FORWARDED, FORWARDED_PAIR, HOST
from aisecure.adapters._origin import TrustedProxies
from aisecure.errors import Misconfigured

__all__ = ["ExternalAddress"]

_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_MAX_HEADER = 4096


class ExternalAddress:
    """Puts the address together.

    Args:
        external_url: Scheme, host and port under which clients know this service. Where it is empty they are taken from the
            request: the connection's scheme and the ``Host`` header, which a trusted proxy may correct with
            ``X-Forwarded-Proto`` and ``X-Forwarded-Host``, or ``Forwarded``.
        proxies: Whose word counts.

    Raises:
        Misconfigured: ``external_url`` is more or less than scheme, host and port.
    """

    def __init__(self, external_url: str, proxies: TrustedProxies) -> None:
        if external_url and not _ORIGIN.fullmatch(external_url.removesuffix("/")):
            raise Misconfigured(
                "external_url: write scheme and host, such as https://api.example.com", code="config.url"
            )
        self._origin = external_url.removesuffix("/")
        self._proxies = proxies

    def of(self, *, scheme: str, peer: str, path: str, headers: Callable[[str], Sequence[str]]) -> str:
        """Return the address without query; empty when it cannot be known.

        Args:
            scheme: Of the connection.
            peer: Address of the other end of the connection.
            path: As it was sent, percent-encoded.
            headers: Returns every value of a header, by its lower-case name.
        """
        if self._origin:
            return self._origin + path
        schemes: set[str] = set()
        hosts: set[str] = set()
        if self._proxies.trusts(peer):
            schemes.update(_words(headers("x-forwarded-proto")))
            hosts.update(_words(headers("x-forwarded-host")))
            for name, word in _forwarded(headers("forwarded")):
                if name in ("proto", "host"):
                    (schemes if name == "proto" else hosts).add(word)
        schemes = schemes or {scheme}
        hosts = hosts or set(headers("host"))
        # Two different words: which of them the client used cannot be known.
        if len(schemes) != 1 or len(hosts) != 1:
            return ""
        host = hosts.pop()
        return f"{schemes.pop()}://{host}{path}" if HOST.fullmatch(host) else ""


def _words(values: Sequence[str]) -> list[str]:
    return [word.strip().lower() for value in values for word in value.split(",")]


def _forwarded(values: Sequence[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for value in values:
        if len(value) > _MAX_HEADER or not FORWARDED.fullmatch(value):
            return [("host", "unreadable/")]
        found += [(name.lower(), word.strip('"').lower()) for name, word in FORWARDED_PAIR.findall(value)]
    return found
