"""What a picture goes through before the model: canvas, noise, filter; settled for one model.

Where the policy asks for the model's own size of pictures, it is found here, from what the upstream
says of that model; all that follows from it (noise, certificate, remembered verdicts) goes by the
number that was found.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.rules import MODEL_SIDE, Denoise
from guardrail.errors import ConfigError
from guardrail.images.canvas import canvas_for
from guardrail.images.filters import average_area, median
from guardrail.upstreams.picture_side import find_picture_side

if TYPE_CHECKING:
    from guardrail.engine.rules import Rules
    from guardrail.images.canvas import CanvasOperator
    from guardrail.images.filters import FilterFunction, PictureFilter
    from guardrail.types import Pixels

__all__ = [
    "NO_FILTER",
    "SIDE_FROM_POLICY",
    "WITHOUT_PICTURES",
    "Preprocessing",
    "check_filter",
    "describe_pictures",
    "may_be_filter",
    "noise_context",
    "settle",
]

SIDE_FROM_POLICY = "policy"
NO_FILTER = "none"
_LABEL = b"guardrail/canvas-of-model/1"
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Canvas and filter, all numbers known.

    Attributes:
        max_side_px: the longest side of a canvas; None where nothing is scaled down.
        min_side_px: the least.
        side_source: where `max_side_px` is from: the policy, or what is known of the model.
        denoise: what certificates call the filter; `none` where there is none.
        filter_function: the filter; None likewise.
    """

    max_side_px: int | None
    min_side_px: int
    side_source: str = SIDE_FROM_POLICY
    denoise: str = NO_FILTER
    filter_function: FilterFunction | None = None

    def canvas_for(self, height: int, width: int) -> CanvasOperator:
        """The canvas of a picture of this size."""
        most, least = self.max_side_px, self.min_side_px
        return canvas_for(height, width, max_side_px=most, min_side_px=least)

    def filter(self, noisy: Pixels) -> Pixels:
        """What the model is shown of a noisy picture. Raises CertificationError."""
        return noisy if self.filter_function is None else self.filter_function(noisy)

    def noise_context(self, policy_digest: str) -> bytes:
        """See `noise_context`."""
        return noise_context(policy_digest, self.max_side_px, self.side_source)

    @property
    def key(self) -> tuple[str, ...]:
        """Texts that tell it from every other one under the same policy."""
        return str(self.max_side_px), self.side_source, self.denoise


WITHOUT_PICTURES = Preprocessing(max_side_px=None, min_side_px=1)
"""Of a request that has none, whatever the policy says of canvases."""


def noise_context(policy_digest: str, max_side_px: int | None, side_source: str) -> bytes:
    """What noise is keyed by of policy and canvas; 32 bytes.

    The policy's digest fixes a size that stands in it. One that was found for a model is taken in
    beside it, so that no two sizes share noise.
    """
    digest = bytes.fromhex(policy_digest)
    if side_source == SIDE_FROM_POLICY:
        return digest
    side = (max_side_px or 0).to_bytes(8, "big")
    return hashlib.sha256(_LABEL + digest + side + side_source.encode()).digest()


def settle(
    rules: Rules, upstream: object, model: str, custom: PictureFilter | None = None
) -> Preprocessing:
    """Canvas and filter of a request to one model. May read a model's settings, once.

    Args:
        rules: the policy.
        upstream: what is asked.
        model: as the client calls it.
        custom: the user's own filter, where the policy asks for one.

    Raises:
        ConfigError: the model's size of pictures is not known and there is no limit for it, or it
            is too small for the least side.
    """
    canvas, source = rules.canvas_max_side_px, SIDE_FROM_POLICY
    if canvas == MODEL_SIDE:
        canvas, source = _find_canvas_side(rules, upstream, model)
    denoise, function = _settle_filter(rules, upstream, model, custom)
    return Preprocessing(canvas, rules.canvas_min_side_px, source, denoise, function)


def check_filter(rules: Rules, custom: PictureFilter | None) -> None:
    """Raises ConfigError unless a filter is given exactly where the policy asks for one."""
    is_asked_for = rules.denoise is Denoise.CUSTOM
    if custom is None and is_asked_for:
        raise _no_filter_error()
    if custom is not None and not is_asked_for:
        raise ConfigError(
            "a filter was given, and the policy does not ask for one; write 'denoise: custom' "
            "under smoothing, so that its digest tells",
            field="smoothing.denoise",
        )


def _no_filter_error() -> ConfigError:
    return ConfigError(
        "the policy asks for a filter of your own (denoise: custom), and none was given; start "
        "the guard in Python with denoise=PictureFilter(...), or choose another filter",
        field="smoothing.denoise",
    )


def _settle_filter(
    rules: Rules, upstream: object, model: str, custom: PictureFilter | None
) -> tuple[str, FilterFunction | None]:
    """The filter and what certificates call it. Raises ConfigError."""
    match rules.denoise:
        case Denoise.NONE:
            return NO_FILTER, None
        case Denoise.MEDIAN:
            window = rules.denoise_window_px
            return _median_label(window), partial(median, window_px=window)
        case Denoise.AREA:
            side, least = rules.denoise_side_px, rules.canvas_min_side_px
            if side == MODEL_SIDE:
                side, _ = _find_side(rules, upstream, model, "denoise_side_px")
            function = partial(average_area, sigma=rules.sigma, max_side_px=side, min_side_px=least)
            return _area_label(side), function
        case Denoise.CUSTOM:
            if custom is None:
                raise _no_filter_error()
            return custom.label, custom.apply
        case _:
            assert_never(rules.denoise)


def _median_label(window_px: int) -> str:
    return f"median of {window_px} x {window_px} px"


def _area_label(side_px: int) -> str:
    return f"area averages to {side_px} px, contrast restored"


def describe_pictures(rules: Rules) -> str:
    """What canvas and filter of a policy are, before any model is known.

    Empty where the canvas has a number and there is no filter.
    """
    side = "the side that the model itself looks at"
    told = []
    if rules.canvas_max_side_px == MODEL_SIDE:
        unknown = "; models of unknown side fail"
        if rules.canvas_limit_px is not None:
            unknown = f", at most {rules.canvas_limit_px} px, as where it is not known"
        told.append(f"the canvas has {side}, which certificates name{unknown}")
    match rules.denoise:
        case Denoise.NONE:
            label = ""
        case Denoise.MEDIAN:
            label = _median_label(rules.denoise_window_px)
        case Denoise.AREA if rules.denoise_side_px != MODEL_SIDE:
            label = _area_label(rules.denoise_side_px)
        case Denoise.AREA:
            label = f"area averages to {side}, contrast restored"
        case Denoise.CUSTOM:
            label = "a function given in Python"
        case _:
            assert_never(rules.denoise)
    if label:
        told.append(f"behind the noise stands a filter ({label}), which changes no number here")
    return "; ".join(told)


def may_be_filter(rules: Rules, denoise: str) -> bool:
    """Whether a filter that a certificate names may be that of a policy.

    True where it follows from a model, or is the user's own, which cannot be told here.
    """
    match rules.denoise:
        case Denoise.NONE:
            return denoise == NO_FILTER
        case Denoise.MEDIAN:
            return denoise == _median_label(rules.denoise_window_px)
        case Denoise.AREA if rules.denoise_side_px != MODEL_SIDE:
            return denoise == _area_label(rules.denoise_side_px)
        case Denoise.AREA:
            return denoise.startswith("area ")
        case Denoise.CUSTOM:
            return denoise.startswith("custom: ")
        case _:
            assert_never(rules.denoise)


def _find_canvas_side(rules: Rules, upstream: object, model: str) -> tuple[int, str]:
    """The longest side of a canvas that the model's own size and the limit allow."""
    limit = rules.canvas_limit_px
    if limit is None:
        return _find_side(rules, upstream, model, "canvas_max_side_px")
    found = find_picture_side(upstream, model)
    if found is None or found.side_px is None or found.side_px > limit:
        return limit, SIDE_FROM_POLICY
    return _find_side(rules, upstream, model, "canvas_max_side_px")


def _find_side(rules: Rules, upstream: object, model: str, field: str) -> tuple[int, str]:
    """The side of the model's pictures, and where it is from. Raises ConfigError."""
    found = find_picture_side(upstream, model)
    field = f"advanced.smoothing.{field}"
    write = f"write the longest side in pixels in place of '{MODEL_SIDE}', for example {field}: 448"
    named = model if len(model) <= _LONGEST_NAME else f"{model[:_LONGEST_NAME]}…"
    if found is None:
        raise ConfigError(
            f"the size of the pictures that the model {named!r} looks at is not known; {write}",
            field=field,
        )
    if found.side_px is None:
        raise ConfigError(
            f"the model {named!r} looks at pictures of any size ({found.source}), so it names "
            f"none; {write}",
            field=field,
        )
    least = rules.canvas_min_side_px
    if found.side_px < least:
        raise ConfigError(
            f"the model {named!r} looks at pictures of {found.side_px} px ({found.source}), less "
            f"than advanced.smoothing.canvas_min_side_px, {least}; lower that",
            field=field,
        )
    return found.side_px, found.source
