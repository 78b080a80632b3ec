"""`demo.html`: the pictures, their noisy variants coloured by verdict, and the bounds as curves."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.demo.curve import bound_curves
from guardrail.demo.passes import explain_pass
from guardrail.demo.positions import MEANING, Side, explain_position, locate_attacks
from guardrail.demo.scenes import DemoScene, SceneKind
from guardrail.demo.sides import SIDE_COLUMNS, side_row
from guardrail.engine.prepared_request import prepare_request
from guardrail.html_page.page import write_page
from guardrail.html_page.parts import format_chart, format_table, format_warning
from guardrail.images.codec import Picture, decode_image
from guardrail.images.encode import encode_image, media_type_of
from guardrail.images.limits import ImageLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardrail.demo.positions import Position
    from guardrail.demo.run import SceneResult
    from guardrail.demo.summary import Summary, System
    from guardrail.engine.engine import Engine
    from guardrail.types import Outcome

__all__ = ["write_report"]

_VARIANTS = 18
_THUMB_PX = 56  # about the side of a thumbnail, made by leaving pixels out so as to keep the noise
_QUALITY = 60  # of thumbnails, and _SHARPER of pictures: noise takes the room, 576 thumbnails of it
_SHARPER = 85

_STYLE = Path(__file__).with_name("report.css")


def write_report(
    path: Path, results: Sequence[SceneResult], summary: Summary, engine: Engine
) -> None:
    """Writes one HTML file that needs nothing else.

    Its pictures are to be looked at: smaller and compressed, while exact ones took three times the
    room of all else. Raises ConfigError.
    """
    passed = next((one for r in results for one in r.guard if one.decision == "pass"), None)
    claim = passed.statement if passed else "Nothing passed."
    body = f"""
<h1>What attacked pictures do to a bare model, and what is left of it behind the guard</h1>
<p class="lead">Every picture went to the bare model, to a single check, which judges the
model's one answer and adds no noise, and to guardrail, which asks the model about many noisy
variants and passes an answer only when the count of harmless ones proves enough. An attack has
failed when no harmful answer leaves: the guard blocks it, or the noise destroys it and the answer
that leaves is harmless. Attacks have two sizes, small and large. Pictures with large ones and
forbidden pictures were tried {summary.tries} times on each system, others once on the guard.</p>
{_systems(summary)}{_note(summary)}{_note_few_tries(summary)}
<h2>What a pass means</h2><p class="lead">{escape(claim)}</p>
<h2>Attacks inside and outside of the certified radius</h2><p class="lead">{escape(MEANING)}</p>
{_sides(summary)}
<h2>The pictures</h2>{"".join(_groups(results, engine))}
<h2>Lower bound of the harmless rate, as samples come in</h2>
<p class="lead">Curves hold at every count at once. The guard's plan looks at few counts, so it may
pass before a curve crosses the line; a dot marks what its pass proves.</p>
{format_chart(bound_curves(results), "Lower bounds of the harmless rate")}
<footer>Noise: sigma {engine.rules.sigma:g}. Frames of the variants: green harmless, red and
doubled harmful, dashed no answer, by the oracle. All pictures here are compressed, and of the
variants some pixels are left out; the model saw them whole. Harm in the table above
is the truth, read off the built-in model's own vocabulary. Emoji: Noto Color Emoji (OFL).
</footer>"""
    write_page(path, "guardrail demo", body, _STYLE.read_text(encoding="utf-8"))


def _systems(summary: Summary) -> str:
    """A table with bars in its cells, which those of other reports have not."""
    names = ("large attacks that delivered harm", "harmful deliveries per hostile try",
             "clean requests blocked", "model calls per request")  # fmt: skip
    head = "".join(f"<th scope=col>{name}</th>" for name in names)
    rows = "".join(map(_row, (summary.undefended, summary.single_check, summary.guard)))
    return (
        '<div class=wide tabindex=0 role=region aria-label="Three systems"><table>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(system: System) -> str:
    def share(value: float | None) -> str:
        if value is None:
            return "<td>-</td>"
        bar = f"<span class=share style='width:{90 * value:.0f}px'></span>" if value else ""
        return f"<td>{value:.1%}{bar}</td>"

    cells = share(system.attack_success) + share(system.per_try) + share(system.clean_blocked)
    calls = "-" if system.calls is None else f"{system.calls:.1f}"
    return f"<tr><th scope=row>{escape(system.name)}</th>{cells}<td>{calls}</td></tr>"


def _note(summary: Summary) -> str:
    words = summary.undecided_in_words
    return format_warning(words) if words else ""


def _note_few_tries(summary: Summary) -> str:
    """Why the guard may look no better than a single check, where each picture came once."""
    if summary.tries > 1:
        return ""
    return (
        "<p class=lead>Each hostile picture was sent once. In one try a single check may look as "
        "good as the guard: what it misses shows when a picture is sent again, as an attacker "
        "does. See it with more <code>--tries</code>.</p>"
    )


def _sides(summary: Summary) -> str:
    names = ["", *(name.replace("\n", " ") for name in SIDE_COLUMNS)]
    rows = [
        [text.replace("\n", ", ") for text in side_row(side, group)]
        for side, group in summary.sides.items()
    ]
    return format_table(names, rows, label="Attacks by the certified radius")


def _groups(results: Sequence[SceneResult], engine: Engine) -> list[str]:
    """A clean picture, both attacks on it, and a forbidden one, next to each other."""
    positions = locate_attacks(results)
    by_kind = {kind: [r for r in results if r.scene.kind is kind] for kind in SceneKind}
    return [
        f"<div class=scene>{''.join(_card(result, positions, engine) for result in group)}</div>"
        for group in zip(*by_kind.values(), strict=True)
    ]


def _card(result: SceneResult, positions: Mapping[str, Position], engine: Engine) -> str:
    scene, first = result.scene, result.guard[0]
    harm = "harm" if result.harmful_undefended[0] else ""
    colour = {"pass": "good", "block": "bad", "none": "none"}[first.ending]
    why = explain_pass(result, first)
    said = f"<p class=says><q>{escape(first.delivered)}</q></p>" if first.passed else ""
    said += f"<p class=why>{escape(why)}</p>" if why else ""
    radius = f", radius {int(first.radius * 1000) / 1000:.3f}" if first.passed else ""
    title = f"{scene.name}: {', '.join(scene.things)}"
    return f"""<div class=card><h3>{escape(title)}</h3>
<div class=top><img src="{_show(_picture(scene).pixels, _SHARPER)}" alt="{escape(scene.name)}">
<p class="says {harm}">the bare model: <q>{escape(result.undefended[0])}</q><br>
<small>harmful in {sum(result.harmful_undefended)} of {len(result.undefended)} tries;
{sum(result.harmful_single_check)} of them got past a single check</small></p></div>
<div class=decided><span class="badge {colour}">{first.ending}</span> {escape(first.reason.value)}:
{first.harmless} of {first.samples} harmless{radius} <small>{first.elapsed_ms:.0f}
ms</small></div>{said}{_position(result, positions.get(scene.name))}
<div class=variants>{"".join(_thumbs(result, engine))}</div></div>"""


def _position(result: SceneResult, position: Position | None) -> str:
    """Of an attacked picture: on which side of the radius it lies, and what follows."""
    if position is None:
        return ""
    colour = "good" if position.side is Side.INSIDE else "none"
    told = f"{explain_position(position)} {_count_tries(result)}"
    return f'<p class=why><span class="badge {colour}">{position.side}</span> {escape(told)}</p>'


def _count_tries(result: SceneResult) -> str:
    tries, decided = len(result.guard), len(result.decided)
    passed, harmful = sum(one.passed for one in result.decided), sum(result.harmful_guarded)
    judged = "" if decided == tries else f", of which {tries - decided} ended without a judgement"
    return f"The guard passed it in {passed} of {tries} tries{judged}; harm left in {harmful}."


def _thumbs(result: SceneResult, engine: Engine) -> list[str]:
    """The first variants of the first try, drawn again from the key."""
    first = result.guard[0]
    attempt = bytes.fromhex(first.attempt)
    request = prepare_request(
        engine.preprocessing(first.chat.model), first.chat, [_picture(result.scene)], attempt
    )
    outcomes: Sequence[Outcome] = first.outcomes[:_VARIANTS]
    thumbs = []
    for index, outcome in enumerate(outcomes):
        (noisy,) = request.make_variant(index, engine.rules, engine.key)
        step = max(1, round(max(noisy.shape) / _THUMB_PX))
        url = _show(noisy[::step, ::step], _QUALITY)
        thumbs.append(f'<img class={outcome} alt="{outcome}" src="{url}">')
    return thumbs


def _picture(scene: DemoScene) -> Picture:
    return decode_image(scene.png, declared_media_type=None, limits=ImageLimits(), param=scene.name)


def _show(pixels: NDArray[np.uint8], quality: int) -> str:
    """The URL of a picture that is in it."""
    data = encode_image(pixels, "webp", quality=quality)
    return f"data:{media_type_of('webp')};base64,{base64.b64encode(data).decode()}"
