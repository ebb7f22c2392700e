"""Identifiers of the United States."""

from __future__ import annotations

from aisecure.detect.entity import Entity

__all__ = ["UNITED_STATES"]

#: Printed in advertisements and never issued again (SSA, "Social Security Cards Issued by Woolworth").
_SSN_SAMPLES = frozenset({"078051120", "219099999"})


def _is_ssn(digits: str) -> bool:
    """Area not 000, 666 or 900-999, group not 00, serial not 0000 (SSA, POMS RM 10201)."""
    return (
        digits[:3] not in ("000", "666")
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
        and digits not in _SSN_SAMPLES
    )


_SSN_LABELS = ("ssn", "social security", "soc sec", "ss no", "ss num")

UNITED_STATES = (
    Entity("pii.us_ssn", ("999-99-9999",), _is_ssn, _SSN_LABELS, bare=0.85, said=0.95, countries=("US",)),
    Entity(
        "pii.us_ssn", ("999999999",), _is_ssn, _SSN_LABELS, bare=0.1, said=0.85, alone=0.3, countries=("US",)
    ),
)
