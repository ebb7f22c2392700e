from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure._value import value
from aisecure.decisions import Decision, Outcome


@value
class Quick:
    name: str
    tags: tuple[str, ...] = ()
    extra: dict[str, int] = field(default_factory=dict, hash=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    tags: tuple[str, ...] = ()
    extra: dict[str, int] = field(default_factory=dict, hash=False)
    secret: str = field(default="", repr=False)


ARGUMENTS = st.tuples(
    st.text(), st.lists(st.text()).map(tuple), st.dictionaries(st.text(), st.integers()), st.text()
)


@given(ARGUMENTS, st.integers(1, 4))
def test_a_value_is_what_a_frozen_dataclass_is(arguments, given_by_position):
    by_name = dict(zip([each.name for each in fields(Plain)], arguments, strict=True))
    positional = [by_name.pop(name) for name in list(by_name)[:given_by_position]]
    quick, plain = Quick(*positional, **by_name), Plain(*positional, **by_name)
    assert repr(quick) == repr(plain).replace("Plain", "Quick")
    assert hash(quick) == hash(plain)
    assert quick == Quick(*arguments)
    assert type(quick) is Quick
    for same in (pickle.loads(pickle.dumps(quick)), copy.copy(quick), copy.deepcopy(quick), replace(quick)):
        assert same == quick
        assert type(same) is Quick
    assert replace(quick, name="other").name == "other"


def test_defaults_are_made_anew_for_each():
    assert Quick("a").extra == {}
    assert Quick("a").extra is not Quick("a").extra


@pytest.mark.parametrize("name", ["name", "tags", "unknown", "__class__"])
def test_nothing_can_be_changed(name):
    made = Quick("a")
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        setattr(made, name, "b")
    with pytest.raises((FrozenInstanceError, AttributeError)):
        del made.name
    assert made == Quick("a")
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), (("a",), {"name": "b"}), (("a",), {"other": 1}), (("a",) * 5, {})]
)
def test_wrong_arguments_are_refused_by_name(args, kwargs):
    with pytest.raises(TypeError, match="Quick"):
        Quick(*args, **kwargs)


def test_its_signature_is_that_of_its_fields():
    assert list(inspect.signature(Decision).parameters) == [each.name for each in fields(Decision)]
    assert inspect.signature(Quick).parameters["name"].default is inspect.Parameter.empty
    match Quick("a", ("b",)):
        case Quick(name, tags):
            assert (name, tags) == ("a", ("b",))


def test_there_are_no_subclasses():
    with pytest.raises(TypeError, match="Decision"):

        class Mine(Decision):
            pass

    assert Decision.deny("access.denied").outcome is Outcome.DENY
