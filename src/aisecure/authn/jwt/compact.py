"""Takes a token apart: the compact form of a JWS (RFC 7515 section 7.1) and a header that changes nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from aisecure.authn.jwt import base64url
from aisecure.authn.jwt.errors import BadToken, NotStrictJson
from aisecure.authn.jwt.key_set import MAX_KID_CHARS
from aisecure.authn.jwt.strict_json import read_object

__all__ = ["Jws", "read_jws"]

#: Keys, or addresses of keys, in a header: who signs would choose the key (RFC 8725 section 3.10).
_BRINGS_KEY = frozenset({"jwk", "jku", "x5u", "x5c"})
#: Headers that change how the rest is read (RFC 7515 section 4.1.11, RFC 7797). No extension is understood here, so
#: each that is marked critical is refused, and the standard ones must not be marked so.
_CHANGES_READING = frozenset({"crit", "b64"})
_REFUSED = _BRINGS_KEY | _CHANGES_READING


class Jws(NamedTuple):
    """A token that was taken apart, and whose signature is still to be checked.

    Attributes:
        alg: One of the allowed algorithms.
        kid: Name of the key, or None.
        typ: Kind of token in lower case, without ``application/``; None when it does not say.
        payload: What it says; bytes.
        signed: What the signature is over.
        signature: Its bytes.
    """

    alg: str
    kid: str | None
    typ: str | None
    payload: bytes
    signed: bytes
    signature: bytes


def read_jws(token: object, *, max_chars: int, algorithms: frozenset[str]) -> Jws:
    """Return the parts of a token.

    Raises:
        BadToken: It is no canonical compact JWS, or its header is not taken.
    """
    if not isinstance(token, str) or len(token) > max_chars:
        raise BadToken("The token is no text, or too long.")
    if token.count(".") != 2:
        raise BadToken("The token has not three parts.")
    try:
        raw = token.encode("ascii")
        # Split where the lengths are known: of a long token nothing is decoded before.
        signed, _, last = raw.rpartition(b".")
        first, _, middle = signed.partition(b".")
        header, payload, signature = base64url.decode(first), base64url.decode(middle), base64url.decode(last)
    except ValueError:
        raise BadToken("A part of the token is no canonical base64url.") from None
    if not signature:
        raise BadToken("The token is not signed.")
    try:
        return Jws(*_read_header(read_object(header), algorithms), payload, signed, signature)
    except NotStrictJson as err:
        raise BadToken(f"The header {err}.") from None


def _read_header(header: dict[str, Any], algorithms: frozenset[str]) -> tuple[str, str | None, str | None]:
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(alg, str) or alg not in algorithms:
        raise BadToken("The token names no algorithm, or one that is not allowed.")
    if not _REFUSED.isdisjoint(header):
        if _BRINGS_KEY.isdisjoint(header):
            raise BadToken("The header has crit or b64.")
        raise BadToken("The header brings its own key.")
    if "kid" in header and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARS):
        raise BadToken("The kid is no text, empty, or too long.")
    if "typ" not in header:
        return alg, kid, None
    if not isinstance(typ, str):
        raise BadToken("The typ is no text.")
    # Media types ignore case, and "application/" may be left out (RFC 7515 section 4.1.9).
    return alg, kid, typ.lower().removeprefix("application/")
