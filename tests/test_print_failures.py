"""What `make check` says at its end: every failure, with the last lines of what was said of it."""

import pytest

from tests.print_failures import find_failures

MEMBERS = """
import pytest

@pytest.fixture
def broken():
    raise OSError("no disk")

def test_it_passes(): pass
def test_it_fails(): assert 1 == 2, "the sum"
class TestOfAClass:
    def test_it_cannot_begin(self, broken): pass
"""


def test_all_failures_and_nothing_else_are_told(tmp_path):
    (tmp_path / "test_it.py").write_text(MEMBERS)
    options = [
        "-q",
        "--disable-plugin-autoload",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
    ]
    assert pytest.main([*options, f"--junit-xml={tmp_path / 'room.xml'}", str(tmp_path)]) == 1
    fails, cannot_begin = find_failures(tmp_path, lines=9)
    assert fails.startswith("== room: ")
    assert "::test_it_fails\n" in fails
    assert "AssertionError: the sum" in fails
    assert "TestOfAClass::test_it_cannot_begin\n" in cannot_begin
    assert "no disk" in cannot_begin
    assert all(text.count("\n") <= 9 for text in (fails, cannot_begin))


def test_a_report_that_was_cut_off_is_named(tmp_path):
    (tmp_path / "room.xml").write_text('<?xml version="1.0"?><testsuites><testsuite name="x"')
    (told,) = find_failures(tmp_path)
    assert told.startswith("== room: its report cannot be read")
