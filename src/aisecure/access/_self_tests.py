"""Known answers that show that each capability works in this installation."""

from __future__ import annotations

from collections.abc import Callable

from aisecure.access.authorizer import Authorizer
from aisecure.principal import Principal

__all__ = ["self_tests"]

_POLICY = """
p, reader, *, document:*, read, allow
p, reader, acme, document:secret, read, deny
g, editor, reader, *
g, ann, editor, acme
"""
_UNCOMPILED = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub != "mal" + "lory" && r.sub == p.sub && r.obj == p.obj && r.act == p.act
"""


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one check a capability; each raises AssertionError when the capability is broken."""
    return {
        "access.default": _default,
        "access.roles": _roles,
        "access.names": _names,
        "access.casbin": _casbin,
    }


def _expect(got: object, wanted: object) -> None:
    # Not an assert statement: those vanish under python -O.
    if got != wanted:
        raise AssertionError(f"self-test: wanted {wanted!r}, got {got!r}")


def _default() -> None:
    may = Authorizer()
    _expect(may.decide(Principal("u", roles={"member"}), "invoke", "model:m").allowed, True)
    _expect(may.decide(Principal("u", roles={"member"}), "delete", "model:m").code, "access.denied")
    _expect(may.decide(Principal.anonymous(), "invoke", "model:m").code, "access.denied")
    _expect(may.decide(Principal("admin"), "invoke", "model:m").code, "access.name")


def _roles() -> None:
    may = Authorizer.from_text(policy=_POLICY)
    _expect(may.decide(Principal("ann", tenant="acme"), "read", "document:42").allowed, True)
    _expect(may.decide(Principal("ann", tenant="acme"), "read", "document:secret").code, "access.rule")
    _expect(may.decide(Principal("ann", tenant="globex"), "read", "document:42").code, "access.denied")


def _names() -> None:
    may = Authorizer.from_text(policy=_POLICY)
    for resource in ("document:a//b", "document:a/../b", "document:%41", "document:a\n"):
        decision = may.decide(Principal("u", roles={"reader"}), "read", resource)
        _expect(decision.code, "access.name")


def _casbin() -> None:
    may = Authorizer.from_text(model=_UNCOMPILED, policy="p, ann, data, read\np, mallory, data, read")
    _expect(may.compiled, False)
    _expect([may.enforce(name, "data", "read") for name in ("ann", "mallory")], [True, False])
