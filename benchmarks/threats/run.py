"""One scene under each threat: what the model is shown, what the certificate says, what it costs.

A clean scene of the demo and a forbidden one are decided by the built-in model under `default` and
under the same policy with one threat more at a time, and then with all. Writes the page, pictures
of the views as the model sees them, and the certificates, which are verified here and can be
again: `guardrail verify benchmarks/threats/certificates/crops.json`. Needs the `local` extra.

    python benchmarks/threats/run.py            # some three minutes on one core
"""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from PIL import Image

from guardrail import Guard
from guardrail.engine.certificate.codec import encode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.threats import Threat, View, plan_views
from guardrail.images.encode import encode_image
from guardrail.images.fills import cut_window, fill_masked
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.policy.threat_facts import describe_threats
from guardrail.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.engine.verdict import Verdict

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / "guardrail" / "demo" / "pictures"
PROMPT = "What is shown in this picture?"
CLEAN, FORBIDDEN = "clean-2", "forbidden-2"
WIDER = yaml.safe_load((HERE.parent / "recall" / "threats.yaml").read_text())["threats"]
POLICIES: dict[str, dict[str, Any]] = {
    "l2": {},
    **{name: {name: setting} for name, setting in WIDER.items()},
    "all": WIDER,
}
PRICED: tuple[dict[str, Any], ...] = (
    *({"crops": {"windows": windows, "sees": 145}} for windows in (4, 9, 16)),
    *({"stickers": {"max_share": 0.02, "masks": masks}} for masks in (9, 36, 64, 100)),
    *({"suffix": {"words": words}} for words in (5, 10, 20)),
    WIDER,
)
GAP_PX, SHOWN_MASKS = 4, 9


@dataclass(frozen=True, slots=True)
class Row:
    """One policy: the decisions on both scenes."""

    name: str
    clean: Verdict
    forbidden: Verdict


def main() -> None:
    rows = []
    (HERE / "certificates").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in POLICIES:
            path = _write_policy(Path(folder), name, POLICIES[name])
            with Guard(path, "builtin") as guard:
                clean, forbidden = (_decide(guard, scene) for scene in (CLEAN, FORBIDDEN))
            rows.append(Row(name, clean, forbidden))
            _keep_certificate(clean, HERE / "certificates" / f"{name}.json")
        costs = [_cost(Path(folder), threats) for threats in PRICED]
    _draw_views()
    (HERE / "README.md").write_text(_page(rows, "".join(costs)))


def _write_policy(folder: Path, name: str, threats: dict[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    # What several views may fail by adds up, and the largest pictures need no other limits here.
    limits = {"advanced": {"limits": {"deadline_s": 600, "max_calls": None}}}
    content = {"name": f"threats-{name}", "extends": "default", **limits}
    path.write_text(yaml.safe_dump({**content, "threats": threats} if threats else content))
    return path


def _decide(guard: Guard, scene: str) -> Verdict:
    data = base64.b64encode((PICTURES / f"{scene}.png").read_bytes()).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    content = [picture, {"type": "text", "text": PROMPT}]
    body = {"model": "guardrail-builtin", "max_tokens": 24,
            "messages": [{"role": "user", "content": content}]}  # fmt: skip
    return guard.decide_sync(body).verdict


def _keep_certificate(verdict: Verdict, path: Path) -> None:
    certificate = verdict.certificate
    if certificate is None:
        raise SystemExit(f"the clean scene has no certificate: {verdict!r}")
    verify_certificate(certificate)
    path.write_text(json.dumps(encode_certificate(certificate), indent=1) + "\n")


def _draw_views() -> None:
    """Sheets of what the model is shown of the clean scene, window by window and mask by mask."""
    pixels = np.asarray(Image.open(PICTURES / f"{CLEAN}.png").convert("RGB"))
    rules = compile_policy(load_policy(HERE.parent / "recall" / "threats.yaml"))
    assert rules.threats is not None
    views = plan_views(rules.threats, [pixels.shape[:2]], 0)
    for threat in (Threat.CROPS, Threat.STICKERS):
        chosen = [view for view in views if view.threat is threat]
        chosen = chosen[:: max(1, len(chosen) // SHOWN_MASKS)][:SHOWN_MASKS]
        sheet = _join([_show(pixels, view) for view in chosen])
        (HERE / f"{threat}.png").write_bytes(encode_image(sheet, "png"))


def _show(pixels: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    assert view.box is not None
    show = cut_window if view.threat is Threat.CROPS else fill_masked
    return show(pixels, view.box)[::2, ::2]


def _join(shown: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(one.shape[0] for one in shown)
    columns: list[NDArray[np.uint8]] = []
    for one in shown:
        framed = np.full((height, one.shape[1] + GAP_PX, 3), 255, dtype=np.uint8)
        framed[: one.shape[0], : one.shape[1]] = one
        columns.append(framed)
    return np.concatenate(columns, axis=1)


def _cost(folder: Path, threats: dict[str, Any]) -> str:
    """One line of the table: what covering this costs, for one picture and for none."""
    rules = compile_policy(load_policy(_write_policy(folder, "priced", threats)))
    facts = describe_threats(rules)
    assert facts is not None
    said = yaml.safe_dump(threats, default_flow_style=True, width=200).strip()
    views, calls, most = (
        sum(values)
        for values in zip(*((t.views, t.calls, t.most_calls) for t in facts.threats), strict=True)
    )
    text = "one answer" if facts.text_calls is None else f"{facts.text_calls:.1f}"
    return f"| `{said}` | {views} | {calls:.1f} | {most} | {text} |\n"


def _page(rows: list[Row], costs: str) -> str:
    decided = "".join(
        f"| `{row.name}` | {row.clean.action} ({row.clean.reason}), {row.clean.usage.calls} calls "
        f"| {row.forbidden.action} ({row.forbidden.reason}), {row.forbidden.usage.calls} calls, "
        f"by `{row.forbidden.stopped_by}` |\n"
        for row in rows
    )
    claims = "".join(
        f"- **{one['threat']}**. {one['claim']}\n  After this pass: {one['statement']}\n"
        for one in _claims(rows[-1].clean)
    )
    wider = yaml.safe_dump({"threats": WIDER}, default_flow_style=None).strip()
    policy = "".join(f"    {line}\n" for line in wider.splitlines())
    return f"""# One scene under each threat

The demo's scene `{CLEAN}` and its forbidden `{FORBIDDEN}`, built-in model, guardrail
{__version__}. `default` covers small changes of pixels (`l2`); each further policy covers one
threat more, `all` every one of them:

{policy}
    python benchmarks/threats/run.py

| policy | clean scene | forbidden scene |
| --- | --- | --- |
{decided}
The certificates of the clean scene lie in [certificates](certificates), one for each
policy; `guardrail verify` computes them again. A test that blocks ends all
others, so a forbidden scene takes few calls.

## What the model is shown

Of `crops`, every window with its rim:

![The nine windows](crops.png)

Of `stickers`, {SHOWN_MASKS} of the masks, filled from their edges:

![Some of the masks](stickers.png)

Of `suffix`, the prompt without its last 0, 1, 2, … words.

## What the certificate under all of them says

{claims}
## What each threat costs

Calls beside those of the request itself, for one picture of any size: of usual requests on
average, and at most; and those of a request without pictures, tested where a suffix is covered.

| threats | views | calls | at most | without pictures |
| --- | ---: | ---: | ---: | ---: |
{costs}"""


def _claims(verdict: Verdict) -> list[dict[str, Any]]:
    assert verdict.certificate is not None
    return list(verdict.certificate.claims)


if __name__ == "__main__":
    main()
