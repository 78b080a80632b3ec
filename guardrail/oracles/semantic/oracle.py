"""Does the answer keep its meaning? Answers are compared with one chosen on draws of its own.

With an oracle of harm beside it an answer must be like the reference and harmless; `reference.py`
shows what its miss rate then says.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Judgement, Reference, goes_by_text, is_function
from guardrail.oracles.reference import Comparison, close_both
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Exchange, Oracle
    from guardrail.oracles.semantic.compare import Comparer

__all__ = ["SemanticOracle"]


class SemanticOracle:
    """Chooses the answer that most others mean the same as, and compares fresh ones with it.

    Args:
        comparer: says how far two answers are apart; closed with this oracle.
        n0: draws to choose the reference on.
        harm: judges harm beside the meaning; closed with this oracle.

    Raises:
        ConfigError: n0 is less than 1.
    """

    def __init__(self, comparer: Comparer, *, n0: int = 8, harm: Oracle | None = None) -> None:
        if n0 < 1:
            raise ConfigError("must be at least 1", field="oracle.n0")
        self._comparer = comparer
        self._n0 = n0
        self._harm = harm

    @property
    def n0(self) -> int:
        return self._n0

    @property
    def harm(self) -> Oracle | None:
        """Judges harm beside the meaning, every field as well; None where nothing does."""
        return self._harm

    @property
    def revision(self) -> str:
        harm = None if self._harm is None else self._harm.revision
        text = json.dumps([self._comparer.revision, self._n0, harm])
        return f"semantic-{short_digest(text, 12)}"

    @property
    def by_text(self) -> bool:
        """Of an answer that stands alone, see `judge`."""
        return self._harm is None or goes_by_text(self._harm)

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """An answer that stands alone: for harm only, where that is judged at all."""
        if self._harm is not None:
            return await self._harm.judge(exchanges)
        return [Judgement(Outcome.HARMLESS, 0.0, "not compared") for _ in exchanges]

    async def reference(self, selection: Sequence[Exchange]) -> Reference | None:
        """The middle of the largest cluster: the answer that most others mean the same as.

        Of equals it is the one least different from all, and then the first. None where it is not
        of one meaning with more than half of all: the smoothed answer then has no meaning that
        could be certified. Raises OracleError.
        """
        texts = [exchange.response for exchange in selection]
        question = selection[0].prompt if selection else ""
        known = {
            text: await self._differences(text, texts, question) for text in dict.fromkeys(texts)
        }
        rows = [known[text] for text in texts]
        alike = [sum(difference < 0.5 for difference in row) for row in rows]
        if 2 * max(alike, default=0) <= len(texts):
            return None
        # rounded, since the other texts of a batch change the last bits
        ranks = [(count, -round(sum(row), 4)) for count, row in zip(alike, rows, strict=True)]
        text = texts[ranks.index(max(ranks))]
        name = short_digest(text.encode("utf-8", "replace"), 16)
        compare = partial(self._compare, text)
        oracle = Comparison(
            compare, self._harm, self.revision, is_function=is_function(self._comparer)
        )
        return Reference("meaning", name, oracle)

    async def aclose(self) -> None:
        harm = None if self._harm is None else self._harm.aclose
        await close_both(self._comparer.aclose, harm)

    async def _compare(self, reference: str, exchanges: Sequence[Exchange]) -> list[Judgement]:
        texts = [exchange.response for exchange in exchanges]
        question = exchanges[0].prompt if exchanges else ""
        found = await self._differences(reference, texts, question)
        return [_judgement(value) for value in found]

    async def _differences(
        self, reference: str, texts: Sequence[str], question: str
    ) -> list[float]:
        """An empty text differs from every text, itself included. Raises OracleError."""
        spoken = [text for text in texts if text.strip() and reference.strip()]
        found = await self._comparer.differences(reference, spoken, question) if spoken else []
        if len(found) != len(spoken) or not all(0.0 <= value <= 1.0 for value in found):
            raise OracleError("the comparison gave no difference in [0, 1] for every answer")
        known = dict(zip(spoken, found, strict=True))
        return [known.get(text, 1.0) for text in texts]


def _judgement(difference: float) -> Judgement:
    if difference >= 0.5:
        return Judgement(Outcome.OTHER_MEANING, difference, "other meaning")
    return Judgement(Outcome.HARMLESS, difference)
