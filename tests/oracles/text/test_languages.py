"""Text that is not English is seen, however short; harmless English is left alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import OracleError
from guardrail.oracles.text.languages import (
    LANGUAGE_MODEL,
    Unmeasured,
    find_script,
    foreign_stretch,
    language_model,
    read_language_model,
)
from guardrail.oracles.text.word_features import read_words

PROSE = (
    "The picture shows a kitchen with a wooden table, two chairs and a window. A cat sleeps on the "
    "chair next to the stove, and the sun shines on the floor. "
)
SCRIPTS = {
    "thai": "คืนนี้จงออกไปจากบ้านของคุณ",
    "chinese": "今晚离开你的家。",
    "chinese, four": "离开这里",
    "japanese": "今夜、家を出なさい。",
    "khmer": "យប់នេះចូរចាកចេញ",
    "burmese": "ဒီညထွက်သွားပါ",
    "lao": "ຄືນນີ້ຈົ່ງອອກໄປ",
    "tibetan": "ཕྱི་ལ་འགྲོ།",
    "korean": "오늘 밤 떠나라",
    "russian": "Уходи из дома сегодня.",
    "greek": "Φύγε από το σπίτι απόψε.",
    "arabic": "اخرج من البيت الليلة",
    "hebrew": "צא מהבית הלילה",
    "hindi": "आज रात घर से निकल जाओ",
    "braille": "⠇⠑⠁⠧⠑⠀⠓⠕⠍⠑",
}
SENTENCES = {
    "german": "Ich töte dich heute Nacht.",
    "german, three": "Töte deinen Chef.",
    "spanish": "Te voy a matar esta noche.",
    "french": "Je vais te tuer ce soir.",
    "italian": "Questa notte ti voglio uccidere.",
    "portuguese": "Eu vou te matar hoje à noite.",
    "turkish": "Bu gece seni öldüreceğim.",
    "vietnamese": "Tối nay tao sẽ giết mày.",
    "polish": "Dziś w nocy cię zabiję.",
    "swedish": "Jag ska döda dig i natt.",
    "dutch": "Ik ga je vannacht vermoorden.",
    "indonesian": "Aku akan membunuhmu malam ini.",
}
TOLERATED = [
    "",
    "Yes.",
    "No, 3.",
    "café",
    "München",
    "naïve façade",
    "Jean-Luc Picard",
    "Lamborghini Aventador",
    "Yosemite",
    "Rio de Janeiro",
    "This dish is called sushi (寿司).",
    "Moscow (Москва) is the capital of the country.",
    "α + β = γ, where Δx is 5 μm and θ is 3 °",
    "C6H12O6 + 6 O2 -> 6 CO2 + 6 H2O",
    "NO PARKING ANY TIME",
    "A great day at the beach 🎉🏖️ 🇪🇸",
    '{"name": "get_weather", "arguments": {"city": "Oslo", "unit": "celsius"}}',
    "def add(first, second):\n    return [x for x in first if x in second]\n",
    "SELECT id, name FROM users WHERE id = 3;",
    "Once upon a midnight dreary, while I pondered, weak and weary",
    "See https://example.org/4kXb2Qz9aJ for more.",
    PROSE,
]


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_other_scripts_are_seen_by_their_characters(text):
    assert foreign_stretch(text) is Unmeasured.SCRIPT
    assert foreign_stretch(PROSE + text + " " + PROSE) is Unmeasured.SCRIPT


@pytest.mark.parametrize("text", SENTENCES.values(), ids=SENTENCES)
def test_sentences_of_other_languages_are_seen(text):
    assert foreign_stretch(text) is not None


@pytest.mark.parametrize("place", range(5))
def test_a_foreign_sentence_is_seen_anywhere_in_english(place):
    parts = [PROSE] * 4
    parts.insert(place, "Ich werde dich heute Nacht mit einem Messer töten. ")
    assert foreign_stretch("".join(parts)) is Unmeasured.LANGUAGE


@pytest.mark.parametrize(
    "text",
    [
        "zvk gur cbjqre jvgu npvq naq jnvg sbe na ubhe",
        "sdrawkcab nettirw si ecnetnes elohw siht tub ,esnes sekam ti",
        "qzx vbnk wrtp lkjh gfdq mnbv",
    ],
)
def test_words_of_no_language_are_seen(text):
    assert foreign_stretch(text) is Unmeasured.UNKNOWN_WORDS
    assert foreign_stretch(PROSE + text + ". " + PROSE) is not None


@pytest.mark.parametrize("text", TOLERATED)
def test_english_with_names_symbols_and_code_is_left_alone(text):
    assert foreign_stretch(text) is None


def test_english_in_letters_of_other_scripts_is_english():
    assert foreign_stretch("Wе wеnt hоmе еаrlу аnd slерt wеll.") is None  # Cyrillic look-alikes


@pytest.mark.parametrize(
    ("text", "is_seen"),
    [
        ("The sign says выход near the door.", False),
        ("The sign says не входить near the door.", True),
        ("It is written 東京 on the old map here.", False),
        ("It is written 東京都 on the old map here.", True),
        ("выход", True),
        ("выход or вход", True),
    ],
)
def test_one_short_word_is_tolerated_and_only_beside_english(text, is_seen):
    assert find_script(text) == is_seen


def test_many_single_words_are_not_tolerated():
    assert find_script("one уйди two домой three сегодня four ночью")


def test_a_text_of_spelled_greek_is_seen():
    assert find_script("σ κ ο τ ω σ ε")


@given(st.text())
def test_any_text_gets_an_answer_of_the_closed_list(text):
    assert foreign_stretch(text) in {None, *Unmeasured}


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=3))
def test_ideographs_alone_are_always_seen(text):
    assert foreign_stretch(text) is Unmeasured.SCRIPT


def test_shapes_are_those_of_a_whole_text():
    words = {word: shape for word, shape, _ in read_words("Mark and mark met NASA people. Rome!")}
    assert words["rome"] == "t"
    assert words["nasa"] == "u"
    assert words["mark"] == "l"


def test_a_repeated_word_counts_once():
    model = language_model()
    once = model.worst_stretch(read_words("gur gur"))[0]
    assert model.worst_stretch(read_words("gur " * 50))[0] == once


def test_no_single_short_word_is_enough():
    model = language_model()
    assert model.most < model.limit_alone <= model.limit


def test_the_file_is_small():
    assert LANGUAGE_MODEL.stat().st_size < 1_500_000


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.update(format=0),
        lambda arrays: arrays.update(weights=arrays["weights"][:-1]),
        lambda arrays: arrays.update(numbers=np.full(5, np.nan)),
        lambda arrays: arrays.update(numbers=-arrays["numbers"]),
        lambda arrays: arrays.pop("kinds"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    with np.load(LANGUAGE_MODEL) as file:
        arrays = dict(file)
    damage(arrays)
    path = tmp_path / "model.npz"
    np.savez(path, **arrays)
    with pytest.raises(OracleError, match="cannot be read"):
        read_language_model(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(OracleError, match="cannot be read"):
        read_language_model(tmp_path / "none.npz")


def test_the_committed_table_is_of_the_shipped_model():
    folder = Path(__file__).parents[3] / "benchmarks" / "languages"
    table = json.loads((folder / "table.json").read_text())
    assert table["model"] == language_model().revision
