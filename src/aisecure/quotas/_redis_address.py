"""Where Redis is: a server, a Cluster or a server that Sentinels watch, as one URL says it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Address"]


class Address:
    """A URL, taken apart where redis itself does not know the scheme."""

    __slots__ = ("credentials", "db", "hosts", "kind", "service", "tls", "url")

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self.hosts: list[tuple[str, int]] = []
        self.credentials: dict[str, Any] = {}
        self.service = ""
        self.db = 0
        self.tls = False

    @classmethod
    def read(cls, url: str) -> Address:
        """Return what a URL says.

        Raises:
            ValueError: It is none.
        """
        scheme, _, rest = url.partition("://")
        base, plus, kind = scheme.partition("+")
        if not plus:
            return cls("server", url)
        if kind not in ("cluster", "sentinel") or base not in ("redis", "rediss"):
            raise ValueError("an unknown scheme")
        address = cls(kind, "")
        address.tls = base == "rediss"
        places, _, path = rest.partition("/")
        login, _, hosts = places.rpartition("@")
        if login:
            user, _, password = login.partition(":")
            given = {"username": unquote(user), "password": unquote(password)}
            address.credentials = {name: value for name, value in given.items() if value}
        for place in hosts.split(","):
            one = urlsplit(f"//{place}")
            if not one.hostname:
                raise ValueError("a host without a name")
            address.hosts.append((one.hostname, one.port or (26379 if kind == "sentinel" else 6379)))
        if kind == "sentinel":
            address.service, _, db = path.partition("/")
            address.db = int(db or 0)
            if not address.service:
                raise ValueError("no service")
        elif path:
            raise ValueError("a Cluster has one database")
        return address
