"""The client's certificate: the connection's own, or what a trusted proxy says; never what a stranger says."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.authn.senders import ClientAuthority

from aisecure.adapters._certificates import ClientCertificates, of_environ, of_scope
from aisecure.adapters._origin import TrustedProxies
from aisecure.errors import AuthenticationError, Misconfigured

ANA, EVE = ClientAuthority().issue(subject="ana"), ClientAuthority().issue(subject="eve")
PROXY, STRANGER = "10.0.0.7", "192.0.2.9"
PROXIES = TrustedProxies(["10.0.0.0/8"])


def binary(der: bytes) -> str:
    return f":{base64.b64encode(der).decode()}:"


@pytest.fixture
def certificates():
    return ClientCertificates("Client-Cert", PROXIES)


class TestWhoSaysSo:
    def test_a_strangers_connection_counts_and_its_header_does_not(self, certificates):
        assert certificates.of(STRANGER, b"", [binary(EVE.der)]) == b""
        assert certificates.of(STRANGER, ANA.der, [binary(EVE.der)]) == ANA.der
        assert certificates.of(STRANGER, ANA.der, []) == ANA.der
        assert certificates.of("", b"", [binary(EVE.der)]) == b""

    def test_what_a_stranger_sends_is_not_even_read(self, certificates):
        assert certificates.of(STRANGER, ANA.der, ["junk", "junk"]) == ANA.der

    def test_a_proxys_header_counts_and_its_connection_does_not(self, certificates):
        assert certificates.of(PROXY, b"", [binary(ANA.der)]) == ANA.der
        assert certificates.of(PROXY, EVE.der, [binary(ANA.der)]) == ANA.der
        assert certificates.of(PROXY, EVE.der, []) == b""

    def test_a_proxy_whose_header_is_not_read_leaves_no_certificate(self):
        plain = ClientCertificates("", PROXIES)
        assert plain.of(PROXY, EVE.der, []) == b""
        assert plain.of(STRANGER, ANA.der, []) == ANA.der

    def test_a_socket_file_is_trusted_by_name_alone(self):
        for proxies, told in ((TrustedProxies(["unix"]), ANA.der), (PROXIES, b"")):
            assert ClientCertificates("Client-Cert", proxies).of("", b"", [binary(ANA.der)]) == told

    @pytest.mark.parametrize("header", ["Client Cert", "client-cert:", "é", "\n", 'a"b'])
    def test_a_header_has_the_name_of_one(self, header):
        with pytest.raises(Misconfigured):
            ClientCertificates(header, PROXIES)

    def test_a_header_that_nobody_is_trusted_with_is_refused_at_once(self):
        with pytest.raises(Misconfigured) as caught:
            ClientCertificates("Client-Cert", TrustedProxies())
        assert caught.value.code == "config.proxies"


class TestHeader:
    def test_both_forms_are_read_and_an_empty_one_is_no_certificate(self, certificates):
        pem = ANA.pem.decode()
        folded = pem.replace("\n", " ")  # how some proxies write the line breaks
        for value in (binary(ANA.der), f" {binary(ANA.der)} ", quote(pem), quote(pem, safe="+/="), folded):
            assert certificates.of(PROXY, b"", [value]) == ANA.der
        assert certificates.of(PROXY, b"", [""]) == b""

    @pytest.mark.parametrize(
        "values",
        [
            [binary(ANA.der), binary(ANA.der)],
            [binary(ANA.der) + ", " + binary(ANA.der)],
            [binary(ANA.der) + ";a=1"],
            [binary(ANA.der)[:-1]],
            [binary(ANA.der)[1:]],
            ["::"],
            [":AA=:"],
            [":AA:"],
            [":AB==:"],
            [":A A=:"],
            [":-_8=:"],
            [":AA==AA==:"],
            [base64.b64encode(ANA.der).decode()],
            [quote(ANA.pem.decode() * 2)],
            [quote(ANA.pem.decode())[:-20]],
            [quote(ANA.pem.decode().replace("CERTIFICATE", "PRIVATE KEY"))],
            ["-----BEGIN%20CERTIFICATE-----%ff"],
            ["junk"],
            ["\0"],
            [":" + "A" * 1_000_000 + ":"],
            ["-----BEGIN" + "%41" * 1_000_000],
        ],
        ids=lambda values: values[0][:12] + str(len(values[0])),
    )
    def test_anything_else_from_a_proxy_is_refused(self, certificates, values):
        with pytest.raises(AuthenticationError):
            certificates.of(PROXY, b"", values)

    @given(st.binary(min_size=1, max_size=300))
    def test_any_bytes_have_one_spelling_in_the_header(self, data):
        certificates = ClientCertificates("Client-Cert", PROXIES)
        assert certificates.of(PROXY, b"", [binary(data)]) == data

    @given(st.text(max_size=60))
    def test_any_text_is_read_or_refused(self, text):
        certificates = ClientCertificates("Client-Cert", PROXIES)
        try:
            der = certificates.of(PROXY, b"", [text])
        except AuthenticationError:
            return
        assert der == b"" or binary(der) == text.strip(" ")


class TestScope:
    def scope(self, *chain, error=None):
        return {"extensions": {"tls": {"client_cert_chain": list(chain), "client_cert_error": error}}}

    def test_the_first_of_the_chain_is_the_clients(self):
        assert of_scope(self.scope(ANA.pem.decode(), EVE.pem.decode())) == ANA.der
        assert of_scope({"extensions": {"tls": {"client_cert_chain": iter([ANA.pem.decode()])}}}) == ANA.der

    def test_one_that_failed_its_check_is_none(self):
        assert of_scope(self.scope(ANA.pem.decode(), error="self-signed certificate")) == b""
        assert of_scope(self.scope(ANA.pem.decode(), error="")) == b""

    @pytest.mark.parametrize(
        "scope",
        [
            {}, {"extensions": None}, {"extensions": {}}, {"extensions": {"tls": None}}, {"extensions": {"tls": {}}},
            {"extensions": {"tls": {"client_cert_chain": None}}}, {"extensions": {"tls": {"client_cert_chain": []}}},
            {"extensions": {"tls": {"client_cert_chain": [b"bytes"]}}}, {"extensions": {"tls": {"client_cert_chain": ["junk"]}}},
        ],
        ids=str,
    )  # fmt: skip
    def test_a_connection_without_one_has_none(self, scope):
        assert of_scope(scope) == b""


class TestEnviron:
    def test_what_the_server_says_is_taken_and_a_header_is_not(self):
        pem = ANA.pem.decode()
        assert of_environ({"SSL_CLIENT_CERT": pem}) == ANA.der
        assert of_environ({"SSL_CLIENT_CERT": pem, "SSL_CLIENT_VERIFY": "SUCCESS"}) == ANA.der
        assert of_environ({"HTTP_SSL_CLIENT_CERT": pem, "HTTP_CLIENT_CERT": binary(ANA.der)}) == b""

    @pytest.mark.parametrize("verify", ["NONE", "GENEROUS", "FAILED:expired", ""])
    def test_one_that_the_server_did_not_verify_is_none(self, verify):
        assert of_environ({"SSL_CLIENT_CERT": ANA.pem.decode(), "SSL_CLIENT_VERIFY": verify}) == b""
