"""Published signatures: those of the standards are right, and those that other libraries once took are not."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path

import pytest
from tests.unit.authn.issuing import World, claims_at, header_of, jwk_of, key_of, sign
from tests.unit.authn.senders import b64

from aisecure.authn.jwt.compact import read_jws
from aisecure.authn.jwt.errors import BadToken
from aisecure.authn.jwt.key_set import read_key_set

_FOLDER = Path(__file__).parents[2] / "vectors"
EXAMPLES = json.loads((_FOLDER / "jws_rfc.json").read_text())["examples"]
WYCHEPROOF = json.loads((_FOLDER / "wycheproof_jws.json").read_text())
#: All are allowed, so that only the keys decide.
ALLOWED = ["HS256", "ES256", "RS256", "EdDSA"]


def is_taken(token: str, key: dict[str, str]) -> bool:
    """Whether a token, whatever it says, was signed with a key."""
    keys = read_key_set({"keys": [key]}, ALLOWED, secrets=True)
    try:
        jws = read_jws(token, max_chars=8192, algorithms=frozenset(ALLOWED))
    except BadToken:
        return False
    return any(found.verifies(jws.signed, jws.signature) for found in keys.find(jws.alg, jws.kid))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_the_examples_of_the_standards_are_right_and_nothing_near_them(example):
    token, key = example["jws"], example["key"]
    assert is_taken(token, key)
    head, payload, signature = token.split(".")
    for other in (
        f"{head}.{payload[:-1]}.{signature}",
        f"{head}.{signature}.{payload}",
        token[:-2],
        token + "A",
    ):
        assert not is_taken(other, key)


@pytest.mark.parametrize(
    ("key", "case"),
    [
        pytest.param(group["key"], case, id=f"{group['algorithm']}-{case['tcId']}-{case['comment']}")
        for group in WYCHEPROOF["tokens"]
        for case in group["tests"]
    ],
)
def test_tokens_of_wycheproof(key, case):
    assert is_taken(case["jws"], key) is case["valid"]


@pytest.mark.parametrize(
    ("key", "case"),
    [
        pytest.param(group["key"], case, id=f"{group['algorithm']}-{case['tcId']}")
        for group in WYCHEPROOF["signatures"]
        for case in group["tests"]
    ],
)
def test_signatures_of_wycheproof(key, case):
    (found,) = read_key_set({"keys": [key]}, ALLOWED, secrets=False).keys
    message, signature = bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])
    assert found.verifies(message, signature) is case["valid"]


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def _raw_rsa(key, block: bytes) -> bytes:
    numbers = key.private_key.private_numbers()
    size = (numbers.public_numbers.n.bit_length() + 7) // 8
    return pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")


@pytest.mark.parametrize(
    "block",
    [
        lambda info, size: b"\0\1" + b"\xff" * 8 + b"\0" + info + bytes(size - 11 - len(info)),  # Bleichenbacher 2006
        lambda info, size: b"\0\1" + b"\xff" * 8 + b"\0" + info + b"\xff" * (size - 11 - len(info)),
        lambda info, size: b"\0\1" + b"\xff" * (size - 4 - len(info)) + b"\0" + info + b"\0",
        lambda info, size: b"\0\2" + b"\xff" * (size - 3 - len(info)) + b"\0" + info,
        lambda info, size: b"\0\0" + b"\xff" * (size - 3 - len(info)) + b"\0" + info,
        lambda info, size: b"\0\1" + b"\xfe" * (size - 3 - len(info)) + b"\0" + info,
        lambda info, size: b"\0\1" + b"\xff" * (size - 2 - len(info)) + info,
        lambda info, size: bytes(size - len(info)) + info,
        lambda info, size: b"\0\1" + b"\xff" * (size - 3 - 32) + b"\0" + info[-32:],  # without the name of the hash
        lambda info, size: b"\0\1" + b"\xff" * (size - 3 - 49) + b"\0" + info.replace(b"\5\0", b""),  # without NULL
    ],
)  # fmt: skip
def test_padding_of_rsa_is_checked_whole(block):
    key = key_of("RSA", 0)
    world = World("RS256")
    signed = sign(header_of("RS256"), claims_at(world.clock.time()), algorithm="RS256").rpartition(".")[0]
    info, size = SHA256_INFO + hashlib.sha256(signed.encode()).digest(), 256
    right = b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info
    assert not world.refusal(f"{signed}.{b64(_raw_rsa(key, right))}")
    forged = block(info, size)
    assert world.refusal(f"{signed}.{b64(_raw_rsa(key, forged))}") == "The signature is wrong."


@pytest.mark.proof
def test_no_change_of_a_token_is_taken_in_a_hundred_thousand():
    worlds = [World(name) for name in ("ES256", "RS256", "HS256", "EdDSA")]
    chance = random.Random(20260101)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0é"
    for turn in range(100_000):
        world = worlds[turn % len(worlds)]
        right = world.token(("ES256", "RS256", "HS256", "EdDSA")[turn % len(worlds)], sub=f"u-{turn % 7}")
        changed = list(right)
        for _ in range(chance.choice((1, 1, 2, 8))):
            place = chance.randrange(len(changed))
            kind = chance.randrange(4)
            if kind == 0:
                changed[place] = chance.choice(letters)
            elif kind == 1:
                changed.insert(place, chance.choice(letters))
            elif kind == 2 and len(changed) > 1:
                del changed[place]
            else:
                other = chance.randrange(len(changed))
                changed[place], changed[other] = changed[other], changed[place]
        token = "".join(changed)
        assert token == right or world.refusal(token)


def test_a_key_is_found_by_no_algorithm_but_its_own():
    keys = read_key_set(
        {"keys": [jwk_of(name) for name in ("ES256", "RS256", "EdDSA", "HS256")]}, ALLOWED, secrets=True
    )
    for algorithm in ALLOWED:
        assert [key.kid for key in keys.find(algorithm, None)] == [f"{algorithm}-0"]
    assert base64.urlsafe_b64decode(jwk_of("HS256")["k"] + "==") not in repr(keys).encode()
