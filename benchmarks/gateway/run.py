"""What the proxy costs beside LiteLLM's proxy, a bare pass-through and the models' own time.

    python benchmarks/gateway/run.py [--quick] [--only SECTION ...]

Everything runs on loopback: a mock provider that answers at once, one that takes 300 ms, and in
front of them `guardrail serve`, LiteLLM's proxy (in an environment of its own, made at the first
run) and a pass-through, one process each. What is compared takes turns round by round, and medians
over the rounds are reported. Processor time is the server's own, so that other work on the machine
disturbs it less than wall time. Writes results.json and table.md beside this
file.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm_proxy
import parts
import psutil
import yaml
from processes import Process, Processes, free_port
from table import markdown

from guardrail.images.canvas import canvas_for
from guardrail.images.codec import ImageLimits, decode_image, to_data_url
from guardrail.images.encode import encode_image
from guardrail.images.noise import variant

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
VARIANTS_RUN = HERE.parent / "variants" / "run.py"
VARIANTS_CASE = "canvas_336_from_jpeg"
VARIANTS = 40
DELAY_MS = 300.0
SECTIONS = ("text_passthrough", "parts", "fanout40", "walls", "sustained", "variants")
DISK = "/var/tmp"  # noqa: S108 (a disk, as /tmp often is not)
MOST_PARALLEL = (40, 32, 10)  # one wave, two (the default policy's number) and four


@dataclass(frozen=True)
class Size:
    """How long everything takes."""

    rounds: int
    text_s: float
    decisions: int
    slow_decisions: int
    variant_rounds: int
    sustained_s: float
    part_rounds: int


PART_S = 0.5
FULL = Size(5, 2.5, 10, 3, 5, 60.0, 16)
QUICK = Size(2, 1.0, 4, 1, 1, 8.0, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute instead of five; no file")
    parser.add_argument("--out", type=Path, help="[default: results.json here, but with --quick]")
    parser.add_argument(
        "--only", nargs="*", choices=SECTIONS, default=SECTIONS,
        help="measure these; the others stay as they are in the file",
    )  # fmt: skip
    options = parser.parse_args()
    started, size = time.monotonic(), QUICK if options.quick else FULL
    load_average = round(psutil.getloadavg()[0], 2)
    out = options.out or (None if options.quick else HERE / "results.json")
    before = json.loads(out.read_text()) if out and out.exists() else {}
    results = {name: before[name] for name in SECTIONS if name in before}
    with tempfile.TemporaryDirectory(dir=DISK) as folder, Processes(Path(folder)) as processes:
        bench = Bench(Path(folder), processes, size)
        for name in options.only:
            began = time.monotonic()
            results[name] = getattr(bench, name)()
            results[name]["setting"] = setting(size, load_average, began)
            print(json.dumps({name: results[name]}, indent=1), flush=True)
    print(f"took {time.monotonic() - started:.0f} s")
    if out:
        out.write_text(json.dumps(results, indent=1) + "\n")
        out.with_name("table.md").write_text(markdown(results))


def setting(size: Size, load_average: float, began: float) -> dict[str, Any]:
    packages = ("aiohttp", "fastapi", "uvicorn", "uvloop", "httptools", "numpy", "pillow")
    return {
        "rounds": size.rounds,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "litellm": litellm_proxy.PINNED,
        "versions": {name: version(name) for name in packages},
        "load_average_before": load_average,
        "took_s": round(time.monotonic() - began),
    }


class Bench:
    """The servers and what they are asked."""

    def __init__(self, folder: Path, processes: Processes, size: Size) -> None:
        self._folder, self._processes, self._size = folder, processes, size
        self._text = HERE / "text.json"
        self._picture, self._variants = bodies(folder)
        self._zero = processes.printing(sys.executable, str(HERE / "provider.py"))
        self._slow = processes.printing(
            sys.executable, str(HERE / "provider.py"), "--delay-ms", str(DELAY_MS)
        )

    @cached_property
    def _servers(self) -> dict[str, Process]:
        """What stands side by side in front of the model that answers at once."""
        bare = self._processes.printing(
            sys.executable, str(HERE / "passthrough.py"), "--upstream", self._zero.base_url
        )
        return {
            "passthrough": bare,
            "guardrail": self._guardrail("zero", self._zero, policy(self._folder, 32)),
            "litellm": self._litellm(),
        }

    # Servers

    def _guardrail(self, name: str, upstream: Process, policy_name: str | Path) -> Process:
        port = free_port()
        command = [sys.executable, "-m", "guardrail", "serve", "--port", str(port)]
        command += ["--upstream", f"openai_compatible:{upstream.base_url}"]
        command += ["--policy", str(policy_name)]
        return self._processes.serving(name, command, port, health="/healthz", env={})

    def _litellm(self) -> Process:
        litellm_proxy.environment()
        port = free_port()
        config = litellm_proxy.write_config(self._folder, "litellm", self._zero.base_url)
        command, env = litellm_proxy.command(config, port)
        return self._processes.serving(
            "litellm", command, port, health="/health/liveliness", env=env
        )

    def _load(self, server: Process, *bodies: Path, **options: float) -> dict[str, Any]:
        command = [sys.executable, str(HERE / "load.py"), "--url", server.base_url]
        command += ["--key", litellm_proxy.KEY]
        command += [word for body in bodies for word in ("--body", str(body))]
        command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        before = server.cpu_now_s()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        measured = json.loads(done.stdout)
        measured["cpu_ms"] = 1e3 * (server.cpu_now_s() - before) / max(measured["requests"], 1)
        return measured

    # Texts

    def text_passthrough(self) -> dict[str, Any]:
        everyone = {"mock": self._zero, **self._servers}
        for server in everyone.values():
            self._load(server, self._text, connections=16, seconds=1)  # lazy imports, connections
        by_connections = {
            str(connections): self._rounds(
                f"text, {connections} at once",
                {
                    name: lambda server=server, n=connections: self._load(
                        server, self._text, connections=n, seconds=self._size.text_s
                    )
                    for name, server in everyone.items()
                },
            )
            for connections in (1, 16)
        }
        ours, theirs = (
            [case[name] for case in by_connections.values()] for name in ("guardrail", "litellm")
        )
        return {
            **text_ratios(ours, theirs),
            "errors": sum(case["errors"] for case in ours + theirs),
            "by_connections": by_connections,
        }

    def parts(self) -> dict[str, Any]:
        """What keys, policies, records, metrics, traces and memory add; see `parts.py`."""
        return parts.measure(self._folder, self._size.part_rounds, PART_S)

    def _rounds(
        self, what: str, actions: dict[str, Callable[[], dict[str, Any]]]
    ) -> dict[str, dict[str, Any]]:
        """Each in its turn, several times; the medians, and the sum of the errors."""
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in actions}
        for turn in range(self._size.rounds):
            for name, action in actions.items():
                measured[name].append(action())
                told = {k: round(measured[name][-1][k], 2) for k in ("rps", "p50_ms", "cpu_ms")}
                print(f"{what}: round {turn + 1}, {name}: {told}", flush=True)
        return {name: medians(rounds) for name, rounds in measured.items()}

    def variants(self) -> dict[str, Any]:
        """Making them, see `benchmarks/variants`."""
        return measure_variants(self._size)

    # Pictures

    def fanout40(self) -> dict[str, Any]:
        """Processor time of one guarded picture beside that of 40 requests with its variants."""
        n, servers = self._size.decisions, self._servers
        cascade = policy(self._folder, 32, oracle="default")
        guards = {
            "guardrail": servers["guardrail"],
            "cascade": self._guardrail("cascade", self._zero, cascade),
        }
        actions = {
            **{
                name: lambda server=server: self._load(server, self._picture, requests=n)
                for name, server in guards.items()
            },
            **{
                name: lambda name=name: self._load(
                    servers[name], *self._variants, connections=32, requests=VARIANTS
                )
                for name in ("passthrough", "litellm")
            },
        }
        for action in actions.values():
            action()
        rounds = self._rounds("forty variants", actions)
        ours = rounds["guardrail"]["cpu_ms"]
        forty = {name: VARIANTS * rounds[name]["cpu_ms"] for name in ("passthrough", "litellm")}
        return {
            "cpu_ratio_vs_litellm": round(forty["litellm"] / ours, 2),
            "cpu_ms_per_decision": round(ours, 1),
            "cpu_ms_per_decision_of_the_cascade": round(rounds["cascade"]["cpu_ms"], 1),
            "times_the_bare_passthrough": quotient_of_rounds(rounds),
            "cpu_ms_of_40_litellm_requests": round(forty["litellm"], 1),
            "cpu_ms_of_40_passthrough_requests": round(forty["passthrough"], 1),
            "errors": sum(each["errors"] for each in rounds.values()),
            "decisions": rounds["guardrail"]["decisions"],
            "rounds": rounds,
        }

    def walls(self) -> dict[str, Any]:
        """Wall time of one guarded picture when every answer takes 300 ms."""
        servers = {
            str(most): self._guardrail(f"slow{most}", self._slow, policy(self._folder, most))
            for most in MOST_PARALLEL
        }
        for server in servers.values():
            self._load(server, self._picture, requests=1)
        rounds = self._rounds(
            "forty variants, 300 ms each",
            {
                most: lambda server=server: self._load(
                    server, self._picture, requests=self._size.slow_decisions
                )
                for most, server in servers.items()
            },
        )
        cases = {}
        for most, measured in rounds.items():
            ideal_ms = -(-VARIANTS // int(most)) * DELAY_MS
            cases[most] = {
                "waves": round(ideal_ms / DELAY_MS),
                "wall_ms": round(measured["p50_ms"], 1),
                "over_ideal": round(measured["p50_ms"] / ideal_ms, 3),
            }
        for server in servers.values():
            server.stop()
        return {
            "wall_over_ideal": cases["32"]["over_ideal"],
            "wall_by_max_parallel": cases,
            "wall_errors": sum(each["errors"] for each in rounds.values()),
        }

    def sustained(self) -> dict[str, Any]:
        """Sixty-four guarded pictures at a time, by the default policy, for a minute."""
        server = self._guardrail("sustained", self._zero, "default")
        self._load(server, self._picture, requests=1)
        with Memory(server) as memory:
            print(f"64 guarded pictures at once for {self._size.sustained_s:g} s", flush=True)
            measured = self._load(
                server, self._picture, connections=64, seconds=self._size.sustained_s
            )
        server.stop()
        kept = (
            "requests",
            "errors",
            "error_kinds",
            "decisions",
            "rps",
            "p50_ms",
            "p99_ms",
            "cpu_ms",
        )
        return {
            **{name: rounded(measured[name]) for name in kept},
            "rss_mb": round(max(memory.samples_mb)),
            **memory.growth(),
        }


class Memory:
    """Resident memory, twice a second."""

    def __init__(self, server: Process) -> None:
        self.samples_mb: list[float] = []
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def growth(self) -> dict[str, int]:
        """The medians of the second and of the last quarter: equal where memory is bounded."""
        quarter = max(len(self.samples_mb) // 4, 1)
        second, last = self.samples_mb[quarter : 2 * quarter], self.samples_mb[-quarter:]
        return {
            "rss_mb_second_quarter": round(statistics.median(second or last)),
            "rss_mb_last_quarter": round(statistics.median(last)),
        }

    def _watch(self) -> None:
        while True:
            self.samples_mb.append(self._server.rss_mb())
            if self._over.wait(0.5):
                return


# Bodies and policies


def quotient_of_rounds(rounds: dict[str, dict[str, Any]]) -> float:
    """Of a decision and 40 bare requests of the same round: the machine is as fast for both."""
    pairs = zip(
        rounds["guardrail"]["cpu_ms_by_round"],
        rounds["passthrough"]["cpu_ms_by_round"],
        strict=True,
    )
    return round(statistics.median(ours / (VARIANTS * bare) for ours, bare in pairs), 2)


def policy(folder: Path, max_parallel: int, oracle: str = "builtin") -> Path:
    made = yaml.safe_load((HERE / "policy.yaml").read_text())
    made["advanced"]["sampling"]["max_parallel"] = max_parallel
    made["oracle"]["kind"] = oracle
    file = folder / f"parallel-{max_parallel}-{oracle}.yaml"
    file.write_text(yaml.safe_dump(made))
    return file


def bodies(folder: Path) -> tuple[Path, list[Path]]:
    """A request with a photograph, and requests with noisy variants of it, as the guard sends."""
    spec = importlib.util.spec_from_file_location("variants_run", VARIANTS_RUN)
    shared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shared)
    data = shared.source("JPEG")
    picture = decode_image(data, declared_media_type=None, limits=ImageLimits(), param="image")
    grid = canvas_for(picture.height, picture.width, max_side_px=336).apply(picture.pixels)
    noisy = [
        variant(
            grid,
            sigma=shared.SIGMA,
            key=shared.KEY,
            request_digest=bytes(32),
            policy_digest=bytes(32),
            attempt=bytes(16),
            index=index,
            image_index=0,
        )
        for index in range(8)
    ]
    urls = [to_data_url(encode_image(pixels, "png"), "image/png") for pixels in noisy]
    photograph = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    return (
        body(folder / "picture.json", photograph),
        [body(folder / f"variant-{i}.json", url) for i, url in enumerate(urls)],
    )


def body(file: Path, url: str) -> Path:
    parts = [
        {"type": "text", "text": "What is shown here?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    messages = [{"role": "user", "content": parts}]
    request = {"model": "mock", "messages": messages, "max_tokens": 64, "user": "00000000"}
    file.write_text(json.dumps(request))
    return file


def measure_variants(size: Size) -> dict[str, Any]:
    """By its own benchmark: forty variants of the same photograph on the same canvas."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "variants.json"
        command = [sys.executable, str(VARIANTS_RUN), "--rounds", str(size.variant_rounds)]
        subprocess.run([*command, "--case", VARIANTS_CASE, "--out", str(out)], check=True)
        case = json.loads(out.read_text())[VARIANTS_CASE]
    return {
        "ratio_vs_pil_png": case["ratio_vs_pil_png"],
        "ratio_vs_bare_gaussians": case["ratio_vs_bare_gaussians"],
        "variants_per_cpu_s": case["variants_per_cpu_s"],
    }


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("rps", "p50_ms", "p99_ms", "cpu_ms")
    return {
        **{name: rounded(statistics.median(each[name] for each in rounds)) for name in names},
        "rps_by_round": [rounded(each["rps"]) for each in rounds],
        "cpu_ms_by_round": [rounded(each["cpu_ms"]) for each in rounds],
        "errors": sum(each["errors"] for each in rounds),
        "decisions": added([each["decisions"] for each in rounds]),
    }


def text_ratios(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, float]:
    """Requests a second at the most that each serves, and one at a time; the others at worst."""
    pairs = list(zip(ours, theirs, strict=True))
    most = max(case["rps"] for case in ours) / max(case["rps"] for case in theirs)
    return {
        "rps_ratio_vs_litellm": round(most, 2),
        "rps_ratio_one_at_a_time": round(ours[0]["rps"] / theirs[0]["rps"], 2),
        "cpu_ratio_vs_litellm": round(min(b["cpu_ms"] / a["cpu_ms"] for a, b in pairs), 2),
        "p99_ratio_vs_litellm": round(min(b["p99_ms"] / a["p99_ms"] for a, b in pairs), 2),
    }


def added(counts: list[dict[str, int]]) -> dict[str, int]:
    names = sorted({name for count in counts for name in count})
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
