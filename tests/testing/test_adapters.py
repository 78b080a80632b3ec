"""The rules of adapters, on packages that keep and that break them."""

import importlib.util
import sys

import pytest

from guardrail.testing.adapters import check_adapter


@pytest.fixture
def package(tmp_path):
    def make(text):
        folder = tmp_path / "thin"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "adapter.py").write_text(text)
        spec = importlib.util.spec_from_file_location("thin", folder / "__init__.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield make
    sys.modules.pop("thin", None)


def test_a_thin_package_passes(package):
    check_adapter(package("from guardrail import ContentBlocked, Guard\nimport guardrail\n"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("from guardrail.engine.engine import Engine\n", "engine.engine is not public"),
        ("import guardrail.server.app\n", "server.app is not public"),
        ("from guardrail import version\n", "version is not public"),
        ("def f(v):\n    return v.would_block\n", "'would_block' decides"),
        ("x = 1\n" * 151, "over 150 lines"),
    ],
)
def test_a_package_that_breaks_a_rule(package, text, problem):
    with pytest.raises(AssertionError, match=problem):
        check_adapter(package(text))
