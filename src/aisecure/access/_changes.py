"""A change of a policy: rules and links to add and to remove, all of them or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aisecure.access._policy import Row, fields_of
from aisecure.access._sources import PolicyRows, PolicyText

__all__ = ["Line", "PolicyChange", "changed"]

#: A line of a policy: its kind (``p``, ``g`` ...) and its fields.
Line = tuple[str, Row]


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """Lines to add and to remove.

    Attributes:
        add: What shall be in the policy, in order; what is there already is not added again.
        remove: What shall not; every line that says it goes.
    """

    add: tuple[Line, ...] = ()
    remove: tuple[Line, ...] = ()

    @classmethod
    def of(cls, add: Iterable[Sequence[str]], remove: Iterable[Sequence[str]]) -> PolicyChange:
        """Return the change of lines as they stand in a policy, such as ``("p", "editor", "*", "document:*", "read", "allow")``.

        Raises:
            TypeError: A line is no sequence of texts.
            ValueError: A line has no fields, or is both to be added and to be removed.
        """
        change = cls(tuple(map(_line, add)), tuple(map(_line, remove)))
        if set(change.add) & set(change.remove):
            raise ValueError("change: the same line is to be added and to be removed")
        return change


def changed(
    before: PolicyText | PolicyRows, change: PolicyChange
) -> tuple[PolicyText | PolicyRows, PolicyChange]:
    """Return the policy after a change, and what of the change was not so already.

    Raises:
        ValueError: A field cannot be written in a text: it has a comma, a quote, a bracket that is not closed.
    """
    return _text_changed(before, change) if isinstance(before, PolicyText) else _rows_changed(before, change)


def _text_changed(before: PolicyText, change: PolicyChange) -> tuple[PolicyText, PolicyChange]:
    """Change a text where it has to be changed; comments, order and blank lines stay."""
    unwanted, wanted = set(change.remove), dict.fromkeys(change.add)
    kept: list[str] = []
    removed: list[Line] = []
    for text in before.policy.split("\n"):
        fields = fields_of(text)
        line = (fields[0], tuple(fields[1:])) if fields else None
        if line in unwanted and line is not None:
            removed.append(line)
            continue
        if line in wanted and line is not None:
            del wanted[line]
        kept.append(text)
    added = [_written(line) for line in wanted]
    if kept and not kept[-1].strip():
        kept.pop()  # what stands after the last line break
    policy = "\n".join([*kept, *added, ""])
    return before.with_policy(policy), PolicyChange(tuple(wanted), tuple(dict.fromkeys(removed)))


def _rows_changed(before: PolicyRows, change: PolicyChange) -> tuple[PolicyRows, PolicyChange]:
    rows: dict[str, dict[Row, None]] = {kind: dict.fromkeys(found) for kind, found in before.rows.items()}
    removed = [line for line in dict.fromkeys(change.remove) if line[1] in rows.get(line[0], ())]
    for kind, row in removed:
        del rows[kind][row]
    added = [line for line in dict.fromkeys(change.add) if line[1] not in rows.get(line[0], ())]
    for kind, row in added:
        rows.setdefault(kind, {})[row] = None
    after: Mapping[str, Sequence[Row]] = {kind: tuple(found) for kind, found in rows.items() if found}
    return before.with_rows(after), PolicyChange(tuple(added), tuple(removed))


def _line(words: Sequence[str]) -> Line:
    if (
        isinstance(words, str)
        or not isinstance(words, Sequence)
        or not all(isinstance(w, str) for w in words)
    ):
        raise TypeError(
            'change: a line is a sequence of texts, such as ("p", "editor", "document:*", "read")'
        )
    if len(words) < 2:
        raise ValueError("change: a line has a kind and at least one field")
    return words[0], tuple(words[1:])


def _written(line: Line) -> str:
    text = ", ".join([line[0], *line[1]])
    if "\n" in text or fields_of(text) != [line[0], *line[1]]:
        raise ValueError(
            "change: a field has a comma, a line break, a bracket or blanks, which a policy file cannot hold"
        )
    return text
