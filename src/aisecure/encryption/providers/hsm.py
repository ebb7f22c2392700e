"""A hardware security module, over PKCS#11: an AES key in the token wraps, and never leaves it.

The wrapped form is ``version 0x01 | 0x01 | nonce, 12 bytes | ciphertext | tag, 16`` where AES-GCM can be used,
with the first two bytes and the associated data authenticated. Else it is ``version 0x01 | 0x02 |`` AES key wrap with
padding (RFC 5649, CKM_AES_KEY_WRAP_PAD) of

    random, 14 bytes | length of what follows, 2 | SHA-256 of 0x01 0x02 and the associated data | the key | zeros

up to a multiple of eight. Key wrap authenticates all that it wraps, knows no associated data, and gives the same
answer to the same question, hence the random part. The zeros are ours because SoftHSM 2.6 returns its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, NoReturn
from urllib.parse import quote

from aisecure.encryption.providers._bound import bind, unbind
from aisecure.encryption.providers._hsm_token import TURN, Token, check_text
from aisecure.encryption.providers._limits import check_unwrap, check_wrap
from aisecure.encryption.providers._per_process import PerProcess
from aisecure.errors import AISecureError, DecryptionError, Misconfigured, Unavailable

import pkcs11  # isort: skip  (after the module that says what to install)
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass  # isort: skip

__all__ = ["Pkcs11"]

_Form = Literal["AES_GCM", "AES_KEY_WRAP_PAD"]
_GCM, _KEY_WRAP = b"\x01\x01", b"\x01\x02"
_HEAD, _NONCE_BYTES, _RANDOM_BYTES = 2, 12, 14

_REFUSED: dict[type[Exception], str] = {
    pkcs11.PinLocked: "the PIN is locked after too many wrong ones; have the security officer set a new one",
    pkcs11.PinIncorrect: "the PIN is wrong; it is not tried again, because tokens lock",
    pkcs11.PinInvalid: "the PIN is not of the token's form",
    pkcs11.PinLenRange: "the PIN has another length than the token's",
    pkcs11.PinExpired: "the PIN has expired; set a new one",
    pkcs11.UserPinNotInitialized: "the token has no user PIN; initialise it",
    pkcs11.NoSuchToken: "no token has this label; check the label and the module's own configuration",
    pkcs11.MultipleTokensReturned: "several tokens have this label; give each its own",
    pkcs11.NoSuchKey: "the token has no AES key with this label; make one with Pkcs11.create_key",
    pkcs11.MultipleObjectsReturned: "several AES keys have this label; rename or delete all but one",
    pkcs11.MechanismInvalid: "token or key cannot be used with this mechanism",
    pkcs11.KeyTypeInconsistent: "the key is of another type; use an AES key",
    pkcs11.TokenWriteProtected: "the token is write-protected",
}
#: A session that ended without our doing; a new one may work.
_ENDED = (
    pkcs11.SessionHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.ObjectHandleInvalid,
    pkcs11.KeyHandleInvalid,
    pkcs11.WrappingKeyHandleInvalid,
    pkcs11.UnwrappingKeyHandleInvalid,
    pkcs11.UserNotLoggedIn,
    pkcs11.DeviceRemoved,
    pkcs11.TokenNotPresent,
)
_KEY_OF = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES}
#: A data key while it is in the token, wrapped or unwrapped there: gone with the session at the latest.
_PASSING = {Attribute.TOKEN: False, Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
_USES: dict[str, MechanismFlag] = {
    # One pair of uses a key: with both, whoever has a session could wrap another key and decrypt it.
    "AES_GCM": MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
    "AES_KEY_WRAP_PAD": MechanismFlag.WRAP | MechanismFlag.UNWRAP,
}


class Pkcs11:
    """Wraps with an AES key in a token, found by its label.

    Against whoever copies disk, backup or memory: the key is in none of them, and each use needs token and PIN.
    Not against whoever has both. One session serves all threads, one call at a time in a process. After a fork
    the child initialises the module anew (PKCS#11 3.1 section 5.4) and logs in again.

    A process logs in to a token once: where another part of it is logged in already, that login holds and this
    PIN is not looked at.

    Args:
        module: Path of the token maker's library.
        token_label: Label of the token.
        pin: The user's PIN, or a callable that returns it.
        key_label: Label of the AES key; `create_key` makes one.
        mechanism: What wraps; None for AES-GCM where token and key allow it, else AES key wrap. For
            tokens that insist on making nonces themselves, name ``"AES_KEY_WRAP_PAD"``.

    Raises:
        TypeError, ValueError: For what is none of these.
        Misconfigured: python-pkcs11 is not installed (``config.extra``), or module, token, PIN or key cannot be
            used (``config.key_refused``).
        Unavailable: The token does not work.
    """

    __slots__ = ("_form", "_key_label", "_opened", "_token")

    def __init__(
        self,
        module: str | os.PathLike[str],
        token_label: str,
        pin: str | Callable[[], str],
        key_label: str,
        *,
        mechanism: _Form | None = None,
    ) -> None:
        if mechanism not in {None, *_USES}:
            raise ValueError(f"mechanism is one of {', '.join(_USES)}, or None")
        check_text("key_label", key_label)
        self._token = Token(module, token_label, pin)
        self._key_label = key_label
        self._form = mechanism
        self._opened: PerProcess[_Session] = PerProcess(self._open)
        self._ask(lambda _: b"")  # what is wrong with the set-up is told at start-up

    @classmethod
    def create_key(
        cls,
        module: str | os.PathLike[str],
        token_label: str,
        pin: str | Callable[[], str],
        key_label: str,
        *,
        mechanism: _Form = "AES_GCM",
    ) -> Pkcs11:
        """Return the provider of a new AES-256 key, made in the token: sensitive, and never extractable.

        Raises:
            Misconfigured: As for the class, or the label is taken.
            Unavailable: The token does not work.
        """
        if mechanism not in _USES:
            raise ValueError(f"mechanism is one of {', '.join(_USES)}")
        check_text("key_label", key_label)
        token = Token(module, token_label, pin)
        fault: Exception | None = None
        taken = False
        with TURN.get():
            try:
                session = token.open(writable=True)
                taken = any(session.get_objects({**_KEY_OF, Attribute.LABEL: key_label}))
                if not taken:
                    session.generate_key(
                        KeyType.AES,
                        256,
                        label=key_label,
                        store=True,
                        capabilities=_USES[mechanism],
                        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
                    )
                # Not closed: that would log the whole process out. It ends with the process.
            except pkcs11.PKCS11Error as err:
                fault = err
        if fault is not None:
            raise _judge(fault, token.label, key_label)
        if taken:
            raise Misconfigured(
                f"PKCS#11 token {token.label!r}, key {key_label!r}: exists; choose another label",
                code="config.key_refused",
            )
        return cls(module, token_label, pin, key_label, mechanism=mechanism)

    @property
    def key_id(self) -> str:
        """Token and key as a PKCS#11 URI (RFC 7512)."""
        token, key = quote(self._token.label, safe=""), quote(self._key_label, safe="")
        return f"pkcs11:token={token};object={key};type=secret-key"

    def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
        """Return the key wrapped; see `KeyProvider.wrap`."""
        check_wrap(key, associated_data)
        return self._ask(lambda session: session.wrap(key, associated_data))

    def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
        """Return what `wrap` was given; see `KeyProvider.unwrap`."""
        check_unwrap(wrapped, associated_data)
        if wrapped[:_HEAD] not in {_GCM, _KEY_WRAP} or len(wrapped) <= _HEAD + _NONCE_BYTES:
            raise DecryptionError
        return self._ask(lambda session: session.unwrap(wrapped, associated_data))

    def _ask(self, call: Callable[[_Session], bytes]) -> bytes:
        fault: Exception | None = None
        for _ in range(2):
            with TURN.get():
                try:
                    return call(self._opened.get())
                except _ENDED as err:
                    fault = err
                    self._opened.drop()
                except pkcs11.PKCS11Error as err:
                    fault = err
                    break
        # Outside the handlers, and the same for the session that ended twice.
        raise _judge(fault, self._token.label, self._key_label)

    def _open(self) -> _Session:
        session = self._token.open()
        key = session.get_key(
            object_class=ObjectClass.SECRET_KEY, key_type=KeyType.AES, label=self._key_label
        )
        offered = session.token.slot.get_mechanisms()
        # The object has the methods that the key's own attributes allow.
        able = {
            "AES_GCM": Mechanism.AES_GCM in offered and hasattr(key, "encrypt") and hasattr(key, "decrypt"),
            "AES_KEY_WRAP_PAD": Mechanism.AES_KEY_WRAP_PAD in offered
            and hasattr(key, "wrap_key")
            and hasattr(key, "unwrap_key"),
        }
        form: str | None = self._form or next((name for name, usable in able.items() if usable), None)
        if form is None or not able[form]:
            raise pkcs11.MechanismInvalid
        return _Session(session, key, _GCM if form == "AES_GCM" else _KEY_WRAP)

    def __repr__(self) -> str:
        return f"Pkcs11({self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Pkcs11 is not pickled: it holds a PIN and a session")


class _Session:
    """An open session with its key: what is said to the token, and nothing about failures but one."""

    __slots__ = ("_head", "_key", "_session")

    def __init__(self, session: Any, key: Any, head: bytes) -> None:
        self._session, self._key, self._head = session, key, head

    def wrap(self, key: bytes, associated_data: bytes) -> bytes:
        if self._head == _GCM:
            nonce = os.urandom(_NONCE_BYTES)
            return _GCM + nonce + self._gcm(self._key.encrypt, key, nonce, associated_data)
        content = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
            Attribute.VALUE: _pad(bind(key, _KEY_WRAP + associated_data)),
        }
        passing = self._session.create_object({**content, **_PASSING})
        try:
            return _KEY_WRAP + bytes(self._key.wrap_key(passing, mechanism=Mechanism.AES_KEY_WRAP_PAD))
        finally:
            with suppress(pkcs11.PKCS11Error):
                passing.destroy()

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        head, body = wrapped[:_HEAD], wrapped[_HEAD:]
        try:
            if head == _GCM:
                nonce, sealed = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
                return self._gcm(self._key.decrypt, sealed, nonce, associated_data)
            content = self._unwrap_padded(body)
        except AttributeError:  # a key that may not be used so has not the method
            content = b""
        except _ENDED:
            raise
        except pkcs11.PKCS11Error:
            # Tokens say CKR_GENERAL_ERROR of a damaged ciphertext, as they do when they are broken themselves.
            self._prove()
            content = b""
        return unbind(_unpad(content), _KEY_WRAP + associated_data)

    def _prove(self) -> None:
        """Have the token do its part once more, on a value of our own; what it raises then is about the token."""
        self.wrap(bytes(16), b"")

    def _gcm(
        self, operation: Callable[..., bytes], data: bytes, nonce: bytes, associated_data: bytes
    ) -> bytes:
        params = GCMParams(nonce, _GCM + associated_data, 128)
        return bytes(operation(data, mechanism=Mechanism.AES_GCM, mechanism_param=params))

    def _unwrap_padded(self, body: bytes) -> bytes:
        passing = self._key.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.GENERIC_SECRET,
            body,
            mechanism=Mechanism.AES_KEY_WRAP_PAD,
            template=_PASSING,
        )
        try:
            return bytes(passing[Attribute.VALUE])
        finally:
            with suppress(pkcs11.PKCS11Error):
                passing.destroy()


def _pad(bound: bytes) -> bytes:
    content = os.urandom(_RANDOM_BYTES) + len(bound).to_bytes(2) + bound
    return content + bytes(-len(content) % 8)


def _unpad(content: bytes) -> bytes:
    """Return what `_pad` was given, or nothing that `unbind` takes."""
    start = _RANDOM_BYTES + 2
    end = start + int.from_bytes(content[_RANDOM_BYTES:start])
    return content[start:end] if end <= len(content) else b""


def _judge(fault: Exception | None, token: str, key: str) -> AISecureError:
    what = f"PKCS#11 token {token!r}, key {key!r}"
    for kind, remedy in _REFUSED.items():
        if isinstance(fault, kind):
            return Misconfigured(f"{what}: {remedy}", code="config.key_refused")
    return Unavailable(f"{what}: {type(fault).__name__}", code="unavailable.key_provider")
