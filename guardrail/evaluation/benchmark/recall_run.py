"""Certified recall of every set of an evaluation: what is measured, and the measuring of it.

Against changes of pixels noisy variants are drawn, against the threats that a policy covers beside
them views. A policy does not hold what it does not test: of one that covers no threats none is
measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.engine.threats import plan_views
from guardrail.errors import CertificationError, ConfigError
from guardrail.evaluation.benchmark.set_recall import (
    SetRecall,
    SetThreats,
    design_recall,
    harmful_requests,
)
from guardrail.evaluation.recall import farthest_radius, measure_recall, measuring_key
from guardrail.evaluation.recall_facts import BETA
from guardrail.evaluation.recall_log import RecallLog
from guardrail.evaluation.recall_outcome import RecallOutcome
from guardrail.evaluation.threat_facts import ThreatOutcome, plan_threats
from guardrail.evaluation.threat_recall import measure_threats
from guardrail.oracles.base import ReferenceOracle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.engine.engine import Engine
    from guardrail.evaluation.benchmark.labelled_set import LabelledSet
    from guardrail.evaluation.recall_facts import RecallDesign
    from guardrail.evaluation.requests import Watch
    from guardrail.evaluation.threat_facts import ThreatDesign
    from guardrail.images.limits import ImageLimits

__all__ = ["RecallPlan", "RecallRun", "plan_recall"]

_NOT_ASKED = "it was not asked for"
_NO_REQUESTS = "there is no harmful request with a picture"
_COMPARES = (
    "the oracle compares answers with a reference of the same request, so it cannot say which "
    "requests should be stopped"
)
_NOT_COVERED = (
    "the policy covers small changes of pixels alone, and does not hold what it does not test; "
    "write 'threats' (crops, stickers, suffix) into it, and each of them is measured"
)


@dataclass(frozen=True, slots=True)
class RecallPlan:
    """What is fixed before the first draw.

    Attributes:
        pixels: of changes of pixels within a radius; None where it is not measured, and
            `pixels_left_out` says why.
        threats: of the policy's threats beside them; `threats_left_out` likewise.
    """

    pixels: RecallDesign | None = None
    threats: ThreatDesign | None = None
    pixels_left_out: str = ""
    threats_left_out: str = ""

    def most_answers(self, rows: LabelledSet) -> int:
        """Answers of the model at most, without repeats after faults."""
        requests = [request for _, one in harmful_requests(rows) for _, request in one.drawn]
        draws = 0 if self.pixels is None else self.pixels.draws * len(requests)
        if self.threats is None:
            return draws
        views = sum(_most_views(self.threats, len(request.images)) for request in requests)
        return draws + self.threats.draws * views


def plan_recall(
    engine: Engine, rows: LabelledSet, *, draws: int, view_draws: int | None, delta: float
) -> RecallPlan:
    """What can be measured of the rows, and is to be.

    Args:
        engine: of the policy.
        rows: of which the harmful ones with pictures are measured.
        draws: noisy variants of each; 0 for none.
        view_draws: answers to each view; 0 for none, None for the usual number.
        delta: probability, at most, that any line of one table is wrong.

    Raises:
        ConfigError: so few draws can show nothing, a picture is too small for its views, or the
            policy covers no threats though views were asked for.
    """
    threats = engine.rules.threats
    if view_draws and threats is None:
        raise ConfigError(
            "the policy covers nothing beside small changes of pixels, so there are no views to "
            "draw; write 'threats' into it, or leave --view-draws out",
            field="threats",
        )
    why = _why_none(engine, rows)
    pixels_left_out = _NOT_ASKED if draws == 0 else why
    threats_left_out = _NOT_ASKED if view_draws == 0 else _NOT_COVERED if threats is None else why
    if not pixels_left_out:
        farthest_radius(engine.rules, draws, BETA)
    return RecallPlan(
        pixels=None if pixels_left_out else design_recall(engine.rules, draws, delta),
        threats=None if threats_left_out else _plan_views(engine, rows, view_draws, delta),
        pixels_left_out=pixels_left_out,
        threats_left_out=threats_left_out,
    )


def _plan_views(engine: Engine, rows: LabelledSet, draws: int | None, delta: float) -> ThreatDesign:
    """Raises ConfigError where a request has no views, before anything is paid for."""
    pictured = [row for _, row in rows.drawn if row.harmful and row.request.images]
    most = max(len(row.request.images) for row in pictured)
    design = plan_threats(
        engine.rules.threats, most, draws=draws, delta=delta, beta=BETA, seed=rows.seed
    )
    for row in pictured:
        try:
            plan_views(design.threats, row.sizes, 0)
        except CertificationError as error:
            raise ConfigError(
                f"the policy has no views for the picture sizes of '{row.request.name}' "
                f"({error}); leave the row out, or change the policy, or measure no threats "
                "(--view-draws 0)",
                line=row.line,
            ) from error
    return design


@dataclass(frozen=True, slots=True)
class RecallRun:
    """What both measurements have in common.

    Attributes:
        engine: with the key of service; what is drawn here has one of its own.
        rows: whose harmful ones are drawn.
        model: the name that the upstream is asked for.
        limits: of pictures.
        settings: all else that a row of a log depends on.
    """

    engine: Engine
    rows: LabelledSet
    model: str
    limits: ImageLimits
    settings: Mapping[str, Any]

    async def pixels(
        self, design: RecallDesign, path: Path | None, watch: Watch
    ) -> tuple[SetRecall, ...]:
        """Draws the variants that the log does not have yet; None for no log.

        Raises:
            GuardrailError: see `measure_recall`.
        """
        engine, found = self._measuring(), []
        facts = {"draws": design.draws, "steps": list(design.steps)}
        with RecallLog(path, self._describe(design, facts)) as log, watch(self._total) as step:
            for name, requests in harmful_requests(self.rows):
                results = await measure_recall(
                    engine, design, requests, self.model, self.limits, log, lambda _: step()
                )
                outcome = RecallOutcome(design, requests, tuple(results), None)
                found.append(SetRecall(name, outcome, engine.rules))
        return tuple(found)

    async def threats(
        self, design: ThreatDesign, path: Path | None, watch: Watch
    ) -> tuple[SetThreats, ...]:
        """Draws the views that the log does not have yet; None for no log.

        Raises:
            GuardrailError: see `measure_threats`.
        """
        engine, found = self._measuring(), []
        facts = {"view_draws": design.draws, "seed": design.seed}
        with RecallLog(path, self._describe(design, facts)) as log, watch(self._total) as step:
            for name, requests in harmful_requests(self.rows):
                results = await measure_threats(
                    engine, design, requests, self.model, self.limits, log, step
                )
                found.append(SetThreats(name, ThreatOutcome(design, results), engine.rules.alpha))
        return tuple(found)

    @property
    def _total(self) -> int:
        return sum(len(requests.drawn) for _, requests in harmful_requests(self.rows))

    def _measuring(self) -> Engine:
        # Noise of a key of its own, so that none of it is used in service.
        engine = self.engine.with_oracle(self.engine.oracle)
        engine.key = measuring_key(self.engine.key)
        return engine

    def _describe(
        self, design: RecallDesign | ThreatDesign, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {**self.settings, "delta": design.delta, "beta": design.beta, **facts}


def _why_none(engine: Engine, rows: LabelledSet) -> str:
    """Why nothing can be measured; empty where it can."""
    if not any(True for _ in harmful_requests(rows)):
        return _NO_REQUESTS
    return _COMPARES if isinstance(engine.oracle, ReferenceOracle) else ""


def _most_views(design: ThreatDesign, pictures: int) -> int:
    """Views that are drawn of one request, at most: of its text only the whole one."""
    threats = design.threats
    of_each = 0 if threats.crops is None else threats.crops.windows
    of_each += 0 if threats.stickers is None else threats.stickers.masks
    return of_each * pictures + (threats.suffix is not None)
