"""Metadata of protected resources: the document, and where clients look for it."""

from __future__ import annotations

import json

import pytest

from aisecure.authn import DpopProofs, ProtectedResource
from aisecure.errors import Misconfigured

WELL_KNOWN = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("https://mcp.example.com", WELL_KNOWN),
        ("https://mcp.example.com/", WELL_KNOWN),
        ("https://mcp.example.com/mcp", WELL_KNOWN + "/mcp"),
        ("https://mcp.example.com:8443/a/b/", WELL_KNOWN + "/a/b/"),
        ("http://localhost:8000/mcp", WELL_KNOWN + "/mcp"),
        ("http://127.0.0.1/mcp", WELL_KNOWN + "/mcp"),
        ("http://[::1]:9/mcp", WELL_KNOWN + "/mcp"),
    ],
)
def test_the_document_lies_between_host_and_path(resource, path):
    made = ProtectedResource(resource, ["https://login.example.com"])
    assert made.path == path
    assert made.url == "/".join(resource.split("/", 3)[:3]) + path
    assert json.loads(made.body)["resource"] == resource


def test_the_document_says_what_was_given_and_nothing_empty():
    made = ProtectedResource("https://mcp.example.com", ["https://login.example.com"])
    assert made.document() == {
        "resource": "https://mcp.example.com",
        "authorization_servers": ["https://login.example.com"],
        "bearer_methods_supported": ["header"],
    }
    made = ProtectedResource(
        "https://mcp.example.com",
        ["https://login.example.com", "https://other.example.com/tenant"],
        scopes_supported=["tools:read", "tools:write"],
        resource_name="Tools of Acme",
        resource_documentation="https://docs.example.com",
        dpop_signing_algorithms=DpopProofs().algorithms,
        dpop_required=True,
        certificate_bound_tokens=True,
    )
    assert json.loads(made.body) == made.document()
    assert made.document() == {
        "resource": "https://mcp.example.com",
        "authorization_servers": ["https://login.example.com", "https://other.example.com/tenant"],
        "scopes_supported": ["tools:read", "tools:write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Tools of Acme",
        "resource_documentation": "https://docs.example.com",
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "Ed25519", "PS256"],
        "dpop_bound_access_tokens_required": True,
        "tls_client_certificate_bound_access_tokens": True,
    }


def test_what_is_returned_may_be_changed_without_changing_what_is_sent():
    made = ProtectedResource("https://mcp.example.com", ["https://login.example.com"])
    made.document()["resource"] = "https://evil.example"
    assert made.document()["resource"] == "https://mcp.example.com"


@pytest.mark.parametrize(
    "url",
    [
        "", "mcp.example.com", "http://mcp.example.com", "https://", "https:///mcp", "ftp://mcp.example.com", "HTTPS://mcp.example.com",
        "https://MCP.example.com", "https://mcp.example.com/mcp?x=1", "https://mcp.example.com/mcp#top", "https://user@mcp.example.com",
        "https://mcp.example.com/a b", 'https://mcp.example.com/"', "https://mcp.example.com/\n", "https://mcp.example.com\r\nX: y", "http://localhost.evil.example",
        "https://exämple.com", None, 7,
    ],
)  # fmt: skip
def test_what_is_no_such_address_is_refused_at_once(url):
    for make in (
        lambda: ProtectedResource(url, ["https://login.example.com"]),
        lambda: ProtectedResource("https://mcp.example.com", [url]),
    ):
        with pytest.raises(Misconfigured) as caught:
            make()
        assert caught.value.code == "config.metadata"


def test_lists_are_lists_and_scopes_are_words():
    with pytest.raises(Misconfigured):
        ProtectedResource("https://mcp.example.com", [])
    with pytest.raises(TypeError):
        ProtectedResource("https://mcp.example.com", "https://login.example.com")
    with pytest.raises(TypeError):
        ProtectedResource("https://mcp.example.com", ["https://login.example.com"], scopes_supported="tools")
    for scope in ("", "two words", 'a"b', "a\\b", "é", "a\n"):
        with pytest.raises(Misconfigured):
            ProtectedResource(
                "https://mcp.example.com", ["https://login.example.com"], scopes_supported=[scope]
            )
