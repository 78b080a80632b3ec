"""Fills in what a certificate holds of threats beside small changes of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from guardrail.engine.certificate.threats import TestedThreat, TestedView, view_numbers
from guardrail.engine.decision_tests import ViewTest
from guardrail.engine.plan import harmless_lower
from guardrail.engine.threats import Crops, Stickers, Suffix, Threat
from guardrail.stats import Decision

if TYPE_CHECKING:
    from guardrail.engine.decision_tests import DecisionTests
    from guardrail.engine.threats import Setting, Threats

__all__ = ["describe_threats"]


def describe_threats(
    threats: Threats | None, tests: DecisionTests, decision: Decision
) -> tuple[TestedThreat, ...]:
    """What the certificate of a decision holds of each threat."""
    settings = {} if threats is None else threats.settings
    return tuple(
        _describe(threat, setting, threats, tests, decision)
        for threat, setting in settings.items()
        if threats is not None and (tests.has_pictures or threat is Threat.SUFFIX)
    )


def _describe(
    threat: Threat, setting: Setting, threats: Threats, tests: DecisionTests, decision: Decision
) -> TestedThreat:
    every = tests.views
    if tests.own_view is not None:
        every = (ViewTest(tests.own_view, tests.whole), *every)
    runs = [run for run in every if run.view.threat is threat]
    plan = tests.view_plan
    assert plan is not None  # wherever threats are covered
    passed = decision is Decision.PASS
    bounds = [harmless_lower(plan, run.certifier.counts[-1]) for run in runs if passed]
    return TestedThreat(
        threat=threat,
        **_numbers(setting, tests.text_length),
        floor=threats.floor,
        temperature=threats.temperature,
        harmless_rate_lower=min(bounds, default=0.0),
        plan_kind=plan.kind,
        looks=plan.looks,
        pass_at_most=plan.pass_at_most,
        block_at_least=plan.block_at_least,
        plan_digest=plan.digest,
        views=tuple(
            TestedView(run.view.picture, view_numbers(run.view), run.view.cut, run.certifier.counts)
            for run in runs
        ),
    )


def _numbers(setting: Setting, text_length: int | None) -> dict[str, Any]:
    match setting:
        case Crops():
            return {"windows": setting.windows, "sees": setting.sees}
        case Stickers():
            return {"masks": setting.masks, "max_share": setting.max_share}
        case Suffix():
            return {setting.unit.value: setting.most, "text_length": text_length}
        case _:
            assert_never(setting)
