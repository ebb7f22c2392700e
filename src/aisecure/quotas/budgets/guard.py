"""Budgets of tokens and money as a guard: the worst case is reserved before a call, and settled after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.events import Result, SecurityEvent, Usage
from aisecure.guard import Ending, Guard, Verdict
from aisecure.ports import Clock, EventSink, SystemClock, TextFilter, discard
from aisecure.quotas.budgets.ledger import Ledger, Line, Reservation, Shortage, State
from aisecure.quotas.budgets.memory import MemoryLedger
from aisecure.quotas.budgets.notation import Amount, Window, parse_budget
from aisecure.quotas.budgets.settler import Settler
from aisecure.quotas.budgets.spending import Counting, Spending, units_of, worst_units_of
from aisecure.quotas.keys import By, Key, key_function, label_of, resources_of
from aisecure.quotas.prices import Price, Prices
from aisecure.quotas.store import EVERYBODY
from aisecure.quotas.tokens import TokenCounter, at_most, input_tokens, output_limit
from aisecure.reply import read_reply
from aisecure.standing import Standing, wanted_standings

__all__ = ["Budget", "TokenBudget"]

#: Accounts of which is remembered that they were warned.
_WARNED = 10_000


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget of a guard that has several.

    Attributes:
        budget: ``"200k tokens/day; 50 USD/month"``, or as `parse_budget` takes it.
        by: Whose it is, inside a tenant: see `Limit`.
        on: Resources that it concerns, as shell patterns.
        across_tenants: One budget for all tenants. On a Redis Cluster that is a second round trip.
        soft: Refuse nothing; say ``budget.exceeded`` when it is used up.
        window: ``sliding``: no stretch of time as long as the period holds more; what was spent comes back at most a
            sixtieth of the period late. ``calendar``: the budget of an hour, day, month or year of the calendar, in UTC.
        name: Separates its sums from others; the guard's name by default.
    """

    budget: str | Amount | Iterable[str | Amount]
    by: By = "principal"
    on: str | Collection[str] = "*"
    across_tenants: bool = False
    soft: bool = False
    window: Window = "sliding"
    name: str = ""


class _Rule(NamedTuple):
    """A budget, ready to be asked."""

    name: str
    amounts: tuple[Amount, ...]
    key: Callable[[Call], Key]
    on: tuple[str, ...]
    everybody: bool
    soft: bool

    def lines(self, call: Call) -> Iterator[Line]:
        subject = (EVERYBODY if self.everybody else call.principal.tenant, *self.key(call))
        for amount in self.amounts:
            yield Line(self.name, amount, subject, self.soft)


class TokenBudget(Guard):
    """Refuses a call whose worst case no longer fits; afterwards charges what it really used.

    The worst case is the counted prompt and the longest answer. It is reserved from every budget that concerns the call,
    all or none, so that any number of calls at once cannot spend more than there is. It is settled from the usage that the
    provider reports, also for streams; without a report from what was counted on the way. A call that never began costs
    nothing; one that failed costs nothing either, unless ``on_failure="charge"``; after a timeout or a cancellation with
    nothing seen all of the reservation stays charged. Usage beyond the reservation is charged too, and told
    (``budget.overdrawn``): the promise is exact as far as `max_output_tokens` and the count are bounds.

    Args:
        budgets: All of them hold: texts such as ``"200k tokens/day; 50 USD/month"``, or a `Budget` each.
        by, across_tenants, window: Of the budgets that are no `Budget` themselves; see there.
        ledger: Where sums are kept; this process by default. A `SqliteLedger` survives restarts and is shared by the
            processes of a machine; a `RedisLedger` is shared by all.
        prices: What tokens cost; `Prices.shipped` when a budget counts money.
        models: The model behind a resource, by resource: ``{"model:support-bot": "gpt-4o-mini"}``; otherwise the resource
            without ``model:``.
        count: Tokens of a text. By default the number of its bytes, which is no less for any byte-level tokenizer, and
            about five times as many for English.
        max_output_tokens: The longest answer, where the input does not say. Give the same to the provider.
        warn_at: The part of a budget at which ``budget.warning`` is told, once a window; None for never.
        ttl_seconds: How long a reservation holds that nobody settles, because its process was killed.
        on_expiry: What follows then: ``release`` gives it back, ``charge`` keeps it charged.
        on_failure: ``charge`` charges the prompt of a call that failed.
        clock: Time for the default ledger and for events.
        events: Where warnings go.
        name, on, shadow, on_unavailable: As for every `Guard`. In shadow mode what would be refused is not reserved.

    Raises:
        ValueError: A budget is nonsense, a number out of range, or a currency that the prices are not in.

    >>> @TokenBudget("2000 tokens/day", max_output_tokens=100)
    ... def ask(prompt: str) -> str:
    ...     return prompt.upper()
    >>> ask("hello")
    'HELLO'
    """

    name = "token_budget"
    reads_usage = True

    def __init__(
        self,
        *budgets: str | Amount | Budget,
        by: By = "principal",
        on: str | Collection[str] = "*",
        across_tenants: bool = False,
        window: Window = "sliding",
        ledger: Ledger | None = None,
        prices: Prices | None = None,
        models: Mapping[str, str] | None = None,
        count: TokenCounter = at_most,
        max_output_tokens: int = 4096,
        warn_at: float | None = 0.8,
        ttl_seconds: float = 600.0,
        on_expiry: Literal["release", "charge"] = "release",
        on_failure: Literal["refund", "charge"] = "refund",
        clock: Clock | None = None,
        events: EventSink = discard,
        name: str | None = None,
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        if not budgets:
            raise ValueError('no budget was given; write one, such as "200k tokens/day"')
        if ledger is not None and not isinstance(ledger, Ledger):
            raise TypeError(
                f"ledger is a MemoryLedger, SqliteLedger or RedisLedger, not {type(ledger).__name__}"
            )
        if type(max_output_tokens) is not int or max_output_tokens < 0:
            raise ValueError("max_output_tokens is a whole number, 0 or more")
        if not ttl_seconds > 0 or (warn_at is not None and not 0 < warn_at <= 1):
            raise ValueError("ttl_seconds is above 0, and warn_at above 0 and at most 1, or None")
        if on_expiry not in ("release", "charge") or on_failure not in ("refund", "charge"):
            raise ValueError("on_expiry is 'release' or 'charge', on_failure is 'refund' or 'charge'")
        self.ledger: Ledger = MemoryLedger(clock=clock) if ledger is None else ledger
        self.max_output_tokens = max_output_tokens
        self._clock = clock or SystemClock()
        self._events = events
        self._count = count
        self._models = dict(models or {})
        self._warn_at = warn_at
        self._failures_cost = on_failure == "charge"
        self._rules = tuple(
            self._rule(
                budget
                if isinstance(budget, Budget)
                else Budget(budget, by, across_tenants=across_tenants, window=window)
            )
            for budget in budgets
        )
        self._check_distinct()
        longest = max(amount.seconds for rule in self._rules for amount in rule.amounts)
        # What stays charged is held until its window has passed anyway.
        self._ttl_seconds = ttl_seconds if on_expiry == "release" else max(ttl_seconds, 2.0 * longest)
        self._prices = self._priced(prices)
        self._open: dict[str, Spending] = {}
        self._warned: dict[tuple[Any, ...], float] = {}
        self._settler = Settler(self._unsettled, always_behind=self.ledger.over_network)
        if self.ledger.over_network:
            self.abefore = self._abefore

    def _rule(self, budget: Budget) -> _Rule:
        key = key_function(budget.by)
        on = resources_of(budget.by, budget.on)
        return _Rule(
            f"{budget.name or self.name}:{label_of(budget.by)}{'*' if budget.across_tenants else ''}",
            parse_budget(budget.budget, window=budget.window),
            key,
            (on,) if isinstance(on, str) else tuple(on),
            budget.across_tenants,
            budget.soft,
        )

    def _check_distinct(self) -> None:
        seen = set()
        for rule in self._rules:
            for amount in rule.amounts:
                if (rule.name, amount.id) in seen:
                    raise ValueError(
                        f"two budgets are called {rule.name!r} and count the same; rename one or drop it"
                    )
                seen.add((rule.name, amount.id))

    def _priced(self, prices: Prices | None) -> Prices | None:
        currencies = {amount.unit for rule in self._rules for amount in rule.amounts if amount.is_money}
        if not currencies:
            return prices
        prices = Prices.shipped() if prices is None else prices
        for currency in currencies - {prices.currency}:
            raise ValueError(
                f"a budget counts {currency} and the prices are in {prices.currency}; give prices in {currency}"
            )
        return prices

    # -- a call

    def before(self, call: Call) -> Verdict:
        """Reserve the worst case; refuse the call when it does not fit."""
        asked = self._ask(call)
        if not isinstance(asked, _Asked):
            return asked
        return self._answer(call, asked, self.ledger.reserve(asked.lines, asked.amounts, self._ttl_seconds))

    async def _abefore(self, call: Call) -> Verdict:
        asked = self._ask(call)
        if not isinstance(asked, _Asked):
            return asked
        answer = await self.ledger.areserve(asked.lines, asked.amounts, self._ttl_seconds)
        return self._answer(call, asked, answer)

    def after(self, call: Call, output: Any) -> Verdict:
        """Count an answer that came whole; its usage is settled from, where there is any."""
        spending = self._open.get(call.id)
        if spending is not None:
            reply = read_reply(output)
            if reply is None or reply.usage is None:
                spending.see(output)
        return None

    def stream(self, call: Call) -> TextFilter | None:
        """Return what counts the text of a streamed answer."""
        spending = self._open.get(call.id)
        return None if spending is None else Counting(spending)

    def settle(self, call: Call, ending: Ending) -> None:
        """Charge what the call used, and give back the rest."""
        spending = self._open.pop(call.id, None)
        if spending is not None:
            self._settle(call, spending, ending)

    @contextmanager
    def spend(self, call: Call) -> Iterator[Spending]:
        """Reserve for a call that is made by hand, and settle it: from ``spending.usage``, when that is set in the block.

        Raises:
            QuotaExceeded: It does not fit.
            Unavailable: The ledger could not answer.

        >>> from aisecure import Call, Principal
        >>> from aisecure.events import Usage
        >>> budget = TokenBudget("1000 tokens/day", max_output_tokens=200)
        >>> call = Call(Principal("u-17"), "invoke", "model:m", "How much is it?")
        >>> with budget.spend(call) as spending:
        ...     spending.usage = Usage(12, 30)
        >>> budget.remaining(call)[0].used
        42
        """
        verdict = self.before(call)
        if isinstance(verdict, Decision):
            verdict.require()
        spending = self._open.pop(call.id, None)
        if spending is None:  # no budget concerns the call
            yield Spending(Reservation("", (), (), (), ()), "", None, Usage(), self._count)
            return
        ending = Ending("call.cancelled")
        try:
            yield spending
            ending = Ending("call.allowed")
        except Exception as err:
            ending = Ending("call.failed", error_type=type(err).__name__)
            raise
        finally:
            self._settle(call, spending, ending)

    # -- people

    def remaining(self, call: Call) -> list[Standing]:
        """Return how much is left of each budget that concerns a call; nothing is spent.

        Raises:
            Unavailable: The ledger could not answer.
        """
        lines = self._lines(call)
        return [_standing(line, state) for line, state in zip(lines, self.ledger.look(lines), strict=True)]

    def reset(self, call: Call) -> list[str]:
        """Forget what was spent from the budgets that concern a call; return their names.

        Raises:
            Unavailable: The ledger could not answer.
        """
        lines = self._lines(call)
        self.ledger.reset(lines)
        return [line.name for line in lines]

    def health(self) -> dict[str, Any]:
        """Return the state of the ledger, and how many settlements wait for it."""
        return {**self.ledger.health(), "unsettled": self._settler.waiting}

    def flush(self) -> None:
        """Wait until what is being settled in the background has reached the ledger, or failed to."""
        self._settler.flush()

    def close(self) -> None:
        """Deliver what is to be settled, and close the ledger's connections."""
        self.flush()
        self.ledger.close()

    # -- before

    def _lines(self, call: Call) -> list[Line]:
        return [
            line
            for rule in self._rules
            if any(fnmatchcase(call.resource, pattern) for pattern in rule.on)
            for line in rule.lines(call)
        ]

    def _ask(self, call: Call) -> _Asked | Decision | None:
        lines = self._lines(call)
        if not lines:
            return None
        worst = Usage(
            input_tokens(call.input, count=self._count), output_limit(call.input, self.max_output_tokens)
        )
        model = self._model(call.resource)
        price = self._prices.of(model) if self._prices is not None else None
        if price is None and any(line.limit.is_money for line in lines):
            return Decision.deny(
                "quota.unpriced",
                f"There is no price for the model {model[:80]!r}, so its cost cannot be bounded.",
            )
        amounts = [worst_units_of(line.limit, worst, price) for line in lines]
        for line, amount in zip(lines, amounts, strict=True):
            if amount > line.limit.units and not line.soft:
                return Decision.deny(
                    "quota.cost",
                    f"The call may use {_text(line.limit, amount)}, more than the whole budget of {line.limit}.",
                )
        return _Asked(lines, amounts, model, price, worst)

    def _answer(self, call: Call, asked: _Asked, answer: Reservation | Shortage) -> Verdict:
        if isinstance(answer, Shortage):
            short = asked.lines[answer.line].limit
            return Decision.deny(
                "quota.budget",
                f"The budget of {short} has no room for the {_text(short, asked.amounts[answer.line])} "
                "that the call may use.",
                retry_after=answer.retry_after,
            )
        self._open[call.id] = Spending(answer, asked.model, asked.price, asked.worst, self._count)
        tell = wanted_standings()
        if tell is not None:
            tell += [_standing(line, state) for line, state in zip(answer.lines, answer.states, strict=True)]
        if answer.expired:
            self._record(call, "budget.expired", {"budget": self.name, "reservations": answer.expired})
        return None

    def _model(self, resource: str) -> str:
        return self._models.get(resource) or resource.removeprefix("model:")

    # -- after

    def _settle(self, call: Call, spending: Spending, ending: Ending) -> None:
        usage, estimated = spending.settled(ending, failures_cost=self._failures_cost)
        reservation, price = spending.reservation, spending.price
        if self._prices is not None and ending.model and not estimated:
            price = self._prices.of(ending.model) or price
        amounts = [units_of(line.limit, usage, price) for line in reservation.lines]

        def deliver() -> None:
            states = self.ledger.settle(reservation, amounts)
            for line, amount, state in zip(reservation.lines, amounts, states, strict=True):
                self._watch(call, line, amount, state)

        over = [
            (line, amount - held)
            for line, amount, held in zip(reservation.lines, amounts, reservation.amounts, strict=True)
            if amount > held
        ]
        for line, amount in over:
            more = str(line.limit.shown(amount))
            self._record(
                call, "budget.overdrawn", {"budget": line.name, "unit": line.limit.unit, "amount": more}
            )
        if estimated:
            tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
            self._record(call, "budget.estimated", {"budget": self.name, **tokens})
        if self.ledger.is_shared:
            self._settler.submit(deliver)
        else:
            deliver()

    def _watch(self, call: Call, line: Line, amount: int, state: State) -> None:
        """Tell, once a window, that a budget is nearly used up, or that a soft one is."""
        limit = line.limit.units
        detail = {
            "budget": line.name,
            "unit": line.limit.unit,
            "limit": str(line.limit.shown(limit)),
            "used": str(line.limit.shown(state.used)),
        }
        if (
            self._warn_at is not None
            and state.used >= self._warn_at * limit
            and self._is_news(line, "warning")
        ):
            self._record(call, "budget.warning", detail)
        if line.soft and state.used > limit and self._is_news(line, "exceeded"):
            self._record(call, "budget.exceeded", detail)

    def _is_news(self, line: Line, what: str) -> bool:
        key, now = (line.name, line.limit.id, line.subject, what), self._clock.monotonic()
        # Without a lock, which the garbage collector might ask for again while it is held: at worst it is told twice.
        if now < self._warned.get(key, 0.0):
            return False
        if len(self._warned) >= _WARNED:
            self._warned.clear()
        self._warned[key] = now + line.limit.seconds
        return True

    def _unsettled(self, waiting: int, dropped: bool) -> None:  # noqa: FBT001  (called by the settler alone)
        detail = {"budget": self.name, "waiting": waiting, "dropped": dropped}
        event = SecurityEvent(
            "budget.unsettled", time=self._clock.time(), result=Result.FAILURE, detail=detail
        )
        self._events.record(event)

    def _record(self, call: Call, event_type: str, detail: dict[str, Any]) -> None:
        self._events.record(SecurityEvent.about(call, event_type, time=self._clock.time(), detail=detail))


class _Asked(NamedTuple):
    """What a call asks of a ledger."""

    lines: list[Line]
    amounts: list[int]
    model: str
    price: Price | None
    worst: Usage


def _text(limit: Amount, units: int) -> str:
    shown = limit.shown(units)
    number = str(shown) if isinstance(shown, int) else f"{shown.normalize():f}"
    return f"{number} {limit.unit}"


def _standing(line: Line, state: State) -> Standing:
    limit = line.limit
    return Standing(
        line.name,
        limit.shown(limit.units),
        limit.seconds,
        limit.shown(max(0, limit.units - state.used)),
        state.reset_seconds,
        limit.unit,
        limit.shown(state.used),
        limit.shown(state.reserved),
    )
