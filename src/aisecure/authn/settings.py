"""Settings of the section ``[authn]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

__all__ = ["CertificateHolder", "Certificates", "Dpop", "Issuer", "Settings"]

_Name = Field(min_length=1, max_length=256)


class Issuer(BaseModel):
    """Whose tokens are accepted: an entry ``[[authn.issuers]]``. What each does, `JwtVerifier` and `ClaimMapping` say.

    Attributes:
        issuer: ``iss`` of its tokens, to the letter.
        audience: ``aud`` that names this service, or several.
        algorithms: What it signs with.
        jwks_file: A file with its keys; or
        jwks_uri: their address; with neither, its discovery document says.
        typ: Kind of token, such as ``at+jwt``.
        leeway_seconds: By how much its clock may differ.
        required: Claims that have to be there.
        id: Claim of the principal's id.
        tenant: Tenant of everybody; or
        tenant_claim: the claim that says it.
        roles: Claim of the roles.
        scopes: Claims of the scopes; the first that is there counts.
        bound: Whether tokens have to be bound to their sender.
        memo_seconds: How long an accepted token is remembered.
        max_token_chars: Longest token that is looked at.
        timeout_seconds: For asking the issuer for its keys.
        max_stale_seconds: How long its last keys are used while it does not answer.
        allow_http_loopback: Take ``http`` addresses of this machine, for development.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1)
    audience: str | tuple[str, ...]
    algorithms: tuple[str, ...] = ("RS256",)
    jwks_file: Path | None = None
    jwks_uri: str | None = None
    typ: str | None = None
    leeway_seconds: float = Field(default=10.0, ge=0, le=60)
    required: tuple[str, ...] | None = None
    id: str = "sub"
    tenant: str = "default"
    tenant_claim: str | None = None
    roles: str | None = None
    scopes: tuple[str, ...] = ("scope", "scp")
    bound: Literal["if_bound", "required"] = "if_bound"
    memo_seconds: float = Field(default=300.0, ge=0, le=86_400)
    max_token_chars: int = Field(default=8192, ge=256, le=1 << 20)
    timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    max_stale_seconds: float = Field(default=21_600.0, ge=0, le=7 * 86_400)
    allow_http_loopback: bool = False


class Dpop(BaseModel):
    """Proofs of possession (RFC 9449): the table ``[authn.dpop]``.

    Attributes:
        algorithms: What proofs may be signed with.
        max_age_seconds: How old one may be.
        replays: Where used ones are remembered: in this process, or in the database, which several share.
        nonces: Ask callers for a nonce of ours, so that no proof can be made beforehand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithms: tuple[str, ...] = ("ES256", "EdDSA", "Ed25519", "PS256")
    max_age_seconds: float = Field(default=60.0, ge=1, le=3600)
    replays: Literal["stored", "memory"] = "stored"
    nonces: bool = False


class CertificateHolder(BaseModel):
    """Who has a certificate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = _Name
    roles: tuple[str, ...] = ()
    tenant: str = Field(default="default", min_length=1, max_length=256)
    scopes: tuple[str, ...] = ()


class Certificates(BaseModel):
    """Callers known by their certificate: the table ``[authn.certificates]``.

    Attributes:
        name: Which name of a certificate counts; see `MutualTls`.
        principals: Who has the certificate of each name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["uri", "dns", "email", "subject", "fingerprint"] = "uri"
    principals: dict[str, CertificateHolder] = Field(min_length=1)


class Settings(BaseModel):
    """How callers prove who they are. Relative paths start from the configuration file's folder.

    Attributes:
        api_keys: Whether API keys are accepted.
        prefix: First word of every API key; choose one that scanners will know as yours.
        environment: Second word, so that a key for ``test`` is refused in ``live``.
        pepper_file: 32 random bytes that the stored hashes are keyed with; created when absent.
            ``keys/authn.pepper`` in the data folder when None. Without it no stored key can be verified: back it up.
        database: URL of a database for API keys, for SQLAlchemy; the embedded one when None.
        redis_url: Tells other processes of changed keys and tokens, where they share no database.
        last_used_seconds: How coarsely the last use of a key is noted.
        throttle_failures: Failures of one source, or for one key id, after which refusals become 429; 0 for never.
        throttle_seconds: In how long a time.
        issuers: Whose tokens are accepted.
        dpop: How tokens are bound to a key of their sender.
        certificates: Who is known by a certificate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_keys: bool = True
    prefix: str = Field(default="ais", pattern=r"^[a-z][a-z0-9]{1,15}$")
    environment: str = Field(default="live", pattern=r"^[a-z][a-z0-9]{0,15}$")
    pepper_file: Path | None = None
    database: SecretStr | None = None
    redis_url: SecretStr | None = None
    last_used_seconds: float = Field(default=3600.0, ge=0, allow_inf_nan=False)
    throttle_failures: int = Field(default=10, ge=0, le=1_000_000)
    throttle_seconds: float = Field(default=600.0, gt=0, le=86_400)
    issuers: tuple[Issuer, ...] = Field(default=(), max_length=32)
    dpop: Dpop | None = None
    certificates: Certificates | None = None
