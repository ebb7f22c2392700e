"""`ModelPins`: which models the application may use, and whether the one that answered is the one it asked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from aisecure.decisions import ALLOW, Decision
from aisecure.errors import Misconfigured, ModelNotPinned
from aisecure.models.files import FileDigests
from aisecure.models.pin import Pin, Status, parse_pin
from aisecure.ports import Clock, SystemClock

__all__ = ["ModelPins"]

_VERSION = 1
# A lock file is reviewed by people; a larger one is a mistake, and would only keep the parser busy.
_LARGEST_BYTES = 4 << 20


class ModelPins(Mapping[str, Pin]):
    """The entries of a lock file by name; read-only.

    Helps against a provider or a colleague who changes a model under the application, and against changed files. It
    cannot see through a gateway that answers with the name it was asked for.

    Args:
        pins: The entries.
        source: Where they came from, for messages.
        clock: Time, for tests.

    >>> pins = ModelPins.from_text('''
    ... version = 1
    ... [models.support-bot]
    ... provider = "openai"
    ... id = "gpt-4.1-2025-04-14"
    ... ''')
    >>> pins["support-bot"].id
    'gpt-4.1-2025-04-14'
    >>> pins.check_response("support-bot", "gpt-4o-2024-08-06").code
    'model.drift'
    """

    def __init__(
        self, pins: Mapping[str, Pin], *, source: str = "models.lock", clock: Clock | None = None
    ) -> None:
        self._pins = dict(pins)
        self._source = source
        self._clock = clock or SystemClock()
        self._files = FileDigests()

    @classmethod
    def load(cls, path: str | Path, *, clock: Clock | None = None) -> ModelPins:
        """Read a lock file; relative paths in it start from its folder.

        Raises:
            Misconfigured: It is missing or wrong; the text names file, key and remedy.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                raw = file.read(_LARGEST_BYTES + 1)
        except (OSError, ValueError) as err:
            reason = getattr(err, "strerror", None) or "not a usable path"
            raise Misconfigured(
                f"{path}: {reason}; write a lock file with version = 1 and a table [models.<name>]",
                code="config.missing",
            ) from err
        try:
            text = raw.decode()
        except UnicodeDecodeError as err:
            raise Misconfigured(f"{path}: byte {err.start} is not UTF-8; save the file as UTF-8") from err
        return cls.from_text(text, folder=path.absolute().parent, source=str(path), clock=clock)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        folder: str | Path = ".",
        source: str = "models.lock",
        clock: Clock | None = None,
    ) -> ModelPins:
        """Read the text of a lock file.

        Args:
            text: TOML.
            folder: Where relative paths start.
            source: Named in messages.
            clock: Time, for tests.

        Raises:
            Misconfigured: It is wrong; the text names key and remedy.
        """
        if len(text) > _LARGEST_BYTES:
            raise Misconfigured(
                f"{source}: larger than {_LARGEST_BYTES >> 20} MB; a lock file is a short list"
            )
        try:
            data = tomllib.loads(text)
        except (ValueError, RecursionError) as err:
            # Besides syntax errors: impossible dates, integers of thousands of digits, brackets without end.
            reason = err if isinstance(err, tomllib.TOMLDecodeError) else type(err).__name__
            raise Misconfigured(f"{source}: not valid TOML ({reason})") from err
        return cls(_entries(data, source, Path(folder)), source=source, clock=clock)

    def __getitem__(self, name: str) -> Pin:
        return self._pins[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pins)

    def __len__(self) -> int:
        return len(self._pins)

    def __repr__(self) -> str:
        return f"ModelPins({self._source!r}, models={len(self)})"

    def pin(self, name: str) -> Pin:
        """Return the entry of that name.

        Raises:
            ModelNotPinned: There is none.
        """
        pin = self._pins.get(name)
        if pin is None:
            self._missing(name).require()
            raise ModelNotPinned
        return pin

    def decide(self, name: str, *, requested: str | None = None) -> Decision:
        """Decide whether the application may call a model.

        Args:
            name: What the application calls it.
            requested: The id that it is about to send to the provider, if that is to be checked too.

        Returns:
            Allow (code ``model.deprecated`` for a deprecated entry), or deny with code ``model.not_pinned``,
            ``model.quarantined`` or ``model.expired``.
        """
        pin = self._pins.get(name)
        if pin is None:
            return self._missing(name)
        if pin.status is Status.QUARANTINED:
            return Decision.deny("model.quarantined", f"The model {name!r} is quarantined.")
        if pin.expires is not None and self._today() > pin.expires:
            return Decision.deny("model.expired", f"The entry of model {name!r} expired on {pin.expires}.")
        if requested is not None and requested != name and not pin.accepts(requested):
            return Decision.deny(
                "model.not_pinned", f"The request names another model than {name!r} is pinned to."
            )
        return Decision.allow("model.deprecated") if pin.status is Status.DEPRECATED else ALLOW

    def check_response(self, name: str, seen_model: str, fingerprint: str | None = None) -> Decision:
        """Decide whether a response comes from the pinned model.

        Args:
            name: What the application calls the model.
            seen_model: The model that the response names; empty when it names none, which is unknown and not drift.
            fingerprint: The ``system_fingerprint`` of the response, if there is one.

        Returns:
            As `decide`, and deny with code ``model.drift``.
        """
        decision = self.decide(name)
        if not decision.allowed:
            return decision
        pin = self._pins[name]
        if seen_model and not pin.accepts(seen_model):
            return Decision.deny(
                "model.drift", f"The response came from another model than {name!r} is pinned to."
            )
        if fingerprint and pin.fingerprints and fingerprint not in pin.fingerprints:
            return Decision.deny(
                "model.drift", f"The response of {name!r} has a fingerprint that is not accepted."
            )
        return decision

    def verify_file(self, name: str) -> Decision:
        """Decide whether the bytes of a local model are the pinned ones; a hosted model has none and is allowed.

        The digest is computed once for each state of the file (device, inode, size, times), then remembered. What
        is loaded later is read again: nothing here keeps another process from changing the file in between.

        Returns:
            Allow, or deny with code ``model.not_pinned``, ``model.missing`` or ``model.changed``.

        Raises:
            Unavailable: The file could not be read.
        """
        pin = self._pins.get(name)
        if pin is None:
            return self._missing(name)
        if pin.path is None:
            return ALLOW
        digest = self._files.sha256(pin.path)
        if digest is None:
            return Decision.deny(
                "model.missing", f"The file of model {name!r} is missing or no regular file."
            )
        if f"sha256:{digest}" != pin.digest:
            return Decision.deny(
                "model.changed", f"The file of model {name!r} has another digest than the pinned one."
            )
        return ALLOW

    def _missing(self, name: str) -> Decision:
        # The name may come from a request, and whoever invents names must not fill logs with them.
        return Decision.deny("model.not_pinned", f"The model {name[:80]!r} is not in the lock file.")

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.time(), UTC).date()


def _entries(data: dict[str, Any], source: str, folder: Path) -> dict[str, Pin]:
    version = data.get("version")
    if type(version) is not int or version != _VERSION:
        shown = repr(version)[:40] if "version" in data else "missing"
        raise Misconfigured(f"{source}: version: is {shown}; this release reads version = {_VERSION}")
    for key in data:
        if key not in ("version", "models"):
            raise Misconfigured(f"{source}: {key}: no such key; entries are tables [models.<name>]")
    tables = data.get("models", {})
    if not isinstance(tables, dict):
        raise Misconfigured(f"{source}: models: write one table [models.<name>] a model")
    return {name: parse_pin(name, table, source=source, folder=folder) for name, table in tables.items()}
