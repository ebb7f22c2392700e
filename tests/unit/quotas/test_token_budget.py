"""Budgets round functions: what is held before, and booked after, by every way in which a call can end."""

from __future__ import annotations

import asyncio
import gc
from decimal import Decimal

import pytest

from aisecure.call import acting_as
from aisecure.decisions import Decision
from aisecure.errors import AccessDenied, InputRejected, QuotaExceeded, Unavailable
from aisecure.events import Usage
from aisecure.guard import Guard
from aisecure.principal import Principal
from aisecure.quotas import (
    Budget,
    MemoryLedger,
    Price,
    Prices,
    SqliteLedger,
    TokenBudget,
    parse_budget,
)
from aisecure.shield import Shield
from aisecure.standing import collect_standings
from aisecure.testing import FrozenClock, capture_events, memory_storage

PRICES = Prices(
    {"m-1": Price("2", "10"), "m-2": Price("20", "100"), "free": Price(0, 0)},
    date="2026-01-31",
    source="test",
)
#: What a prompt of 10 characters costs by the bound: 64 a call and 8 a message are set aside.
PROMPT, BOUND = "0123456789", 10 + 64 + 8


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def events():
    return capture_events()


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, clock):
    made = (
        MemoryLedger(clock=clock)
        if request.param == "memory"
        else SqliteLedger(memory_storage(), clock=clock)
    )
    yield made
    made.close()


def reply(text="an answer", *, given=100, taken=20, model="m-1"):
    usage = {"prompt_tokens": given, "completion_tokens": taken}
    return {"model": model, "choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}


def state(budget, **who):
    """Return what is used for good, and what is held."""
    budget.ledger.flush()
    return [(one.used - one.reserved, one.reserved) for one in budget.remaining(**who)]


# -- a call that is let in


def test_the_worst_case_is_held_while_the_call_runs_and_the_truth_is_booked_after(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300)
    held = []

    @budget
    def ask(prompt):
        held.extend(state(budget))
        return reply(given=50, taken=7)

    ask(PROMPT)
    assert held == [(0, BOUND + 300)]
    assert state(budget) == [(57, 0)]


def test_every_unit_is_counted_in_its_own_way(ledger):
    budget = TokenBudget(
        "10k tokens/day; 9k input tokens/day; 8k output tokens/day; 5 USD/day",
        ledger=ledger, prices=PRICES, models={"function:ask": "m-1"},
    )  # fmt: skip
    budget.decorate("function:ask")(lambda prompt: reply(given=100, taken=20))(PROMPT)
    assert state(budget, resource="function:ask") == [(120, 0), (100, 0), (20, 0), (Decimal("0.0004"), 0)]


def test_requests_say_how_long_the_answer_may_be():
    budget = TokenBudget("1000 output tokens/day", max_output_tokens=999)
    seen = []

    @budget
    def ask(request):
        seen.extend(state(budget))
        return reply()

    ask({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, "n": 2})
    assert seen == [(0, 100)]


def test_a_tokenizer_of_the_users_counts():
    budget = TokenBudget("1000 input tokens/day", count=lambda text: len(text.split()))

    @budget
    def ask(prompt):
        return "four words of text"

    ask("one two three")
    assert state(budget) == [(64 + 8 + 3, 0)]


# -- refusals


def test_a_call_without_room_is_refused_with_the_limit_the_wait_and_nobodys_name(ledger, clock):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=600)
    ran = []

    @budget
    def ask(prompt):
        ran.append(prompt)
        return reply(given=400, taken=200)

    with acting_as(Principal("alice", tenant="acme")):
        ask(PROMPT)
        with pytest.raises(QuotaExceeded) as error:
            ask(PROMPT)
        assert error.value.code == "quota.budget"
        assert "1000 tokens per day" in error.value.detail
        assert "alice" not in error.value.detail
        assert len(ran) == 1
        clock.advance(error.value.retry_after - 0.001)
        with pytest.raises(QuotaExceeded):
            ask(PROMPT)
        clock.advance(0.001)
        ask(PROMPT)


def test_a_call_that_never_fits_is_told_so_without_a_wait(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=950)
    with pytest.raises(QuotaExceeded) as error:
        budget(lambda prompt: reply())(PROMPT)
    assert error.value.code == "quota.cost"
    assert error.value.retry_after is None
    assert state(budget) == [(0, 0)]


def test_a_refused_call_spends_nothing_on_any_level(ledger):
    budget = TokenBudget(
        Budget("100k tokens/day", by="principal"),
        Budget("100k tokens/day", by="tenant"),
        Budget("1000 tokens/day", by="model", across_tenants=True),
        ledger=ledger, max_output_tokens=500,
    )  # fmt: skip
    ask = budget.decorate("model:m-1")(lambda prompt: reply(given=82, taken=500))
    ada, bob = Principal("ada", tenant="acme"), Principal("bob", tenant="other")
    with acting_as(ada):
        ask(PROMPT)
    with acting_as(bob), pytest.raises(QuotaExceeded, match="1000 tokens per day"):
        ask(PROMPT)
    assert state(budget, principal=ada, model="m-1") == [(582, 0), (582, 0), (582, 0)]
    assert state(budget, principal=bob, model="m-1") == [(0, 0), (0, 0), (582, 0)]
    assert state(budget, principal=ada, model="m-2") == [(582, 0), (582, 0), (0, 0)]


def test_what_a_call_gave_back_a_moment_ago_is_there_for_the_next(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=850)
    ask = budget(lambda prompt: reply(given=1, taken=1))
    for _ in range(30):
        ask(PROMPT)
    assert state(budget) == [(60, 0)]


# -- money


def test_money_without_a_price_is_refused_and_the_remedy_named(ledger):
    budget = TokenBudget("5 USD/day", ledger=ledger, prices=PRICES)
    with pytest.raises(QuotaExceeded, match="price of the model 'unheard-of'") as error:
        budget.decorate("model:unheard-of")(lambda prompt: reply())(PROMPT)
    assert error.value.code == "quota.unpriced"
    with pytest.raises(QuotaExceeded, match="name it in models="):
        budget(lambda prompt: reply())(PROMPT)


def test_the_model_that_answered_sets_the_price_when_it_has_one(ledger):
    budget = TokenBudget("5 USD/day", ledger=ledger, prices=PRICES)
    ask = budget.decorate("model:m-1")(lambda model: reply(given=1000, taken=1000, model=model))
    ask("m-2")
    assert state(budget, model="m-1") == [(Decimal("0.12"), 0)]
    ask("unheard-of")
    assert state(budget, model="m-1") == [(Decimal("0.132"), 0)]


def test_a_prompt_that_may_be_written_to_a_dear_cache_is_held_at_that_price():
    prices = Prices({"m": Price("2", "10", cache_write="8")}, date="2026-01-31", source="test")
    budget = TokenBudget("5 USD/day", prices=prices, max_output_tokens=0)
    held = []
    budget.decorate("model:m")(lambda prompt: held.extend(state(budget, model="m")) or reply())(PROMPT)
    assert held == [(0, Decimal(BOUND * 8) / 10**6)]


def test_a_free_model_costs_nothing_and_passes_an_empty_budget():
    budget = TokenBudget("0.000001 USD/day", prices=PRICES)
    ask = budget.decorate("model:free")(lambda prompt: reply(model="free"))
    ask(PROMPT)
    assert state(budget, model="free") == [(0, 0)]


def test_prices_in_another_currency_are_a_mistake_at_once():
    with pytest.raises(ValueError, match="the budget is in EUR, the prices are in USD"):
        TokenBudget("5 EUR/day", prices=PRICES)
    with pytest.raises(ValueError, match="the budget is in EUR"):
        TokenBudget("5 EUR/day")


def test_shipped_prices_are_used_when_none_are_given(ledger):
    name = next(iter(Prices.shipped()))
    budget = TokenBudget("500 USD/day", ledger=ledger)
    budget.decorate(f"model:{name}")(lambda prompt: reply(model=name))(PROMPT)
    assert state(budget, model=name)[0][0] == Prices.shipped()[name].cost(Usage(100, 20))


# -- how a call can end


class Provider:
    """A streamed answer that breaks off in the way that it was told."""

    def __init__(self, pieces, error=None):
        self.pieces = pieces
        self.error = error

    def __iter__(self):
        yield from self.pieces
        if self.error is not None:
            raise self.error


class APITimeoutError(Exception):
    pass


def test_an_answer_that_tells_nothing_is_counted(ledger, events):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300, events=events)
    budget(lambda prompt: "x" * 40)(PROMPT)
    assert state(budget) == [(BOUND + 40, 0)]
    assert events.only("budget.charged").detail["basis"] == "counted"


def test_what_is_counted_is_never_more_than_was_held(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=30)
    budget(lambda prompt: "x" * 400)(PROMPT)
    assert state(budget) == [(BOUND + 30, 0)]


def test_an_answer_that_nobody_can_read_costs_all_that_was_held(ledger, events):
    def unreadable(text):
        if text != PROMPT:
            raise LookupError(text)
        return 10

    budget = TokenBudget(
        "1000 tokens/day", ledger=ledger, count=unreadable, max_output_tokens=300, events=events
    )
    budget(lambda prompt: "answer")(PROMPT)
    assert state(budget) == [(BOUND + 300, 0)]
    assert events.only("budget.charged").detail["basis"] == "reserved"


@pytest.mark.parametrize(
    ("failed", "error", "expected"),
    [
        ("refund", ValueError("no"), 0),
        ("charge", ValueError("no"), BOUND + 300),
        ("refund", TimeoutError(), BOUND + 300),
        ("refund", APITimeoutError(), BOUND + 300),
    ],
    ids=["refund", "charge", "timeout", "provider-timeout"],
)
def test_a_call_that_raised_costs_what_is_set_and_one_that_timed_out_all(ledger, failed, error, expected):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300, failed=failed)

    @budget
    def ask(prompt):
        raise error

    with pytest.raises(type(error)):
        ask(PROMPT)
    assert state(budget) == [(expected, 0)]


def test_a_stream_is_counted_as_far_as_it_was_read(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300)

    @budget
    def ask(prompt):
        yield from ("four", "four", "four")

    chunks = ask(PROMPT)
    assert next(chunks) == "four"
    assert state(budget) == [(0, BOUND + 300)]
    chunks.close()
    assert state(budget) == [(BOUND + 4, 0)]


def test_a_stream_read_to_its_end_without_a_report_is_counted_whole_and_unchanged(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300)

    @budget
    def ask(prompt):
        yield from ("fo", "", "ur", b"by\xc3", b"\xa4tes")

    assert list(ask(PROMPT)) == ["fo", "ur", b"by", b"\xc3\xa4tes"]
    assert state(budget) == [(BOUND + 4 + 7, 0)]


def test_a_stream_that_reports_at_its_end_is_booked_as_reported(ledger, events):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300, events=events)
    chunks = [{"choices": [{"delta": {"content": "piece "}}]}] * 5
    last = {"model": "m-1", "choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 5}}

    @budget
    def ask(prompt):
        yield from [*chunks, last]

    assert list(ask(PROMPT)) == [*chunks, last]
    assert state(budget) == [(55, 0)]
    charged = events.only("budget.charged")
    assert (charged.detail["basis"], charged.usage, charged.model) == ("reported", Usage(50, 5), "m-1")


def test_a_stream_cut_after_the_report_at_its_beginning_is_counted_as_far_as_it_was_read(ledger):
    # Anthropic tells the tokens of the prompt first, and one or two of the answer.
    begin = {"type": "message_start", "message": {"usage": {"input_tokens": 50, "output_tokens": 1}}}
    piece = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "0123456789"}}
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300)

    @budget
    def ask(prompt):
        yield begin
        yield from [piece] * 9

    chunks = ask(PROMPT)
    for _ in range(4):
        next(chunks)
    chunks.close()
    assert state(budget) == [(50 + 30, 0)]


@pytest.mark.parametrize(
    ("pieces", "error", "expected"),
    [
        (["four"], ConnectionError(), BOUND + 4),
        ([], ConnectionError(), 0),
        (["four"], TimeoutError(), BOUND + 300),
        ([object(), object()], None, BOUND + 300),
        ([object(), object()], ConnectionError(), BOUND + 2),
        ([], None, BOUND),
    ],
    ids=["broke-off", "never-began", "timed-out", "unreadable", "unreadable-broke-off", "empty"],
)
def test_streams_end_in_many_ways(ledger, pieces, error, expected):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300)

    @budget
    def ask(prompt):
        yield from Provider(pieces, error)

    if error is None:
        list(ask(PROMPT))
    else:
        with pytest.raises(type(error)):
            list(ask(PROMPT))
    assert state(budget) == [(expected, 0)]


def test_a_stream_that_was_never_begun_costs_nothing_and_one_returned_and_dropped_its_prompt(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300)

    @budget
    def late(prompt):
        yield "four"

    late(PROMPT)
    assert state(budget) == [(0, 0)]

    @budget
    def opened(prompt):
        return iter(["four"])

    opened(PROMPT)
    gc.collect()
    assert state(budget) == [(BOUND, 0)]


class Refuses(Guard):
    def __init__(self, hook):
        super().__init__()
        self.hook = hook

    def before(self, call):
        return Decision.deny("access.denied", "No.") if self.hook == "before" else None

    def after(self, call, output):
        return Decision.deny("output.blocked", "No.") if self.hook == "after" else None


def test_a_call_that_a_later_guard_refused_costs_nothing(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300)
    with pytest.raises(AccessDenied):
        Shield(budget, Refuses("before")).protect("model:m-1")(lambda prompt: reply())(PROMPT)
    assert state(budget, model="m-1") == [(0, 0)]


@pytest.mark.parametrize(
    ("first", "answer", "expected"),
    [
        ("budget", reply(given=50, taken=5), 55),
        ("budget", "x" * 9, BOUND + 9),
        ("refusal", reply(given=50, taken=5), 55),
        ("refusal", "x" * 9, BOUND + 300),
    ],
)
def test_an_answer_that_was_withheld_was_produced_all_the_same(ledger, first, answer, expected):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=300)
    guards = [budget, Refuses("after")]
    if first == "refusal":
        guards.reverse()
    with pytest.raises(Exception, match="No"):
        Shield(*guards).protect("model:m-1")(lambda prompt: answer)(PROMPT)
    assert state(budget, model="m-1") == [(expected, 0)]


def test_a_cancelled_coroutine_costs_all_that_it_held_and_a_cancelled_stream_what_it_had(ledger):
    budget = TokenBudget("10k tokens/day", ledger=ledger, max_output_tokens=300)

    @budget
    async def ask(prompt):
        await asyncio.Event().wait()

    @budget
    async def chat(prompt):
        yield "four"
        await asyncio.Event().wait()

    async def read(prompt):
        async for _ in chat(prompt):
            pass

    async def cancelled(function):
        task = asyncio.create_task(function(PROMPT))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled(ask))
    assert state(budget) == [(BOUND + 300, 0)]
    asyncio.run(cancelled(read))
    assert state(budget) == [(BOUND + 300 + BOUND + 4, 0)]


def test_all_four_kinds_of_callables_are_booked(ledger):
    budget = TokenBudget("10k tokens/day", ledger=ledger, max_output_tokens=300)

    @budget
    def plain(prompt):
        return reply(given=1, taken=1)

    @budget
    async def coroutine(prompt):
        return reply(given=10, taken=10)

    @budget
    def generator(prompt):
        yield reply(given=100, taken=100)

    @budget
    async def stream(prompt):
        yield reply(given=1000, taken=1000)

    async def main():
        await coroutine(PROMPT)
        assert [chunk async for chunk in stream(PROMPT)]

    plain(PROMPT)
    assert list(generator(PROMPT))
    asyncio.run(main())
    assert state(budget) == [(2222, 0)]


def test_more_than_was_held_is_booked_and_told(ledger, events):
    budget = TokenBudget(
        "1000 tokens/day; 1000 output tokens/day", ledger=ledger, max_output_tokens=10, events=events
    )
    budget(lambda prompt: reply(given=10, taken=2000))(PROMPT)
    assert state(budget) == [(2010, 0), (2000, 0)]
    assert [event.detail["used"] for event in events.of_type("budget.overdrawn")] == [2010, 2000]
    assert events.of_type("budget.overdrawn")[0].detail["reserved"] == BOUND + 10


# -- what is told


def test_a_budget_that_runs_out_is_told_once_a_window(ledger, events, clock):
    budget = TokenBudget(
        "1 USD/day",
        ledger=ledger,
        prices=PRICES,
        events=events,
        warn_at=0.5,
        clock=clock if isinstance(ledger, SqliteLedger) else None,
    )
    ask = budget.decorate("model:m-1")(lambda prompt: reply(given=100_000, taken=10_000))
    for _ in range(3):
        ask(PROMPT)
    state(budget)
    warning = events.only("budget.warning")
    assert warning.detail == {
        "name": "budget:principal", "unit": "USD", "used": "0.6", "limit": "1", "window_seconds": 86_400,
    }  # fmt: skip
    clock.advance(90_000)
    for _ in range(2):
        ask(PROMPT)
    state(budget)
    assert len(events.of_type("budget.warning")) == 2


def test_a_soft_budget_refuses_nothing_and_tells_when_it_is_exceeded(ledger, events):
    budget = TokenBudget(Budget("100 tokens/day", soft=True), ledger=ledger, events=events, warn_at=None)
    ask = budget(lambda prompt: reply(given=60, taken=0))
    for _ in range(4):
        ask(PROMPT)
    assert state(budget) == [(240, 0)]
    assert events.only("budget.exceeded").detail["used"] == 120


def test_a_soft_budget_of_money_lets_models_without_a_price_pass(ledger):
    budget = TokenBudget(Budget("1 USD/day", soft=True), ledger=ledger, prices=PRICES)
    assert budget.decorate("model:unheard-of")(lambda prompt: "answer")(PROMPT) == "answer"


def test_no_event_and_no_repr_tells_what_was_asked(ledger, events):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=10, events=events, warn_at=0.001)
    with acting_as(Principal("u-17")):
        budget(lambda prompt: reply("SECRET answer", taken=500))("SECRET prompt")
    state(budget)
    assert set(events.types) == {"budget.charged", "budget.warning", "budget.overdrawn"}
    assert "SECRET" not in repr([event.to_dict() for event in events]) + repr(budget) + repr(budget._calls)


def test_a_log_that_fails_does_not_keep_a_call_from_being_booked(ledger):
    class Full:
        def record(self, event):
            raise Unavailable("full")

    budget = TokenBudget("1000 tokens/day", ledger=ledger, events=Full())
    with pytest.raises(QuotaExceeded):
        budget(lambda prompt: reply())(PROMPT)
    budget = TokenBudget("10k tokens/day", ledger=ledger, events=Full())
    assert budget(lambda prompt: reply(given=5, taken=5))(PROMPT)
    assert state(budget) == [(10, 0)]


def test_adapters_are_told_how_the_budgets_stand(ledger):
    budget = TokenBudget("1000 tokens/day; 5 USD/month", ledger=ledger, prices=PRICES, max_output_tokens=18)
    ask = budget.decorate("model:m-1")(lambda prompt: reply(given=40, taken=2))
    with collect_standings() as seen:
        ask(PROMPT)
    tokens, money = [one.to_dict() for one in seen]
    assert (tokens["unit"], tokens["limit"], tokens["remaining"], tokens["reserved"]) == (
        "tokens",
        1000,
        900,
        100,
    )
    assert (money["unit"], money["limit"], money["used"]) == ("USD", "5", "0.000344")


# -- watching, and going on without


def test_in_shadow_mode_nothing_is_refused_and_everything_counted(ledger, events):
    budget = TokenBudget(
        "1000 tokens/day; 1 USD/day", ledger=ledger, prices=PRICES, max_output_tokens=500, shadow=True
    )
    shield = Shield(budget, sinks=[events])
    ask = shield.protect("model:m-1")(lambda prompt: reply(given=900, taken=50))
    for _ in range(3):
        ask(PROMPT)
    assert len(events.of_type("guard.would_deny")) == 2
    assert {event.code for event in events.of_type("guard.would_deny")} == {"quota.budget"}
    assert state(budget, model="m-1")[0] == (2850, 0)
    shield.protect("model:unheard-of")(lambda prompt: reply(given=900, taken=50))(PROMPT)
    assert events.of_type("guard.would_deny")[-1].code == "quota.unpriced"
    assert state(budget, model="m-1")[0] == (3800, 0)


@pytest.fixture
def down(ledger, monkeypatch):
    """Return a function after which the ledger does not answer to reservations."""

    def reserve(_):
        raise Unavailable("down", code="unavailable.quota")

    return lambda: monkeypatch.setattr(ledger, "reserve", reserve)


def test_a_ledger_that_does_not_answer_refuses(ledger, down):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=10)
    down()
    with pytest.raises(Unavailable) as error:
        budget(lambda prompt: reply())(PROMPT)
    assert error.value.code == "unavailable.quota"
    assert not budget._calls


def test_what_was_let_pass_without_being_held_is_booked_all_the_same(ledger, down):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=10, on_unavailable="allow")
    down()
    budget(lambda prompt: reply(given=70, taken=7))(PROMPT)
    assert state(budget) == [(77, 0)]


def test_an_input_that_cannot_be_walked_is_refused():
    cyclic: list[object] = []
    cyclic.append(cyclic)
    budget = TokenBudget("1000 tokens/day")
    with pytest.raises(InputRejected):
        budget(lambda prompt: reply())(cyclic)
    assert not budget._calls


@pytest.mark.parametrize("value", [None, b"ab\0", "\ud800\0", [1.5, True], "x" * 800], ids=repr)
def test_any_input_is_counted(value):
    budget = TokenBudget("1000 tokens/day", max_output_tokens=1)
    assert budget(lambda prompt: reply(given=3, taken=0))(value)
    assert state(budget) == [(3, 0)]


def test_an_input_of_megabytes_is_too_dear_at_once():
    budget = TokenBudget("1M tokens/day")
    with pytest.raises(QuotaExceeded) as error:
        budget(lambda prompt: reply())("x" * 5_000_000)
    assert error.value.code == "quota.cost"


@pytest.mark.parametrize("bad", [-1, "5", 2.5, None])
def test_a_counter_that_answers_nonsense_is_a_check_that_could_not_run(bad):
    budget = TokenBudget("1000 tokens/day", count=lambda text: bad)
    with pytest.raises(Unavailable):
        budget(lambda prompt: reply())(PROMPT)


@pytest.mark.parametrize(
    "options",
    [
        {"warn_at": 0}, {"warn_at": 1.1}, {"warn_at": float("nan")}, {"ttl_seconds": 0}, {"ttl_seconds": float("inf")},
        {"ttl_seconds": True}, {"failed": "maybe"}, {"on_expiry": "forget"}, {"max_output_tokens": -1},
        {"max_output_tokens": 1.5}, {"by": "nobody"}, {"window": "rolling"}, {"on_unavailable": "maybe"},
    ],
    ids=repr,
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"\w"):
        TokenBudget("1000 tokens/day", **options)


def test_budgets_have_to_be_there_and_to_differ():
    with pytest.raises(ValueError, match="no budget"):
        TokenBudget()
    with pytest.raises(ValueError, match="stands there twice"):
        TokenBudget("5 tokens/day", Budget("5 tokens/day"))
    TokenBudget("5 tokens/day", Budget("5 tokens/day", name="other"), *parse_budget("6 tokens/day"))
    with pytest.raises(TypeError):
        TokenBudget("5 tokens/day", ledger=object())
    with pytest.raises(TypeError):
        TokenBudget("5 tokens/day", count=5)


# -- by hand


def test_a_block_spends_what_it_says_it_used(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger)
    ada = Principal("ada")
    with budget.spend(ada, model="m-1", input_tokens=100, max_output_tokens=200) as spending:
        assert state(budget, principal=ada) == [(0, 300)]
        spending.usage = Usage(90, 10)
    assert state(budget, principal=ada) == [(100, 0)]
    assert state(budget) == [(0, 0)]


def test_a_block_reads_the_usage_of_answers_and_of_chunks(ledger):
    budget = TokenBudget("5 USD/day", ledger=ledger, prices=PRICES)
    with budget.spend(model="m-1", input="hi") as spending:
        spending.note({"choices": [{"delta": {"content": "x"}}]})
        spending.note(reply(given=1000, taken=100, model="m-2"))
    assert state(budget, model="m-1") == [(Decimal("0.03"), 0)]


def test_a_block_that_tells_nothing_costs_all_that_it_held(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger)
    with budget.spend(input_tokens=100, max_output_tokens=200):
        pass
    assert state(budget) == [(300, 0)]


@pytest.mark.parametrize(
    ("error", "expected"), [(ValueError, 0), (TimeoutError, 300), (KeyboardInterrupt, 300)]
)
def test_a_block_that_raises_is_charged_as_a_call_is(ledger, error, expected):
    budget = TokenBudget("1000 tokens/day", ledger=ledger)
    with pytest.raises(error), budget.spend(input_tokens=100, max_output_tokens=200):
        raise error
    assert state(budget) == [(expected, 0)]


def test_a_block_without_room_is_refused_before_it_begins(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger)
    with budget.spend(input_tokens=600, max_output_tokens=0):
        with pytest.raises(QuotaExceeded) as error, budget.spend(input_tokens=401, max_output_tokens=0):
            raise AssertionError
        # Only a call on its way is in the way: it may end at any moment, but not at this one.
        assert error.value.retry_after == 1.0
        with budget.spend(input_tokens=400, max_output_tokens=0):
            pass

    async def main():
        with pytest.raises(QuotaExceeded):
            async with budget.spend(input_tokens=1, max_output_tokens=0):
                raise AssertionError
        assert [one.remaining for one in await budget.aremaining()] == [0]

    asyncio.run(main())


def test_a_block_is_used_once_and_says_what_it_sends():
    budget = TokenBudget("1000 tokens/day")
    spending = budget.spend(input_tokens=1, max_output_tokens=1)
    with spending:
        pass
    with pytest.raises(RuntimeError, match="once"), spending:
        pass
    with pytest.raises(ValueError, match="give the input"):
        budget.spend(model="m-1")
    with pytest.raises(ValueError, match="whole number"):
        budget.spend(input_tokens=-1)


def test_a_reset_gives_one_caller_the_whole_budget_back(ledger):
    budget = TokenBudget("1000 tokens/day", ledger=ledger)
    ada, bob = Principal("ada"), Principal("bob")
    for who in (ada, bob):
        with budget.spend(who, input_tokens=100, max_output_tokens=0):
            pass
    budget.reset(ada)
    assert state(budget, principal=ada) == [(0, 0)]
    assert state(budget, principal=bob) == [(100, 0)]


def test_a_budget_in_a_calendar_month_is_there_again_on_the_first(clock):
    clock.set_time(1_769_900_400.0)  # 2026-01-31T23:00:00Z
    budget = TokenBudget("1000 tokens/month", window="calendar", clock=clock, max_output_tokens=0)
    ask = budget(lambda prompt: reply(given=1000, taken=0))
    ask(PROMPT)
    with pytest.raises(QuotaExceeded) as error:
        ask(PROMPT)
    assert error.value.retry_after == 3600
    clock.advance(3600)
    ask(PROMPT)
