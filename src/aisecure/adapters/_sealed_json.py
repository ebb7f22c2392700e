"""A JSON value as one text token, for what LangChain stores."""

from __future__ import annotations

import json
from typing import Any, Protocol

from aisecure.errors import DecryptionError

__all__ = ["Opener", "Sealer", "open_json", "seal_json"]


class Sealer(Protocol):
    """What encrypts: any `aisecure.ports.Cipher`."""

    def encrypt(self, plaintext: str, *, context: tuple[str | int, ...] = ()) -> str:
        """Return a token."""


class Opener(Protocol):
    """What decrypts: any `aisecure.ports.Cipher`."""

    def decrypt(self, token: str, *, context: tuple[str | int, ...] = ()) -> str:
        """Return the plaintext, or raise `DecryptionError`."""


def seal_json(cipher: Sealer, what: str, value: Any, context: tuple[str | int, ...]) -> str:
    """Return a token for a value of JSON; tuples become lists, and keys texts, as in any JSON.

    Args:
        cipher: Encrypts.
        what: Names the value in errors, which tell nothing of its content.
        value: What to seal.
        context: The place it belongs to.

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: It contains itself, or is nested too deeply.
    """
    problem: Exception
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        try:
            text.encode()
        except UnicodeEncodeError:
            # A lone surrogate has no UTF-8, and has an escape.
            text = json.dumps(value, separators=(",", ":"))
    except (ValueError, RecursionError):
        problem = ValueError(f"{what}: contains itself, or is nested too deeply to be stored")
    except TypeError:
        problem = TypeError(
            f"{what}: holds an object that JSON has no form for; store texts, numbers, lists and dicts"
        )
    else:
        return cipher.encrypt(text, context=context)
    # Outside the handlers: notes on the encoder's errors tell keys and values.
    raise problem


def open_json(opener: Opener, token: object, context: tuple[str | int, ...]) -> Any:
    """Return the value of a token.

    Raises:
        DecryptionError: It is no token, or none of this place.
    """
    if not isinstance(token, str):
        raise DecryptionError
    return json.loads(opener.decrypt(token, context=context))
