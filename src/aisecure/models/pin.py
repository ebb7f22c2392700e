"""One entry of the lock file, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from aisecure.errors import Misconfigured
from aisecure.models.ids import Pinning, classify, resolves_to

__all__ = ["Pin", "Status", "parse_pin"]

_LONGEST = 512
_DIGEST = re.compile(r"sha256:[0-9a-fA-F]{64}", re.ASCII)
_KEYS = {
    "provider", "id", "responses", "fingerprints", "path", "digest", "status", "owner", "expires", "note", "allow_alias",
    "unverified",
}  # fmt: skip


class Status(StrEnum):
    """What its owners say of a model."""

    APPROVED = "approved"
    DEPRECATED = "deprecated"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Pin:
    """One model of the application, and what may answer for it.

    Attributes:
        name: What the application calls it: the part after ``model:`` of a resource.
        provider: Who serves it, in lower case; empty for a bare file.
        id: The provider's id; empty for a file that has none.
        responses: Further names that a response may give.
        fingerprints: Accepted ``system_fingerprint`` values; any when empty.
        path: The file, for a local model.
        digest: ``sha256:`` and 64 hexadecimal digits, for a local model.
        pinning: What the id promises; a file with a digest is pinned.
        status: Approved, deprecated (still allowed) or quarantined (refused).
        expires: Last day on which the entry holds, UTC.
        owner: Who answers for the entry.
        note: For people.
    """

    name: str
    provider: str = ""
    id: str = ""
    responses: frozenset[str] = frozenset()
    fingerprints: frozenset[str] = frozenset()
    path: Path | None = None
    digest: str = ""
    pinning: Pinning = Pinning.UNKNOWN
    status: Status = Status.APPROVED
    expires: date | None = None
    owner: str = field(default="", repr=False)
    note: str = field(default="", repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the model is a file whose bytes can be checked."""
        return self.path is not None

    def accepts(self, seen: str) -> bool:
        """Whether a response that names ``seen`` comes from this model.

        An alias that the lock file allows accepts itself and dated versions of its family, unless ``responses``
        says which. Local servers name a file by its path or base name.
        """
        if seen == self.id or seen in self.responses:
            return True
        if self.path is not None:
            return seen in (str(self.path), self.path.name)
        return self.pinning is Pinning.ALIAS and not self.responses and resolves_to(self.id, seen)


def parse_pin(name: str, table: Any, *, source: str, folder: Path) -> Pin:
    """Return the entry of a lock file as a pin.

    Raises:
        Misconfigured: Names file, key and remedy.
    """
    where = f"{source}: [models.{name}]"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name):
        raise Misconfigured(
            f"{source}: [models] {name[:40]!r}: names are up to 128 letters, digits, dots, dashes"
        )
    if not isinstance(table, Mapping):
        raise Misconfigured(f"{where}: write a table with id and provider, or path and digest")
    for key in table:
        if key not in _KEYS:
            raise Misconfigured(f"{where} {key}: no such key; known are {', '.join(sorted(_KEYS))}")
    provider, id_ = _text(where, table, "provider").lower(), _text(where, table, "id")
    path, digest = _text(where, table, "path"), _text(where, table, "digest")
    responses, fingerprints = _names(where, table, "responses"), _names(where, table, "fingerprints")
    if path and not digest:
        raise Misconfigured(f"{where} digest: a local file needs its digest; see lock_entry_for_file(path)")
    if digest and not path:
        raise Misconfigured(f"{where} path: a digest needs the path of its file")
    if digest and not _DIGEST.fullmatch(digest):
        raise Misconfigured(f"{where} digest: write sha256: and 64 hexadecimal digits")
    if not path and not (provider and id_):
        raise Misconfigured(f"{where}: write provider and id of a hosted model, or path and digest of a file")
    return Pin(
        name=name,
        provider=provider,
        id=id_,
        responses=responses,
        fingerprints=fingerprints,
        path=folder / path if path else None,
        digest=digest.lower(),
        pinning=_pinning(where, table, provider, id_, responses, is_file=bool(path)),
        status=_status(where, table),
        expires=_expires(where, table),
        owner=_text(where, table, "owner"),
        note=_text(where, table, "note"),
    )


def _pinning(
    where: str, table: Mapping[str, Any], provider: str, id_: str, responses: frozenset[str], *, is_file: bool
) -> Pinning:
    """Return what the entry promises, if that is enough or the file says in words that less will do."""
    for key in ("allow_alias", "unverified"):
        if not isinstance(table.get(key, False), bool):
            raise Misconfigured(f"{where} {key}: is true or false")
    if is_file:
        return Pinning.PINNED
    pinning = classify(provider, id_)
    # The name of an Azure deployment is free; the names of the models behind it are OpenAI's.
    if (
        provider == "azure"
        and responses
        and all(classify("openai", seen) is Pinning.PINNED for seen in responses)
    ):
        pinning = Pinning.PINNED
    if pinning is Pinning.ALIAS and not table.get("allow_alias", False):
        raise Misconfigured(
            f"{where} id: {id_!r} is an alias that its provider may point elsewhere; write a dated version, or "
            "allow_alias = true to accept whatever it points at",
            code="config.model_alias",
        )
    if pinning is Pinning.UNKNOWN and not table.get("unverified", False):
        raise Misconfigured(
            f"{where} id: nobody can tell from {id_!r} whether it names one fixed version; write one that does, or "
            "unverified = true if you know that it does",
            code="config.model_unknown",
        )
    return pinning


def _text(where: str, table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or (key in table and not value):
        raise Misconfigured(f"{where} {key}: is a text in quotes")
    return _printable(where, key, value)


def _names(where: str, table: Mapping[str, Any], key: str) -> frozenset[str]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise Misconfigured(f'{where} {key}: is a list of texts, such as {key} = ["name"]')
    return frozenset(_printable(where, key, value) for value in values)


def _printable(where: str, key: str, value: str) -> str:
    if len(value) > _LONGEST or any(ord(ch) < 0x20 or ord(ch) == 0x7F for ch in value):
        raise Misconfigured(f"{where} {key}: holds control characters or more than {_LONGEST} characters")
    return value


def _status(where: str, table: Mapping[str, Any]) -> Status:
    value = table.get("status", "approved")
    if value not in list(Status):
        raise Misconfigured(f'{where} status: is "approved", "deprecated" or "quarantined"')
    return Status(value)


def _expires(where: str, table: Mapping[str, Any]) -> date | None:
    value = table.get("expires")
    # A time of day would raise the question of its zone; the last day is enough.
    if value is not None and type(value) is not date:
        raise Misconfigured(f"{where} expires: is a date without quotes, such as expires = 2027-06-30")
    return value
