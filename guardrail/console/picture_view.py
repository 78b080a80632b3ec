"""The pictures of one decision: which are shown, why the others are not, and example changes.

A kept picture is what a stranger sent. So no byte of it goes to a browser: it is decoded within
limits, as it was for the decision, and its pixels are written anew as a PNG.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.api.pictures.apart import decode_safely
from guardrail.counted_noun import agree
from guardrail.engine.promise import Reach
from guardrail.errors import RequestError
from guardrail.images.canvas import canvas_for
from guardrail.images.encode import encode_image
from guardrail.images.example_change import ExampleChange, Pattern, apply_change, plan_change
from guardrail.images.grid import round_to_levels
from guardrail.images.limits import ImageLimits
from guardrail.records.record import Omission
from guardrail.records.sent_pictures import LARGEST_PICTURE_BYTES, LARGEST_REQUEST_BYTES
from guardrail.stats import Decision

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.records.record import Record
    from guardrail.types import Pixels

__all__ = ["Example", "PicturesView", "ShownPicture", "find_example", "render_png",
           "view_pictures"]  # fmt: skip

_LIMITS = ImageLimits(max_bytes=LARGEST_PICTURE_BYTES)
_SMALL_SIDE_PX = 800
_PNG_LEVEL = 1
_MIB = 1024 * 1024
_OMISSIONS = {
    Omission.NONE: "",
    Omission.TOO_LARGE: f"not kept: it has more than {LARGEST_PICTURE_BYTES // _MIB} MiB",
    Omission.TOO_LARGE_TOGETHER: "not kept: with those before it, it has more than "
    f"{LARGEST_REQUEST_BYTES // _MIB} MiB",
    Omission.NO_ROOM: "not kept: too many pictures waited to be written",
    Omission.NOT_READ: "not kept: the request ended before its pictures were read",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A change of the picture, of the size that is certified; an example of the size alone."""

    change: ExampleChange
    radius: float

    @property
    def pattern(self) -> str:
        return self.change.pattern.value

    @property
    def words(self) -> str:
        """Where it lies, and how much it changes there."""
        change = self.change
        levels = f"{change.most_levels} of 255 {agree(change.most_levels, 'level')}"
        if change.pattern is Pattern.SPOT:
            return f"{change.width} × {change.height} pixels in the middle, by up to {levels}"
        if change.levels:
            return f"every colour value, up or down by at most {levels}"
        return f"{change.raised:,} of {change.values:,} colour values, up or down by 1 level"


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """One picture of a request.

    Attributes:
        number: from 1, as people count.
        problem: why it is not shown; empty where it is.
        width_px, height_px: as it was sent; None where no certificate says so.
        examples: changes of it.
    """

    number: int
    problem: str
    width_px: int | None
    height_px: int | None
    examples: Sequence[Example] = ()


@dataclass(frozen=True, slots=True)
class PicturesView:
    """What the page of a decision shows of pictures.

    Attributes:
        pictures: all that are, in the order of the request.
        note: why none is shown.
        statement: what is said of every change of the examples' size.
    """

    pictures: Sequence[ShownPicture] = ()
    note: str = ""
    statement: str = ""


def view_pictures(
    record: Record, certificate: Certificate | None, there: Collection[int], *, has_keys: bool
) -> PicturesView:
    """The pictures of a record.

    Args:
        record: the record.
        certificate: its certificate, where that holds.
        there: the numbers, from 0, of those that are kept and were not erased.
        has_keys: whether this console opens what is sealed.
    """
    if not record.pictures:
        return PicturesView()
    if not record.kept_pictures:
        return PicturesView(
            note="Pictures were not kept (serve --keep-content --keep-pictures keeps them)."
        )
    if not has_keys:
        return PicturesView(
            note="Its pictures are sealed. A server with --keys and --content-key shows them to "
            "reviewers who have signed in."
        )
    pictures = []
    for index, one in enumerate(record.kept_pictures):
        problem = _OMISSIONS[one.omitted]
        if not problem and index not in there:
            problem = "it was erased; the record still verifies"
        height, width = _find_size(certificate, index) or (None, None)
        examples = () if problem else _examples(certificate, index)
        pictures.append(ShownPicture(index + 1, problem, width, height, examples))
    is_certified = any(one.examples for one in pictures)
    statement = _state(certificate) if certificate is not None and is_certified else ""
    return PicturesView(pictures, statement=statement)


def find_example(certificate: Certificate | None, index: int, pattern: Pattern) -> Example | None:
    """The example of one kind for picture `index`; None where nothing is certified of it.

    The other pictures of the request stay as they are: its radius is that of all together.
    """
    size = _find_size(certificate, index)
    if certificate is None or size is None:
        return None
    radius = _choose_radius(certificate)
    change = plan_change(*size, radius, pattern)
    return None if change is None else Example(change, radius)


def _examples(certificate: Certificate | None, index: int) -> list[Example]:
    found = [find_example(certificate, index, pattern) for pattern in Pattern]
    return [one for one in found if one is not None]


def _find_size(certificate: Certificate | None, index: int) -> tuple[int, int] | None:
    """Height and width of a picture as its client sent it."""
    if certificate is None or not certificate.has_possible_sizes:
        return None
    sizes = certificate.pictures[index : index + 1]
    return sizes[0].client if sizes else None


def _choose_radius(certificate: Certificate) -> float:
    """What a pass earned, and else what the policy promised: never one for the other."""
    is_pass = certificate.decision is Decision.PASS
    return certificate.radius if is_pass else certificate.promised_radius


def _state(certificate: Certificate) -> str:
    """The sentence about this radius, at the policy's own floor."""
    reaches = (Reach(certificate.floor, _choose_radius(certificate)),)
    is_pass = certificate.decision is Decision.PASS
    return (certificate.state_stability if is_pass else certificate.state_evasion)(reaches)


def render_png(data: bytes, param: str, example: Example | None, *, is_small: bool) -> bytes:
    """A picture as a PNG of its pixels alone.

    Args:
        data: as it was sent.
        param: what messages call it.
        example: a change that is made first; None for none.
        is_small: whether it is scaled down where a side is long, for a page.

    Raises:
        RequestError: it cannot be decoded within the limits, or has other sides than the
            certificate says.
    """
    pixels = decode_safely(data, declared_media_type=None, limits=_LIMITS, param=param).pixels
    if example is not None:
        pixels = _apply(pixels, param, example.change)
    if is_small:
        pixels = _shrink(pixels)
    return encode_image(pixels, "png", png_level=_PNG_LEVEL)


def _apply(pixels: Pixels, param: str, change: ExampleChange) -> Pixels:
    height, width, _ = pixels.shape
    if change.top + change.height > height or change.left + change.width > width:
        raise RequestError(
            f"{param}: it decodes to another size than its certificate names, so that no change "
            "of it can be shown",
            status=409,
        )
    return apply_change(pixels, change)


def _shrink(pixels: Pixels) -> Pixels:
    height, width, _ = pixels.shape
    if max(height, width) <= _SMALL_SIDE_PX:
        return pixels
    canvas = canvas_for(height, width, max_side_px=_SMALL_SIDE_PX, min_side_px=1)
    return round_to_levels(canvas.apply(pixels)).astype("uint8")
