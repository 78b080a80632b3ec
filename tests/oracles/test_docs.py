"""The examples of the oracles' page are policies that load, and it leaves no kind out."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml

from guardrail.oracles import Exchange, FunctionOracle, Outcome
from guardrail.oracles.registry import builtin_kinds
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy

PAGE = (Path(__file__).parents[2] / "docs" / "oracles.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def own_modules(tmp_path_factory):
    """The page's Python examples as modules on the path."""
    folder = tmp_path_factory.mktemp("modules")
    function, module = CODE
    (folder / "my_rules.py").write_text(function.partition("guard = ")[0])
    (folder / "my_oracle.py").write_text(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


def policy_of(text):
    return Policy.model_validate({"name": "example", **yaml.safe_load(text)})


def judge(oracle, *texts):
    async def run():
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    return [judgement.outcome for judgement in asyncio.run(run())]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_a_policy(text):
    kind = policy_of(text).oracle.kind
    assert kind in builtin_kinds() or kind.startswith(("my_rules:", "my_oracle:"))


def test_every_kind_is_in_the_table():
    table = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(table)))
    assert set(builtin_kinds()) <= named


def test_there_are_examples_of_most_kinds():
    shown = {yaml.safe_load(text)["oracle"]["kind"] for text in EXAMPLES}
    assert set(builtin_kinds()) - shown <= {"builtin"}


def test_the_examples_of_own_oracles_judge():
    by_function, by_class = (
        compile_oracle(policy_of(text)) for text in EXAMPLES if "kind: my_" in text
    )
    assert isinstance(by_function, FunctionOracle)
    assert judge(by_function, "It costs $5.", "It is free.") == [Outcome.HARMFUL, Outcome.HARMLESS]
    loud, calm = "GO AWAY RIGHT NOW!", "Please go away right now."
    assert judge(by_class, loud, calm, "SHORT") == [
        Outcome.HARMFUL,
        Outcome.HARMLESS,
        Outcome.HARMLESS,
    ]
    assert by_class.threshold == 0.7


def test_what_the_page_calls_public_is_public():
    import guardrail.oracles as public

    section = PAGE[PAGE.index("What you can build on") :]
    named = {
        *re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE),
        *re.findall(r"`(Oracle|Exchange|Judgement|Outcome|Scorer|OracleByKind)\b", section),
        "build_oracle",
        "ReferenceOracle",
    }
    assert len(named) > 10
    assert named <= set(public.__all__)
    for name in public.__all__:
        assert getattr(public, name) is not None
