from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from aisecure.call import Call, acting_as
from aisecure.errors import QuotaExceeded, Unavailable
from aisecure.principal import Principal
from aisecure.quotas import RedisStore, rate_limit
from aisecure.testing import CapturedEvents, FrozenClock

ALICE, BOB = Principal("alice"), Principal("bob")


def call(principal=ALICE, resource="model:chat", source=""):
    return Call(principal, "invoke", resource, source=source)


def admits(guard, *calls):
    return [guard.before(each) is None for each in calls]


def test_each_principal_has_a_count_of_its_own_inside_its_tenant():
    guard = rate_limit("1/minute")
    elsewhere = Principal("alice", tenant="acme")
    assert admits(guard, call(ALICE), call(BOB), call(elsewhere), call(ALICE)) == [True, True, True, False]


def test_callers_without_a_principal_are_told_apart_by_their_address():
    guard, nobody = rate_limit("1/minute"), Principal.anonymous()
    calls = [call(nobody, source=source) for source in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "", "")]
    assert admits(guard, *calls) == [True, True, False, True, False]


def test_a_principal_named_like_an_address_does_not_share_its_count():
    guard = rate_limit("1/minute")
    assert admits(guard, call(Principal.anonymous(), source="192.0.2.1"), call(Principal("192.0.2.1"))) == [
        True,
        True,
    ]


def test_by_tenant_all_of_a_tenant_share():
    guard = rate_limit("1/minute", by="tenant")
    assert admits(guard, call(ALICE), call(BOB), call(Principal("x", tenant="acme"))) == [True, False, True]


def test_by_resource_all_callers_share():
    guard = rate_limit("1/minute", by="resource")
    assert admits(guard, call(ALICE), call(BOB), call(BOB, "model:other")) == [True, False, True]


def test_by_source_principals_share():
    guard = rate_limit("1/minute", by="source")
    assert admits(guard, call(ALICE, source="192.0.2.1"), call(BOB, source="192.0.2.1")) == [True, False]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:DB8:0:0::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("not:an:address", "not:an:other", False),
    ],
)
def test_an_ipv6_source_is_its_network(one, other, same):
    guard = rate_limit("1/minute", by="source")
    assert admits(guard, call(source=one), call(source=other)) == [True, not same]


def test_by_a_function_its_key_counts():
    guard = rate_limit("1/minute", by=lambda call: (call.principal.id[:1], call.resource))
    assert admits(guard, call(Principal("anna")), call(Principal("axel")), call(BOB)) == [True, False, True]


@pytest.mark.parametrize("key", [None, 1.5, (), ("a", None), [1]])
def test_a_function_that_gives_no_key_lets_nobody_through(key):
    @rate_limit("1/minute", by=lambda call: key)
    def ask(prompt):
        raise AssertionError("was let through")

    with pytest.raises(Unavailable):
        ask("hello")


def test_what_by_may_be_is_said_at_once():
    with pytest.raises(
        ValueError, match="by is one of principal, tenant, source, resource, model, tool, route"
    ):
        rate_limit("1/minute", by="user")
    with pytest.raises(TypeError, match="by is a name, several, or a function"):
        rate_limit("1/minute", by=7)  # type: ignore[arg-type]


def test_the_decorator_limits_a_function_and_tells_when_to_come_back():
    clock = FrozenClock()

    @rate_limit("1/minute", clock=clock)
    def ask(prompt):
        return prompt.upper()

    assert ask("a") == "A"
    clock.advance(20)
    with pytest.raises(QuotaExceeded) as error:
        ask("b")
    assert error.value.retry_after == 40.0
    assert error.value.problem()["status"] == 429
    clock.advance(40)
    assert ask("c") == "C"


def test_the_decorator_limits_a_coroutine():
    @rate_limit("1/minute")
    async def ask(prompt):
        return prompt.upper()

    async def main():
        assert await ask("a") == "A"
        with pytest.raises(QuotaExceeded):
            await ask("b")

    asyncio.run(main())


def test_the_decorator_limits_generators_before_their_first_word():
    @rate_limit("1/minute")
    def stream(prompt):
        yield from prompt

    @rate_limit("1/minute")
    async def astream(prompt):
        for letter in prompt:
            yield letter

    assert "".join(stream("abc")) == "abc"
    with pytest.raises(QuotaExceeded):
        next(stream("abc"))

    async def main():
        assert "".join([letter async for letter in astream("abc")]) == "abc"
        with pytest.raises(QuotaExceeded):
            [letter async for letter in astream("abc")]

    asyncio.run(main())


def test_the_principal_of_the_surrounding_block_counts():
    @rate_limit("1/minute")
    def ask(prompt):
        return prompt

    for principal in (ALICE, BOB):
        with acting_as(principal):
            ask("hello")
            with pytest.raises(QuotaExceeded):
                ask("hello")


def test_only_the_named_resources_are_limited():
    guard = rate_limit("1/minute", on="model:*")

    @guard.decorate("tool:search")
    def search(prompt):
        return prompt

    @guard.decorate("model:chat")
    def chat(prompt):
        return prompt

    assert [search("x") for _ in range(5)] == ["x"] * 5
    chat("x")
    with pytest.raises(QuotaExceeded):
        chat("x")


def test_in_shadow_mode_a_call_passes_and_is_told():
    events = CapturedEvents()

    @rate_limit("1/minute", shadow=True).decorate("model:chat", events=events)
    def ask(prompt):
        return prompt

    assert [ask("x"), ask("x")] == ["x", "x"]
    assert events.only("guard.would_deny").code == "quota.exceeded"


def test_a_refusal_is_recorded_without_the_key():
    events = CapturedEvents()

    @rate_limit("1/minute", by=lambda call: "secret-key").decorate("model:chat", events=events)
    def ask(prompt):
        return prompt

    ask("x")
    with pytest.raises(QuotaExceeded):
        ask("x")
    event = events.only("call.denied")
    assert event.code == "quota.exceeded"
    assert "secret-key" not in str(event.to_dict())


def test_a_store_that_is_down_refuses_unless_said_otherwise():
    store = RedisStore("unix:///nowhere/redis.sock", timeout_seconds=0.1)

    @rate_limit("1/minute", store=store)
    def strict(prompt):
        raise AssertionError("was let through")

    events = CapturedEvents()

    @rate_limit("1/minute", store=store, on_unavailable="allow").decorate("model:chat", events=events)
    def lenient(prompt):
        return prompt

    with pytest.raises(Unavailable):
        strict("x")
    assert lenient("x") == "x"
    events.only("guard.skipped")


def test_over_redis_plain_and_asynchronous_functions_share_a_count(redis_server, redis_client):
    guard = rate_limit("2/hour", store=RedisStore(redis_server.url))

    @guard.decorate("model:chat")
    def ask(prompt):
        return prompt

    @guard.decorate("model:chat")
    async def aask(prompt):
        return prompt

    async def main():
        assert await aask("x") == "x"
        with pytest.raises(QuotaExceeded):
            await aask("x")
        await guard.store.aclose()

    ask("x")
    asyncio.run(main())
    assert guard.health() == {"ok": True, "store": "redis"}
    guard.close()


def test_importing_the_concern_brings_neither_pydantic_nor_redis_nor_asyncio_nor_limits():
    code = (
        "import sys; import aisecure.quotas as q; q.rate_limit('10/minute')\n"
        "print([name for name in ('pydantic', 'redis', 'asyncio', 'limits') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
