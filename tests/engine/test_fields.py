"""Harm in one field of an answer is found however calm and long all the others are."""

import base64
import json
import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.engine.harmful_answers import count_harmful, describe_harmful
from guardrail.engine.rules import OnUnscanned
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Action, HarmfulAnswers, Reason
from guardrail.engine.visible_text import extract_text
from guardrail.errors import OracleError
from guardrail.oracles.base import Judgement, Reference
from guardrail.types import Answer, Outcome
from guardrail.upstreams.scripted import Scripted, Step

HARM = "a forbidden plan"
_CALM = "the dog lies on green grass beside its red ball and sleeps in the sun".split()


def calm(seed):
    """500 calm words, others for each seed."""
    return " ".join([f"part {seed}", *(_CALM[(seed + i) % len(_CALM)] for i in range(498))])


@dataclass
class Averaging:
    """Scores by the share of words that are `forbidden`, so that calm words dilute them."""

    revision: str = "averaging"
    seen: list = field(default_factory=list)
    calls: int = 0

    async def judge(self, exchanges):
        self.calls += 1
        self.seen += [exchange.response for exchange in exchanges]
        return [self._judge_one(exchange.response) for exchange in exchanges]

    async def aclose(self):
        pass

    def _judge_one(self, text):
        words = re.findall(r"[a-z]+", text.lower())
        share = words.count("forbidden") / max(len(words), 1)
        if share >= 0.1:
            return Judgement(Outcome.HARMFUL, min(1.0, share), "averaging: threat")
        return Judgement(Outcome.HARMLESS, share)


def tool_call(name, arguments):
    function = {"name": name, "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function}


SLOTS = {
    "content": "content",
    "content part": "content[1].text",
    "reasoning_content": "reasoning_content",
    "reasoning": "reasoning",
    "reasoning detail": "reasoning_details[0].text",
    "thinking block": "thinking_blocks[0].thinking",
    "refusal": "refusal",
    "tool name": "tool_calls[{place}].function.name",
    "argument key": "tool_calls[{place}].function.arguments",
    "argument value": "tool_calls[{place}].function.arguments",
    "argument as an object": "tool_calls[{place}].function.arguments",
    "custom input": "tool_calls[{place}].custom.input",
    "function call": "function_call.arguments",
    "provider field": "provider_specific_fields.other field",
    "unknown field": "other field",
    "unknown name": "other field",
    "title": "annotations[0].url_citation.title",
    "base64": "content (decoded)",
    "escapes": "reasoning (decoded)",
    "beside the message": "citations",
}


def make_answer(slot, place, others):
    """An answer with harm in one slot; calm words in it and in all other fields."""
    words = {name: calm(number) for number, name in enumerate(SLOTS)}
    words["tool name"] = "look_up"
    words |= {slot: HARM} if slot not in ("base64", "escapes") else {}
    if slot == "base64":
        words["content"] += f" {base64.b64encode(HARM.encode()).decode()}"
    if slot == "escapes":
        words["reasoning"] = "".join(f"\\u{ord(char):04x}" for char in HARM)
    calls = [tool_call(f"calm{i}", json.dumps({"note": calm(90 + i)})) for i in range(others)]
    key = HARM if slot == "argument key" else "note"
    mine = tool_call(words["tool name"], json.dumps({"a": calm(80), key: words["argument value"]}))
    if slot == "argument as an object":
        mine["function"]["arguments"] = {"a": calm(80), "deep": [{"b": HARM}, calm(81)]}
    if slot == "custom input":
        mine = {"type": "custom", "custom": {"name": "shell", "input": HARM}}
    calls.insert(min(place, others), mine)
    content = words["content"]
    if slot == "content part":
        content = [{"type": "text", "text": content}, {"type": "text", "text": HARM}]
    name = HARM if slot == "unknown name" else "mood"
    message = {
        "role": "assistant",
        "content": content,
        "reasoning_content": words["reasoning_content"],
        "reasoning": words["reasoning"],
        "reasoning_details": [{"type": "reasoning.text", "text": words["reasoning detail"]}],
        "thinking_blocks": [{"type": "thinking", "thinking": words["thinking block"]}],
        "refusal": words["refusal"],
        "tool_calls": calls,
        "function_call": {"name": "say", "arguments": words["function call"]},
        "provider_specific_fields": {"first": calm(70), "second": words["provider field"]},
        "annotations": [{"type": "url_citation", "url_citation": {"title": words["title"]}}],
        name: words["unknown field"],
        "manner": calm(71),
    }
    return Answer(message, extra={"citations": [words["beside the message"]], "more": calm(72)})


def take_sample(kit, oracle, answer, **rules):
    async def main():
        rules_ = kit.make_rules(**{"on_unscanned": OnUnscanned.PASS_UNSCANNED, **rules})
        sampler = Sampler(rules_, Scripted(["A cat."]), oracle, kit.make_chat())
        return await sampler.judge.judge(0, answer, ())

    return kit.run(main())


@pytest.mark.no_cover
@pytest.mark.parametrize("slot", SLOTS)
@settings(deadline=None, max_examples=3)
@given(place=st.integers(0, 2), others=st.integers(0, 2))
def test_harm_in_any_field_is_found_and_the_field_is_named(kit, slot, place, others):
    oracle = Averaging()
    answer = make_answer(slot, place, others)
    sample = take_sample(kit, oracle, answer)
    assert (sample.outcome, sample.reason) == (Outcome.HARMFUL, "averaging: threat")
    named = SLOTS[slot].format(place=min(place, others))
    assert sample.field == named
    assert oracle.calls == 1
    assert len(set(oracle.seen)) == len(oracle.seen)
    assert (
        oracle._judge_one(oracle.seen[-1]).outcome is Outcome.HARMLESS
    )  # joined, it is averaged away


def test_without_harm_the_same_answer_is_harmless(kit):
    sample = take_sample(kit, Averaging(), make_answer("base64", 0, 2))
    assert sample.outcome is Outcome.HARMFUL  # the code's own words
    calm_answer = Answer({"content": calm(1), "reasoning_content": calm(2)})
    assert take_sample(kit, Averaging(), calm_answer).outcome is Outcome.HARMLESS


WORDS = st.text(st.sampled_from('ab{}":,\\ \n_'), max_size=30)


@given(st.dictionaries(WORDS, WORDS | st.lists(WORDS, max_size=3), max_size=4), WORDS)
def test_names_of_fields_hold_no_words_of_the_answer(fields, arguments):
    """Names come from a closed form, whatever the answer calls its own fields."""
    message = {"content": "a", "tool_calls": [tool_call("t", arguments)], **fields}
    known = r"(content|tool_calls\[0\]\.function\.(name|arguments)|other field)( \(decoded\))?"
    for found in extract_text(Answer(message)).fields:
        assert re.fullmatch(rf"{known}|decoded text", found.name)


@pytest.mark.parametrize(
    "message",
    [
        {"content": "A cat."},
        {"content": [{"type": "text", "text": "A cat."}]},
        {"content": "A cat.", "reasoning": "", "tool_calls": [], "refusal": None},
        {"content": None, "refusal": "No."},
        {"content": json.dumps({"text": calm(1)})},
    ],
)
def test_an_answer_of_one_field_is_judged_once(kit, message):
    oracle = Averaging()
    sample = take_sample(kit, oracle, Answer({"role": "assistant", **message}))
    assert len(oracle.seen) == oracle.calls == 1
    assert sample.field in ("content", "content[0].text", "refusal")


def test_equal_texts_are_judged_once(kit):
    oracle = Averaging()
    message = {"content": "A cat.", "reasoning": "A cat.", "thinking": "A cat."}
    take_sample(kit, oracle, Answer(message))
    assert oracle.seen == ["A cat.", "A cat.\nA cat.\nA cat."]


def test_only_the_whole_is_shown_with_its_message(kit):
    class Noting(Averaging):
        async def judge(self, exchanges):
            self.messages = [exchange.message for exchange in exchanges]
            return await super().judge(exchanges)

    oracle = Noting()
    message = {"content": "A cat.", "reasoning": "A dog."}
    take_sample(kit, oracle, Answer(message))
    assert oracle.messages == [None, None, message]


def test_an_oracle_that_reads_whole_texts_is_asked_once(kit):
    oracle = Averaging()
    oracle.reads_whole = True
    answer = make_answer("reasoning", 0, 2)
    take_sample(kit, oracle, answer)
    assert oracle.seen == [extract_text(answer).text]


def test_a_code_that_spans_fields_is_named_as_such():
    code = base64.b64encode(HARM.encode()).decode()
    message = {"content": code[:12], "reasoning": code[12:]}
    found = extract_text(Answer(message))
    assert [field.name for field in found.fields] == ["content", "reasoning", "decoded text"]
    assert found.fields[-1].text == HARM


class Failing(Averaging):
    """Fails for one text, or says that it cannot look into it."""

    fault: object = OracleError("gone")

    async def judge(self, exchanges):
        judgements = await super().judge(exchanges)
        for place, exchange in enumerate(exchanges):
            if exchange.response == "A dog.":
                if isinstance(self.fault, Exception):
                    raise self.fault
                judgements[place] = self.fault
        return judgements


@pytest.mark.parametrize("retries", [0, 2])
def test_a_fault_for_one_field_is_one_of_the_answer(kit, retries):
    oracle = Failing()
    answer = Answer({"content": HARM, "reasoning": "A dog."})
    with pytest.raises(OracleError):
        take_sample(kit, oracle, answer, retries=retries)
    assert oracle.calls == 1  # no function of what it is shown: it is not asked again


def test_harm_comes_before_what_is_missing_and_that_before_the_rest(kit):
    oracle = Failing()
    oracle.fault = Judgement(Outcome.MISSING, 0.0)
    answer = Answer({"content": "A cat.", "reasoning": "A dog."})
    assert take_sample(kit, oracle, answer).outcome is Outcome.MISSING
    answer = Answer({"content": HARM, "reasoning": "A dog."})
    assert take_sample(kit, oracle, answer).outcome is Outcome.HARMFUL


@pytest.mark.parametrize("rule", list(OnUnscanned))
def test_what_one_field_hides_counts_for_the_answer(kit, rule):
    oracle = Failing()
    oracle.fault = Judgement(Outcome.HARMLESS, 0.0, unscanned=("picture",))
    answer = Answer({"content": "A cat.", "reasoning": "A dog."})
    sample = take_sample(kit, oracle, answer, on_unscanned=rule)
    assert sample.unscanned == ("picture",)
    assert (sample.outcome is Outcome.HARMFUL) is (rule is OnUnscanned.BLOCK)
    assert count_harmful([sample]) == ()  # nothing harmful was found in it


def test_fewer_judgements_than_texts_are_none(kit):
    class Short(Averaging):
        async def judge(self, exchanges):
            return (await super().judge(exchanges))[1:]

    with pytest.raises(OracleError, match="one judgement for each of 3"):
        take_sample(kit, Short(), Answer({"content": "A cat.", "reasoning": "A dog."}))


def test_fields_that_repeat_are_judged_once_within_a_decision(kit):
    oracle = Averaging()
    oracle.by_text = True
    steps = [
        Step(message={"role": "assistant", "content": f"Cat {i}.", "reasoning": "Look."})
        for i in range(3)
    ]

    async def main():
        sampler = Sampler(kit.make_rules(), Scripted(steps), oracle, kit.make_chat(pictures=1))
        shown = (np.zeros((2, 2, 3), np.uint8),)
        return [await sampler.sample(index, shown, seed=index) for index in range(3)]

    assert {sample.outcome for sample in kit.run(main())} == {Outcome.HARMLESS}
    assert oracle.seen.count("Look.") == 1
    assert len(oracle.seen) == 7


class Likeness:
    """A reference oracle that finds every whole answer alike, with an oracle of harm beside it."""

    revision = "likeness"
    n0 = 1

    def __init__(self, harm):
        self.harm, self.seen = harm, []

    async def judge(self, exchanges):
        self.seen += [exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def reference(self, selection):
        del selection
        return Reference("meaning", "ab", self)

    async def aclose(self):
        pass


def test_a_comparison_is_about_the_whole_and_harm_beside_it_about_every_field(kit):
    oracle = Likeness(Averaging())
    answer = make_answer("reasoning_content", 0, 1)
    sample = take_sample(kit, oracle, answer)
    assert (sample.outcome, sample.field) == (Outcome.HARMFUL, "reasoning_content")
    assert oracle.seen == [extract_text(answer).text]
    alone = Likeness(None)
    assert take_sample(kit, alone, answer).outcome is Outcome.HARMLESS
    assert alone.seen == [extract_text(answer).text]


def test_a_verdict_counts_categories_and_fields(kit):
    calm_step = Step(message={"role": "assistant", "content": calm(1), "reasoning": calm(2)})
    bad = Step(message={"role": "assistant", "content": calm(1), "reasoning_content": HARM})
    engine = kit.make_engine([bad, calm_step], oracle=Averaging(), max_parallel=1)
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    (found,) = verdict.harmful
    assert (found.category, found.field) == ("averaging: threat", "reasoning_content")
    assert found.answers == sum(s.outcome is Outcome.HARMFUL for s in verdict.samples)


def test_an_answer_without_pictures_is_counted_too(kit):
    bad = Step(message={"role": "assistant", "content": calm(1), "reasoning_content": HARM})
    verdict = kit.decide(kit.make_engine([bad], oracle=Averaging()), 0)
    assert verdict.harmful == (HarmfulAnswers("averaging: threat", "reasoning_content", 1),)


def test_in_words():
    found = (HarmfulAnswers("lexicon: threat", "reasoning", 12), HarmfulAnswers("refusal", "", 1))
    assert describe_harmful(found) == (
        "harmful answers: 12 lexicon: threat in reasoning; 1 refusal"
    )
    assert describe_harmful([HarmfulAnswers("", "content", 2)]) == (
        "harmful answers: 2 without a category in content"
    )


@pytest.mark.parametrize("arguments", ['{"path": ' + "calm " * 60, "[" * 5000])
def test_long_arguments_that_are_no_json_are_one_text(arguments):
    fields = extract_text(Answer(tool_call("write", arguments))).fields
    texts = [field.text for field in fields if field.name.endswith("arguments")]
    assert texts == [arguments]
