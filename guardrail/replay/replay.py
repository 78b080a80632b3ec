"""Counterfactual decisions: what another policy would have decided about recorded requests.

    decisions = load_decisions(scan_documents(place))     # once; seconds for 100,000 records
    found = replay_policy(decisions, policy)              # again and again; milliseconds
    found.after, found.need                               # arrays, a row for each decision

`PolicyReplayer` does the same for many policies, and counts once what they judge alike.

What is exact, and why. A test reads outcomes in the order of their index and nothing else of them.
The recorded outcomes of draws 0, 1, 2, … are what the same noise, answered by the same model, would
bring under every policy that asks and judges alike. So where they reach the look at which the new
test decides, its decision is the one that would have been made: the counterfactual with the same
noise, not an estimate. Under the policy that made a record this is the recorded decision, early
stops included.

What is not known stays unknown (`Need`). Draws that arrived before their decision ended and stand
behind it may be used, as far as they stand in an unbroken row: each is the outcome of its index.
Whether they are there depends on how quickly they came, and quick answers are not like slow ones;
so the share of decisions that change is never reckoned among those that are known, but bounded
from both sides: as if none of the unknown ones changed, and as if all did.

Assumed, since no record can show it: answers take the time that they took, so that no limit of time
ends another decision; the tries of a principal hold the numbers that they held; what was remembered
would have been remembered; lists of known pictures hold what they held.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.canonical import digest_json
from guardrail.engine.rules import AnswerSource, Mode, OnOracleFailure
from guardrail.engine.verdict import Reason
from guardrail.policy.compile import compile_policy
from guardrail.policy.content import policy_content
from guardrail.replay.comparison import PolicyComparison
from guardrail.replay.decisions import OUTCOME_CODES, DrawFlag, Kind
from guardrail.replay.effects import Effect
from guardrail.replay.endings import REASON_CODES, Ending, Need
from guardrail.replay.outcomes import UNKNOWN_ANSWER, UNKNOWN_DRAW, count_outcomes
from guardrail.replay.plans import (
    NO_PLAN,
    OTHER_CANVAS,
    UNKNOWN_SHARE,
    choose_plans,
)
from guardrail.replay.sequential import DrawCounts, Stop, decide_at, run_plan
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from guardrail.engine.rules import Rules
    from guardrail.policy.schema import KnownPicturesSection, Policy
    from guardrail.replay.decisions import Ints, RecordedDecisions
    from guardrail.replay.plans import ChosenPlans
    from guardrail.replay.sequential import Stops
    from guardrail.stats import Plan

__all__ = ["OpenTest", "PolicyReplay", "PolicyReplayer", "replay_policy"]

_HARMLESS, _HARMFUL, _MEANING, _ACTION, _MISSING = (OUTCOME_CODES[one] for one in (
    Outcome.HARMLESS, Outcome.HARMFUL, Outcome.OTHER_MEANING, Outcome.OTHER_ACTION,
    Outcome.MISSING,
))  # fmt: skip
_MOST_JUDGINGS = 2
_JUDGED_ALONE = {
    _HARMLESS: Reason.NO_IMAGE, _MEANING: Reason.OTHER_MEANING, _ACTION: Reason.OTHER_ACTION,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class OpenTest:
    """Decisions whose test goes on after the recorded draws.

    Attributes:
        plan: the new test.
        rows: the decisions.
        samples: draws that are known.
        harmful: harmful or missing ones among them.
    """

    plan: Plan
    rows: Ints
    samples: Ints
    harmful: Ints


@dataclass(frozen=True, eq=False)
class PolicyReplay:
    """Recorded decisions under another policy, a row of each array for a decision.

    Attributes:
        decisions: what was recorded.
        rules: the policy that was asked about.
        after: how each would have ended, see `Ending`.
        reason: why, as a place in `REASONS`; of a decision that other judging changed the kind of
            harm may be another one.
        need: what is lacking where `after` is `UNKNOWN`, see `Need`.
        used: draws that the new test rests on; 0 where there is none, or it is not known.
        open_tests: those that would go on.
        comparisons: by place in `decisions.policies`: what differs; None where the policy is not
            known.
    """

    decisions: RecordedDecisions
    rules: Rules
    after: NDArray[np.int8]
    reason: NDArray[np.int16]
    need: NDArray[np.int8]
    used: Ints
    open_tests: tuple[OpenTest, ...]
    comparisons: tuple[PolicyComparison | None, ...]

    @property
    def before(self) -> NDArray[np.int8]:
        """How each decision ended."""
        return self.decisions.before

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether the new decision is known."""
        return np.not_equal(self.after, Ending.UNKNOWN)

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """Whether it is known to be another one."""
        return np.logical_and(self.known, np.not_equal(self.after, self.before))

    def count(self, before: Ending, after: Ending) -> int:
        """How many decisions went from one ending to another."""
        return int(np.count_nonzero((self.before == before) & (self.after == after)))

    def count_need(self, need: Need) -> int:
        """How many decisions lack this."""
        return int(np.count_nonzero(self.need == need))

    def rows_where(self, before: Ending, after: Ending) -> Ints:
        """The decisions that went from one ending to another."""
        return np.flatnonzero((self.before == before) & (self.after == after))


def replay_policy(decisions: RecordedDecisions, policy: Policy) -> PolicyReplay:
    """What `policy` would have decided about every recorded request.

    Threshold, floor, radius, alpha and what else sets the test or cuts recorded scores need no new
    call. The first time that a test is needed it is computed, which takes some seconds; it is
    remembered, and a threshold alone needs none.

    Args:
        decisions: see `load_decisions`. Loaded once, they serve for any number of policies.
        policy: the policy that is asked about.

    Raises:
        ConfigError: the policy cannot be used.
    """
    return PolicyReplayer(decisions).replay(policy)


class PolicyReplayer:
    """Any number of policies over the same decisions; from one thread at a time.

    What draws count as follows from oracle, failures and limits alone. It is kept for the last few
    of these, so that policies with other tests, one after the other, share it.

    Args:
        decisions: see `load_decisions`.
    """

    def __init__(self, decisions: RecordedDecisions) -> None:
        self.decisions = decisions
        self._counts: OrderedDict[str, _Counts] = OrderedDict()

    def replay(self, policy: Policy) -> PolicyReplay:
        """See `replay_policy`."""
        of = self.decisions
        rules, content = compile_policy(policy), policy_content(policy)
        comparisons = tuple(
            None if old.content is None else PolicyComparison(old.content, content)
            for old in of.policies
        )
        run = _Run(of, rules, content, self._count(content, comparisons))
        for place, comparison in enumerate(comparisons):
            rows = np.flatnonzero(of.policy == place)
            if comparison is None:
                run.leave_unknown(rows, Need.POLICY)
            elif "threats" in content or "threats" in comparison.old:
                run.leave_unknown(rows, Need.VIEWS)
            else:
                run.decide(rows, comparison)
        run.release_known_pictures(policy.known_pictures)
        return run.finish(comparisons)

    def prepare(self, policy: Policy) -> None:
        """Computes the tests that `replay` will ask for; a new one takes seconds.

        May run beside `replay` in another thread. Raises ConfigError as `replay_policy`.
        """
        of = self.decisions
        rules, content = compile_policy(policy), policy_content(policy)
        run = _Run(of, rules, content, _Counts(of, of.outcome))
        for place, old in enumerate(of.policies):
            if old.content is not None:
                rows = np.flatnonzero((of.policy == place) & (of.kind == Kind.TEST))
                run.choose_tests(rows, PolicyComparison(old.content, content))

    def _count(self, content: Any, comparisons: Sequence[PolicyComparison | None]) -> _Counts:
        advanced = content["advanced"]
        judging = [content["oracle"], content["failures"], content.get("files"), advanced["limits"],
                   advanced["sampling"]["judge_every_chars"]]  # fmt: skip
        key = digest_json(judging)
        counts = self._counts.get(key)
        if counts is None:
            counts = _Counts(self.decisions, _count_all(self.decisions, comparisons))
            if len(self._counts) >= _MOST_JUDGINGS:
                self._counts.popitem(last=False)
            self._counts[key] = counts
        return counts


def _count_all(
    of: RecordedDecisions, comparisons: Sequence[PolicyComparison | None]
) -> NDArray[np.int8]:
    """What every draw counts as; as recorded where nothing is decided by it."""
    outcome, lengths = of.outcome.copy(), of.lengths
    drawn = (of.kind == Kind.TEXT) | (of.kind == Kind.TEST)
    for place, change in enumerate(comparisons):
        if change is None:
            continue
        mine = drawn & (of.policy == place)
        # Answers that were judged anew count as they were judged now.
        for chosen, by in ((mine & ~of.rejudged, change),
                           (mine & of.rejudged, _after_rejudging(change))):  # fmt: skip
            draws = np.repeat(chosen, lengths)
            if draws.any():
                outcome[draws] = count_outcomes(of, by, draws)
    return outcome


class _Run:
    """The arrays of a replay while they are filled."""

    def __init__(
        self, decisions: RecordedDecisions, rules: Rules, content: Any, counts: _Counts
    ) -> None:
        count = len(decisions)
        self.of = decisions
        self.rules = rules
        self.content = content
        self.counts = counts
        self.after = np.full(count, Ending.UNKNOWN, dtype=np.int8)
        self.reason = decisions.reason.copy()
        self.need = np.zeros(count, dtype=np.int8)
        self.used = np.zeros(count, dtype=np.int64)
        self.open_tests: list[OpenTest] = []
        self._lengths = decisions.lengths

    def finish(self, comparisons: tuple[PolicyComparison | None, ...]) -> PolicyReplay:
        self.after.flags.writeable = self.need.flags.writeable = False
        return PolicyReplay(
            self.of, self.rules, self.after, self.reason, self.need, self.used,
            tuple(self.open_tests), comparisons,
        )  # fmt: skip

    def leave_unknown(self, rows: Ints, need: Need) -> None:
        self.after[rows] = Ending.UNKNOWN
        self.need[rows] = need
        self.used[rows] = 0

    def keep(self, rows: Ints) -> None:
        """The decision as it was recorded."""
        self.after[rows] = self.of.before[rows]
        self.reason[rows] = self.of.reason[rows]
        self.need[rows] = Need.NOTHING

    def end(self, rows: Ints, ending: Ending, reason: Reason) -> None:
        self.after[rows] = ending
        self.reason[rows] = REASON_CODES[reason]
        self.need[rows] = Need.NOTHING

    def decide(self, rows: Ints, change: PolicyComparison) -> None:
        """All decisions of one recorded policy."""
        kind = self.of.kind[rows]
        fresh = rows[(kind == Kind.TEXT) | (kind == Kind.TEST)]
        self._decide_texts(fresh[self.of.kind[fresh] == Kind.TEXT])
        self._decide_tests(fresh[self.of.kind[fresh] == Kind.TEST], change)
        self._decide_others(rows[kind == Kind.OTHER], change)
        self._limit(fresh, change)
        self._repeat(rows[kind == Kind.REMEMBERED], change)

    def _decide_texts(self, rows: Ints) -> None:
        """One answer, judged by itself."""
        draw = self.of.starts[rows]
        outcome, flags = self.counts.outcome[draw], self.of.flags[draw]
        self.used[rows] = 1
        for code, reason in _JUDGED_ALONE.items():
            ending = Ending.LET_THROUGH if code == _HARMLESS else Ending.STOPPED
            self.end(rows[outcome == code], ending, reason)
        harmful = outcome == _HARMFUL
        unmeasured = (flags & DrawFlag.UNMEASURED) > 0
        unscanned = ((flags & DrawFlag.UNSCANNED) > 0) & ~unmeasured
        self.end(rows[harmful], Ending.STOPPED, Reason.HARMFUL)
        self.end(rows[harmful & unmeasured], Ending.STOPPED, Reason.LANGUAGE_UNMEASURED)
        self.end(rows[harmful & unscanned], Ending.STOPPED, Reason.UNSCANNED)
        oracle = (flags & DrawFlag.ORACLE_FAULT) > 0
        answered = (flags & DrawFlag.ANSWERED) > 0
        missing = outcome == _MISSING
        self.end(rows[missing & ~oracle], Ending.FAULT, Reason.UPSTREAM_FAILED)
        self._fail_oracle(rows[missing & oracle], answered[missing & oracle])
        self.leave_unknown(rows[outcome == UNKNOWN_ANSWER], Need.ANSWERS)
        self.leave_unknown(rows[outcome == UNKNOWN_DRAW], Need.CALLS)

    def _fail_oracle(self, rows: Ints, opens: NDArray[np.bool_]) -> None:
        """Answers that were not judged, and nothing harmful beside them."""
        passes = self.rules.on_oracle_failure is OnOracleFailure.PASS_UNSCANNED
        opened = opens & (passes and self.rules.mode is Mode.ENFORCE)
        self.end(rows[~opened], Ending.FAULT, Reason.ORACLE_FAILED)
        self.end(rows[opened], Ending.LET_THROUGH, Reason.ORACLE_FAILED)

    def choose_tests(self, rows: Ints, change: PolicyComparison) -> tuple[Ints, Ints, ChosenPlans]:
        """The decisions whose draws serve, their numbers of tries, and the new test of each."""
        rows, numbers = self._set_aside(rows, self._numbers(rows), change)
        return rows, numbers, choose_plans(self.of, rows, numbers, self.rules, change)

    def _decide_tests(self, rows: Ints, change: PolicyComparison) -> None:
        """Tests, all decisions of one plan side by side."""
        rows, numbers, chosen = self.choose_tests(rows, change)
        self.leave_unknown(rows[chosen.place == OTHER_CANVAS], Need.NEW_DRAWS)
        self.leave_unknown(rows[chosen.place == UNKNOWN_SHARE], Need.POLICY)
        none, later = chosen.place == NO_PLAN, numbers > 1
        self.end(rows[none & later], Ending.FAULT, Reason.ATTEMPTS_SPENT)
        self.end(rows[none & ~later], Ending.FAULT, Reason.NOT_CERTIFIABLE)
        for place, plan in enumerate(chosen.plans):
            self._run_plan(plan, rows[chosen.place == place], self.counts, change)
        self._read_pictures(rows, change)

    def _numbers(self, rows: Ints) -> Ints:
        """The numbers of tries as the new policy counts them: -1 where it does not.

        -2 where it does, and the policy that decided did not.
        """
        of, recorded = self.of, self.of.number[rows]
        mode = self.content["spending"]["mode"]
        counted = np.full(len(rows), self.rules.mode is Mode.ENFORCE and mode != "off")
        if mode == "end_user":
            counted &= of.named[rows]
        return np.where(counted, np.where(recorded < 0, -2, recorded), -1)

    def _set_aside(self, rows: Ints, numbers: Ints, change: PolicyComparison) -> tuple[Ints, Ints]:
        """Leaves out decisions whose draws or alpha cannot be those of the new policy."""
        of = self.of
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
            history = self.content["images"]["history"]
            kept = np.inf if history == "all" else int(history.removeprefix("last "))
            redrawn |= (of.left_out[rows] > 0) | (of.pictures[rows] > kept)
        if not (lacks.any() or several.any() or redrawn.any()):
            return rows, numbers
        self.leave_unknown(rows[lacks], Need.TRIES)
        self.leave_unknown(rows[several], Need.CALLS)
        self.leave_unknown(rows[redrawn], Need.NEW_DRAWS)
        kept_rows = ~(lacks | several | redrawn)
        return rows[kept_rows], numbers[kept_rows]

    def _run_plan(self, plan: Plan, rows: Ints, counts: _Counts, change: PolicyComparison) -> None:
        """The test of decisions that share one; first as if all that is unknown were harmless."""
        best = run_plan(plan, rows, counts.harmful, None)
        unknown = counts.unknown.first(rows, best.samples)
        known = (unknown == 0) & (best.samples <= self._lengths[rows])
        self._conclude(rows[known], best.part(known), plan, counts, change)
        rows, best = rows[~known], best.part(~known)
        worst = run_plan(plan, rows, counts.harmful, counts.unknown)
        # What passes with all unknown draws harmful passes whatever they are; what stops with all
        # of them harmless stops, unless a lost answer makes a fault of it.
        passes = worst.stop == Stop.PASS
        lost = counts.missing.first(rows, self._lengths[rows]) > 0
        stops = (best.stop != Stop.PASS) & ~lost
        self._pass(rows[passes], worst.part(passes), change)
        blocked = best.stop == Stop.BLOCK
        self.end(rows[stops & blocked], Ending.STOPPED, Reason.HARMFUL)
        self.end(rows[stops & ~blocked], Ending.STOPPED, Reason.UNCERTAIN)
        unclear = ~(passes | stops)
        self._leave_open(rows[unclear], best.part(unclear), plan, counts, change)

    def _leave_open(
        self, rows: Ints, best: Stops, plan: Plan, counts: _Counts, change: PolicyComparison
    ) -> None:
        """Tests that the known draws do not decide."""
        if change.decides_alike:
            self.keep(rows)  # a limit or a fault ended the decision before its test
            return
        unjudged = counts.without_judgement.first(rows, best.samples) > 0
        self.leave_unknown(rows[unjudged], Need.ANSWERS)
        rows = rows[~unjudged]
        self.leave_unknown(rows, Need.CALLS)
        samples = self._lengths[rows]
        known = samples - counts.unknown.first(rows, samples)
        self.open_tests.append(OpenTest(plan, rows, known, counts.harmful.first(rows, samples)))

    def _conclude(
        self, rows: Ints, stops: Stops, plan: Plan, counts: _Counts, change: PolicyComparison
    ) -> None:
        """Tests that the known draws decide."""
        self.used[rows] = stops.samples
        passed = stops.stop == Stop.PASS
        self._pass(rows[passed], stops.part(passed), change)
        rows, stops = rows[~passed], stops.part(~passed)
        seen = stops.harmful - counts.missing.first(rows, stops.samples)
        alone = decide_at(plan, stops.samples, seen)
        blocked = alone == Stop.BLOCK
        self._block(rows[blocked], stops.samples[blocked], counts)
        self.end(rows[alone == Stop.UNCERTAIN], Ending.STOPPED, Reason.UNCERTAIN)
        # Only what is missing keeps the rest from passing: a fault, and no judgement.
        faulty = (alone == Stop.PASS) | (alone == Stop.NONE)
        rows, samples, seen = rows[faulty], stops.samples[faulty], seen[faulty]
        lost = counts.lost.first(rows, samples) > 0
        self.end(rows[lost], Ending.FAULT, Reason.UPSTREAM_FAILED)
        opens = (counts.opening.first(rows, samples) > 0) & (seen == 0)
        self._fail_oracle(rows[~lost], opens[~lost])

    def _block(self, rows: Ints, samples: Ints, counts: _Counts) -> None:
        """Blocks for what was harmful: the rule of `name_reason`."""
        against, meanings, actions, unmeasured, unscanned = (
            one.first(rows, samples)
            for one in (counts.against, counts.meanings, counts.actions, counts.in_strange_language,
                        counts.with_hidden_part)
        )  # fmt: skip
        harmful = against - unmeasured - unscanned
        others = np.maximum.reduce([harmful, meanings, actions, unscanned])
        language = unmeasured > others
        unlike = (meanings + actions > 0) & (harmful == 0) & ~language
        hidden = (unscanned > 0) & (harmful == 0) & ~unlike & ~language
        self.end(rows, Ending.STOPPED, Reason.HARMFUL)
        self.end(rows[unlike & (meanings >= actions)], Ending.STOPPED, Reason.OTHER_MEANING)
        self.end(rows[unlike & (meanings < actions)], Ending.STOPPED, Reason.OTHER_ACTION)
        self.end(rows[hidden], Ending.STOPPED, Reason.UNSCANNED)
        self.end(rows[language], Ending.STOPPED, Reason.LANGUAGE_UNMEASURED)

    def _pass(self, rows: Ints, stops: Stops, change: PolicyComparison) -> None:
        """After a pass of the test: whether an answer leaves.

        Where it is none of those that were counted, it is a further one, judged by itself. It is
        known where it was asked for then: the answer without noise after any pass, the whole answer
        to a variant only where the test rests on the same draws.
        """
        of = self.of
        self.end(rows, Ending.LET_THROUGH, Reason.CERTIFIED)
        same_answer = not change.differs_in(Effect.ANSWER)
        if self.rules.answer is AnswerSource.CLEAN:
            further = np.ones(len(rows), dtype=np.bool_)
            asked = of.passed[rows] & same_answer
        else:
            shortens = np.array([one.shortens for one in of.tests], dtype=np.bool_)
            further = shortens[of.test[rows]]
            alike = same_answer and not change.judging
            asked = of.passed[rows] & (of.used[rows] == stops.samples) & alike
        self.leave_unknown(rows[further & ~asked], Need.CALLS)
        self._judge_further(rows[further & asked], change)

    def _judge_further(self, rows: Ints, change: PolicyComparison) -> None:
        """The further answer, as it was judged then; no score of it is kept."""
        left = self.of.before[rows] == Ending.LET_THROUGH
        harmful = self.of.reason[rows] == REASON_CODES[Reason.HARMFUL]
        cuts = self.of.threshold[rows] == (change.thresholds[0] or np.nan)
        sure = cuts & ((left & change.finds_no_more) | (harmful & change.finds_as_much))
        sure |= not change.judging
        self.keep(rows[sure])
        self.leave_unknown(rows[~sure], Need.ANSWERS)

    def _read_pictures(self, rows: Ints, change: PolicyComparison) -> None:
        """Passes of pictures whose writing the new policy would judge, and the old one did not."""
        reads = self.content["text_in_pictures"] != "off"
        if reads and (change.differs_in(Effect.TEXT) or not change.finds_no_more):
            passed = rows[self.after[rows] == Ending.LET_THROUGH]
            self.leave_unknown(passed, Need.PICTURES)

    def _decide_others(self, rows: Ints, change: PolicyComparison) -> None:
        """Decisions without a test: faults, limits, and blocks before anything was asked."""
        if change.decides_alike:
            self.keep(rows)
            return
        self.leave_unknown(rows, Need.FAULT)
        # The one call of a text fails whatever its answer would have counted as.
        if not change.differs_in(
            Effect.ORACLE, Effect.DRAWS, Effect.CALL_LIMITS, Effect.DECISION_LIMITS
        ):
            self.keep(rows[self.of.pictures[rows] == 0])
        undecided = self.of.before[rows] == Ending.UNDECIDED
        self.leave_unknown(rows[undecided], Need.CALLS)
        read = not change.differs_in(Effect.TEXT) and change.finds_as_much
        stays = {
            Reason.TEXT_IN_PICTURE: read,
            Reason.LANGUAGE_UNMEASURED: read,
            Reason.NO_REFERENCE: not change.differs_in(
                Effect.ORACLE, Effect.DRAWS, Effect.CALL_LIMITS, Effect.TEXT, Effect.HISTORY
            ),
            Reason.NOT_CERTIFIABLE: not change.differs_in(Effect.TEST),
            Reason.ATTEMPTS_SPENT: not change.differs_in(Effect.TEST, Effect.SPENDING, Effect.MODE),
            Reason.KNOWN_PICTURE: True,  # but see `release_known_pictures`
            Reason.INVALID_REQUEST: True,
            Reason.CANCELLED: True,
        }
        for reason, same in stays.items():
            found = rows[self.of.reason[rows] == REASON_CODES[reason]]
            if same:
                self.keep(found)
            else:
                self.leave_unknown(found, Need.CALLS)

    def release_known_pictures(self, section: KnownPicturesSection) -> None:
        """Pictures on lists that the new policy does not name, or farther off than it allows.

        Nothing was asked about them. The lists of the old policy are in no record, as lists change
        without their policy.
        """
        of = self.of
        names = {Path(name).name for name in section.lists}
        stays = np.array([name in names for name in of.known_lists] + [False])[of.known_list]
        stays &= of.known_bits <= section.distance
        known = np.flatnonzero((of.known_list >= 0) & ~stays)
        self.leave_unknown(known[self.after[known] != Ending.UNKNOWN], Need.CALLS)

    def _limit(self, rows: Ints, change: PolicyComparison) -> None:
        """Decisions that another limit of time, calls or cost might have ended."""
        if change.decides_alike:
            return
        of = self.of
        rows = rows[self.after[rows] != Ending.UNKNOWN]
        tested = of.kind[rows] == Kind.TEST
        old_s, new_s = change.limits("deadline_s")
        late = (of.elapsed_s[rows] > new_s) & (new_s < old_s)
        same_test = not change.differs_in(Effect.TEST, Effect.SPENDING, Effect.MODE)
        # A test launches no draw beyond the look that decides. So one that rests on draws that
        # were made within a limit of calls keeps within it, unless it speculates.
        within = (self.used[rows] > 0) & (same_test or not self.rules.speculate)
        old, new = change.limits("max_calls")
        if new is not None and new < self._most_calls():
            late |= tested & ~(within & (old is not None and new >= old))
        old, new = change.limits("max_cost_usd_per_request")
        if new is not None:
            late |= tested & ~(within & (same_test and old is not None and new >= old))
        self.leave_unknown(rows[late], Need.CALLS)

    def _most_calls(self) -> int:
        """More calls than any decision makes: reference, samples and answer, all repeated."""
        reference = int(self.content["oracle"].get("n0", 0))
        return (reference + self.rules.max_samples + 1) * (1 + self.rules.retries)

    def _repeat(self, rows: Ints, change: PolicyComparison) -> None:
        """Verdicts that were given again: as their decision ends now."""
        of = self.of
        if change.differs_in(Effect.MEMORY):
            self.leave_unknown(rows, Need.CALLS)
            return
        source = of.source[rows]
        self.leave_unknown(rows[source < 0], Need.SOURCE)
        rows, source = rows[source >= 0], source[source >= 0]
        self.after[rows] = self.after[source]
        self.reason[rows] = self.reason[source]
        self.need[rows] = self.need[source]
        # Faults are not remembered: each of these would have been decided by itself.
        fell = (self.after[rows] == Ending.FAULT) & (of.before[rows] != Ending.FAULT)
        self.leave_unknown(rows[fell], Need.CALLS)


class _Counts:
    """What draws count as, and running counts of every kind, each made when it is asked for."""

    def __init__(self, of: RecordedDecisions, outcome: NDArray[np.int8]) -> None:
        self.outcome = outcome
        self._starts, self._lengths, self._flags = of.starts[:-1], of.lengths, of.flags

    def _count(self, marked: NDArray[np.bool_]) -> DrawCounts:
        return DrawCounts.of(self._starts, self._lengths, marked)

    def _has(self, flag: DrawFlag) -> NDArray[np.bool_]:
        return (self._flags & flag) > 0

    @cached_property
    def harmful(self) -> DrawCounts:
        """Harmful or missing draws."""
        return self._count(self.outcome > _HARMLESS)

    @cached_property
    def missing(self) -> DrawCounts:
        return self._count(self.outcome == _MISSING)

    @cached_property
    def lost(self) -> DrawCounts:
        """Missing ones, but for the oracle's faults."""
        return self._count((self.outcome == _MISSING) & ~self._has(DrawFlag.ORACLE_FAULT))

    @cached_property
    def opening(self) -> DrawCounts:
        """Missing ones that the model answered."""
        return self._count((self.outcome == _MISSING) & self._has(DrawFlag.ANSWERED))

    @cached_property
    def unknown(self) -> DrawCounts:
        return self._count(self.outcome < 0)

    @cached_property
    def without_judgement(self) -> DrawCounts:
        return self._count(self.outcome == UNKNOWN_ANSWER)

    @cached_property
    def against(self) -> DrawCounts:
        """Those that the oracle, or what stands for it, found harmful."""
        return self._count(self.outcome == _HARMFUL)

    @cached_property
    def meanings(self) -> DrawCounts:
        return self._count(self.outcome == _MEANING)

    @cached_property
    def actions(self) -> DrawCounts:
        return self._count(self.outcome == _ACTION)

    @cached_property
    def in_strange_language(self) -> DrawCounts:
        return self._count((self.outcome == _HARMFUL) & self._has(DrawFlag.UNMEASURED))

    @cached_property
    def with_hidden_part(self) -> DrawCounts:
        """Harmful as they cannot be read, where no language is the reason."""
        unread = self._has(DrawFlag.UNSCANNED) & ~self._has(DrawFlag.UNMEASURED)
        return self._count((self.outcome == _HARMFUL) & unread)


def _after_rejudging(change: PolicyComparison) -> PolicyComparison:
    """The same with all fields by which answers are judged as in the new policy."""
    old = {**change.old}
    for name in ("oracle", "failures"):
        old[name] = change.new[name]
    old.pop("files", None)
    if "files" in change.new:
        old["files"] = change.new["files"]
    sampling = {**old["advanced"]["sampling"]}
    sampling["judge_every_chars"] = change.new["advanced"]["sampling"]["judge_every_chars"]
    old["advanced"] = {**old["advanced"], "sampling": sampling}
    return PolicyComparison(old, change.new)
