"""From the settings to an open cipher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aisecure.encryption.cipher import FieldCipher
from aisecure.encryption.keyring import Keyring
from aisecure.events import SecurityEvent

if TYPE_CHECKING:
    from aisecure.encryption.settings import Settings
    from aisecure.guard import Guard
    from aisecure.ports import Ports

__all__ = ["build", "open_cipher", "rotate_keyring"]


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return no guards: encryption is a part that applications use, see `open_cipher`."""
    return ()


def open_cipher(settings: Settings, ports: Ports) -> FieldCipher:
    """Return a cipher over the configured key ring, which is created when absent.

    Raises:
        Misconfigured: The key ring cannot be read or created; the text names file, key and remedy.
        Unavailable: The disk is full or failed.
    """
    ring, created = Keyring.open(_path(settings, ports), clock=ports.clock)
    if created:
        _record("keyring.created", ring, ports)
    return FieldCipher(ring, max_messages=settings.max_messages)


def rotate_keyring(settings: Settings, ports: Ports) -> Keyring:
    """Give the configured key ring a new primary key; processes use it once they open the ring again.

    Raises:
        Misconfigured: There is no key ring, or it cannot be read.
        Unavailable: The disk is full or failed; the old ring is as it was.
    """
    ring = Keyring.rotate_file(_path(settings, ports), clock=ports.clock)
    _record("keyring.rotated", ring, ports)
    return ring


def _path(settings: Settings, ports: Ports) -> Path:
    if settings.key_file is None:
        return ports.data_dir / "keys" / "fields.json"
    return ports.base_dir / settings.key_file


def _record(event_type: str, ring: Keyring, ports: Ports) -> None:
    ports.events.record(SecurityEvent(event_type, time=ports.clock.time(), detail={"key_id": ring.primary}))
