from __future__ import annotations

import pytest
from pydantic import ValidationError

from aisecure import Principal
from aisecure.errors import InputRejected, Misconfigured, QuotaExceeded
from aisecure.quotas import Settings, build
from aisecure.shield import Shield
from aisecure.testing import CapturedEvents, FrozenClock, memory_ports


def test_the_default_is_one_guard_of_sixty_a_minute_and_an_event_that_it_counts_per_process(tmp_path):
    events = CapturedEvents()
    guards = build(Settings(), memory_ports(tmp_path, events=events))
    assert [guard.name for guard in guards] == ["rate_limit"]
    assert events.only("quota.per_process").detail == {"limits": ["60/minute"]}


def test_all_rules_hold_and_those_in_shadow_are_guards_of_their_own(tmp_path):
    clock = FrozenClock()
    settings = Settings.model_validate(
        {
            "limits": "5/minute",
            "rules": [
                {"name": "tools", "limits": "1/hour", "on": "tool:*"},
                {"name": "all", "limits": "3/day", "by": "tenant", "shadow": True},
            ],
        }
    )
    guards = build(settings, memory_ports(tmp_path, clock=clock))
    assert [(guard.name, guard.on, guard.shadow) for guard in guards] == [
        ("rate_limit", ("*",), False), ("all", ("*",), True),
    ]  # fmt: skip
    shield = Shield(*guards)

    @shield.protect("tool:search")
    def search(prompt):
        return prompt

    @shield.protect("model:chat")
    def chat(prompt):
        return prompt

    search("x")
    with pytest.raises(QuotaExceeded, match="1 per hour"):
        search("x")
    for _ in range(4):  # the refused call spent nothing
        chat("x")
    with pytest.raises(QuotaExceeded, match="5 per minute"):
        chat("x")


def test_on_redis_nothing_is_said_of_processes(tmp_path, redis_server, redis_client):
    events = CapturedEvents()
    settings = Settings.model_validate({"redis_url": redis_server.url, "limits": "1/hour"})
    guards = [build(settings, memory_ports(tmp_path, events=events))[0] for _ in range(2)]
    assert not events
    assert redis_server.url not in repr(settings)
    chats = [guard.decorate("model:chat")(lambda prompt: prompt) for guard in guards]
    chats[0]("x")
    with pytest.raises(QuotaExceeded):
        chats[1]("x")
    for guard in guards:
        guard.close()


EVERYTHING = {
    "limits": "100/minute",
    "by": ["principal", "model"],
    "rules": [
        {"name": "burst", "limits": "50/minute", "strategy": "gcra", "burst": 20},
        {"name": "all", "limits": "90/minute", "by": "model", "across_tenants": True},
    ],
    "budgets": [
        {"limits": "10k tokens/day"},
        {"limits": "5 USD/month", "by": "tenant", "window": "calendar", "soft": True},
    ],
    "prices_file": "prices.toml",
    "models": {"model:bot": "small"},
    "concurrency": [{"slots": 2, "queue": 3, "wait_seconds": 1.0}],
    "breakers": [{"failures": 3}],
    "shedding": {"max_in_flight": 10},
    "input": {"max_bytes": 1000},
    "streams": {"idle_seconds": 5.0},
}


def test_everything_can_be_written_in_a_file_and_meets_a_call_in_a_sane_order(tmp_path):
    (tmp_path / "prices.toml").write_text(
        'version = 1\n[provider.own]\ndate = "2026-01-01"\nsource = "a contract"\n'
        '[provider.own.models]\n"small" = { input = 1, output = 2 }\n'
    )
    guards = build(Settings.model_validate(EVERYTHING), memory_ports(tmp_path))
    assert [guard.name for guard in guards] == [
        "load_shedder", "input_limits", "rate_limit", "budget", "concurrency", "stream_limits", "breaker",
    ]  # fmt: skip

    @Shield(*guards).protect("model:bot")
    def ask(prompt):
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    ask("x")
    with pytest.raises(InputRejected):
        ask("x" * 2_000)
    assert guards[3].remaining(Principal.anonymous(), resource="model:bot")[0].used == 3


def test_on_redis_shares_and_leases_are_settings(tmp_path, redis_server, redis_client):
    settings = Settings.model_validate(
        {
            "redis_url": redis_server.url,
            "lease_seconds": 0.5,
            "local_share": 4,
            "budgets": [{"limits": "9k tokens/day"}],
        }
    )
    limits, budget = build(settings, memory_ports(tmp_path))
    assert repr(limits.store) == (
        "LocalShare(LeasedStore(RedisStore(), lease_seconds=0.5, share=0.02), processes=4)"
    )
    assert repr(budget.ledger) == "RedisLedger()"
    limits.close()
    budget.close()


def test_a_redis_url_that_is_none_is_misconfigured(tmp_path):
    settings = Settings.model_validate({"redis_url": "localhost:hunter2"})
    with pytest.raises(Misconfigured, match="redis_url") as error:
        build(settings, memory_ports(tmp_path))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limits": "often"}, {"limits": "0/minute"}, {"limits": ""}, {"limits": 10}, {"by": "user"}, {"limit": "1/minute"},
        {"max_keys": 0}, {"redis_timeout_seconds": 0}, {"redis_max_connections": 0}, {"rules": [{"limits": "1/minute"}]},
        {"rules": [{"name": "", "limits": "1/minute"}]}, {"rules": [{"name": "a", "limits": "never"}]},
        {"rules": [{"name": "rate_limit", "limits": "1/minute"}]},
        {"rules": [{"name": "a", "limits": "1/minute"}, {"name": "a", "limits": "2/minute"}]},
        {"rules": [{"name": "a", "limits": "1/minute", "strategy": "gcra"}]}, {"by": []}, {"by": ["principal", "x"]},
        {"budgets": [{"limits": "10/minute"}]}, {"budgets": [{"limits": "5 USD/month", "window": "moon"}]},
        {"lease_seconds": 1.0}, {"local_share": 2}, {"streams": {}}, {"concurrency": [{"slots": 0}]},
        {"breakers": [{"failure_rate": 2}]}, {"shedding": {}}, {"input": {"max_bytes": 0}}, {"warn_at": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_a_file_with_a_wrong_limit_is_refused_with_file_key_and_remedy(tmp_path):
    path = tmp_path / "aisecure.toml"
    path.write_text('[quotas]\nlimits = "ten a minute"\n')
    with pytest.raises(Misconfigured, match=r'aisecure.toml: \[quotas\] limits: .*"10/minute"'):
        Shield.from_config(path)
