"""``aisecure quotas``: as an operator types it, over a real Redis server."""

from __future__ import annotations

import getpass
import json
from decimal import Decimal

import pytest
from click.testing import CliRunner
from tests.unit.quotas.conftest import redis_client, redis_server

from aisecure import Call, Principal, Shield
from aisecure.audit import read
from aisecure.cli import main
from aisecure.cli._times import spelled
from aisecure.cli.quotas import _print_lines
from aisecure.config import Assembly, load
from aisecure.guard import Guard
from aisecure.standing import Standing

__all__ = ["redis_client", "redis_server"]

RULES = """
[[quotas.rules]]
name = "company"
limits = "100/hour; 900/day"
by = "tenant"

[[quotas.rules]]
name = "doors"
limits = "50/minute"
by = "source"

[[quotas.rules]]
name = "mail"
limits = "3/day"
by = "resource"
on = "tool:*"
"""


@pytest.fixture
def shared(tmp_path, redis_server, redis_client):
    file = tmp_path / "aisecure.toml"
    file.write_text(f'[quotas]\nlimits = "10/minute"\nredis_url = "{redis_server.url}"\n{RULES}')
    return file


@pytest.fixture
def run(tmp_path):
    def run(*words, **more):
        words = ["quotas", *words, "--config", str(tmp_path / "aisecure.toml")]
        return CliRunner().invoke(main, words, **more)

    return run


@pytest.fixture
def spend(shared):
    """Call as a running service does, and return how many calls were let in."""
    assembly = Assembly.build(load(shared).only("quotas"))

    def spend(times, principal="u-17", tenant="acme", resource="model:x", source=""):
        passed = 0
        for _ in range(times):
            call = Call(Principal(principal, tenant=tenant), "invoke", resource, source=source)
            passed += all(guard.before(call) is None for guard in assembly.guards)
        return passed

    yield spend
    for guard in assembly.guards:
        guard.close()
    assembly.close()


def logged(tmp_path, event_type="quota.reset"):
    folder = tmp_path / "data" / "audit"
    if not folder.exists():
        return []
    return [entry["ev"] for entry in read(folder) if entry["ev"]["type"] == event_type]


ACME = ["--principal", "u-17", "--tenant", "acme"]


# --- show -----------------------------------------------------------------------------------------------------------


def test_each_limit_is_shown_with_what_is_used_and_left(run, spend):
    spend(4)
    shown = run("show", *ACME, "--resource", "model:x", "--source", "192.0.2.1")
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert shown.stdout.splitlines()[0].split("  ")[0] == "name"
    assert "held" not in shown.stdout
    assert lines[1][:6] == ["rate_limit:principal", "10", "requests", "1m", "4", "6"]
    assert lines[2][:6] == ["company:tenant", "100", "requests", "1h", "4", "96"]
    assert lines[3][:6] == ["company:tenant", "900", "requests", "1d", "4", "896"]
    # The callers gave no address; 192.0.2.1 itself has used nothing.
    assert lines[4] == ["doors:source", "50", "requests", "1m", "0", "50"]
    assert len(lines) == 5


def test_json_gives_the_standings_as_they_are(run, spend):
    spend(2)
    shown = json.loads(run("show", *ACME, "--resource", "model:x", "--json").stdout)
    assert (shown["principal"], shown["tenant"], shown["resource"], shown["source"]) == (
        "u-17",
        "acme",
        "model:x",
        "",
    )
    first = shown["standings"][0]
    assert 0 < first.pop("reset_seconds") <= 60
    assert first == {
        "name": "rate_limit:principal",
        "limit": 10,
        "window_seconds": 60,
        "remaining": 8,
        "unit": "requests",
        "used": 2,
        "reserved": 0,
    }
    assert shown["unseen"] == []
    assert shown["unasked"] == {"--source": ["doors:source"]}


def test_showing_spends_nothing_and_leaves_no_event(run, spend, tmp_path):
    spend(9)
    for _ in range(5):
        run("show", *ACME)
    assert spend(2) == 1
    assert not logged(tmp_path, "quota.per_process")


def test_counts_of_other_tenants_and_principals_are_not_mixed_in(run, spend):
    spend(4)
    for words in (["--principal", "u-17"], ["--principal", "u-18", "--tenant", "acme"]):
        shown = json.loads(run("show", *words, "--limit", "rate_limit", "--json").stdout)
        assert shown["standings"][0]["used"] == 0


def test_a_limit_whose_count_is_not_named_is_not_shown_as_zero(run, spend):
    spend(2, principal="", source="192.0.2.1")
    bare = run("show", "--tenant", "acme")
    assert bare.exit_code == 0
    assert [line.split()[0] for line in bare.stdout.splitlines()[1:]] == ["company:tenant", "company:tenant"]
    assert "add --principal for rate_limit:principal" in bare.stderr
    assert "add --source for doors:source" in bare.stderr
    only = run("show", "--limit", "doors")
    assert (only.exit_code, only.stdout) == (0, "")
    assert "no limit" not in only.stderr
    named = run("show", "--tenant", "acme", "--source", "192.0.2.1", "--json")
    used = {line["name"]: line["used"] for line in json.loads(named.stdout)["standings"]}
    assert used == {"rate_limit:principal": 2, "company:tenant": 2, "doors:source": 2}


def test_a_limit_of_some_resources_is_shown_for_them(run, spend):
    spend(1, resource="tool:mail")
    shown = json.loads(run("show", *ACME, "--resource", "tool:mail", "--limit", "mail", "--json").stdout)
    assert [(line["name"], line["used"]) for line in shown["standings"]] == [("mail:resource", 1)]
    other = run("show", *ACME, "--resource", "model:x", "--limit", "mail")
    assert (other.exit_code, other.stdout) == (2, "")
    assert (
        "those that concern the call are rate_limit:principal, company:tenant, doors:source" in other.stderr
    )


def test_marks_in_a_name_do_not_hide_whose_count_it_is(run, tmp_path, redis_server, redis_client):
    (tmp_path / "aisecure.toml").write_text(
        f'[quotas]\nredis_url = "{redis_server.url}"\n'
        '[[quotas.rules]]\nname = "doors"\nlimits = "5/minute"\nby = ["tenant", "source"]\nacross_tenants = true\n'
        '[[quotas.budgets]]\nlimits = "1k tokens/day"\nby = "source"\nsoft = true\n'
    )
    shown = run("show", *ACME, "--resource", "model:x")
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == ["rate_limit:principal"]
    assert "add --source for doors:tenant+source*, budget:source~" in shown.stderr


def test_a_section_for_some_resources_is_not_shown_for_others(run, shared, tmp_path):
    shared.write_text(shared.read_text().replace("[quotas]", '[quotas]\non = "model:*"', 1))
    assert "rate_limit:principal" in run("show", *ACME, "--resource", "model:x").stdout
    other = run("show", *ACME, "--resource", "tool:mail", "--source", "192.0.2.1")
    assert (other.exit_code, other.stdout) == (0, "")
    assert "no limit concerns these calls" in other.stderr


def test_counts_in_memory_are_never_shown_as_zeros(run, tmp_path):
    (tmp_path / "aisecure.toml").write_text('[quotas]\nlimits = "10/minute"\n')
    shown = run("show", "--principal", "u-17")
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert "not to be seen: rate_limit:principal" in shown.stderr
    assert "own memory" in shown.stderr
    told = json.loads(run("show", "--principal", "u-17", "--json").stdout)
    assert (told["standings"], told["unseen"]) == ([], ["rate_limit:principal"])
    # Looking is no process that begins to count.
    assert not logged(tmp_path, "quota.per_process")


def test_a_section_that_is_switched_off_is_told(run, tmp_path):
    (tmp_path / "aisecure.toml").write_text("[quotas]\nenabled = false\n")
    shown = run("show", "--principal", "u-17")
    assert shown.exit_code == 0
    assert "switched off" in shown.stderr


def test_only_what_is_needed_is_opened(run, spend, shared):
    spend(1)
    shared.write_text(shared.read_text() + '\n[access]\npolicy = "no-such-file.csv"\n')
    assert run("show", *ACME).exit_code == 0
    assert run("reset", *ACME, "--yes").exit_code == 0


# --- reset ----------------------------------------------------------------------------------------------------------


def test_a_reset_lets_the_principal_call_again_and_is_logged(run, spend, tmp_path):
    assert spend(12) == 10
    done = run("reset", *ACME, "--limit", "rate_limit", "--yes")
    assert (done.exit_code, done.stdout) == (0, "reset: rate_limit:principal\n")
    assert spend(12) == 10
    [event] = logged(tmp_path)
    assert event["principal"] == f"os:{getpass.getuser()}"
    assert (event["tenant"], event["result"], event["severity"]) == ("acme", "success", "high")
    assert event["detail"] == {"subject": "u-17", "limits": ["rate_limit:principal"]}


def test_a_reset_of_one_principal_leaves_others_and_other_limits_alone(run, spend):
    spend(3)
    spend(3, principal="u-18")
    run("reset", *ACME, "--limit", "rate_limit", "--yes")
    left = json.loads(run("show", "--principal", "u-18", "--tenant", "acme", "--json").stdout)
    assert [line["used"] for line in left["standings"]] == [3, 6, 6]


def test_without_yes_it_asks_and_names_what_is_forgotten(run, spend, tmp_path):
    spend(3)
    asked = run("reset", *ACME, input="n\n")
    assert asked.exit_code == 1
    assert "what principal u-17, tenant acme used of rate_limit:principal, company:tenant?" in asked.stderr
    assert not logged(tmp_path)
    assert json.loads(run("show", *ACME, "--json").stdout)["standings"][0]["used"] == 3
    done = run("reset", *ACME, "--json", input="y\n")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["reset"] == ["rate_limit:principal", "company:tenant"]
    assert [line["used"] for line in json.loads(run("show", *ACME, "--json").stdout)["standings"]] == [
        0,
        0,
        0,
    ]


def test_a_limit_whose_count_is_not_named_is_not_reset(run, spend):
    spend(2, principal="", source="192.0.2.1")
    run("reset", *ACME, "--yes")
    left = json.loads(run("show", "--tenant", "acme", "--source", "192.0.2.1", "--json").stdout)["standings"]
    assert {line["name"]: line["used"] for line in left} == {
        "rate_limit:principal": 2,
        "company:tenant": 0,
        "doors:source": 2,
    }


def test_counts_in_memory_cannot_be_reset_and_it_is_said(run, tmp_path):
    (tmp_path / "aisecure.toml").write_text('[quotas]\nlimits = "10/minute"\n')
    done = run("reset", "--principal", "u-17", "--yes")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was reset" in done.stderr
    assert "not to be seen: rate_limit:principal" in done.stderr
    assert not logged(tmp_path)


def test_a_reset_that_fails_half_way_is_logged_with_what_was_done(run, shared, monkeypatch, tmp_path):
    from aisecure.errors import Unavailable

    class Half(Guard):
        name = "half"
        counts_are_shared = True

        def __init__(self, works):
            super().__init__()
            self.works = works

        def remaining(self, call):
            return [Standing("half:first" if self.works else "half:second", 1, 1, 1, 0.0)]

        def reset(self, call, *, only):
            if not self.works:
                raise Unavailable("gone", code="unavailable.quota")
            return list(only)

    monkeypatch.setattr("aisecure.quotas.build", lambda settings, ports: (Half(True), Half(False)))
    assert run("reset", *ACME, "--yes").exit_code == 4
    [event] = logged(tmp_path)
    assert event["result"] == "failure"
    assert event["detail"]["limits"] == ["half:first"]


# --- budgets, leases, shares -----------------------------------------------------------------------------------------

BARE = "[access]\nenabled = false\n[authn]\nenabled = false\n[models]\nenabled = false\n"
BUDGETS = """
[[quotas.budgets]]
limits = "10k tokens/day; 50 USD/month"

[[quotas.budgets]]
limits = "90k tokens/day"
by = "tenant"
"""
MODEL = ["--resource", "model:gpt-4o-mini"]


def use(file, times):
    """Let a whole service answer somebody."""
    with Shield.from_config(file) as shield:

        @shield.protect("model:gpt-4o-mini")
        def ask(prompt):
            return {"model": "gpt-4o-mini", "usage": {"prompt_tokens": 10, "completion_tokens": 20}}

        with shield.acting_as(Principal("u-17", tenant="acme")):
            for _ in range(times):
                ask("hello")


@pytest.mark.parametrize("place", ["redis", "data folder"])
def test_budgets_are_shown_and_reset_wherever_they_are_kept(run, tmp_path, redis_server, redis_client, place):
    file = tmp_path / "aisecure.toml"
    url = f'redis_url = "{redis_server.url}"\n' if place == "redis" else ""
    file.write_text(f"{BARE}[quotas]\n{url}{BUDGETS}")
    use(file, 3)
    words = [*ACME, *MODEL, "--json"]
    shown = run("show", *words)
    assert shown.exit_code == (0 if url else 1)
    body = json.loads(shown.stdout)
    assert body["unseen"] == ([] if url else ["rate_limit:principal"])
    tokens, money, tenant = body["standings"][-3:]
    assert [line["name"] for line in (tokens, money, tenant)] == [
        "budget:principal",
        "budget:principal",
        "budget:tenant",
    ]
    assert (tokens["unit"], tokens["used"], tokens["remaining"]) == ("tokens", 90, 9_910)
    assert (money["unit"], money["limit"]) == ("USD", "50")
    assert 0 < Decimal(money["used"]) < Decimal("0.01")
    run("reset", *ACME, *MODEL, "--limit", "budget:principal", "--yes")
    left = json.loads(run("show", *words).stdout)["standings"][-3:]
    assert [Decimal(line["used"]) for line in left] == [0, 0, 90]
    [event] = logged(tmp_path)
    assert event["detail"]["limits"] == ["budget:principal"]


def test_without_a_resource_it_is_said_that_some_limits_may_be_missing(
    run, tmp_path, redis_server, redis_client
):
    (tmp_path / "aisecure.toml").write_text(f'{BARE}[quotas]\nredis_url = "{redis_server.url}"\n{BUDGETS}')
    shown = run("show", *ACME)
    assert "budget" not in shown.stdout
    assert "add --resource" in shown.stderr


def test_leased_limits_are_shown_as_the_server_counts_them(run, tmp_path, redis_server, redis_client):
    file = tmp_path / "aisecure.toml"
    file.write_text(
        f'{BARE}[quotas]\nlimits = "100/minute"\nredis_url = "{redis_server.url}"\nlease_seconds = 1.0\n'
    )
    use(file, 7)
    [line] = json.loads(run("show", *ACME, "--json").stdout)["standings"]
    assert 7 <= line["used"] < 100
    assert run("reset", *ACME, "--yes").exit_code == 0
    assert json.loads(run("show", *ACME, "--json").stdout)["standings"][0]["used"] == 0


def test_a_share_of_this_process_does_not_answer_for_a_server_that_is_away(run, tmp_path):
    (tmp_path / "aisecure.toml").write_text(
        f'[quotas]\nredis_url = "unix://{tmp_path}/none.sock"\nlocal_share = 4\n'
    )
    shown = run("show", *ACME)
    assert (shown.exit_code, shown.stdout) == (4, "")


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_server_that_does_not_answer_is_unavailable(run, tmp_path):
    (tmp_path / "aisecure.toml").write_text(f'[quotas]\nredis_url = "unix://{tmp_path}/none.sock"\n')
    for words in (["show"], ["reset", "--yes"]):
        result = run(*words, *ACME)
        assert result.exit_code == 4
        assert "unavailable.quota" in result.stderr
    assert not logged(tmp_path)


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--tenant", ""], 2), (["--limit", "nope"], 2), (["--limit", "x" * 1_000_000], 2), (["--bogus"], 2)],
    ids=["no tenant", "unknown limit", "huge limit", "unknown option"],
)
def test_what_was_typed_wrongly_is_told_in_short(run, shared, words, code):
    result = run("show", *words)
    assert result.exit_code == code
    assert len(result.output) < 500


def test_a_missing_configuration_is_misconfigured(run):
    assert run("show").exit_code == 3


NAMES = {"control": "\u202e\x1b[2J", "no text": "\udcff", "long": "x" * 100_000, "accent": "é"}


@pytest.mark.parametrize("kind", NAMES)
def test_any_principal_can_be_named(run, spend, tmp_path, kind):
    who = NAMES[kind]
    spend(2, principal=who)
    words = ["--principal", who, "--tenant", "acme", "--limit", "rate_limit"]
    assert json.loads(run("show", *words, "--json").stdout)["standings"][0]["used"] == 2
    asked = run("reset", *words, input="n\n")
    assert "\x1b" not in asked.output
    assert "\u202e" not in asked.output
    assert len(asked.output) < 500
    done = run("reset", *words, "--yes")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert len(logged(tmp_path)) == 1


# --- how it looks ---------------------------------------------------------------------------------------------------


def test_tokens_and_money_are_shown_with_their_unit_and_what_is_held(capsys):
    _print_lines(
        [
            Standing("budget:principal", 200_000, 86_400, 150_000, 3_700.0, "tokens", 50_000, 1_000),
            Standing(
                "budget:tenant",
                Decimal("50.00"),
                2_592_000,
                Decimal("49.9999995"),
                0.2,
                "USD",
                Decimal("5E-7"),
            ),
        ]
    )
    head, tokens, money = capsys.readouterr().out.splitlines()
    assert "of it held" in head
    assert tokens.split() == "budget:principal 200000 tokens 1d 50000 1000 150000 1h 2m".split()
    assert money.split() == "budget:tenant 50.00 USD 30d 0.0000005 49.9999995 1s".split()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, ""),
        (-1, ""),
        (0.001, "1s"),
        (59, "59s"),
        (59.5, "1m"),
        (61, "1m 1s"),
        (3_599, "59m 59s"),
        (3_601, "1h 1m"),
        (86_399, "1d"),
        (86_400, "1d"),
        (90_001, "1d 2h"),
    ],
)
def test_times_are_spelled_in_two_units_and_never_too_short(seconds, text):
    assert spelled(seconds) == text
