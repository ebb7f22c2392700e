"""Verifies the tokens of one issuer, and says who they speak of."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from aisecure.authn.binding import TokenBinding
from aisecure.authn.jwt.algorithms import ALGORITHMS, check_algorithms
from aisecure.authn.jwt.claims import ClaimRules
from aisecure.authn.jwt.compact import Jws, read_jws
from aisecure.authn.jwt.discovery import addresses
from aisecure.authn.jwt.errors import BadKeys, BadToken, NotStrictJson
from aisecure.authn.jwt.fetch import Fetch, check_url
from aisecure.authn.jwt.key_set import MAX_TRIED, Key, KeySet
from aisecure.authn.jwt.memo import TokenMemo
from aisecure.authn.jwt.principals import ClaimMapping
from aisecure.authn.jwt.remote import RemoteKeys
from aisecure.authn.jwt.revocations import Revocations
from aisecure.authn.jwt.sources import FixedKeys, KeySource
from aisecure.authn.jwt.strict_json import read_object
from aisecure.authn.method import Answer, refused
from aisecure.call import Credential
from aisecure.errors import Misconfigured, Unavailable, denied
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard

if TYPE_CHECKING:
    import ssl

    from aisecure.decisions import Decision

__all__ = ["JwtVerifier"]

_SCHEMES = frozenset({"bearer", "dpop"})


class JwtVerifier:
    """Verifies tokens of one issuer; a `Method` for `AuthenticationGuard`.

    Keys come from ``jwks``, or from ``jwks_uri``, or from where the issuer's metadata say (OpenID Connect discovery,
    RFC 8414). They are fetched when the first token arrives, and again in good time.

    Args:
        issuer: The ``iss`` of its tokens, character by character.
        audience: The ``aud`` of tokens that are meant for this service, or several.
        algorithms: Those its tokens may be signed with, such as ``["RS256"]``. HMAC (``HS256`` ...) goes with ``jwks`` only.
        jwks: A JWK set.
        jwks_uri: Its address.
        typ: Kind of token, such as ``at+jwt`` (RFC 9068). When None, tokens that say ``JWT``, ``at+jwt`` or nothing are
            taken, and such as are clearly of another kind are not.
        leeway: Seconds that clocks may differ, 0 to 60.
        required: Claims that have to be there, besides ``iss``, ``aud`` and ``exp``. By default ``sub``, and with
            ``typ="at+jwt"`` also ``client_id``, ``iat`` and ``jti``.
        principal: Which claims make the principal.
        binding: Compares bound tokens with the request. The default takes tokens bound to a certificate with that
            certificate, and none that are bound to a DPoP key.
        revocations: Tokens that are refused before they expire.
        max_token_chars: Longer ones are refused before anything is decoded.
        memo_seconds: How long a verified token is remembered, by its hash; 0 for not at all.
        timeout_seconds: How long a caller waits for the issuer.
        max_stale_seconds: How long fetched keys serve beyond their time while the issuer does not answer.
        ssl_context: Whom to trust when fetching keys; the authorities of the machine when None.
        allow_http_loopback: Fetch keys from ``http:`` addresses of this very machine, for tests and development.
        clock: Time.
        events: Receives ``jwks.loaded``, ``jwks.stale``, ``jwks.refused`` and, from `verify`, ``authn.failed``.

    Raises:
        TypeError, ValueError: An argument is none that makes sense.
        Misconfigured: ``jwks`` has no usable key, or an address is no https address.

    >>> from joserfc import jwt
    >>> from joserfc.jwk import ECKey
    >>> import time
    >>> key = ECKey.generate_key("P-256", {"kid": "k1"})
    >>> verifier = JwtVerifier(
    ...     issuer="https://login.example.com/",
    ...     audience="https://api.example.com",
    ...     algorithms=["ES256"],
    ...     jwks={"keys": [key.as_dict(private=False)]},
    ... )
    >>> claims = {
    ...     "iss": "https://login.example.com/",
    ...     "aud": "https://api.example.com",
    ...     "sub": "u-17",
    ...     "exp": int(time.time()) + 300,
    ... }
    >>> token = jwt.encode({"alg": "ES256", "kid": "k1"}, claims, key)
    >>> verifier.verify(token)["sub"]
    'u-17'
    >>> verifier.verify(token[:-2])
    Traceback (most recent call last):
    aisecure.errors.AuthenticationError: Authentication failed: send a valid credential.
    """

    name = "jwt"
    aauthenticate: Callable[[Credential], Awaitable[Answer]] | None = None

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Collection[str],
        algorithms: Collection[str],
        jwks: Mapping[str, Any] | None = None,
        jwks_uri: str | None = None,
        typ: str | None = None,
        leeway: float = 10.0,
        required: Collection[str] | None = None,
        principal: ClaimMapping | None = None,
        binding: TokenBinding | None = None,
        revocations: Revocations | None = None,
        max_token_chars: int = 8192,
        memo_seconds: float = 300.0,
        timeout_seconds: float = 5.0,
        max_stale_seconds: float = 21_600.0,
        ssl_context: ssl.SSLContext | None = None,
        allow_http_loopback: bool = False,
        clock: Clock | None = None,
        events: EventSink = discard,
    ) -> None:
        if jwks is not None and jwks_uri is not None:
            raise ValueError("jwks, jwks_uri: give one of them, or neither to ask the issuer")
        if not 256 <= max_token_chars <= 1 << 20:
            raise ValueError("max_token_chars lies between 256 and 1048576")
        if not 0 <= memo_seconds <= 86_400 or not 0 <= max_stale_seconds <= 7 * 86_400:
            raise ValueError("memo_seconds: write 0 to 86400 seconds; max_stale_seconds: 0 to 604800 seconds")
        if not 0 < timeout_seconds <= 60:
            raise ValueError("timeout_seconds: write more than 0 and up to 60 seconds")
        names = check_algorithms(algorithms)
        self._rules = ClaimRules(issuer=issuer, audience=audience, typ=typ, required=required, leeway=leeway)
        self._algorithms = frozenset(names)
        self._mapping = ClaimMapping() if principal is None else principal
        #: Also read by the adapters, for what a refused caller is told to bring.
        self.binding = TokenBinding() if binding is None else binding
        self._revocations = revocations
        self._max_chars = max_token_chars
        self._clock = clock or SystemClock()
        self._events = events
        self._memo = TokenMemo(memo_seconds)
        self._keys: KeySource
        if jwks is not None:
            self._keys = FixedKeys(jwks, names)
        else:
            _check_remote(issuer, jwks_uri, names, loopback=allow_http_loopback)
            self._keys = RemoteKeys(
                issuer,
                jwks_uri,
                names,
                fetch=Fetch(ssl_context=ssl_context, allow_http_loopback=allow_http_loopback),
                timeout_seconds=timeout_seconds,
                max_stale_seconds=max_stale_seconds,
                clock=self._clock,
                events=events,
            )
        if self._keys.over_network or getattr(revocations, "over_network", False):
            self.aauthenticate = self._aauthenticate

    def __repr__(self) -> str:
        return f"JwtVerifier(issuer={self._rules.issuer!r})"

    def takes(self, credential: Credential) -> bool:
        """Whether a credential is sent as a token and looks like one: three parts with dots between them."""
        return credential.scheme in _SCHEMES and credential.value.count(".") == 2

    def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token.

        A token that is bound to its sender is refused here, where there is no request to compare it with.

        Raises:
            AuthenticationError: It is not taken; one text for every reason, which stands in the event ``authn.failed``.
            Unavailable: The keys of the issuer, or the revocations, cannot be had, so no token is taken.
        """
        answer: dict[str, Any] | Decision
        try:
            claims, _ = self._verified(token, self._now_keys())
            answer = self.binding(claims, Credential("bearer", token)) or claims
        except BadToken as err:
            answer = refused(str(err))
        if isinstance(answer, dict):
            return answer
        self._events.record(
            SecurityEvent(
                "authn.failed",
                time=self._clock.time(),
                result=Result.FAILURE,
                code=answer.code,
                reasons=answer.reasons[1:],
                detail={"method": self.name},
            )
        )
        raise denied(answer)

    def authenticate(self, credential: Credential) -> Answer:
        """Return the principal of a credential that is a token, or the refusal.

        Raises:
            Unavailable: The keys of the issuer, or the revocations, cannot be had, so nobody is let in.
        """
        token = credential.value
        if len(token) > self._max_chars:
            return _TOO_LONG
        keys = self._now_keys()
        version = 0 if self._revocations is None else self._revocations.version()
        return self._answer(credential, keys, version)

    async def _aauthenticate(self, credential: Credential) -> Answer:
        """Do as `authenticate`; what has to be waited for is waited for in a thread."""
        if len(credential.value) > self._max_chars:
            return _TOO_LONG
        keys = self._keys.current(wait=False)
        recent: int | None = 0
        if self._revocations is not None and getattr(self._revocations, "over_network", False):
            ask = getattr(self._revocations, "recent", None)
            recent = None if ask is None else ask()
        elif self._revocations is not None:
            recent = self._revocations.version()
        if keys is None or recent is None:
            return await asyncio.to_thread(self.authenticate, credential)
        try:
            return self._answer(credential, keys, recent, wait=False)
        except _MustWait:
            return await asyncio.to_thread(self.authenticate, credential)

    def health(self) -> dict[str, Any]:
        """Return whether tokens can be verified, under ``ok``, and how many keys there are.

        Raises:
            Unavailable: Revocations cannot be read.
        """
        if self._revocations is not None:
            self._revocations.version()
        return self._keys.health()

    def _now_keys(self) -> KeySet:
        keys = self._keys.current(wait=True)
        if keys is None:
            raise Unavailable("the keys of the token issuer cannot be had", code="unavailable.issuer")
        return keys

    def _answer(self, credential: Credential, keys: KeySet, version: int, *, wait: bool = True) -> Answer:
        token = credential.value
        # The way for any text takes twice the steps.
        raw = token.encode() if token.isascii() else token.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(raw).digest()
        principal = self._memo.get(digest, keys, version, self._clock)
        if principal is None:
            try:
                claims, keys = self._verified(token, keys, wait=wait)
                principal = self._mapping.principal(claims)
            except BadToken as err:
                return refused(str(err))
            self._memo.put(
                digest,
                principal,
                keys=keys,
                revocations=version,
                clock=self._clock,
                leeway=self._rules.leeway,
            )
        return self.binding(principal.claims, credential) or principal

    def _verified(self, token: object, keys: KeySet, *, wait: bool = True) -> tuple[dict[str, Any], KeySet]:
        """Return the claims of a token, and the keys that say so.

        Raises:
            BadToken: It is not taken.
            _MustWait: The keys have to be looked up first, and ``wait`` is False.
        """
        jws = read_jws(token, max_chars=self._max_chars, algorithms=self._algorithms)
        self._rules.check_kind(jws.typ)
        try:
            claims = read_object(jws.payload)
        except NotStrictJson as err:
            raise BadToken(f"The payload {err}.") from None
        self._rules.check_issuer(claims)
        found = keys.find(jws.alg, jws.kid)
        if not found:
            renewed = self._keys.after_unknown(keys, wait=wait)
            if renewed is None:
                raise _MustWait
            keys = renewed
            found = keys.find(jws.alg, jws.kid)
        _check_signature(jws, found)
        self._rules.check(claims, self._clock.time())
        if self._revocations is not None and self._revocations.is_revoked(claims):
            raise BadToken("The token was revoked.")
        return claims, keys


class _MustWait(Exception):
    """An answer needs the network, and this is an event loop."""


_TOO_LONG = refused("The token is no text, or too long.")


def _check_signature(jws: Jws, keys: tuple[Key, ...]) -> None:
    if not keys:
        raise BadToken("The key that the token is signed with is unknown.")
    if len(keys) > MAX_TRIED:
        raise BadToken("The token does not say which of many keys it is signed with.")
    for key in keys:
        if key.verifies(jws.signed, jws.signature):
            return
    raise BadToken("The signature is wrong.")


def _check_remote(issuer: str, jwks_uri: str | None, algorithms: Collection[str], *, loopback: bool) -> None:
    if any(ALGORITHMS[name].key_type == "oct" for name in algorithms):
        # What is published is no secret; a public key would become one (RFC 8725 section 2.1).
        raise ValueError("algorithms: HS256, HS384 and HS512 need a secret of your own in jwks")
    if jwks_uri is None and ("?" in issuer or "#" in issuer):
        raise ValueError("issuer: has a query or a fragment, so it has no metadata; give jwks_uri")
    try:
        check_url(addresses(issuer)[0] if jwks_uri is None else jwks_uri, allow_http_loopback=loopback)
    except BadKeys as err:
        raise Misconfigured(
            f"{'issuer' if jwks_uri is None else 'jwks_uri'}: {err}; write https://, or http://localhost with"
            " allow_http_loopback=True",
            code="config.jwks",
        ) from None
