"""From one TOML file to guards: the table of concerns, and the assembly of a shield from it.

A section of the file is named for its concern and read by that concern's ``Settings``. Four keys belong to
every section that makes guards: ``enabled``, ``on``, ``shadow`` and ``on_unavailable``. Installed packages add
sections of their own through the entry point group ``aisecure.guards``.
"""

from __future__ import annotations

import hashlib
import importlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from aisecure.errors import Misconfigured
from aisecure.events import Result, SecurityEvent
from aisecure.guard import Guard
from aisecure.notices import StoredNotices
from aisecure.ports import EventSink, Ports, SystemClock, discard
from aisecure.storage import Storage, private_folder

__all__ = ["CONCERNS", "GROUP", "PARTS", "Assembly", "Config", "load"]

#: Concerns that make guards, in the order in which a call meets them: who, may they, how often, which
#: model, and only then what is in it; last what a person is asked about, since that is bound to all of it.
CONCERNS = ("authn", "access", "quotas", "models", "detect", "sanitize", "agents")

#: Concerns that make parts instead of guards, and the function of theirs that opens one, or a tuple of several.
PARTS = {"audit": "open_log", "encryption": "open_parts"}

#: Sections that read a file of their own and count nothing: made anew at every reload.
_READ_AGAIN = ("models",)

#: Entry point group through which others add concerns; the entry point is a module with ``Settings`` and ``build``.
GROUP = "aisecure.guards"

_TOP = ("data_dir",)
_EVERY = ("enabled", "on", "shadow", "on_unavailable")


class _Section(NamedTuple):
    """One section as read: the concern's own settings, and what belongs to every section."""

    settings: Any
    enabled: bool
    on: tuple[str, ...] | None
    shadow: bool
    on_unavailable: str


@dataclass(frozen=True)
class Config:
    """A configuration as read and checked.

    Attributes:
        path: The file, or None for the embedded default.
        base_dir: Folder that relative paths start from.
        data_dir: Folder of everything stored.
        sections: By concern.
        digest: SHA-256 of the file's bytes.
    """

    path: Path | None
    base_dir: Path
    data_dir: Path
    sections: Mapping[str, _Section]
    digest: str

    @classmethod
    def embedded(cls, folder: Path) -> Config:
        """Return the default for a folder that holds everything."""
        return cls(None, folder, folder, _sections("defaults", {}), "")

    def only(self, *names: str) -> Config:
        """Return the same with every other section switched off, for tools that must work when one is broken."""
        sections = {
            name: section if name in names else section._replace(enabled=False)
            for name, section in self.sections.items()
        }
        return replace(self, sections=sections)


def load(path: Path) -> Config:
    """Read and check a configuration file; nothing is opened yet.

    Raises:
        Misconfigured: Names file, key and remedy.
    """
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise Misconfigured(
            f"{path}: {err.strerror}; write one, or use Shield.defaults(folder)", code="config.missing"
        ) from err
    try:
        data = tomllib.loads(raw.decode())
    except UnicodeDecodeError as err:
        raise Misconfigured(f"{path}: byte {err.start} is not UTF-8; save the file as UTF-8") from err
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        # The parser's text gives line and column; it quotes at most one character.
        raise Misconfigured(f"{path}: not valid TOML ({err})") from err
    base = path.resolve().parent
    data_dir = data.pop("data_dir", "data")
    if not isinstance(data_dir, str) or not data_dir or "\0" in data_dir:
        raise Misconfigured(f'{path}: data_dir: write a folder in quotes, such as data_dir = "data"')
    return Config(path, base, base / data_dir, _sections(str(path), data), hashlib.sha256(raw).hexdigest())


def _sections(source: str, data: dict[str, Any]) -> dict[str, _Section]:
    ours = (*PARTS, *CONCERNS)
    # A section of an installed package counts only when it is written; ours have defaults.
    others = tuple(name for name in data if name not in ours)
    for name in others:
        if name not in _others():
            known = (*ours, *_others())
            near = get_close_matches(name, [*known, *_TOP], 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise Misconfigured(f"{source}: [{name}]: no such section; {hint}", code="config.unknown")
    return {name: _section(source, name, data.get(name, {})) for name in (*ours, *others)}


def _section(source: str, name: str, table: Any) -> _Section:
    from pydantic import ValidationError

    if not isinstance(table, dict):
        raise Misconfigured(f"{source}: {name}: is a section; write [{name}] and its keys below")
    # A part has no guards to shadow; what follows when it is unavailable is among its own settings.
    common = ("enabled",) if name in PARTS else _EVERY
    own = {key: value for key, value in table.items() if key not in common}
    enabled, shadow = table.get("enabled", True), table.get("shadow", False)
    on_unavailable = table.get("on_unavailable", "deny")
    for key, value in (("enabled", enabled), ("shadow", shadow)):
        if key in common and not isinstance(value, bool):
            raise Misconfigured(f"{source}: [{name}] {key}: is true or false")
    patterns = table.get("on") if "on" in common else None
    if isinstance(patterns, str):
        patterns = [patterns]
    if patterns is not None and not (
        isinstance(patterns, list) and all(isinstance(p, str) for p in patterns)
    ):
        raise Misconfigured(f'{source}: [{name}] on: is a pattern or a list of them, such as on = "model:*"')
    if "on_unavailable" in common and on_unavailable not in ("deny", "allow"):
        raise Misconfigured(f'{source}: [{name}] on_unavailable: is "deny" or "allow"')
    model = _module(name).Settings
    try:
        settings = model.model_validate(own)
    except ValidationError as err:
        first = err.errors(include_input=False, include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = get_close_matches(key, [*model.model_fields, *common], 1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(model.model_fields))}"
            )
            raise Misconfigured(
                f"{source}: [{name}] {key}: no such key; {hint}", code="config.unknown"
            ) from None
        # ``from None``: pydantic's own text quotes the value, which may be a password.
        raise Misconfigured(f"{source}: [{name}] {key}: {first['msg']}") from None
    return _Section(settings, enabled, None if patterns is None else tuple(patterns), shadow, on_unavailable)


@cache
def _others() -> dict[str, Any]:
    # Looked for only when a section is none of ours: reading what is installed takes 20 ms.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _module(name: str) -> Any:
    if name in PARTS or name in CONCERNS:
        return importlib.import_module(f"aisecure.{name}")
    return _others()[name].load()


@dataclass(frozen=True)
class Assembly:
    """What a configuration was built into.

    Attributes:
        config: What was read.
        ports: What the concerns were given.
        built: Guards by section.
        opened: Parts that are no guards, by section.
    """

    config: Config
    ports: Ports
    built: Mapping[str, tuple[Guard, ...]]
    opened: Mapping[str, Any]

    @classmethod
    def build(cls, config: Config, before: Assembly | None = None) -> Assembly:
        """Open the parts and make the guards; unchanged sections of an earlier assembly are taken over.

        Raises:
            Misconfigured: A part cannot be opened.
        """
        same_place = before is not None and before.config.data_dir == config.data_dir
        kept = before if same_place else None
        opened: dict[str, Any] = {}
        ports = kept.ports if kept else _ports(config)

        def unchanged(name: str) -> bool:
            if name in _READ_AGAIN:
                return False
            return kept is not None and kept.config.sections.get(name) == config.sections[name]

        for name, opener in PARTS.items():
            section = config.sections[name]
            if not section.enabled:
                continue
            if kept is not None and unchanged(name) and name in kept.opened:
                opened[name] = kept.opened[name]
            else:
                opened[name] = getattr(_module(name), opener)(section.settings, ports)
            if name == "audit":
                sink: EventSink = opened[name]
                ports = Ports(
                    ports.data_dir, config.base_dir, ports.storage, ports.notices, ports.clock, sink
                )
        built: dict[str, tuple[Guard, ...]] = {}
        for name, section in config.sections.items():
            if name in PARTS or not section.enabled:
                continue
            if kept is not None and unchanged(name) and name in kept.built:
                built[name] = kept.built[name]
                continue
            guards = tuple(_module(name).build(section.settings, ports))
            for guard in guards:
                guard.shadow = guard.shadow or section.shadow
                if section.on is not None:
                    guard.on = section.on
                if section.on_unavailable == "allow":
                    guard.on_unavailable = "allow"
            built[name] = guards
        return cls(config, ports, built, opened)

    def rebuilt(self) -> Assembly:
        """Return the assembly of the file as it is now.

        Raises:
            Misconfigured: It is unusable; an event says so, and this assembly stays good.
        """
        if self.config.path is None:
            raise Misconfigured("the embedded default has no file to read again", code="config.reload")
        try:
            return Assembly.build(load(self.config.path), self)
        except Misconfigured as err:
            event = SecurityEvent(
                "config.refused", result=Result.FAILURE, code=err.code, detail={"reason": err.detail}
            )
            self.ports.events.record(event)
            raise

    @cached_property
    def guards(self) -> tuple[Guard, ...]:
        """Every guard, in the order in which calls meet them."""
        return tuple(guard for guards in self.built.values() for guard in guards)

    @property
    def sinks(self) -> tuple[EventSink, ...]:
        """The audit log, unless it was switched off."""
        return (self.opened["audit"],) if "audit" in self.opened else ()

    @property
    def parts(self) -> tuple[Any, ...]:
        """Parts that are no guards."""
        opened = self.opened.values()
        return tuple(part for one in opened for part in (one if isinstance(one, tuple) else (one,)))

    def announce(self, event_type: str) -> None:
        """Record that this assembly took effect."""
        detail: dict[str, Any] = {"config_digest": self.config.digest}
        if event_type == "shield.started":
            detail["guards"] = [guard.name for guard in self.guards]
            detail["shadow"] = [guard.name for guard in self.guards if guard.shadow]
        self.ports.events.record(SecurityEvent(event_type, detail=detail))

    def close(self) -> None:
        """Close the database."""
        self.ports.storage().close()


def _ports(config: Config) -> Ports:
    private_folder(config.data_dir)

    @cache
    def storage() -> Storage:
        return Storage(config.data_dir / "aisecure.db")

    return Ports(config.data_dir, config.base_dir, storage, StoredNotices(storage()), SystemClock(), discard)
