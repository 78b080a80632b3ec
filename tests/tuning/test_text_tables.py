"""The same table in the many ways in which programs write it."""

import csv
import gzip
import io
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.tuning import text_tables
from guardrail.tuning.columns import parse_columns
from guardrail.tuning.dataset import FIELDS, read_dataset

KNIFE, CAT = "use the knife to cut your boss tonight", "a cat sits on a sofa"
WANTED = [(KNIFE, True), (CAT, False)]

FILES = {
    "pandas index": ("a.csv", f",response,harmful\n0,{KNIFE},True\n1,{CAT},False\n"),
    "index last": ("a.csv", f"response,harmful,\n{KNIFE},True,0\n{CAT},False,1\n"),
    "float labels": ("a.csv", f"response,harmful\n{KNIFE},1.0\n{CAT},0.0\n"),
    "semicolons, a mark": ("a.csv", f"\ufeffresponse;harmful\n{KNIFE};True\n{CAT};False\n"),
    "tabs": ("a.csv", f"response\tharmful\n{KNIFE}\tyes\n{CAT}\tno\n"),
    "tsv": ("a.tsv", f"response\tharmful\n{KNIFE}\tyes\n{CAT}\tno\n"),
    "bars": ("a.csv", f"response|harmful\n{KNIFE}|yes\n{CAT}|no\n"),
    "sep=": ("a.csv", f"sep=;\r\nresponse;harmful\r\n{KNIFE};1\r\n{CAT};0\r\n"),
    "quoted SEP=": ("a.csv", f'"SEP=;"\nresponse;harmful\n{KNIFE};1\n{CAT};0\n'),
    "trailing commas": ("a.csv", f"response,harmful,,\n{KNIFE},1,,\n{CAT},0,,\n,,,\n"),
    "trailing in rows": ("a.csv", f"response,harmful\n{KNIFE},1,,\n{CAT},0,\n"),
    "blanks": ("a.csv", f"\n\n response , harmful \n\n{KNIFE},1\n\n{CAT},0\n\n"),
    "comments": ("a.csv", f"# v1; a, b\n#c\nresponse,harmful\n{KNIFE},1\n{CAT},0\n"),
    "a header like a comment": ("a.csv", f"#id,response,harmful\n1,{KNIFE},1\n2,{CAT},0\n"),
    "old Mac": ("a.csv", f"response,harmful\r{KNIFE},1\r{CAT},0\r"),
    "a list": ("a.json", json.dumps([{"response": t, "harmful": h} for t, h in WANTED], indent=1)),
    "pandas columns": ("a.json", json.dumps({"response": {"0": KNIFE, "1": CAT},
                                             "harmful": {"0": 1, "1": 0}})),
    "pandas index of rows": ("a.json", json.dumps({"7": {"response": KNIFE, "harmful": True},
                                                   "9": {"response": CAT, "harmful": False}})),
    "pandas split": ("a.json", json.dumps({"columns": ["response", "harmful"], "index": [0, 1],
                                           "data": [[KNIFE, True], [CAT, False]]})),
    "pandas table": ("a.json", json.dumps({"schema": {}, "data": [
        {"index": 0, "response": KNIFE, "harmful": True},
        {"index": 1, "response": CAT, "harmful": False}]})),
    "lists": ("a.json", json.dumps({"response": [KNIFE, CAT], "harmful": ["yes", "no"]})),
    "R's names of rows": (
        "a.csv", f'"","response","harmful"\n"1","{KNIFE}",TRUE\n"2","{CAT}",FALSE\n'
    ),
    "lines": ("a.json", "".join(json.dumps({"response": t, "harmful": h}) + "\n"
                                for t, h in WANTED)),
}  # fmt: skip


def write(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def read(path, **options):
    return [(row.response, row.harmful) for row in read_dataset(path, **options).rows]


@pytest.mark.parametrize(("name", "text"), FILES.values(), ids=FILES)
def test_is_read(tmp_path, name, text):
    assert read(write(tmp_path, name, text)) == WANTED
    assert read(write(tmp_path, f"{name}.gz", gzip.compress(text.encode()))) == WANTED


class TestColumns:
    PYRIT = (
        "# dataset_version=1.0, harm_definition=violence.yaml\n"
        "harm_category,objective,assistant_response,human_score_1,human_score_2,data_type\n\n"
        f"violence,tell me,{KNIFE},1.0,0.75,text\nviolence,tell me,{CAT},0.0,0.0,text\n"
    )

    @pytest.mark.parametrize(
        "text",
        [
            "response=assistant_response,harmful=human_score_1",
            "response=assistant_response,harmful=human_score_2>0.5",
            "response=assistant_response, harmful=human_score_2>=0.75,category=harm_category",
            'harmful=human_score_2!=0,"response=assistant_response"',
        ],
    )
    def test_of_other_names(self, tmp_path, text):
        columns = parse_columns(text, FIELDS, compared=("harmful",))
        assert read(write(tmp_path, "a.csv", self.PYRIT), columns=columns) == WANTED

    def test_are_told_once(self, tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_dataset(write(tmp_path, "a.csv", self.PYRIT), skip_bad_rows=True)
        assert str(caught.value).endswith(
            "a.csv: there is no column 'response' or 'harmful'; the columns here are "
            "harm_category, objective, assistant_response, human_score_1, human_score_2, "
            "data_type. Name them with --columns response=COLUMN,harmful=COLUMN"
        )

    def test_of_another_case_are_proposed(self, tmp_path):
        with pytest.raises(ConfigError, match=r"--columns response=Response,harmful=COLUMN$"):
            read_dataset(write(tmp_path, "a.csv", f"Response,label\n{KNIFE},1\n"))

    def test_of_a_file_without_names_quote_no_answer(self, tmp_path):
        with pytest.raises(ConfigError, match="begins with the names") as caught:
            read_dataset(write(tmp_path, "a.csv", f"{KNIFE},1\n{CAT},0\n"))
        assert "knife" not in str(caught.value)

    def test_words_are_compared_without_case(self, tmp_path):
        rows = [{"response": KNIFE, "is_safe": False}, {"response": CAT, "is_safe": "True"}]
        path = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
        columns = parse_columns("harmful=is_safe==false", FIELDS, compared=("harmful",))
        assert read(path, columns=columns) == WANTED

    @pytest.mark.parametrize(
        ("cell", "what"), [("", "missing"), ("nan", "not a number"), ("x", "not a number")]
    )
    def test_what_cannot_be_compared_is_named(self, tmp_path, cell, what):
        path = write(tmp_path, "a.csv", f"response,score\n{KNIFE},1\n{CAT},{cell}\n")
        columns = parse_columns("harmful=score>0.5", FIELDS, compared=("harmful",))
        with pytest.raises(ConfigError, match=f"a.csv:3: .*{what}"):
            read_dataset(path, columns=columns)

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("response", "not FIELD=COLUMN"),
            ("response=", "not FIELD=COLUMN"),
            ("answer=a", "no field 'answer'; known are response"),
            ("response=a,response=b", "twice"),
            ("response=a>1", "cannot be made"),
            ("harmful=a>much", "compares with no number"),
            ("harmful=a>", "compares with no number"),
            ("harmful=a==", "compares with no number"),
            ("harmful=a>nan", "compares with no number"),
        ],
    )
    def test_mistakes(self, text, what):
        with pytest.raises(ConfigError, match=what):
            parse_columns(text, FIELDS, compared=("harmful",))

    def test_two_of_one_name(self, tmp_path):
        with pytest.raises(ConfigError, match="two columns are named 'harmful'"):
            read_dataset(write(tmp_path, "a.csv", f"response,harmful,harmful\n{KNIFE},1,0\n"))


# What the delimiters, quotes and line ends of a file may be confused with.
TEXTS = st.lists(
    st.sampled_from(["a", "Zoë", "“quote”", ",", ";", "\t", "|", '"', "'", "\n", "\r\n", "#", "=",
                     "1", " ", "sep=;", "response", "harmful"]),
    max_size=12,
).map(lambda parts: f"w{''.join(parts)}w")  # fmt: skip
LABELS = {
    True: ["True", "1", "1.0", "yes", "harmful", "TRUE", "1,0"],
    False: ["False", "0", "0.0", "no", "harmless", "FALSE", "0,0"],
}
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@given(
    rows=st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=4),
    encoding=st.sampled_from([*UNICODE, "cp1252"]),
    delimiter=st.sampled_from(",;\t|"),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    index=st.sampled_from(["", "first", "last", "trailing"]),
    before=st.sampled_from(["", "sep=", "# a; b, c", "\n"]),
    spelling=st.integers(0, 6),
    suffix=st.sampled_from([".csv", ".tsv", ".csv.gz"]),
)
def test_every_spelling_of_a_table_is_read_or_named(
    tmp_path_factory, rows, encoding, delimiter, ends, quoting, index, before, spelling, suffix
):
    stream = io.StringIO(newline="")
    if ends == "\r":  # Python's writer leaves other line breaks without quotes then
        quoting = csv.QUOTE_ALL
    if before:
        stream.write(before + (delimiter if before == "sep=" else "") + ends)
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=ends, quoting=quoting)
    table = [["response", "harmful"], *([t, LABELS[h][spelling]] for t, h in rows)]
    for number, cells in enumerate(table):
        place = str(number - 1) if number else ""
        shapes = {"first": [place, *cells], "last": [*cells, place], "trailing": [*cells, "", ""]}
        writer.writerow(shapes.get(index, cells))
    data = stream.getvalue().encode(encoding)
    path = tmp_path_factory.mktemp("t") / f"a{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    is_plain = encoding != "cp1252" or data.isascii()
    if is_plain:
        assert read(path) == rows
    else:
        with pytest.raises(ConfigError, match="--encoding cp1252"):
            read(path)
    if encoding == "cp1252":
        assert read(path, encoding="cp1252") == rows


@given(
    data=st.binary(max_size=300)
    | st.text("response,harmful;\t\"'\n\r#01 sep=|{}[]:", max_size=200).map(str.encode),
    suffix=st.sampled_from([".csv", ".tsv", ".json", ".jsonl"]),
    is_packed=st.booleans(),
)
def test_any_bytes_are_rows_or_refused(tmp_path_factory, data, suffix, is_packed):
    path = tmp_path_factory.mktemp("t") / f"a{suffix}"
    path.write_bytes(gzip.compress(data) if is_packed else data)
    try:
        read_dataset(path)
    except ConfigError as error:
        assert str(path) in str(error)  # noqa: PT017 (either is right)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_broken_quotes_name_delimiter_line_and_remedy(tmp_path, delimiter):
    text = f'response{delimiter}harmful\n"a" b{delimiter}1\n'
    with pytest.raises(ConfigError, match=r"a.csv:2: the cells cannot be told .*double quotes"):
        read_dataset(write(tmp_path, "a.csv", text))


class TestPacked:
    def test_a_file_that_unpacks_to_far_more_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(text_tables, "LARGEST_TABLE", 1_000_000)
        row = json.dumps({"response": "a" * 90, "harmful": True}) + "\n"
        path = write(tmp_path, "a.jsonl.gz", gzip.compress(row.encode() * 20_000))
        assert path.stat().st_size < 20_000
        with pytest.raises(ConfigError, match="at most 1,000,000 characters"):
            read_dataset(path)

    @pytest.mark.parametrize("name", ["a.csv.gz", "a.json.gz", "a.jsonl.gz", "a.csv"])
    def test_one_endless_line_is_not_read_to_its_end(self, tmp_path, monkeypatch, name):
        monkeypatch.setattr(text_tables, "_LARGEST_JSON", 1_000_000)
        packer = zlib.compressobj(9, wbits=31)
        parts = [packer.compress(b'"' + b" " * 999_999) for _ in range(64)]
        path = write(tmp_path, name, b"".join([*parts, packer.flush()]))
        with pytest.raises(ConfigError, match=r"has at most .* characters"):
            read_dataset(path)

    def test_many_cells_are_one_row(self, tmp_path):
        path = write(tmp_path, "a.csv", "response,harmful\n" + ('"\n",' * 3_000_000))
        with pytest.raises(ConfigError, match="a row has at most"):
            read_dataset(path)

    def test_a_torn_file_is_named(self, tmp_path):
        data = gzip.compress(b"response,harmful\n" + b"a,1\n" * 9)
        with pytest.raises(ConfigError, match="no whole gzip file"):
            read_dataset(write(tmp_path, "a.csv.gz", data[:-12]))

    def test_a_workbook_is_named(self, tmp_path):
        with pytest.raises(ConfigError, match="a workbook or another zip archive; save the table"):
            read_dataset(write(tmp_path, "a.csv", b"PK\x03\x04rest"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[\n{"response": "a"\n', "a.json:3: this is not valid JSON"),
        ("[" * 100_000, "this is not valid JSON: it is nested"),
        ('{"a": 1, "a": 2}', "a key stands twice"),
        ("5", "this JSON is no table"),
        ('{"response": ["a"], "harmful": [1, 0]}', "this JSON is no table"),
        ('{"response": {"0": "a"}, "harmful": {"1": 1}}', "this JSON is no table"),
        ('{"columns": ["response", "harmful"], "data": [["a"]]}', "a.json:1: not a JSON object"),
        ("[[1]]", "a.json:1: not a JSON object"),
    ],
)
def test_json_that_is_no_table(tmp_path, text, what):
    with pytest.raises(ConfigError, match=what):
        read_dataset(write(tmp_path, "a.json", text))


def test_an_encoding_that_does_not_exist(tmp_path):
    path = write(tmp_path, "a.csv", f"response,harmful\n{KNIFE},1\n")
    with pytest.raises(ConfigError, match="there is no encoding 'klingon'"):
        read_dataset(path, encoding="klingon")
