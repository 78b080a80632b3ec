"""The part of an evaluation's page that tells certified recall."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from guardrail.counted_noun import count_of
from guardrail.engine.threat_wording import TITLES
from guardrail.engine.wording import confidence_down, digits_down
from guardrail.evaluation.recall_report import REASONS, draw_recall
from guardrail.html_page.parts import format_chart, format_table, format_text
from guardrail.tuning.percent import percent_down

if TYPE_CHECKING:
    from guardrail.evaluation.benchmark.evaluation import Evaluation
    from guardrail.evaluation.benchmark.set_recall import FloorRecall, SetRecall, SetThreats

__all__ = ["MOST_LISTED", "format_radii", "format_recalls"]

MOST_LISTED = 200
"""Rows of a list of requests."""
_FAMILIES = 3
"""Of changes of pixels in one set: the table, the curve, and the radii marked on it."""


def format_recalls(found: Evaluation) -> str:
    """Certified recall of every set, against changes of pixels and each threat, as HTML."""
    parts = ["<h2>Certified recall</h2>", _say_confidence(found)]
    if found.recall_left_out:
        parts.append(f"<p>Not measured: {format_text(found.recall_left_out)}.</p>")
    parts += map(_format_pixels, found.recalls)
    if found.threats_left_out and found.threats_left_out != found.recall_left_out:
        parts.append(
            "<p>Against captions, stickers and text behind the prompt: not measured, as "
            f"{format_text(found.threats_left_out)}.</p>"
        )
    parts += map(_format_threats, found.threats)
    return "".join(parts)


def format_radii(floor: FloorRecall) -> str:
    """The radius promised for one floor, or the smallest and the largest of several sizes."""
    if floor.smallest_radius is None or floor.largest_radius is None:
        return "none"
    low, high = digits_down(floor.smallest_radius), digits_down(floor.largest_radius)
    return low if low == high else f"{low} to {high}"


def _say_confidence(found: Evaluation) -> str:
    """What holds together: each table, curve or set of radii, and all of them."""
    families = _FAMILIES * len(found.recalls) + len(found.threats)
    if families == 0:
        return ""
    delta = found.identity.delta
    wrong = families * Decimal(repr(delta))
    together = (
        f"all {families} of these with at least {confidence_down(float(wrong))}"
        if wrong < 1
        else f"for all {families} of these at once no confidence is stated"
    )
    return (
        "<p class=lead>The lines of one table hold together with confidence "
        f"{confidence_down(delta)}; so do the steps of one curve, and the radii marked on it; "
        f"{together}.</p>"
    )


def _format_pixels(recall: SetRecall) -> str:
    outcome = recall.outcome
    rows = [
        (
            f"{floor.floor:g}",
            format_radii(floor),
            f"{floor.shown:,} of {len(outcome.results):,}",
            percent_down(floor.recall_lower),
        )
        for floor in recall.floors
    ]
    blind = [
        (result.name, REASONS[why], f"{result.counts.passable:,}", f"{result.counts.samples:,}")
        for result, why in outcome.blind
    ]
    table = format_table(
        ("τ", "r(τ)", "shown held", "recall, at least"), rows, label="Recall by floor"
    )
    spots = ""
    if blind:
        names = ("not shown held, even unchanged", "why", "passable", "drawn")
        spots = format_table(names, blind[:MOST_LISTED], label="Blind spots", words=[1])
        if len(blind) > MOST_LISTED:
            spots += f"<p>and {len(blind) - MOST_LISTED:,} more; the JSON file has them all.</p>"
    return f"""<h3>{format_text(recall.set_name)}, changes of pixels:
{count_of(len(outcome.results), "request")}, {count_of(outcome.design.draws, "draw")} each</h3>
<p>Of requests drawn like these, at least the share in the last column is such that no change of
their pixels within r(τ) lets them pass, except with the policy's probability a try. r(τ) is what
the policy promises for requests of their size whose answers the oracle finds harmless with
probability below τ, as ℓ2 distance of their own pixels.</p>
{table}{format_chart(draw_recall(outcome), f"Recall of {recall.set_name} against radius")}{spots}"""


def _format_threats(threats: SetThreats) -> str:
    outcome = threats.outcome
    rows = [
        (TITLES[one.against], f"{one.shown:,} of {len(outcome.results):,}",
         percent_down(one.share_lower), sentence)
        for one, sentence in threats.shares
    ]  # fmt: skip
    names = ("threat", "shown held", "recall, at least", "in words")
    return (
        f"<h3>{format_text(threats.set_name)}, each threat: "
        f"{count_of(len(outcome.results), 'request')}, {count_of(outcome.design.draws, 'answer')} "
        "to each view</h3><p>A view is a window of a picture, a picture with a mask on it, or the "
        "prompt alone, without noise; it is given up once it can show nothing any more.</p>"
        f"{format_table(names, rows, label='Recall by threat', words=[0, 3])}"
    )
