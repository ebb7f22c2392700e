"""AWS KMS, or what speaks its protocol, as master key: the key never leaves the service."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from typing import Any, NoReturn

from aisecure.encryption.providers._limits import check_unwrap, check_wrap
from aisecure.encryption.providers._per_process import PerProcess
from aisecure.encryption.providers._withheld import withheld
from aisecure.errors import AISecureError, DecryptionError, Misconfigured, Unavailable

try:
    import boto3
    from botocore import exceptions as aws
    from botocore.config import Config
except ImportError as err:
    raise Misconfigured(
        "keys in AWS KMS need the package boto3; run: pip install 'aisecure[aws]'", code="config.extra"
    ) from err

__all__ = ["AwsKms"]

_VERSION = b"\x01"
#: KMS takes a key id, an ARN or an alias of at most this length (API reference, Encrypt, KeyId).
_MAX_KEY_ID = 2_048
#: The name of the encryption context's one pair; a key policy can ask for it.
_CONTEXT_NAME = "aisecure-associated-data"

#: What the service says of a blob: the one reason of `DecryptionError`.
_NOT_OURS = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
#: Error codes of refusals that a retry does not change, each with its remedy.
_REFUSED = {
    "AccessDeniedException": "allow kms:Encrypt and kms:Decrypt on it in the key policy",
    "NotFoundException": "check the key id, the account and the region",
    "DisabledException": "enable it",
    "KMSInvalidStateException": "it is pending deletion or import; cancel that, or restore the key material",
    "InvalidKeyUsageException": "name a symmetric key for encryption",
    "InvalidArnException": "check the key id",
    "ValidationException": "check the key id",
    "InvalidGrantTokenException": "check the grant",
    "UnrecognizedClientException": "check the credentials",
    "InvalidClientTokenId": "check the credentials",
    "InvalidSignatureException": "check the credentials and the clock",
    "IncompleteSignature": "check the credentials",
    "MissingAuthenticationToken": "check the credentials",
    "OptInRequired": "enable the service for this account",
    "ExpiredTokenException": "renew the credentials",
    "RequestExpired": "check the clock",
}
#: Errors of botocore itself that a retry does not change.
_UNUSABLE: tuple[type[Exception], ...] = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.NoRegionError,
    aws.ProfileNotFound,
    aws.ConfigParseError,
    aws.InvalidConfigError,
    aws.InvalidRegionError,
    aws.SSLError,
    aws.ParamValidationError,
    aws.UnknownEndpointError,
    aws.UnauthorizedSSOTokenError,
)


class AwsKms:
    """Wraps with a symmetric KMS key (Encrypt and Decrypt), pinned: no other key of the account opens.

    Against whoever copies disk, backup or process image without the right to use the key, and every use stands
    in CloudTrail. Not against whoever may call Decrypt on it. The service sees the data keys.

    The associated data goes into the encryption context as its SHA-256: it binds as well as the data itself, and
    CloudTrail, which prints contexts and forgets nothing, learns no names from it.

    Calls end after ``attempts * (connect_timeout + read_timeout)`` seconds and the pauses between, of a second or
    two each. botocore's debug log, which prints keys, is blanked for these calls.

    Args:
        key_id: Key id, key ARN, alias name or alias ARN. An ARN names one key for ever; prefer it.
        client: A ``kms`` client of boto3 with settings of your own; its retries and timeouts are yours.
            After a fork its connections are closed in the child and opened anew.
        region: As in boto3, which looks into environment and profile when None.
        endpoint_url: Where the service is, for private endpoints and tests.
        connect_timeout: Seconds.
        read_timeout: Seconds.
        attempts: Tries a call, the first among them.

    Raises:
        TypeError, ValueError: For what is none of these.
        Misconfigured: boto3 is not installed (``config.extra``), or cannot make a client of the settings.
    """

    __slots__ = ("_client", "_key_id")

    def __init__(
        self,
        key_id: str,
        *,
        client: Any = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        connect_timeout: float = 3.0,
        read_timeout: float = 5.0,
        attempts: int = 3,
    ) -> None:
        if not isinstance(key_id, str):
            raise TypeError(f"a key id is a text, not {type(key_id).__name__}")
        if not 0 < len(key_id) <= _MAX_KEY_ID or not key_id.isprintable() or not key_id.isascii():
            raise ValueError(f"a key id has 1 to {_MAX_KEY_ID} printable ASCII characters")
        if client is not None and not callable(getattr(client, "decrypt", None)):
            raise TypeError(f"client is a kms client of boto3, not {type(client).__name__}")
        if client is not None and (region is not None or endpoint_url is not None):
            raise ValueError("region and endpoint_url belong to the client: give them, or a client")
        if not (0 < connect_timeout <= 3600 and 0 < read_timeout <= 3600):
            raise ValueError("timeouts are seconds above 0 and at most an hour")
        if type(attempts) is not int or not 0 < attempts <= 100:
            raise ValueError("attempts is a whole number from 1 to 100")
        self._key_id = key_id
        config = Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )

        def make() -> Any:
            try:
                # A session of its own: boto3's default one is not made safely by several threads at once.
                return boto3.session.Session().client(
                    "kms", region_name=region, endpoint_url=endpoint_url, config=config
                )
            except ValueError:
                pass
            raise self._refusal("endpoint_url is no address", "write https://host")

        self._client = PerProcess(make if client is None else _inherited(client))
        self._ask(lambda _: None)  # a client that cannot be made is told at start-up

    @property
    def key_id(self) -> str:
        """The key as it was named."""
        return self._key_id

    def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
        """Return the key wrapped, ``version 0x01 | CiphertextBlob``; see `KeyProvider.wrap`."""
        check_wrap(key, associated_data)
        answer = self._ask(
            lambda client: client.encrypt(
                KeyId=self._key_id, Plaintext=key, EncryptionContext=_context(associated_data)
            )
        )
        return _VERSION + _bytes(answer, "CiphertextBlob")

    def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
        """Return what `wrap` was given; see `KeyProvider.unwrap`."""
        check_unwrap(wrapped, associated_data)
        blob = wrapped.removeprefix(_VERSION)
        if not blob or blob is wrapped or len(blob) > 6_144:  # the limit of CiphertextBlob
            raise DecryptionError
        answer = self._ask(
            lambda client: client.decrypt(
                KeyId=self._key_id, CiphertextBlob=blob, EncryptionContext=_context(associated_data)
            )
        )
        return _bytes(answer, "Plaintext")

    def _ask(self, call: Callable[[Any], Any]) -> Any:
        try:
            with withheld():
                return call(self._client.get())
        except aws.ClientError as err:
            error = self._judge(err)
        except _UNUSABLE as err:
            error = self._refusal(type(err).__name__, "check credentials, region, endpoint and certificate")
        except AISecureError:
            raise
        except Exception as err:  # noqa: BLE001  (botocore's parsers raise anything at answers of no known form)
            error = self._silence(type(err).__name__)
        # Outside the handler: botocore's errors carry requests and answers along.
        raise error

    def _judge(self, err: aws.ClientError) -> AISecureError:
        code = str(err.response.get("Error", {}).get("Code", ""))
        if code in _NOT_OURS:
            return DecryptionError()
        if code in _REFUSED:
            return self._refusal(code, _REFUSED[code])
        headers = err.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return self._silence(code, _seconds(headers.get("retry-after")))

    def _refusal(self, reason: str, remedy: str) -> Misconfigured:
        return Misconfigured(f"KMS key {self._key_id}: {reason}; {remedy}", code="config.key_refused")

    def _silence(self, reason: str, retry_after: float | None = None) -> Unavailable:
        return Unavailable(
            f"KMS could not be asked for key {self._key_id}: {_word(reason)}",
            code="unavailable.key_provider",
            retry_after=retry_after,
        )

    def __repr__(self) -> str:
        return f"AwsKms({self._key_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AwsKms is not pickled: it holds connections and credentials")


def _inherited(client: Any) -> Callable[[], Any]:
    """Return what makes a given client usable in this process and in those forked from it."""
    owner = os.getpid()

    def make() -> Any:
        if os.getpid() != owner:
            client.close()  # the child's copies of the sockets; the client connects anew by itself
        return client

    return make


def _context(associated_data: bytes) -> dict[str, str]:
    return {_CONTEXT_NAME: base64.b64encode(hashlib.sha256(associated_data).digest()).decode()}


def _bytes(answer: Any, name: str) -> bytes:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, bytes) or not value:
        raise Unavailable(f"KMS answered without {name}", code="unavailable.key_provider")
    return value


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdecimal() and len(header) < 7 else None


def _word(reason: str) -> str:
    """Return a code from the wire as one short word, and nothing else that a server may have put there."""
    return "".join(filter(str.isalnum, reason))[:64] or "no reason given"
