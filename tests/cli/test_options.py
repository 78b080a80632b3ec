"""What a policy says of variants reaches every upstream that they travel to."""

import asyncio

import pytest

from guardrail.assembly import build_engine
from guardrail.policy.load import load_policy


@pytest.fixture
def engine_of(tmp_path):
    """The engine for a policy with these fields of pictures."""

    def build(upstream, *lines):
        path = tmp_path / "policy.yaml"
        images = f"advanced: {{images: {{{', '.join(lines)}}}}}"
        path.write_text(f"name: mine\noracle: {{miss_rate_upper: 0.05}}\n{images}\n")
        return build_engine(load_policy(path), upstream, None)

    return build


@pytest.mark.parametrize(
    ("upstream", "lines", "encoding"),
    [
        ("openai_compatible:http://127.0.0.1:9/v1", (), "png"),
        ("openai_compatible:http://127.0.0.1:9/v1", ("variant_quality: 70",), "png"),
        (
            "openai_compatible:http://127.0.0.1:9/v1",
            ("variant_format: jpeg", "variant_quality: 70"),
            "jpeg q70",
        ),
        ("litellm:openai/any", ("variant_format: webp", "variant_quality: 81"), "webp q81"),
        ("litellm:openai/any", ("variant_format: jpeg",), "jpeg q95"),
    ],
)
def test_the_encoding_is_part_of_the_models_name(engine_of, upstream, lines, encoding):
    engine = engine_of(upstream, *lines)
    assert engine.upstream.revision.endswith(f" {encoding}")
    asyncio.run(engine.aclose())
