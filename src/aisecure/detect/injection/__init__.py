"""Instructions to a model where none belong: found in what users write and in what documents and tools bring."""

from __future__ import annotations

from aisecure.detect.injection.detector import DEFAULT, Context, InjectionDetector
from aisecure.detect.injection.guard import InjectionGuard

__all__ = ["DEFAULT", "Context", "InjectionDetector", "InjectionGuard"]
