"""One record for everything that happens, and the one table of what can happen.

Names of fields follow the OpenTelemetry semantic conventions where one exists (``gen_ai.*``); the rest are
plain words. An event never holds prompt or answer text, a credential, or the text that a detector matched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aisecure._value import value
from aisecure.decisions import Finding

if TYPE_CHECKING:
    from aisecure.call import Call

__all__ = ["EVENT_TYPES", "EventType", "Result", "SecurityEvent", "Severity", "Usage", "uuid7"]


class Severity(StrEnum):
    """How loud an event is; the words of OCSF ``severity``."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Result(StrEnum):
    """How the thing ended; the words of ECS ``event.outcome``."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EventType:
    """One row of the table: what a type means and which ``detail`` fields it may carry."""

    meaning: str
    severity: Severity
    details: frozenset[str] = frozenset()


def _row(meaning: str, severity: Severity, *details: str) -> EventType:
    return EventType(meaning, severity, frozenset(details))


_INFO, _LOW, _MEDIUM, _HIGH = Severity.INFORMATIONAL, Severity.LOW, Severity.MEDIUM, Severity.HIGH

#: Every event type there is. Adding a row here is the only way to add one.
EVENT_TYPES: Mapping[str, EventType] = MappingProxyType({
    # calls: exactly one of these ends every protected call
    "call.allowed": _row("The call passed every guard and its output was delivered.", _INFO, "chunks", "would_deny", "policy_version"),
    "call.denied": _row("A guard refused the call before it happened.", _MEDIUM, "guard", "would_deny", "policy_version"),
    "call.blocked": _row("A guard withheld the output, or cut a stream.", _HIGH, "guard", "chunks", "would_deny", "policy_version"),
    "call.failed": _row("The protected function raised.", _LOW, "error_type", "chunks", "would_deny", "policy_version"),
    "call.cancelled": _row("The caller went away before the output was complete.", _LOW, "chunks", "would_deny", "policy_version"),
    "call.unavailable": _row("A check could not run, so the call was refused.", _HIGH, "guard", "error_type", "chunks", "would_deny", "policy_version"),
    # guards
    "guard.would_deny": _row("A guard in shadow mode would have refused.", _MEDIUM, "guard"),
    "guard.skipped": _row("A check could not run and on_unavailable let the call pass.", _HIGH, "guard", "error_type"),
    # authentication
    "authn.failed": _row("A credential was missing or not accepted.", _MEDIUM, "method", "key_id", "reason"),
    "authn.throttled": _row("A source, or callers that name one key id, failed too often.", _HIGH, "by", "key_id", "failures", "seconds"),
    "key.created": _row("An API key was issued.", _INFO, "key_id", "subject"),
    "key.rotated": _row("An API key got a successor.", _INFO, "key_id", "successor", "until"),
    "key.revoked": _row("An API key was revoked.", _MEDIUM, "key_id"),
    "jwks.loaded": _row("The keys of a token issuer were fetched, and are other keys than before.", _INFO, "issuer", "keys"),
    "jwks.stale": _row("The keys of a token issuer could not be fetched; the last good ones, if any, serve for a time.", _HIGH, "issuer", "keys"),
    "jwks.refused": _row("A token issuer published no usable keys; the last good ones, if any, serve for a time.", _HIGH, "issuer", "keys"),
    # encryption
    "keyring.created": _row("A key ring was generated.", _INFO, "key_id"),
    "keyring.rotated": _row("A key ring has a new primary key.", _INFO, "key_id"),
    "keyring.retired": _row("A key of a ring decrypts nothing any more.", _MEDIUM, "key_id"),
    "keyring.reinstated": _row("A retired key of a ring decrypts again.", _MEDIUM, "key_id"),
    "keyring.destroyed": _row("A key of a ring was removed for ever.", _HIGH, "key_id"),
    "keyring.rewrapped": _row("A key ring was wrapped anew, or by another provider.", _MEDIUM, "key_id"),
    "keyring.unavailable": _row("A key ring cannot be had, so nothing is encrypted or decrypted.", _HIGH),
    "encryption.reencrypting": _row("A store is being brought under the primary key.", _INFO, "key_id"),
    "encryption.reencrypted": _row("A run of re-encryption ended; it failed when tokens are left behind.", _MEDIUM, "changed", "complete", "failed", "key_ids", "seen"),
    # transport
    "tls.certificate_loaded": _row("A server serves a renewed certificate.", _INFO, "file", "not_after"),
    "tls.certificate_refused": _row("A renewed certificate was unusable; the last good one stays.", _HIGH, "file", "reason"),
    "tls.pin_mismatch": _row("A server showed a public key that is not pinned; nothing was sent to it.", _HIGH, "host", "seen"),
    "transport.exposed": _row("A credential came over plain HTTP: treat it as known to others.", _HIGH, "credential"),
    "transport.insecure": _row("A request came over plain HTTP and was refused.", _MEDIUM),
    "subject.erased": _row("The key of a data subject was erased and scrubbed from the disk; ``keys`` is 0 where there was none.", _MEDIUM, "key_id", "keys"),
    "subject.erasure_refused": _row("A legal hold forbade the erasure of a data subject.", _HIGH),
    "subject.rewrapped": _row("Keys of data subjects were wrapped anew.", _MEDIUM, "keys"),
    # access
    "policy.loaded": _row("A policy was loaded.", _INFO, "version", "rules"),
    "policy.changed": _row("Rules or role links were added or removed.", _MEDIUM, "version", "added", "removed"),
    "policy.interpreted": _row("The matcher is not compiled, so each decision takes time linear in the rules.", _LOW, "version", "reason"),
    "policy.unseen": _row("The source of the policy does not answer; the last version decides.", _HIGH, "reason"),
    "policy.untold": _row("A change of the policy was stored, but others could not be told; they see it at their next look.", _MEDIUM, "reason"),
    "policy.refused": _row("A new policy was unusable; the last good one stays.", _HIGH, "reason"),
    "access.elevated": _row("Somebody was given roles for a while.", _HIGH, "elevation", "subject", "roles", "seconds"),
    "access.elevation_ended": _row("Roles for a while were ended before their time.", _MEDIUM, "elevation"),
    "access.elevations_unseen": _row("It cannot be known who is elevated; calls go on with ordinary roles.", _HIGH),
    "access.break_glass": _row("Somebody took a role in an emergency.", Severity.CRITICAL, "elevation", "subject", "roles", "seconds"),
    "access.break_glass_used": _row("A call was made with a role taken in an emergency.", _HIGH, "elevation"),
    # approvals
    "approval.requested": _row("A call waits for a person.", _MEDIUM, "approval", "approvers"),
    "approval.granted": _row("A person approved a call.", _HIGH, "approval", "subject", "votes", "approvers"),
    "approval.refused": _row("A person refused a call.", _MEDIUM, "approval", "subject"),
    "approval.used": _row("An approved call was made.", _HIGH, "approval"),
    "approval.expired": _row("Nobody answered in time, or an approval was not used in time.", _LOW, "approval"),
    "documents.filtered": _row("Documents were found for somebody, and those left out whom they are not for.", _INFO, "kept", "dropped", "policy_version"),
    # content
    "content.redacted": _row("Personal data or secrets were taken out of the body of a request or response; findings are the first hundred.", _INFO, "body", "found"),
    # quotas
    "quota.per_process": _row("Limits are counted per process; several workers multiply them.", _LOW, "limits"),
    "quota.approximate": _row("The key cap was reached; new keys are counted by GCRA.", _MEDIUM, "keys"),
    "quota.degraded": _row("The store of limits does not answer; each process goes on with its share.", _HIGH, "error_type", "processes"),
    "quota.recovered": _row("The store of limits answers again.", _MEDIUM),
    "quota.reset": _row("Somebody's counts were reset from the command line.", _HIGH, "subject", "limits"),
    "shedding.began": _row("The process is overloaded, and calls are refused at once.", _HIGH, "guard", "in_flight", "limit"),
    "shedding.ended": _row("No call was refused for overload for a while.", _INFO, "guard", "in_flight", "limit"),
    "circuit.opened": _row("A model kept failing; calls to it are refused for a while.", _HIGH, "guard", "failures", "seconds"),
    "circuit.half_open": _row("A model that failed is tried again.", _LOW, "guard"),
    "circuit.closed": _row("A model that failed answers again.", _MEDIUM, "guard"),
    "budget.charged": _row("A call was booked on its budgets: as the provider reported, as counted, or all that was held for it.", _INFO, "name", "basis", "cost", "currency"),
    "budget.warning": _row("A budget runs out.", _MEDIUM, "name", "unit", "used", "limit", "window_seconds"),
    "budget.exceeded": _row("A budget that refuses nothing is exceeded.", _HIGH, "name", "unit", "used", "limit", "window_seconds"),
    "budget.overdrawn": _row("A call used more than was held for it.", _MEDIUM, "name", "unit", "reserved", "used"),
    "budget.unsettled": _row("A call could not be booked, yet or at all.", _HIGH, "name", "reason"),
    # models
    "model.drift": _row("A response named another model than the pinned one.", _HIGH, "pinned", "seen"),
    # the shield itself
    "shield.started": _row("A shield was built.", _INFO, "guards", "config_digest", "shadow"),
    "config.reloaded": _row("A new configuration took effect.", _MEDIUM, "config_digest"),
    "config.refused": _row("A new configuration was unusable; the last good one stays.", _HIGH, "reason"),
    # the log about itself
    "log.genesis": _row("A log begins.", _INFO, "origin", "format"),
    "log.recovered": _row("A torn or unindexed tail was repaired after a crash.", _HIGH, "bytes", "sha256", "adopted", "file"),
    "log.rebuilt": _row("The head file was missing or damaged and was rebuilt from the segments.", _HIGH, "entries"),
    "log.segment": _row("A log file was closed and the next one begun.", _INFO, "file", "bytes", "sha256", "first_seq", "last_seq"),
    "log.oversize": _row("An event was larger than a line may be; its detail was replaced by a digest.", _MEDIUM, "bytes", "sha256", "event_type"),
    "log.dropped": _row("Events could not be written.", _HIGH, "count", "first", "last"),
})  # fmt: skip


@value
class Usage:
    """Tokens of one model call, as the provider reported them.

    Attributes:
        input_tokens: All tokens of the prompt, also those that came from the provider's cache or went into it.
        output_tokens: All tokens of the answer, also those of reasoning that is not shown.
        cache_read_tokens: Those of the prompt that came from the cache.
        cache_write_tokens: Those of the prompt that went into the cache.
        reasoning_tokens: Those of the answer that were reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Return the tokens of both."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def most(self, other: Usage) -> Usage:
        """Return the larger of each count, for counts that grow while an answer is streamed."""
        return Usage(
            max(self.input_tokens, other.input_tokens),
            max(self.output_tokens, other.output_tokens),
            max(self.cache_read_tokens, other.cache_read_tokens),
            max(self.cache_write_tokens, other.cache_write_tokens),
            max(self.reasoning_tokens, other.reasoning_tokens),
        )


def uuid7(unix_seconds: float | None = None) -> str:
    """Return a UUID version 7 (RFC 9562 section 5.7): ordered by time, 74 random bits.

    Args:
        unix_seconds: The time to encode; now when None.
    """
    when = f"{int((time.time() if unix_seconds is None else unix_seconds) * 1000) & 0xFFFF_FFFF_FFFF:012x}"
    # Put together as text: arithmetic on 128-bit numbers costs several times as much.
    noise = os.urandom(10).hex()
    return f"{when[:8]}-{when[8:]}-7{noise[:3]}-{_VARIANT[noise[3]]}{noise[4:7]}-{noise[7:19]}"


#: The first hexadecimal digit of the fourth group holds the variant, 10, and two random bits.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
#: What an event looks up when it is written, worked out once.
_SEVERITY_OF = {name: row.severity.value for name, row in EVENT_TYPES.items()}
_TEXTS = (
    "principal",
    "tenant",
    "action",
    "resource",
    "source",
    "request_id",
    "conversation",
    "trace",
    "code",
)
_WORD_OF = {result: result.value for result in Result}


@value
class SecurityEvent:
    """What happened, to whom, on what, and how it ended; JSON-ready, free of content.

    Attributes:
        type: A key of `EVENT_TYPES`.
        time: Seconds since the epoch, UTC.
        id: UUID version 7.
        result: `Result`.
        principal: Id of who called.
        tenant: Tenant of the principal.
        action, resource: As in `Call`.
        source: Client address.
        request_id, conversation, trace: As in `Call`.
        code: Code of the decision.
        reasons: Reasons of the decision.
        findings: What detectors saw, without text.
        model: Model named by the response (``gen_ai.response.model``).
        usage: Tokens of the call.
        latency_ms: From entering the first guard to the end of the output.
        detail: Further fields; only those that the type's row in `EVENT_TYPES` names.

    Raises:
        ValueError: For an unlisted type or detail; both are mistakes in the program.
    """

    type: str
    time: float = field(default_factory=time.time)
    id: str = ""
    result: Result = Result.SUCCESS
    principal: str = ""
    tenant: str = ""
    action: str = ""
    resource: str = ""
    source: str = ""
    request_id: str = ""
    conversation: str = ""
    trace: str = ""
    code: str = ""
    reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    model: str = ""
    usage: Usage | None = None
    latency_ms: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        row = EVENT_TYPES.get(self.type)
        if row is None:
            raise ValueError(f"unlisted event type {self.type!r}: add a row to EVENT_TYPES")
        if self.detail and not row.details.issuperset(self.detail):
            unlisted = sorted(set(self.detail) - row.details)
            raise ValueError(f"event type {self.type!r} has no detail named {unlisted}: see EVENT_TYPES")
        if not self.id:
            object.__setattr__(self, "id", uuid7(self.time))

    @classmethod
    def about(cls, call: Call, event_type: str, **fields: Any) -> SecurityEvent:
        """Return an event of a call: whose it is, what it asks for and where it came from are the call's."""
        return cls(
            event_type,
            principal=call.principal.id,
            tenant=call.principal.tenant,
            action=call.action,
            resource=call.resource,
            source=call.source,
            request_id=call.request_id,
            conversation=call.conversation,
            trace=call.trace,
            **fields,
        )

    @property
    def severity(self) -> Severity:
        """The severity of the event's type."""
        return EVENT_TYPES[self.type].severity

    def to_dict(self) -> dict[str, Any]:
        """Return the event as flat JSON-ready data; empty fields are left out."""
        out: dict[str, Any] = {
            "id": self.id,
            "result": _WORD_OF[self.result],
            "severity": _SEVERITY_OF[self.type],
            "time": self.time,
            "type": self.type,
        }
        for name in _TEXTS:
            value = getattr(self, name)
            if value:
                out[name] = value
        if self.reasons:
            out["reasons"] = list(self.reasons)
        if self.findings:
            out["findings"] = [finding.to_dict() for finding in self.findings]
        if self.model:
            out["gen_ai.response.model"] = self.model
        if self.usage is not None:
            out["gen_ai.usage.input_tokens"] = self.usage.input_tokens
            out["gen_ai.usage.output_tokens"] = self.usage.output_tokens
            parts = {
                "gen_ai.usage.cache_read.input_tokens": self.usage.cache_read_tokens,
                "gen_ai.usage.cache_creation.input_tokens": self.usage.cache_write_tokens,
                "gen_ai.usage.reasoning.output_tokens": self.usage.reasoning_tokens,
            }
            out.update({name: tokens for name, tokens in parts.items() if tokens})
        if self.latency_ms is not None:
            out["latency_ms"] = self.latency_ms
        if self.detail:
            out["detail"] = dict(self.detail)
        return out
