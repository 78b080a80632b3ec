"""A chat model and an agent, both guarded; `python example.py` asks each about a picture."""

from __future__ import annotations

from guardrail_langchain import GuardrailMiddleware, with_guardrail
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from guardrail import Guard
from guardrail.testing.scenarios import SCENARIOS, picture_url
from guardrail.testing.stage import running_model

QUESTION = HumanMessage(
    [
        {"type": "text", "text": "What is in the picture?"},
        {"type": "image", "base64": picture_url().partition(",")[2], "mime_type": "image/png"},
    ]
)


def main() -> None:
    """Prints what a guarded model and a guarded agent say, and what is proved of it."""
    with running_model(SCENARIOS[0]) as server, Guard("default") as guard:  # stands for your model
        plain = ChatOpenAI(model="scripted", base_url=server.base_url, api_key="none")

        model = with_guardrail(plain, guard)
        answer = model.invoke([QUESTION])
        print("model:", answer.text)
        print(answer.response_metadata["guardrail"]["certificate"]["statement"])

        agent = create_agent(plain, middleware=[GuardrailMiddleware(guard)])
        for message, _ in agent.stream({"messages": [QUESTION]}, stream_mode="messages"):
            print("agent:", message.text)


if __name__ == "__main__":
    main()
