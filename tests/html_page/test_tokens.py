"""The colours of all pages can be told apart and read, in both schemes."""

import re

import pytest

from guardrail.html_page.page import TOKENS

LIGHT, DARK = TOKENS.read_text().split("@media (prefers-color-scheme: dark)")


def colours(block):
    found = dict(re.findall(r"--([\w-]+): (#\w+)", block))
    return {name: value if len(value) == 7 else "#" + "".join(c * 2 for c in value[1:])
            for name, value in found.items()}  # fmt: skip


def luminance(colour):
    """Relative, as WCAG defines it."""
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_charts_can_be_read(block):
    found = colours(block)
    for back in ("card", "page", "hover"):
        for name in ("ink", "soft", "link", "good", "bad", "fault", "watch"):
            assert contrast(found[name], found[back]) >= 4.5, (name, back)
    for name in ("good", "bad", "fault", "watch"):
        assert contrast(found[name], found[f"{name}-back"]) >= 4.5, name
    assert contrast(found["on-link"], found["link"]) >= 4.5
    drawn = [name for name in found if name.startswith(("bar-", "series-"))]
    assert len(drawn) == 10
    for name in drawn:
        assert contrast(found[name], found["card"]) >= 3.0, name


def test_each_colour_is_there_in_both_schemes():
    assert colours(LIGHT).keys() == colours(DARK).keys()
