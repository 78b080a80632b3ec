"""Starting and stopping: free ports, taken ports, signals, and silence."""

import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from guardrail.api.cached import Cached
from guardrail.api.deployment import fixed_deployment
from guardrail.api.service import Service
from guardrail.engine.engine import Engine
from guardrail.errors import ConfigError
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server.serve import RunningServer, running_server, running_server_async, serve
from guardrail.upstreams.scripted import Scripted

ROOT = Path(__file__).parents[2]


def parts(kit):
    policy = kit.make_policy()
    upstream, oracle = Scripted(["A picture."]), kit.Words()
    return policy, Engine(compile_policy(policy), upstream, oracle, NoiseKey(bytes(32)))


def alive(server):
    return httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200


def test_several_servers_beside_each_other(kit, capfd):
    first, second = parts(kit), parts(kit)
    with running_server(*first) as one, running_server(*second) as two:
        assert one.port != two.port
        assert alive(one)
        assert alive(two)
    for _, engine in (first, second):
        assert engine.upstream.closed
        assert engine.oracle.closed
    assert capfd.readouterr() == ("", "")


def test_a_stopped_server_is_gone(kit):
    with running_server(*parts(kit)) as server:
        pass
    with pytest.raises(httpx.ConnectError):
        alive(server)


def test_the_oracle_is_closed_even_if_the_upstream_cannot_be(kit, logs):
    policy, engine = parts(kit)

    async def failing():
        raise RuntimeError("secret")

    engine.upstream.aclose = failing
    with running_server(policy, engine) as server:
        assert alive(server)
    assert engine.oracle.closed


def serve_one(policy, engine, **options):
    serve(fixed_deployment(Service(policy, engine)), **options)


@pytest.mark.parametrize("start", [running_server, serve_one])
def test_a_taken_port_is_told_plainly(kit, start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} .*choose another"):
            open_server(start, kit, host="127.0.0.1", port=port)


@pytest.mark.parametrize(
    ("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70_000), ("a" * 300, 0)]
)
def test_an_address_that_is_none(kit, host, port):
    with pytest.raises(ConfigError, match="cannot listen"):
        open_server(running_server, kit, host=host, port=port)


def open_server(start, kit, **options):
    made = start(*parts(kit), **options)
    if made is not None:
        with made:
            raise AssertionError


def test_inside_a_running_loop(run, kit):
    async def scenario():
        async with (
            running_server_async(*parts(kit)) as server,
            httpx.AsyncClient(trust_env=False) as client,
        ):
            return (await client.get(f"{server.url}/healthz")).status_code

    assert run(scenario()) == 200


def test_addresses():
    assert RunningServer("127.0.0.1", 80).base_url == "http://127.0.0.1:80/v1"
    assert RunningServer("::1", 80).url == "http://[::1]:80"


SCRIPT = """
    import sys
    sys.path.insert(0, {root!r})
    from guardrail.engine.engine import Engine
    from guardrail.images.keys import NoiseKey
    from guardrail.oracles.base import Judgement
    from guardrail.api.deployment import fixed_deployment
    from guardrail.api.service import Service
    from guardrail.policy.compile import compile_policy
    from guardrail.policy.schema import Policy
    from guardrail.server.serve import serve
    from guardrail.upstreams.scripted import Scripted

    class Harmless:
        revision = "none"
        async def judge(self, exchanges):
            return [Judgement("harmless", 0.0) for _ in exchanges]
        async def aclose(self):
            print("closed", flush=True)

    policy = Policy.model_validate(
        {{"name": "t", "oracle": {{"miss_rate_upper": 0.01}},
          "advanced": {{"sampling": {{"plan": "fixed"}}}}}}
    )
    upstream = Scripted(["x"])
    engine = Engine(compile_policy(policy), upstream, Harmless(), NoiseKey(bytes(32)))
    serve(fixed_deployment(Service(policy, engine)), port={port})
    print("ended", flush=True)
"""


@pytest.mark.parametrize(
    "kind",
    # `test_drain.py` sends both by day.
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)],
)
def test_signals_end_it_in_order(kind):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = textwrap.dedent(SCRIPT).format(root=str(ROOT), port=port)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        transport = httpx.HTTPTransport(retries=12)
        with httpx.Client(transport=transport, trust_env=False, timeout=20) as client:
            assert client.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        process.send_signal(kind)
        out, err = process.communicate(timeout=20)
    assert "closed" in out
    assert "Traceback" not in err
    if kind == signal.SIGINT:
        assert "ended" in out
        assert process.returncode == 0


def test_a_remembered_value_is_asked_for_once(run):
    asked = []

    async def source():
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError
        return len(asked)

    async def scenario():
        cached = Cached(source, ttl_s=60.0)
        with pytest.raises(RuntimeError):
            await cached.get()  # a fault is not remembered
        return [await cached.get() for _ in range(3)]

    assert run(scenario()) == [2, 2, 2]
