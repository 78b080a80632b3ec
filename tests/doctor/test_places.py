"""Private files, records, disk and databases."""

import shutil
import socket
from collections import namedtuple

import pytest

from guardrail.doctor.finding import Level
from guardrail.doctor.machine import examine_open_files
from guardrail.doctor.places import examine_places
from guardrail.errors import ConfigError


def found(**options):
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    return {finding.check: finding for finding in examine_places(named)}


def test_without_options_what_is_missing_is_told():
    findings = found()
    assert findings["key file"].level is Level.WARNING
    assert findings["records"].level is Level.WARNING


def test_a_file_that_will_be_made(tmp_path):
    findings = found(key_file=tmp_path / "a" / "b" / "noise.key", records=str(tmp_path / "r.jsonl"))
    assert findings["key file"].level is Level.OK
    assert findings["records"].level is Level.OK
    assert not list(tmp_path.iterdir())


def test_a_key_file_that_holds_something_else(tmp_path):
    file = tmp_path / "noise.key"
    file.write_text("not a key\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="hexadecimal"):
        found(key_file=file)


def test_older_keys_are_counted(tmp_path):
    file = tmp_path / "noise.key"
    file.write_text("ab" * 32 + "\n" + "cd" * 32 + "\n")
    file.chmod(0o600)
    assert found(key_file=file)["key file"].message == "the present key and 1 older"


@pytest.mark.parametrize("option", ["key_file", "sign_key", "content_key"])
def test_every_private_file_is_looked_at(tmp_path, option):
    file = tmp_path / "secret"
    file.write_text("ab" * 32)
    file.chmod(0o640)
    finding = found(**{option: file})[option.replace("_", " ")]
    assert finding.level is Level.ERROR
    assert "mode 0640" in finding.message


def test_records_that_others_may_read(tmp_path):
    file = tmp_path / "records.jsonl"
    file.touch(0o644)
    file.chmod(0o644)
    assert found(records=str(file))["records"].level is Level.WARNING
    file.chmod(0o600)
    assert found(records=f"sqlite:///{file}")["records"].level is Level.OK


@pytest.mark.parametrize(
    ("free", "level"), [(1 << 20, Level.ERROR), (1 << 30, Level.WARNING), (1 << 40, Level.OK)]
)
def test_room_on_the_disk(tmp_path, monkeypatch, free, level):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage(free))
    assert found(records=str(tmp_path / "r.jsonl"))["disk"].level is level


def test_a_database_that_listens_and_one_that_does_not():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        url = f"postgresql+psycopg://user:a-password@127.0.0.1:{port}/name"
        listening = found(records=url)["records"]
    closed = found(records=url)["records"]
    assert listening.level is Level.OK
    assert closed.level is Level.ERROR
    assert "a-password" not in listening.message + closed.message + closed.remedy


def test_a_missing_driver_of_postgresql(monkeypatch):
    monkeypatch.setattr("guardrail.oracles.packages._is_installed", lambda _name: False)
    finding = found(records="postgresql://127.0.0.1:9/name")["records"]
    assert finding.level is Level.ERROR
    assert "[postgres]" in finding.remedy


def test_a_limit_of_open_files_that_is_too_low():
    assert examine_open_files(least=1)[0].level is Level.OK
    (finding,) = examine_open_files(least=1 << 40)
    assert finding.level is Level.WARNING
    assert "LimitNOFILE" in finding.remedy
