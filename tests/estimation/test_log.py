"""The report file: what is in it stays done, what does not fit is refused."""

import json

import pytest

from guardrail.errors import ConfigError
from guardrail.estimation.log import EstimationLog
from guardrail.estimation.picture import PictureProgress
from guardrail.estimation.rows import PictureSource
from guardrail.estimation.stop_rule import RateEstimate
from guardrail.types import Usage

SETTINGS = {"n": 10, "alpha": 0.001, "prompt": "What?"}
KNOWN = PictureProgress(RateEstimate(7, 6, 1, 0.25, 0.99), Usage(3, 4, 5))
ROW = {"type": "estimate", "file": "a.png", "sha256": "00", "radius": 0.5}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


def lines(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_settings_come_first_and_once(path):
    for _ in range(2):
        EstimationLog(path, SETTINGS).close()
    (header,) = lines(path)
    assert header.keys() == {"type", "version", "digest", *SETTINGS}
    assert header["type"] == "settings"


def test_what_is_known_and_done_comes_back(path):
    with EstimationLog(path, SETTINGS) as log:
        log.keep("b.png", "dd", PictureProgress(RateEstimate(3)))
        log.keep("b.png", "dd", KNOWN)
        log.finish(ROW)
        assert log.find_progress("b.png", "dd") == KNOWN
    with EstimationLog(path, SETTINGS) as again:
        assert again.find_progress("b.png", "dd") == KNOWN
        assert (
            again.find_progress("b.png", "ee")
            == PictureProgress()
            == again.find_progress("c.png", "dd")
        )
        assert again.find_estimate(PictureSource(0, "a.png", "00")) == ROW
        assert again.find_estimate(PictureSource(0, "b.png", "00")) is None
        assert again.done == 1


def test_another_picture_under_a_known_name_is_refused(path):
    with EstimationLog(path, SETTINGS) as log:
        log.finish(ROW)
        with pytest.raises(ConfigError, match=r"a\.png' has changed"):
            log.find_estimate(PictureSource(0, "a.png", "11"))


def test_other_settings_are_refused_by_name(path):
    EstimationLog(path, SETTINGS).close()
    content = path.read_bytes()
    with pytest.raises(ConfigError, match=r"other settings \(alpha, prompt\)"):
        EstimationLog(path, {**SETTINGS, "alpha": 0.01, "prompt": "Who?"})
    assert path.read_bytes() == content


def test_only_one_run_at_a_time(path):
    with (
        EstimationLog(path, SETTINGS),
        pytest.raises(ConfigError, match="another process is writing"),
    ):
        EstimationLog(path, SETTINGS)
    EstimationLog(path, SETTINGS).close()  # the refusal above did not keep the lock


@pytest.mark.parametrize("torn", [b'{"type":"esti', b'{"type":"estimate","file":"a.png"', b"{"])
def test_a_torn_line_is_mended(path, torn):
    with EstimationLog(path, SETTINGS) as log:
        log.keep("b.png", "dd", KNOWN)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with EstimationLog(path, SETTINGS) as log:
        assert log.find_progress("b.png", "dd") == KNOWN
        assert log.done == 0
    assert path.read_bytes() == whole


def test_a_torn_header_begins_anew(path):
    path.write_bytes(b'{"type":"settings","vers')
    EstimationLog(path, SETTINGS).close()
    assert len(lines(path)) == 1


@pytest.mark.parametrize("line", ['{"type":1}', "[]", "x", '{"type":"estimate"}'])
def test_lines_of_others_are_refused(path, line):
    EstimationLog(path, SETTINGS).close()
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ConfigError, match=r"out\.jsonl:2: .*not a line that"):
        EstimationLog(path, SETTINGS)


def test_records_are_no_report(path):
    path.write_text('{"type":"estimate","file":"x"}\n')
    with pytest.raises(ConfigError, match="not a line that"):
        EstimationLog(path, SETTINGS)


def test_without_a_file_it_remembers_for_this_run():
    with EstimationLog(None, SETTINGS) as log:
        log.finish(ROW)
        log.keep("b.png", "dd", KNOWN)
        assert log.find_estimate(PictureSource(0, "a.png", "00")) == ROW
        assert log.find_progress("b.png", "dd") == KNOWN
