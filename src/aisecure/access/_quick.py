"""The decision about a principal where nothing but look-ups is asked: one closure, since every call runs through it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from aisecure.access._index import MOST_REQUESTS, UNPLAIN, Index
from aisecure.access._names import MAX_NAME, is_plain, is_plain_path
from aisecure.decisions import ALLOW, Decision
from aisecure.principal import Principal

__all__ = ["Answers", "Decide", "quick"]

#: Most rules whose refusals are kept ready.
_RULES: Final = 4096
#: Most resources that are remembered to be spelled plainly, and the longest of them: a few hundred KiB.
_PLAIN: Final = 2048
_PLAIN_CHARS: Final = 128

_NO_RULE = Decision.deny("access.denied", "No rule of the policy allows this action on this resource.")
_EMPTY = Decision.deny("access.denied", "The policy has no rules, so nothing is allowed.")
_NAME = Decision.deny(
    "access.name",
    "A name in the request is spelled in a way that others may read differently: write it plainly, without control "
    "characters, '//', '/./', '/../' and percent-encoding, in at most 8,192 characters.",
)
_COLLISION = Decision.deny(
    "access.name", "The principal's id is also the name of a role in the policy: rename one of them."
)

#: (principal, action, resource) -> decision.
Decide = Callable[[Principal, str, str], Decision]


@dataclass(frozen=True, slots=True)
class Answers:
    """The decisions of one version of a policy, made once: each names the version.

    Attributes:
        allow: A rule allows.
        otherwise: No rule says anything.
        name: A name is not spelled plainly.
        collision: The principal is called like a role.
        version: Of the policy.
        refusals: By rules that deny, made when they are first needed; see `rule`.
    """

    allow: Decision
    otherwise: Decision
    name: Decision
    collision: Decision
    version: str
    refusals: dict[int, Decision] = field(default_factory=dict)

    @classmethod
    def of(cls, version: str, *, rules: int, allows_rest: bool) -> Answers:
        """Return the decisions of a version."""
        otherwise = ALLOW if allows_rest else _NO_RULE if rules else _EMPTY
        allow, other, name, collision = (
            replace(one, policy=version) for one in (ALLOW, otherwise, _NAME, _COLLISION)
        )
        return cls(allow, other, name, collision, version)

    def rule(self, mark: int) -> Decision:
        """Return the refusal by a rule, whose line is given as a negative number."""
        decision = self.refusals.get(mark)
        if decision is None:
            reason = f"The rule on line {-mark} of the policy denies this action on this resource."
            decision = replace(Decision.deny("access.rule", reason), policy=self.version)
            if len(self.refusals) < _RULES:
                self.refusals[mark] = decision
        return decision


def quick(  # noqa: C901, PLR0915  (the one function inside)
    index: Index, answers: Answers, parts: tuple[int, int | None, int, int], role_names: frozenset[str]
) -> Decide | None:
    """Return the function that decides, or None when it takes more than look-ups.

    Args:
        index: The compiled policy.
        answers: What it answers with.
        parts: Positions of subject, tenant, resource and action in a request.
        role_names: Names that no principal may have as its id.
    """
    if not index.only_looks_up(parts):
        return None
    # The names that make a difference; all others are alike, and so are never in a key.
    tenants, actions = index.known(parts[1]), index.known(parts[3])
    subjects = index.known(parts[0]) | role_names
    asks_tenant = parts[1] is not None
    kept, bucket_of, further = index.kept, index.bucket_of, index.further
    allow, otherwise, bad_name, collision = answers.allow, answers.otherwise, answers.name, answers.collision
    refusals, refuse = answers.refusals, answers.rule
    most = MAX_NAME
    plain: set[str] = set()
    stand_in = index.stand_in(parts[0], parts[1])
    order = [place for place in parts if place is not None]

    def values(*mine: str | None) -> tuple[str | None, ...]:
        by_place = dict(zip(parts, mine, strict=True))
        return tuple([by_place[place] for place in sorted(order)])

    def make(
        name: str | None, tenant: str | None, verb: str | None, roles: frozenset[str]
    ) -> tuple[Any, ...]:
        if not roles <= subjects:
            roles &= subjects
        asked = name
        if stand_in is not None and name is not None:
            name = stand_in(name, tenant or "")
        key = roles, name, tenant, verb
        bucket = kept.get(key)
        if bucket is None:
            # A plain tuple is taken apart in half the steps.
            bucket = kept[key] = tuple(bucket_of(values(name, tenant, "", verb), roles))
        if asked is not name:
            if len(kept) >= MOST_REQUESTS:
                kept.clear()
            kept[roles, asked, tenant, verb] = bucket
        return bucket

    def spelled_plainly(resource: str) -> bool:
        if not is_plain_path(resource):
            return False
        if len(resource) <= _PLAIN_CHARS:
            if len(plain) >= _PLAIN:
                plain.clear()
            plain.add(resource)
        return True

    # One function without another call where it can be helped: a call costs as much as all its look-ups.
    def decide(principal: Principal, action: str, resource: str) -> Decision:  # noqa: C901, PLR0912
        name: str | None = principal.id
        if name not in subjects:
            # What the policy knows is plain; what it does not know has to be.
            if not (principal.id.isprintable() and len(principal.id) <= most) and not is_plain(principal.id):
                return bad_name
            name = None
        elif name in role_names:
            return collision
        tenant: str | None = principal.tenant
        if tenant not in tenants:
            if asks_tenant:
                where = principal.tenant
                if not (where.isprintable() and len(where) <= most) and not is_plain(where):
                    return bad_name
            tenant = None
        verb: str | None = action
        if verb not in actions:
            if not (action.isprintable() and len(action) <= most) and not is_plain(action):
                return bad_name
            verb = None
        exact, prefixes, choices, final, sole, more = kept.get((principal.roles, name, tenant, verb)) or make(
            name, tenant, verb, principal.roles
        )
        line = exact.get(resource, 0)
        if line:
            if line < 0:
                return refusals.get(line) or refuse(line)
            if final:
                return allow
        if prefixes:
            # Whatever begins the resource also begins the last beginning that is not after it.
            for cut, prefix, pattern, others, other in (
                sole
                or choices[
                    bisect_right(prefixes, resource) - 1
                ]  # those at the end begin nothing that sorts first
            ):
                if prefix and resource[cut] != prefix:
                    continue
                if pattern.open or (pattern.test or pattern.ready())(resource):
                    if others:
                        asked = values(name, tenant, resource, verb)
                        if not all(test(asked) for test in others):
                            continue
                    if other < 0:
                        return refusals.get(other) or refuse(other)
                    # Those that deny come first, and one that allows is enough.
                    if not line:
                        if resource not in plain and not spelled_plainly(resource):
                            line = UNPLAIN
                        elif more:
                            line = other
                        else:
                            return allow
                    break
        if more:
            line = further(more, values(name, tenant, resource, verb), line)
        if line > 0:
            return allow
        return otherwise if not line else bad_name if line == UNPLAIN else refuse(line)

    return decide
