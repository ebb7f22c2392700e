"""The keys of data subjects in memory: bounded in number and age, and checked against erasure at every use."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from aisecure.encryption.cipher import FieldCipher, key_id_of
from aisecure.encryption.context import Part
from aisecure.encryption.erasure import Erasures
from aisecure.encryption.keyring import KEY_BYTES, Key, Keyring
from aisecure.encryption.subject_rows import KEY_ID_BYTES, SubjectRows
from aisecure.errors import DecryptionError

__all__ = ["OpenKeys", "SubjectCipher"]


class _Opened(NamedTuple):
    """A key in memory; the pseudonym is None where it was found by a token."""

    tenant: str
    pseudonym: bytes | None
    key_id: bytes
    cipher: FieldCipher
    until: float


class OpenKeys:
    """Unwrapped keys of data subjects, and the bound on how long they outlive an erasure.

    Args:
        rows: Where keys are found and made.
        erasures: What is erased; asked once in ``poll_seconds``, whatever the number of subjects.
        monotonic: Clock of both bounds.
        random: Source of cryptographic randomness.
        poll_seconds, cache_seconds, cached_keys: As for `aisecure.encryption.SubjectKeys`.
    """

    def __init__(
        self,
        rows: SubjectRows,
        erasures: Erasures,
        *,
        monotonic: Callable[[], float],
        random: Callable[[int], bytes],
        poll_seconds: float,
        cache_seconds: float,
        cached_keys: int,
    ) -> None:
        self._rows = rows
        self._erasures = erasures
        self._monotonic = monotonic
        self._poll_seconds = poll_seconds
        self._cache_seconds = cache_seconds
        self._cached_keys = cached_keys
        self._lock = threading.Lock()
        self._opened: OrderedDict[bytes, _Opened] = OrderedDict()
        # Which of them is whose, by pseudonym: an application makes a cipher for each request.
        self._ids: dict[bytes, bytes] = {}
        self._seen = erasures.newest()
        self._fresh_until = -math.inf
        # Opens nothing: where a subject has no key, a token is judged as by any other cipher.
        self._nobody = _cipher(Key(random(KEY_ID_BYTES), random(KEY_BYTES), 0))
        me = weakref.ref(self)

        def changed(_: int) -> None:  # no method: a subscription must not keep the keys alive
            if (keys := me()) is not None:
                keys.expire()

        #: To subscribe to notices with.
        self.changed = changed
        _LIVE.add(self)

    def expire(self) -> None:
        """Ask what is erased before anything else is done."""
        with self._lock:  # a thread that just now asks must not overwrite it
            self._fresh_until = -math.inf

    def forget(self, key_id: bytes) -> None:
        """Drop a key that was erased here, and ask what else is before anything is done."""
        with self._lock:
            self._drop(key_id)
            self._fresh_until = -math.inf

    def sealing(self, cipher: SubjectCipher) -> FieldCipher:
        """Return what encrypts for a subject now; its key is made when there is none.

        Raises:
            Unavailable, Misconfigured, DecryptionError: As for `SubjectRows.find`.
        """
        return self._held(cipher.key_id) or self._find(cipher) or self._make(cipher)

    def opening(self, cipher: SubjectCipher) -> FieldCipher:
        """Return what decrypts for a subject now; errors as for `sealing`."""
        return self._held(cipher.key_id) or self._find(cipher) or self._nobody

    def of_token(self, token: str | bytes, tenant: str) -> FieldCipher:
        """Return what decrypts a token, if its key is of the tenant; errors as for `sealing`."""
        key_id = key_id_of(token)
        held = self._held(key_id, tenant)
        if held is not None:
            return held
        opened = self._open(tenant, None, lambda: self._rows.find_id(tenant, key_id))
        return self._nobody if opened is None else opened.cipher

    def recognises(self, token: str | bytes) -> bool:
        """Whether this has the outer form of a token under the key of a subject, erased ones too."""
        try:
            key_id = key_id_of(token)
        except DecryptionError:
            return False
        return len(key_id) == KEY_ID_BYTES and (self._rows.knows(key_id) or self._erasures.has(key_id))

    def _find(self, cipher: SubjectCipher) -> FieldCipher | None:
        pseudonym = self._rows.pseudonym(cipher.tenant, cipher.subject)
        held = self._held(self._ids.get(pseudonym, b""))
        if held is not None:
            cipher.key_id = held.keyring.primary_key.id
            return held
        opened = self._open(cipher.tenant, pseudonym, lambda: self._rows.find(cipher.tenant, pseudonym))
        if opened is None:
            return None
        cipher.key_id = opened.key_id
        return opened.cipher

    def _make(self, cipher: SubjectCipher) -> FieldCipher:
        pseudonym = self._rows.pseudonym(cipher.tenant, cipher.subject)
        opened = self._open(cipher.tenant, pseudonym, lambda: self._rows.make(cipher.tenant, pseudonym))
        assert opened is not None  # noqa: S101  (for the type: make always gives a key)
        cipher.key_id = opened.key_id
        return opened.cipher

    def _held(self, key_id: bytes, tenant: str | None = None) -> FieldCipher | None:
        """Return a key from memory, after the check that every use makes."""
        now = self._monotonic()
        if now >= self._fresh_until:
            self._poll()
        opened = self._opened.get(key_id)
        if opened is None or now >= opened.until or (tenant is not None and opened.tenant != tenant):
            return None
        try:  # noqa: SIM105  (suppress costs more than all of this check)
            self._opened.move_to_end(key_id)
        except KeyError:  # another thread dropped it meanwhile
            pass
        return opened.cipher

    def _open(self, tenant: str, pseudonym: bytes | None, find: Callable[[], Key | None]) -> _Opened | None:
        while True:
            seen, start = self._seen, self._monotonic()
            key = find()
            if key is None:
                return None
            if self._monotonic() >= self._fresh_until:  # the provider may have taken its time
                self._poll()
            opened = _Opened(tenant, pseudonym, key.id, _cipher(key), start + self._cache_seconds)
            with self._lock:
                # An erasure that was seen meanwhile may be that of this key, and has found nothing to drop.
                if seen == self._seen:
                    self._drop(key.id)
                    self._opened[key.id] = opened
                    if pseudonym is not None:
                        self._ids[pseudonym] = key.id
                    while len(self._opened) > self._cached_keys:
                        self._drop(next(iter(self._opened)))
                    return opened

    def _poll(self) -> None:
        """Drop the keys that were erased since the last time.

        Raises:
            Unavailable: The database cannot be read, so an erasure could be missed.
        """
        with self._lock:
            now = self._monotonic()
            if now < self._fresh_until:
                return  # another thread was here first
            newest = self._erasures.newest()
            erased = self._erasures.since(self._seen) if newest > self._seen else ()
            for key_id in erased:
                self._drop(key_id)
            if newest < self._seen:  # a backup was put in the database's place
                self._opened.clear()
                self._ids.clear()
            self._seen = newest
            self._fresh_until = now + self._poll_seconds

    def _drop(self, key_id: bytes) -> None:
        opened = self._opened.pop(key_id, None)
        if opened is not None and opened.pseudonym is not None:
            self._ids.pop(opened.pseudonym, None)

    def after_fork(self) -> None:
        """Forget the lock, which a thread that is not here may have held."""
        self._lock = threading.Lock()


class SubjectCipher:
    """The cipher of one data subject; made by `SubjectKeys.cipher`, and a `aisecure.ports.Cipher`.

    It stands for the subject and not for one key: after an erasure it makes a new key when it encrypts again, and
    never opens what was encrypted before. Every use checks, at most ``poll_seconds`` late, that the key was not erased.

    Errors are those of `FieldCipher`, and Unavailable or Misconfigured when database or provider cannot be reached.
    """

    __slots__ = ("_keys", "key_id", "subject", "tenant")

    def __init__(self, keys: OpenKeys, subject: str, tenant: str) -> None:
        self._keys = keys
        self.subject = subject
        #: Id of the key that was the subject's at the last use.
        self.key_id = b""
        self.tenant = tenant

    @property
    def keyring(self) -> Keyring:
        """A ring of the subject's present key alone, made when there is none; for files and streams."""
        return self._keys.sealing(self).keyring

    @property
    def opening_keyring(self) -> Keyring:
        """The same for reading: where there is no key none is made, and the ring opens nothing."""
        return self._keys.opening(self).keyring

    def encrypt(self, plaintext: str, *, context: tuple[Part, ...] = ()) -> str:
        """Return a text token; see `FieldCipher.encrypt`."""
        return self._keys.sealing(self).encrypt(plaintext, context=context)

    def decrypt(self, token: str, *, context: tuple[Part, ...] = ()) -> str:
        """Return the text of a token of this subject; see `FieldCipher.decrypt`.

        Raises:
            DecryptionError: For every reason alike, an erased key too; `SubjectKeys.is_erased` tells.
        """
        return self._keys.opening(self).decrypt(token, context=context)

    def encrypt_bytes(self, data: bytes, *, context: tuple[Part, ...] = ()) -> bytes:
        """Return a binary token; see `FieldCipher.encrypt_bytes`."""
        return self._keys.sealing(self).encrypt_bytes(data, context=context)

    def decrypt_bytes(self, token: bytes, *, context: tuple[Part, ...] = ()) -> bytes:
        """Return the bytes of a binary token of this subject; errors as for `decrypt`."""
        return self._keys.opening(self).decrypt_bytes(token, context=context)

    def recognises(self, token: str | bytes) -> bool:
        """Whether this has the outer form of a token of any subject; see `SubjectKeys.recognises`."""
        return self._keys.recognises(token)

    def __repr__(self) -> str:
        return f"SubjectCipher(tenant={self.tenant!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SubjectCipher is not pickled: it names a person, and holds keys")


def _cipher(key: Key) -> FieldCipher:
    return FieldCipher(Keyring((key,), key.id))


_LIVE: weakref.WeakSet[OpenKeys] = weakref.WeakSet()


def _after_fork() -> None:
    for keys in tuple(_LIVE):
        keys.after_fork()


os.register_at_fork(after_in_child=_after_fork)
