"""The requests of an evaluation: every row checked, families drawn once, the draw fixed."""

import contextlib
import json

import numpy as np
import pytest
from PIL import Image

from guardrail.errors import ConfigError
from guardrail.evaluation.requests import (
    FIELDS,
    read_pictures,
    read_requests,
    request_digest,
)
from guardrail.images.digest import pixels_digest
from guardrail.images.limits import ImageLimits
from guardrail.tuning.columns import parse_columns

LIMITS = ImageLimits()


def save(path, seed, size=(40, 50)):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def folder(tmp_path):
    """Six different pictures."""
    for seed in range(6):
        save(tmp_path / f"p{seed}.png", seed)
    return tmp_path


def read(path, **options):
    given = {"prompt": "What?", "parameters": {}, "limits": LIMITS, **options}
    return read_requests(path, **given)


def table(folder, rows, name="r.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def names(found):
    return [request.name for _, request in found.drawn]


def test_every_picture_of_a_folder_is_a_request(folder):
    (folder / "below").mkdir()
    save(folder / "below" / "q.JPG", 7)
    (folder / "notes.txt").write_text("no picture")
    found = read(folder, parameters={"max_tokens": 9})
    assert sorted(names(found)) == ["below/q.JPG", *(f"p{i}.png" for i in range(6))]
    assert (found.requests, found.clusters) == (7, 7)
    _, request = found.drawn[0]
    chat = request.chat("m")
    assert (chat.prompt, chat.pictures, chat.parameters) == ("What?", 1, {"max_tokens": 9})


def test_a_row_says_what_it_asks(folder):
    rows = [
        {"image": "p0.png", "prompt": "Mine", "parameters": {"max_tokens": 5}, "id": "x"},
        {"images": ["p1.png", "p2.png"], "id": 7, "more": [1]},
    ]
    found = read(table(folder, rows), parameters={"max_tokens": 9, "top_p": 0.5})
    by_name = {request.name: request for _, request in found.drawn}
    assert by_name["x"].chat("m").parameters == {"max_tokens": 5, "top_p": 0.5}
    assert by_name["x"].prompt == "Mine"
    assert by_name["7"].chat("m").pictures == 2
    assert by_name["7"].prompt == "What?"
    assert [len(read_pictures(request, LIMITS)) for request in by_name.values()].count(2) == 1


def test_csv_rows_name_one_picture(folder):
    path = folder / "r.csv"
    path.write_text("prompt,image,group\nOne,p0.png,g\nTwo,p1.png,\n")
    found = read(path)
    assert sorted(r.prompt for _, r in found.drawn) == ["One", "Two"]
    assert {r.group for _, r in found.drawn} == {"g", None}


def test_tables_of_other_names_and_kinds(folder):
    path = folder / "r.csv"
    path.write_text(
        'sep=;\n;question;path;paths;parameters\n0;One;p0.png;;\n'
        '1;Two;;"[""p1.png"", ""p2.png""]";"{""max_tokens"": 3}"\n'
    )  # fmt: skip
    columns = parse_columns("prompt=question,image=path,images=paths", FIELDS)
    found = {r.prompt: r for _, r in read(path, columns=columns).drawn}
    assert [image.name for image in found["Two"].images] == ["p1.png", "p2.png"]
    assert (found["Two"].parameters, found["One"].parameters) == ({"max_tokens": 3}, {})


def test_missing_columns_are_told_once(folder):
    path = table(folder, [{"question": "x", "picture": "p0.png"}] * 9)
    with pytest.raises(ConfigError) as caught:
        read(path, skip_bad_rows=True)
    assert str(caught.value) == (
        f"{path}: there is no column 'image'; the columns here are question, picture. Name them "
        "with --columns image=COLUMN"
    )


def test_equal_problems_are_told_once(folder):
    path = table(folder, [{"image": "p0.png"}, *[{"image": 3}] * 9])
    with pytest.raises(ConfigError, match=r"9 requests .*jsonl:2: 'image' is .*and in 8 more: 3,"):
        read(path)


def test_one_of_each_family_is_drawn(folder):
    Image.open(folder / "p0.png").convert("RGB").save(folder / "p0.jpg", quality=60)
    rows = [
        {"id": "a", "image": "p0.png"},
        {"id": "a again", "image": "p0.jpg", "prompt": " what?"},
        {"id": "other words", "image": "p0.png", "prompt": "Who?"},
        {"id": "b", "image": "p1.png", "group": "g"},
        {"id": "b2", "image": "p2.png", "prompt": "Else", "group": "g"},
    ]
    found = read(table(folder, rows))
    assert (found.requests, found.clusters, len(found.drawn)) == (5, 3, 3)
    for pair in ({"a", "a again"}, {"b", "b2"}):
        assert len(pair & set(names(found))) == 1


def test_the_draw_is_a_function_of_seed_and_content_alone(folder):
    rows = [{"id": i, "image": f"p{i % 6}.png", "prompt": f"{i}", "group": f"{i // 4}"}
            for i in range(24)]  # fmt: skip
    found = read(table(folder, rows))
    again = read(table(folder, rows[::-1], "s.jsonl"))
    assert names(found) == names(again)
    assert found.digest == again.digest
    others = {tuple(names(read(table(folder, rows), seed=seed))) for seed in range(5)}
    assert len(others) == 5
    assert names(read(table(folder, rows), most=2)) == names(found)[:2]
    changed = [{**rows[0], "prompt": "else"}, *rows[1:]]
    assert read(table(folder, changed)).digest != found.digest


def test_every_member_of_a_family_can_be_drawn(folder):
    rows = [{"id": i, "image": f"p{i}.png", "prompt": f"{i}", "group": "g"} for i in range(4)]
    path = table(folder, rows)
    assert {names(read(path, seed=seed))[0] for seed in range(40)} == {"0", "1", "2", "3"}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "x"}, "there is no picture"),
        ({"image": 3}, "'image' is not a path"),
        ({"images": []}, "there is no picture"),
        ({"images": "p0.png"}, "not a list of paths"),
        ({"images": ["p0.png", ""]}, "not a list of paths"),
        ({"image": "p0.png", "prompt": ["x"]}, "'prompt' is not text"),
        ({"image": "p0.png", "group": True}, "'group' is not text"),
        ({"image": "p0.png", "id": 1.5}, "'id' is not text"),
        ({"image": "p0.png", "parameters": [1]}, "'parameters' is not a mapping"),
        ({"image": "none.png"}, "cannot be read"),
        ({"image": "r.jsonl"}, "not a PNG|format|media"),
        ([1], "not a JSON object"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(folder, row, problem):
    path = table(folder, [{"image": "p0.png"}, row])
    with pytest.raises(ConfigError, match=rf"1 request cannot be used: .*({problem})"):
        read(path)
    found = read(path, skip_bad_rows=True)
    assert len(found.drawn) == len(found.problems) == 1


def test_an_empty_set_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there are no requests here"):
        read(tmp_path)


def test_many_problems_are_counted(folder):
    path = table(folder, [{"image": "no.png"}] * 13)
    with pytest.raises(ConfigError, match=r"13 requests cannot be used.*and 3 more"):
        read(path)


def test_the_digest_is_of_what_is_asked_and_shown(folder):
    found = read(table(folder, [{"image": "p0.png", "parameters": {"max_tokens": 3}}]))
    ((digest, request),) = found.drawn
    (picture,) = read_pictures(request, LIMITS)
    assert digest == request_digest(request, [pixels_digest((picture,))])
    assert digest != request_digest(request, [b"else"])


def test_reading_can_be_watched(folder):
    steps = []

    @contextlib.contextmanager
    def watch(total):
        steps.append(total)
        yield lambda: steps.append("step")

    read(folder, watch=watch)
    assert steps == [6, *["step"] * 6]
