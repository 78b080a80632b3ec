"""`guardrail explain`: radii in words, from numbers and from certificates."""

import asyncio
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import norm

from guardrail.cli.explain import command
from guardrail.engine.certificate.codec import encode_certificate
from guardrail.engine.engine import Engine
from guardrail.errors import CertificationError
from guardrail.images.codec import decode_image
from guardrail.images.encode import encode_image
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.types import picture_chat
from guardrail.upstreams.scripted import Scripted
from tests.policies import arrange


def explain(*arguments):
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def facts(*arguments):
    result = explain(*arguments, "--json")
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def certificate(kit):
    """Real certificates: harmless or harmful answers to pictures of any size."""

    def issued(*, passes=True, sizes=((8, 6),)):
        policy = Policy.model_validate(arrange({"name": "t", "oracle": {"miss_rate_upper": 0.01}}))
        model = Scripted([kit.CLEAN if passes else kit.HARM])
        engine = Engine(compile_policy(policy), model, kit.Words(), NoiseKey(bytes(32)))
        pictures = [picture(height, width) for height, width in sizes]
        chat = picture_chat("scripted", "?", pictures=len(pictures))
        return asyncio.run(engine.decide(chat, pictures)).certificate

    return issued


def picture(height, width):
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    data = encode_image(pixels, "png")
    return decode_image(data, declared_media_type=None, limits=ImageLimits(), param="p")


@pytest.fixture
def write(tmp_path):
    def written(*certificates):
        file = tmp_path / "certificates.jsonl"
        file.write_text("".join(json.dumps(encode_certificate(c)) + "\n" for c in certificates))
        return str(file)

    return written


def test_numbers_in_every_unit():
    (row,) = facts("--radius=2", "--height=10", "--width=30")
    assert set(row) == {
        "radius", "width_px", "height_px", "channels", "rms_levels", "linf_levels",
        "full_pixels", "full_values", "text",
    }  # fmt: skip
    assert row["rms_levels"] == pytest.approx(255 * 2 / math.sqrt(900))
    assert (row["full_pixels"], row["full_values"]) == (1, 3)  # rounded down, 4 values not quite
    assert (row["width_px"], row["height_px"]) == (30, 10)


def test_sigma_adds_what_the_radius_takes():
    (row,) = facts("--radius=0.5", "--height=8", "--width=8", "--sigma=0.5", "--miss-rate=0.02")
    assert row["radius_in_sigmas"] == 1.0
    exact = norm.cdf(norm.ppf(0.5 + 0.5 * 0.02) + 1.0)
    assert row["q_required"] == pytest.approx(exact, abs=1e-12)
    assert f"{exact:.6g}" in row["text"]


def test_an_oracle_that_misses_all_takes_more_than_any_rate():
    with pytest.raises(CertificationError, match="shows nothing about harmlessness"):
        facts("--radius=1", "--height=8", "--width=8", "--sigma=1", f"--miss-rate={1 - 2**-53}")


def test_grey_pictures_have_one_channel():
    (row,) = facts("--radius=1.5", "--height=8", "--width=8", "--channels=1")
    assert row["full_pixels"] == row["full_values"] == 2


def test_words_for_people():
    text = explain("--radius=2", "--height=224", "--width=224").stdout
    assert "An ℓ2 radius of 2 in [0, 1] pixel values on a 224 × 224 picture" in text
    assert "Beyond the radius nothing is promised" in text


def test_certificate_is_verified_and_explained(write, certificate):
    (row,) = facts(write(certificate()))
    assert row["certified"] is True
    assert 0.4 <= row["radius"] < 0.6
    assert (row["height_px"], row["width_px"]) == (8, 6)
    assert row["statement"].startswith("Unless an event of probability at most 0.001 occurred")
    assert "by an ℓ2 distance of at most 0.4" in row["statement"]


def test_a_block_explains_what_a_pass_would_have_proved(write, certificate):
    text = explain(write(certificate(passes=False))).stdout
    assert "Nothing is certified" in text
    assert "The radius that a pass would have proved:" in text


def test_several_pictures_share_the_radius(write, certificate):
    (beside,) = facts(write(certificate(sizes=((8, 6), (8, 4)))))
    assert (beside["height_px"], beside["width_px"]) == (8, 10)
    (row,) = facts(write(certificate(sizes=((8, 6), (4, 8)))))
    assert (row["height_px"], row["width_px"]) == (1, 80)
    assert beside["linf_levels"] == row["linf_levels"]  # as many pixels, so the same share each
    assert "2 pictures count as one" in row["text"]


def test_every_certificate_of_a_file(write, certificate):
    assert len(facts(write(certificate(), certificate(passes=False)))) == 2


def test_a_changed_certificate_is_not_explained(write, certificate, tmp_path):
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(encode_certificate(certificate()) | {"radius": 2.5}))
    with pytest.raises(CertificationError, match="does not hold"):
        explain(str(file))


def test_one_record_of_a_file(certificate, tmp_path):
    rows = [
        {"record_id": "a", "certificate": None},
        {"record_id": "b", "certificate": encode_certificate(certificate())},
        {"record_id": "c", "certificate": encode_certificate(certificate(passes=False))},
    ]
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (row,) = facts(str(file), "--record=c")
    assert row["certified"] is False
    every = explain(str(file), "--json")
    assert len(every.stdout.splitlines()) == 2
    assert "1 decision of" in every.stderr
    assert explain("--record=c").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [(), ("--radius=1",), ("--radius=1", "--height=2"), ("x.json", "--radius=1"),
     ("x.json", "--width=1")],
)  # fmt: skip
def test_either_a_file_or_all_numbers(arguments):
    result = explain(*arguments)
    assert result.exit_code == 2
    assert "give either a FILE or all of" in result.stderr


def test_what_was_harmful_in_a_record_is_counted(certificate, tmp_path):
    rows = [{"outcome": "harmful", "reason": "words: threat", "field": "reasoning"}]
    file = tmp_path / "record.json"
    file.write_text(json.dumps({"certificate": encode_certificate(certificate()), "samples": rows}))
    assert "harmful answers: 1 words: threat in reasoning" in explain(str(file)).stdout
