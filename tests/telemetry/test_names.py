"""Names in labels: a closed set, whatever clients send."""

from hypothesis import given
from hypothesis import strategies as st

from guardrail.telemetry.names import OTHER, KnownNames

NAMES = st.lists(st.text(max_size=12), max_size=8)


@given(NAMES, NAMES)
def test_no_other_name_becomes_a_label(configured, asked):
    names = KnownNames(configured)
    labels = {names.label(name) for name in asked}
    assert labels <= {name for name in configured if name} | {OTHER}


def test_a_name_stands_for_itself_and_the_first_known_one_wins():
    names = KnownNames(["mine", "theirs"])
    assert [names.label("mine"), names.label("x", "theirs"), names.label()] == [
        "mine",
        "theirs",
        OTHER,
    ]


def test_the_set_is_bounded():
    assert len(KnownNames(f"model-{i}" for i in range(10_000))) == 200
    assert KnownNames(["x" * 201]).label("x" * 201) == OTHER
