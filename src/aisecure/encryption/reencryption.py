"""Online re-encryption: every token of a store under the primary key, while others read and write it.

The store is walked in batches by its key, and each new token is put in place only where the old one still
is (compare and swap), so that a value which somebody wrote meanwhile is never overwritten. The walk repeats until a
whole pass met no old token: that catches what a process with the old ring wrote behind it.

There is nothing to resume from and nothing to lose: what is done is told by the tokens themselves, and passing over
a row that is current costs a small part of re-encrypting it. After a kill, start again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from aisecure.encryption.cipher import key_id_of
from aisecure.encryption.context import Part
from aisecure.encryption.keyring import Keyring
from aisecure.errors import AISecureError, DecryptionError
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard

__all__ = [
    "MAX_PASSES",
    "ReencryptableCipher",
    "ReencryptionProgress",
    "ReencryptionReport",
    "StoredToken",
    "TokenChange",
    "TokenStore",
    "count_tokens",
    "reencrypt",
]

#: Passes after which a store is given up as one that somebody keeps writing with an old ring.
MAX_PASSES = 10
#: In place of a key id, for a value that has not the form of a token.
UNREADABLE = "none"


class StoredToken(NamedTuple):
    """A token as it was read, with the key of its row and the place it is bound to."""

    key: tuple[Any, ...]
    token: str | bytes
    context: tuple[Part, ...]


class TokenChange(NamedTuple):
    """What to put in the place of what."""

    key: tuple[Any, ...]
    old: str | bytes
    new: str | bytes


class TokenStore(Protocol):
    """Where tokens lie: a column of a table, for example."""

    @property
    def name(self) -> str:
        """What people and events call it, such as ``patients.notes``."""

    def count(self) -> int:
        """Return how many tokens there are, about; for progress."""

    def read(self, after: tuple[Any, ...] | None, limit: int) -> Sequence[StoredToken]:
        """Return the next tokens in the order of their keys, at most ``limit``, none at the end.

        Args:
            after: The key that the last one of the previous batch had; None at the beginning.
            limit: 1 or more.

        Raises:
            Unavailable: The store cannot be read.
        """

    def swap(self, changes: Sequence[TokenChange]) -> int:
        """Replace each old token that is still in its place, all in one transaction; return how many were.

        Raises:
            Unavailable: The store cannot be written; nothing of the batch was.
        """


class ReencryptableCipher(Protocol):
    """What re-encryption asks of a cipher; a `FieldCipher` has it."""

    @property
    def keyring(self) -> Keyring:
        """The present ring."""

    def is_current(self, token: str | bytes) -> bool:
        """Whether a token is of the newest version under the primary key."""

    def encrypt(self, plaintext: str, *, context: tuple[Part, ...] = ()) -> str:
        """Return a text token."""

    def decrypt(self, token: str, *, context: tuple[Part, ...] = ()) -> str:
        """Return its text."""

    def encrypt_bytes(self, data: bytes, *, context: tuple[Part, ...] = ()) -> bytes:
        """Return a binary token."""

    def decrypt_bytes(self, token: bytes, *, context: tuple[Part, ...] = ()) -> bytes:
        """Return its bytes."""


@dataclass(frozen=True, slots=True)
class ReencryptionProgress:
    """How far a run is.

    Attributes:
        passed: Number of the pass, from 1.
        seen: Tokens met in this pass.
        changed: Tokens re-encrypted, in all passes.
        failed: Tokens met in this pass that did not open.
    """

    passed: int
    seen: int
    changed: int
    failed: int


@dataclass(frozen=True, slots=True)
class ReencryptionReport:
    """What a run found and did.

    Attributes:
        store: Name of the store.
        primary: Id of the key that tokens are under now.
        seen: Tokens of the last pass, which met every row.
        changed: Tokens re-encrypted.
        skipped: Tokens that the first pass found current.
        lost: Tokens that somebody else wrote at the same time; theirs stayed, and was looked at again.
        failed: Tokens of the last pass that do not open. They were left as they are.
        failed_keys: Keys of the first such rows, as many as were asked for.
        passes: How often the store was walked.
        seconds: How long it took.
        complete: The last pass met no old token, other than those that failed.
        tokens: Number of tokens of the last pass by key id; ``none`` for what is no token.
        retirable: Ids of the keys of the ring, not yet retired, that no token needs any more; only when nothing
            failed. Retire them when the same holds for every other store under this ring.
    """

    store: str
    primary: str
    seen: int
    changed: int
    skipped: int
    lost: int
    failed: int
    passes: int
    seconds: float
    complete: bool
    tokens: Mapping[str, int]
    retirable: tuple[str, ...]
    failed_keys: tuple[tuple[Any, ...], ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether every token is under the primary key."""
        return self.complete and not self.failed

    @property
    def rows_per_second(self) -> float:
        """Tokens looked at in a second, in all passes together."""
        return self.seen * self.passes / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data, without the keys of rows."""
        return {
            "store": self.store,
            "ok": self.ok,
            "complete": self.complete,
            "primary": self.primary,
            "seen": self.seen,
            "changed": self.changed,
            "skipped": self.skipped,
            "lost": self.lost,
            "failed": self.failed,
            "passes": self.passes,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second),
            "tokens": dict(self.tokens),
            "retirable": list(self.retirable),
        }


def reencrypt(
    store: TokenStore,
    cipher: ReencryptableCipher,
    *,
    batch: int = 500,
    progress: Callable[[ReencryptionProgress], object] | None = None,
    events: EventSink = discard,
    failed_keys: int = 0,
    clock: Clock | None = None,
) -> ReencryptionReport:
    """Bring every token of a store under the primary key of the ring; safe to kill, repeat, and run beside writers.

    Processes that write with the old ring are caught as long as the run lasts, so start it when all of them know the
    new one (a `KeyFile` tells them within its ``poll_seconds``).

    Args:
        store: Where the tokens lie.
        cipher: With the rotated ring.
        batch: Tokens read, and replaced in one transaction, at a time.
        progress: Called after every batch.
        events: Takes ``encryption.reencrypting`` and ``encryption.reencrypted``.
        failed_keys: How many keys of rows that do not open to report; none by default, as keys may be personal data.
        clock: Measures the time it takes.

    Raises:
        Unavailable, Misconfigured: The store or the keys cannot be had; what was done stays done.
    """
    if type(batch) is not int or batch < 1:
        raise ValueError("batch is a whole number of 1 or more")
    clock = clock or SystemClock()
    begun = clock.monotonic()
    resource = f"store:{store.name}"
    primary = cipher.keyring.primary
    events.record(
        SecurityEvent(
            "encryption.reencrypting", time=clock.time(), resource=resource, detail={"key_id": primary}
        )
    )
    run = _Run(store, cipher, batch, progress, failed_keys)
    try:
        run.until_nothing_is_left()
    except AISecureError as err:
        events.record(_ended(run, resource, clock, Result.FAILURE, err.code))
        raise
    report = run.report(clock.monotonic() - begun)
    events.record(_ended(run, resource, clock, Result.SUCCESS if report.ok else Result.FAILURE))
    return report


def count_tokens(
    store: TokenStore,
    *,
    batch: int = 5000,
    progress: Callable[[ReencryptionProgress], object] | None = None,
) -> Mapping[str, int]:
    """Return how many tokens of a store are under each key, by key id; nothing is opened or changed.

    What has not the form of a token is counted as ``none``.

    Raises:
        Unavailable: The store cannot be read.
    """
    counts: Counter[str] = Counter()
    after: tuple[Any, ...] | None = None
    while rows := store.read(after, batch):
        counts.update(_key_id(row.token) for row in rows)
        after = rows[-1].key
        if progress is not None:
            progress(ReencryptionProgress(1, counts.total(), 0, 0))
    return dict(counts)


class _Run:
    """One run: what it counted so far."""

    def __init__(
        self,
        store: TokenStore,
        cipher: ReencryptableCipher,
        batch: int,
        progress: Callable[[ReencryptionProgress], object] | None,
        failed_keys: int,
    ) -> None:
        self.store = store
        self.cipher = cipher
        self.batch = batch
        self.progress = progress
        self.wanted_keys = failed_keys
        self.passes = self.changed = self.skipped = self.lost = 0
        self.complete = False
        self._start_pass()

    def _start_pass(self) -> None:
        self.seen = self.failed = self.old = 0
        self.failed_keys: list[tuple[Any, ...]] = []
        self.tokens: Counter[str] = Counter()

    def until_nothing_is_left(self) -> None:
        while not self.complete and self.passes < MAX_PASSES:
            self.passes += 1
            self._start_pass()
            self._walk()
            self.complete = not self.old

    def _walk(self) -> None:
        after: tuple[Any, ...] | None = None
        while rows := self.store.read(after, self.batch):
            self._change(rows)
            after = rows[-1].key
            if self.progress is not None:
                self.progress(ReencryptionProgress(self.passes, self.seen, self.changed, self.failed))

    def _change(self, rows: Sequence[StoredToken]) -> None:
        changes: list[TokenChange] = []
        for key, token, context in rows:
            self.seen += 1
            self.tokens[_key_id(token)] += 1
            if self.cipher.is_current(token):
                self.skipped += self.passes == 1
                continue
            new = self._renewed(token, context)
            if new is None:
                self.failed += 1
                if len(self.failed_keys) < self.wanted_keys:
                    self.failed_keys.append(key)
            else:
                self.old += 1
                changes.append(TokenChange(key, token, new))
        if changes:
            swapped = self.store.swap(changes)
            self.changed += swapped
            self.lost += len(changes) - swapped

    def _renewed(self, token: str | bytes, context: tuple[Part, ...]) -> str | bytes | None:
        cipher = self.cipher
        try:
            if isinstance(token, str):
                return cipher.encrypt(cipher.decrypt(token, context=context), context=context)
            return cipher.encrypt_bytes(cipher.decrypt_bytes(token, context=context), context=context)
        except (DecryptionError, TypeError, ValueError):
            # The last two: a part of the row's context is of no use, such as NULL. One bad row stops no run.
            return None

    def report(self, seconds: float) -> ReencryptionReport:
        ring = self.cipher.keyring
        needed = {ring.primary, *self.tokens}
        in_use = (key.id.hex() for key in ring.keys if not key.retired)
        unneeded = tuple(key_id for key_id in in_use if key_id not in needed)
        return ReencryptionReport(
            store=self.store.name,
            primary=ring.primary,
            seen=self.seen,
            changed=self.changed,
            skipped=self.skipped,
            lost=self.lost,
            failed=self.failed,
            failed_keys=tuple(self.failed_keys),
            passes=self.passes,
            seconds=seconds,
            complete=self.complete,
            tokens=dict(self.tokens),
            retirable=unneeded if self.complete and not self.failed else (),
        )


def _ended(run: _Run, resource: str, clock: Clock, result: Result, code: str = "") -> SecurityEvent:
    return SecurityEvent(
        "encryption.reencrypted",
        time=clock.time(),
        resource=resource,
        result=result,
        code=code,
        detail={
            "changed": run.changed,
            "complete": run.complete,
            "failed": run.failed,
            "key_ids": sorted(run.tokens),
            "seen": run.seen,
        },
    )


def _key_id(token: str | bytes) -> str:
    try:
        return key_id_of(token).hex()
    except DecryptionError:
        return UNREADABLE
