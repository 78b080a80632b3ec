"""The page about models of one's own: its files of upstreams are read and opened as they stand."""

import re

import pytest

from guardrail.policy.upstreams import load_upstreams, open_upstream
from guardrail.upstreams.base import undrawn_statuses


@pytest.fixture
def examples(repository, tmp_path):
    text = (repository / "docs" / "local_models.md").read_text()
    files = []
    for number, body in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(body)
    return files


def test_a_model_in_this_process(examples):
    pytest.importorskip("transformers")
    (entry,) = load_upstreams(examples[0])
    assert open_upstream(entry).revision == "org/vision-model-float16"


def test_a_vllm_server(examples):
    """Without a key from the environment, and repeated after a 429 that drew nothing."""
    (entry,) = load_upstreams(examples[1])
    assert (entry.is_local, entry.api_key_env, entry.limits.max_concurrency) == (False, None, 64)
    upstream = open_upstream(entry, variant_format="png")
    assert undrawn_statuses(upstream) == {429}
