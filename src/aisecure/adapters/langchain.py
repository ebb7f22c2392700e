"""LangChain behind a shield: a wrapper for any model or chain, and a middleware for agents.

::

    model = guard_model(ChatOpenAI(...), shield, "model:support-bot")
    chain = prompt | model | StrOutputParser()

The wrapper takes what the model takes (texts, messages, prompt values, dicts) and answers what it answers, and streams
chunk by chunk. The agent middleware makes each model call ``invoke`` on one resource, and each tool call ``call``
on ``tool:<name>`` with the arguments as input. The principal is that of the surrounding `Shield.acting_as`.
Refusals are raised as they are: a refused tool call ends the agent's run, it is not told to the model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.types import Command

from aisecure._flow import Effect, Flow, adrive, drive
from aisecure.call import current_context
from aisecure.shield import Shield

__all__ = ["AISecureMiddleware", "GuardedRunnable", "guard_model"]

Input = TypeVar("Input")
Output = TypeVar("Output")


def guard_model(
    model: Runnable[Input, Output], shield: Shield, resource: str, *, action: str = "invoke"
) -> GuardedRunnable[Input, Output]:
    """Return a model or chain whose every call meets the guards of a shield.

    Args:
        model: Any chat model, chain or other Runnable.
        shield: Whose guards.
        resource: Such as ``model:support-bot``.
        action: What is done with it.
    """
    return GuardedRunnable(model, shield, resource, action=action)


class GuardedRunnable(Runnable[Input, Output]):
    """A Runnable behind a shield; made by `guard_model`.

    ``batch`` and ``abatch`` make each item a call of its own, on the threads and tasks that LangChain uses.
    """

    def __init__(
        self, inner: Runnable[Input, Output], shield: Shield, resource: str, *, action: str = "invoke"
    ) -> None:
        if not isinstance(inner, Runnable):
            raise TypeError("guard_model takes a LangChain Runnable")
        self._inner = inner
        self._shield = shield
        self._resource = resource
        self._action = action
        # The resource is a name and no template: whatever braces it holds are meant.
        name = resource.replace("{", "{{").replace("}", "}}")
        guarded = shield.protect(name, action=action, prompt="input")
        self._invoke = guarded(inner.invoke)
        self._ainvoke = guarded(inner.ainvoke)
        self._stream = guarded(inner.stream)
        self._astream = guarded(inner.astream)

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Call the model; the guards see input and output."""
        return self._invoke(input, config, **kwargs)

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Call the model; the guards see input and output."""
        return await self._ainvoke(input, config, **kwargs)

    def stream(
        self, input: Input, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> Iterator[Output]:
        """Stream the model's answer; chunks leave as they come, except for text that may still change."""
        return self._stream(input, config, **kwargs)

    def astream(
        self, input: Input, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[Output]:
        """Stream the model's answer; chunks leave as they come, except for text that may still change."""
        return self._astream(input, config, **kwargs)

    def bind_tools(self, *args: Any, **kwargs: Any) -> GuardedRunnable[Any, Any]:
        """Return the same guarded model with tools bound to it."""
        return self._again(self._inner.bind_tools(*args, **kwargs))  # type: ignore[attr-defined]

    def with_structured_output(self, *args: Any, **kwargs: Any) -> GuardedRunnable[Any, Any]:
        """Return the same guarded model with its answers parsed into a schema."""
        return self._again(self._inner.with_structured_output(*args, **kwargs))  # type: ignore[attr-defined]

    def _again(self, inner: Runnable[Any, Any]) -> GuardedRunnable[Any, Any]:
        return GuardedRunnable(inner, self._shield, self._resource, action=self._action)

    @property
    def InputType(self) -> Any:  # noqa: N802  (LangChain's name)
        """What the model takes."""
        return self._inner.InputType

    @property
    def OutputType(self) -> Any:  # noqa: N802  (LangChain's name)
        """What the model answers."""
        return self._inner.OutputType

    def __repr__(self) -> str:
        return f"GuardedRunnable({type(self._inner).__name__}, {self._resource!r})"


class AISecureMiddleware(AgentMiddleware[Any, Any, Any]):
    """Guards an agent's model calls and tool calls.

    Args:
        shield: Whose guards.
        resource: Of model calls; tools are ``tool:<name>``.
    """

    def __init__(self, shield: Shield, resource: str = "model:agent") -> None:
        super().__init__()
        self._shield = shield
        self._resource = resource

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Any:
        """Guard a model call."""
        return drive(self._model(request, handler, None))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:
        """Guard a model call."""
        return await adrive(self._model(request, handler, handler))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> Any:
        """Guard a tool call."""
        return drive(self._tool(request, handler, None))

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> Any:
        """Guard a tool call."""
        return await adrive(self._tool(request, handler, handler))

    def _model(self, request: ModelRequest[Any], handler: Any, ahandler: Any) -> Flow[Any]:
        system = request.system_message
        # The system message is walked with the others: a policy on what a model is told covers all of it.
        messages = [*([] if system is None else [system]), *request.messages]

        def changed(value: Any) -> ModelRequest[Any]:
            if system is None:
                return request.override(messages=list(value))
            return request.override(system_message=value[0], messages=list(value[1:]))

        return self._guarded("invoke", self._resource, messages, request, changed, handler, ahandler)

    def _tool(self, request: ToolCallRequest, handler: Any, ahandler: Any) -> Flow[Any]:
        call = request.tool_call

        def changed(value: Any) -> ToolCallRequest:
            return request.override(tool_call={**call, "args": value})

        resource = f"tool:{call['name']}"
        return self._guarded("call", resource, call["args"], request, changed, handler, ahandler)

    def _guarded(
        self,
        action: str,
        resource: str,
        value: Any,
        request: Any,
        changed: Callable[[Any], Any],
        handler: Any,
        ahandler: Any,
    ) -> Flow[Any]:
        passage = self._shield.passage(current_context().call(action, resource, value))
        try:
            call = yield from passage.enter()
            if call.input is not value:
                request = changed(call.input)
            output = yield Effect(handler, ahandler, (request,))
            return (yield from passage.leave(output))
        except BaseException as err:
            passage.fail(err)
            raise
        finally:
            passage.close()
