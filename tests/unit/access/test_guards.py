from __future__ import annotations

import asyncio

import pytest

from aisecure.access import AccessGuard, Authorizer, Settings, build, require_permission, self_tests
from aisecure.call import Call, acting_as
from aisecure.errors import AccessDenied, Misconfigured
from aisecure.principal import Principal
from aisecure.testing import capture_events, memory_ports

ADMIN, MEMBER = Principal("u-1", roles={"admin"}), Principal("u-2", roles={"member"})
OTHER_MODEL = """
[request_definition]
r = who, what
[policy_definition]
p = who, what
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.who == p.who && r.what == p.what
"""


@pytest.fixture
def authorizer():
    return Authorizer()


class TestAccessGuard:
    def test_judges_the_call(self, authorizer):
        guard = AccessGuard(authorizer)
        assert guard.before(Call(MEMBER, "invoke", "model:x")).allowed
        assert not guard.before(Call(MEMBER, "invoke", "tool:x")).allowed

    def test_protects_a_function_alone(self, authorizer):
        guard = AccessGuard(authorizer)

        @guard.decorate("model:x")
        def ask(prompt: str) -> str:
            return prompt

        with acting_as(MEMBER):
            assert ask("hello") == "hello"
        with pytest.raises(AccessDenied):
            ask("hello")

    def test_in_shadow_mode_it_lets_pass_and_says_so(self, authorizer):
        guard = AccessGuard(authorizer, shadow=True)
        with capture_events() as events:
            function = guard.decorate("model:x", events=events)(lambda prompt: prompt)
            assert function("hello") == "hello"
        assert "guard.would_deny" in events.types

    def test_a_model_for_something_else_is_told_at_start(self):
        may = Authorizer.from_text(model=OTHER_MODEL, policy="p, a, b")
        with pytest.raises(Misconfigured, match="sub, obj and act"):
            AccessGuard(may)

    def test_takes_an_authorizer(self):
        with pytest.raises(TypeError):
            AccessGuard("policy.csv")

    def test_health_tells_the_version_and_a_refused_one(self, tmp_path):
        path = tmp_path / "policy.csv"
        path.write_text("p, admin, *, *, *, allow")
        may = Authorizer.from_files(None, path)
        guard = AccessGuard(may)
        assert guard.health() == {
            "ok": True,
            "version": may.version,
            "rules": 1,
            "compiled": True,
            "unseen_seconds": 0.0,
            "untold": False,
            "refused": "",
        }
        path.write_text("broken")
        with pytest.raises(Misconfigured):
            may.reload()
        assert guard.health()["ok"] is False


class TestRequirePermission:
    def test_of_a_function(self, authorizer):
        @require_permission("read", "document:{number}", authorizer=authorizer)
        def read(number: int, reason: str = "") -> str:
            return f"{number}{reason}"

        with acting_as(ADMIN):
            assert read(42, reason="!") == "42!"
        with acting_as(MEMBER), pytest.raises(AccessDenied) as caught:
            read(42)
        assert caught.value.code == "access.denied"

    def test_of_a_coroutine_function(self, authorizer):
        @require_permission("read", "document:1", authorizer=authorizer)
        async def read() -> str:
            return "text"

        async def ask(principal: Principal) -> str:
            with acting_as(principal):
                return await read()

        assert asyncio.run(ask(ADMIN)) == "text"
        with pytest.raises(AccessDenied):
            asyncio.run(ask(MEMBER))

    def test_of_a_generator(self, authorizer):
        @require_permission("read", "document:1", authorizer=authorizer)
        def read():
            yield "a"
            yield "b"

        with acting_as(ADMIN):
            assert list(read()) == ["a", "b"]
        with acting_as(MEMBER), pytest.raises(AccessDenied):
            list(read())

    def test_of_an_asynchronous_generator(self, authorizer):
        @require_permission("read", "document:1", authorizer=authorizer)
        async def read():
            yield "a"
            yield "b"

        async def ask(principal: Principal) -> list[str]:
            with acting_as(principal):
                return [chunk async for chunk in read()]

        assert asyncio.run(ask(ADMIN)) == ["a", "b"]
        with pytest.raises(AccessDenied):
            asyncio.run(ask(MEMBER))

    def test_a_refused_function_does_not_run(self, authorizer):
        ran = []

        @require_permission("delete", "document:1", authorizer=authorizer)
        def delete() -> None:
            ran.append(1)

        with acting_as(MEMBER), pytest.raises(AccessDenied):
            delete()
        with pytest.raises(AccessDenied):
            delete()
        assert ran == []

    def test_of_a_method_with_many_parameters(self, authorizer):
        class Archive:
            @require_permission("delete", "document:{number}", authorizer=authorizer)
            def delete(self, number: int, *, note: str) -> str:
                return f"{number} {note}"

        with acting_as(ADMIN):
            assert Archive().delete(7, note="done") == "7 done"
        with pytest.raises(AccessDenied):
            Archive().delete(7, note="done")

    def test_the_resource_defaults_to_the_function(self):
        may = Authorizer.from_text(policy="p, clerk, *, function:*, run, allow")

        @require_permission("run", authorizer=may)
        def work(a: int, b: int) -> int:
            return a + b

        with acting_as(Principal("u", roles={"clerk"})):
            assert work(1, 2) == 3

    def test_an_argument_cannot_lead_out_of_the_resource(self):
        may = Authorizer.from_text(
            policy="p, clerk, *, document:*, read, allow\np, clerk, *, document:secret/*, read, deny"
        )

        @require_permission("read", "document:{path}", authorizer=may)
        def read(path: str) -> str:
            return path

        with acting_as(Principal("u", roles={"clerk"})):
            assert read("public/a") == "public/a"
            for path in ("secret/a", "public/../secret/a", "%73ecret/a", "public/..", "a\nb"):
                with pytest.raises(AccessDenied):
                    read(path)

    def test_an_unknown_parameter_is_told_at_decoration(self, authorizer):
        with pytest.raises(Misconfigured, match="nosuch"):

            @require_permission("read", "document:{nosuch}", authorizer=authorizer)
            def read(number: int) -> None: ...


class TestBuild:
    def test_without_files_the_built_in_policy_holds(self, tmp_path):
        (guard,) = build(Settings(), memory_ports(tmp_path))
        assert guard.before(Call(MEMBER, "invoke", "model:x")).allowed

    def test_a_policy_in_the_data_folder_is_used_and_followed(self, tmp_path):
        path = tmp_path / "policy.csv"
        path.write_text("p, clerk, *, document:*, read, allow")
        ports = memory_ports(tmp_path)
        (guard,) = build(Settings(reload_seconds=1), ports)
        assert not guard.before(Call(MEMBER, "invoke", "model:x")).allowed
        path.write_text("p, member, *, model:*, invoke, allow\n")
        ports.clock.advance(1)
        assert guard.before(Call(MEMBER, "invoke", "model:x")).allowed
        assert ports.events.types == ["policy.loaded", "policy.loaded"]

    def test_named_files_come_from_the_configurations_folder(self, tmp_path):
        from aisecure.access import DEFAULT_MODEL

        (tmp_path / "m.conf").write_text(DEFAULT_MODEL)
        (tmp_path / "p.csv").write_text("p, clerk, *, document:*, read, allow\ng, ann, clerk, every")
        (guard,) = build(
            Settings(model="m.conf", policy="p.csv", shared_tenant="every"), memory_ports(tmp_path)
        )
        assert guard.before(Call(Principal("ann", tenant="acme"), "read", "document:1")).allowed

    def test_a_model_without_a_policy_is_refused(self, tmp_path):
        with pytest.raises(Misconfigured, match="policy that belongs to the model"):
            build(Settings(model="m.conf"), memory_ports(tmp_path))

    def test_a_named_policy_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(Misconfigured, match=r"nosuch\.csv"):
            build(Settings(policy="nosuch.csv"), memory_ports(tmp_path))

    @pytest.mark.parametrize(
        "bad", [{"polizy": "x"}, {"reload_seconds": -1}, {"reload_seconds": float("nan")}]
    )
    def test_settings_refuse_what_they_do_not_know(self, bad):
        with pytest.raises(ValueError):
            Settings(**bad)


@pytest.mark.parametrize("capability", sorted(self_tests()))
def test_each_self_test_passes(capability):
    self_tests()[capability]()


def test_a_broken_capability_fails_its_self_test(monkeypatch):
    monkeypatch.setattr("aisecure.access._quick.is_plain", lambda name: True)
    monkeypatch.setattr("aisecure.access._quick.is_plain_path", lambda name: True)
    with pytest.raises(AssertionError):
        self_tests()["access.names"]()
