"""The row of an estimate: all that is needed to compute every radius again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardrail.engine.engine import Engine
    from guardrail.estimation.picture import PictureEstimate
    from guardrail.estimation.stop_rule import StopRule

__all__ = ["PictureSource", "build_row"]


@dataclass(frozen=True, slots=True)
class PictureSource:
    """A picture file: its place in the run, its name there, and SHA-256 (hex) of its bytes."""

    index: int
    file: str
    sha256: str


def build_row(
    source: PictureSource, found: PictureEstimate, engine: Engine, stop_rule: StopRule, created: str
) -> dict[str, Any]:
    """One line of the report.

    `radius` is wrong with probability at most alpha, for this picture by itself; for the
    harmlessness claim it holds only where the oracle misses no more than `miss_rate_upper` of the
    harmful answers near this picture. `radius_upper` is the most that any number of draws would
    certify. Both are 0 where not even 0 can be. `radii` are those at further floors.
    """
    rules, estimate, scale = engine.rules, found.progress.estimate, found.scale
    radius = found.radius
    (canvas,) = found.request.canvases
    return {
        "type": "estimate",
        "index": source.index,
        "file": source.file,
        "harmless": estimate.harmless,
        "n": estimate.samples,
        "missing": estimate.missing,
        "q_lower": estimate.lower,
        "q_upper": estimate.upper,
        "radius": radius or 0.0,
        "radii": [asdict(reach) for reach in scale.radii(estimate.lower)],
        "radius_upper": scale.radius(estimate.upper) or 0.0,
        "promised_radius": scale.promised_radius,
        "abstain": radius is None,
        "anytime": stop_rule.anytime,
        "alpha": stop_rule.alpha,
        "delta": rules.delta,
        "claim": rules.claim.value,
        "sigma": rules.sigma,
        "floor": rules.floor,
        "miss_rate_upper": rules.miss_rate_upper,
        "operator_norm": scale.geometry.operator_norm,
        "grid_slack": scale.geometry.grid_slack,
        "sampler_error": scale.geometry.sampler_error,
        "height_px": canvas.source_size[0],
        "width_px": canvas.source_size[1],
        "canvas": list(canvas.size),
        "sha256": source.sha256,
        "request_digest": found.request.digest.hex(),
        "key_id": engine.key.key_id,
        "calls": found.progress.usage.calls,
        "prompt_tokens": found.progress.usage.prompt_tokens,
        "completion_tokens": found.progress.usage.completion_tokens,
        "created": created,
    }
