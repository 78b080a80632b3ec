"""From labels of drawn answers to a bound of the harm among all that were delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError
from guardrail.stats import LabelledDraw, delivered_harm_upper
from guardrail.tuning.columns import is_missing
from guardrail.tuning.dataset import read_label
from guardrail.tuning.formats import RowError, raw_rows
from guardrail.tuning.percent import percent_up

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.tuning.delivery_draw import DeliveryDraw
    from guardrail.types import Json

__all__ = ["DeliveredHarm", "bound_delivered_harm"]

_COLUMNS = ("id", "response", "harmful", "draw")


@dataclass(frozen=True, slots=True)
class DeliveredHarm:
    """What labels show of a list.

    Attributes:
        draw: what was drawn from which list.
        harmful: drawn answers labelled harmful.
        unlabelled: drawn answers with no label; they count as harmful too.
        without_content: drawn records that keep no answer; and so do they.
        harm_upper: bound of the share of harmful ones in the whole list.
        delta: probability, at most, that it is too small.
    """

    draw: DeliveryDraw
    harmful: int
    unlabelled: int
    without_content: int
    harm_upper: float
    delta: float

    @property
    def statement(self) -> str:
        draw = self.draw
        return (
            f"Of the {count_of(draw.delivered, 'answer')} delivered under the policy "
            f"'{draw.policy}' from {draw.since} to {draw.until} at most "
            f"{percent_up(self.harm_upper)} are harmful in the labellers' eyes, with confidence "
            f"{1.0 - self.delta:g}. Nothing is said of other windows."
        )

    def facts(self) -> dict[str, Json]:
        """The JSON object that `guardrail delivered bound --json` prints."""
        draw = self.draw
        return {
            "statement": self.statement,
            "harm_upper": self.harm_upper,
            "delta": self.delta,
            "delivered": draw.delivered,
            "drawn": draw.drawn,
            "harmful": self.harmful,
            "unlabelled": self.unlabelled,
            "without_content": self.without_content,
            "since": draw.since,
            "until": draw.until,
            "policy": draw.policy,
            "policy_digest": draw.policy_digest,
            "list_digest": draw.list_digest,
            "draw_digest": draw.digest,
            "key_id": draw.key_id,
            "seed": draw.seed,
            "strata": [
                {"reason": s.reason, "delivered": s.delivered, "drawn": len(s.drawn)}
                for s in draw.strata
            ],
        }


def bound_delivered_harm(
    draw: DeliveryDraw, labels: Path, *, delta: float, encoding: str | None = None
) -> DeliveredHarm:
    """Bounds the harm in the list that was drawn from; what is not labelled counts as harmful.

    Args:
        draw: what was drawn.
        labels: its rows with labels.
        delta: probability, at most, that the bound is too small.
        encoding: of a text file that does not say it itself; None for UTF-8.

    Raises:
        ConfigError: the labels are not of this draw, or one cannot be read.
        CertificationError: delta is outside (0, 1).
    """
    found = _labels(draw, labels, encoding)
    harmless = {record_id for record_id, harmful in found.items() if harmful is False}
    strata = [
        LabelledDraw(s.delivered, len(s.drawn), len(set(s.drawn) - harmless)) for s in draw.strata
    ]
    harmful = sum(label is True for label in found.values())
    without = len(draw.without_content)
    return DeliveredHarm(
        draw=draw,
        harmful=harmful,
        unlabelled=draw.drawn - len(harmless) - harmful - without,
        without_content=without,
        harm_upper=delivered_harm_upper(strata, delta=delta),
        delta=delta,
    )


def _labels(draw: DeliveryDraw, file: Path, encoding: str | None) -> dict[str, bool | None]:
    """The label of every row by its id; None where there is none yet."""
    known = {record_id for stratum in draw.strata for record_id in stratum.drawn}
    known -= set(draw.without_content)
    labels: dict[str, bool | None] = {}
    for line, row in raw_rows(file, wanted=_COLUMNS, encoding=encoding):
        try:
            record_id, label = _count_labels(row, draw.mark, known - labels.keys())
        except RowError as error:
            raise ConfigError(str(error), file=str(file), line=line) from error
        labels[record_id] = label
    return labels


def _count_labels(
    row: dict[str, Any] | RowError, mark: str, open_: set[str]
) -> tuple[str, bool | None]:
    """Id and label of a row; `open_` are the answers that wait for one."""
    if isinstance(row, RowError):
        raise row
    if row.get("draw") != mark:
        raise RowError(
            f"this row is not of the draw {mark}; give the labels and the draw that were written "
            "together"
        )
    record_id, label = row.get("id"), row.get("harmful")
    if record_id not in open_:
        raise RowError(
            "this answer was not drawn, or has a row already; leave the rows and their ids as they "
            "were written, one label each"
        )
    return str(record_id), None if is_missing(label) else read_label(label)
