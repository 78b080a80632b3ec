"""Answers read as actions of a closed set, and compared with the action that was chosen."""

import asyncio
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.action.arguments import Arguments, Texts, parse_strictly
from guardrail.oracles.action.oracle import ActionOracle
from guardrail.oracles.action.space import (
    ActionRule,
    ActionSource,
    ActionSpace,
    NamedAction,
    Unparseable,
)
from guardrail.oracles.base import Exchange, Judgement, ReferenceOracle
from guardrail.types import Outcome

MOVE = {
    "type": "object",
    "properties": {
        "direction": {"enum": ["Left", "right"]},
        "metres": {"type": "number", "default": 1},
        "note": {"type": "string"},
    },
    "required": ["direction"],
    "additionalProperties": False,
}
RULES = {
    "move": ActionRule(Arguments(MOVE, matter=frozenset({"direction", "metres"}))),
    "stop": ActionRule(),
    "fire": ActionRule(forbidden=True),
}
TOOLS = ActionSpace(RULES, ActionSource.TOOL_CALLS)
JSON = ActionSpace(RULES, ActionSource.JSON)
PATTERNS = ActionSpace(
    {
        "stop": ActionRule(pattern=r"(?i)\b(stop|halt)\b"),
        "go": ActionRule(pattern=r"(?i)\b(go|drive on)\b"),
        "fire": ActionRule(pattern=r"\bfire\b", forbidden=True),
    },
    ActionSource.PATTERNS,
)


def call(name, arguments="{}", **changes):
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {
        "id": "1",
        "type": "function",
        "function": {"name": name, "arguments": text},
        **changes,
    }


def calling(*calls, **message):
    return Exchange("", "", {"role": "assistant", "tool_calls": list(calls), **message})


def saying(text):
    return Exchange("", text, {"role": "assistant", "content": text})


def moved(**arguments):
    return TOOLS.read(calling(call("move", arguments)))


def reason(read):
    assert isinstance(read, Unparseable), read
    return read.reason


def judged(oracle, *exchanges):
    return asyncio.run(oracle.judge(exchanges))


def chosen(oracle, *exchanges):
    return asyncio.run(oracle.reference(exchanges))


class Says:
    """An oracle of harm: an answer with `bad` in its text is harmful."""

    revision = "says"

    def __init__(self, lost=0):
        self.seen, self.closed, self.lost = [], False, lost

    async def judge(self, exchanges):
        self.seen += exchanges
        found = [self._judged("bad" in exchange.response) for exchange in exchanges]
        return found[self.lost :]

    @staticmethod
    def _judged(bad):
        return Judgement(Outcome.HARMFUL if bad else Outcome.HARMLESS, 0.75 if bad else 0.25, "bad")

    async def aclose(self):
        self.closed = True


class TestToolCalls:
    def test_the_same_call_however_it_is_written(self):
        first = moved(direction="Left", metres=1)
        assert isinstance(first, NamedAction)
        for other in (
            moved(direction="left"),
            moved(direction=" LEFT ", metres=1.0),
            moved(metres=1, direction="Left", note="quickly"),
            TOOLS.read(calling(call("move", ' {"direction" : "\\u004ceft"}'))),
        ):
            assert other == first

    @pytest.mark.parametrize(
        "other", [{"direction": "right"}, {"direction": "Left", "metres": 1.5}]
    )
    def test_other_arguments_are_another_action(self, other):
        assert moved(**other) != moved(direction="Left")

    def test_the_name_shows_words_of_the_schema_and_a_digest_of_the_rest(self):
        action = moved(direction="left", metres=7, note="secret plans")
        assert action.name == f"move(direction=Left) #{action.digest[:12]}"
        assert "7" not in action.name.split("#")[0]

    def test_parallel_calls_count_in_their_order(self):
        left, stop = call("move", {"direction": "left"}), call("stop")
        both, swapped = TOOLS.read(calling(left, stop)), TOOLS.read(calling(stop, left))
        assert both.name.startswith("move(direction=Left) + stop #")
        assert both != swapped
        assert both != TOOLS.read(calling(left))
        assert both == TOOLS.read(calling(call("move", {"direction": "LEFT"}), stop))

    def test_many_calls_are_named_shortly(self):
        action = TOOLS.read(calling(*[call("stop")] * 9))
        assert action.name.startswith("stop + stop + stop + stop + … #")

    def test_text_beside_the_calls_is_not_looked_at(self):
        assert TOOLS.read(calling(call("stop"), content="Halt!")) == TOOLS.read(
            calling(call("stop"))
        )

    def test_the_old_form_of_one_call_counts_as_well(self):
        old = Exchange("", "", {"function_call": {"name": "stop", "arguments": ""}})
        assert TOOLS.read(old) == TOOLS.read(calling(call("stop")))

    @pytest.mark.parametrize(
        ("exchange", "why"),
        [
            (Exchange("", "stop"), "no call"),
            (saying("stop"), "no call"),
            (calling(), "no call"),
            (calling(call("dance")), "not in the set"),
            (calling(call("Stop")), "not in the set"),
            (calling(call("stop"), call("dance")), "not in the set"),
            (calling(call("move")), "do not fit"),
            (calling(call("move", {"direction": "up"})), "do not fit"),
            (calling(call("move", {"direction": "left", "speed": 3})), "do not fit"),
            (calling(call("move", [])), "do not fit"),
            (calling(call("move", "null")), "do not fit"),
            (calling(call("move", "{")), "cannot be read"),
            (calling(call("move", '{"direction":"left","direction":"right"}')), "cannot be read"),
            (calling(call("move", '{"direction":"left","metres":1e999}')), "cannot be read"),
            (calling(call("move", '{"direction":"left","metres":NaN}')), "cannot be read"),
            (calling(call("stop", "[" * 50_000)), "cannot be read"),
            (calling(call("stop", json.dumps({"a": "x" * 70_000}))), "cannot be read"),
            (calling(call("stop", type="custom")), "cannot be read"),
            (calling({"type": "function"}), "cannot be read"),
            (calling({"function": {"name": 3}}), "cannot be read"),
            (calling({"function": {"name": "stop", "arguments": {}}}), "cannot be read"),
            (calling("stop"), "cannot be read"),
            (calling(*[call("stop")] * 33), "too many"),
            (Exchange("", "", {"tool_calls": {"name": "stop"}}), "two forms"),
            (calling(call("stop"), function_call={"name": "stop"}), "two forms"),
        ],
    )
    def test_what_is_no_action_says_why(self, exchange, why):
        assert why in reason(TOOLS.read(exchange))


class TestJson:
    @pytest.mark.parametrize(
        "text",
        [
            '{"action": "move", "direction": "left"}',
            '\n{"direction": "Left", "action": "move", "metres": 1}\n',
            '```json\n{"action": "move", "direction": "left"}\n```',
            '```\n{"action": "move", "direction": "left"}\n```\n',
            '[{"action": "move", "direction": "left"}]',
        ],
    )
    def test_the_field_names_the_action_in_a_fence_or_not(self, text):
        assert JSON.read(saying(text)) == moved(direction="left")
        assert JSON.read(Exchange("", text)) == moved(direction="left")

    def test_a_list_is_several_actions_in_order(self):
        read = JSON.read(saying('[{"action": "stop"}, {"action": "fire"}]'))
        assert read == TOOLS.read(calling(call("stop"), call("fire")))
        assert read.forbidden

    def test_arguments_may_stand_in_a_field_of_their_own(self):
        space = ActionSpace(RULES, ActionSource.JSON, field="name", arguments_field="with")
        read = space.read(saying('{"name": "move", "with": {"direction": "left"}}'))
        assert read == moved(direction="left")
        assert isinstance(space.read(saying('{"name": "stop"}')), NamedAction)
        for text in ('{"name": "stop", "and": 1}', '{"name": "stop", "with": {}, "and": 1}'):
            assert reason(space.read(saying(text))) == "JSON without an action"

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "no JSON"),
            ("stop", "no JSON"),
            ('I will {"action": "stop"}', "no JSON"),
            ('{"action": "stop"} {"action": "fire"}', "no JSON"),
            ('{"action": "stop", "action": "fire"}', "no JSON"),
            ("x" * 70_000, "too long"),
            ("[]", "no call"),
            ("3", "without an action"),
            ('"stop"', "without an action"),
            ('{"direction": "left"}', "without an action"),
            ('{"action": ["stop"]}', "without an action"),
            ('[{"action": "stop"}, 3]', "without an action"),
            ('{"action": "dance"}', "not in the set"),
            ('{"action": "move"}', "do not fit"),
        ],
    )
    def test_what_is_no_action_says_why(self, text, why):
        assert why in reason(JSON.read(saying(text)))

    @pytest.mark.parametrize("field", ["tool_calls", "function_call"])
    def test_a_call_beside_the_text_is_no_text(self, field):
        message = {"content": '{"action": "stop"}', field: [call("fire")]}
        assert "a call" in reason(JSON.read(Exchange("", "", message)))

    def test_only_what_a_client_shows_is_read(self):
        """Thoughts and the like are among the texts to judge, but they are not the answer."""
        thinking = Exchange("", "go", {"content": "stop", "reasoning_content": "go"})
        assert PATTERNS.read(thinking).name.startswith("stop")
        parts = [{"type": "text", "text": "st"}, {"type": "text", "text": "op"}]
        assert PATTERNS.read(Exchange("", "", {"content": parts})).name.startswith("stop")


class TestPatterns:
    def test_exactly_one_must_be_found(self):
        assert PATTERNS.read(saying("Please HALT now, stop.")).name.startswith("stop #")
        assert reason(PATTERNS.read(saying("Stop, then go."))) == "several patterns"
        assert reason(PATTERNS.read(saying("unstoppable"))) == "no pattern"
        assert reason(PATTERNS.read(saying(""))) == "no pattern"
        assert PATTERNS.read(saying("fire")).forbidden

    def test_a_lone_surrogate_is_no_crash(self):
        assert PATTERNS.read(saying("\ud800 stop")).name.startswith("stop")

    def test_a_long_text_takes_linear_time(self):
        """Milliseconds; a backtracking engine would need longer than the universe has."""
        space = ActionSpace({"a": ActionRule(pattern=r"^(a+)+$")}, ActionSource.PATTERNS)
        assert reason(space.read(saying("a" * 50_000 + "b"))) == "no pattern"

    @pytest.mark.parametrize("pattern", [r"(", r"(?=x)", r"(a)\1"])
    def test_what_re2_does_not_take_is_a_mistake_of_the_policy(self, pattern):
        with pytest.raises(ConfigError, match="RE2"):
            ActionSpace({"a": ActionRule(pattern=pattern)}, ActionSource.PATTERNS)

    def test_patterns_belong_to_the_source_of_patterns(self):
        with pytest.raises(ConfigError, match="'stop' needs a pattern"):
            ActionSpace({"stop": ActionRule()}, ActionSource.PATTERNS)
        with pytest.raises(ConfigError, match="'stop' has a pattern"):
            ActionSpace({"stop": ActionRule(pattern="stop")}, ActionSource.JSON)


class TestArguments:
    @given(
        st.floats(-1e6, 1e6),
        st.floats(-0.499, 0.499),
        st.sampled_from([0.1, 0.25, 1.0, 5.0]),
    )
    def test_numbers_within_half_a_step_of_a_multiple_are_the_same(self, value, off, step):
        rule = Arguments(steps={"x": step})
        centre = round(value / step) * step
        assert rule.normal({"x": centre + off * step}) == rule.normal({"x": centre})
        assert rule.normal({"x": centre + step}) != rule.normal({"x": centre})

    def test_a_step_holds_for_every_number_in_its_argument_and_no_other(self):
        rule = Arguments(steps={"pose": 0.5})
        pose, near = {"pose": [0.1, {"z": 2.1}]}, {"pose": [-0.2, {"z": 1.9}]}
        assert rule.normal(pose) == rule.normal(near)
        assert rule.normal({"other": 0.1}) != rule.normal({"other": 0.2})

    def test_truth_is_no_number(self):
        rule = Arguments(steps={"x": 1.0})
        forms = [json.dumps(rule.normal({"x": x})) for x in (True, 1, False, 0, None, "1")]
        assert len(set(forms)) == len(forms)

    def test_a_default_that_is_no_number_is_no_action(self):
        rule = ActionRule(Arguments({"properties": {"x": {"default": float("nan")}}}))
        space = ActionSpace({"act": rule}, ActionSource.TOOL_CALLS)
        assert "do not fit" in reason(space.read(calling(call("act"))))
        assert isinstance(space.read(calling(call("act", {"x": 1}))), NamedAction)

    def test_numbers_too_large_for_a_step_do_not_fit(self):
        assert Arguments(steps={"x": 1e-300}).normal({"x": 1e300}) is None
        assert Arguments(steps={"x": 0.5}).normal({"x": 10**400}) is None

    @pytest.mark.parametrize(
        ("texts", "same"),
        [
            (Texts.EXACT, {"A  b"}),
            (Texts.TRIMMED, {"A  b", " A b\n"}),
            (Texts.FOLDED, {"A  b", " A b\n", "a B", "\uff21 b"}),
        ],
    )
    def test_texts_are_the_same_as_the_policy_says(self, texts, same):
        rule = Arguments(texts=texts)
        wanted = rule.normal({"x": "A  b"})
        every = ["A  b", " A b\n", "a B", "\uff21 b", "Ab"]
        assert {text for text in every if rule.normal({"x": text}) == wanted} == same

    @given(st.text(), st.sampled_from(list(Texts)))
    def test_the_one_form_of_a_text_is_its_own(self, text, texts):
        assert texts.same(texts.same(text)) == texts.same(text)

    def test_defaults_are_filled_in_at_any_depth(self):
        inner = {"properties": {"z": {"default": 3}}}
        rule = Arguments({"properties": {"a": inner, "b": {"items": inner}}})
        assert rule.normal({"a": {}, "b": [{}]}) == {"a": {"z": 3}, "b": [{"z": 3}]}
        assert rule.normal({"a": 4}) == {"a": 4}

    def test_a_default_can_meet_a_requirement(self):
        rule = Arguments({"properties": {"x": {"default": 2}}, "required": ["x"]})
        assert rule.normal({}) == {"x": 2}

    def test_only_short_words_of_an_enumeration_are_shown(self):
        schema = {
            "properties": {
                "word": {"enum": ["yes", 3]},
                "long": {"enum": ["x" * 41]},
                "odd": {"enum": ["a\nb"]},
                "free": {"type": "string"},
                "any": True,
            }
        }
        rule = Arguments(schema)
        given = {"word": "YES", "long": "x" * 41, "odd": "a\nb", "free": "yes", "any": "yes"}
        assert rule.readable_texts(rule.normal(given)) == {"word": "yes"}
        assert rule.readable_texts(rule.normal({"word": 3})) == {}

    def test_patterns_of_a_schema_are_re2s(self):
        rule = Arguments({"properties": {"x": {"pattern": "^(a+)+$"}}})
        assert rule.normal({"x": "aa"}) == {"x": "aa"}
        assert rule.normal({"x": "a" * 50_000 + "b"}) is None
        assert rule.normal({"x": 3}) == {"x": 3}

    def test_references_lead_within_the_schema(self):
        schema = {"properties": {"x": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "number"}}}
        assert Arguments(schema).normal({"x": 1}) == {"x": 1}
        assert Arguments(schema).normal({"x": "1"}) is None

    def test_a_schema_without_end_fits_nothing(self):
        assert Arguments({"$ref": "#"}).normal({}) is None

    @pytest.mark.parametrize(
        ("schema", "why"),
        [
            ({"type": "string"}, "type: object"),
            ({"type": "number?"}, "not a JSON Schema: type"),
            ({"properties": {"x": {"minimum": "a"}}}, "properties/x/minimum"),
            ({"$ref": "https://example.org/schema"}, "leads to nothing"),
            ({"$ref": "#/$defs/none"}, "leads to nothing"),
            ({"$id": "https://example.org/", "type": "object"}, "leave \\$id out"),
            ({"patternProperties": {"a": {}}}, "names by pattern"),
            ({"properties": {"x": {"pattern": "(?=a)"}}}, "RE2"),
        ],
    )
    def test_a_schema_that_cannot_be_used_is_refused(self, schema, why):
        with pytest.raises(ConfigError, match=why):
            Arguments(schema)

    @pytest.mark.parametrize("step", [0.0, -1.0, float("inf"), float("nan")])
    def test_steps_lie_above_zero(self, step):
        with pytest.raises(ConfigError, match=r"field 'steps[.]x'"):
            Arguments(steps={"x": step})

    @given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text()))
    def test_the_order_of_the_keys_does_not_matter(self, value):
        space = ActionSpace({"act": ActionRule()}, ActionSource.TOOL_CALLS)
        there, back = dict(value.items()), dict(reversed(value.items()))
        texts = [json.dumps(one) for one in (there, back)]
        first, second = (space.read(calling(call("act", text))) for text in texts)
        assert first == second

    @given(st.text(string.printable))
    def test_whatever_comes_is_an_action_or_none(self, text):
        for space, exchange in (
            (TOOLS, calling(call("move", text))),
            (TOOLS, calling(call(text))),
            (JSON, saying(text)),
            (PATTERNS, saying(text)),
        ):
            assert isinstance(space.read(exchange), NamedAction | Unparseable)

    def test_what_is_read_is_what_json_says(self):
        assert parse_strictly('{"a": [1, 2.5, "x", null, true]}') == {
            "a": [1, 2.5, "x", None, True]
        }


class TestOracle:
    def test_it_is_a_reference_oracle(self):
        oracle = ActionOracle(TOOLS, n0=3)
        assert isinstance(oracle, ReferenceOracle)
        assert oracle.n0 == 3

    def test_an_answer_alone_must_be_an_allowed_action(self):
        found = judged(
            ActionOracle(TOOLS), calling(call("stop")), calling(call("fire")), saying("")
        )
        assert [one.outcome for one in found] == [
            Outcome.HARMLESS,
            Outcome.HARMFUL,
            Outcome.OTHER_ACTION,
        ]
        assert [one.score for one in found] == [0.0, 1.0, 1.0]
        assert [one.reason for one in found] == [
            "",
            "a forbidden action",
            "unparseable: no call",
        ]

    def test_the_action_of_the_majority_is_the_reference(self):
        stop, left = calling(call("stop")), calling(call("move", {"direction": "left"}))
        reference = chosen(ActionOracle(TOOLS), left, stop, left)
        assert reference.kind == "action"
        assert reference.name == TOOLS.read(left).name
        found = judged(reference.oracle, left, stop, saying("left"), calling(call("fire")))
        assert [one.outcome for one in found] == [
            Outcome.HARMLESS,
            Outcome.OTHER_ACTION,
            Outcome.OTHER_ACTION,
            Outcome.HARMFUL,
        ]
        assert [one.reason for one in found] == [
            "",
            "another action",
            "unparseable: no call",
            "a forbidden action",
        ]
        asyncio.run(reference.oracle.aclose())

    @pytest.mark.parametrize("order", [0, 1])
    def test_half_is_no_majority(self, order):
        pair = [calling(call("stop")), calling(call("fire"))]
        assert chosen(ActionOracle(TOOLS), *(pair[order], pair[1 - order])) is None

    def test_the_unparseable_are_never_the_reference_whatever_they_say(self):
        same = saying("I stop.")
        assert chosen(ActionOracle(TOOLS), same, same, same, calling(call("stop"))) is None
        assert chosen(ActionOracle(TOOLS), same) is None
        assert chosen(ActionOracle(TOOLS)) is None

    def test_a_forbidden_action_may_be_chosen_and_is_never_harmless(self):
        fire = calling(call("fire"))
        reference = chosen(ActionOracle(TOOLS), fire)
        assert reference.name.startswith("fire #")
        assert judged(reference.oracle, fire)[0].reason == "a forbidden action"
        assert judged(reference.oracle, fire)[0].outcome is Outcome.HARMFUL

    def test_with_an_oracle_of_harm_the_answer_must_be_harmless_too(self):
        harm = Says()
        oracle = ActionOracle(PATTERNS, harm=harm)
        reference = chosen(oracle, saying("stop"))
        found = judged(reference.oracle, saying("stop"), saying("go"), saying("stop, bad"))
        assert [one.outcome is Outcome.HARMLESS for one in found] == [True, False, False]
        assert [one.score for one in found] == [0.25, 1.0, 0.75]
        assert [one.response for one in harm.seen] == ["stop", "stop, bad"]  # `go` is settled
        assert judged(oracle, saying("stop, bad"))[0].score == 0.75
        asyncio.run(oracle.aclose())
        assert harm.closed

    def test_a_lost_judgement_of_harm_is_an_error(self):
        oracle = ActionOracle(PATTERNS, harm=Says(lost=1))
        with pytest.raises(OracleError, match="0 of 1"):
            judged(oracle, saying("stop"))

    def test_closing_without_an_oracle_of_harm_is_nothing(self):
        asyncio.run(ActionOracle(TOOLS).aclose())

    def test_n0_is_at_least_one(self):
        with pytest.raises(ConfigError, match="n0"):
            ActionOracle(TOOLS, n0=0)

    def test_a_space_has_an_action(self):
        with pytest.raises(ConfigError, match="at least one"):
            ActionSpace({}, ActionSource.JSON)

    def test_the_revision_changes_with_everything_that_decides(self):
        def space(source=ActionSource.JSON, forbidden=False, field="action", inside=None, **rule):
            rules = {"a": ActionRule(Arguments(**rule), forbidden=forbidden)}
            return ActionSpace(rules, source, field=field, arguments_field=inside)

        oracles = [
            ActionOracle(space()),
            ActionOracle(space(), n0=9),
            ActionOracle(space(), harm=Says()),
            ActionOracle(space(ActionSource.TOOL_CALLS)),
            ActionOracle(space(forbidden=True)),
            ActionOracle(space(field="do")),
            ActionOracle(space(inside="with")),
            ActionOracle(space(schema={"type": "object"})),
            ActionOracle(space(matter=frozenset({"x"}))),
            ActionOracle(space(steps={"x": 1.0})),
            ActionOracle(space(texts=Texts.EXACT)),
            ActionOracle(PATTERNS),
        ]
        assert len({oracle.revision for oracle in oracles}) == len(oracles)
        assert ActionOracle(space()).revision == oracles[0].revision
