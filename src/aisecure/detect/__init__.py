"""Personal data, secrets and injected instructions: found, replaced, and given back, in whole texts and in streams.

`PiiDetector` and `SecretDetector` say where something is; `Redactor` replaces it, also in a text that arrives
in pieces; `restore` turns placeholders back; `RedactGuard` does all of it for every call.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.detect.canary import Canary as Canary
    from aisecure.detect.canary import CanaryFilter as CanaryFilter
    from aisecure.detect.canary import CanaryGuard as CanaryGuard
    from aisecure.detect.custom import pattern as pattern
    from aisecure.detect.datasets import redact_jsonl as redact_jsonl
    from aisecure.detect.detectors import Detector as Detector
    from aisecure.detect.detectors import PiiDetector as PiiDetector
    from aisecure.detect.detectors import SecretDetector as SecretDetector
    from aisecure.detect.detectors import presidio_name as presidio_name
    from aisecure.detect.engines import EntityEngine as EntityEngine
    from aisecure.detect.fakes import fake as fake
    from aisecure.detect.guards import RedactGuard as RedactGuard
    from aisecure.detect.injection.cascade import InjectionCascade as InjectionCascade
    from aisecure.detect.injection.cascade import InjectionEngine as InjectionEngine
    from aisecure.detect.injection.detector import InjectionDetector as InjectionDetector
    from aisecure.detect.injection.guard import InjectionGuard as InjectionGuard
    from aisecure.detect.placeholders import Placeholders as Placeholders
    from aisecure.detect.placeholders import RestoreFilter as RestoreFilter
    from aisecure.detect.placeholders import restore as restore
    from aisecure.detect.pseudonym_store import PseudonymStore as PseudonymStore
    from aisecure.detect.pseudonym_store import ValueDigest as ValueDigest
    from aisecure.detect.redact import Redacted as Redacted
    from aisecure.detect.redact import RedactFilter as RedactFilter
    from aisecure.detect.redact import Redactor as Redactor
    from aisecure.detect.redact import Style as Style
    from aisecure.detect.settings import Settings as Settings
    from aisecure.detect.spotlighting import Spotlight as Spotlight
    from aisecure.detect.spotlighting import Spotlighted as Spotlighted
    from aisecure.detect.spotlighting import SpotlightGuard as SpotlightGuard
    from aisecure.detect.spotlighting import neutralise_roles as neutralise_roles
    from aisecure.detect.spotlighting import spotlight as spotlight
    from aisecure.detect.styles import encrypted as encrypted
    from aisecure.detect.styles import keyed_hash as keyed_hash
    from aisecure.detect.vault import PseudonymVault as PseudonymVault
    from aisecure.guard import Guard
    from aisecure.ports import Ports

__all__ = [
    "Canary",
    "CanaryFilter",
    "CanaryGuard",
    "Detector",
    "EntityEngine",
    "InjectionCascade",
    "InjectionDetector",
    "InjectionEngine",
    "InjectionGuard",
    "PiiDetector",
    "Placeholders",
    "PseudonymStore",
    "PseudonymVault",
    "RedactFilter",
    "RedactGuard",
    "Redacted",
    "Redactor",
    "RestoreFilter",
    "SecretDetector",
    "Settings",
    "Spotlight",
    "SpotlightGuard",
    "Spotlighted",
    "Style",
    "ValueDigest",
    "build",
    "encrypted",
    "fake",
    "keyed_hash",
    "neutralise_roles",
    "pattern",
    "presidio_name",
    "redact_jsonl",
    "restore",
    "self_tests",
    "spotlight",
]

# Loaded on first use: who looks for one thing needs not all detectors, and who only scans texts neither guards nor
# pydantic.
_HOME = {
    "Canary": "canary",
    "CanaryFilter": "canary",
    "CanaryGuard": "canary",
    "Detector": "detectors",
    "EntityEngine": "engines",
    "InjectionCascade": "injection.cascade",
    "InjectionDetector": "injection.detector",
    "InjectionEngine": "injection.cascade",
    "InjectionGuard": "injection.guard",
    "PiiDetector": "detectors",
    "Placeholders": "placeholders",
    "PseudonymStore": "pseudonym_store",
    "PseudonymVault": "vault",
    "RedactFilter": "redact",
    "RedactGuard": "guards",
    "Redacted": "redact",
    "Redactor": "redact",
    "RestoreFilter": "placeholders",
    "SecretDetector": "detectors",
    "Settings": "settings",
    "Spotlight": "spotlighting",
    "SpotlightGuard": "spotlighting",
    "Spotlighted": "spotlighting",
    "Style": "redact",
    "ValueDigest": "pseudonym_store",
    "encrypted": "styles",
    "fake": "fakes",
    "keyed_hash": "styles",
    "neutralise_roles": "spotlighting",
    "pattern": "custom",
    "presidio_name": "detectors",
    "redact_jsonl": "datasets",
    "restore": "placeholders",
    "spotlight": "spotlighting",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.detect' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.detect.{home}"), name)
    return value


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guard that the settings ask for, or none when neither input nor output is redacted.

    Raises:
        Misconfigured: A kind is unknown, or settings exclude each other; the text names the key.
    """
    from aisecure.detect._assembly import guards

    return guards(settings)


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one known-answer check a capability."""
    from aisecure.detect._self_tests import self_tests

    return self_tests()
