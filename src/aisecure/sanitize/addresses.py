"""Which addresses an attribute may hold, read the way a browser reads them (WHATWG URL)."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from aisecure.sanitize.policy import HtmlPolicy

__all__ = ["address_filter", "image_allowed", "link_allowed"]

# A browser drops tab and newline anywhere in an address, and control characters and spaces around it.
_DROPPED = {ord(c): None for c in "\t\n\r"}
_AROUND = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# Only the plainest spelling of host and port is understood; user names, escapes, brackets and backslashes are not.
_PLAIN_HTTP = re.compile(r"https?://([A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?P<rest>[/?#][^\\]*)?\Z", re.IGNORECASE)
_STARTS_A_HOST = ("//", "/\\", "\\/", "\\\\")


def address_filter(policy: HtmlPolicy) -> Callable[[str, str, str], str | None]:
    """Return ``(element, attribute, value) -> value or None`` for the addresses that the policy names."""

    def keep(tag: str, attribute: str, value: str) -> str | None:
        if attribute == "href":
            return value if link_allowed(value, policy) else None
        if attribute == "src":
            return value if image_allowed(value, policy.image_hosts) else None
        return value

    return keep


def _as_browsers_read(value: str) -> str:
    return value.strip(_AROUND).translate(_DROPPED)


def link_allowed(value: str, policy: HtmlPolicy) -> bool:
    """Whether a link may lead to the address."""
    address = _as_browsers_read(value)
    scheme = _SCHEME.match(address)
    if scheme is None:
        return policy.link_hosts is None or not address.startswith(_STARTS_A_HOST)
    name = scheme[1].lower()
    if name not in policy.schemes:
        return False
    if policy.link_hosts is None or name not in ("http", "https"):
        return True
    plain = _PLAIN_HTTP.match(address)
    return plain is not None and plain[1].lower().rstrip(".") in policy.link_hosts


def image_allowed(value: str, hosts: AbstractSet[str]) -> bool:
    """Whether an image may come from the address."""
    address = _as_browsers_read(value)
    plain = _PLAIN_HTTP.match(address)
    if plain is None or address[:6].lower() != "https:" or plain[1].lower() not in hosts:
        return False
    # An allowed host that fetches or redirects to a second address would carry the data out after all
    # (the way of CVE-2025-32711, EchoLeak).
    rest = (plain["rest"] or "").lower().replace("%2f", "/").replace("%5c", "/").replace("%25", "%")
    return "//" not in rest and "%2f%2f" not in rest
