"""Which documents of a search a principal may see: each is a resource, and the policy is asked about each.

A search that reads everything and answers anybody is the usual way in which retrieval leaks (OWASP LLM08). What a
document *is* stands in its metadata, so whoever may write that decides who reads it: set it where documents come in, and
never from their text (CWE-639).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from aisecure.access._granted import Granted
from aisecure.access.authorizer import Authorizer
from aisecure.call import current_context
from aisecure.events import SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.principal import Principal

__all__ = ["DocumentAccess", "filter_documents"]

D = TypeVar("D")

#: From a document to one of its facts; what is no text counts as missing.
Fact = str | Callable[[Any], object]


class DocumentAccess:
    """Says which documents a principal may see.

    A document is an object with ``metadata`` (LangChain's), a mapping, or any object with attributes. One that does
    not say what it is, whose tenant is another's, or whose name is not spelled plainly is left out.

    Args:
        authorizer: What decides, about ``action`` on the document's resource.
        action: What is done with documents.
        resource: Where a document says which resource it is: a name in its metadata, or a function of the document.
        tenant: Where it says whose it is. None for documents that all belong to the one tenant there is: then only the
            policy keeps tenants apart.
        shared_tenant: Documents of this tenant are for every tenant, as far as the policy lets them.
        events: Where ``documents.filtered`` goes: how many were kept and left out, and no names.
        clock: Time.

    >>> from aisecure.access import Authorizer
    >>> access = DocumentAccess(Authorizer.from_text(policy="p, reader, *, note:public-*, read, allow"))
    >>> notes = [{"resource": "note:public-1", "tenant": "acme"}, {"resource": "note:secret", "tenant": "acme"}]
    >>> access.filter(Principal("u-1", roles={"reader"}, tenant="acme"), notes)
    [{'resource': 'note:public-1', 'tenant': 'acme'}]
    >>> access.filter(Principal("u-2", roles={"reader"}, tenant="globex"), notes)
    []
    """

    def __init__(
        self,
        authorizer: Authorizer,
        *,
        action: str = "read",
        resource: Fact = "resource",
        tenant: Fact | None = "tenant",
        shared_tenant: str | None = None,
        events: EventSink = discard,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(authorizer, Authorizer):
            raise TypeError(f"DocumentAccess takes an Authorizer, not {type(authorizer).__name__}")
        if not isinstance(action, str) or not action:
            raise TypeError("action is a text, such as read")
        authorizer.check_principals()
        self.authorizer = authorizer
        self.action = action
        self.resource = resource
        self.tenant = tenant
        self.shared_tenant = shared_tenant
        self._events = events
        self._clock = clock or SystemClock()

    def filter(self, principal: Principal, documents: Iterable[D]) -> list[D]:
        """Return the documents that the principal may see, in order; all are judged by one version of the policy.

        Raises:
            Unavailable: The policy could not be evaluated; nothing is returned.
            TypeError: ``principal`` is none.
        """
        if not isinstance(principal, Principal):
            raise TypeError(f"filter takes a Principal, not {type(principal).__name__}")
        version = self.authorizer.snapshot
        tenants = self.tenants(principal)
        kept, seen = [], 0
        for document in documents:
            seen += 1
            resource = self._fact(self.resource, document)
            if resource is None or (
                self.tenant is not None and self._fact(self.tenant, document) not in tenants
            ):
                continue
            if self.authorizer.decide_by(version, principal, self.action, resource).allowed:
                kept.append(document)
        self._record(principal, len(kept), seen, version.version)
        return kept

    def tenants(self, principal: Principal) -> frozenset[str]:
        """Return the tenants whose documents the principal may see, as far as the policy lets it."""
        return frozenset(
            {principal.tenant} if self.shared_tenant is None else {principal.tenant, self.shared_tenant}
        )

    def granted(self, principal: Principal) -> Granted:
        """Return an outline of what the policy lets the principal see, for a store that filters before it answers."""
        return self.authorizer.snapshot.granted(principal, self.action)

    def _fact(self, fact: Fact, document: object) -> str | None:
        if callable(fact):
            value = fact(document)
        else:
            metadata = getattr(document, "metadata", document)
            value = metadata.get(fact) if isinstance(metadata, Mapping) else getattr(metadata, fact, None)
        return value if isinstance(value, str) and value else None

    def _record(self, principal: Principal, kept: int, seen: int, version: str) -> None:
        context = current_context()
        self._events.record(
            SecurityEvent(
                "documents.filtered",
                time=self._clock.time(),
                principal=principal.id,
                tenant=principal.tenant,
                action=self.action,
                request_id=context.request_id,
                conversation=context.conversation,
                detail={"kept": kept, "dropped": seen - kept, "policy_version": version},
            )
        )


def filter_documents(
    principal: Principal,
    documents: Iterable[D],
    *,
    authorizer: Authorizer,
    action: str = "read",
    resource: Fact = "resource",
    tenant: Fact | None = "tenant",
    shared_tenant: str | None = None,
    events: EventSink = discard,
) -> list[D]:
    """Return the documents that a principal may see; `DocumentAccess.filter` for once.

    Raises:
        Misconfigured: The authorizer's model cannot be asked about principals.
        Unavailable: The policy could not be evaluated.

    >>> from aisecure.access import Authorizer
    >>> may = Authorizer.from_text(policy="p, reader, *, note:*, read, allow")
    >>> filter_documents(Principal("u-1", roles={"reader"}, tenant="acme"),
    ...                  [{"resource": "note:1", "tenant": "globex"}], authorizer=may)
    []
    """
    access = DocumentAccess(
        authorizer,
        action=action,
        resource=resource,
        tenant=tenant,
        shared_tenant=shared_tenant,
        events=events,
    )
    return access.filter(principal, documents)
