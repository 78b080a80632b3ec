"""Parts that are broken when `serve` starts: it does not, and says which part and why."""

import contextlib
import socket

import pytest
from click.testing import CliRunner

from guardrail.cli import exit_code, serve
from guardrail.key_files import load_or_create_key
from guardrail.keys.pepper import create_pepper
from guardrail.server import serve as server_module
from tests.faults.certificates import write_pair
from tests.faults.disk import MISSING, Disk, can_mount


class Served(Exception):  # noqa: N818 (no error)
    """It would take requests now."""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts `serve` with all files in order but for what a test damages; (status, output)."""
    monkeypatch.setattr(server_module, "_server", _raise_served)
    (tmp_path / "policy.yaml").write_text("name: starts\nextends: quick\noracle: {kind: builtin}\n")
    (tmp_path / "upstreams.yaml").write_text(
        "upstreams: [{upstream: 'openai_compatible:http://127.0.0.1:9/v1'}]\n"
    )
    (tmp_path / "keys.yaml").write_text("keys: []\n")
    create_pepper(tmp_path / "keys.yaml.pepper")
    load_or_create_key(tmp_path / "noise.key")
    write_pair(tmp_path)

    def run(**changed):
        options = {
            "policy": "policy.yaml", "upstreams": "upstreams.yaml", "keys": "keys.yaml",
            "key-file": "noise.key", "tls-cert": "cert.pem", "tls-key": "key.pem",
            "records": "records.db", "port": "0", **changed,
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        monkeypatch.chdir(tmp_path)
        runner = CliRunner()
        codes = []
        with runner.isolation() as (_, told, _):
            with contextlib.suppress(Served):
                codes.append(exit_code(lambda: serve.command.main(words, standalone_mode=False)))
            said = told.getvalue().decode()
        return (codes[0] if codes else None), said

    return run


def _raise_served(*_arguments, **_options):
    raise Served


GARBAGE = bytes(range(256))
FILES = {
    "policy.yaml": {"removed": 2, "corrupt": 2, "rubbish": 2, "a folder": 2},
    "upstreams.yaml": {"removed": 2, "corrupt": 2, "rubbish": 2, "a folder": 2},
    "keys.yaml": {"removed": 2, "corrupt": 2, "rubbish": 2, "a folder": 2},
    "keys.yaml.pepper": {"removed": 2, "corrupt": 2, "rubbish": 2, "a folder": 2},
    "noise.key": {"corrupt": 2, "rubbish": 2, "a folder": 2},  # removed: a new one is made
    "cert.pem": {"removed": 2, "corrupt": 2, "rubbish": 2, "a folder": 2},
    "key.pem": {"removed": 2, "corrupt": 2, "rubbish": 2, "a folder": 2},
    "records.db": {"corrupt": 2, "rubbish": 2, "a folder": 2},
}


def damage(file, fault):
    file.unlink(missing_ok=True)
    if fault == "a folder":
        file.mkdir()
    elif fault != "removed":
        file.write_bytes(b"name: [" if fault == "corrupt" else GARBAGE)
        file.chmod(0o600)


def test_it_starts_where_nothing_is_broken(start):
    code, said = start()
    assert code is None, said


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name, faults in FILES.items() for fault in faults]
)
def test_a_file_that_cannot_be_used_ends_the_start(start, tmp_path, name, fault):
    damage(tmp_path / name, fault)
    code, said = start()
    assert code == FILES[name][fault], said
    assert name.removesuffix(".pepper").split(".")[0] in said
    assert "Traceback" not in said


@pytest.mark.parametrize("fault", ["corrupt", "rubbish", "a folder"])
def test_records_in_lines_that_cannot_be_used_end_the_start(start, tmp_path, fault):
    damage(tmp_path / "records.jsonl", fault)
    code, said = start(records="records.jsonl")
    assert (code, "records.jsonl" in said) == (2, True), said


def test_a_new_noise_key_is_made_where_there_is_none(start, tmp_path):
    (tmp_path / "noise.key").unlink()
    code, said = start()
    assert code is None, said
    assert (tmp_path / "noise.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not can_mount(), reason=MISSING)
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("records.db", "disk full"), ("noise.key", "disk full"), ("records.db", "permission lost"),
        ("records.jsonl", "permission lost"), ("noise.key", "permission lost"),
    ],
)  # fmt: skip
def test_a_disk_that_cannot_be_written_ends_the_start(start, name, fault):
    with contextlib.closing(Disk()) as disk:
        disk.fill() if fault == "disk full" else disk.forbid()
        option = "key-file" if name == "noise.key" else "records"
        code, said = start(**{option: disk.folder / name})
    assert code == 2, said
    assert name in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("records", "postgresql://guardrail@127.0.0.1:{port}/none"),
        ("keys", "postgresql://guardrail@127.0.0.1:{port}/none"),
    ],
)
def test_a_database_that_is_not_there_ends_the_start(start, tmp_path, option, address):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    more = {"pepper": "keys.yaml.pepper"} if option == "keys" else {}
    code, said = start(**{option: address.format(port=port)}, **more)
    assert code not in (0, None), said
    assert str(port) in said


@pytest.mark.parametrize("option", ["port", "metrics-port"])
def test_a_port_that_is_taken_ends_the_start(start, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = start(**{option: port})
    assert (code, str(port) in said) == (2, True), said


@pytest.mark.parametrize(
    "options",
    [
        {"webhook": "http://127.0.0.1:9/hook"},
        {"redis": "redis://127.0.0.1:9/0"},
    ],
)
def test_what_nothing_is_decided_by_may_be_down_at_the_start(start, options):
    code, said = start(**options)
    assert code is None, said
