"""The matrix of faults, played: a part fails, a question comes by a route, and the part comes back.

By day every part meets each of its faults and every route, and each fault every route; by night all
meet all. The laws that hold whatever fails are in `check_laws`; what comes of a fault in particular
stands in `cells.py`, and in docs/faults.md, which is printed from it.
"""

import contextlib
import functools
import time

import pytest

from tests.faults import cells
from tests.faults.cells import PARTS, all_cells, open_scene, paired_cells, place_of
from tests.faults.stand import LEAK, ROUTES, kept_actions

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Each part's stand, set up when it is first asked for; one after another."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def open_once(part):
            return stack.enter_context(open_scene(part, tmp_path_factory.mktemp("stand")))

        yield open_once


def check_laws(scene, reply, request_id):
    """No unguarded answer, no answer without a record, and no fault is called a block."""
    assert LEAK not in reply.text
    assert reply.decision in ("pass", "fault"), reply  # nothing here was judged harmful
    if reply.decision == "pass":
        kept = kept_actions(scene.records, request_id)
        assert kept == ["pass"], reply
    else:
        assert not reply.said, reply
        assert "content_filter" not in reply.text


def _mark(cell):
    nightly = [] if cell in paired_cells() else [pytest.mark.nightly]
    return pytest.param(*cell, id="-".join(cell), marks=nightly)


@pytest.mark.parametrize(("part", "fault", "route"), [_mark(cell) for cell in all_cells()])
def test_a_part_fails_and_comes_back(scenes, part, fault, route):
    cell, scene = PARTS[part][fault], scenes(place_of(part))
    cell.strike(scene)
    try:
        reply, request_id = scene.ask(part, route, hurried=cell.hurried)
        ready = scene.stand.ready()
    finally:
        cell.mend(scene)
    if not cell.lasts:
        back, back_id = ask_until_it_passes(scene, part, route)
        check_laws(scene, back, back_id)
    check_laws(scene, reply, request_id)
    check_expected(cell, route, reply)
    kept = kept_actions(scene.records, request_id)
    assert kept == ([] if cell.record is None else [cell.record]) or (
        cell.late and kept == ["pass"]
    )
    assert ready == cell.ready


def check_expected(cell, route, reply):
    assert (reply.decision == "pass") == cell.leaves, reply
    if cell.leaves:
        assert (reply.status, reply.said) == (200, route not in ("check", "litellm"))
    elif route == "litellm" and reply.status == 200:
        assert '"action":"BLOCKED"' in reply.text
    else:
        assert reply.code in cell.codes, reply
        assert reply.status in cell.statuses, reply


def ask_until_it_passes(scene, part, route):
    """The part is whole again; a breaker or a store may pause before it asks again."""
    end = time.monotonic() + PATIENCE_S
    while True:
        reply, request_id = scene.ask(part, route)
        if reply.decision == "pass" and scene.stand.ready() == 200:
            return reply, request_id
        assert time.monotonic() < end, reply
        time.sleep(0.2)


def test_the_subset_of_the_day_is_paired():
    """Every part meets each of its faults and every route, and every fault every route."""
    found = paired_cells()
    for part, faults in PARTS.items():
        assert {fault for p, fault, _ in found if p == part} == set(faults)
        assert {route for p, _, route in found if p == part} == set(ROUTES)
    for name in {fault for faults in PARTS.values() for fault in faults}:
        assert {route for _, fault, route in found if fault == name} == set(ROUTES)
    assert len(found) < len(all_cells()) / 2


def test_the_page_prints_the_matrix(repository):
    page = (repository / "docs" / "faults.md").read_text()
    assert cells.print_table() in page
    assert cells.print_counts() in page
