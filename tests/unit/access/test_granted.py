"""An outline of what may be reached: everything allowed lies in it, and what it denies is denied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.access import DEFAULT_MODEL, Authorizer, PolicyText
from aisecure.access._granted import Granted
from aisecure.access._snapshot import Snapshot
from aisecure.errors import Misconfigured
from aisecure.principal import Principal

ANN = Principal("ann", roles={"clerk"}, tenant="acme")


def snapshot(policy: str, model: str | None = None) -> Snapshot:
    return Snapshot.of(PolicyText(model, policy))


def test_names_and_beginnings_are_told_apart():
    policy = (
        "p, clerk, acme, note:1, read, allow\np, clerk, *, document:*, *, allow\np, boss, acme, plan:*, read, allow\n"
        "p, clerk, acme, document:secret-*, read, deny\np, clerk, acme, note:2, read, deny\n"
        "p, clerk, globex, ledger:*, read, allow\np, clerk, acme, note:3, write, allow\ng, ann, boss, acme"
    )
    assert snapshot(policy).granted(ANN, "read") == Granted(
        frozenset({"note:1"}), ("document:", "plan:"), frozenset({"note:2"}), ("document:secret-",)
    )


@pytest.mark.parametrize(
    ("policy", "principal"),
    [
        ("", ANN),
        ("p, boss, *, *, *, allow", ANN),
        ("p, clerk, globex, *, *, allow", ANN),
        ("p, clerk, *, *, write, allow", ANN),
        ("p, clerk, *, *, *, allow", Principal("clerk", tenant="acme")),
        ("p, clerk, *, *, *, allow", Principal("a\nb", roles={"clerk"}, tenant="acme")),
    ],
)
def test_who_may_nothing_is_granted_nothing(policy, principal):
    assert snapshot(policy).granted(principal, "read") == Granted()


def test_everything_is_the_empty_beginning():
    found = snapshot("p, clerk, *, *, *, allow").granted(ANN, "read")
    assert found.prefixes == ("",)
    assert found.may_cover("anything")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("some(where (p.eft == allow)) && !", "!"),  # what no rule denies is allowed
        ("keyMatch(r.obj, p.obj)", "keyMatch(p.obj, r.obj)"),  # Casbin evaluates it
        ("keyMatch(r.obj, p.obj)", 'keyMatch(r.obj, p.obj) && r.obj != "x"'),
    ],
)
def test_what_cannot_be_put_so_is_not_complete(old, new):
    model = DEFAULT_MODEL.replace(old, new)
    found = snapshot("p, clerk, *, document:1, *, allow", model).granted(ANN, "read")
    assert not found.complete
    assert found.may_cover("whatever")


def test_too_many_names_are_not_listed():
    policy = "\n".join(f"p, clerk, *, document:{number}, read, allow" for number in range(10_001))
    assert not snapshot(policy).granted(ANN, "read").complete


def test_patterns_that_say_more_than_a_beginning_are_outlined_by_it():
    model = DEFAULT_MODEL.replace("keyMatch(", "keyMatch2(")
    policy = "p, clerk, *, /files/:id/notes, *, allow\np, clerk, *, /files/:id/x, *, deny\np, clerk, *, /b/*, *, allow"
    found = snapshot(policy, model).granted(ANN, "read")
    assert (found.prefixes, found.denied_prefixes) == (("/b/", "/files/"), ())


def test_a_model_that_asks_something_else_is_told():
    model = DEFAULT_MODEL.replace("r = sub, dom, obj, act", "r = sub, dom, obj, act, weather")
    with pytest.raises(Misconfigured, match="sub, obj and act"):
        snapshot("p, clerk, *, x, *, allow", model).granted(ANN, "read")


FIRST = DEFAULT_MODEL.replace(
    "some(where (p.eft == allow)) && !some(where (p.eft == deny))", "priority(p.eft) || deny"
)
MODELS = {
    "built in": None,
    "first rule": FIRST,
    "paths": DEFAULT_MODEL.replace("keyMatch(", "keyMatch2("),
    "patterns of names": DEFAULT_MODEL.replace("g(r.sub, p.sub, r.dom)", "keyMatch(r.sub, p.sub)"),
    "conditions of rules": DEFAULT_MODEL.replace("keyMatch(", "r.act != p.sub && keyMatch("),
}
NAMES = st.sampled_from(["/a", "/a/b", "/a/*", "/b", "*", "/b/*", "/a/b/c", "/a/b*"])
RULES = st.lists(
    st.tuples(
        st.sampled_from(["clerk", "ann", "cl*", "boss"]),
        st.sampled_from(["acme", "*", "globex"]),
        NAMES,
        st.sampled_from(["read", "*", "write"]),
        st.sampled_from(["allow", "allow", "deny"]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("name", MODELS)
@given(rules=RULES)
def test_everything_allowed_is_covered_and_everything_denied_is_denied(name, rules):
    policy = "\n".join(
        [
            "p, nobody, nowhere, /, none, allow",
            "g, ann, boss, acme",
            *map(", ".join, [("p", *rule) for rule in rules]),
        ]
    )
    model = MODELS[name]
    found = snapshot(policy, model).granted(ANN, "read")
    assert found.complete
    may = Authorizer.from_text(model=model, policy=policy)
    for resource in ("/a", "/a/b", "/a/x", "/b", "/b/x", "/a/b/c", "/q", "/a/bb"):
        if may.decide(ANN, "read", resource).allowed:
            assert found.may_cover(resource), resource
