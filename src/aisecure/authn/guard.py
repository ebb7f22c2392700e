"""The guard that turns a credential into a principal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from aisecure.authn.method import Method, refused
from aisecure.decisions import Decision
from aisecure.errors import AuthenticationError
from aisecure.guard import Changed, Guard, Verdict
from aisecure.principal import Principal

if TYPE_CHECKING:
    from aisecure.authn.throttle import Throttle
    from aisecure.call import Call, Credential

__all__ = ["AuthenticationGuard"]

_MISSING = Decision.deny("authn.missing", AuthenticationError.default_detail, "No credential was sent.")
_FOREIGN = refused("The credential is of a kind that is not accepted here.")


class AuthenticationGuard(Guard):
    """Refuses a call unless its principal is established, by one of the methods or already.

    A credential that was sent is always checked, also when somebody else spoke for the caller: a wrong key is
    never overlooked. The methods that a credential looks like one of are asked in order, and the first principal
    counts; when none gives one, the caller hears the refusal of the last that was asked.

    Args:
        methods: `ApiKeys`, `JwtVerifier`, `MutualTls` or your own `Method`, in order.
        throttle: Tells callers who fail too often to wait; nobody is told when None.
        options: As for `Guard`.

    Raises:
        TypeError: One of them is no `Method`, or there is none.
    """

    name = "authn"

    def __init__(
        self,
        *methods: Method,
        throttle: Throttle | None = None,
        name: str | None = None,
        on: str | tuple[str, ...] = "*",
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        if not methods:
            raise TypeError("AuthenticationGuard takes at least one method, such as ApiKeys")
        for method in methods:
            if not isinstance(method, Method):
                raise TypeError(
                    f"AuthenticationGuard takes methods such as ApiKeys, not {type(method).__name__}"
                )
        self.methods = methods
        self.throttle = throttle
        self._holds_up = throttle is not None and throttle.refuse == "all"
        self._with_ids = tuple(method for method in methods if isinstance(method, _ReadsIds))
        if any(method.aauthenticate is not None for method in methods):
            self.aidentify = self._aidentify

    def identify(self, call: Call) -> Verdict:
        """Establish who is calling."""
        credential = call.credential
        if credential is None:
            return _MISSING if call.principal.is_anonymous else None
        if self._holds_up:
            held_up = self._held_up(call)
            if held_up is not None:
                return held_up
        refusal = _FOREIGN
        for method in self.methods:
            if method.takes(credential):
                answer = method.authenticate(credential)
                if isinstance(answer, Principal):
                    return Changed(call.with_principal(answer))
                refusal = answer
        return self._failed(call, credential, refusal)

    async def _aidentify(self, call: Call) -> Verdict:
        credential = call.credential
        if credential is None:
            return _MISSING if call.principal.is_anonymous else None
        if self._holds_up:
            held_up = self._held_up(call)
            if held_up is not None:
                return held_up
        refusal = _FOREIGN
        for method in self.methods:
            if method.takes(credential):
                answer = (
                    method.authenticate(credential)
                    if method.aauthenticate is None
                    else await method.aauthenticate(credential)
                )
                if isinstance(answer, Principal):
                    return Changed(call.with_principal(answer))
                refusal = answer
        return self._failed(call, credential, refusal)

    def _held_up(self, call: Call) -> Decision | None:
        refusal = None if self.throttle is None else self.throttle.before(call.source)
        # In shadow mode the throttle has said what it would do; who is calling is established all the same.
        return None if self.shadow else refusal

    def _failed(self, call: Call, credential: Credential, refusal: Decision) -> Decision:
        # To be told a nonce is a step of the way, and no failure.
        if self.throttle is None or refusal.code == "authn.nonce":
            return refusal
        claimed = (method.claimed_id(credential) for method in self._with_ids if method.takes(credential))
        return self.throttle.failed(refusal, source=call.source, key_id=next(claimed, ""))

    def health(self) -> dict[str, Any]:
        """Return what each method that can tell says of itself."""
        facts = {method.name: method.health() for method in self.methods if isinstance(method, _TellsHealth)}
        return {"ok": all(fact["ok"] for fact in facts.values()), **facts}

    def close(self) -> None:
        """Close the methods that hold something."""
        for method in self.methods:
            close = getattr(method, "close", None)
            if close is not None:
                close()


@runtime_checkable
class _TellsHealth(Protocol):
    def health(self) -> dict[str, Any]: ...


@runtime_checkable
class _ReadsIds(Protocol):
    def takes(self, credential: Credential) -> bool: ...

    def claimed_id(self, credential: Credential) -> str: ...
