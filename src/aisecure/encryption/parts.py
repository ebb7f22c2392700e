"""From the settings to an open cipher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisecure.encryption.cipher import FieldCipher
from aisecure.encryption.keyfile import KeyFile
from aisecure.errors import Misconfigured

if TYPE_CHECKING:
    from aisecure.encryption.providers import KeyProvider
    from aisecure.encryption.settings import Settings
    from aisecure.encryption.subjects import SubjectKeys
    from aisecure.guard import Guard
    from aisecure.ports import Ports

__all__ = ["build", "key_file", "open_cipher", "open_parts"]


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return no guards: encryption is made of parts that applications use, see `open_parts`."""
    return ()


def open_cipher(settings: Settings, ports: Ports) -> FieldCipher:
    """Return a cipher over the configured key ring, which is created when absent.

    Raises:
        Misconfigured: The key ring cannot be read or created; the text names file, key and remedy.
        Unavailable: The disk is full or failed, or the key provider cannot be reached.
    """
    file = key_file(settings, ports)
    file.open()
    return FieldCipher(file)


def open_parts(settings: Settings, ports: Ports) -> tuple[FieldCipher, SubjectKeys]:
    """Return the cipher, and the keys of data subjects, which are wrapped by the same ring.

    Raises:
        Misconfigured, Unavailable: As for `open_cipher`, or the database cannot be used.
    """
    from aisecure.encryption.subjects import open_subjects

    cipher = open_cipher(settings, ports)
    return cipher, open_subjects(settings, ports, cipher)


def key_file(settings: Settings, ports: Ports) -> KeyFile:
    """Return the configured key file, to change the ring in it, which is not read yet.

    Raises:
        Misconfigured, Unavailable: The key provider cannot be opened.
    """
    if settings.key_file is None:
        path = ports.data_dir / "keys" / "fields.json"
    else:
        path = ports.base_dir / settings.key_file
    return KeyFile(
        path,
        provider=_provider(settings, ports),
        cache_seconds=settings.cache_seconds,
        clock=ports.clock,
        events=ports.events,
    )


def _provider(settings: Settings, ports: Ports) -> KeyProvider | None:
    if settings.provider is None:
        return None
    try:
        return settings.provider.open(ports.base_dir)
    except ValueError as err:  # a mistake in the program elsewhere, and one in the file here
        raise Misconfigured(f"[encryption.provider] {settings.provider.kind}: {err}") from err
