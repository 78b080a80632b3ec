"""`guardrail policy fingerprint`: what it prints is found again."""

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import guardrail.demo
from guardrail.cli.policy_fingerprint import command
from guardrail.errors import RequestError
from guardrail.images.codec import ImageLimits, decode_image
from guardrail.images.known_pictures import KnownPicture
from guardrail.policy.known_pictures import read_known_pictures
from guardrail.policy.load import load_policy

PICTURE = Path(guardrail.demo.__file__).parent / "pictures" / "clean-1.png"


def test_its_lines_are_entries_that_find_the_picture(tmp_path):
    done = CliRunner().invoke(command, [str(PICTURE)], catch_exceptions=False)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    picture = decode_image(
        PICTURE.read_bytes(), declared_media_type=None, limits=ImageLimits(), param="picture"
    )
    policy = tmp_path / "policy.yaml"
    policy.write_text("name: test\nknown_pictures: {lists: [known.txt]}\n")
    for line, distance in zip(lines, (None, 0), strict=True):
        (tmp_path / "known.txt").write_text(line)
        found = read_known_pictures(load_policy(policy)).find([picture])
        assert found == KnownPicture("known.txt", 1, distance)


def test_a_picture_with_little_in_it_has_no_hash(tmp_path):
    file = tmp_path / "flat.png"
    Image.new("RGB", (64, 64), "white").save(file)
    entry, note = (
        CliRunner().invoke(command, [str(file)], catch_exceptions=False).output.split("\n", 1)
    )
    assert entry == f"{hashlib.sha256(file.read_bytes()).hexdigest()}  # flat.png"
    assert note == "# flat.png: there is too little in it to find copies of it by\n"


def test_what_is_no_picture_is_refused(tmp_path):
    file = tmp_path / "x.png"
    file.write_text("no picture")
    with pytest.raises(RequestError, match=r"x\.png"):
        CliRunner().invoke(command, [str(file)], catch_exceptions=False)
