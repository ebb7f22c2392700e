"""A Casbin policy in a database that SQLAlchemy reaches.

::

    engine = create_engine("postgresql+psycopg://app@db/app")
    authorizer = Authorizer(SqlPolicy(engine), reload_seconds=2)
    authorizer.add_policy("editor", "*", "document:*", "read", "allow")

The table is laid out as Casbin's own adapters for SQL lay it out (``casbin_rule``: ``id``, ``ptype``, ``v0`` to ``v5``), so
an existing one is taken as it is, and other programs may go on writing to it. Tested on PostgreSQL and SQLite.
"""

from __future__ import annotations

from aisecure.access._sql_policy import SqlPolicy

__all__ = ["SqlPolicy"]
