"""The rule of two: a conversation reads untrusted text, sees private data, or acts outward; two of these, and never all three.

Meta's "Agents Rule of Two" (2025). Whoever writes a text that an agent reads may be taken to steer it from then on; what he
wants is to have private data sent out, or something changed. With any one of the three missing there is nothing to gain,
and no detector has to guess.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from aisecure.approvals import Approvals
from aisecure.content import texts
from aisecure.decisions import Decision, Outcome
from aisecure.errors import Unavailable
from aisecure.guard import Guard
from aisecure.storage import Storage

if TYPE_CHECKING:
    from aisecure.call import Call

__all__ = ["RuleOfTwo"]

_UNTRUSTED, _PRIVATE, _OUTWARD = 1, 2, 4
_ALL: Final = _UNTRUSTED | _PRIVATE | _OUTWARD
_NAMES = {_UNTRUSTED: "untrusted", _PRIVATE: "private", _OUTWARD: "outward"}

_MIGRATIONS = (
    """
    CREATE TABLE rule_of_two (
        tenant TEXT NOT NULL, principal TEXT NOT NULL, conversation TEXT NOT NULL, touched INTEGER NOT NULL,
        PRIMARY KEY (tenant, principal, conversation)
    ) WITHOUT ROWID;
    """,
)


class RuleOfTwo(Guard):
    """Refuses the call with which a conversation would have read untrusted text, seen private data and acted outward.

    What a conversation touched stays touched until `forget`: a text that left the context window was read all the same.
    What a call touches is written down before it happens. Calls without a conversation are all of one: that of their
    principal; so name conversations, and let nobody outside choose the names.

    With ``approvals`` a person may let such a call through, once and as it stands. An outward call that was approved
    counts for itself alone: the next one is asked about again.

    Args:
        untrusted: Resources whose output others write, as shell patterns: ``tool:web_*``.
        private: Resources that hold private data: ``tool:read_mail``.
        outward: Resources that change something or reach somebody outside: ``tool:send_*``.
        by_content: Whether texts of documents and tools in a call's input count as untrusted.
        approvals: Asks a person; without them such calls are denied.
        storage: Where conversations are kept. Give a file when several processes serve one conversation, or a restart
            must not forget; by default they are kept in memory, in this process.
        max_conversations: Further ones are refused (code ``unavailable.conversations``): to drop an old one would clear it.
        options: As for `Guard`.

    Raises:
        ValueError: One of the three has no resource; then the rule would refuse nothing.

    >>> from aisecure import Principal
    >>> from aisecure.call import acting_as, current_context
    >>> rule = RuleOfTwo(untrusted="tool:web_*", private="tool:read_mail", outward="tool:send_*")
    >>> with acting_as(Principal("ann"), conversation="c-1"):
    ...     for tool in ("web_search", "read_mail", "send_mail"):
    ...         verdict = rule.before(current_context().call("call", f"tool:{tool}"))
    >>> verdict.code
    'access.rule_of_two'
    """

    name = "rule_of_two"

    def __init__(
        self,
        *,
        untrusted: str | Collection[str],
        private: str | Collection[str],
        outward: str | Collection[str],
        by_content: bool = True,
        approvals: Approvals | None = None,
        storage: Storage | None = None,
        max_conversations: int = 100_000,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._patterns = {
            _UNTRUSTED: _patterns(untrusted),
            _PRIVATE: _patterns(private),
            _OUTWARD: _patterns(outward),
        }
        for kind, patterns in self._patterns.items():
            if not patterns and not (kind == _UNTRUSTED and by_content):
                raise ValueError(f"{_NAMES[kind]}: name at least one resource")
        if max_conversations < 1:
            raise ValueError("max_conversations: write 1 or more")
        self._by_content = by_content
        self.approvals = approvals
        self._storage = Storage(":memory:") if storage is None else storage
        self._storage.migrate("rule_of_two", _MIGRATIONS)
        self._max = max_conversations

    def before(self, call: Call) -> Decision | None:
        """Note what the call touches, or refuse it."""
        touched = self._touched(call)
        if not touched:
            return None
        if self._note(call, touched, refuse=True):
            return None
        if self.shadow:
            # It happens all the same, and later calls have to be judged by it.
            self._note(call, touched)
            return self._refusal()
        if self.approvals is None:
            return self._refusal()
        said = "With this call the conversation would have read untrusted text, seen private data and acted outward."
        decision = self.approvals.decide(call, reason=said)
        if decision.allowed:
            # What was read stays in the conversation; what was sent, was sent under the eyes of a person.
            self._note(call, touched & ~_OUTWARD)
            return None
        if decision.outcome is Outcome.APPROVAL:
            return Decision(
                Outcome.APPROVAL, "approval.rule_of_two", decision.reasons, approval_id=decision.approval_id
            )
        return decision

    async def abefore(self, call: Call) -> Decision | None:
        """Do as `before`, in a thread: it waits for the disk, and for other processes that write."""
        return await asyncio.to_thread(self.before, call)

    def touched(self, conversation: str, *, principal: str, tenant: str = "default") -> tuple[str, ...]:
        """Return what a conversation touched so far: of ``untrusted``, ``private`` and ``outward``."""
        rows = self._storage.query(_SELECT, (tenant, principal, _key(conversation)))
        mask = rows[0][0] if rows else 0
        return tuple(name for kind, name in _NAMES.items() if mask & kind)

    def forget(self, conversation: str, *, principal: str, tenant: str = "default") -> bool:
        """Clear a conversation, when it is over and nothing of it is shown to a model again; return whether it was known."""
        sql = "DELETE FROM rule_of_two WHERE tenant = ? AND principal = ? AND conversation = ?"
        return bool(self._storage.execute(sql, (tenant, principal, _key(conversation))))

    def _touched(self, call: Call) -> int:
        mask = 0
        for kind, patterns in self._patterns.items():
            if any(fnmatchcase(call.resource, pattern) for pattern in patterns):
                mask |= kind
        if mask & _UNTRUSTED or not self._by_content:
            return mask
        if any(part.origin in ("document", "tool") for part in texts(call.input)):
            mask |= _UNTRUSTED
        return mask

    def _note(self, call: Call, touched: int, *, refuse: bool = False) -> bool:
        key = (call.principal.tenant, call.principal.id, _key(call.conversation))
        with self._storage.transaction() as connection:
            row = connection.execute(_SELECT, key).fetchone()
            before = row[0] if row else 0
            after = before | touched
            if refuse and after == _ALL:
                return False
            if row is None:
                known = connection.execute("SELECT count(*) FROM rule_of_two").fetchone()[0]
                if known >= self._max:
                    raise Unavailable(
                        "Too many conversations are kept; forget those that are over.",
                        code="unavailable.conversations",
                    )
            if after != before:
                connection.execute("INSERT OR REPLACE INTO rule_of_two VALUES (?, ?, ?, ?)", (*key, after))
        return True

    def _refusal(self) -> Decision:
        return Decision.deny(
            "access.rule_of_two",
            "The conversation would have read untrusted text, seen private data and acted outward; start a new one.",
        )


_SELECT = "SELECT touched FROM rule_of_two WHERE tenant = ? AND principal = ? AND conversation = ?"


def _patterns(given: str | Collection[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _key(conversation: str) -> str:
    # A name of any length and any characters becomes one of a fixed length; the empty name stays itself.
    return hashlib.sha256(conversation.encode("utf-8", "surrogatepass")).hexdigest() if conversation else ""
