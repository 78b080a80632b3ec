from hypothesis import given
from hypothesis import strategies as st

from guardrail.keys.minute_window import MinuteWindow

STEPS = st.lists(
    st.tuples(st.floats(0, 40, allow_nan=False), st.integers(0, 9)), min_size=1, max_size=60
)


def most_in_a_minute(events):
    """The largest sum of amounts in any 60 seconds."""
    return max(
        (sum(n for at, n in events if start <= at < start + 60.0) for start, _ in events), default=0
    )


@given(STEPS, st.integers(1, 30), st.floats(0, 1e6))
def test_no_minute_holds_more_than_the_limit(steps, limit, now):
    window, taken = MinuteWindow(), []
    for step, amount in steps:
        now += step
        if window.count(now) + amount <= limit:
            window.add(amount, now)
            taken.append((now, amount))
        assert window.count(now) <= limit
        assert len(window._seconds) <= 61
    assert most_in_a_minute(taken) <= limit


@given(STEPS, st.integers(1, 20))
def test_after_the_wait_so_much_is_free(steps, amount):
    window, now = MinuteWindow(), 0.0
    for step, taken in steps:
        now += step
        window.add(taken, now)
    before = window.count(now)
    wait_s = window.wait_s(amount, now)
    assert 0.0 <= wait_s <= 61.0
    assert window.count(now + wait_s + 1e-6) <= max(0, before - amount)


def test_a_minute_later_all_is_free():
    window = MinuteWindow()
    window.add(5, 0.9)
    assert [window.count(at) for at in (0.9, 60.9, 61.0)] == [5, 5, 0]
    assert window.wait_s(1, 61.0) == 0.0
