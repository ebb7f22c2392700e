"""Identifiers as rows of tables, by where they are used."""

from __future__ import annotations

from aisecure.detect.entities.united_states import UNITED_STATES
from aisecure.detect.entity import Entity

__all__ = ["ENTITIES"]

#: Every identifier there is; where two are equally likely, the earlier one wins.
ENTITIES: tuple[Entity, ...] = (*UNITED_STATES,)
