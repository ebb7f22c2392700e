"""Agents that do no more than was meant: roles kept apart, documents read through a schema, the rule of two."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.agents.extraction import Extractor as Extractor
    from aisecure.agents.prompt import Prompt as Prompt
    from aisecure.agents.rule_of_two import RuleOfTwo as RuleOfTwo
    from aisecure.agents.settings import Settings as Settings
    from aisecure.guard import Guard
    from aisecure.ports import Ports

# Loaded on first use: pydantic costs more than the rest together.
_HOME = {
    "Extractor": "extraction",
    "Prompt": "prompt",
    "RuleOfTwo": "rule_of_two",
    "Settings": "settings",
}

__all__ = ["Extractor", "Prompt", "RuleOfTwo", "Settings", "build", "self_tests"]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.agents' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.agents.{home}"), name)
    return value


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guards that the settings ask for: spotlighting, the rule of two, and approval.

    Raises:
        Misconfigured: Only some of the three kinds of resources are named.
    """
    if settings == type(settings)():
        return ()  # most applications have no agents: what follows takes time to import
    from aisecure.agents._assembly import guards

    return guards(settings, ports)


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one known-answer check a capability."""
    from aisecure.agents._self_tests import self_tests

    return self_tests()
