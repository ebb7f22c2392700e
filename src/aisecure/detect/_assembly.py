"""From settings to the guard."""

from __future__ import annotations

from aisecure.detect.detectors import USUALLY_LEFT, Detector, PiiDetector, SecretDetector
from aisecure.detect.guards import RedactGuard
from aisecure.detect.redact import Redactor
from aisecure.detect.settings import Settings
from aisecure.detect.uuids import KIND as UUID_KIND
from aisecure.errors import Misconfigured
from aisecure.guard import Guard

__all__ = ["guards"]


def guards(settings: Settings) -> tuple[Guard, ...]:
    """Return the guards of these settings; what is read for instructions is read before anything is redacted.

    Raises:
        Misconfigured: As for `aisecure.detect.build`.
    """
    return (*_injection(settings), *_redaction(settings))


def _injection(settings: Settings) -> tuple[Guard, ...]:
    if settings.injection == "off":
        return ()
    from aisecure.detect.injection.guard import InjectionGuard

    return (InjectionGuard(shadow=settings.injection == "watch"),)


def _redaction(settings: Settings) -> tuple[Guard, ...]:
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
    countries, spelled_out, threshold = settings.countries, settings.spelled_out, settings.threshold
    pii = PiiDetector(countries=countries).types | {UUID_KIND}
    secrets = SecretDetector().types
    for key in ("types", "exclude"):
        unknown = (getattr(settings, key) or frozenset()) - pii - secrets
        if unknown:
            known = ", ".join(sorted(pii | secrets))
            raise Misconfigured(f"[detect] {key}: unknown {sorted(unknown)}; known are {known}")
    if settings.types is None:
        left = USUALLY_LEFT | settings.exclude | {UUID_KIND}
        wanted = (pii | secrets) - left
    else:
        wanted = settings.types - settings.exclude
    if not wanted:
        raise Misconfigured("[detect] types: is empty; write kinds, or enabled = false")
    return [
        PiiDetector(wanted & pii, countries=countries, threshold=threshold, spelled_out=spelled_out),
        SecretDetector(wanted & secrets, threshold=threshold),
    ]
