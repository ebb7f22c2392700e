"""The floor under every connection: a context that meets the policy when it is made, and refuses to be weakened.

Sources: RFC 9325 (BCP 195) for versions, suites, compression and renegotiation; Mozilla's server side TLS guidelines,
"intermediate", for the list of TLS 1.2 suites without those of finite-field Diffie-Hellman, which RFC 9325 section 4.1
advises against.
"""

from __future__ import annotations

import ssl
from typing import Any, Literal

from aisecure.errors import Misconfigured

__all__ = ["FlooredContext", "Minimum"]

Minimum = Literal["1.3", "1.2"]

_VERSIONS = {"1.3": ssl.TLSVersion.TLSv1_3, "1.2": ssl.TLSVersion.TLSv1_2}
#: Ephemeral curves and authenticated ciphers only. Level 2: keys of at least 112 bits of security, no SHA-1 signatures.
_TLS12_SUITES = (
    "@SECLEVEL=2"
    ":ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    ":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    ":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
#: No compression (CRIME, RFC 9325 section 3.3), no renegotiation (section 3.5).
_OPTIONS = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
#: As ``ssl.create_default_context`` has them from Python 3.13 on; the same here under every Python.
_VERIFY_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


class FlooredContext(ssl.SSLContext):
    """An `ssl.SSLContext` whose protection can be raised and not lowered.

    It is made by hand and not by ``ssl.create_default_context``, which writes the keys of every session to the file
    that the environment variable ``SSLKEYLOGFILE`` names. What is set here wins over OpenSSL's configuration file.
    """

    _sealed = False
    _own_anchors = False

    def __init__(self, protocol: Any, *, minimum: Minimum) -> None:
        if minimum not in _VERSIONS:
            raise Misconfigured(
                f'minimum: is "1.3" or "1.2", not {minimum!r}; older versions are broken (RFC 8996)',
                code="config.tls",
            )
        # The upper end first: a configuration file may have put it below our lower one.
        self.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
        self.minimum_version = _VERSIONS[minimum]
        self.set_ciphers(_TLS12_SUITES)
        self.options |= _OPTIONS
        self.verify_flags |= _VERIFY_FLAGS
        self.hostname_checks_common_name = False  # RFC 9525: names stand in subjectAltName

    def __setattr__(self, name: str, value: Any) -> None:
        if self._sealed and self._weakens(name, value):
            raise Misconfigured(
                f"this TLS context does not let {name} be weakened; give client_context or server_context what you need",
                code="config.tls",
            )
        super().__setattr__(name, value)

    def _weakens(self, name: str, value: Any) -> bool:
        match name:
            case "check_hostname":
                return self.check_hostname and not value
            case "verify_mode":
                return self.verify_mode == ssl.CERT_REQUIRED and value != ssl.CERT_REQUIRED
            case "minimum_version":
                return bool(value < self.minimum_version)
            case "maximum_version":
                return value != ssl.TLSVersion.MAXIMUM_SUPPORTED and bool(value < self.minimum_version)
            case "options":
                return bool(value & _OPTIONS != _OPTIONS)
            case "verify_flags":
                return bool(value & _VERIFY_FLAGS != _VERIFY_FLAGS)
            case "hostname_checks_common_name":
                return bool(value)
            case "keylog_filename":
                return value is not None
            case "sslsocket_class" | "sslobject_class" | "_sealed" | "_own_anchors":
                return True
            case _:
                return False

    def set_ciphers(self, ciphers: str, /) -> None:
        """Refused: the suites are part of the floor."""
        if self._sealed:
            raise Misconfigured("this TLS context has its suites; leave set_ciphers out", code="config.tls")
        super().set_ciphers(ciphers)

    def load_verify_locations(self, *args: Any, **kwargs: Any) -> None:
        """Refused where the certificates to trust were named: a library's own bundle must not widen them."""
        self._refuse_anchors()
        super().load_verify_locations(*args, **kwargs)

    def load_default_certs(self, purpose: Any = ssl.Purpose.SERVER_AUTH) -> None:
        """Refused where the certificates to trust were named."""
        self._refuse_anchors()
        super().load_default_certs(purpose)

    def set_default_verify_paths(self) -> None:
        """Refused where the certificates to trust were named."""
        self._refuse_anchors()
        super().set_default_verify_paths()

    def _refuse_anchors(self) -> None:
        if self._sealed and self._own_anchors:
            raise Misconfigured(
                "this TLS context trusts the certificates it was given and no others; add yours to that file",
                code="config.tls",
            )

    def _seal(self, *, own_anchors: bool) -> None:
        self._own_anchors = own_anchors
        self._sealed = True
