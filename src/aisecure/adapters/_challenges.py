"""What a refused caller is told to bring: the ``WWW-Authenticate`` header (RFC 9110 section 11.6.1) and ``DPoP-Nonce``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from aisecure.adapters._credentials import scheme_sent
from aisecure.errors import AISecureError, AuthenticationError, Denied, StepUpRequired

if TYPE_CHECKING:
    from aisecure.authn.dpop import DpopProofs
    from aisecure.authn.method import Method
    from aisecure.authn.protected_resource import ProtectedResource
    from aisecure.shield import Shield

__all__ = ["Challenges"]

#: Codes of refusals that are no authentication errors, and yet tell the caller to come back with another token.
_SCOPE = "access.scope"
#: A 401 needs a challenge, and no registered scheme stands for a certificate; clients leave an unknown one alone.
_CERTIFICATE = "MutualTLS"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Challenges:
    """Writes the headers for the schemes that a shield takes.

    Args:
        shield: Whose methods of authentication are asked for their schemes; None for plain ``Bearer``.
        resource: Whose metadata clients are pointed to.
    """

    def __init__(self, shield: Shield | None = None, resource: ProtectedResource | None = None) -> None:
        if resource is not None:
            from aisecure.authn.protected_resource import ProtectedResource

            if not isinstance(resource, ProtectedResource):
                raise TypeError(
                    f"protected_resource: give a ProtectedResource, not {type(resource).__name__}"
                )
        self._shield = shield
        self._resource = resource

    def headers(self, err: AISecureError, authorization: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        """Return the headers that an error adds to its response, with lower-case names.

        Args:
            err: The refusal.
            authorization: Values of every ``Authorization`` header of the request.
        """
        asks = err.code == _SCOPE
        if not asks and not isinstance(err, AuthenticationError | StepUpRequired):
            return
        decision = err.decision if isinstance(err, Denied) else None
        said = dict(decision.challenge) if decision else {}
        sent = scheme_sent(authorization)
        if asks:
            said = {"error": "insufficient_scope", **said}
        elif isinstance(err, AuthenticationError) and sent:
            # RFC 6750 section 3.1: whoever sent no token is told no error.
            said = {"error": "invalid_token", **said}
        schemes = self._schemes()
        # An error is said of the scheme that was used.
        target = sent if sent in schemes else next(iter(schemes))
        lines = []
        for scheme, parameters in schemes.items():
            metadata = {} if self._resource is None else {"resource_metadata": self._resource.url}
            told = {**(said if scheme == target else {}), **parameters, **metadata}
            lines.append(_challenge(scheme, told))
        yield "www-authenticate", ", ".join(lines)
        proofs = self._proofs()
        if said.get("error") == "use_dpop_nonce" and proofs is not None and proofs.nonces is not None:
            yield "dpop-nonce", proofs.nonces.fresh()

    def _schemes(self) -> dict[str, dict[str, str]]:
        methods = self._methods()
        schemes: dict[str, dict[str, str]] = {}
        for method in methods:
            for scheme in getattr(method, "schemes", ("Bearer",)):
                schemes.setdefault(scheme, {})
        proofs = self._proofs()
        if proofs is not None:
            schemes["DPoP"] = {"algs": " ".join(proofs.algorithms)}
        if not schemes:
            schemes[_CERTIFICATE if methods else "Bearer"] = {}
        return schemes

    def _proofs(self) -> DpopProofs | None:
        # By name, so that a door without tokens loads nothing of them.
        bindings = (getattr(method, "binding", None) for method in self._methods())
        return next(filter(None, (getattr(binding, "dpop", None) for binding in bindings)), None)

    def _methods(self) -> list[Method]:
        guards = () if self._shield is None else self._shield.guards
        return [method for guard in guards for method in getattr(guard, "methods", ())]


def _challenge(scheme: str, parameters: Mapping[str, str]) -> str:
    words = [
        f'{name}="{value}"'
        for name, value in ((name, _quoted(value)) for name, value in parameters.items())
        if value and _NAME.fullmatch(name)
    ]
    return f"{scheme} {', '.join(words)}" if words else scheme


def _quoted(value: str) -> str:
    """Return a value for between quotes; nothing for one that a header cannot hold."""
    if not value.isascii() or not value.isprintable():
        return ""
    return value.replace("\\", "\\\\").replace('"', '\\"')
