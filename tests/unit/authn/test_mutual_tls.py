"""Certificates become principals by one kind of name, and only such as are fit for it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.authn.senders import VECTORS, ClientAuthority

from aisecure import Principal
from aisecure.authn import Method, MutualTls, certificate_thumbprint
from aisecure.authn._certificate import _MAX_REMEMBERED, Reader
from aisecure.call import Credential
from aisecure.errors import Misconfigured
from aisecure.testing import FrozenClock

CA = ClientAuthority()
BOT = Principal("bot", roles={"service"}, tenant="acme", scopes={"tools"}, claims={"team": "a"})
URI, DNS, MAIL = x509.UniformResourceIdentifier, x509.DNSName, x509.RFC822Name
SPIFFE = "spiffe://acme.example/ns/prod/bot"
AT = FrozenClock().time()


def certificate(*names, **options):
    return CA.issue(*names, **options).der


def ask(method, der):
    answer = method.authenticate(Credential("mtls", "", certificate=der))
    if isinstance(answer, Principal):
        return answer
    assert (answer.allowed, answer.code) == (False, "authn.invalid")
    assert answer.reasons[0] == "Authentication failed: send a valid credential."
    return answer.reasons[1]


def by(name, *entries, **options):
    return MutualTls(dict.fromkeys(entries, BOT), name=name, clock=FrozenClock(), **options)


class TestNames:
    def test_the_principal_is_that_of_the_table_with_method_time_and_thumbprint(self):
        der = certificate(URI(SPIFFE))
        principal = ask(by("uri", SPIFFE), der)
        assert (principal.id, principal.roles, principal.tenant) == ("bot", {"service"}, "acme")
        assert (principal.scopes, principal.method, principal.authenticated_at) == ({"tools"}, "mtls", AT)
        assert principal.claims == {"team": "a", "x5t#S256": certificate_thumbprint(der)}

    @pytest.mark.parametrize(
        ("kind", "entry", "names"),
        [
            ("uri", SPIFFE, [URI(SPIFFE), DNS("bot.example")]),
            ("dns", "Bot.Example", [DNS("bot.EXAMPLE"), DNS("other.example"), URI(SPIFFE)]),
            ("email", "bot@ACME.example", [MAIL("bot@acme.EXAMPLE")]),
            ("subject", "CN=client", []),
        ],
    )
    def test_each_kind_of_name_is_found(self, kind, entry, names):
        assert ask(by(kind, entry), certificate(*names)).id == "bot"

    def test_a_fingerprint_may_be_written_with_colons_and_in_capitals(self):
        der = certificate()
        digits = hashlib.sha256(der).hexdigest()
        colons = ":".join(digits[i : i + 2] for i in range(0, 64, 2)).upper()
        for entry in (digits, colons):
            assert ask(by("fingerprint", entry), der).id == "bot"
        assert "no name" in ask(by("fingerprint", digits), certificate())

    @pytest.mark.parametrize(
        ("kind", "entry", "names"),
        [
            ("uri", SPIFFE, []),
            ("uri", SPIFFE, [DNS("bot.example")]),
            ("uri", SPIFFE, [URI(SPIFFE + "2")]),
            ("uri", SPIFFE, [URI(SPIFFE.upper())]),
            ("uri", SPIFFE, [URI(SPIFFE + "/")]),
            (
                "dns",
                "bot.example",
                [URI("https://bot.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
            ),
            ("dns", "bot.example", [DNS("bot.example.")]),
            ("dns", "client", []),
            ("email", "bot@acme.example", [MAIL("BOT@acme.example")]),
            ("subject", "CN=Client", []),
            ("subject", "CN=client,O=Acme", []),
        ],
    )
    def test_any_other_name_is_a_stranger(self, kind, entry, names):
        assert isinstance(ask(by(kind, entry), certificate(*names)), str)

    def test_a_certificate_with_two_uris_is_nobodys(self):
        for other in ("spiffe://acme.example/other", SPIFFE, "https://acme.example"):
            assert "several" in ask(by("uri", SPIFFE), certificate(URI(SPIFFE), URI(other)))

    def test_a_certificate_with_two_names_of_the_table_is_nobodys(self):
        method = by("dns", "a.example", "b.example")
        assert "several" in ask(method, certificate(DNS("a.example"), DNS("b.example")))
        assert ask(method, certificate(DNS("a.example"), DNS("c.example"), DNS("A.example"))).id == "bot"

    @pytest.mark.parametrize(
        "names",
        [
            [DNS("*.example"), DNS("bot.example")],
            [DNS("bot.example\0.evil.example"), DNS("bot.example")],
            [DNS("bot.example\n"), DNS("bot.example")],
            [DNS(""), DNS("bot.example")],
        ],
        ids=["wildcard", "nul", "newline", "empty"],
    )
    def test_a_name_that_two_readers_read_differently_spoils_the_certificate(self, names):
        assert "pattern" in ask(by("dns", "bot.example"), certificate(*names))

    def test_a_subject_is_compared_whole_and_unambiguously(self):
        def subject(*pairs):
            return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])

        method = by("subject", "CN=bot,O=Acme")
        cn, o = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME
        assert ask(method, certificate(subject=subject((o, "Acme"), (cn, "bot")))).id == "bot"
        for other in (
            subject((cn, "bot"), (o, "Acme")),
            subject((cn, "bot,O=Acme")),
            subject((o, "Acme"), (cn, "bot"), (cn, "bot")),
            subject((o, "Acme"), (cn, "bot ")),
            subject((o, "Acme"), (cn, "bot\0")),
            x509.Name([]),
        ):
            assert isinstance(ask(method, certificate(subject=other)), str)

    def test_two_spellings_of_a_subject_in_the_table_are_one(self):
        assert ask(by("subject", r"CN=\63lient"), certificate()).id == "bot"

    def test_a_function_decides_and_is_asked_about_one_name_only(self):
        asked = []

        def look_up(name):
            asked.append(name)
            return Principal(name.rpartition("/")[2]) if name.startswith("spiffe://acme.example/") else None

        method = MutualTls(look_up, name="uri", clock=FrozenClock())
        assert ask(method, certificate(URI(SPIFFE))).id == "bot"
        assert "stranger" in ask(method, certificate(URI("spiffe://evil.example/bot")))
        assert "several" in ask(method, certificate(URI(SPIFFE), URI(SPIFFE + "2")))
        assert "no name" in ask(method, certificate())
        dns = MutualTls(look_up, name="dns", clock=FrozenClock())
        assert "several" in ask(dns, certificate(DNS("a.example"), DNS("b.example")))
        assert asked == [SPIFFE, "spiffe://evil.example/bot"]


class TestFitness:
    def test_it_is_valid_from_its_first_second_to_its_last(self):
        clock = FrozenClock(AT)
        method = MutualTls({SPIFFE: BOT}, name="uri", clock=clock)
        der = certificate(URI(SPIFFE), start=AT, end=AT + 100)
        clock.set_time(AT - 0.5)
        assert "not valid yet" in ask(method, der)
        for moment in (AT, AT + 100):
            clock.set_time(moment)
            assert ask(method, der).id == "bot"
        clock.set_time(AT + 100.5)
        assert "expired" in ask(method, der)

    def test_a_certificate_without_a_stated_purpose_serves_every_purpose(self):
        assert ask(by("uri", SPIFFE), certificate(URI(SPIFFE), purposes=[])).id == "bot"

    @pytest.mark.parametrize(
        "options",
        [
            {"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]},
            {"purposes": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]},
            {"purposes": [ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]},
            {"extensions": [(x509.BasicConstraints(ca=True, path_length=None), True)]},
            {
                "extensions": [
                    (
                        x509.KeyUsage(
                            digital_signature=False, content_commitment=False, key_encipherment=True, data_encipherment=False,
                            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
                        ),
                        True,
                    )
                ]
            },
        ],
        ids=["server", "any", "code", "authority", "encryption"],
    )  # fmt: skip
    def test_one_that_is_for_something_else_is_refused(self, options):
        der = certificate(URI(SPIFFE), **options)
        assert "certificate" in ask(by("uri", SPIFFE), der)
        assert isinstance(ask(by("fingerprint", hashlib.sha256(der).hexdigest()), der), str)

    def test_the_certificate_of_rfc_8705_was_good_in_its_time(self):
        der = base64.b64decode(VECTORS["certificate"]["der"])
        clock = FrozenClock(VECTORS["certificate"]["time"])
        method = MutualTls({"CN=mtls": BOT}, name="subject", clock=clock)
        assert ask(method, der).claims["x5t#S256"] == VECTORS["certificate"]["thumbprint"]
        clock.set_time(AT)
        assert "expired" in ask(method, der)


class TestBytes:
    @pytest.mark.parametrize(
        "der",
        [
            b"\0",
            b"\x30\x00",
            b"\x30\x82",
            b"not a certificate",
            b"\x30\x84\xff\xff\xff\xff",
            bytes(100_000),
            b"\x30" * 60_000,
        ],
        ids=lambda der: str(der[:10]),
    )
    def test_what_is_no_certificate_is_refused(self, der):
        assert isinstance(ask(by("uri", SPIFFE), der), str)

    def test_a_certificate_followed_by_anything_is_none(self):
        assert "read" in ask(by("uri", SPIFFE), certificate(URI(SPIFFE)) + b"\0")

    def test_pem_is_no_der(self):
        assert "read" in ask(by("uri", SPIFFE), CA.issue(URI(SPIFFE)).pem)

    def test_no_certificate_is_refused(self):
        assert "no certificate" in ask(by("uri", SPIFFE), b"")

    def test_a_certificate_of_ten_thousand_names_is_refused(self):
        names = [URI(f"spiffe://acme.example/{number}") for number in range(10_000)]
        assert "large" in ask(by("uri", SPIFFE), certificate(*names))

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 10_000), st.integers(1, 255))
    def test_a_flipped_byte_never_makes_another_caller(self, place, flip):
        der = bytearray(_DER)
        der[place % len(der)] ^= flip
        answer = ask(by("uri", SPIFFE, SPIFFE + "2"), bytes(der))
        # The signature is the connection's to check: what is left is the same caller, or nobody.
        assert isinstance(answer, str) or answer.id == "bot"

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 10_000))
    def test_a_cut_certificate_is_none(self, size):
        assert isinstance(ask(by("uri", SPIFFE), _DER[: size % len(_DER)]), str)


_DER = certificate(URI(SPIFFE))


class TestMemory:
    def test_what_is_remembered_is_bounded(self):
        reader = Reader("uri")
        for number in range(_MAX_REMEMBERED + 50):
            reader.read(b"%d" % number)
        assert len(reader._known) == _MAX_REMEMBERED

    def test_dates_are_checked_again_each_time(self):
        clock = FrozenClock(AT)
        method = MutualTls({SPIFFE: BOT}, name="uri", clock=clock)
        der = certificate(URI(SPIFFE), end=AT + 10)
        assert ask(method, der).authenticated_at == AT
        clock.advance(5)
        assert ask(method, der).authenticated_at == AT + 5
        clock.advance(6)
        assert "expired" in ask(method, der)

    def test_threads_are_told_apart(self):
        method = MutualTls(
            {f"spiffe://a/{n}": Principal(f"p{n}") for n in range(8)}, name="uri", clock=FrozenClock()
        )
        ders = [certificate(URI(f"spiffe://a/{n}")) for n in range(8)]
        barrier = threading.Barrier(8)

        def many(number):
            barrier.wait()
            return {ask(method, ders[number]).id for _ in range(50)} == {f"p{number}"}

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(many, range(8)))


class TestSettings:
    def test_it_is_a_method_that_takes_certificates_alone(self):
        method = by("uri", SPIFFE)
        assert isinstance(method, Method)
        assert method.aauthenticate is None
        assert method.takes(Credential("mtls", ""))
        assert not any(
            method.takes(Credential(scheme, "x", certificate=_DER))
            for scheme in ("bearer", "dpop", "api_key")
        )

    @pytest.mark.parametrize(
        ("kind", "entry"),
        [
            ("uri", ""), ("uri", "spiffe://acme.example/*"), ("dns", "*.example"), ("dns", "a\0b"), ("uri", "a\nb"), ("email", ""),
            ("fingerprint", "ab"), ("fingerprint", "z" * 64), ("fingerprint", "ab" * 20), ("subject", "client"),
            ("subject", "cn=a"), ("subject", "CN=a,"),
        ],
    )  # fmt: skip
    def test_a_name_that_no_certificate_can_have_is_refused_at_once(self, kind, entry):
        with pytest.raises(Misconfigured) as caught:
            by(kind, entry)
        assert caught.value.code == "config.mtls"

    def test_two_entries_for_one_name_are_refused(self):
        with pytest.raises(Misconfigured):
            by("dns", "Bot.example", "bot.example")

    @pytest.mark.parametrize("wrong", [{"a": "bot"}, {"a": None}, {"a": Principal.anonymous()}])
    def test_the_table_holds_principals(self, wrong):
        with pytest.raises(TypeError):
            MutualTls(wrong, name="uri")

    def test_the_kind_of_name_is_chosen_from_five(self):
        with pytest.raises(ValueError, match="uri, dns, email, subject, fingerprint"):
            MutualTls({}, name="cn")

    def test_no_name_is_in_the_repr_or_in_a_refusal(self):
        method = by("dns", "marker-host.example")
        shown = repr(method) + ask(method, certificate(DNS("marker-other.example"), subject="marker-subject"))
        assert "marker" not in shown


def test_certificates_of_the_test_authority_are_real():
    issued = CA.issue(URI(SPIFFE))
    issued.certificate.verify_directly_issued_by(CA.certificate)
    assert issued.certificate.public_bytes(Encoding.DER) == issued.der
    assert issued.certificate.not_valid_after_utc > dt.datetime.now(dt.UTC)
