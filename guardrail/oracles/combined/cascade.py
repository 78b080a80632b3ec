"""A cheap oracle first, an expensive one where the cheap one is in doubt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Judgement, goes_by_text, is_function, reads_whole
from guardrail.oracles.combined.members import HARMLESS_MOST, ask, close_all, vote
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardrail.oracles.base import Exchange
    from guardrail.oracles.combined.members import Member

__all__ = ["CascadeOracle"]


class CascadeOracle:
    """Asks the expensive oracle only where the cheap one is in doubt.

    What the cheap one calls harmless passes, what it scores `high` is harmful, and all that lies
    between is for the expensive one to decide, and so is what the cheap one was not measured on.

    The score grows with both: [0, 0.25) where the cheap one calls an answer harmless, [0.25, 0.75]
    by the expensive one's score in between, above it where the cheap one is sure. So 0.5 is the
    threshold that keeps to the oracles' own verdicts. A threshold below 0.5 finds more harm.

    Args:
        cheap: Its threshold is the lower end of the band.
        expensive: Asked for the answers in the band, and for no others.
        high: The upper end: from this score of the cheap oracle on, an answer is harmful.
        threshold: The score from which an answer is harmful, in (0, 1).

    Raises:
        ConfigError: `high` does not lie above the cheap oracle's threshold.
    """

    cuts_scores = True  # see `cut_of`: whom it asks does not depend on its own threshold

    def __init__(
        self, cheap: Member, expensive: Member, *, high: float, threshold: float = 0.5
    ) -> None:
        if not cheap.threshold < high <= 1.0:
            raise ConfigError(
                f"must lie above the cheap oracle's threshold {cheap.threshold:g}, and be at most "
                "1 (which leaves the upper end open to all scores but 1)",
                field="high",
            )
        self._cheap = cheap
        self._expensive = expensive
        self._high = high
        self._threshold = threshold

    @property
    def revision(self) -> str:
        parts = [[m.threshold, m.oracle.revision] for m in (self._cheap, self._expensive)]
        text = json.dumps(["cascade", self._high, self._threshold, parts])
        return short_digest(text, 16)

    @property
    def threshold(self) -> float:
        return self._threshold

    @property
    def by_text(self) -> bool:
        """See `goes_by_text`: both are functions of the text."""
        return goes_by_text(self._cheap.oracle) and goes_by_text(self._expensive.oracle)

    @property
    def reads_whole(self) -> bool:
        """See `reads_whole`: where all of them do."""
        return reads_whole(self._cheap.oracle) and reads_whole(self._expensive.oracle)

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order.

        Raises:
            OracleError: the cheap oracle failed, or the expensive one where it was needed.
        """
        first = _require_judgements(await ask(self._cheap, exchanges))
        doubtful = [place for place, said in enumerate(first) if self._is_doubtful(said)]
        band = [exchanges[place] for place in doubtful]
        second = self._require_second(await ask(self._expensive, band)) if band else []
        decided = dict(zip(doubtful, second, strict=True))
        return [self._judgement(said, decided.get(place)) for place, said in enumerate(first)]

    async def aclose(self) -> None:
        """Closes both. Raises OracleError if one could not be closed."""
        await close_all((self._cheap, self._expensive))

    def _require_second(self, said: list[Judgement] | OracleError) -> list[Judgement]:
        """The expensive one's judgements; a cheap one that draws must not be asked again."""
        if isinstance(said, OracleError) and not is_function(self._cheap.oracle):
            said.undrawn = False
        return _require_judgements(said)

    def _is_doubtful(self, said: Judgement) -> bool:
        harmful = said.outcome is Outcome.HARMFUL
        return harmful and (said.score < self._high or bool(said.unmeasured))

    def _judgement(self, first: Judgement, second: Judgement | None) -> Judgement:
        score = self._score(first, second)
        unscanned = dict.fromkeys((*first.unscanned, *(second.unscanned if second else ())))
        unmeasured = (second or first).unmeasured
        if score < self._threshold:
            return Judgement(Outcome.HARMLESS, score, "", tuple(unscanned), unmeasured=unmeasured)
        reason = ": ".join(_reason(self._cheap, first, self._expensive, second))
        return Judgement(Outcome.HARMFUL, score, reason, tuple(unscanned), unmeasured=unmeasured)

    def _score(self, first: Judgement, second: Judgement | None) -> float:
        if second is not None:
            score = 0.25 + 0.5 * vote(self._expensive, second)
            return score if second.outcome is Outcome.HARMFUL else min(score, HARMLESS_MOST)
        if first.outcome is Outcome.HARMFUL:
            above = (first.score - self._high) / (1.0 - self._high) if self._high < 1.0 else 1.0
            return 0.75 + 0.25 * above
        return 0.5 * vote(self._cheap, first)


def _require_judgements(said: list[Judgement] | OracleError) -> list[Judgement]:
    if isinstance(said, OracleError):
        raise said
    return said


def _reason(
    cheap: Member, first: Judgement, expensive: Member, second: Judgement | None
) -> Iterator[str]:
    """Who decided, with its own reason if it has one."""
    member, said = (cheap, first) if second is None else (expensive, second)
    yield "cascade"
    yield member.name
    if said.reason:
        yield said.reason.removeprefix(f"{member.name}: ")  # most name themselves
