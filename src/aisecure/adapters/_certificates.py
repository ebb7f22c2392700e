"""The client's certificate: that of the connection, or the one that a trusted proxy saw; never a stranger's word.

Who ended the TLS connection also checked the chain; nothing of it is checked here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from aisecure.adapters._origin import TrustedProxies
from aisecure.errors import AuthenticationError, Misconfigured

__all__ = ["ClientCertificates", "of_environ", "of_scope"]

_PEM = re.compile(
    r"\s*-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----\s*", re.ASCII
)
#: ``sf-binary``, RFC 8941 section 3.3.5, without the freedoms that its section 4.2.7 gives a reader.
_BINARY = re.compile(r":([A-Za-z0-9+/]+={0,2}):")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")
#: A certificate of 4 KB as percent-encoded PEM has about 6,000 characters.
_MAX_CHARS = 65_536


class ClientCertificates:
    """Whose certificate it is.

    A connection from a trusted proxy is the proxy's, and so is its certificate; the client's is in the proxy's header
    then, if anywhere. On any other connection the header is the client's own invention and is not read.

    Args:
        header: Name of the proxy's header, such as ``Client-Cert`` (RFC 9440); empty when there is none.
        proxies: Whose word counts.

    Raises:
        Misconfigured: The header has no name that a header can have, or nobody is trusted to send it.
    """

    def __init__(self, header: str, proxies: TrustedProxies) -> None:
        if header and not _NAME.fullmatch(header):
            raise Misconfigured(
                "certificate_header: is the name of a header such as Client-Cert", code="config.proxies"
            )
        if header and not proxies:
            raise Misconfigured(
                "certificate_header: counts only from trusted_proxies; name them", code="config.proxies"
            )
        #: Lower-case name; empty when no header is read.
        self.header = header.lower()
        self._proxies = proxies

    def of(self, peer: str, connection: bytes, values: Sequence[str]) -> bytes:
        """Return the client's certificate in DER; empty when there is none.

        Args:
            peer: Address of the other end of the connection.
            connection: Its certificate, in DER.
            values: Of the proxy's header.

        Raises:
            AuthenticationError: A trusted proxy sent a header that cannot be read.
        """
        if not connection and not values:
            return b""
        if not self._proxies.trusts(peer):
            return connection
        return _of_header(values) if values else b""


def _of_header(values: Sequence[str]) -> bytes:
    """Return a certificate as RFC 9440 section 2.1 writes it, or as percent-encoded PEM (nginx, AWS load balancers)."""
    value = values[0].strip(" ") if len(values) == 1 and len(values[0]) <= _MAX_CHARS else "?"
    if not value:  # what proxies send for a client without a certificate
        return b""
    binary = _BINARY.fullmatch(value)
    if binary is not None:
        data = _decoded(binary[1])
    elif value.startswith("-----BEGIN"):
        data = _of_pem(unquote(value))
    else:
        data = b""
    if not data:
        raise AuthenticationError
    return data


def _of_pem(text: object) -> bytes:
    found = _PEM.fullmatch(text) if isinstance(text, str) and len(text) <= _MAX_CHARS else None
    return b"" if found is None else _decoded("".join(found[1].split()))


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    # One certificate has one spelling.
    return data if base64.b64encode(data) == text.encode() else b""


def of_scope(scope: Mapping[str, Any]) -> bytes:
    """Return the certificate of an ASGI connection, as the TLS extension tells it; one that failed its check is none."""
    extensions = scope.get("extensions")
    tls = extensions.get("tls") if extensions else None
    if not tls or tls.get("client_cert_error") is not None:
        return b""
    return _of_pem(next(iter(tls.get("client_cert_chain") or ()), None))


def of_environ(environ: Mapping[str, Any]) -> bytes:
    """Return the certificate of a WSGI connection, as mod_ssl, mod_wsgi and werkzeug tell it.

    No header can be mistaken for these: a server writes headers as ``HTTP_...`` (PEP 3333).
    """
    pem = environ.get("SSL_CLIENT_CERT")
    if not pem or environ.get("SSL_CLIENT_VERIFY", "SUCCESS") != "SUCCESS":
        return b""
    return _of_pem(pem)
