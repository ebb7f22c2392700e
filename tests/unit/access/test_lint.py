"""What looks wrong in a policy is found, and what is like it and right is not."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aisecure.access import Authorizer, PolicyFinding
from aisecure.access._snapshot import Snapshot
from aisecure.access._sources import PolicyRows
from aisecure.access.lint import lint
from aisecure.errors import Misconfigured
from aisecure.principal import Principal


def _model(matcher, *, effect="some(where (p.eft == allow))", rule="sub, obj, act, eft", roles="g = _, _"):
    return f"""
[request_definition]
r = sub, obj, act
[policy_definition]
p = {rule}
[role_definition]
{roles}
[policy_effect]
e = {effect}
[matchers]
m = {matcher}
"""


BOTH = "some(where (p.eft == allow)) && !some(where (p.eft == deny))"
DENY = "!some(where (p.eft == deny))"
FIRST = "priority(p.eft) || deny"
PLAIN = "g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && r.act == p.act"


def _found(policy, model=None, **options):
    return Authorizer.from_text(policy=policy, model=model, **options).lint()


def _codes(policy, model=None, **options):
    return {(finding.code, finding.line) for finding in _found(policy, model, **options)}


def _has(code, policy, model=None, **options):
    return sorted(line for found, line in _codes(policy, model, **options) if found == code)


class TestNothingIsWrong:
    def test_with_a_sensible_policy(self):
        assert (
            _found(
                "p, member, *, model:*, invoke, allow\n"
                "p, member, *, model:internal-*, invoke, deny\n"
                "p, lead, acme, document:*, read, allow\n"
                "g, lead, member, *\n"
                "g, lea, lead, acme\n"
            )
            == ()
        )

    def test_with_the_built_in_policy_but_that_admin_is_mighty(self):
        assert [(f.code, f.severity) for f in Authorizer().lint()] == [("wildcard-admin", "warning")]


class TestRulesThatNeverCount:
    def test_there_is_none_at_all(self):
        assert _codes("g, ann, editor, acme") >= {("empty", 0)}
        assert not _has("empty", "p, editor, *, doc:*, read, allow")

    @pytest.mark.parametrize(
        "narrow",
        [
            "p, editor, *, doc:1, read, allow",
            "p, editor, acme, doc:a*, read, allow",
            "p, lead, acme, doc:*, read, allow",
            "p, editor, *, doc:*, read, allow",
        ],
    )
    def test_what_a_deny_covers_is_shadowed(self, narrow):
        policy = f"{narrow}\np, editor, *, doc:*, *, deny\ng, lead, editor, *\ng, a, lead, *"
        assert _has("shadowed", policy) == [1]
        # The same with an allow is merely not needed.
        assert _has("redundant", policy.replace("deny", "allow")) == [1]

    @pytest.mark.parametrize(
        "other",
        [
            "p, editor, *, do*, read, allow",
            "p, editor, *, doc:1, write, allow",
            "p, editor, *, doc:1, *, allow",
            "p, reader, *, doc:1, read, allow",
            "p, editor, globex, doc:1, read, allow",
            "p, *, acme, doc:1, read, allow",
            "p, member, acme, doc:1, read, allow",
        ],
    )
    def test_what_reaches_further_than_the_deny_is_not(self, other):
        policy = f"{other}\np, editor, acme, doc:*, read, deny\ng, editor, member, acme"
        assert not _has("shadowed", policy)
        assert 1 not in _has("redundant", policy.replace("deny", "allow"))

    def test_a_role_that_has_the_other_only_elsewhere_is_not_covered(self):
        rules = "p, lead, acme, doc:1, read, allow\np, editor, *, doc:*, *, deny\n"
        assert _has("shadowed", rules + "g, lead, editor, acme") == [1]
        assert not _has("shadowed", rules + "g, lead, editor, globex")
        everywhere = rules.replace("acme", "*")
        assert not _has("shadowed", everywhere + "g, lead, editor, acme")
        assert _has("shadowed", everywhere + "g, lead, editor, *") == [1]

    def test_the_same_line_twice_is_a_duplicate_of_the_first(self):
        line = "p, editor, *, doc:*, read, allow\n"
        assert _has("duplicate", line + line + line) == [2, 3]
        assert not _has("duplicate", line + line.replace("allow", "deny"))

    def test_of_rules_that_cover_each_other_the_first_stays(self):
        model = _model(PLAIN, effect=BOTH)
        assert _has("redundant", "p, a, x*y, r, allow\np, a, x*z, r, allow", model) == [2]

    def test_a_rule_for_an_odd_spelling_is_needed_beside_the_pattern(self):
        # Only the very spelling allows such a name.
        policy = "p, editor, *, doc:a//b, read, allow\np, editor, *, doc:*, read, allow"
        assert not _has("redundant", policy)
        assert _has("shadowed", policy.replace("doc:*, read, allow", "doc:*, read, deny")) == [1]

    def test_after_a_wider_rule_where_the_first_decides(self):
        model = _model(PLAIN, effect=FIRST)
        policy = "p, a, x*, r, {}\np, a, x1, r, {}"
        assert _has("shadowed", policy.format("deny", "allow"), model) == [2]
        assert _has("shadowed", policy.format("allow", "deny"), model) == [2]
        assert _has("redundant", policy.format("allow", "allow"), model) == [2]
        reverse = "p, a, x1, r, {}\np, a, x*, r, {}"
        assert not _has("shadowed", reverse.format("deny", "allow"), model)
        assert not _has("redundant", reverse.format("allow", "allow"), model)

    def test_the_order_is_that_of_the_numbers_where_rules_have_them(self):
        model = _model(PLAIN, effect=FIRST, rule="priority, sub, obj, act, eft")
        assert _has("shadowed", "p, 2, a, x1, r, allow\np, 1, a, x*, r, deny", model) == [1]
        assert not _has("shadowed", "p, 1, a, x1, r, allow\np, 2, a, x*, r, deny", model)

    @pytest.mark.parametrize(
        ("function", "wide", "narrow", "other"),
        [
            ("keyMatch2", "/docs/*", "/docs/:id", "/dogs/:id"),
            ("keyMatch2", "/docs/:id", "/docs/7", "/docs/7/8"),
            ("regexMatch", "^/a[0-9]+$", "^/a7$", "^/ab$"),
            ("globMatch", "/a/*", "/a/*", "/b/*"),
        ],
    )
    def test_patterns_of_every_kind(self, function, wide, narrow, other):
        model = _model(PLAIN.replace("keyMatch", function), effect=BOTH)
        assert _has("shadowed", f"p, a, {narrow}, r, allow\np, a, {wide}, r, deny", model) == [1]
        assert not _has("shadowed", f"p, a, {other}, r, allow\np, a, {wide}, r, deny", model)

    def test_a_literal_is_covered_by_what_its_pattern_accepts_elsewhere(self):
        model = _model(
            "r.sub == p.sub && (r.obj == p.obj || keyMatch(r.obj, p.obj)) && r.act == p.act", effect=BOTH
        )
        assert _has("redundant", "p, a, x1, r, allow\np, a, x*, r, allow", model) == [1]

    def test_a_model_that_never_looks_at_deny_makes_a_deny_worthless(self):
        policy = "p, a, x, r, allow\np, a, y, r, deny"
        errors = [f for f in _found(policy, _model(PLAIN)) if f.code == "ignored-effect"]
        assert [(f.line, f.severity) for f in errors] == [(2, "error")]
        assert not _has("ignored-effect", policy, _model(PLAIN, effect=BOTH))

    def test_a_model_that_allows_the_rest_makes_an_allow_worthless(self):
        policy = "p, a, x, r, allow\np, a, y, r, deny"
        assert _has("ignored-effect", policy, _model(PLAIN, effect=DENY)) == [1]
        assert not _has("nothing-denied", policy, _model(PLAIN, effect=DENY))
        assert _has("nothing-denied", "p, a, x, r, allow", _model(PLAIN, effect=DENY)) == [0]


class TestRoles:
    def test_a_circle_is_found_in_the_tenant_that_has_it(self):
        rules = "p, a, *, x, r, allow\np, b, *, y, r, allow\n"
        circle = [f for f in _found(rules + "g, a, b, acme\ng, b, a, acme") if f.code == "cycle"]
        assert [(f.severity, f.line, f.rule) for f in circle] == [("error", 0, ("g", "a", "b", "acme"))]
        assert "a > b > a" in circle[0].message
        assert _has("cycle", rules + "g, a, b, *\ng, b, a, acme")
        assert not _has("cycle", rules + "g, a, b, acme\ng, b, a, globex")
        assert _has("cycle", rules + "g, a, a, acme")

    def test_a_circle_of_fifty_thousand_is_found(self):
        links = "\n".join(f"g, r{n}, r{(n + 1) % 50_000}, acme" for n in range(50_000))
        assert _has("cycle", "p, r0, *, x, r, allow\n" + links) == [0]

    @pytest.mark.parametrize(("links", "expected"), [(9, []), (10, [0])])
    def test_a_chain_is_too_deep_where_casbin_stops(self, links, expected):
        policy = f"p, r{links}, *, x, r, allow\n" + "\n".join(
            f"g, r{n}, r{n + 1}, acme" for n in range(links)
        )
        may = Authorizer.from_text(policy=policy)
        allowed = may.decide(Principal("", roles={"r0"}, tenant="acme"), "r", "x").allowed
        assert _has("too-deep", policy) == expected
        assert allowed is not bool(expected)

    def test_a_chain_that_is_long_in_no_tenant_is_not_too_deep(self):
        links = "\n".join(f"g, r{n}, r{n + 1}, t{n % 2}" for n in range(15))
        assert not _has("too-deep", "p, r15, *, x, r, allow\n" + links)

    def test_a_chain_that_is_long_in_many_tenants_is_told_once(self):
        links = "\n".join(f"g, r{n}, r{n + 1}, *" for n in range(10))
        more = "\n".join(f"g, r10, top, t{n}" for n in range(50))
        assert (
            len([f for f in _found(f"p, top, *, x, r, allow\n{links}\n{more}") if f.code == "too-deep"]) == 1
        )

    def test_a_short_cut_makes_a_chain_short(self):
        links = "\n".join(f"g, r{n}, r{n + 1}, acme" for n in range(10))
        assert not _has("too-deep", "p, r10, *, x, r, allow\ng, r0, r5, acme\n" + links)

    def test_a_long_chain_covers_nothing_by_its_roles(self):
        # Whoever has r0 need not reach r10, though r1 does.
        links = "\n".join(f"g, r{n}, r{n + 1}, *" for n in range(12))
        policy = "p, r4, *, x, r, allow\np, r8, *, x, r, deny\n" + links
        may = Authorizer.from_text(policy=policy)
        assert not _has("shadowed", policy)
        assert may.decide(Principal("", roles={"r4"}), "r", "x").code == "access.rule"

    def test_a_link_to_a_role_of_no_rule(self):
        rule = "p, editor, *, doc:*, read, allow\n"
        found = [
            f
            for f in _found(rule + "g, ann, edtor, acme\ng, bo, edtor, acme")
            if f.code == "role-without-rules"
        ]
        assert [f.rule for f in found] == [("g", "ann", "edtor", "acme")]
        assert not _has("role-without-rules", rule + "g, ann, editor, acme")
        assert not _has("role-without-rules", rule + "g, ann, chief, acme\ng, chief, editor, acme")

    def test_a_role_that_only_a_credential_can_bring_is_noted(self):
        rules = "p, editor, acme, doc:*, read, allow\np, editor, acme, doc:*, write, allow\n"
        found = [
            f
            for f in _found(rules + "g, ann, viewer, acme\np, viewer, *, x, y, allow")
            if f.code == "unreachable"
        ]
        assert [(f.line, f.severity) for f in found] == [(1, "note")]
        assert "credential" in found[0].message
        assert _has("unreachable", rules + "g, ann, editor, globex") == [1]
        assert not _has("unreachable", rules + "g, ann, editor, acme")
        assert not _has("unreachable", rules + "g, ann, editor, *")
        assert not _has("unreachable", rules)  # without links all roles come from credentials


class TestWideRules:
    @pytest.mark.parametrize(
        ("rule", "severity"),
        [
            ("p, admin, acme, *, *, allow", "note"),
            ("p, admin, *, *, *, allow", "warning"),
            ("p, member, acme, *, *, allow", "error"),
            ("p, *, *, *, *, allow", "error"),
            ("p, Guest, *, *, *, allow", "error"),
            ("p, member, *, *, *, deny", None),
            ("p, member, *, doc:*, *, allow", None),
            ("p, member, *, *, read, allow", None),
        ],
    )
    def test_that_allow_everything(self, rule, severity):
        found = [f.severity for f in _found(rule) if f.code == "wildcard-admin"]
        assert found == ([] if severity is None else [severity])

    def test_a_star_that_the_model_only_compares_is_no_wildcard(self):
        star = "p, admin, *, *, allow"
        assert not _has("wildcard-admin", star, _model("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act"))
        assert not _has("wildcard-admin", star, _model(PLAIN))
        assert _has(
            "wildcard-admin",
            star.replace("*, allow", ".*, allow"),
            _model(PLAIN.replace("r.act == p.act", "regexMatch(r.act, p.act)")),
        ) == [1]

    @pytest.mark.parametrize("resource", ["/a//*", "/a/../*", "/%41/*"])
    def test_a_pattern_whose_names_are_all_refused(self, resource):
        policy = f"p, member, *, {resource}, read, allow"
        name = resource.replace("*", "x")
        assert (
            not Authorizer.from_text(policy=policy)
            .decide(Principal("", roles={"member"}), "read", name)
            .allowed
        )
        assert _has("unplain", policy) == [1]
        assert not _has("unplain", policy.replace(resource, "/a/*"))
        assert not _has("unplain", policy.replace("allow", "deny"))


class TestNames:
    @pytest.mark.parametrize(
        "other",
        [
            "Editor",
            "EDITOR",
            "\uff45ditor",
            "edi\u200btor",
            "\u0435ditor",
            "\u0435d\u0456t\u043er",
            "editor\u3164",
            "e\u00additor",
        ],
    )
    def test_that_look_alike(self, other):
        policy = "p, editor, *, doc:*, read, allow\np, {}, *, doc:*, write, allow"
        assert ("confusable", 2) in _codes(policy.format(other))
        assert not _has("confusable", policy.format("auditor"))

    def test_are_compared_between_rules_and_links(self):
        found = [
            f
            for f in _found("p, editor, *, doc:*, read, allow\ng, ann, Editor, acme")
            if f.code == "confusable"
        ]
        assert [f.rule for f in found] == [("g", "ann", "Editor", "acme")]
        assert found[0].message.endswith("on line 1")

    def test_are_compared_only_with_their_kind(self):
        assert not _has("confusable", "p, Acme, acme, ACME, aCME, allow")

    @pytest.mark.parametrize("name", ["p\u0430ypal", "\u03bfwner", "doc:\u0440lan"])
    def test_that_mix_scripts_stand_out_alone(self, name):
        assert _has("confusable", f"p, editor, *, {name}, read, allow") == [1]

    @pytest.mark.parametrize(
        "name",
        ["doc:\u043f\u0440\u0438\u043a\u0430\u0437", "Gr\u00f6\u00dfe", "\u6587\u66f8:1", "\u03b1\u03b2"],
    )
    def test_in_one_script_a_word_are_fine(self, name):
        assert not _has("confusable", f"p, editor, *, {name}, read, allow")


class TestWhatIsNotCompiled:
    def test_is_said(self):
        model = _model("r.sub == p.sub && g(r.sub, p.sub) == True && timeMatch(r.obj, p.obj)")
        may = Authorizer.from_text(model=model, policy="p, a, x, r, allow\np, a, x, r, allow")
        assert not may.compiled
        assert {f.code for f in may.lint()} >= {"not-compiled", "duplicate"}

    def test_what_is_evaluated_is_not_compared(self):
        model = _model('r.sub == "root" || (' + PLAIN + ")", effect=BOTH)
        policy = "p, a, x, r, allow\np, a, x*, r, deny\np, a, x, r, allow"
        assert {("not-compared", 0), ("duplicate", 3)} <= _codes(policy, model)
        assert not _has("shadowed", policy, model)

    def test_addresses_can_fail_so_they_are_not_compared(self):
        model = _model("g(r.sub, p.sub) && ipMatch(r.obj, p.obj) && r.act == p.act", effect=BOTH)
        policy = "p, a, 10.0.0.0/8, r, allow\np, a, 10.0.0.0/8, r, deny"
        assert _has("not-compared", policy, model) == [0]


def test_a_finding_is_data():
    (finding,) = _found("p, admin, acme, *, *, allow")
    assert isinstance(finding, PolicyFinding)
    assert json.loads(json.dumps(finding.to_dict())) == {
        "code": "wildcard-admin",
        "severity": "note",
        "line": 1,
        "rule": ["p", "admin", "acme", "*", "*", "allow"],
        "message": '"admin" may do everything in its tenant; see that few have it',
    }


def test_a_name_of_a_megabyte_is_quoted_in_part():
    (finding,) = [
        f
        for f in _found(f"p, editor, *, doc:*, read, allow\ng, a, {'x' * 1_000_000}, *")
        if f.code == "role-without-rules"
    ]
    assert len(finding.message) < 300


# -- what lint calls needless can go

_SUBJECTS = ["r0", "r1", "r2", "r3"]
_OBJECTS = ["*", "a*", "ab*", "a/b", "a/*", "a//b", "a//*", "b", "abc", "/x/:id", "/x/*", "/x/y", "{x}"]
_NAMES = ["a", "ab", "a/b", "a//b", "b", "abc", "/x/y", "/x/y/z", "/x//y", "", "{x}"]
_ACTIONS = ["*", "r", "w", ".*"]
_TENANTS = ["*", "t", "u"]
_KINDS: Mapping[str, str | None] = {
    "built-in": None,
    "allow": _model(PLAIN),
    "deny": _model(PLAIN, effect=DENY),
    "both": _model(
        '(g(r.sub, p.sub) || p.sub == "r3") && keyMatch2(r.obj, p.obj) && regexMatch(r.act, p.act)',
        effect=BOTH,
    ),
    "first": _model(
        'g(r.sub, p.sub) && (keyMatch(r.obj, p.obj) || keyMatch2(r.obj, p.obj)) && (r.act == p.act || p.act == "*")',
        effect=FIRST,
    ),
    "numbers": _model(PLAIN, effect=FIRST, rule="sub, obj, act, eft, priority"),
    "subjects": _model(PLAIN, effect="subjectPriority(p.eft) || deny"),
    "resources": _model(
        "r.sub == p.sub && g2(r.obj, p.obj) && r.act == p.act", effect=BOTH, roles="g = _, _\ng2 = _, _"
    ),
    "glob": _model(
        "(r.sub == p.sub || g(r.sub, p.sub)) && globMatch(r.obj, p.obj) && r.act == p.act", effect=BOTH
    ),
}


@st.composite
def _policies(draw):
    kind = draw(st.sampled_from(sorted(_KINDS)))
    effects = st.sampled_from(["allow", "deny"])
    fields = [st.sampled_from(_SUBJECTS), st.sampled_from(_OBJECTS), st.sampled_from(_ACTIONS), effects]
    if kind == "built-in":
        fields = [st.sampled_from([*_SUBJECTS, "*"]), st.sampled_from(_TENANTS), *fields[1:]]
    if kind == "numbers":
        fields.append(st.sampled_from(["1", "2"]))
    # A role for every rule, since names of roles are refused as ids only while a rule has them.
    rules = draw(st.lists(st.tuples(*fields), min_size=2, max_size=9))
    link = st.tuples(st.sampled_from(["u", *_SUBJECTS]), st.sampled_from(_SUBJECTS))
    tenants = st.sampled_from(_TENANTS) if kind == "built-in" else None
    links = draw(
        st.lists(
            link
            if tenants is None
            else st.tuples(*[st.sampled_from(["u", *_SUBJECTS]), st.sampled_from(_SUBJECTS), tenants]),
            max_size=6,
        )
    )
    rows = {"p": rules, "g": links}
    if kind == "resources":
        rows["g2"] = draw(
            st.lists(st.tuples(st.sampled_from(_OBJECTS), st.sampled_from(_OBJECTS)), max_size=5)
        )
    return kind, rows


def _snapshot(kind, rows):
    try:
        return Snapshot.of(PolicyRows(_KINDS[kind], rows))
    except Misconfigured:
        return None


def _answers(version):
    return [
        version.decide(Principal(subject, roles=roles, tenant=tenant), action, name).allowed
        for subject, roles in (("u", set()), ("", {"r0"}), ("v", {"r1"}), ("", {"r2", "r3"}), ("w", set()))
        for tenant in ("t", "z")
        for action in ("r", "w", "*")
        for name in _NAMES
    ]


@given(_policies())
# A literal that only itself allows; rules that cover each other; a role that has another in one tenant alone.
@example(
    (
        "built-in",
        {"p": [("r1", "*", "a//b", "r", "allow"), ("r1", "*", "a*", "r", "allow")], "g": []},
    )
)
@example(("both", {"p": [("r1", "/x/:id", "r", "allow"), ("r1", "/x/:name", "r", "allow")], "g": []}))
@example(("allow", {"p": [("r1", "a*b", "r", "allow"), ("r1", "a*c", "r", "allow")], "g": []}))
@example(
    (
        "built-in",
        {"p": [("r1", "*", "a", "r", "allow"), ("r0", "*", "a*", "r", "deny")], "g": [("r1", "r0", "t")]},
    )
)
def test_every_rule_that_is_called_needless_can_be_removed_with_all_the_others(drawn):
    kind, rows = drawn
    version = _snapshot(kind, rows)
    if version is None:
        return
    needless = {f.line - 1 for f in lint(version) if f.code in {"duplicate", "redundant", "shadowed"}}
    kept = [rule for place, rule in enumerate(rows["p"]) if place not in needless]
    assert _answers(_snapshot(kind, {**rows, "p": kept})) == _answers(version)
    for place in needless:
        one = [rule for at, rule in enumerate(rows["p"]) if at != place]
        assert _answers(_snapshot(kind, {**rows, "p": one})) == _answers(version)


@given(
    st.lists(
        st.tuples(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4), st.text(max_size=4)),
        max_size=5,
    )
)
def test_any_names_can_be_looked_at(rows):
    try:
        version = Snapshot.of(
            PolicyRows(None, {"p": [(*row, "allow") for row in rows], "g": [row[:3] for row in rows]})
        )
    except Misconfigured:
        return
    for finding in lint(version):
        json.dumps(finding.to_dict())
        str(finding)


def test_among_many_rules_just_those_are_found_that_begin_as_a_pattern_does():
    rules = "\n".join(f"p, role{n % 1000}, t{n % 7}, doc:{n}:*, read, allow" for n in range(20_000))
    may = Authorizer.from_text(policy=rules + "\np, *, *, doc:1*, read, deny")
    shadowed = [f.line for f in may.lint() if f.code == "shadowed"]
    assert shadowed == [n + 1 for n in range(20_000) if str(n).startswith("1")]
