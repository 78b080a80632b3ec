"""Policy files written by the tests."""

import textwrap

import pytest

MINIMAL = """\
name: mine
oracle:
  miss_rate_upper: 0.05
"""


@pytest.fixture(name="minimal")
def minimal_fixture():
    return MINIMAL


@pytest.fixture
def write(tmp_path):
    """Writes a policy file and returns its path."""

    def write(text, name="policy.yaml"):
        path = tmp_path / name
        data = textwrap.dedent(text) if isinstance(text, str) else text
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write
