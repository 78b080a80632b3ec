"""Rows of folders, tables and buckets; what cannot be used is told of its row."""

import json
import sys

import pytest

from guardrail.bulk.rows import fill_prompt, read_image
from guardrail.bulk.sources import FIELDS, open_source
from guardrail.errors import ConfigError, RequestError
from guardrail.tuning.columns import parse_columns

QUESTION = "What is it?"


def table_of(rows=None, **columns):
    import pyarrow

    return pyarrow.table(columns) if rows is None else pyarrow.Table.from_pylist(rows)


def rows_of(place, prompt=QUESTION, **options):
    with open_source(str(place), prompt=prompt, **options) as source:
        return sorted(source.rows(), key=lambda row: (row.number, row.name)), source.total


def test_a_folder_is_read_with_the_folders_below_it(pictures):
    folder = pictures[0].parent
    below = folder / "more"
    below.mkdir()
    (below / "x.JPG").write_bytes(b"no picture, which is found out later")
    (folder / "notes.txt").write_text("not a picture")
    rows, total = rows_of(folder, "Is {name} fine?")
    assert total == 11
    assert [row.name for row in rows] == [*(f"{i}.png" for i in range(10)), "more/x.JPG"]
    assert rows[0].prompt == "Is 0.png fine?"
    assert read_image(rows[0], 10**6) == pictures[0].read_bytes()
    assert rows[0].identity == "0.png"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_names_its_pictures_and_questions(tmp_path, pictures, kind):
    rows = [{"image": "pictures/1.png", "prompt": "First?", "id": "a"},
            {"image": "pictures/2.png", "prompt": None, "id": "b"},
            {"image": None, "prompt": "No picture?", "id": "c"}]  # fmt: skip
    file = tmp_path / f"table.{kind}"
    if kind == "csv":
        lines = [",".join(row[name] or "" for name in ("image", "prompt", "id")) for row in rows]
        file.write_text("\n".join(["image,prompt,id", *lines]) + "\n")
    elif kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(table_of(rows=rows), file)
    found, total = rows_of(file)
    assert total == 3
    assert [(row.name, row.prompt) for row in found[:2]] == [("a", "First?"), ("b", QUESTION)]
    assert read_image(found[0], 10**6) == pictures[1].read_bytes()
    assert "there is no picture" in found[2].problem
    with pytest.raises(RequestError, match="there is no picture"):
        read_image(found[2], 10**6)


def test_pictures_may_stand_in_a_parquet_file(tmp_path, pictures):
    parquet = pytest.importorskip("pyarrow.parquet")
    data = [file.read_bytes() for file in pictures]
    plain = tmp_path / "plain.parquet"
    parquet.write_table(table_of(image=data), plain)
    nested = tmp_path / "nested.parquet"
    cells = [{"bytes": one, "path": f"{i}.png"} for i, one in enumerate(data)]
    parquet.write_table(table_of(picture=cells), nested)
    rows, total = rows_of(plain)
    assert total == 10
    assert [row.image for row in rows] == data
    rows, _ = rows_of(nested, columns=parse_columns("image=picture", FIELDS))
    assert [row.image for row in rows] == data


def test_a_template_is_filled_from_the_columns(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("image,title,prompt\na.png,A cat,Which?\nb.png,,Which?\n")
    rows, _ = rows_of(file, "{prompt} Is it {title}?")
    assert rows[0].prompt == "Which? Is it A cat?"
    assert "it has no 'title'" in rows[1].problem


@pytest.mark.parametrize(
    ("template", "own", "filled"),
    [("Q", "", "Q"), ("Q", "own", "own"), ("{a}!", "own", "1!"), ("{a} {a.b} {not this}", "",
     "1 2 {not this}")],
)  # fmt: skip
def test_which_question_a_row_gets(template, own, filled):
    assert fill_prompt(template, own, {"a": 1, "a.b": 2}) == filled


@pytest.mark.parametrize(
    ("place", "content", "problem"),
    [
        ("nothing", None, "no such file or folder"),
        ("empty/", None, "there are no pictures here"),
        ("a.csv", "picture,prompt\nx.png,y\n", "there is no column 'image'"),
        ("a.xlsx", "x", "this kind of file is not known"),
    ],
)
def test_a_source_that_is_none_is_named_with_a_remedy(tmp_path, place, content, problem):
    path = tmp_path / place
    if place.endswith("/"):
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=problem):
        rows_of(path)


class TestBuckets:
    @pytest.fixture
    def bucket(self, pictures):
        """Three pictures and two tables in a bucket that is memory."""
        fsspec = pytest.importorskip("fsspec")
        system = fsspec.filesystem("memory")
        for file in pictures[:3]:
            system.pipe(f"/guard/in/{file.name}", file.read_bytes())
        system.pipe("/guard/in/notes.txt", b"not a picture")
        table = b"image\nin/0.png\nmemory://guard/in/1.png\nhttps://a.example/x.png\n"
        system.pipe("/guard/table.csv", table)
        yield "memory://guard"
        system.rm("/guard", recursive=True)

    def test_a_prefix_is_a_folder(self, bucket, pictures):
        rows, total = rows_of(f"{bucket}/in")
        assert total is None
        assert [row.name for row in rows] == ["0.png", "1.png", "2.png"]
        assert read_image(rows[2], 10**6) == pictures[2].read_bytes()
        with pytest.raises(RequestError, match="more than 10 bytes"):
            read_image(rows[2], 10)

    def test_a_table_names_pictures_beside_it_or_by_url_and_none_of_the_web(self, bucket, pictures):
        rows, total = rows_of(f"{bucket}/table.csv")
        assert total == 3
        assert [read_image(row, 10**6) for row in rows[:2]] == [
            file.read_bytes() for file in pictures[:2]
        ]
        assert "not fetched from the web" in rows[2].problem

    def test_what_is_not_there_is_told_of_its_row(self, bucket):
        rows, _ = rows_of(f"{bucket}/in")
        lost = type(rows[0])("x", "", f"{bucket}/in/x.png")
        with pytest.raises(RequestError, match="it is not there"):
            read_image(lost, 10**6)
        with pytest.raises(ConfigError, match="there is nothing here"):
            rows_of(f"{bucket}/none")

    def test_what_is_missing_is_named_with_how_to_install_it(self, monkeypatch):
        with pytest.raises(ConfigError, match="no kind of bucket 'nosuch'"):
            rows_of("nosuch://x")
        monkeypatch.setitem(sys.modules, "fsspec", None)
        monkeypatch.setitem(sys.modules, "fsspec.core", None)
        with pytest.raises(ConfigError, match=r"pip install 'certified-guardrail\[bucket\]'"):
            rows_of("s3://bucket/prefix")
