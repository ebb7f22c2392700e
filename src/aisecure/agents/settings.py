"""Settings of the section ``[agents]``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """What agents may do, and what a person is asked about.

    Attributes:
        spotlight: Mark the texts of documents and tools in every input: ``delimit``, ``datamark``, ``encode``, or ``off``.
        untrusted: For the rule of two, resources whose output others write, as shell patterns: ``tool:web_*``.
        private: Resources that hold private data.
        outward: Resources that change something or reach somebody outside. With none of the three there is no rule.
        by_content: Whether texts of documents and tools in an input count as untrusted.
        ask: Ask a person about calls that the rule of two would refuse.
        approve: Resources whose every call a person has to approve, as shell patterns: ``tool:delete_*``.
        approvers: How many different people have to approve.
        self_approval: Whether the principal of the call may be one of them.
        lifetime: Seconds that a request waits.
        use_within: Seconds in which an approval has to be used.
        arguments: What approvers see of the arguments: ``redacted`` of personal data and secrets, or ``none``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spotlight: Literal["off", "delimit", "datamark", "encode"] = "off"
    untrusted: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    outward: tuple[str, ...] = ()
    by_content: bool = True
    ask: bool = True
    approve: tuple[str, ...] = ()
    approvers: int = Field(default=1, ge=1, le=10)
    self_approval: bool = False
    lifetime: float = Field(default=3_600.0, gt=0, le=2_592_000)
    use_within: float = Field(default=600.0, gt=0, le=2_592_000)
    arguments: Literal["redacted", "none"] = "redacted"
