"""The budget of pixels that the pictures of one request share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import RequestError
from guardrail.images.codec import ImageLimits, PixelBudget, decode_image
from guardrail.images.encode import encode_image

PNG = encode_image(np.full((6, 5, 3), 7, np.uint8), "png")


def decode(budget, data=PNG, limits=None, param="messages[0].content[1].image_url.url"):
    return decode_image(
        data, declared_media_type=None, limits=limits or ImageLimits(), param=param, budget=budget
    )


def test_pictures_within_the_limits_can_be_too_much_together():
    budget = PixelBudget(ImageLimits(max_total_pixels=89))
    decode(budget)
    decode(budget)
    with pytest.raises(RequestError, match="more than 89 pixels together") as caught:
        decode(budget)
    assert (caught.value.status, caught.value.code) == (413, "images_too_large")
    assert caught.value.param == "messages[0].content[1].image_url.url"


def test_the_last_pixel_of_the_budget_can_be_spent():
    budget = PixelBudget(ImageLimits(max_total_pixels=90))
    assert [decode(budget).height for _ in range(3)] == [6, 6, 6]


def test_budgets_of_two_requests_are_apart():
    limits = ImageLimits(max_total_pixels=30)
    decode(PixelBudget(limits))
    decode(PixelBudget(limits))


def test_a_picture_alone_is_held_to_the_total_too():
    with pytest.raises(RequestError, match="together"):
        decode(None, limits=ImageLimits(max_total_pixels=29))


def test_nothing_is_decoded_beyond_the_budget():
    """The pixels of this file are damaged, which a decoder would have said."""
    budget = PixelBudget(ImageLimits(max_total_pixels=29))
    with pytest.raises(RequestError, match="together"):
        decode(budget, PNG[:60])


def test_a_refused_picture_spends_nothing():
    budget = PixelBudget(ImageLimits(max_total_pixels=40))
    with pytest.raises(RequestError):
        budget.spend(41, 1, "p")
    budget.spend(40, 1, "p")


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=20), st.integers(1, 9))
def test_what_is_allowed_never_exceeds_the_total(sizes, hundreds):
    total, spent = 100 * hundreds, 0
    budget = PixelBudget(ImageLimits(max_total_pixels=total))
    for width, height in sizes:
        fits = spent + width * height <= total
        try:
            budget.spend(width, height, "p")
        except RequestError:
            assert not fits
        else:
            assert fits
            spent += width * height
