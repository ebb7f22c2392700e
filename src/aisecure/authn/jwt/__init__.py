"""Tokens of an issuer: JSON Web Tokens (RFC 7519), read strictly and verified with the issuer's published keys."""

from __future__ import annotations

from aisecure.authn.jwt.principals import ClaimMapping
from aisecure.authn.jwt.revocations import Revocations, TokenRevocations
from aisecure.authn.jwt.verifier import JwtVerifier

__all__ = ["ClaimMapping", "JwtVerifier", "Revocations", "TokenRevocations"]
