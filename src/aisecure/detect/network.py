"""Addresses in networks: dotted quads, every IPv6 form of RFC 4291 also with zone and prefix length, and MAC addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv6Address

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["IPV4", "IPV6", "KIND", "MAC", "MAC_KIND"]

KIND = "pii.ip_address"
MAC_KIND = "pii.mac_address"

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
# Four octets and no fifth: 1.3.6.1.4 is an object identifier, 1.2.3.4-rc1 a version.
_IPV4 = lazy(
    rf"(?<![\w.])(?<!\d-){_OCTET}(?:\.{_OCTET}){{3}}(?:/(?:3[0-2]|[12]?\d)(?!\d))?(?![\w]|\.\w|-[A-Za-z0-9])",
    re.ASCII,
)
_VERSION = lazy(r"(?:\bv|\bver|\bversion|\brelease|\bbuild|==?|>=|<=|~=)[ :=]{0,2}\Z", re.IGNORECASE)

_IPV6 = lazy(
    r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?:\.\d{1,3}){3})?(?:%[\w.]{1,20})?(?:/1?\d{1,2}(?!\d))?(?![\w:])",
    re.ASCII,
)


def _find_v4(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    for found in _IPV4.finditer(window, at):
        version = _VERSION.search(window[max(0, found.start() - 12) : found.start()])
        yield Candidate(*found.span(), KIND, 0.3 if version else 0.9)


def _find_v6(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    for found in _IPV6.finditer(window, at):
        text = found.group().partition("/")[0].partition("%")[0]
        if text.count(":") >= 2 and _is_v6(text):
            yield Candidate(*found.span(), KIND, 0.9)


def _is_v6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    # "::2" is a slice and "a::b" a scope in source code: a short form must look like an address.
    groups = [group for group in text.split(":") if group]
    return len(groups) > 7 or text == "::1" or (len("".join(groups)) >= 4 and any(map(str.isdecimal, text)))


IPV4 = Recognizer((KIND,), lazy(r"9{1,3}(?:\.9{1,3}){3}"), _find_v4)
IPV6 = Recognizer((KIND,), lazy(r"::|(?::[9Aa]{0,4}){6}"), _find_v6)

# One separator throughout; the third form is Cisco's.
_MAC = lazy(
    r"(?<![\w:.-])(?:[0-9A-F]{2}(?:([:-])[0-9A-F]{2})(?:\1[0-9A-F]{2}){4}|[0-9A-F]{4}\.[0-9A-F]{4}\.[0-9A-F]{4})(?![\w]|[:-]\w)",
    re.IGNORECASE | re.ASCII,
)


def _find_mac(window: Window) -> Iterator[Candidate]:
    for found in _MAC.finditer(window.text, window.at):
        if len(set(found.group()) - set(":-.")) > 1:  # all zeros or all ones is nobody's
            yield Candidate(*found.span(), MAC_KIND, 0.9)


MAC = Recognizer(
    (MAC_KIND,), lazy(r"[9Aa]{2}(?:([:-])[9Aa]{2})(?:\1[9Aa]{2}){4}|[9Aa]{4}\.[9Aa]{4}\.[9Aa]{4}"), _find_mac
)
