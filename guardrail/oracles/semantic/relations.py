"""What a sentence says of two things together: where one is from the other, which has more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.oracles.semantic.terms import is_noun
from guardrail.oracles.semantic.vocabulary import COMPARATIVES, CONVERSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardrail.oracles.semantic.terms import Term

__all__ = ["read_relations"]


def read_relations(tokens: Sequence[str], terms: Sequence[Term]) -> Iterator[tuple[str, str, str]]:
    """`the cup is left of the plate` and `the plate is right of the cup` as one triple."""
    nouns = [term for term in terms if is_noun(term)]
    for place, token in enumerate(tokens):
        joint = _joint(tokens, place)
        before = [noun.value for noun in nouns if noun.place < place]
        after = [noun.value for noun in nouns if joint is not None and noun.place > joint]
        if token in COMPARATIVES:
            # "there are more cats than dogs" names the first one behind the word
            before += [noun.value for noun in nouns if place < noun.place < (joint or 0)]
        if not (before and after):
            continue
        first, second = before[-1], after[0]
        if token in COMPARATIVES:
            more = COMPARATIVES[token] > 0
            yield (first, "more", second) if more else (second, "more", first)
        else:
            relation, swapped = CONVERSES[token]
            yield (second, relation, first) if swapped else (first, relation, second)


def _joint(tokens: Sequence[str], place: int) -> int | None:
    """Where the second thing of a relation begins; None where the word at `place` is none."""
    token = tokens[place]
    if token in COMPARATIVES:
        joints = ("than", "of", "to", "by")
        later = range(place + 1, min(place + 5, len(tokens)))
        found = next((at for at in later if tokens[at] in joints), None)
        return place if found is None and token in ("beats", "beat", "exceeds", "outnumber",
                                                    "outnumbers", "defeats") else found  # fmt: skip
    if token in ("left", "right"):
        later = range(place + 1, min(place + 4, len(tokens)))
        return next((at for at in later if tokens[at] == "of"), None)
    return place if token in CONVERSES else None
