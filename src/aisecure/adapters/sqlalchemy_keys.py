"""API keys and change notices in a database that SQLAlchemy reaches, for services of several machines.

::

    engine = create_engine("postgresql+psycopg://app@db/app")
    keys = ApiKeys(SqlKeyStore(engine), pepper=pepper)

Tested on PostgreSQL and SQLite. The tables are made when they are absent, which takes a role that may; afterwards one
that may read and write rows is enough.
"""

from __future__ import annotations

from aisecure.errors import Misconfigured

try:
    import sqlalchemy as _  # noqa: F401
except ImportError as err:
    raise Misconfigured(
        "API keys in SQL need the package sqlalchemy; run: pip install 'aisecure[sql]'", code="config.extra"
    ) from err

from aisecure._sql_notices import SqlNotices
from aisecure.authn._store_sql import SqlKeyStore

__all__ = ["SqlKeyStore", "SqlNotices"]
