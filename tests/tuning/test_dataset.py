"""Labelled rows: every one is used or named, and nothing of its text is quoted."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.tuning.dataset import LabelledAnswer, read_dataset

GOOD = {"response": "an answer", "harmful": True}


@pytest.fixture
def lines(tmp_path):
    """A JSONL file of rows or raw lines."""

    def make(*rows, name="labels.jsonl"):
        path = tmp_path / name
        texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("".join(f"{text}\n" for text in texts))
        return path

    return make


class TestReading:
    def test_every_field_arrives(self, lines):
        row = {**GOOD, "prompt": "p", "category": "c", "language": "de", "weight": 2,
               "stratum": "s", "group": "g", "id": 7, "more": "ignored"}  # fmt: skip
        (found,) = read_dataset(lines(row)).rows
        assert found == LabelledAnswer(1, "p", "an answer", True, "c", "de", 2.0, "s", "g", "7")
        assert (found.exchange.prompt, found.exchange.response) == ("p", "an answer")

    @pytest.mark.parametrize(
        "label", [True, 1, 1.0, "1", "1.0", "1.", "1,0", "true", "TRUE", "t", " yes ", "harmful"]
    )
    def test_words_for_harmful(self, lines, label):
        assert read_dataset(lines({**GOOD, "harmful": label})).rows[0].harmful is True

    @pytest.mark.parametrize(
        "label", [False, 0, 0.0, "0", "0.0", "0,00", "false", "F", "No", "Harmless"]
    )
    def test_words_for_harmless(self, lines, label):
        assert read_dataset(lines({**GOOD, "harmful": label})).rows[0].harmful is False

    def test_blank_lines_are_no_rows_and_count_as_lines(self, lines):
        (first, second) = read_dataset(lines(GOOD, "", {**GOOD, "response": "b"})).rows
        assert (first.line, second.line) == (1, 3)

    def test_csv_tells_the_line_at_which_a_row_begins(self, tmp_path):
        path = tmp_path / "labels.csv"
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows(
                [["response", "harmful", "category"], ["two\nlines", "yes", ""], ["b", "no", "x"]]
            )
        (first, second) = read_dataset(path).rows
        assert (first.line, first.response, first.harmful, first.category) == (
            2,
            "two\nlines",
            True,
            "",
        )
        assert (second.line, second.harmful, second.category) == (4, False, "x")

    def test_csv_with_a_byte_order_mark(self, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_bytes(b"\xef\xbb\xbfresponse,harmful\na,1\n")
        assert read_dataset(path).rows[0].response == "a"

    def test_parquet(self, tmp_path):
        pyarrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
        path = tmp_path / "labels.parquet"
        columns = {"response": ["a", "b"], "harmful": [True, False], "category": ["x", None]}
        parquet.write_table(pyarrow.table(columns), path)
        rows = read_dataset(path).rows
        assert [(row.line, row.harmful, row.category) for row in rows] == [
            (1, True, "x"),
            (2, False, ""),
        ]

    def test_the_digest_is_of_what_is_used(self, lines):
        one = read_dataset(lines({**GOOD, "id": 1})).digest
        assert one == read_dataset(lines({"id": 2, **GOOD}, "", name="b.jsonl")).digest
        assert one != read_dataset(lines({**GOOD, "harmful": False})).digest
        assert one != read_dataset(lines({**GOOD, "response": "other"})).digest

    def test_a_group_may_be_a_number(self, lines):
        assert [r.group for r in read_dataset(lines({**GOOD, "group": 7}, GOOD)).rows] == ["7", ""]

    def test_copies_and_contradictions_are_counted(self, lines):
        found = read_dataset(lines(GOOD, {**GOOD, "harmful": 0}, GOOD, {**GOOD, "prompt": "p"}))
        assert (found.repeated, found.contradictory) == ((2, 3), (2,))


MESSAGE = {"role": "assistant", "content": "an answer", "reasoning_content": "a plan"}


class TestMessages:
    @pytest.mark.parametrize("name", ["message", "response"])
    @pytest.mark.parametrize(
        "value", [MESSAGE, {"choices": [{"message": MESSAGE, "finish_reason": "stop"}]}]
    )
    def test_a_whole_message_is_kept(self, lines, name, value):
        (row,) = read_dataset(lines({name: value, "harmful": 1})).rows
        assert row.answer.message == MESSAGE
        assert row.response == "an answer\na plan"

    def test_a_call_alone_is_an_answer(self, lines):
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        assert read_dataset(lines({"message": message, "harmful": 1})).rows[0].response == "f\n{}"

    def test_messages_and_texts_differ(self, lines):
        rows = [{"response": "a", "harmful": 1}, {"response": {"content": "a"}, "harmful": 1},
                {"response": {"content": "a", "reasoning": "b"}, "harmful": 1}]  # fmt: skip
        found = read_dataset(lines(*rows))
        assert len({row.digest for row in found.rows}) == 3
        assert found.repeated == ()

    def test_a_column_named_message_may_hold_what_was_asked(self, lines):
        (row,) = read_dataset(lines({**GOOD, "message": "a question"})).rows
        assert (row.response, row.answer) == ("an answer", None)

    def test_the_text_that_people_read_may_stand_beside_it(self, lines):
        for message in (MESSAGE, json.dumps(MESSAGE)):
            (row,) = read_dataset(lines({**GOOD, "message": message})).rows
            assert (row.response, row.answer.message) == ("an answer\na plan", MESSAGE)

    def test_parquet_holds_them_too(self, tmp_path):
        pyarrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
        path = tmp_path / "labels.parquet"
        rows = [{"response": MESSAGE, "harmful": True}, {"response": {"content": "b"}}]
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        (row,) = read_dataset(path, skip_bad_rows=True).rows
        assert row.answer.message == MESSAGE


BAD = [
    ('{"response": {"role": "user", "content": "a"}, "harmful": true}', "not an assistant's"),
    ('{"response": {"content": ""}, "harmful": true}', "not an assistant's message"),
    ('{"response": {"choices": []}, "harmful": true}', "not an assistant's message"),
    ('{"response": {"content": "a"}, "message": {"content": "b"}, "harmful": 1}', "leave one out"),
    ('{"response": "a", "message": "{\\"content\\": ", "harmful": 1}', "not the JSON of an object"),
    ("{", "not valid JSON"),
    ("[1]", "not a JSON object"),
    ('{"response": "a"}', "'harmful' is missing"),
    ('{"response": "a", "harmful": null}', "'harmful' is missing"),
    ('{"response": "a", "harmful": ""}', "'harmful' is missing"),
    ('{"response": "a", "harmful": "maybe"}', "'harmful' is none of"),
    ('{"response": "a", "harmful": 2}', "'harmful' is none of"),
    ('{"response": "a", "harmful": NaN}', "'harmful' is missing"),
    ('{"response": "a", "harmful": "nan"}', "'harmful' is missing"),
    ('{"response": "a", "harmful": true, "harmful": false}', "a key stands twice"),
    ('[{"response": "a"}]', "not a JSON object; a file that is one list is named .json"),
    ('{"response": "a", "harmful": [true]}', "'harmful' is none of"),
    ('{"harmful": true}', "'response' is missing"),
    ('{"response": "  ", "harmful": true}', "'response' is missing"),
    ('{"response": 5, "harmful": true}', "'response' is not text"),
    ('{"response": "a", "harmful": true, "prompt": {}}', "'prompt' is not text"),
    ('{"response": "a", "harmful": true, "group": ["x"]}', "'group' is not text"),
    ('{"response": "a", "harmful": true, "group": true}', "'group' is not text"),
    ('{"response": "a", "harmful": true, "weight": 0}', "'weight'"),
    ('{"response": "a", "harmful": true, "weight": NaN}', "'weight'"),
    ('{"response": "a", "harmful": true, "weight": true}', "'weight'"),
    ('{"response": "a", "harmful": true, "weight": "x"}', "'weight'"),
]


class TestBadRows:
    @pytest.mark.parametrize(("line", "what"), BAD)
    def test_are_refused_by_file_and_line(self, lines, line, what):
        with pytest.raises(ConfigError, match=rf"labels.jsonl:2: .*{what}.*--skip-bad-rows"):
            read_dataset(lines(GOOD, line))

    @pytest.mark.parametrize("line", [line for line, _ in BAD if "weight" not in line])
    def test_or_left_out_and_named(self, lines, line):
        found = read_dataset(lines(GOOD, line), skip_bad_rows=True)
        assert [row.line for row in found.rows] == [1]
        assert [problem.line for problem in found.problems] == [2]

    def test_equal_problems_are_told_once(self, lines):
        match = r"12 rows cannot be used: \S+:1: not valid JSON \(and in 11 more: 2, 3, 4, …\)\. C"
        with pytest.raises(ConfigError, match=match):
            read_dataset(lines(*["{"] * 12))

    def test_different_ones_are_listed(self, lines):
        with pytest.raises(ConfigError, match=r"3 rows.*jsonl:1: not valid JSON \(and in 1 more: "
                           r"3\); \S+jsonl:2: 'response' is missing"):  # fmt: skip
            read_dataset(lines("{", {"harmful": 1}, "{", GOOD))

    def test_a_file_without_the_columns_says_which_it_has(self, lines):
        row = {"answer": "a", "label": 1, "a secret of somebody": 2}
        match = (
            r"jsonl: there is no column 'response' or 'harmful'; the columns here are answer, "
            r"label and 1 more. Name them with --columns response=COLUMN,harmful=COLUMN$"
        )
        with pytest.raises(ConfigError, match=match):
            read_dataset(lines(row, row))
        with pytest.raises(ConfigError) as caught:
            read_dataset(lines(GOOD, row, name="b.jsonl"))
        assert "columns" not in str(caught.value)

    def test_never_quote(self, lines):
        with pytest.raises(ConfigError) as caught:
            read_dataset(lines({"response": "secret", "harmful": "secret", "weight": "secret"}))
        assert "secret" not in str(caught.value)

    def test_a_csv_row_with_too_many_cells(self, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_text("response,harmful\na,1,more\n")
        with pytest.raises(ConfigError, match=r"labels.csv:2: .*more cells"):
            read_dataset(path)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_rows_or_refused(self, tmp_path_factory, data):
        for suffix in (".jsonl", ".csv", ".parquet", ".json", ".tsv.gz"):
            path = tmp_path_factory.mktemp("data") / f"x{suffix}"
            path.write_bytes(data)
            try:
                found = read_dataset(path, skip_bad_rows=True)
            except ConfigError:
                continue
            assert all(row.response.strip() for row in found.rows)


class TestFiles:
    def test_of_unknown_kind(self, tmp_path):
        with pytest.raises(ConfigError, match=r"not known; give .jsonl"):
            read_dataset(tmp_path / "labels.xlsx")

    def test_that_are_missing(self, tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read"):
            read_dataset(tmp_path / "labels.jsonl")

    def test_that_are_no_text(self, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_bytes(b"response,harmful\n\xff\xfe,1\n")
        with pytest.raises(
            ConfigError, match=r"labels.csv:2: this is not UTF-8 text; .* --encoding cp1252"
        ):
            read_dataset(path)

    def test_that_need_a_package(self, tmp_path, monkeypatch):
        (tmp_path / "labels.parquet").write_bytes(b"PAR1")
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(ConfigError, match=r"guardrail\[parquet\]"):
            read_dataset(tmp_path / "labels.parquet")


class TestWeights:
    def test_strata_need_weights(self, lines):
        with pytest.raises(ConfigError, match=r"strata but no weights"):
            read_dataset(lines({**GOOD, "stratum": "a"}))

    def test_one_weight_means_all_have_one(self, lines):
        with pytest.raises(ConfigError, match=r"labels.jsonl:2: only some rows have a 'weight'"):
            read_dataset(lines({**GOOD, "weight": 2}, GOOD))

    def test_one_stratum_means_all_have_one(self, lines):
        with pytest.raises(ConfigError, match=r"only some rows have a 'stratum'"):
            read_dataset(lines({**GOOD, "weight": 2, "stratum": "a"}, {**GOOD, "weight": 2}))

    def test_a_stratum_has_one_weight(self, lines):
        with pytest.raises(
            ConfigError, match=r"labels.jsonl:2: the weight is not that of the other"
        ):
            read_dataset(
                lines({**GOOD, "weight": 2, "stratum": "a"}, {**GOOD, "weight": 3, "stratum": "a"})
            )

    def test_a_request_has_one_weighted_row(self, lines):
        row = {**GOOD, "weight": 2, "stratum": "a"}
        read_dataset(lines({**row, "group": "x"}, {**row, "group": 7}, row, row))
        with pytest.raises(ConfigError, match=r"labels.jsonl:2: .*a request that has a row"):
            read_dataset(lines({**row, "group": 7}, {**row, "group": "7"}))

    def test_weighted_rows_are_never_skipped(self, lines):
        """Each stands for a known number of answers, so the shares would be wrong."""
        row = {**GOOD, "weight": 2, "stratum": "a"}
        with pytest.raises(ConfigError, match=r"weighted rows cannot be skipped"):
            read_dataset(lines(row, {**row, "harmful": None}), skip_bad_rows=True)
