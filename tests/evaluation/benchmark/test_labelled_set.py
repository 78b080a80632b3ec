"""Labelled rows: every documented form, every row checked, and one drawn from each family."""

import base64
import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from guardrail.errors import ConfigError
from guardrail.evaluation.benchmark.data_forms import FIELDS
from guardrail.evaluation.benchmark.labelled_set import read_labelled_set
from guardrail.evaluation.requests import read_pictures
from guardrail.images.limits import ImageLimits
from guardrail.tuning.columns import parse_columns

LIMITS = ImageLimits()


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((50, 40), Image.Resampling.BICUBIC)


def encoded(seed):
    stream = io.BytesIO()
    picture(seed).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Six different pictures."""
    for seed in range(6):
        picture(seed).save(tmp_path / f"p{seed}.png")
    return tmp_path


def read(path, **options):
    given = {"prompt": "What?", "parameters": {}, "limits": LIMITS, **options}
    return read_labelled_set(path, **given)


def lines(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(found):
    return {row.request.name: row for _, row in found.drawn}


def seen(row):
    return [tuple(p.pixels[0, 0]) for p in read_pictures(row.request, LIMITS)]


def test_json_lines_with_all_fields(folder):
    path = lines(
        folder / "rows.jsonl",
        [
            {"id": "a", "image": "p0.png", "prompt": "Was ist das?", "harmful": 0,
             "category": "animals", "language": "de", "expected": ["ein Hund", "Hund"],
             "parameters": {"max_tokens": 7}},
            {"id": "b", "images": ["p1.png", "p2.png"], "harmful": "yes", "set": "adversarial",
             "group": "g"},
            {"image": "p3.png", "prompt": "画像には何が写っていますか", "harmful": False},
        ],
    )  # fmt: skip
    found = read(path, parameters={"max_tokens": 9})
    rows = rows_of(found)
    assert (found.rows, found.clusters, found.name) == (3, 3, "rows.jsonl")
    a, b, c = rows["a"], rows["b"], rows["line 3"]
    assert (a.harmful, a.set_name, a.category, a.language) == (False, "clean", "animals", "de")
    assert a.expected == ("ein Hund", "Hund")
    assert a.request.parameters == {"max_tokens": 7}
    assert (b.harmful, b.set_name, b.request.prompt) == (True, "adversarial", "What?")
    assert len(read_pictures(b.request, LIMITS)) == 2
    assert c.request.prompt == "画像には何が写っていますか"
    assert (c.line, c.set_name, c.expected) == (3, "clean", ())


def test_a_folder_with_its_table(folder):
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "harmful", "expected"])
        writer.writerow(["p0.png", "false", "a dog, and a cat"])
        writer.writerow(["p1.png", "true", ""])
    lines(folder / "other.jsonl", [{"no": "table of ours"}])
    rows = read(folder).drawn
    assert sorted((row.harmful, row.expected) for _, row in rows) == [
        (False, ("a dog, and a cat",)),
        (True, ()),
    ]


def test_folders_named_by_their_label(tmp_path):
    for name in ("safe", "unsafe"):
        (tmp_path / name).mkdir()
        picture(len(name)).save(tmp_path / name / "x.png")
    (tmp_path / "unsafe" / "x.txt").write_text("Ein Text?\n", encoding="utf-8")
    rows = rows_of(read(tmp_path))
    assert (rows["safe/x.png"].harmful, rows["safe/x.png"].request.prompt) == (False, "What?")
    assert rows["unsafe/x.png"].harmful
    assert rows["unsafe/x.png"].request.prompt == "Ein Text?"


def test_the_forms_of_guard_eval_harness(folder):
    url = f"data:image/png;base64,{base64.b64encode(encoded(7)).decode()}"
    path = lines(
        folder / "geh.jsonl",
        [
            {"id": "1", "prompt": "Is it safe?", "image_path": "p0.png", "unsafe": False},
            {"id": "2", "image_path": "p1.png", "label": {"unsafe": True}, "messages": [
                {"role": "user", "content": "How?"}]},
            {"id": "3", "unsafe": "unsafe", "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "And this?"},
                    {"type": "image_url", "image_url": {"url": url}},
                    {"type": "media", "media": {"modality": "image", "uri": "p2.png"}}]}]},
            {"id": "4", "prompt": "Only text.", "unsafe": "safe"},
        ],
    )  # fmt: skip
    rows = rows_of(read(path))
    assert [rows[name].harmful for name in "1234"] == [False, True, True, False]
    assert rows["2"].request.prompt == "How?"
    assert seen(rows["3"]) == [tuple(np.asarray(picture(seed))[0, 0]) for seed in (7, 2)]
    assert rows["4"].request.images == ()


def test_pictures_within_parquet_as_hugging_face_keeps_them(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": encoded(1), "path": "a.png"}, {"bytes": encoded(2), "path": None}]
    pq.write_table(pa.table({"image": cells, "harmful": [True, False]}), tmp_path / "d.parquet")
    rows = rows_of(read(tmp_path / "d.parquet"))
    assert seen(rows["line 1"]) == [tuple(np.asarray(picture(1))[0, 0])]
    assert rows["line 1"].harmful


@pytest.mark.nightly
def test_datasets_saved_to_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "unsafe": datasets.Value("bool")})
    one = datasets.Dataset.from_dict(
        {"image": [{"bytes": encoded(i), "path": None} for i in range(3)],
         "unsafe": [False, True, True]}, features=features
    )  # fmt: skip
    one.save_to_disk(str(tmp_path / "one"))
    assert sorted(row.harmful for _, row in read(tmp_path / "one").drawn) == [False, True, True]
    datasets.DatasetDict({"a": one, "b": one.select([0])}).save_to_disk(str(tmp_path / "two"))
    assert read(tmp_path / "two", split="b").rows == 1
    with pytest.raises(ConfigError, match="several splits here; name one of a, b by --split"):
        read(tmp_path / "two")
    with pytest.raises(ConfigError, match="no split 'c'"):
        read(tmp_path / "two", split="c")


def test_a_saved_dataset_needs_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(
        ConfigError, match=r"needs the package datasets; run: pip install '.*\[data"
    ):
        read(tmp_path)


def test_columns_of_other_names(folder):
    path = lines(folder / "r.jsonl", [{"path": "p0.png", "verdict": "Bad"},
                                      {"path": "p1.png", "verdict": "good"}])  # fmt: skip
    columns = parse_columns("harmful=verdict==bad", FIELDS, compared=("harmful",))
    assert sorted(row.harmful for _, row in read(path, columns=columns).drawn) == [False, True]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"image": "p0.png"}, "'harmful' is missing"),
        ({"image": "p0.png", "harmful": "perhaps"}, "'harmful' is none of true, false"),
        ({"image": 5, "harmful": True}, "neither a path nor a picture"),
        ({"image": "https://example.org/a.png", "harmful": True}, "the picture is a link"),
        ({"image": "data:image/png;base64,%%", "harmful": True}, "the base64 of the data URL"),
        ({"images": "p0.png", "harmful": True}, "'images' is not a list"),
        ({"harmful": True}, "neither a picture nor a prompt"),
        ({"image": "p0.png", "harmful": True, "parameters": [1]}, "'parameters' is not a mapping"),
        ({"image": "p0.png", "harmful": True, "expected": {"a": 1}}, "'expected' is neither"),
        ({"image": "p0.png", "harmful": True, "category": ["a"]}, "'category' is not text"),
        ({"image": "p0.png", "harmful": True, "prompt": 5}, "'prompt' is neither text nor"),
        ({"harmful": True, "messages": ["a", "b"]}, "something that is no message"),
        ({"harmful": True, "messages": [{"role": "user", "content": 5}]}, "without text or parts"),
        ({"harmful": True, "messages": [{"role": "user", "content": [{"type": "audio"}]}]},
         "neither text nor a picture"),
        ({"image": "missing.png", "harmful": True}, "missing.png"),
        ({"image": "broken.png", "harmful": True}, "broken.png"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named_by_its_line(folder, row, said):
    (folder / "broken.png").write_bytes(encoded(1)[:200])
    path = lines(folder / "r.jsonl", [{"image": "p1.png", "harmful": False}, row])
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert f"1 row cannot be used: {path}:2: " in str(caught.value)
    assert said in str(caught.value)
    found = read(path, skip_bad_rows=True)
    assert (found.rows, len(found.problems)) == (1, 1)
    assert found.problems[0].startswith(f"{path}:2: ")


def test_data_that_cannot_be_used(folder, tmp_path):
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        read(folder / "none")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="there is nothing labelled here"):
        read(empty)
    path = lines(folder / "a.jsonl", [{"image": "p0.png", "label": 1}, {"image": "p1.png"}])
    with pytest.raises(ConfigError, match="there is no column 'harmful'; the columns here are"):
        read(lines(folder / "a.jsonl", [{"image": "p0.png"}]))
    lines(folder / "b.jsonl", [])
    with pytest.raises(ConfigError, match=r"several tables here \(a.jsonl, b.jsonl\)"):
        read(folder)
    with pytest.raises(ConfigError, match="no table 'test' here"):
        read(folder, split="test")
    with pytest.raises(ConfigError, match="no rows here that can be used"):
        read(folder / "b.jsonl")
    lines(path, [{"image": "p0.png", "harmful": True, "prompt": "a"},
                 {"image": "p0.png", "harmful": False, "prompt": "a"}])  # fmt: skip
    with pytest.raises(ConfigError, match="lines 1 and 2 are one request with two labels"):
        read(path)


def test_near_copies_count_once_in_each_set(folder):
    rows = [
        {"image": "p0.png", "harmful": True, "prompt": "What?"},
        {"image": "p0.png", "harmful": True, "prompt": " what? "},
        {"image": "p0.png", "harmful": True, "prompt": "what?", "set": "adversarial"},
        {"image": "p1.png", "harmful": False, "group": "x"},
        {"image": "p2.png", "harmful": False, "group": "x"},
    ]
    found = read(lines(folder / "r.jsonl", rows))
    assert (found.rows, found.clusters, len(found.drawn)) == (5, 3, 3)
    again = read(lines(folder / "q.jsonl", rows[::-1]))
    assert [digest for digest, _ in again.drawn] == [digest for digest, _ in found.drawn]
    assert again.digest == found.digest


def test_no_more_than_asked_for_of_each_set_and_label(folder):
    rows = [{"image": f"p{i}.png", "harmful": i % 2 == 0} for i in range(6)]
    found = read(lines(folder / "r.jsonl", rows), most=2)
    assert sorted(row.harmful for _, row in found.drawn) == [False, False, True, True]
    whole = [digest for digest, _ in read(folder / "r.jsonl").drawn]
    assert [d for d in whole if d in dict(found.drawn)] == [digest for digest, _ in found.drawn]
    assert found.clusters == 6
