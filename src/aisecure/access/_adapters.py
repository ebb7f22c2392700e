"""A policy that a Casbin adapter loads and stores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aisecure.access._changes import PolicyChange
from aisecure.access._defaults import DEFAULT_MODEL
from aisecure.access._model import casbin_model
from aisecure.access._sources import PolicyRows, PolicyText, read_text
from aisecure.errors import AISecureError, Misconfigured, Unavailable

__all__ = ["AdapterSource"]

_READS = "reads"


class AdapterSource:
    """Reads through ``adapter.load_policy(model)`` into a model of Casbin's, and takes the rules out of it.

    Args:
        model: Its text, or a file's path; None is the built-in one.
        adapter: Of pycasbin's kind.
        shared_tenant: Role links of this tenant hold in every tenant.

    Raises:
        TypeError: The adapter has no ``load_policy``, or one for coroutines.
        Misconfigured: The model's file cannot be read.
    """

    def __init__(
        self, model: str | os.PathLike[str] | None, adapter: Any, *, shared_tenant: str | None = None
    ) -> None:
        import inspect

        load = getattr(adapter, "load_policy", None)
        if not callable(load) or inspect.iscoroutinefunction(load):
            raise TypeError("from_adapter: an adapter has load_policy(model), and is none for coroutines")
        self._adapter = adapter
        self._shared_tenant = shared_tenant
        self._model_name = "the model"
        if model is None:
            self._model, self._model_name = None, "the built-in model"
        elif isinstance(model, str) and "\n" in model:
            self._model = model
        else:
            self._model, self._model_name = read_text(Path(model), "model"), str(model)
        self._changes = 0

    def stamp(self) -> int:
        """Return the number of changes made here: an adapter tells of no others."""
        return self._changes

    def read(self) -> tuple[PolicyRows, int]:
        """Return what the adapter loads.

        Raises:
            Unavailable: It fails; what it says may hold a password, so only the kind of error is told.
        """
        before = self._changes
        model = casbin_model(self._model or DEFAULT_MODEL, self._model_name)
        try:
            self._adapter.load_policy(model)
        except AISecureError:
            raise
        except Exception as err:  # noqa: BLE001  (whatever a database or file of somebody else's raises)
            kind = type(err).__name__
        else:
            rows = {
                kind: tuple(tuple(map(str, rule)) for rule in assertion.policy)
                for section in ("p", "g")
                for kind, assertion in (model[section] or {}).items()
            }
            return PolicyRows(
                self._model, rows, self._model_name, "the adapter's policy", self._shared_tenant
            ), before
        # Here, so that the error is nobody's context.
        raise Unavailable(f"the adapter could not load the policy ({kind})", code="unavailable.policy")

    def write(self, after: PolicyText | PolicyRows, change: PolicyChange, stamp: int) -> int | None:
        """Hand each line to the adapter; one that fails half way leaves the rest undone, which the next read shows.

        Raises:
            Misconfigured: The adapter only reads.
            Unavailable: It fails.
        """
        if stamp != self._changes:
            return None
        self._changes += 1
        kind = ""
        try:
            for ptype, row in change.remove:
                self._adapter.remove_policy(ptype[0], ptype, list(row))
            for ptype, row in change.add:
                self._adapter.add_policy(ptype[0], ptype, list(row))
        except Exception as err:  # noqa: BLE001  (as above)
            # Casbin's own say so in words.
            if isinstance(err, AttributeError | NotImplementedError) or str(err) == "not implemented":
                kind = _READS
            else:
                kind = type(err).__name__
        if kind == _READS:
            raise Misconfigured(
                "the adapter only reads; change the policy where it is kept", code="config.policy"
            )
        if kind:
            raise Unavailable(f"the adapter could not store the change ({kind})", code="unavailable.policy")
        return self._changes
