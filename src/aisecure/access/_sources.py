"""Where a policy comes from: texts, or files that may change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from aisecure.errors import Misconfigured

__all__ = ["Files", "Fixed", "Source", "Texts"]

#: How often a file is read again when it changes while it is read.
_READS: Final = 3


@dataclass(frozen=True, slots=True)
class Texts:
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


class Source(Protocol):
    """What an authorizer reads its policy from."""

    def stamp(self) -> Any:
        """Return a value that is another one when the texts may have changed; cheap."""

    def read(self) -> tuple[Texts, Any]:
        """Return the texts and their stamp.

        Raises:
            Misconfigured: They cannot be read.
        """


class Fixed:
    """Texts that never change."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def stamp(self) -> None:
        """Return nothing: there is nothing to see."""

    def read(self) -> tuple[Texts, None]:
        """Return the texts."""
        return self._texts, None


class Files:
    """A model and a policy in files."""

    def __init__(self, model: Path | None, policy: Path, *, shared_tenant: str | None = None) -> None:
        self._model = model
        self._policy = policy
        self._shared_tenant = shared_tenant

    def stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Return change time, size and inode of each file, or None for a file that is not there."""
        return tuple(_stamp(path) for path in (self._model, self._policy) if path is not None)

    def read(self) -> tuple[Texts, tuple[tuple[int, int, int] | None, ...]]:
        """Return the texts and the stamp of what was read.

        Raises:
            Misconfigured: A file is missing, unreadable, not UTF-8, or changes all the time.
        """
        for _ in range(_READS):
            before = self.stamp()
            texts = Texts(
                None if self._model is None else _text(self._model, "model"),
                _text(self._policy, "policy"),
                "the built-in model" if self._model is None else str(self._model),
                str(self._policy),
                self._shared_tenant,
            )
            if self.stamp() == before:
                return texts, before
        raise Misconfigured(
            f"{self._policy}: changes while it is read; rename a finished file over it", code="config.policy"
        )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _text(path: Path, what: str) -> str:
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
