"""A token is taken if the issuer signed exactly this for this service and now, and there is one way to write it."""

from __future__ import annotations

import base64
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey
from tests.unit.authn.issuing import (
    ALGORITHMS,
    AUDIENCE,
    ISSUER,
    World,
    claims_at,
    header_of,
    jwk_of,
    key_of,
    kind_of,
    sign,
)
from tests.unit.authn.senders import b64

from aisecure.authn import JwtVerifier, Method
from aisecure.call import Credential
from aisecure.decisions import Decision
from aisecure.errors import AuthenticationError, Misconfigured
from aisecure.principal import Principal

WORLD = World()
NOW = WORLD.clock.time()
HEADER, CLAIMS = header_of(), claims_at(NOW)
TOKEN = WORLD.token()


LETTERS = string.ascii_letters + string.digits + "-_"


def text(part):
    return json.dumps(part, separators=(",", ":"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_right_token_is_taken(algorithm):
    world = World(algorithm)
    assert world.verifier.verify(world.token(algorithm)) == CLAIMS
    answer = world.verifier.authenticate(Credential("bearer", world.token(algorithm)))
    assert answer == Principal("u-17", claims=CLAIMS, method="jwt")


def test_it_is_a_method():
    assert isinstance(WORLD.verifier, Method)
    assert WORLD.verifier.aauthenticate is None
    assert WORLD.verifier.takes(Credential("bearer", TOKEN))
    assert WORLD.verifier.takes(Credential("dpop", TOKEN))
    for scheme, value in (
        ("bearer", "a.b"),
        ("bearer", "a.b.c.d.e"),
        ("bearer", ""),
        ("api_key", TOKEN),
        ("mtls", ""),
    ):
        assert not WORLD.verifier.takes(Credential(scheme, value))


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["https://other.example", AUDIENCE]])
def test_one_of_the_audiences_is_enough(audience):
    assert not WORLD.refusal(WORLD.token(aud=audience))
    assert not World(audience=["https://new.example.com", AUDIENCE]).refusal(WORLD.token(aud=audience))


def test_times_may_be_fractions_and_claims_may_be_in_any_language():
    assert not WORLD.refusal(WORLD.token(exp=NOW + 0.5, nbf=NOW, iat=NOW - 0.5, name="Ana Μαρία 李 😀"))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        *[({"exp": value}, "exp") for value in (..., None, "1800000000", True, [], {}, -1, 1e12, 10**16)],
        *[({name: value}, name) for name in ("nbf", "iat", "auth_time") for value in (None, "0", False, [], -1, 1e300)],
        *[({name: NOW + 1}, "future") for name in ("nbf", "iat", "auth_time")],
        ({"exp": NOW}, "expired"),
        ({"exp": NOW - 0.001}, "expired"),
        ({"exp": 0}, "expired"),
        *[
            ({"iss": value}, "issuer")
            for value in (..., None, "", [ISSUER], {}, 1, ISSUER[:-1], ISSUER + "/", ISSUER.upper(), ISSUER + "\0")
        ],
        *[({"aud": value}, "aud") for value in (..., None, 1, {}, {AUDIENCE: 1}, [AUDIENCE, 1], [[AUDIENCE]])],
        *[
            ({"aud": value}, "another audience")
            for value in ("", [], [""], AUDIENCE + "/", AUDIENCE[:-1], AUDIENCE.upper(), f"{AUDIENCE} x", "https://*")
        ],
        *[({"sub": value}, "sub") for value in ("", 17, True, ["u-17"], {})],
        ({"sub": None}, "sub"),
        ({"sub": ...}, "required"),
        ({"jti": 1}, "jti"),
        ({"client_id": ["x"]}, "client_id"),
        ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "security event"),
    ],
)  # fmt: skip
def test_other_claims_are_refused(claims, reason):
    assert reason in WORLD.refusal(WORLD.token(**claims))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        *[
            ({"alg": value}, "algorithm")
            for value in (
                ..., None, "", "none", "None", "NONE", "nOnE", "none ", "n\u043ene", 1, True, [], ["ES256"], {}, "es256",
                "ES256 ", "ES384", "HS256", "RS256", "PS256", "ES256K", "RSA-OAEP", "dir",
            )
        ],
        *[({"kid": value}, "kid") for value in (None, 1, "", [], {}, "k" * 257)],
        *[
            ({"kid": value}, "unknown")
            for value in ("other", "../../dev/null", "' OR 1=1 --", "http://evil.example/", "ES256-0\0", "es256-0")
        ],
        *[({"jwk": value}, "own key") for value in (jwk_of("ES256"), None, {}, "x")],
        ({"jku": "https://evil.example/jwks"}, "own key"),
        ({"x5u": "https://evil.example/cert"}, "own key"),
        ({"x5c": ["MIIB"]}, "own key"),
        *[({"crit": value}, "crit") for value in (["exp"], ["alg"], ["b64"], [], None, 1, "exp", ["http://x"])],
        *[({"b64": value}, "b64") for value in (True, False, None)],
        *[({"typ": value}, "typ") for value in (None, 1, ["JWT"], "")],
        *[
            ({"typ": value}, "another kind")
            for value in ("dpop+jwt", "logout+jwt", "secevent+jwt", "application/dpop+jwt", "JWE", "JWT2", "token-introspection+jwt")
        ],
    ],
)  # fmt: skip
def test_other_headers_are_refused(header, reason):
    assert reason in WORLD.refusal(WORLD.token(header=header))


@pytest.mark.parametrize("typ", [..., "JWT", "jwt", "application/jwt", "at+jwt", "application/at+jwt"])
def test_a_token_that_says_no_more_than_that_it_is_one_is_taken(typ):
    assert not WORLD.refusal(WORLD.token(header={"typ": typ}))


def test_thumbprints_of_certificates_in_a_header_are_names_and_no_keys():
    assert not WORLD.refusal(WORLD.token(header={"x5t": "AAAA", "x5t#S256": "AAAA"}))


def test_an_access_token_is_asked_for_and_nothing_else_will_do():
    world = World(typ="at+jwt")
    whole = {"client_id": "app", "jti": "t-1"}
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"):
        assert not world.refusal(world.token(header={"typ": typ}, **whole))
    for typ in (..., "JWT", "jwt", "application/application/at+jwt", "at+jwt ", "x/at+jwt"):
        assert "another kind" in world.refusal(world.token(header={"typ": typ}, **whole))
    for name in ("sub", "client_id", "iat", "jti"):
        assert "required" in world.refusal(world.token(header={"typ": "at+jwt"}, **{**whole, name: ...}))


def test_clocks_may_differ_by_the_leeway_and_no_more():
    world = World(leeway=5)
    assert not world.refusal(world.token(exp=NOW - 4.5, nbf=NOW + 5, iat=NOW + 5))
    assert "expired" in world.refusal(world.token(exp=NOW - 5))
    assert "future" in world.refusal(world.token(nbf=NOW + 5.5))


def test_what_is_required_has_to_be_there():
    world = World(required=["acr"])
    assert "required" in world.refusal(world.token())
    assert "required" in world.refusal(world.token(acr=None))
    assert not world.refusal(world.token(acr="", sub=...))


# -- one way to write it


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize(
    "change",
    [
        lambda part: part + "=",
        lambda part: part + "==",
        lambda part: part + "\n",
        lambda part: " " + part,
        lambda part: part[:5] + "\n" + part[5:],
        lambda part: part[:5] + "*" + part[5:],
        lambda part: part[:5] + "\u212a" + part[5:],
        lambda part: part + "A",
        lambda part: part[:-1],
        lambda part: "",
        lambda part: part + "\0",
        lambda part: part.translate(str.maketrans("-_", "+/")) + "++",
    ],
)
def test_no_other_base64_is_taken(part, change):
    parts = TOKEN.split(".")
    parts[part] = change(parts[part])
    assert WORLD.refusal(".".join(parts))


@pytest.mark.parametrize("padding", ["", "x", "xx"])
@pytest.mark.parametrize("part", ["header", "payload"])
def test_bits_that_stand_for_nothing_have_to_be_zero(part, padding):
    parts = {"header": {**HEADER, "x": padding}, "payload": {**CLAIMS, "x": padding}}
    written = b64(json.dumps(parts[part]).encode())
    assert not WORLD.refusal(sign(*{**parts, part: written}.values()))
    raw = base64.urlsafe_b64decode(written + "==")
    for letter in LETTERS:
        other = written[:-1] + letter
        # Signed as it stands, so only the spelling speaks against it.
        if other != written and base64.urlsafe_b64decode(other + "==") == raw:
            assert "canonical" in WORLD.refusal(sign(*{**parts, part: other}.values()))


def test_of_the_spellings_of_a_signature_one_is_taken():
    head, _, signature = TOKEN.rpartition(".")
    alike = [f"{head}.{signature[:-1]}{letter}" for letter in LETTERS]
    assert [token for token in alike if not WORLD.refusal(token)] == [TOKEN]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (text(CLAIMS)[:-1] + ',"sub":"root"}', "twice"),
        (text(CLAIMS)[:-1] + ',"\\u0073ub":"root"}', "twice"),
        (text(CLAIMS)[:-1] + ',"x":{"a":1,"a":1}}', "twice"),
        *[(text(CLAIMS)[:-1] + f',"x":{value}}}', "NaN") for value in ("NaN", "Infinity", "-Infinity")],
        (text(CLAIMS)[:-1] + ',"x":1e400}', "too large"),
        (text(CLAIMS)[:-1] + ',"x":[-1e999]}', "too large"),
        (text(CLAIMS)[:-1] + f',"x":{"9" * 18}}}', "digits"),
        (text(CLAIMS)[:-1] + f',"x":{"9" * 5000}}}', "digits"),
        (text(CLAIMS)[:-1] + ',"x":"\\ud800"}', "surrogate"),
        (text(CLAIMS)[:-1] + ',"\\udfff":1}', "surrogate"),
        (text(CLAIMS)[:-1] + ',"x":[{"y":"\\ud83d"}]}', "surrogate"),
        (text(CLAIMS)[:-1] + f',"x":{"[" * 17}{"]" * 17}}}', "deep"),
        (text(CLAIMS)[:-1] + f',"x":{"[" * 2900}{"]" * 2900}}}', "JSON"),
        (text(CLAIMS)[:-1] + ',"x":"\n"}', "JSON"),
        (text(CLAIMS)[:-1] + ",}", "JSON"),
        (text(CLAIMS) + "x", "JSON"),
        (text(CLAIMS) + text(CLAIMS), "JSON"),
        (text(CLAIMS).replace('"', "'"), "JSON"),
        ("/**/" + text(CLAIMS), "JSON"),
        ("\ufeff" + text(CLAIMS), "JSON"),
        (text(CLAIMS) + "\0", "JSON"),
        ("[" + text(CLAIMS) + "]", "no JSON object"),
        *[(value, "no JSON object") for value in ("null", "1", '"x"', "[]", "true")],
        ("", "JSON"),
        (text(CLAIMS).encode("utf-16"), "JSON"),
        (text(CLAIMS).encode()[:-1] + b',"x":"\xff"}', "JSON"),
        (text(CLAIMS).encode()[:-1] + b',"x":"\xed\xa0\x80"}', "JSON"),
        (text(CLAIMS).encode()[:-1] + b',"x":"\xc0\x80"}', "JSON"),
    ],
)
def test_no_json_is_taken_that_two_parsers_could_read_in_two_ways(payload, reason):
    data = payload if isinstance(payload, bytes) else payload.encode()
    assert reason in WORLD.refusal(sign(HEADER, data))


def test_a_header_is_read_as_strictly():
    for header in (text(HEADER)[:-1] + ',"alg":"none"}', '{"alg":"none",' + text(HEADER)[1:]):
        assert "twice" in WORLD.refusal(sign(header.encode(), CLAIMS))
    for header in (b"[]", b"", b"{}x", b"\xff", text(HEADER).encode("utf-16"), b"[" * 5000):
        assert WORLD.refusal(sign(header, CLAIMS))


def test_escapes_and_emoji_and_ordinary_nesting_are_taken():
    data = (text(CLAIMS)[:-1] + ',"x":"\\ud83d\\ude00\\u0000","y":' + '{"z":' * 14 + "1" + "}" * 15).encode()
    assert not WORLD.refusal(sign(HEADER, data))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6000])
def test_a_token_has_three_parts(count):
    assert WORLD.refusal(".".join([*TOKEN.split("."), *["e30"] * 6000][: count + 1] if count != 2 else []))


def test_nothing_is_decoded_of_a_token_that_is_too_long():
    long = WORLD.token(x="y" * 6000)
    assert len(long) > 8192
    assert "too long" in WORLD.refusal(long)
    assert not World(max_token_chars=10_000).refusal(long)
    for text in ("." * 2_000_000, "a" * 2_000_000, "e30." * 500_000):
        assert "too long" in WORLD.refusal(text)
        answer = WORLD.verifier.authenticate(Credential("bearer", text))
        assert isinstance(answer, Decision)


@pytest.mark.parametrize(
    "value", [None, 1, b"", TOKEN.encode(), [TOKEN], {}, "\ud800.\udfff.x", "\0", "..", "."]
)
def test_what_is_no_token_is_refused_like_every_other(value):
    assert WORLD.refusal(value)


@given(
    st.text() | st.binary() | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}")
)
def test_nothing_but_a_refusal_comes_of_any_text_or_bytes(value):
    with pytest.raises(AuthenticationError):
        WORLD.verifier.verify(value)
    if isinstance(value, str):
        assert isinstance(WORLD.verifier.authenticate(Credential("bearer", value)), Decision)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
NAMES = st.sampled_from(
    ["alg", "kid", "typ", "crit", "jwk", "iss", "aud", "exp", "nbf", "iat", "sub", "jti", "auth_time"]
)


@given(st.dictionaries(NAMES, JSON, max_size=2), st.dictionaries(NAMES, JSON, max_size=2))
def test_no_value_in_any_place_makes_it_fail_otherwise(header, claims):
    token = sign({**HEADER, **header}, {**CLAIMS, **claims})
    answer = WORLD.verifier.authenticate(Credential("bearer", token))
    assert isinstance(answer, Decision | Principal)


@given(st.integers(0, len(TOKEN) - 1), st.characters(max_codepoint=0x2FF))
def test_no_character_of_a_token_can_be_another(place, character):
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    assert (changed == TOKEN) == (WORLD.refusal(changed) == "")


@given(st.integers(0, len(TOKEN)), st.text(min_size=1, max_size=3))
def test_nothing_can_be_put_in_or_left_out(place, more):
    assert WORLD.refusal(TOKEN[:place] + more + TOKEN[place:])
    assert WORLD.refusal(TOKEN[:place] + TOKEN[place + 1 :]) or place == len(TOKEN)


# -- keys


def test_a_public_key_is_never_a_secret():
    jwks = {"keys": [jwk_of("RS256"), jwk_of("ES256"), jwk_of("EdDSA"), jwk_of("HS256")]}
    world = World("RS256", "ES256", "EdDSA", "HS256", jwks=jwks)
    rsa = key_of("RSA")
    public = [
        rsa.as_pem(private=False), rsa.as_pem(private=False).strip(), rsa.as_der(private=False),
        json.dumps(jwk_of("RS256")).encode(), base64.urlsafe_b64decode(jwk_of("RS256")["n"] + "=="), b"\0", bytes(32),
    ]  # fmt: skip
    for secret in public:
        for algorithm in ("HS256", "HS384", "HS512"):
            signer = OctKey(secret, secret)
            for kid in ("RS256-0", "ES256-0", "HS256-0", ...):
                token = sign(header_of(algorithm, kid=kid), CLAIMS, algorithm=algorithm, key=signer)
                assert world.refusal(token)
    assert not world.refusal(world.token("HS256"))


@pytest.mark.parametrize(
    ("said", "used", "kid"),
    [
        ("RS256", "PS256", "RS256-0"), ("PS256", "RS256", "RS256-0"), ("PS256", "PS256", "RS256-0"),
        ("RS512", "RS512", "RS256-0"), ("ES256", "ES256", "RS256-0"), ("RS256", "RS256", "ES256-0"),
        ("ES384", "ES256", "ES256-0"), ("EdDSA", "ES256", "EdDSA-0"), ("EdDSA", "EdDSA", "ES256-0"),
    ],
)  # fmt: skip
def test_a_key_is_for_one_algorithm(said, used, kid):
    jwks = {"keys": [jwk_of("RS256"), jwk_of("ES256"), jwk_of("EdDSA")]}
    world = World("RS256", "PS256", "RS512", "ES256", "ES384", "EdDSA", jwks=jwks)
    assert world.refusal(sign(header_of(said, kid=kid), CLAIMS, algorithm=used))


def test_a_key_that_names_no_algorithm_is_bound_to_the_first_that_fits():
    jwks = {"keys": [jwk_of("RS256", alg=..., kid="r"), jwk_of("ES384", alg=..., kid="e")]}
    world = World("PS256", "RS256", "ES256", "ES384", jwks=jwks)
    assert not world.refusal(sign(header_of("PS256", kid="r"), CLAIMS, algorithm="PS256"))
    assert world.refusal(sign(header_of("RS256", kid="r"), CLAIMS, algorithm="RS256"))
    assert not world.refusal(sign(header_of("ES384", kid="e"), CLAIMS, algorithm="ES384"))


@pytest.mark.parametrize(
    ("algorithm", "changes", "reason"),
    [
        ("ES256", {"use": "enc"}, "use"),
        ("ES256", {"use": None}, "use"),
        ("ES256", {"key_ops": ["sign"]}, "key_ops"),
        ("ES256", {"key_ops": []}, "key_ops"),
        ("ES256", {"key_ops": "verify"}, "key_ops"),
        ("ES256", {"alg": "ES384"}, "not allowed"),
        ("ES256", {"alg": "none"}, "not allowed"),
        ("ES256", {"alg": ["ES256"]}, "not allowed"),
        ("ES256", {"alg": "ECDH-ES"}, "not allowed"),
        ("ES256", {"crv": "P-384"}, "not allowed"),
        ("ES256", {"crv": "secp256k1"}, "not allowed"),
        ("ES256", {"kty": "ec"}, "kind"),
        ("ES256", {"kty": ["EC"]}, "kind"),
        ("ES256", {"kty": ...}, "kind"),
        ("ES256", {"x": ...}, "incomplete"),
        ("ES256", {"x": 5}, "incomplete"),
        ("ES256", {"x": "AAAA"}, "not a key"),
        ("ES256", {"y": "!!"}, "not a key"),
        ("ES256", {"kid": 1}, "kid"),
        ("ES256", {"kid": ""}, "kid"),
        ("ES256", {"kid": "k" * 1000}, "kid"),
        ("ES256", {"d": "AAAA"}, "private"),
        ("RS256", {"d": "AAAA"}, "private"),
        ("RS256", {"n": "AQAB"}, "2048"),
        ("RS256", {"n": b64(b"\xff" * 2048)}, "8192"),
        ("RS256", {"e": b64(b"\xff" * 32)}, "RSA"),
        ("RS256", {"e": "AA"}, "not a key"),
        ("RS256", {"e": "AQ"}, "not a key"),
        ("RS256", {"n": "A"}, "base64url"),
        ("RS256", {"n": "\u00e9" * 400}, "base64url"),
        ("EdDSA", {"x": "AAAA"}, "not a key"),
        ("EdDSA", {"crv": "X25519"}, "not allowed"),
        ("HS256", {"k": ""}, "32 bytes"),
        ("HS256", {"k": b64(bytes(31))}, "32 bytes"),
        ("HS512", {"k": b64(bytes(63))}, "64 bytes"),
    ],
)  # fmt: skip
def test_an_unusable_key_is_not_taken_and_the_text_says_why(algorithm, changes, reason):
    bad = {"keys": [jwk_of(algorithm, **changes)]}
    with pytest.raises(Misconfigured, match=reason) as caught:
        World(algorithm, jwks=bad)
    assert caught.value.code == "config.jwks"
    # Beside a good one it is passed over.
    bad["keys"].append(jwk_of("ES384"))
    assert not World(algorithm, "ES384", jwks=bad).refusal(WORLD.token("ES384"))


def test_a_weak_key_verifies_nothing():
    weak = key_of("RSA-1024")
    jwk = {**weak.as_dict(private=False), "kid": "weak", "alg": "RS256"}
    world = World("RS256", jwks={"keys": [jwk, jwk_of("RS256")]})
    assert "unknown" in world.refusal(
        sign(header_of("RS256", kid="weak"), CLAIMS, algorithm="RS256", key=weak)
    )


def test_a_public_key_that_is_given_as_a_secret_is_noticed():
    rsa = key_of("RSA")
    openssh = b"ssh-ed25519 " + b64(bytes(40)).encode()
    for secret in (
        rsa.as_pem(private=False),
        b"\n" + rsa.as_pem(private=False),
        rsa.as_der(private=False),
        openssh,
    ):
        with pytest.raises(Misconfigured, match=r"public key|not a key"):
            World("HS256", jwks={"keys": [jwk_of("HS256", k=b64(secret))]})


@pytest.mark.parametrize(
    "jwks", [{}, {"keys": []}, {"keys": {}}, {"keys": [1]}, {"keys": None}, {"keys": [{}] * 101}]
)
def test_a_set_without_keys_is_a_mistake(jwks):
    with pytest.raises(Misconfigured):
        World(jwks=jwks)


def test_without_a_kid_the_few_keys_that_fit_are_tried():
    keys = [jwk_of("ES256", number) for number in range(4)]
    world = World(jwks={"keys": [jwk_of("RS256"), *keys]})
    for number in range(4):
        assert not world.refusal(sign(header_of(kid=...), CLAIMS, number=number))
    assert "signature" in world.refusal(sign(header_of(kid=...), CLAIMS, number=4))
    many = World(jwks={"keys": [*keys, jwk_of("ES256", 4)]})
    assert "many keys" in many.refusal(sign(header_of(kid=...), CLAIMS))
    assert not many.refusal(sign(header_of(number=4), CLAIMS, number=4))


def test_a_key_without_a_kid_is_found_only_by_tokens_without_one():
    world = World(jwks={"keys": [jwk_of("ES256", kid=...)]})
    assert not world.refusal(sign(header_of(kid=...), CLAIMS))
    assert "unknown" in world.refusal(TOKEN)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_of_any_other_length_or_value_is_wrong(algorithm):
    world = World(algorithm)
    signed, _, signature = world.token(algorithm).rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    for other in (
        b"\0",
        raw + b"\0",
        raw[:-1],
        b"\0" + raw,
        bytes(len(raw)),
        b"\xff" * len(raw),
        raw[::-1],
        raw * 20,
    ):
        assert world.refusal(f"{signed}.{b64(other)}") in (
            "The signature is wrong.",
            "The token is no text, or too long.",
        )
    assert (
        world.refusal(sign(header_of(algorithm), CLAIMS, algorithm=algorithm, number=1))
        == "The signature is wrong."
    )
    assert kind_of(algorithm)


# -- set-up


@pytest.mark.parametrize(
    "options",
    [
        {"algorithms": []}, {"algorithms": "ES256"}, {"algorithms": ["none"]}, {"algorithms": ["ES256", "ES256K"]},
        {"algorithms": [1]}, {"issuer": ""}, {"issuer": None}, {"audience": ""}, {"audience": []}, {"audience": [1]},
        {"leeway": 61}, {"leeway": -1}, {"leeway": "5"}, {"leeway": float("nan")}, {"typ": ""}, {"typ": 1},
        {"required": "sub"}, {"jwks_uri": "https://login.example.com/jwks"}, {"max_token_chars": 0},
        {"memo_seconds": -1}, {"memo_seconds": float("nan")}, {"timeout_seconds": 0}, {"max_stale_seconds": -1},
    ],
)  # fmt: skip
def test_a_mistake_in_the_options_is_told_at_once(options):
    with pytest.raises((ValueError, TypeError)):
        World(**options)


def test_nothing_of_a_token_or_a_key_is_in_a_text_that_is_shown():
    world = World("HS256")
    token = world.token("HS256", sub="marker-sub", header={"kid": "marker-kid"})
    assert "unknown" in world.refusal(token)
    shown = repr(world.verifier) + repr(world.events[0]) + repr(vars(world.verifier))
    for secret in ("marker", jwk_of("HS256")["k"], token.split(".")[1]):
        assert secret not in shown


def test_fetching_keys_for_hmac_is_a_mistake():
    with pytest.raises(ValueError, match="secret of your own"):
        JwtVerifier(issuer=ISSUER, audience=AUDIENCE, algorithms=["HS256"], jwks_uri=ISSUER + "jwks")
