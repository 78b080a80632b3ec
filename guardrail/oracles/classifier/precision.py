"""What a classifier computes in, and the check that its scores stay the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError
from guardrail.oracles.classifier.probe_texts import PROBES

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.oracles.classifier.sequence_model import SequenceModel

__all__ = ["PRECISIONS", "TOLERANCE", "Agreement", "check_precision", "lower_precision"]

PRECISIONS = ("float32", "bfloat16", "int8")
TOLERANCE = 0.05
"""Most that a probe's score may differ from that in float32, thresholds being at 0.5."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a model in a lower precision compares with itself in float32, on the probe texts.

    Attributes:
        texts: how many there were.
        differing: how many fell on the other side of 0.5.
        largest: largest difference of a score, in [0, 1].
    """

    texts: int
    differing: int
    largest: float


def check_precision(precision: str, device: str) -> None:
    """Raises ConfigError for one that is not known, or not on that device."""
    if precision not in PRECISIONS:
        raise ConfigError(f"must be one of {', '.join(PRECISIONS)}", field="precision")
    if precision == "int8" and device != "cpu":
        raise ConfigError("'int8' is for device 'cpu'; use 'bfloat16' elsewhere", field="precision")


def lower_precision(
    model: SequenceModel, precision: str, score: Callable[[SequenceModel, str], float]
) -> tuple[SequenceModel, Agreement | None]:
    """The model in that precision, once its scores of the probe texts are near those in float32.

    The model given must not be used afterwards. `score` is the whole way from a text to a score.

    Raises:
        ConfigError: They are not, or this machine does not compute in that precision.
    """
    if precision == "float32":
        return model, None
    before = [score(model, text) for text in PROBES]
    try:
        fast = replace(model, model=_convert(model.model, precision))
        after = [score(fast, text) for text in PROBES]
    except Exception as error:  # torch raises many kinds
        raise ConfigError(
            f"the model cannot compute in {precision} here ({type(error).__name__}); use 'float32'",
            field="precision",
        ) from error
    return fast, _check_agreement(before, after, precision)


def _convert(model: Any, precision: str) -> Any:
    if precision == "int8":
        from guardrail.oracles.classifier.int8_linear import with_int8_layers

        return with_int8_layers(model)
    from guardrail.oracles.packed_linear import can_pack, with_packed_layers

    small = model.bfloat16()
    device = next(small.parameters()).device.type
    return with_packed_layers(small) if can_pack(device) else small


def _check_agreement(before: list[float], after: list[float], precision: str) -> Agreement:
    pairs = list(zip(before, after, strict=True))
    differing = sum((first >= 0.5) != (second >= 0.5) for first, second in pairs)
    # NaN is close to no number
    near = all(abs(first - second) <= TOLERANCE for first, second in pairs)
    largest = max(abs(first - second) for first, second in pairs)
    if not near:
        raise ConfigError(
            f"in {precision} the scores of {len(pairs)} probe texts differ by up to {largest:.3g} "
            f"from those in float32, more than {TOLERANCE:g}, and {differing} verdicts at 0.5 "
            "differ; use 'float32'",
            field="precision",
        )
    return Agreement(len(pairs), differing, largest)
