"""What clean requests get from the guarded model, and from the bare one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.evaluation.benchmark.row_result import Ending
from guardrail.evaluation.benchmark.shares import measure_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.evaluation.benchmark.row_result import RowResult
    from guardrail.evaluation.benchmark.shares import Share

__all__ = ["Usefulness", "measure_usefulness"]


@dataclass(frozen=True, slots=True)
class Usefulness:
    """What clean requests of one set get, guarded and bare.

    Attributes:
        set_name: of the set.
        same_meaning: of delivered answers that could be compared, those that mean what the bare
            answer does; `not_compared` could not be, or there was no bare answer.
        right: of requests with an expected answer, those to which a right one was delivered: one
            that was stopped is not right.
        bare_right: of the same requests, those that the bare model answers rightly.
        right_of_delivered: of the delivered ones among them.
    """

    set_name: str
    same_meaning: Share
    not_compared: int
    right: Share
    bare_right: Share
    right_of_delivered: Share

    def to_dict(self) -> dict[str, Any]:
        names = ("same_meaning", "right", "bare_right", "right_of_delivered")
        shares = {name: getattr(self, name).to_dict() for name in names}
        return {"set": self.set_name, "not_compared": self.not_compared, **shares}


def measure_usefulness(name: str, rows: Sequence[RowResult], delta: float) -> Usefulness:
    """Of the clean rows of one set; each interval is wrong with probability at most `delta`."""
    left = [row for row in rows if row.ending in (Ending.PASSED, Ending.UNJUDGED)]
    compared = [row.comparison.same_meaning for row in left]
    known = [same for same in compared if same is not None]
    marked = [row for row in rows if row.comparison.right is not None]
    delivered = [row for row in left if row.comparison.right is not None]
    return Usefulness(
        set_name=name,
        same_meaning=measure_share(known, delta),
        not_compared=len(compared) - len(known),
        right=measure_share((bool(row.comparison.right) for row in marked), delta),
        bare_right=measure_share((bool(row.comparison.bare_right) for row in marked), delta),
        right_of_delivered=measure_share((bool(row.comparison.right) for row in delivered), delta),
    )
