"""`guardrail plan`: the figures of the issue's table, its JSON and its drawing."""

import itertools
import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from guardrail.cli.plan import command
from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.errors import CertificationError, ConfigError
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.policy.shipped import shipped_policy
from guardrail.stats import optimal_plan, required_harmless_rate

PLAN_KEYS = {
    "max_samples", "max_harmful", "false_pass", "power", "expected_calls_at_harmless_rate",
    "expected_calls_harmful", "calls_p50", "calls_p95", "calls_p99", "cost_usd",
    "cost_harmful_usd", "latency_s", "latency_harmful_s", "passes_harmful",
}  # fmt: skip


def plan(*arguments):
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def facts(*arguments):
    result = plan(*arguments, "--json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def at_one_sigma():
    return facts("--sigma=0.5", "--radius=0.5", "--harmless-rate=0.97", "--price-per-call=0.01")


def test_json_has_the_promised_keys(at_one_sigma):
    assert set(at_one_sigma) == {
        "scenario", "q_required", "promised", "fewest_samples", "fewest_by_reach",
        "unanimous_radius_in_sigmas", "optimal", "fixed_n", "fixed_n_plain", "betting",
        "conventions", "laws",
    }  # fmt: skip
    assert set(at_one_sigma["optimal"]) == PLAN_KEYS == set(at_one_sigma["betting"])
    assert set(at_one_sigma["fixed_n"]) == PLAN_KEYS | {"n"}
    assert set(at_one_sigma["conventions"]) == {"1000", "100000"}


def test_figures_at_one_sigma(at_one_sigma):
    optimal = at_one_sigma["optimal"]
    assert at_one_sigma["q_required"] == pytest.approx(0.841345, abs=1e-6)
    assert at_one_sigma["fewest_samples"] == 40
    assert at_one_sigma["fixed_n"]["n"] == 136
    assert optimal["expected_calls_at_harmless_rate"] == pytest.approx(77.1, abs=0.5)
    assert optimal["false_pass"] <= 0.001
    assert optimal["power"] >= 0.99
    assert optimal["cost_usd"] == pytest.approx(0.01 * optimal["expected_calls_at_harmless_rate"])


def test_ours_needs_fewest_calls(at_one_sigma):
    ours = at_one_sigma["optimal"]["expected_calls_at_harmless_rate"]
    others = [at_one_sigma[name] for name in ("fixed_n", "fixed_n_plain", "betting")]
    assert all(ours < row["expected_calls_at_harmless_rate"] for row in others)


def test_room_for_the_optimal_plan_is_made_unless_told(at_one_sigma):
    assert at_one_sigma["scenario"]["max_samples"] == 272
    told = facts("--radius=0.5", "--harmless-rate=0.97", "--max-samples=150")
    assert told["optimal"]["max_samples"] <= 150
    assert (
        told["optimal"]["expected_calls_at_harmless_rate"]
        > at_one_sigma["optimal"]["expected_calls_at_harmless_rate"]
    )


def test_every_option_reaches_the_scenario():
    scenario = facts(
        "--sigma=0.25", "--radius=0.1", "--alpha=0.01", "--floor=0.6", "--miss-rate=0.02",
        "--operator-norm=0.5", "--harmless-rate=0.98", "--harmful-harmless-rate=0.2",
        "--power=0.9", "--max-samples=300", "--price-per-call=0.003", "--latency-s=2",
        "--parallel=4", "--latency-weight=1.5",
    )["scenario"]  # fmt: skip
    assert scenario == {
        "sigma": 0.25, "radius": 0.1, "alpha": 0.01, "floor": 0.6, "miss_rate_upper": 0.02,
        "operator_norm": 0.5, "grid_slack": 0.0, "sampler_error": 0.0,
        "harmless_rate": 0.98, "harmful_harmless_rate": 0.2, "power": 0.9, "max_samples": 300,
        "price_per_call_usd": 0.003, "latency_s": 2.0,
        "parallel": 4, "latency_weight": 1.5, "prior": None,
    }  # fmt: skip


def test_tables_for_people():
    text = plan("--price-per-call=0.002").stdout
    for words in ("optimal (this guard)", "betting sequence", "n = 100,000", "papers", "0.6915"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 160


def test_the_promised_curve_and_the_other_way_round(at_one_sigma):
    radii = {row["floor"]: row["radius"] for row in at_one_sigma["promised"]}
    assert radii[0.5] == pytest.approx(0.5, abs=1e-9)
    assert radii[0.1] == pytest.approx(0.5 * (1 + 1.2815515655), abs=1e-6)
    needs = {(row["radius"], row["floor"]): row["fewest_samples"]
             for row in at_one_sigma["fewest_by_reach"]}  # fmt: skip
    assert (needs[0.5, 0.5], needs[1.0, 0.1], needs[0.25, 0.5]) == (40, 26, 19)
    text = plan("--radius=0.5").stdout
    assert "τ 0.5 → r 0.5, τ 0.2 → r 0.9208" in " ".join(text.split())
    assert "The other way round" in text


def test_radii_below_the_floor_are_told_as_none():
    said = " ".join(plan("--radius=0.25", "--floor=0.1").stdout.split())
    assert "τ 0.5 → r none, τ 0.2 → r 0.03003" in said


def test_policy_gives_numbers_and_options_win(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nsmoothing: {sigma: 0.25, radius: 0.1, alpha: 0.01, claim: harmlessness}\n"
        "oracle: {miss_rate_upper: 0.03}\nsampling: {max_samples: 120}\n"
        "advanced: {sampling: {max_parallel: 8}}\n"
    )
    scenario = facts("--policy", str(file), "--radius=0.05")["scenario"]
    assert (scenario["sigma"], scenario["alpha"]) == (0.25, 0.01)
    assert (scenario["miss_rate_upper"], scenario["parallel"]) == (0.03, 8)
    assert (scenario["radius"], scenario["max_samples"]) == (0.05, 120)
    assert scenario["sampler_error"] == 2.0**-22


def test_policies_about_verdicts_leave_the_oracles_misses_out(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\noracle: {kind: builtin, miss_rate_upper: 0.03}\n")
    assert facts("--policy", str(file))["scenario"]["miss_rate_upper"] == 0.0


def test_a_policys_plan_needs_what_the_guard_needs():
    file = str(shipped_policy("default"))
    rules = compile_policy(load_policy(file))
    assert facts("--policy", file)["q_required"] == plan_for(rules, UNSCALED).q_required


def test_plot_is_an_svg_of_the_same_plans(tmp_path):
    target = tmp_path / "plan.svg"
    assert plan("--plot", str(target)).exit_code == 0
    root = ElementTree.parse(target).getroot()  # noqa: S314 (our own file)
    name = "{http://www.w3.org/2000/svg}"
    labels = [text.text for text in root.iter(f"{name}text")]
    assert {"optimal", "betting", "radius ratio, exact", "required"} <= set(labels)
    lines = list(root.iter(f"{name}polyline"))
    assert len(lines) == 7
    assert all(len(line.get("points").split()) > 5 for line in lines)


def test_plot_shows_the_calls_of_the_plan(tmp_path):
    """The first curve is the optimal plan's: its height at q = 1 is that plan's calls."""
    target = tmp_path / "plan.svg"
    plan("--plot", str(target))
    name = "{http://www.w3.org/2000/svg}"
    root = ElementTree.parse(target).getroot()  # noqa: S314 (our own file)
    first = next(root.iter(f"{name}polyline"))
    heights = [float(point.split(",")[1]) for point in first.get("points").split()]
    q = required_harmless_rate(0.25, sigma=0.5)
    test = optimal_plan(q, 0.001, q1=0.99, power=0.99, max_samples=64)
    calls = [test.expected_calls_at(i / 200) for i in range(201)]
    order = sorted(range(201), key=calls.__getitem__)
    assert all(heights[a] >= heights[b] - 0.11 for a, b in itertools.pairwise(order))


def test_plot_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        plan("--plot", str(tmp_path / "none" / "plan.svg"))


def test_too_few_samples_name_the_number_that_would_do():
    with pytest.raises(CertificationError, match=r"smallest max_samples that does is 32"):
        plan("--max-samples=5")


@pytest.mark.parametrize("wrong", ["--sigma=0", "--alpha=0", "--alpha=1", "--radius=-1",
                                   "--parallel=0", "--miss-rate=1"])  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong):
    result = plan(wrong)
    assert result.exit_code == 2
    assert "not in the range" in result.stderr


def test_as_a_process():
    done = subprocess.run(
        [sys.executable, "-m", "guardrail", "plan", "--json"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["fewest_samples"] == 19
    failed = subprocess.run(
        [sys.executable, "-m", "guardrail", "plan", "--radius=5"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert failed.returncode == 2
    assert failed.stderr.startswith("guardrail: radius 5")
    assert "Traceback" not in failed.stderr
