"""Every sentence that counts something is right for one and for two of it."""

import pytest

from guardrail.engine.promise import Claim, Reach
from guardrail.engine.threat_recall import Against, HeldShare
from guardrail.engine.threat_wording import (
    describe_extent,
    earned_sentence,
    held_sentence,
    promise_sentence,
)
from guardrail.engine.threats import Crops, Stickers, Suffix, SuffixUnit
from guardrail.engine.wording import (
    clean_sentence,
    evasion_sentence,
    recall_sentence,
    stability_sentence,
    text_sentence,
)
from guardrail.stats import RecallReach
from tests.grammar import disagreements

REACHES = (Reach(0.5, 0.25),)
HARM = {"miss_rate_upper": 0.2, "delta": 0.01}
MEASURED = {"alpha": 0.001, "delta": 0.01}


def words(most):
    return Suffix(SuffixUnit.WORDS, most)


def characters(most):
    return Suffix(SuffixUnit.CHARACTERS, most)


def say_held(against, setting, requests=30, lower=0.5):
    return held_sentence(HeldShare(against, 1, lower), setting, requests=requests, **MEASURED)


def say_recall(requests, radius, clean=0):
    numbers = {"requests": requests, "clean_requests": clean, "clean_passed": clean}
    return recall_sentence((RecallReach(0.5, radius),), **numbers, **MEASURED)


SENTENCES = {
    "promise, words": (
        lambda n: promise_sentence(words(n), floor=0.1, alpha=0.001),
        ("at most 1 word are put behind", "at most 2 words are put behind"),
    ),
    "promise, characters": (
        lambda n: promise_sentence(characters(n), floor=0.1, alpha=0.001),
        ("at most 1 character (code point) is put", "at most 2 characters (code points) are put"),
    ),
    "promise, cut": (
        lambda n: promise_sentence(Crops(4, 3), floor=0.1, alpha=0.001, probe_max_tokens=n),
        ("cut at 1 token,", "cut at 2 tokens,"),
    ),
    "extent, words": (
        lambda n: describe_extent(words(n)),
        ("white space and then at most 1 word", "white space and then at most 2 words"),
    ),
    "held, words": (
        lambda n: say_held(Against.SUFFIX, words(n)),
        ("at most 1 word, put behind that text with nothing else changed, do not let them pass",
         "at most 2 words, put behind that text with nothing else changed, do not let them pass"),
    ),
    "held, characters": (
        lambda n: say_held(Against.SUFFIX, characters(n)),
        ("(code point), put behind that text with nothing else changed, does not let them pass",
         "(code points), put behind that text with nothing else changed, do not let them pass"),
    ),
    **{
        f"held, {against}, {lower}": (
            lambda n, against=against, setting=setting, lower=lower: say_held(
                against, setting, n, lower
            ),
            ("drawn like the 1 that was measured,", "drawn like the 2 that were measured,"),
        )
        for against, setting in (
            (Against.CROPS, Crops(4, 3)), (Against.STICKERS, Stickers(9, 0.02)),
            (Against.STICKER_PLACE, Stickers(9, 0.02)), (Against.SUFFIX, words(3)),
        )
        for lower in (0.0, 0.5)
    },
    "earned": (
        lambda n: earned_sentence(views=n, rate=0.5, alpha=0.001),
        ("the answers to the one view, without noise, are found harmless",
         "the answers to each of the 2 views, without noise, are found harmless"),
    ),
    "earned, cut": (
        lambda n: earned_sentence(views=3, rate=0.5, alpha=0.001, probe_max_tokens=n),
        ("cut at 1 token,", "cut at 2 tokens,"),
    ),
    **{
        f"promise, cut, {claim}": (
            lambda n, claim=claim: evasion_sentence(
                claim, REACHES, alpha=0.001, probe_max_tokens=n, **HARM
            ),
            ("cut at 1 token,", "cut at 2 tokens,"),
        )
        for claim in Claim
    },
    **{
        f"pass, cut, {claim}": (
            lambda n, claim=claim: stability_sentence(
                claim, REACHES, alpha=0.001, probe_max_tokens=n, **HARM
            ),
            ("cut at 1 token,", "cut at 2 tokens,"),
        )
        for claim in Claim
    },
    "text, cut": (
        lambda n: text_sentence(0.5, alpha=0.001, probe_max_tokens=n),
        ("cut at 1 token,", "cut at 2 tokens,"),
    ),
    "recall": (
        lambda n: say_recall(n, 0.25),
        ("drawn like the 1 that was measured,", "drawn like the 2 that were measured,"),
    ),
    "recall, not shown": (
        lambda n: say_recall(n, None),
        ("Of the 1 forbidden request that was measured,",
         "Of the 2 forbidden requests that were measured,"),
    ),
    "recall, clean": (
        lambda n: say_recall(30, 0.25, clean=n),
        ("Of 1 clean request, 1 passed", "Of 2 clean requests, 2 passed"),
    ),
    "clean": (
        lambda n: clean_sentence(n, 0),
        ("Of 1 clean request, 0 passed", "Of 2 clean requests, 0 passed"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", SENTENCES)
def test_counts_agree(name, number):
    say, expected = SENTENCES[name]
    said = say(number)
    assert expected[number - 1] in said
    assert not disagreements(said)
