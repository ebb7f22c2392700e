"""A PKCS#11 token and the session in it: loading, logging in, and what a fork does to both."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any

from aisecure.encryption.providers._per_process import PerProcess
from aisecure.errors import Misconfigured

try:
    import pkcs11
except ImportError as err:
    raise Misconfigured(
        "keys in a PKCS#11 token need the package python-pkcs11; run: pip install 'aisecure[pkcs11]'",
        code="config.extra",
    ) from err

__all__ = ["TURN", "Token", "check_text"]

#: Held for every call into any module: python-pkcs11 initialises modules with no arguments, which says to them
#: that one thread calls at a time (PKCS#11 3.1 section 5.4), and it gives the interpreter's own lock away.
TURN = PerProcess(Lock)

#: Which process initialised a module, by path.
_OWNERS: dict[str, int] = {}


class Token:
    """A token that can be logged in to; its ``repr`` leaves the PIN out. Call it with `TURN` held."""

    __slots__ = ("_pin", "_pin_refused", "label", "module")

    def __init__(self, module: str | os.PathLike[str], label: str, pin: str | Callable[[], str]) -> None:
        self.module = os.fspath(module)
        check_text("module", self.module)
        check_text("token_label", label)
        if isinstance(pin, str):
            check_text("pin", pin)
        elif not callable(pin):
            raise TypeError(f"a PIN is a text, or a callable that returns it, not {type(pin).__name__}")
        self.label = label
        self._pin = pin
        self._pin_refused = False

    def open(self, *, writable: bool = False) -> Any:
        """Return a session, logged in.

        Raises:
            PKCS11Error: The token said so.
            Misconfigured: The module cannot be loaded.
        """
        if self._pin_refused:
            raise pkcs11.PinIncorrect  # without asking: a token locks after a few wrong ones
        token = _load(self.module).get_token(token_label=self.label)
        if isinstance(self._pin, str):
            pin = self._pin
        else:
            pin = self._pin()
            check_text("pin", pin)
        try:
            return token.open(rw=writable, user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=writable)  # a login is the process's; this session shares it
        except pkcs11.PinIncorrect:
            self._pin_refused = True
            raise

    def __repr__(self) -> str:
        return f"Token({self.module!r}, {self.label!r})"


def check_text(name: str, value: object) -> None:
    """Raise TypeError or ValueError for what is no text that a C library can be given; the text is not shown."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is a text, not {type(value).__name__}")
    try:
        plain = b"\0" not in value.encode()
    except UnicodeEncodeError:
        plain = False
    if not plain or not value:
        raise ValueError(f"{name} is not empty, and has no NUL and no lone surrogate")


def _load(path: str) -> Any:
    """Return the module, initialised by this very process."""
    try:
        module = pkcs11.lib(path)
        if _OWNERS.get(path, os.getpid()) != os.getpid():
            # Came through a fork. Modules that notice forks have nothing to finalise, and say so.
            with suppress(pkcs11.PKCS11Error):
                module.finalize()
            module.initialize()
        _OWNERS[path] = os.getpid()
    except pkcs11.PKCS11Error:
        pass
    else:
        return module
    raise Misconfigured(
        f"PKCS#11 module {path}: cannot be loaded or initialised; check its path and its own configuration",
        code="config.key_refused",
    )
