"""Who is calling: immutable, comparable, quiet about personal data."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from aisecure import Principal

ADA = Principal(
    "ada@example.org",
    roles={"b", "a"},
    tenant="acme",
    scopes={"chat"},
    claims={"name": "Ada"},
    method="jwt",
    authenticated_at=1.0,
)


def test_the_anonymous_principal_has_no_roles_no_scopes_and_no_id() -> None:
    nobody = Principal.anonymous()
    assert nobody.is_anonymous
    assert not nobody.roles
    assert not nobody.scopes
    assert nobody is Principal.anonymous()
    assert repr(nobody) == "Principal.anonymous()"


def test_the_repr_shows_neither_id_nor_claims() -> None:
    assert repr(ADA) == "Principal(tenant='acme', roles=['a', 'b'], method='jwt')"


@pytest.mark.parametrize("name", Principal.__slots__)
def test_no_attribute_can_be_set_or_deleted(name: str) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(ADA, name, "root")
    with pytest.raises(AttributeError, match="immutable"):
        delattr(ADA, name)


def test_an_attribute_cannot_be_added() -> None:
    with pytest.raises(AttributeError):
        ADA.is_admin = True


def test_claims_cannot_be_changed_through_the_principal_or_behind_it() -> None:
    claims = {"groups": "a"}
    principal = Principal("u", claims=claims)
    claims["groups"] = "root"
    assert principal.claims["groups"] == "a"
    with pytest.raises(TypeError):
        principal.claims["groups"] = "root"  # type: ignore[index]


def test_claims_cannot_be_changed_deep_inside_either() -> None:
    claims: dict[str, Any] = {"groups": ["a"], "realm": {"roles": ["b", {"c": [1]}]}}
    principal = Principal("u", claims=claims)
    claims["groups"].append("root")
    claims["realm"]["roles"].append("root")
    assert principal.claims["groups"] == ("a",)
    assert principal.claims["realm"]["roles"] == ("b", {"c": (1,)})
    with pytest.raises(TypeError):
        principal.claims["realm"]["roles"] = ()
    for copied in (pickle.loads(pickle.dumps(principal)), copy.deepcopy(principal)):
        assert copied == principal


@pytest.mark.parametrize(
    "copied",
    [pickle.loads(pickle.dumps(ADA)), copy.copy(ADA), copy.deepcopy(ADA)],
    ids=["pickle", "copy", "deepcopy"],
)
def test_a_copy_is_equal_and_hashes_alike(copied: Principal) -> None:
    assert copied == ADA
    assert hash(copied) == hash(ADA)


@pytest.mark.parametrize(
    "other",
    [
        Principal("ada@example.org"),
        Principal("ada@example.org", roles={"a", "b"}, tenant="other"),
        "ada@example.org",
        None,
    ],
    ids=["roles", "tenant", "text", "none"],
)
def test_principals_that_differ_in_anything_are_not_equal(other: object) -> None:
    assert other != ADA


@pytest.mark.parametrize(
    "arguments",
    [
        {"id": 7},
        {"id": None},
        {"id": b"u"},
        {"id": "u", "tenant": None},
        {"id": "u", "roles": "admin"},
        {"id": "u", "roles": [1]},
        {"id": "u", "scopes": "chat"},
        {"id": "u", "roles": 5},
    ],
    ids=str,
)
def test_wrong_types_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Principal(**arguments)


@pytest.mark.parametrize("id", ["\0", "\ud800", "x" * 1_000_000], ids=["nul", "surrogate", "1MB"])
def test_an_id_of_any_text_is_kept_as_it_is(id: str) -> None:
    assert Principal(id).id == id
