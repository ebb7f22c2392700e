"""Limits and budgets round an agent's model calls and tool calls, through the middleware that there is."""

from __future__ import annotations

import asyncio

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool

from aisecure import Principal, Shield
from aisecure.adapters.langchain import AISecureMiddleware
from aisecure.errors import QuotaExceeded
from aisecure.quotas import TokenBudget, rate_limit


class Model(BaseChatModel):
    """Calls the tool once, then answers; each answer says what it cost."""

    @property
    def _llm_type(self):
        return "test"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        usage = {"input_tokens": 30, "output_tokens": 20, "total_tokens": 50}
        calls = (
            []
            if isinstance(messages[-1], ToolMessage)
            else [{"name": "search", "args": {"q": "x"}, "id": "1"}]
        )
        message = AIMessage("answer", tool_calls=calls, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])


def search(q: str) -> str:
    """Search."""
    return "found"


def run(shield, asynchronous):
    tools = [StructuredTool.from_function(search)]
    agent = create_agent(Model(), tools, middleware=[AISecureMiddleware(shield, "model:agent")])
    state = {"messages": [("user", "find it")]}
    with shield.acting_as(Principal("ann")):
        return asyncio.run(agent.ainvoke(state)) if asynchronous else agent.invoke(state)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_model_calls_are_limited(asynchronous):
    shield = Shield(rate_limit("2/hour", by="model"))
    run(shield, asynchronous)  # asks the model twice
    with pytest.raises(QuotaExceeded, match="2 per hour"):
        run(shield, asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_tool_calls_are_limited(asynchronous):
    shield = Shield(rate_limit("1/hour", by="tool"))
    run(shield, asynchronous)
    with pytest.raises(QuotaExceeded, match="1 per hour"):
        run(shield, asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_budget_is_charged_for_what_the_messages_report(asynchronous):
    budget = TokenBudget("100k tokens/day", on="model:*")
    run(Shield(budget), asynchronous)
    assert budget.remaining(Principal("ann"), resource="model:agent")[0].used == 100
