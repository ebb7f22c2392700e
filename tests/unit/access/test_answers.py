"""Decisions about principals name the version that made them, and the quick way to one is as strict as the long one."""

from __future__ import annotations

import random

import pytest

from aisecure.access import DEFAULT_MODEL, Authorizer
from aisecure.access._names import MAX_NAME
from aisecure.principal import Principal

POLICY = "p, clerk, acme, note:*, read, allow\np, clerk, acme, note:secret*, *, deny\np, clerk, acme, plan, read, allow"
CLERK = Principal("ann", roles={"clerk"}, tenant="acme")


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        ("note:1", "ok"),
        ("plan", "ok"),
        ("note:secret", "access.rule"),
        ("ledger", "access.denied"),
        ("note://", "access.name"),
    ],
)
@pytest.mark.parametrize(
    "model", [None, DEFAULT_MODEL.replace("r.dom)", "r.dom) && r.act != 'x'")], ids=["quick", "long"]
)
def test_every_decision_names_the_version(model, resource, code):
    may = Authorizer.from_text(model=model, policy=POLICY)
    decision = may.decide(CLERK, "read", resource)
    assert (decision.code, decision.policy) == (code, may.version)
    assert may.decide(CLERK, "read", resource) is decision  # made once


def test_a_policy_with_more_rules_that_deny_than_are_kept_ready_names_each(monkeypatch):
    monkeypatch.setattr("aisecure.access._quick._RULES", 2)
    policy = "\n".join(f"p, clerk, acme, note:{number}, read, deny" for number in range(5))
    may = Authorizer.from_text(policy=policy)
    for number in range(5):
        assert f"line {number + 1} " in may.decide(CLERK, "read", f"note:{number}").reasons[0]


def test_the_quick_way_and_enforce_agree_for_every_name_of_the_principal():
    rnd = random.Random(7)
    names = ["ann", "bob", "r1", "r2", "r3", "zz"]
    for _ in range(60):
        rules = [
            ("p", rnd.choice(names), rnd.choice(["t", "u", "*"]), rnd.choice(["/a", "/a/*", "/b", "*", "/a/b*"]),
             rnd.choice(["read", "*"]), rnd.choice(["allow", "allow", "deny"]))
            for _ in range(rnd.randint(1, 9))
        ]  # fmt: skip
        links = [("g", rnd.choice(names), rnd.choice(names), rnd.choice(["t", "*"])) for _ in range(3)]
        may = Authorizer.from_text(
            model=DEFAULT_MODEL + " ", policy="\n".join(map(", ".join, rules + links)), shared_tenant="*"
        )
        for _ in range(12):
            roles = rnd.sample(names, rnd.randint(0, 2))
            principal = Principal(rnd.choice(names), roles=roles, tenant=rnd.choice(["t", "u", "v"]))
            action, resource = (
                rnd.choice(["read", "write"]),
                rnd.choice(["/a", "/a/b", "/b", "/c", "/a//b", "/a/%62"]),
            )
            asked = [(name, principal.tenant, resource, action) for name in (principal.id, *roles)]
            lines = [may.snapshot.judge(one) for one in asked]
            want = min(lines) >= 0 and max(lines) > 0
            assert may.decide(principal, action, resource).allowed is want, (rules, links, asked)


@pytest.mark.parametrize("bad", ["a\nb", "a\0", "\ud800", "x" * (MAX_NAME + 1), "a\u2028"])
@pytest.mark.parametrize("where", ["id", "tenant", "action", "resource"])
@pytest.mark.parametrize("resource", ["*", "plan"])
def test_a_name_that_is_not_plain_is_never_allowed(bad, where, resource):
    may = Authorizer.from_text(policy=f"p, clerk, *, {resource}, *, allow")
    parts = {"id": "ann", "tenant": "acme", "action": "read", "resource": "plan"} | {where: bad}
    principal = Principal(parts["id"], roles={"clerk", "more"}, tenant=parts["tenant"])
    assert not may.decide(principal, parts["action"], parts["resource"]).allowed


class Text(str):
    """A string of another class."""

    __slots__ = ()


def test_a_string_of_another_class_is_a_string():
    may = Authorizer.from_text(policy=POLICY)
    assert may.decide(CLERK, Text("read"), Text("note:1")).allowed
