"""A key ring in a file, wrapped by a key provider or guarded by its mode alone.

The file is JSON, ``"format": "aisecure-keyring"``. Version 2 holds either

    "keys", "primary", "destroyed", "check"     in clear, with a SHA-256 over all else; mode 0600 guards it
    "provider", "wrapped", "sealed"             the same, sealed with AES-256-GCM under a key drawn at every
                                                writing, which the provider wrapped

so that one question to the provider opens a ring of any size, and whoever can write the file, but not ask the
provider, can neither read nor change a ring nor bring a retired key back. They can put an older file in its place.
Version 1 is the first form without states; it is read, and written as version 2 at the next change.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aisecure.encryption.keyring import ID_SIZES, KEY_BYTES, Key, Keyring
from aisecure.encryption.providers import KeyProvider
from aisecure.errors import AISecureError, DecryptionError, Misconfigured, Unavailable
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.storage import read_private, update_private

__all__ = ["CACHE_SECONDS", "POLL_SECONDS", "KeyFile"]

FORMAT = "aisecure-keyring"
VERSION = 2
ALGORITHM = "AES-256-GCM"
#: How long a ring that was unwrapped is used before the provider is asked again, and so how long a provider that was
#: told to refuse goes unnoticed. The default of the AWS guidance for data key caches, five minutes.
CACHE_SECONDS = 300.0
#: How often the file is looked at for changes of other processes, and how soon a failed provider is asked again.
POLL_SECONDS = 1.0

_REMEDY = "restore the file from a backup"


class KeyFile:
    """A key ring in a file; give it to a `FieldCipher`, or change it.

    Losing the file loses everything that was encrypted with it, so back it up apart from the data. Processes
    that share it see each other's changes within ``poll_seconds``; changes take turns, and a crash
    at any moment leaves the old ring or the new one.

    Args:
        path: The file, mode 0600; links are followed. Its folder must be on a file system with locks (not NFS).
        provider: Wraps the ring; None leaves it in clear.
        cache_seconds: How long an unwrapped ring may be used; then the provider is asked again, and one that
            cannot be reached stops all ciphers of this file.
        poll_seconds: How often the file is looked at.
        clock: ``time`` dates keys and events, ``monotonic`` bounds the cache; a clock set back changes nothing.
        events: Takes ``keyring.*``.

    >>> file = KeyFile("keys/fields.json")
    >>> ring = file.open()
    >>> file.rotate().key_ids[0] == ring.primary
    True
    """

    def __init__(
        self,
        path: str | Path,
        *,
        provider: KeyProvider | None = None,
        cache_seconds: float = CACHE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        clock: Clock | None = None,
        events: EventSink = discard,
    ) -> None:
        if not (cache_seconds > 0 and poll_seconds > 0):
            raise ValueError("cache_seconds and poll_seconds are numbers above 0")
        if provider is not None and not isinstance(provider, KeyProvider):
            raise TypeError(f"provider is a KeyProvider, not {type(provider).__name__}")
        self.path = Path(path)
        self.poll_seconds = poll_seconds
        self.provider = provider
        self._cache_seconds = cache_seconds
        self.clock = clock or SystemClock()
        self.events = events
        self._lock = threading.Lock()
        self._ring: Keyring | None = None
        self._digest = b""
        self._until = 0.0  # the ring in memory is good until then
        self._failure: AISecureError | None = None
        self._failed_until = 0.0
        self._followers: list[weakref.WeakMethod[Callable[[], None]]] = []
        _LIVE.add(self)

    def __repr__(self) -> str:
        return f"KeyFile({str(self.path)!r}, provider={None if self.provider is None else self.provider.key_id!r})"

    # -- reading

    def open(self) -> Keyring:
        """Return the ring, which is created when the file is absent.

        Of processes that open an absent file at the same time one creates it, and all get the same ring.

        Raises:
            Misconfigured: The file is damaged, from a newer version, readable by others than its owner, wrapped by
                another provider, or cannot be created; the text names file, key and remedy.
            Unavailable: The disk is full or failed, or the provider cannot be reached.
        """
        try:
            return self.ring()  # also where the folder cannot be written, as a mounted secret
        except Misconfigured as err:
            if err.code != "config.missing":
                raise
        made: list[Keyring] = []

        def create(before: bytes | None) -> bytes:
            if before is not None:
                return before
            made.append(Keyring.generate(clock=self.clock))
            return self._format(made[0])

        self._update(create)
        if made:
            self._record("keyring.created", made[0].primary)
        return self.ring()

    def ring(self) -> Keyring:
        """Return the ring as it is now; the same object while nothing changed.

        Raises:
            Misconfigured, Unavailable: As for `open`, or there is no file (``config.missing``).
        """
        with self._lock:
            known = self._failure
            if known is not None and self.clock.monotonic() < self._failed_until:
                raise _again(known)
            try:
                ring = self._read()
            except AISecureError as err:
                self._failure, self._failed_until = _again(err), self.clock.monotonic() + self.poll_seconds
                failed, missing = err, err.code == "config.missing" and self._ring is None
            else:
                self._failure = None
                return ring
        # Said once, when it begins, and outside the lock, since a sink may have something to encrypt.
        if known is None and not missing:
            self._record("keyring.unavailable", code=failed.code)
        raise failed

    def _read(self) -> Keyring:
        data = read_private(self.path)
        digest = hashlib.sha256(data).digest()
        if self._ring is not None and digest == self._digest and self.clock.monotonic() < self._until:
            return self._ring
        ring = self._parse(data)
        if self._ring is None or digest != self._digest:
            self._ring, self._digest = ring, digest
        self._until = self.clock.monotonic() + self._cache_seconds
        return self._ring

    # -- changing

    def rotate(self) -> Keyring:
        """Give the ring a new primary key, and return the new ring; the old keys still decrypt.

        Raises:
            Misconfigured: There is no file, or it cannot be read.
            Unavailable: The disk is full or failed, or the provider cannot be reached; the old ring is as it was.
        """
        ring = self._change(lambda ring: ring.rotate(clock=self.clock))
        self._record("keyring.rotated", ring.primary)
        return ring

    def retire(self, key_id: str) -> Keyring:
        """Let a key decrypt nothing any more, until it is reinstated or destroyed; errors as for `rotate`.

        Raises:
            ValueError: There is no such key, or it is the primary.
        """
        ring = self._change(lambda ring: ring.retire(key_id))
        self._record("keyring.retired", key_id)
        return ring

    def reinstate(self, key_id: str) -> Keyring:
        """Let a retired key decrypt again; errors as for `retire`."""
        ring = self._change(lambda ring: ring.reinstate(key_id))
        self._record("keyring.reinstated", key_id)
        return ring

    def destroy(self, key_id: str) -> Keyring:
        """Remove a retired key for ever; errors as for `retire`.

        What it encrypted is lost, wherever it lies. The file is replaced, not overwritten: backups of it, and on many
        disks its old blocks, still hold the key; a provider keeps those from being of use to who finds them.
        """
        ring = self._change(lambda ring: ring.destroy(key_id))
        self._record("keyring.destroyed", key_id)
        return ring

    def rewrap(self, provider: KeyProvider | None) -> Keyring:
        """Wrap the ring by another provider (None: leave it in clear), or anew by the same; the keys stay.

        Objects and processes that still name the old provider fail closed, so restart them after this.

        Raises:
            Misconfigured, Unavailable: As for `rotate`.
        """
        old = self.provider

        def change(before: bytes | None) -> bytes:
            ring = self._parse(self._present(before))
            self.provider = provider
            return self._format(ring)

        try:
            self._update(change)
        except BaseException:
            self.provider = old
            raise
        ring = self.ring()
        self._record("keyring.rewrapped", ring.primary)
        return ring

    def _change(self, change: Callable[[Keyring], Keyring]) -> Keyring:
        self._update(lambda before: self._format(change(self._parse(self._present(before)))))
        return self.ring()

    def _update(self, change: Callable[[bytes | None], bytes]) -> None:
        try:
            update_private(self.path, change)
        except Unavailable as err:
            self._record("keyring.unavailable", code=err.code)
            raise
        with self._lock:
            self._digest, self._failure = b"", None
        for follower in tuple(self._followers):
            callback = follower()
            if callback is not None:
                callback()

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call a bound method after each change through this object, for as long as the method's object lives."""
        self._followers = [follower for follower in self._followers if follower() is not None]
        self._followers.append(weakref.WeakMethod(callback))

    def _present(self, data: bytes | None) -> bytes:
        if data is None:
            raise Misconfigured(
                f"{self.path}: no such file; there is no key ring to change", code="config.missing"
            )
        return data

    def _record(self, event_type: str, key_id: str = "", *, code: str = "") -> None:
        detail = {"key_id": key_id} if key_id else {}
        result = Result.FAILURE if code else Result.SUCCESS
        self.events.record(
            SecurityEvent(event_type, time=self.clock.time(), result=result, code=code, detail=detail)
        )

    # -- the format

    def _format(self, ring: Keyring) -> bytes:
        body = _body(ring)
        head: dict[str, Any] = {"format": FORMAT, "version": VERSION}
        if self.provider is None:
            whole = head | body
            whole["check"] = _check(whole)
        else:
            head["provider"] = self.provider.key_id
            kek, nonce, place = os.urandom(KEY_BYTES), os.urandom(12), _place(head)
            sealed = nonce + AESGCM(kek).encrypt(nonce, _canonical(body), place)
            wrapped = self.provider.wrap(kek, associated_data=place)
            whole = head | {"wrapped": _b64(wrapped), "sealed": _b64(sealed)}
        return (json.dumps(whole, indent=2) + "\n").encode()

    def _parse(self, data: bytes) -> Keyring:
        """Return the ring in a file's bytes.

        Raises:
            Misconfigured: They are none; the text never quotes them.
            Unavailable: The provider cannot be reached.
        """
        source = str(self.path)
        whole = _outer(data, source)
        if "provider" not in whole:
            if self.provider is not None:
                raise Misconfigured(
                    f"{source}: is not wrapped, and a provider is configured; "
                    "run aisecure keys ring rewrap, or leave the provider out",
                    code="config.key_provider",
                )
            if not hmac.compare_digest(
                str(whole.get("check")).encode("utf-8", "replace"), _check(whole).encode()
            ):
                raise Misconfigured(
                    f"{source}: check: does not match, so the file was damaged or edited; {_REMEDY}"
                )
            return _ring(whole, source)
        if self.provider is None or whole["provider"] != self.provider.key_id:
            name = whole["provider"] if isinstance(whole["provider"], str) else "?"
            raise Misconfigured(
                f"{source}: provider: the ring is wrapped by {name[:200]!r}; configure that provider, "
                "or restore the file that belongs to yours",
                code="config.key_provider",
            )
        return _ring(self._unseal(whole, source), source)

    def _unseal(self, whole: Mapping[str, Any], source: str) -> Mapping[str, Any]:
        place = _place({name: whole[name] for name in ("format", "version", "provider")})
        assert self.provider is not None  # noqa: S101  (the caller looked)
        try:
            wrapped, sealed = _unb64(whole.get("wrapped")), _unb64(whole.get("sealed"))
            kek = self.provider.unwrap(wrapped, associated_data=place)
            body = json.loads(AESGCM(kek).decrypt(sealed[:12], sealed[12:], place))
        except (DecryptionError, InvalidTag, ValueError, TypeError, RecursionError):
            body = None
        if not isinstance(body, dict):  # outside the handler, so that nothing of the key is chained
            raise Misconfigured(
                f"{source}: sealed: does not open, so the file was damaged or edited, or the provider's key is another; {_REMEDY}"
            )
        return body


def _outer(data: bytes, source: str) -> dict[str, Any]:
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        whole = None
    if not isinstance(whole, dict):  # outside the handler: the decoder's error carries the whole text
        raise Misconfigured(f"{source}: not a key ring, or cut short; {_REMEDY}")
    if whole.get("format") != FORMAT:
        raise Misconfigured(f'{source}: format: is not "{FORMAT}"; name a file that KeyFile wrote')
    version = whole.get("version")
    if type(version) is not int or version < 1:
        raise Misconfigured(f"{source}: version: is no number of a version; {_REMEDY}")
    if version > VERSION:
        raise Misconfigured(
            f"{source}: version: is {version}, this library knows {VERSION}; upgrade aisecure",
            code="config.version",
        )
    return whole


def _body(ring: Keyring) -> dict[str, Any]:
    return {
        "primary": ring.primary,
        "keys": [
            {
                "id": key.id.hex(),
                "algorithm": ALGORITHM,
                "created": key.created,
                "retired": key.retired,
                "key": _b64(key.secret),
            }
            for key in ring.keys
        ],
        "destroyed": list(ring.destroyed),
    }


def _ring(body: Mapping[str, Any], source: str) -> Keyring:
    try:
        keys = tuple(map(_key, body["keys"]))
        gone = tuple(map(bytes.fromhex, body.get("destroyed", [])))
        return Keyring(keys, bytes.fromhex(body["primary"]), gone)
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise Misconfigured(f"{source}: keys: an entry is not of the form that this library wrote; {_REMEDY}")


def _key(entry: Mapping[str, Any]) -> Key:
    key_id, secret, created = bytes.fromhex(entry["id"]), _unb64(entry["key"]), entry["created"]
    retired = entry.get("retired", False)
    good = len(key_id) in ID_SIZES and len(secret) == KEY_BYTES
    if not good or type(created) is not int or type(retired) is not bool or entry["algorithm"] != ALGORITHM:
        raise ValueError("of another form")
    return Key(key_id, secret, created, retired)


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _check(whole: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical({k: v for k, v in whole.items() if k != "check"})).hexdigest()


def _place(head: Mapping[str, Any]) -> bytes:
    # Hashed, because a provider takes a bounded length and the name of its key is in it.
    return hashlib.sha256(_canonical(head)).digest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: Any) -> bytes:
    return base64.b64decode(text, validate=True)


def _again(err: AISecureError) -> AISecureError:
    """Return an error like the one that was met, without its traceback, which would keep keys alive."""
    return type(err)(err.detail, code=err.code, retry_after=err.retry_after)


_LIVE: weakref.WeakSet[KeyFile] = weakref.WeakSet()


def _after_fork() -> None:
    for file in tuple(_LIVE):
        file._lock = threading.Lock()  # noqa: SLF001  (a thread that is not in the child may have held it)


os.register_at_fork(after_in_child=_after_fork)
