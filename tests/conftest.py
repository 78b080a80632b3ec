"""What all tests share: hypothesis without clocks, and tiny models that transformers can load."""

import gc
import importlib.util
import os
import signal
import sys
import uuid
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from guardrail.testing.attempts import numbered_attempts
from tests.keybook import KeyBook
from tests.postgres import MISSING, find_binaries, running_postgres
from tests.redis_server import MISSING as REDIS_MISSING
from tests.redis_server import find_redis, running_redis

# A busy machine is no fault: nothing is asserted about time. Each run tries the same examples, so
# that a change is told by what it breaks; `make nightly` looks for new ones.
_ALIKE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("check", derandomize=True, max_examples=40, **_ALIKE)
settings.register_profile("nightly", max_examples=400, **_ALIKE)
settings.load_profile(os.environ.get("GUARDRAIL_EXAMPLES", "check"))

# A shell that starts the tests in the background has interrupts ignored, and every process below
# inherits that: the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Set before any test imports a Hugging Face library: no test may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"
# Several processes of tests share the cores: threads that wait for each other would spin there.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# litellm would fetch its list of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


def pytest_collection_finish():
    """Tests and libraries stay: to look through them again and again took an eighth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def _known_attempts():
    """Decisions of a test meet the same noise and seeds in every run, and fresh ones each time."""
    with numbered_attempts():
        yield


@pytest.fixture(scope="session")
def _postgres_server():
    if find_binaries() is None:
        pytest.skip(MISSING)
    with running_postgres() as url:
        yield url


@pytest.fixture
def postgres_url(_postgres_server):
    """URL of a fresh, empty PostgreSQL database."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{_postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{_postgres_server}/{name}"


@pytest.fixture
def sqlite_url(tmp_path):
    """URL of a SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path / 'guardrail.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request):
    """Every test that asks for it runs once with SQLite and once with PostgreSQL."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def book(tmp_path):
    """API keys in a file of this test."""
    return KeyBook(tmp_path / "keys.yaml")


@pytest.fixture
def redis_server():
    """An empty Redis server of this test's own, which it may kill."""
    if find_redis() is None:
        pytest.skip(REDIS_MISSING)
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def _no_connections_left():
    """litellm keeps its clients for ten minutes and then drops them with their connections open,
    which warns in whatever test runs at that moment.
    """
    yield
    if (litellm := sys.modules.get("litellm")) is None:
        return
    kept = litellm.in_memory_llm_clients_cache
    if kept.cache_dict:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept.flush_cache()
            gc.collect()


def _text_config(tokenizer, **fields):
    return {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 256,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        **fields,
    }


def _saved(model, processor, folder):
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory):
    """The built-in model's architecture and processor, a hundredth of its size, untrained."""
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    from guardrail.builtin.architecture import IMAGE_TOKENS, SIDE_PX, new_processor
    from guardrail.upstreams.convolutional_vision import (
        ConvolutionalVisionConfig,
        register_convolutional_vision,
    )

    torch.manual_seed(0)
    processor = new_processor()
    register_convolutional_vision()
    vision = ConvolutionalVisionConfig(
        image_size=SIDE_PX,
        stem_channels=16,
        middle_channels=16,
        middle_blocks=1,
        hidden_size=32,
        last_blocks=1,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=_text_config(processor.tokenizer),
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=IMAGE_TOKENS,
    )
    return _saved(
        LlavaForConditionalGeneration(config), processor, tmp_path_factory.mktemp("llava")
    )


@pytest.fixture(scope="session")
def tiny_idefics(tmp_path_factory):
    """An Idefics3 (SmolVLM): cuts pictures into tiles, so prompts differ in length."""
    import torch
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )

    from guardrail.builtin.architecture import new_processor

    torch.manual_seed(0)
    template = new_processor().chat_template
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        new_processor().tokenizer,
        image_seq_len=4,
        chat_template=template,
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    config = Idefics3Config(
        image_token_id=processor.tokenizer.convert_tokens_to_ids("<image>"),
        vision_config=vision,
        text_config=_text_config(processor.tokenizer),
        scale_factor=2,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    return _saved(
        Idefics3ForConditionalGeneration(config), processor, tmp_path_factory.mktemp("idefics")
    )


@pytest.fixture(scope="session")
def tiny_llava_next(tmp_path_factory):
    """LLaVA-1.6's architecture and picture processor at a tiny width, with random weights."""
    import torch

    path = Path(__file__).resolve().parents[1] / "benchmarks" / "local_shape" / "shape.py"
    spec = importlib.util.spec_from_file_location("local_shape_shape", path)
    shapes = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = shapes
    spec.loader.exec_module(shapes)
    torch.manual_seed(0)
    shape = shapes.SHAPES["tiny"]
    processor = shapes.new_processor(shape)
    model = shapes.new_model(shape, processor, device="cpu", dtype="float32")
    return _saved(model, processor, tmp_path_factory.mktemp("llava_next"))


@pytest.fixture(scope="session")
def shipped_weights():
    """The built-in model's folder."""
    from guardrail.upstreams.builtin import BUILTIN_FOLDER

    return BUILTIN_FOLDER


@pytest.fixture(scope="session")
def noise_picture():
    """Random pixels by shape and seed."""

    def make(height=24, width=24, seed=0):
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    return make


@pytest.fixture(scope="session")
def repository():
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def edit_numbers():
    """Every edit of one number of a JSON value: (path to it, the JSON with another number there).

    Larger and smaller ones, by little and by much, and 0; in the place of null some numbers.
    """
    return _edit_numbers


def _edit_numbers(data):
    for path, value in _leaves(data):
        for other in _other_numbers(value):
            yield path, _with(data, path, other)


def _other_numbers(value):
    match value:
        case bool() | str():
            return []
        case None:
            return [0.0, 1e-9, 0.1]
        case int():
            new = [value + 1, value - 1, 2 * value, 0]
        case float():
            new = [value * (1 + 1e-6), value * (1 - 1e-6), 1.01 * value, 0.5 * value,
                   value + 1e-6, -value, 0.0]  # fmt: skip
        case _:
            raise TypeError(type(value))
    return [other for other in new if other != value]


def _leaves(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, dict | list):
            yield from _leaves(item, (*path, key))
        else:
            yield (*path, key), item


def _with(data, path, value):
    first, *rest = path
    inner = _with(data[first], rest, value) if rest else value
    if isinstance(data, dict):
        return {**data, first: inner}
    return [*data[:first], inner, *data[first + 1 :]]
