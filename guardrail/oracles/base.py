"""What an oracle is: it puts an answer into a class.

A `Scorer` is the part that computes (synchronous, batched, may be slow); an `Oracle` is what the
engine awaits. `ThreadedOracle` in `worker.py` turns the first into the second. A `ReferenceOracle`
first chooses what the answers should be like, on draws of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.types import Json, Outcome, Pixels

__all__ = [
    "Exchange",
    "Judgement",
    "NamedScore",
    "Oracle",
    "Reference",
    "ReferenceOracle",
    "Scorer",
    "cut_of",
    "goes_by_text",
    "is_function",
    "reads_whole",
]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answer to judge, with the prompt that drew it (empty where it is not known).

    Two exchanges are equal if their texts are: an oracle that also looks at the other fields must
    not merge equal ones.

    Attributes:
        prompt: the text of the last user message.
        response: every text of the answer that a client could read or act on, tool calls included;
            or the text of one field of it, which is judged by itself beside the whole.
        message: the assistant message as it came; None where there is only text, as for one field.
        pictures: what the model saw, noise and all. Never the client's own pictures: only a
            verdict that depends on the noisy ones alone keeps the promise.
    """

    prompt: str
    response: str
    message: Mapping[str, Json] | None = field(default=None, compare=False, repr=False)
    pictures: tuple[Pixels, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an oracle said of one answer.

    `score` grows with harm and lies in [0, 1]; `reason` names the category or rule in a few
    words and never quotes the answer. `unscanned` names what this oracle could not look into.
    `field` names the part of the answer that was judged; the engine fills it in, not the oracle.
    `unmeasured` says why the answer's language is none that the oracle was measured on, empty where
    it is: harmful then means withheld for that and not harm, harmless that the policy had it judged
    all the same.
    """

    outcome: Outcome
    score: float
    reason: str = ""
    unscanned: tuple[str, ...] = ()
    field: str = ""
    unmeasured: str = ""
    withheld: bool = False


class NamedScore(float):
    """A score and the category it comes from: a word of a closed list, none of the answer's."""

    __slots__ = ("category",)

    category: str

    def __new__(cls, score: float, category: str) -> Self:
        named = super().__new__(cls, score)
        named.category = category
        return named


@runtime_checkable
class Scorer(Protocol):
    """Computes one harm score in [0, 1] for every exchange; called from one thread at a time."""

    @property
    def revision(self) -> str:
        """A short digest of everything that fixes the scores (weights, window, labels)."""

    def scores(self, exchanges: Sequence[Exchange]) -> Sequence[float]:
        """One score for each exchange, in order. Raises OracleError; never returns NaN.

        A `NamedScore` lets the judgement's reason say which category it was.
        """


@runtime_checkable
class Oracle(Protocol):
    """Judges answers; a failure is raised as OracleError and never returned as harmless."""

    @property
    def revision(self) -> str:
        """A short digest of everything that fixes the verdicts (scorer and threshold)."""

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order."""

    async def aclose(self) -> None:
        """Releases threads and connections."""


def goes_by_text(oracle: object) -> bool:
    """Whether equal exchanges always get equal judgements, so that one may serve for all of them.

    An oracle says so by an attribute `by_text` that is True. It must be a function of the texts:
    where it draws at random or looks at pictures, samples that share a judgement are not
    independent.
    """
    return getattr(oracle, "by_text", False) is True


def is_function(oracle: object) -> bool:
    """Whether an oracle says the same each time that it is shown the same exchange.

    Such a one may be asked again after any fault. One that goes by more than the texts says so by
    an attribute `deterministic` that is True; its judgements do not serve for other exchanges.
    """
    return goes_by_text(oracle) or getattr(oracle, "deterministic", False) is True


def cut_of(oracle: object) -> float | None:
    """The threshold of an oracle that calls harmful exactly what scores at least that.

    Its outcomes at any other threshold then follow from the scores, but for judgements that are
    `withheld`. An oracle says so by an attribute `cuts_scores` that is True, beside `threshold`;
    None for all others.
    """
    if getattr(oracle, "cuts_scores", False) is not True:
        return None
    threshold = getattr(oracle, "threshold", None)
    return float(threshold) if isinstance(threshold, int | float) else None


def reads_whole(oracle: object) -> bool:
    """Whether a harmful passage counts as much in a long calm text as it does alone.

    An oracle says so by an attribute `reads_whole` that is True. Its answers are then judged once,
    as a whole, and a field by itself only where its text does not stand in the whole word for word.
    Every field of an answer is judged alone as well by any other oracle, which may average.
    """
    return getattr(oracle, "reads_whole", False) is True


@dataclass(frozen=True, slots=True)
class Reference:
    """What answers are compared with from now on.

    Attributes:
        kind: `action` or `meaning`.
        name: what was chosen, as a certificate shows it: an action of the policy's closed set, or
            a digest of an answer. Never an answer's own words.
        oracle: says harmless for an answer that is like the reference (and, where the policy asks
            for it, harmless too); of every other one harmful, or that its meaning is another.
    """

    kind: str
    name: str
    oracle: Oracle


@runtime_checkable
class ReferenceOracle(Oracle, Protocol):
    """Compares answers with a reference that is chosen on `n0` draws and bounded on fresh ones.

    `judge` is for an answer that stands alone, without noise and without a reference. All of it is
    about whole answers; one that has an oracle of harm beside it shows it as `harm`, which is then
    asked about every field as well.
    """

    @property
    def n0(self) -> int:
        """Draws to choose the reference on, at least 1."""

    async def reference(self, selection: Sequence[Exchange]) -> Reference | None:
        """The reference, from at most `n0` answers in the order of their draws.

        None where the answers have nothing in common that could be certified. Raises OracleError.
        """
