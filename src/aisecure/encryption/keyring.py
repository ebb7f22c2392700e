"""A set of keys, one of them primary, and the file they live in.

The file is JSON: ``format``, ``version``, ``primary`` (a key id), ``keys`` (oldest first, each with ``id``,
``algorithm``, ``created``, ``key``) and ``check``, a SHA-256 of all the rest in canonical form. The check finds
damage and half-copied files; it is no protection against somebody who can write the file.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from aisecure.errors import Misconfigured
from aisecure.ports import Clock, SystemClock
from aisecure.storage import read_private, update_private

__all__ = ["Key", "Keyring"]

FORMAT = "aisecure-keyring"
VERSION = 1
ALGORITHM = "AES-256-GCM"
KEY_BYTES = 32
#: Ids are random, so that rings that grew apart can be told apart; a collision inside a ring is drawn again.
ID_BYTES = 4

_REMEDY = "restore the file from a backup"


@dataclass(frozen=True, slots=True)
class Key:
    """One AES-256 key; its ``repr`` leaves the secret out.

    Attributes:
        id: `ID_BYTES` random bytes, written into every token.
        secret: `KEY_BYTES` random bytes.
        created: Seconds since the epoch, UTC.
    """

    id: bytes
    secret: bytes = field(repr=False)
    created: int


class Keyring:
    """Keys that can decrypt, one of which, the primary, encrypts; immutable.

    Make one with `generate`, `load` or `open`; keep it with `save`. Losing the file loses everything that was
    encrypted with it, so back it up apart from the data.

    >>> ring = Keyring.generate()
    >>> newer = ring.rotate()
    >>> newer.key_ids[0] == ring.primary, newer.key_ids[-1] == newer.primary
    (True, True)
    """

    __slots__ = ("_keys", "_primary")

    _keys: Mapping[bytes, Key]
    _primary: bytes

    def __init__(self, keys: tuple[Key, ...], primary: bytes) -> None:
        by_id = {key.id: key for key in keys}
        if len(by_id) != len(keys) or primary not in by_id:
            raise ValueError("a key ring has keys with different ids, one of which is the primary")
        object.__setattr__(self, "_keys", by_id)
        object.__setattr__(self, "_primary", primary)

    @classmethod
    def generate(cls, *, clock: Clock | None = None, random: Callable[[int], bytes] = os.urandom) -> Keyring:
        """Return a ring with one new key.

        Args:
            clock: When the key was made.
            random: Source of cryptographic randomness; takes a number of bytes.
        """
        key = _new_key((), clock or SystemClock(), random)
        return cls((key,), key.id)

    def rotate(self, *, clock: Clock | None = None, random: Callable[[int], bytes] = os.urandom) -> Keyring:
        """Return a ring with a new primary key; the old keys still decrypt. This ring stays as it is."""
        key = _new_key(self._keys, clock or SystemClock(), random)
        return Keyring((*self._keys.values(), key), key.id)

    @property
    def primary(self) -> str:
        """Id of the key that encrypts, as hexadecimal."""
        return self._primary.hex()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of all keys, oldest first, as hexadecimal."""
        return tuple(key_id.hex() for key_id in self._keys)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys themselves, oldest first, for ciphers."""
        return tuple(self._keys.values())

    def __repr__(self) -> str:
        return f"Keyring(primary={self.primary!r}, key_ids={list(self.key_ids)!r})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Keyring is immutable: cannot set {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Keyring is immutable: cannot delete {name}")

    def __reduce__(self) -> NoReturn:
        # A pickle would carry the keys into caches and queues that nobody thinks of as secret.
        raise TypeError("a Keyring is not pickled: save() it, and load() it where it is needed")

    # -- the file

    @classmethod
    def load(cls, path: str | Path) -> Keyring:
        """Return the ring that a file holds.

        Raises:
            Misconfigured: The file is missing, damaged, from a newer version, or readable by others than its
                owner; the text names file, key and remedy.
            Unavailable: The disk failed.
        """
        return _parse(read_private(Path(path)), str(path))

    @classmethod
    def open(cls, path: str | Path, *, clock: Clock | None = None) -> tuple[Keyring, bool]:
        """Return the ring that a file holds, and whether it was created just now.

        Of processes that open an absent file at the same time one creates it, and all get the same ring.

        Raises:
            Misconfigured: As for `load`, or the file cannot be created.
            Unavailable: The disk is full or failed.
        """
        path = Path(path)
        try:
            return cls.load(path), False  # also where the folder cannot be written, as a mounted secret
        except Misconfigured as err:
            if err.code != "config.missing":
                raise
        new = _format(cls.generate(clock=clock))
        data = update_private(path, lambda before: new if before is None else before)
        return _parse(data, str(path)), data is new

    def save(self, path: str | Path) -> None:
        """Write the ring to a file with mode 0600; a crash leaves the old file or the new one.

        Raises:
            Misconfigured: The file holds keys that this ring lacks (another process rotated meanwhile, or it
                is another ring): writing would make what they encrypted unreadable. Or it cannot be written.
            Unavailable: The disk is full or failed; the old file is as it was.
        """
        path = Path(path)

        def change(before: bytes | None) -> bytes:
            if before is not None:
                lost = sorted({*_parse(before, str(path)).key_ids} - {*self.key_ids})
                if lost:
                    raise Misconfigured(
                        f"{path}: key {lost[0]} is in the file and not in the ring to be saved; "
                        "load the file again before you rotate, or save under another name",
                        code="config.keys_lost",
                    )
            return _format(self)

        update_private(path, change)

    @classmethod
    def rotate_file(cls, path: str | Path, *, clock: Clock | None = None) -> Keyring:
        """Give the ring in a file a new primary key, as one step among all processes; return the new ring.

        Raises:
            Misconfigured: As for `load`.
            Unavailable: The disk is full or failed; the old file is as it was.
        """
        path = Path(path)

        def change(before: bytes | None) -> bytes:
            if before is None:
                raise Misconfigured(
                    f"{path}: no such file; there is nothing to rotate", code="config.missing"
                )
            return _format(_parse(before, str(path)).rotate(clock=clock))

        return _parse(update_private(path, change), str(path))


def _new_key(taken: Mapping[bytes, Key] | tuple[()], clock: Clock, random: Callable[[int], bytes]) -> Key:
    key_id = random(ID_BYTES)
    while key_id in taken:
        key_id = random(ID_BYTES)
    return Key(key_id, random(KEY_BYTES), int(clock.time()))


def _check(body: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in body.items() if name != "check"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _format(ring: Keyring) -> bytes:
    body: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "primary": ring.primary,
        "keys": [
            {
                "id": key.id.hex(),
                "algorithm": ALGORITHM,
                "created": key.created,
                "key": base64.b64encode(key.secret).decode(),
            }
            for key in ring.keys
        ],
    }
    body["check"] = _check(body)
    return (json.dumps(body, indent=2) + "\n").encode()


def _parse(data: bytes, source: str) -> Keyring:
    """Return the ring in a file's bytes.

    Raises:
        Misconfigured: They are none; the text never quotes them.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):  # outside the handler: the decoder's error carries the whole text
        raise Misconfigured(f"{source}: not a key ring, or cut short; {_REMEDY}")
    if body.get("format") != FORMAT:
        raise Misconfigured(f'{source}: format: is not "{FORMAT}"; name a file that Keyring.save wrote')
    version = body.get("version")
    if type(version) is not int or version < 1:
        raise Misconfigured(f"{source}: version: is no number of a version; {_REMEDY}")
    if version > VERSION:
        raise Misconfigured(
            f"{source}: version: is {version}, this library knows {VERSION}; upgrade aisecure",
            code="config.version",
        )
    try:
        matches = hmac.compare_digest(str(body.get("check")), _check(body))
    except (TypeError, ValueError):
        matches = False
    if not matches:
        raise Misconfigured(f"{source}: check: does not match, so the file was damaged or edited; {_REMEDY}")
    try:
        keys = tuple(map(_parse_key, body["keys"]))
        return Keyring(keys, bytes.fromhex(body["primary"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise Misconfigured(f"{source}: keys: an entry is not of the form of version {VERSION}; {_REMEDY}")


def _parse_key(entry: Mapping[str, Any]) -> Key:
    key_id, secret = bytes.fromhex(entry["id"]), base64.b64decode(entry["key"], validate=True)
    created = entry["created"]
    sizes = len(key_id), len(secret), type(created)
    if sizes != (ID_BYTES, KEY_BYTES, int) or entry["algorithm"] != ALGORITHM:
        raise ValueError("of another form")
    return Key(key_id, secret, created)
