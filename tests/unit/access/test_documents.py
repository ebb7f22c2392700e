"""Documents of a search, judged one by one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.access import Authorizer, DocumentAccess, filter_documents
from aisecure.errors import Misconfigured
from aisecure.principal import Principal
from aisecure.testing import capture_events

POLICY = """\
p, reader, *, note:*, read, allow
p, reader, *, note:secret-*, read, deny
p, owner, acme, note:secret-*, read, allow
"""
READER = Principal("u-1", roles={"reader"}, tenant="acme")


def note(resource, tenant="acme"):
    return {"resource": resource, "tenant": tenant}


@pytest.fixture
def access():
    return DocumentAccess(Authorizer.from_text(policy=POLICY))


def test_only_what_the_policy_allows_is_kept_in_order(access):
    documents = [note("note:2"), note("note:secret-1"), note("other:1"), note("note:1")]
    assert access.filter(READER, documents) == [note("note:2"), note("note:1")]


def test_another_tenants_documents_are_left_out_whatever_the_policy_says(access):
    assert (
        access.filter(READER, [note("note:1", "globex"), note("note:1", "*"), note("note:1", "ACME")]) == []
    )


def test_documents_of_the_shared_tenant_are_for_all():
    access = DocumentAccess(Authorizer.from_text(policy=POLICY), shared_tenant="public")
    assert access.filter(READER, [note("note:1", "public")])
    assert not access.filter(READER, [note("note:secret-1", "public")])


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"resource": "note:1"},
        {"tenant": "acme"},
        note(None),
        note(""),
        note(1),
        note(["note:1"]),
        note({"$ne": "x"}),
        note("note:1", ["acme"]),
        note("note:1", None),
        note("note:a//b"),
        note("note:x/../secret-1"),
        note("note:%73ecret-1"),
        note("note:1\n"),
        note("note:\0"),
        note("note:\ud800"),
        note("note:" + "x" * 1_000_000),
        None,
        42,
        "note:1",
        b"note:1",
    ],
)
def test_a_document_that_does_not_plainly_say_what_it_is_is_left_out(access, document):
    assert access.filter(READER, [document, note("note:1")]) == [note("note:1")]


def test_a_homoglyph_of_an_allowed_name_is_another_name():
    access = DocumentAccess(Authorizer.from_text(policy="p, reader, *, note:open, read, allow"))
    assert access.filter(READER, [note("note:\u043epen")]) == []


def test_facts_may_stand_in_metadata_attributes_or_a_function(access):
    @dataclass
    class Page:
        resource: str
        tenant: str

    @dataclass
    class Found:
        metadata: dict

    assert access.filter(READER, [Page("note:1", "acme")])
    assert access.filter(READER, [Found(note("note:1"))])
    by_function = DocumentAccess(access.authorizer, resource=lambda n: f"note:{n}", tenant=None)
    assert by_function.filter(READER, [1, 2]) == [1, 2]


def test_an_event_tells_how_many_and_never_which():
    with capture_events() as events:
        access = DocumentAccess(Authorizer.from_text(policy=POLICY), events=events)
        access.filter(READER, [note("note:1"), note("note:secret-marker"), note("note:2", "globex")])
    event = events.of_type("documents.filtered")[0]
    assert event.detail == {"kept": 1, "dropped": 2, "policy_version": access.authorizer.version}
    assert "marker" not in repr(events)


def test_all_are_judged_by_one_version(access):
    class Changing(dict):
        def get(self, key, default=None):
            access.authorizer.change(remove=[("p", "reader", "*", "note:*", "read", "allow")])
            return super().get(key, default)

    kept = access.filter(READER, [Changing(note("note:1")), note("note:2")])
    assert len(kept) == 2
    assert access.filter(READER, [note("note:2")]) == []


def test_nobody_sees_nothing(access):
    assert access.filter(Principal.anonymous(), [note("note:1")]) == []


@pytest.mark.parametrize("principal", [None, "u-1", {"roles": ["reader"]}])
def test_a_principal_is_asked_for(access, principal):
    with pytest.raises(TypeError):
        access.filter(principal, [])


def test_the_authorizer_has_to_know_principals():
    model = (
        "[request_definition]\nr = a, b\n[policy_definition]\np = a, b\n"
        "[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.a == p.a && r.b == p.b\n"
    )
    with pytest.raises(Misconfigured):
        DocumentAccess(Authorizer.from_text(model=model, policy="p, x, y"))
    with pytest.raises(TypeError):
        DocumentAccess(None)


_RESOURCES = st.sampled_from(
    ["note:1", "note:2", "note:secret-1", "note:secret-2", "other:1", "note:a//b", ""]
)
_TENANTS = st.sampled_from(["acme", "globex", "public"])


@given(
    st.lists(st.tuples(_RESOURCES, _TENANTS), max_size=8),
    st.sets(st.sampled_from(["reader", "owner"])),
    _TENANTS,
)
def test_what_is_kept_is_exactly_what_decide_allows(found, roles, tenant):
    may = Authorizer.from_text(policy=POLICY)
    principal = Principal("u-1", roles=roles, tenant=tenant)
    documents = [note(resource, owner) for resource, owner in found]
    kept = filter_documents(principal, documents, authorizer=may)
    assert kept == [
        document
        for document in documents
        if document["tenant"] == tenant
        and document["resource"]
        and may.decide(principal, "read", document["resource"]).allowed
    ]
