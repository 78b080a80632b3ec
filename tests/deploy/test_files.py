"""What the files under deploy/ name is there: options, variables, routes, files, packages."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
import tomllib
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from guardrail.cli.environment import variable_of
from guardrail.cli.serve import command as serve_command
from guardrail.server import routes
from tests.redis_server import MISSING as REDIS_MISSING
from tests.redis_server import find_redis

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONS = {option for param in serve_command.params for option in param.opts}
VARIABLES = {
    variable_of(param) for param in serve_command.params if isinstance(param, click.Option)
}
FILES = sorted(
    file
    for file in DEPLOY.rglob("*")
    if file.is_file() and file.suffix not in {".lock", ".json"} and file.name != "alerts.yml"
)
LOCKS = {"requirements.lock": "IMAGE_EXTRAS", "requirements-full.lock": "FULL_EXTRAS"}
ANALYZE = shutil.which("systemd-analyze")
PROMTOOL = shutil.which("promtool")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_variables_are_those_of_options(file):
    named = set(re.findall(r"\bGUARDRAIL_[A-Z_]+[A-Z]\b", file.read_text()))
    assert named <= VARIABLES, named - VARIABLES


def test_the_search_finds_variables():
    text = "".join(file.read_text() for file in FILES)
    assert {"GUARDRAIL_UPSTREAMS", "GUARDRAIL_RECORDS", "GUARDRAIL_KEY_FILE"} <= set(
        re.findall(r"GUARDRAIL_[A-Z_]+", text)
    )


def test_arguments_are_options_of_serve(files):
    started = [files.argument_of(file, "CMD") for file in files.DOCKERFILES]
    for _, document in files.yaml_documents():
        if document.get("kind") == "Deployment":
            started += [c["args"] for c in document["spec"]["template"]["spec"]["containers"]]
    unit = (DEPLOY / "systemd" / "guardrail.service").read_text()
    started.append(re.search(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)[1].split())
    assert len(started) == 4
    for words in started:
        assert words[0] == "serve"
        assert {word for word in words if word.startswith("-")} <= OPTIONS


def manifests(files):
    return [one for file, one in files.yaml_documents() if file.parent.name == "kubernetes"]


def test_manifests_fit_together(files):
    by_kind = {one["kind"]: one for one in manifests(files)}
    assert {"Deployment", "Service", "PodDisruptionBudget", "ConfigMap", "Secret",
            "NetworkPolicy"} == set(by_kind)  # fmt: skip
    spec = by_kind["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["PodDisruptionBudget"]["spec"]["minAvailable"] < spec["replicas"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert by_kind["Service"]["spec"]["ports"][0]["targetPort"] in ports
    volumes = {volume["name"] for volume in pod["volumes"]}
    for one in (container, *pod["initContainers"]):
        assert {mount["name"] for mount in one["volumeMounts"]} <= volumes
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
    secrets = {one["metadata"]["name"] for one in manifests(files) if one["kind"] == "Secret"}
    named = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
    named |= {source["secretRef"]["name"] for source in container["envFrom"]}
    assert named == secrets
    config = next(v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v)
    assert config == by_kind["ConfigMap"]["metadata"]["name"]


def seconds(text):
    return int(re.fullmatch(r"(\d+)s?", str(text))[1])


def test_whoever_stops_a_server_waits_for_its_drain(files):
    """Notice, drain, and 5 s for what is left; and the notice is longer than two probes."""
    pod = next(one for one in manifests(files) if one["kind"] == "Deployment")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    pod_says = {one["name"]: one["value"] for one in container["env"]}
    compose = next(one for file, one in files.yaml_documents() if file.name == "compose.yaml")
    service = compose["services"]["guardrail"]
    systemd = DEPLOY / "systemd"
    unit_says = dict(re.findall(r"^(GUARDRAIL_\w+)=(.*)$", (systemd / "guardrail.env").read_text(),
                                re.MULTILINE))  # fmt: skip
    unit = (systemd / "guardrail.service").read_text()
    waits = [
        (pod["spec"]["terminationGracePeriodSeconds"], pod_says),
        (service["stop_grace_period"], service["environment"]),
        (re.search(r"^TimeoutStopSec=(.*)$", unit, re.MULTILINE)[1], unit_says),
    ]
    for longest, says in waits:
        notice = seconds(says.get("GUARDRAIL_DRAIN_NOTICE", "0"))
        assert seconds(longest) >= notice + seconds(says["GUARDRAIL_DRAIN_SECONDS"]) + 5
    probe = container["readinessProbe"]
    assert (
        int(pod_says["GUARDRAIL_DRAIN_NOTICE"]) > probe["periodSeconds"] * probe["failureThreshold"]
    )


def test_replicas_share_one_redis_that_throws_nothing_away(files):
    variables = next(one["stringData"] for one in manifests(files)
                     if "OPENAI_API_KEY" in one.get("stringData", {}))  # fmt: skip
    assert variables["GUARDRAIL_REDIS"].startswith("redis://")
    compose = next(one for file, one in files.yaml_documents() if file.name == "compose.yaml")
    services = compose["services"]
    assert "@redis:6379/" in services["guardrail"]["environment"]["GUARDRAIL_REDIS"]
    assert "redis" in services["guardrail"]["depends_on"]
    assert "--maxmemory-policy noeviction" in services["redis"]["command"][-1]


@pytest.mark.skipif(find_redis() is None, reason=REDIS_MISSING)
def test_redis_takes_the_command_of_compose(files, tmp_path):
    compose = next(one for file, one in files.yaml_documents() if file.name == "compose.yaml")
    shell, option, words = compose["services"]["redis"]["command"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [shell, option, f"{words.replace('$$', '$')} --bind 127.0.0.1 --port {port}"],
        cwd=tmp_path, env={**os.environ, "REDIS_PASSWORD": "abc123"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        asked = b"AUTH abc123\r\nCONFIG GET maxmemory-policy\r\n"
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as way:
                way.sendall(asked)
                while b"noeviction" not in (said := way.recv(1000)):
                    assert said.startswith((b"+OK", b"*2", b"-LOADING")), said
                return
            time.sleep(0.02)
        raise AssertionError("it did not answer")
    finally:
        process.kill()
        process.wait()


def test_what_the_pod_mounts_is_what_the_variables_name(files):
    by_kind = {one["kind"]: one for one in manifests(files)}
    container = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    named = {e["name"]: Path(e["value"]) for e in container["env"] if e["value"].startswith("/")}
    assert {str(path.parent) for path in named.values()} <= mounts
    secret = next(one for one in manifests(files) if "noise.key" in one.get("stringData", {}))
    there = {*by_kind["ConfigMap"]["data"], *secret["stringData"]}
    assert {path.name for path in named.values()} <= there


def test_probes_ask_routes_that_there_are(files):
    source = Path(routes.__file__).read_text()
    asked = set()
    for file in files.DOCKERFILES:
        asked |= set(re.findall(r"/healthz|/readyz", str(files.argument_of(file, "HEALTHCHECK"))))
    container = next(
        one for one in manifests(files) if one["kind"] == "Deployment"
    )["spec"]["template"]["spec"]["containers"][0]  # fmt: skip
    probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    asked |= {probe["httpGet"]["path"] for probe in probes}
    assert asked == {"/healthz", "/readyz"}
    assert all(f'"{path}"' in source for path in asked)


def test_the_policy_and_upstreams_of_the_manifests_can_be_used(files, tmp_path, monkeypatch):
    from guardrail.assembly import build_engine, read_policy, read_upstreams

    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    data = next(one for one in manifests(files) if one["kind"] == "ConfigMap")["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    entries = read_upstreams((), tmp_path / "upstreams.yaml")
    assert build_engine(read_policy(tmp_path / "policy.yaml"), entries).upstream.name
    assert read_upstreams((), DEPLOY / "compose" / "config" / "upstreams.yaml") == entries


def test_images_are_pinned(files):
    images = [
        re.sub(r"\$\{PYTHON\}", files.argument_of(file, "ARG").partition("=")[2], rest.split()[0])
        for file in files.DOCKERFILES[:1]
        for name, rest in files.read_dockerfile(file)
        if name == "FROM"
    ]
    for _, document in files.yaml_documents():
        images += re.findall(r"'image': '([^']+)'", str(document))
    assert len(images) >= 7
    for image in set(images) - {"guardrail"}:  # that one is built here
        assert re.search(r":v?\d+\.\d+", image), image


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.full"])
def test_the_image_runs_as_nobody_and_starts_without_a_shell(files, name):
    file = DEPLOY / name
    assert files.argument_of(file, "USER") == "10001:10001"
    assert files.argument_of(file, "ENTRYPOINT") == ["guardrail"]
    assert isinstance(files.argument_of(file, "CMD"), list)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.full"])
def test_what_is_copied_is_there_and_not_ignored(files, name):
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copied = [
        path
        for step, rest in files.read_dockerfile(DEPLOY / name)
        if step == "COPY" and "--from" not in rest
        for path in rest.split()[:-1]
    ]
    assert len(copied) > 5
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(Path(path).match(pattern) for pattern in kept), path


def test_what_compose_mounts_is_there(files):
    compose = DEPLOY / "compose" / "compose.yaml"
    document = next(one for file, one in files.yaml_documents() if file == compose)
    services = document["services"]
    mounted = [m for one in services.values() for m in one.get("volumes", ())]
    own = [m.split(":")[0] for m in mounted]
    assert len(own) >= 9
    for source in own:
        if source.startswith("."):
            assert (compose.parent / source).resolve().is_relative_to(DEPLOY)
        else:
            assert source in document["volumes"]
    variables = set(re.findall(r"\$\{([A-Z_]+)", compose.read_text()))
    example = (compose.parent / "example.env").read_text()
    assert variables == set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    assert services["guardrail"]["read_only"] is True
    assert services["guardrail"]["cap_drop"] == ["ALL"]
    networks = {name for one in services.values() for name in one["networks"]}
    assert networks == set(document["networks"])


def test_the_threat_model_names_tests_that_there_are():
    table = (ROOT / "SECURITY.md").read_text().partition("## Threat model")[2]
    named = re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", table)
    assert len(named) > 30
    assert not [path for path in named if not (ROOT / path).exists()]


def requirements(extras):
    """Everything that the package asks for with these extras, its own extras resolved."""
    lines, left = list(PROJECT["dependencies"]), list(extras)
    while left:
        for line in PROJECT["optional-dependencies"][left.pop()]:
            one = Requirement(line)
            if canonicalize_name(one.name) == PROJECT["name"]:
                left += one.extras
            else:
                lines.append(line)
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize(("lock", "variable"), LOCKS.items())
def test_the_lock_holds_what_the_package_asks_for(files, lock, variable):
    versions, hashes = files.read_lock(DEPLOY / lock)
    extras = files.make_variable(variable)
    asked = [one for one in requirements(extras) if one.name != "torch"]  # from another index
    assert len(asked) > 20
    for one in asked:
        name = canonicalize_name(one.name)
        assert name in versions, f"{one}: run make lock"
        assert one.specifier.contains(versions[name], prereleases=True), f"{one}: run make lock"
    assert set(versions) == set(hashes)
    assert "torch" not in versions
    assert not [name for name in versions if name.startswith(("nvidia", "cuda", "triton"))]


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-build.lock"])
def test_the_lock_agrees_with_the_constraints(files, lock):
    versions, _ = files.read_lock(DEPLOY / lock)
    tested = {
        canonicalize_name(line.partition("==")[0]): line.partition("==")[2]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if re.match(r"[A-Za-z]", line)
    }
    assert versions
    assert not {
        name: (version, tested[name])
        for name, version in versions.items()
        if tested.get(name, version) != version
    }, "run make lock"


def test_torch_of_the_full_image_is_the_one_that_was_tested(files):
    arguments = dict(
        rest.split("=", 1)
        for name, rest in files.read_dockerfile(DEPLOY / "Dockerfile.full")
        if name == "ARG" and "=" in rest
    )
    assert f"torch=={arguments['TORCH']}" in (ROOT / "constraints.txt").read_text().splitlines()


@pytest.mark.skipif(ANALYZE is None, reason="NOT TESTED: systemd-analyze is missing")
def test_systemd_takes_the_unit(tmp_path):
    unit = tmp_path / "guardrail.service"
    text = (DEPLOY / "systemd" / "guardrail.service").read_text()
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run([ANALYZE, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rated = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--threshold=20", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout[-300:]  # an exposure of at most 2.0 of 10


@pytest.mark.skipif(PROMTOOL is None, reason="NOT TESTED: promtool is missing")
def test_prometheus_takes_its_configuration():
    done = subprocess.run(
        [PROMTOOL, "check", "config", "--syntax-only", DEPLOY / "compose" / "prometheus.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
