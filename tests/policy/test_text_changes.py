"""A field changed in a policy's text: the rest stays, and it means what was wished."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.policy.text_changes import change_text

BLOCK = """# head
name: one  # a name

smoothing:
  # the promise
  radius: 0.25   # l2
  alpha: 0.001
oracle: {kind: builtin, threshold: 0.5}
# tail
"""


def test_a_value_is_replaced_and_its_comment_stands_above():
    changed = change_text(BLOCK, {"smoothing.radius": (0.3, "was 0.25")})
    assert changed == BLOCK.replace(
        "  radius: 0.25 ", "  # smoothing.radius: was 0.25\n  radius: 0.3 "
    )


def test_a_value_in_braces_has_its_comment_above_their_line():
    changed = change_text(BLOCK, {"oracle.threshold": (0.75, "was 0.5")})
    assert changed == BLOCK.replace(
        "oracle: {kind: builtin, threshold: 0.5}",
        "# oracle.threshold: was 0.5\noracle: {kind: builtin, threshold: 0.75}",
    )


def test_what_is_not_there_is_added_to_its_section():
    changed = change_text(BLOCK, {
        "smoothing.floor": (0.1, "x"), "oracle.n0": (3, "y"), "sampling.max_samples": (9, "z"),
        "advanced.sampling.plan": ("fixed", "v"), "recall": (None, "w"),
    })  # fmt: skip
    content = yaml.safe_load(changed)
    assert content == {
        "name": "one",
        "smoothing": {"radius": 0.25, "alpha": 0.001, "floor": 0.1},
        "oracle": {"kind": "builtin", "threshold": 0.5, "n0": 3},
        "sampling": {"max_samples": 9},
        "advanced": {"sampling": {"plan": "fixed"}},
        "recall": None,
    }
    assert all(line in changed for line in BLOCK.splitlines() if not line.startswith("oracle"))
    assert "\n  # smoothing.floor: x\n  floor: 0.1\n" in changed


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from(["\n", "\r\n"]))
def test_a_field_that_is_changed_again_has_one_comment_and_others_keep_theirs(first, second, end):
    text = BLOCK.replace("  radius", "  # mine: and\n  #   mine\n  radius").replace("\n", end)

    def change(text, words, value):
        comment = "word " * words + "end"
        return change_text(text, {
            "smoothing.radius": (value, comment), "oracle.threshold": (value, comment),
            "oracle.n0": (value, comment),
        })  # fmt: skip

    assert change(change(text, first, 0.3), second, 0.4) == change(text, second, 0.4)


@pytest.mark.parametrize(
    "text",
    [
        "name: one",
        "name: one\n...\n",
        "---\nname: one\n",
        "oracle:\n    kind: builtin\nname: one",
    ],
)
def test_the_end_of_a_text_is_found(text):
    changed = change_text(text, {"oracle.threshold": (0.4, "x"), "smoothing.floor": (0.1, "x")})
    content = yaml.safe_load(changed)
    assert (content["oracle"]["threshold"], content["smoothing"]["floor"]) == (0.4, 0.1)


def test_line_ends_and_long_comments_are_kept_apart():
    changed = change_text(BLOCK.replace("\n", "\r\n"), {"smoothing.radius": (0.3, "word " * 60)})
    lines = changed.split("\r\n")
    assert "\n" not in "".join(lines)
    assert sum("word" in line for line in lines) > 2
    assert all(line.startswith("  # ") for line in lines if "word" in line)


def test_a_comment_cannot_end_its_line():
    changed = change_text(BLOCK, {"smoothing.radius": (0.3, "a\nname: two\u2028b")})
    assert yaml.safe_load(changed)["name"] == "one"


def test_json_stays_json():
    text = json.dumps({"name": "one", "smoothing": {"radius": 0.25}})
    changed = change_text(text, {"smoothing.radius": (0.3, "x"), "oracle.threshold": (0.5, "y")})
    assert json.loads(changed) == {
        "name": "one", "smoothing": {"radius": 0.3}, "oracle": {"threshold": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "- one\n", "smoothing: 1\n", "smoothing:\n", "smoothing: {radius: [1]}\n", "{a: b}\n",
     "a: &x {}\nsmoothing: &y\n  {b: 1}\n", "a: [", '{"smoothing": 1}'],
)  # fmt: skip
def test_what_cannot_be_changed_is_refused(text):
    with pytest.raises(ConfigError, match="in the editor"):
        change_text(text, {"smoothing.radius": (0.3, "x")})


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.dictionaries(
        st.sampled_from(["x", "y", "z"]), st.integers(0, 9), min_size=1), min_size=1),
    st.sampled_from([True, False, None]),
    st.sampled_from(["a", "b", "d"]),
    st.sampled_from(["x", "w"]),
)  # fmt: skip
def test_what_comes_of_it_is_the_content_with_the_value(content, flow, section, field):
    text = yaml.safe_dump(content, default_flow_style=flow)
    wished = {**content, section: {**content.get(section, {}), field: 0.125}}
    if flow:  # a whole text in braces has no line for a comment
        with pytest.raises(ConfigError):
            change_text(text, {f"{section}.{field}": (0.125, "why")})
    else:
        changed = change_text(text, {f"{section}.{field}": (0.125, "why")})
        assert yaml.safe_load(changed) == wished
        assert f"# {section}.{field}: why" in changed
