"""Values inside of dictionaries, lists and dataclasses, encrypted by the path that leads to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import EllipsisType, NoneType
from typing import Any

from aisecure.encryption.binding import SHORTEST_TOKEN, bind
from aisecure.encryption.context import Part
from aisecure.errors import DecryptionError
from aisecure.ports import Cipher

__all__ = ["FieldPaths", "decrypt_paths", "encrypt_paths"]

#: One step: a key, an index, or ``...`` for all of either.
Step = str | int | EllipsisType
Path = str | tuple[Step, ...]
#: A concrete path: keys and indexes.
Place = tuple[str | int, ...]

#: Nested deeper is no data that a JSON parser would take; a cycle is endlessly deep.
MAX_DEPTH = 200
#: Values under one call; shared parts count as often as they are met, since they are written as often.
MAX_VALUES = 10_000_000

# Cycles are looked for before, where the bounds are.
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_SCALARS = frozenset({str, int, float, bool, NoneType})

_STEP = re.compile(r"\[(?:(\d+)|\*)\]|((?:[^.\\\[\]]|\\.)+)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class _AnyKey:
    """``*``: every key of a dictionary."""


class _AnyIndex:
    """``[*]``: every element of a list."""


_Compiled = tuple[str | int | EllipsisType | type[_AnyKey] | type[_AnyIndex], ...]
#: A path, and how many of its steps are done.
_State = tuple[int, int]
_Change = Callable[[Any, Place, Path], Any]


class FieldPaths:
    """Paths to what is encrypted in records of one kind, compiled once.

    A path is names with dots between them: ``patient.ssn``. ``[*]`` is every element of a list and ``[3]`` one of
    them, ``*`` every value of a dictionary; a backslash before a dot, bracket, star or backslash makes it part of a
    name. Or it is a tuple, where each text is one name, each number an index and ``...`` all of either.

    What is at a path may be any JSON value and comes back as what it was (a tuple as a list). It becomes one text
    token, bound to the context and to its own concrete path, so it opens nowhere else: to sort a list is to decrypt
    and encrypt it again. The result is new along the paths and shares the rest with the input, which is never
    changed. A dataclass on the way becomes a dictionary, with all dataclasses in it: a token is not of the type of
    its field, and an object that says otherwise would lie.

    A path that leads nowhere is an error, since a misspelt one would leave data in clear. Empty lists and
    dictionaries, and None on the way, are no error: nothing is there that could be read.

    Args:
        paths: The paths. None leads through what another encrypts.
        missing_ok: Pass over paths that lead nowhere.

    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> cipher = FieldCipher(Keyring.generate())
    >>> sensitive = FieldPaths(["patient.ssn", "visits[*].notes"])
    >>> record = {"patient": {"ssn": "078-05-1120"}, "visits": [{"day": 1, "notes": ["well"]}]}
    >>> stored = sensitive.encrypt(record, cipher, context=("records", 42))
    >>> sensitive.decrypt(stored, cipher, context=("records", 42)) == record
    True
    """

    __slots__ = ("_compiled", "_missing_ok", "_shown")

    def __init__(self, paths: Iterable[Path], *, missing_ok: bool = False) -> None:
        if isinstance(paths, str):
            raise TypeError("paths are given as a list or tuple of paths, not as one text")
        self._shown = tuple(paths)
        self._compiled = tuple(_compile(path) for path in self._shown)
        self._missing_ok = missing_ok
        if not self._compiled:
            raise ValueError("give at least one path: with none, everything would stay in clear")
        for index, path in enumerate(self._compiled):
            for other in range(index):
                if _overlap(path, self._compiled[other]):
                    raise ValueError(f"paths {self._shown[other]!r} and {self._shown[index]!r} overlap")

    def encrypt(self, value: Any, cipher: Cipher, *, context: tuple[Part, ...] = ()) -> Any:
        """Return the value with tokens at the paths.

        Args:
            value: A dictionary, list, tuple or dataclass.
            cipher: What encrypts.
            context: What the record is: table, tenant, id.

        Raises:
            ValueError: A path leads nowhere; a value there is a token already, or has no JSON form; the data is
                cyclic or larger than the bounds of this module.
            TypeError: Something on the way has no parts, or a value is of no JSON type.
        """
        recognises = getattr(cipher, "recognises", None)
        bound = bind(cipher, *context, "path")

        def seal(leaf: Any, place: Place, path: Path) -> str:
            if (
                isinstance(leaf, str)
                and len(leaf) >= SHORTEST_TOKEN
                and recognises is not None
                and recognises(leaf)
            ):
                raise ValueError(f"{path!r}: the value is a token already")
            # The length says where the context ends and the path begins.
            return bound.encrypt(_to_json(leaf, path), *place, len(place))

        return self._walk(value, seal)

    def decrypt(self, value: Any, cipher: Cipher, *, context: tuple[Part, ...] = ()) -> Any:
        """Return what `encrypt` was given, with dictionaries for dataclasses.

        Raises:
            DecryptionError: What is at a path is no token of this place; plaintext is none either.
            ValueError, TypeError: As for `encrypt`.
        """
        bound = bind(cipher, *context, "path")

        def unseal(leaf: Any, place: Place, path: Path) -> Any:
            if not isinstance(leaf, str):
                raise DecryptionError
            return json.loads(bound.decrypt(leaf, *place, len(place)))

        return self._walk(value, unseal)

    def _walk(self, value: Any, change: _Change) -> Any:
        walk = _Walk(self._compiled, self._shown, change)
        new = walk.visit(value, [(path, 0) for path in range(len(self._compiled))], ())
        if not self._missing_ok:
            for shown, met in zip(self._shown, walk.met, strict=True):
                if not met:
                    raise ValueError(
                        f"path {shown!r} leads nowhere, so nothing was done; correct it, or pass missing_ok=True"
                    )
        return new

    def __repr__(self) -> str:
        return f"FieldPaths({list(self._shown)!r}, missing_ok={self._missing_ok})"


def encrypt_paths(
    value: Any,
    cipher: Cipher,
    *,
    paths: Iterable[Path],
    context: tuple[Part, ...] = (),
    missing_ok: bool = False,
) -> Any:
    """Return the value with tokens at the paths; see `FieldPaths`, which is faster for many records.

    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> cipher = FieldCipher(Keyring.generate())
    >>> stored = encrypt_paths({"id": 1, "ssn": "078-05-1120"}, cipher, paths=["ssn"], context=("people", 1))
    >>> stored["id"], cipher.recognises(stored["ssn"])
    (1, True)
    """
    return FieldPaths(paths, missing_ok=missing_ok).encrypt(value, cipher, context=context)


def decrypt_paths(
    value: Any,
    cipher: Cipher,
    *,
    paths: Iterable[Path],
    context: tuple[Part, ...] = (),
    missing_ok: bool = False,
) -> Any:
    """Return what `encrypt_paths` was given; see `FieldPaths`."""
    return FieldPaths(paths, missing_ok=missing_ok).decrypt(value, cipher, context=context)


def _compile(path: Path) -> _Compiled:
    if isinstance(path, tuple):
        if not path or not all(type(step) in {str, int, EllipsisType} for step in path):
            raise TypeError(f"a path is texts, indexes and `...`: {path!r}")
        if any(type(step) is int and step < 0 for step in path):
            raise ValueError(f"an index counts from the start: {path!r}")
        return _bounded(path)
    if not isinstance(path, str):
        raise TypeError(f"a path is a text or a tuple, not {type(path).__name__}")
    steps: list[Any] = []
    at = 0
    while at < len(path) or not steps:
        # A dot stands before each name but the first, and before no bracket.
        if steps and path[at] == "." and path[at + 1 : at + 2] != "[":
            at += 1
        elif steps and path[at] != "[":
            raise ValueError(f"path {path!r} cannot be read at character {at}")
        found = _STEP.match(path, at)
        if found is None:
            raise ValueError(f"path {path!r} cannot be read at character {at}")
        index, name = found.groups()
        if name is not None:
            steps.append(_AnyKey if name == "*" else _ESCAPE.sub(r"\1", name))
        else:
            steps.append(_AnyIndex if index is None else int(index))
        at = found.end()
    return _bounded(tuple(steps))


def _bounded(steps: _Compiled) -> _Compiled:
    if len(steps) > MAX_DEPTH:
        raise ValueError(f"a path has at most {MAX_DEPTH} steps")
    return steps


def _overlap(one: _Compiled, other: _Compiled) -> bool:
    """Whether some concrete path ends by one of them and ends or goes on by the other."""
    return all(a == b or _may_meet(a, b) or _may_meet(b, a) for a, b in zip(one, other, strict=False))


def _may_meet(wildcard: Any, step: Any) -> bool:
    if wildcard is ...:
        return True
    return (wildcard is _AnyKey and type(step) is str) or (wildcard is _AnyIndex and type(step) is int)


class _Walk:
    """One pass over a value, along all paths at once.

    Attributes:
        met: For each path, whether it led somewhere.
    """

    def __init__(self, paths: tuple[_Compiled, ...], shown: tuple[Path, ...], change: _Change) -> None:
        self._paths = paths
        self._shown = shown
        self._change = change
        self.met = [False] * len(paths)

    def visit(self, value: Any, states: list[_State], place: Place) -> Any:
        """Return the value changed along the paths."""
        path, done = states[0]
        if len(self._paths[path]) == done:  # paths do not overlap: there is no other
            self.met[path] = True
            return self._change(value, place, self._shown[path])
        if value is None:
            for path, _ in states:
                self.met[path] = True
            return None
        if is_dataclass(value) and not isinstance(value, type):
            value = _plain(value, self._shown[path])
        new: dict[Any, Any] | list[Any]
        if isinstance(value, Mapping):
            new = dict(value)
            onward = self._onward(new, len(new), states, str, _AnyKey)
        elif isinstance(value, list | tuple):
            new = list(value)
            onward = self._onward(range(len(new)), len(new), states, int, _AnyIndex)
        else:
            raise TypeError(
                f"path {self._shown[path]!r} leads through a {type(value).__name__}, which has no parts"
            )
        for key, further in onward:
            new[key] = self.visit(new[key], further, (*place, key))
        return tuple(new) if isinstance(value, tuple) else new

    def _onward(
        self, keys: Collection[Any], size: int, states: list[_State], exact: type, every: type
    ) -> Iterator[tuple[Any, list[_State]]]:
        """Yield the keys that paths lead through, with the paths."""
        always: list[_State] = []
        named: dict[Any, list[_State]] = {}
        for path, done in states:
            step = self._paths[path][done]
            if step is every or step is ...:
                always.append((path, done + 1))
                self.met[path] |= not size
            elif type(step) is not exact:
                found = "names" if exact is str else "indexes"
                raise TypeError(f"path {self._shown[path]!r} does not fit the data, which has {found} there")
            elif step in keys:
                named.setdefault(step, []).append((path, done + 1))
        for key in list(keys) if always else named:
            if type(key) is not exact:
                raise TypeError(
                    f"a path leads through a key of type {type(key).__name__}; keys of JSON are texts"
                )
            yield key, always + named.get(key, [])


def _plain(value: Any, path: Path) -> dict[str, Any]:
    """Return a dataclass as a dictionary, with all dataclasses in it.

    Raises:
        ValueError: It is cyclic, or larger than the bounds.
    """
    left = iter(range(MAX_VALUES))

    def plain(value: Any, depth: int) -> Any:
        if next(left, None) is None or depth > MAX_DEPTH:
            raise _too_much(path)
        kind = type(value)
        if is_dataclass(kind):
            return {field.name: plain(getattr(value, field.name), depth + 1) for field in fields(kind)}
        if kind is dict:
            return {key: plain(part, depth + 1) for key, part in value.items()}
        if kind is list or kind is tuple:
            return kind(plain(part, depth + 1) for part in value)
        return value

    result: dict[str, Any] = plain(value, 0)
    return result


def _to_json(value: Any, path: Path) -> str:
    """Return a value as JSON that reads back as the same value.

    Raises:
        TypeError: A part has no such JSON.
        ValueError: It is cyclic, or larger than the bounds.
    """
    if type(value) not in _SCALARS:
        level, left = [value], MAX_VALUES
        for _ in range(MAX_DEPTH):
            # One level after the other, so that neither depth nor cycles reach the interpreter's stack.
            inner: list[Any] = []
            for part in level:
                kind = type(part)
                if kind is dict:
                    odd = next((key for key in part if type(key) is not str), None)
                    if odd is not None or None in part:
                        raise TypeError(f"path {path!r}: keys of JSON are texts, not {type(odd).__name__}")
                    inner.extend(part.values())
                elif kind is list or kind is tuple:
                    inner.extend(part)
                elif kind not in _SCALARS:
                    raise TypeError(f"path {path!r}: a {kind.__name__} is no JSON value; convert it first")
                if len(inner) > left:
                    raise _too_much(path)
            if not inner:
                break
            level, left = inner, left - len(inner)
        else:
            raise _too_much(path)
    return _encode(value)


def _too_much(path: Path) -> ValueError:
    return ValueError(
        f"path {path!r}: the data is cyclic, nested deeper than {MAX_DEPTH} levels,"
        f" or of more than {MAX_VALUES} values"
    )
