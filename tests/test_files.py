"""Files that people give: bounded, and every fault says what to do."""

import os

import pytest

from guardrail.errors import CertificationError, ConfigError, RequestError
from guardrail.files import read_file, read_private_file


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_files_within_the_bound(tmp_path, size):
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)
    assert read_file(path, "thing", max_bytes=10) == b"x" * size


@pytest.mark.parametrize("kind", [ConfigError, RequestError, CertificationError])
def test_faults_are_of_the_wanted_kind_and_name_the_file(tmp_path, kind):
    path = tmp_path / "a"
    with pytest.raises(kind, match=r"a: the thing cannot be read \(No such file.*\); look again$"):
        read_file(path, "thing", max_bytes=10, error=kind, remedy="look again")
    path.write_bytes(b"x" * 11)
    with pytest.raises(kind, match=r"a: the thing has more than 10 bytes; give a smaller file$"):
        read_file(path, "thing", max_bytes=10, error=kind)


def test_a_config_error_knows_its_file(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_file(tmp_path, "thing", max_bytes=10)
    assert caught.value.file == str(tmp_path)


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(ConfigError, match="there can be no such file"):
        read_file(tmp_path / "a\0b", "thing", max_bytes=10)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o602, 0o611])
def test_a_private_file_is_open_to_nobody_else(tmp_path, mode):
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}\); run 'chmod 600 .*key'") as caught:
        read_private_file(path, "key file", max_bytes=10)
    assert "secret" not in str(caught.value)
    path.chmod(0o600)
    assert read_private_file(path, "key file", max_bytes=4) == b"secr"
