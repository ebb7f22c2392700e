"""The guard and the decorator that ask an authorizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aisecure.access.authorizer import Authorizer
from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.guard import Guard

__all__ = ["AccessGuard", "require_permission"]

F = TypeVar("F", bound=Callable[..., Any])


class AccessGuard(Guard):
    """Lets a call happen if the policy allows its principal the action on the resource.

    Args:
        authorizer: What decides.
        options: As for `aisecure.guard.Guard`.

    Raises:
        Misconfigured: The authorizer's model cannot be asked about principals.
    """

    name = "access"
    reads_input = False

    def __init__(self, authorizer: Authorizer, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(authorizer, Authorizer):
            raise TypeError(f"AccessGuard takes an Authorizer, not {type(authorizer).__name__}")
        authorizer.check_principals()
        self.authorizer = authorizer

    def before(self, call: Call) -> Decision:
        """Judge the call."""
        return self.authorizer.decide(call.principal, call.action, call.resource)

    def health(self) -> dict[str, Any]:
        """Return the policy's version.

        It is not ok while a newer one is refused, while nobody can say whether there is one, and while others could
        not be told of one that was made here.
        """
        authorizer = self.authorizer
        return {
            "ok": not (authorizer.refused or authorizer.is_unseen or authorizer.is_untold),
            "unseen_seconds": authorizer.unseen_seconds,
            "untold": authorizer.is_untold,
            "version": authorizer.version,
            "rules": authorizer.rules,
            "compiled": authorizer.compiled,
            "refused": authorizer.refused,
        }


def require_permission(
    action: str, resource: str | None = None, *, authorizer: Authorizer
) -> Callable[[F], F]:
    """Return a decorator that runs a function only for principals who may do the action.

    The principal is that of the innermost `acting_as`. It serves ``def``, ``async def``, generators and asynchronous
    generators; a generator is judged when it is first read.

    Args:
        action: What the function does: ``read``, ``train`` ...
        resource: What it does it to; ``{name}`` is replaced by the argument of that name. None is
            ``function:<qualified name>``.
        authorizer: What decides.

    Raises:
        AccessDenied: From the decorated function; it did not run.
        Misconfigured: The resource names a parameter that there is not, or the model cannot be asked about principals.

    >>> from aisecure.call import acting_as
    >>> from aisecure.principal import Principal
    >>> @require_permission("read", "document:{number}", authorizer=Authorizer())
    ... def read(number: int) -> str:
    ...     return f"document {number}"
    >>> with acting_as(Principal("u-1", roles={"admin"})):
    ...     read(42)
    'document 42'
    """
    return AccessGuard(authorizer).decorate(resource, action=action)
