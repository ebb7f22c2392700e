"""Data keys: what really encrypts, derived from a key of the ring for one cipher of one process.

Why derive. A nonce that repeats under one key ends both secrecy and authenticity of GCM. With 96 random bits
NIST SP 800-38D section 8.3 allows 2**32 messages a key, and the count has to span every process, restart and
restored snapshot that ever used the key; nobody can keep such a count. So a key of the ring never encrypts
itself. Each cipher draws a random salt of `SALT_BYTES` and works under

    HKDF-Expand-SHA256(key of the ring, "aisecure field" | version | key id | salt)        RFC 5869 section 2.3

(extraction is left out as section 3.3 allows: the keys are uniformly random). It alone knows that data key to be
in use, so its own count is the whole count: after `MAX_MESSAGES`, and in a forked child, it draws another salt. The salt travels
in the token. Nonces stay random, since a counter would repeat in a snapshot that is restored twice.

A message longer than `LARGE_BYTES` gets a data key for itself, which bounds the blocks under any one key to
2**40 (the distance of GCM from ideal grows with their square: 2**80 / 2**129).

The version, key id and salt are bound because they choose the key; they need no place in the associated data.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from os import urandom
from time import monotonic

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from aisecure.encryption.keyring import Key, Keyring, KeySource

__all__ = ["LARGE_BYTES", "MAX_MESSAGES", "SALT_BYTES", "DataKeys"]

#: Two ciphers that draw one salt share one data key; with 64 bits that takes some 2**32 ciphers of one ring key,
#: and costs then no more than twice the messages under it.
SALT_BYTES = 8
#: Messages under one data key. At most 2**32 (SP 800-38D section 8.3); a new one is drawn long before, as it costs
#: nothing: after 2**40 messages in all, a nonce was repeated under one key with a chance of 2**-33.
MAX_MESSAGES = 2**24
#: 2**16 blocks of 16 bytes.
LARGE_BYTES = 1 << 20

#: Data keys of other processes that are kept derived; deriving one again takes microseconds.
_KEPT = 4096
_VERSION_OF_SIZE = {4: b"\x02", 16: b"\x03"}


class DataKey:
    """A data key to encrypt with, and how many messages it has encrypted.

    Attributes:
        head: First bytes of the tokens it makes: version, key id, salt.
        aead: The primitive.
        seal: ``aead.encrypt``, looked up once.
        use: Counts a message; raises StopIteration when there were `limit`. One step of the interpreter, so that
            threads need no lock.
    """

    __slots__ = ("aead", "head", "seal", "use")

    def __init__(self, key: Key, limit: int) -> None:
        self.head = _VERSION_OF_SIZE[len(key.id)] + key.id + urandom(SALT_BYTES)
        self.aead = _derive(key, self.head)
        self.seal: Callable[[bytes, bytes, bytes], bytes] = self.aead.encrypt
        self.use: Callable[[], int] = iter(range(limit)).__next__


class DataKeys:
    """The data keys of one cipher: the one that it encrypts with, and those that it met in tokens.

    Attributes:
        expires: When to call `refresh`, by the monotonic clock; None for a ring that was given once.
        limit: Messages under one data key.
        sealing: What encrypts now.
        ring: The ring they come from.
        source: The ring as given, or where the present one is found.
        opening: What decrypts, by the head of tokens; what is not in it may still be had by `find`.
        head_size: Bytes of a head.
    """

    __slots__ = (
        "__weakref__",
        "_lock",
        "expires",
        "head_size",
        "limit",
        "opening",
        "ring",
        "sealing",
        "source",
    )

    def __init__(self, keys: Keyring | KeySource, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self.expires: float | None = None
        self.source = keys
        if isinstance(keys, Keyring):
            self._adopt(keys)
        else:
            self._adopt(keys.ring())
            self.expires = monotonic() + keys.poll_seconds
            keys.subscribe(self.expire)
        _LIVE.add(self)

    def _adopt(self, ring: Keyring) -> None:
        self.ring = ring
        sealing = DataKey(ring.primary_key, self.limit)
        self.head_size = len(sealing.head)
        # A new table, so that no data key of a key that is gone stays.
        self.opening = {sealing.head: sealing.aead}
        self.sealing = sealing

    def expire(self) -> None:
        """Ask for the present ring before anything else is done."""
        self.expires = 0.0

    def refresh(self) -> None:
        """Take over the present ring.

        Raises:
            Unavailable, Misconfigured: It cannot be had; nothing may be encrypted or decrypted.
        """
        with self._lock:
            source = self.source
            if isinstance(source, Keyring) or (self.expires is not None and monotonic() < self.expires):
                return  # another thread was here first
            # Set first: a change that is told meanwhile must not be overwritten.
            self.expires = monotonic() + source.poll_seconds
            try:
                ring = source.ring()
            except BaseException:
                self.expires = 0.0
                raise
            if ring is not self.ring:
                self._adopt(ring)

    def other(self, size: int) -> DataKey:
        """Return a data key for a message of so many bytes when the present one may not take it."""
        if size > LARGE_BYTES:
            return DataKey(self.ring.primary_key, 1)
        with self._lock:
            try:
                self.sealing.use()  # another thread may have been here first
            except StopIteration:
                self.sealing = DataKey(self.ring.primary_key, self.limit)
                self._keep(self.sealing.head, self.sealing.aead)
                self.sealing.use()
            return self.sealing

    def open(self, head: bytes, key_id: bytes, nonce: bytes, sealed: bytes, place: bytes) -> bytes:
        """Open a message under a data key that is not among `opening`, and keep the key if it was the right one.

        Raises:
            KeyError: The ring has no such key.
            InvalidTag, ValueError: It does not open.
        """
        ring = self.ring
        key = ring.get(key_id)
        if key is None:
            raise KeyError
        aead = _derive(key, head)
        data = aead.decrypt(nonce, sealed, place)
        if len(data) <= LARGE_BYTES:  # a longer one had a key for itself
            with self._lock:
                if self.ring is ring:
                    self._keep(head, aead)
        return data

    def _keep(self, head: bytes, aead: AESGCM) -> None:
        while len(self.opening) >= _KEPT:
            del self.opening[next(iter(self.opening))]
        self.opening[head] = aead

    def after_fork(self) -> None:
        """Let the next message of a child draw a data key, since the parent goes on under the present one."""
        self._lock = threading.Lock()  # a thread that is not here may have held it
        self.sealing.use = iter(()).__next__


def _derive(key: Key, head: bytes) -> AESGCM:
    return AESGCM(HKDFExpand(SHA256(), 32, b"aisecure field" + head).derive(key.secret))


_LIVE: weakref.WeakSet[DataKeys] = weakref.WeakSet()


def _after_fork() -> None:
    for keys in tuple(_LIVE):
        keys.after_fork()


os.register_at_fork(after_in_child=_after_fork)
