"""The steps of the Dockerfile without a container engine.

Its build stage is run in a folder, and its command as another user on a file system that is
mounted read-only but for /tmp and the state, which takes root and unshare.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
needs_mounts = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not shutil.which("unshare")
    or not shutil.which("setpriv"),
    reason="NOT TESTED: a read-only file system needs root, unshare and setpriv",
)  # fmt: skip
START_S = 120.0


def run(words, **options):
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def image(files, tmp_path_factory):
    """The build stage's /opt/guardrail, somewhere else."""
    top = Path("/opt") if os.geteuid() == 0 else tmp_path_factory.mktemp("image")
    top /= f"guardrail-test-{os.getpid()}"
    source = top / "src"
    for name in ("deploy", "guardrail", "policies"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    steps = files.read_dockerfile(ROOT / "deploy" / "Dockerfile")
    build = steps[: [name for name, _ in steps].index("FROM", 2)]
    commands = [rest for name, rest in build if name == "RUN"]
    assert len(commands) == 3
    try:
        for command in commands:
            moved = re.sub(r"/(opt/guardrail|opt/build|wheels)\b", rf"{top}/\1", command)
            moved = re.sub(r"(^|&& )python ", rf"\1{sys.executable} ", moved)
            done = run(["bash", "-ec", moved], cwd=source, timeout=900)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        yield top / "opt" / "guardrail"
    finally:
        shutil.rmtree(top)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def in_container(image, state, command, variables):
    """The command as uid 10001; nothing but /tmp and the state can be written."""
    script = (
        "mount --make-rprivate / && mount -t tmpfs -o mode=1777 none /tmp"
        f" && mount -t tmpfs -o mode=0700,uid=10001,gid=10001 none {state}"
        " && mount -o remount,bind,ro /"
        f" && cd {state}"
        ' && exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs "$@"'
    )
    environment = {"PATH": f"{image}/bin:/usr/bin:/bin", "HOME": str(state), **variables}
    return subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", script, "bash", *command],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@needs_mounts
@pytest.mark.nightly
def test_it_serves_read_only_as_another_user(files, image):
    dockerfile = ROOT / "deploy" / "Dockerfile"
    port, state = str(free_port()), image.parent / "state"
    state.mkdir()
    words = [word.replace("8080", port).replace("0.0.0.0", "127.0.0.1")  # noqa: S104
             for word in [*files.argument_of(dockerfile, "ENTRYPOINT"),
                          *files.argument_of(dockerfile, "CMD")]]  # fmt: skip
    given = re.findall(r"(PYTHON\w+|NUMBA\w+)=(\S+)", files.argument_of(dockerfile, "ENV"))
    health = json.loads(files.argument_of(dockerfile, "HEALTHCHECK").partition("CMD ")[2])
    health = [word.replace("8080", port) for word in health]
    upstream = ["--upstream", "openai_compatible:http://127.0.0.1:9/v1"]
    kept = ["--key-file", f"{state}/noise.key", "--records", f"{state}/records.jsonl"]
    process = in_container(image, state, [*words, *upstream, *kept], dict(given))
    try:
        end = time.monotonic() + START_S
        while (asked := run([image / "bin" / health[0], *health[1:]])).returncode:
            assert process.poll() is None, process.stdout.read()[-2000:]
            assert time.monotonic() < end, asked.stderr[-500:]
            time.sleep(0.5)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"^Uid:\s+10001\s+10001\s", status, re.MULTILINE)
    finally:
        process.terminate()
        said = process.communicate(timeout=60)[0]
    assert process.returncode in (0, -15), said[-2000:]
    assert "Read-only" not in said
    assert "does not work here" not in said  # the compiled noise


@needs_mounts
@pytest.mark.nightly
def test_nothing_else_can_be_written(image):
    state = image.parent / "other"
    state.mkdir()
    program = (
        "import pathlib, sys\n"
        "for place in sys.argv[1:]:\n"
        "    try:\n"
        "        pathlib.Path(place, 'x').touch()\n"
        "        print('written', place)\n"
        "    except OSError as fault:\n"
        "        print(fault.errno, place)\n"
    )
    places = ["/tmp", str(state), str(image), "/var/tmp"]  # noqa: S108
    process = in_container(image, state, [image / "bin/python", "-c", program, *places], {})
    said = process.communicate(timeout=60)[0].splitlines()
    assert said[:2] == ["written /tmp", f"written {state}"]
    assert said[2:] == [f"30 {image}", "30 /var/tmp"]  # EROFS
