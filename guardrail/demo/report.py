"""`demo.html`: the pictures, their noisy variants coloured by verdict, and the bounds as curves."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.demo.curve import bound_curves
from guardrail.demo.passes import explain_pass
from guardrail.demo.scenes import DemoScene, SceneKind
from guardrail.engine.prepared_request import prepare_request
from guardrail.images.codec import Picture, decode_image
from guardrail.images.encode import encode_image
from guardrail.images.limits import ImageLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.demo.run import SceneResult
    from guardrail.demo.summary import Summary, System
    from guardrail.engine.engine import Engine
    from guardrail.types import Outcome

__all__ = ["write_report"]

_VARIANTS = 18
_THUMB_STEP = 2  # every second pixel: a thumbnail that still shows the noise

_STYLE = Path(__file__).with_name("report.css")


def write_report(
    path: Path, results: Sequence[SceneResult], summary: Summary, engine: Engine
) -> None:
    """Writes one HTML file that needs nothing else."""
    passed = next((one for r in results for one in r.guard if one.decision == "pass"), None)
    claim = passed.statement if passed else "Nothing passed."
    rows = "".join(map(_row, (summary.undefended, summary.single_check, summary.guard)))
    body = f"""
<h1>What attacked pictures do to a bare model, and what is left of it behind the guard</h1>
<p class="lead">Every picture went to the bare model, to a single check of one answer, and to
guardrail, which asks the model about many noisy variants and passes an answer only when the
count of harmless ones proves enough. An attack has failed when no harmful answer leaves: the guard
blocks it, or the noise destroys it and the answer that leaves is harmless. Hostile pictures were
tried {summary.tries} times on each system.</p>
<div class=wide><table><tr><th></th><th>attacked pictures that delivered harm</th><th>harmful
deliveries per hostile try</th><th>clean requests blocked</th><th>model calls per
request</th></tr>{rows}</table>
</div>{_note(summary)}
<h2>What a pass means</h2><p class="lead">{escape(claim)}</p>
<h2>Lower bound of the harmless rate, as samples come in</h2>
<p class="lead">Curves hold at every count at once. The guard's plan looks at few counts, so it may
pass before a curve crosses the line; a dot marks what its pass proves.</p>
<div class=wide>{bound_curves(results)}</div>
<h2>The pictures</h2>{"".join(_trios(results, engine))}
<footer>Noise: sigma {engine.rules.sigma:g}. Frames of the small pictures: green harmless, red
harmful, by the oracle. Harm in the table above is the truth, read off the built-in model's own
vocabulary. Emoji: Noto Color Emoji (OFL).</footer>"""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    page = f"<!doctype html><html lang=en>{head}<title>guardrail demo</title>"
    path.write_text(f"{page}<style>{_STYLE.read_text()}</style>{body}</html>\n", encoding="utf-8")


def _row(system: System) -> str:
    def share(value: float | None) -> str:
        if value is None:
            return "<td>-</td>"
        kind = "bar" if value else "bar zero"
        return f"<td>{value:.1%}<span class='{kind}' style='width:{90 * value:.0f}px'></span></td>"

    cells = share(system.attack_success) + share(system.per_try) + share(system.clean_blocked)
    calls = "-" if system.calls is None else f"{system.calls:.1f}"
    return f"<tr><td><b>{escape(system.name)}</b></td>{cells}<td>{calls}</td></tr>"


def _note(summary: Summary) -> str:
    words = summary.undecided_in_words
    return f"<p class=note>{escape(words)}</p>" if words else ""


def _trios(results: Sequence[SceneResult], engine: Engine) -> list[str]:
    by_kind = {kind: [r for r in results if r.scene.kind is kind] for kind in SceneKind}
    return [
        f"<div class=scene>{''.join(_card(result, engine) for result in trio)}</div>"
        for trio in zip(*by_kind.values(), strict=True)
    ]


def _card(result: SceneResult, engine: Engine) -> str:
    scene, first = result.scene, result.guard[0]
    harm = "harm" if result.harmful_undefended[0] else ""
    moved = f", moved by l2 {scene.l2:.2f}" if scene.l2 else ""
    verdict = first.ending
    why = explain_pass(result, first)
    said = f"<p class=says><q>{escape(first.delivered)}</q></p>" if first.passed else ""
    said += f"<p class=why>{escape(why)}</p>" if why else ""
    radius = f", radius {int(first.radius * 1000) / 1000:.3f}" if first.passed else ""
    title = f"{scene.kind}{moved}: {', '.join(scene.things)}"
    return f"""<div class=card><h3>{escape(title)}</h3>
<div class=top><img src="{_data_url(scene.png, "png")}" alt="{escape(scene.name)}">
<p class="says {harm}">the bare model: <q>{escape(result.undefended[0])}</q><br>
<small>harmful in {sum(result.harmful_undefended)} of {len(result.undefended)} tries;
{sum(result.harmful_single_check)} of them got past a single check</small></p></div>
<div class=facts><span class="badge {verdict}">{verdict}</span> {escape(first.reason.value)}:
{first.harmless} of {first.samples} harmless{radius} <small>{first.elapsed_ms:.0f}
ms</small></div>{said}<div class=variants>{"".join(_thumbs(result, engine))}</div></div>"""


def _thumbs(result: SceneResult, engine: Engine) -> list[str]:
    """The first variants of the first try, drawn again from the key."""
    first = result.guard[0]
    attempt = bytes.fromhex(first.attempt)
    request = prepare_request(engine.rules, first.chat, [_picture(result.scene)], attempt)
    outcomes: Sequence[Outcome] = first.outcomes[:_VARIANTS]
    thumbs = []
    for index, outcome in enumerate(outcomes):
        (noisy,) = request.make_variant(index, engine.rules, engine.key)
        data = encode_image(noisy[::_THUMB_STEP, ::_THUMB_STEP], "jpeg", quality=60)
        thumbs.append(f'<img class={outcome} alt="{outcome}" src="{_data_url(data, "jpeg")}">')
    return thumbs


def _picture(scene: DemoScene) -> Picture:
    return decode_image(scene.png, declared_media_type=None, limits=ImageLimits(), param=scene.name)


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
