"""Evidence: an append-only, hash-chained log of security events, and a verifier that shares no code with it.

`Checkpointer` signs what the log is at a moment, and proves to strangers that an entry is in it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.audit.bridge import EventLogger as EventLogger
    from aisecure.audit.checkpoint import Checkpoint as Checkpoint
    from aisecure.audit.checkpoint import Checkpointer as Checkpointer
    from aisecure.audit.checkpoint import Proof as Proof
    from aisecure.audit.log import AuditLog as AuditLog
    from aisecure.audit.note import InvalidNote as InvalidNote
    from aisecure.audit.note import NoteKey as NoteKey
    from aisecure.audit.note import NoteSigner as NoteSigner
    from aisecure.audit.proofs import verify_consistency as verify_consistency
    from aisecure.audit.proofs import verify_inclusion as verify_inclusion
    from aisecure.audit.reader import read as read
    from aisecure.audit.settings import Settings as Settings
    from aisecure.audit.verifier import Report as Report
    from aisecure.audit.verifier import Verdict as Verdict
    from aisecure.audit.verifier import verify as verify
    from aisecure.guard import Guard
    from aisecure.ports import Ports

# Loaded on first use: structlog takes longer than all the rest, and a verifier needs none of it.
_HOME = {
    "AuditLog": "log",
    "Checkpoint": "checkpoint",
    "Checkpointer": "checkpoint",
    "EventLogger": "bridge",
    "InvalidNote": "note",
    "NoteKey": "note",
    "NoteSigner": "note",
    "Proof": "checkpoint",
    "Report": "verifier",
    "Settings": "settings",
    "Verdict": "verifier",
    "read": "reader",
    "verify": "verifier",
    "verify_consistency": "proofs",
    "verify_inclusion": "proofs",
}

__all__ = [
    "AuditLog",
    "Checkpoint",
    "Checkpointer",
    "EventLogger",
    "InvalidNote",
    "NoteKey",
    "NoteSigner",
    "Proof",
    "Report",
    "Settings",
    "Verdict",
    "build",
    "open_log",
    "read",
    "self_tests",
    "verify",
    "verify_consistency",
    "verify_inclusion",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.audit' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.audit.{home}"), name)
    return value


def open_log(settings: Settings, ports: Ports) -> AuditLog:
    """Return the event sink that the settings ask for.

    Raises: as `AuditLog.open`.
    """
    from aisecure.audit.log import AuditLog

    folder = ports.data_dir / "audit" if settings.folder is None else ports.base_dir / settings.folder
    return AuditLog.open(
        folder,
        origin=settings.origin,
        clock=ports.clock,
        segment_bytes=settings.segment_bytes,
        durability=settings.durability,
        on_unavailable=settings.on_unavailable,
        context=settings.context,
    )


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return no guards: the log is where events go, not something that judges calls."""
    return ()


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one known-answer check a capability."""
    from aisecure.audit._self_tests import self_tests

    return self_tests()
