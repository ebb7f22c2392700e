"""A policy that is changed while it is asked."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import casbin
import pytest
from casbin.persist.adapters import FileAdapter
from casbin.persist.adapters.string_adapter import StringAdapter
from hypothesis import given
from hypothesis import strategies as st

from aisecure.access import AccessGuard, Authorizer, PolicyRows, PolicyText
from aisecure.access._sources import Fixed
from aisecure.call import acting_as
from aisecure.errors import Misconfigured, Unavailable
from aisecure.notices import LocalNotices
from aisecure.principal import Principal
from aisecure.testing import FrozenClock, capture_events

READ = ("editor", "*", "document:*", "read", "allow")
POLICY = "# who may read\np, editor, *, document:*, read, allow\n\ng, ann, editor, acme\n"
ANN = Principal("ann", tenant="acme")


@pytest.fixture
def often():
    """Let threads take turns a thousand times as often: more ways to meet, and no thread waits long."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def may(authorizer: Authorizer, action: str = "read") -> bool:
    return authorizer.decide(ANN, action, "document:1").allowed


@pytest.fixture(params=["text", "file"])
def authorizer(request, tmp_path):
    if request.param == "text":
        return Authorizer.from_text(policy=POLICY)
    path = tmp_path / "policy.csv"
    path.write_text(POLICY)
    return Authorizer.from_files(None, path, reload_seconds=None)


class TestOneChange:
    def test_decides_as_soon_as_it_is_made(self, authorizer):
        before = authorizer.version
        assert authorizer.add_policy("editor", "*", "document:*", "write", "allow")
        assert may(authorizer, "write")
        assert authorizer.version != before
        assert authorizer.remove_policy(*READ)
        assert not may(authorizer)

    def test_reaches_role_links_too(self, authorizer):
        assert authorizer.remove_grouping_policy("ann", "editor", "acme")
        assert not may(authorizer)
        assert authorizer.add_grouping_policy("ann", "editor", "acme")
        assert may(authorizer)

    def test_that_says_nothing_new_changes_nothing(self, authorizer):
        before = authorizer.version
        assert not authorizer.add_policy(*READ)
        assert not authorizer.remove_policy("nobody", "*", "document:*", "read", "allow")
        assert authorizer.version == before

    def test_is_all_or_nothing(self, authorizer):
        before = authorizer.version
        with pytest.raises(Misconfigured):
            authorizer.change(
                add=[("p", "editor", "*", "document:*", "write", "allow"), ("p", "too", "short")],
                remove=[("p", *READ)],
            )
        assert authorizer.version == before
        assert may(authorizer)
        assert not may(authorizer, "write")

    @pytest.mark.parametrize(
        "rule",
        [
            ("editor", "*", "document:*", "write", "perhaps"),
            ("editor", "*", "doc*ument:*", "write", "allow"),
            ("editor", "*", "", "write", "allow"),
            ("editor", "*", "document:\0", "write", "allow"),
            ("editor", "*", "document:\ud800", "write", "allow"),
        ],
    )
    def test_that_would_make_the_policy_unusable_is_refused(self, authorizer, rule):
        with pytest.raises((Misconfigured, ValueError)):
            authorizer.add_policy(*rule)
        assert may(authorizer)

    @pytest.mark.parametrize("field", ["a, b", "a\nb", ' "a"', "a ", "#", "a\n#", "[a"])
    def test_whose_fields_no_policy_file_can_hold_is_refused(self, authorizer, field):
        before = authorizer.rules
        try:
            authorizer.add_policy(field, "*", "document:*", "write", "allow")
        except (ValueError, Misconfigured):
            assert authorizer.rules == before
        else:
            assert authorizer.remove_policy(field, "*", "document:*", "write", "allow")

    @pytest.mark.parametrize(
        ("lines", "error"),
        [
            (["p"], TypeError),
            ([("p",)], ValueError),
            ([("p", 1)], TypeError),
            ([["p", None]], TypeError),
            (["pab"], TypeError),
        ],
    )
    def test_of_no_line_is_a_mistake(self, authorizer, lines, error):
        with pytest.raises(error):
            authorizer.change(add=lines)

    def test_to_both_add_and_remove_a_line_is_a_mistake(self, authorizer):
        line = ("p", "x", "*", "y", "z", "allow")
        with pytest.raises(ValueError, match="to be added and to be removed"):
            authorizer.change(add=[line], remove=[line])

    def test_is_told_with_who_made_it_and_no_names_of_the_policy(self):
        with capture_events() as events:
            authorizer = Authorizer.from_text(policy=POLICY, events=events)
            with acting_as(Principal("root", tenant="ops")):
                authorizer.add_policy("marker-role", "*", "document:*", "write", "allow")
        changed = events.of_type("policy.changed")[0]
        assert (changed.principal, changed.tenant) == ("root", "ops")
        assert changed.detail == {"version": authorizer.version, "added": 1, "removed": 0}
        assert "marker-role" not in repr(events)

    def test_keeps_the_comments_and_the_mode_of_a_file(self, tmp_path):
        path = tmp_path / "policy.csv"
        path.write_text(POLICY)
        path.chmod(0o640)
        authorizer = Authorizer.from_files(None, path)
        authorizer.change(add=[("g", "bob", "editor", "acme")], remove=[("g", "ann", "editor", "acme")])
        assert path.read_text() == (
            "# who may read\np, editor, *, document:*, read, allow\n\ng, bob, editor, acme\n"
        )
        assert path.stat().st_mode & 0o777 == 0o640

    def test_follows_a_link_to_the_file(self, tmp_path):
        real, link = tmp_path / "real.csv", tmp_path / "policy.csv"
        real.write_text(POLICY)
        link.symlink_to(real)
        Authorizer.from_files(None, link).add_grouping_policy("bob", "editor", "acme")
        assert link.is_symlink()
        assert "bob" in real.read_text()

    def test_of_a_policy_that_is_only_read_says_where_to_change_it(self):
        class Book:
            def stamp(self):
                return 0

            def read(self):
                return PolicyText(None, POLICY), 0

        with pytest.raises(Misconfigured, match="only be read"):
            Authorizer(Book()).add_policy(*READ)

    def test_does_not_write_over_a_policy_that_was_refused(self, tmp_path):
        path = tmp_path / "policy.csv"
        path.write_text(POLICY)
        authorizer = Authorizer.from_files(None, path)
        path.write_text(POLICY + "p, half a li")
        with pytest.raises(Misconfigured):
            authorizer.reload()
        with pytest.raises(Misconfigured, match="line 5"):
            authorizer.add_policy("editor", "*", "document:*", "write", "allow")
        assert path.read_text().endswith("half a li")
        assert authorizer.refused
        assert may(authorizer)

    def test_can_be_read_back_and_moved_to_another_source(self, authorizer):
        assert authorizer.lines() == [("p", *READ), ("g", "ann", "editor", "acme")]
        other = Authorizer.from_text(policy="")
        other.change(add=authorizer.lines())
        assert other.lines() == authorizer.lines()
        assert may(other)

    def test_builds_on_what_others_changed_meanwhile(self, tmp_path):
        path = tmp_path / "policy.csv"
        path.write_text(POLICY)
        one, two = (Authorizer.from_files(None, path, reload_seconds=None) for _ in range(2))
        one.add_policy("editor", "*", "document:*", "write", "allow")
        two.add_policy("editor", "*", "document:*", "delete", "allow")
        assert may(two, "write")
        one.reload()
        assert may(one, "delete")


class TestManyThreads:
    def test_never_see_a_mix_of_two_versions(self, often):
        """Ann may read exactly in the versions in which she may write: a mix would show as one without the other."""
        authorizer = Authorizer.from_text(policy=POLICY)
        write = ("p", "editor", "*", "document:*", "write", "allow")
        authorizer.change(add=[write])
        done = threading.Event()

        def ask(_number: int) -> list[tuple[bool, bool]]:
            seen = []
            while not done.is_set():
                version = authorizer.snapshot
                seen.append(
                    (
                        version.decide(ANN, "read", "document:1").allowed,
                        version.decide(ANN, "write", "document:1").allowed,
                    )
                )
            return seen

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, number) for number in range(8)]
            try:
                for number in range(200):
                    lines = [("p", *READ), write]
                    authorizer.change(**{"remove" if number % 2 == 0 else "add": lines})
            finally:
                done.set()
            answers = {answer for future in asked for answer in future.result()}
        assert answers <= {(True, True), (False, False)}
        assert may(authorizer)

    def test_that_change_it_lose_nothing(self, authorizer):
        def add(number: int) -> None:
            for step in range(5):
                authorizer.add_grouping_policy(f"user-{number}-{step}", "editor", "acme")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(8)))
        assert all(
            authorizer.decide(Principal(f"user-{n}-{step}", tenant="acme"), "read", "document:1").allowed
            for n in range(8)
            for step in range(5)
        )


class Flaky(LocalNotices):
    """Notices whose server may be down."""

    down = False

    def version(self, topic: str) -> int:
        if self.down:
            raise Unavailable("no answer")
        return super().version(topic)

    def publish(self, topic: str) -> int:
        if self.down:
            raise Unavailable("no answer")
        return super().publish(topic)


class TestNotices:
    def test_a_change_by_one_authorizer_is_seen_by_the_other(self):
        notices, clock = LocalNotices(), FrozenClock()
        adapter = StringAdapter(POLICY)
        one, two = (
            Authorizer.from_adapter(None, adapter, notices=notices, reload_seconds=1, clock=clock)
            for _ in range(2)
        )
        adapter.line = POLICY + "p, editor, *, document:*, write, allow\n"
        clock.advance(2)
        assert not may(two, "write")
        notices.publish("access.policy")
        clock.advance(2)
        assert may(one, "write")
        assert may(two, "write")

    def test_a_source_that_does_not_answer_leaves_the_last_version_and_is_told_once(self):
        notices, clock = Flaky(), FrozenClock()
        with capture_events() as events:
            authorizer = Authorizer.from_adapter(
                None, StringAdapter(POLICY), notices=notices, reload_seconds=1, clock=clock, events=events
            )
            guard = AccessGuard(authorizer)
            notices.down = True
            for _ in range(3):
                clock.advance(2)
                assert may(authorizer)
            assert len(events.of_type("policy.unseen")) == 1
            assert guard.health()["ok"] is False
            assert authorizer.unseen_seconds > 0
            notices.down = False
            clock.advance(2)
            assert may(authorizer)
        assert authorizer.unseen_seconds == 0
        assert guard.health()["ok"] is True

    def test_that_do_not_answer_at_the_start_are_caught_up_with(self):
        notices, clock, adapter = Flaky(), FrozenClock(), StringAdapter(POLICY)
        notices.down = True
        with capture_events() as events:
            authorizer = Authorizer.from_adapter(
                None, adapter, notices=notices, reload_seconds=1, clock=clock, events=events
            )
        assert events.types == ["policy.loaded", "policy.unseen"]
        assert authorizer.is_unseen
        adapter.line = POLICY + "p, editor, *, document:*, write, allow\n"
        notices.down = False
        clock.advance(2)
        assert may(authorizer, "write")
        assert not authorizer.is_unseen

    def test_that_do_not_answer_hide_no_change_that_the_source_shows(self, tmp_path):
        path, notices, clock = tmp_path / "policy.csv", Flaky(), FrozenClock()
        path.write_text(POLICY)
        authorizer = Authorizer.from_files(None, path, reload_seconds=1, notices=notices, clock=clock)
        notices.down = True
        path.write_text(POLICY.replace("read", "write"))
        clock.advance(1)
        assert not may(authorizer)
        assert may(authorizer, "write")
        assert authorizer.is_unseen

    def test_that_do_not_answer_hinder_no_change_and_are_told_later(self):
        notices, clock = Flaky(), FrozenClock()
        with capture_events() as events:
            authorizer = Authorizer(
                Fixed(PolicyText(None, POLICY)), reload_seconds=1, notices=notices, clock=clock, events=events
            )
            guard = AccessGuard(authorizer)
            notices.down = True
            assert authorizer.remove_policy(*READ)
            assert authorizer.add_policy("editor", "*", "document:*", "write", "allow")
            assert not may(authorizer)
            assert len(events.of_type("policy.untold")) == 1
            assert not guard.health()["ok"]
            notices.down = False
            clock.advance(2)
            assert may(authorizer, "write")
        assert notices.version("access.policy") == 1
        assert guard.health()["ok"]

    def test_of_another_in_the_moment_of_a_change_are_not_lost(self):
        """The other's change is counted between this one's look and this one's notice."""
        clock, adapter = FrozenClock(), Keeping(RULES)

        class Racing(LocalNotices):
            def publish(self, topic):
                adapter.line += "p, editor, ledger, print\n"
                super().publish(topic)
                return super().publish(topic)

        authorizer = Authorizer.from_adapter(MODEL, adapter, notices=Racing(), reload_seconds=1, clock=clock)
        authorizer.add_policy("editor", "ledger", "write")
        clock.advance(1)
        assert authorizer.enforce("ann", "ledger", "print")


MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
"""
RULES = "p, editor, ledger, read\ng, ann, editor\n"


class Keeping(StringAdapter):
    """An adapter that stores, and can be made to fail."""

    fails_at: int | None = None

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.told: list[object] = []

    def add_policy(self, sec, ptype, rule):
        self.tell("add", sec, ptype, rule)
        self.line = self.line.rstrip("\n") + "\n" + ", ".join([ptype, *rule]) + "\n"

    def remove_policy(self, sec, ptype, rule):
        self.tell("remove", sec, ptype, rule)
        self.line = self.line.replace(", ".join([ptype, *rule]) + "\n", "")

    def tell(self, *what):
        self.told.append(what)
        if len(self.told) == self.fails_at:
            raise OSError("postgresql://user:hunter2@db")


class TestAdapters:
    def test_casbins_own_give_casbins_answers(self, tmp_path):
        path = tmp_path / "policy.csv"
        path.write_text(RULES)
        enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL), FileAdapter(str(path)))
        for adapter in (StringAdapter(RULES), FileAdapter(str(path))):
            ours = Authorizer.from_adapter(MODEL, adapter)
            for request in (("ann", "ledger", "read"), ("ann", "ledger", "write"), ("bob", "ledger", "read")):
                assert ours.enforce(*request) is enforcer.enforce(*request)

    def test_that_store_are_given_the_change(self):
        adapter = Keeping(RULES)
        authorizer = Authorizer.from_adapter(MODEL, adapter)
        authorizer.change(add=[("p", "editor", "ledger", "write")], remove=[("g", "ann", "editor")])
        assert adapter.told == [
            ("remove", "g", "g", ["ann", "editor"]),
            ("add", "p", "p", ["editor", "ledger", "write"]),
        ]
        assert authorizer.enforce("editor", "ledger", "write")

    def test_that_fail_half_way_take_back_what_they_did(self):
        adapter = Keeping(RULES)
        authorizer = Authorizer.from_adapter(MODEL, adapter)
        adapter.fails_at = 3
        with pytest.raises(Unavailable, match="OSError"):
            authorizer.change(
                add=[("p", "editor", "ledger", "write"), ("p", "editor", "ledger", "print")],
                remove=[("g", "ann", "editor")],
            )
        authorizer.reload()
        assert sorted(adapter.line.split("\n")) == sorted(RULES.split("\n"))
        assert authorizer.enforce("ann", "ledger", "read")
        assert not authorizer.enforce("editor", "ledger", "write")

    def test_that_others_changed_meanwhile_lose_nothing(self):
        adapter = Keeping(RULES)
        authorizer = Authorizer.from_adapter(MODEL, adapter, reload_seconds=None)
        adapter.line += "p, editor, ledger, print\n"
        authorizer.remove_policy("editor", "ledger", "read")
        assert authorizer.enforce("ann", "ledger", "print")
        assert not authorizer.enforce("ann", "ledger", "read")
        assert "print" in adapter.line

    @pytest.mark.parametrize("kind", ["string", "file", "load alone"])
    def test_that_only_read_refuse_a_change(self, kind, tmp_path):
        """Casbin's adapter for files has methods that store nothing and say nothing."""

        class Loads:
            load_policy = StringAdapter(RULES).load_policy

        path = tmp_path / "policy.csv"
        path.write_text(RULES)
        adapter = {"string": StringAdapter(RULES), "file": FileAdapter(str(path)), "load alone": Loads()}[
            kind
        ]
        authorizer = Authorizer.from_adapter(MODEL, adapter)
        with pytest.raises(Misconfigured, match="only reads"):
            authorizer.add_policy("editor", "ledger", "write")
        assert not authorizer.enforce("editor", "ledger", "write")
        assert path.read_text() == RULES

    @pytest.mark.parametrize("line", ["p2, editor, ledger, write", "q, a, b", "g3, a, b", "r, a, b, c"])
    def test_with_a_line_of_no_known_kind_are_refused_where_casbin_passes_over_it(self, line):
        casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL), StringAdapter(RULES + line))
        with pytest.raises(Misconfigured):
            Authorizer.from_adapter(MODEL, StringAdapter(RULES + line))

    def test_that_fail_are_unavailable_and_quote_nothing(self):
        class Broken:
            def load_policy(self, model):
                raise OSError("postgresql://user:hunter2@db")

        with pytest.raises(Unavailable) as caught:
            Authorizer.from_adapter(MODEL, Broken())
        assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.__context__!r}"

    @pytest.mark.parametrize("rule", [["editor"], ["editor", "", "read"], ["editor", "led\nger", "read"]])
    def test_whose_rules_are_none_are_refused(self, rule):
        class Odd:
            def load_policy(self, model):
                model["p"]["p"].policy.append(rule)

        with pytest.raises(Misconfigured, match="number 1"):
            Authorizer.from_adapter(MODEL, Odd())

    @pytest.mark.parametrize("rule", [None, 5, "abc", {"a": 1}, [["a"], ["b"]], [None, None, None, None]])
    def test_whose_rules_are_of_odd_types_are_refused_or_deny(self, rule):
        class Odd:
            def load_policy(self, model):
                model["p"]["p"].policy.append(rule)

        with pytest.raises(Misconfigured):
            Authorizer.from_adapter(MODEL, Odd())

    def test_that_tamper_with_the_model_change_only_the_copy(self):
        class Tampering:
            def load_policy(self, model):
                model["p"]["p"].policy.append(["editor", "ledger", "read"])
                model["m"]["m"].value = "true"

        assert not Authorizer.from_adapter(MODEL, Tampering()).enforce("ann", "ledger", "read")

    @pytest.mark.parametrize("adapter", [None, "policy.csv", object()])
    def test_are_objects_that_load(self, adapter):
        with pytest.raises(TypeError):
            Authorizer.from_adapter(MODEL, adapter)


class Watcher:
    callback = None
    updates = 0

    def set_update_callback(self, callback):
        self.callback = callback

    def update(self):
        self.updates += 1


class TestWatchers:
    def test_are_told_of_changes_and_make_the_policy_looked_at(self):
        adapter, watcher = StringAdapter(RULES), Watcher()
        authorizer = Authorizer.from_adapter(MODEL, adapter, reload_seconds=None)
        authorizer.watch(watcher)
        adapter.line = RULES + "p, editor, ledger, write\n"
        assert not authorizer.enforce("ann", "ledger", "write")
        watcher.callback("a message that nobody reads")
        assert authorizer.enforce("ann", "ledger", "write")
        text = Authorizer.from_text(model=MODEL, policy=RULES)
        text.watch(watcher)
        text.add_policy("editor", "ledger", "write")
        assert watcher.updates == 1

    def test_that_tell_while_the_policy_is_read_make_it_read_again(self):
        """The adapter was read before the change, and the message comes before the reading is over."""

        class Slow(StringAdapter):
            reads = 0

            def load_policy(self, model):
                super().load_policy(model)
                self.reads += 1
                if self.reads == 2:
                    self.line += "p, editor, ledger, write\n"
                    watcher.callback()

        adapter, watcher = Slow(RULES), Watcher()
        authorizer = Authorizer.from_adapter(MODEL, adapter, reload_seconds=None)
        authorizer.watch(watcher)
        watcher.callback()
        assert not authorizer.enforce("ann", "ledger", "write")
        assert authorizer.enforce("ann", "ledger", "write")

    def test_are_believed_when_the_source_does_not_answer_at_once(self):
        class Broken(StringAdapter):
            down = False

            def load_policy(self, model):
                if self.down:
                    raise OSError
                super().load_policy(model)

        adapter, watcher, clock = Broken(RULES), Watcher(), FrozenClock()
        authorizer = Authorizer.from_adapter(MODEL, adapter, reload_seconds=None, clock=clock)
        authorizer.watch(watcher)
        adapter.line += "p, editor, ledger, write\n"
        adapter.down = True
        watcher.callback()
        assert not authorizer.enforce("ann", "ledger", "write")
        adapter.down = False
        clock.advance(1)
        assert authorizer.enforce("ann", "ledger", "write")

    def test_that_tell_when_a_change_here_cannot_read_the_source_are_not_forgotten(self):
        adapter, watcher, clock = Keeping(RULES), Watcher(), FrozenClock()
        authorizer = Authorizer.from_adapter(MODEL, adapter, reload_seconds=None, clock=clock)
        authorizer.watch(watcher)
        line, adapter.line = (
            adapter.line + "p, editor, ledger, write\n",
            "",
        )  # Casbin's adapter raises for no lines
        watcher.callback()
        with pytest.raises(Unavailable):
            authorizer.add_policy("editor", "ledger", "print")
        adapter.line = line
        assert authorizer.enforce("ann", "ledger", "write")

    def test_that_fail_do_not_undo_a_stored_change(self):
        class Raising(Watcher):
            def update(self):
                super().update()
                if self.updates == 1:
                    raise OSError("redis://:hunter2@host")

        watcher, clock = Raising(), FrozenClock()
        with capture_events() as events:
            authorizer = Authorizer(
                Fixed(PolicyText(MODEL, RULES)), reload_seconds=1, clock=clock, events=events
            )
            authorizer.watch(watcher)
            assert authorizer.add_policy("editor", "ledger", "write")
            assert authorizer.is_untold
            clock.advance(1)
            assert authorizer.enforce("editor", "ledger", "write")
        assert watcher.updates == 2
        assert not authorizer.is_untold
        assert "hunter2" not in repr(events)

    def test_have_two_methods(self):
        with pytest.raises(TypeError):
            Authorizer().watch(object())


_NAMES = st.sampled_from(["a", "b", "c", "editor"])


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.one_of(
                st.tuples(st.just("p"), _NAMES, _NAMES, _NAMES), st.tuples(st.just("g"), _NAMES, _NAMES)
            ),
        ),
        max_size=12,
    )
)
def test_a_policy_after_changes_is_the_policy_written_at_once(steps):
    changed, rows = Authorizer.from_text(model=MODEL, policy=RULES), dict.fromkeys(RULES.split("\n")[:2])
    for add, line in steps:
        changed.change(**{"add" if add else "remove": [line]})
        if add:
            rows[", ".join(line)] = None
        else:
            rows.pop(", ".join(line), None)
    written = Authorizer.from_text(model=MODEL, policy="\n".join(rows))
    for request in [
        (s, o, a) for s in ("a", "b", "ann", "editor") for o in ("a", "ledger") for a in ("b", "read")
    ]:
        assert changed.enforce(*request) is written.enforce(*request)


def test_rows_are_a_policy_as_lines_are():
    class Table:
        def stamp(self):
            return 0

        def read(self):
            return PolicyRows(
                MODEL, {"p": [("editor", "ledger, with comma", "read")], "g": [("ann", "editor")]}
            ), 0

    assert Authorizer(Table()).enforce("ann", "ledger, with comma", "read")
