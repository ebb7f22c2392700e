"""What a token has to say: who issued it, for whom, and from when to when (RFC 7519 section 4.1, RFC 8725 section 3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from aisecure.authn.jwt.errors import BadToken

__all__ = ["MAX_LEEWAY_SECONDS", "ClaimRules", "is_time"]

MAX_LEEWAY_SECONDS = 60.0
#: The year 10000; also keeps out numbers that are not finite.
_END = 253_402_300_800
#: Always required.
_ALWAYS = ("iss", "aud", "exp")
#: Required of an access token, RFC 9068 section 2.2.
_OF_ACCESS_TOKENS = ("sub", "client_id", "iat", "jti")
#: Kinds that are taken where none is asked for: an access token, or a JWT that says no more.
_GENERAL = frozenset({None, "jwt", "at+jwt"})
_TEXTS = ("sub", "jti", "client_id", "azp")


def is_time(value: object) -> bool:
    """Whether a value is a number of seconds since the epoch (RFC 7519 section 2, NumericDate)."""
    return type(value) in (int, float) and 0 <= value < _END  # type: ignore[operator]


class ClaimRules:
    """What is asked of the claims of a token.

    Args:
        issuer: What ``iss`` has to be, character by character.
        audience: What ``aud`` has to be or contain: one of these.
        typ: What ``typ`` has to be, as ``at+jwt`` (RFC 9068). When None, tokens that say ``JWT``, ``at+jwt`` or
            nothing are taken, and such as are clearly of another kind are not.
        required: Claims that have to be there, besides ``iss``, ``aud`` and ``exp``; None for ``sub``, and for those
            of RFC 9068 where ``typ`` is ``at+jwt``.
        leeway: Seconds that clocks may differ.
    """

    __slots__ = ("_audiences", "_kinds", "_required", "issuer", "leeway")

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Collection[str],
        typ: str | None,
        required: Collection[str] | None,
        leeway: float,
    ) -> None:
        if not isinstance(issuer, str) or not issuer:
            raise ValueError("issuer: write the iss of its tokens, such as https://login.example.com/")
        audiences = (audience,) if isinstance(audience, str) else tuple(audience)
        if not audiences or not all(isinstance(name, str) and name for name in audiences):
            raise ValueError(
                "audience: write the aud of tokens for this service, such as https://api.example.com"
            )
        if type(leeway) not in (int, float) or not 0 <= leeway <= MAX_LEEWAY_SECONDS:
            raise ValueError(f"leeway: write 0 to {MAX_LEEWAY_SECONDS:.0f} seconds")
        if typ is not None and (not isinstance(typ, str) or not typ):
            raise ValueError("typ: write a kind of token such as at+jwt, or None")
        kind = None if typ is None else typ.lower().removeprefix("application/")
        if required is None:
            required = _OF_ACCESS_TOKENS if kind == "at+jwt" else ("sub",)
        elif isinstance(required, str) or not all(isinstance(name, str) for name in required):
            raise ValueError("required: give a list of names of claims")
        self.issuer = issuer
        self.leeway = float(leeway)
        self._audiences = frozenset(audiences)
        self._kinds = _GENERAL if kind is None else frozenset({kind})
        self._required = tuple(name for name in dict.fromkeys(required) if name not in _ALWAYS)

    def check_kind(self, typ: str | None) -> None:
        """Raise `BadToken` for a token of another kind."""
        if typ not in self._kinds:
            raise BadToken("The token is of another kind (typ).")

    def check_issuer(self, claims: Mapping[str, Any]) -> None:
        """Raise `BadToken` for claims of somebody else; before any key is looked for, since it is not theirs."""
        if claims.get("iss") != self.issuer:
            raise BadToken("The token is of another issuer, or names none.")

    def check(self, claims: Mapping[str, Any], now: float) -> None:
        """Raise `BadToken` unless a token with these claims is meant for this service, and now."""
        audience = claims.get("aud")
        if isinstance(audience, str):
            meant = audience in self._audiences
        elif isinstance(audience, list) and all(isinstance(name, str) for name in audience):
            meant = not self._audiences.isdisjoint(audience)
        else:
            raise BadToken("The token has no aud, or one that is no text and no list of texts.")
        if not meant:
            raise BadToken("The token is for another audience.")
        self._check_times(claims, now)
        for name in _TEXTS:
            if name in claims and not (isinstance(claims[name], str) and claims[name]):
                raise BadToken(f"The claim {name} is no text, or empty.")
        for name in self._required:
            if claims.get(name) is None:
                raise BadToken("A required claim is missing.")
        if "events" in claims:
            # Logout tokens and other security events are for another endpoint, also where they name no typ (RFC 8417
            # section 2.2, OpenID Connect Back-Channel Logout section 2.4).
            raise BadToken("The token is a security event.")

    def _check_times(self, claims: Mapping[str, Any], now: float) -> None:
        expires = claims.get("exp")
        if not is_time(expires):
            raise BadToken("The token has no exp, or one that is no time.")
        if now >= expires + self.leeway:  # type: ignore[operator]
            raise BadToken("The token has expired.")
        for name in ("nbf", "iat", "auth_time"):
            if name in claims:
                if not is_time(claims[name]):
                    raise BadToken(f"The {name} is no time.")
                if now + self.leeway < claims[name]:
                    raise BadToken(f"The {name} lies in the future.")
