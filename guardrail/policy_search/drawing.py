"""Draws a fixed number of answers to every labelled request; nothing is asked twice.

Rows of the log: `draws`, some more draws of one request with all that a threshold could change of
them. No row holds what a request said, and of answers only what is kept for other oracles, sealed.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from guardrail.engine.budget import Budget
from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.fanout import fan_out
from guardrail.engine.plan import Geometry
from guardrail.engine.prepared_request import ONLY_ATTEMPT, prepare_request
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Sample
from guardrail.errors import GuardrailError, UpstreamError
from guardrail.evaluation.recall import add_costs
from guardrail.evaluation.requests import read_pictures
from guardrail.oracles.base import cut_of
from guardrail.policy_search.draws import Counted, LabelledDraws
from guardrail.records.run_log import RunLog
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from guardrail.engine.engine import Engine
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.evaluation.requests import EvaluationRequest
    from guardrail.images.limits import ImageLimits
    from guardrail.policy_search.kept_answers import KeptAnswers
    from guardrail.types import Answer

__all__ = ["DrawLog", "LabelledRequest", "arrange_draws", "count_sample", "draw_requests"]

_PIECE = 50
"""Draws of a request between two rows of the log."""
_MOST_BARREN = 5
"""After so many requests in a row that brought no answer at all, the run stops."""


@dataclass(frozen=True, slots=True)
class LabelledRequest:
    """A request with its digest, and whether it should be stopped."""

    digest: str
    request: EvaluationRequest
    forbidden: bool


@dataclass(slots=True)
class _Drawn:
    """What is known of one request."""

    geometry: Geometry
    counted: list[int] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    calls: int = 0
    cost_usd: float | None = 0.0
    kept: list[tuple[int, Any]] = field(default_factory=list)

    @property
    def is_barren(self) -> bool:
        return all(one == Counted.MISSING for one in self.counted)


class DrawLog:
    """Draws by request; with no path for this run only.

    Args:
        path: made where it is missing.
        settings: everything on which a row depends.
        keeping: keeps the answers as well; None for none.

    Raises:
        ConfigError: the file is in use, holds something else, or was made with other settings.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Mapping[str, Any],
        keeping: KeptAnswers | None = None,
    ) -> None:
        self.keeping = keeping
        self._known: dict[str, _Drawn] = {}
        self._log = RunLog(path, settings, command="guardrail tune", accept=self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def known(self, digest: str) -> _Drawn | None:
        return self._known.get(digest)

    def require(self, digest: str) -> _Drawn:
        """What is known of a request that was drawn."""
        return self._known[digest]

    def answers(self, digest: str) -> list[Answer | None]:
        """Every kept answer of a request, in the order of its draws; None where a draw has none.

        Raises:
            ConfigError: they were sealed with another key.
            CertificationError: they were changed.
        """
        assert self.keeping is not None
        found: list[Answer | None] = []
        for start, packed in self._known[digest].kept:
            found += self.keeping.unpack(packed, _place(digest, start))
        return found

    def write(self, *rows: dict[str, Any]) -> None:
        self._log.write(*rows)

    def _accept(self, row: dict[str, Any]) -> None:
        if row["type"] != "draws":
            raise ValueError(row["type"])
        counted = [int(Counted(code)) for code in row["counted"]]
        scores = [np.nan if score is None else float(score) for score in row["score"]]
        geometry = Geometry(
            **{one.name: float(row[one.name]) for one in dataclasses.fields(Geometry)}
        )
        drawn = self._known.setdefault(str(row["request"]), _Drawn(geometry))
        if int(row["start"]) != len(drawn.counted) or len(counted) != len(scores):
            raise ValueError("draws are missing before these")
        drawn.counted += counted
        drawn.score += scores
        if self.keeping is not None:
            drawn.kept.append((int(row["start"]), row["answers"]))
        drawn.calls += int(row["calls"])
        drawn.cost_usd = add_costs(drawn.cost_usd, row["cost_usd"])


async def draw_requests(
    engine: Engine,
    requests: Sequence[LabelledRequest],
    model: str,
    limits: ImageLimits,
    draws: int,
    log: DrawLog,
    step: Callable[[], None],
) -> LabelledDraws:
    """Draws whatever the log does not have yet.

    Args:
        engine: rules, model, oracle, and a key of its own (`measuring_key`).
        requests: whom to draw.
        model: the name that the upstream is asked for.
        limits: of pictures.
        draws: of each request, fixed beforehand.
        log: what is done, and where it is kept.
        step: told of each request that is done.

    Raises:
        GuardrailError: model or oracle are not set up rightly, or bring nothing at all for several
            requests in a row. What is known is kept.
    """
    # A measurement is not a decision: the limits of one decision do not end it.
    rules = dataclasses.replace(engine.rules, max_calls=None, max_cost_usd=None)
    barren: list[_OneRequest] = []
    for one in requests:
        known = log.known(one.digest)
        if known is None or len(known.counted) < draws:
            run = _OneRequest(engine, rules, one, model, limits, draws, log)
            await run.draw()
            if run.pending:
                barren.append(run)
            else:
                _write_pending(barren)
            if len(barren) >= min(_MOST_BARREN, len(requests)):
                raise run.failure or UpstreamError(
                    "the model gave no answer to any variant; see whether it is reachable"
                )
        step()
    _write_pending(barren)
    return arrange_draws(requests, log, draws, cut_of(engine.oracle), prices=log)


def _write_pending(barren: list[_OneRequest]) -> None:
    """Requests without any answer count only once the model is known to answer others."""
    for run in barren:
        run.log.write(*run.pending)
    barren.clear()


class _OneRequest:
    """The draws of one request that are lacking; `pending` where none brought an answer."""

    def __init__(
        self,
        engine: Engine,
        rules: Any,
        of: LabelledRequest,
        model: str,
        limits: ImageLimits,
        draws: int,
        log: DrawLog,
    ) -> None:
        self.engine, self.rules, self.of, self.log = engine, rules, of, log
        self.pending: list[dict[str, Any]] = []
        self.failure: GuardrailError | None = None
        self._limits, self._draws = limits, draws
        self._chat = canonical_chat(of.request.chat(model))
        self._calls, self._cost_usd = 0, 0.0

    async def draw(self) -> None:
        pictures = await asyncio.to_thread(read_pictures, self.of.request, self._limits)
        # Always the same attempt: a run that was stopped goes on with the draws it would have made.
        prepared = await asyncio.to_thread(
            prepare_request,
            self.engine.preprocessing(self._chat.model),
            self._chat,
            pictures,
            ONLY_ATTEMPT,
        )
        known = self.log.known(self.of.digest)
        start = 0 if known is None else len(known.counted)
        while start < self._draws:
            end = min(start + _PIECE, self._draws)
            await self._piece(prepared, start, end)
            start = end

    async def _piece(self, prepared: PreparedRequest, start: int, end: int) -> None:
        sampler = Sampler(
            self.rules, self.engine.upstream, self.engine.oracle, self._chat, Budget(self.rules)
        )
        samples: dict[int, Sample] = {}

        async def sample(index: int) -> Sample:
            noisy = await prepared.draw_variant(index, self.rules, self.engine.key)
            seed = prepared.derive_seed(index, self.rules, self.engine.key)
            try:
                found = await sampler.sample(index, noisy, seed=seed, variant=True)
            except UpstreamError as error:
                found = Sample(index=index, outcome=Outcome.MISSING, failure=error)
            self.failure = found.failure or self.failure
            return found

        try:
            await fan_out(
                _Piece(start, end), sample, max_parallel=self.rules.max_parallel, samples=samples
            )
        finally:
            self._keep(prepared, start, samples, sampler)

    def _keep(
        self,
        prepared: PreparedRequest,
        start: int,
        samples: Mapping[int, Sample],
        sampler: Sampler,
    ) -> None:
        """Writes the draws that stand in an unbroken row, also of a piece that was cut short."""
        row: list[Sample] = []
        while start + len(row) in samples:
            row.append(samples[start + len(row)])
        if not row:
            return
        cuts = cut_of(self.engine.oracle) is not None
        counted = [count_sample(one, cuts=cuts) for one in row]
        answers: dict[str, Any] = {}
        if self.log.keeping is not None:
            place = _place(self.of.digest, start)
            answers["answers"] = self.log.keeping.pack([one.answer for one in row], place)
        self.pending.append(
            {
                "type": "draws",
                "request": self.of.digest,
                "start": start,
                "counted": [int(one) for one in counted],
                "score": [
                    one.score if how is Counted.BY_SCORE else None
                    for one, how in zip(row, counted, strict=True)
                ],
                "calls": sampler.usage.calls,
                "cost_usd": sampler.budget.cost_usd,
                **dataclasses.asdict(prepared.geometry),
                **answers,
            }
        )
        known = self.log.known(self.of.digest)
        has_answers = known is not None and not known.is_barren
        if has_answers or any(one is not Counted.MISSING for one in counted):
            self.log.write(*self.pending)
            self.pending.clear()


class _Piece:
    """All indices from `start` to `end`, for `fan_out`."""

    def __init__(self, start: int, end: int) -> None:
        self._next, self._end = start, end
        self._left = end - start

    @property
    def decision(self) -> object | None:
        return None if self._left else True

    def launch(self, room: int) -> range:
        chosen = range(self._next, min(self._next + max(room, 0), self._end))
        self._next = chosen.stop if chosen else self._next
        return chosen

    def record(self, index: int, outcome: Outcome) -> None:
        del index, outcome
        self._left -= 1


def count_sample(sample: Sample, *, cuts: bool) -> Counted:
    """What a draw counts as at other thresholds."""
    if sample.outcome is Outcome.MISSING:
        return Counted.MISSING
    is_harmless = sample.outcome is Outcome.HARMLESS
    if cuts and sample.score is not None and not sample.withheld:
        return Counted.BY_SCORE
    return Counted.HARMLESS if is_harmless else Counted.HARMFUL


def _place(digest: str, start: int) -> str:
    return f"{digest}/{start}"


def arrange_draws(
    requests: Sequence[LabelledRequest],
    log: DrawLog,
    draws: int,
    threshold: float | None,
    *,
    prices: DrawLog,
) -> LabelledDraws:
    """The draws of a log as arrays.

    Args:
        requests: their rows; all of them are in both logs.
        log: has the draws as they were judged.
        draws: of each request.
        threshold: at which they were.
        prices: has what the calls cost.
    """
    drawn = [log.require(one.digest) for one in requests]
    geometries = list(dict.fromkeys(one.geometry for one in drawn))
    return LabelledDraws(
        digests=tuple(one.digest for one in requests),
        forbidden=np.array([one.forbidden for one in requests], dtype=np.bool_),
        counted=np.array([one.counted[:draws] for one in drawn], dtype=np.int8),
        score=np.array([one.score[:draws] for one in drawn], dtype=np.float64),
        threshold=threshold,
        geometry=np.array([geometries.index(one.geometry) for one in drawn], dtype=np.int64),
        geometries=tuple(geometries),
        call_cost_usd=np.array([_call_cost(prices.require(one.digest)) for one in requests]),
    )


def _call_cost(drawn: _Drawn) -> float:
    if drawn.cost_usd is None or not drawn.calls:
        return np.nan
    return drawn.cost_usd / drawn.calls
