"""API keys, TLS and the address."""

import shutil
import subprocess

import pytest

from guardrail.doctor.access import examine_access
from guardrail.doctor.finding import Level
from guardrail.keys.pepper import create_pepper
from tests.keybook import KeyBook

ANYWHERE = "0.0.0.0"  # noqa: S104
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="NOT TESTED: openssl is missing"
)


def found(host="127.0.0.1", **options):
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    return {finding.check: finding for finding in examine_access({"--host": host, **named})}


@pytest.fixture
def book(tmp_path):
    book = KeyBook(tmp_path / "keys.yaml")
    create_pepper(tmp_path / "keys.yaml.pepper")
    return book


def test_loopback_needs_no_keys():
    assert {check: f.level for check, f in found().items()} == {"address": Level.OK}


def test_strangers():
    assert found(ANYWHERE)["address"].level is Level.ERROR
    assert found(ANYWHERE, allow_anyone=True)["address"].level is Level.WARNING


def test_keys_that_can_be_used(book):
    book.create()
    findings = found(ANYWHERE, keys=str(book.file))
    assert findings["address"].level is Level.OK
    assert findings["pepper"].level is Level.OK
    assert findings["keys"].message == "1 valid"
    assert findings["tls"].level is Level.WARNING
    assert "tls" not in found(keys=str(book.file))


def test_keys_and_nobody_in_particular(book):
    book.create()
    finding = found(ANYWHERE, keys=str(book.file), allow_anyone=True)["address"]
    assert finding.level is Level.ERROR


def test_no_key_is_valid(book):
    book.file.write_text("keys: []\n")
    assert "nobody can ask" in found(keys=str(book.file))["keys"].message


def test_a_file_of_keys_with_a_mistake(book):
    book.file.write_text("keys: [{id: key_1}]\n")
    assert found(keys=str(book.file))["keys"].level is Level.ERROR


def test_what_is_missing(tmp_path):
    findings = found(keys=str(tmp_path / "keys.yaml"))
    assert findings["keys"].level is Level.ERROR
    assert findings["pepper"].level is Level.ERROR


def test_keys_in_a_database(tmp_path, book):
    file = tmp_path / "keys.db"
    file.touch()
    pepper = tmp_path / "keys.yaml.pepper"
    assert found(keys=str(file), pepper=pepper)["keys"].level is Level.OK
    away = found(keys="postgresql://u:a-password@127.0.0.1:9/name", pepper=pepper)
    assert away["keys"].level is Level.ERROR
    assert away["pepper"].level is Level.OK
    assert "a-password" not in str(away)
    assert found(keys="postgresql://127.0.0.1:9/name")["pepper"].level is Level.ERROR


@needs_openssl
def test_tls_files(tmp_path):
    for name in ("one", "two"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=localhost", "-keyout", f"{name}.key", "-out", f"{name}.pem"],
            cwd=tmp_path, capture_output=True, check=True,
        )  # fmt: skip
    pair = found(tls_cert=tmp_path / "one.pem", tls_key=tmp_path / "one.key")
    mixed = found(tls_cert=tmp_path / "one.pem", tls_key=tmp_path / "two.key")
    assert pair["tls"].level is Level.OK
    assert mixed["tls"].level is Level.ERROR
