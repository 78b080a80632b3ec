"""A graph that looks at pictures, and asks a person where the guard is uncertain.

`python example_langgraph.py` plays it with a model that says something bad now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from guardrail_langchain import with_guardrail
from langchain_core.messages import AIMessage, AnyMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

from guardrail import Guard
from guardrail.testing.attempts import same_attempt
from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.setting import KEY, scenario_policy
from guardrail.testing.stage import running_model

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

UNCERTAIN = next(scenario for scenario in SCENARIOS if scenario.name == "uncertain")


class State(TypedDict):
    """The conversation; the last answer's `response_metadata` holds the certificate."""

    messages: Annotated[list[AnyMessage], add_messages]


def build(model: BaseChatModel, checkpointer: BaseCheckpointSaver[Any]) -> CompiledStateGraph[Any]:
    """look, then review where the guard is uncertain.

    Args:
        model: guarded, its blocks refusals.
        checkpointer: keeps a conversation while a person thinks.
    """

    def look(state: State) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    # A node of its own: on resuming, a node runs anew, and the model need not be asked again.
    def review(state: State) -> dict[str, Any]:
        withheld = state["messages"][-1]
        guardrail = withheld.response_metadata["guardrail"]
        words = interrupt({"reason": guardrail["reason"], "record_id": guardrail["record_id"]})
        told = AIMessage(words, id=withheld.id, response_metadata=withheld.response_metadata)
        return {"messages": [told] if words else []}

    graph = StateGraph(State)
    graph.add_node("look", look)
    graph.add_node("review", review)
    graph.add_edge(START, "look")
    graph.add_conditional_edges("look", after_look, ["review", END])
    graph.add_edge("review", END)
    return graph.compile(checkpointer=checkpointer)


def after_look(state: State) -> str:
    """A person is asked only where the test came to no end, not about what it found harmful."""
    guardrail = state["messages"][-1].response_metadata["guardrail"]
    return "review" if guardrail["reason"] == "uncertain" else END


def main() -> None:
    """Plays one conversation: an interrupt, and a person's words in place of the answer."""
    with (
        same_attempt(),  # for the model of this example, which knows each noisy picture
        running_model(UNCERTAIN) as server,
        Guard(scenario_policy(), key=KEY) as guard,
    ):
        plain = ChatOpenAI(model="scripted", base_url=server.base_url, api_key="none")
        graph = build(with_guardrail(plain, guard), InMemorySaver())
        thread = {"configurable": {"thread_id": "1"}}
        state = graph.invoke({"messages": UNCERTAIN.request["messages"]}, thread)
        print("for review:", state["__interrupt__"][0].value)
        state = graph.invoke(Command(resume="Coloured squares, as far as I can see."), thread)
        print("answer:", state["messages"][-1].text)


if __name__ == "__main__":
    main()
