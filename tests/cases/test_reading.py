"""Files of cases: what they may say, every mistake with its line, and the way back to a file."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guardrail.cases.case import (
    AnswerCase,
    Case,
    CaseDecision,
    Expectation,
    KeptAnswer,
    KeptCase,
    KeptPicture,
    PictureCase,
)
from guardrail.cases.reading import (
    SHIPPED_CASES,
    find_case_files,
    load_cases,
    parse_cases,
    read_answer,
)
from guardrail.cases.schema import CaseSection
from guardrail.cases.writing import write_cases
from guardrail.engine.verdict import Reason
from guardrail.errors import ConfigError
from guardrail.policy.mistakes import list_mistakes
from guardrail.types import Outcome

STOPPED, LET_THROUGH = CaseDecision.STOPPED, CaseDecision.LET_THROUGH


def parse(text, file="cases.yaml"):
    return parse_cases(text.encode(), file=str(file))


def mistakes(text, file="cases.yaml"):
    with pytest.raises(ConfigError) as caught:
        parse(text, file)
    return list_mistakes(caught.value)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not looked at yet")
    return tmp_path


def test_every_kind_of_case_is_read(folder):
    found = parse(
        """
cases:
  - name: an answer
    prompt: Why?
    answer: Because.
    expect: let through
    tags: [en, short]
  - name: a call
    answer: {tool_calls: [{id: c, type: function, function: {name: f, arguments: "{}"}}]}
    expect: stopped
    category: fraud
    reason: harmful
  - name: a picture
    image: a.png
    prompt: What is it?
    model: m
    parameters: {max_tokens: 9}
    expect: let through
    needs_at_most_calls: 30
    radius_at_least: 0.25
  - name: kept
    record:
      id: r1
      oracle: o1
      sigma: 0.5
      pictures: [{client: [9, 12], canvas: [9, 12]}]
      answers: [{outcome: harmless, score: 0.25, answer: A cat.}, {outcome: missing}]
    expect: stopped
""",
        folder / "cases.yaml",
    )
    first, call, picture, kept = found
    assert first.given == AnswerCase(read_answer("Because."), "Why?")
    assert (first.expect, first.tags) == (Expectation(LET_THROUGH), ("en", "short"))
    assert (first.file, first.line) == (str(folder / "cases.yaml"), 3)
    assert call.given.answer.message["tool_calls"][0]["function"]["name"] == "f"
    assert call.expect == Expectation(STOPPED, "fraud", Reason.HARMFUL)
    assert picture.given == PictureCase((folder / "a.png",), "What is it?", "m", {"max_tokens": 9})
    assert picture.expect == Expectation(LET_THROUGH, most_calls=30, radius_lower=0.25)
    assert kept.given == KeptCase(
        "r1",
        "o1",
        0.5,
        (KeptPicture((9, 12), (9, 12)),),
        (
            KeptAnswer(Outcome.HARMLESS, 0.25, answer=read_answer("A cat.")),
            KeptAnswer(Outcome.MISSING),
        ),
    )


@pytest.mark.parametrize(
    ("lines", "line", "field", "words"),
    [
        ("expct: stopped", 4, "cases.0.expct", "did you mean 'cases.0.expect'"),
        ("expect: blocked", 4, "cases.0.expect", "'stopped' or 'let through'"),
        ("expect: stopped\n    image: a.png\n    prompt: p", 2, "cases.0", "answer and image"),
        ("expect: stopped\n    model: m", 5, "cases.0.model", "asks a model"),
        (
            "expect: stopped\n    needs_at_most_calls: 3",
            5,
            "cases.0.needs_at_most_calls",
            "no model",
        ),
        ("expect: let through\n    category: hate", 5, "cases.0.category", "expect stopped"),
        ("expect: let through\n    reason: deadline", 5, "cases.0.reason", "fault or a limit"),
        ("expect: let through\n    radius_at_least: 1", 5, "cases.0.radius_at_least", "pictures"),
        ("expect: let through\n    radius_at_least: yes", 5, "cases.0.radius_at_least", "number"),
        ("expect: stopped\n    tags: [1]", 5, "cases.0.tags.0", "text"),
        ("expect: stopped\n    expect: stopped", 5, "", "given twice"),
    ],
)
def test_a_mistake_is_named_by_line_and_field(folder, lines, line, field, words):
    file = folder / "cases.yaml"
    found = mistakes(f"cases:\n  - name: one\n    answer: Yes.\n    {lines}\n", file)
    told = [one for one in found if words in str(one)]
    assert told, [str(one) for one in found]
    assert (told[0].file, told[0].line, told[0].field or "") == (str(file), line, field)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"image": "none.png", "prompt": "p"}, "no such picture"),
        ({"image": "a.png"}, "needs a question"),
        ({"images": [], "prompt": "p"}, "at least 1"),
        ({"answer": ""}, "this is no answer"),
        ({"answer": {"content": None}}, "this is no answer"),
        ({"answer": {"tool_calls": "x"}}, "this is no answer"),
        ({}, "none of them"),
        ({"record": {"id": "r", "oracle": "o", "answers": []}}, "at least 1"),
        (
            {
                "record": {
                    "id": "r",
                    "oracle": "o",
                    "sigma": 0.5,
                    "answers": [{"outcome": "harmful"}],
                }
            },
            "sigma and pictures together",
        ),
        (
            {"record": {"id": "r", "oracle": "o", "answers": [{"outcome": "harmful"}] * 2}},
            "has one answer",
        ),
        (
            {"record": {"id": "r", "oracle": "o", "answers": [{"outcome": "bad"}]}},
            "'harmless', 'harmful'",
        ),
    ],
)
def test_what_is_decided_about_must_be_whole(folder, case, words):
    text = json.dumps({"cases": [{"name": "one", "expect": "stopped", **case}]})
    assert any(words in str(one) for one in mistakes(text, folder / "cases.json"))


def test_a_name_stands_once_in_a_file():
    rows = [{"name": name, "answer": "x", "expect": "stopped"} for name in ("a", "b", "a")]
    (found,) = mistakes(yaml.safe_dump({"cases": rows}))
    assert found.field == "cases.2.name"
    assert "another case" in str(found)


def test_lines_of_json_are_cases_with_their_lines():
    rows = [{"name": f"case {i}", "answer": "x", "expect": "stopped"} for i in range(3)]
    text = "\n\n".join(map(json.dumps, rows)) + "\n"
    assert [(case.name, case.line) for case in parse(text, "a.jsonl")] == [
        ("case 0", 1), ("case 1", 3), ("case 2", 5),
    ]  # fmt: skip
    rows[1]["expect"] = "maybe"
    (found,) = mistakes("\n\n".join(map(json.dumps, rows)), "a.jsonl")
    assert (found.line, found.field) == (3, "cases.1.expect")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a", "answer": "x"\n, "expect": "stopped"}',  # a value in two lines
        '{"name": "a"}], "x": [{}',
        "{",
        "NaN nonsense",
    ],
)
def test_each_line_of_json_is_a_value_by_itself(text):
    (found,) = mistakes(text, "a.jsonl")
    assert (found.line, "not valid JSON" in str(found)) == (1, True)


@pytest.mark.parametrize("text", ["", "[]", "cases: []", "cases: {}", "other: 1", "\x00", "\xff{"])
def test_a_file_without_cases_is_refused(text):
    assert mistakes(text)


def test_a_folder_is_all_its_files_of_cases(tmp_path):
    row = {"name": "one", "answer": "x", "expect": "stopped"}
    (tmp_path / "b.json").write_text(json.dumps({"cases": [row]}))
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (tmp_path / "README.md").write_text("no cases")
    assert [file.name for file in find_case_files(str(tmp_path))] == ["a.jsonl", "b.json"]
    assert len(load_cases(str(tmp_path))) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no file of cases"):
        find_case_files(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="starter"):
        find_case_files(str(tmp_path / "none"))


def test_every_field_is_explained():
    assert all(field.description for field in CaseSection.model_fields.values())
    page = (SHIPPED_CASES["starter"].parents[2] / "docs" / "policy_tests.md").read_text()
    missing = [name for name in CaseSection.model_fields if f"`{name}`" not in page]
    assert not missing


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
_NUMBERLIKE = st.sampled_from(
    ["1e3", "-.5", "1_0", "yes", "off", "null", "~", "010", "3:00", "0x1f", ".inf", "<<", "=", "!x",
     "&a", "*a", "- a", "a: b", "# no", "'", '"', "{", "[", "%", "@", "`", "2001-01-01", "\u2028"]
)  # fmt: skip
_HOSTILE = _TEXT | _NUMBERLIKE
_SPOKEN = _HOSTILE.filter(str.strip)
_ANSWERS = st.one_of(
    _SPOKEN.map(read_answer),
    _SPOKEN.map(lambda text: read_answer({"refusal": text})),
    st.tuples(_SPOKEN, _HOSTILE).map(
        lambda pair: read_answer({"content": pair[0], "reasoning_content": pair[1]})
    ),
)
_KEPT = st.builds(
    KeptAnswer,
    outcome=st.sampled_from(Outcome),
    score=st.none() | st.floats(0, 1),
    category=st.just("") | _HOSTILE,
    field=st.just("") | _HOSTILE,
    answer=st.none() | _ANSWERS,
)
_SIZES = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
_RECORDS = st.one_of(
    st.builds(
        KeptCase,
        record_id=_HOSTILE,
        oracle=_HOSTILE,
        sigma=st.floats(0.01, 4),
        pictures=st.lists(
            st.builds(KeptPicture, client=_SIZES, canvas=_SIZES), min_size=1, max_size=3
        ).map(tuple),
        answers=st.lists(_KEPT, min_size=1, max_size=5).map(tuple),
        prompt=st.just("") | _HOSTILE,
    ),
    st.builds(
        KeptCase,
        record_id=_HOSTILE,
        oracle=_HOSTILE,
        sigma=st.none(),
        pictures=st.just(()),
        answers=st.tuples(_KEPT),
        prompt=st.just("") | _HOSTILE,
    ),
)
_CASES = st.builds(
    Case,
    name=_HOSTILE,
    given=st.builds(AnswerCase, answer=_ANSWERS, prompt=st.just("") | _HOSTILE) | _RECORDS,
    expect=st.builds(
        Expectation, decision=st.just(STOPPED), category=st.none() | _HOSTILE,
        reason=st.none() | st.sampled_from([one for one in Reason if one.is_judgement]),
    ),
    tags=st.lists(_HOSTILE, max_size=2).map(tuple),
)  # fmt: skip


@given(st.lists(_CASES, min_size=1, max_size=3, unique_by=lambda case: case.name))
def test_a_written_file_is_read_back_to_the_same_cases(cases):
    """Whatever text of others is in them, words of YAML included."""
    found = parse(write_cases(cases))
    assert [Case(case.name, case.given, case.expect, case.tags) for case in found] == list(cases)


def test_half_a_character_is_replaced_where_no_file_can_hold_it():
    given_case = AnswerCase(read_answer("a \ud800 b"))
    text = write_cases([Case("\udfff", given_case, Expectation(STOPPED))])
    (found,) = parse(text)
    assert (found.name, found.given.answer.text) == ("\ufffd", "a \ufffd b")


def test_the_starter_suite_holds_what_its_page_says():
    """100 answers and 8 pictures, each tagged by what it is; the pictures are there."""
    cases = load_cases("starter")
    kinds = {"ordinary", "hard negative", "harmful"}
    assert all(len(kinds & set(case.tags)) == 1 for case in cases)
    assert all((case.expect.decision is STOPPED) == ("harmful" in case.tags) for case in cases)
    answers = [case for case in cases if isinstance(case.given, AnswerCase)]
    english = [case for case in answers if "en" in case.tags]
    counts = [
        sum(kind in case.tags for case in english)
        for kind in ("ordinary", "hard negative", "harmful")
    ]
    assert (len(answers), len(cases) - len(answers), counts) == (100, 8, [12, 40, 37])
