"""Compare ways of doing the same thing, in one interleaved run, on a machine that others use too.

A shared machine makes every second a different length, so nothing here is compared with a number of another run. The
cases of a table take turns, round after round, and what is printed is the median over the rounds of each round's
ratio to the first case. Where Linux lets a process count its own instructions, the ratio is of those: they repeat to
about one per cent where seconds repeat to thirty. Where nobody counts (most virtual machines, and any system but
Linux), the ratio is of the process's CPU time, the kernel's share included. Wall time decides only where the kernel or another process does the
work (a disk, a socket), since neither of the others sees that.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Literal

from benchmarks import _callgrind

#: The part that is being measured, when callgrind is to count its instructions.
PART = ""
#: Only tables whose title has this text are measured.
TABLE = ""

#: Rounds of a table, and the least time that one case runs in each.
ROUNDS = 9
SLICE_SECONDS = 0.02

# perf_event_open(2), and the fields of perf_event_attr that are not zero.
_SYSCALLS = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES_SIZE = 112
_HARDWARE, _INSTRUCTIONS = 0, 1
_INHERIT, _NO_KERNEL, _NO_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6


def _open_counter() -> int | None:
    """Return a descriptor that counts this process's user-mode instructions, and those of threads it starts."""
    number = _SYSCALLS.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return None
    attributes = bytearray(_ATTRIBUTES_SIZE)
    struct.pack_into("=IIQ", attributes, 0, _HARDWARE, _ATTRIBUTES_SIZE, _INSTRUCTIONS)
    struct.pack_into("=Q", attributes, 40, _INHERIT | _NO_KERNEL | _NO_HYPERVISOR)
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    this_process, any_cpu, no_group, no_flags = 0, -1, -1, 0
    descriptor = syscall(
        ctypes.c_long(number),
        ctypes.c_char_p(bytes(attributes)),
        this_process,
        any_cpu,
        no_group,
        ctypes.c_ulong(no_flags),
    )
    return descriptor if descriptor >= 0 else None


_COUNTER = _open_counter()


def instructions() -> int | None:
    """Return the user-mode instructions that this process has executed, or None where nobody counts them."""
    if _COUNTER is None:
        return None
    return int(struct.unpack("=Q", os.read(_COUNTER, 8))[0])


@dataclass(frozen=True)
class Goal:
    """What "good enough" means for one case.

    Attributes:
        at_most: The bound.
        of: Ratio to the first case of the table, or to the named case, or plain instructions.
        case: The case that the ratio is taken to; the first of the table when empty.
        at_least: Turns the bound round.
    """

    at_most: float
    of: Literal["ratio", "instructions"] = "ratio"
    case: str = ""

    def __str__(self) -> str:
        if self.of == "instructions":
            return f"<= {self.at_most / 1000:g} k instructions"
        return f"<= {self.at_most:g}x" + (f" of {self.case}" if self.case else "")


@dataclass(frozen=True)
class Case:
    """One way of doing it.

    Attributes:
        name: What is shown.
        many: Does it N times. `calls` makes one from a function.
        goal: For ours; peers have none.
    """

    name: str
    many: Callable[[int], object]
    goal: Goal | None = None


def calls(function: Callable[[], object]) -> Callable[[int], object]:
    """Return a loop round a function without arguments."""

    def many(times: int) -> None:
        for _ in repeat(None, times):
            function()

    return many


@dataclass
class Table:
    """Ways of doing the same thing; the first is the limit that the others are compared with.

    Attributes:
        title: What is done.
        cases: The limit, then peers, then ours.
        by: What ratios are taken of: ``work`` is instructions or else CPU time; ``wall`` is for work that the
            kernel or another process does.
        absent: Peers that are not installed.
        keep: What has to live as long as the table, such as a server.
    """

    title: str
    cases: list[Case] = field(default_factory=list)
    by: Literal["work", "wall"] = "work"
    absent: list[str] = field(default_factory=list)
    keep: object = None

    def add(self, name: str, function: Callable[[], object], goal: Goal | None = None) -> None:
        """Add a case from a function without arguments."""
        self.cases.append(Case(name, calls(function), goal))

    def prepared(
        self, name: str, prepare: Callable[[], Callable[[], object]], goal: Goal | None = None
    ) -> None:
        """Add a case that takes long to prepare; who measures another does not prepare it."""
        alone = _callgrind.alone()
        if alone is not None and alone[:2] != (self.title, name):
            return
        if TABLE in self.title:
            self.add(name, prepare(), goal)

    def peer(self, name: str, prepare: Callable[[], Callable[[], object]]) -> None:
        """Add a peer; ``prepare`` imports it, and an absent one is reported as absent."""
        try:
            self.prepared(name, prepare)
        except ImportError as err:
            self.absent.append(f"{name} ({err.name} is not installed)")


@dataclass(frozen=True)
class Line:
    """What was measured of one case.

    Attributes:
        name: Of the case.
        microseconds: Of one call, in the best round.
        instructions: Of one call, median; None where not counted.
        ratio: To the first case, median over the rounds.
        goal: As in the case, in words; empty without one.
        met: None without a goal, or when it could not be decided.
    """

    name: str
    microseconds: float
    instructions: float | None
    ratio: float
    goal: str = ""
    met: bool | None = None


def _slice(case: Case) -> int:
    """Return how often the case runs in `SLICE_SECONDS`."""
    case.many(1)  # warms caches, and pays what is lazy
    times = 1
    while True:
        begin = time.perf_counter()
        case.many(times)
        took = time.perf_counter() - begin
        if took >= SLICE_SECONDS / 4:
            return max(1, round(times * SLICE_SECONDS / took))
        times *= 2 if took <= 0 else max(2, min(16, int(SLICE_SECONDS / took / 2)))


def measure(table: Table, rounds: int = ROUNDS) -> list[Line]:
    """Run the cases of a table in turns, each round beginning with another one, and return a line each."""
    times = [_slice(case) for case in table.cases]
    seconds: list[list[float]] = [[] for _ in table.cases]
    busy: list[list[float]] = [[] for _ in table.cases]
    counts: list[list[float]] = [[] for _ in table.cases]
    gc.collect()
    for number in range(rounds):
        for position in range(len(table.cases)):
            which = (position + number) % len(table.cases)
            counted, cpu, begin = instructions(), time.process_time(), time.perf_counter()
            table.cases[which].many(times[which])
            seconds[which].append((time.perf_counter() - begin) / times[which])
            busy[which].append((time.process_time() - cpu) / times[which])
            if counted is not None:
                counts[which].append(((instructions() or 0) - counted) / times[which])
    if PART and not counts[0] and table.by == "work":
        known = _callgrind.per_call(
            PART, table.title, [(case.name, n) for case, n in zip(table.cases, times, strict=True)]
        )
        counts = [[count] for count in known]
    by = seconds if table.by == "wall" else counts if counts[0] else busy
    names = [case.name for case in table.cases]

    def ratio(which: int, to: int = 0) -> float:
        return statistics.median(mine / other for mine, other in zip(by[which], by[to], strict=True))

    lines = []
    for which, case in enumerate(table.cases):
        used = statistics.median(counts[which]) if counts[which] else None
        met = None
        if case.goal is not None:
            value = ratio(which, names.index(case.goal.case) if case.goal.case else 0)
            met = value <= case.goal.at_most
            if case.goal.of == "instructions":
                met = None if used is None else used <= case.goal.at_most
        lines.append(
            Line(case.name, min(seconds[which]) * 1e6, used, ratio(which), str(case.goal or ""), met)
        )
    return lines


def compare(table: Table, rounds: int = ROUNDS) -> bool:
    """Measure a table and print it; return whether no goal in it was missed."""
    alone = _callgrind.alone()
    if alone is not None:
        title, name, times = alone
        if title == table.title:
            next(case for case in table.cases if case.name == name).many(times)
            sys.stdout.flush()
            os._exit(0)
        return True
    if TABLE not in table.title:
        return True
    rows = measure(table, rounds)
    title, absent = table.title, table.absent
    ratio_of = (
        "wall time" if table.by == "wall" else "CPU time" if rows[0].instructions is None else "instructions"
    )
    print(f"\n{title}\n{'':<44}{'us':>10}{'instructions':>14}{'ratio':>8}  goal (ratio of {ratio_of})")
    for row in rows:
        counted = "-" if row.instructions is None else f"{row.instructions:,.0f}"
        verdict = {True: "met", False: "MISSED", None: "not decided" if row.goal else ""}[row.met]
        print(
            f"  {row.name:<42}{row.microseconds:>10.2f}{counted:>14}{row.ratio:>8.2f}  {row.goal:<34}{verdict}".rstrip()
        )
    for name in absent:
        print(f"  {name:<42}{'absent':>10}")
    sys.stdout.flush()
    return not any(row.met is False for row in rows)


def show_sizes(title: str, rows: Iterable[tuple[str, float, str, float | None]]) -> bool:
    """Print plain quantities: name, value, unit, and the most it may be; return whether every goal was met."""
    good = True
    print(f"\n{title}")
    for name, value, unit, at_most in rows:
        goal = "" if at_most is None else f"<= {at_most:g} {unit}"
        met = at_most is None or value <= at_most
        good = good and met
        print(
            f"  {name:<42}{value:>10.1f} {unit:<5}  {goal:<34}{'' if at_most is None else 'met' if met else 'MISSED'}".rstrip()
        )
    sys.stdout.flush()
    return good
