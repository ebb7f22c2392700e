"""Data in transit: contexts for both ends of a TLS connection, and a check of what a server really offers.

`client_context` and `server_context` make an `ssl.SSLContext` that meets the policy and refuses to be weakened;
`check_tls` looks at a server from outside; `require_tls` refuses an address that would go out in clear.
"""

from __future__ import annotations

from aisecure.encryption.tls.check import check_tls
from aisecure.encryption.tls.client import PinMismatch, client_context
from aisecure.encryption.tls.material import CertificateFacts, pin_of
from aisecure.encryption.tls.report import TlsFinding, TlsPolicy, TlsReport
from aisecure.encryption.tls.server import ServerContext, server_context
from aisecure.encryption.tls.urls import require_tls

__all__ = [
    "CertificateFacts",
    "PinMismatch",
    "ServerContext",
    "TlsFinding",
    "TlsPolicy",
    "TlsReport",
    "check_tls",
    "client_context",
    "pin_of",
    "require_tls",
    "server_context",
]
