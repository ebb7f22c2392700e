"""Where a policy comes from: texts, or files that may change."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from aisecure.errors import Misconfigured
from aisecure.storage import replace_file, turn

if TYPE_CHECKING:
    from aisecure.access._changes import PolicyChange

__all__ = [
    "Files",
    "Fixed",
    "PolicyRows",
    "PolicySource",
    "PolicyStore",
    "PolicyText",
    "model_text",
    "read_text",
]

#: How often a file is read again when it changes while it is read.
_READS: Final = 3


@dataclass(frozen=True, slots=True)
class PolicyText:
    """The texts that a version of the policy is made of, and what error texts call them.

    Attributes:
        model: A Casbin model; None is the built-in one.
        policy: Its policy.
        model_name: A file's path, or words.
        policy_name: A file's path, or words.
        shared_tenant: Role links of this tenant hold in every tenant.
    """

    model: str | None
    policy: str
    model_name: str = "the model"
    policy_name: str = "the policy"
    shared_tenant: str | None = None

    def with_policy(self, policy: str) -> PolicyText:
        """Return the same with another policy."""
        return replace(self, policy=policy)


@dataclass(frozen=True, slots=True)
class PolicyRows:
    """A policy that a reader has taken apart already: a database, an adapter of Casbin's.

    Attributes:
        model: A Casbin model; None is the built-in one.
        rows: Fields of each line, by kind: ``p``, ``g`` ...
        model_name: A file's path, or words.
        policy_name: What error texts call the policy.
        shared_tenant: Role links of this tenant hold in every tenant.
    """

    model: str | None
    rows: Mapping[str, Sequence[tuple[str, ...]]]
    model_name: str = "the model"
    policy_name: str = "the policy"
    shared_tenant: str | None = None

    def with_rows(self, rows: Mapping[str, Sequence[tuple[str, ...]]]) -> PolicyRows:
        """Return the same with other lines."""
        return replace(self, rows=rows)


class PolicySource(Protocol):
    """What an authorizer reads its policy from."""

    def stamp(self) -> Any:
        """Return a value that is another one when the policy may have changed; cheap.

        Raises:
            Unavailable: It cannot be asked now.
        """

    def read(self) -> tuple[PolicyText | PolicyRows, Any]:
        """Return the policy and its stamp.

        Raises:
            Misconfigured: It cannot be read.
            Unavailable: It cannot be read now.
        """


@runtime_checkable
class PolicyStore(PolicySource, Protocol):
    """A source that can be written to."""

    def write(self, after: PolicyText | PolicyRows, change: PolicyChange, stamp: Any) -> Any:
        """Store a change that was checked, if the policy still has the stamp; return the new stamp, or None if it has not.

        Raises:
            Unavailable: It cannot be written.
        """


class Fixed:
    """A text in memory, which only `write` changes."""

    def __init__(self, texts: PolicyText) -> None:
        self._held = texts, 0

    def stamp(self) -> int:
        """Return the number of changes."""
        return self._held[1]

    def read(self) -> tuple[PolicyText, int]:
        """Return the text."""
        return self._held

    def write(self, after: PolicyText | PolicyRows, change: PolicyChange, stamp: int) -> int | None:
        """Take the text after a change; the caller lets one in at a time."""
        if self._held[1] != stamp or not isinstance(after, PolicyText):
            return None
        self._held = after, stamp + 1
        return stamp + 1


class Files:
    """A model and a policy in files."""

    def __init__(self, model: Path | None, policy: Path, *, shared_tenant: str | None = None) -> None:
        self._model = model
        self._policy = policy
        self._shared_tenant = shared_tenant

    def stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Return change time, size and inode of each file, or None for a file that is not there."""
        return tuple(_stamp(path) for path in (self._model, self._policy) if path is not None)

    def read(self) -> tuple[PolicyText, tuple[tuple[int, int, int] | None, ...]]:
        """Return the texts and the stamp of what was read.

        Raises:
            Misconfigured: A file is missing, unreadable, not UTF-8, or changes all the time.
        """
        for _ in range(_READS):
            before = self.stamp()
            texts = PolicyText(
                None if self._model is None else read_text(self._model, "model"),
                read_text(self._policy, "policy"),
                "the built-in model" if self._model is None else str(self._model),
                str(self._policy),
                self._shared_tenant,
            )
            if self.stamp() == before:
                return texts, before
        raise Misconfigured(
            f"{self._policy}: changes while it is read; rename a finished file over it", code="config.policy"
        )

    def write(self, after: PolicyText | PolicyRows, change: PolicyChange, stamp: Any) -> Any:
        """Rename a finished file over the policy, while no other process that uses this library does.

        Raises:
            Unavailable: The folder or the disk does not allow it; the policy is as it was.
        """
        if not isinstance(after, PolicyText):
            raise TypeError("a file holds a text")
        with turn(self._policy):
            if self.stamp() != stamp:
                return None
            # A link is followed, so that the file it names changes and the link stays.
            target = self._policy.resolve()
            replace_file(target, after.policy.encode(), target.stat().st_mode & 0o777)
            return self.stamp()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_text(path: Path, what: str) -> str:
    """Return the text of a file.

    Raises:
        Misconfigured: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = err.object[: err.start].count(b"\n") + 1
        raise Misconfigured(
            f"{path}: line {line}: is not UTF-8; save the file as UTF-8", code=f"config.{what}"
        ) from None  # the original holds the whole file
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or "is no path"
        raise Misconfigured(f"{path}: {why}; name an existing {what} file", code=f"config.{what}") from err


def model_text(model: str | os.PathLike[str] | None) -> tuple[str | None, str]:
    """Return a model's text, None for the built-in one, and what error texts call it.

    Args:
        model: Its text when it has several lines, or a file's path.

    Raises:
        Misconfigured: The file cannot be read.
    """
    if model is None:
        return None, "the built-in model"
    if isinstance(model, str) and "\n" in model:
        return model, "the model"
    return read_text(Path(model), "model"), str(model)
