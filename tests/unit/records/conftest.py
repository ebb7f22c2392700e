"""The real Redis server of the tests of quotas, for notices too."""

from __future__ import annotations

from tests.unit.quotas.conftest import redis_client, redis_server

__all__ = ["redis_client", "redis_server"]
