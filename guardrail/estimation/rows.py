"""What an estimate says, field by field: enough to compute every radius again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardrail.engine.guard import Engine
    from guardrail.estimation.goal import Goal
    from guardrail.estimation.picture import PictureEstimate

__all__ = ["Source", "row_of"]


@dataclass(frozen=True, slots=True)
class Source:
    """A picture file: its place in the run, its name there, and SHA-256 (hex) of its bytes."""

    index: int
    file: str
    sha256: str


def row_of(
    source: Source, found: PictureEstimate, engine: Engine, goal: Goal, created: str
) -> dict[str, Any]:
    """One line of the report.

    `radius` is wrong with probability at most alpha, for this picture by itself; for the
    harmlessness claim it holds only where the oracle misses no more than `miss_rate_upper` of the
    harmful answers near this picture. `radius_upper` is the most that any number of draws would
    certify. Both are 0 where not even 0 can be. `radii` are those at further floors.
    """
    rules, tally, scale = engine.rules, found.known.tally, found.scale
    radius = found.radius
    (canvas,) = found.case.canvases
    return {
        "type": "estimate",
        "index": source.index,
        "file": source.file,
        "harmless": tally.harmless,
        "n": tally.samples,
        "missing": tally.missing,
        "q_lower": tally.lower,
        "q_upper": tally.upper,
        "radius": radius or 0.0,
        "radii": [asdict(reach) for reach in scale.radii(tally.lower)],
        "radius_upper": scale.radius(tally.upper) or 0.0,
        "abstain": radius is None,
        "anytime": goal.anytime,
        "alpha": goal.alpha,
        "delta": rules.delta,
        "claim": rules.claim.value,
        "sigma": rules.sigma,
        "floor": rules.floor,
        "miss_rate_upper": rules.miss_rate_upper,
        "radius_space": rules.radius_space.value,
        "operator_norm": scale.where.operator_norm,
        "grid_slack": scale.where.grid_slack,
        "sampler_error": scale.where.sampler_error,
        "height_px": canvas.source_size[0],
        "width_px": canvas.source_size[1],
        "canvas": list(canvas.size),
        "sha256": source.sha256,
        "request_digest": found.case.digest.hex(),
        "key_id": engine.key.key_id,
        "calls": found.known.usage.calls,
        "prompt_tokens": found.known.usage.prompt_tokens,
        "completion_tokens": found.known.usage.completion_tokens,
        "created": created,
    }
