"""What a caller shows to prove who they are, read from the headers and from nowhere else.

A credential in a query string ends up in logs, histories and referrers, so it is not looked for there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aisecure.call import Credential
from aisecure.errors import AuthenticationError

__all__ = ["read_credential"]

#: The ``b64token`` of RFC 6750 section 2.1 after its scheme, whose case does not matter (RFC 9110 section 11.1).
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
#: Visible ASCII without the comma: a server that joins repeated headers joins them with one.
_API_KEY = re.compile(r"[!-+\--~]+")
#: Longer than any key or token in use; longer ones are not worth a hash.
MAX_CREDENTIAL_CHARS = 16_384


def read_credential(authorization: Sequence[str], api_key: Sequence[str]) -> Credential | None:
    """Return the one credential of a request, or None when there is none.

    Args:
        authorization: Values of every ``Authorization`` header.
        api_key: Values of every ``X-API-Key`` header.

    Raises:
        AuthenticationError: There are several, or it cannot be read. Which of two credentials counts is a
            question that a proxy and an application may answer differently, so neither is taken.

    >>> read_credential(["Bearer abc"], [])
    Credential(scheme='bearer')
    """
    if not authorization and not api_key:
        return None
    if len(authorization) + len(api_key) > 1:
        raise AuthenticationError
    if authorization:
        scheme, value, pattern = "bearer", authorization[0], _BEARER
    else:
        scheme, value, pattern = "api_key", api_key[0], _API_KEY
    found = pattern.fullmatch(value) if len(value) <= MAX_CREDENTIAL_CHARS else None
    if found is None:
        raise AuthenticationError
    return Credential(scheme, found[found.re.groups])
