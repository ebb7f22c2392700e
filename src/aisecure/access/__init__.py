"""Who may do what: Casbin policies, compiled, with roles, tenants and rules that deny.

`Authorizer` decides; `AccessGuard` asks it for every call, `require_permission` for one function.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aisecure.access._defaults import DEFAULT_MODEL, DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.access._changes import PolicyChange as PolicyChange
    from aisecure.access._sources import PolicyRows as PolicyRows
    from aisecure.access._sources import PolicySource as PolicySource
    from aisecure.access._sources import PolicyStore as PolicyStore
    from aisecure.access._sources import PolicyText as PolicyText
    from aisecure.access.authorizer import Authorizer as Authorizer
    from aisecure.access.documents import DocumentAccess as DocumentAccess
    from aisecure.access.documents import filter_documents as filter_documents
    from aisecure.access.elevation import Elevation as Elevation
    from aisecure.access.elevation import Elevations as Elevations
    from aisecure.access.elevation_guard import ElevationGuard as ElevationGuard
    from aisecure.access.explanation import Explanation as Explanation
    from aisecure.access.explanation import Missing as Missing
    from aisecure.access.explanation import RuleShown as RuleShown
    from aisecure.access.guards import AccessGuard as AccessGuard
    from aisecure.access.guards import require_permission as require_permission
    from aisecure.access.holders import Holder as Holder
    from aisecure.access.lint import PolicyFinding as PolicyFinding
    from aisecure.access.scopes import RequireScope as RequireScope
    from aisecure.access.scopes import Scopes as Scopes
    from aisecure.access.scopes import require_scope as require_scope
    from aisecure.access.settings import Settings as Settings
    from aisecure.guard import Guard
    from aisecure.ports import Ports

_HOME = {
    "AccessGuard": "guards",
    "Authorizer": "authorizer",
    "DocumentAccess": "documents",
    "Elevation": "elevation",
    "ElevationGuard": "elevation_guard",
    "Elevations": "elevation",
    "Explanation": "explanation",
    "Holder": "holders",
    "Missing": "explanation",
    "PolicyChange": "_changes",
    "PolicyFinding": "lint",
    "PolicyRows": "_sources",
    "PolicySource": "_sources",
    "PolicyStore": "_sources",
    "PolicyText": "_sources",
    "RequireScope": "scopes",
    "RuleShown": "explanation",
    "Scopes": "scopes",
    "Settings": "settings",
    "filter_documents": "documents",
    "require_permission": "guards",
    "require_scope": "scopes",
}

__all__ = [
    "DEFAULT_MODEL",
    "DEFAULT_POLICY",
    "AccessGuard",
    "Authorizer",
    "DocumentAccess",
    "Elevation",
    "ElevationGuard",
    "Elevations",
    "Explanation",
    "Holder",
    "Missing",
    "PolicyChange",
    "PolicyFinding",
    "PolicyRows",
    "PolicySource",
    "PolicyStore",
    "PolicyText",
    "RequireScope",
    "RuleShown",
    "Scopes",
    "Settings",
    "build",
    "filter_documents",
    "require_permission",
    "require_scope",
    "self_tests",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.access' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.access.{home}"), name)
    return value


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guards that the settings ask for.

    Raises:
        Misconfigured: A file, a table or a URL cannot be used, or a model has no policy; names it and the remedy.
        Unavailable: The database does not answer.
    """
    from aisecure.access._build import authorizer
    from aisecure.access.guards import AccessGuard

    may = authorizer(settings, ports)
    if not settings.elevation:
        return (AccessGuard(may),)
    from aisecure.access.elevation import Elevations
    from aisecure.access.elevation_guard import ElevationGuard

    elevations = Elevations(
        ports.storage(), authorizer=may, clock=ports.clock, notices=ports.notices, events=ports.events
    )
    return (ElevationGuard(elevations, events=ports.events, clock=ports.clock), AccessGuard(may))


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one known-answer check a capability."""
    from aisecure.access._self_tests import self_tests

    return self_tests()
