"""Writes the tables of docs/telemetry.md; a test holds them equal to the code."""

import re
from pathlib import Path
from types import SimpleNamespace

from guardrail.api.fault_count import FaultCount
from guardrail.api.refusals import Refusals
from guardrail.memory.store import LocalVerdictStore
from guardrail.server.worker_metrics import CollectedMetrics
from guardrail.telemetry.gauges import DeploymentGauges
from guardrail.telemetry.log_fields import EVENTS, LOG_FIELDS
from guardrail.telemetry.metrics import Metrics
from guardrail.telemetry.names import KnownNames

PAGE = Path(__file__).resolve().parents[2] / "docs" / "telemetry.md"
LABELS = {
    "guardrail_admission_waiting": ("policy",),
    "guardrail_admission_free": ("policy",),
    "guardrail_refused": ("bound",),
    "guardrail_upstream_waiting": ("upstream",),
    "guardrail_upstream_in_flight": ("upstream",),
    "guardrail_upstream_paused_models": ("upstream",),
    "guardrail_upstream_breakers": ("upstream", "state"),
}
"""Of gauges that are read, as their families hide them while they are empty."""


def families():
    """(name as it is scraped, type, labels, text) of every metric of our own."""
    metrics = Metrics(KnownNames(), KnownNames())
    counted = [
        (family, metrics.registry._names_to_collectors[family.name]._labelnames)
        for family in metrics.registry.collect()
        if family.name.startswith("guardrail_")
    ]
    read = [(family, LABELS.get(family.name, ())) for family in gauges().collect()]
    of_workers = [(family, ("worker",)) for family in CollectedMetrics({}).collect()]
    for family, labels in [*counted, *read, *of_workers]:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, family.type, tuple(labels), family.documentation


def gauges():
    """The gauges of a policy without upstreams."""
    service = SimpleNamespace(
        policy=SimpleNamespace(name="p"),
        admission=SimpleNamespace(waiting=0, free=0),
        engine=SimpleNamespace(upstream=SimpleNamespace()),
        decisions=SimpleNamespace(store=LocalVerdictStore(SimpleNamespace())),
        record_faults=FaultCount(),
    )
    policies = SimpleNamespace(policies=[SimpleNamespace(service=service)])
    return DeploymentGauges(SimpleNamespace(current=policies, refusals=Refusals()))


def tables():
    metrics = ["| metric | type | labels | |", "|---|---|---|---|"]
    for name, kind, labels, text in families():
        metrics.append(f"| `{name}` | {kind} | {', '.join(labels)} | {text} |")
    return {
        "events": rows("event", EVENTS),
        "fields": rows("field", LOG_FIELDS),
        "metrics": "\n".join(metrics),
    }


def rows(head, texts):
    return "\n".join(
        [f"| {head} | |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in texts.items())]
    )


def written(page):
    """The page with its tables as the code has them."""
    for name, table in tables().items():
        page = re.sub(
            rf"<!-- {name} -->.*?<!-- end -->",
            lambda _, name=name, table=table: f"<!-- {name} -->\n{table}\n<!-- end -->",
            page,
            flags=re.DOTALL,
        )
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
