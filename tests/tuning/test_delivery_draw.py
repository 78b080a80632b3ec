"""The draw: fixed by list and key, and every set of its size as likely as any other."""

import math
from collections import Counter

import pytest

from guardrail.engine.verdict import Reason
from guardrail.errors import ConfigError
from guardrail.images.keys import NoiseKey
from guardrail.sealed import read_sealed, write_sealed
from guardrail.tuning.deliveries import DeliveryWindow, find_deliveries
from guardrail.tuning.delivery_draw import DeliveryDraw, DrawKey, check_draw, draw_deliveries

SEED = DrawKey(0)


@pytest.fixture
def listed(delivered, record_file):
    """Forty answers; every tenth left unscanned, and two records keep no content."""

    def make(size=40, **changes):
        rows = []
        for i in range(size):
            reason = Reason.UNSCANNED if i % 10 == 0 else Reason.NO_IMAGE
            more = {"content": None} if i in (7, 11) else {}
            rows.append(delivered(i, reason=reason, **more, **changes))
        files = [record_file(*rows)]
        return files, find_deliveries(files, DeliveryWindow())

    return make


class TestDraw:
    def test_rows_are_the_drawn_answers_in_no_order_of_theirs(self, listed):
        files, deliveries = listed()
        draw, rows = draw_deliveries(files, deliveries, 40, SEED)
        assert (draw.delivered, draw.drawn) == (40, 40)
        assert sorted(draw.without_content) == ["r0007", "r0011"]
        assert len(rows) == 38
        assert [row["id"] for row in rows] != sorted(row["id"] for row in rows)
        row = next(row for row in rows if row["id"] == "r0005")
        assert row == {"id": "r0005", "prompt": "question 5", "response": "answer 5",
                       "harmful": None, "draw": draw.mark}  # fmt: skip

    def test_a_larger_draw_holds_the_smaller_one(self, listed):
        files, deliveries = listed()
        small, large = (
            draw_deliveries(files, deliveries, n, SEED)[0].strata[0].drawn for n in (5, 20)
        )
        assert large[:5] == small

    def test_keys_and_seeds_draw_differently_and_say_so(self, listed):
        files, deliveries = listed()
        keys = (DrawKey(0), DrawKey(1), DrawKey(NoiseKey(bytes(32))))
        draws = [draw_deliveries(files, deliveries, 10, key)[0] for key in keys]
        assert len({tuple(draw.strata[0].drawn) for draw in draws}) == 3
        assert [draw.drawn_by for draw in draws[:2]] == ["seed 0", "seed 1"]
        assert draws[2].drawn_by == f"key {NoiseKey(bytes(32)).key_id}"
        assert len({draw.mark for draw in draws}) == 3

    def test_every_set_is_equally_likely(self, listed):
        """2 of 5, by 2,000 seeds: ten pairs, each within 4.5 standard deviations."""
        _, deliveries = listed(5)
        names = [item.record_id for item in deliveries.items]
        pairs = Counter()
        for seed in range(2000):
            pairs[frozenset(sorted(names, key=DrawKey(seed).rank)[:2])] += 1
        assert len(pairs) == 10
        assert all(abs(n - 200) < 4.5 * math.sqrt(2000 * 0.09) for n in pairs.values())

    def test_reasons_are_strata_where_asked_for(self, listed):
        files, deliveries = listed()
        draw, _ = draw_deliveries(files, deliveries, 12, SEED, by_reason=True)
        assert [(s.reason, s.delivered, len(s.drawn)) for s in draw.strata] == [
            ("not certified: no image", 36, 8),
            ("unscanned", 4, 4),
        ]
        with pytest.raises(ConfigError, match="at least 2"):
            draw_deliveries(files, deliveries, 1, SEED, by_reason=True)

    def test_a_file_of_it_is_refused_once_edited(self, listed, tmp_path):
        files, deliveries = listed()
        draw, _ = draw_deliveries(files, deliveries, 5, SEED)
        path = tmp_path / "draw.json"
        write_sealed(path, draw)
        assert read_sealed(path, DeliveryDraw) == draw
        path.write_text(path.read_text().replace('"delivered": 40', '"delivered": 4000'))
        with pytest.raises(ConfigError, match="was changed after it was written"):
            read_sealed(path, DeliveryDraw)


class TestCheck:
    @pytest.mark.parametrize("by_reason", [False, True])
    def test_the_same_list_and_key_draw_the_same(self, listed, by_reason):
        files, deliveries = listed()
        draw, _ = draw_deliveries(files, deliveries, 9, SEED, by_reason=by_reason)
        check_draw(draw, deliveries, SEED)

    def test_another_list(self, listed, delivered, record_file):
        files, deliveries = listed()
        draw, _ = draw_deliveries(files, deliveries, 9, SEED)
        other = find_deliveries([record_file(delivered(1), name="b.jsonl")], DeliveryWindow())
        with pytest.raises(ConfigError, match=r"another list: 40 answers .* hold 1 of"):
            check_draw(draw, other, SEED)

    def test_another_key(self, listed):
        files, deliveries = listed()
        draw, _ = draw_deliveries(files, deliveries, 9, SEED)
        with pytest.raises(ConfigError, match="made with seed 0"):
            check_draw(draw, deliveries, DrawKey(1))

    def test_answers_that_somebody_picked(self, listed):
        files, deliveries = listed()
        draw, _ = draw_deliveries(files, deliveries, 9, SEED)
        (stratum,) = draw.strata
        drawn = {"drawn": [item.record_id for item in deliveries.items[:9]]}
        picked = draw.model_copy(update={"strata": [stratum.model_copy(update=drawn)]}).sealed()
        with pytest.raises(ConfigError, match="draws other answers"):
            check_draw(picked, deliveries, SEED)
