"""The authorizer that a configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisecure.access._sources import Files, PolicySource
from aisecure.access.authorizer import Authorizer
from aisecure.access.settings import Settings
from aisecure.errors import Misconfigured
from aisecure.ports import Ports

if TYPE_CHECKING:
    from aisecure.access.scopes import Scopes

__all__ = ["authorizer"]


def authorizer(settings: Settings, ports: Ports) -> Authorizer:
    """Return the authorizer.

    Raises:
        Misconfigured: A file, a table or a URL cannot be used, or the settings contradict each other.
        Unavailable: The database does not answer.
    """
    source, scopes = _source(settings, ports), _scopes(settings)
    if source is None:
        if settings.redis_url is not None:
            raise _wrong("redis_url", "tells of changes of a policy; name the policy or the database")
        return Authorizer(scopes=scopes, events=ports.events, clock=ports.clock)
    notices = None
    if settings.redis_url is not None:
        from aisecure.notices_redis import RedisNotices

        # Asked at most every reload_seconds anyway.
        notices = RedisNotices(settings.redis_url, poll_seconds=0.0)
    return Authorizer(
        source,
        reload_seconds=settings.reload_seconds,
        notices=notices,
        scopes=scopes,
        events=ports.events,
        clock=ports.clock,
    )


def _source(settings: Settings, ports: Ports) -> PolicySource | None:
    model = None if settings.model is None else ports.base_dir / settings.model
    policy = None if settings.policy is None else ports.base_dir / settings.policy
    if settings.database is not None:
        if policy is not None:
            raise _wrong("database", "the policy is in a file or in a database; remove one of the two")
        from aisecure.access._sql_policy import SqlPolicy

        return SqlPolicy.at(
            settings.database.get_secret_value(),
            model=model,
            table=settings.table,
            shared_tenant=settings.shared_tenant,
        )
    if policy is None and (ports.data_dir / "policy.csv").exists():
        policy = ports.data_dir / "policy.csv"
    if policy is None:
        if model is not None:
            raise _wrong("policy", f"name the policy that belongs to the model {settings.model}")
        return None
    return Files(model, policy, shared_tenant=settings.shared_tenant)


def _scopes(settings: Settings) -> Scopes | None:
    if settings.scopes is None:
        if settings.unscoped == "deny":
            raise _wrong("unscoped", "say in [access.scopes] what each scope permits")
        return None
    from aisecure.access.scopes import Scopes

    try:
        return Scopes(settings.scopes, unscoped=settings.unscoped)
    except ValueError as err:
        raise _wrong("scopes", str(err)) from err


def _wrong(setting: str, remedy: str) -> Misconfigured:
    return Misconfigured(f"[access] {setting}: {remedy}", code="config.policy")
