"""The side of the pictures that a model looks at: what it scales larger ones down to.

A model in this process says it in its settings. Others are found by name in a closed table, whose
entries are documented by their makers. Nothing that is promised rests on it: the size that was used
stands in the certificate, whatever it was taken from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.canonical import digest_json
from guardrail.upstreams.base import provider_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.types import Json

__all__ = [
    "FAMILIES",
    "SIDES_DIGEST",
    "SIDE_FROM_SETTINGS",
    "Family",
    "PictureSide",
    "find_picture_side",
    "read_settings",
]

SIDE_FROM_SETTINGS = "model's settings"
_RULES_VERSION = 1  # of `read_settings`


@dataclass(frozen=True, slots=True)
class PictureSide:
    """The side in pixels, None where a model takes pictures of any size, and where it is from."""

    side_px: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Family:
    """Models with one size of picture.

    Attributes:
        name: for people and certificates.
        pattern: finds the family in a model's name, in lower case.
        side_px: of a square picture that is not scaled down; None where any is taken.
        source: who says so.
    """

    name: str
    pattern: str
    side_px: int | None
    source: str


_START = r"(?:^|[/.:])"
FAMILIES = (
    Family("LLaVA-1.5", _START + r"llava-(?:v)?1\.5\b", 336,
           "CLIP ViT-L/14 at 336 px (arXiv 2310.03744)"),
    Family("LLaVA-1.6", _START + r"llava-(?:v)?1\.6\b", 672,
           "tiles of 336 px, up to 672 x 672 (transformers, LLaVA-NeXT)"),
    Family("PaliGemma 224", _START + r"paligemma2?-.*\b224\b", 224, "Google, Gemma vision guide"),
    Family("PaliGemma 448", _START + r"paligemma2?-.*\b448\b", 448, "Google, Gemma vision guide"),
    Family("PaliGemma 896", _START + r"paligemma2?-.*\b896\b", 896, "Google, Gemma vision guide"),
    Family("Gemma 3", _START + r"gemma-?3[-:](?:4|12|27)b\b", 896,
           "SigLIP at 896 px (Google, Gemma vision guide)"),
    Family("GPT-4o", _START + r"gpt-4o\b", 768,
           "shortest side 768 px, tiles of 512 (OpenAI, images and vision guide)"),
    Family("GPT-4 Turbo", _START + r"gpt-4-(?:turbo|vision-preview)\b", 768,
           "shortest side 768 px, tiles of 512 (OpenAI, images and vision guide)"),
    Family("Claude 3", _START + r"claude-3\b", 1568,
           "long edge of 1568 px (Anthropic, vision guide)"),
    Family("Qwen2-VL", _START + r"qwen2(?:\.5)?-?vl\b", None,
           "every size up to 12,845,056 pixels (its preprocessor_config.json)"),
)  # fmt: skip
"""In this order; the first that fits counts. `docs/policy.md` lists them."""

SIDES_DIGEST = digest_json(
    [_RULES_VERSION, [[one.name, one.pattern, one.side_px] for one in FAMILIES]]
)[:16]
"""Changes with whatever a side is found by; the digest of a policy that asks for one has it."""


def find_picture_side(upstream: object, model: str) -> PictureSide | None:
    """The side of a model's pictures; None where it is not known.

    An upstream that knows it has a method `picture_side`, which takes the name that clients use.

    Args:
        upstream: what is asked.
        model: as the client calls it.

    Raises:
        ConfigError: the settings of a model in this process cannot be read.
    """
    told: Callable[[str], PictureSide | None] | None = getattr(upstream, "picture_side", None)
    known = None if told is None else told(model)
    return known or _find_family(provider_model(upstream, model))


def _find_family(name: str) -> PictureSide | None:
    for family in FAMILIES:
        if re.search(family.pattern, name.lower()):
            return PictureSide(family.side_px, f"table: {family.name}")
    return None


def read_settings(processor: Mapping[str, Json], config: Mapping[str, Json]) -> PictureSide | None:
    """The side by a model's settings, as transformers writes them.

    For example {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}} is 336,
    {"image_grid_pinpoints": [[336, 672], [672, 672]]} is 672, {"size": {"height": 560, ...},
    "max_image_tiles": 4} is 1120, and {"min_pixels": 3136, "max_pixels": 12845056} any size.

    Args:
        processor: of pictures, `preprocessor_config.json` or a part of `processor_config.json`.
        config: the model's `config.json`.
    """
    if "max_pixels" in processor or "crop_to_patches" in processor:
        return PictureSide(None, SIDE_FROM_SETTINGS)
    side = (
        _read_pinpoints(processor.get("image_grid_pinpoints"))
        or _read_size(processor)
        or _read_vision_config(config)
    )
    return None if side is None else PictureSide(side, SIDE_FROM_SETTINGS)


def _read_pinpoints(pinpoints: Json) -> int | None:
    """The largest square that fits into one of the sizes that tiles are laid out in."""
    if not isinstance(pinpoints, list):
        return None
    squares = [min(sides) for one in pinpoints if (sides := _whole(one)) and len(sides) == 2]
    return max(squares, default=None)


def _read_size(processor: Mapping[str, Json]) -> int | None:
    if processor.get("do_resize") is False:
        return None
    size = processor.get("size")
    if processor.get("do_center_crop") is True and isinstance(processor.get("crop_size"), Mapping):
        size = processor["crop_size"]
    if isinstance(size, Mapping):
        named = [size.get(name) for name in ("longest_edge", "height", "width")]
        sides = _whole([one for one in named if one is not None] or [size.get("shortest_edge")])
    else:
        sides = _whole([size])
    if not sides:
        return None
    tiles = processor.get("max_image_tiles")
    across = int(tiles**0.5) if isinstance(tiles, int) and tiles >= 1 else 1
    return max(sides) * across


def _read_vision_config(config: Mapping[str, Json]) -> int | None:
    vision = config.get("vision_config")
    size = vision.get("image_size") if isinstance(vision, Mapping) else None
    return max(_whole(size if isinstance(size, list) else [size]), default=None)


def _whole(values: Json) -> Sequence[int]:
    """The values, where all are whole numbers from 1 on; else none."""
    numbers = values if isinstance(values, list) else []
    return numbers if all(type(one) is int and one >= 1 for one in numbers) else []
