"""Whom a token speaks of: what is mapped is what the claims say, and what is of another kind opens nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.authn.issuing import World, claims_at

from aisecure.authn import ClaimMapping
from aisecure.authn.jwt.errors import BadToken
from aisecure.call import Credential
from aisecure.principal import Principal

KEYCLOAK = {
    "realm_access": {"roles": ["member", "editor"]},
    "resource_access": {"my.app": {"roles": ["admin"]}},
}
URL = "https://acme.example/roles"


def principal(claims, **mapping):
    return ClaimMapping(**mapping).principal({"sub": "u-17", **claims})


def refusal(claims, **mapping):
    with pytest.raises(BadToken) as caught:
        principal(claims, **mapping)
    assert "marker" not in str(caught.value)
    return str(caught.value)


def test_by_default_the_subject_is_known_and_nothing_granted():
    made = principal({"roles": ["admin"], "groups": ["admin"], "tenant": "other", "tid": "other"})
    assert (made.id, made.tenant, made.roles, made.scopes) == ("u-17", "default", frozenset(), frozenset())
    assert (made.method, made.authenticated_at) == ("jwt", None)
    assert made.claims["groups"] == ("admin",)


def test_the_id_may_be_another_claim():
    assert principal({"oid": "o-1"}, id="oid").id == "o-1"
    assert principal({"user": {"id": "o-1"}}, id="user.id").id == "o-1"
    assert principal({"a.b": "o-1"}, id=("a.b",)).id == "o-1"


@pytest.mark.parametrize(
    ("path", "roles"),
    [
        ("realm_access.roles", {"member", "editor"}),
        (("realm_access", "roles"), {"member", "editor"}),
        (("resource_access", "my.app", "roles"), {"admin"}),
        ("resource_access.my.app.roles", set()),
        ("groups", {"a", "b"}),
        (URL, {"of-a-url"}),
        ("urn:acme:roles", {"of-a-urn"}),
        ("cognito:groups", {"of-a-prefix"}),
        ("absent", set()),
        ("absent.roles", set()),
        ("nothing.roles", set()),
        ("nothing", set()),
        ("empty", set()),
    ],
)  # fmt: skip
def test_roles_are_where_the_issuer_writes_them(path, roles):
    claims = {
        **KEYCLOAK, "groups": ["a", "b", "a"], URL: ["of-a-url"], "urn:acme:roles": ["of-a-urn"],
        "cognito:groups": ["of-a-prefix"], "nothing": None, "empty": [],
    }  # fmt: skip
    assert principal(claims, roles=path).roles == roles


NOT_NAMES = ["", "\0", "a\nb", "a\0b", "\u202eadmin", "\ud800", "\x7f", "\u2028", "x" * 257, "x" * 1_000_000, 1, 1.5, True, None, [], {}]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    ["admin", "", 0, 1, False, True, 1.5, {}, {"admin": True}, [["admin"]], *([item] for item in NOT_NAMES), *(["a", item] for item in NOT_NAMES)],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_roles_of_another_kind_refuse_the_token(value):
    assert "roles" in refusal({"groups": value}, roles="groups")


@pytest.mark.parametrize("value", ["marker", 1, True, ["marker"], ["roles"]])
def test_a_claim_that_should_hold_others_and_does_not_refuses_the_token(value):
    assert "holds no further claims" in refusal({"realm_access": value}, roles="realm_access.roles")
    assert "holds no further claims" in refusal({"user": value}, id="user.id")
    assert "holds no further claims" in refusal({"scope": value}, scopes=("scope.list",))


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": "chat"}, {"chat"}),
        ({"scope": "chat notes:read chat"}, {"chat", "notes:read"}),
        ({"scope": ["chat", "notes:read"]}, {"chat", "notes:read"}),
        ({"scp": ["chat"]}, {"chat"}),
        ({"scp": "chat notes:read"}, {"chat", "notes:read"}),
        ({"scope": "chat", "scp": ["admin"]}, {"chat"}),
        ({"scope": "", "scp": ["admin"]}, set()),
        ({"scope": [], "scp": ["admin"]}, set()),
        ({"scope": None, "scp": ["chat"]}, {"chat"}),
        ({"permissions": ["admin"]}, set()),
    ],
)
def test_scopes_are_a_text_or_a_list_and_the_first_claim_counts(claims, scopes):
    assert principal(claims).scopes == scopes


@pytest.mark.parametrize(
    "value",
    [
        0, 1, False, True, 1.5, {}, {"chat": True}, [["chat"]], " ", "chat  admin", " chat", "chat ", "chat\tadmin",
        "chat\nadmin", "chat\0", "x" * 300, *([item] for item in NOT_NAMES),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_scopes_of_another_kind_refuse_the_token(value):
    assert "scopes" in refusal({"scope": value, "scp": ["chat"]})


def test_other_claims_of_scopes_can_be_named():
    assert principal({"scope": "a", "permissions": ["b"]}, scopes=("permissions",)).scopes == {"b"}
    assert principal({"scope": "a"}, scopes=()).scopes == frozenset()


def test_a_tenant_is_fixed_or_claimed_or_found():
    assert principal({}, tenant="acme").tenant == "acme"
    assert principal({"org": {"id": "acme"}}, tenant_claim="org.id").tenant == "acme"
    tenants = {"org-1": "acme"}
    assert principal({"org": "org-1"}, tenant=lambda claims: tenants[claims["org"]]).tenant == "acme"


@pytest.mark.parametrize("value", [..., *NOT_NAMES], ids=lambda value: repr(value)[:30])
def test_without_a_tenant_that_is_a_name_nobody_is_let_in(value):
    claims = {} if value is ... else {"org": value}
    assert "tenant" in refusal(claims, tenant_claim="org")
    assert "tenant" in refusal(claims, tenant=lambda claims: claims["org"])


@pytest.mark.parametrize("value", [..., *NOT_NAMES], ids=lambda value: repr(value)[:30])
def test_without_an_id_that_is_a_name_nobody_is_let_in(value):
    assert "id" in refusal({} if value is ... else {"oid": value}, id="oid")


@pytest.mark.parametrize("error", [LookupError, KeyError, TypeError, ValueError, UnicodeError])
def test_a_function_that_knows_no_tenant_refuses_and_its_words_stay_with_it(error):
    def tenant(claims):
        raise error("marker")

    assert "function" in refusal({}, tenant=tenant)


def test_only_a_login_says_when_somebody_logged_in():
    assert principal({"iat": 1_700_000_000}).authenticated_at is None
    assert principal({"auth_time": 1_700_000_000}).authenticated_at == 1_700_000_000.0


@pytest.mark.parametrize(
    "options",
    [
        {"tenant": ""}, {"tenant": None}, {"tenant": 1}, {"tenant": "acme", "tenant_claim": "org"},
        {"id": ""}, {"id": None}, {"id": 1}, {"id": ()}, {"id": (1,)}, {"id": ["sub"]}, {"id": "a..b"}, {"id": ("a", "")},
        {"roles": ""}, {"roles": 1}, {"roles": ["groups"]}, {"roles": "."}, {"tenant_claim": ""}, {"tenant_claim": ("",)},
        {"scopes": "scope"}, {"scopes": ("",)}, {"scopes": (1,)}, {"scopes": ["scope"]}, {"scopes": None}, {"scopes": (None,)},
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_once(options):
    with pytest.raises((TypeError, ValueError)):
        ClaimMapping(**options)


WORLD = World(principal=ClaimMapping(tenant_claim="org", roles="realm_access.roles"), memo_seconds=0)


def test_what_is_mapped_comes_of_a_token():
    token = WORLD.token(org="acme", scope="chat", auth_time=WORLD.clock.time() - 60, **KEYCLOAK)
    made = WORLD.verifier.authenticate(Credential("bearer", token))
    assert (made.id, made.tenant, made.roles, made.scopes) == ("u-17", "acme", {"member", "editor"}, {"chat"})
    assert made.authenticated_at == WORLD.clock.time() - 60
    assert WORLD.verifier.authenticate(Credential("bearer", WORLD.token())).code == "authn.invalid"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["roles", "id", "scope", "x"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["sub", "org", "roles", "scope", "scp", "user"]), _JSON))
def test_of_any_claims_comes_a_principal_of_names_or_a_refusal(claims):
    mapping = ClaimMapping(id="sub", tenant_claim="org", roles="roles", scopes=("scope", "scp", "user.scope"))
    try:
        made = mapping.principal({**claims_at(0), "org": "acme", **claims})
    except BadToken:
        return
    assert isinstance(made, Principal)
    for name in (made.id, made.tenant, *made.roles, *made.scopes):
        assert 0 < len(name) <= 256
        assert name.isprintable()
    # Nothing is granted that does not stand in the claims, letter by letter.
    written = json.dumps(claims, ensure_ascii=False)
    assert all(
        name.replace("\\", "\\\\").replace('"', '\\"') in written for name in (*made.roles, *made.scopes)
    )
