"""Progress: lines where no terminal is, a bar where there is one, silence for short work."""

import re
import threading
import time

import pytest
from rich.console import Console

from guardrail.cli import progress


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(progress, "_PERIOD_S", 0.05)


def test_short_work_says_nothing(capsys):
    with progress.progress_bar("counting", 3) as step:
        for _ in range(3):
            step()
    assert capsys.readouterr() == ("", "")


def test_long_work_tells_its_steps_in_plain_lines(fast, capsys):
    with progress.progress_bar("counting", 3) as step:
        time.sleep(0.12)
        step()
        step()
        time.sleep(0.12)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "counting: 0 of 3 after 0 s"
    assert lines[-1] == "counting: 2 of 3 after 0 s, about 0 s left"


@pytest.mark.parametrize(
    ("steps", "total", "elapsed_s", "said"),
    [(0, 10, 5.0, ""), (10, 10, 5.0, ""), (3, None, 5.0, ""), (1, 3, 10.0, ", about 20 s left"),
     (1, 13, 60.0, ", about 12 min left"), (1000, 1_000_000, 36.0, ", about 10 h left")],
)  # fmt: skip
def test_the_time_left_goes_by_the_pace_so_far(steps, total, elapsed_s, said):
    assert progress._time_left(steps, total, elapsed_s) == said


def test_work_without_an_end_in_sight_tells_its_steps_alone(fast, capsys):
    with progress.progress_bar("counting", None) as step:
        step()
        time.sleep(0.12)
    assert "counting: 1 after 0 s" in capsys.readouterr().err.splitlines()


def test_lines_grow_sparse_with_time(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PERIOD_S", 0.01)
    monkeypatch.setattr(progress, "_SHARE", 1.0)  # the next one after as long again
    with progress.progress_bar("counting", 1):
        time.sleep(0.5)
    assert 3 <= len(capsys.readouterr().err.splitlines()) <= 8


def test_no_line_comes_after_the_end(fast, capsys):
    with pytest.raises(KeyError), progress.progress_bar("counting", 3):
        raise KeyError
    capsys.readouterr()
    time.sleep(0.15)
    assert capsys.readouterr().err == ""
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_a_terminal_gets_a_bar_and_no_lines(fast, monkeypatch, capsys):
    import rich.console

    def on_terminal(**options):
        return Console(**options, force_terminal=True, width=80)

    monkeypatch.setattr(rich.console, "Console", on_terminal)
    with progress.progress_bar("counting", 2) as step:
        step()
        time.sleep(0.3)
    err = capsys.readouterr().err
    assert re.search(r"counting .*1/2", err)
    assert "of 2 after" not in err
