from __future__ import annotations

import pytest
from pydantic import ValidationError

from aisecure.errors import Misconfigured, QuotaExceeded
from aisecure.quotas import Settings, build
from aisecure.shield import Shield
from aisecure.testing import CapturedEvents, FrozenClock, memory_ports


def test_the_default_is_one_guard_of_sixty_a_minute_and_an_event_that_it_counts_per_process(tmp_path):
    events = CapturedEvents()
    guards = build(Settings(), memory_ports(tmp_path, events=events))
    assert [guard.name for guard in guards] == ["rate_limit"]
    assert events.only("quota.per_process").detail == {"limits": ["60/minute"]}


def test_each_rule_is_a_guard_and_all_of_them_hold(tmp_path):
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
        ("rate_limit", ("*",), False), ("tools", ("tool:*",), False), ("all", ("*",), True),
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
    for _ in range(3):
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
