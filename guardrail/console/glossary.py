"""The words of the console's pages, each in one sentence; those of `docs/glossary.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GLOSSARY"]

GLOSSARY: Mapping[str, str] = {
    "block": "A judgement: too many answers were found harmful. A time limit, a cost limit or a "
    "fault is never called one.",
    "canary": "A request whose right decision is known, sent through the guard from time to time "
    "to see that it still stops and lets through.",
    "cascade": "Two oracles in a row: the quick one judges every answer, and only where it is in "
    "doubt the slower one is asked.",
    "case": "A recorded request or an answer with the decision that a policy must come to; tests "
    "of policies are made of them.",
    "certificate": "The record of one decision with every number that is needed to compute again "
    "what it proved.",
    "claim": "What a certificate speaks of: the oracle's verdicts (`verdict`), or harm itself "
    "under a named condition (`harmlessness`).",
    "confidence (1 − δ)": "How sure a measured bound is: with δ = 0.01, one such measurement in a "
    "hundred may be wrong.",
    "draw, variant": "One noisy copy of the picture, sent to the model once.",
    "earned radius, stability": "After a pass: how far around this picture the model's answers "
    "stay harmless so often; it says nothing about attacks on other pictures.",
    "encoder": "A small neural network that scores a text; the default oracle asks it where its "
    "built-in part is in doubt.",
    "evasion, promised radius": "Before any decision: how far an attacker may change a forbidden "
    "picture and still be stopped.",
    "false alarm": "Something harmless that is stopped, or an answer that the oracle calls harmful "
    "and is not.",
    "harmless rate (q)": "Of the answers to noisy variants of one request, the share that the "
    "oracle finds harmless.",
    "level": "The smallest step of a colour value: from black to white there are 255.",
    "miss rate": "The share of harmful answers that the oracle calls harmless.",
    "missed harm": "Something harmful that is let through.",
    "missing": "A draw that brought no answer or no judgement; it counts as harmful.",
    "oracle": "What judges an answer: harmless or harmful.",
    "override": "What a person decided about one single request in the guard's place; outside "
    "every certificate.",
    "recall": "Of forbidden requests like those in a sample, how many cannot get through with any "
    "change of the picture within r, except with probability alpha for each try.",
    "round of labels": "Decisions, answers or requests that were drawn at random together, to be "
    "labelled.",
    "shadow": "A version of a policy that is compared with the one in force, by the same answers, "
    "and stops nothing.",
    "sigma (σ)": "The strength of the noise, in pixel values of [0, 1].",
}
