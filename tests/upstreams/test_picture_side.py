"""Which size of pictures a model looks at: by its settings, or by its name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.upstreams.builtin import builtin_upstream
from guardrail.upstreams.chain import UpstreamChain
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.picture_side import (
    FAMILIES,
    SIDE_FROM_SETTINGS,
    PictureSide,
    find_picture_side,
    read_settings,
)
from guardrail.upstreams.scripted import Scripted
from guardrail.upstreams.transformers_local import TransformersLocal

SETTINGS = {
    "height and width": ({"size": {"height": 96, "width": 96}, "do_center_crop": False}, 96),
    "cropped": (
        {
            "size": {"shortest_edge": 224},
            "crop_size": {"height": 336, "width": 336},
            "do_center_crop": True,
        },
        336,
    ),
    "crop size that is not used": (
        {
            "size": {"height": 96, "width": 96},
            "crop_size": {"height": 224},
            "do_center_crop": False,
        },
        96,
    ),
    "tiles": ({"size": {"height": 560, "width": 560}, "max_image_tiles": 4}, 1120),
    "pinpoints": ({"image_grid_pinpoints": [[336, 672], [672, 672], [1008, 336]]}, 672),
    "longest edge": ({"size": {"longest_edge": 1024}}, 1024),
    "both edges": ({"size": {"shortest_edge": 378, "longest_edge": 980}}, 980),
    "shortest edge": ({"size": {"shortest_edge": 224}}, 224),
    "number": ({"size": 448}, 448),
}


@pytest.mark.parametrize(("processor", "side"), SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_of_processors(processor, side):
    assert read_settings(processor, {}) == PictureSide(side, SIDE_FROM_SETTINGS)


@pytest.mark.parametrize(
    "processor",
    [{"min_pixels": 3136, "max_pixels": 12_845_056}, {"crop_to_patches": True, "size": {}}],
)
def test_models_that_take_any_size(processor):
    assert read_settings(processor, {"vision_config": {"image_size": 448}}).side_px is None


def test_the_vision_config_counts_where_the_processor_says_nothing():
    config = {"vision_config": {"image_size": 384}}
    for processor in ({}, {"do_resize": False, "size": {"height": 9, "width": 9}}, {"size": {}}):
        assert read_settings(processor, config).side_px == 384
    assert read_settings({}, {"vision_config": {"image_size": [378, 490]}}).side_px == 490
    assert read_settings({}, {}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5000) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
NAMES = ("size", "crop_size", "do_center_crop", "do_resize", "image_grid_pinpoints",
         "max_image_tiles", "height", "width", "longest_edge")  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(NAMES), json_values),
    st.dictionaries(st.just("vision_config"), json_values),
)
def test_odd_settings_give_a_side_or_none(processor, config):
    found = read_settings(processor, config)
    assert found is None or found.side_px >= 1


@pytest.mark.parametrize(
    ("model", "side", "family"),
    [
        ("llava-hf/llava-1.5-7b-hf", 336, "LLaVA-1.5"),
        ("liuhaotian/llava-v1.5-13b", 336, "LLaVA-1.5"),
        ("llava-hf/llava-v1.6-mistral-7b-hf", 672, "LLaVA-1.6"),
        ("google/paligemma2-3b-pt-448", 448, "PaliGemma 448"),
        ("google/gemma-3-4b-it", 896, "Gemma 3"),
        ("gemma3:27b", 896, "Gemma 3"),
        ("gpt-4o", 768, "GPT-4o"),
        ("openai/gpt-4o-mini", 768, "GPT-4o"),
        ("GPT-4o-2024-08-06", 768, "GPT-4o"),
        ("anthropic/claude-3-5-sonnet-latest", 1568, "Claude 3"),
        ("bedrock/anthropic.claude-3-haiku", 1568, "Claude 3"),
        ("Qwen/Qwen2-VL-7B-Instruct", None, "Qwen2-VL"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", None, "Qwen2-VL"),
    ],
)
def test_models_that_are_known_by_name(model, side, family):
    found = find_picture_side(Scripted(["A cat."]), model)
    assert found == PictureSide(side, f"table: {family}")


@pytest.mark.parametrize(
    "model", ["", "my-gpt-4o", "gpt-4", "gpt-4.1", "claude-4", "gemma-3n-e4b", "gemma-3-1b-it",
              "llava", "llava-1.55", "notllava-1.5", "qwen3-vl"]
)  # fmt: skip
def test_other_names_are_not_guessed(model):
    assert find_picture_side(Scripted(["A cat."]), model) is None


def test_every_family_says_who_documents_it():
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert all(family.source for family in FAMILIES)


class Own(Scripted):
    """An upstream that knows the side of each of its models."""

    def picture_side(self, model):
        return PictureSide(500, "own") if model == "mine" else None

    def provider_model(self, model):
        return {"alias": "gpt-4o"}.get(model, model)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: LimitedUpstream(one, CallLimits())])
def test_an_upstream_that_knows_is_asked_first_and_names_are_the_providers(wrap):
    upstream = wrap(Own(["A cat."]))
    assert find_picture_side(upstream, "mine") == PictureSide(500, "own")
    assert find_picture_side(upstream, "alias").side_px == 768
    assert find_picture_side(upstream, "other") is None


def test_a_chain_answers_as_its_first_member():
    chain = UpstreamChain([Own(["A cat."]), Scripted(["A dog."])])
    assert find_picture_side(chain, "mine").side_px == 500


def test_the_built_in_model_says_its_own_without_being_loaded():
    upstream = builtin_upstream()
    assert find_picture_side(upstream, "any name") == PictureSide(96, SIDE_FROM_SETTINGS)
    assert upstream._loaded is None


def test_a_folder_is_read_once_and_its_faults_are_told(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"longest_edge": 77}}))
    upstream = TransformersLocal(str(tmp_path))
    assert upstream.picture_side("x").side_px == 77
    (tmp_path / "preprocessor_config.json").write_text("{")
    assert upstream.picture_side("x").side_px == 77
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json of the model"):
        TransformersLocal(str(tmp_path)).picture_side("x")
