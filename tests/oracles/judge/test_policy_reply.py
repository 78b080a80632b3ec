"""Replies of judges that follow a policy: every form in use, no verdict out of a doubtful one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import OracleError
from guardrail.oracles.judge.policy_file import parse_policy
from guardrail.oracles.judge.reply import JudgeReply
from guardrail.oracles.judge.templates.policy_reply import read_verdict

POLICY = parse_policy(
    "harm",
    """# Harm
## VIOLATES (1)
- **V1 Threats:** x
- **V2 Praise:** x
- **H2.f Vermin:** x
## SAFE (0)
- **V0.a News:** x
""",
    "",
)
JSON_1 = '{"violation": 1, "policy_category": "H2.f"}'
JSON_0 = '{"violation": 0, "policy_category": null}'
RATIONALE = (
    '{"violation": 1, "policy_category": "V1", "rule_ids": ["V1", "V2"], "confidence": "high", '
    r'"rationale": "It says {\"violation\": 0} and threatens."}'
)
HARMONY = (
    "<|channel|>analysis<|message|>The text says {{}} and that could be V1. Maybe 0? Maybe 1?"
    "<|end|><|start|>assistant<|channel|>final {}<|message|>{}<|return|>"
)
GENERAL = "violates the policy"

REPLIES = {
    "one": ("1", GENERAL),
    "zero": ("0", None),
    "one in bold": ("**1**", GENERAL),
    "zero as code": ("`0`\n", None),
    "after a lead": ("Answer (0 or 1): 1", GENERAL),
    "after a bold lead": ("**Label:** `0`", None),
    "a word": ("VIOLATES", GENERAL),
    "a calm word": ("Safe.", None),
    "valid": ("VALID", None),
    "invalid and escalated": ("INVALID + ESCALATE", GENERAL),
    "a code": ("V2", "V2 Praise"),
    "a code of a safe rule": ("V0.a", None),
    "a code below a known one": ("V1.c", "V1 Threats"),
    "codes of depiction and request": ("D-V1, R-V0.a", "V1 Threats"),
    "only safe codes": ("D-V0.a, R-V0.a", None),
    "reasoning, then a label": ("It praises an attack.\nIt is not news.\n\n1", GENERAL),
    "JSON": (JSON_1, "H2.f Vermin"),
    "calm JSON": (JSON_0, None),
    "JSON in a fence": (f"```json\n{JSON_1}\n```", "H2.f Vermin"),
    "reasoning, then JSON": (f"It calls people {{rats}}.\n{JSON_1}", "H2.f Vermin"),
    "reasoning, then fenced JSON": (f"Some thoughts.\n\n```json\n{JSON_0}\n```\n", None),
    "JSON with a rationale": (RATIONALE, "V1 Threats, V2 Praise"),
    "a category by name": ('{"violation": 1, "policy_category": "Threats"}', "V1 Threats"),
    "a category with its words": ('{"violation": 1, "category": "V1: Threats of x"}', "V1 Threats"),
    "a category and more": ('{"violation": 1, "category": "V1 (threat)"}', "V1 Threats"),
    "a category that the policy lacks": ('{"violation": 1, "policy_category": "Z9"}', GENERAL),
    "true": ('{"violation": true, "policy_category": ["V1", "V2"]}', "V1 Threats, V2 Praise"),
    "a text for a number": ('{"violation": "0"}', None),
    "a label field": ('{"label": "VIOLATES", "category": "V2"}', "V2 Praise"),
    "a flag for each": ('{"V1": 0, "V2": 1, "H2.f": false}', "V2 Praise"),
    "no flag": ('{"V1": 0, "V2": 0}', None),
    "a safe category": ('{"violation": 0, "policy_category": "V0.a"}', None),
    "thoughts in tags": (f'<think>Perhaps {JSON_1}? No.\n1\n</think>\n\n{JSON_0}', None),
    "thoughts whose start was in the prompt": ("Perhaps safe.\n0\n</think>\n1", GENERAL),
    "harmony": (HARMONY.format("", "1"), GENERAL),
    "harmony with JSON": (HARMONY.format("<|constrain|>json", JSON_1), "H2.f Vermin"),
    "harmony without its marks": (f"analysisWe need to decide. Not 1?assistantfinal{JSON_0}", None),
    "harmony without its marks, a digit": ("analysisIt threatens.assistantfinal1", GENERAL),
}  # fmt: skip

DOUBTFUL = {
    "prose": "This content seems fine to me.",
    "a number that is none": "2",
    "both": "0 or 1",
    "two lines that differ": "0\n\n1",
    "a verdict before prose": "1\nIt threatens somebody.",
    "words that differ": "VALID, INVALID",
    "a word and a code that differ": "VALID + V1",
    "a person should decide": "VALID + ESCALATE",
    "only that": "ESCALATE",
    "an unknown code": "Q7",
    "JSON cut off": '{"violation": 1, "policy_cat',
    "JSON with more behind": f"{JSON_0} as I said",
    "two objects": f"{JSON_1}\n{JSON_0}",
    "a quoted object before the verdict": f'It holds {JSON_0}, so:\n{JSON_1}',
    "a quoted object before a label": f"It holds {JSON_0}.\n1",
    "a key twice": '{"violation": 1, "violation": 0}',
    "a key twice, in another case": '{"violation": 1, "Violation": 0}',
    "verdict fields that differ": '{"violation": 0, "label": "VIOLATES"}',
    "calm, but by a rule": '{"violation": 0, "policy_category": "V1"}',
    "another number": '{"violation": 2}',
    "no verdict": '{"policy_category": "V1"}',
    "an empty object": "{}",
    "a list": "[1]",
    "flags that are none": '{"V1": 0, "V2": "maybe"}',
    "flags of others": '{"V1": 0, "Z9": 1}',
    "thoughts without an end": "<think>It is\n0",
    "thoughts that end twice": f"a</think>0</think>{JSON_0}",
    "harmony without a final channel": "<|channel|>analysis<|message|>0<|end|>",
    "harmony with two": HARMONY.format("", "0") + HARMONY.format("", "1"),
    "bare channels without a final one": "analysisIt is fine.\n0",
    "two bare final channels": "analysisIt says assistantfinal0assistantfinal1",
    "a verdict, then a quoted channel": "1\nIt says assistantfinal0",
}  # fmt: skip


def read(text, **fields):
    return read_verdict(JudgeReply(text, **fields), POLICY)


@pytest.mark.parametrize(("text", "reason"), REPLIES.values(), ids=REPLIES)
def test_every_form_in_use_is_read(text, reason):
    finding = read(text.strip())
    assert finding.score == (0.0 if reason is None else 1.0)
    assert finding.reason == ("" if reason is None else f"harm: {reason}")


@pytest.mark.parametrize("text", DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_can_be_read_in_two_ways_is_no_verdict(text):
    with pytest.raises(OracleError, match="judge's reply") as caught:
        read(text)
    assert text not in str(caught.value)


@pytest.mark.parametrize("text", ["0", JSON_0, "1"])
def test_a_reply_that_was_cut_off_is_no_verdict(text):
    with pytest.raises(OracleError, match="max_tokens"):
        read(text, complete=False)


@given(st.text(st.sampled_from(string.printable + '01{}<|>/\n"`'), max_size=60))
def test_nothing_but_a_verdict_or_an_error_comes_out_of_any_text(text):
    try:
        finding = read(text)
    except OracleError:
        return
    assert finding.score in (0.0, 1.0)
    labels = {rule.label for rule in POLICY.rules} | {GENERAL}
    named = finding.reason.removeprefix("harm: ").split(", ") if finding.reason else []
    assert set(named) <= labels


def test_the_words_of_a_reply_never_become_the_reason():
    finding = read('{"violation": 1, "policy_category": "his secret name", "rationale": "he said"}')
    assert finding.reason == f"harm: {GENERAL}"


def test_a_long_reply_is_read_in_a_moment():
    with pytest.raises(OracleError):
        read("{" * 100_000 + "}")
    with pytest.raises(OracleError):
        read("analysisX" + "assistant " * 20_000)
