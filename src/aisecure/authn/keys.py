"""API keys: issue, verify, rotate, list, revoke.

Of a key the store holds its id and ``HMAC-SHA-256(pepper, key id "_" secret)``, where the pepper is kept outside of the
store: who steals the one cannot use it without the other. A slow hash would add nothing, since the secret
has 178 random bits (it would for a password).
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import orjson

from aisecure.authn._given import NO_END, check_end, check_names, known
from aisecure.authn._store_sqlite import SqliteKeyStore
from aisecure.authn.memo import Memo
from aisecure.authn.method import Answer, refused
from aisecure.authn.pepper import Peppers
from aisecure.authn.records import ApiKeyRecord, IssuedKey
from aisecure.authn.store import NO_SUCH_KEY, ApiKeyStore, StoredKey
from aisecure.authn.text import KeyText, KeyTextFormat
from aisecure.call import Credential
from aisecure.decisions import Decision
from aisecure.errors import Misconfigured, Unavailable, denied
from aisecure.events import Result, SecurityEvent
from aisecure.notices import Notices
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.principal import Principal
from aisecure.storage import Storage

__all__ = ["TOPIC", "ApiKeys"]

#: Change notices about keys.
TOPIC = "authn.keys"
#: A day: time for a deployment in office hours.
_OVERLAP_SECONDS = 86_400.0


class ApiKeys:
    """Issues and verifies API keys.

    A verified key is remembered for at most `Memo.SECONDS`, by a hash of its text, so that most checks ask no
    store. Revocation, rotation and erasure end that at once here, and in other processes as soon as they ask for
    notices again (`StoredNotices` and the others: within a second).

    Args:
        store: Where keys are kept: a `Storage`, or an `ApiKeyStore` such as `MemoryKeyStore` or
            `aisecure.adapters.sqlalchemy_keys.SqlKeyStore`.
        pepper: Secret of at least `PEPPER_BYTES` bytes that is not in the store. Or several, the newest first: new
            keys are made with the first, and those made with the others are still accepted.
        prefix: First word of every key; choose one that scanners will know as yours.
        environment: Second word, such as ``live`` or ``test``; a key of another environment is refused.
        last_used_seconds: How coarse `ApiKeyRecord.last_used_at` is: it is written at most once in this time.
        clock: Time.
        notices: Tells other objects and processes of changes; by default where the keys are.
        events: Receives ``key.created``, ``key.rotated``, ``key.revoked`` and, from `verify`, ``authn.failed``.
        randbelow: Source of cryptographic randomness.

    Raises:
        ValueError: Pepper, prefix or environment are unusable.
        Misconfigured: The store holds keys that were made with another pepper.
        Unavailable: It cannot be read.

    >>> keys = ApiKeys(Storage(":memory:"), pepper=bytes(32))
    >>> issued = keys.create("u-17", roles={"member"}, tenant="acme")
    >>> keys.verify(issued.secret)
    Principal(tenant='acme', roles=['member'], method='api_key')
    >>> keys.revoke(issued.key_id)
    True
    >>> keys.verify(issued.secret)
    Traceback (most recent call last):
    aisecure.errors.AuthenticationError: Authentication failed: send a valid credential.
    """

    name = "api_key"
    aauthenticate: Callable[[Credential], Awaitable[Answer]] | None = None

    def __init__(
        self,
        store: Storage | ApiKeyStore,
        *,
        pepper: bytes | Sequence[bytes],
        prefix: str = "ais",
        environment: str = "live",
        last_used_seconds: float = 3600.0,
        clock: Clock | None = None,
        notices: Notices | None = None,
        events: EventSink = discard,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        if not last_used_seconds >= 0:
            raise ValueError("last_used_seconds: write 0 or more seconds")
        self._text = KeyTextFormat(prefix, environment)
        self._peppers = Peppers(pepper)
        self._last_used_seconds = last_used_seconds
        self._clock = clock or SystemClock()
        self._events = events
        self._randbelow = randbelow
        self._store: ApiKeyStore = SqliteKeyStore(store) if isinstance(store, Storage) else store
        if not isinstance(self._store, ApiKeyStore):
            raise TypeError(f"store: give a Storage or an ApiKeyStore, not {type(store).__name__}")
        self._notices = self._store.notices() if notices is None else notices
        self._memo = Memo()
        if self._store.over_network or getattr(self._notices, "over_network", False):
            self.aauthenticate = self._aauthenticate
        if not self._peppers.know(self._store.peppers(self._clock.time())):
            raise Misconfigured(
                f"{self._store!r} holds API keys made with another pepper, which can never be verified; "
                "restore the pepper from a backup, or revoke those keys",
                code="config.pepper",
            )

    def __repr__(self) -> str:
        return f"ApiKeys({self._store!r})"

    # -- issue, rotate and revoke

    def create(
        self,
        principal_id: str,
        *,
        tenant: str = "default",
        roles: Collection[str] = (),
        scopes: Collection[str] = (),
        expires_at: float | None = None,
        name: str = "",
    ) -> IssuedKey:
        """Issue a key; its secret is in the result and nowhere else.

        Args:
            principal_id: On whose behalf the key acts.
            tenant: The principal's tenant.
            roles: Roles the key gives, as the policy knows them.
            scopes: What the key is for.
            expires_at: Seconds since the epoch, UTC, from which on the key is refused; None for no end.
            name: For people, to tell keys apart in a list: where the key is used.

        Raises:
            TypeError, ValueError: An argument is no text, empty, longer than `MAX_NAME`, has a NUL, a line break or
                a lone surrogate, or the end lies in the past.
            Unavailable: The store cannot be written.
        """
        now = self._clock.time()
        # The record checks types, so that what is stored can be read back as a principal.
        Principal(principal_id, roles=roles, tenant=tenant, scopes=scopes)
        check_names("principal_id", (principal_id,))
        check_names("tenant", (tenant,))
        check_names("roles", roles)
        check_names("scopes", scopes)
        if not isinstance(name, str):
            raise TypeError(f"name: give a text, not {type(name).__name__}")
        if name:
            check_names("name", (name,))
        if expires_at is not None:
            expires_at = check_end(expires_at, now)
        text, key = self._new(
            StoredKey(
                tenant,
                "",
                principal_id,
                _words(roles),
                _words(scopes),
                1,
                b"",
                b"",
                now,
                expires_at,
                name=name,
            )
        )
        self._store.add(key)
        self._record("key.created", key, {"key_id": key.key_id, "subject": principal_id})
        return IssuedKey(key.key_id, text, expires_at)

    def rotate(
        self,
        key_id: str,
        *,
        overlap_seconds: float = _OVERLAP_SECONDS,
        expires_at: float | None = None,
        tenant: str | None = None,
    ) -> IssuedKey:
        """Issue a successor of a key for the same principal; both are accepted until the overlap ends.

        The successor has an id of its own, so that lists and logs show which of the two is in use:
        when `ApiKeyRecord.last_used_at` of the old one stands still, everybody has changed over. Of a key that
        leaked, keep no overlap: give 0, or `revoke` it.

        Args:
            key_id: The key to replace, which is active.
            overlap_seconds: How long the old key is still accepted; never longer than it would have been.
            expires_at: End of the successor. By default it lives as long as the old key was made to live.
            tenant: Only within this tenant; any when None.

        Raises:
            LookupError: There is no such key.
            ValueError: It is revoked, expired, or rotated already; or the overlap or the end is no such number.
            Unavailable: The store cannot be written, and nothing was changed; or the event or the notice could not be, and the
                successor is stored, its secret lost: create another key.

        >>> keys = ApiKeys(Storage(":memory:"), pepper=bytes(32))
        >>> old = keys.create("u-17", name="CI")
        >>> new = keys.rotate(old.key_id, overlap_seconds=3600)
        >>> keys.verify(old.secret).id == keys.verify(new.secret).id
        True
        >>> keys.get(old.key_id).replaced_by == new.key_id
        True
        """
        if type(overlap_seconds) not in (int, float):
            raise TypeError("overlap_seconds is a number of seconds")
        if not 0 <= overlap_seconds < math.inf:
            raise ValueError("overlap_seconds: write 0 or more seconds, and not endless")
        now = self._clock.time()
        old = self._found(key_id, tenant)
        if old is None:
            raise LookupError("there is no such API key")
        state = _record_of(old).state(now)
        if state != "active":
            raise ValueError(f"API key {old.key_id} is {state}; only an active key can be rotated")
        if expires_at is not None:
            expires_at = check_end(expires_at, now)
        elif old.expires_at is not None:
            expires_at = min(now + (old.expires_at - old.created_at), NO_END)
        until = min(now + min(overlap_seconds, NO_END), NO_END if old.expires_at is None else old.expires_at)
        text, key = self._new(
            old._replace(created_at=now, expires_at=expires_at, last_used_at=None, replaced_by=None)
        )
        if not self._store.replace(old.key_id, key, until):
            raise ValueError(f"API key {old.key_id} was rotated or revoked in this moment by somebody else")
        try:
            if until < now + self._memo.SECONDS:
                # Others may remember the old key longer than that; of a later end they learn in time by themselves.
                self._notices.publish(TOPIC)
        finally:
            self._record("key.rotated", key, {"key_id": old.key_id, "successor": key.key_id, "until": until})
        return IssuedKey(key.key_id, text, expires_at)

    def revoke(self, key_id: str, *, tenant: str | None = None) -> bool:
        """Refuse a key from now on; return whether there is such a key. Revoking twice changes nothing.

        A successor is a key of its own and stays; so does the old key when its successor is revoked.

        Args:
            key_id: As in `IssuedKey` and `ApiKeyRecord`.
            tenant: Only within this tenant; any when None.

        Raises:
            Unavailable: The store cannot be written, or other processes cannot be told; the key may still be accepted.
                Revoke it again.
        """
        key = self._found(key_id, tenant)
        if key is None:
            return False
        changed = self._store.revoke(key.key_id, self._clock.time())
        try:
            # Also the second time: whoever repeats it may do so because the first notice failed.
            self._notices.publish(TOPIC)
        finally:
            if changed:
                self._record("key.revoked", key, {"key_id": key_id})
        return True

    def _new(self, like: StoredKey) -> tuple[str, StoredKey]:
        text, parts = self._text.new(self._randbelow)
        newest = self._peppers.newest
        mac = self._peppers.mac(parts, newest)
        return text, like._replace(key_id=parts.key_id, scheme=1, pepper=newest, mac=mac)

    def _found(self, key_id: str, tenant: str | None) -> StoredKey | None:
        known_id, known_tenant = known(key_id), _known(tenant)
        key = self._store.find(known_id) if known_id else None
        return None if key is None or known_tenant not in (None, key.tenant) else key

    # -- verify

    def takes(self, credential: Credential) -> bool:
        """Whether a credential is sent as a key, or as a bearer token that begins like one."""
        scheme = credential.scheme
        return scheme == "api_key" or (scheme == "bearer" and credential.value.startswith(self._text.head))

    def claimed_id(self, credential: Credential) -> str:
        """Return the key id that a credential claims to be of, whether that exists or not; empty when it is no key."""
        parts = self._text.read(credential.value)
        return "" if parts is None else parts.key_id

    def authenticate(self, credential: Credential) -> Answer:
        """Return the principal of a credential that is a key, or the refusal; as `check`."""
        return self.check(credential.value)

    async def _aauthenticate(self, credential: Credential) -> Answer:
        """Do as `authenticate`; what has to be asked over a network is asked in a thread."""
        recent = getattr(self._notices, "recent", None)
        version = recent(TOPIC) if recent is not None else None
        if version is not None and self._text.has_length(credential.value):
            principal = self._memo.get(_digest(credential.value), version, self._clock)
            if principal is not None:
                return principal
        if not self._text.has_length(credential.value):
            return _NO_KEY
        import asyncio

        return await asyncio.to_thread(self.check, credential.value)

    def health(self) -> dict[str, Any]:
        """Return whether keys can be looked up.

        Raises:
            Unavailable: They cannot.
        """
        self._store.find(NO_SUCH_KEY.key_id)
        self._notices.version(TOPIC)
        return {"ok": True}

    def verify(self, text: str) -> Principal:
        """Return the principal of a key.

        Raises:
            AuthenticationError: The key is malformed, unknown, wrong, expired or revoked; one text for all. The
                reason stands in the event ``authn.failed``.
            Unavailable: The store cannot be read, so nobody is let in.
        """
        answer = self.check(text)
        if isinstance(answer, Principal):
            return answer
        self._events.record(
            SecurityEvent(
                "authn.failed",
                time=self._clock.time(),
                result=Result.FAILURE,
                code=answer.code,
                reasons=answer.reasons,
                detail={"method": "api_key"},
            )
        )
        raise denied(answer)

    def check(self, text: str) -> Principal | Decision:
        """Return the principal of a key, or the refusal as a decision; records nothing.

        The first reason of a refusal is for the caller and always the same; the second is for the log.
        """
        if not isinstance(text, str):
            raise TypeError(f"an API key is a text, not {type(text).__name__}")
        if not self._text.has_length(text):
            return _NO_KEY
        # Asked for before the store, so that a change in between makes the memory stale, not the answer wrong.
        version = self._notices.version(TOPIC)
        digest = _digest(text)
        principal = self._memo.get(digest, version, self._clock)
        if principal is not None:
            return principal
        parts = self._text.read(text)
        return _NO_KEY if parts is None else self._look_up(parts, digest, version)

    def _look_up(self, parts: KeyText, digest: bytes, version: int) -> Principal | Decision:
        found = self._store.find(parts.key_id)
        # The same work for a key id that does not exist: compared with a hash that nothing has. And nothing of a key is
        # read before its secret was right.
        key = NO_SUCH_KEY if found is None else found
        right = hmac.compare_digest(self._peppers.mac(parts, key.pepper), key.mac)
        if not right or found is None:
            if found is None:
                return refused(f"There is no API key {parts.key_id}.")
            return refused(f"The secret for API key {parts.key_id} is wrong.")
        now = self._clock.time()
        if key.revoked_at is not None:
            return refused(f"API key {parts.key_id} is revoked.")
        if key.expires_at is not None and now >= key.expires_at:
            return refused(f"API key {parts.key_id} has expired.")
        try:
            principal = Principal(
                key.principal,
                roles=orjson.loads(key.roles),
                tenant=key.tenant,
                scopes=orjson.loads(key.scopes),
                claims={"key_id": parts.key_id},
                method="api_key",
                authenticated_at=now,
            )
        except (ValueError, TypeError) as err:
            raise Unavailable(
                f"API key {parts.key_id} cannot be read from its store; issue another",
                code="unavailable.storage",
            ) from err
        self._memo.put(digest, version, self._clock, principal, key.expires_at)
        # The memory ends every so often, so a key in use comes by here often enough.
        if key.last_used_at is None or now - key.last_used_at >= self._last_used_seconds:
            self._note_use(parts.key_id, now)
        return principal

    def _note_use(self, key_id: str, now: float) -> None:
        try:
            self._store.note_use(key_id, now, unless_since=now - self._last_used_seconds)
        except Unavailable:
            return  # a caller with a right key is not refused for a note about it

    # -- what is stored

    def get(self, key_id: str, *, tenant: str | None = None) -> ApiKeyRecord | None:
        """Return what is stored about a key, or None when there is none, or none in that tenant.

        Raises:
            Unavailable: The store cannot be read.
        """
        key = self._found(key_id, tenant)
        return None if key is None else _record_of(key)

    def list(self, *, tenant: str | None = None, principal_id: str | None = None) -> tuple[ApiKeyRecord, ...]:
        """Return the stored keys, oldest first, those of all tenants unless one is named.

        Raises:
            Unavailable: The store cannot be read.
        """
        keys = self._store.select(tenant=_known(tenant), principal=_known(principal_id))
        return tuple(map(_record_of, keys))

    def export(self, subject: str, *, tenant: str = "default") -> tuple[dict[str, Any], ...]:
        """Return all that is stored about a principal, JSON-ready, for GDPR article 15 requests."""
        return tuple(record.to_dict() for record in self.list(tenant=tenant, principal_id=subject))

    def erase(self, subject: str, *, tenant: str = "default") -> int:
        """Delete all keys of a principal; return how many there were.

        In a `Storage` also from the write-ahead log. Of another database, erase its logs and backups by its own means.

        Raises:
            Unavailable: The store cannot be written, or is read right now; erase again.
        """
        try:
            return self._store.erase(known(tenant), known(subject))
        finally:
            self._notices.publish(TOPIC)

    def _record(self, event_type: str, key: StoredKey, detail: dict[str, Any]) -> None:
        self._events.record(
            SecurityEvent(
                event_type, time=self._clock.time(), principal=key.principal, tenant=key.tenant, detail=detail
            )
        )


_NO_KEY = refused("The text is no API key of this service, or was mistyped.")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _record_of(key: StoredKey) -> ApiKeyRecord:
    return ApiKeyRecord(
        key.tenant,
        key.key_id,
        key.principal,
        tuple(orjson.loads(key.roles)),
        tuple(orjson.loads(key.scopes)),
        key.created_at,
        key.expires_at,
        key.revoked_at,
        key.name,
        key.last_used_at,
        key.replaced_by,
    )


def _words(names: Collection[str]) -> str:
    return orjson.dumps(sorted(set(names))).decode()


def _known(name: str | None) -> str | None:
    return None if name is None else known(name)
