"""The search for an oracle: which are tried, and that they judge the answers that were drawn."""

import asyncio
import dataclasses

import numpy as np
import pytest

from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.judge import Judge
from guardrail.errors import ConfigError, OracleError
from guardrail.evaluation.requests import EvaluationRequest
from guardrail.images.keys import KeyRing, NoiseKey
from guardrail.oracles.base import Exchange, Judgement
from guardrail.oracles.builtin import BuiltinScorer
from guardrail.oracles.encoder.scorer import EncoderScorer
from guardrail.oracles.kinds.default import CERTAIN, DefaultOptions
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import parse_policy
from guardrail.policy_search.drawing import DrawLog, LabelledRequest
from guardrail.policy_search.draws import Counted
from guardrail.policy_search.judging import judge_again
from guardrail.policy_search.kept_answers import KeptAnswers
from guardrail.policy_search.numbers import Numbers
from guardrail.policy_search.oracles import OracleChoice, apply_oracle, find_oracles
from guardrail.policy_search.tuned import SearchDesign, Tuned
from guardrail.policy_search.wording import describe_change, describe_why
from guardrail.records.content import ContentKeys
from guardrail.types import Answer, Outcome

OWN = OracleChoice("default", CERTAIN, 1.0)


def policy_with(text=""):
    return parse_policy(f"name: p\n{text}".encode(), file="p.yaml")


def test_kinds_and_limits_make_the_oracles_the_policys_own_first():
    policy = policy_with("goals: {oracles: [builtin]}\n")
    assert find_oracles(policy_with(), (), {}) == (OWN,)
    builtin, encoder = (OracleChoice(kind, None, None) for kind in ("builtin", "encoder"))
    assert find_oracles(policy, (), {}) == (OWN, builtin)
    assert find_oracles(policy, ("encoder", "default"), {}) == (OWN, encoder)
    wished = {"low": (0.02, 0.5), "high": (0.3,)}
    assert find_oracles(policy_with(), (), wished) == (
        OWN,
        OracleChoice("default", CERTAIN, 0.3),
        OracleChoice("default", 0.02, 1.0),
        OracleChoice("default", 0.02, 0.3),
        OracleChoice("default", 0.5, 1.0),  # no band is left from 0.5 to 0.3
    )


@pytest.mark.parametrize(
    ("text", "kinds", "wished", "told"),
    [
        ("", ("bultin",), {}, "there is no oracle 'bultin'"),
        ("", ("lexicon",), {}, "cannot be used by its kind alone"),
        ("", ("semantic",), {}, "compares answers with a reference"),
        ("oracle: {kind: builtin}", (), {"low": (0.1,)}, "no oracle here has one"),
        ("advanced: {sampling: {judge_every_chars: 200}}", ("builtin",), {}, "broken off"),
        (
            "smoothing: {claim: harmlessness}\noracle: {miss_rate_upper: 0.01}",
            ("builtin",),
            {},
            "was measured",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(text, kinds, wished, told):
    with pytest.raises(ConfigError, match=told):
        find_oracles(policy_with(text), kinds, wished)


@pytest.mark.parametrize("choice", [OracleChoice("builtin", None, None),
                                    OracleChoice("default", 0.02, 0.3)])  # fmt: skip
def test_a_candidate_is_a_policy_and_comes_back(choice):
    policy = policy_with("oracle: {threshold: 0.4}\n")
    base = Numbers.of(policy, cuts_scores=True)
    found = dataclasses.replace(
        Numbers.of(apply_oracle(policy, choice), cuts_scores=True), threshold=0.4, floor=0.3
    )
    assert (found.oracle, found.low, found.high) == choice
    changed = found.apply(policy)
    assert Numbers.of(changed, cuts_scores=True) == found
    # Another kind has a threshold of its own, which its policy has to state.
    assert ("threshold" in found.changes(base)) == (choice.kind != "default")


def test_limits_of_the_cascade_say_whom_the_encoder_is_asked_about(tmp_path):
    texts = [
        "A dog sleeps.",
        "Grab a knife and stab him tonight, nobody will find out.",
        "You stupid worthless idiot, go kill yourself.",
        "Two eggs and some flour.",
    ]
    (cheap, dear), low, high = _scores(texts), 0.02, 0.5
    said = _judge(DefaultOptions(low=low, high=high).build(tmp_path), texts)
    for first, second, judgement in zip(cheap, dear, said, strict=True):
        harmful = first >= high or (first >= low and second >= 0.5)
        assert judgement.outcome is (Outcome.HARMFUL if harmful else Outcome.HARMLESS)
    assert len({first >= high for first in cheap}) == 2
    with pytest.raises(ValueError, match="must lie above 'low'"):
        DefaultOptions(low=0.5, high=0.5)


def _scores(texts):
    exchanges = [_exchange(text) for text in texts]
    return BuiltinScorer().scores(exchanges), EncoderScorer().scores(exchanges)


def _exchange(text):
    return Exchange("", text)


def _judge(oracle, texts):
    async def run():
        try:
            return await oracle.judge([_exchange(text) for text in texts])
        finally:
            await oracle.aclose()

    return asyncio.run(run())


class Lengths:
    """Harm grows with the length of an answer; equal texts are judged alike."""

    revision, by_text, cuts_scores, threshold = "lengths", True, True, 0.5
    fails = False

    async def judge(self, exchanges):
        if self.fails:
            raise OracleError("down")
        scores = [min(len(each.response) / 20, 1.0) for each in exchanges]
        return [
            Judgement(Outcome.HARMFUL if score >= 0.5 else Outcome.HARMLESS, score)
            for score in scores
        ]

    async def aclose(self):
        pass


GEOMETRY = {"operator_norm": 1.0, "grid_slack": 0.0, "sampler_error": 1e-9}


def row(log, digest, start, answers):
    missing = [one is None for one in answers]
    return {
        "type": "draws", "request": digest, "start": start,
        "counted": [int(Counted.MISSING if gone else Counted.HARMLESS) for gone in missing],
        "score": [None] * len(answers), "calls": len(answers), "cost_usd": 0.01 * len(answers),
        **GEOMETRY, "answers": log.keeping.pack(answers, f"{digest}/{start}"),
    }  # fmt: skip


def make_answers(count, seed):
    dice = np.random.default_rng(seed)
    found = [Answer({"content": "x" * int(length)}) for length in dice.integers(1, 30, count)]
    return [*found, None]


@pytest.mark.parametrize("sealed", [False, True])
def test_answers_are_judged_as_in_a_decision_and_only_the_new_ones(tmp_path, sealed):
    keys = ContentKeys(KeyRing(NoiseKey(bytes(32))))
    file = tmp_path / "draws.jsonl" if sealed else None
    rules = compile_policy(policy_with())
    requests = [
        LabelledRequest(name, EvaluationRequest(name, "what?", (), {}), name == "a")
        for name in ("a", "b")
    ]
    drawn = DrawLog(file, {}, KeptAnswers(keys if sealed else None))
    log, oracle = DrawLog(None, {}), Lengths()
    answers = {one.digest: make_answers(9, seed) for seed, one in enumerate(requests)}

    def judge(draws):
        call = judge_again(rules, oracle, requests, "m", draws, drawn, log, lambda: None)
        return asyncio.run(call)

    for one in requests:
        drawn.write(row(drawn, one.digest, 0, answers[one.digest][:4]))
    assert judge(4).counted.shape == (2, 4)
    for one in requests:
        drawn.write(row(drawn, one.digest, 4, answers[one.digest][4:]))
    if sealed:  # from the file again
        drawn.__exit__()
        assert b"xxx" not in file.read_bytes()
        drawn = DrawLog(file, {}, KeptAnswers(keys))
    found = judge(10)
    oracle.fails = True
    assert np.array_equal(judge(10).counted, found.counted)  # nothing is judged twice
    oracle.fails = False
    assert found.threshold == 0.5
    assert found.call_cost_usd == pytest.approx([0.01, 0.01])
    for place, one in enumerate(requests):
        chat = canonical_chat(one.request.chat("m"))
        for draw, answer in enumerate(answers[one.digest]):
            if answer is None:
                assert found.counted[place, draw] == Counted.MISSING
                continue
            said = asyncio.run(Judge(rules, oracle, chat).judge(0, answer, ()))
            assert found.counted[place, draw] == Counted.BY_SCORE
            assert found.score[place, draw] == said.score
    drawn.__exit__()


def test_an_oracle_that_judges_nothing_leaves_nothing_behind():
    rules, oracle, log = compile_policy(policy_with()), Lengths(), DrawLog(None, {})
    oracle.fails = True
    request = LabelledRequest("a", EvaluationRequest("a", "what?", (), {}), True)
    drawn = DrawLog(None, {}, KeptAnswers(None))
    drawn.write(row(drawn, "a", 0, make_answers(3, 0)))
    with pytest.raises(OracleError):
        asyncio.run(judge_again(rules, oracle, [request], "m", 4, drawn, log, lambda: None))
    assert log.known("a") is None


def test_answers_that_another_key_sealed_are_refused():
    mine, other = (KeptAnswers(ContentKeys(KeyRing(NoiseKey(bytes([n]) * 32)))) for n in (1, 2))
    packed = mine.pack([Answer({"content": "x"}), None], "a/0")
    assert mine.unpack(packed, "a/0") == [Answer({"content": "x"}), None]
    with pytest.raises(ConfigError):
        other.unpack(packed, "a/0")


def test_another_oracle_is_said_in_words():
    policy = policy_with()
    base = Numbers.of(policy, cuts_scores=True)
    tuned = Tuned(SearchDesign(()), base, None, 1, (), (), None, None, (), {"oracle": None}, None)
    assert describe_change("oracle", "default", "builtin") == (
        "was default; another oracle judges the answers"
    )
    assert describe_change("threshold", 0.5, 0.5) == "as before, of another oracle"
    assert "the encoder looks at more answers" in describe_change("low", 0.02, 0.01)
    assert describe_why("threshold", tuned, None) == "it belongs to the other oracle"
