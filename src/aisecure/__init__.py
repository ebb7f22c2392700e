"""Security for AI applications: guards round every call, and evidence that a stranger can check.

Names resolve on first use (PEP 562), so that ``import aisecure`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aisecure.call import Call as Call
    from aisecure.decisions import Decision as Decision
    from aisecure.decisions import Finding as Finding
    from aisecure.errors import AccessDenied as AccessDenied
    from aisecure.errors import AISecureError as AISecureError
    from aisecure.errors import AuthenticationError as AuthenticationError
    from aisecure.errors import Denied as Denied
    from aisecure.errors import InputRejected as InputRejected
    from aisecure.errors import Misconfigured as Misconfigured
    from aisecure.errors import ModelNotPinned as ModelNotPinned
    from aisecure.errors import OutputBlocked as OutputBlocked
    from aisecure.errors import QuotaExceeded as QuotaExceeded
    from aisecure.errors import Unavailable as Unavailable
    from aisecure.guard import Guard as Guard
    from aisecure.principal import Principal as Principal
    from aisecure.shield import Shield as Shield
    from aisecure.shield import protect as protect

__version__ = "0.1.0"

_HOME = {
    "AISecureError": "errors",
    "AccessDenied": "errors",
    "AuthenticationError": "errors",
    "Call": "call",
    "Decision": "decisions",
    "Denied": "errors",
    "Finding": "decisions",
    "Guard": "guard",
    "InputRejected": "errors",
    "Misconfigured": "errors",
    "ModelNotPinned": "errors",
    "OutputBlocked": "errors",
    "Principal": "principal",
    "QuotaExceeded": "errors",
    "Shield": "shield",
    "Unavailable": "errors",
    "protect": "shield",
}

__all__ = [*_HOME, "__version__"]  # noqa: PLE0604  (all are strings)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
