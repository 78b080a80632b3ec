"""The append-only file: whole lines, whoever writes and whoever is killed."""

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.canonical import canonical_json
from guardrail.errors import CertificationError, ConfigError, StorageError
from guardrail.records import lines
from guardrail.records.lines import LineFile, read_lines

PREFIX = b'{"n":'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def line(n):
    return b'{"n":%d}' % n


def append(file, *numbers):
    with file.exclusive():
        for n in numbers:
            file.write(line(n))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.jsonl"


@pytest.fixture
def opened():
    files = []

    def open_one(path, **options):
        files.append(LineFile(path, prefix=PREFIX, **options))
        return files[-1]

    yield open_one
    for file in files:
        file.close()


def test_lines_come_back_in_order(path, opened):
    file = opened(path)
    append(file, 1, 2)
    append(file, 3)
    with file.exclusive():
        assert file.lines() == [line(1), line(2), line(3)]
        assert file.last_line() == line(3)


def test_a_new_file_is_private(path, opened):
    opened(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_torn_line_is_cut_off(path, opened, caplog, cut):
    path.write_bytes(line(1) + b"\n" + line(23)[:-1][:cut])
    with caplog.at_level(logging.WARNING):
        append(opened(path), 3)
    assert path.read_bytes() == line(1) + b"\n" + line(3) + b"\n"
    assert f"cut off {min(cut, 7)} bytes" in caplog.text


def test_a_line_that_lacks_only_its_break_is_kept(path, opened):
    path.write_bytes(line(1) + b"\n" + line(2))
    append(opened(path), 3)
    assert path.read_bytes() == b"".join(line(n) + b"\n" for n in (1, 2, 3))


def test_a_torn_first_line_leaves_an_empty_file(path, opened):
    path.write_bytes(PREFIX)
    opened(path)
    assert path.read_bytes() == b""


def test_a_torn_line_longer_than_a_block_is_found(path, opened):
    whole = canonical_json({"n": "x" * 200_000}) + b"\n"
    path.write_bytes(whole + whole[:150_000])
    opened(path)
    assert path.read_bytes() == whole


@given(data=st.binary(min_size=1, max_size=20))
@settings(max_examples=50)
def test_other_peoples_files_are_left_as_they_are(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("other") / "notes.txt"
    path.write_bytes(b"#" + data)
    with pytest.raises(ConfigError, match="holds something else"):
        LineFile(path, prefix=PREFIX)
    assert path.read_bytes() == b"#" + data


def test_paths_that_cannot_be_written_are_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be opened"):
        LineFile(tmp_path, prefix=PREFIX)
    with pytest.raises(ConfigError, match="none/x"):
        LineFile(tmp_path / "none" / "x", prefix=PREFIX)


def test_a_line_that_is_too_long_is_refused_and_leaves_nothing(path, opened, monkeypatch):
    monkeypatch.setattr(lines, "LARGEST_LINE_BYTES", 100)
    file = opened(path)
    append(file, 1)
    with pytest.raises(ConfigError, match="too long"), file.exclusive():
        file.write(b"x" * 100)
    assert path.read_bytes() == line(1) + b"\n"


def test_a_full_disk_leaves_no_part_of_a_line(path, opened, monkeypatch):
    file = opened(path)
    append(file, 1)
    real = os.write
    parts = iter([3])

    def write(handle, data):
        for size in parts:
            return real(handle, data[:size])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageError, match="No space left"):
        append(file, 2)
    monkeypatch.undo()
    append(file, 3)
    assert path.read_bytes() == line(1) + b"\n" + line(3) + b"\n"


def test_short_writes_are_finished(path, opened, monkeypatch):
    file = opened(path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:2]))
    append(file, 12345)
    assert path.read_bytes() == line(12345) + b"\n"


def test_fsync_is_asked_for(path, opened, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", seen.append)
    append(opened(path), 1)
    assert seen == []
    append(opened(path, fsync=True), 2)
    assert len(seen) == 1


def test_lines_that_are_too_long_are_not_read(path, monkeypatch):
    path.write_bytes(b"x" * 200)
    monkeypatch.setattr(lines, "LARGEST_LINE_BYTES", 100)
    with pytest.raises(CertificationError, match="more than 100 bytes"):
        list(read_lines(path))


def test_threads_and_files_of_one_process_do_not_mix(path, opened):
    files = [opened(path), opened(path)]

    def work(file, start):
        for n in range(start, start + 200):
            append(file, n)

    threads = [threading.Thread(target=work, args=(files[i % 2], 1000 * (i + 1))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [json.loads(one)["n"] for one in path.read_bytes().splitlines()]
    assert sorted(seen) == sorted(1000 * (i + 1) + n for i in range(4) for n in range(200))


WRITER = """
import sys
from guardrail.canonical import canonical_json
from guardrail.records.lines import LineFile
file = LineFile(sys.argv[1], prefix=b'{"n":')
print("ready", flush=True)
n = 0
while n < int(sys.argv[3]):
    with file.exclusive():
        file.write(canonical_json({"n": n, "who": sys.argv[2], "text": "x" * 5000}))
    n += 1
"""


def writer(path, who, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), who, str(count)], stdout=subprocess.PIPE
    )


def test_processes_do_not_mix(path):
    processes = [writer(path, str(who), 100) for who in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    seen = [json.loads(one) for one in path.read_bytes().splitlines()]
    for who in range(3):
        assert [one["n"] for one in seen if one["who"] == str(who)] == list(range(100))


def test_a_killed_writer_leaves_whole_lines_and_no_lock(path, opened):
    process = writer(path, "killed", 10**9)
    process.stdout.readline()
    while path.stat().st_size < 200_000:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    append(opened(path), 7)
    seen = [json.loads(one) for one in path.read_bytes().splitlines()]
    assert [one["n"] for one in seen[:-1]] == list(range(len(seen) - 1))
    assert seen[-1] == {"n": 7}
