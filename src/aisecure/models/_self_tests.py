"""Known answers that show that each capability works in this installation."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from aisecure.errors import Misconfigured
from aisecure.models.files import lock_entry_for_file
from aisecure.models.pins import ModelPins

__all__ = ["self_tests"]

_HOSTED = '[models.bot]\nprovider = "openai"\nid = "gpt-4.1-2025-04-14"\n'


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one check a capability; each raises AssertionError when the capability is broken."""
    return {"models.pins": _pins, "models.drift": _drift, "models.files": _files}


def _expect(got: str, wanted: str) -> None:
    # Not an assert statement: those vanish under python -O.
    if got != wanted:
        raise AssertionError(f"self-test: wanted {wanted!r}, got {got!r}")


def _pins() -> None:
    pins = ModelPins.from_text(f"version = 1\n{_HOSTED}")
    _expect(pins.decide("bot").code, "ok")
    _expect(pins.decide("other").code, "model.not_pinned")
    try:
        ModelPins.from_text(f"version = 1\n{_HOSTED}".replace("-2025-04-14", ""))
    except Misconfigured as err:
        _expect(err.code, "config.model_alias")
    else:
        raise AssertionError("self-test: an alias was taken for a pin")


def _drift() -> None:
    pins = ModelPins.from_text(f"version = 1\n{_HOSTED}")
    _expect(pins.check_response("bot", "gpt-4.1-2025-04-14").code, "ok")
    _expect(pins.check_response("bot", "gpt-4o-2024-08-06").code, "model.drift")


def _files() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bot.gguf")
        path.write_bytes(b"weights")
        pins = ModelPins.from_text(f"version = 1\n{lock_entry_for_file(path)}")
        _expect(pins.verify_file("bot").code, "ok")
        path.write_bytes(b"WEIGHTS")
        _expect(pins.verify_file("bot").code, "model.changed")
