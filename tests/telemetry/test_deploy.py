"""The page, the dashboard and the alert rules name metrics, options and fields that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from guardrail.cli.watching import watching_options
from tests.telemetry.write_tables import families, written

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "guardrail.json").read_text())
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="NOT TESTED: promtool of Debian's package prometheus is missing"
)
NAME = re.compile(r"\b(?:guardrail|process|python)_[a-z0-9_]+")


def scraped_names():
    """What Prometheus stores, with the labels of each."""
    found = {
        "process_cpu_seconds_total": set(), "process_resident_memory_bytes": set(),
        "process_open_fds": set(),
    }  # fmt: skip
    for name, kind, labels, _ in families():
        if kind == "histogram":
            found |= {f"{name}_{end}": {*labels, "le"} for end in ("bucket", "sum", "count")}
        else:
            found[name] = set(labels)
    return found


def check_query(query):
    """Every metric is there, and every label that is named belongs to one of them."""
    names, known = set(NAME.findall(query)), scraped_names()
    assert names, query
    assert names <= set(known), names - set(known)
    usable = {"instance"}.union(*(known[name] for name in names))
    selected = {
        label
        for part in re.findall(r"\{([^}]*)\}", query)
        for label in re.findall(r"(\w+)\s*[=!]", part)
    }
    grouped = {
        label.strip() for part in re.findall(r"by \(([^)]*)\)", query) for label in part.split(",")
    }
    assert (selected | grouped) - {""} <= usable, query


def test_the_page_shows_every_metric_field_and_event():
    page = (ROOT / "docs" / "telemetry.md").read_text()
    assert page == written(page)
    names = {name for name, *_ in families()}
    assert len(names) > 25
    assert all(f"`{name}`" in page for name in names)
    assert set(re.findall(r"guardrail_[a-z_]+", page)) <= names


def test_the_page_names_every_option():
    @watching_options
    def function():
        pass

    options = {option for param in function.__click_params__ for option in param.opts}
    assert len(options) > 10
    assert options <= set(re.findall(r"--[a-z-]+", (ROOT / "docs" / "telemetry.md").read_text()))


def test_the_dashboard_has_the_fields_of_its_schema():
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["uid"] == "guardrail"
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {
        "datasource",
        "instance",
    }
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in DASHBOARD["panels"]:
        assert panel["type"] in {"row", "stat", "timeseries"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["targets"]
            assert panel["datasource"]["uid"] == "${datasource}"


def dashboard_queries():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_every_query_of_the_dashboard_names_what_there_is():
    for query in dashboard_queries():
        check_query(query)
    shown = {name for query in dashboard_queries() for name in NAME.findall(query)}
    own = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert {name for name, *_ in families()} - own == {
        "guardrail_canary_last_run_timestamp_seconds"
    }


def test_the_dashboard_tells_decisions_apart_by_outcome_reason_and_test():
    queries = " ".join(q for q in dashboard_queries() if "guardrail_decisions_total" in q)
    grouped = re.split(r"[\s,]+", " ".join(re.findall(r"by \(([^)]*)\)", queries)))
    assert {"policy", "decision", "reason", "stopped_by"} <= set(grouped)


def rules():
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def test_every_alert_names_what_there_is_and_says_what_to_do():
    assert {rule["alert"].removeprefix("Guardrail") for rule in rules()} >= {
        "CanaryFailing", "BlockSpike", "FaultShare", "RecordFaults", "NoDecisions", "SlowDecisions",
        "BreakerOpen",
    }  # fmt: skip
    for rule in rules():
        check_query(rule["expr"])
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def promtool(*arguments):
    done = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_takes_the_rules_and_the_dashboards_queries(tmp_path):
    promtool("check", "rules", RULES)
    own = [
        {"record": f"panel:{number}", "expr": query.replace("$instance", ".*")}
        for number, query in enumerate(dashboard_queries())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": own}]}))
    promtool("check", "rules", file)


CANARY = 'guardrail_canary_ok{canary="harmful"}'
SLOW = 'guardrail_decision_seconds_bucket{{pictures="yes",le="{}"}}'
DECIDED = 'guardrail_decisions_total{{instance="a",policy="p",decision="{}",would_block="{}"}}'


def series(name, values):
    return {"series": name, "values": values}


PASSES, BLOCKS = DECIDED.format("pass", "false"), DECIDED.format("block", "false")


@needs_promtool
@pytest.mark.parametrize(
    ("alert", "at", "inputs", "fires"),
    [
        ("GuardrailCanaryFailing", "5m", [series(CANARY, "0x20")], True),
        ("GuardrailCanaryFailing", "5m", [series(CANARY, "1x20")], False),
        ("GuardrailBlockSpike", "90m", [series(PASSES, "0+60x100"),
            series(BLOCKS, "0+1x80 100+40x20")], True),
        ("GuardrailBlockSpike", "90m", [series(PASSES, "0+60x100"),
            series(BLOCKS, "_x84 0+40x20")], True),
        ("GuardrailBlockSpike", "90m", [series(PASSES, "0+60x80 4800+20x20"),
            series(DECIDED.format("pass", "true"), "0+0x84 0+40x20")], True),
        ("GuardrailBlockSpike", "90m", [series(BLOCKS, "0+40x100")], False),
        ("GuardrailFaultShare", "20m", [series(PASSES, "0+60x40"),
            series(DECIDED.format("fault", "false"), "0+20x40")], True),
        ("GuardrailFaultShare", "20m", [series(PASSES, "0+60x40")], False),
        ("GuardrailNoDecisions", "95m", [series(PASSES, "0+10x70 700x40")], True),
        ("GuardrailNoDecisions", "95m", [series(PASSES, "0+10x120")], False),
        ("GuardrailRecordFaults", "10m",
            [series("guardrail_record_faults_total", "0x7 1x10")], True),
        ("GuardrailBreakerOpen", "5m",
            [series('guardrail_upstream_breakers{upstream="u",state="open"}', "1x10")], True),
        ("GuardrailSlowDecisions", "30m", [
            series(SLOW.format("30"), "0+1x40"),
            series(SLOW.format("60"), "0+10x40"),
            series(SLOW.format("+Inf"), "0+10x40")], True),
    ],
)  # fmt: skip
def test_alerts_fire_when_they_should(tmp_path, alert, at, inputs, fires):
    """What fires is told by the ALERTS series, which needs none of the annotations' texts."""
    query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    test = {
        "interval": "1m", "input_series": inputs,
        "promql_expr_test": [
            {"expr": query, "eval_time": at, "exp_samples": [{"labels": "{}", "value": int(fires)}]}
        ],
    }  # fmt: skip
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [test]}))
    promtool("test", "rules", file)
