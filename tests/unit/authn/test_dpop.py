"""DPoP proofs: the RFC's own, ours with every algorithm, and each thing that can be wrong with one."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import OctKey
from tests.unit.authn.senders import TOKEN, URL, VECTORS, Holder, b64, compact, credential

from aisecure.authn import DpopNonces, DpopProofs, MemoryReplays
from aisecure.call import Credential
from aisecure.errors import Unavailable
from aisecure.testing import FrozenClock

RFC = VECTORS["dpop"]
ANA, EVE = Holder(), Holder()


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def check(clock):
    """Check what Ana sends; the reason of the refusal, or None."""
    proofs = DpopProofs(clock=clock)

    def checked(shown: Credential, thumbprint: str = ANA.thumbprint):
        decision = proofs.check(shown, thumbprint)
        if decision is None:
            return None
        assert (decision.allowed, decision.code) == (False, "authn.invalid")
        assert decision.reasons[0] == "Authentication failed: send a valid credential."
        assert decision.challenge == {"error": "invalid_dpop_proof"}
        return decision.reasons[1]

    return checked


class TestRfc9449:
    def decide(self, request, *, at=0.0, **changes):
        shown = {"value": RFC["token"], "method": request["method"], "url": request["url"], **changes}
        shown = Credential("dpop", shown["value"], (request["proof"],), shown["method"], shown["url"])
        return DpopProofs(clock=FrozenClock(request["time"] + at)).check(shown, RFC["thumbprint"])

    def test_the_proof_of_section_7_1_is_taken_with_its_token_from_its_key_at_its_time(self):
        assert self.decide(RFC["resource_request"]) is None

    @pytest.mark.parametrize(
        "changes",
        [
            {"value": RFC["token"] + "x"},
            {"method": "POST"},
            {"method": "get"},
            {"url": "https://resource.example.org/other"},
            {"at": 61},
            {"at": -6},
        ],
        ids=str,
    )
    def test_it_is_refused_for_anything_else(self, changes):
        assert self.decide(RFC["resource_request"], **changes) is not None

    def test_the_proof_of_section_4_1_is_for_no_token_and_so_for_none_here(self):
        assert "another token" in self.decide(RFC["token_request"]).reasons[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "algorithm", ["ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512"]
)
def test_a_proof_with_each_algorithm_is_taken_when_it_is_allowed_and_refused_when_not(algorithm, clock):
    holder = Holder(algorithm)
    shown = credential(holder.proof(clock.time()))
    assert DpopProofs(algorithms=[algorithm], clock=clock).check(shown, holder.thumbprint) is None
    other = "ES256" if algorithm != "ES256" else "PS256"
    refusal = DpopProofs(algorithms=[other], clock=clock).check(shown, holder.thumbprint)
    assert "not allowed" in refusal.reasons[1]


class TestRequest:
    def test_a_proof_is_taken_once(self, check, clock):
        proof = ANA.proof(clock.time())
        assert check(credential(proof)) is None
        assert "before" in check(credential(proof))

    def test_of_threads_that_bring_one_proof_at_once_one_is_let_in(self, clock):
        proofs, barrier = DpopProofs(clock=clock), threading.Barrier(8)
        shown = credential(ANA.proof(clock.time()))

        def bring(_):
            barrier.wait()
            return proofs.check(shown, ANA.thumbprint) is None

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(bring, range(8))) == 1

    def test_one_id_may_be_used_by_two_keys(self, check, clock):
        assert check(credential(ANA.proof(clock.time(), jti="same"))) is None
        assert check(credential(EVE.proof(clock.time(), jti="same")), EVE.thumbprint) is None

    @pytest.mark.parametrize("count", [0, 2, 3])
    def test_there_is_exactly_one_proof(self, check, clock, count):
        proofs = [ANA.proof(clock.time()) for _ in range(count)]
        assert "no DPoP header, or several" in check(credential(*proofs))

    def test_headers_that_a_server_joined_are_no_proof(self, check, clock):
        proof = ANA.proof(clock.time())
        assert check(credential(f"{proof},{proof}")) is not None
        assert check(credential(f"{proof}, {ANA.proof(clock.time())}")) is not None

    @pytest.mark.parametrize("where", [{"method": ""}, {"url": ""}])
    def test_a_request_without_address_has_no_proof(self, check, clock, where):
        assert "external_url" in check(credential(ANA.proof(clock.time()), **where))

    def test_the_query_of_the_address_does_not_matter_and_its_spelling_neither(self, check, clock):
        proof = ANA.proof(clock.time(), htu="HTTPS://API.EXAMPLE.COM:443/x/../%6eotes?page=2#top")
        assert check(credential(proof)) is None

    def test_a_proof_by_another_key_than_the_token_names_is_refused(self, check, clock):
        assert "another key" in check(credential(EVE.proof(clock.time())))

    def test_a_signature_by_another_key_than_the_header_names_is_refused(self, check, clock):
        forged = EVE.sign(ANA.header(), ANA.payload(clock.time()))
        assert "wrong signature" in check(credential(forged))

    @pytest.mark.parametrize(
        ("age", "taken"),
        [(0, True), (59, True), (60, False), (3600, False), (-5, True), (-6, False), (-1e9, False)],
    )
    def test_a_proof_is_taken_from_five_seconds_before_to_a_minute_after_it_was_made(
        self, check, clock, age, taken
    ):
        assert (check(credential(ANA.proof(clock.time(), iat=clock.time() - age))) is None) == taken

    @pytest.mark.parametrize(
        "changes",
        [
            {"jti": ...}, {"jti": ""}, {"jti": 7}, {"jti": None}, {"jti": ["x"]},
            {"htm": ...}, {"htm": "get"}, {"htm": "POST"}, {"htm": None}, {"htm": ["GET"]},
            {"htu": ...}, {"htu": "/notes"}, {"htu": URL + "/"}, {"htu": None}, {"htu": [URL]}, {"htu": ""},
            {"htu": "https://api.example.com@evil.example/notes"}, {"htu": "http://api.example.com/notes"},
            {"iat": ...}, {"iat": "1767225600"}, {"iat": True}, {"iat": None}, {"iat": -1}, {"iat": 10**400}, {"iat": [1]},
            {"ath": ...}, {"ath": ""}, {"ath": None}, {"ath": b64(bytes(32))}, {"ath": "é" * 43}, {"ath": TOKEN},
        ],
        ids=str,
    )  # fmt: skip
    def test_a_claim_that_is_missing_or_wrong_is_refused(self, check, clock, changes):
        assert check(credential(ANA.proof(clock.time(), **changes))) is not None

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000])
    def test_a_time_that_is_no_number_is_refused(self, check, clock, number):
        payload = json.dumps(ANA.payload(clock.time(), iat="@")).replace('"@"', number)
        assert check(credential(ANA.sign(ANA.header(), payload.encode()))) is not None


class TestHeader:
    @pytest.mark.parametrize(
        "changes",
        [
            {"typ": ...}, {"typ": "JWT"}, {"typ": "DPOP+JWT"}, {"typ": "application/dpop+jwt"}, {"typ": None},
            {"alg": ...}, {"alg": "none"}, {"alg": "HS256"}, {"alg": "RS256"}, {"alg": "es256"}, {"alg": None}, {"alg": ["ES256"]},
            {"alg": "EdDSA"}, {"alg": "PS256"},
            {"crit": ["b64"], "b64": False}, {"crit": []}, {"b64": True},
            {"jwk": ...}, {"jwk": None}, {"jwk": []}, {"jwk": {}}, {"jwk": "https://evil.example/key"},
            {"jwk": {**ANA.public, "crv": "P-384"}}, {"jwk": {**ANA.public, "kty": "OKP"}}, {"jwk": {**ANA.public, "kty": "oct", "k": "AA"}},
            {"jwk": {**ANA.public, "x": 1}}, {"jwk": {**ANA.public, "x": "=="}}, {"jwk": {**ANA.public, "x": "é"}},
            {"jwk": {name: value for name, value in ANA.public.items() if name != "y"}},
            {"jwk": ANA.key.as_dict(private=True)}, {"jwk": {**ANA.public, "d": ""}}, {"jwk": {**ANA.public, "k": "AAAA"}},
        ],
        ids=lambda changes: str(changes)[:40],
    )  # fmt: skip
    def test_a_header_that_says_anything_else_is_refused(self, check, clock, changes):
        assert check(credential(ANA.proof(clock.time(), header=changes))) is not None

    def test_a_point_beside_the_curve_is_refused(self, clock):
        class Off(Holder):
            def __init__(self):
                super().__init__()
                self.public["y"] = self.public["x"]
                members = {k: self.public[k] for k in ("crv", "kty", "x", "y")}
                digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
                self.thumbprint = b64(digest)

        off = Off()
        decision = DpopProofs(clock=clock).check(credential(off.proof(clock.time())), off.thumbprint)
        assert "wrong signature" in decision.reasons[1]

    def test_small_and_huge_rsa_keys_are_refused_before_any_arithmetic(self, check, clock):
        small = {"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB"}
        for jwk in (
            small,
            {**small, "n": b64(b"\0" * 256 + b"\1" * 128)},
            {**small, "n": b64(b"\xff" * 2000)},
        ):
            assert "RSA" in check(
                credential(compact({"typ": "dpop+jwt", "alg": "PS256", "jwk": jwk}, {}, b"x"))
            )
        wide = {"kty": "RSA", "n": b64(b"\xff" * 256), "e": b64(b"\xff" * 200)}
        assert "RSA" in check(credential(compact({"typ": "dpop+jwt", "alg": "PS256", "jwk": wide}, {}, b"x")))

    def test_a_symmetric_key_that_everybody_knows_is_refused(self, check, clock):
        key = OctKey.generate_key(256)
        header = {"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": key.as_dict()["k"]}}
        assert "not allowed" in check(credential(compact(header, ANA.payload(clock.time()), b"x" * 32)))

    def test_further_members_of_header_and_key_do_not_matter(self, check, clock):
        header = {"kid": "k-1", "jwk": {**ANA.public, "use": "sig", "kid": "k-1"}}
        assert check(credential(ANA.proof(clock.time(), header=header, extra={"a": [1]}))) is None


class TestSpelling:
    def test_a_name_that_comes_twice_is_refused_wherever_it_is(self, check, clock):
        header, payload = json.dumps(ANA.header()), json.dumps(ANA.payload(clock.time()))
        for twice in (
            ANA.sign(header.replace('"typ"', '"typ": "dpop+jwt", "typ"').encode(), payload.encode()),
            ANA.sign(header.replace('"kty"', '"kty": "EC", "kty"').encode(), payload.encode()),
            ANA.sign(header.encode(), payload.replace('"htm"', '"htm": "GET", "htm"').encode()),
        ):
            assert "twice" in check(credential(twice))

    @pytest.mark.parametrize(
        "part",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"text"',
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b"[" * 100_0 + b"]" * 1000,
            b'{"a":' * 1200,
        ],
        ids=lambda part: str(part[:12]),
    )
    def test_what_is_no_json_object_is_refused(self, check, clock, part):
        assert check(credential(ANA.sign(part, ANA.payload(clock.time())))) is not None
        assert check(credential(ANA.sign(ANA.header(), part))) is not None

    def test_nesting_deeper_than_python_goes_is_refused(self, clock):
        proof = compact(b"[" * 5000, b"{}", b"x")
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(300)
        try:
            decision = DpopProofs(clock=clock).check(credential(proof), ANA.thumbprint)
        finally:
            sys.setrecursionlimit(before)
        assert decision is not None

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda p: p + "=",
            lambda p: p + "\n",
            lambda p: " " + p,
            lambda p: p + ".x",
            lambda p: p.rpartition(".")[0],
            lambda p: p.rpartition(".")[0] + ".",
            lambda p: p.replace(".", "..", 1),
            lambda p: p[:-1] + chr(ord(p[-1]) ^ 1),  # the bits that no byte holds, or other ones
            lambda p: p.replace("_", "/").replace("-", "+") + "+",
            lambda p: p + "A",
            lambda p: "\ud800" + p,
            lambda p: "é" + p,
            lambda p: p + "\0",
            lambda p: "",
            lambda p: "...",
            lambda p: p * 1000,
            lambda p: "a" * 2_000_000,
            lambda p: b64(p.encode()) + "." * 10,
        ],
    )
    def test_any_other_spelling_of_a_proof_is_refused(self, check, clock, spoil):
        assert check(credential(spoil(ANA.proof(clock.time())))) is not None

    def test_bits_that_no_byte_holds_make_another_spelling_and_are_refused(self, check, clock):
        proof = ANA.proof(clock.time())  # 64 bytes of signature end in a character of which 2 bits count
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        twin = proof[:-1] + alphabet[alphabet.index(proof[-1]) + 1]
        assert base64.urlsafe_b64decode(twin.rpartition(".")[2] + "==") == base64.urlsafe_b64decode(
            proof.rpartition(".")[2] + "=="
        )
        assert "canonical" in check(credential(twin))
        assert check(credential(proof)) is None

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_one_changed_character_always_breaks_a_proof(self, data):
        clock = FrozenClock()
        proof = _PROOF
        place = data.draw(st.integers(0, len(proof) - 1))
        new = data.draw(st.sampled_from("ABab09-_."))
        changed = proof[:place] + new + proof[place + 1 :]
        decision = DpopProofs(clock=clock).check(credential(changed), ANA.thumbprint)
        assert (decision is None) == (changed == proof)

    @settings(max_examples=60, deadline=None)
    @given(st.text(max_size=80))
    def test_any_text_is_refused_and_not_quoted(self, text):
        decision = DpopProofs().check(credential(text), ANA.thumbprint)
        assert not decision.allowed


_PROOF = ANA.proof(FrozenClock().time())


class TestNonces:
    @pytest.fixture
    def nonces(self, clock):
        return DpopNonces(bytes(32), clock=clock)

    def test_a_proof_without_our_nonce_is_sent_back_for_one(self, clock, nonces):
        proofs = DpopProofs(nonces=nonces, clock=clock)
        other = DpopNonces(b"\1" * 32, clock=clock)
        for nonce in (..., "", None, 7, "guess", other.fresh(), nonces.fresh() + "A", "é" * 30, "A" * 30):
            decision = proofs.check(credential(ANA.proof(clock.time(), nonce=nonce)), ANA.thumbprint)
            assert (decision.code, decision.challenge) == ("authn.nonce", {"error": "use_dpop_nonce"})
        assert proofs.check(credential(ANA.proof(clock.time(), nonce=nonces.fresh())), ANA.thumbprint) is None

    def test_a_forged_proof_is_told_nothing_of_nonces(self, clock, nonces):
        forged = EVE.sign(ANA.header(), ANA.payload(clock.time()))
        decision = DpopProofs(nonces=nonces, clock=clock).check(credential(forged), ANA.thumbprint)
        assert decision.code == "authn.invalid"

    def test_a_nonce_lives_as_long_as_was_said(self, clock, nonces):
        nonce = nonces.fresh()
        clock.advance(299)
        assert nonces.accepts(nonce)
        clock.advance(1)
        assert not nonces.accepts(nonce)

    def test_processes_with_one_secret_take_each_others_and_others_do_not(self, clock, nonces):
        assert DpopNonces(bytes(32), clock=clock).accepts(nonces.fresh())
        assert not DpopNonces(clock=clock).accepts(nonces.fresh())

    def test_every_changed_character_breaks_a_nonce(self, nonces):
        nonce = nonces.fresh()
        assert all(
            not nonces.accepts(nonce[:i] + ("A" if c != "A" else "B") + nonce[i + 1 :])
            for i, c in enumerate(nonce[:-1])
        )

    def test_secrets_are_long_and_never_shown(self):
        with pytest.raises(ValueError, match="32"):
            DpopNonces(b"short")
        with pytest.raises(TypeError):
            DpopNonces("x" * 32)
        with pytest.raises(ValueError, match="lifetime"):
            DpopNonces(lifetime_seconds=0)
        assert "secret-marker" not in repr(DpopNonces(b"secret-marker" * 3))


class TestSettings:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"algorithms": []},
            {"algorithms": ["none"]},
            {"algorithms": ["HS256"]},
            {"algorithms": ["RS256"]},
            {"algorithms": "ES256"},
            {"max_age_seconds": 0},
            {"max_age_seconds": float("nan")},
            {"max_age_seconds": 86_400},
            {"leeway_seconds": -1},
        ],
        ids=str,
    )
    def test_a_setting_that_opens_the_door_is_refused(self, wrong):
        with pytest.raises(ValueError, match=r"algorithms|seconds"):
            DpopProofs(**wrong)

    def test_a_store_that_cannot_remember_is_refused(self):
        with pytest.raises(TypeError):
            DpopProofs(replays=object())

    def test_a_proof_that_cannot_be_remembered_is_not_taken(self, clock):
        proofs = DpopProofs(clock=clock, replays=MemoryReplays(max_entries=1))
        assert proofs.check(credential(ANA.proof(clock.time())), ANA.thumbprint) is None
        with pytest.raises(Unavailable):
            proofs.check(credential(ANA.proof(clock.time())), ANA.thumbprint)
        clock.advance(60)
        assert proofs.check(credential(ANA.proof(clock.time())), ANA.thumbprint) is None

    def test_neither_proof_nor_token_is_in_what_a_refusal_says(self, check, clock):
        marker = "marker-5a1f"
        for shown in (
            credential(ANA.proof(clock.time(), jti=marker, htm=marker, htu=marker)),
            credential(ANA.proof(clock.time(), header={"alg": marker, "typ": marker})),
            credential(marker),
        ):
            reason = check(shown)
            assert marker not in reason
            assert TOKEN not in reason + repr(shown)
