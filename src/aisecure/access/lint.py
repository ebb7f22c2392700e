"""What looks wrong in a policy: rules that never count, roles in circles, names that are taken for each other.

For people who look after a policy. Findings quote its rules, so they belong neither in an answer to a caller nor in an
event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from aisecure.access._covered import allows, covered, has_say
from aisecure.access._covers import Shape
from aisecure.access._lookalikes import alike, hidden, mixed_scripts
from aisecure.access._matcher import Term
from aisecure.access._model import Effect, default_definition
from aisecure.access._names import is_plain_path
from aisecure.access._policy import Row
from aisecure.access._role_trees import RoleTree
from aisecure.access._snapshot import Snapshot

__all__ = ["PolicyFinding", "Severity", "lint"]

Severity = Literal["error", "warning", "note"]

#: Names of roles that many people have.
_EVERYDAY: Final = frozenset(
    "* all any anonymous anyone authenticated client customer default employee everybody everyone external guest guests "
    "intern member members nobody partner public reader readonly staff student tenant user users viewer visitor".split()
)
#: Besides patterns that plainly match everything.
_EVERYTHING: Final = frozenset({"*", "/*", ".*", "^.*$", "(.*)", "**", "/**", "/.*"})


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """Something in a policy that looks wrong.

    Attributes:
        code: What it is; a code never changes its meaning.
        severity: ``error`` opens a door or is never meant, ``warning`` is probably not meant, ``note`` may well be.
        line: Line of the rule, or its number where the policy is no text; 0 for a role link and for the whole policy.
        rule: Fields of the rule or the role link, kind first; empty for the whole policy.
        message: What is wrong, and what to do.
    """

    code: str
    severity: Severity
    line: int
    rule: Row
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data."""
        return {**asdict(self), "rule": list(self.rule)}

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        text = f"{self.severity} [{self.code}] {place}{', '.join(map(_cut, self.rule))}"
        return f"{text}{': ' if self.rule else ''}{self.message}"


def lint(version: Snapshot) -> tuple[PolicyFinding, ...]:
    """Return what looks wrong in a policy, what belongs to no line first, then by lines.

    All rules found ``duplicate``, ``redundant`` or ``shadowed`` can be removed together, and every answer stays as it
    was. (In the built-in model, a principal whose id is spelled like a role is refused; without rules a name is none.)
    Not every such rule is found: expressions that differ are not compared, nor what several rules cover only together.

    Takes some ten microseconds a rule.
    """
    found = list(_Lint(version).findings())
    return tuple(sorted(found, key=lambda finding: (finding.line, finding.code, finding.rule)))


class _Lint:
    def __init__(self, version: Snapshot) -> None:
        self._version = version
        self._definition = version.definition
        self._rules = version.policy.rules
        self._lines = version.policy.lines
        self._allows = allows(version)
        self._compiled = version.matcher()
        self._terms: Sequence[Term] = () if self._compiled is None else self._compiled.terms
        self._trees = {
            name: RoleTree(links, version.graphs[name]) for name, links in version.policy.links.items()
        }
        shallow = {name for name, tree in self._trees.items() if tree.is_shallow}
        self._shape = Shape(version, self._terms, shallow)

    def findings(self) -> Iterator[PolicyFinding]:
        """Yield what every check finds."""
        if not len(self._rules):
            yield self._whole("empty", "error", "there is no rule, so everything is denied; write one")
        yield from self._model()
        yield from self._circles()
        yield from self._unspoken()
        yield from self._unheld()
        yield from self._names()
        yield from self._needless()
        yield from self._wide()

    def _whole(self, code: str, severity: Severity, message: str) -> PolicyFinding:
        return PolicyFinding(code, severity, 0, (), message)

    def _rule(self, code: str, severity: Severity, place: int, message: str) -> PolicyFinding:
        return PolicyFinding(code, severity, self._lines[place], ("p", *self._rules[place]), message)

    # -- the model as a whole

    def _model(self) -> Iterator[PolicyFinding]:
        if self._compiled is None:
            yield self._whole(
                "not-compiled",
                "warning",
                f"pycasbin evaluates the matcher, rule by rule ({self._version.reason}); shadowed and redundant rules "
                "were not looked for",
            )
        elif not self._only_looks_up():
            yield self._whole(
                "not-compared",
                "note",
                "the matcher evaluates conditions, so only duplicates were looked for, and no shadowed or redundant "
                "rules",
            )
        if self._definition.effect is Effect.DENY_OVERRIDE and not any(
            not self._allows(rule) for rule in self._rules
        ):
            yield self._whole(
                "nothing-denied",
                "error",
                "the effect of the model allows what no rule denies, and no rule denies: everything is allowed",
            )

    def _only_looks_up(self) -> bool:
        """Whether nothing is evaluated for a request, which could fail."""
        return (
            self._compiled is not None
            and not self._compiled.derived
            and not any(term.rests or term.asked for term in self._terms)
            and all(test.function != "ipMatch" for term in self._terms for test in term.patterns)
        )

    # -- role links

    def _circles(self) -> Iterator[PolicyFinding]:
        for kind, tree in self._trees.items():
            for names, tenant in tree.circles():
                yield PolicyFinding(
                    "cycle",
                    "error",
                    0,
                    _link(kind, names, tenant),
                    f"a circle: {_chain(names)}; whoever has one of these roles has them all",
                )
            for names, tenant in tree.too_long():
                yield PolicyFinding(
                    "too-deep",
                    "error",
                    0,
                    _link(kind, names, tenant),
                    f"{_quoted(names[-1])} is more than nine links above {_quoted(names[0])}, where Casbin does not "
                    "look; shorten the chain",
                )
            if not tree.is_searched:
                yield self._whole(
                    "not-searched", "note", f"there are too many links of {kind} to look at every chain"
                )

    def _unspoken(self) -> Iterator[PolicyFinding]:
        for kind, tree in self._trees.items():
            fields = {link.field for term in self._terms for link in term.links if link.graph == kind}
            columns = range(self._rules.width) if not self._only_looks_up() else fields
            spoken = set[str]().union(*[self._rules.column(field) for field in columns])
            for link in tree.unspoken(spoken):
                yield PolicyFinding(
                    "role-without-rules",
                    "warning",
                    0,
                    (kind, *link),
                    f"no rule speaks of {_quoted(link[1])}, so the link gives nothing; is the name spelled as in the "
                    "rules?",
                )

    def _unheld(self) -> Iterator[PolicyFinding]:
        """Find roles of rules that nobody has, in policies that have links at all."""
        if not self._version.asks_principals:
            return
        subject = self._version.parts()[0]
        given = {kind: tree.given() for kind, tree in self._trees.items()}
        told: set[tuple[str, str | None]] = set()
        for place, rule in enumerate(self._rules):
            about: set[tuple[str, str | None]] = set()
            for number in self._shape.holding(rule):
                term = self._terms[number]
                link = next((link for link in term.links if link.asked == subject), None)
                if link is None or not given[link.graph][0]:
                    about.clear()
                    break
                anywhere, everywhere, somewhere = given[link.graph]
                role = rule[link.field]
                compared = dict(term.equal)
                tenant: str | None = None
                if isinstance(link.tenant, int) and link.tenant in compared:
                    tenant = rule[compared[link.tenant]]
                here = (
                    role in anywhere if tenant is None else (role, tenant) in somewhere or role in everywhere
                )
                if here:
                    about.clear()
                    break
                about.add((role, tenant))
            for role, tenant in sorted(about - told, key=str):
                told.add((role, tenant))
                where = "" if tenant is None else f" in the tenant {_quoted(tenant)}"
                yield self._rule(
                    "unreachable",
                    "note",
                    place,
                    f"no link gives anybody the role {_quoted(role)}{where}, so its rules hold for nobody but those who "
                    "bring it with their credential"
                    + ("" if self._is_built_in else ", or have it as their id"),
                )

    @property
    def _is_built_in(self) -> bool:
        return self._definition is default_definition()

    # -- names

    def _names(self) -> Iterator[PolicyFinding]:
        for names in self._namespaces().values():
            for name, (line, rule) in names.items():
                if char := hidden(name):
                    yield PolicyFinding(
                        "confusable",
                        "warning",
                        line,
                        rule,
                        f"{_quoted(name)} has a character that nobody sees ({_code(char)}); remove it",
                    )
                elif char := mixed_scripts(name):
                    yield PolicyFinding(
                        "confusable",
                        "warning",
                        line,
                        rule,
                        f"{_quoted(name)} mixes letters of several scripts ({_code(char)})",
                    )
            for one, other in alike(names):
                line, rule = names[other]
                before = names[one][0]
                yield PolicyFinding(
                    "confusable",
                    "warning",
                    line,
                    rule,
                    f"{_quoted(other)} looks like {_quoted(one)}" + (f" on line {before}" if before else ""),
                )

    def _namespaces(self) -> dict[str, dict[str, tuple[int, Row]]]:
        """Return the names that are compared with each other, each with where it stands first."""
        spaces: dict[str, dict[str, tuple[int, Row]]] = {}
        for field, title in enumerate(self._definition.rule):
            if title in ("eft", "priority"):
                continue
            space = spaces.setdefault(title, {})
            for place, name in enumerate(self._rules.column(field)):
                if name not in space:
                    space[name] = self._lines[place], ("p", *self._rules[place])
        for kind, links in self._version.policy.links.items():
            link = next((link for term in self._terms for link in term.links if link.graph == kind), None)
            names, tenants = kind, f"{kind}: tenant"
            if link is not None:
                names = self._definition.rule[link.field]
                if isinstance(link.tenant, int) and link.tenant < len(self._definition.request):
                    tenants = self._definition.request[link.tenant]
            for row in links:
                for title, name in zip((names, names, tenants), row, strict=False):
                    space = spaces.setdefault(title, {})
                    if name not in space:
                        space[name] = 0, (kind, *row)
        return spaces

    # -- rules that never count

    def _needless(self) -> Iterator[PolicyFinding]:
        counts = has_say(self._version)
        first: dict[Row, int] = {}
        gone: set[int] = set()
        for place, rule in enumerate(self._rules):
            before = first.setdefault(rule, place)
            if before != place:
                gone.add(place)
                yield self._rule(
                    "duplicate", "warning", place, f"stands on line {self._lines[before]} already"
                )
            elif not counts(rule):
                yield self._ignored(place, rule)
        if not self._only_looks_up():
            return
        for place, by, same_effect in covered(self._version, self._shape, gone):
            line = self._lines[by]
            if same_effect:
                yield self._rule(
                    "redundant", "note", place, f"line {line} covers it; the rule can be removed"
                )
            else:
                yield self._rule(
                    "shadowed",
                    "warning",
                    place,
                    f"line {line} {'denies' if self._allows(self._rules[place]) else 'allows'} whatever it would "
                    f"{'allow' if self._allows(self._rules[place]) else 'deny'}; remove one of the two",
                )

    def _ignored(self, place: int, rule: Row) -> PolicyFinding:
        if self._allows(rule):
            return self._rule(
                "ignored-effect",
                "note",
                place,
                "the effect of the model allows what no rule denies, also without it",
            )
        return self._rule(
            "ignored-effect",
            "error",
            place,
            "the effect of the model never looks at rules that deny; take some(where (p.eft == allow)) && "
            "!some(where (p.eft == deny))",
        )

    # -- rules that allow too much, or nothing

    def _wide(self) -> Iterator[PolicyFinding]:
        if not self._version.asks_principals or self._compiled is None:
            return
        subject, tenant, resource, action = self._version.parts()
        counts = has_say(self._version)
        named = self._definition.request[subject]
        who = self._definition.rule.index(named) if named in self._definition.rule else None
        for place, rule in enumerate(self._rules):
            if not self._allows(rule) or not counts(rule):
                continue
            terms = [self._terms[number] for number in self._shape.holding(rule)]
            if any(_is_open(term, rule, resource) and _is_open(term, rule, action) for term in terms):
                every = tenant is None or any(_is_open(term, rule, tenant) for term in terms)
                name = (
                    "*" if who is None or any(_is_open(term, rule, subject) for term in terms) else rule[who]
                )
                yield self._admin(place, name, every=every)
            elif terms and all(self._is_unaskable(term, rule) for term in terms):
                yield self._rule(
                    "unplain",
                    "warning",
                    place,
                    "every name that it covers is refused for its spelling (//, /./, /../ or %41); write it plainly",
                )

    def _admin(self, place: int, name: str, *, every: bool) -> PolicyFinding:
        where = "everything, in every tenant" if every else "everything in its tenant"
        if name.strip().casefold() in _EVERYDAY:
            whom = "everybody" if name == "*" else _quoted(name)
            return self._rule(
                "wildcard-admin", "error", place, f"{whom} may do {where}; name actions and resources"
            )
        return self._rule(
            "wildcard-admin",
            "warning" if every else "note",
            place,
            f"{_quoted(name)} may do {where}; see that few have it",
        )

    def _is_unaskable(self, term: Term, rule: Row) -> bool:
        for test in term.patterns:
            pattern = self._shape.pattern(test.function, rule[test.field])
            # Whatever begins so is refused, too.
            if pattern is not None and pattern.exact is None and not is_plain_path(pattern.prefix + "x"):
                return True
        return False


def _is_open(term: Term, rule: Row, position: int) -> bool:
    """Whether a term lets every name of a position meet a rule."""
    if term.rests or term.asked or any(asked == position for asked, _ in term.equal):
        return False
    if any(link.asked == position for link in term.links):
        return False
    return all(rule[test.field] in _EVERYTHING for test in term.patterns if test.asked == position)


def _link(kind: str, names: Sequence[str], tenant: str) -> Row:
    return (kind, *names[:2], *([tenant] if tenant else []))


def _chain(names: Sequence[str]) -> str:
    shown = [*names[:4], "...", names[-1]] if len(names) > 6 else names
    return " > ".join(shown)


def _quoted(name: str) -> str:
    return f'"{_cut(name)}"'


def _cut(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:79]}…"


def _code(char: str) -> str:
    return f"U+{ord(char):04X}"
