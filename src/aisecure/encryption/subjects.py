"""Crypto-shredding: a key for every data subject, so that erasing the key erases every copy of what it encrypted.

Tokens have version 3 (`aisecure.encryption.cipher`): they name a key by 16 random bytes, from which nothing about the
subject can be read. Rows and wrapping are in `aisecure.encryption.subject_rows`, keys in memory in
`aisecure.encryption.subject_cipher`, the steps of an erasure in `aisecure.encryption.erasure`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from aisecure.encryption.cipher import FieldCipher, key_id_of
from aisecure.encryption.context import Part
from aisecure.encryption.erasure import TOPIC, Erasures, Holds
from aisecure.encryption.providers import KeyProvider
from aisecure.encryption.providers.ring import RingProvider
from aisecure.encryption.subject_cipher import OpenKeys, SubjectCipher
from aisecure.encryption.subject_rows import KEY_ID_BYTES, SubjectRows
from aisecure.errors import DecryptionError, Unavailable
from aisecure.events import SecurityEvent
from aisecure.notices import Notices, StoredNotices
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.storage import Storage

if TYPE_CHECKING:
    from aisecure.encryption.settings import Settings
    from aisecure.ports import Ports

__all__ = ["SubjectKeys", "open_subjects"]

#: How long a process may go on with a key that another one erased.
POLL_SECONDS = 1.0
#: How long an unwrapped key is used before the provider is asked again; as for a `aisecure.encryption.KeyFile`.
CACHE_SECONDS = 300.0
#: Subjects whose unwrapped key is kept in memory.
CACHED_KEYS = 1_024
#: How long an erasure waits for readers of the database that keep deleted pages alive.
SCRUB_SECONDS = 10.0

#: Ids are ids, not documents.
MAX_SUBJECT, MAX_TENANT, MAX_WORD = 1_024, 256, 256


class SubjectKeys:
    """One AES-256 key for every data subject of a tenant, made on first use, and erased with the subject.

    Against whoever keeps a copy: after `erase` no token of the subject opens, wherever it was copied to. Other processes
    on the same database stop within ``poll_seconds``, also when the one that erased was killed; where the database
    cannot be read nobody encrypts or decrypts. Not against whoever copied the *key*: a backup of this database
    is to be treated with `reapply`, see ``docs/explanation/erasure.md`` for all that erasure does not reach.

    Safe to share between threads, and after a fork.

    Args:
        storage: Holds the wrapped keys.
        wrapping: Wraps them: a `RingProvider` over the application's own key ring, or any other provider.
        notices: Told of erasures; by default through the same storage.
        events: Takes ``subject.*``; the event ``subject.erased`` is the receipt of an erasure.
        clock: ``time`` dates keys and events, ``monotonic`` bounds the caches.
        random: Source of cryptographic randomness; takes a number of bytes.
        holds: Returns the reason of a legal hold on ``(tenant, subject)``, or None. It is asked inside the transaction
            that erases, may read the same storage, and must not write to it.
        poll_seconds: How long a process may go on with a key that another one erased.
        cache_seconds: How long an unwrapped key is used before the provider is asked again.
        cached_keys: How many unwrapped keys are kept; the ones used longest ago go first.
        scrub_seconds: How long an erasure waits for readers that keep deleted pages alive.

    Raises:
        ValueError: An option is out of range.
        Unavailable: The database cannot be used. (An erasure that was interrupted is completed now, and stays
            pending without an error where that is not possible yet: see `resume`.)

    >>> from aisecure.encryption import Keyring
    >>> subjects = SubjectKeys(Storage(":memory:"), RingProvider(FieldCipher(Keyring.generate())))
    >>> ada = subjects.cipher("ada@example.com")
    >>> token = ada.encrypt("allergic to penicillin", context=("patients", "notes", 42))
    >>> ada.decrypt(token, context=("patients", "notes", 42))
    'allergic to penicillin'
    >>> receipt = subjects.erase("ada@example.com", request_id="dsr-7")
    >>> receipt.type, receipt.request_id, subjects.is_erased(token)
    ('subject.erased', 'dsr-7', True)
    >>> ada.decrypt(token, context=("patients", "notes", 42))
    Traceback (most recent call last):
    aisecure.errors.DecryptionError: The value could not be decrypted.
    """

    def __init__(
        self,
        storage: Storage,
        wrapping: KeyProvider,
        *,
        notices: Notices | None = None,
        events: EventSink = discard,
        clock: Clock | None = None,
        random: Callable[[int], bytes] = os.urandom,
        holds: Holds | None = None,
        poll_seconds: float = POLL_SECONDS,
        cache_seconds: float = CACHE_SECONDS,
        cached_keys: int = CACHED_KEYS,
        scrub_seconds: float = SCRUB_SECONDS,
    ) -> None:
        if not isinstance(wrapping, KeyProvider):
            raise TypeError(f"wrapping is a KeyProvider, not {type(wrapping).__name__}")
        if not all(0 <= seconds < math.inf for seconds in (poll_seconds, cache_seconds, scrub_seconds)):
            raise ValueError("poll_seconds, cache_seconds and scrub_seconds are numbers of 0 or more")
        if type(cached_keys) is not int or cached_keys < 1:
            raise ValueError("cached_keys is a whole number of 1 or more")
        clock = clock or SystemClock()
        self._storage = storage
        self._events = events
        self._clock = clock
        self._holds = holds
        self._rows = SubjectRows(storage, wrapping, clock=clock, random=random)
        notices = StoredNotices(storage) if notices is None else notices
        self._erasures = Erasures(
            storage, notices=notices, events=events, clock=clock, scrub_seconds=scrub_seconds
        )
        self._open = OpenKeys(
            self._rows,
            self._erasures,
            monotonic=clock.monotonic,
            random=random,
            poll_seconds=poll_seconds,
            cache_seconds=cache_seconds,
            cached_keys=cached_keys,
        )
        notices.subscribe(TOPIC, self._open.changed)
        with suppress(Unavailable):
            # A reader of the database must not keep an application from starting; the erasure stays pending.
            self.resume()

    # -- encrypting

    def cipher(self, subject: str, *, tenant: str = "default") -> SubjectCipher:
        """Return the cipher of a data subject; nothing is read or made before it is used.

        Args:
            subject: Id of the person, always spelt the same: another spelling is another person. At most
                `MAX_SUBJECT` code points.
            tenant: Whose data it is; two tenants share no key.

        Raises:
            TypeError, ValueError: An id is no text, empty, too long, or has a NUL or a lone surrogate.
        """
        person = _name("subject", subject, MAX_SUBJECT)
        return SubjectCipher(self._open, person, _name("tenant", tenant, MAX_TENANT))

    def decrypt(self, token: str, *, context: tuple[Part, ...] = (), tenant: str = "default") -> str:
        """Return the text of a token of any subject of a tenant, for readers of logs and mixed stores.

        Raises:
            DecryptionError: For every reason alike, an erased subject too; `is_erased` tells.
            Unavailable, Misconfigured: Database or provider cannot be reached.
        """
        return self._open.of_token(token, _name("tenant", tenant, MAX_TENANT)).decrypt(token, context=context)

    def decrypt_bytes(
        self, token: bytes, *, context: tuple[Part, ...] = (), tenant: str = "default"
    ) -> bytes:
        """Return the bytes of a binary token; as `decrypt`."""
        return self._open.of_token(token, _name("tenant", tenant, MAX_TENANT)).decrypt_bytes(
            token, context=context
        )

    def is_erased(self, token: str | bytes) -> bool:
        """Whether the key that a token names was erased, so that readers can show a placeholder.

        It proves nothing more: a forged token may name an erased key too. False for what is no token.

        Raises:
            Unavailable: The database cannot be read.
        """
        try:
            key_id = key_id_of(token)
        except DecryptionError:
            return False
        return self._erasures.has(key_id)

    def recognises(self, token: str | bytes) -> bool:
        """Whether this has the outer form of a token under the key of a subject, erased ones too."""
        return self._open.recognises(token)

    # -- requests of data subjects

    def erase(
        self, subject: str, *, tenant: str = "default", request_id: str = "", actor: str = ""
    ) -> SecurityEvent:
        """Erase the key of a subject; return the receipt, which the sink has recorded.

        Afterwards no token of the subject opens, in this process at once, in others within ``poll_seconds``. A subject
        who comes back gets a new key. Erasing one who has no key gives a receipt too, with ``keys`` 0.

        Args:
            subject: Id of the person; it reaches neither receipt nor database.
            tenant: Whose data it is.
            request_id: Names the request in the receipt; choose one that says nothing about the person.
            actor: Id of who erases; left out of the receipt when it is the subject.

        Raises:
            ErasureRefused: There is a legal hold (``erasure.legal_hold``); nothing was erased.
            Unavailable: Nothing was erased; or, with code ``unavailable.erasure``, the key is gone and the disk not scrubbed
                yet, or the receipt not recorded: `resume`, or the next erasure, goes on from there.
            TypeError, ValueError: As for `cipher`.
        """
        cipher = self.cipher(subject, tenant=tenant)
        _name("request_id", request_id, MAX_WORD, empty=True)
        actor = _name("actor", actor, MAX_WORD, empty=True)
        receipt = self._erasures.erase(
            tenant,
            subject,
            self._rows.pseudonym(cipher.tenant, subject),
            holds=self._holds,
            request_id=request_id,
            actor="" if actor == subject else actor,
        )
        self._open.forget(bytes.fromhex(receipt.detail.get("key_id", "")))
        self.resume()
        if receipt.detail["keys"] == 0:
            self._events.record(receipt)
        return receipt

    def export(self, subject: str, *, tenant: str = "default") -> dict[str, Any]:
        """Return what is held about a subject, JSON-ready: id and time of making of the key; empty when there is none.

        Raises:
            Unavailable, Misconfigured: Database or provider cannot be reached.
            TypeError, ValueError: As for `cipher`.
        """
        cipher = self.cipher(subject, tenant=tenant)
        found = self._rows.about(tenant, self._rows.pseudonym(cipher.tenant, subject))
        return {} if found is None else {"tenant": tenant, "key_id": found[0].hex(), "created": found[1]}

    # -- upkeep

    def resume(self) -> tuple[SecurityEvent, ...]:
        """Complete erasures that were interrupted; return their receipts.

        Raises:
            Unavailable: They are still pending, for the reason in the text.
        """
        return self._erasures.complete()

    def reapply(self, erased: Iterable[str | SecurityEvent]) -> int:
        """Erase keys again after a backup of the database was restored; return how many were back.

        Do this before the restored database is used.

        Args:
            erased: Receipts, or the key ids in them. Ids that the backup does not hold are remembered as erased.

        Raises:
            ValueError: One of them is no key id; nothing was erased.
            Unavailable: As for `erase`.
        """
        back = self._erasures.reapply([_key_id(one) for one in erased])
        self._open.expire()
        self.resume()
        return back

    def rewrap(
        self,
        *,
        source: KeyProvider | None = None,
        everything: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Wrap every key under the present key of the provider; return how many were wrapped anew.

        Once the provider's old key is destroyed, backups of the database from before are unreadable. A run that was
        killed or failed goes on where it stopped; keys stay usable all the time.

        Args:
            source: The provider to move away from; None when the provider stays the same.
            everything: Also what names the present key already, for providers that rotate behind one name.
            progress: Called with the number done and the number in all, after each batch.

        Raises:
            IntegrityError: Some could not be unwrapped; all others were rewrapped.
            Unavailable, Misconfigured: Database or provider cannot be reached.
        """
        done = self._rows.rewrap(source=source, everything=everything, progress=progress)
        # Also when nothing was left to do: a run that was killed may have come as far as here.
        self._erasures.scrub()
        if done:
            self._events.record(
                SecurityEvent("subject.rewrapped", time=self._clock.time(), detail={"keys": done})
            )
        return done

    def __repr__(self) -> str:
        return f"SubjectKeys({self._storage!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("SubjectKeys are not pickled: they hold keys")


def open_subjects(settings: Settings, ports: Ports, cipher: FieldCipher) -> SubjectKeys:
    """Return the keys of data subjects in the embedded database, wrapped by the application's key ring.

    Raises:
        Unavailable: The database cannot be used.
    """
    return SubjectKeys(
        ports.storage(),
        RingProvider(cipher),
        notices=ports.notices,
        events=ports.events,
        clock=ports.clock,
    )


def _name(what: str, value: object, most: int, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what}: give a text, not {type(value).__name__}")
    if not value and not empty:
        raise ValueError(f"{what}: give an id, not an empty text")
    if len(value) > most:
        raise ValueError(f"{what}: is longer than {most} code points; give an id")
    try:
        plain = b"\0" not in value.encode()
    except UnicodeEncodeError:
        plain = False
    if not plain:  # outside the handler: the encoder's error carries the id
        raise ValueError(f"{what}: has a NUL or a lone surrogate; give a plain id")
    return value


def _key_id(erased: object) -> bytes:
    text = erased.detail.get("key_id", "") if isinstance(erased, SecurityEvent) else erased
    try:
        key_id = bytes.fromhex(text)  # type: ignore[arg-type]  # what is no text is told below
    except (TypeError, ValueError):
        key_id = b""
    if len(key_id) != KEY_ID_BYTES:
        raise ValueError(
            "give the key ids of receipts, 32 hexadecimal digits each, or the receipts themselves"
        )
    return key_id
