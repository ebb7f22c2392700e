"""The options that say which policy a command looks at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aisecure.access._snapshot import Snapshot

__all__ = ["PathName", "as_json", "opened", "policy_options"]


class PathName(click.Path):
    """A path; whether there is anything is found out when it is used."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if "\0" in str(value):
            self.fail("a path holds no NUL", param, ctx)
        return super().convert(value, param, ctx)


_OPTIONS = (
    click.option(
        "--config",
        type=PathName(),
        default="aisecure.toml",
        show_default=True,
        help="Configuration file; its policy is taken, from a file or a database.",
    ),
    click.option("--policy", type=PathName(), help="Take this policy, and no configuration."),
    click.option("--model", type=PathName(), help="The Casbin model of --policy."),
    click.option("--shared-tenant", help="With --model: role links of this tenant hold in every tenant."),
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `opened` takes."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def opened(config: Path, policy: Path | None, model: Path | None, shared_tenant: str | None) -> Snapshot:
    """Return the policy as it is now; nothing is written, and no data folder is made.

    Raises:
        Misconfigured: It cannot be used.
        Unavailable: The database does not answer.
        UsageError: The options contradict each other.
    """
    if policy is not None:
        source = click.get_current_context().get_parameter_source("config")
        if source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--policy and --config exclude each other")
        from aisecure.access import Authorizer

        return Authorizer.from_files(model, policy, shared_tenant=shared_tenant, reload_seconds=None).snapshot
    if model is not None or shared_tenant is not None:
        raise click.UsageError("--model and --shared-tenant belong to --policy; name it, too")
    return _configured(config)


def _configured(path: Path) -> Snapshot:
    from aisecure.access._build import authorizer
    from aisecure.config import load
    from aisecure.notices import LocalNotices
    from aisecure.ports import Ports

    config = load(path)
    section = config.sections["access"]
    if not section.enabled:
        click.echo("[access] is switched off in this configuration", err=True)

    def storage() -> Any:
        raise AssertionError("a policy is not in the embedded database")

    ports = Ports(config.data_dir, config.base_dir, storage, LocalNotices())
    # Read once, so nobody has to tell of changes.
    settings = section.settings.model_copy(update={"redis_url": None})
    return authorizer(settings, ports).snapshot
