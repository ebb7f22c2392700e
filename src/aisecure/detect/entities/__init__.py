"""Identifiers as rows of tables, by where they are used."""

from __future__ import annotations

from aisecure.detect.entities.accounts import ACCOUNTS
from aisecure.detect.entities.africa_middle_east import AFRICA_MIDDLE_EAST
from aisecure.detect.entities.americas import AMERICAS
from aisecure.detect.entities.asia_pacific import ASIA_PACIFIC
from aisecure.detect.entities.europe import EUROPE
from aisecure.detect.entities.germany import GERMANY
from aisecure.detect.entities.health import HEALTH
from aisecure.detect.entities.india import INDIA
from aisecure.detect.entities.united_kingdom import UNITED_KINGDOM
from aisecure.detect.entities.united_states import UNITED_STATES
from aisecure.detect.entity import Entity

__all__ = ["ENTITIES"]

#: Every identifier there is; where two are equally likely, the earlier one wins.
ENTITIES: tuple[Entity, ...] = (
    *HEALTH,
    *UNITED_STATES,
    *AMERICAS,
    *UNITED_KINGDOM,
    *GERMANY,
    *EUROPE,
    *INDIA,
    *ASIA_PACIFIC,
    *AFRICA_MIDDLE_EAST,
    *ACCOUNTS,
)
