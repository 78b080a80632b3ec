"""Words of a list are found however they are written, and nothing else is."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange, Oracle, Scorer
from guardrail.oracles.lexicon.file import read_lexicon
from guardrail.oracles.lexicon.scorer import Entry, LexiconOracle, LexiconScorer
from guardrail.oracles.text.normalise import find_spelled_words, fold, views
from guardrail.oracles.worker import ThreadedOracle
from guardrail.types import Outcome


def phrase(text, weight=1.0, category="harm"):
    return Entry(text, False, category, weight)


def pattern(text, weight=1.0, category="harm"):
    return Entry(text, True, category, weight)


def score(text, *entries):
    return LexiconScorer(entries).find(text)[0]


WRITTEN = {
    "plain": "go and kill them now",
    "capitals": "KILL THEM",
    "over lines": "kill\n  them",
    "with signs between": "kill, them!",
    "zero-width": "ki\u200bll th\u00adem",
    "tag characters": "ki\U000e0041ll them",
    "combining": "k̶i̶l̶l̶ them",
    "accents": "kíll thèm",
    "full width": "ｋｉｌｌ ｔｈｅｍ",
    "mathematical": "𝐤𝐢𝐥𝐥 𝓽𝓱𝓮𝓶",
    "Cyrillic": "kіll thеm",
    "Greek": "κill τhεm",
    "Armenian": "kill tհem",
    "Cherokee capitals": "ᏦIᏞᏞ THEM",
    "leet": "k1ll th3m",
    "leet at an end": "k!ll 7hem!",
    "leet for l": "ki11 them",
    "spelled out": "k i l l them",
    "spelled out with dots": "k.i.l.l them",
    "spelled out over lines": "k\ni\nl\nl them",
    "all spelled out": "k i l l   t h e m",
    "spelled out without gaps": "k i l l t h e m",
    "spelled out in leet": "k 1 l l them",
    "drawn out": "kiiiillll them",
    "reversed writing": "\u202ekill\u202c them",
    "surrogates": "ki\ud800ll them",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_phrase_is_found_however_it_is_written(text):
    assert score(text, phrase("Kill them", 0.7)) == 0.7


@pytest.mark.parametrize("text", ["kill the man", "skill them", "kill themes", "killthem", "them"])
def test_a_phrase_is_whole_words_in_order(text):
    assert score(text, phrase("kill them")) == 0.0


@pytest.mark.parametrize("text", ["assess", "a class", "bass", "as", "passé", "a s s e s s", "5"])
def test_a_word_is_not_found_inside_others(text):
    assert score(text, phrase("ass")) == 0.0


@pytest.mark.parametrize("text", ["ass", "a55", "@ss", "a$$", "a s s", "Ass!", "assss"])
def test_a_word_is_found_by_itself(text):
    assert score(text, phrase("ass")) == 1.0


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ("爆弾", "これは爆弾です"),
        ("бомба", "Это Бомба!"),
        ("φόνος", "ο ΦΌΝΟΣ"),
        ("قنبلة", "هذه قنبلة"),
        ("폭탄", "폭탄을"),
        ("straße", "die STRASSE"),
    ],
)
def test_every_script_can_be_listed(listed, text):
    assert score(text, phrase(listed)) == (0.0 if listed == "straße" else 1.0)


def test_words_of_spaced_scripts_stay_whole():
    assert score("бомбардир", phrase("бомба")) == score("бомбар", phrase("бомба")) == 0.0


@pytest.mark.parametrize(
    ("listed", "text", "found"),
    [
        (r"\bbuild (a|the) bomb\b", "Build\n the  B0MB", True),
        (r"\bbuild (a|the) bomb\b", "rebuild a bomb", False),
        (r"\d{3}-\d{2}-\d{4}", "it is 078-05-1120.", True),
        (r"^yes", "yes, of course", True),
        ("(?i:a.{0,9}z)", "A to Z", True),
        ("ÄRGER|ärger", "arger", False),
    ],
)
def test_patterns_are_searched_in_plain_forms(listed, text, found):
    assert (score(text, pattern(listed)) > 0) is found


def test_the_score_is_the_largest_weight_of_what_is_found():
    entries = (phrase("a cat", 0.2, "cats"), phrase("a dog", 0.9, "dogs"), pattern("bird", 0.4))
    scorer = LexiconScorer(entries)
    assert scorer.find("a cat and a bird") == (0.4, "harm")
    assert scorer.find("a dog, a cat") == (0.9, "dogs")
    assert scorer.find("a horse") == (0.0, "")


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.1, 0.4, 0.9])), max_size=6),
    st.sets(st.sampled_from("abcdef"), min_size=1),
)
def test_more_entries_never_lower_a_score(listed, letters):
    text = " and ".join(f"x{letter}x" for letter in letters)
    entries = [phrase(f"x{letter}x", weight) for letter, weight in listed]
    expected = max((weight for letter, weight in listed if letter in letters), default=0.0)
    assert score(text, *entries) == expected


@pytest.mark.parametrize("text", ["", " \n", "\u200b\ufeff", "\u0301"])
def test_nothing_to_read_is_harmful(text):
    assert score(text, phrase("kill")) == 1.0


@pytest.mark.parametrize("listed", [r"(a)\1", "(?=a)", "(?<!b)a", "(", "a{2000}", "[", "x)|(y"])
def test_what_re2_cannot_do_is_refused_by_line(listed):
    with pytest.raises(ConfigError, match=r"words\.yaml:7: RE2 .* no backreferences"):
        LexiconScorer([Entry(listed, True, "harm", 1.0, 7)], file="words.yaml")


@pytest.mark.parametrize("listed", ["a*", "", "(b|)", "$|a"])
def test_a_pattern_that_matches_everything_is_refused(listed):
    with pytest.raises(ConfigError, match="empty text"):
        LexiconScorer([pattern(listed)])


def test_a_phrase_of_signs_is_refused():
    with pytest.raises(ConfigError, match="make it a pattern"):
        LexiconScorer([phrase("!?")])


def test_hundreds_of_entries_are_all_searched():
    words = [f"word{i}x" for i in range(700)]
    scorer = LexiconScorer([phrase(word) for word in words])
    assert all(scorer.find(f"one {word} here")[0] for word in words)
    assert scorer.find("one word700x here")[0] == 0.0


def test_the_worst_texts_end():
    scorer = LexiconScorer([phrase("kill them"), pattern("(a+)+b"), pattern("(.*)*c.*d")])
    for unit in ("a", "a ", "1", "!", "é", "k i l l ", "\n", "-"):
        assert scorer.find(unit * (300_000 // len(unit)) + " kill them")[0] == 1.0


@given(st.text(max_size=80))
def test_any_text_can_be_searched(text):
    assert score(text, phrase("kill them"), pattern("bomb")) in (0.0, 1.0)


@given(st.text(alphabet="abc ABC123$", max_size=40), st.data())
def test_invisible_characters_change_no_form(text, data):
    place = data.draw(st.integers(0, len(text)))
    hidden = data.draw(st.sampled_from("\u200b\u2060\ufeff\u00ad"))
    changed = text[:place] + hidden + text[place:]
    assert views(changed) == views(text)
    assert find_spelled_words(changed) == find_spelled_words(text)


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=80))
def test_the_first_form_is_the_folded_text(text):
    assert views(text)[0] == " ".join(re.split(r"\s+", fold(text).strip()))


def test_the_revision_follows_all_that_fixes_scores():
    revisions = {
        LexiconScorer(entries).revision
        for entries in (
            [phrase("a b")],
            [pattern("a b")],
            [phrase("a c")],
            [phrase("a b", 0.5)],
            [phrase("a b", category="other")],
        )
    }
    assert len(revisions) == 5
    again = LexiconScorer([Entry("a b", False, "harm", 1.0, line=9)])
    assert again.revision in revisions  # where it stands decides nothing


def judged(*texts, threshold=0.5):
    scorer = LexiconScorer([phrase("kill them", 0.9, "violence"), phrase("damn", 0.2, "swearing")])
    assert isinstance(scorer, Scorer)
    oracle = LexiconOracle(scorer, ThreadedOracle(scorer, threshold=threshold, name="lexicon"))
    assert isinstance(oracle, Oracle)
    assert oracle.threshold == threshold

    async def run():
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()
            with pytest.raises(OracleError, match="closed"):
                await oracle.judge([Exchange("", "a")])

    return asyncio.run(run())


def test_the_reason_names_the_category_and_never_the_words():
    calm, mild, harm, empty = judged("a cat", "damn", "kill them", "")
    assert [j.outcome for j in (calm, mild)] == [Outcome.HARMLESS] * 2
    assert [j.score for j in (calm, mild, harm, empty)] == [0.0, 0.2, 0.9, 1.0]
    assert harm.reason == "lexicon: violence"
    assert empty.reason == "lexicon: nothing to read"
    assert harm.outcome is empty.outcome is Outcome.HARMFUL


def test_the_threshold_decides():
    (mild,) = judged("damn", threshold=0.2)
    assert (mild.outcome, mild.reason) == (Outcome.HARMFUL, "lexicon: swearing")


GOOD = """\
version: 1
entries:
  - phrase: kill them
    category: violence
    weight: 0.5
    languages: [en]
    notes: a note
  - {pattern: '\\bbomb\\b ', category: weapons}
"""


def write(folder, text):
    path = folder / "words.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_is_read(tmp_path):
    assert read_lexicon(write(tmp_path, GOOD)) == [
        Entry("kill them", False, "violence", 0.5, 3),
        Entry(r"\bbomb\b ", True, "weapons", 1.0, 8),
    ]


ENTRY = "version: 1\nentries:\n  - phrase: a b\n    category: c\n"
WRONG = {
    "not YAML": ("version: [1\n", 2, "not valid YAML"),
    "not text": (b"\xff\xfe\x00", None, "not valid YAML"),
    "an alias": ("version: &a 1\nentries: *a\n", 2, "no aliases"),
    "nothing": ("", None, "mapping"),
    "a list": ("- a\n", 1, "mapping"),
    "no version": ("entries: [{phrase: a, category: b}]\n", 1, "version: 1"),
    "another version": ("version: 2\nentries: []\n", 1, "version: 1"),
    "another field": (ENTRY + "more: 1\n", 1, "two fields"),
    "no entries": ("version: 1\nentries: []\n", 2, "at least one"),
    "entries of another kind": ("version: 1\nentries: a\n", 2, "at least one"),
    "an entry of another kind": ("version: 1\nentries:\n  - a\n", 3, "mapping"),
    "an unknown field": (ENTRY + "    wieght: 1\n", 5, "known are category"),
    "a field twice": (ENTRY + "    category: d\n", 5, "'category' is given twice"),
    "phrase and pattern": (ENTRY + "    pattern: d\n", 3, "either"),
    "neither": ("version: 1\nentries:\n  - category: c\n", 3, "either"),
    "no category": ("version: 1\nentries:\n  - phrase: a\n", 3, "'category' is a text"),
    "a number": ("version: 1\nentries:\n  - category: c\n    phrase: 12\n", 4, "put quotes"),
    "yes": ("version: 1\nentries:\n  - category: c\n    phrase: yes\n", 4, "put quotes"),
    "a date that is none": (
        "version: 1\nentries:\n  - category: c\n    phrase: 2024-99-99\n",
        4,
        "put quotes",
    ),
    "an empty phrase": ("version: 1\nentries:\n  - category: c\n    phrase: ' '\n", 4, "1 to 500"),
    "a long phrase": (f"version: 1\nentries:\n  - phrase: {'a' * 501}\n", 3, "1 to 500"),
    "no weight": (ENTRY + "    weight: 0\n", 5, "above 0"),
    "too much weight": (ENTRY + "    weight: 1.5\n", 5, "at most 1"),
    "NaN": (ENTRY + "    weight: .nan\n", 5, "above 0"),
    "a weight of words": (ENTRY + "    weight: true\n", 5, "a number"),
}


@pytest.mark.parametrize(("text", "line", "problem"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_named_by_its_line(tmp_path, text, line, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)) as caught:
        read_lexicon(write(tmp_path, text))
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "words.yaml"), line)


def test_sizes_are_bounded(tmp_path):
    with pytest.raises(ConfigError, match="10000 entries"):
        read_lexicon(write(tmp_path, "version: 1\nentries:\n" + "- {}\n" * 10_001))
    with pytest.raises(ConfigError, match="4194304 bytes"):
        read_lexicon(write(tmp_path, "#" * (4 * 1024 * 1024 + 1)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*No such file"):
        read_lexicon(tmp_path / "nowhere.yaml")
