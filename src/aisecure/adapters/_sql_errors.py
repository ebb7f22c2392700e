"""What SQLAlchemy tells of a statement that failed: nothing that was to be encrypted."""

from __future__ import annotations

import copy

from sqlalchemy import event
from sqlalchemy.engine import Dialect, ExceptionContext

from aisecure.errors import AISecureError

__all__ = ["withhold_plaintext"]


def withhold_plaintext(dialect: Dialect) -> None:
    """Keep parameters out of the errors of statements that failed before their parameters were encrypted.

    SQLAlchemy quotes the parameters of a failed statement. Those that the database refused hold tokens; when a
    parameter could not even be converted (the keys are away, another column got a value of a wrong type), all
    parameters are still as the application gave them. Of that error, text and attributes lose them here, for
    every engine that has an encrypted column.
    """
    if not event.contains(dialect, "handle_error", _withhold):
        event.listen(dialect, "handle_error", _withhold)


def _withhold(context: ExceptionContext) -> AISecureError | None:
    told = context.sqlalchemy_exception
    if told is None or context.execution_context is not None:
        return None
    told.hide_parameters = True
    told.params = None
    if isinstance(context.original_exception, AISecureError):
        # "The keys are away" is not an error of the statement; callers wait for Unavailable and get it.
        return copy.copy(context.original_exception)
    return None
