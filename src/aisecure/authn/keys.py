"""API keys: issue, verify, list, revoke.

Of a key the database holds its id and ``HMAC-SHA-256(pepper, key id "_" secret)``, where the pepper is kept outside of the
database: who steals the one cannot use it without the other. A slow hash would add nothing, since the secret
has 178 random bits (it would for a password).
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from aisecure.authn.memo import Memo
from aisecure.authn.method import Answer, refused
from aisecure.authn.text import KeyText, KeyTextFormat
from aisecure.call import Credential
from aisecure.decisions import Decision
from aisecure.errors import Misconfigured, denied
from aisecure.events import Result, SecurityEvent
from aisecure.notices import Notices, StoredNotices
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.principal import Principal
from aisecure.storage import Storage

__all__ = ["TOPIC", "ApiKeyRecord", "ApiKeys", "IssuedKey"]

#: Change notices about keys.
TOPIC = "authn.keys"
#: A pepper is as long as the hash it keys.
PEPPER_BYTES = 32
#: Ids and names of roles are words, not documents.
MAX_NAME = 256
#: The end of the year 9999; later ends are the same to every reader.
_NO_END = 253_402_300_799.0

# ``scheme`` says how ``mac`` was made (1: as this module's text says), ``pepper`` with which pepper.
_MIGRATIONS = (
    """
    CREATE TABLE authn_api_keys (
        tenant TEXT NOT NULL, key_id TEXT NOT NULL, principal TEXT NOT NULL, roles TEXT NOT NULL, scopes TEXT NOT NULL,
        scheme INTEGER NOT NULL, pepper BLOB NOT NULL, mac BLOB NOT NULL,
        created_at REAL NOT NULL, expires_at REAL, revoked_at REAL,
        PRIMARY KEY (tenant, key_id)
    );
    CREATE UNIQUE INDEX authn_api_keys_id ON authn_api_keys (key_id);
    CREATE INDEX authn_api_keys_principal ON authn_api_keys (tenant, principal);
    """,
)
_RECORD = "tenant, key_id, principal, roles, scopes, created_at, expires_at, revoked_at"


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key at the only moment its secret is known.

    Attributes:
        key_id: Names the key in lists and logs.
        secret: What the caller sends: the whole text of the key. Show it once; it is stored nowhere.
        expires_at: Seconds since the epoch, UTC, or None.
    """

    key_id: str
    secret: str = field(repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """What is stored about a key, without its hash. Times are seconds since the epoch, UTC.

    The ``repr`` leaves the principal out, since its id may be personal data.
    """

    tenant: str
    key_id: str
    principal: str = field(repr=False)
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {**asdict(self), "roles": list(self.roles), "scopes": list(self.scopes)}


class ApiKeys:
    """Issues and verifies API keys.

    A verified key is remembered for at most `Memo.SECONDS`, by a hash of its text, so that most checks ask no
    database. Revocation and erasure end that at once here, and in other processes on the same database as
    soon as they ask for notices again (`StoredNotices`: within a second).

    Args:
        storage: Where keys are kept.
        pepper: Secret of at least `PEPPER_BYTES` bytes that is not in the database.
        prefix: First word of every key; choose one that scanners will know as yours.
        environment: Second word, such as ``live`` or ``test``; a key of another environment is refused.
        clock: Time.
        notices: Tells other objects and processes of changes; by default through the same storage.
        events: Receives ``key.created``, ``key.revoked`` and, from `verify`, ``authn.failed``.
        randbelow: Source of cryptographic randomness.

    Raises:
        ValueError: Pepper, prefix or environment are unusable.
        Misconfigured: The database holds keys that were made with another pepper.

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

    def __init__(
        self,
        storage: Storage,
        *,
        pepper: bytes,
        prefix: str = "ais",
        environment: str = "live",
        clock: Clock | None = None,
        notices: Notices | None = None,
        events: EventSink = discard,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        if not isinstance(pepper, bytes):
            raise TypeError(f"pepper: give bytes, not {type(pepper).__name__}")
        if len(pepper) < PEPPER_BYTES:
            raise ValueError(f"pepper: give at least {PEPPER_BYTES} random bytes")
        self._text = KeyTextFormat(prefix, environment)
        self._storage = storage
        self._pepper = pepper
        self._pepper_id = hmac.digest(pepper, b"aisecure authn pepper id", "sha256")[:4]
        self._clock = clock or SystemClock()
        self._events = events
        self._randbelow = randbelow
        storage.migrate("authn", _MIGRATIONS)
        self._notices = StoredNotices(storage) if notices is None else notices
        self._memo = Memo()
        if storage.query("SELECT 1 FROM authn_api_keys WHERE pepper <> ? LIMIT 1", (self._pepper_id,)):
            raise Misconfigured(
                f"{storage.path}: holds API keys made with another pepper, which can never be verified; "
                "restore the pepper from a backup, or delete those keys",
                code="config.pepper",
            )

    def __repr__(self) -> str:
        return f"ApiKeys({self._storage!r})"

    # -- issue and revoke

    def create(
        self,
        principal_id: str,
        *,
        tenant: str = "default",
        roles: Collection[str] = (),
        scopes: Collection[str] = (),
        expires_at: float | None = None,
    ) -> IssuedKey:
        """Issue a key; its secret is in the result and nowhere else.

        Args:
            principal_id: On whose behalf the key acts.
            tenant: The principal's tenant.
            roles: Roles the key gives, as the policy knows them.
            scopes: What the key is for.
            expires_at: Seconds since the epoch, UTC, from which on the key is refused; None for no end.

        Raises:
            TypeError, ValueError: An argument is no text, empty, longer than `MAX_NAME`, has a NUL, a line break or
                a lone surrogate, or the end lies in the past.
            Unavailable: The database cannot be written.
        """
        now = self._clock.time()
        # The record checks types, so that what is stored can be read back as a principal.
        Principal(principal_id, roles=roles, tenant=tenant, scopes=scopes)
        _check_names("principal_id", (principal_id,))
        _check_names("tenant", (tenant,))
        _check_names("roles", roles)
        _check_names("scopes", scopes)
        if expires_at is not None:
            expires_at = _check_end(expires_at, now)
        text, parts = self._text.new(self._randbelow)
        self._storage.execute(
            "INSERT INTO authn_api_keys VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, NULL)",
            (
                tenant, parts.key_id, principal_id, _words(roles), _words(scopes),
                self._pepper_id, self._mac(parts), now, expires_at,
            ),
        )  # fmt: skip
        self._record("key.created", principal_id, tenant, {"key_id": parts.key_id, "subject": principal_id})
        return IssuedKey(parts.key_id, text, expires_at)

    def revoke(self, key_id: str, *, tenant: str | None = None) -> bool:
        """Refuse a key from now on; return whether there is such a key. Revoking twice changes nothing.

        Args:
            key_id: As in `IssuedKey` and `ApiKeyRecord`.
            tenant: Only within this tenant; any when None.

        Raises:
            Unavailable: The database cannot be written; the key may still be valid.
        """
        found = self._storage.query(
            "SELECT tenant, principal, revoked_at FROM authn_api_keys WHERE key_id = ? AND tenant = coalesce(?, tenant)",
            (_known(key_id), _known(tenant)),
        )
        if not found:
            return False
        of_tenant, principal, revoked_at = found[0]
        if revoked_at is None:
            self._storage.execute(
                "UPDATE authn_api_keys SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL",
                (self._clock.time(), key_id),
            )
        # Also the second time: whoever repeats it may do so because the first notice failed.
        self._notices.publish(TOPIC)
        if revoked_at is None:
            self._record("key.revoked", principal, of_tenant, {"key_id": key_id})
        return True

    # -- verify

    name = "api_key"
    aauthenticate: Callable[[Credential], Awaitable[Answer]] | None = None

    def takes(self, credential: Credential) -> bool:
        """Whether a credential is sent as a key, or as a bearer token that begins like one."""
        scheme = credential.scheme
        return scheme == "api_key" or (scheme == "bearer" and credential.value.startswith(self._text.head))

    def authenticate(self, credential: Credential) -> Answer:
        """Return the principal of a credential that is a key, or the refusal; as `check`."""
        return self.check(credential.value)

    def health(self) -> dict[str, Any]:
        """Return whether keys can be looked up.

        Raises:
            Unavailable: They cannot.
        """
        self.list(tenant="", principal_id="")
        return {"ok": True}

    def verify(self, text: str) -> Principal:
        """Return the principal of a key.

        Raises:
            AuthenticationError: The key is malformed, unknown, wrong, expired or revoked; one text for all. The
                reason stands in the event ``authn.failed``.
            Unavailable: The database cannot be read, so nobody is let in.
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
        # Asked for before the database, so that a change in between makes the memory stale, not the answer wrong.
        version = self._notices.version(TOPIC)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        principal = self._memo.get(digest, version, self._clock)
        if principal is not None:
            return principal
        parts = self._text.read(text)
        return _NO_KEY if parts is None else self._look_up(parts, digest, version)

    def _look_up(self, parts: KeyText, digest: bytes, version: int) -> Principal | Decision:
        rows = self._storage.query(
            "SELECT tenant, principal, roles, scopes, mac, expires_at, revoked_at FROM authn_api_keys WHERE key_id = ?",
            (parts.key_id,),
        )
        # The same work for a key id that does not exist: compared with a hash that nothing has.
        mac = self._mac(parts)
        right = hmac.compare_digest(mac, rows[0][4] if rows else bytes(32))
        if not rows:
            return refused(f"There is no API key {parts.key_id}.")
        if not right:
            return refused(f"The secret for API key {parts.key_id} is wrong.")
        tenant, principal_id, roles, scopes, _, expires_at, revoked_at = rows[0]
        now = self._clock.time()
        if revoked_at is not None:
            return refused(f"API key {parts.key_id} is revoked.")
        if expires_at is not None and now >= expires_at:
            return refused(f"API key {parts.key_id} has expired.")
        principal = Principal(
            principal_id,
            roles=orjson.loads(roles),
            tenant=tenant,
            scopes=orjson.loads(scopes),
            claims={"key_id": parts.key_id},
            method="api_key",
            authenticated_at=now,
        )
        self._memo.put(digest, version, self._clock, principal, expires_at)
        return principal

    def _mac(self, parts: KeyText) -> bytes:
        return hmac.digest(self._pepper, f"{parts.key_id}_{parts.secret}".encode(), "sha256")

    # -- what is stored

    def list(self, *, tenant: str | None = None, principal_id: str | None = None) -> tuple[ApiKeyRecord, ...]:
        """Return the stored keys, oldest first, those of all tenants unless one is named.

        Raises:
            Unavailable: The database cannot be read.
        """
        rows = self._storage.query(
            f"SELECT {_RECORD} FROM authn_api_keys WHERE tenant = coalesce(?, tenant)"  # noqa: S608  (a constant)
            " AND principal = coalesce(?, principal) ORDER BY created_at, key_id",
            (_known(tenant), _known(principal_id)),
        )
        return tuple(
            ApiKeyRecord(
                row[0], row[1], row[2], tuple(orjson.loads(row[3])), tuple(orjson.loads(row[4])), *row[5:]
            )
            for row in rows
        )

    def export(self, subject: str, *, tenant: str = "default") -> tuple[dict[str, Any], ...]:
        """Return all that is stored about a principal, JSON-ready, for GDPR article 15 requests."""
        return tuple(record.to_dict() for record in self.list(tenant=tenant, principal_id=subject))

    def erase(self, subject: str, *, tenant: str = "default") -> int:
        """Delete all keys of a principal, also from the write-ahead log; return how many there were.

        Raises:
            Unavailable: The database cannot be written, or is read right now; erase again.
        """
        erased = self._storage.execute(
            "DELETE FROM authn_api_keys WHERE tenant = ? AND principal = ?", (_known(tenant), _known(subject))
        )
        self._notices.publish(TOPIC)
        self._storage.truncate_wal()
        return erased

    def _record(self, event_type: str, principal: str, tenant: str, detail: dict[str, Any]) -> None:
        self._events.record(
            SecurityEvent(
                event_type, time=self._clock.time(), principal=principal, tenant=tenant, detail=detail
            )
        )


_NO_KEY = refused("The text is no API key of this service, or was mistyped.")


def _check_names(what: str, values: Iterable[str]) -> None:
    for value in values:
        if not value or len(value) > MAX_NAME:
            raise ValueError(f"{what}: write 1 to {MAX_NAME} characters")
        if not value.isprintable():
            raise ValueError(f"{what}: has a character that cannot be printed, such as NUL or a line break")


def _words(names: Collection[str]) -> str:
    return orjson.dumps(sorted(set(names))).decode()


def _check_end(expires_at: float, now: float) -> float:
    if type(expires_at) not in (int, float):
        raise TypeError("expires_at is a number of seconds since the epoch, or None")
    if not now < expires_at < math.inf:
        raise ValueError("expires_at lies in the past, or is no finite number of seconds")
    return float(min(expires_at, _NO_END))


def _known(name: str | None) -> str | None:
    """Return a name to look up; where it cannot be the name of anything, the empty one, which nothing has."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"ids and tenants are texts, not {type(name).__name__}")
    return name if name is None or name.isprintable() else ""
