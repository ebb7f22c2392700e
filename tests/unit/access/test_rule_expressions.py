"""Rules that hold a condition of their own, as ``eval(p.sub_rule)`` reads it: compiled once, never put together as text."""

from __future__ import annotations

import random
from types import SimpleNamespace

import casbin
import pytest
from casbin.persist.adapters.string_adapter import StringAdapter

from aisecure.access import Authorizer
from aisecure.access._model import read_model
from aisecure.access._policy import Policy, Rows
from aisecure.access._snapshot import Snapshot
from aisecure.errors import Misconfigured, Unavailable

MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub_rule, obj, act, eft
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = eval(p.sub_rule) && keyMatch(r.obj, p.obj) && r.act == p.act
"""


def both(policy: str, model: str = MODEL) -> tuple[Authorizer, casbin.Enforcer]:
    enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=model), StringAdapter(policy))
    return Authorizer.from_text(model=model, policy=policy), enforcer


def test_conditions_of_rules_give_pycasbins_answers():
    rnd = random.Random(7)
    conditions = [
        "r.sub.age > 18",
        "r.sub.age <= 18 && r.sub.name != 'ann'",
        "r.sub.name == \"ann\" || r.sub.name in ['bob', 'cid']",
        "!(r.sub.age > 30)",
        "keyMatch(r.sub.name, 'a*') && r.obj != '/x/2'",
        "r.sub.name == r.sub.boss.name",
        "True",
    ]
    allowed = 0
    for _ in range(40):
        rules = [
            (
                rnd.choice(conditions),
                rnd.choice(["/x/*", "/x/1", "*"]),
                "read",
                rnd.choice(["allow", "deny", "allow"]),
            )
            for _ in range(4)
        ]
        may, enforcer = both("\n".join(", ".join(("p", *rule)) for rule in rules))
        assert may.compiled, may.reason
        for _ in range(10):
            boss = SimpleNamespace(name=rnd.choice(["ann", "bob"]))
            sub = SimpleNamespace(
                age=rnd.choice([17, 19, 40]), name=rnd.choice(["ann", "bob", "cid"]), boss=boss
            )
            request = sub, rnd.choice(["/x/1", "/x/2", "/y"]), rnd.choice(["read", "write"])
            want = enforcer.enforce(*request)
            allowed += want
            assert may.enforce(*request) is want, (rules, vars(sub), request)
    assert allowed


@pytest.mark.parametrize(
    "condition",
    [
        "r.sub.age > 18) || (True",  # pycasbin: the condition, or anybody
        "True) || (r.sub.age > 18",
        "r.sub.age > 18 # adults",
        "r.sub.age >",
        "sub.age > 18",
        "r.person.age > 18",
        "__import__('os').system('true')",
        "r.sub.age > 18; True",
        "r.sub.age := 18",
    ],
)
def test_what_is_no_condition_by_itself_is_refused_with_its_line(condition):
    policy = f"# secret\np, {condition}, /x/*, read, allow"
    with pytest.raises(Misconfigured) as caught:
        Authorizer.from_text(model=MODEL, policy=policy)
    assert "line 2" in caught.value.detail
    assert condition not in caught.value.detail


def test_text_that_closes_the_bracket_opens_pycasbin_and_is_refused_here():
    rule = "r.sub.age > 18) or (True", "/x", "read", "allow"
    enforcer = casbin.Enforcer(
        casbin.Enforcer.new_model(text=MODEL.replace("eval(p.sub_rule) &&", "eval(p.sub_rule) ||"))
    )
    enforcer.add_policy(*rule)
    assert enforcer.enforce(SimpleNamespace(age=3), "/elsewhere", "write")
    definition = read_model(MODEL)
    with pytest.raises(Misconfigured, match="line 1: sub_rule is no expression by itself"):
        Snapshot(definition, Policy(Rows.of_rows([rule], 4), [1], {}))


def test_an_attribute_that_is_not_there_is_unavailable_and_names_nothing():
    may, _ = both("p, r.sub.age > 18, /x/*, read, allow")
    with pytest.raises(Unavailable) as caught:
        may.enforce("a string", "/x/1", "read")
    assert caught.value.code == "unavailable.policy"
    assert "a string" not in str(caught.value)


@pytest.mark.parametrize("condition", ["r.sub.__class__ == 1", "r.sub.format == 1", "r.sub.func_code == 1"])
def test_what_casbins_evaluator_hides_is_hidden(condition):
    may, _ = both(f"p, {condition}, /x/*, read, allow")
    with pytest.raises(Unavailable):
        may.enforce(SimpleNamespace(format=1), "/x/1", "read")


def test_another_spelling_is_no_way_round_a_condition():
    may, enforcer = both("p, r.obj != '/x/secret', /x/*, read, allow")
    assert may.enforce("ann", "/x/1", "read")
    for path in ("/x//secret", "/x/./secret", "/x/%73ecret"):
        assert enforcer.enforce("ann", path, "read")
        assert not may.enforce("ann", path, "read")


@pytest.mark.parametrize("condition", ["eval(p.obj)", "(lambda: True)()"])
def test_what_is_not_read_here_is_pycasbins_to_refuse(condition):
    may, _ = both(f"p, {condition}, /x/*, read, allow")
    assert not may.compiled
    with pytest.raises(Unavailable):
        may.enforce("ann", "/x/1", "read")
