"""Our own small SVG charts."""

from xml.etree import ElementTree

import pytest

from guardrail.html_page.figure import Curve, Panel, figure

NAME = "{http://www.w3.org/2000/svg}"


def drawn(*panels):
    return ElementTree.fromstring(figure(panels))  # noqa: S314 (our own text)


def points(line):
    return [tuple(map(float, point.split(","))) for point in line.get("points").split()]


def test_points_keep_their_order_and_direction():
    curve = Curve("a", ((0.0, 0.0), (0.5, 10.0), (1.0, 5.0)))
    (line,) = drawn(Panel("t", "x", "y", (curve,))).iter(f"{NAME}polyline")
    (x0, y0), (x1, y1), (x2, y2) = points(line)
    assert x0 < x1 < x2
    assert y1 < y2 < y0  # up is less in SVG
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)


def test_logarithmic_axes_space_factors_evenly_and_drop_zero():
    curve = Curve("a", ((1.0, 1.0), (10.0, 10.0), (100.0, 100.0), (0.0, 5.0)))
    (line,) = drawn(Panel("t", "x", "y", (curve,), log_x=True, log_y=True)).iter(f"{NAME}polyline")
    (x0, y0), (x1, y1), (x2, y2) = points(line)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)


def test_negative_values_stay_inside():
    curve = Curve("a", ((0.0, -1.0), (1.0, 1.0)))
    (line,) = drawn(Panel("t", "x", "y", (curve,))).iter(f"{NAME}polyline")
    assert all(0 < x < 720 and 0 < y < 330 for x, y in points(line))


def test_labels_are_escaped():
    root = drawn(Panel("a < b & c", "x", "y", (Curve("<b>", ((0.0, 1.0), (1.0, 2.0))),)))
    texts = [text.text for text in root.iter(f"{NAME}text")]
    assert "a < b & c" in texts
    assert "<b>" in texts


def test_a_flat_curve_is_drawn():
    root = drawn(Panel("t", "x", "y", (Curve("a", ((1.0, 0.0), (2.0, 0.0))),)))
    assert len(points(next(root.iter(f"{NAME}polyline")))) == 2
