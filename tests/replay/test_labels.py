"""Labels of records, from tables."""

import pytest

from guardrail.errors import ConfigError
from guardrail.replay.intervals import Label
from guardrail.replay.labels import read_labels


def test_labels_are_read_from_tables(tmp_path):
    csv = tmp_path / "a.csv"
    csv.write_text("record_id,label,remark\na,harmful,x\nb,Harmless ,\nc,unsure,\na,harmful,\n")
    wanted = {"a": Label.HARMFUL, "b": Label.HARMLESS, "c": Label.UNSURE}
    assert read_labels(csv) == wanted
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"record_id": "a", "label": "harmful"}\n')
    assert read_labels(lines) == {"a": Label.HARMFUL}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("record_id,label\na,maybe\n", "harmful, harmless or unsure"),
        ("record_id,label\n,harmful\n", "record_id"),
        ("id,label\na,harmful\n", "record_id"),
        ("record_id,label\na,harmful\na,harmless\n", "another label"),
        ("record_id,label\n", "no label"),
    ],
)
def test_what_is_no_label_is_named(tmp_path, text, problem):
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        read_labels(file)
