"""The optional engine bleach, for those who must match its output."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from aisecure.errors import Misconfigured
from aisecure.sanitize.addresses import address_filter
from aisecure.sanitize.policy import HtmlPolicy
from aisecure.sanitize.surrogates import well_formed

__all__ = ["UnmaintainedEngineWarning", "bleach_cleaner"]


class UnmaintainedEngineWarning(UserWarning):
    """The chosen engine gets no security fixes any more."""


def bleach_cleaner(policy: HtmlPolicy) -> Callable[[str], str]:
    """Return ``clean(text) -> html`` of bleach under the policy.

    Raises:
        Misconfigured: bleach is not installed.
    """
    try:
        from bleach.html5lib_shim import Filter
        from bleach.sanitizer import Cleaner
    except ImportError as err:
        raise Misconfigured(
            "engine 'bleach' is not installed: pip install 'aisecure[bleach]', or use engine 'nh3'",
            code="config.extra",
        ) from err
    warnings.warn(
        "bleach has not been maintained since June 2026 and gets no security fixes; prefer engine='nh3'",
        UnmaintainedEngineWarning,
        stacklevel=4,
    )
    allowed = address_filter(policy)

    class Rules(Filter):  # type: ignore[misc]  # html5lib_shim is untyped
        """What bleach has no setting for: ``rel`` on links, class names, comments inside foreign content."""

        def __iter__(self) -> Iterator[dict[str, Any]]:
            for token in super().__iter__():
                if token["type"] in ("StartTag", "EmptyTag"):
                    data = token["data"]
                    if token["name"] == "a":
                        data[None, "rel"] = policy.link_rel
                    if (None, "class") in data:
                        known = policy.classes.get(token["name"], frozenset())
                        kept = " ".join(word for word in data[None, "class"].split() if word in known)
                        if kept:
                            data[None, "class"] = kept
                        else:
                            del data[None, "class"]
                yield token

    def keeps(tag: str, name: str, value: str) -> bool:
        if name == "class":
            return tag in policy.classes
        if name in ("href", "src"):
            # Bleach reads "javascript:123" as a host and a port; our own reading of the address decides as well.
            return (tag, name) in (("a", "href"), ("img", "src")) and allowed(tag, name, value) is not None
        return name in policy.attributes.get(tag, frozenset())

    make = partial(
        Cleaner,
        tags=policy.tags,
        attributes=keeps,
        protocols=policy.schemes,
        strip=True,
        strip_comments=True,
        filters=[Rules],
    )

    def clean(text: str) -> str:
        # A Cleaner keeps its parser's state, so that two threads must not share one.
        return str(make().clean(well_formed(text)))

    return clean
