"""From settings to guards."""

from __future__ import annotations

from fnmatch import fnmatchcase

from aisecure.agents.rule_of_two import RuleOfTwo
from aisecure.agents.settings import Settings
from aisecure.approvals import ApprovalGuard, Approvals
from aisecure.call import Call
from aisecure.errors import Misconfigured
from aisecure.guard import Guard
from aisecure.ports import Ports

__all__ = ["guards"]


def guards(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guards of these settings; approval comes last, since what a later guard refuses has used it up.

    Raises:
        Misconfigured: As for `aisecure.agents.build`.
    """
    made: list[Guard] = []
    if settings.spotlight != "off":
        from aisecure.detect.spotlighting import SpotlightGuard

        made.append(SpotlightGuard(settings.spotlight))
    if settings.untrusted or settings.private or settings.outward:
        made.append(_rule_of_two(settings, ports))
    if settings.approve:
        patterns = settings.approve

        def matches(call: Call) -> bool:
            return any(fnmatchcase(call.resource, pattern) for pattern in patterns)

        made.append(ApprovalGuard(_approvals(settings, ports), when=matches))
    return tuple(made)


def _rule_of_two(settings: Settings, ports: Ports) -> Guard:
    try:
        return RuleOfTwo(
            untrusted=settings.untrusted,
            private=settings.private,
            outward=settings.outward,
            by_content=settings.by_content,
            approvals=_approvals(settings, ports) if settings.ask else None,
            storage=ports.storage(),
        )
    except ValueError as err:
        raise Misconfigured(f"[agents] {err}") from err


def _approvals(settings: Settings, ports: Ports) -> Approvals:
    preview = None
    if settings.arguments == "redacted":
        from aisecure.detect.redact import Redactor

        redactor = Redactor()

        def preview(text: str) -> str:
            return redactor.redact(text).text

    return Approvals(
        ports.storage(),
        preview=preview,
        approvers=settings.approvers,
        self_approval=settings.self_approval,
        lifetime=settings.lifetime,
        use_within=settings.use_within,
        clock=ports.clock,
        events=ports.events,
    )
