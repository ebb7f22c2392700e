"""From settings to the guard."""

from __future__ import annotations

from aisecure.detect.detectors import USUALLY_LEFT, Detector, PiiDetector, SecretDetector
from aisecure.detect.guards import RedactGuard
from aisecure.detect.redact import Redactor
from aisecure.detect.settings import Settings
from aisecure.errors import Misconfigured
from aisecure.guard import Guard

__all__ = ["guards"]


def guards(settings: Settings) -> tuple[Guard, ...]:
    """Return the guard of these settings.

    Raises:
        Misconfigured: As for `aisecure.detect.build`.
    """
    if not (settings.input or settings.output):
        if settings.restore:
            raise Misconfigured("[detect] restore: needs input = true")
        return ()
    try:
        redactor = Redactor(
            _detectors(settings),
            style=settings.style,
            styles=dict(settings.styles),
            allow=settings.allow,
            reversible=settings.restore,
        )
        guard = RedactGuard(redactor, input=settings.input, output=settings.output, restore=settings.restore)
    except ValueError as err:
        raise Misconfigured(f"[detect] {err}") from err
    return (guard,)


def _detectors(settings: Settings) -> list[Detector]:
    if settings.types is None:
        return [
            PiiDetector(exclude=USUALLY_LEFT, threshold=settings.threshold),
            SecretDetector(threshold=settings.threshold),
        ]
    pii, secrets = PiiDetector().types, SecretDetector().types
    unknown = settings.types - pii - secrets
    if unknown:
        raise Misconfigured(
            f"[detect] types: unknown {sorted(unknown)}; known are {', '.join(sorted(pii | secrets))}"
        )
    if not settings.types:
        raise Misconfigured("[detect] types: is empty; write kinds, or enabled = false")
    return [
        PiiDetector(settings.types & pii, threshold=settings.threshold),
        SecretDetector(settings.types & secrets, threshold=settings.threshold),
    ]
