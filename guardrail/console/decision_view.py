"""What a page shows of one decision: its draws, its charts, how far it holds, what was said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from guardrail.console.charts import Curve, Mark, draw_chart, draw_times
from guardrail.engine.plan import radii_by_floor
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.content import open_content
from guardrail.records.explanation import explain_verdict
from guardrail.stats import anytime_lower
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markupsafe import Markup

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record, SampleRecord
    from guardrail.types import Json

__all__ = ["DecisionView", "Draw", "Reached", "Said", "read_messages",
           "view_decision"]  # fmt: skip

_CLASSES = {
    Outcome.HARMLESS: "harmless",
    Outcome.HARMFUL: "harmful",
    Outcome.OTHER_MEANING: "other",
    Outcome.OTHER_ACTION: "other",
    Outcome.MISSING: "missing",
}
_COLOURS = {
    "harmless": "var(--bar-good)",
    "harmful": "var(--bar-bad)",
    "other": "var(--bar-watch)",
    "missing": "var(--bar-fault)",
}
_LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Draw:
    """One variant.

    Attributes:
        sample: as it was recorded.
        look: the class that colours it.
        counted: whether the decision rests on it.
        answer: what was said; None where it is not kept.
    """

    sample: SampleRecord
    look: str
    counted: bool
    answer: str | None

    @property
    def number(self) -> int:
        """From 1, as people count."""
        return self.sample.index + 1


@dataclass(frozen=True, slots=True)
class Said:
    """A message: who said it, and what; pictures stand in it as words."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a picture may be changed, at one share of harmless answers.

    Attributes:
        share: answers are harmless less often, or at least as often.
        radius: as an ℓ2 distance; None where nothing is shown.
        levels: the same, as a change of every colour value by so many of 255 levels.
        pixels: the same, as so many pixels that may be changed at will.
    """

    share: float
    radius: float | None
    levels: float | None
    pixels: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """All that a page needs; see the template."""

    record: Record
    certificate: Certificate | None
    sentences: Sequence[str]
    problem: str
    draws: Sequence[Draw]
    said: Sequence[Said]
    answer: str | None
    content_note: str
    created: datetime
    promised: Sequence[Reached] = ()
    earned: Sequence[Reached] = ()
    bound_chart: Markup | None = None
    plan_chart: Markup | None = None
    reach_chart: Markup | None = None
    time_chart: Markup | None = None


def view_decision(record: Record, keys: ContentKeys | None) -> DecisionView:
    """Puts together what is shown of a record; what does not hold is said, not hidden."""
    content, note = _open(record, keys)
    certificate, sentences, problem = _read(record)
    draws = _draws(record, certificate, content.get("answers", {}))
    charts: dict[str, Any] = {} if certificate is None else _charts(certificate, draws)
    return DecisionView(
        record=record,
        certificate=certificate,
        sentences=sentences,
        problem=problem,
        draws=draws,
        said=read_messages(content.get("messages"), certificate),
        answer=_read_answer(content.get("answer")),
        content_note=note,
        created=datetime.fromisoformat(record.created),
        time_chart=_time_chart(draws),
        **charts,
    )


def _open(record: Record, keys: ContentKeys | None) -> tuple[Mapping[str, Json], str]:
    """What was said, or why it is not shown."""
    if not record.content_digest:
        return {}, "What was asked and answered was not kept (serve --keep-content keeps it)."
    if record.content is None:
        return {}, "What was asked and answered was erased; the record still verifies."
    if keys is None:
        return {}, (
            "What was asked and answered is sealed. A server with --keys and --content-key shows "
            "it to reviewers who have signed in."
        )
    try:
        return open_content(record, keys), ""
    except (CertificationError, ConfigError) as error:
        return {}, f"What was asked and answered cannot be opened: {error}."


def _read(record: Record) -> tuple[Certificate | None, list[str], str]:
    try:
        return record.read_certificate(), explain_verdict(record), ""
    except CertificationError as error:
        return None, [], f"The certificate does not hold: {error}"


def _draws(record: Record, certificate: Certificate | None, answers: Json) -> list[Draw]:
    counted = len(record.samples) if certificate is None else certificate.samples
    kept = answers if isinstance(answers, Mapping) else {}
    return [
        Draw(
            sample,
            _CLASSES[sample.outcome],
            place < counted,
            _read_answer(kept.get(str(sample.index))),
        )
        for place, sample in enumerate(record.samples)
    ]


def _read_answer(answer: Json) -> str | None:
    """An answer's text; of one that is more than a text every field."""
    match answer:
        case None:
            return None
        case str():
            return answer[:_LONGEST]
        case Mapping():
            fields = {name: value for name, value in answer.items() if name != "role" and value}
            if set(fields) == {"content"} and isinstance(fields["content"], str):
                return fields["content"][:_LONGEST]
            return "\n".join(f"{name}: {value}" for name, value in fields.items())[:_LONGEST]
        case _:
            return str(answer)[:_LONGEST]


def read_messages(messages: Json, certificate: Certificate | None = None) -> list[Said]:
    """The messages that a record keeps, as people read them."""
    sizes = [] if certificate is None else [one.client for one in certificate.pictures]
    found = []
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, Mapping):
            text = "\n".join(_read_parts(message.get("content"), sizes))
            found.append(Said(str(message.get("role", "")), text[:_LONGEST]))
    return found


def _read_parts(content: Json, sizes: list[tuple[int, int]]) -> Iterator[str]:
    parts = content if isinstance(content, list) else [content]
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            yield part["text"]
        elif isinstance(part, Mapping) and part.get("type") == "image_url":
            size = f", {sizes[0][1]} × {sizes[0][0]} pixels" if len(sizes) == 1 else ""
            yield f"[a picture{size}]"
        elif part is not None:
            yield str(part)


def _charts(certificate: Certificate, draws: Sequence[Draw]) -> dict[str, Any]:
    counted = [draw for draw in draws if draw.counted]
    reaches = (
        radii_by_floor(certificate, certificate.geometry, certificate.q_required)
        if certificate.pictures
        else ()  # of a request without pictures nothing is changed by a length
    )
    promised = [_describe_reach(certificate, one.floor, one.radius) for one in reaches]
    earned = [_describe_reach(certificate, one.floor, one.radius) for one in certificate.stability]
    charts: dict[str, Any] = {
        "promised": promised,
        "earned": earned,
        "reach_chart": _reach_chart(promised, earned),
    }
    if counted:
        charts["bound_chart"] = _bound_chart(certificate, counted)
        charts["plan_chart"] = _plan_chart(certificate, counted)
    return charts


def _describe_reach(certificate: Certificate, share: float, radius: float | None) -> Reached:
    if radius is None or not certificate.has_possible_sizes:
        return Reached(share, radius, None, None)
    words = certificate.in_words(radius)
    return Reached(share, radius, words.linf_levels, words.full_pixels)


def _bound_chart(certificate: Certificate, draws: Sequence[Draw]) -> Markup:
    """What is shown of the share of harmless answers, draw by draw."""
    harmless, points = 0, [(0.0, 0.0)]
    for n, draw in enumerate(draws, start=1):
        harmless += draw.sample.outcome.counts_as_harmless
        points.append((float(n), anytime_lower(harmless, n, certificate.alpha)))
    marks = []
    if certificate.harmless_rate_lower:
        told = f"shown by the plan: {100 * certificate.harmless_rate_lower:.1f} %"
        bound = certificate.harmless_rate_lower
        marks.append(Mark(len(draws), bound, "var(--bar-good)", title=told))
    return draw_chart(
        [Curve(points, "var(--link)")],
        x_label="answers drawn",
        y_label="harmless, at least",
        x_high=len(draws),
        y_high=1.0,
        title="Lower bound of the share of harmless answers against answers drawn",
        marks=marks,
        level=(certificate.q_required, f"to be shown: {100 * certificate.q_required:.1f} %"),
        shares=True,
    )


def _plan_chart(certificate: Certificate, draws: Sequence[Draw]) -> Markup:
    """Harmful answers so far, between the ends of the plan."""
    harmful, points = 0, [(0.0, 0.0)]
    for n, draw in enumerate(draws, start=1):
        points.append((float(n), float(harmful)))
        harmful += not draw.sample.outcome.counts_as_harmless
        points.append((float(n), float(harmful)))
    looks = list(
        zip(certificate.looks, certificate.pass_at_most, certificate.block_at_least, strict=True)
    )
    seen = [look for look in looks if look[0] <= max(2 * len(draws), 10)] or looks[:1]
    marks = [
        Mark(n, most, "var(--bar-good)", "down", f"let through after {n} with at most {most}")
        for n, most, _ in seen
        if 0 <= most <= n
    ]
    marks += [
        Mark(n, least, "var(--bar-bad)", "up", f"stopped after {n} with at least {least}")
        for n, _, least in seen
        if least <= n
    ]
    return draw_chart(
        [Curve(points, "var(--link)")],
        x_label="answers drawn",
        y_label="harmful so far",
        x_high=max(len(draws), *(n for n, *_ in seen)),
        y_high=max(1.0, harmful, *(mark.y for mark in marks)) * 1.05,
        title="Harmful answers so far against answers drawn, with the ends of the plan",
        marks=marks,
    )


def _reach_chart(promised: Sequence[Reached], earned: Sequence[Reached]) -> Markup | None:
    """How far, against the share of harmless answers."""
    curves = []
    for rows, colour, dash in ((promised, "var(--link)", ""), (earned, "var(--bar-good)", "7 4")):
        points = [(one.levels, one.share) for one in rows if one.levels is not None]
        if points:
            curves.append(Curve(points, colour, dash))
    if not curves:
        return None
    return draw_chart(
        curves,
        x_label="change of every colour value, in levels of 255",
        y_label="answered harmlessly",
        x_high=1.05 * max(x for curve in curves for x, _ in curve.points),
        y_high=1.05 * max(y for curve in curves for _, y in curve.points),
        title="How far a picture may be changed, against the share of harmless answers",
        shares=True,
    )


def _time_chart(draws: Sequence[Draw]) -> Markup | None:
    if not draws:
        return None
    rows = [(str(draw.number), draw.sample.elapsed_s, _COLOURS[draw.look]) for draw in draws]
    return draw_times(rows, title="Time of each draw, call and judgement together")
