import subprocess
import sys

import pytest

from guardrail.errors import ConfigError
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.registry import KNOWN_SPECS, build_upstream

URL = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def authorization(upstream):
    return upstream._headers.get("Authorization")


def test_the_url_is_all_that_follows_the_first_colon():
    upstream = build_upstream(f"openai_compatible:{URL}")
    assert isinstance(upstream, OpenAICompatible)
    assert upstream.name == f"openai_compatible:{URL}"
    assert authorization(upstream) is None


def test_the_key_comes_from_the_options_before_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment\n")
    spec = f"openai_compatible:{URL}"
    assert authorization(build_upstream(spec)) == "Bearer from-environment"
    assert authorization(build_upstream(spec, api_key=None)) == "Bearer from-environment"
    assert authorization(build_upstream(spec, api_key="own")) == "Bearer own"


def test_an_empty_key_in_the_environment_is_none(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    assert authorization(build_upstream(f"openai_compatible:{URL}")) is None


def test_options_reach_the_upstream():
    upstream = build_upstream(f"openai_compatible:{URL}", variant_format="webp", timeout_s=None)
    assert upstream.revision == f"{URL} webp q95"


@pytest.mark.parametrize(
    "spec",
    ["", "openai", "openia_compatible:x", "https://user:hunter2@host/v1", "Builtin", "x:hunter2"],
)
def test_an_unknown_spec_lists_the_known_ones(spec):
    with pytest.raises(ConfigError) as caught:
        build_upstream(spec)
    assert caught.value.field == "upstream"
    assert all(known in str(caught.value) for known in KNOWN_SPECS)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "spec", ["openai_compatible", "openai_compatible:", "litellm", "transformers:", "builtin:x"]
)
def test_an_incomplete_spec_is_refused(spec):
    with pytest.raises(ConfigError, match="colon"):
        build_upstream(spec)


def test_who_cannot_wait_for_hours_is_told_so():
    with pytest.raises(ConfigError, match="litellm_batch answers within hours"):
        build_upstream("litellm_batch:openai/gpt-4o-mini")


def test_an_unknown_option_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no option colour, size; it takes api_key, model_map"):
        build_upstream(f"openai_compatible:{URL}", size=3, colour="red")


def test_a_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ConfigError, match=r"pip install 'certified-guardrail\[litellm\]'"):
        build_upstream("litellm:openai/gpt-4o")


@pytest.mark.parametrize(
    ("spec", "module"),
    [("builtin", "builtin"), ("transformers:some/model", "transformers_local")],
)
def test_a_local_model_without_its_extra_says_what_to_install(monkeypatch, spec, module):
    class Absent:
        def find_spec(self, name, *_):
            if name == f"guardrail.upstreams.{module}":
                raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.delitem(sys.modules, f"guardrail.upstreams.{module}", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(ConfigError, match=r"needs torch.*guardrail\[local\]"):
        build_upstream(spec)


def test_local_models_are_built_by_name():
    assert build_upstream("builtin").name
    assert "some/model" in build_upstream("transformers:some/model", name="some/model").name


def test_nothing_heavy_is_imported_for_a_remote_model():
    heavy = {"torch", "transformers", "litellm"}
    code = (
        "import sys; from guardrail.upstreams.registry import build_upstream;"
        f"build_upstream('openai_compatible:{URL}');"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_model_misses_while_it_is_made_is_named(monkeypatch):
    from guardrail.upstreams import openai_http

    def needy(base_url, *, api_key=None):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(openai_http, "OpenAICompatible", needy)
    with pytest.raises(ConfigError, match="needs torch"):
        build_upstream(f"openai_compatible:{URL}")
