"""Benchmarks of models of one's own: they run at a tiny size, and say what they leave out."""

import importlib
import json
import sys

import pytest

pytest.importorskip("transformers")


@pytest.fixture
def local_shape(script, monkeypatch):
    for name in ("shape", "local_shape_run"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return script("local_shape", "run")


@pytest.fixture
def local_model(script):
    return script("local_model", "run")


def measure_tiny(local_shape, folder, **more):
    """The rows and the table of a shape that takes no time."""
    options = {"device": "cpu", "shape": "tiny", "batches": 2, "tokens": 2, "side": 28,
               "prefix-batch": 2, "certificates": 0, **more}  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    local_shape.main([*words, "--out", str(folder)])
    (file,) = (folder / "results").iterdir()
    return json.loads(file.read_text())["rows"], (folder / "table.md").read_text()


@pytest.mark.nightly
def test_a_tiny_shape_is_measured_on_a_processor(local_shape, tmp_path):
    (answers, prefix), table = measure_tiny(local_shape, tmp_path)
    assert (answers["what"], answers["batch"], prefix["what"]) == ("answers", 2, "prefix")
    assert prefix["same_tokens"]
    assert 0 < prefix["prefix_tokens"] < prefix["prompt_tokens"]
    assert "tiny on cpu" in table


@pytest.mark.nightly
def test_certificates_are_those_of_the_default_policy(local_shape, tmp_path):
    (certificate, *_), table = measure_tiny(local_shape, tmp_path, certificates=1)
    assert certificate["reason"] == "certified"
    assert certificate["calls"] >= 19  # no plan of the default policy passes with fewer
    assert f"{certificate['calls']} answers" in table


def test_without_a_gpu_nothing_is_measured(local_shape, tmp_path, monkeypatch, capsys):
    torch = importlib.import_module("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    local_shape.main(["--out", str(tmp_path)])
    assert "skipped: no GPU" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_published_shape_has_seven_billion_parameters(local_shape):
    torch = importlib.import_module("torch")
    shape = local_shape.SHAPES["llava-1.6-7b"]
    processor = local_shape.new_processor(local_shape.SHAPES["tiny"])
    with torch.device("meta"):
        model = local_shape.new_model(shape, processor, device="meta", dtype="bfloat16")
    assert 7.0e9 < sum(p.numel() for p in model.parameters()) < 7.2e9
    assert shape.tile_tokens == 576


def test_a_useful_answer_holds_every_word(local_model):
    assert local_model.holds("A Dog, on red.", ["dog", "red"])
    assert not local_model.holds("A dogfish on red.", ["dog", "red"])


def test_the_page_says_what_was_not_measured(local_model, tmp_path):
    rows = [
        {"passed": True, "reason": "certified", "calls": 21, "seconds": 2.0, "useful": True,
         "useful_bare": True},
        {"passed": False, "reason": "harmful", "calls": 9, "seconds": 1.0, "useful": False,
         "useful_bare": None},
    ]  # fmt: skip
    arguments = local_model.argparse.Namespace(
        upstream="transformers:org/model", policy="default", draws=100, forbidden=None,
        clean=None, scenes=2, max_tokens=64,
    )  # fmt: skip
    facts = {"model": "model", "revision": "r", "oracle": "o"}
    page = local_model.fill_template(arguments, facts, rows, None)
    assert local_model.NOT_MEASURED in page
    assert "| clean requests passed | 1 of 2 |" in page
    assert "| useful answers, delivered | 1 of 2 |" in page
    assert "| useful answers, bare model | 1 of 1 |" in page
    assert "| seconds a certificate, median (slowest) | 2.00 (2.00) |" in page


def test_a_log_of_another_run_is_refused(local_model, tmp_path):
    log = tmp_path / "log.jsonl"
    assert local_model._read_log(log, {"model": "a"}) == {}
    with pytest.raises(SystemExit, match=r"another run \(model\)"):
        local_model._read_log(log, {"model": "b"})
