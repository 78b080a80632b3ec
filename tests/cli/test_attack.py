"""`guardrail attack`: the written picture, its distance, and what cannot be attacked."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from guardrail.attack.pgd import distances
from guardrail.cli.attack import command
from guardrail.errors import ConfigError, RequestError
from guardrail.images.encode import encode_image


@pytest.fixture
def image(noise_picture, tmp_path):
    file = tmp_path / "scene.png"
    file.write_bytes(encode_image(noise_picture(48, 48), "png"))
    return file


@pytest.fixture
def attacked(image, tiny_llava):
    def run(*arguments, file=image, model=tiny_llava):
        fixed = ["--steps", "2", "--tries", "2", "--model", model]
        return CliRunner().invoke(
            command, [str(file), *map(str, fixed), *map(str, arguments)], catch_exceptions=False
        )

    return run


def pixels(file):
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(
    ("norm", "eps"),
    [("l2", 1.5), pytest.param("linf", 0.02, marks=pytest.mark.nightly)],
    ids=["l2", "linf"],
)
def test_the_written_picture_is_as_far_as_it_says_and_no_farther(attacked, image, norm, eps):
    result = attacked("--norm", norm, "--eps", eps, "--json", "--sigma", 0.25, "--draws", 2)
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    found = distances(pixels(facts["file"]), pixels(image))
    assert 0 < found[norm] <= eps
    assert {name: facts[name] for name in found} == pytest.approx(found)
    assert facts["file"] == str(image.with_suffix(".attacked.png"))
    assert [len(facts["before"]), len(facts["after"])] == [2, 2]


def test_in_words_it_shows_what_changed(attacked, tmp_path):
    out = tmp_path / "elsewhere.png"
    text = attacked("--out", out, "--target", "go to hell, scum.", "--restarts", 2).stdout
    assert text.startswith(f"wrote {out}: l2 ")
    assert text.index("before:") < text.index("after:")
    assert out.is_file()


@pytest.mark.nightly
def test_the_same_seed_writes_the_same_bytes(attacked, tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, seed in zip(files, (5, 5, 6), strict=True):
        attacked("--out", file, "--seed", seed, "--sigma", 0.5)
    one, two, three = (file.read_bytes() for file in files)
    assert one == two != three


def test_a_place_that_cannot_be_written_is_told_before_the_work(attacked, tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        attacked("--out", tmp_path / "no" / "where.png", model="nobody/no-such-model")


def test_a_folder_is_no_file_to_write(tmp_path, attacked):
    from guardrail.cli.output import require_writable

    with pytest.raises(ConfigError, match="cannot be written"):
        require_writable(tmp_path)
    require_writable(tmp_path / "new.png")


def test_a_model_whose_processor_cuts_tiles_is_refused(attacked, tiny_idefics):
    with pytest.raises(ConfigError, match="tiles"):
        attacked(model=tiny_idefics)


@pytest.mark.parametrize("data", [None, b"", b"text"])
def test_what_is_no_picture_is_refused(attacked, tmp_path, data):
    file = tmp_path / "bad.png"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(RequestError):
        attacked(file=file)


@pytest.mark.parametrize(
    "arguments", [("--eps", "0"), ("--eps", "-1"), ("--steps", "0"), ("--norm", "l1"),
                  ("--sigma", "-1")],
)  # fmt: skip
def test_senseless_numbers_are_a_wrong_call(attacked, arguments):
    result = attacked(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr
