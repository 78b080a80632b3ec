"""Loading a model folder: what works, and what a person is told when it does not."""

import json
import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("transformers")

from guardrail.errors import ConfigError
from guardrail.upstreams.loading import folder_digest, load_vlm


@pytest.fixture
def copy(tiny_llava, tmp_path):
    return shutil.copytree(tiny_llava, tmp_path / "model")


def edit(file, **fields):
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def told(name, **options):
    with pytest.raises(ConfigError) as caught:
        load_vlm(str(name), **options)
    return str(caught.value)


def test_a_folder_loads_in_evaluation_mode(tiny_llava):
    loaded = load_vlm(str(tiny_llava), device="cpu")
    assert not loaded.model.training
    assert str(loaded.model.dtype) == "torch.float32"
    assert loaded.device == "cpu"
    assert str(load_vlm(str(tiny_llava), device="cpu", dtype="bfloat16").model.dtype) == (
        "torch.bfloat16"
    )


def test_padding_stands_on_the_left_whatever_the_folder_says(copy):
    edit(copy / "tokenizer_config.json", padding_side="right")
    assert load_vlm(str(copy)).processor.tokenizer.padding_side == "left"


def test_a_tokenizer_without_a_padding_token_is_given_one(copy):
    edit(copy / "tokenizer_config.json", pad_token=None)
    assert load_vlm(str(copy)).processor.tokenizer.pad_token == "</s>"


def test_a_folder_without_weights_is_named_as_such(copy):
    (copy / "model.safetensors").unlink()
    message = told(copy)
    assert "no weights" in message
    assert str(copy) in message


def test_damaged_weights_are_a_config_error(copy):
    (copy / "model.safetensors").write_bytes(b"not safetensors")
    assert "complete model folder" in told(copy)


def test_an_empty_folder_is_a_config_error(tmp_path):
    assert "no weights" in told(tmp_path)


def test_a_model_that_cannot_chat_is_refused(copy):
    (copy / "chat_template.jinja").unlink()
    assert "instruction-tuned" in told(copy)


def test_an_unknown_id_says_how_to_get_it(monkeypatch):
    message = told("nobody/no-such-model")
    assert "hf download nobody/no-such-model" in message


@pytest.mark.parametrize("dtype", ["float33", "int8", "nn", ""])
def test_a_type_torch_does_not_know_is_refused(tiny_llava, dtype):
    if dtype:
        assert "float32" in told(tiny_llava, dtype=dtype)


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(tiny_llava, device):
    message = told(tiny_llava, device=device, dtype="float32")
    assert f"'{device}'" in message
    assert "field 'device'" in message


def test_code_that_comes_with_a_model_is_not_run(copy):
    (copy / "evil.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    edit(copy / "config.json", model_type="unheard", auto_map={"AutoConfig": "evil.Config"})
    assert "cannot be loaded" in told(copy)
    assert not (copy / "ran").exists()


def test_without_torch_the_remedy_is_named(repository):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from guardrail.upstreams.loading import load_vlm\n"
        "load_vlm('x')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=repository, env={**os.environ}, check=False)  # fmt: skip
    assert "ConfigError" in done.stderr
    assert "pip install 'certified-guardrail[local]'" in done.stderr


def test_the_digest_follows_weights_and_settings_but_not_place(tiny_llava, copy):
    first = folder_digest(tiny_llava)
    assert first == folder_digest(copy)
    assert len(first) == 16
    (copy / "README.md").write_text("words")
    assert folder_digest(copy) == first
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    second = folder_digest(copy)
    edit(copy / "generation_config.json", do_sample=True)
    assert len({first, second, folder_digest(copy)}) == 3


def test_the_digest_of_large_weights_sees_both_ends_and_the_length(tmp_path):
    file = tmp_path / "model.safetensors"
    size = 20 << 20

    def digest(**changes):
        data = bytearray(changes.get("size", size))
        for place in changes.get("flip", ()):
            data[place] = 1
        file.write_bytes(data)
        return folder_digest(tmp_path)

    variants = [digest(), digest(flip=[0]), digest(flip=[-1]), digest(size=size + 1)]
    variants.append(digest(flip=range(0, size, 1 << 18)))  # a change all over, as training makes
    assert len(set(variants)) == 5
