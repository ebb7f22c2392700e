"""Why a decision is what it is, and who may."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aisecure.access import Authorizer
from aisecure.errors import Misconfigured
from aisecure.principal import Principal

POLICY = """\
p, member, *, model:*, invoke, allow
p, member, *, model:internal-*, invoke, deny
p, editor, acme, document:*, write, allow
g, chief, editor, acme
g, ann, chief, acme
g, bob, member, *
"""
ANN = Principal("ann", tenant="acme")


@pytest.fixture
def may():
    return Authorizer.from_text(policy=POLICY)


class TestAllowed:
    def test_names_the_rule_and_the_chain_of_roles(self, may):
        told = may.explain(ANN, "write", "document:42")
        assert told.decision.allowed
        assert told.deciding.line == 3
        assert told.deciding.through == ("ann", "chief", "editor")
        assert "through ann > chief > editor" in str(told)
        assert told.nearest == ()

    def test_by_a_role_of_the_credential_begins_with_that_role(self, may):
        told = may.explain(Principal("u-1", roles={"chief"}, tenant="acme"), "write", "document:42")
        assert told.deciding.through == ("chief", "editor")


class TestDenied:
    def test_by_a_rule_names_it_and_what_would_have_allowed(self, may):
        told = may.explain(Principal("bob", tenant="acme"), "invoke", "model:internal-1")
        assert (told.decision.code, told.deciding.line) == ("access.rule", 2)
        assert [rule.line for rule in told.matching] == [1]

    @pytest.mark.parametrize(
        ("principal", "action", "resource", "line", "needs"),
        [
            (ANN, "read", "document:42", 3, "act write instead of read"),
            (Principal("ann", tenant="globex"), "write", "document:42", 3, "dom acme instead of globex"),
            (ANN, "write", "model:x", 3, "obj document:* instead of model:x"),
            (Principal("eve", tenant="acme"), "write", "document:42", 3, "the role editor"),
        ],
    )
    def test_by_no_rule_names_the_nearest_and_what_it_needs(
        self, may, principal, action, resource, line, needs
    ):
        nearest = may.explain(principal, action, resource).nearest[0]
        assert nearest.line == line
        assert needs in [str(missing) for missing in nearest.missing]

    def test_by_its_spelling_says_just_that(self, may):
        told = may.explain(ANN, "write", "document:a//b")
        assert told.decision.code == "access.name"
        assert told.nearest == ()


def test_is_json(may):
    told = json.loads(json.dumps(may.explain(ANN, "write", "document:42").to_dict()))
    assert told["deciding"]["line"] == 3
    assert told["decision"]["allowed"] is True


def test_a_matcher_that_casbin_evaluates_is_told_as_such():
    model = (
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n"
        "[policy_effect]\ne = some(where (p.eft == allow))\n"
        '[matchers]\nm = r.sub + "" == p.sub && r.obj == p.obj && r.act == p.act\n'
    )
    told = Authorizer.from_text(model=model, policy="p, ann, ledger, read").explain(ANN, "read", "ledger")
    assert told.decision.allowed
    assert "Casbin evaluates" in told.note


def test_a_model_that_knows_no_principals_cannot_be_asked():
    model = (
        "[request_definition]\nr = a, b\n[policy_definition]\np = a, b\n"
        "[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.a == p.a && r.b == p.b\n"
    )
    with pytest.raises(Misconfigured):
        Authorizer.from_text(model=model, policy="p, x, y").explain(ANN, "read", "x")


ROLES = ["r1", "r2", "r3"]
RESOURCES = ["document:1", "document:*", "model:*", "note"]
ACTIONS = ["read", "write", "*"]


def _policy(rnd: random.Random, effects: tuple[str, ...]) -> str:
    rules = [
        f"p, {rnd.choice(ROLES)}, {rnd.choice(['t1', 't2', '*'])}, {rnd.choice(RESOURCES)}, {rnd.choice(ACTIONS)}, "
        f"{rnd.choice(effects)}"
        for _ in range(rnd.randint(1, 8))
    ]
    links = [
        f"g, {rnd.choice(['ann', 'bob', *ROLES])}, {rnd.choice(ROLES)}, {rnd.choice(['t1', 't2', '*'])}"
        for _ in range(rnd.randint(0, 5))
    ]
    return "\n".join([*rules, *links])


@given(st.integers(0, 100_000))
def test_an_explanation_agrees_with_the_decision_and_its_rule_matches(seed):
    rnd = random.Random(seed)
    may = Authorizer.from_text(policy=_policy(rnd, ("allow", "allow", "deny")))
    principal = Principal(rnd.choice(["ann", "eve"]), roles=rnd.sample(ROLES, rnd.randint(0, 2)), tenant="t1")
    action, resource = rnd.choice(["read", "write"]), rnd.choice(["document:1", "document:2", "note"])
    told = may.explain(principal, action, resource)
    assert told.decision == may.decide(principal, action, resource)
    if told.decision.code == "access.denied":
        assert told.deciding is None
        assert not told.matching
    elif told.decision.code != "access.name":
        assert told.deciding is not None
        assert told.deciding.allows is told.decision.allowed
        assert told.deciding.through[0] in {principal.id, *principal.roles}


def test_a_rule_that_another_outweighs_is_not_called_near():
    may = Authorizer.from_text(
        policy="p, reader, *, report:*, read, allow\np, *, *, report:secret-*, read, deny"
    )
    told = may.explain(Principal("eve", roles={"reader"}), "read", "report:secret-1")
    assert (told.deciding.line, [rule.line for rule in told.matching], told.nearest) == (2, [1], ())


@example(764)  # a role that counts in one tenant only
@given(st.integers(0, 100_000))
def test_who_has_what_the_nearest_rule_needs_is_allowed(seed):
    rnd = random.Random(seed)
    may = Authorizer.from_text(policy=_policy(rnd, ("allow",)))
    principal = Principal("eve", roles=rnd.sample(ROLES, rnd.randint(0, 1)), tenant="t1")
    told = may.explain(principal, "read", "document:2")
    if told.decision.allowed:
        return
    assert told.nearest
    roles, tenant, action, resource = set(principal.roles), "t1", "read", "document:2"
    for missing in told.nearest[0].missing:
        if missing.by_role:
            roles.add(missing.needed)
        elif missing.field == "dom":
            tenant = missing.needed
        elif missing.field == "act":
            action = missing.needed
        else:
            resource = missing.needed.replace("*", "x")
    assert may.decide(Principal("eve", roles=roles, tenant=tenant), action, resource).allowed


class TestWhoCan:
    def test_lists_users_and_roles_with_the_rule(self, may):
        found = may.who_can("write", "document:42", tenant="acme")
        assert [(holder.name, holder.is_role, holder.line) for holder in found] == [
            ("ann", False, 3), ("chief", True, 3), ("editor", True, 3),
        ]  # fmt: skip
        assert may.who_can("write", "document:42", tenant="globex") == ()

    def test_leaves_out_whom_a_rule_denies(self, may):
        assert may.who_can("invoke", "model:internal-1", tenant="acme") == ()
        assert [holder.name for holder in may.who_can("invoke", "model:x", tenant="acme")] == [
            "bob",
            "member",
        ]

    @pytest.mark.parametrize("holder", ["ann", "bob", "chief", "editor", "member"])
    @pytest.mark.parametrize("action", ["invoke", "write"])
    def test_agrees_with_decide(self, may, holder, action):
        for resource in ("model:x", "document:1"):
            listed = {found.name for found in may.who_can(action, resource, tenant="acme")}
            roles = {holder} if holder in ("chief", "editor", "member") else set()
            asked = Principal("nobody" if roles else holder, roles=roles, tenant="acme")
            assert (holder in listed) is may.decide(asked, action, resource).allowed
