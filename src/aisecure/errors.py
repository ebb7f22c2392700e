"""Every error of the library, with a stable code, an HTTP status and an RFC 9457 body.

AISecureError
├── Denied                     a policy said no; the caller may not have this
│   ├── AuthenticationError    401  authn.*
│   ├── StepUpRequired         401  step_up.*
│   ├── AccessDenied           403  access.*
│   ├── ApprovalRequired       403  approval.*
│   ├── ModelNotPinned         403  model.*
│   ├── ErasureRefused         409  erasure.*
│   ├── InputRejected          422  input.*
│   ├── QuotaExceeded          429  quota.*
│   └── OutputBlocked          502  output.*
├── Unavailable                503  unavailable.*  a check could not run, so nothing was let through
├── Misconfigured              500  config.*       raised at start-up, names file, key and remedy
├── DecryptionError            500  encryption.*   one opaque error for every reason
└── IntegrityError             500  integrity.*    stored evidence does not match itself

A code is two dotted words; the first picks the class, the second says which rule.
Texts name the rule and the remedy, never the secret or the personal data that met it.
Mistakes in calling the library stay ``TypeError`` and ``ValueError``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from aisecure.decisions import Decision

__all__ = [
    "AISecureError",
    "AccessDenied",
    "ApprovalRequired",
    "AuthenticationError",
    "DecryptionError",
    "Denied",
    "ErasureRefused",
    "InputRejected",
    "IntegrityError",
    "Misconfigured",
    "ModelNotPinned",
    "OutputBlocked",
    "QuotaExceeded",
    "StepUpRequired",
    "Unavailable",
    "denied",
]


class AISecureError(Exception):
    """Root of the tree: catch this to catch everything the library raises on purpose.

    Attributes:
        code: Stable dotted code for SIEM rules and client code, such as ``quota.exceeded``.
        status: The HTTP status that adapters answer with.
        retry_after: Seconds after which a retry may succeed, or None.
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "aisecure.error"
    default_detail: ClassVar[str] = "The request could not be completed."

    def __init__(
        self, detail: str | None = None, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        self.detail = detail or self.default_detail
        self.code = code or self.default_code
        self.retry_after = retry_after
        super().__init__(self.detail)

    def problem(self, *, instance: str | None = None) -> dict[str, Any]:
        """Return the error as an RFC 9457 problem document, ready for JSON.

        Args:
            instance: An identifier of this occurrence, usually the request id.

        >>> QuotaExceeded(retry_after=2.5).problem(instance="req-1")["status"]
        429
        """
        body: dict[str, Any] = {
            "type": f"urn:problem-type:aisecure:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if instance:
            body["instance"] = instance
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body


class Denied(AISecureError):
    """A policy said no. Retrying the same request unchanged will not help, except after ``retry_after``."""

    status = 403
    default_code = "access.denied"

    #: The decision behind the error, with findings as kinds and spans; None when a guard raised directly.
    decision: Decision | None = None

    def problem(self, *, instance: str | None = None) -> dict[str, Any]:
        """Return the error as an RFC 9457 problem document; ``approval_id`` names the request that waits for a person."""
        body = super().problem(instance=instance)
        if self.decision is not None and self.decision.approval_id:
            body["approval_id"] = self.decision.approval_id
        return body


class AuthenticationError(Denied):
    """The caller did not prove who they are. One text for unknown, wrong, expired and revoked credentials."""

    status = 401
    default_code = "authn.invalid"
    default_detail = "Authentication failed: send a valid credential."


class StepUpRequired(Denied):
    """The caller is known, but this call needs a stronger or more recent login."""

    status = 401
    default_code = "step_up.required"
    default_detail = "This call needs a stronger or more recent authentication."


class AccessDenied(Denied):
    """The principal is known and lacks the permission. Ask an owner of the policy for it."""

    status = 403
    default_code = "access.denied"
    default_detail = "The principal lacks the permission for this action on this resource."


class ApprovalRequired(Denied):
    """A person has to approve this exact call first."""

    status = 403
    default_code = "approval.required"
    default_detail = "This call waits for the approval of a person."


class ModelNotPinned(Denied):
    """The model is not in the lock file, or the response came from another model than the pinned one."""

    status = 403
    default_code = "model.not_pinned"
    default_detail = "The model is not an approved entry of the lock file."


class ErasureRefused(Denied):
    """The data of this person may not be erased now, for the reason in the text; nothing was erased."""

    status = 409
    default_code = "erasure.legal_hold"
    default_detail = "A legal hold forbids the erasure."


class InputRejected(Denied):
    """The input breaks a rule of size, shape or content. Change the input."""

    status = 422
    default_code = "input.rejected"
    default_detail = "The input was rejected."

    def problem(self, *, instance: str | None = None) -> dict[str, Any]:
        """Return the problem document, for an input that does not follow its schema with the places and rules as ``errors``."""
        body = super().problem(instance=instance)
        errors = [
            {"pointer": finding.path, "rule": finding.kind.removeprefix("schema.")}
            for finding in (self.decision.findings if self.decision else ())
            if finding.kind.startswith("schema.")
        ]
        if errors:
            body["errors"] = errors
        return body


class QuotaExceeded(Denied):
    """A limit is used up. Wait ``retry_after`` seconds."""

    status = 429
    default_code = "quota.exceeded"
    default_detail = "A limit was reached."


class OutputBlocked(Denied):
    """The output broke a rule and was withheld. The caller's input was not at fault."""

    status = 502
    default_code = "output.blocked"
    default_detail = "The output was withheld."


class Unavailable(AISecureError):
    """A check could not run (a store is down, a disk is full), so the call was refused. Retry later."""

    status = 503
    default_code = "unavailable.guard"
    default_detail = "A security check could not run, so the request was refused."


class Misconfigured(AISecureError):
    """A setting, policy, key ring or lock file cannot be used. The text names file, key and remedy."""

    default_code = "config.invalid"
    default_detail = "The configuration cannot be used."


class DecryptionError(AISecureError):
    """A token could not be decrypted. Wrong key, wrong context, damage and forgery look the same on purpose."""

    default_code = "encryption.failed"
    default_detail = "The value could not be decrypted."


class IntegrityError(AISecureError):
    """Stored evidence (log, manifest, lock) does not match itself."""

    default_code = "integrity.failed"
    default_detail = "Stored data does not match its own evidence."


_BY_FAMILY: dict[str, type[Denied]] = {
    cls.default_code.partition(".")[0]: cls
    for cls in (
        AuthenticationError,
        StepUpRequired,
        AccessDenied,
        ApprovalRequired,
        ModelNotPinned,
        ErasureRefused,
        InputRejected,
        QuotaExceeded,
        OutputBlocked,
    )
}


def denied(decision: Decision) -> Denied:
    """Return the error for a decision that is not an allow; the family of its code picks the class.

    >>> from aisecure.decisions import Decision
    >>> type(denied(Decision.deny("quota.exceeded", retry_after=1.0))).__name__
    'QuotaExceeded'
    """
    cls = _BY_FAMILY.get(decision.code.partition(".")[0], Denied)
    detail = decision.reasons[0] if decision.reasons else None
    error = cls(detail, code=decision.code, retry_after=decision.retry_after)
    error.decision = decision
    return error
