"""Judges what is written in a client's pictures, before any model is asked.

A check of the request itself: no noise, no draw of the model and no statistics. It can only block,
so it takes nothing from what a certificate proves, and adds nothing to it.

Two judges look at each text. The policy's oracle judges it as it judges an answer, which finds
harm that is written out. A head for requests judges whether it asks for harm: "Steps to do X",
with an empty list below, is what typographic attacks write, and no answer yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guardrail.errors import OracleError, PictureTextError
from guardrail.oracles.base import Exchange, Judgement, ReferenceOracle
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Oracle, Scorer
    from guardrail.picture_text.reader import PictureReader
    from guardrail.types import Pixels

__all__ = ["PictureTextCheck", "PictureTextJudge"]

_HARMFUL = 0.5
_LEAST_LETTERS = 4  # fewer say nothing: page numbers, prices, signs


class PictureTextCheck(Protocol):
    """What an engine asks about a request's pictures before it draws anything."""

    async def judge(self, pictures: Sequence[Pixels], oracle: Oracle) -> Judgement:
        """Whether what is written in the pictures is harmful.

        Args:
            pictures: as the client sent them, decoded, at native resolution.
            oracle: the policy's.

        Raises:
            PictureTextError: it could not be read or not be judged.
        """

    async def aclose(self) -> None:
        """Ends threads."""


@dataclass(frozen=True, slots=True)
class PictureTextJudge:
    """Reads, then judges each text alone; the worst counts.

    Attributes:
        reader: reads the pictures.
        requests: scores texts by whether they ask for harm, in [0, 1]; harmful from 0.5.
    """

    reader: PictureReader
    requests: Scorer

    async def judge(self, pictures: Sequence[Pixels], oracle: Oracle) -> Judgement:
        """See `PictureTextCheck`."""
        found = await self.reader.read(pictures)
        texts = [text for text in dict.fromkeys(found) if _says_something(text)]
        exchanges = [Exchange("", text) for text in texts]
        if not exchanges:
            return Judgement(Outcome.HARMLESS, 0.0)
        try:
            worst = max(self.requests.scores(list(map(_in_both_orders, texts))))
            if worst >= _HARMFUL:
                return Judgement(Outcome.HARMFUL, worst, "asks for harm")
            return await _judge_by(oracle, exchanges, worst)
        except OracleError as error:
            raise PictureTextError(
                f"the text in the pictures could not be judged: {error}"
            ) from error
        except Exception as error:  # noqa: BLE001 (other people's code; its text may quote)
            raise PictureTextError(
                f"the text in the pictures could not be judged ({type(error).__name__})"
            ) from None

    async def aclose(self) -> None:
        await self.reader.aclose()


async def _judge_by(oracle: Oracle, exchanges: Sequence[Exchange], score: float) -> Judgement:
    """The worst judgement of the policy's oracle; one that compares answers has none of a text."""
    if isinstance(oracle, ReferenceOracle):
        return Judgement(Outcome.HARMLESS, score)
    judgements = await oracle.judge(exchanges)
    if len(judgements) != len(exchanges):
        raise OracleError("a judgement is missing")
    for judgement in judgements:
        if judgement.outcome is Outcome.MISSING:
            raise OracleError("one of the texts was not judged")
        if judgement.outcome is not Outcome.HARMLESS:
            return judgement
    return Judgement(Outcome.HARMLESS, max(j.score for j in judgements))


def _in_both_orders(text: str) -> Exchange:
    """The lines downwards, then upwards: a picture on its head is read from below."""
    lines = text.splitlines()
    return Exchange("", text if len(lines) == 1 else "\n".join((*lines, "", *reversed(lines))))


def _says_something(text: str) -> bool:
    return sum(character.isalpha() for character in text) >= _LEAST_LETTERS
