"""Agents that do no more than was meant: the rule of two."""

from __future__ import annotations

from aisecure.agents.rule_of_two import RuleOfTwo

__all__ = ["RuleOfTwo"]
