"""What a caller shows to prove who they are, read from the headers and the connection and from nowhere else.

A credential in a query string ends up in logs, histories and referrers, so it is not looked for there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from aisecure.call import Credential
from aisecure.errors import AuthenticationError

__all__ = ["read_credential", "scheme_sent", "with_proofs"]

#: The ``b64token`` of RFC 6750 section 2.1, which RFC 9449 section 7.1 takes over, after its scheme, whose case does not
#: matter (RFC 9110 section 11.1).
_TOKEN = re.compile(r"(bearer|dpop) +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
#: Visible ASCII without the comma: a server that joins repeated headers joins them with one.
_API_KEY = re.compile(r"[!-+\--~]+")
#: Longer than any key or token in use; longer ones are not worth a hash.
MAX_CREDENTIAL_CHARS = 16_384


def read_credential(
    authorization: Sequence[str], api_key: Sequence[str], certificate: bytes = b""
) -> Credential | None:
    """Return the one credential of a request, or None when there is none.

    A certificate beside a token is no second credential: it may be what the token is bound to. A credential of the scheme
    ``dpop`` is still without its proofs; see `with_proofs`.

    Args:
        authorization: Values of every ``Authorization`` header.
        api_key: Values of every ``X-API-Key`` header.
        certificate: Of the client, in DER; empty when there is none.

    Raises:
        AuthenticationError: There are several, or it cannot be read. Which of two credentials counts is a
            question that a proxy and an application may answer differently, so neither is taken.

    >>> read_credential(["Bearer abc"], [])
    Credential(scheme='bearer')
    """
    if not authorization and not api_key:
        return Credential("mtls", "", (), "", "", certificate) if certificate else None
    if len(authorization) + len(api_key) > 1:
        raise AuthenticationError
    if authorization:
        value = authorization[0]
        found = _TOKEN.fullmatch(value) if len(value) <= MAX_CREDENTIAL_CHARS else None
        if found is None:
            raise AuthenticationError
        scheme, token = found.groups()
        return Credential("bearer" if len(scheme) == 6 else "dpop", token, (), "", "", certificate)
    value = api_key[0]
    if len(value) > MAX_CREDENTIAL_CHARS or not _API_KEY.fullmatch(value):
        raise AuthenticationError
    return Credential("api_key", value, (), "", "", certificate)


def with_proofs(credential: Credential, proofs: Sequence[str], method: str, url: str) -> Credential:
    """Return a credential with its proofs, and what they have to name.

    Args:
        credential: Of the scheme ``dpop``.
        proofs: Values of every ``DPoP`` header.
        method: Of the request.
        url: Its address; empty when it cannot be known.
    """
    return replace(credential, proofs=tuple(proofs), method=method, url=url)


def scheme_sent(authorization: Sequence[str]) -> str:
    """Return the scheme of a token that was sent, as a challenge names it; empty when none was, or several.

    >>> scheme_sent(["dpop abc"])
    'DPoP'
    """
    # No token has a comma: it is where a server joined several headers.
    if len(authorization) != 1 or "," in authorization[0]:
        return ""
    return {"bearer": "Bearer", "dpop": "DPoP"}.get(authorization[0].partition(" ")[0].lower(), "")
