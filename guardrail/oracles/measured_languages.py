"""What an oracle says of text in a language that it was not measured on: nothing that holds.

Such text is found before the oracle sees it (`text/languages.py`), and the policy says what comes
of it: it is withheld for that reason, which is not harm, or judged all the same and marked.
"""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from typing import TYPE_CHECKING

from guardrail.canonical import short_digest
from guardrail.offload import FIND_LANGUAGE, offload
from guardrail.oracles.base import Judgement, cut_of, goes_by_text, is_function
from guardrail.oracles.options import HarmOptions, find_parts
from guardrail.oracles.text.languages import LANGUAGE_REPORT, foreign_stretch, language_model
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Exchange, Oracle
    from guardrail.oracles.options import OracleOptions
    from guardrail.oracles.text.languages import Unmeasured

__all__ = ["LanguageCheckedOracle", "describe_languages"]

_SHOWN = ("German", "Spanish", "French", "Chinese", "Thai")


class LanguageCheckedOracle:
    """Looks at the language of an answer before an oracle that was measured on English judges it.

    Args:
        oracle: Judges what is English.
        judges_all: Whether it judges all else too. In either case the judgement of such text
            names why in `unmeasured`.
    """

    def __init__(self, oracle: Oracle, *, judges_all: bool = False) -> None:
        self._oracle = oracle
        self._judges_all = judges_all

    @property
    def revision(self) -> str:
        return _revision_of(self._oracle.revision, language_model().revision, self._judges_all)

    @property
    def inner(self) -> Oracle:
        """The oracle that judges."""
        return self._oracle

    @property
    def threshold(self) -> float:
        """The score from which the oracle behind it calls an answer harmful."""
        return float(self._oracle.threshold)  # type: ignore[attr-defined] # those of harm have one

    @property
    def cuts_scores(self) -> bool:
        """See `cut_of`: what is withheld for its language is marked so."""
        return cut_of(self._oracle) is not None

    @property
    def by_text(self) -> bool:
        """See `goes_by_text`: the language is a function of the text."""
        return goes_by_text(self._oracle)

    @property
    def deterministic(self) -> bool:
        """See `is_function`."""
        return is_function(self._oracle)

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order. Raises OracleError."""
        found = [await _find(exchange.response) for exchange in exchanges]
        if self._judges_all:
            said = await self._oracle.judge(exchanges)
            return [
                dataclasses.replace(one, unmeasured=why.value) if why else one
                for one, why in zip(said, found, strict=True)
            ]
        english = [one for one, why in zip(exchanges, found, strict=True) if why is None]
        judgements = iter(await self._oracle.judge(english) if english else ())
        return [next(judgements) if why is None else _withhold(why) for why in found]

    async def aclose(self) -> None:
        await self._oracle.aclose()


@lru_cache(maxsize=64)
def _revision_of(oracle: str, model: str, judges_all: bool) -> str:
    """Every record names it, so that it is computed once."""
    return short_digest("\n".join((oracle, model, repr(judges_all))), 16)


async def _find(text: str) -> Unmeasured | None:
    return await offload(FIND_LANGUAGE, (len(text),), foreign_stretch, text)


def _withhold(why: Unmeasured) -> Judgement:
    return Judgement(
        Outcome.HARMFUL, 1.0, "language unmeasured", unmeasured=why.value, withheld=True
    )


def describe_languages(options: OracleOptions) -> str:
    """A sentence for whoever starts a server; empty where no language is looked at.

    The shares are measured on harmless sentences of four to ten words, see `benchmarks/languages`.
    """
    parts = [part for part in find_parts(options) if isinstance(part, HarmOptions)]
    checking = [part for part in parts if part.checks_language]
    if not checking:
        return ""
    kinds = ", ".join(dict.fromkeys(part.kind for part in checking))
    if all(part.unmeasured_language == "judge" for part in checking):
        return (
            f"oracle {kinds}: measured on English alone; the policy lets it judge other languages, "
            "which fails open"
        )
    return (
        f"oracle {kinds}: answers that are not in English are withheld as 'language unmeasured'"
        f"{_describe_shares()}; for other languages see docs/oracles.md and the policy "
        "'multilingual'"
    )


def _describe_shares() -> str:
    """What was measured, in brackets; empty where no report ships."""
    if not LANGUAGE_REPORT.exists():
        return ""
    seen = json.loads(LANGUAGE_REPORT.read_text())["seen"]
    shares = ", ".join(f"{name} {seen[name]:.0%}" for name in _SHOWN if name in seen)
    return f" (of harmless sentences of four to ten words, measured: {shares})"
