"""Where a request came from, where it goes, and what it is called: address, path, request id, trace."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Sequence

from aisecure.call import new_request_id
from aisecure.errors import Misconfigured

__all__ = ["PublicPaths", "TrustedProxies", "below_mount", "request_id", "traceparent"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
#: W3C Trace Context section 3.2: version ``ff`` and ids of zeros are invalid.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """Whose word counts about where a request came from.

    ``X-Forwarded-For`` is written by whoever likes to: only the entries that a trusted proxy appended are
    evidence. So it is read from the right, and the first address that is no trusted proxy is the client.

    Args:
        networks: Addresses and networks of the proxies; ``"unix"`` trusts a peer without an address,
            which is a socket file.

    Raises:
        Misconfigured: One of them is no address and no network.

    >>> TrustedProxies(["10.0.0.0/8"]).client("10.0.0.7", ["6.6.6.6, 192.0.2.9"])
    '192.0.2.9'
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        if isinstance(networks, str):
            raise TypeError("trusted_proxies is a list of addresses and networks")
        names = tuple(networks)
        self._unix = "unix" in names
        try:
            self._networks = tuple(ipaddress.ip_network(name) for name in names if name != "unix")
        except ValueError as err:
            raise Misconfigured(
                f"trusted_proxies: {err}; write addresses or networks such as 10.0.0.0/8",
                code="config.proxies",
            ) from err

    def __bool__(self) -> bool:
        """Whether anybody is trusted."""
        return self._unix or bool(self._networks)

    def trusts(self, peer: str) -> bool:
        """Return whether the word of the other end of a connection counts; its address is empty for a socket file."""
        return self._unix if not peer else bool(self._networks) and self._trusts(_parse(peer))

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the client's address; empty when it is unknown.

        Args:
            peer: Address of the other end of the connection; empty for a socket file.
            forwarded: Values of every ``X-Forwarded-For`` header, in order.
        """
        if not forwarded or not self.trusts(peer):
            return peer
        best = peer
        for entry in reversed(",".join(forwarded).split(",")):
            address = _parse(entry.strip())
            if address is None:  # what stands left of it may be anybody's invention
                break
            best = str(address)
            if not self._trusts(address):
                break
        return best

    def _trusts(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _parse(text: str) -> _Address | None:
    """Return the address of ``1.2.3.4``, ``1.2.3.4:80``, ``::1`` or ``[::1]:80``; IPv4 inside IPv6 as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class PublicPaths:
    """Paths that need no credential.

    Args:
        paths: Each exact, or everything below one as ``/static/*``.

    >>> "/static/app.css" in PublicPaths(["/health", "/static/*"])
    True
    """

    def __init__(self, paths: Collection[str] = ()) -> None:
        if isinstance(paths, str) or not all(path.startswith("/") for path in paths):
            raise Misconfigured('public: is a list of paths that begin with "/"', code="config.public")
        self._exact = frozenset(path for path in paths if not path.endswith("/*"))
        self._below = tuple(path[:-1] for path in paths if path.endswith("/*"))

    def __contains__(self, path: str) -> bool:
        if path in self._exact:
            return True
        # A path that climbs may name something else to whoever resolves it.
        return bool(self._below) and path.startswith(self._below) and ".." not in path


def below_mount(path: str, root: str) -> str:
    """Return the path below the mount point; ASGI servers put ``root_path`` in front of it."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def request_id(values: Sequence[str]) -> str:
    """Return the caller's ``X-Request-ID`` if there is one and it is harmless, else a fresh one.

    It is echoed in a header and written to the log, so anything but letters, digits and ``._-`` is not taken.
    """
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return new_request_id()


def traceparent(values: Sequence[str]) -> str:
    """Return the W3C ``traceparent`` of a request, or nothing if it is absent, repeated or malformed."""
    return values[0] if len(values) == 1 and _TRACEPARENT.fullmatch(values[0]) else ""
