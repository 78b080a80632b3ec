"""Structured text as words: nothing that a reader sees is lost, and prose stays as it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.oracles.text.structure import plain_words

EXAMPLES = {
    "JSON": ('{"path": "/tmp/a", "n": -2.5}', "path: /tmp/a. n: -2.5"),
    "a name in camel case": ('{"fileText": "Dear all"}', "file Text: Dear all"),
    "escapes": (r'{"a": "one\ntwo \"three\"", "b": 1}', 'a: one\ntwo three. b: 1'),
    "JSON in a text of JSON": (json.dumps(json.dumps({"a": "b\nc"})), "a: b\nc"),
    "JSON in prose": ('He sent {"kind": "note"} today.', "He sent kind: note today."),
    "JSON over lines": ('{\n  "a": "b",\n  "c": [1, 2]\n}', "\na: b.\nc: 1, 2\n"),
    "one pair": ('"a": "b"', "a: b"),
    "broken JSON": ('{"a": "b\\n c', "a: b\n c "),
    "an escape that is none": (r'{"a": "b\qc"}', "a: b qc"),
    "sentences in values": ('{"a": "Go.", "b": "Stop!"}', "a: Go. b: Stop!"),
    "an apostrophe": ('{"a": "it\'s", \'b\': 1}', "a: it's. b: 1"),
    "tags": ('<invoke name="delete_all">x</invoke>', "invoke name delete all x invoke"),
    "a table": ("| **Name** | Age |\n|---|---|\n| Bob | 3.5 |", "Name Age\n\nBob 3.5"),
    "markdown": ("# Head\n**Bold**: some `code`, a_b.", "Head\nBold: some code, a b."),
    "emphasis inside a word": ("un*believ*able", "un believ able"),
    "a fence": ("```python\nos.remove('x')\n```", "python\nos remove x\n"),
    "code": ("if a != b && c: return d[\"k\"]", "if a b c: return d k"),
    "a diff": ("@@ -1 @@\n-old line\n+new line\n-5 m", "@@ -1 @@\nold line\nnew line\n-5 m"),
    "snake case": ("delete_all_files", "delete all files"),
    "camel case": ("use deleteFiles or DeleteAllFiles", "use delete Files or Delete All Files"),
    "an acronym": ("<parseJSONText>", "parse JSON Text"),
    "kebab case": ("rm-all-files", "rm all files"),
    "dots": ("files.delete", "files delete"),
    "dots and humps": ("filesApi.deleteAll", "files Api delete All"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples(text, words):
    assert plain_words(text) == words
    assert plain_words(words) == words


PROSE = [
    "A man said \"yes\" (twice), didn't he? It's 50% off - $5; 2 + 2 is 4.",
    "McDonald's, YouTube, GitHub, macOS, iPhone and eBay aren't e.g. the U.S.A.",
    "- a list\n- of well-known, state-of-the-art things\n\n1. first (see 3.5)\n2. second/third",
    "At 10:30 he wrote to bob@example.com: https://example.com/a?b #1 & AT&T ~ 5 > never"[:-8],
    "第一，天空是蓝色的。 Ärger über Größe! ¿Qué? «Oui» — non…",
    "The dog(s) ran.\r\nThen: nothing!",
    "",
    "Yes.",
    "well-known",
    "-5",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_left_as_it_is(text):
    assert plain_words(text) == text


WORD = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=9)
SENTENCE = st.lists(WORD | st.integers(0, 9999).map(str), min_size=2, max_size=12).flatmap(
    lambda words: st.sampled_from([". ", "! ", "? ", ", ", "; ", ": ", ".\n", " - ", ".\n\n"]).map(
        lambda end: " ".join(words).capitalize() + end
    )
)


@given(st.lists(SENTENCE, max_size=6).map("".join))
def test_prose_is_a_fixed_point(text):
    assert plain_words(text) == text


SIGNS = "{}[]<>=|*_`\"'()#+-.,:;!?/&~^%$@ \t\n\r"
ANY = st.text(st.sampled_from(SIGNS + "abcXYZ019éß中"), max_size=60) | st.text(max_size=60)


def letters(text):
    return "".join(filter(str.isalnum, text))


@given(ANY.map(lambda text: text.replace("\\", "/")))
def test_no_word_and_no_number_is_lost_and_the_order_stays(text):
    words = plain_words(text)
    assert letters(words) == letters(text)
    assert words.count("\n") == text.count("\n")
    assert not set("{}[]<>=|*_`") & set(words)


@given(st.text(st.sampled_from(SIGNS + "\\\\\\ntuabXY09"), max_size=80) | st.text(max_size=40))
def test_a_second_time_changes_nothing(text):
    words = plain_words(text)
    assert plain_words(words) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(JSON, st.sampled_from([None, 2]), st.integers(0, 2))
def test_every_text_of_json_can_be_read(value, indent, levels):
    """However often it is written as a text of JSON, letters and digits come in order."""
    wanted = json.dumps(value, ensure_ascii=False)
    text = json.dumps(value, indent=indent)
    for _ in range(levels):
        text = json.dumps(text)
    if "\\" not in wanted:
        assert letters(plain_words(text)) == letters(wanted)


LARGE = ["{", "[", '"', "\\", '\\"', '"\\', "'", " ", "a", "aB", "Ab", "a.", "a-", "# ", "*", "`a",
         '{"a":', "<a ", '" ', "\n", "_", "(", ".a(", "+a\n", '"\\n', ": ", "|-"]  # fmt: skip


@pytest.mark.parametrize("part", LARGE)
def test_a_long_text_of_any_kind_comes_back(part):
    """A run of one part, behind signs so that nothing is skipped: quadratic time would hang."""
    text = "{=" + part * (200_000 // len(part))
    words = plain_words(text)
    assert words.count("a") == text.count("a")
    assert not set("{}[]<>=|*_`") & set(words)
