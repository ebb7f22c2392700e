"""Budgets as a guard: what a call may cost at most is held before it, what it cost is booked after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from aisecure.call import Call
from aisecure.decisions import Decision, Finding
from aisecure.errors import Unavailable
from aisecure.events import Result, SecurityEvent, Usage
from aisecure.guard import Ending, Guard, Verdict
from aisecure.ports import Clock, EventSink, SystemClock, TextFilter, discard
from aisecure.principal import Principal
from aisecure.quotas._forks import start_empty_in_children
from aisecure.quotas.budgets.courier import DroppedError
from aisecure.quotas.budgets.ledger import (
    MAX_TTL_SECONDS,
    Answer,
    Bill,
    Expiry,
    Ledger,
    Reservation,
    Settled,
)
from aisecure.quotas.budgets.levels import Budget, Level, compile_levels
from aisecure.quotas.budgets.memory import MemoryLedger
from aisecure.quotas.budgets.notation import BudgetLimit, WindowKind
from aisecure.quotas.budgets.outcome import Failed, Outcome, Seen, outcome
from aisecure.quotas.budgets.spending import Spending
from aisecure.quotas.budgets.tariff import MAX_OUTPUT_TOKENS, Estimate, Models, Tariff
from aisecure.quotas.keys import By
from aisecure.quotas.prices import Price, Prices
from aisecure.quotas.tokens import TokenCounter, at_most
from aisecure.reply import read_reply
from aisecure.standing import Standing, wanted_standings

__all__ = ["TokenBudget"]

#: How long a refused call waits for what this process has spent less than it held, before it is refused for good.
_FLUSH_SECONDS = 1.0


class _Asked(NamedTuple):
    """What a call asks of the ledger.

    Attributes:
        levels: Which budgets concern it.
        estimate: What it may cost.
        reservation: What is to be held; None when nothing is.
        refusal: Why it must not begin, whatever the ledger says.
    """

    levels: tuple[Level, ...]
    estimate: Estimate
    reservation: Reservation | None
    refusal: Decision | None


@dataclass(slots=True)
class _Open:
    """A call on its way."""

    asked: _Asked
    reservation: Reservation
    unheld: bool = False
    seen: Seen = field(default_factory=Seen)


class TokenBudget(Guard):
    """Refuses a call when what it may cost at most has no room in a budget; a refused call spends nothing anywhere.

    Before the call its worst case is held in every budget that concerns it: the prompt as counted, and the longest
    answer it may get. After it, what was really used is booked: as the provider reported it, else as counted. What
    becomes of a call that fails, is cancelled or breaks off stands in :doc:`/explanation/budgets`.

    Args:
        budgets: ``"200k tokens/day; 50 USD/month"``; a `Budget` for each that counts for somebody else. All hold.
        by, across_tenants, soft, window: Of budgets that are written as text; see `Budget`.
        ledger: Where they are kept: a `MemoryLedger` by default, a `SqliteLedger`, a `RedisLedger`.
        prices: What models cost, for budgets of money; the shipped ones by default.
        models: Which model a call goes to, by resource or as a function of the call; ``model:x`` goes to x by default.
        count: Counts the tokens of a text; by default an upper bound that needs no tokenizer, about four times the
            truth for English.
        max_output_tokens: How long an answer may be when the request does not say. Only what the model obeys is a
            bound: put it in the request too.
        failed: Whether a call that raised is charged nothing, or all that it held. Timeouts are always charged: the
            provider may go on.
        warn_at: Part of each budget from which it is told that it runs out; None to tell nothing.
        ttl_seconds: How long a call may take. What is held for longer is released, or charged.
        on_expiry: Which of the two.
        clock: Time for the default ledger, and for events.
        events: Where it is told what calls were charged, and that budgets run out.
        name, on, shadow, on_unavailable: As for every `Guard`. Calls that pass all the same are counted too.

    Raises:
        ValueError: A budget is nonsense, stands there twice, or is in another currency than the prices.

    >>> @TokenBudget("500 tokens/day", max_output_tokens=100)
    ... def ask(prompt: str) -> str:
    ...     return "answer"
    >>> ask("question")
    'answer'
    """

    name = "budget"
    reads_usage = True

    def __init__(
        self,
        *budgets: str | BudgetLimit | Iterable[str | BudgetLimit] | Budget,
        by: By = "principal",
        across_tenants: bool = False,
        soft: bool = False,
        window: WindowKind = "sliding",
        ledger: Ledger | None = None,
        prices: Prices | None = None,
        models: Models | None = None,
        count: TokenCounter = at_most,
        max_output_tokens: int = MAX_OUTPUT_TOKENS,
        failed: Failed = "refund",
        warn_at: float | None = 0.8,
        ttl_seconds: float = 600.0,
        on_expiry: Expiry = "release",
        clock: Clock | None = None,
        events: EventSink = discard,
        name: str | None = None,
        on: str | Collection[str] = "*",
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        if ledger is not None and not isinstance(ledger, Ledger):
            raise TypeError(
                f"ledger is a MemoryLedger, SqliteLedger, RedisLedger or alike, not {type(ledger).__name__}"
            )
        if failed not in ("refund", "charge") or on_expiry not in ("release", "charge"):
            raise ValueError("failed is 'refund' or 'charge', on_expiry is 'release' or 'charge'")
        if warn_at is not None and not (_is_number(warn_at) and 0 < warn_at <= 1):
            raise ValueError("warn_at is a part of the budget, above 0 and at most 1, or None")
        if not (_is_number(ttl_seconds) and 0 < ttl_seconds <= MAX_TTL_SECONDS):
            raise ValueError(f"ttl_seconds is above 0 and at most {MAX_TTL_SECONDS}")
        if not budgets:
            raise ValueError('no budget was given; write one, such as "200k tokens/day"')
        self._levels = compile_levels(
            [
                each if isinstance(each, Budget) else Budget(each, by, "*", across_tenants, soft, window)
                for each in budgets
            ],
            self.name,
            warn_at,
        )
        self._tariff = Tariff(
            {level.limit.unit for level in self._levels},
            prices=prices,
            models=models,
            count=count,
            max_output_tokens=max_output_tokens,
        )
        self._clock = clock or SystemClock()
        self._events = events
        self.ledger: Ledger = MemoryLedger(clock=clock) if ledger is None else ledger
        self._failed: Failed = failed
        self._ttl_seconds = float(ttl_seconds)
        self._on_expiry: Expiry = on_expiry
        self.start_empty()
        start_empty_in_children(self)
        if self.ledger.over_network:
            self.abefore = self._abefore

    def __repr__(self) -> str:
        return (
            f"TokenBudget({'; '.join(str(level.limit) for level in self._levels)!r}, ledger={self.ledger!r})"
        )

    def start_empty(self) -> None:
        """Forget which calls are on their way, as a forked child has to: none of them is its own."""
        self._calls: dict[str, _Open] = {}

    # -- as a guard

    def before(self, call: Call) -> Verdict:
        """Hold what the call may cost; refuse it where there is no room."""
        if call.id in self._calls:  # the guard stands twice in one shield
            return None
        return self._begin(call, self._ask(call))

    async def _abefore(self, call: Call) -> Verdict:
        if call.id in self._calls:
            return None
        return await self._abegin(call, self._ask(call))

    def after(self, call: Call, output: Any) -> Verdict:
        """Count a whole output that does not tell its tokens."""
        begun = self._calls.get(call.id)
        if begun is not None:
            reply = read_reply(output)
            if reply is None or reply.usage is None:
                begun.seen.whole = self._tariff.of_output(output)
        return None

    def stream(self, call: Call) -> TextFilter | None:
        """Return a filter that counts and lets everything through."""
        begun = self._calls.get(call.id)
        return None if begun is None else _Tally(self._tariff, begun.seen)

    def settle(self, call: Call, ending: Ending) -> None:
        """Book what the call used, and give back the rest."""
        begun = self._calls.pop(call.id, None)
        if begun is None:
            return
        asked, lines = begun.asked, begun.reservation.lines
        found = outcome(asked.estimate, begun.seen, ending, self._failed)
        price = self._tariff.price_of(ending.model) or asked.estimate.price
        if found.basis == "reserved":
            amounts = tuple(line.amount for line in lines)
        elif found.usage is None:
            amounts = (0,) * len(lines)
        else:
            units = {line.account.limit.unit for line in lines}
            by_unit = {unit: self._tariff.amount(unit, found.usage, price) for unit in units}
            amounts = tuple(by_unit[line.account.limit.unit] for line in lines)
            if found.basis == "counted" and ending.usage is None:
                # An estimate is never above what was held: that was the worst case.
                amounts = tuple(min(amount, line.amount) for amount, line in zip(amounts, lines, strict=True))
        # Neither the prompt nor the credential waits with the bill.
        about = call.with_input(None).with_principal(call.principal)
        bill = Bill(begun.reservation, amounts, begun.unheld)
        self.ledger.post(bill, partial(self._booked, about, asked, found, price, ending.model, bill))

    # -- without a function to guard

    def spend(
        self,
        principal: Principal | None = None,
        *,
        model: str = "",
        resource: str = "",
        input: Any = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
    ) -> Spending:
        """Return a block that spends from the budgets, for a call that no function stands for.

        Args:
            principal: Who spends; whom `acting_as` names by default.
            model: To which the call goes.
            resource: What budgets and ``models`` look at; ``model:`` and the model by default.
            input: The prompt or request, to count; or
            input_tokens: Its tokens, when they are known.
            max_output_tokens: How long the answer may be; what the request says by default.

        >>> budget = TokenBudget("10k tokens/day")
        >>> with budget.spend(Principal("u-17"), model="m-1", input_tokens=200, max_output_tokens=500) as spending:
        ...     spending.usage = Usage(180, 320)
        >>> budget.remaining(Principal("u-17"), model="m-1")[0].remaining
        9500
        """
        call = self._call(principal, model, resource, input)
        if input_tokens is None and input is None:
            raise ValueError("give the input, or its input_tokens")
        return Spending(self, call, input_tokens, max_output_tokens)

    def begin(self, call: Call, prompt: int | None, answer: int | None) -> Verdict:
        """Do as `before`, for a call whose tokens may be known."""
        return self._begin(call, self._ask(call, prompt, answer))

    async def abegin(self, call: Call, prompt: int | None, answer: int | None) -> Verdict:
        """Do as `begin`, in a coroutine."""
        return await self._abegin(call, self._ask(call, prompt, answer))

    def remaining(
        self, principal: Principal | Call | None = None, *, model: str = "", resource: str = ""
    ) -> list[Standing]:
        """Return how much is left of each budget that concerns somebody's calls of a model; nothing is spent.

        Args:
            principal: Whose; or a call, which says all. Whom `acting_as` names by default.
            model: To which the calls go.
            resource: What budgets and ``models`` look at; ``model:`` and the model by default.

        Raises:
            Unavailable: The ledger could not answer.
        """
        levels, call = self._concerned(principal, model, resource)
        if self.ledger.pending:
            self.ledger.flush(_FLUSH_SECONDS)
        balances = self.ledger.balances([level.account(call) for level in levels])
        return [level.standing(balance) for level, balance in zip(levels, balances, strict=True)]

    async def aremaining(
        self, principal: Principal | Call | None = None, *, model: str = "", resource: str = ""
    ) -> list[Standing]:
        """Do as `remaining`, without blocking the event loop."""
        levels, call = self._concerned(principal, model, resource)
        await self._aflush()
        balances = await self.ledger.abalances([level.account(call) for level in levels])
        return [level.standing(balance) for level, balance in zip(levels, balances, strict=True)]

    def reset(
        self,
        principal: Principal | Call | None = None,
        *,
        model: str = "",
        resource: str = "",
        only: Collection[str] | None = None,
    ) -> list[str]:
        """Forget what somebody spent from each budget that concerns calls of a model; return their names.

        Args:
            principal: As for `remaining`.
            model: As there.
            resource: As there.
            only: Names of budgets, as their standings have them; all by default.

        Raises:
            Unavailable: The ledger could not answer.
        """
        concerned, call = self._concerned(principal, model, resource)
        levels = [level for level in concerned if only is None or level.name in only]
        self.ledger.flush(_FLUSH_SECONDS)
        self.ledger.reset([level.account(call) for level in levels])
        return [level.name for level in levels]

    @property
    def counts_are_shared(self) -> bool:
        """Whether other processes see the same sums."""
        return not isinstance(self.ledger, MemoryLedger)

    def health(self) -> dict[str, Any]:
        """Return the state of the ledger."""
        return self.ledger.health()

    def close(self) -> None:
        """Book what is waiting, and close the ledger's connections."""
        self.ledger.close()

    # -- the way of a call

    def _call(self, principal: Principal | Call | None, model: str, resource: str, input: Any = None) -> Call:
        from aisecure.call import current_context

        if isinstance(principal, Call):
            return principal
        call = current_context().call("invoke", resource or (f"model:{model}" if model else ""), input)
        return call if principal is None else call.with_principal(principal)

    def _concerned(
        self, principal: Principal | Call | None, model: str, resource: str
    ) -> tuple[list[Level], Call]:
        call = self._call(principal, model, resource)
        return [level for level in self._levels if level.concerns(call.resource)], call

    def _ask(self, call: Call, prompt: int | None = None, answer: int | None = None) -> _Asked:
        estimate = self._tariff.estimate(call, prompt=prompt, answer=answer)
        worst = self._tariff.worst(estimate)
        levels, lines, refusal = [], [], None
        for level in self._levels:
            if not level.concerns(call.resource):
                continue
            if level.limit.is_money and estimate.price is None:
                if not level.soft:
                    refusal = _unpriced(estimate.model, call.resource)
                continue
            amount = self._tariff.amount(level.limit.unit, worst, estimate.price)
            if not level.soft and amount > level.limit.amount and refusal is None:
                refusal = level.refuse_for_ever()
            levels.append(level)
            lines.append(level.line(call, amount, soft=self.shadow))
        reservation = None
        if lines:
            reservation = Reservation.of(lines, ttl_seconds=self._ttl_seconds, on_expiry=self._on_expiry)
        return _Asked(tuple(levels), estimate, reservation, refusal)

    def _begin(self, call: Call, asked: _Asked) -> Verdict:
        reservation = asked.reservation
        if reservation is None or (asked.refusal is not None and not self.shadow):
            return asked.refusal
        try:
            # Asked before: a bill may be booked between a refusal and the look whether there is one.
            pending = self.ledger.pending
            answer = self.ledger.reserve(reservation)
            if pending and not answer.held:
                # Calls of this process have ended, and what they did not use was on its way back.
                self.ledger.flush(_FLUSH_SECONDS)
                reservation = _again(reservation)
                answer = self.ledger.reserve(reservation)
        except Unavailable:
            self._let_pass_unheld(call, asked, reservation)
            raise
        return self._admit(call, asked, reservation, answer)

    async def _abegin(self, call: Call, asked: _Asked) -> Verdict:
        reservation = asked.reservation
        if reservation is None or (asked.refusal is not None and not self.shadow):
            return asked.refusal
        try:
            pending = self.ledger.pending
            answer = await self.ledger.areserve(reservation)
            if pending and not answer.held:
                await self._aflush()
                reservation = _again(reservation)
                answer = await self.ledger.areserve(reservation)
        except Unavailable:
            self._let_pass_unheld(call, asked, reservation)
            raise
        return self._admit(call, asked, reservation, answer)

    async def _aflush(self) -> None:
        if self.ledger.pending:
            from asyncio import get_running_loop

            await get_running_loop().run_in_executor(None, self.ledger.flush, _FLUSH_SECONDS)

    def _let_pass_unheld(self, call: Call, asked: _Asked, reservation: Reservation) -> None:
        if self.on_unavailable == "allow" or self.shadow:
            # It will run, and what it uses is booked once the ledger answers again.
            self._calls[call.id] = _Open(asked, reservation, unheld=True)

    def _admit(self, call: Call, asked: _Asked, reservation: Reservation, answer: Answer) -> Verdict:
        told = wanted_standings()
        if told is not None:
            told += [
                level.standing(balance)
                for level, balance in zip(asked.levels, answer.balances, strict=True)
                if balance is not None
            ]
        if answer.short is not None:
            return asked.levels[answer.short].refuse(answer.retry_after)
        self._calls[call.id] = _Open(asked, reservation)
        if self.shadow:
            return asked.refusal or _in_shadow(asked.levels, answer)
        return None

    # -- what is told

    def _booked(
        self,
        call: Call,
        asked: _Asked,
        found: Outcome,
        price: Price | None,
        answered: str,
        bill: Bill,
        settled: Settled | Exception,
    ) -> None:
        """Tell what became of a bill."""
        if self._events is discard:
            return
        if isinstance(settled, Exception):
            reason = "dropped" if isinstance(settled, DroppedError) else "unreachable"
            self._tell(call, "budget.unsettled", name=self.name, reason=reason)
            return
        reserved = found.basis == "reserved"
        usage = self._tariff.worst(asked.estimate) if reserved else found.usage or Usage()
        detail: dict[str, Any] = {"name": self.name, "basis": found.basis}
        cost = self._tariff.cost(usage, asked.estimate.price if reserved else price)
        if cost is not None:
            detail |= {"cost": f"{cost:f}", "currency": self._tariff.currency}
        self._record(call, "budget.charged", detail, model=answered or asked.estimate.model, usage=usage)
        if not any(entry.known for entry in settled) and any(bill.amounts):
            self._tell(call, "budget.unsettled", name=self.name, reason="late")
        units = set()
        for level, line, amount, entry in zip(
            asked.levels, bill.reservation.lines, bill.amounts, settled, strict=True
        ):
            limit = level.limit
            if amount > line.amount and limit.unit not in units:
                units.add(limit.unit)
                self._tell(
                    call,
                    "budget.overdrawn",
                    name=level.name,
                    unit=limit.unit,
                    reserved=_plain(limit, line.amount),
                    used=_plain(limit, amount),
                )
            for mark in entry.marks:
                detail = {
                    "name": level.name,
                    "unit": limit.unit,
                    "used": _plain(limit, entry.balance.used),
                    "limit": _plain(limit, limit.amount),
                    "window_seconds": limit.seconds,
                }
                self._record(call, level.marks[mark], detail)

    def _tell(self, call: Call, type_: str, **detail: Any) -> None:
        self._record(call, type_, detail, result=Result.FAILURE)

    def _record(self, call: Call, type_: str, detail: dict[str, Any], **fields: Any) -> None:
        event = SecurityEvent.about(call, type_, time=self._clock.time(), detail=detail, **fields)
        self._events.record(event)


class _Tally:
    """A filter that counts the text of a stream and lets it through."""

    findings: tuple[Finding, ...] = ()

    def __init__(self, tariff: Tariff, seen: Seen) -> None:
        self._count = tariff.of_text
        self._seen = seen

    def feed(self, chunk: str) -> str:
        if chunk:
            self._seen.streamed += self._count(chunk)
        return chunk

    def finish(self) -> str:
        return ""


def _in_shadow(levels: tuple[Level, ...], answer: Answer) -> Decision | None:
    """Return the refusal that a call would have met; in shadow mode it is held all the same."""
    for level, balance in zip(levels, answer.balances, strict=True):
        if not level.soft and balance is not None and balance.used + balance.held > level.limit.amount:
            return level.refuse(answer.retry_after)
    return None


def _again(reservation: Reservation) -> Reservation:
    return Reservation.of(
        reservation.lines, ttl_seconds=reservation.ttl_seconds, on_expiry=reservation.on_expiry
    )


def _unpriced(model: str, resource: str) -> Decision:
    if not model:
        return Decision.deny(
            "quota.unpriced",
            f"Nobody said which model {resource[:100]!r} goes to, so it has no price; name it in models={{...}}.",
        )
    return Decision.deny(
        "quota.unpriced", f"The price of the model {model[:100]!r} is unknown; add it to the prices."
    )


def _plain(limit: BudgetLimit, amount: int) -> int | str:
    """Return an amount for an event: money as text, since JSON's numbers are not exact."""
    return f"{limit.public(amount):f}" if limit.is_money else amount


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
