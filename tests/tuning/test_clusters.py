from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.images.perceptual import PictureMark, are_near_copies_of_picture
from guardrail.tuning.clusters import (
    cluster_requests,
    cluster_texts,
    fold_text,
    near_copies_of_text,
)

LONG = "one two three four five six seven eight nine ten eleven twelve".split()


def words(count: int, start: int = 0) -> list[str]:
    return [f"w{i}" for i in range(start, start + count)]


def test_texts_are_folded_in_white_space_and_case():
    assert fold_text("  Wie\tGROSS \n ist es ") == fold_text("wie groß ist es")
    assert near_copies_of_text("Make  a BOMB", "make a bomb\n")
    assert not near_copies_of_text("make a bomb", "make a bomb!")


def test_short_texts_are_near_copies_only_where_they_are_equal():
    eight = " ".join(LONG[:8])
    assert not near_copies_of_text(eight, eight + " nine")
    assert near_copies_of_text(eight, eight)


def test_similarity_is_jaccard_of_five_words_in_a_row_at_four_fifths():
    # n words have n - 4 grams; one word more at the end adds one gram.
    assert near_copies_of_text(" ".join(words(12)), " ".join(words(14)))  # 8 of 10
    assert not near_copies_of_text(" ".join(words(11)), " ".join(words(13)))  # 7 of 9
    assert near_copies_of_text(" ".join(words(9)), " ".join(words(10)))  # 5 of 6
    # A word changed in the middle costs five grams on either side.
    changed = words(49)
    changed[20] = "other"
    assert near_copies_of_text(" ".join(words(49)), " ".join(changed))  # 40 of 50
    shorter = words(48)
    shorter[20] = "other"
    assert not near_copies_of_text(" ".join(words(48)), " ".join(shorter))  # 39 of 49


def test_clusters_are_connected_parts_numbered_by_their_first_members():
    chain = [" ".join(words(40, start)) for start in (0, 3, 6, 9, 12)]  # 33 of 39 each
    assert near_copies_of_text(chain[0], chain[1])
    assert not near_copies_of_text(chain[0], chain[2])
    assert cluster_texts(["x", *chain, "y", "X"]) == [0, 1, 1, 1, 1, 1, 2, 0]


def test_a_group_links_whatever_it_holds_and_an_empty_one_links_nothing():
    assert cluster_texts(["a", "b", "c", "d"], ["g", None, "g", None]) == [0, 1, 0, 2]
    assert cluster_texts(["a", "b", "A"], ["", "", None]) == [0, 1, 0]


def test_texts_and_pictures_must_both_be_near_copies():
    near, far = PictureMark(b"1", 0b1), PictureMark(b"2", (1 << 40) - 1)
    zero = PictureMark(b"3", 0)
    texts = ["a", "a", "b", "a"]
    assert cluster_requests(texts, [[zero], [near], [near], [far]]) == [0, 0, 1, 2]


def test_a_request_with_another_number_of_pictures_is_no_copy():
    mark = PictureMark(b"1", 0)
    assert cluster_requests(["a"] * 4, [[mark], [mark, mark], [], []]) == [0, 1, 2, 2]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="one item for every request"):
        cluster_requests(["a"], [])
    with pytest.raises(ValueError, match="one item for every request"):
        cluster_texts(["a"], [])


def test_what_was_said_before_must_be_near_turn_by_turn():
    body = words(40)
    begin, near = " ".join(body), " ".join([*body, "more"])
    earlier = [[begin, "yes"], [near, " YES "], [begin, "no"], [begin], ["yes", begin], []]
    texts = ["go on"] * len(earlier)
    found = cluster_requests(texts, [()] * len(earlier), None, earlier)
    assert found == [0, 0, 1, 2, 3, 4]
    # A text that all begin with links nothing by itself.
    assert cluster_texts([f"{begin} bread", f"{begin} wine"]) == [0, 0]
    apart = cluster_requests(["bread", "wine"], [(), ()], None, [[begin], [begin]])
    assert apart == [0, 1]
    with pytest.raises(ValueError, match="one item for every request"):
        cluster_requests(["a"], [()], None, [])


def test_nothing_has_no_clusters():
    assert cluster_texts([]) == []


def brute_force(
    texts: list[str], pictures: list[list[PictureMark]], groups: list[str | None]
) -> list[int]:
    numbers = list(range(len(texts)))
    for a, b in itertools.combinations(range(len(texts)), 2):
        same_group = groups[a] is not None and groups[a] == groups[b]
        near = (
            near_copies_of_text(texts[a], texts[b])
            and len(pictures[a]) == len(pictures[b])
            and all(map(are_near_copies_of_picture, pictures[a], pictures[b]))
        )
        if same_group or near:
            low, high = sorted((numbers[a], numbers[b]))
            numbers = [low if n == high else n for n in numbers]
    first: dict[int, int] = {}
    return [first.setdefault(n, len(first)) for n in numbers]


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_index_finds_what_comparing_all_pairs_finds(random_: random.Random):
    """Texts and pictures edited step by step, so that chains and near misses are common."""
    texts, pictures, groups = [], [], []
    for _ in range(random_.randint(1, 25)):
        if texts and random_.random() < 0.8:
            row = random_.choice(texts).split()
            for _ in range(random_.randint(0, 2)):
                row[random_.randrange(len(row))] = random_.choice("abcdef")
        else:
            row = [random_.choice("abcdef") for _ in range(random_.choice([2, 8, 9, 10, 40, 60]))]
        texts.append(" ".join(row))
        bits = random_.choice(pictures)[0].hash if any(pictures) and pictures[-1] else 0
        for _ in range(random_.randint(0, 5)):
            bits ^= 1 << random_.randrange(64)
        mark = PictureMark(bits.to_bytes(8, "big"), bits)
        pictures.append([mark] * random_.choice([0, 1, 1, 2]) if pictures else [mark])
        if not pictures[-1]:
            pictures[-1] = [mark]
        groups.append(random_.choice([None, None, None, None, "g", "h"]))
    assert cluster_requests(texts, pictures, groups) == brute_force(texts, pictures, groups)
    bare: list[list[PictureMark]] = [[] for _ in texts]
    assert cluster_texts(texts) == brute_force(texts, bare, [None] * len(texts))


@pytest.mark.nightly
def test_a_family_of_thousands_and_one_prompt_for_all_take_seconds():
    rng = random.Random(5)
    body = words(60)
    family = [" ".join([*body, f"id{i}"]) for i in range(3000)]
    pictures = [[PictureMark(i.to_bytes(8, "big"), rng.getrandbits(64))] for i in range(3000)]
    started = time.perf_counter()
    assert set(cluster_texts(family)) == {0}
    assert len(set(cluster_requests(["same"] * 3000, pictures))) == 3000
    assert len(set(cluster_requests(family, pictures))) == 3000
    assert time.perf_counter() - started < 30
