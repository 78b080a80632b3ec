"""`guardrail attack`: the written picture, its distance, and what cannot be attacked."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from guardrail.attack.tensors import distances
from guardrail.cli.attack import command
from guardrail.errors import ConfigError, RequestError
from guardrail.images.encode import encode_image


@pytest.fixture
def image(noise_picture, tmp_path):
    file = tmp_path / "scene.png"
    file.write_bytes(encode_image(noise_picture(48, 48), "png"))
    return file


@pytest.fixture
def light(tmp_path):
    """A policy whose oracle is loaded at once."""
    file = tmp_path / "light.yaml"
    file.write_text("version: 1\nname: light\noracle: {kind: builtin}\n")
    return file


@pytest.fixture
def attacked(image, tiny_llava, light):
    def run(*arguments, file=image, upstream=f"transformers:{tiny_llava}"):
        fixed = ["--steps", "2", "--restarts", "1", "--tries", "2", "--policy", light]
        fixed += ["--upstream", upstream]
        return CliRunner().invoke(
            command, [str(file), *map(str, fixed), *map(str, arguments)], catch_exceptions=False
        )

    return run


def pixels(file):
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(
    ("norm", "size"),
    [("l2", 1.5), pytest.param("linf", 0.02, marks=pytest.mark.nightly)],
    ids=["l2", "linf"],
)
def test_the_written_picture_is_as_far_as_it_says_and_no_farther(attacked, image, norm, size):
    result = attacked("--attack", norm, "--size", size, "--json", "--through-guard", "--draws", 2)
    facts = json.loads(result.stdout)
    found = distances(pixels(facts["file"]), pixels(image))
    assert 0 < found[norm] <= size
    assert {name: facts[name] for name in found} == pytest.approx(found)
    assert facts["file"] == str(image.with_suffix(".attacked.png"))
    assert [len(facts[name]["answers"]) for name in ("before", "after")] == [2, 2]
    assert (facts["attack"], facts["goal"]) == (norm, "harmful")
    assert facts["reached"] is (facts["after"]["wanted"] >= 0.5)
    assert result.exit_code == (0 if facts["reached"] else 1)


def test_where_the_goal_is_out_of_reach_nothing_is_written(attacked, image, monkeypatch):
    from guardrail.attack.sampled_check import SampledCheck

    monkeypatch.setattr(SampledCheck, "__call__", lambda *_: False)
    result = attacked("--json")
    facts = json.loads(result.stdout)
    assert (facts["reached"], facts["file"]) == (False, None)
    assert result.exit_code == 1
    assert not image.with_suffix(".attacked.png").exists()
    assert "raise --steps" in attacked().stdout


def test_a_sticker_stays_within_its_area(attacked, image):
    facts = json.loads(attacked("--attack", "sticker", "--size", 0.1, "--json").stdout)
    changed = (pixels(facts["file"]) != pixels(image)).any(axis=2)
    assert 0 < changed.mean() <= 0.1


def test_another_picture_can_be_pasted(attacked, image, tmp_path):
    sticker = tmp_path / "sticker.png"
    Image.new("RGBA", (10, 20), (255, 0, 0, 255)).save(sticker)
    result = attacked("--attack", "sticker", "--size", 0.2, "--paste", sticker, "--json")
    found = pixels(json.loads(result.stdout)["file"])
    changed = (found != pixels(image)).any(axis=2)
    assert 0.07 < changed.mean() <= 0.2
    assert (found[changed] == (255, 0, 0)).all()


def test_a_paste_that_is_no_picture_is_refused(attacked, tmp_path):
    file = tmp_path / "text.png"
    file.write_text("text")
    with pytest.raises(ConfigError, match="picture"):
        attacked("--attack", "sticker", "--paste", file)


def test_in_words_it_shows_what_changed(attacked, tmp_path):
    out = tmp_path / "elsewhere.png"
    text = attacked("--attack", "l2", "--out", out, "--target", "go to hell, scum.").stdout
    assert text.startswith(f"wrote {out}: l2 ")
    assert text.index("before: ") < text.index("after: ")
    assert "of the answers are harmful" in text
    assert out.is_file()


@pytest.mark.nightly
def test_the_same_seed_writes_the_same_bytes(attacked, tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, seed in zip(files, (5, 5, 6), strict=True):
        attacked("--attack", "l2", "--out", file, "--seed", seed, "--through-guard")
    one, two, three = (file.read_bytes() for file in files)
    assert one == two != three


@pytest.mark.parametrize("spec", ["openai_compatible:http://127.0.0.1:1/v1", "litellm:any"])
def test_a_model_elsewhere_has_no_gradients(attacked, spec):
    with pytest.raises(ConfigError, match="gradients"):
        attacked(upstream=spec)


def test_misses_can_be_aimed_for_only_where_the_truth_is_known(attacked):
    with pytest.raises(ConfigError, match="truth"):
        attacked("--goal", "missed")


def test_a_place_that_cannot_be_written_is_told_before_the_work(attacked, tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        attacked("--out", tmp_path / "no" / "where.png", upstream="transformers:nobody/none")


def test_a_folder_is_no_file_to_write(tmp_path, attacked):
    from guardrail.cli.output import require_writable

    with pytest.raises(ConfigError, match="cannot be written"):
        require_writable(tmp_path)
    require_writable(tmp_path / "new.png")


def test_a_model_whose_processor_cuts_tiles_is_refused(attacked, tiny_idefics):
    with pytest.raises(ConfigError, match="tiles"):
        attacked(upstream=f"transformers:{tiny_idefics}")


@pytest.mark.parametrize("data", [None, b"", b"text"])
def test_what_is_no_picture_is_refused(attacked, tmp_path, data):
    file = tmp_path / "bad.png"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(RequestError):
        attacked(file=file)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--attack", "l2", "--size", "0"), ("--attack", "l2", "--size", "-1"), ("--steps", "0"),
        ("--attack", "l1"), ("--goal", "other"), ("--size", "1.0"),
        ("--attack", "sticker", "--size", "1.0"), ("--paste", __file__), ("--draws", "0"),
        ("--attack", "caption"), ("--attack", "collage"), ("--caption", "words"),
        ("--attack", "frame", "--place", "on"), ("--attack", "sticker", "--place", "on"),
        ("--attack", "sticker", "--thing", "0", "0", "1", "1"), ("--words", "3"),
        ("--url", "http://127.0.0.1:9/v1"), ("--attack", "suffix", "--goal", "missed"),
        ("--attack", "square", "--through-guard"), ("--attack", "suffix", "--size", "1"),
        ("--attack", "frame", "--size", "1.0"), ("--attack", "sticker-search", "--size", "1.0"),
        ("--attack", "sticker-search", "--through-guard"),
        ("--attack", "sticker-search", "--paste", __file__),
        ("--attack", "sticker", "--queries", "9"),
    ],
)  # fmt: skip
def test_senseless_calls_are_refused(attacked, arguments):
    result = attacked(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_a_frame_leaves_the_middle_as_it_was(attacked, image):
    facts = json.loads(attacked("--attack", "frame", "--size", 0.3, "--json").stdout)
    changed = (pixels(facts["file"]) != pixels(image)).any(axis=2)
    assert 0 < changed.mean() <= 0.3
    assert not changed[8:-8, 8:-8].any()


def test_captions_and_collages_are_pictures_of_the_same_size(attacked, image):
    found = [
        json.loads(attacked("--attack", *arguments, "--json").stdout)
        for arguments in (("caption", "--caption", "a dog"), ("collage", "--paste", image))
    ]
    assert [pixels(facts["file"]).shape for facts in found] == [(48, 48, 3)] * 2
    assert [len(facts["after"]["answers"]) for facts in found] == [2, 2]


def test_a_sticker_is_pasted_where_it_is_told_to(attacked, image, tmp_path):
    sticker = tmp_path / "sticker.png"
    Image.new("RGBA", (10, 10), (255, 0, 0, 255)).save(sticker)
    box = ("--thing", 0, 0, 24, 48)
    for place, is_left in (("on", True), ("beside", False)):
        result = attacked("--attack", "sticker", "--size", 0.1, "--paste", sticker,
                          "--place", place, *box, "--json")  # fmt: skip
        changed = (pixels(json.loads(result.stdout)["file"]) != pixels(image)).any(axis=2)
        assert (changed[:, :24].any(), changed[:, 24:].any()) == (is_left, not is_left)
    with pytest.raises(ConfigError, match="48 x 48"):
        attacked("--attack", "sticker", "--place", "on", "--thing", 0, 0, 49, 48)


def test_a_suffix_is_words_behind_the_question(attacked, image):
    result = attacked("--attack", "suffix", "--words", 2, "--goal", "harmless", "--json",
                      "--prompt", "what is this?")  # fmt: skip
    facts = json.loads(result.stdout)
    assert facts["prompt"].startswith("what is this?")
    assert len(facts["prompt"].removeprefix("what is this?").split()) <= 2
    assert facts["file"] is None
    assert not image.with_suffix(".attacked.png").exists()
    assert result.exit_code == (0 if facts["after"]["wanted"] >= 0.5 else 1)


def test_a_model_is_asked_at_most_so_often(attacked, image):
    facts = json.loads(attacked("--attack", "square", "--queries", 5, "--json").stdout)
    assert facts["queries"] == facts["passed"] + facts["blocked"] + facts["faults"] <= 5
    assert facts["linf"] <= 16 / 255


def test_a_sticker_is_looked_for_by_answers_within_its_share(attacked, image):
    facts = json.loads(
        attacked("--attack", "sticker-search", "--size", 0.05, "--queries", 6, "--json").stdout
    )
    changed = (pixels(facts["file"]) != pixels(image)).any(axis=2)
    assert changed.sum() <= 0.05 * 48 * 48
    assert facts["attack"] == "sticker-search"
    assert facts["queries"] == facts["passed"] + facts["blocked"] + facts["faults"] <= 6


@pytest.mark.parametrize("attack", ["square", "sticker-search"])
def test_a_server_is_asked_by_its_url_only(attacked, image, attack):
    result = attacked("--attack", attack, "--url", "http://127.0.0.1:9/v1", "--json",
                      "--per-minute", 60_000)  # fmt: skip
    facts = json.loads(result.stdout)
    assert (facts["faults"], facts["queries"]) == (5, 5)
    assert "could not be reached" in facts["cause"]
    assert result.exit_code == 1
