"""What tokens cost: prices as data with a date and a source, and exact decimal arithmetic.

Prices change, and contracts differ: the shipped ones are what providers' price lists said on the date beside
them. Give your own with `Prices.from_file`, or put them over the shipped ones: ``Prices.shipped() | {...}``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812  (the word is taken by a field)
from decimal import Context, Decimal, InvalidOperation, localcontext
from functools import cache
from importlib import resources
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aisecure.errors import Misconfigured
from aisecure.events import Usage

__all__ = ["Price", "Prices"]

_MILLION = Decimal(1_000_000)
#: More than any price list asks for; a larger number was given per thousand tokens, or in another unit.
_HIGHEST = Decimal(100_000)
#: Finer prices are no prices either.
_DECIMALS = 24
#: Room for every digit of such a price times any count of tokens, whatever precision the program computes with.
_EXACT = Context(prec=200)
#: Longer names are nobody's, and each slash in one would be a look-up.
_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs per million tokens.

    Attributes:
        input: For tokens of the prompt.
        output: For tokens of the answer, reasoning included.
        cache_read: For prompt tokens that the provider had in its cache; as ``input`` when None.
        cache_write: For prompt tokens that it put into its cache; as ``input`` when None.

    Raises:
        ValueError: A price is negative, no finite number, or absurdly high.
        TypeError: A price is no `Decimal`, whole number or decimal text. Floats are refused: 0.1 is not a tenth.

    >>> Price("2.50", "10").cost(Usage(1000, 200))
    Decimal('0.0045')
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cache_read", "cache_write"):
            given = getattr(self, name)
            if given is not None or name in ("input", "output"):
                object.__setattr__(self, name, _amount(name, given))

    def cost(self, usage: Usage) -> Decimal:
        """Return what a call cost, exactly: not rounded to cents."""
        read, write = usage.cache_read_tokens, usage.cache_write_tokens
        fresh = max(usage.input_tokens - read - write, 0)
        read_price = self.input if self.cache_read is None else self.cache_read
        write_price = self.input if self.cache_write is None else self.cache_write
        with localcontext(_EXACT):
            spent = fresh * self.input + read * read_price + write * write_price
            return (spent + usage.output_tokens * self.output) / _MILLION


def _amount(name: str, given: Any) -> Decimal:
    if isinstance(given, bool) or not isinstance(given, Decimal | int | str):
        raise TypeError(
            f"{name} is a Decimal, a whole number or a text such as '0.15', not {type(given).__name__}"
        )
    try:
        amount = Decimal(given)
    except InvalidOperation:
        raise ValueError(f"{name} is no decimal number") from None
    if not amount.is_finite() or not 0 <= amount <= _HIGHEST:
        raise ValueError(f"{name} is a price per million tokens from 0 to {_HIGHEST}")
    if int(amount.as_tuple().exponent) < -_DECIMALS:
        raise ValueError(f"{name} has more than {_DECIMALS} decimals")
    return amount


class Prices(Mapping[str, Price]):
    """Prices of models by name, in one currency, with the date on which they were true.

    Args:
        models: Prices by the name that the model answers with.
        currency: Three letters, ISO 4217.
        date: When the prices were true: ``2026-01-31``.
        source: Where they were read.

    Raises:
        ValueError: The currency or date is nonsense, or a name is empty.

    >>> prices = Prices({"my-model": Price("0.10", "0.40")}, currency="EUR", date="2026-01-31", source="contract")
    >>> prices.of("openai/my-model-2026-01-15").output
    Decimal('0.40')
    """

    def __init__(
        self, models: Mapping[str, Price], *, currency: str = "USD", date: str | Date = "", source: str = ""
    ) -> None:
        if not re.fullmatch("[A-Z]{3}", currency):
            raise ValueError("a currency is three capital letters, such as USD")
        for name, price in models.items():
            if not isinstance(name, str) or not name:
                raise ValueError("a price has a model's name")
            if not isinstance(price, Price):
                raise TypeError(f"a price is a Price, not {type(price).__name__}")
        self._models = MappingProxyType(dict(models))
        self.currency = currency
        self.date = str(Date.fromisoformat(date)) if isinstance(date, str) and date else str(date)
        self.source = source

    @classmethod
    def shipped(cls) -> Prices:
        """Return the prices that come with the library: of large providers, in US dollars, each with its date."""
        return _shipped()

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Prices:
        """Return the prices of a TOML file in the form of the shipped one.

        Raises:
            Misconfigured: The file cannot be read or used; the text names file, key and remedy.
        """
        path = Path(path)
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise Misconfigured(
                f"{path} cannot be read ({type(err).__name__}); check path and rights."
            ) from err
        return _parse(text, str(path))

    def of(self, model: str) -> Price | None:
        """Return the price of a model, or None when nobody knows it.

        Looked for is the exact name, then the name without its date or version (``-2024-08-06``, ``-20250514``,
        ``@20250514``, ``-latest``), then both without a provider before a slash. Never a mere prefix:
        ``gpt-4o`` says nothing about ``gpt-4o-mini``.
        """
        if len(model) > _LONGEST_NAME:
            return None
        name = model
        while True:
            for known in (name, _VERSION.sub("", name)):
                price = self._models.get(known)
                if price is not None:
                    return price
            _, slash, name = name.partition("/")
            if not slash:
                return None

    def with_(self, models: Mapping[str, Price], *, date: str | Date = "", source: str = "") -> Prices:
        """Return these prices with others put over them."""
        return Prices(
            {**self._models, **models},
            currency=self.currency,
            date=date or self.date,
            source=source or self.source,
        )

    def __or__(self, models: Mapping[str, Price]) -> Prices:
        if isinstance(models, Prices) and models.currency != self.currency:
            raise ValueError(f"prices in {models.currency} do not mix with prices in {self.currency}")
        return self.with_(models)

    def __getitem__(self, model: str) -> Price:
        return self._models[model]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def __repr__(self) -> str:
        return f"Prices({len(self)} models, currency={self.currency!r}, date={self.date!r}, source={self.source!r})"


#: What providers put behind a model's name: a date, or "latest".
_VERSION = re.compile(r"(?:-\d{4}-\d{2}-\d{2}|[-@]\d{8}|-latest)\Z")
_KEYS = frozenset({"input", "output", "cache_read", "cache_write"})


@cache
def _shipped() -> Prices:
    name = "prices.toml"
    return _parse(resources.files("aisecure.quotas").joinpath(name).read_text("utf-8"), name)


def _parse(text: str, file: str) -> Prices:
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as err:
        raise Misconfigured(f"{file} is no valid TOML: {err}.") from err
    if data.get("version") != 1:
        raise Misconfigured(f'{file}: "version" is 1.')
    models: dict[str, Price] = {}
    dates: list[str] = []
    sources: list[str] = []
    providers = data.get("provider", {})
    if not isinstance(providers, dict):
        raise Misconfigured(f"{file}: [provider.<name>] is a table for each provider.")
    for provider, table in providers.items():
        where = f"{file}: [provider.{provider}]"
        if not isinstance(table, dict) or not isinstance(table.get("models"), dict):
            raise Misconfigured(f"{where} has a table of models.")
        try:
            dates.append(str(Date.fromisoformat(str(table.get("date")))))
        except ValueError:
            raise Misconfigured(f'{where} needs a date such as "2026-01-31".') from None
        sources.append(str(table.get("source") or ""))
        if not sources[-1]:
            raise Misconfigured(f"{where} needs a source: where the prices were read.")
        for name, row in table["models"].items():
            models[name] = _price(row, f"{where} {name!r}")
    if not models:
        raise Misconfigured(f"{file} holds no price.")
    try:
        return Prices(
            models,
            currency=str(data.get("currency", "USD")),
            date=min(dates),
            source=sources[0] if len(sources) == 1 else f"{len(sources)} price lists, named in {file}",
        )
    except ValueError as err:
        raise Misconfigured(f"{file}: {err}.") from err


def _price(row: Any, where: str) -> Price:
    if not isinstance(row, dict) or not {"input", "output"} <= row.keys():
        raise Misconfigured(f"{where} needs input and output: prices per million tokens.")
    if row.keys() - _KEYS:
        raise Misconfigured(
            f"{where} knows only {', '.join(sorted(_KEYS))}, not {min(row.keys() - _KEYS)!r}."
        )
    try:
        return Price(**row)
    except (TypeError, ValueError) as err:
        raise Misconfigured(f"{where}: {err}.") from err
