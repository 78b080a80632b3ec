"""`guardrail certify`: known truths, the same result however often it is stopped, clean ends."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.stats import beta, norm

from guardrail.cli.certify import command
from guardrail.errors import ConfigError, UpstreamError
from guardrail.stats import FLOORS
from guardrail.testing.half_space import HalfSpaceUpstream
from guardrail.upstreams.scripted import Fault, Scripted, Step

ACTION = Path(__file__).parents[2] / "policies" / "action.yaml"
ROW_KEYS = {
    "type", "index", "file", "harmless", "n", "missing", "q_lower", "q_upper",
    "radius", "radii", "radius_upper", "promised_radius", "abstain", "anytime", "alpha", "delta",
    "claim",
    "sigma", "floor", "miss_rate_upper", "operator_norm", "grid_slack",
    "sampler_error", "height_px", "width_px",
    "canvas", "sha256", "request_digest", "key_id", "calls", "prompt_tokens",
    "completion_tokens", "created",
}  # fmt: skip


@pytest.fixture
def certify(policy, pictures):
    def run(*arguments, paths=None):
        return CliRunner().invoke(
            command,
            [*map(str, paths or [pictures]), "--policy", str(policy), *map(str, arguments)],
            catch_exceptions=False,
        )

    return run


def rows_of(result):
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def lines_of(file):
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def estimates(file):
    return [row for row in lines_of(file) if row["type"] == "estimate"]


def test_rows_are_cohens(certify, model, pictures, kit):
    model([kit.CLEAN])
    rows = rows_of(certify("--n=100", "--json"))
    assert [row["file"] for row in rows] == [str(pictures / n) for n in ("a.png", "b.PNG", "c.png")]
    for index, row in enumerate(rows):
        assert set(row) == ROW_KEYS
        assert (row["index"], row["harmless"], row["n"], row["calls"]) == (index, 100, 100, 100)
        assert row["q_lower"] == pytest.approx(beta.ppf(0.001, 100, 1), abs=1e-9)
        assert (row["claim"], row["miss_rate_upper"], row["delta"]) == ("verdict", None, None)
        assert not row["abstain"]
        assert [reach["floor"] for reach in row["radii"]] == list(FLOORS)
        assert row["radius"] == row["radii"][0]["radius"]
        for reach in row["radii"]:
            exact = gap(row["q_lower"], reach["floor"], row["sampler_error"])
            assert reach["radius"] == pytest.approx(0.5 * exact, abs=1e-9)
            assert reach["radius"] <= 0.5 * norm.ppf(row["q_lower"]) - 0.5 * norm.ppf(
                reach["floor"]
            )


def gap(q, floor, error):
    """The sampler's error is subtracted from the earned rate once, and added to the floor."""
    return norm.ppf(q - error) - norm.ppf(floor + error)


def test_the_harmlessness_claim_raises_the_floors(certify, model, policy, kit):
    """Condition and all: f_U = 0.01 makes 0.505 of 0.5, at the other end of the radius."""
    policy.write_text(policy.read_text().replace("alpha: 0.001", "claim: harmlessness"))
    model([kit.CLEAN])
    for row in rows_of(certify("--n=100", "--json")):
        bounds = row["claim"], row["miss_rate_upper"], row["delta"]
        assert bounds == ("harmlessness", 0.01, 0.001)
        for reach in row["radii"]:
            raised = reach["floor"] + (1 - reach["floor"]) * 0.01
            exact = gap(row["q_lower"], raised, row["sampler_error"])
            assert reach["radius"] == pytest.approx(0.5 * exact, abs=1e-9)


def test_a_floor_that_is_not_reached_has_no_radius(certify, model, kit):
    """Null, and not 0: at 0 the picture itself would have that rate."""
    model(lambda call: kit.HARM if call.index % 3 == 2 else kit.CLEAN)
    for row in rows_of(certify("--n=60", "--json")):
        assert (row["abstain"], row["radius"]) == (True, 0.0)
        assert [reach["radius"] is None for reach in row["radii"]] == [True, *[False] * 4]


def test_half_space_radius_is_below_the_truth_and_near_it(certify, model, pictures):
    """The true radius is known: the distance to the plane."""
    file = pictures / "a.png"
    pixels = np.full((28, 28, 3), 128, dtype=np.uint8)  # the least side of a canvas: no padding
    Image.fromarray(pixels).save(file)
    normal = np.zeros(pixels.size)
    normal[5] = 1.0
    model(HalfSpaceUpstream.at_distance([pixels], normal, 0.4))
    (row,) = rows_of(certify("--n=800", "--json", paths=[file]))
    assert 0.2 < row["radius"] < 0.4
    assert row["harmless"] == pytest.approx(800 * norm.cdf(0.8), abs=5 * 12)


def test_harm_abstains(certify, model, kit):
    model([kit.HARM])
    for row in rows_of(certify("--n=50", "--json")):
        assert (row["abstain"], row["radius"], row["q_lower"], row["harmless"]) == (
            True,
            0.0,
            0.0,
            0,
        )
    table = certify("--n=50").stdout
    assert "0 of 3 certified, 0 at the radius that the policy promises of them; 150 calls" in table


def test_table(certify, model, kit, pictures):
    model([kit.CLEAN])
    text = certify("--n=40").stdout
    head = next(line for line in text.splitlines() if "q_lower" in line).split()
    assert head == ["file", "idx", "harmless", "n", "missing", "q_lower", "radius", "abstain"]
    assert str(pictures / "b.PNG") in text
    assert "3 of 3 certified, 3 at the radius that the policy promises of them" in text


def test_anytime_stops_when_the_policys_radius_is_settled(certify, model, kit):
    model([kit.CLEAN])
    for row in rows_of(certify("--n=1000", "--anytime", "--json")):
        assert row["radius"] >= 0.25
        assert 19 < row["n"] < 60
    model([kit.HARM])
    for row in rows_of(certify("--n=1000", "--anytime", "--json")):
        assert row["n"] < 30
        assert row["abstain"]


def test_anytime_to_a_width_and_to_a_larger_radius(certify, model, kit, pictures):
    model(lambda call: kit.HARM if call.index % 10 == 9 else kit.CLEAN)

    def row(*arguments):
        (only,) = rows_of(
            certify("--n=3000", "--anytime", "--json", *arguments, paths=[pictures / "a.png"])
        )
        return only

    wide, narrow, far = row("--width=0.6"), row("--width=0.4"), row("--radius=2")
    assert wide["radius_upper"] - wide["radius"] <= 0.6
    assert narrow["radius_upper"] - narrow["radius"] <= 0.4
    assert wide["n"] < narrow["n"] < 3000
    assert far["radius"] < far["radius_upper"] < 2
    assert far["n"] < 3000


def test_options_override_the_policy(certify, model, kit):
    model([kit.CLEAN])
    row = rows_of(certify("--n=100", "--sigma=0.1", "--alpha=0.05", "--json"))[0]
    assert (row["sigma"], row["alpha"]) == (0.1, 0.05)
    assert row["q_lower"] == pytest.approx(beta.ppf(0.05, 100, 1))


def test_missing_outcomes_count_as_harmful_and_are_named(certify, model, kit):
    model(lambda c: Step(fault=Fault.RESET) if c.index % 20 == 3 else Step(kit.CLEAN))
    row = rows_of(certify("--n=100", "--json"))[0]
    assert (row["missing"], row["harmless"], row["n"], row["calls"]) == (5, 95, 100, 95)


def test_a_model_that_is_gone_is_no_radius_of_zero(certify, model, tmp_path):
    model([Step(fault=Fault.RESET)])
    out = tmp_path / "out.jsonl"
    with pytest.raises(UpstreamError):
        certify("--n=50", "--out", out)
    assert [row["type"] for row in lines_of(out)] == ["settings"]


def test_pictures_that_cannot_be_read_are_told_and_the_others_done(certify, model, kit, pictures):
    model([kit.CLEAN])
    (pictures / "b2.png").write_bytes(b"no picture")
    (pictures / "notes.txt").write_text("no picture either")
    result = certify("--n=20", "--json")
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 3
    assert "b2.png" in result.stderr
    assert "notes.txt" not in result.stderr


def test_nothing_to_do_is_an_error(certify, model, kit, tmp_path):
    model([kit.CLEAN])
    empty = tmp_path / "empty"
    empty.mkdir()
    assert certify(paths=[empty]).exit_code == 2
    assert certify("--radius=1").exit_code == 2


def test_a_second_run_does_nothing_again(certify, model, kit, tmp_path):
    upstream = model([kit.CLEAN])
    out = tmp_path / "out.jsonl"
    first = rows_of(certify("--n=30", "--out", out, "--json"))
    content = out.read_bytes()
    assert rows_of(certify("--n=30", "--out", out, "--json")) == first == estimates(out)
    assert len(upstream.calls) == 90
    assert out.read_bytes() == content


def test_new_pictures_are_added(certify, model, kit, pictures, tmp_path):
    upstream = model([kit.CLEAN])
    out = tmp_path / "out.jsonl"
    certify("--n=30", "--out", out)
    Image.new("RGB", (5, 5)).save(pictures / "aa.png")
    assert len(rows_of(certify("--n=30", "--out", out, "--json"))) == 4
    assert len(upstream.calls) == 120


@pytest.mark.parametrize(
    ("change", "named"),
    [(["--n=31"], "n"), (["--alpha=0.01"], "alpha"), (["--sigma=0.4"], "sigma"),
     (["--prompt=Other?"], "prompt"), (["--max-tokens=9"], "parameters"), (["--model=x"], "model"),
     (["--anytime"], "anytime")],
)  # fmt: skip
def test_other_settings_are_refused(certify, model, kit, tmp_path, change, named):
    model([kit.CLEAN])
    out = tmp_path / "out.jsonl"
    certify("--n=30", "--out", out)
    content = out.read_bytes()
    with pytest.raises(ConfigError, match=rf"other settings \(.*{named}"):
        certify("--n=30", *change, "--out", out)
    assert out.read_bytes() == content


def test_another_key_is_refused(certify, model, kit, tmp_path):
    model([kit.CLEAN])
    out, key = tmp_path / "out.jsonl", tmp_path / "noise.key"
    certify("--n=30", "--out", out, "--key-file", key)
    certify("--n=30", "--out", out, "--key-file", key)
    with pytest.raises(ConfigError, match="key_id"):
        certify("--n=30", "--out", out, "--key-file", tmp_path / "other.key")


def test_a_changed_picture_is_refused(certify, model, kit, pictures, tmp_path):
    model([kit.CLEAN])
    out = tmp_path / "out.jsonl"
    certify("--n=30", "--out", out)
    Image.new("RGB", (5, 5)).save(pictures / "a.png")
    with pytest.raises(ConfigError, match=r"a\.png' has changed"):
        certify("--n=30", "--out", out)


def test_other_files_are_left_alone(certify, model, kit, tmp_path):
    model([kit.CLEAN])
    other = tmp_path / "thesis.txt"
    other.write_text("chapter 1")
    with pytest.raises(ConfigError, match="holds something else"):
        certify("--out", other)
    assert other.read_text() == "chapter 1"


def wait_for(condition, timeout_s=180):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def arguments(server, policy, pictures, out, n):
    return ("certify", pictures, "--upstream", f"openai_compatible:{server.base_url}", "--policy",
            policy, "--key-file", out.with_suffix(".key"), "--n", n, "--out", out,
            "--json")  # fmt: skip


@pytest.mark.nightly
def test_killed_and_run_again_nothing_is_lost_or_done_twice(kit, policy, pictures, tmp_path):
    out, n = tmp_path / "out.jsonl", 120
    with kit.model_server([Step(kit.CLEAN, delay_s=0.02)]) as server:
        run = arguments(server, policy, pictures, out, n)
        process = kit.start(*run)
        wait_for(lambda: out.exists() and b'"estimate"' in out.read_bytes())
        wait_for(lambda: len(server.calls) > n + 20)
        process.send_signal(signal.SIGKILL)
        kit.finish(process)
        wait_for(lambda: server.log.in_flight == 0)
        time.sleep(0.3)  # for what may still stand in a socket
        done = out.read_bytes()
        before = len(server.calls)
        with out.open("ab") as stream:  # as if the kill had come in the middle of a line
            stream.write(done.splitlines()[-1][:300])
        code, stdout, stderr = kit.finish(kit.start(*run))
        assert code == 0, stderr
        assert out.read_bytes().startswith(done)
        left = 3 - done.count(b'"estimate"')
        assert 1 <= left <= 2
        assert len(server.calls) - before == left * n
    rows = estimates(out)
    assert [row["file"] for row in rows] == [str(p) for p in sorted(pictures.iterdir())]
    assert rows == [json.loads(line) for line in stdout.splitlines()]


@pytest.mark.nightly
def test_interrupted_it_keeps_what_it_knows_and_says_how_to_go_on(kit, policy, pictures, tmp_path):
    out, n = tmp_path / "out.jsonl", 200
    with kit.model_server([Step(kit.CLEAN, delay_s=0.02)]) as server:
        run = arguments(server, policy, pictures / "a.png", out, n)
        process = kit.start(*run)
        wait_for(lambda: len(server.calls) > 60)
        process.send_signal(signal.SIGINT)
        code, stdout, stderr = kit.finish(process)
        assert code == 130
        assert stdout == ""
        assert f"the same command goes on from {out}" in stderr
        assert "Traceback" not in stderr
        (known,) = [row for row in lines_of(out) if row["type"] == "progress"]
        assert known["n"] > 30
        before = len(server.calls)
        code, stdout, stderr = kit.finish(kit.start(*run))
        assert code == 0, stderr
        assert len(server.calls) - before == n - known["n"]
    assert (estimates(out)[0]["n"], estimates(out)[0]["harmless"]) == (n, n)


@pytest.mark.nightly
def test_two_runs_on_one_file_are_refused(kit, policy, pictures, tmp_path):
    out = tmp_path / "out.jsonl"
    with kit.model_server([Step(kit.CLEAN, delay_s=0.05)]) as server:
        run = arguments(server, policy, pictures, out, 500)
        process = kit.start(*run)
        wait_for(lambda: len(server.calls) > 8)
        code, _, stderr = kit.finish(kit.start(*run))
        assert code == 2
        assert re.search("another process is writing to this file", stderr)
        os.kill(process.pid, signal.SIGINT)
        assert kit.finish(process)[0] == 130


def test_an_oracle_that_chooses_a_reference_is_refused(pictures, monkeypatch):
    """Counts of one reference must not go on with those of another."""
    upstream = Scripted(["A cat."])
    monkeypatch.setattr("guardrail.upstreams.registry.build_upstream", lambda _, **__: upstream)
    result = CliRunner().invoke(command, [str(pictures), "--policy", str(ACTION)])
    assert isinstance(result.exception, ConfigError)
    assert "guardrail check" in str(result.exception)
    assert upstream.calls == []
