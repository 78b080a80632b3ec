"""What is not English is withheld by name, or judged all the same and marked."""

import asyncio

import pytest

from guardrail.oracles.base import Exchange, Judgement, goes_by_text, is_function
from guardrail.oracles.kinds.builtin import BuiltinOptions
from guardrail.oracles.kinds.cascade import CascadeOptions
from guardrail.oracles.kinds.ensemble import EnsembleOptions
from guardrail.oracles.kinds.judge import JudgeOptions
from guardrail.oracles.measured_languages import LanguageCheckedOracle
from guardrail.oracles.registry import build_oracle
from guardrail.types import Outcome

CALM = "A cat sleeps on the chair."
GERMAN = "Die Katze schläft heute auf dem Stuhl in der Küche."
THAI = "แมวนอนบนเก้าอี้"


class Calm:
    """Finds everything harmless."""

    revision = "calm"
    by_text = True

    def __init__(self):
        self.seen, self.closed = [], False

    async def judge(self, exchanges):
        self.seen += [exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMLESS, 0.1) for _ in exchanges]

    async def aclose(self):
        self.closed = True


def judge(oracle, *texts):
    async def run():
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    return asyncio.run(run())


def test_other_languages_are_withheld_and_not_shown_to_the_oracle():
    inner = Calm()
    said = judge(LanguageCheckedOracle(inner), GERMAN, CALM, THAI)
    assert [one.outcome for one in said] == [Outcome.HARMFUL, Outcome.HARMLESS, Outcome.HARMFUL]
    assert [one.unmeasured for one in said] == ["language", "", "script"]
    assert {one.reason for one in said} == {"language unmeasured", ""}
    assert (inner.seen, inner.closed) == ([CALM], True)


def test_they_are_judged_and_marked_where_the_policy_says_so():
    inner = Calm()
    said = judge(LanguageCheckedOracle(inner, judges_all=True), GERMAN, CALM)
    assert [one.outcome for one in said] == [Outcome.HARMLESS] * 2
    assert [one.unmeasured for one in said] == ["language", ""]
    assert inner.seen == [GERMAN, CALM]


def test_it_goes_by_text_as_its_oracle_does_and_has_a_revision_of_its_own():
    inner = Calm()
    oracle, judging = LanguageCheckedOracle(inner), LanguageCheckedOracle(inner, judges_all=True)
    assert goes_by_text(oracle)
    assert is_function(oracle)
    assert len({inner.revision, oracle.revision, judging.revision}) == 3
    inner.by_text = False
    assert not is_function(oracle)


@pytest.mark.parametrize(
    ("options", "checks"),
    [
        (BuiltinOptions(kind="builtin"), True),
        (BuiltinOptions(kind="builtin", languages=["en"]), True),
        (BuiltinOptions(kind="builtin", languages="any"), False),
        (JudgeOptions(kind="judge", upstream="builtin", model="m", template="rubric"), False),
        (
            JudgeOptions(
                kind="judge", upstream="builtin", model="m", template="rubric", languages=["en"]
            ),
            True,
        ),
    ],
)
def test_only_oracles_that_were_measured_on_english_look_at_the_language(options, checks):
    assert options.checks_language == checks


def test_a_language_that_cannot_be_told_apart_is_refused():
    with pytest.raises(ValueError, match="languages"):
        BuiltinOptions(kind="builtin", languages=["de"])


def test_the_built_in_oracle_withholds_what_it_was_not_measured_on(tmp_path):
    (said,) = judge(build_oracle(BuiltinOptions(kind="builtin"), tmp_path), GERMAN)
    assert (said.outcome, said.unmeasured) == (Outcome.HARMFUL, "language")


@pytest.mark.parametrize(("second", "unmeasured"), [("any", ""), (["en"], "language")])
def test_a_cascade_leaves_other_languages_to_its_second_oracle(tmp_path, second, unmeasured):
    options = CascadeOptions(
        kind="cascade",
        cheap=BuiltinOptions(kind="builtin", threshold=0.2),
        expensive=BuiltinOptions(kind="builtin", threshold=0.999, languages=second),
    )
    (said,) = judge(build_oracle(options, tmp_path), GERMAN)
    assert (said.outcome is Outcome.HARMFUL, said.unmeasured) == (bool(unmeasured), unmeasured)


def test_an_ensemble_says_so_where_nothing_but_the_language_spoke_against_it(tmp_path):
    members = [
        BuiltinOptions(kind="builtin"),
        BuiltinOptions(kind="builtin", threshold=0.999, languages="any"),
    ]
    options = EnsembleOptions(kind="ensemble", members=members, rule="any")
    (said,) = judge(build_oracle(options, tmp_path), GERMAN)
    assert (said.outcome, said.unmeasured) == (Outcome.HARMFUL, "language")
