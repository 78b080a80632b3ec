"""What a request's digest covers is tested with the engine; here, when it is quick to take."""

import pytest

from guardrail.engine.digest import is_short
from guardrail.types import Chat


def chat(content, **parameters):
    return Chat("m", ({"role": "user", "content": content},), parameters)


@pytest.mark.parametrize(
    "content", ["hello", [{"type": "text", "text": "hello"}], None, "x" * 30_000]
)
def test_usual_chats_are_short(content):
    assert is_short(chat(content, temperature=0.7, stop=["a", "b"], seed=None))


@pytest.mark.parametrize(
    ("content", "parameters"),
    [
        ("x" * 33_000, {}),
        ([{"type": "text", "text": "x" * 20_000}] * 2, {}),
        ("hello", {"tools": ["x" * 33_000]}),
        ("hello", {"x" * 33_000: 1}),
        ("hello", {"logit_bias": {str(i): 1 for i in range(2000)}}),
        ("hello", {"stop": [0] * 5000}),
    ],
)
def test_long_ones_are_not(content, parameters):
    assert not is_short(chat(content, **parameters))


def test_nesting_costs_no_stack():
    value = "deep"
    for _ in range(900):
        value = [value]
    assert is_short(chat("hello", nested=value))
    for _ in range(5000):
        value = [value]
    assert not is_short(chat("hello", nested=value))
