"""What a protected server says of itself, so that a client finds out where to get a token (RFC 9728)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from aisecure.errors import Misconfigured

__all__ = ["ProtectedResource"]

_WELL_KNOWN = "/.well-known/oauth-protected-resource"
#: Scheme, host and port, path; no user name, no query and no fragment (RFC 9728 section 1.2).
_URL = re.compile(
    r"(?P<origin>(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: ``scope-token``, RFC 6749 section 3.3.
_SCOPE = re.compile(r"[!#-\[\]-~]+")


class ProtectedResource:
    """The metadata of a protected resource, such as an MCP server; give it to `AISecureMiddleware` or Flask's `AISecure`.

    They serve it without authentication at `path`, and name `url` in the ``WWW-Authenticate`` of a refusal.

    A token has to be issued for this server: make ``audience`` of the `JwtVerifier` equal to ``resource``, or a token
    that a user gave to any other server of the same issuer opens this one.

    Args:
        resource: The server's address as its clients write it, such as ``https://mcp.example.com/mcp``; ``http://`` is for
            a server on this machine alone.
        authorization_servers: Issuers whose tokens it takes.
        scopes_supported: Scopes that clients may need.
        resource_name: For people.
        resource_documentation: Address of a page for developers.
        dpop_signing_algorithms: Of proofs that it takes: ``DpopProofs().algorithms``.
        dpop_required: It takes no token without a DPoP key.
        certificate_bound_tokens: It compares certificate-bound tokens with the connection (RFC 8705).

    Raises:
        Misconfigured: An address cannot be used.

    >>> mcp = ProtectedResource("https://mcp.example.com/mcp", ["https://login.example.com"], scopes_supported=["tools"])
    >>> mcp.path
    '/.well-known/oauth-protected-resource/mcp'
    >>> mcp.url
    'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'
    """

    def __init__(
        self,
        resource: str,
        authorization_servers: Collection[str],
        *,
        scopes_supported: Collection[str] = (),
        resource_name: str = "",
        resource_documentation: str = "",
        dpop_signing_algorithms: Collection[str] = (),
        dpop_required: bool = False,
        certificate_bound_tokens: bool = False,
    ) -> None:
        match = _address("resource", resource)
        for name, values in (
            ("authorization_servers", authorization_servers),
            ("scopes_supported", scopes_supported),
        ):
            if isinstance(values, str):
                raise TypeError(f"{name} is a list")
        if not authorization_servers:
            raise Misconfigured("authorization_servers: name at least one issuer", code="config.metadata")
        for server in authorization_servers:
            _address("authorization_servers", server)
        if not all(_SCOPE.fullmatch(scope) for scope in scopes_supported):
            raise Misconfigured("scopes_supported: a scope is one word", code="config.metadata")
        #: The address that tokens have to name as their audience.
        self.resource = resource
        #: Where the document is served (RFC 9728 section 3.1).
        self.path = _WELL_KNOWN + ("" if match["path"] in (None, "/") else match["path"])
        #: Where clients find the document.
        self.url = match["origin"] + self.path
        self._document: dict[str, Any] = {
            "resource": resource,
            "authorization_servers": list(authorization_servers),
            "scopes_supported": list(scopes_supported),
            # Nothing else reads a token from a query or a form.
            "bearer_methods_supported": ["header"],
            "resource_name": resource_name,
            "resource_documentation": resource_documentation,
            "dpop_signing_alg_values_supported": list(dpop_signing_algorithms),
            "dpop_bound_access_tokens_required": dpop_required,
            "tls_client_certificate_bound_access_tokens": certificate_bound_tokens,
        }
        #: The document as it is sent.
        self.body = json.dumps(self.document(), separators=(",", ":")).encode()
        #: Of the response: anybody may read it, scripts of other pages too.
        self.headers = (
            ("content-type", "application/json"),
            ("content-length", str(len(self.body))),
            ("cache-control", "public, max-age=300"),
            ("access-control-allow-origin", "*"),
        )

    def __repr__(self) -> str:
        return f"ProtectedResource({self.resource!r})"

    def document(self) -> dict[str, Any]:
        """Return the document; what is empty or false is left out (RFC 9728 section 3.2)."""
        return {name: value for name, value in self._document.items() if value}


def _address(what: str, url: str) -> re.Match[str]:
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    if match is None:
        raise Misconfigured(
            f"{what}: write an address such as https://mcp.example.com/mcp, in lower case, without query and fragment",
            code="config.metadata",
        )
    if match["scheme"] == "http" and match["host"] not in _LOOPBACK:
        raise Misconfigured(f"{what}: use https", code="config.metadata")
    return match
