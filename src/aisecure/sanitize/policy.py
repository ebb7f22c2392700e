"""What may stay in a piece of HTML: named, frozen policies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = ["ARTICLE", "CHAT", "COMMENT", "PLAIN", "POLICIES", "HtmlPolicy", "PolicyName", "named"]

# Elements whose content is not parsed as ordinary HTML, that load or run something, or that reach out of their
# place in the page. A sanitiser that keeps one of them cannot promise anything about the rest.
_REFUSED_TAGS = frozenset(
    "applet audio base body button canvas embed fieldset form frame frameset head html iframe input link listing"
    " main marquee math meta noembed noframes noscript object option param picture plaintext portal script select"
    " slot source style svg template textarea title track video xmp".split()
)
# Attributes that run code, load something by themselves, submit somewhere, or name things that scripts look up
# (``id`` and ``name`` clobber properties of ``document``).
_REFUSED_ATTRIBUTES = frozenset(
    "action background data dynsrc formaction href id imagesrcset is longdesc lowsrc manifest name ping poster rel"
    " slot src srcdoc srcset style target usemap xmlns".split()
)
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9][a-z0-9-]{0,62})*\Z")
_SCHEMES = frozenset({"http", "https", "mailto", "tel"})


@dataclass(frozen=True)
class HtmlPolicy:
    """Which elements, attributes and addresses survive.

    Links (``href`` of ``a``) and images (``src`` of ``img``) are not listed under ``attributes``: they follow
    ``schemes``, ``link_hosts`` and ``image_hosts``, since an address needs more than a name to be judged.

    Args:
        tags: Elements that stay; of others the text stays and the markup goes.
        attributes: Per element, the attributes that stay.
        classes: Per element, the class names that stay.
        schemes: Schemes of links; some of http, https, mailto, tel. Relative links stay.
        link_hosts: Hosts that a link may name, exactly; None allows all of them, since a person clicks.
        image_hosts: Hosts that images may be loaded from over https, exactly. Empty by default: a browser fetches
            an image without a click, so an address is a way out for whatever the model has read (CWE-201).
        link_rel: The ``rel`` that every link gets.

    Raises:
        ValueError: The policy lists an element, attribute, scheme or host that no policy may hold.

    >>> sorted(HtmlPolicy(tags=frozenset({"p", "em"})).tags)
    ['em', 'p']
    """

    tags: frozenset[str] = frozenset()
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    classes: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    schemes: frozenset[str] = frozenset({"http", "https", "mailto"})
    link_hosts: frozenset[str] | None = None
    image_hosts: frozenset[str] = frozenset()
    link_rel: str = "noopener noreferrer nofollow"

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "tags", _words("tags", self.tags, refused=_REFUSED_TAGS))
        for name in ("attributes", "classes"):
            table = getattr(self, name)
            if not isinstance(table, Mapping):
                raise ValueError(f"HtmlPolicy: {name} maps an element to names")
            refused = _REFUSED_ATTRIBUTES if name == "attributes" else frozenset()
            put(
                self,
                name,
                MappingProxyType(
                    {
                        tag: _words(f"{name} of {tag}", names, refused=refused, plain=name == "attributes")
                        for tag, names in table.items()
                    }
                ),
            )
            outside = sorted(set(getattr(self, name)) - self.tags)
            if outside:
                raise ValueError(f"HtmlPolicy: {name} names {outside}, which are not in tags")
        if any("class" in names for names in self.attributes.values()):
            raise ValueError("HtmlPolicy: list class names under classes, not the attribute class")
        put(self, "schemes", frozenset(self.schemes))
        if not self.schemes <= _SCHEMES:
            raise ValueError(f"HtmlPolicy: schemes is a subset of {sorted(_SCHEMES)}")
        put(self, "image_hosts", _hosts("image_hosts", self.image_hosts))
        if self.link_hosts is not None:
            put(self, "link_hosts", _hosts("link_hosts", self.link_hosts))
        if not re.fullmatch(r"[a-z]+(?: [a-z]+)*", self.link_rel) or "noopener" not in self.link_rel.split():
            raise ValueError("HtmlPolicy: link_rel is a list of words with noopener among them")

    def __reduce__(self) -> tuple[object, ...]:
        # Read-only views of mappings do not pickle; workers started by spawn need their policy.
        return HtmlPolicy, (
            self.tags, dict(self.attributes), dict(self.classes), self.schemes, self.link_hosts, self.image_hosts,
            self.link_rel,
        )  # fmt: skip


def _words(where: str, names: object, *, refused: frozenset[str], plain: bool = True) -> frozenset[str]:
    if isinstance(names, str) or not isinstance(names, (set, frozenset, list, tuple)):
        raise ValueError(f"HtmlPolicy: {where} is a set of names")
    for name in names:
        if not isinstance(name, str) or (plain and not _NAME.match(name)) or " " in name:
            raise ValueError(f"HtmlPolicy: {where} holds {name!r}, which is no lower-case name")
        if name in refused or (plain and where.startswith("attributes") and name.startswith("on")):
            raise ValueError(f"HtmlPolicy: {where} holds {name!r}, which no policy may allow")
    return frozenset(names)


def _hosts(where: str, hosts: object) -> frozenset[str]:
    if isinstance(hosts, str) or not isinstance(hosts, (set, frozenset, list, tuple)):
        raise ValueError(f"HtmlPolicy: {where} is a set of host names")
    for host in hosts:
        if not isinstance(host, str) or not _HOST.match(host):
            raise ValueError(
                f"HtmlPolicy: {where} holds {host!r}; write a host alone, in lower case (punycode)"
            )
    return frozenset(hosts)


# The info strings of fenced code blocks that highlighters know; free class names would let an answer dress up as a
# part of the page.
_LANGUAGES = (
    "bash c clojure cpp csharp css csv dart diff docker dockerfile elixir erlang fsharp go graphql haskell html"
    " http ini java javascript js json jsx julia kotlin latex lua makefile markdown matlab md mermaid nginx none objectivec"
    " perl php plaintext powershell protobuf py python r rb regex ruby rust scala scheme scss sh shell sql svelte swift"
    " terraform text toml ts tsx txt typescript vue xml yaml yml zig zsh"
).split()

#: Everything that Markdown makes, with tables and without images; for answers of a model.
CHAT = HtmlPolicy(
    tags=frozenset(
        "a abbr b blockquote br caption cite code dd del details dfn div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr"
        " i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr u"
        " ul var wbr".split()
    ),
    attributes={
        "a": frozenset({"title"}),
        "abbr": frozenset({"title"}),
        "details": frozenset({"open"}),
        "img": frozenset({"alt", "title", "width", "height"}),
        "ol": frozenset({"start"}),
        "td": frozenset({"colspan", "rowspan", "align"}),
        "th": frozenset({"colspan", "rowspan", "align", "scope"}),
    },
    classes={"code": frozenset(f"language-{language}" for language in _LANGUAGES)},
)

#: What people write under something: words, quotes, code and links. Headings and tables would pass for a part of the page.
COMMENT = HtmlPolicy(
    tags=frozenset("a b blockquote br code del em i ins li ol p pre s strong sub sup u ul".split()),
    classes={"code": CHAT.classes["code"]},
    link_rel="noopener noreferrer nofollow ugc",
)

#: What authors write: everything of `CHAT`, with the figures, definitions and times of a longer text. Images come from
#: ``image_hosts``, which `dataclasses.replace` sets; none by default.
ARTICLE = HtmlPolicy(
    tags=CHAT.tags
    | frozenset(
        "address article aside bdi bdo col colgroup footer header hgroup q rp rt ruby section time".split()
    ),
    attributes={
        **CHAT.attributes,
        "bdo": frozenset({"dir"}),
        "col": frozenset({"span"}),
        "colgroup": frozenset({"span"}),
        "li": frozenset({"value"}),
        "ol": frozenset({"start", "reversed", "type"}),
        "time": frozenset({"datetime"}),
    },
    classes=CHAT.classes,
    link_rel="noopener noreferrer",
)

#: No markup at all: the text of the HTML, escaped.
PLAIN = HtmlPolicy()

PolicyName = Literal["article", "chat", "comment", "none"]
#: The policies that have a name.
POLICIES: Mapping[str, HtmlPolicy] = MappingProxyType(
    {"article": ARTICLE, "chat": CHAT, "comment": COMMENT, "none": PLAIN}
)


def named(policy: HtmlPolicy | PolicyName) -> HtmlPolicy:
    """Return the policy of a name; a policy comes back as it is.

    Raises:
        ValueError: No policy has the name.
    """
    if not isinstance(policy, str):
        return policy
    if policy not in POLICIES:
        raise ValueError(f"policy is an HtmlPolicy, or one of {', '.join(sorted(POLICIES))}")
    return POLICIES[policy]
