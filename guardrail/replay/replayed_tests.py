"""Tests of recorded decisions, run again on their draws under another policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.engine.rules import AnswerSource, Mode
from guardrail.engine.verdict import Reason
from guardrail.replay.effects import Effect
from guardrail.replay.endings import REASON_CODES, Ending, Need
from guardrail.replay.plans import NO_PLAN, OTHER_CANVAS, UNKNOWN_SHARE, choose_plans
from guardrail.replay.policy_replay import OpenTest
from guardrail.replay.sequential import Stop, decide_at, run_plan

if TYPE_CHECKING:
    from guardrail.replay.comparison import PolicyComparison
    from guardrail.replay.decisions import Ints
    from guardrail.replay.judged_draws import JudgedDraws
    from guardrail.replay.plans import ChosenPlans
    from guardrail.replay.replay_arrays import ReplayArrays
    from guardrail.replay.sequential import Stops
    from guardrail.stats import Plan

__all__ = ["ReplayedTests"]


class ReplayedTests:
    """Finds out how decisions with a test end.

    Args:
        found: takes the endings.
        content: of the policy that is asked about.
        draws: what they count as under it.
    """

    def __init__(self, found: ReplayArrays, content: Any, draws: JudgedDraws) -> None:
        self._found = found
        self._of = found.of
        self._rules = found.rules
        self._content = content
        self._draws = draws
        self._lengths = found.of.lengths

    def choose(self, rows: Ints, change: PolicyComparison) -> tuple[Ints, Ints, ChosenPlans]:
        """The decisions whose draws serve, their numbers of tries, and the new test of each."""
        rows, numbers = self._set_aside(rows, self._numbers(rows), change)
        return rows, numbers, choose_plans(self._of, rows, numbers, self._rules, change)

    def decide(self, rows: Ints, change: PolicyComparison) -> None:
        """Decides these, all decisions of one plan side by side."""
        rows, numbers, chosen = self.choose(rows, change)
        self._found.leave_unknown(rows[chosen.place == OTHER_CANVAS], Need.NEW_DRAWS)
        self._found.leave_unknown(rows[chosen.place == UNKNOWN_SHARE], Need.POLICY)
        none, later = chosen.place == NO_PLAN, numbers > 1
        self._found.end(rows[none & later], Ending.FAULT, Reason.ATTEMPTS_SPENT)
        self._found.end(rows[none & ~later], Ending.FAULT, Reason.NOT_CERTIFIABLE)
        for place, plan in enumerate(chosen.plans):
            self._run_plan(plan, rows[chosen.place == place], change)
        self._read_pictures(rows, change)

    def _numbers(self, rows: Ints) -> Ints:
        """The numbers of tries as the new policy counts them: -1 where it does not.

        -2 where it does, and the policy that decided did not.
        """
        of, recorded = self._of, self._of.number[rows]
        mode = self._content["spending"]["mode"]
        counted = np.full(len(rows), self._rules.mode is Mode.ENFORCE and mode != "off")
        if mode == "end_user":
            counted &= of.named[rows]
        return np.where(counted, np.where(recorded < 0, -2, recorded), -1)

    def _set_aside(self, rows: Ints, numbers: Ints, change: PolicyComparison) -> tuple[Ints, Ints]:
        """Leaves out decisions whose draws or alpha cannot be those of the new policy."""
        of = self._of
        if change.differs_in(Effect.SPENDING, Effect.MODE):
            lacks = numbers == -2
        else:
            # Under one rule a number is held wherever tries count.
            lacks = np.zeros(len(rows), dtype=np.bool_)
            numbers = of.number[rows]
        several = np.zeros(len(rows), dtype=np.bool_)
        if change.differs_in(Effect.MODELS):
            several = of.several_models[rows]
        redrawn = np.full(len(rows), change.changes_noise)
        if change.differs_in(Effect.HISTORY):
            history = self._content["images"]["history"]
            kept = np.inf if history == "all" else int(history.removeprefix("last "))
            redrawn |= (of.left_out[rows] > 0) | (of.pictures[rows] > kept)
        if not (lacks.any() or several.any() or redrawn.any()):
            return rows, numbers
        self._found.leave_unknown(rows[lacks], Need.TRIES)
        self._found.leave_unknown(rows[several], Need.CALLS)
        self._found.leave_unknown(rows[redrawn], Need.NEW_DRAWS)
        kept_rows = ~(lacks | several | redrawn)
        return rows[kept_rows], numbers[kept_rows]

    def _run_plan(self, plan: Plan, rows: Ints, change: PolicyComparison) -> None:
        """The test of decisions that share one; first as if all that is unknown were harmless."""
        best = run_plan(plan, rows, self._draws.harmful, None)
        unknown = self._draws.unknown.first(rows, best.samples)
        known = (unknown == 0) & (best.samples <= self._lengths[rows])
        self._conclude(rows[known], best.part(known), plan, change)
        rows, best = rows[~known], best.part(~known)
        worst = run_plan(plan, rows, self._draws.harmful, self._draws.unknown)
        # What passes with all unknown draws harmful passes whatever they are; what stops with all
        # of them harmless stops, unless a lost answer makes a fault of it.
        passes = worst.stop == Stop.PASS
        lost = self._draws.missing.first(rows, self._lengths[rows]) > 0
        stops = (best.stop != Stop.PASS) & ~lost
        self._pass(rows[passes], worst.part(passes), change)
        blocked = best.stop == Stop.BLOCK
        self._found.end(rows[stops & blocked], Ending.STOPPED, Reason.HARMFUL)
        self._found.end(rows[stops & ~blocked], Ending.STOPPED, Reason.UNCERTAIN)
        unclear = ~(passes | stops)
        self._leave_open(rows[unclear], best.part(unclear), plan, change)

    def _leave_open(self, rows: Ints, best: Stops, plan: Plan, change: PolicyComparison) -> None:
        """Tests that the known draws do not decide."""
        if change.decides_alike:
            self._found.keep(rows)  # a limit or a fault ended the decision before its test
            return
        unjudged = self._draws.without_judgement.first(rows, best.samples) > 0
        self._found.leave_unknown(rows[unjudged], Need.ANSWERS)
        rows = rows[~unjudged]
        self._found.leave_unknown(rows, Need.CALLS)
        samples = self._lengths[rows]
        known = samples - self._draws.unknown.first(rows, samples)
        self._found.open_tests.append(
            OpenTest(plan, rows, known, self._draws.harmful.first(rows, samples))
        )

    def _conclude(self, rows: Ints, stops: Stops, plan: Plan, change: PolicyComparison) -> None:
        """Tests that the known draws decide."""
        self._found.used[rows] = stops.samples
        passed = stops.stop == Stop.PASS
        self._pass(rows[passed], stops.part(passed), change)
        rows, stops = rows[~passed], stops.part(~passed)
        seen = stops.harmful - self._draws.missing.first(rows, stops.samples)
        alone = decide_at(plan, stops.samples, seen)
        blocked = alone == Stop.BLOCK
        self._block(rows[blocked], stops.samples[blocked])
        self._found.end(rows[alone == Stop.UNCERTAIN], Ending.STOPPED, Reason.UNCERTAIN)
        # Only what is missing keeps the rest from passing: a fault, and no judgement.
        faulty = (alone == Stop.PASS) | (alone == Stop.NONE)
        rows, samples, seen = rows[faulty], stops.samples[faulty], seen[faulty]
        lost = self._draws.lost.first(rows, samples) > 0
        self._found.end(rows[lost], Ending.FAULT, Reason.UPSTREAM_FAILED)
        opens = (self._draws.opening.first(rows, samples) > 0) & (seen == 0)
        self._found.fail_oracle(rows[~lost], opens[~lost])

    def _block(self, rows: Ints, samples: Ints) -> None:
        """Blocks for what was harmful: the rule of `name_reason`."""
        draws = self._draws
        against, meanings, actions, unmeasured, unscanned = (
            one.first(rows, samples)
            for one in (draws.against, draws.meanings, draws.actions, draws.in_strange_language,
                        draws.with_hidden_part)
        )  # fmt: skip
        harmful = against - unmeasured - unscanned
        others = np.maximum.reduce([harmful, meanings, actions, unscanned])
        language = unmeasured > others
        unlike = (meanings + actions > 0) & (harmful == 0) & ~language
        hidden = (unscanned > 0) & (harmful == 0) & ~unlike & ~language
        self._found.end(rows, Ending.STOPPED, Reason.HARMFUL)
        self._found.end(rows[unlike & (meanings >= actions)], Ending.STOPPED, Reason.OTHER_MEANING)
        self._found.end(rows[unlike & (meanings < actions)], Ending.STOPPED, Reason.OTHER_ACTION)
        self._found.end(rows[hidden], Ending.STOPPED, Reason.UNSCANNED)
        self._found.end(rows[language], Ending.STOPPED, Reason.LANGUAGE_UNMEASURED)

    def _pass(self, rows: Ints, stops: Stops, change: PolicyComparison) -> None:
        """After a pass of the test: whether an answer leaves.

        Where it is none of those that were counted, it is a further one, judged by itself. It is
        known where it was asked for then: the answer without noise after any pass, the whole answer
        to a variant only where the test rests on the same draws.
        """
        of = self._of
        self._found.end(rows, Ending.LET_THROUGH, Reason.CERTIFIED)
        same_answer = not change.differs_in(Effect.ANSWER)
        if self._rules.answer is AnswerSource.CLEAN:
            further = np.ones(len(rows), dtype=np.bool_)
            asked = of.passed[rows] & same_answer
        else:
            shortens = np.array([one.shortens for one in of.tests], dtype=np.bool_)
            further = shortens[of.test[rows]]
            alike = same_answer and not change.judging
            asked = of.passed[rows] & (of.used[rows] == stops.samples) & alike
        self._found.leave_unknown(rows[further & ~asked], Need.CALLS)
        self._judge_further(rows[further & asked], change)

    def _judge_further(self, rows: Ints, change: PolicyComparison) -> None:
        """The further answer, as it was judged then; no score of it is kept."""
        left = self._of.before[rows] == Ending.LET_THROUGH
        harmful = self._of.reason[rows] == REASON_CODES[Reason.HARMFUL]
        cuts = self._of.threshold[rows] == (change.thresholds[0] or np.nan)
        sure = cuts & ((left & change.finds_no_more) | (harmful & change.finds_as_much))
        sure |= not change.judging
        self._found.keep(rows[sure])
        self._found.leave_unknown(rows[~sure], Need.ANSWERS)

    def _read_pictures(self, rows: Ints, change: PolicyComparison) -> None:
        """Passes of pictures whose writing the new policy would judge, and the old one did not."""
        reads = self._content["text_in_pictures"] != "off"
        if reads and (change.differs_in(Effect.TEXT) or not change.finds_no_more):
            passed = rows[self._found.after[rows] == Ending.LET_THROUGH]
            self._found.leave_unknown(passed, Need.PICTURES)
