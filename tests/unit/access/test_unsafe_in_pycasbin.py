"""The traps: each shown in pycasbin first, so that a fixed release is noticed, and then closed here."""

from __future__ import annotations

import sys
import threading

import casbin
import pytest
from casbin.persist.adapters.string_adapter import StringAdapter

from aisecure.access import Authorizer
from aisecure.access._names import MAX_NAME, is_plain, is_plain_path
from aisecure.principal import Principal

MODEL = """
[request_definition]
r = sub, dom, obj, act
[policy_definition]
p = sub, dom, obj, act, eft
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = g(r.sub, p.sub, r.dom) && r.dom == p.dom && keyMatch2(r.obj, p.obj) && r.act == p.act
"""
OPEN = MODEL.replace("some(where (p.eft == allow)) && ", "")
FILES = "p, adm, t, /files/*, GET, allow\np, adm, t, /files/secret/*, GET, deny\ng, al, adm, t"
PARTS = "p, adm, t, /files/:a/:b, GET, allow\np, adm, t, /files/secret/*, GET, deny\ng, al, adm, t"


def pycasbin(model: str, policy: str | None = None) -> casbin.Enforcer:
    text = casbin.Enforcer.new_model(text=model)
    return casbin.Enforcer(text) if policy is None else casbin.Enforcer(text, StringAdapter(policy))


def test_an_empty_policy_denies_the_empty_request():
    assert pycasbin(MODEL).enforce("", "", "", "")
    assert not Authorizer.from_text(model=MODEL, policy="").enforce("", "", "", "")


def test_an_empty_policy_denies_even_where_the_rest_is_allowed():
    assert pycasbin(OPEN).enforce("al", "t", "/x", "GET")
    may = Authorizer.from_text(model=OPEN, policy="# everything was cut off\n")
    assert not may.enforce("al", "t", "/x", "GET")
    assert may.decide(Principal("al", tenant="t"), "GET", "/x").reasons == (
        "The policy has no rules, so nothing is allowed.",
    )


@pytest.mark.parametrize(
    "path",
    [
        "/files//secret/x",
        "/files/./secret/x",
        "/files/%73ecret/x",
        "/files/a/../secret/x",
        "/files/..",
        "/files/.",
    ],
)
def test_another_spelling_of_a_path_is_no_way_round_a_rule_that_denies(path):
    assert pycasbin(MODEL, FILES).enforce("al", "t", path, "GET")
    may = Authorizer.from_text(model=MODEL, policy=FILES)
    assert may.enforce("al", "t", "/files/x", "GET")
    assert not may.enforce("al", "t", path, "GET")
    assert may.decide(Principal("al", tenant="t"), "GET", path).code == "access.name"


def test_a_line_break_is_no_way_round_a_rule_that_denies():
    assert pycasbin(MODEL, PARTS).enforce("al", "t", "/files/secret/x\ny", "GET")
    may = Authorizer.from_text(model=MODEL, policy=PARTS)
    assert not may.enforce("al", "t", "/files/secret/x\ny", "GET")
    assert not may.enforce("al", "t", "/files/a/b\n", "GET")


@pytest.mark.parametrize(
    "name", ["a\nb", "a\0", "\x1b[2J", "a\u2028b", "a\x85b", "\ud800", "x" * (MAX_NAME + 1)]
)
@pytest.mark.parametrize("position", range(4))
def test_a_name_with_control_characters_or_without_end_is_denied_wherever_it_stands(name, position):
    policy = "p, adm, *, *, *, allow"
    built_in = Authorizer.from_text(policy=policy)
    request = ["adm", "t", "x", "GET"]
    assert built_in.enforce(*request)
    request[position] = name
    assert not built_in.enforce(*request)
    open_ = Authorizer.from_text(model=OPEN, policy=FILES)
    assert open_.enforce("zz", "t", "/x", "GET")
    assert not open_.enforce(*request)


@pytest.mark.parametrize("where", ["id", "tenant", "action", "resource"])
def test_a_call_with_such_a_name_is_denied(where):
    may = Authorizer()
    parts = {"id": "u", "tenant": "t", "action": "read", "resource": "document:1"} | {where: "a\nb"}
    principal = Principal(parts["id"], roles={"admin"}, tenant=parts["tenant"])
    assert may.decide(principal, parts["action"], parts["resource"]).code == "access.name"


@pytest.mark.parametrize("sub", ["al//x", "%61l", "al/./x"])
def test_where_the_rest_is_allowed_every_name_has_to_be_plain(sub):
    may = Authorizer.from_text(model=OPEN, policy="p, al, t, /x, GET, deny")
    assert may.enforce("bo", "t", "/x", "GET")
    assert not may.enforce(sub, "t", "/x", "GET")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("document:42", True), ("model:a.b-c_d", True), ("/a/.hidden", True), ("/a/...", True), ("100%", True),
        ("caf\u00e9", True), ("a b", True), ("\u200b", True), ("", True), ("/a/", True),
        ("//", False), (".", False), ("..", False), ("document:..", False), ("../x", False), ("/a/..", False),
        ("%2f", False), ("a%2Fb", False),
    ],
)  # fmt: skip
def test_plain_paths_are_told_from_others(name, plain):
    assert is_plain_path(name) is plain
    assert is_plain(name)


def test_a_user_cannot_get_a_role_by_taking_its_name():
    policy = "p, editor, *, document:*, read, allow\ng, ann, editor, acme\ng, editor, reader, *"
    may = Authorizer.from_text(policy=policy)
    for name in ("editor", "reader"):
        assert may.decide(Principal(name, tenant="acme"), "read", "document:1").code == "access.name"
    assert may.decide(Principal("ann", tenant="acme"), "read", "document:1").allowed


def test_eight_threads_get_the_answers_that_one_gets():
    policy = FILES + "\np, adm, t2, /z, GET, allow\ng, al, adm, t2"
    may = Authorizer.from_text(model=MODEL, policy=policy)
    ask = [
        (("al", "t", "/files/a", "GET"), True),
        (("al", "t", "/files/secret/a", "GET"), False),
        (("al", "t2", "/z", "GET"), True),
        (("al", "t2", "/files/a", "GET"), False),
    ]
    wrong: list[object] = []

    def worker(first: int) -> None:
        for number in range(400):
            request, want = ask[(number + first) % 4]
            if may.enforce(*request) is not want:
                wrong.append(request)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=worker, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
