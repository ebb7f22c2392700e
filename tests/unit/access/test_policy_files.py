"""Models and policies that cannot be used: the error names file, line and remedy, and no name of the policy."""

from __future__ import annotations

import pytest

from aisecure.access import DEFAULT_MODEL, DEFAULT_POLICY, Authorizer, PolicyRows
from aisecure.access._snapshot import Snapshot
from aisecure.errors import Misconfigured
from aisecure.principal import Principal

ROWS = "p, admin, *, *, *, allow\n"


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("p, secretname, *, *, allow", "has 4 fields after p; the model asks for 5"),
        ("p, secretname, *, *, *, allow, more", "has 6 fields"),
        ("p, secretname, *, *, *, Deny", "neither allow nor deny"),
        ("p, secretname, *, *, *, deny # for now", "neither allow nor deny"),
        ("p, secretname, *, , read, allow", "an empty field"),
        ('p, "secretname", *, x, read, allow', "a quoted field"),
        ("g, secretname, admin", "has 2 names after g; the model asks for 3"),
        ("g2, secretname, admin", "begins with none of what the model defines: p, g"),
        ("P, secretname, *, *, *, allow", "begins with none"),
        ("secretname", "begins with none"),
        ("p, secretname), *, *, *, allow", "unbalanced"),
        ("p, secret\x00name, *, *, *, allow", "a control character"),
        ("p, secretname, *, x\rp, b, *, y, read, allow", "a control character"),
        ("p, secretname, *, document:*-draft, read, allow", "may end in [*]"),
    ],
)
def test_a_line_that_casbin_would_pass_over_or_choke_on_is_refused(write, line, words):
    path = write("policy.csv", ROWS + "# a comment\n\n" + line)
    with pytest.raises(Misconfigured, match=words) as caught:
        Authorizer.from_files(None, path)
    assert f"{path}: line 4: " in caught.value.detail
    assert "secretname" not in caught.value.detail
    assert caught.value.code == "config.policy"


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u3000", "\u1680", " ", "\t"])
@pytest.mark.parametrize("further", ["", "\tg, x, y, *", "# caf\u00e9", 'g, "x", y, *'])
def test_a_blank_at_the_end_of_a_name_is_no_part_of_it_however_the_other_lines_are_written(blank, further):
    """A rule that denies would be lost: no role is called so."""
    policy = f"p, admin, *, *, *, allow\np, {blank}admin{blank}, *, document:*, read, deny{blank}\n{further}"
    if '"' in further:
        with pytest.raises(Misconfigured, match="quoted"):
            Authorizer.from_text(policy=policy)
        return
    may = Authorizer.from_text(policy=policy)
    assert may.decide(Principal("u", roles={"admin"}), "read", "document:1").code == "access.rule"
    assert may.decide(Principal("u", roles={"admin"}), "write", "document:1").allowed


@pytest.mark.parametrize("row", [("admin ", "*", "x", "read", "deny"), ("a", "*", "\u00a0x", "read", "deny")])
def test_a_blank_at_the_end_of_a_name_in_a_row_is_refused(row):
    with pytest.raises(Misconfigured, match="number 1: has a field with a blank"):
        Snapshot.of(PolicyRows(None, {"p": [row], "g": []}))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(a+)+$", "repeats a group"),
        ("*a", "not a valid"),
        (r"(a)\1", "back-reference"),
        ("(?=a)", "look-around"),
    ],
)
def test_a_pattern_that_may_take_exponential_time_is_refused(pattern, words):
    model = DEFAULT_MODEL.replace("keyMatch(", "regexMatch(")
    with pytest.raises(Misconfigured, match=words) as caught:
        Authorizer.from_text(model=model, policy=f"p, a, *, {pattern}, read, allow")
    assert "line 1" in caught.value.detail


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[matchers]", "[matches]", r"\[matchers\] has no"),
        ("[request_definition]", "[request]", r"\[request_definition\] has no"),
        ("[policy_definition]", "[policy]", r"\[policy_definition\] has no"),
        ("[policy_effect]", "[effect]", r"\[policy_effect\] has no"),
        ("e = some(where (p.eft == allow)) && ", "e = none && ", "no such effect"),
        ("m = (g(", "m = (g((", "is not an expression"),
        ("r.obj, p.obj", "r.obj, p.object", "neither a field nor a function"),
        ("keyMatch(", "keyMatch9(", "neither a field nor a function"),
        (" && (r.dom", "&&(r.dom", None),
        ("g(r.sub, p.sub, r.dom) ||", "g(r.sub, p.sub, r.dom); r.sub == p.sub ||", "is not an expression"),
        ("g = _, _, _", "g = _", "two or three underscores"),
        ("g = _, _, _", "g = _, _, _, _", "two or three underscores"),
        ("g = _, _, _", "g = _, _, (_, _)", "conditional roles"),
        ("g = _, _, _", "", "neither a field nor a function"),
        ("r = sub, dom, obj, act", "r = sub, sub, obj, act", "different plain names"),
        ("r = sub, dom, obj, act", "no equals sign here", "not a Casbin model"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(write, old, new, words):
    text = DEFAULT_MODEL.replace(old, new, 1)
    assert text != DEFAULT_MODEL
    model, policy = write("model.conf", text), write("policy.csv", DEFAULT_POLICY)
    if words is None:
        Authorizer.from_files(model, policy)
        return
    with pytest.raises(Misconfigured, match=words) as caught:
        Authorizer.from_files(model, policy)
    assert caught.value.detail.startswith(f"{model}: ")
    assert caught.value.code == "config.model"


@pytest.mark.parametrize("content", ["", "\0", "[[[", "= =", "\ud7ff" * 10, "[matchers]\nm = " + "(" * 5000])
def test_whatever_stands_in_a_model_file_is_an_error_that_names_it(write, content):
    model = write("model.conf", content)
    with pytest.raises(Misconfigured) as caught:
        Authorizer.from_files(model, write("policy.csv", DEFAULT_POLICY))
    assert str(model) in caught.value.detail


def test_a_deep_matcher_is_refused():
    deep = "(" * 3000 + "r.sub == p.sub" + ")" * 3000
    with pytest.raises(Misconfigured, match="is not an expression"):
        Authorizer.from_text(
            model=DEFAULT_MODEL.replace("m = (g(", f"m = {deep} && (g("), policy=DEFAULT_POLICY
        )


def test_a_file_that_is_not_there_is_named(tmp_path, write):
    with pytest.raises(Misconfigured, match="name an existing policy file") as caught:
        Authorizer.from_files(None, tmp_path / "none.csv")
    assert str(tmp_path / "none.csv") in caught.value.detail
    with pytest.raises(Misconfigured, match="name an existing model file"):
        Authorizer.from_files(tmp_path / "none.conf", write("policy.csv", ROWS))
    with pytest.raises(Misconfigured, match="name an existing policy file"):
        Authorizer.from_files(None, tmp_path)
    with pytest.raises(Misconfigured, match="is no path"):
        Authorizer.from_files(None, "a\0b")


def test_a_file_that_is_not_utf_8_is_named_with_its_line(write):
    path = write("policy.csv", b"p, admin, *, *, *, allow\np, caf\xe9, *, *, *, allow\n")
    with pytest.raises(Misconfigured, match="line 2: is not UTF-8"):
        Authorizer.from_files(None, path)


def test_byte_order_mark_and_windows_line_ends_are_read(write):
    path = write("policy.csv", b"\xef\xbb\xbfp, admin, *, *, *, allow\r\n# end\r\n")
    assert Authorizer.from_files(None, path).enforce("admin", "t", "x", "read")


def test_commas_in_brackets_are_casbins():
    model = DEFAULT_MODEL.replace("keyMatch(", "regexMatch(")
    may = Authorizer.from_text(model=model, policy="p, a, *, x[a,b]+$, read, allow")
    assert not may.enforce("a", "t", "xa", "write")
    assert may.enforce("a", "t", "x,b", "read")


@pytest.mark.parametrize("policy", [None, 3, b"p, a", ["p"]])
def test_texts_are_strings(policy):
    with pytest.raises(TypeError):
        Authorizer.from_text(policy=policy)
    with pytest.raises(TypeError):
        Authorizer.from_text(model=4, policy=DEFAULT_POLICY)


def test_lone_surrogates_in_a_policy_are_refused():
    with pytest.raises(Misconfigured, match="control character"):
        Authorizer.from_text(policy="p, \ud800, *, *, *, allow")


def test_a_line_of_fifty_megabytes_is_refused_or_read():
    with pytest.raises(Misconfigured, match="has 1 fields"):
        Authorizer.from_text(policy="p, " + "x" * 50_000_000)
