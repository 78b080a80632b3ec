"""The matrix: every part, every fault that it may have, and what must come of it.

`CELLS` is all there is to know: the tests play it, and `docs/faults.md` prints it.
"""

import contextlib
import functools
import http.server
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import psycopg
import pytest
import redis

from guardrail.keys.api_key import ApiKey, KeyScope, new_key_id, utc_now
from guardrail.keys.authenticator import Authenticator
from guardrail.keys.opening import open_key_store
from guardrail.keys.secret import digest_secret, new_secret
from guardrail.middleware.loop_thread import LoopThread
from guardrail.telemetry.telemetry import TelemetrySettings
from guardrail.upstreams.scripted import Fault, Step
from tests.faults import certificates
from tests.faults.disk import MISSING as DISK_MISSING
from tests.faults.disk import Disk, can_mount
from tests.faults.relay import Relay
from tests.faults.stand import LEAK, LOOK_EVERY_S, ROUTES, SAID, Stand
from tests.postgres import MISSING as POSTGRES_MISSING
from tests.postgres import find_binaries, postgres_server
from tests.redis_server import MISSING as REDIS_MISSING
from tests.redis_server import find_redis, running_redis
from tests.server.conftest import png

STAYS = "the policies in use go on"


@dataclass(frozen=True)
class Cell:
    """One fault of one part.

    Attributes:
        strike: makes it fail; given a `Scene`.
        codes: of the answer, any of them; empty where answers leave as if nothing had happened.
        statuses: of HTTP.
        record: action of the record that is kept; None where none can be.
        ready: status of /readyz meanwhile.
        mend: makes it whole again.
        hurried: whether it never ends, so that requests have short times.
        late: whether a record that is under way may be kept after all, when no answer leaves.
        lasts: whether it stays when the part is whole again.
        note: for the table.
    """

    strike: Callable
    codes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)
    record: str | None = "pass"
    ready: int = 200
    mend: Callable = lambda _scene: None
    hurried: bool = False
    late: bool = False
    lasts: bool = False
    note: str = ""

    @property
    def leaves(self):
        return not self.codes


@dataclass
class Scene:
    """A stand, and what else a part consists of.

    Attributes:
        records: where they are kept.
        relays: before what has a port, by names.
        link: of a picture, where one is fetched.
    """

    stand: Stand
    records: str
    relays: dict
    server: object = None
    file: object = None
    disk: Disk | None = None
    clock: object = None
    link: str | None = None
    kept: object = None

    def ask(self, part, route, *, hurried=False):
        link = self.link if part == "host of pictures" else None
        return self.stand.ask(route, hurried=hurried, link=link)


def _set(relay, mode):
    return lambda scene: scene.relays[relay].set(mode)


def _relayed(relay, mode, **expected):
    return Cell(_set(relay, mode), mend=_set(relay, "pass"), hurried=mode == "hang", **expected)


def _step(step):
    def strike(scene):
        scene.stand.steps[0] = step

    return strike


def _says(scene):
    scene.stand.steps[0] = SAID


def _model(step, **expected):
    return Cell(_step(step), mend=_says, **expected)


def _oracle(fault, **expected):
    def strike(scene):
        scene.stand.oracle.fault = fault

    def mend(scene):
        scene.stand.oracle.fault = None

    return Cell(strike, mend=mend, hurried=fault == "hang", **expected)


DOWN = {"record": "fault", "ready": 503}
UNAVAILABLE = {"statuses": (503,), "codes": ("records_failed",), "record": None, "ready": 503}
LEDGER = {"statuses": (503,), "codes": ("ledger_unavailable",), "record": "fault", "ready": 503}

MODEL = {
    "killed": _relayed(
        "upstream",
        "refuse",
        statuses=(502, 503),
        codes=("upstream_connection", "upstream_unavailable"),
        **DOWN,
    ),
    "hangs": _relayed(
        "upstream", "hang", statuses=(504,), codes=("upstream_timeout", "deadline"), **DOWN
    ),
    "slow": _relayed("upstream", "slow"),
    "answers rubbish": _relayed(
        "upstream",
        "rubbish",
        statuses=(502, 503),
        codes=("upstream_connection", "upstream_unavailable"),
        **DOWN,
    ),
    "breaks off": _relayed(
        "upstream",
        "cut",
        statuses=(502, 503),
        codes=("upstream_connection", "upstream_unavailable"),
        **DOWN,
    ),
    "permission lost": _model(
        Step(LEAK, fault=Fault.STATUS, status=401),
        statuses=(502,),
        codes=("upstream_auth",),
        record="fault",
    ),
    "disk full": _model(
        Step(LEAK, fault=Fault.STATUS, status=507),
        statuses=(507,),
        codes=("scripted",),
        record="fault",
    ),
    "corrupt": _model(
        Step(LEAK, fault=Fault.HALF_ANSWER),
        statuses=(502, 503),
        codes=("upstream_malformed_response", "upstream_unavailable"),
        record="fault",
    ),
}
ORACLE_DOWN = {"statuses": (503,), "codes": ("oracle_unavailable",), **DOWN}
ORACLE = {
    "killed": _oracle(ConnectionRefusedError("a private word"), **ORACLE_DOWN),
    "hangs": _oracle("hang", statuses=(503, 504), codes=("oracle_unavailable", "deadline"), **DOWN),
    "answers rubbish": _oracle("none", **ORACLE_DOWN),
    "breaks off": _oracle("nothing", **ORACLE_DOWN),
    "disk full": _oracle(OSError(28, "No space left on device"), **ORACLE_DOWN),
    "permission lost": _oracle(PermissionError("a private word"), **ORACLE_DOWN),
}


def _file_cells(ending):
    """Of records in a file on a disk of its own."""

    def take_away(scene):
        scene.file.rename(scene.file.with_name("away"))

    def put_back(scene):
        scene.file.with_name("away").replace(scene.file)

    def damage(scene):
        scene.file.with_name("whole").write_bytes(scene.file.read_bytes())
        with scene.file.open("r+b") as file:
            file.write(b"nobody's file, " * 20)

    def mend(scene):
        with scene.file.open("r+b") as file:
            file.write(scene.file.with_name("whole").read_bytes())

    def lock(scene):
        if ending == "db":
            import sqlite3

            scene.kept = sqlite3.connect(scene.file, isolation_level=None, check_same_thread=False)
            scene.kept.execute("BEGIN IMMEDIATE")
        else:
            import fcntl

            scene.kept = scene.file.open("ab")
            fcntl.flock(scene.kept, fcntl.LOCK_EX)

    def unlock(scene):
        scene.kept.close()

    def lock_for_a_moment(scene):
        lock(scene)
        threading.Timer(0.2, unlock, [scene]).start()

    held = Cell(lock, mend=unlock, late=True, **UNAVAILABLE)
    cells = {
        "disk full": Cell(
            lambda scene: scene.disk.fill(),
            mend=lambda scene: scene.disk.make_room(),
            **UNAVAILABLE,
        ),
        "hangs": held,
        "slow": Cell(lock_for_a_moment),
    }
    if ending == "db":
        cells["killed"] = Cell(
            take_away, mend=put_back, note="the file is moved away", **UNAVAILABLE
        )
        cells["corrupt"] = Cell(
            damage, mend=mend, note="its first page; the log beside it has a whole one"
        )
    else:
        cells["killed"] = Cell(take_away, note="the file is moved away, a new one is begun")
        cells["corrupt"] = Cell(
            damage, mend=mend, statuses=(500,), codes=("misconfigured",), record=None, ready=503,
            note="it holds something else, and is left as it is",
        )  # fmt: skip
    return cells


def _sql(*statements):
    def run(scene):
        with psycopg.connect(scene.records, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            for statement in statements:
                connection.execute(statement)
        if _RELOAD in statements:
            _wait_for_reload(scene.records, is_read_only=statements == _READ_ONLY)

    return run


_RELOAD = "SELECT pg_reload_conf()"


def _wait_for_reload(records, *, is_read_only):
    """Until sessions begin by the new file; those that are there are told before that."""
    for _ in range(500):
        with psycopg.connect(records, autocommit=True) as connection:
            (found,) = connection.execute("SHOW default_transaction_read_only").fetchone()
        if found == ("on" if is_read_only else "off"):
            return
        time.sleep(0.02)
    raise AssertionError("the server does not read its settings")


def _lock_for_a_moment(scene):
    holding = psycopg.connect(scene.records)
    holding.execute("LOCK TABLE records IN EXCLUSIVE MODE")
    threading.Timer(0.15, holding.close).start()


_READ_ONLY = ("ALTER SYSTEM SET default_transaction_read_only = on", _RELOAD)
_WRITABLE = ("ALTER SYSTEM RESET default_transaction_read_only", _RELOAD)
POSTGRES = {
    "killed": Cell(
        lambda scene: scene.server.kill(),
        mend=lambda scene: scene.server.start(),
        late=True,
        **UNAVAILABLE,
    ),
    "hangs": Cell(
        lambda scene: scene.server.signal(signal.SIGSTOP, children=True),
        mend=lambda scene: scene.server.signal(signal.SIGCONT, children=True),
        late=True,
        **UNAVAILABLE,
    ),
    "slow": Cell(_lock_for_a_moment),
    "permission lost": Cell(_sql(*_READ_ONLY), mend=_sql(*_WRITABLE), **UNAVAILABLE),
    "corrupt": Cell(
        _sql("ALTER TABLE records RENAME TO gone"),
        mend=_sql("ALTER TABLE gone RENAME TO records"),
        **{**UNAVAILABLE, "ready": 200},
        note="a table is missing",
    ),
}


def _redis(*command):
    def run(scene):
        with contextlib.closing(redis.Redis.from_url(scene.server.url)) as client:
            client.execute_command(*command)

    return run


def _restart(scene):
    scene.server.kill()
    scene.server.start()


def _acl(rule):
    """The rights of the guard's user, as another one sets them."""

    def run(scene):
        client = redis.Redis(port=scene.server.port, username="owner", password="owner")
        client.execute_command("ACL", "SETUSER", "default", *rule.split())
        client.close()

    return run


def _redis_cells(down, full):
    return {
        "killed": _relayed("redis", "refuse", **down),
        "hangs": Cell(_set("redis", "hang"), mend=_set("redis", "pass"), **down),
        "slow": _relayed("redis", "slow"),
        "answers rubbish": _relayed("redis", "rubbish", **down),
        "breaks off": _relayed("redis", "cut", **down),
        "permission lost": Cell(_acl("-@all"), mend=_acl("+@all"), **down),
        "disk full": Cell(
            _redis("CONFIG", "SET", "maxmemory", "1kb"),
            mend=_redis("CONFIG", "SET", "maxmemory", "0"),
            ready=503,
            note=full,
        ),
    }


def _put(name, content):
    """Replaces a file, or removes it where the content is None."""

    def strike(scene):
        file = scene.stand.folder / name
        scene.kept = file.read_bytes()
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)

    def mend(scene):
        (scene.stand.folder / name).write_bytes(scene.kept)

    return strike, mend


def _file(name, content, **expected):
    strike, mend = _put(name, content)
    return Cell(_seen(strike), mend=mend, **expected)


def _seen(strike):
    """The same, and a while in which whoever watches the file has looked at it."""

    def struck(scene):
        strike(scene)
        time.sleep(4 * LOOK_EVERY_S)

    return struck


def _later(strike, seconds=61.0):
    """The same, and the clock of what is known of keys is set forward."""

    def struck(scene):
        strike(scene)
        scene.clock.now += seconds

    return struck


KEYS_OUT = {"statuses": (503,), "codes": ("keys_unavailable",), "record": None}
_REMOVE, _RESTORE = _put("keys.yaml", None)
_DAMAGE, _ = _put("keys.yaml", b"keys: [")
KEY_FILE = {
    "killed": Cell(_seen(_REMOVE), mend=_RESTORE, note="the copy in memory, for a minute"),
    "corrupt": Cell(_seen(_DAMAGE), mend=_RESTORE, note="the copy in memory, for a minute"),
    "corrupt for long": Cell(
        _later(_DAMAGE), mend=_RESTORE, **KEYS_OUT, note="longer than a minute"
    ),
    "answers rubbish": _file("keys.yaml", bytes(range(256))),
}
KEY_DATABASE = {
    "killed": _relayed("keys", "refuse", note="the copy in memory, for a minute"),
    "killed for long": Cell(
        _later(_set("keys", "refuse")),
        mend=_set("keys", "pass"),
        **KEYS_OUT,
        note="longer than a minute",
    ),
    "hangs": Cell(_set("keys", "hang"), mend=_set("keys", "pass")),
    "answers rubbish": _relayed("keys", "rubbish"),
    "slow": _relayed("keys", "slow"),
}
POLICY = {
    "killed": _file("patient.yaml", None, note=STAYS),
    "corrupt": _file("patient.yaml", b"name: [", note=STAYS),
    "answers rubbish": _file("patient.yaml", bytes(range(256)), note=STAYS),
    "permission lost": Cell(
        _seen(
            lambda scene: (
                (scene.stand.folder / "patient.yaml").rename(scene.stand.folder / "away"),
                (scene.stand.folder / "patient.yaml").mkdir(),
            )
        ),
        mend=lambda scene: (
            (scene.stand.folder / "patient.yaml").rmdir(),
            (scene.stand.folder / "away").rename(scene.stand.folder / "patient.yaml"),
        ),
        note="a folder in its place",
    ),
}
NOISE_KEY = {
    "killed": _file("noise.key", None, note="read at the start only"),
    "corrupt": _file("noise.key", b"damaged", note="read at the start only"),
}
TLS = {
    "killed": _file("cert.pem", None, note="the old pair goes on"),
    "corrupt": _file("cert.pem", b"-----BEGIN CERTIFICATE-----\nnone", note="the old pair goes on"),
    "answers rubbish": _file("key.pem", bytes(range(256)), note="the old pair goes on"),
}
NO_PICTURE = {"statuses": (400,), "codes": ("image_fetch_failed",), "record": "fault"}
PICTURES = {
    "killed": _relayed("pictures", "refuse", **NO_PICTURE),
    "hangs": _relayed("pictures", "hang", **NO_PICTURE),
    "slow": _relayed("pictures", "slow"),
    "answers rubbish": _relayed("pictures", "rubbish", **NO_PICTURE),
    "breaks off": _relayed("pictures", "cut", **NO_PICTURE),
}
TOLD = {
    "killed": _relayed("told", "refuse", note="nobody waits for it"),
    "hangs": Cell(_set("told", "hang"), mend=_set("told", "pass"), note="nobody waits for it"),
    "slow": _relayed("told", "slow"),
    "answers rubbish": _relayed("told", "rubbish"),
    "breaks off": _relayed("told", "cut"),
}


def _scrapers(scene):
    scene.kept = [
        socket.create_connection(("127.0.0.1", scene.stand.metrics_port)) for _ in range(64)
    ]
    for one in scene.kept:
        one.sendall(b"GET /metrics HTTP/1.1\r\n")


def _leave(scene):
    for one in scene.kept:
        one.close()


METRICS = {"hangs": Cell(_scrapers, mend=_leave, note="64 scrapers that never end their requests")}

PARTS = {
    "model": MODEL, "oracle": ORACLE, "records in SQLite": _file_cells("db"),
    "records in a file": _file_cells("jsonl"), "records in PostgreSQL": POSTGRES,
    "Redis, tries counted": {
        **_redis_cells(LEDGER, "its memory; the try is counted all the same"),
        "comes back empty": Cell(
            _restart, lasts=True, **LEDGER, note="until the window has passed"
        ),
    },
    "Redis, verdicts remembered": _redis_cells({"ready": 503}, "its memory; decided anew"),
    "API keys in a file": KEY_FILE,
    "API keys in PostgreSQL": KEY_DATABASE, "noise key": NOISE_KEY, "policy file": POLICY,
    "TLS files": TLS, "host of pictures": PICTURES, "collector of traces": TOLD,
    "webhook": TOLD, "metrics port": METRICS,
}  # fmt: skip


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def place_of(part):
    """Parts of the same place fail on one stand."""
    plain = ("model", "oracle", "noise key", "policy file", "host of pictures", "metrics port")
    return "a plain one" if part in plain else part


@contextlib.contextmanager
def open_scene(part, folder):
    """The stand of a part, or of several. Skips the test where the part is not installed."""
    with contextlib.ExitStack() as stack:
        home = LoopThread()
        stack.callback(home.stop)

        def relay(port):
            made = Relay(home, port)
            stack.callback(made.close)
            return made

        options, scene = {"records": str(folder / "records.db")}, {"relays": {}}
        match part:
            case "records in SQLite" | "records in a file":
                if not can_mount():
                    pytest.skip(DISK_MISSING)
                disk = scene["disk"] = Disk()
                stack.callback(disk.close)
                ending = "db" if part == "records in SQLite" else "jsonl"
                scene["file"] = disk.folder / f"records.{ending}"
                options["records"] = str(scene["file"])
            case "records in PostgreSQL":
                scene["server"] = stack.enter_context(_postgres())
                options["records"] = f"{scene['server'].url}/postgres"
            case "Redis, tries counted" | "Redis, verdicts remembered":
                scene["server"] = stack.enter_context(_redis_server())
                options["redis_port"] = scene["server"].port
                options["shares"] = "ledger" if part == "Redis, tries counted" else "verdicts"
            case "API keys in a file":
                scene["clock"] = Clock()
                options |= _keys(str(folder / "keys.yaml"), scene["clock"])
            case "API keys in PostgreSQL":
                server = stack.enter_context(_postgres())
                scene["clock"] = Clock()
                between = scene["relays"]["keys"] = relay(int(server.url.rpartition(":")[2]))
                address = f"postgresql://guardrail@127.0.0.1:{between.port}/postgres"
                options |= _keys(address, scene["clock"])
            case "TLS files":
                options["tls_files"] = certificates.write_pair(folder)
            case "collector of traces":
                between = scene["relays"]["told"] = relay(stack.enter_context(_sink()))
                stack.enter_context(_traces_to(f"http://127.0.0.1:{between.port}"))
                options["telemetry"] = TelemetrySettings(traces=True)
            case "webhook":
                between = scene["relays"]["told"] = relay(stack.enter_context(_sink()))
                url = f"http://127.0.0.1:{between.port}/hook"
                # The stand's oracle calls the harmful canary harmless: the webhook is told.
                options["telemetry"] = TelemetrySettings(webhook=url, canary_every_s=0.3)
            case "a plain one":
                options["picture_port"] = stack.enter_context(_sink())
                options["telemetry"] = TelemetrySettings(metrics_port=0)
        stand = Stand(folder, **options)
        stack.callback(stand.close)
        scene["relays"] |= {
            "upstream": stand.upstream,
            "redis": stand.redis,
            "pictures": stand.pictures,
        }
        scene["link"] = f"http://pictures.test:{stand.pictures.port}/a.png"
        yield Scene(stand, options["records"], **scene)


def _postgres():
    if find_binaries() is None:
        pytest.skip(POSTGRES_MISSING)
    return postgres_server()


def _redis_server():
    if find_redis() is None:
        pytest.skip(REDIS_MISSING)
    return running_redis("--user", "owner", "on", ">owner", "~*", "&*", "+@all")


def _keys(address, clock):
    """An authenticator that looks often, and a secret that it knows."""
    pepper, secret, store = bytes(range(32)), new_secret(), open_key_store(address)
    store.add(
        ApiKey(
            id=new_key_id(), digest=digest_secret(secret, pepper), name="test", tenant="test",
            scopes=frozenset({KeyScope.CLIENT}), policy=None, created=utc_now(), expires=None,
        )
    )  # fmt: skip
    keys = Authenticator(store, pepper, refresh_s=LOOK_EVERY_S, clock=clock)
    return {"keys": keys, "secret": secret}


@contextlib.contextmanager
def _traces_to(url):
    names = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_BLRP_SCHEDULE_DELAY": "50", "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }  # fmt: skip
    with patch.dict(os.environ, names):
        yield


@contextlib.contextmanager
def _sink():
    """A server that gives a picture and takes whatever it is sent; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(png(), "image/png")

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self._answer(b"", "text/plain")

        def _answer(self, data, media_type):
            self.send_response(200)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

        def handle(self):
            with contextlib.suppress(ConnectionError):
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def print_table():
    """The matrix as Markdown; every row stands for all routes."""
    lines = [
        "| Part | Fault | What leaves | Status and `code` | Record | `/readyz` | |",
        "|---|---|---|---|---|---|---|",
    ]
    for part, faults in PARTS.items():
        for fault, cell in faults.items():
            leaves = "the answer" if cell.leaves else "nothing"
            codes = ", ".join(f"`{code}`" for code in cell.codes)
            statuses = " or ".join(map(str, cell.statuses))
            told = statuses if cell.leaves else f"{statuses} {codes}"
            record = "none, or one under way" if cell.late else cell.record or "none"
            lines.append(
                f"| {part} | {fault} | {leaves} | {told} | {record} | {cell.ready} | {cell.note} |"
            )
    return "\n".join(lines)


def print_counts():
    """How much of the matrix is played."""
    faults = sum(map(len, PARTS.values()))
    return (
        f"{len(PARTS)} parts with {faults} faults, each on {len(ROUTES)} routes: "
        f"{len(all_cells())} cells, all of them by night and {len(paired_cells())} by day"
    )


def all_cells():
    """(part, fault, route) of the whole matrix."""
    return [
        (part, fault, route) for part, cells in PARTS.items() for fault in cells for route in ROUTES
    ]


@functools.cache
def paired_cells():
    """A subset: every part meets its faults and every route, and every fault every route."""

    def pairs(cell):
        part, fault, route = cell
        return {(part, fault), (part, route), (fault, route)}

    left = set().union(*map(pairs, all_cells()))
    chosen = []
    while left:
        best = max(all_cells(), key=lambda cell: len(pairs(cell) & left))
        chosen.append(best)
        left -= pairs(best)
    return frozenset(chosen)
