import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.keys.secret import PREFIX, SECRET_CHARS, digest_secret, is_secret, new_secret

SCANNED = re.compile(r"\bgrd_[0-9A-Za-z]{49}\b")
LETTERS = string.digits + string.ascii_letters


def test_secrets_are_found_in_text_and_never_twice():
    made = [new_secret() for _ in range(200)]
    assert len(set(made)) == len(made)
    assert SCANNED.findall(f"key={made[0]};'{made[1]}' {made[2]}\n") == made[:3]
    assert all(is_secret(secret) and len(secret) == SECRET_CHARS for secret in made)


@given(st.integers(0, SECRET_CHARS - 1), st.sampled_from(LETTERS + "-_ é"))
def test_a_changed_character_is_noticed(place, letter):
    secret = new_secret()
    changed = secret[:place] + letter + secret[place + 1 :]
    assert is_secret(changed) is (changed == secret)


@given(st.text() | st.text(alphabet=LETTERS, min_size=49, max_size=49).map(PREFIX.__add__))
def test_other_texts_are_none(text):
    """By chance one in 2^32 is."""
    assert not is_secret(text)


@pytest.mark.parametrize("wrong", ["", "grd_", "grd_" + "0" * 49, " " * 53, "GRD_"])
def test_nearly_secrets(wrong):
    assert not is_secret(wrong)
    assert not is_secret(new_secret() + wrong) or not wrong


@given(st.text())
def test_digests_depend_on_the_pepper_and_take_any_text(text):
    one, other = digest_secret(text, bytes(32)), digest_secret(text, b"\1" * 32)
    assert one != other
    assert re.fullmatch("[0-9a-f]{64}", one)
    assert one == digest_secret(text, bytes(32))


def test_a_surrogate_is_no_crash():
    assert digest_secret("\ud800", bytes(32))
