"""What a guard answers: a Decision, with Findings that say where and never what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from aisecure._value import value
from aisecure.errors import denied

__all__ = ["ALLOW", "Decision", "Finding", "Outcome"]


class Outcome(StrEnum):
    """The four answers of a policy."""

    ALLOW = "allow"
    DENY = "deny"
    STEP_UP = "step_up"
    APPROVAL = "approval"


@value
class Finding:
    """Something a detector saw: its kind and place, never the matched text.

    Attributes:
        kind: Dotted kind, such as ``pii.email`` or ``secret.github_token``.
        start: First code point of the match in the inspected text.
        end: One past the last code point.
        score: Confidence, 0 to 1.
        detector: Name of what found it.
        path: JSON Pointer (RFC 6901) of the text inside the inspected value; empty for a bare text.
    """

    kind: str
    start: int
    end: int
    score: float = 1.0
    detector: str = ""
    path: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data."""
        return {
            "kind": self.kind,
            "start": self.start,
            "end": self.end,
            "score": round(self.score, 3),
            "detector": self.detector,
            "path": self.path,
        }


@value
class Decision:
    """The answer to "may this happen?", as a value.

    Attributes:
        outcome: One of `Outcome`.
        code: Stable dotted code; its first word picks the error class when the decision is raised.
        reasons: Sentences for people, free of secrets and personal data; the first is shown to the caller.
        findings: What detectors saw.
        retry_after: Seconds until a retry may succeed, or None.
        would_deny: True in shadow mode: the guard would have refused, and let it pass.
        policy: Version of the policy that decided, for the event; empty when no policy was asked.
        challenge: What the caller is told to bring, as parameters of a ``WWW-Authenticate`` challenge (RFC 9110
            section 11.6.1): ``{"scope": "chat"}``, ``{"max_age": "300"}``. Seen by the caller, so free of secrets.
        approval_id: Names the request that a person has to approve; the caller may show it.

    >>> Decision.deny("access.denied").allowed
    False
    """

    outcome: Outcome = Outcome.ALLOW
    code: str = "ok"
    reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    retry_after: float | None = None
    would_deny: bool = False
    policy: str = ""
    challenge: Mapping[str, str] = field(default_factory=dict, hash=False)
    approval_id: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the call may go on."""
        return self.outcome is Outcome.ALLOW

    @classmethod
    def allow(cls, code: str = "ok", *, findings: tuple[Finding, ...] = ()) -> Decision:
        """Return a decision that lets the call go on."""
        return cls(Outcome.ALLOW, code, (), findings)

    @classmethod
    def deny(
        cls,
        code: str,
        *reasons: str,
        findings: tuple[Finding, ...] = (),
        retry_after: float | None = None,
    ) -> Decision:
        """Return a decision that refuses the call."""
        return cls(Outcome.DENY, code, reasons, findings, retry_after)

    def require(self) -> None:
        """Return if allowed.

        Raises:
            Denied: The subclass that the decision's code names.
        """
        if self.outcome is not Outcome.ALLOW:
            raise denied(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON-ready data."""
        return {
            "outcome": self.outcome.value,
            "allowed": self.allowed,
            "code": self.code,
            "reasons": list(self.reasons),
            "findings": [finding.to_dict() for finding in self.findings],
            "retry_after": self.retry_after,
            "would_deny": self.would_deny,
            "policy": self.policy,
            "challenge": dict(self.challenge),
            "approval_id": self.approval_id,
        }


#: The decision of a guard that has nothing to say; shared, so that the common path builds nothing.
ALLOW = Decision()
