"""The Transit engine of HashiCorp Vault or OpenBao as master key, over its HTTP interface.

The wrapped form is ``version 0x01 |`` the engine's own text, ``vault:v3:...``, which names the version of the key.
Associated data is sent as the interface has it, and bound once more inside: servers from before it was
introduced ignore what they do not know, and would open anything anywhere.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from aisecure.encryption.providers._bound import bind, unbind
from aisecure.encryption.providers._https import Answer, Endpoint
from aisecure.encryption.providers._limits import check_unwrap, check_wrap
from aisecure.errors import AISecureError, DecryptionError, Misconfigured, Unavailable
from aisecure.storage import read_private

__all__ = ["VaultTransit"]

_VERSION = b"\x01"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_MOUNT = re.compile(r"[A-Za-z0-9_.-]{1,255}(/[A-Za-z0-9_.-]{1,255}){0,15}")
_CIPHERTEXT = re.compile(rb"vault:v[1-9][0-9]{0,8}:[A-Za-z0-9+/]{2,20000}={0,2}")
#: What goes into a header as it is; a line break in a token would begin a header of its own.
_PLAIN = re.compile(r"[!-~]{1,4096}")

#: Of a status 400 at decryption, the words that tell a wrong set-up from a wrong ciphertext.
_SET_UP = (
    "key not found",
    "no existing key",
    "associated data",
    "associated_data",
    "not supported",
    "deleted",
)
_REMEDIES = {
    400: "check that the key exists and is of an AEAD type, such as aes256-gcm96",
    403: "the token is invalid or expired, or its policy lacks update on encrypt/ and decrypt/ of this key",
    404: "check address, mount and namespace",
    405: "check address and mount",
}


class VaultTransit:
    """Wraps with a key of the Transit engine; the key never leaves the server, which rotates it.

    Against whoever copies disk or backup without a token that may decrypt. Not against whoever has one. The server
    sees the data keys. The policy needs ``update`` on ``<mount>/encrypt/<key>`` and ``<mount>/decrypt/<key>``;
    leave ``create`` out, with which a misspelt name would make a new key.

    One connection a call, verified against the system's certificates or ``ca``; redirects are not followed, proxies
    of the environment not used, an answer has 64 KiB at most, and no server can draw a call out by dripping.

    Args:
        address: ``https://host:port``. Plain http is taken for loopback only, such as an agent on this machine.
        key: Name of the key, of an AEAD type.
        token: The token; or the path of a file that holds it, as an agent renews it; or a callable that returns
            it. File and callable are asked at each call.
        mount: Where the engine is mounted.
        namespace: Namespace, where the server has them.
        ca: PEM file of the authority that signed the server's certificate.
        context: A TLS context instead of ``ca``, such as one with a client certificate; it has to verify.
        timeout: Seconds to connect, and again for the whole exchange.
        plain_http_unsafe: Take plain http for any host; token and data keys are then readable on the way.

    Raises:
        TypeError, ValueError: For what is none of these.
        Misconfigured: The file of ``ca`` cannot be read, or the context does not verify (``config.invalid``).
    """

    __slots__ = ("_endpoint", "_key", "_mount", "_namespace", "_token")

    def __init__(
        self,
        address: str,
        key: str,
        *,
        token: str | Path | Callable[[], str],
        mount: str = "transit",
        namespace: str | None = None,
        ca: str | Path | None = None,
        context: ssl.SSLContext | None = None,
        timeout: float = 5.0,
        plain_http_unsafe: bool = False,
    ) -> None:
        if not _matches(_NAME, key) or not _matches(_MOUNT, mount) or {".", ".."} & {key, *mount.split("/")}:
            raise ValueError("key and mount are names of letters, digits, '_', '-' and '.'")
        if namespace is not None and not _matches(_PLAIN, namespace):
            raise ValueError("a namespace is printable ASCII without spaces")
        if isinstance(token, str):
            _checked(token, ValueError("a token is printable ASCII without spaces"))
        elif not isinstance(token, Path) and not callable(token):
            raise TypeError(f"a token is a text, a Path or a callable, not {type(token).__name__}")
        self._endpoint = Endpoint(
            address, ca=ca, context=context, timeout=timeout, plain_http_unsafe=plain_http_unsafe
        )
        self._key, self._mount, self._namespace = key, mount, namespace
        self._token = token

    @property
    def key_id(self) -> str:
        """``vault:``, the namespace where there is one, mount and key."""
        return "vault:" + "/".join(filter(None, (self._namespace, self._mount, self._key)))

    def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
        """Return the key wrapped; see `KeyProvider.wrap`."""
        check_wrap(key, associated_data)
        answer = self._post(
            "encrypt",
            {"plaintext": _text(bind(key, associated_data)), "associated_data": _text(associated_data)},
        )
        if answer.status != 200:
            raise self._judge(answer)
        ciphertext = self._field(answer, "ciphertext").encode()
        if not _CIPHERTEXT.fullmatch(ciphertext):
            raise self._strange()
        return _VERSION + ciphertext

    def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
        """Return what `wrap` was given; see `KeyProvider.unwrap`."""
        check_unwrap(wrapped, associated_data)
        ciphertext = wrapped.removeprefix(_VERSION)
        if ciphertext is wrapped or not _is_canonical(ciphertext):
            raise DecryptionError
        body = {"ciphertext": ciphertext.decode(), "associated_data": _text(associated_data)}
        answer = self._post("decrypt", body)
        if answer.status != 200:
            if answer.status == 400 and not any(word in _complaint(answer) for word in _SET_UP):
                raise DecryptionError
            raise self._judge(answer)
        try:
            content = base64.b64decode(self._field(answer, "plaintext"), validate=True)
        except ValueError:
            content = None
        if content is None:
            raise self._strange()
        return unbind(content, associated_data)

    def _post(self, action: str, body: dict[str, str]) -> Answer:
        headers = {"X-Vault-Token": self._read_token(), "X-Vault-Request": "true"}
        if self._namespace is not None:
            headers["X-Vault-Namespace"] = self._namespace
        path = f"/v1/{quote(self._mount)}/{action}/{quote(self._key)}"
        return self._endpoint.post(path, json.dumps(body).encode(), headers)

    def _read_token(self) -> str:
        if isinstance(self._token, str):
            return self._token
        if isinstance(self._token, Path):
            text = read_private(self._token).decode("ascii", "replace").strip()
        else:
            text = self._token()
        return _checked(text, self._refusal("the token that file or callable gave is no token"))

    def _field(self, answer: Answer, name: str) -> str:
        data = answer.json().get("data")
        value = data.get(name) if isinstance(data, dict) else None
        if not isinstance(value, str) or not value.isascii():
            raise self._strange()
        return value

    def _judge(self, answer: Answer) -> AISecureError:
        if answer.status in _REMEDIES:
            return self._refusal(f"status {answer.status}; {_REMEDIES[answer.status]}")
        why = {503: "sealed, or in maintenance", 429: "too many requests", 412: "not replicated yet"}
        if 300 <= answer.status < 400:
            why[answer.status] = "a redirect, which is not followed; name the active server's address"
        reason = why.get(answer.status, "no answer of use")
        return self._unavailable(f"status {answer.status}, {reason}", answer.retry_after)

    def _refusal(self, why: str) -> Misconfigured:
        return Misconfigured(
            f"Vault at {self._endpoint.address}, key {self.key_id}: {why}", code="config.key_refused"
        )

    def _strange(self) -> Unavailable:
        return self._unavailable("an answer that is not of the Transit engine")

    def _unavailable(self, why: str, retry_after: float | None = None) -> Unavailable:
        return Unavailable(
            f"Vault at {self._endpoint.address}, key {self.key_id}: {why}",
            code="unavailable.key_provider",
            retry_after=retry_after,
        )

    def __repr__(self) -> str:
        return f"VaultTransit({self._endpoint.address!r}, {self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VaultTransit is not pickled: it holds a token")


def _is_canonical(ciphertext: bytes) -> bool:
    """Whether it has the engine's form, and no bit set that decoders of base64 drop."""
    if not _CIPHERTEXT.fullmatch(ciphertext):
        return False
    text = ciphertext.rpartition(b":")[2]
    try:
        return base64.b64encode(base64.b64decode(text)) == text
    except ValueError:
        return False


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    if not isinstance(value, str):
        raise TypeError(f"key, mount and namespace are texts, not {type(value).__name__}")
    return pattern.fullmatch(value) is not None


def _checked(token: Any, error: Exception) -> str:
    if not isinstance(token, str) or not _PLAIN.fullmatch(token):
        raise error
    return token


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _complaint(answer: Answer) -> str:
    """Return the server's own words, in lower case, for judging and never for showing."""
    errors = answer.json().get("errors")
    return " ".join(map(str, errors)).lower() if isinstance(errors, list) else ""
