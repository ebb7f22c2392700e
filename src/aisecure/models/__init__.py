"""Which model answers: pins of hosted models and local files in one lock file, checked at each call and answer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aisecure.models.files import lock_entry_for_file
from aisecure.models.ids import Pinning, classify
from aisecure.models.pin import Pin, Status
from aisecure.models.pins import ModelPins

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.guard import Guard
    from aisecure.models.guard import ModelPinGuard as ModelPinGuard
    from aisecure.models.settings import Settings as Settings
    from aisecure.ports import Ports

__all__ = [
    "ModelPinGuard",
    "ModelPins",
    "Pin",
    "Pinning",
    "Settings",
    "Status",
    "build",
    "classify",
    "lock_entry_for_file",
    "self_tests",
]

# pydantic, for the settings, costs more than the rest together.
_HOME = {"ModelPinGuard": "guard", "Settings": "settings"}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.models' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.models.{home}"), name)
    return value


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guard of the lock file, or nothing when there is no lock file and none was asked for.

    Raises:
        Misconfigured: The lock file is wrong, or was asked for and is missing.
    """
    from aisecure.models.guard import ModelPinGuard

    path = ports.base_dir / ("models.lock" if settings.lock is None else settings.lock)
    # lexists, not exists: a dangling link or a folder that may not be read is no reason to go unchecked.
    if settings.lock is None and not _is_there(path):
        return ()
    pins = ModelPins.load(path, clock=ports.clock)
    return (ModelPinGuard(pins, events=ports.events, clock=ports.clock),)


def _is_there(path: Any) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one known-answer check a capability."""
    from aisecure.models._self_tests import self_tests

    return self_tests()
