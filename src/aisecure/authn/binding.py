"""Tokens that only their rightful sender can use: bound to a DPoP key (RFC 9449) or to a certificate (RFC 8705)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aisecure.authn.dpop import DpopProofs
from aisecure.authn.method import refused

if TYPE_CHECKING:
    from aisecure.call import Credential
    from aisecure.decisions import Decision

__all__ = ["TokenBinding", "certificate_thumbprint"]

#: Base64url of a SHA-256 without padding; its last character holds 4 bits.
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_JKT, _X5T = "jkt", "x5t#S256"


def certificate_thumbprint(certificate: bytes) -> str:
    """Return the ``x5t#S256`` of a certificate in DER (RFC 8705 section 3.1).

    >>> certificate_thumbprint(b"")
    '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()


class TokenBinding:
    """Compares what a verified token says of its sender (claim ``cnf``) with the request; give it to a `JwtVerifier`.

    - ``jkt``: the token must come with the scheme ``DPoP`` and a proof by that key.
    - ``x5t#S256``: the connection must be made with that certificate.
    - Both: both. Anything else, or a ``cnf`` that cannot be read: refused, since nobody has checked it.
    - A token without ``cnf`` is refused with the scheme ``DPoP``, and everywhere when ``required``.

    Args:
        dpop: Checks the proofs; without it tokens that are bound to a key are refused.
        required: Refuse tokens that anybody could use.

    >>> from aisecure.call import Credential
    >>> binding = TokenBinding()
    >>> binding({"sub": "u-1"}, Credential("bearer", "...")) is None
    True
    >>> binding({"sub": "u-1", "cnf": {"x5t#S256": certificate_thumbprint(b"DER")}}, Credential("bearer", "...")).code
    'authn.invalid'
    """

    def __init__(self, *, dpop: DpopProofs | None = None, required: bool = False) -> None:
        if dpop is not None and not isinstance(dpop, DpopProofs):
            raise TypeError(f"dpop: give DpopProofs, not {type(dpop).__name__}")
        self.dpop = dpop
        self.required = required

    def __repr__(self) -> str:
        return f"TokenBinding(dpop={self.dpop!r}, required={self.required})"

    def __call__(self, claims: Mapping[str, Any], credential: Credential) -> Decision | None:
        """Return None if a request may use a token with these verified claims, or the refusal.

        Raises:
            Unavailable: A proof could not be remembered, so it is not taken.
        """
        if "cnf" not in claims:
            if credential.scheme == "dpop":
                return _UNBOUND_DPOP
            return _UNBOUND if self.required else None
        bound = claims["cnf"]
        if not isinstance(bound, Mapping) or not bound or not bound.keys() <= {_JKT, _X5T}:
            return _UNKNOWN
        if not all(isinstance(value, str) and _THUMBPRINT.fullmatch(value) for value in bound.values()):
            return _UNKNOWN
        if _X5T in bound:
            if not credential.certificate:
                return _NO_CERTIFICATE
            if not hmac.compare_digest(certificate_thumbprint(credential.certificate), bound[_X5T]):
                return _OTHER_CERTIFICATE
        if (_JKT in bound) != (credential.scheme == "dpop"):
            return _UNBOUND_DPOP if credential.scheme == "dpop" else _PLAIN
        if _JKT not in bound:
            return None
        return _NO_DPOP if self.dpop is None else self.dpop.check(credential, bound[_JKT])


_UNBOUND = refused("The token is bound to no sender, and this service takes only such as are.")
_UNBOUND_DPOP = refused("The token was sent with the scheme DPoP and is bound to no DPoP key.")
_UNKNOWN = refused("The token is bound to its sender in a way that is not known here.")
_NO_CERTIFICATE = refused("The token is bound to a certificate, and the connection has none.")
_OTHER_CERTIFICATE = refused("The token is bound to another certificate than that of the connection.")
_PLAIN = refused("The token is bound to a DPoP key and was sent without the scheme DPoP.")
_NO_DPOP = refused("The token is bound to a DPoP key, and this service checks no proofs.")
