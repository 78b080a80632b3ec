"""Published tests for "is the harmless rate above q_required?", each written from its paper.

Every one is evaluated exactly, as a plan over (samples, harmful) or in closed form; nothing here
is simulated. Where a paper leaves a choice, the one that needs fewer calls is made for it, and
said so.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from guardrail.stats.betting import betting_plan
from guardrail.stats.binomial import harmless_rate_upper
from guardrail.stats.fixed import most_harmful, smallest_fixed
from guardrail.stats.plans import Plan, Walk, pass_upper


@dataclass(frozen=True)
class Question:
    """One design problem; `horizon` is where tests without an end of their own are cut."""

    q_required: float
    alpha: float
    q1: float
    power: float = 0.99

    @property
    def smallest(self) -> tuple[int, int]:
        return smallest_fixed(self.q_required, self.alpha, self.q1, self.power)

    @property
    def horizon(self) -> int:
        return min(max(8 * self.smallest[0], 400), 20_000)


@dataclass(frozen=True)
class Rule:
    """A table as in `Plan`, but free to be invalid, so that an invalid method can be shown."""

    looks: tuple[int, ...]
    most: tuple[int, ...]
    least: tuple[int, ...]

    def walk(self, q: float) -> Walk:
        return Plan.walk(self._as_plan(), q)

    def false_pass(self, q_required: float) -> float:
        return pass_upper(self.looks, self.most, self.least, q_required)

    def _as_plan(self) -> Plan:
        plan = object.__new__(Plan)
        for name, row in (
            ("looks", self.looks),
            ("pass_at_most", self.most),
            ("block_at_least", self.least),
        ):
            object.__setattr__(plan, name, row)
        return plan


def fixed_plain(question: Question) -> tuple[int, int]:
    """Clopper–Pearson on the smallest n with the power, all n drawn: (n, most harmful)."""
    return question.smallest


def betting(question: Question, *, halved: bool = False) -> Rule:
    """Voracek (arXiv 2406.17830): the Krichevsky–Trofimov bettor against q_required.

    His Algorithm keeps logQ, the log-probability of the outcomes under the KT forecaster
    ((A + ½)/(N + 1)), and decides once logQ - logP exceeds the threshold with the share on that
    side of q_required. In closed form logQ = ln B(k + ½, n - k + ½)/B(½, ½).

    Passing needs wealth 1/alpha, which Ville's inequality makes valid. `halved` is the wealth
    1/(2 alpha) of the author's published code, counting on the wealth of the wrong side; its
    exact false-pass probability says whether that holds. He blocks at the same alpha; here at
    1 - power, which saves him calls.
    """
    gift = math.log(2.0) if halved else 0.0
    n = np.arange(1, question.horizon + 1)
    passing = _fewest_to_refute(n, question.q_required, -math.log(question.alpha) - gift)
    blocking = _fewest_to_refute(
        n, 1.0 - question.q_required, -math.log(1.0 - question.power) - gift
    )
    return _ended(n.tolist(), (n - passing).tolist(), blocking.tolist())


def _fewest_to_refute(n: np.ndarray, q: float, limit: float) -> np.ndarray:
    """For each n the fewest k >= q · n with wealth above the limit; n + 1 where none."""
    low, high = np.ceil(q * n).astype(int) - 1, n + 1
    while np.any(high - low > 1):
        k = (low + high) // 2
        wealth = special.betaln(k + 0.5, n - k + 0.5) - math.log(math.pi)
        wealth -= special.xlogy(k, q) + special.xlog1py(n - k, -q)
        unsettled = high - low > 1
        high = np.where(unsettled & (wealth > limit), k, high)
        low = np.where(unsettled & (wealth <= limit), k, low)
    return high


def union_bound(question: Question) -> Rule:
    """Voracek (arXiv 2406.17830): Clopper–Pearson at epochs growing by 1.1, alpha shared out.

    Epoch t (samples first exceeding 1.1^(10 + t)) spends 5 alpha / ((t + 4)(t + 5)), which sums
    to alpha over t = 1, 2, …; a verdict that the next epochs cannot change is given at once.
    Blocking spends 1 - power in the same way.
    """
    horizon = question.horizon
    looks = np.arange(1, horizon + 1)
    harmless_needed = np.full(horizon + 1, 10**9)
    harmful_needed = np.full(horizon + 1, 10**9)
    k = 11
    for n in range(1, horizon + 1):
        if n > 1.1**k:
            k += 1
            share = 5.0 / ((k - 11 + 4) * (k - 11 + 5))
            q = question.q_required
            harmless_needed[n] = stats.binom.isf(question.alpha * share, n, q) + 1
            harmful_needed[n] = stats.binom.isf((1.0 - question.power) * share, n, 1.0 - q) + 1
    harmless_needed = np.minimum.accumulate(harmless_needed[::-1])[::-1]
    harmful_needed = np.minimum.accumulate(harmful_needed[::-1])[::-1]
    most = [max(int(n - harmless_needed[n]), -1) for n in looks]
    least = [min(int(harmful_needed[n]), int(n) + 1) for n in looks]
    return _ended(looks.tolist(), most, least)


def sprt(question: Question) -> Rule:
    """Wald (1945): likelihood ratio of q1 to q_required, between 1 - power and 1/alpha.

    Wald's own thresholds, (1 - beta)/alpha and beta/(1 - alpha), keep alpha only approximately;
    1/alpha keeps it exactly (Ville), and beta keeps the power. Applies where q1 < 1 is known.
    """
    q0, q1 = question.q_required, question.q1
    per_good, per_bad = math.log(q1 / q0), math.log((1.0 - q1) / (1.0 - q0))
    looks = range(1, question.horizon + 1)
    most, least = [], []
    for n in looks:
        # log ratio = (n - h) per_good + h per_bad, falling in h
        slope = per_good - per_bad
        passes = math.floor((n * per_good + math.log(question.alpha)) / slope - 1e-12)
        blocks = math.ceil((n * per_good - math.log(1.0 - question.power)) / slope + 1e-12)
        most.append(max(min(passes, n), -1))
        least.append(max(min(blocks, n + 1), most[-1] + 1))
    return _ended(list(looks), most, least)


def one_sided_betting(question: Question) -> Rule:
    """This package's one-sided bettor (`guardrail.stats.betting_plan`), for comparison."""
    plan = betting_plan(
        question.q_required,
        question.alpha,
        block_alpha=1.0 - question.power,
        max_samples=question.horizon,
    )
    return Rule(plan.looks, plan.pass_at_most, plan.block_at_least)


def _ended(looks: list[int], most: list[int], least: list[int]) -> Rule:
    """Cut at the last look: what has not passed there is blocked."""
    return Rule(tuple(looks), tuple(most), (*least[:-1], most[-1] + 1))


@dataclass(frozen=True)
class Staged:
    """Horvath et al. (arXiv 2106.06946), CertifyAdp: fresh draws at every stage.

    Stage i draws n_i anew and passes if the Clopper–Pearson lower bound at alpha/s reaches
    q_required; except at the last stage it stops without a pass if the upper bound at
    beta/(s - 1) falls below q_required.
    """

    sizes: tuple[int, ...]
    alpha: float
    beta: float

    def limits(self, q_required: float) -> list[tuple[int, int]]:
        """Per stage: the most harmful that pass, and the fewest that end it."""
        rows = []
        for i, n in enumerate(self.sizes):
            most = most_harmful(n, q_required, self.alpha / len(self.sizes))
            last = i == len(self.sizes) - 1
            rows.append((most, most + 1 if last else self._fewest_to_stop(n, q_required)))
        return rows

    def _fewest_to_stop(self, n: int, q_required: float) -> int:
        share = self.beta / (len(self.sizes) - 1)
        low, high = 0, n + 1
        while low < high:
            middle = (low + high) // 2
            stops = harmless_rate_upper(n - middle, n, share) < q_required
            low, high = (low, middle) if stops else (middle + 1, high)
        return low

    def evaluate(self, q: float, q_required: float) -> tuple[float, float]:
        """(mean calls, P(pass)) at harmless rate q."""
        reach, calls, passes = 1.0, 0.0, 0.0
        for n, (most, least) in zip(self.sizes, self.limits(q_required), strict=True):
            calls += reach * n
            ends = float(stats.binom.sf(least - 1, n, 1.0 - q))
            good = float(stats.binom.cdf(most, n, 1.0 - q)) if most >= 0 else 0.0
            passes += reach * good
            reach *= max(1.0 - good - ends, 0.0)
        return calls, passes


def staged_as_published(question: Question) -> Staged:
    """The paper's stages for CIFAR-10 and ImageNet, with its beta of 1e-4."""
    return Staged((100, 1_000, 10_000, 120_000), question.alpha, 1e-4)


def staged_tuned(question: Question) -> Staged:
    """Its best two or three stages for this question, on a grid, at power and beta = 1 - power."""
    n, _ = question.smallest
    first = [round(n * f) for f in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    then = [round(n * f) for f in (0.8, 1.0, 1.15, 1.3, 1.6, 2.0, 2.5)]
    options = [(a, b) for a in first for b in then]
    options += [(a, b, c) for a, b, c in itertools.product(first, then[:5], then[1::2]) if c >= b]
    best, least = None, math.inf
    for sizes in options:
        staged = Staged(sizes, question.alpha, 1.0 - question.power)
        calls, passes = staged.evaluate(question.q1, question.q_required)
        if passes >= question.power and calls < least:
            best, least = staged, calls
    return best or Staged((n,), question.alpha, 1.0)
