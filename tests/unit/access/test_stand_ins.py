"""Users with the same roles share what was worked out for the first of them: nobody's answer may change by that."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisecure.access import DEFAULT_MODEL, Authorizer
from aisecure.principal import Principal

NAMES = ["ann", "bob", "cat", "r1", "r2", "r3"]
TENANTS = ["t1", "t2", "*", "t3"]
PLAIN = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act, eft
[role_definition]
g = _, _
g2 = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = g(r.sub, p.sub) && g2(r.obj, p.obj) && r.act == p.act
"""
MODELS = {
    "built in": None,
    "paths": DEFAULT_MODEL.replace("keyMatch(", "keyMatch2("),
    "a name besides its roles": DEFAULT_MODEL.replace('p.sub == "*"', "r.sub == p.sub"),
    "one tenant for links": DEFAULT_MODEL.replace("g(r.sub, p.sub, r.dom)", 'g(r.sub, p.sub, "t1")'),
    "links of subject and tenant": DEFAULT_MODEL.replace(
        "g(r.sub, p.sub, r.dom)", "g(r.sub, p.sub, r.dom) && g(r.dom, p.dom, r.dom)"
    ),
    "no tenants": PLAIN,
    "links of resources": PLAIN.replace("g2(r.obj, p.obj)", "g(r.obj, p.obj)"),
}


@st.composite
def policies(draw, *, tenants: bool):
    def name():
        return draw(st.sampled_from(NAMES))

    def tenant():
        return [draw(st.sampled_from(TENANTS))] if tenants else []

    resource = st.sampled_from(["/a", "/a/*", "/b", "r1", "ann"])
    lines = ["p, nobody, " + ("t1, " if tenants else "") + "/z, none, allow"]
    for _ in range(draw(st.integers(1, 6))):
        effect = draw(st.sampled_from(["allow", "allow", "deny"]))
        lines.append(", ".join(["p", name(), *tenant(), draw(resource), "read", effect]))
    links = [["g", name(), name(), *tenant()] for _ in range(draw(st.integers(0, 8)))]
    return "\n".join([*lines, *map(", ".join, links)])


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=40)
@given(data=st.data())
def test_everybody_gets_the_answer_that_they_would_get_alone(model, data):
    policy = data.draw(policies(tenants="r.dom" in (MODELS[model] or DEFAULT_MODEL)))
    asked = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from([*NAMES, "eve"]),
                st.sampled_from(["t1", "t2", "t9"]),
                st.sampled_from(["/a", "/a/x", "/b", "ann"]),
                st.frozensets(st.sampled_from(["r1", "r2"]), max_size=1),
            ),
            min_size=2,
            max_size=12,
        )
    )
    together = Authorizer.from_text(model=MODELS[model], policy=policy)
    assert together.compiled
    for name, tenant, resource, roles in asked:
        alone = Authorizer.from_text(model=MODELS[model], policy=policy)
        principal = Principal(name, roles=roles, tenant=tenant)
        assert together.decide(principal, "read", resource) == alone.decide(principal, "read", resource)


def test_a_hundred_users_of_one_role_are_worked_out_once():
    links = "\n".join(f"g, u{number}, reader, acme" for number in range(100))
    may = Authorizer.from_text(policy="p, reader, *, note:*, read, allow\n" + links)
    for number in range(100):
        assert may.decide(Principal(f"u{number}", tenant="acme"), "read", "note:1").allowed
        assert not may.decide(Principal(f"u{number}", tenant="globex"), "read", "note:1").allowed
    buckets = {id(bucket) for bucket in may._snapshot._index.kept.values()}
    assert len(buckets) == 2
