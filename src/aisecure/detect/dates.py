"""Dates with a day, in digits or with the name of a month, and what makes one a date of birth.

A date that also has seconds is a time stamp that a machine wrote; it counts only where something says that it matters.
Years, weekdays and months alone are left: they say too little of a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["BIRTH_KIND", "DATES", "KIND", "MONTH_LIKE"]

KIND = "pii.date_time"
BIRTH_KIND = "pii.date_of_birth"

_MONTHS = {
    **{name: number for number, names in enumerate(
        (
            "january jan januar janvier enero gennaio janeiro januari",
            "february feb februar février fevrier febrero febbraio fevereiro februari",
            "march mar märz maerz mars marzo março maart",
            "april apr avril abril aprile",
            "may mai mayo maggio maio mei",
            "june jun juni juin junio giugno junho",
            "july jul juli juillet julio luglio julho",
            "august aug août aout agosto augustus",
            "september sep sept septembre septiembre settembre setembro",
            "october oct oktober okt octobre octubre ottobre outubro",
            "november nov novembre noviembre novembro",
            "december dec dezember dez décembre decembre diciembre dicembre dezembro",
        ), 1) for name in names.split()},
}  # fmt: skip
#: The name of a month in six languages, to be matched without regard to case.
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))

#: What may be one, by its beginning: cheaper to look for, where being wrong costs nothing.
MONTH_LIKE = (
    "(?:jan|ene|gen|feb|f[eé]v|mar|mär|maa|apr|avr|abr|ma[iyg]|mei|jun|jui|giu|jul|lug|aug|ao[uû]|ago|sep|set|o[ck]t|out|nov|de[cz]|dic|déc)"
    r"[^\W\d_]{0,8}"
)

_TIME = r"(?:(?:T|,?[ \xa0])[012]?\d:[0-5]\d(?P<seconds>:[0-5]\d(?:[.,]\d{1,9})?)?(?:[ \xa0]?[AaPp]\.?[Mm]\.?)?(?:Z|[ \xa0]?[+-]\d\d:?\d\d)?)?"
_BEFORE = r"(?<![\w/])(?<!\d[-.,:])(?<!\w[-.])"
_AFTER = r"(?![\w/]|[-.,:]\d|-\w)"
_NUMERIC = lazy(
    rf"{_BEFORE}(?:(?P<year>(?:1[89]|20)\d\d)(?P<first>[-/.])(?P<month>[01]?\d)(?P=first)(?P<day>[0-3]?\d)"
    rf"|(?P<one>[0-3]?\d)(?P<second>[-/.])(?P<two>[0-3]?\d)(?P=second)(?P<late>(?:1[89]|20)\d\d|\d\d)){_TIME}{_AFTER}",
    re.ASCII,
)
_DAY = r"(?P<{0}>[0-3]?\d)(?:st|nd|rd|th|er|º)?"
_NAMED = lazy(
    rf"(?<![\w])(?:{_DAY.format('d1')}\.?[ \xa0-](?:of |de )?(?P<m1>{_MONTH})(?![^\W_])(?:(?:\.?,?[ \xa0-]| de )(?P<y1>(?:1[89]|20)\d\d))?"
    rf"|(?P<m2>{_MONTH})\.?[ \xa0]{_DAY.format('d2')}(?:,?[ \xa0](?P<y2>(?:1[89]|20)\d\d))?){_TIME}(?![\w]|[-.,:]\d)",
    re.IGNORECASE,
)

_LABELS = {
    BIRTH_KIND: (
        "dob", "d o b", "born", "birth", "birthday", "birthdate", "birth date", "date of birth", "geboren", "geburtsdatum", "geb",
        "né", "née", "naissance", "nacimiento", "nacido", "nacida", "nascita", "nato", "nata", "nascimento", "geboortedatum",
        "födelsedatum", "syntymäaika", "fødselsdato",
    ),
    KIND: (
        "date", "dated", "when", "year", "admitted", "discharged", "admission", "discharge", "visit", "seen", "appointment",
        "deceased", "died", "death", "issued", "expires", "expiry", "signed", "datum", "fecha", "data",
    ),
}  # fmt: skip


def _find_numeric(window: Window) -> Iterator[Candidate]:
    for found in _NUMERIC.finditer(window.text, window.at):
        if found["year"]:
            valid, full = _is_day(int(found["year"]), int(found["month"]), int(found["day"])), True
        else:
            one, two, late = int(found["one"]), int(found["two"]), found["late"]
            full = len(late) == 4
            year = int(late) if full else 2000 + int(late)
            valid = _is_day(year, one, two) or _is_day(year, two, one)
        if valid:
            yield _judged(window, found, full=full)


def _find_named(window: Window) -> Iterator[Candidate]:
    for found in _NAMED.finditer(window.text, window.at):
        month, day, named_year = (found[f"{name}1"] or found[f"{name}2"] for name in "mdy")
        if _is_day(int(named_year or 2000), _MONTHS.get(month.casefold(), 0), int(day)):
            yield _judged(window, found, full=named_year is not None, named=0.5)


def _find_year(window: Window) -> Iterator[Candidate]:
    text, at = window.text, window.at
    alone = _YEAR.fullmatch(text, at)
    if alone is not None and _IN.search(text, max(0, at - _IN_REACH), at):
        yield Candidate(at, alone.end(1), KIND, 0.5)


# What makes four digits a year.
_IN = lazy(
    r"(?<![^\W\d_])(?:in|since|during|until|from|of|by|before|after|circa|year|seit|im jahr|en|depuis|desde|dal|nel|em) \Z",
    re.IGNORECASE,
)
_IN_REACH = 10
# A year that is the whole block, but for the end of a sentence or a parenthesis.
_YEAR = lazy(r"((?:19|20)\d\d)[.)?!:]*")


def _judged(window: Window, found: re.Match[str], *, full: bool, named: float = 0.45) -> Candidate:
    start, end = found.span()
    said = window.said(start)
    if BIRTH_KIND in said.nearest:
        return Candidate(start, end, BIRTH_KIND, 0.9)
    if found["seconds"]:
        score = 0.7 if KIND in said.nearest else 0.35
    elif full:
        score = 0.6
    else:
        score = 0.6 if KIND in said.nearest else named
    return Candidate(start, end, KIND, score)


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


_NAMED_FORM = r"9(?:[aA]{2}|º|\.)?[ \xa0-][^\W9_]|[^\W9_]\.?[ \xa0]9"
DATES = (
    Recognizer((KIND, BIRTH_KIND), lazy(r"9[-/.]9{1,2}[-/.]9"), _find_numeric, _LABELS),
    Recognizer((KIND, BIRTH_KIND), lazy(_NAMED_FORM), _find_named, _LABELS),
    Recognizer((KIND,), lazy(r"\A9999[.)?!:]*\Z"), _find_year),
)
