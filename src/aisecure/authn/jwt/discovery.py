"""Finds the address of an issuer's keys (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3)."""

from __future__ import annotations

from urllib.parse import urlsplit

from aisecure.authn.jwt.errors import BadKeys, NotFound
from aisecure.authn.jwt.fetch import Fetch

__all__ = ["addresses", "jwks_uri_of"]


def addresses(issuer: str) -> tuple[str, ...]:
    """Return where the metadata of an issuer may be, in the order in which to look.

    >>> addresses("https://login.example.com/acme")[1]
    'https://login.example.com/.well-known/oauth-authorization-server/acme'
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
    )


def jwks_uri_of(issuer: str, fetch: Fetch, deadline: float) -> str:
    """Return the address of the keys, as the issuer's metadata tell it.

    Raises:
        BadKeys: There are no metadata, they are another issuer's, or they name no usable address.
    """
    first, second = addresses(issuer)
    try:
        metadata = fetch(first, deadline).content
    except NotFound:
        metadata = fetch(second, deadline).content
    # Else one issuer could pass off its keys as another's.
    if metadata.get("issuer") != issuer:
        raise BadKeys("is behind metadata of another issuer")
    uri = metadata.get("jwks_uri")
    if not isinstance(uri, str):
        raise BadKeys("has no address in the metadata")
    return uri
