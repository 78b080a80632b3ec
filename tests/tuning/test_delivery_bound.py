"""From labels to the bound: what was not seen counts as harmful, and other labels are refused."""

import itertools
import math
from fractions import Fraction

import pytest

from guardrail.errors import ConfigError
from guardrail.stats import LabelledDraw, delivered_harm_upper
from guardrail.tuning.deliveries import DeliveryWindow, find_deliveries
from guardrail.tuning.delivery_bound import bound_delivered_harm
from guardrail.tuning.delivery_draw import DrawKey, draw_deliveries
from guardrail.tuning.formats import write_rows

SEED = DrawKey(0)


@pytest.fixture
def made(delivered, record_file):
    """A draw of `n` of 50 delivered answers, and its rows."""

    def make(n=10, *, keep=lambda i: i >= 0, seed=0):
        rows = [delivered(i) if keep(i) else delivered(i, content=None) for i in range(50)]
        file = record_file(*rows, name=f"records{seed}.jsonl")
        deliveries = find_deliveries([file], DeliveryWindow())
        return draw_deliveries([file], deliveries, n, DrawKey(seed))

    return make


def labelled(rows, *harmful):
    """Rows with labels, harmless unless their places are named; None leaves them open."""
    return [{**row, "harmful": i in harmful} for i, row in enumerate(rows)]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_the_bound_is_that_of_the_counts(made, tmp_path, suffix):
    draw, rows = made()
    path = tmp_path / f"labels.{suffix}"
    write_rows(path, labelled(rows, 3))
    found = bound_delivered_harm(draw, path, delta=0.05)
    assert (found.harmful, found.unlabelled, found.without_content) == (1, 0, 0)
    assert found.harm_upper == delivered_harm_upper([LabelledDraw(50, 10, 1)], delta=0.05)
    assert found.statement == (
        "Of the 50 answers delivered under the policy 'p' from 2026-03-01T12:00:00+00:00 to "
        "2026-03-28T12:00:00+00:00 at most 36.00 % are harmful in the labellers' eyes, with "
        "confidence 0.95. Nothing is said of other windows."
    )
    assert found.facts()["harm_upper"] == found.harm_upper
    assert found.facts()["draw_digest"] == draw.digest


def test_what_was_not_labelled_counts_as_harmful(made, tmp_path):
    draw, rows = made()
    ready = labelled(rows, 0)
    ready[1]["harmful"] = None
    write_rows(tmp_path / "a.csv", ready[:-2])  # two rows are missing
    found = bound_delivered_harm(draw, tmp_path / "a.csv", delta=0.05)
    assert (found.harmful, found.unlabelled) == (1, 3)
    assert found.harm_upper == delivered_harm_upper([LabelledDraw(50, 10, 4)], delta=0.05)


def test_what_was_not_kept_counts_as_harmful(made, tmp_path):
    draw, rows = made(50, keep=lambda i: i % 5)
    assert len(rows) == 40
    write_rows(tmp_path / "a.jsonl", labelled(rows))
    found = bound_delivered_harm(draw, tmp_path / "a.jsonl", delta=0.05)
    assert (found.harmful, found.unlabelled, found.without_content) == (0, 0, 10)
    assert 0.2 <= found.harm_upper < 0.2 + 1e-12


def test_strata_share_delta(delivered, record_file, tmp_path):
    rows = [
        delivered(i, reason="unscanned" if i < 5 else "not certified: no image") for i in range(40)
    ]
    file = record_file(*rows)
    draw, ready = draw_deliveries(
        [file], find_deliveries([file], DeliveryWindow()), 15, SEED, by_reason=True
    )
    harmful = [i for i, row in enumerate(ready) if row["id"] == "r0002"]
    write_rows(tmp_path / "a.jsonl", labelled(ready, *harmful))
    found = bound_delivered_harm(draw, tmp_path / "a.jsonl", delta=0.05)
    strata = [LabelledDraw(35, 10, 0), LabelledDraw(5, 5, 1)]
    assert found.harm_upper == delivered_harm_upper(strata, delta=0.05)


def test_the_whole_way_keeps_delta_for_a_small_list(delivered, record_file, tmp_path):
    """Every set that could be drawn of 7, with any number of harmful ones, labelled rightly."""
    size, n, delta = 7, 3, 0.3
    file = record_file(*(delivered(i) for i in range(size)))
    draw, rows = draw_deliveries([file], find_deliveries([file], DeliveryWindow()), n, SEED)
    bounds = []
    for marked in range(n + 1):
        path = tmp_path / f"{marked}.jsonl"
        write_rows(path, labelled(rows, *range(marked)))
        bounds.append(bound_delivered_harm(draw, path, delta=delta).harm_upper)
    for harmful in range(size + 1):
        sets = itertools.combinations(range(size), n)
        wrong = sum(bounds[sum(i < harmful for i in drawn)] < harmful / size for drawn in sets)
        assert Fraction(wrong, math.comb(size, n)) <= delta


class TestRefusals:
    def test_labels_of_another_draw(self, made, tmp_path):
        (_, rows), (draw, _) = made(seed=0), made(seed=1)
        write_rows(tmp_path / "a.csv", labelled(rows))
        with pytest.raises(ConfigError, match=rf"a.csv:2: this row is not of the draw {draw.mark}"):
            bound_delivered_harm(draw, tmp_path / "a.csv", delta=0.05)

    @pytest.mark.parametrize("change", [lambda r: [*r, r[0]], lambda r: [{**r[0], "id": "r9999"}]])
    def test_rows_twice_or_from_elsewhere(self, made, tmp_path, change):
        draw, rows = made()
        write_rows(tmp_path / "a.jsonl", change(labelled(rows)))
        with pytest.raises(ConfigError, match=r"a.jsonl:\d+: this answer was not drawn, or has"):
            bound_delivered_harm(draw, tmp_path / "a.jsonl", delta=0.05)

    def test_a_label_for_what_nobody_could_see(self, made, tmp_path):
        draw, rows = made(50, keep=lambda i: i)
        row = {**rows[0], "id": "r0000", "harmful": False}
        write_rows(tmp_path / "a.jsonl", [row])
        with pytest.raises(ConfigError, match="was not drawn"):
            bound_delivered_harm(draw, tmp_path / "a.jsonl", delta=0.05)

    def test_words_that_are_no_label(self, made, tmp_path):
        draw, rows = made()
        write_rows(tmp_path / "a.jsonl", [{**rows[0], "harmful": "perhaps"}])
        with pytest.raises(ConfigError, match=r"a.jsonl:1: 'harmful' is none of"):
            bound_delivered_harm(draw, tmp_path / "a.jsonl", delta=0.05)

    def test_what_is_no_row(self, made, tmp_path):
        draw, _ = made()
        (tmp_path / "a.jsonl").write_text("{\n")
        with pytest.raises(ConfigError, match=r"a.jsonl:1: not valid JSON"):
            bound_delivered_harm(draw, tmp_path / "a.jsonl", delta=0.05)
