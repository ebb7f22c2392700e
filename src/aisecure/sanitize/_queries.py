"""Encoders for the places in queries that cannot be bound as parameters: names, filters, expressions."""

from __future__ import annotations

import re

from aisecure.sanitize.surrogates import checked

__all__ = ["ldap_dn", "ldap_filter", "sql_identifier", "xpath"]

_IDENTIFIER_ENDS = {'"': '"', "`": "`", "[": "]"}
_LDAP_FILTER = re.compile(r"[\0*()\\]")
# A blank counts only at the ends, and a number sign only at the beginning.
_LDAP_DN = re.compile(r'[\0"+,;<=>\\]|\A[ #]| \Z')


def sql_identifier(text: str, *, quote: str = '"') -> str:
    """Return the text as one quoted name of a table or column (SQL:2016, delimited identifier).

    Better: choose names from a fixed list. Names are no values: bind those as parameters.

    Args:
        text: The name.
        quote: ``"`` of the standard, a backtick for MySQL, or ``[`` for SQL Server.

    Raises:
        ValueError: The name is empty or holds NUL, or the quote is none of the three.

    >>> sql_identifier('a"; drop table b--')
    '"a""; drop table b--"'
    """
    if quote not in _IDENTIFIER_ENDS:
        raise ValueError('quote is ", ` or [')
    text = checked(text)
    if not text or "\0" in text:
        raise ValueError("a name is not empty and holds no NUL")
    end = _IDENTIFIER_ENDS[quote]
    return f"{quote}{text.replace(end, end * 2)}{end}"


def ldap_filter(text: str) -> str:
    r"""Return the text as a value inside an LDAP search filter (RFC 4515 section 3).

    >>> print(ldap_filter("*)(uid=admin"))
    \2a\29\28uid=admin
    """
    return _LDAP_FILTER.sub(_hexadecimal, checked(text))


def ldap_dn(text: str) -> str:
    r"""Return the text as the value of one attribute in an LDAP distinguished name (RFC 4514 section 2.4).

    >>> print(ldap_dn("Smith, John + Co"))
    Smith\2c John \2b Co
    """
    return _LDAP_DN.sub(_hexadecimal, checked(text))


def _hexadecimal(match: re.Match[str]) -> str:
    return f"\\{ord(match[0]):02x}"


def xpath(text: str) -> str:
    r"""Return the text as a string expression of XPath 1.0, quotes included.

    The language has no escapes: a text with both kinds of quotes becomes a call of ``concat``. NUL, which XML cannot hold,
    becomes U+FFFD.

    >>> print(xpath("O'Neil"), xpath('say "hi", O\'Neil'))
    "O'Neil" concat('say "hi", O', "'", 'Neil')
    """
    text = checked(text).replace("\0", "\ufffd")
    if '"' not in text:
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    pieces = [f"'{piece}'" for piece in text.split("'")]
    return "concat(" + ', "\'", '.join(pieces) + ")"
