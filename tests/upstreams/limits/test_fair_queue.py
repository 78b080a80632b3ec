"""Whose turn it is, against a plain model of the rule."""

from hypothesis import given
from hypothesis import strategies as st

from guardrail.upstreams.limits.fair_queue import FairQueue


class Group:
    """Told apart by identity: all are equal, as two like requests would be."""

    def __eq__(self, other):
        return isinstance(other, Group)

    def __hash__(self):
        return 0


def drained(queue):
    return [queue.pop() for _ in range(len(queue))]


def test_groups_take_turns_and_indices_go_in_order():
    queue, large, small = FairQueue(), Group(), Group()
    for index in (2, 0, 1, 3):
        queue.push(large, index, f"large {index}")
    queue.push(small, 0, "small 0")
    queue.push(small, 1, "small 1")
    assert drained(queue) == ["large 0", "small 0", "large 1", "small 1", "large 2", "large 3"]


def test_a_small_group_waits_for_one_item_of_each_other_group_only():
    queue, groups = FairQueue(), [Group() for _ in range(3)]
    for group in groups:
        for index in range(200):
            queue.push(group, index, (group, index))
    queue.push("newcomer", 0, "newcomer")
    assert drained(queue).index("newcomer") == len(groups)


def test_a_group_that_comes_back_goes_to_the_end():
    queue, first, second = FairQueue(), Group(), Group()
    queue.push(first, 0, "first 0")
    queue.push(second, 0, "second 0")
    assert queue.pop() == "first 0"
    queue.push(first, 1, "first 1")
    assert drained(queue) == ["second 0", "first 1"]


def test_equal_orders_go_by_arrival():
    queue, group = FairQueue(), Group()
    for word in "abc":
        queue.push(group, 0, word)
    assert drained(queue) == ["a", "b", "c"]


def test_what_is_taken_out_is_gone_and_its_group_with_it():
    queue, one, other = FairQueue(), Group(), Group()
    places = [queue.push(one, index, index) for index in range(3)]
    kept = queue.push(other, 0, "kept")
    for place in places:
        queue.discard(place)
        queue.discard(place)  # a second time does nothing
    assert len(queue) == 1
    assert queue.pop() == "kept"
    queue.discard(kept)
    assert len(queue) == 0
    assert queue.pop() is None


def test_groups_that_may_not_go_keep_their_place():
    queue, first, second = FairQueue(), Group(), Group()
    for index in range(2):
        queue.push(first, index, f"first {index}")
        queue.push(second, index, f"second {index}")
    assert queue.pop(lambda item: item.startswith("second")) == "second 0"
    assert queue.pop(lambda _: False) is None
    assert drained(queue) == ["first 0", "second 1", "first 1"]


def test_a_kind_of_items_is_taken_out_at_once():
    queue, groups = FairQueue(), [Group() for _ in range(3)]
    for number, group in enumerate(groups):
        for index in range(3):
            queue.push(group, index, (number, index))
    assert queue.take_out(lambda item: item[1] == 1) == [(0, 1), (1, 1), (2, 1)]
    assert len(queue) == 6
    assert queue.pop() == (0, 0)


class Plain:
    """The same rule, as slowly and plainly as it can be said."""

    def __init__(self):
        self.turns, self.items = [], []

    def push(self, group, order, item):
        if group not in self.turns:
            self.turns.append(group)
        self.items.append((group, order, item))

    def pop(self):
        group = self.turns.pop(0)
        item = min((i for i in self.items if i[0] == group), key=lambda i: (i[1], i[2]))
        self.discard(item, keep_turn=True)
        if any(i[0] == group for i in self.items):
            self.turns.append(group)
        return item[2]

    def discard(self, item, keep_turn=False):
        self.items.remove(item)
        if not keep_turn and not any(i[0] == item[0] for i in self.items):
            self.turns.remove(item[0])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(0, 3), st.integers(0, 3)),
            st.just(("pop",)),
            st.tuples(st.just("discard"), st.integers(0, 100)),
        ),
        max_size=60,
    )
)
def test_any_history_follows_the_rule(history):
    queue, plain, groups, places = FairQueue(), Plain(), [Group() for _ in range(4)], {}
    for number, (what, *arguments) in enumerate(history):
        if what == "push":
            group, order = arguments
            places[number] = (queue.push(groups[group], order, number), (group, order, number))
            plain.push(group, order, number)
        elif what == "pop" and places:
            item = queue.pop()
            assert item == plain.pop()
            del places[item]
        elif what == "discard" and places:
            place, item = places.pop(sorted(places)[arguments[0] % len(places)])
            queue.discard(place)
            plain.discard(item)
        assert len(queue) == len(places)
    while places:
        item = queue.pop()
        assert item == plain.pop()
        del places[item]
