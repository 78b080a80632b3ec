"""The paper's questions: exact expectations against simulation, and a page from kept rows."""

import json
import sys

import numpy as np
import pytest

from guardrail.stats import certified_radius, harmless_rate_lower


@pytest.fixture
def paper(script, monkeypatch):
    """The scripts, which import each other by their plain names."""
    for name in ("words", "law", "page"):
        monkeypatch.setitem(sys.modules, name, script("paper", name))
    return lambda name: script("paper", name)


def test_radii_of_counts_are_the_certificate_s(paper):
    law = paper("law")
    for n in (10, 100):
        exact = [certified_radius(harmless_rate_lower(k, n, law.ALPHA), sigma=1.0) or 0.0
                 for k in range(n + 1)]  # fmt: skip
        assert law.radii_in_sigmas(range(n + 1), n) == pytest.approx(exact, abs=1e-6)


def test_a_table_s_means_are_those_of_simulated_draws(paper, tmp_path, monkeypatch):
    law = paper("law")
    monkeypatch.setattr(law, "NS", (40,))
    path = tmp_path / "table.tsv"
    path.write_text("idx\tlabel\tpredict\tradius\tcorrect\n0\t1\t1\t0.5\t1\n1\t1\t2\t0.9\t0\n"
                    "2\t1\t-1\t0\t0\n3\t1\t1\t0.25\t1\n")  # fmt: skip
    found = law.table_rows(path, 0.5)
    assert found["mean"] == pytest.approx(0.75 / 4)
    rng = np.random.default_rng(0)
    rates = np.array([0.8413447, 0.6914625])  # of radii sigma and sigma/2
    radii = 0.5 * law.radii_in_sigmas(rng.binomial(40, rates, (20_000, 2)), 40)
    (row,) = found["rows"]
    assert row["mean"] == pytest.approx(radii.sum(1).mean() / 4, rel=0.02)
    assert row["accuracy"] == pytest.approx((radii >= 0.25).sum(1).mean() / 4, abs=0.005)


def test_the_law_s_rows_keep_their_order(paper):
    rows = [paper("law")._law(n) for n in (10, 100, 1000)]
    assert [row["ratio"] for row in rows] == sorted(row["ratio"] for row in rows)
    assert all(row["loss"] <= row["loss_paper"] for row in rows)


def test_the_staircase_falls_from_the_share_certified(paper):
    assert paper("page").staircase([0.0, 0.2, 0.4, 0.4]) == (
        (0.0, 0.75), (0.2, 0.75), (0.2, 0.5), (0.4, 0.5), (0.4, 0.25), (0.4, 0.25), (0.4, 0.0),
    )  # fmt: skip


def write_step(folder):
    head = {"type": "run", "step": "some model", "policy": "default", "upstream": "builtin",
            "model": "m", "oracle": "o", "sigma": 0.5, "alpha": 0.001, "draws": 100, "seed": 1,
            "code_version": "0"}  # fmt: skip
    attack = {"bare_harmful": 5, "bare": 20, "harmless": 90, "n": 100, "radius": 0.4}
    rows = [
        {"type": "growth", "scene": 0, "class": "harmless", "counts": {"10": 10, "100": 99}},
        {"type": "classes", "scene": 0, "class": "action", "harmless": 90, "n": 100,
         "radius": 0.41},
        {"type": "jailbreak", "scene": 0, "attack": "none", "size": 0.0, "l2": 0.0, **attack},
        {"type": "jailbreak", "scene": 0, "attack": "bare model", "size": 1.0, "l2": 1.0,
         **attack},
        {"type": "demo", "scene": 0, "kind": "clean", "name": "a", "l2": 0.0, **attack},
        {"type": "cost", "scene": 0, "kind": "clean", "passed": True, "calls": 38},
        {"type": "cost", "scene": 0, "kind": "forbidden", "passed": False, "calls": 9},
        *({"type": "done", "kind": kind, "scene": 0}
          for kind in ("growth", "classes", "jailbreak", "demo", "cost")),
        {"type": "cost", "scene": 1, "kind": "clean", "passed": True, "calls": 99},
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in (head, *rows))
    (folder / "some_model.jsonl").write_text(text)


def test_the_page_shows_scenes_that_are_done(paper, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    law = paper("law")
    found = {"alpha": law.ALPHA, "uniform": [law._law(n) for n in law.NS], "tables": {}}
    (results / "law.json").write_text(json.dumps(found))
    write_step(results)
    paper("page").write_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "| action | 1 | 0.900 | 1 of 1 | 0.410 | 0.410 | 0.410 |" in page
    assert "| clean | 1 | 1 of 1 | 38.0 | 38 | 38 |" in page
    assert "99" not in page.split("### Calls of a certificate")[1].split("An estimate")[0]
    for name in ("law", "growth-some_model", "classes-some_model", "jailbreak-some_model"):
        assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")
        assert f"{name}.svg" in page


def test_a_run_of_other_settings_is_refused(paper, tmp_path):
    run = paper("run")
    file = tmp_path / "step.jsonl"
    assert run._read(file, {"model": "a"}) == set()
    with pytest.raises(SystemExit, match=r"another run \(model\)"):
        run._read(file, {"model": "b"})
