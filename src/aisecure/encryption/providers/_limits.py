"""What every provider takes: the sizes of `KeyProvider`, checked before anything leaves the process."""

from __future__ import annotations

from aisecure.errors import DecryptionError

__all__ = ["MAX_ASSOCIATED_BYTES", "MAX_KEY_BYTES", "check_unwrap", "check_wrap"]

#: AWS KMS encrypts at most this much with a symmetric key (API reference, Encrypt, Plaintext).
MAX_KEY_BYTES = 4_096
MAX_ASSOCIATED_BYTES = 1_024
#: More than any provider makes of `MAX_KEY_BYTES`; what is longer is refused unread.
MAX_WRAPPED_BYTES = 4 * MAX_KEY_BYTES


def check_wrap(key: bytes, associated_data: bytes) -> None:
    """Raise TypeError or ValueError for what `KeyProvider.wrap` does not take."""
    _check_associated(associated_data)
    if not isinstance(key, bytes):
        raise TypeError(f"a key to wrap is bytes, not {type(key).__name__}")
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"a key to wrap has 1 to {MAX_KEY_BYTES} bytes, not {len(key)}")


def check_unwrap(wrapped: bytes, associated_data: bytes) -> None:
    """Raise TypeError or ValueError for mistakes in calling, DecryptionError for what no provider ever made."""
    _check_associated(associated_data)
    if not isinstance(wrapped, bytes):
        raise TypeError(f"a wrapped key is bytes, not {type(wrapped).__name__}")
    if not 0 < len(wrapped) <= MAX_WRAPPED_BYTES:
        raise DecryptionError


def _check_associated(associated_data: bytes) -> None:
    if not isinstance(associated_data, bytes):
        raise TypeError(f"associated_data is bytes, not {type(associated_data).__name__}")
    if len(associated_data) > MAX_ASSOCIATED_BYTES:
        raise ValueError(
            f"associated_data has at most {MAX_ASSOCIATED_BYTES} bytes, not {len(associated_data)}"
        )
