"""One line of the log: an event, sealed to the line before it.

::

    {"ev":{...},"inst":"<writer>","prev":"<leaf hash of the line before>","seq":7,"ts":"2026-11-22T21:30:00.123456Z","v":1}

The line is in the form of RFC 8785. Its leaf hash is taken over the bytes as stored, without the newline, so that
a verifier depends on no JSON library.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from aisecure.audit.canonical import canonical
from aisecure.events import SecurityEvent

__all__ = ["LONGEST_LINE", "NO_LEAF", "Seal", "encode_event", "read_seal", "seal", "timestamp"]

#: C2SP tlog-tiles gives an entry a 16-bit length.
LONGEST_LINE = 65_535

#: What ``prev`` of the first line holds, in place of a leaf hash.
NO_LEAF = bytes(32)

#: What the seal takes of a line at most: names, quotes, 64 + 27 + 19 characters, and a writer's name of up to 40.
_LONGEST_SEAL = 256
_LONGEST_BODY = LONGEST_LINE - _LONGEST_SEAL

#: When an event does not fit, values longer than this are replaced by length and digest ...
_LONG_VALUE = 1024
#: ... and the whole detail, if it is still longer than this.
_LONG_DETAIL = 16_384

#: 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
_LAST_SECOND = 253_402_300_799

_PLAIN = frozenset({str, int, bool, type(None)})
_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)

_SEAL = re.compile(
    rb',"inst":"([0-9A-Za-z.-]{1,40})","prev":"([0-9a-f]{64})","seq":(0|[1-9][0-9]{0,18})'
    rb',"ts":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)","v":1\}\Z'
)


class Seal(NamedTuple):
    """What binds a line to its place: the leaf hash of the line before, and the number of this one."""

    prev: bytes
    seq: int


def encode_event(event: SecurityEvent, context: Mapping[str, Any] | None = None) -> list[bytes]:
    """Return the bodies to store for an event: its own, and one that tells when it had to be shortened.

    Args:
        event: What happened.
        context: Further facts about the surroundings, such as a trace id; stored as ``context``.

    >>> encode_event(SecurityEvent("policy.loaded", time=0.5, id="x", detail={"rules": 3}))
    [b'{"detail":{"rules":3},"id":"x","result":"success","severity":"informational","time":0.5,"type":"policy.loaded"}']
    """
    fields = event.to_dict()
    if context:
        fields["context"] = dict(context)
    body = _encode(fields)
    if len(body) <= _LONGEST_BODY:
        return [body]
    told = SecurityEvent(
        "log.oversize",
        time=event.time,
        tenant=event.tenant if len(event.tenant) <= _LONG_VALUE else "",
        detail={"bytes": len(body), "sha256": sha256(body).hexdigest(), "event_type": event.type},
    )
    return [canonical(_shortened(fields)), _encode(told.to_dict())]


def _encode(fields: dict[str, Any]) -> bytes:
    """Return RFC 8785 JSON: by orjson where it writes that form, by `canonical` where it would not."""
    quick = fields.copy()
    for name in ("time", "latency_ms"):
        number = fields.get(name)
        if number is not None:
            # orjson writes 1.0 and 1e-7 where RFC 8785 has 1 and 0.0000001, and null for NaN.
            if type(number) is not float or not 1e-3 <= number < 1e15:
                return canonical(fields)
            if number.is_integer():
                quick[name] = int(number)
    for name in ("detail", "context"):
        values = fields.get(name)
        if values is not None and not _PLAIN.issuperset(map(type, values.values())):
            quick[name] = orjson.Fragment(canonical(values))
    if "findings" in fields:
        quick["findings"] = orjson.Fragment(canonical(fields["findings"]))
    try:
        return orjson.dumps(quick, option=_OPTIONS)
    except orjson.JSONEncodeError:
        # A lone surrogate, a large integer, an object: what `canonical` is for.
        return canonical(fields)


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    short = {}
    for name, value in fields.items():
        if name == "detail":
            detail = {key: _digest_if_long(item, _LONG_VALUE) for key, item in value.items()}
            short[name] = _digest_if_long(detail, _LONG_DETAIL)
        else:
            short[name] = _digest_if_long(value, _LONG_VALUE)
    return short


def _digest_if_long(value: Any, limit: int) -> Any:
    encoded = canonical(value)
    if len(encoded) <= limit:
        return value
    return {"bytes": len(encoded), "sha256": sha256(encoded).hexdigest()}


def seal(body: bytes, *, writer: str, prev: str, seq: int, ts: str) -> bytes:
    """Return the line of a body, without its newline; ``prev`` in hex."""
    tail = f',"inst":"{writer}","prev":"{prev}","seq":{seq},"ts":"{ts}","v":1}}'
    return b'{"ev":' + body + tail.encode()


def read_seal(line: bytes) -> Seal | None:
    """Return what a complete line says of its place, or None if it is no line of this format."""
    if not line.startswith(b'{"ev":{') or len(line) > LONGEST_LINE:
        return None
    found = _SEAL.search(line[-_LONGEST_SEAL:])
    if found is None:
        return None
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return Seal(bytes.fromhex(found[2].decode()), int(found[3]))


def timestamp(seconds: float) -> str:
    """Return a time as RFC 3339 with microseconds; a clock that shows no such time gives the nearest one.

    >>> timestamp(0.25)
    '1970-01-01T00:00:00.250000Z'
    """
    if not 0 <= seconds < _LAST_SECOND:  # also for NaN
        seconds = _LAST_SECOND if seconds > 0 else 0
    whole = int(seconds)
    # The leading one keeps the zeros, cheaper than a format would.
    return f"{_second(whole)}.{str(1_000_000 + int((seconds - whole) * 1e6))[1:]}Z"


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    # Year by hand: strftime pads it on some systems only.
    moment = time.gmtime(whole)
    return f"{moment.tm_year:04d}" + time.strftime("-%m-%dT%H:%M:%S", moment)
