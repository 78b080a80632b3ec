"""A draw from the list of delivered answers, fixed before any of them is looked at."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from guardrail.errors import ConfigError
from guardrail.records.audit import read_records
from guardrail.sealed import Sealed
from guardrail.section import Section
from guardrail.tuning.deliveries import delivered_text
from guardrail.tuning.draw import equal_shares, prompt_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.images.keys import NoiseKey
    from guardrail.records.content import ContentKeys
    from guardrail.tuning.deliveries import Deliveries
    from guardrail.types import Json

__all__ = ["DeliveryDraw", "DrawKey", "DrawnStratum", "check_draw", "draw_deliveries",
           "draw_strata", "make_draw"]  # fmt: skip

_LABEL = b"guardrail/delivered-draw/1/"
_MARK_DIGITS = 16

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0)]


class DrawnStratum(Section):
    """One part of the list."""

    reason: str
    """Why its answers left; empty where the list is one part."""
    delivered: _Count
    """Answers in it."""
    drawn: list[str]
    """Record ids, in the order of the draw."""


class DeliveryDraw(Sealed):
    """What was drawn from which list."""

    title: ClassVar[str] = "draw of delivered answers"
    command: ClassVar[str] = "guardrail delivered draw"
    largest_bytes: ClassVar[int] = 64 * 1024 * 1024

    version: Literal[1] = 1
    """Version of this format."""
    policy: str
    """Name of the policy under which the answers left."""
    policy_digest: str
    """Its digest."""
    since: str
    """Begin of the window, ISO 8601."""
    until: str
    """End of the window, ISO 8601."""
    list_digest: _Sha256
    """SHA-256 over the records of all answers that left in the window."""
    count: _Count
    """How many answers were asked for."""
    by_reason: bool
    """Whether each reason is a stratum."""
    key_id: str
    """Id of the key that drew; empty where a seed did."""
    seed: int | None
    """Seed that drew; null where a key did."""
    strata: list[DrawnStratum]
    """The parts of the list and what was drawn of each."""
    without_content: list[str]
    """Drawn records that keep no answer to look at; they count as harmful."""
    created: str
    """ISO 8601, UTC."""

    @property
    def delivered(self) -> int:
        return sum(stratum.delivered for stratum in self.strata)

    @property
    def drawn(self) -> int:
        return sum(len(stratum.drawn) for stratum in self.strata)

    @property
    def mark(self) -> str:
        """What binds a file of labels to this draw."""
        return self.computed_digest()[:_MARK_DIGITS]

    @property
    def drawn_by(self) -> str:
        return f"key {self.key_id}" if self.seed is None else f"seed {self.seed}"


class DrawKey:
    """Ranks records; those of least rank are drawn.

    The rank depends on nothing but key and record, so that another window or count draws the same
    answers as far as it can: who wants other ones needs another key, and that shows.

    Args:
        source: a secret key, so that without it nobody knows beforehand what is drawn; or a seed,
            with which anybody can repeat the draw.
    """

    def __init__(self, source: NoiseKey | int) -> None:
        self._source = source
        self.key_id = "" if isinstance(source, int) else source.key_id
        self.seed = source if isinstance(source, int) else None

    def rank(self, record_id: str) -> bytes:
        message = _LABEL + record_id.encode()
        if isinstance(self._source, int):
            return hmac.digest(f"seed {self._source}".encode(), message, "sha256")
        return self._source.derive(message)


def draw_deliveries(
    files: Sequence[Path],
    deliveries: Deliveries,
    count: int,
    key: DrawKey,
    *,
    by_reason: bool = False,
    content_keys: ContentKeys | None = None,
) -> tuple[DeliveryDraw, list[dict[str, Json]]]:
    """The draw, and its rows to label, in the order of the draw.

    Args:
        files: that the deliveries were found in.
        deliveries: the list.
        count: how many to draw, without replacement; fewer where there are fewer.
        key: that draws.
        by_reason: whether each reason gives an equal number, as far as it goes, in place of its
            share; the strata share delta.
        content_keys: open the records' content, where it is sealed.

    Raises:
        ConfigError: `count` is smaller than the number of strata.
    """
    strata = draw_strata(deliveries, count, key, by_reason=by_reason)
    wanted = {record_id for stratum in strata for record_id in stratum.drawn}
    texts = {
        record.record_id: (prompt_of(record), delivered_text(record))
        for file in files
        for _, record in read_records(file, content_keys=content_keys)
        if record.record_id in wanted
    }
    ids = [record_id for stratum in strata for record_id in stratum.drawn]
    without = [record_id for record_id in ids if not texts[record_id][1]]
    draw = make_draw(deliveries, count, key, strata, without, by_reason=by_reason)
    # Strata mixed, so that those who label do not go through one after the other.
    rows = [
        _row(record_id, *texts[record_id], draw.mark) for record_id in sorted(ids, key=key.rank)
    ]
    return draw, [row for row in rows if row["response"]]


def make_draw(
    deliveries: Deliveries,
    count: int,
    key: DrawKey,
    strata: list[DrawnStratum],
    without_content: list[str],
    *,
    by_reason: bool = False,
) -> DeliveryDraw:
    """The sealed facts of a draw by `draw_strata`."""
    return DeliveryDraw(
        policy=deliveries.policy,
        policy_digest=deliveries.policy_digest,
        since=deliveries.since,
        until=deliveries.until,
        list_digest=deliveries.digest,
        count=count,
        by_reason=by_reason,
        key_id=key.key_id,
        seed=key.seed,
        strata=strata,
        without_content=without_content,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    ).sealed()


def check_draw(draw: DeliveryDraw, deliveries: Deliveries, key: DrawKey) -> None:
    """Draws once more and compares.

    Raises:
        ConfigError: the records are not those that were drawn from, or the key not the one.
    """
    if draw.list_digest != deliveries.digest:
        raise ConfigError(
            f"the draw was made from another list: {draw.delivered} answers from {draw.since} to "
            f"{draw.until}, and these records hold {len(deliveries.items)} of that window; give "
            "the same files"
        )
    if (draw.key_id, draw.seed) != (key.key_id, key.seed):
        raise ConfigError(f"the draw was made with {draw.drawn_by}; give that one")
    if draw.strata != draw_strata(deliveries, draw.count, key, by_reason=draw.by_reason):
        raise ConfigError(
            "this key draws other answers from this list, so the draw was not made by it; draw "
            "again and label what is drawn"
        )


def draw_strata(
    deliveries: Deliveries, count: int, key: DrawKey, *, by_reason: bool = False
) -> list[DrawnStratum]:
    """What is drawn of each part of the list; see `draw_deliveries`. Raises ConfigError."""
    parts: dict[str, list[str]] = {}
    for item in deliveries.items:
        parts.setdefault(item.reason if by_reason else "", []).append(item.record_id)
    reasons = sorted(parts)
    sizes = equal_shares([len(parts[reason]) for reason in reasons], count)
    return [
        DrawnStratum(
            reason=reason,
            delivered=len(parts[reason]),
            drawn=sorted(parts[reason], key=key.rank)[:size],
        )
        for reason, size in zip(reasons, sizes, strict=True)
    ]


def _row(record_id: str, prompt: str, response: str, mark: str) -> dict[str, Json]:
    return {
        "id": record_id,
        "prompt": prompt,
        "response": response,
        "harmful": None,
        "draw": mark,
    }
