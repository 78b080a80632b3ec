"""Runs the tests of a request and of its views, see `threats.py` and `view_tests.py`."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.budget import BudgetSpentError
from guardrail.engine.certifier import Certifier
from guardrail.engine.decision_tests import DecisionTests, ViewTest
from guardrail.engine.fanout import fan_out
from guardrail.engine.plan import plan_for, view_plan_for
from guardrail.engine.suffixes import find_ends, last_user_text
from guardrail.engine.threats import SuffixUnit, plan_views
from guardrail.engine.view_chats import view_chat
from guardrail.engine.view_pictures import ViewPictures
from guardrail.engine.view_tests import JointTest
from guardrail.errors import CertificationError, RequestError
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.sampler import Sampler
    from guardrail.engine.threats import Threats, View
    from guardrail.engine.verdict import Sample
    from guardrail.images.codec import Picture
    from guardrail.images.keys import NoiseKey
    from guardrail.stats import Decision

__all__ = ["JointOutcome", "TestRuns", "plan_runs", "run_jointly"]


@dataclass(frozen=True, slots=True)
class TestRuns:
    """All tests of a decision, and who asks for the draws of each.

    Attributes:
        tests: see there.
        text: what a suffix would stand behind.
        ends: how many characters of it each view of the suffix has, by what is cut off.
    """

    __test__ = False  # no class of tests, whatever its name begins with

    tests: DecisionTests
    text: str = ""
    ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class JointOutcome:
    """How the tests ended.

    Attributes:
        decision: None where a limit was reached before.
        stopped: the view whose test ended without a pass; None where that was the request's own, or
            none.
        samples: of the request itself, in index order.
        view_samples: of the view that stopped, likewise.
        harm_in_views: whether a judged answer to any view was harmful.
    """

    decision: Decision | None
    stopped: ViewTest | None
    samples: tuple[Sample, ...]
    view_samples: tuple[Sample, ...]
    harm_in_views: bool


def plan_runs(
    sampler: Sampler, request: PreparedRequest, *, alpha: float | None = None
) -> TestRuns:
    """All tests that a request must pass, each at the decision's own alpha. May compute plans.

    Args:
        sampler: asks about the request itself.
        request: its sizes.
        alpha: failure probability of this decision where it is smaller than the policy's.

    Raises:
        CertificationError: no test within `max_samples` can pass with the wanted power.
        RequestError: a picture is too small for its windows or masks.
    """
    rules, threats = sampler.rules, sampler.rules.threats
    if threats is None:
        plan = plan_for(rules, request.geometry, alpha=alpha)
        return TestRuns(DecisionTests(Certifier(plan, speculate=rules.speculate)))
    suffix = threats.suffix
    text = "" if suffix is None else last_user_text(sampler.chat, suffix.unit) or ""
    ends = () if suffix is None else find_ends(text, suffix)
    length = None if suffix is None else _measure_text(text, suffix.unit)
    views = _plan_views(threats, request, length)
    tests = len(views) if request.canvases else len(views) + 1
    view_plan = view_plan_for(rules, threats, max(tests, 1), alpha=alpha)
    whole = plan_for(rules, request.geometry, alpha=alpha) if request.canvases else view_plan
    certifier, pictured = Certifier(whole, speculate=rules.speculate), bool(request.canvases)
    # Without pictures, a view that asks just what the request asks is tested like it: once.
    is_own = ends[:1] == (len(text),) and view_chat(sampler.chat, threats) == sampler.chat
    own = views[0] if is_own and not pictured else None
    runs = tuple(ViewTest(view, Certifier(view_plan)) for view in views if view != own)
    found = DecisionTests(certifier, runs, view_plan, length, pictured, own)
    return TestRuns(found, text, ends)


async def run_jointly(
    runs: TestRuns,
    request: PreparedRequest,
    pictures: Sequence[Picture],
    sampler: Sampler,
    key: NoiseKey,
    deadline: float,
) -> JointOutcome:
    """Draws until one test ends without a pass, all have passed, or a limit is reached.

    Raises:
        GuardrailError: what `Sampler.sample` raises.
    """
    rules, tests = sampler.rules, runs.tests
    joint = JointTest([tests.whole, *(one.certifier for one in tests.views)])
    samples: dict[int, Sample] = {}
    line, samplers = itertools.count(), _ViewSamplers(sampler, runs)
    of_views = ViewPictures(request, pictures)

    async def draw(number: int) -> Sample:
        order, (place, index) = next(line), joint.locate(number)
        if place == 0:
            shown = await request.draw_variant(index, rules, key)
            seed, asked = request.derive_seed(index, rules, key), sampler
        else:
            view, asked = tests.views[place - 1].view, samplers.of(place - 1)
            shown = await of_views.show(view)
            seed = request.derive_seed(index, rules, key, view)
        return await asked.sample(number, shown, seed=seed, variant=True, order=order)

    try:
        async with asyncio.timeout_at(deadline):
            await fan_out(joint, draw, max_parallel=rules.max_parallel, samples=samples)
    except (TimeoutError, BudgetSpentError):
        pass  # there is no decision then
    return _summarise(joint, tests, samples)


class _ViewSamplers:
    """Who asks about each view: about its own chat, and nothing else of the request.

    A shorter text is made when its test begins and let go when that has ended, so that a long one
    is held a few times, not once for every view.
    """

    def __init__(self, sampler: Sampler, runs: TestRuns) -> None:
        self._whole = sampler
        self._runs = runs
        self._made: dict[int | None, Sampler] = {}  # None: of all views of pictures

    def of(self, place: int) -> Sampler:
        """Of the view at this place."""
        runs, threats = self._runs, self._whole.rules.threats
        assert threats is not None  # there are views
        cut = runs.tests.views[place].view.cut
        key = None if cut is None else place
        for one in [*self._made]:
            if one is not None and runs.tests.views[one].certifier.decision is not None:
                del self._made[one]
        if key not in self._made:
            text = None if cut is None else runs.text[: runs.ends[cut]]
            self._made[key] = self._whole.of_view(view_chat(self._whole.chat, threats, text))
        return self._made[key]


def _summarise(joint: JointTest, tests: DecisionTests, samples: dict[int, Sample]) -> JointOutcome:
    split = [
        tuple(dataclasses.replace(sample, index=index) for index, sample in one.items())
        for one in joint.split(samples)
    ]
    place = joint.stopped or 0
    return JointOutcome(
        joint.decision,
        tests.views[place - 1] if place else None,
        split[0],
        split[place] if place else (),
        any(sample.outcome is Outcome.HARMFUL for one in split[1:] for sample in one),
    )


def _plan_views(
    threats: Threats, request: PreparedRequest, text_length: int | None
) -> tuple[View, ...]:
    sizes = [canvas.source_size for canvas in request.canvases]
    try:
        return plan_views(threats, sizes, text_length)
    except CertificationError as error:
        raise RequestError(str(error), status=422, code="not_certifiable") from error


def _measure_text(text: str, unit: SuffixUnit) -> int:
    return len(text.split()) if unit is SuffixUnit.WORDS else len(text)
