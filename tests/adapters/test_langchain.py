"""The contract round LangChain models and agents, and what only this adapter does."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import StructuredTool
from tests.adapters.contract import Contract, Outcome
from tests.adapters.world import ANA, GUS, World

from aisecure import Principal
from aisecure.adapters.langchain import AISecureMiddleware, guard_model
from aisecure.errors import AccessDenied, AISecureError, Unavailable


class Echo(BaseChatModel):
    """A deterministic model: the world's answer to the last message."""

    world: Any

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = AIMessage(self.world.answer(messages[-1].content))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for piece in self.world.pieces(messages[-1].content):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))


def acting(world: World, key: str | None):
    if key is None:
        return nullcontext()
    name, role = ("ana", "member") if key == ANA else ("gus", "guest")
    return world.shield.acting_as(Principal(name, roles=[role]))


class TestLangChain(Contract):
    @pytest.fixture(autouse=True)
    def model(self, world):
        self.world = world
        self.echo = Echo(world=world)

    def guarded(self, resource):
        return guard_model(self.echo, self.world.shield, resource)

    def ask(self, key, resource, text):
        with acting(self.world, key):
            try:
                return Outcome((self.guarded(resource).invoke(text).content,))
            except AISecureError as err:
                return Outcome((), err.code, err.status, err.retry_after)

    def stream(self, key, resource, text):
        pieces = []
        with acting(self.world, key):
            try:
                pieces.extend(chunk.content for chunk in self.guarded(resource).stream(text))
            except AISecureError as err:
                return Outcome(tuple(pieces), err.code, err.status, err.retry_after)
        return Outcome(tuple(piece for piece in pieces if piece))

    def test_the_asynchronous_forms_do_the_same(self, world):
        async def main():
            model = self.guarded("model:echo")
            whole = await model.ainvoke("I am ada@example.org")
            chunks = [chunk.content async for chunk in model.astream("I am ada@example.org")]
            many = await model.abatch(["a", "b"])
            return whole.content, chunks, [message.content for message in many]

        with acting(world, ANA):
            whole, chunks, many = asyncio.run(main())
        assert whole == "".join(chunks) == "ana: I am <EMAIL> write to <EMAIL>"
        assert len(chunks) > 3
        assert many == ["ana: a write to <EMAIL>", "ana: b write to <EMAIL>"]
        assert world.events.types == ["call.allowed"] * 4

    def test_a_batch_is_one_call_an_item(self, world):
        with acting(world, ANA):
            answers = self.guarded("model:limited").batch(["a", "b", "c"], return_exceptions=True)
        codes = sorted(getattr(answer, "code", "") for answer in answers)
        assert codes == ["", "", "quota.exceeded"]

    def test_a_chain_streams_through_it(self, world):
        prompt = ChatPromptTemplate.from_messages([("system", "be brief"), ("user", "{text}")])
        chain = prompt | self.guarded("model:echo") | StrOutputParser()
        with acting(world, ANA):
            pieces = [piece for piece in chain.stream({"text": "ada@example.org"}) if piece]
        assert len(pieces) > 3
        assert "".join(pieces) == "ana: <EMAIL> write to <EMAIL>"
        assert world.heard == ["<EMAIL>"]

    def test_a_reader_that_stops_settles_the_call(self, world):
        with acting(world, ANA):
            stream = self.guarded("model:echo").stream("hi")
            next(stream)
            stream.close()
        assert (world.events.types, world.settled.endings) == (["call.cancelled"], ["call.cancelled"])

    def test_only_a_runnable_can_be_guarded(self, world):
        with pytest.raises(TypeError, match="Runnable"):
            guard_model("model", world.shield, "model:x")


class Caller(BaseChatModel):
    """Calls a tool once, then repeats what the tool said."""

    tool: str = "look_up"

    @property
    def _llm_type(self) -> str:
        return "caller"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        last = messages[-1]
        if last.type == "tool":
            message = AIMessage(f"it says {last.content}")
        else:
            call = {"name": self.tool, "args": {"who": f"{last.content} ada@example.org"}, "id": "1"}
            message = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.mark.parametrize("asynchronous", [False, True])
class TestAgent:
    def agent(self, world, name="look_up"):
        asked = []

        def use(who: str) -> str:
            """Look somebody up."""
            asked.append(who)
            return "write to ada@example.org"

        tools = [StructuredTool.from_function(use, name=name)]
        middleware = [AISecureMiddleware(world.shield, "model:agent")]
        return create_agent(Caller(tool=name), tools, middleware=middleware), asked

    def run(self, world, agent, asynchronous, key=ANA):
        state = {"messages": [("user", "who is ada@example.org?")]}
        with acting(world, key):
            out = asyncio.run(agent.ainvoke(state)) if asynchronous else agent.invoke(state)
        return [message.content for message in out["messages"]]

    def test_model_calls_and_tool_calls_are_guarded(self, world, asynchronous):
        agent, asked = self.agent(world)
        said = self.run(world, agent, asynchronous)
        assert said[-1] == "it says write to <EMAIL>"
        assert asked == ["who is <EMAIL>? <EMAIL>"]
        calls = [(event.action, event.resource, event.principal) for event in world.events]
        assert calls == [
            ("invoke", "model:agent", "ana"), ("call", "tool:look_up", "ana"), ("invoke", "model:agent", "ana"),
        ]  # fmt: skip

    def test_a_refused_tool_call_ends_the_run_as_it_is(self, world, asynchronous):
        agent, asked = self.agent(world, "down")
        with pytest.raises(Unavailable):
            self.run(world, agent, asynchronous)
        with pytest.raises(AccessDenied):
            self.run(world, agent, asynchronous, GUS)
        assert asked == []
        assert world.events.types == ["call.allowed", "call.unavailable", "call.denied"]

    @pytest.fixture
    def world(self):
        return World()
