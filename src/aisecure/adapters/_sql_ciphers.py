"""Which cipher a column uses: one that it was given, one that a function returns, or that of the surrounding block."""

from __future__ import annotations

from collections.abc import Callable

from aisecure.encryption.places import active_cipher
from aisecure.ports import Cipher

__all__ = ["CipherSource", "check_source", "cipher_of"]

#: A cipher, a function that returns one, or None for that of the surrounding `using_cipher`.
CipherSource = Cipher | Callable[[], Cipher] | None


def check_source(source: CipherSource) -> None:
    """Refuse what can be no source.

    Raises:
        TypeError: It is none.
    """
    if source is not None and not _is_cipher(source) and not callable(source):
        raise TypeError(f"cipher is a cipher, or a function that returns one, not {type(source).__name__}")


def cipher_of(source: CipherSource) -> Cipher:
    """Return the cipher to use now.

    Raises:
        Misconfigured: There is none.
    """
    if source is None:
        return active_cipher(None)  # one for pydantic fields and columns
    if _is_cipher(source):
        return source  # type: ignore[return-value]  # the line above says so
    return source()  # type: ignore[operator]  # checked by check_source


def _is_cipher(source: object) -> bool:
    return callable(getattr(source, "encrypt", None))
