from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aisecure.decisions import Decision
from aisecure.quotas._fair_queue import FairQueue, State, Waiter
from aisecure.quotas._slots import Slots
from aisecure.testing import FrozenClock

WAIT = 10.0


def waiter(party, deadline=1e9):
    return Waiter(party, deadline, lambda: True)


def joined(queue, parties):
    waiters = [waiter(party) for party in parties]
    for each in waiters:
        queue.join(each, 0.0)
    return waiters


def served(queue):
    return list(iter(lambda: queue.next(0.0), None))


@given(st.lists(st.integers(0, 4), max_size=40))
def test_each_party_is_served_in_order_of_arrival(parties):
    queue = FairQueue(len(parties) or 1)
    waiters = joined(queue, parties)
    order = served(queue)
    for party in set(parties):
        assert [w for w in order if w.party == party] == [w for w in waiters if w.party == party]
    assert len(queue) == 0


@given(st.lists(st.integers(0, 4), max_size=40))
def test_no_party_is_served_twice_while_another_waits_once(parties):
    queue = FairQueue(len(parties) or 1)
    joined(queue, parties)
    order = [each.party for each in served(queue)]
    left = Counter(parties)
    rounds, seen = 0, Counter()
    while rounds < len(order):
        waiting = {party for party, count in left.items() if count}
        turn = order[rounds : rounds + len(waiting)]
        assert set(turn) == waiting  # one round serves everybody who waits, once
        left -= Counter(turn)
        seen += Counter(turn)
        rounds += len(turn)
    assert seen == Counter(parties)


def test_a_full_queue_refuses_one_who_would_hold_as_much_as_anybody():
    queue = FairQueue(2)
    joined(queue, ["a", "b"])
    late = waiter("c")
    assert queue.join(late, 0.0) is late
    assert late.state is State.REFUSED


def test_a_full_queue_takes_a_place_from_who_holds_most_of_it_and_the_latest_one():
    queue = FairQueue(4)
    first, second, third, other = joined(queue, ["heavy", "heavy", "heavy", "b"])
    light = waiter("light")
    assert queue.join(light, 0.0) is third
    assert third.state is State.REFUSED
    assert served(queue) == [first, other, light, second]


def test_a_place_is_not_taken_from_one_who_would_then_hold_less():
    queue = FairQueue(3)
    joined(queue, ["heavy", "heavy", "light"])
    again = waiter("light")
    assert queue.join(again, 0.0) is again


def test_one_whose_time_is_over_is_not_served_and_keeps_no_place():
    queue = FairQueue(1)
    gone, late = waiter("a", deadline=5.0), waiter("b", deadline=15.0)
    queue.join(gone, 0.0)
    assert queue.join(late, 5.0) is None
    assert (gone.state, len(queue)) == (State.OVERDUE, 1)
    assert queue.next(15.0) is None
    assert (late.state, len(queue)) == (State.OVERDUE, 0)


class SlotsOfOneKey(RuleBasedStateMachine):
    """Any order of coming, leaving, giving up and running late, against a plain account of who holds what."""

    each, places = 3, 5

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock()
        self.slots = Slots(self.each, self.places, WAIT, 10, clock=self.clock)
        self.running = []
        self.waiting = []  # in order of arrival
        self.woken = []
        self.ring = []  # parties that wait, the next one first
        self.dead = set()

    def settle_woken(self):
        for each in self.woken:
            if each.state is State.GRANTED:
                self.running.append(each.line)
        self.woken.clear()

    def note(self):
        """Check whose turn it was for each that is no longer waiting."""
        for each in [w for w in self.waiting if w.state is not State.WAITING]:
            self.waiting.remove(each)
        waiting = {w.party for w in self.waiting}
        self.ring = [party for party in self.ring if party in waiting]

    @rule(party=st.integers(0, 3), closed_loop=st.booleans())
    def come(self, party, closed_loop):
        before = list(self.waiting)
        got = []

        def wake():
            got_waiter = got[0]
            if closed_loop and got_waiter.state is State.GRANTED:
                return False
            self.woken.append(got_waiter)
            return True

        new = self.slots._join(("t", "k"), ("t", party), wake)
        got.append(new)
        if new.state is State.GRANTED:
            assert not before
            self.running.append(new.line)
            return
        lengths = Counter(w.party for w in before if w.state is State.WAITING)
        mine = lengths[new.party]
        if new.state is State.REFUSED:
            assert sum(lengths.values()) == self.places
            assert max(lengths.values()) <= mine + 1
            return
        refused = [w for w in before if w.state is State.REFUSED]
        for each in refused:
            same = [w for w in before if w.party == each.party]
            assert each is same[-1]
            assert len(same) == max(Counter(w.party for w in before).values()) > mine + 1
        self.waiting.append(new)
        if closed_loop:
            self.dead.add(new)
        # A party of which nobody waits any more lost its turn, also when it comes again in the same moment.
        still = {w.party for w in before if w.state is State.WAITING}
        self.ring = [party for party in self.ring if party in still]
        if new.party not in self.ring:
            self.ring.append(new.party)
        self.woken = [w for w in self.woken if w.state is not State.REFUSED]
        self.note()

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 10))
    def end(self, index):
        expected = self.expected()
        line = self.running.pop(index % len(self.running))
        self.slots.give_back(line)
        self.check_turn(expected)

    def expected(self):
        """Who is next: the first of the first party whose loop is alive; a dead one uses up its party's turn."""
        ring = list(self.ring)
        lines = {party: [w for w in self.waiting if w.party == party] for party in ring}
        now = self.clock.monotonic()
        for line in lines.values():
            line[:] = [w for w in line if w.deadline > now]
        ring = [party for party in ring if lines[party]]
        while ring:
            party = ring.pop(0)
            first = lines[party].pop(0)
            if lines[party]:
                ring.append(party)
            if first not in self.dead:
                return first, ring
        return None, []

    def check_turn(self, expected):
        first, ring = expected
        granted = [w for w in self.woken if w.state is State.GRANTED]
        assert granted == ([] if first is None else [first])
        self.settle_woken()
        self.note()
        self.ring = ring

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 10))
    def give_up(self, index):
        quitter = self.waiting[index % len(self.waiting)]
        self.slots._inbox.put(quitter)
        assert quitter.state is State.OVERDUE
        self.note()

    @precondition(lambda self: self.running and self.expected()[0] is not None)
    @rule(index=st.integers(0, 10))
    def end_while_the_next_gives_up(self, index):
        expected = self.expected()
        self.slots.give_back(self.running.pop(index % len(self.running)))
        self.woken.clear()
        self.note()
        self.ring = expected[1]
        after = self.expected()
        self.slots._inbox.put(expected[0])  # it was granted, and cancelled before it ran
        self.check_turn(after)

    @precondition(lambda self: self.waiting)
    @rule()
    def the_first_runs_out_of_time(self):
        first = self.waiting[0]
        assert isinstance(self.slots._outcome(first), Decision)
        self.note()

    @rule(seconds=st.sampled_from([1.0, WAIT / 2, WAIT]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @invariant()
    def no_slot_is_lost_and_none_is_made(self):
        line = self.slots.lines.get(("t", "k"))
        used = 0 if line is None else line.used
        assert used == len(self.running) <= self.each
        assert (0 if line is None else line.waiting) == len(self.waiting) <= self.places
        if self.waiting:
            assert used == self.each

    def teardown(self):
        while self.running:
            self.end(0)
        assert self.slots._busy == 0


TestSlotsOfOneKey = SlotsOfOneKey.TestCase
