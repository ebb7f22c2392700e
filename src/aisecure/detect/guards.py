"""The guard that redacts inputs and outputs, and gives originals back to the call they came from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aisecure._json_text import JsonText
from aisecure.call import Call
from aisecure.content import Part, rewrite, texts
from aisecure.decisions import Finding
from aisecure.detect.placeholders import Placeholders, RestoreFilter, literal_placeholders, restore
from aisecure.detect.redact import RedactFilter, Redactor
from aisecure.guard import Changed, Ending, Guard
from aisecure.ports import TextFilter

if TYPE_CHECKING:
    from aisecure.detect.vault import PseudonymVault

__all__ = ["RedactGuard"]

#: Calls whose originals are held at once; the oldest lose theirs, and their placeholders stay as they are.
MAX_CALLS = 10_000


class RedactGuard(Guard):
    """Redacts every text of the input before the call, and of the output after it or while it streams.

    Args:
        redactor: What finds and replaces; the default `Redactor` when None.
        input: Redact the input.
        output: Redact the output.
        restore: The protected function sees placeholders, and the output gets the originals back. They are
            held in memory, for one call, until it is settled; no other call can have them.
        vault: With ``restore``: keeps placeholders the same through a conversation (``Call.conversation``), for its
            principal alone; an answer may name those of earlier turns. Calls without a conversation are as without a vault.
        options: As for `aisecure.guard.Guard`.

    Raises:
        ValueError: ``restore`` with a redactor that is not reversible, or without ``input``; a vault without ``restore``.

    >>> @RedactGuard(restore=True)
    ... def ask(prompt: str) -> str:
    ...     print("seen:", prompt)
    ...     return f"I will write: {prompt}"
    >>> ask("mail ada@example.org")
    seen: mail [EMAIL_1]
    'I will write: mail ada@example.org'
    """

    name = "redact"

    def __init__(
        self,
        redactor: Redactor | None = None,
        *,
        input: bool = True,
        output: bool = True,
        restore: bool = False,
        vault: PseudonymVault | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        redactor = redactor or Redactor(reversible=restore)
        if restore and not (redactor.reversible and input):
            raise ValueError("restore needs input=True and a reversible Redactor")
        if vault is not None and not restore:
            raise ValueError("a vault is for restore=True")
        self.redactor = redactor
        self.vault = vault
        self.input = input
        self.output = output
        self.restore = restore
        self._held: OrderedDict[str, Mapping[str, str]] = OrderedDict()
        self._lock = threading.Lock()
        if vault is not None and vault.over_network:
            self.abefore = self._abefore

    def before(self, call: Call) -> Changed | None:
        """Return the call with a redacted input, or None when nothing was found."""
        if not self.input:
            return None
        changed, mapping = self._begun(call)
        self._hold(call, mapping)
        return changed

    async def _abefore(self, call: Call) -> Changed | None:
        if not call.conversation:
            return self.before(call)  # asks nobody
        import asyncio

        # Held here and not in the thread: it would go on, and hold, when the call is cancelled and settled already.
        changed, mapping = await asyncio.to_thread(self._begun_and_read, call)
        self._hold(call, mapping)
        return changed

    def _begun_and_read(self, call: Call) -> tuple[Changed | None, Mapping[str, str] | None]:
        changed, mapping = self._begun(call)
        if mapping is not None:
            len(mapping)  # asks the database, so that the event loop need not when the answer comes
        return changed, mapping

    def _begun(self, call: Call) -> tuple[Changed | None, Mapping[str, str] | None]:
        """Return the change, and what the answer is restored with."""
        # A placeholder that a caller writes must not come to mean somebody's data.
        reserved = (
            {one for part in texts(call.input) for one in literal_placeholders(part.text)}
            if self.redactor.reversible
            else ()
        )
        in_vault = self.vault is not None and bool(call.conversation)
        placeholders = (
            self.vault.conversation(
                call.principal.tenant, call.conversation, call.principal.id, reserved=reserved
            )
            if self.vault is not None and in_vault
            else Placeholders(reserved)
        )
        findings: list[Finding] = []
        value = rewrite(call.input, self._redact(placeholders, findings))
        changed = Changed(call.with_input(value), tuple(findings)) if findings else None
        return changed, placeholders.mapping if self.restore and (findings or in_vault) else None

    def _hold(self, call: Call, mapping: Mapping[str, str] | None) -> None:
        if mapping is not None:
            with self._lock:
                self._held[call.id] = mapping
                while len(self._held) > MAX_CALLS:
                    self._held.popitem(last=False)

    def after(self, call: Call, output: Any) -> Changed | None:
        """Return the output redacted and restored, or None when it stays."""
        findings: list[Finding] = []
        changed = output
        if self.output:
            # Found in an output, a value has no placeholder that could be restored: nobody sent it.
            changed = rewrite(changed, self._redact(None, findings), origin="model")
        mapping = self._mapping(call)
        if mapping:
            changed = rewrite(changed, _restore(mapping), origin="model")
        return None if changed is output and not findings else Changed(changed, tuple(findings))

    def stream(self, call: Call) -> TextFilter | None:
        """Return a filter that redacts and then restores the text of a stream."""
        return self.stream_value(call, "")

    def stream_value(self, call: Call, name: str) -> TextFilter | None:
        """Return such a filter for one text inside JSON; its key is read as its label."""
        mapping = self._mapping(call)
        redact = self.redactor.irreversible().stream(context=name) if self.output else None
        if mapping and redact:
            return _Both(redact, RestoreFilter(mapping))
        return RestoreFilter(mapping) if mapping else redact

    def settle(self, call: Call, ending: Ending) -> None:
        """Forget the originals of the call."""
        with self._lock:
            self._held.pop(call.id, None)

    def _mapping(self, call: Call) -> Mapping[str, str]:
        with self._lock:
            return self._held.get(call.id, {})

    def _redact(self, placeholders: Placeholders | None, findings: list[Finding]) -> Callable[[Part], str]:
        redactor = self.redactor if placeholders is not None else self.redactor.irreversible()

        def change(part: Part) -> str:
            if "json" in part.labels:
                inside = JsonText(
                    lambda place: redactor.stream(placeholders=placeholders, context=place.name)
                )
                new = inside.feed(part.text) + inside.finish()
                findings.extend(replace(finding, path=part.path) for finding in inside.findings)
                return new if inside.findings else part.text
            redacted = redactor.redact(part.text, placeholders=placeholders, context=_key_of(part.path))
            findings.extend(replace(finding, path=part.path) for finding in redacted.findings)
            return redacted.text

        return change


class _Both:
    """First redact, then restore: what is restored is the caller's own and is not redacted again."""

    __slots__ = ("_redact", "_restore")

    def __init__(self, redact: RedactFilter, restore: RestoreFilter) -> None:
        self._redact = redact
        self._restore = restore

    def feed(self, chunk: str) -> str:
        return self._restore.feed(self._redact.feed(chunk))

    def finish(self) -> str:
        return self._restore.feed(self._redact.finish()) + self._restore.finish()

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self._redact.findings


def _restore(mapping: Mapping[str, str]) -> Callable[[Part], str]:
    def change(part: Part) -> str:
        if "json" not in part.labels:
            return restore(part.text, mapping)
        # In the arguments of a tool call values stand inside JSON strings.
        inside = JsonText(lambda _: RestoreFilter(mapping))
        return inside.feed(part.text) + inside.finish()

    return change


def _key_of(path: str) -> str:
    """Return the last name in a JSON Pointer; what a value is called says what it is.

    >>> _key_of("/customers/3/national_id/0")
    'national_id'
    """
    names = [name for name in path.split("/") if name and not name.isdecimal()]
    return names[-1].replace("~1", "/").replace("~0", "~") if names else ""
