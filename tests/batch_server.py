"""A provider on loopback that has files, batches and chat completions, all by one script."""

import asyncio
import gc
import json
import threading
import warnings
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from guardrail.upstreams.scripted import Call, Fault, Step, completion

ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass
class MadeBatch:
    """A batch as the provider has it.

    Attributes:
        requests: the parsed lines of its input.
        status: OpenAI's word, once it is told.
        output, errors: the lines of its two files, made when it ends.
    """

    id: str
    file: str
    requests: list
    status: str = "in_progress"
    output: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    codes: tuple = ()


class BatchServer:
    """See the methods for what a test may replace.

    Attributes:
        uploads: the custom ids of every input file, in the order of arrival.
        batches: every batch that was made.
        chats: the bodies of ordinary calls.
        faults: statuses, or None for a reset, that `create`, `upload`, `retrieve`, `content` or
            `list` give first, one a call.
        seen: how often each of them was called.
        held: while it is True no batch ends.
        page: how many batches a page of `list` has at the most.
        end: makes the lines of a batch that ends, and its status.
    """

    def __init__(self, script):
        self.script = script
        self.uploads, self.chats = [], []
        self.files, self.batches = {}, {}
        self.faults, self.seen = {}, Counter()
        self.held = False
        self.page = 100
        self.cancelled = []
        self.end = self.complete
        self.made = asyncio.Event()
        self.port = 0

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def asked(self):
        """The custom ids of all requests of all batches, in order."""
        return [one["custom_id"] for batch in self.batches.values() for one in batch.requests]

    def answer(self, body):
        """(status, body) of a request."""
        step = self.script(Call(0, 0, body))
        step = step if isinstance(step, Step) else Step(step)
        if step.fault is Fault.STATUS:
            error = step.response or {"error": {"message": "scripted", "code": "scripted"}}
            return step.status, error
        return 200, json.loads(completion(step, "scripted"))

    def line(self, request):
        status, body = self.answer(request["body"])
        response = {"status_code": status, "request_id": "r", "body": body}
        return {"id": "l", "custom_id": request["custom_id"], "response": response, "error": None}

    def complete(self, batch):
        """Ends it as a provider does: what was refused lies in the file of errors."""
        for request in batch.requests:
            line = self.line(request)
            kept = batch.output if line["response"]["status_code"] == 200 else batch.errors
            kept.append(line)
        batch.status = "completed"

    # What the provider says

    def _fault(self, name):
        self.seen[name] += 1
        waiting = self.faults.get(name)
        if not waiting:
            return
        status = waiting.pop(0)
        text = json.dumps({"error": {"message": "no", "code": "scripted"}})
        error = web.HTTPException(text=text, content_type="application/json")
        error.set_status(status)
        raise error

    async def upload(self, request):
        content = b""
        async for part in await request.multipart():
            data = await part.read()
            content = data if part.name == "file" else content
        self._fault("upload")
        parsed = [json.loads(line) for line in content.splitlines()]
        self.uploads.append([one["custom_id"] for one in parsed])
        name = f"file-{len(self.files)}"
        self.files[name] = parsed
        return web.json_response(_file(name, len(content)))

    async def create(self, request):
        asked = await request.json()
        name = asked["input_file_id"]
        late = self.faults.get("create_late")
        if not late:
            self._fault("create")
        batch = MadeBatch(f"batch-{len(self.batches)}", name, self.files[name])
        self.batches[batch.id] = batch
        self.made.set()
        if late:
            self._fault("create_late")
        return web.json_response(self._tell(batch))

    async def retrieve(self, request):
        self._fault("retrieve")
        batch = self.batches[request.match_info["id"]]
        if not self.held and batch.status not in ENDED:
            self.end(batch)
        return web.json_response(self._tell(batch))

    async def list(self, request):
        self._fault("list")
        names = list(self.batches)
        after = request.query.get("after")
        left = names if after is None else names[names.index(after) + 1 :]
        told = [self._tell(self.batches[name]) for name in left[: self.page]]
        has_more = len(left) > self.page
        return web.json_response({"object": "list", "data": told, "has_more": has_more})

    async def cancel(self, request):
        batch = self.batches[request.match_info["id"]]
        self.cancelled.append(batch.id)
        batch.status = "cancelled"
        return web.json_response(self._tell(batch))

    async def content(self, request):
        self._fault("content")
        name = request.match_info["id"].removeprefix("f-")
        batch = self.batches[name.removesuffix("-errors")]
        lines = batch.errors if name.endswith("-errors") else batch.output
        text = b"".join(_encode(line) + b"\n" for line in lines)
        return web.Response(body=text)

    async def chat(self, request):
        body = await request.json()
        self.chats.append(body)
        status, answer = self.answer(body)
        return web.json_response(answer, status=status)

    async def models(self, _request):
        return web.json_response({"object": "list", "data": [{"id": "scripted"}]})

    def _tell(self, batch):
        ended = batch.status in ENDED
        return {
            "id": batch.id, "object": "batch", "endpoint": "/v1/chat/completions",
            "input_file_id": batch.file, "completion_window": "24h", "status": batch.status,
            "created_at": 0,
            "output_file_id": f"f-{batch.id}" if ended and batch.output else None,
            "error_file_id": f"f-{batch.id}-errors" if ended and batch.errors else None,
            "errors": {"object": "list", "data": [{"code": one, "message": "m"}
                                                  for one in batch.codes]},
        }  # fmt: skip

    def app(self):
        app = web.Application(client_max_size=1 << 30)
        app.add_routes(
            [
                web.post("/v1/files", self.upload),
                web.get("/v1/files/{id}/content", self.content),
                web.post("/v1/batches", self.create),
                web.get("/v1/batches", self.list),
                web.get("/v1/batches/{id}", self.retrieve),
                web.post("/v1/batches/{id}/cancel", self.cancel),
                web.post("/v1/chat/completions", self.chat),
                web.get("/v1/models", self.models),
            ]
        )
        return app


def _encode(line):
    return line if isinstance(line, bytes) else json.dumps(line).encode()


def _file(name, size):
    return {"id": name, "object": "file", "bytes": size, "created_at": 0, "filename": "x",
            "purpose": "batch", "status": "processed"}  # fmt: skip


async def wait_until(holds):
    """Waits for what no event tells; `holds` says whether it has come."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@asynccontextmanager
async def batch_server(script):
    server = BatchServer(script)
    runner = web.AppRunner(server.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@contextmanager
def batch_server_thread(script):
    """The same in a thread of its own, for commands that run an event loop themselves."""
    ready, found, loops = threading.Event(), [], []

    async def serve():
        stop = asyncio.Event()
        async with batch_server(script) as server:
            found.append(server)
            loops.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield found[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextmanager
def cheap_clients():
    """For litellm's clients of batches: it makes one for each call, and closes none of them.

    They share a TLS context, which takes most of their time, and are collected before other tests
    are blamed for their sockets.
    """
    import httpx
    from httpx._transports import default

    context = httpx.create_ssl_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default, "create_ssl_context", lambda **_: context)
        yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
