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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.canonical import digest_json
from guardrail.engine.verdict import Reason
from guardrail.policy.compile import compile_policy
from guardrail.policy.content import policy_content
from guardrail.replay.comparison import PolicyComparison
from guardrail.replay.decisions import (
    HARMFUL,
    HARMLESS,
    MISSING,
    OTHER_ACTION,
    OTHER_MEANING,
    DrawFlag,
    Kind,
)
from guardrail.replay.effects import Effect
from guardrail.replay.endings import REASON_CODES, Ending, Need
from guardrail.replay.judged_draws import JudgedDraws, judge_draws
from guardrail.replay.outcomes import UNKNOWN_ANSWER, UNKNOWN_DRAW
from guardrail.replay.replay_arrays import ReplayArrays
from guardrail.replay.replayed_tests import ReplayedTests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.policy.schema import KnownPicturesSection, Policy
    from guardrail.replay.decisions import Ints, RecordedDecisions
    from guardrail.replay.policy_replay import PolicyReplay

__all__ = ["PolicyReplayer", "replay_policy"]

_MOST_JUDGINGS = 2
_JUDGED_ALONE = {
    HARMLESS: Reason.NO_IMAGE,
    OTHER_MEANING: Reason.OTHER_MEANING,
    OTHER_ACTION: Reason.OTHER_ACTION,
}


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
        self._counts: OrderedDict[str, JudgedDraws] = OrderedDict()

    def replay(self, policy: Policy) -> PolicyReplay:
        """See `replay_policy`."""
        of = self.decisions
        rules, content = compile_policy(policy), policy_content(policy)
        comparisons = tuple(
            None if old.content is None else PolicyComparison(old.content, content)
            for old in of.policies
        )
        found = ReplayArrays(of, rules)
        run = _Run(found, content, self._count(content, comparisons))
        for place, comparison in enumerate(comparisons):
            rows = np.flatnonzero(of.policy == place)
            if comparison is None:
                found.leave_unknown(rows, Need.POLICY)
            elif "threats" in content or "threats" in comparison.old:
                found.leave_unknown(rows, Need.VIEWS)
            else:
                run.decide(rows, comparison)
        run.release_known_pictures(policy.known_pictures)
        return found.finish(comparisons)

    def prepare(self, policy: Policy) -> None:
        """Computes the tests that `replay` will ask for; a new one takes seconds.

        May run beside `replay` in another thread. Raises ConfigError as `replay_policy`.
        """
        of = self.decisions
        rules, content = compile_policy(policy), policy_content(policy)
        tests = ReplayedTests(ReplayArrays(of, rules), content, JudgedDraws(of, of.outcome))
        for place, old in enumerate(of.policies):
            if old.content is not None:
                rows = np.flatnonzero((of.policy == place) & (of.kind == Kind.TEST))
                tests.choose(rows, PolicyComparison(old.content, content))

    def _count(self, content: Any, comparisons: Sequence[PolicyComparison | None]) -> JudgedDraws:
        advanced = content["advanced"]
        judging = [content["oracle"], content["failures"], content.get("files"), advanced["limits"],
                   advanced["sampling"]["judge_every_chars"]]  # fmt: skip
        key = digest_json(judging)
        counts = self._counts.get(key)
        if counts is None:
            counts = judge_draws(self.decisions, comparisons)
            if len(self._counts) >= _MOST_JUDGINGS:
                self._counts.popitem(last=False)
            self._counts[key] = counts
        return counts


class _Run:
    """Finds out how all decisions end."""

    def __init__(self, found: ReplayArrays, content: Any, draws: JudgedDraws) -> None:
        self._found = found
        self._of = found.of
        self._rules = found.rules
        self._content = content
        self._draws = draws
        self._tests = ReplayedTests(found, content, draws)

    def decide(self, rows: Ints, change: PolicyComparison) -> None:
        """All decisions of one recorded policy."""
        kind = self._of.kind[rows]
        fresh = rows[(kind == Kind.TEXT) | (kind == Kind.TEST)]
        self._decide_texts(fresh[self._of.kind[fresh] == Kind.TEXT])
        self._tests.decide(fresh[self._of.kind[fresh] == Kind.TEST], change)
        self._decide_others(rows[kind == Kind.OTHER], change)
        self._limit(fresh, change)
        self._repeat(rows[kind == Kind.REMEMBERED], change)

    def _decide_texts(self, rows: Ints) -> None:
        """One answer, judged by itself."""
        draw = self._of.starts[rows]
        outcome, flags = self._draws.outcome[draw], self._of.flags[draw]
        self._found.used[rows] = 1
        for code, reason in _JUDGED_ALONE.items():
            ending = Ending.LET_THROUGH if code == HARMLESS else Ending.STOPPED
            self._found.end(rows[outcome == code], ending, reason)
        harmful = outcome == HARMFUL
        unmeasured = (flags & DrawFlag.UNMEASURED) > 0
        unscanned = ((flags & DrawFlag.UNSCANNED) > 0) & ~unmeasured
        self._found.end(rows[harmful], Ending.STOPPED, Reason.HARMFUL)
        self._found.end(rows[harmful & unmeasured], Ending.STOPPED, Reason.LANGUAGE_UNMEASURED)
        self._found.end(rows[harmful & unscanned], Ending.STOPPED, Reason.UNSCANNED)
        oracle = (flags & DrawFlag.ORACLE_FAULT) > 0
        answered = (flags & DrawFlag.ANSWERED) > 0
        missing = outcome == MISSING
        self._found.end(rows[missing & ~oracle], Ending.FAULT, Reason.UPSTREAM_FAILED)
        self._found.fail_oracle(rows[missing & oracle], answered[missing & oracle])
        self._found.leave_unknown(rows[outcome == UNKNOWN_ANSWER], Need.ANSWERS)
        self._found.leave_unknown(rows[outcome == UNKNOWN_DRAW], Need.CALLS)

    def _decide_others(self, rows: Ints, change: PolicyComparison) -> None:
        """Decisions without a test: faults, limits, and blocks before anything was asked."""
        if change.decides_alike:
            self._found.keep(rows)
            return
        self._found.leave_unknown(rows, Need.FAULT)
        # The one call of a text fails whatever its answer would have counted as.
        if not change.differs_in(
            Effect.ORACLE, Effect.DRAWS, Effect.CALL_LIMITS, Effect.DECISION_LIMITS
        ):
            self._found.keep(rows[self._of.pictures[rows] == 0])
        undecided = self._of.before[rows] == Ending.UNDECIDED
        self._found.leave_unknown(rows[undecided], Need.CALLS)
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
            found = rows[self._of.reason[rows] == REASON_CODES[reason]]
            if same:
                self._found.keep(found)
            else:
                self._found.leave_unknown(found, Need.CALLS)

    def release_known_pictures(self, section: KnownPicturesSection) -> None:
        """Pictures on lists that the new policy does not name, or farther off than it allows.

        Nothing was asked about them. The lists of the old policy are in no record, as lists change
        without their policy.
        """
        of = self._of
        names = {Path(name).name for name in section.lists}
        stays = np.array([name in names for name in of.known_lists] + [False])[of.known_list]
        stays &= of.known_bits <= section.distance
        known = np.flatnonzero((of.known_list >= 0) & ~stays)
        self._found.leave_unknown(known[self._found.after[known] != Ending.UNKNOWN], Need.CALLS)

    def _limit(self, rows: Ints, change: PolicyComparison) -> None:
        """Decisions that another limit of time, calls or cost might have ended."""
        if change.decides_alike:
            return
        of = self._of
        rows = rows[self._found.after[rows] != Ending.UNKNOWN]
        tested = of.kind[rows] == Kind.TEST
        old_s, new_s = change.limits("deadline_s")
        late = (of.elapsed_s[rows] > new_s) & (new_s < old_s)
        same_test = not change.differs_in(Effect.TEST, Effect.SPENDING, Effect.MODE)
        # A test launches no draw beyond the look that decides. So one that rests on draws that
        # were made within a limit of calls keeps within it, unless it speculates.
        within = (self._found.used[rows] > 0) & (same_test or not self._rules.speculate)
        old, new = change.limits("max_calls")
        if new is not None and new < self._most_calls():
            late |= tested & ~(within & (old is not None and new >= old))
        old, new = change.limits("max_cost_usd_per_request")
        if new is not None:
            late |= tested & ~(within & (same_test and old is not None and new >= old))
        self._found.leave_unknown(rows[late], Need.CALLS)

    def _most_calls(self) -> int:
        """More calls than any decision makes: reference, samples and answer, all repeated."""
        reference = int(self._content["oracle"].get("n0", 0))
        return (reference + self._rules.max_samples + 1) * (1 + self._rules.retries)

    def _repeat(self, rows: Ints, change: PolicyComparison) -> None:
        """Verdicts that were given again: as their decision ends now."""
        of = self._of
        if change.differs_in(Effect.MEMORY):
            self._found.leave_unknown(rows, Need.CALLS)
            return
        source = of.source[rows]
        self._found.leave_unknown(rows[source < 0], Need.SOURCE)
        rows, source = rows[source >= 0], source[source >= 0]
        self._found.after[rows] = self._found.after[source]
        self._found.reason[rows] = self._found.reason[source]
        self._found.need[rows] = self._found.need[source]
        # Faults are not remembered: each of these would have been decided by itself.
        fell = (self._found.after[rows] == Ending.FAULT) & (of.before[rows] != Ending.FAULT)
        self._found.leave_unknown(rows[fell], Need.CALLS)
