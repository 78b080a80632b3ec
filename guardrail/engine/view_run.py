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
from guardrail.engine.suffixes import (
    cut_characters,
    cut_words,
    last_user_text,
)
from guardrail.engine.threats import SuffixUnit, plan_views
from guardrail.engine.view_chats import view_chat
from guardrail.engine.view_pictures import ViewPictures
from guardrail.engine.view_tests import JointTest
from guardrail.errors import CertificationError, RequestError
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.sampler import Sampler
    from guardrail.engine.threats import Suffix, Threats, View
    from guardrail.engine.verdict import Sample
    from guardrail.images.codec import Picture
    from guardrail.images.keys import NoiseKey
    from guardrail.stats import Decision

__all__ = ["JointOutcome", "TestRuns", "plan_runs", "run_jointly", "suffix_texts"]


@dataclass(frozen=True, slots=True)
class TestRuns:
    """All tests of a decision, and who asks for the draws of each.

    Attributes:
        tests: see there.
        samplers: in the order of the views; each asks about its view's own chat and nothing else.
    """

    __test__ = False  # no class of tests, whatever its name begins with

    tests: DecisionTests
    samplers: tuple[Sampler, ...] = ()


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
    own = None if suffix is None else last_user_text(sampler.chat, suffix.unit)
    texts = suffix_texts(sampler.chat, suffix)
    length = None if suffix is None else _measure_text(own or "", suffix.unit)
    views = _plan_views(threats, request, length)
    tests = len(views) if request.canvases else len(views) + 1
    view_plan = view_plan_for(rules, threats, max(tests, 1), alpha=alpha)
    whole = plan_for(rules, request.geometry, alpha=alpha) if request.canvases else view_plan
    of_pictures = sampler.of_view(view_chat(sampler.chat, threats)) if request.canvases else sampler
    runs, samplers = [], []
    for view in views:
        asked = of_pictures
        if view.cut is not None:
            asked = sampler.of_view(view_chat(sampler.chat, threats, texts[view.cut]))
            if asked.chat == sampler.chat and not request.canvases:
                continue  # it is the request itself, whose test is the same one
        runs.append(ViewTest(view, Certifier(view_plan)))
        samplers.append(asked)
    certifier, pictured = Certifier(whole, speculate=rules.speculate), bool(request.canvases)
    found = DecisionTests(certifier, tuple(runs), view_plan, length, pictured)
    return TestRuns(found, tuple(samplers))


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
    line = itertools.count()
    of_views = ViewPictures(request, pictures)

    async def draw(number: int) -> Sample:
        order, (place, index) = next(line), joint.locate(number)
        if place == 0:
            shown = await request.draw_variant(index, rules, key)
            seed, asked = request.derive_seed(index, rules, key), sampler
        else:
            view, asked = tests.views[place - 1].view, runs.samplers[place - 1]
            shown = await of_views.show(view)
            seed = request.derive_seed(index, rules, key, view)
        return await asked.sample(number, shown, seed=seed, variant=True, order=order)

    try:
        async with asyncio.timeout_at(deadline):
            await fan_out(joint, draw, max_parallel=rules.max_parallel, samples=samples)
    except (TimeoutError, BudgetSpentError):
        pass  # there is no decision then
    return _summarise(joint, tests, samples)


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


def suffix_texts(chat: CanonicalChat, suffix: Suffix | None) -> tuple[str, ...]:
    """The texts of the suffix's views, by what is cut off; none without a suffix or a text."""
    text = None if suffix is None else last_user_text(chat, suffix.unit)
    if suffix is None or text is None:
        return ()
    cut = cut_words if suffix.unit is SuffixUnit.WORDS else cut_characters
    return cut(text, suffix.most)


def _measure_text(text: str, unit: SuffixUnit) -> int:
    return len(text.split()) if unit is SuffixUnit.WORDS else len(text)
