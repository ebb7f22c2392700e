"""SQLAlchemy columns that are plain in Python and encrypted in the database.

::

    notes: Mapped[str | None] = mapped_column(EncryptedType(cipher, context=("patients", "notes")))   # one column
    email = EncryptedAttribute(cipher, context=("patients", "email"), index=index)                   # bound to its row

`EncryptedType` is a type of columns and works in every statement; its tokens are bound to table and column.
`EncryptedAttribute` belongs to mapped classes; its tokens are bound to the row too, and an index can be kept with
it. `TableTokens` is either of them as something to re-encrypt.
"""

from __future__ import annotations

from aisecure.errors import Misconfigured

try:
    import sqlalchemy as _  # noqa: F401
except ImportError as err:
    raise Misconfigured(
        "encrypted columns need the package sqlalchemy; run: pip install 'aisecure[sql]'", code="config.extra"
    ) from err

from aisecure.adapters._sql_attribute import EncryptedAttribute, EncryptedColumns
from aisecure.adapters._sql_tokens import TableTokens
from aisecure.adapters._sql_types import BlindIndexType, EncryptedType
from aisecure.call import current_context

__all__ = [
    "BlindIndexType",
    "EncryptedAttribute",
    "EncryptedColumns",
    "EncryptedType",
    "TableTokens",
    "current_tenant",
]


def current_tenant() -> str:
    """Return the tenant of the principal on whose behalf the code runs; to bind tokens to.

    >>> from aisecure.call import acting_as
    >>> from aisecure.principal import Principal
    >>> with acting_as(Principal("u-17", tenant="clinic-7")):
    ...     current_tenant()
    'clinic-7'
    """
    return current_context().principal.tenant
