"""Instructions to a model where none belong: found in what users write and in what documents and tools bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aisecure.detect.injection.detector import DEFAULT, Context, InjectionDetector

if TYPE_CHECKING:
    from aisecure.detect.injection.guard import InjectionGuard as InjectionGuard

__all__ = ["DEFAULT", "Context", "InjectionDetector", "InjectionGuard"]


def __getattr__(name: str) -> Any:
    # The guard brings the machinery of guards along, which a detector does not need.
    if name != "InjectionGuard":
        raise AttributeError(f"module 'aisecure.detect.injection' has no attribute {name!r}")
    from aisecure.detect.injection.guard import InjectionGuard

    globals()[name] = InjectionGuard
    return InjectionGuard
