"""Rows written and read again, in every kind of file."""

import csv
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.tuning.formats import raw_rows, write_rows

SUFFIXES = ("jsonl", "ndjson", "csv", "parquet")
ROW = {"id": "r/1", "prompt": "what?", "response": 'two\nlines, "quoted"', "harmful": None}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_come_back(tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"rows.{suffix}"
    write_rows(path, [ROW, {**ROW, "id": "r/2"}])
    found = [row for _, row in raw_rows(path)]
    wanted = {name: value for name, value in ROW.items() if value is not None}
    assert [{k: v for k, v in row.items() if v is not None} for row in found] == [
        wanted,
        {**wanted, "id": "r/2"},
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_labels_of_parquet_wait_as_truth_values(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_rows(tmp_path / "a.parquet", [ROW])
    assert str(parquet.read_schema(tmp_path / "a.parquet").field("harmful").type) == "bool"


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1))
def test_any_text_survives_csv(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write_rows(path, [{"id": "1", "response": text}])
    assert [row for _, row in raw_rows(path)] == [{"id": "1", "response": text}]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "''=1"])
def test_no_cell_is_a_formula(tmp_path, text):
    path = tmp_path / "a.csv"
    write_rows(path, [{"response": text}])
    with path.open(encoding="utf-8-sig", newline="") as stream:
        assert [*csv.reader(stream)][1][0] == f"'{text}"
    assert [row for _, row in raw_rows(path)] == [{"response": text}]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_half_characters_are_no_error(tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"rows.{suffix}"
    write_rows(path, [{"response": "a\ud800b"}])
    assert len([*raw_rows(path)]) == 1


class TestRefusals:
    def test_labels_are_never_overwritten(self, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_text("labels")
        with pytest.raises(ConfigError, match="there already"):
            write_rows(path, [ROW])
        assert path.read_text() == "labels"

    def test_a_place_that_cannot_be_written(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be written"):
            write_rows(tmp_path / "none" / "labels.jsonl", [ROW])

    def test_a_kind_that_is_not_known(self, tmp_path):
        with pytest.raises(ConfigError, match=r"not known; give \.jsonl, \.ndjson, \.json, \.csv"):
            write_rows(tmp_path / "labels.xlsx", [ROW])
        assert [*tmp_path.iterdir()] == []

    def test_a_package_that_is_missing_leaves_no_file(self, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(ConfigError, match=r"\[parquet\]"):
            write_rows(tmp_path / "labels.parquet", [ROW])
        assert [*tmp_path.iterdir()] == []
