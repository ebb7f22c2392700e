"""A policy that a Casbin adapter loads and stores."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aisecure.access._changes import Line, PolicyChange
from aisecure.access._defaults import DEFAULT_MODEL
from aisecure.access._model import casbin_model
from aisecure.access._sources import PolicyRows, PolicyText, model_text
from aisecure.errors import AISecureError, Misconfigured, Unavailable

__all__ = ["AdapterSource"]


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
        load = getattr(adapter, "load_policy", None)
        if not callable(load) or inspect.iscoroutinefunction(load):
            raise TypeError("from_adapter: an adapter has load_policy(model), and is none for coroutines")
        self._adapter = adapter
        self._shared_tenant = shared_tenant
        self._model, self._model_name = model_text(model)
        self._changes = 0
        self._seen: PolicyRows | None = None

    def stamp(self) -> int:
        """Return the number of changes seen here: an adapter does not tell of others."""
        return self._changes

    def read(self) -> tuple[PolicyRows, int]:
        """Return what the adapter loads.

        Raises:
            Unavailable: It fails; what it says may hold a password, so only the kind of error is told.
        """
        before = self._changes
        self._seen = self._loaded()
        return self._seen, before

    def write(self, after: PolicyText | PolicyRows, change: PolicyChange, stamp: int) -> int | None:
        """Hand each line to the adapter, and look whether it kept them.

        An adapter has no transaction: when it fails half way, what it took is taken back as far as it lets us.

        Raises:
            Misconfigured: The adapter only reads.
            Unavailable: It fails.
        """
        if stamp != self._changes or self._loaded() != self._seen:
            self._changes += 1
            return None
        # Whatever comes of it, it is read again before the next change.
        self._changes += 1
        done: list[tuple[Line, bool]] = []
        try:
            for line, add in (
                *((line, False) for line in change.remove),
                *((line, True) for line in change.add),
            ):
                self._hand(line, add=add)
                done.append((line, add))
            self._seen = self._loaded()
            there = {(kind, row) for kind, rows in self._seen.rows.items() for row in rows}
            if not there.issuperset(change.add) or not there.isdisjoint(change.remove):
                raise _only_reads()  # Casbin's own adapter for files says nothing, and does nothing
        except AISecureError:
            for line, add in reversed(done):
                with suppress(AISecureError):
                    self._hand(line, add=not add)
            raise
        stamp = self._changes
        if self._seen != after:
            self._changes += 1  # others changed it in the same moment: there is more to see at the next look
        return stamp

    def _loaded(self) -> PolicyRows:
        model = casbin_model(self._model or DEFAULT_MODEL, self._model_name)
        sections = model.model = _Sections(model.model)
        _run(lambda: self._adapter.load_policy(model), "load the policy")
        rows = {
            kind: tuple(map(_row, assertion.policy))
            for kinds in sections.values()
            for kind, assertion in kinds.items()
            if assertion.policy
        }
        return PolicyRows(self._model, rows, self._model_name, "the adapter's policy", self._shared_tenant)

    def _hand(self, line: Line, *, add: bool) -> None:
        kind, row = line
        store = getattr(self._adapter, "add_policy" if add else "remove_policy", None)
        if store is None:
            raise _only_reads()
        _run(lambda: store(kind[0], kind, list(row)), "store the change")


def _row(rule: object) -> tuple[str, ...]:
    if not isinstance(rule, list | tuple):
        raise Misconfigured("the adapter's policy: a rule is no list of fields", code="config.policy")
    return tuple(map(str, rule))


class _Sections(dict[str, Any]):
    """The sections of a Casbin model, with room for lines of kinds that the model does not know.

    Casbin passes over these; here they reach the checks of the policy, which refuse them, since one may be the rule
    that denies.
    """

    def __init__(self, sections: dict[str, dict[str, Any]]) -> None:
        super().__init__({name: _Kinds(kinds) for name, kinds in sections.items()})

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        self[name] = made = _Kinds({})
        return made

    def keys(self) -> Any:
        """Return what Casbin asks for names."""
        return self


class _Kinds(_Sections):
    """The kinds of lines in a section."""

    def __init__(self, kinds: dict[str, Any]) -> None:
        dict.__init__(self, kinds)

    def __missing__(self, name: str) -> Any:
        from casbin.model import Assertion

        self[name] = made = Assertion()
        return made


def _run(work: Callable[[], object], what: str) -> None:
    """Let the adapter do something.

    Raises:
        Misconfigured: It does not do that.
        Unavailable: It fails.
    """
    try:
        work()
    except AISecureError:
        raise
    except Exception as err:  # noqa: BLE001  (whatever a database or file of somebody else's raises)
        # Casbin's own adapters say so in words.
        refuses = isinstance(err, NotImplementedError) or str(err) == "not implemented"
        kind = type(err).__name__
    else:
        return
    # Here, so that the error is nobody's context: its text may hold a password.
    if refuses:
        raise _only_reads()
    raise Unavailable(f"the adapter could not {what} ({kind})", code="unavailable.policy")


def _only_reads() -> Misconfigured:
    return Misconfigured(
        "the adapter only reads, or does not keep what it is given; change the policy where it is kept",
        code="config.policy",
    )
