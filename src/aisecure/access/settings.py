"""Settings of the section ``[access]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

__all__ = ["Settings"]


class Settings(BaseModel):
    """Which policy decides. Relative paths start from the configuration file's folder.

    Attributes:
        model: A Casbin model; none is the built-in one: roles with a tree, tenants, deny wins.
        policy: A policy for it. Without one, ``policy.csv`` in the data folder is used if it exists when the guard is
            built, otherwise the built-in policy: ``admin`` may do everything, ``member`` may invoke ``model:*``.
        shared_tenant: With a model of your own: role links of this tenant hold in every tenant.
        database: Instead of ``policy``: the URL of a database that holds it, for SQLAlchemy.
        table: The table there, in the layout of Casbin's own adapters; made when absent.
        redis_url: URL of a Redis server that tells of changes by other processes, where the policy itself may be slow to.
        reload_seconds: At most this often a decision looks whether the policy changed.
        scopes: By scope of a credential, what it permits of what the policy allows: ``chat = ["invoke model:*"]``.
            Without this table scopes narrow nothing.
        unscoped: Whether a credential without any scope is narrowed to nothing: ``deny``; or not at all: ``allow``.
        elevation: Whether roles can be given for a while (`aisecure elevate`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path | None = None
    policy: Path | None = None
    shared_tenant: str | None = None
    database: SecretStr | None = None
    table: str = Field(default="casbin_rule", min_length=1, max_length=63)
    redis_url: SecretStr | None = None
    reload_seconds: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    scopes: dict[str, list[str]] | None = None
    unscoped: Literal["allow", "deny"] = "allow"
    elevation: bool = False
