"""Pseudonyms in a database that SQLAlchemy reaches, for services of several machines.

::

    engine = create_engine("postgresql+psycopg://app@db/app")
    vault = PseudonymVault(SqlPseudonyms(engine), cipher, key=key)

Tested on PostgreSQL and SQLite. The tables are made when they are absent, which takes a role that may; afterwards one
that may read and write rows is enough.
"""

from __future__ import annotations

from aisecure.errors import Misconfigured

try:
    import sqlalchemy as _  # noqa: F401
except ImportError as err:
    raise Misconfigured(
        "pseudonyms in SQL need the package sqlalchemy; run: pip install 'aisecure[sql]'", code="config.extra"
    ) from err

from aisecure.detect._vault_sql import SqlPseudonyms

__all__ = ["SqlPseudonyms"]
