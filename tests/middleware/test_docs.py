"""The examples of the middleware's page run, each as it stands, against a scripted model."""

import asyncio
import re
from pathlib import Path

import litellm
import openai
import pytest

import guardrail
from guardrail import ContentBlocked, Guard, LocalLedger

PAGE = (Path(__file__).parents[2] / "docs" / "middleware.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytestmark = pytest.mark.filterwarnings("ignore")  # litellm warns about itself


@pytest.fixture(scope="module")
def surroundings(kit):
    """What the examples take for granted; their models answer on loopback."""
    with (
        kit.model(["A picture."]) as model,
        openai.OpenAI(base_url=model.base_url, api_key="k") as client,
    ):
        picture = {"type": "image_url", "image_url": {"url": kit.picture_url()}}
        content = [{"type": "text", "text": "What is this?"}, picture]

        async def my_model(_messages):
            return "A picture."

        def completion(**given):
            return litellm.completion(**given, api_base=model.base_url, api_key="k")

        yield {
            "Guard": Guard,
            "ContentBlocked": ContentBlocked,
            "LocalLedger": LocalLedger,
            "OpenAI": lambda: client,
            "litellm": Litellm(completion),
            "picture": picture,
            "messages": [{"role": "user", "content": content}],
            "my_model": my_model,
            "url": model.base_url,
        }


class Litellm:
    """litellm with its model on loopback."""

    def __init__(self, completion):
        self.completion = completion
        completion.__module__ = "litellm"


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_runs(text, surroundings, kit, capsys):
    is_blocked = "on_block" in text
    answer = "I will kill you, you stupid bastard." if is_blocked else "A picture."
    names = {**surroundings, "ask": lambda _: kit.completion(answer)}
    code = text.replace("http://127.0.0.1:8000/v1", surroundings["url"])
    exec(compile(code, "middleware.md", "exec"), names)  # noqa: S102 (the page itself)
    if "main" in names:
        asyncio.run(names["main"]())
    if "guard" in names:
        names["guard"].close()
    said = capsys.readouterr().out
    assert said.count("This request was blocked") == (2 if is_blocked else 0)
    assert ("A picture." in said) == ("print" in text and not is_blocked)


def test_the_table_names_what_there_is():
    called = set(re.findall(r"guard\.(\w+)\(", PAGE))
    assert called >= {"complete", "stream", "decide", "respond", "wrap", "aclose", "close"}
    assert all(hasattr(Guard, name) for name in called)


def test_the_page_names_every_public_name_but_the_version():
    missing = {name for name in guardrail.__all__ if name not in PAGE}
    assert missing == {"ConfigError", "__version__"}
