from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.access import (
    AccessGuard,
    Authorizer,
    RequireScope,
    Scopes,
    Settings,
    build,
    filter_documents,
    require_permission,
    require_scope,
)
from aisecure.call import Call, acting_as
from aisecure.decisions import Outcome
from aisecure.errors import AccessDenied, AuthenticationError, Misconfigured
from aisecure.principal import Principal
from aisecure.testing import memory_ports

PERMITS = {
    "chat": ["invoke model:*", "invoke tool:clock"],
    "notes:read": ["read document:*"],
    "notes": ["read document:*", "write document:*"],
    "all": ["* *"],
}
SCOPES = Scopes(PERMITS)
EVERYTHING = "p, admin, *, *, *, allow\np, admin, *, document:locked, *, deny"


def principal(*scopes: str, roles=("admin",)) -> Principal:
    return Principal("u-1", roles=roles, scopes=scopes)


@pytest.fixture
def may():
    return Authorizer.from_text(policy=EVERYTHING, scopes=SCOPES)


class TestScopes:
    @pytest.mark.parametrize(
        ("scopes", "action", "resource", "permitted"),
        [
            ({"chat"}, "invoke", "model:a", True),
            ({"chat"}, "invoke", "tool:clock", True),
            ({"chat"}, "invoke", "tool:clock2", False),
            ({"chat"}, "read", "model:a", False),
            ({"chat"}, "invoke", "document:1", False),
            ({"notes:read"}, "read", "document:1", True),
            ({"notes:read"}, "write", "document:1", False),
            ({"notes:read", "chat"}, "invoke", "model:a", True),
            ({"all"}, "anything", "whatever", True),
            ({"openid", "profile"}, "invoke", "model:a", False),
            ({"CHAT"}, "invoke", "model:a", False),
            ({""}, "invoke", "model:a", False),
            (set(), "invoke", "model:a", True),
        ],
    )
    def test_a_scope_permits_what_is_written_for_it(self, scopes, action, resource, permitted):
        assert SCOPES.permit(principal(*scopes), action, resource) is permitted

    def test_without_scopes_nothing_may_be_permitted_instead(self):
        strict = Scopes(PERMITS, unscoped="deny")
        assert not strict.permit(principal(), "invoke", "model:a")
        assert strict.permit(principal("chat"), "invoke", "model:a")

    def test_none_of_no_scopes_permits_anything(self):
        assert not Scopes({}).permit(principal("chat"), "invoke", "model:a")
        assert not Scopes({"chat": []}).permit(principal("chat"), "invoke", "model:a")

    def test_names_those_that_would_do(self):
        assert SCOPES.that_permit("read", "document:1") == ("notes:read", "notes", "all")
        assert SCOPES.names == ("chat", "notes:read", "notes", "all")

    @pytest.mark.parametrize(
        "permits",
        [
            {"two words": ["read x"]}, {'quo"te': ["read x"]}, {"": ["read x"]}, {"caf\u00e9": ["read x"]},
            {"a\nb": ["read x"]}, {1: ["read x"]},
            {"a": ["read"]}, {"a": ["read x y"]}, {"a": ["read  x"]}, {"a": [" read x"]}, {"a": [""]},
            {"a": ["read x*y"]}, {"a": ["read **"]}, {"a": ["read x\0"]}, {"a": [None]}, {"a": ["read\tx"]},
        ],
    )  # fmt: skip
    def test_what_is_no_scope_or_no_line_is_named(self, permits):
        with pytest.raises(ValueError, match="scope"):
            Scopes(permits)

    @pytest.mark.parametrize("permits", [["chat"], {"chat": "invoke model:*"}, None, "chat"])
    def test_other_types_are_mistakes(self, permits):
        with pytest.raises(TypeError):
            Scopes(permits)

    def test_a_mistake_in_the_option_is_told(self):
        with pytest.raises(ValueError, match="unscoped"):
            Scopes({}, unscoped="maybe")

    def test_a_value_that_is_refused_is_not_shown_in_full(self):
        with pytest.raises(ValueError, match="scope") as caught:
            Scopes({"a": ["x" * 1_000_000]})
        assert len(str(caught.value)) < 300


class TestAuthorizer:
    def test_a_scope_narrows_what_the_policy_allows(self, may):
        assert may.decide(principal("notes"), "write", "document:1").allowed
        assert may.decide(principal(), "write", "document:1").allowed
        refused = may.decide(principal("chat"), "write", "document:1")
        assert (refused.outcome, refused.code) == (Outcome.DENY, "access.scope")
        assert refused.policy == may.version
        assert dict(refused.challenge) == {"scope": "notes"}

    def test_a_scope_allows_nothing_that_the_policy_does_not(self, may):
        assert may.decide(principal("all"), "read", "document:locked").code == "access.rule"
        assert may.decide(principal("all", roles=()), "read", "document:1").code == "access.denied"

    def test_who_lacks_the_permission_too_is_not_sent_for_a_scope(self, may):
        refused = may.decide(principal("chat", roles=()), "read", "document:1")
        assert (refused.code, dict(refused.challenge)) == ("access.denied", {})

    def test_where_no_scope_would_do_none_is_named(self):
        may = Authorizer.from_text(policy=EVERYTHING, scopes=Scopes({"chat": ["invoke model:*"]}))
        refused = may.decide(principal("chat"), "read", "document:1")
        assert (refused.code, dict(refused.challenge)) == ("access.scope", {"scope": ""})

    def test_reasons_name_nothing_of_the_request(self, may):
        told = " ".join(may.decide(principal("chat", "x-marker"), "write", "document:marker").reasons)
        assert "marker" not in told

    def test_documents_are_narrowed_too(self, may):
        notes = [
            {"resource": "document:1", "tenant": "default"},
            {"resource": "model:a", "tenant": "default"},
        ]
        assert filter_documents(principal("notes:read"), notes, authorizer=may) == notes[:1]
        assert filter_documents(principal("chat"), notes, authorizer=may) == []

    def test_a_function_is_narrowed_too(self, may):
        @require_permission("write", "document:{number}", authorizer=may)
        def write(number: int, text: str) -> str:
            return f"{number}: {text}"

        with acting_as(principal("notes")):
            assert write(1, "x") == "1: x"
        with acting_as(principal("notes:read")), pytest.raises(AccessDenied) as caught:
            write(1, "x")
        assert caught.value.code == "access.scope"

    def test_an_explanation_says_which_scopes_would_do(self, may):
        told = may.explain(principal("chat"), "write", "document:1")
        assert not told.decision.allowed
        assert told.deciding is None
        assert [rule.line for rule in told.matching] == [1]
        assert "notes, all" in str(told)
        assert may.explain(principal("notes"), "write", "document:1").deciding.line == 1

    def test_a_reload_keeps_them(self, may):
        may.reload()
        assert may.decide(principal("chat"), "write", "document:1").code == "access.scope"

    def test_scopes_are_scopes(self):
        with pytest.raises(TypeError, match="Scopes or None"):
            Authorizer(scopes=PERMITS)  # type: ignore[arg-type]


@given(
    scopes=st.sets(st.sampled_from([*PERMITS, "openid"])),
    action=st.sampled_from(["read", "write", "invoke"]),
    resource=st.sampled_from(["document:1", "document:locked", "model:a", "tool:clock", "tool:x", ""]),
)
def test_scopes_only_take_away(scopes, action, resource):
    free = Authorizer.from_text(policy=EVERYTHING).decide(principal(*scopes), action, resource)
    bound = Authorizer.from_text(policy=EVERYTHING, scopes=SCOPES).decide(
        principal(*scopes), action, resource
    )
    assert free.allowed or not bound.allowed
    by_any = any(SCOPES.permit(principal(scope), action, resource) for scope in scopes)
    assert bound.allowed is (free.allowed and (by_any or not scopes))


class TestSettings:
    def test_a_table_narrows_every_call(self, tmp_path):
        settings = Settings(scopes={"chat": ["invoke model:*"]})
        (guard,) = build(settings, memory_ports(tmp_path))
        assert isinstance(guard, AccessGuard)
        assert guard.before(Call(principal("chat"), "invoke", "model:a")).allowed
        assert guard.before(Call(principal("chat"), "read", "document:1")).code == "access.scope"
        assert guard.before(Call(principal(), "read", "document:1")).allowed

    def test_credentials_without_scopes_can_be_refused(self, tmp_path):
        settings = Settings(scopes={"chat": ["invoke model:*"]}, unscoped="deny")
        (guard,) = build(settings, memory_ports(tmp_path))
        assert guard.before(Call(principal(), "invoke", "model:a")).code == "access.scope"

    @pytest.mark.parametrize(
        ("settings", "names"),
        [
            (Settings(unscoped="deny"), "unscoped"),
            (Settings(scopes={"chat": ["invoke"]}), "scopes"),
            (Settings(scopes={"a b": []}), "scopes"),
        ],
    )
    def test_what_cannot_be_meant_is_named(self, tmp_path, settings, names):
        with pytest.raises(Misconfigured, match=rf"\[access\] {names}"):
            build(settings, memory_ports(tmp_path))


class TestRequireScope:
    def test_all_of_them_are_needed(self):
        guard = require_scope("a", "b")
        assert isinstance(guard, RequireScope)
        assert guard.decide(principal("a", "b", "c")) is None
        for scopes in (("a",), ("c",), ()):
            refused = guard.decide(principal(*scopes))
            assert (refused.code, dict(refused.challenge)) == ("access.scope", {"scope": "a b"})

    def test_nobody_is_sent_to_log_in(self):
        assert require_scope("a").decide(Principal.anonymous()).code == "authn.missing"

    def test_protects_functions_of_every_kind(self):
        @require_scope("notes")
        def one(first, second):
            return first + second

        @require_scope("notes")
        async def two(first, second):
            return first + second

        with acting_as(principal("notes")):
            assert one(1, 2) == 3
            assert asyncio.run(two(1, 2)) == 3
        with acting_as(principal("chat")):
            with pytest.raises(AccessDenied):
                one(1, 2)
            with pytest.raises(AccessDenied):
                asyncio.run(two(1, 2))
        with pytest.raises(AuthenticationError):
            one(1, 2)

    def test_concerns_itself_with_its_resources(self):
        assert require_scope("a", on="tool:*").applies("tool:x")
        assert not require_scope("a", on="tool:*").applies("model:x")

    @pytest.mark.parametrize("scopes", [(), ("",), ("a b",), (None,), ('"',)])
    def test_a_mistake_is_told_at_once(self, scopes):
        with pytest.raises(ValueError, match="scope"):
            require_scope(*scopes)
