"""The results as Markdown tables."""

from __future__ import annotations

from typing import Any

__all__ = ["markdown"]

NAMES = {
    "mock": "the mock provider itself",
    "passthrough": "bare pass-through",
    "guardrail": "**guardrail**",
    "litellm": "LiteLLM's proxy",
}


def markdown(results: dict[str, Any]) -> str:
    tables = {
        "text_passthrough": texts, "parts": parts, "fanout40": pictures, "walls": walls,
        "sustained": sustained, "variants": variants,
    }  # fmt: skip
    found = [write(results) for name, write in tables.items() if name in results]
    return "\n\n".join([heading(results), *found]) + "\n"


def heading(results: dict[str, Any]) -> str:
    settings = [section["setting"] for section in results.values() if "setting" in section]
    loads = [setting["load_average_before"] for setting in settings]
    setting = settings[-1]
    return (
        f"Written by `run.py`: Python {setting['python']}, LiteLLM {setting['litellm']}, "
        f"{setting['cores']} cores ({setting['machine']}), medians of {setting['rounds']} rounds, "
        f"of `parts` of more; load average {min(loads):g} to {max(loads):g} before each section "
        "began, from other processes."
    )


def texts(results: dict[str, Any]) -> str:
    rows = [
        (
            connections,
            NAMES[name],
            f"{case['rps']:,.0f}",
            f"{case['p50_ms']:.2f}",
            f"{case['p99_ms']:.2f}",
            f"{case['cpu_ms']:.2f}",
        )
        for connections, cases in results["text_passthrough"]["by_connections"].items()
        for name, case in cases.items()
    ]
    head = ("at once", "text request through", "requests/s", "p50 ms", "p99 ms", "CPU ms a request")
    return table(head, rows)


def parts(results: dict[str, Any]) -> str:
    rows = [
        (
            name,
            f"{case['rps']:,.0f}",
            f"{case['cpu_us']:,.0f}",
            f"{100 * (case['cpu_of_bare'] - 1):+.0f} %",
            f"{100 * (case['rps_of_bare'] - 1):+.0f} %",
        )
        for name, case in results["parts"]["rows"].items()
    ]
    head = ("text request, 16 at once", "requests/s", "CPU µs a request", "CPU", "requests/s")
    return table(head, rows)


def pictures(results: dict[str, Any]) -> str:
    fanout = results["fanout40"]
    rows = [
        ("**guardrail**, one decision, oracle `builtin`", f"{fanout['cpu_ms_per_decision']:.0f}"),
        (
            "**guardrail**, one decision, oracle `default`",
            f"{fanout.get('cpu_ms_per_decision_of_the_cascade', float('nan')):.0f}",
        ),
        ("bare pass-through, 40 requests", f"{fanout['cpu_ms_of_40_passthrough_requests']:.0f}"),
        ("LiteLLM's proxy, 40 requests", f"{fanout['cpu_ms_of_40_litellm_requests']:.0f}"),
    ]
    return table(("40 variants at 336 px", "CPU ms of the server"), rows)


def walls(results: dict[str, Any]) -> str:
    rows = [
        (most, case["waves"], f"{case['wall_ms']:.0f}", f"{case['over_ideal']:.2f}")
        for most, case in results["walls"]["wall_by_max_parallel"].items()
    ]
    head = ("`max_parallel`", "waves of 300 ms", "wall ms a decision", "over the model's own time")
    return table(head, rows)


def sustained(results: dict[str, Any]) -> str:
    case = results["sustained"]
    row = (
        case["requests"],
        case["errors"],
        f"{case['rps']:.1f}",
        f"{case['p50_ms'] / 1e3:.1f}",
        f"{case['p99_ms'] / 1e3:.1f}",
        case["rss_mb_second_quarter"],
        case["rss_mb_last_quarter"],
        case["rss_mb"],
    )
    head = (
        *("decisions, 64 at once", "errors", "decisions/s", "p50 s", "p99 s"),
        *("RSS MB, second quarter", "last quarter", "most"),
    )
    return table(head, [row])


def variants(results: dict[str, Any]) -> str:
    case = results["variants"]
    rows = [(name, f"{rate:.0f}") for name, rate in case["variants_per_cpu_s"].items()]
    return table(("forty variants at 336 px, from JPEG", "a CPU second"), rows)


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---",) + ("---:",) * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
