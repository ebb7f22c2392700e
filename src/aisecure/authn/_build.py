"""The guard that the section ``[authn]`` asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisecure.authn.guard import AuthenticationGuard
from aisecure.authn.keys import ApiKeys
from aisecure.authn.method import Method
from aisecure.authn.pepper import PEPPER_BYTES
from aisecure.authn.throttle import Throttle
from aisecure.errors import Misconfigured
from aisecure.principal import Principal
from aisecure.storage import Storage, read_private, update_private

if TYPE_CHECKING:
    from aisecure.authn.binding import TokenBinding
    from aisecure.authn.jwt import JwtVerifier, TokenRevocations
    from aisecure.authn.settings import Certificates, Dpop, Issuer, Settings
    from aisecure.authn.store import ApiKeyStore
    from aisecure.guard import Guard
    from aisecure.notices import Notices
    from aisecure.ports import Ports

__all__ = ["build"]


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guard that the settings ask for; the pepper is created when absent.

    Raises:
        Misconfigured: A file or a URL cannot be used, the pepper is not the one of the stored keys, or nothing is
            accepted at all.
        Unavailable: The disk is full or failed, or a database does not answer.
    """
    notices = ports.notices
    if settings.redis_url is not None:
        from aisecure.notices_redis import RedisNotices

        with _told_in("authn"):
            notices = RedisNotices(settings.redis_url)
    methods: list[Method] = []
    if settings.api_keys:
        methods.append(_api_keys(settings, ports, notices))
    if settings.issuers:
        from aisecure.authn.jwt import TokenRevocations

        revocations = TokenRevocations(ports.storage(), clock=ports.clock, notices=notices)
        methods += [_verifier(issuer, settings.dpop, revocations, ports) for issuer in settings.issuers]
    elif settings.dpop is not None:
        raise Misconfigured(
            "[authn.dpop]: proofs come with tokens; add an [[authn.issuers]]", code="config.authn"
        )
    if settings.certificates is not None:
        methods.append(_certificates(settings.certificates, ports))
    if not methods:
        raise Misconfigured(
            "[authn]: nobody could prove who he is; switch api_keys on, or name issuers or certificates",
            code="config.authn",
        )
    throttle = None
    if settings.throttle_failures:
        throttle = Throttle(
            failures=settings.throttle_failures,
            seconds=settings.throttle_seconds,
            clock=ports.clock,
            events=ports.events,
        )
    return (AuthenticationGuard(*methods, throttle=throttle),)


# -- API keys


def _api_keys(settings: Settings, ports: Ports, notices: Notices) -> ApiKeys:
    path = settings.pepper_file
    pepper = _open_pepper(ports.data_dir / "keys" / "authn.pepper" if path is None else ports.base_dir / path)
    store: Storage | ApiKeyStore = ports.storage()
    told: Notices | None = notices
    if settings.database is not None:
        store = _sql_store(settings.database.get_secret_value())
        if settings.redis_url is None:
            told = None  # through the same database
    return ApiKeys(
        store,
        pepper=pepper,
        prefix=settings.prefix,
        environment=settings.environment,
        last_used_seconds=settings.last_used_seconds,
        clock=ports.clock,
        notices=told,
        events=ports.events,
    )


def _sql_store(url: str) -> ApiKeyStore:
    try:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import ArgumentError

        from aisecure.authn._store_sql import SqlKeyStore
    except ImportError as err:
        raise Misconfigured(
            "[authn] database: needs the package sqlalchemy; run: pip install 'aisecure[sql]'",
            code="config.extra",
        ) from err
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except (ArgumentError, ImportError, ValueError) as err:
        kind = type(err).__name__
    else:
        return SqlKeyStore(engine)
    # Here, so that the error, which quotes the URL, is nobody's context.
    raise Misconfigured(
        f"[authn] database: is no URL that SQLAlchemy opens here ({kind}); write postgresql+psycopg://...",
        code="config.authn",
    )


def _open_pepper(path: Path) -> list[bytes]:
    """Return the peppers of a file, the newest first; one is made when the file is absent."""
    try:
        pepper = read_private(path)  # also where the folder cannot be written, as a mounted secret
    except Misconfigured as err:
        if err.code != "config.missing":
            raise
        pepper = update_private(path, lambda before: os.urandom(PEPPER_BYTES) if before is None else before)
    if not pepper or len(pepper) % PEPPER_BYTES:
        raise Misconfigured(
            f"{path}: holds {len(pepper)} bytes, not {PEPPER_BYTES}; restore it from a backup"
        )
    return [pepper[start : start + PEPPER_BYTES] for start in range(0, len(pepper), PEPPER_BYTES)]


# -- tokens


def _verifier(issuer: Issuer, dpop: Dpop | None, revocations: TokenRevocations, ports: Ports) -> JwtVerifier:
    from aisecure.authn.jwt import ClaimMapping, JwtVerifier

    given: dict[str, Any] = {}
    if issuer.jwks_file is not None:
        given["jwks"] = _key_set(ports.base_dir / issuer.jwks_file)
    with _told_in("authn.issuers"):
        return JwtVerifier(
            issuer=issuer.issuer,
            audience=issuer.audience,
            algorithms=issuer.algorithms,
            jwks_uri=issuer.jwks_uri,
            typ=issuer.typ,
            leeway=issuer.leeway_seconds,
            required=issuer.required,
            principal=ClaimMapping(
                id=issuer.id,
                tenant=issuer.tenant,
                tenant_claim=issuer.tenant_claim,
                roles=issuer.roles,
                scopes=issuer.scopes,
            ),
            binding=_binding(issuer, dpop, ports),
            revocations=revocations,
            memo_seconds=issuer.memo_seconds,
            max_token_chars=issuer.max_token_chars,
            timeout_seconds=issuer.timeout_seconds,
            max_stale_seconds=issuer.max_stale_seconds,
            allow_http_loopback=issuer.allow_http_loopback,
            clock=ports.clock,
            events=ports.events,
            **given,
        )


def _key_set(path: Path) -> Any:
    import orjson

    try:
        return orjson.loads(path.read_bytes())
    except OSError as err:
        raise Misconfigured(f"{path}: {err.strerror}; name an existing file", code="config.authn") from err
    except ValueError:
        # ``from None``: the original may hold the whole file, which may be a secret.
        raise Misconfigured(f"{path}: is no JSON; write a JWK set (RFC 7517)", code="config.authn") from None


def _binding(issuer: Issuer, dpop: Dpop | None, ports: Ports) -> TokenBinding:
    from aisecure.authn.binding import TokenBinding

    if dpop is None:
        return TokenBinding(required=issuer.bound == "required")
    from aisecure.authn.dpop import DpopProofs
    from aisecure.authn.nonces import DpopNonces
    from aisecure.authn.replays import MemoryReplays, StoredReplays

    proofs = DpopProofs(
        algorithms=dpop.algorithms,
        max_age_seconds=dpop.max_age_seconds,
        replays=StoredReplays(ports.storage()) if dpop.replays == "stored" else MemoryReplays(),
        nonces=DpopNonces(_nonce_secret(ports), clock=ports.clock) if dpop.nonces else None,
        clock=ports.clock,
    )
    return TokenBinding(dpop=proofs, required=issuer.bound == "required")


def _nonce_secret(ports: Ports) -> bytes:
    """Return what every process of the service makes nonces with."""
    path = ports.data_dir / "keys" / "dpop.nonces"
    return update_private(path, lambda before: os.urandom(32) if before is None else before)


# -- certificates


def _certificates(settings: Certificates, ports: Ports) -> Method:
    from aisecure.authn.mutual_tls import MutualTls

    principals = {
        name: Principal(
            holder.id, roles=holder.roles, tenant=holder.tenant, scopes=holder.scopes, method="mtls"
        )
        for name, holder in settings.principals.items()
    }
    with _told_in("authn.certificates"):
        return MutualTls(principals, name=settings.name, clock=ports.clock)


@contextmanager
def _told_in(section: str) -> Iterator[None]:
    """Name the section in what is said of a setting.

    Raises:
        Misconfigured: Something could not be made of it.
    """
    try:
        yield
    except Misconfigured as err:
        raise Misconfigured(f"[{section}] {err.detail}", code=err.code) from err
    except (TypeError, ValueError) as err:
        raise Misconfigured(f"[{section}] {err}", code="config.authn") from err
