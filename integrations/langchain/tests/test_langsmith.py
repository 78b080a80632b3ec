"""What LangSmith's own client and tracer would post: one tree, its run with the certificate."""

import asyncio

import pytest
from guardrail_langchain import GuardrailMiddleware, with_guardrail
from langchain.agents import create_agent
from langsmith import Client, tracing_context
from talkative import QUESTION, Talkative

# The oldest tracer uses what pydantic has renamed since.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")


class Posting(Client):
    """Keeps what it would post."""

    def __init__(self):
        super().__init__(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False)
        self.posted = {}

    def create_run(self, name, inputs, run_type, **about):  # noqa: ARG002 (LangSmith's signature)
        self.posted[about["id"]] = {"name": name, **about}

    def update_run(self, run_id, **about):
        self.posted[run_id]["metadata"] = about["extra"].get("metadata", {})


def wrapped(guard):
    return with_guardrail(Talkative(), guard), QUESTION


def middleware(guard):
    agent = create_agent(Talkative(), middleware=[GuardrailMiddleware(guard)])
    return agent, {"messages": QUESTION}


@pytest.mark.parametrize("made", [wrapped, middleware])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_one_tree_is_posted_and_its_run_carries_the_certificate(guard, journal, made, is_async):
    asked, given = made(guard)
    client = Posting()
    with tracing_context(enabled=True, client=client):
        asyncio.run(asked.ainvoke(given)) if is_async else asked.invoke(given)
    runs = list(client.posted.values())
    variants = [run for run in runs if "guardrail:variant" in (run.get("tags") or [])]
    (told,) = [run["metadata"]["guardrail"] for run in runs if "guardrail" in run["metadata"]]
    assert told["record_id"] == journal.records[0].record_id
    assert len(variants) == told["calls"]
    assert {client.posted[run["parent_run_id"]]["metadata"].get("guardrail") is not None
            for run in variants} == {True}  # fmt: skip
    assert len([run for run in runs if not run.get("parent_run_id")]) == 1
